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

static void
put_guest(FILE *out, const json_t *domain)
{
    uint8_t uuid[UUID_BYTES];

    if (parse_uuid(text(domain, "uuid"), uuid))
        fprintf(out, "uuid = %s\n", text(domain, "uuid"));
    if (strcmp(text(domain, "state"), "stuck") == 0)
        fputs("guest = stuck\n", out);
    if (number(domain, "rate_kib_s") > 0)
        put_size(out, "rate", number(domain, "rate_kib_s"));
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
    put_size(out, "limit", number(domain, "limit_kib"));
    put_guest(out, domain);
}

/* What the domains and nobody hold, and what reservations keep (a scenario
 * begins without any): Xen's own share is left out. */
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
    size_t i;

    if (!status)
        snprintf(message, size, "%s:%d: %s", path, error.line, error.text);
    else if (!good)
        snprintf(message, size, "%s: not what squeezectl status --json prints",
                 path);
    if (good) {
        put_host(out, status, domains);
        json_array_foreach(domains, i, domain) put_domain(out, domain);
    }
    json_decref(status);
    return good;
}
