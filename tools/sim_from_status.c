/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/sim_from_status.h"

#include "common/units.h"
#include "sq_limits.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* The number of that name; 0 where there is none, or an absurd one. */
static uint64_t
number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;

    return n < 0 || (uint64_t)n > LIMIT_SIZE_KIB ? 0 : (uint64_t)n;
}

static const char *
text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value ? value : "";
}

/* A name may hold what would end the line or begin a comment: '_' then. */
static void
put_name(FILE *out, const char *name)
{
    if (*name == '\0')
        return;
    fputs("name = ", out);
    for (int i = 0; i < 99 && name[i] != '\0'; i++)
        fputc((unsigned char)name[i] <= ' ' || strchr("#;=[]\177", name[i])
                  ? '_'
                  : name[i],
              out);
    fputc('\n', out);
}

static void
put_size(FILE *out, const char *key, uint64_t kib)
{
    fprintf(out, "%s = %" PRIu64 "\n", key, page_up(kib));
}

static void
put_type(FILE *out, const char *type)
{
    static const char *const types[] = { "pv", "pvh", "hvm" };

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], type) == 0)
            fprintf(out, "type = %s\n", type);
}

/* What is known of a guest by its state, and what has to happen to it first. */
static const struct {
    const char *state;
    const char *guest;  /* NULL: obedient */
    const char *action; /* NULL: none */
} state_rows[] = {
    { "stuck", "stuck", NULL },     { "booting", "late 1h", NULL },
    { "dying", "vanish 1s", NULL }, { "paused", NULL, "pause" },
    { "frozen", NULL, "freeze" },
};

static void
put_guest(FILE *out, const json_t *domain)
{
    uint8_t uuid[UUID_BYTES];

    if (parse_uuid(text(domain, "uuid"), uuid))
        fprintf(out, "uuid = %s\n", text(domain, "uuid"));
    for (size_t i = 0; i < sizeof state_rows / sizeof *state_rows; i++)
        if (state_rows[i].guest &&
            strcmp(text(domain, "state"), state_rows[i].state) == 0)
            fprintf(out, "guest = %s\n", state_rows[i].guest);
    if (number(domain, "rate_kib_s") > 0)
        put_size(out, "rate", number(domain, "rate_kib_s"));
    else
        fputs("# rate: not known yet, 1G is taken\n", out);
    if (number(domain, "used_kib") > 0)
        put_size(out, "used", number(domain, "used_kib"));
    if (number(domain, "shares") >= 1 && number(domain, "shares") <= 100000)
        fprintf(out, "shares = %" PRIu64 "\n", number(domain, "shares"));
}

/* What a scenario can't say stays at its default: a range that isn't one. */
static void
put_range(FILE *out, const json_t *domain)
{
    uint64_t low = page_up(number(domain, "dynamic_min_kib"));
    uint64_t high = page_up(number(domain, "dynamic_max_kib"));
    uint64_t static_min = page_up(number(domain, "static_min_kib"));
    uint64_t static_max = page_up(number(domain, "static_max_kib"));
    bool managed = strcmp(text(domain, "state"), "unmanaged") != 0 &&
                   json_is_integer(json_object_get(domain, "dynamic_max_kib"));

    if (managed && static_min <= low && low <= high) {
        put_size(out, "static-min", static_min);
        put_size(out, "dynamic-min", low);
        put_size(out, "dynamic-max", high);
        put_size(out, "static-max", max_u64(static_max, high));
    }
}

static void
put_domain(FILE *out, const json_t *domain)
{
    fprintf(out, "\n[domain %" PRIu64 "]\n", number(domain, "domid"));
    put_name(out, text(domain, "name"));
    put_type(out, text(domain, "type"));
    put_range(out, domain);
    put_size(out, "actual", number(domain, "actual_kib"));
    put_size(out, "target", number(domain, "target_kib"));
    /* What one under construction was promised, it may take. */
    put_size(
        out, "limit",
        max_u64(number(domain, "limit_kib"), number(domain, "promise_kib")));
    put_guest(out, domain);
}

/* Ours: far from those that somebody adds by hand. */
#define FIRST_EVENT 1000001

static void
put_event(FILE *out, unsigned *number_of, const char *action)
{
    fprintf(out, "\n[event %u]\naction = %s\n", FIRST_EVENT + (*number_of)++,
            action);
}

static void
put_state_events(FILE *out, const json_t *domains, unsigned *number_of)
{
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain)
    {
        for (size_t k = 0; k < sizeof state_rows / sizeof *state_rows; k++) {
            if (!state_rows[k].action ||
                strcmp(text(domain, "state"), state_rows[k].state) != 0)
                continue;
            put_event(out, number_of, state_rows[k].action);
            fprintf(out, "domid = %" PRIu64 "\n", number(domain, "domid"));
        }
    }
}

/* A manual target holds on: written again, where that moves nothing that stands
 * still. */
static void
put_ceilings(FILE *out, const json_t *domains, unsigned *number_of)
{
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain)
    {
        const char *state = text(domain, "state");

        if (!json_is_integer(json_object_get(domain, "ceiling_kib")))
            continue;
        if (strcmp(state, "frozen") == 0 || strcmp(state, "paused") == 0) {
            fprintf(out,
                    "\n# domain %" PRIu64 " has a manual target of %" PRIu64
                    " KiB\n",
                    number(domain, "domid"), number(domain, "ceiling_kib"));
            continue;
        }
        put_event(out, number_of, "target");
        fprintf(out, "domid = %" PRIu64 "\n", number(domain, "domid"));
        put_size(out, "size", number(domain, "ceiling_kib"));
    }
}

/* What a client's name may be made of, in a scenario as in the daemon. */
static bool
is_client(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strlen(name);

    return length > 0 && length <= LIMIT_CLIENT_CHARS &&
           strspn(name, allowed) == length;
}

static void
put_client(FILE *out, const json_t *request)
{
    if (is_client(text(request, "client")))
        fprintf(out, "client = %s\n", text(request, "client"));
}

/* They are asked for at the start, when their memory is free; but for those
 * that are some domain's already. */
static void
put_reservations(FILE *out, const json_t *status, unsigned *number_of)
{
    const json_t *reservations = json_object_get(status, "reservations"), *r;
    size_t i;

    json_array_foreach(reservations, i, r)
    {
        if (json_is_integer(json_object_get(r, "in_transfer")))
            continue;
        put_event(out, number_of, "reserve");
        put_size(out, "min", number(r, "amount_kib"));
        put_client(out, r);
        if (number(r, "hold_ms") > 0)
            fprintf(out, "hold = %" PRIu64 "ms\n", number(r, "hold_ms"));
    }
}

/* Who waits: how long yet, status doesn't tell. */
static void
put_queue(FILE *out, const json_t *status, unsigned *number_of)
{
    const json_t *queue = json_object_get(status, "queue"), *r;
    size_t i;

    json_array_foreach(queue, i, r)
    {
        uint64_t min_kib = page_up(number(r, "min_kib"));

        put_event(out, number_of, "reserve");
        put_size(out, "min", min_kib);
        put_size(out, "max", max_u64(number(r, "max_kib"), min_kib));
        put_client(out, r);
    }
}

/* What the domains and nobody hold, and what reservations keep: Xen's own
 * share is left out. */
static void
put_host(FILE *out, const json_t *status, const json_t *domains)
{
    const json_t *host = json_object_get(status, "host");
    uint64_t memory =
        page_up(number(host, "free_kib") + number(host, "scrub_kib"));
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain) memory +=
        page_up(number(domain, "actual_kib"));
    fputs("[host]\n", out);
    put_size(out, "memory", memory);
    put_size(out, "reserve", number(host, "host_reserve_kib"));
    put_size(out, "cushion", number(host, "cushion_kib"));
    if (*text(status, "policy") != '\0')
        fprintf(out, "policy = %.64s\n", text(status, "policy"));
}

bool
sim_from_status(const char *path, FILE *out, char *message, size_t size)
{
    json_error_t error;
    json_t *status = strcmp(path, "-") == 0 ? json_loadf(stdin, 0, &error)
                                            : json_load_file(path, 0, &error);
    const json_t *domains = json_object_get(status, "domains"), *domain;
    bool good = json_is_array(domains) &&
                json_is_object(json_object_get(status, "host"));
    unsigned events = 0;
    size_t i;

    if (!status)
        snprintf(message, size, "%s:%d: %s", path, error.line, error.text);
    else if (!good)
        snprintf(message, size, "%s: not what squeezectl status --json prints",
                 path);
    if (good) {
        put_host(out, status, domains);
        json_array_foreach(domains, i, domain) put_domain(out, domain);
        put_state_events(out, domains, &events);
        put_ceilings(out, domains, &events);
        put_reservations(out, status, &events);
        put_queue(out, status, &events);
    }
    json_decref(status);
    return good;
}
