/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* create and restore: step after step, and all of it undone where one fails or
 * a signal comes before the machine runs. */
#include "tools/xl_config.h"
#include "tools/xl_run.h"
#include "tools/xl_squeeze.h"

#include "common/range_rules.h"
#include "common/units.h"
#include "sq_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define CLIENT_NAME "xl-squeeze"
/* If we are killed, the reservation ends by itself. */
#define HOLD_MS (INT64_C(5) * 60 * 1000)
/* A broker that is being restarted is back by then. */
#define BROKER_BACK_MS 5000
/* How long a destroyed domain may take to give its pages back. */
#define GONE_MS (INT64_C(120) * 1000)
#define POLL_MS 100

#define SETTING_CHARS 64
#define ARGV_MAX      (2 * XL_WORDS_MAX + 16)

/* What is reserved, and what the machine is started with. */
struct amounts {
    uint64_t low_kib;  /* its memory at least */
    uint64_t high_kib; /* and at most */
    bool has_range;    /* squeezed may move it between range_… */
    uint64_t range_min_kib;
    uint64_t range_max_kib;
};

struct start {
    const struct xl_options *options;
    struct xl_machine machine;
    struct amounts amounts;
    const json_t *before; /* the status before anybody was asked */
    size_t squeezed_count;
    json_int_t squeezed_kib;
    int lock;                             /* -1: none */
    char reservation[LIMIT_ID_CHARS + 1]; /* "": none */
    uint64_t granted_kib;
    double took_ms;
    uint64_t memory_kib; /* it is started with */
    uint32_t domid;
    bool has_domid;
    bool started;     /* too late to take anything back */
    bool xl_ran;      /* there may be a domain of ours */
    bool broker_lost; /* it went meanwhile; the machine is built */
    int signal;       /* that came; 0 */
    int status;       /* of a step that failed */
};

static bool
is_restore(const struct start *s)
{
    return strcmp(s->options->verb->name, "restore") == 0;
}

static bool
fail(struct start *s, int status)
{
    s->status = status;
    return false;
}

static void
pause_ms(long ms)
{
    struct timespec time = { .tv_sec = ms / 1000,
                             .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

static const char *
name_of(const struct start *s)
{
    return *s->machine.name ? s->machine.name : "the machine";
}

/* ------------------------------------------------------------------- sizes */

/* Behind its own options xl takes the words of our caller, and no more options:
 * it stops at the first word that is none.  Returns how many there are now. */
static size_t
add_words(const struct start *s, const char **argv, size_t n)
{
    const struct xl_options *o = s->options;

    if (o->config_option) {
        argv[n++] = "-f";
        argv[n++] = o->config_option;
    }
    for (size_t i = 0; i < o->word_count; i++)
        argv[n++] = o->words[i];
    return n;
}

/* What xl says itself stands above it. */
static bool
fail_with_xl(struct start *s, const char *what, const struct xl_run *run)
{
    char end[XL_END_TEXT];

    s->signal = run->signal;
    if (run->signal)
        return fail(s, EXIT_FAILED);
    if (xl_exit_status(run->wait_status) == XL_NOT_STARTED)
        return fail(s, XL_NOT_STARTED);
    xl_say(s->options, "%s (%s)", what, xl_describe_end(run->wait_status, end));
    return fail(s, EXIT_FAILED);
}

/* Runs xl with the words of our caller, or of `config` alone. */
static bool
read_config(struct start *s, const char *config)
{
    const struct xl_options *o = s->options;
    const char *argv[ARGV_MAX] = { "xl", "create", "-q", "-n", config };
    struct xl_run run = { .argv = argv, .capture = true };
    char message[200];
    bool good;

    if (!config)
        add_words(s, argv, 4);
    good = xl_run(&run);
    if (!good) {
        fail_with_xl(s, "xl doesn't accept that", &run);
    } else if (!xl_config_parse(run.output ? run.output : "", run.length,
                                &s->machine, message, sizeof(message))) {
        xl_say(o, "what `xl create -n` prints can't be used: %s", message);
        good = fail(s, EXIT_FAILED);
    }
    xl_run_done(&run);
    return good;
}

/* A configuration without a UUID gets another one each time that xl reads it;
 * a restored machine can't be told which one to take. */
static bool
read_config_of_restore(struct start *s)
{
    char uuid[UUID_TEXT];

    if (!read_config(s, s->options->words[0]))
        return false;
    memcpy(uuid, s->machine.uuid, sizeof(uuid));
    if (!read_config(s, s->options->words[0]))
        return false;
    if (strcmp(uuid, s->machine.uuid) != 0)
        s->machine.uuid[0] = '\0';
    return true;
}

static bool
read_save(struct start *s)
{
    const struct xl_options *o = s->options;
    char message[200];
    bool good = false;
    FILE *file;

    if (o->word_count == 2)
        return read_config_of_restore(s);
    file = fopen(o->words[0], "re");
    if (file) {
        good = xl_config_of_save(file, &s->machine, message, sizeof(message));
        fclose(file);
    } else {
        snprintf(message, sizeof(message), "%s", strerror(errno));
    }
    if (good)
        return true;
    xl_say(o, "%s: %s", o->words[0], message);
    return fail(s, EXIT_FAILED);
}

static bool
has_word(const char *line, const char *word)
{
    size_t length = strlen(word);
    const char *found = line;

    while ((found = strstr(found, word))) {
        if ((found == line || found[-1] == ' ') &&
            (found[length] == ' ' || found[length] == '\0'))
            return true;
        found += length;
    }
    return false;
}

/* What `xl info` says of the processor's abilities; NULL: nothing. */
static const char *
find_abilities(char *output)
{
    char *line = output ? strstr(output, "virt_caps") : NULL;
    char *end = line ? strchr(line, '\n') : NULL;

    if (end)
        *end = '\0';
    return line;
}

/* Where they can't be told, what costs more is assumed. */
static void
ask_host(struct start *s)
{
    static const char *const argv[] = { "xl", "info", NULL };
    struct xl_run run = { .argv = argv, .capture = true };
    struct xl_machine *m = &s->machine;
    const char *abilities = xl_run(&run) ? find_abilities(run.output) : NULL;

    if (!m->hap_given)
        m->guest.hap = abilities && has_word(abilities, "hap");
    if (m->passthrough)
        m->guest.own_iommu_tables =
            !abilities || !has_word(abilities, "iommu_hap_pt_share");
    s->signal = run.signal;
    xl_run_done(&run);
}

static bool
read_sizes(struct start *s)
{
    struct xl_machine *m = &s->machine;

    if (!(is_restore(s) ? read_save(s) : read_config(s, NULL)))
        return false;
    if (m->guest.type != OVERHEAD_PV && (!m->hap_given || m->passthrough))
        ask_host(s);
    return true;
}

/* ----------------------------------------------------------------- amounts */

static uint64_t
mib_up(uint64_t kib)
{
    return (kib + KIB_PER_MIB - 1) / KIB_PER_MIB * KIB_PER_MIB;
}

static uint64_t
mib_down(uint64_t kib)
{
    return kib / KIB_PER_MIB * KIB_PER_MIB;
}

/* May it start with less than its maximum?  A PVH or HVM machine gets pages
 * then that don't exist yet, and dies without a balloon; xl refuses that with
 * passed-through devices and vNUMA. */
static bool
may_start_small(const struct start *s)
{
    const struct xl_machine *m = &s->machine;

    return m->guest.type == OVERHEAD_PV ||
           (s->options->balloon && !m->passthrough && !m->vnuma);
}

static bool
check_range(struct start *s, uint64_t max_kib)
{
    const struct amounts *a = &s->amounts;
    char low[SIZE_TEXT], high[SIZE_TEXT], most[SIZE_TEXT];

    if (a->range_min_kib <= a->range_max_kib && a->range_max_kib <= max_kib)
        return true;
    xl_say(s->options, "the range %s to %s is none within its maxmem, %s",
           format_size((int64_t)a->range_min_kib, low),
           format_size((int64_t)a->range_max_kib, high),
           format_size((int64_t)max_kib, most));
    return fail(s, EXIT_USAGE);
}

/* What the administrator keeps for it, as far as it fits; the command line
 * comes first. */
static void
take_rule(struct start *s, uint64_t max_kib)
{
    const struct xl_options *o = s->options;
    struct range_rules rules = { 0 };
    const struct range_rule *rule;
    struct amounts *a = &s->amounts;
    uint8_t uuid[UUID_BYTES] = { 0 };
    char name[RANGE_NAME];

    if (o->min_kib || o->max_kib)
        return;
    parse_uuid(s->machine.uuid, uuid);
    range_base_name(s->machine.name, name);
    range_rules_read(&rules, o->domains_dir);
    rule = range_rules_find(&rules, uuid, name);
    if (rule && rule->has_range && mib_up(rule->min_kib) <= max_kib) {
        a->has_range = true;
        a->range_min_kib = mib_up(rule->min_kib);
        a->range_max_kib = max_u64(a->range_min_kib,
                                   mib_down(min_u64(rule->max_kib, max_kib)));
    }
    range_rules_done(&rules);
}

/* A restored machine has the memory that it had: xl can't give it another. */
static bool
choose_amounts(struct start *s)
{
    const struct xl_options *o = s->options;
    const struct overhead_guest *g = &s->machine.guest;
    uint64_t target_kib = overhead_target_kib(g);
    uint64_t max_kib = overhead_max_kib(g);
    struct amounts *a = &s->amounts;

    a->has_range =
        o->min_kib || o->max_kib || (!is_restore(s) && target_kib < max_kib);
    a->range_min_kib = mib_up(o->min_kib ? o->min_kib : target_kib);
    a->range_max_kib = mib_down(o->max_kib ? o->max_kib : max_kib);
    take_rule(s, max_kib);
    if (a->has_range && !check_range(s, max_kib))
        return false;
    a->low_kib = a->high_kib = target_kib;
    if (!is_restore(s) && !may_start_small(s))
        a->low_kib = a->high_kib = max_kib;
    else if (!is_restore(s) && a->has_range) {
        a->low_kib = a->range_min_kib;
        a->high_kib = a->range_max_kib;
    }
    return true;
}

/* ------------------------------------------------------------ is it unique? */

/* An address without a file, which goes with us: two that start the same
 * machine would each take the other's domain for their own. */
static bool
lock_uuid(struct start *s)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                          CLIENT_NAME "/%s", s->machine.uuid);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                 (size_t)length);

    s->lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->lock >= 0 && bind(s->lock, (struct sockaddr *)&address, size) == 0)
        return true;
    xl_say(s->options, "another xl-squeeze is starting %s (UUID %s)",
           name_of(s), s->machine.uuid);
    return fail(s, EXIT_FAILED);
}

static void
make_uuid(char text[UUID_TEXT])
{
    uint8_t uuid[UUID_BYTES];

    if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
        abort();
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4: random */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    format_uuid(uuid, text);
}

static bool
check_unique(struct start *s)
{
    uint32_t domid = 0;

    if (!*s->machine.uuid && !is_restore(s))
        make_uuid(s->machine.uuid);
    if (*s->machine.uuid && !lock_uuid(s))
        return false;
    switch (xl_find_domain(s->machine.uuid, s->machine.name, &domid)) {
    case XL_NOT_THERE:
        return true;
    case XL_FOUND:
        xl_say(s->options, "domain %" PRIu32 " is that machine already (%s)",
               domid, *s->machine.uuid ? s->machine.uuid : s->machine.name);
        return fail(s, EXIT_FAILED);
    case XL_UNKNOWN:
        break;
    }
    xl_say(s->options, "`xl vm-list` fails: which domains there are can't be "
                       "told");
    return fail(s, EXIT_FAILED);
}

/* ------------------------------------------------------------------ memory */

/* Left by one of us that was killed before it had a domain, as we are the only
 * one now.  Its hold would end by itself, but too late for us. */
static bool
is_left_over(const struct start *s, const json_t *entry)
{
    const char *client = json_string_value(json_object_get(entry, "client"));
    const char *uuid = json_string_value(json_object_get(entry, "uuid"));

    return client && strcmp(client, CLIENT_NAME) == 0 && uuid &&
           strcasecmp(uuid, s->machine.uuid) == 0 &&
           json_is_null(json_object_get(entry, "in_transfer"));
}

/* What it doesn't work for is counted twice for a while, no more. */
static bool
release_left_over(struct start *s)
{
    const json_t *entries = json_object_get(s->before, "reservations");
    const json_t *entry;
    size_t i;

    json_array_foreach(entries, i, entry)
    {
        struct client_answer answer;

        if (!is_left_over(s, entry))
            continue;
        xl_call(s->options, "squeezed.release",
                json_pack("{s:O}", "reservation",
                          json_object_get(entry, "reservation")),
                false, &answer);
        client_answer_done(&answer);
    }
    return true;
}

static json_t *
reserve_params(const struct start *s)
{
    const struct overhead_guest *g = &s->machine.guest;
    const struct amounts *a = &s->amounts;
    uint64_t min_kib = overhead_need_kib(g, a->low_kib);
    uint64_t max_kib = overhead_need_kib(g, a->high_kib);
    json_t *params =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "client", CLIENT_NAME,
                  "min", (json_int_t)min_kib, "max", (json_int_t)max_kib,
                  "timeout_ms", (json_int_t)s->options->timeout_ms, "hold_ms",
                  (json_int_t)HOLD_MS, "wait", s->options->wait ? 1 : 0);

    if (params && *s->machine.uuid)
        json_object_set_new(params, "uuid", json_string(s->machine.uuid));
    return params;
}

static bool
take_grant(struct start *s, const json_t *grant)
{
    const char *id = json_string_value(json_object_get(grant, "reservation"));

    if (!id || !*id || strlen(id) > LIMIT_ID_CHARS) {
        xl_say(s->options, "the broker's answer names no reservation");
        return fail(s, EXIT_FAILED);
    }
    snprintf(s->reservation, sizeof(s->reservation), "%s", id);
    s->granted_kib =
        (uint64_t)json_integer_value(json_object_get(grant, "amount_kib"));
    s->took_ms = json_number_value(json_object_get(grant, "took_ms"));
    return true;
}

static void
hint_at_balloon(const struct start *s)
{
    char size[SIZE_TEXT];

    if (s->machine.guest.type == OVERHEAD_PV || may_start_small(s) ||
        is_restore(s) || s->machine.passthrough || s->machine.vnuma ||
        s->amounts.range_min_kib == s->amounts.high_kib)
        return;
    xl_say(s->options,
           "it was to start with all of its %s; if it has a balloon driver, "
           "--balloon lets it start with less",
           format_size((int64_t)s->amounts.high_kib, size));
}

static bool
reserve(struct start *s)
{
    struct client_answer answer;
    bool good = false;

    xl_call(s->options, "squeezed.reserve", reserve_params(s), true, &answer);
    if (answer.interrupted)
        s->signal = answer.signal;
    if (answer.end == CLIENT_RESULT) {
        good = take_grant(s, answer.result);
    } else if (!answer.interrupted) {
        xl_say_why(s->options, &answer);
        if (strcmp(xl_reason(&answer), "cannot-free") == 0)
            hint_at_balloon(s);
        fail(s, EXIT_FAILED);
    }
    client_answer_done(&answer);
    return good;
}

/* ------------------------------------------------------------------- build */

static uint64_t
memory_to_start_with(const struct start *s)
{
    const struct amounts *a = &s->amounts;
    uint64_t kib = overhead_fitting_kib(&s->machine.guest, s->granted_kib);

    return max_u64(a->low_kib, min_u64(a->high_kib, kib));
}

static bool
build(struct start *s)
{
    const struct xl_options *o = s->options;
    const struct overhead_guest *g = &s->machine.guest;
    const char *argv[ARGV_MAX] = { "xl", o->verb->name };
    struct xl_run run = { .argv = argv };
    char uuid[SETTING_CHARS], memory[SETTING_CHARS], maxmem[SETTING_CHARS];
    size_t n = 2;

    s->memory_kib = memory_to_start_with(s);
    argv[n++] = "-p";
    for (size_t i = 0; i < o->kept_count; i++)
        argv[n++] = o->kept[i];
    n = add_words(s, argv, n);
    if (!is_restore(s)) {
        snprintf(uuid, sizeof(uuid), "uuid=\"%s\"", s->machine.uuid);
        argv[n++] = uuid;
    }
    if (!is_restore(s) && s->memory_kib != overhead_target_kib(g)) {
        snprintf(memory, sizeof(memory), "memory=%" PRIu64,
                 s->memory_kib / KIB_PER_MIB);
        snprintf(maxmem, sizeof(maxmem), "maxmem=%" PRIu64,
                 overhead_max_kib(g) / KIB_PER_MIB);
        argv[n++] = memory;
        argv[n] = maxmem;
    }
    s->xl_ran = true;
    return xl_run(&run) || fail_with_xl(s, "xl could not build it", &run);
}

static bool
find_built(struct start *s)
{
    s->has_domid =
        xl_find_domain(s->machine.uuid, s->machine.name, &s->domid) == XL_FOUND;
    if (s->has_domid)
        return true;
    xl_say(s->options,
           "xl built it, and `xl vm-list` doesn't know it (UUID "
           "%s)",
           s->machine.uuid);
    return fail(s, EXIT_FAILED);
}

/* -------------------------------------------------------------- the broker */

static bool
is_soon_over(const struct client_answer *answer)
{
    const char *reason = xl_reason(answer);

    return answer->end == CLIENT_NO_ANSWER ||
           strcmp(reason, "not-ready") == 0 ||
           strcmp(reason, "unknown-domain") == 0;
}

/* Tries again while the broker is being restarted, or hasn't seen the domain
 * yet.  `params` is given away. */
static void
call_until_there(struct start *s, const char *method, json_t *params,
                 bool stoppable, struct client_answer *ret)
{
    int64_t end_ms = xl_clock_ms() + BROKER_BACK_MS;

    for (;;) {
        xl_call(s->options, method, json_incref(params), false, ret);
        if (stoppable && !s->signal)
            s->signal = xl_take_signal();
        if (!is_soon_over(ret) || xl_clock_ms() >= end_ms ||
            (stoppable && s->signal))
            break;
        client_answer_done(ret);
        pause_ms(POLL_MS);
    }
    json_decref(params);
}

/* The machine has its memory; that the broker is away is no reason to take it
 * back, unless the broker was required. */
static bool
judge_call(struct start *s, const struct client_answer *answer,
           const char *harmless)
{
    if (answer->end == CLIENT_RESULT ||
        (*harmless && strcmp(xl_reason(answer), harmless) == 0))
        return true;
    if (s->signal)
        return false;
    if (answer->end == CLIENT_NO_ANSWER && !s->options->require) {
        s->broker_lost = true;
        return true;
    }
    xl_say_why(s->options, answer);
    return fail(s, EXIT_FAILED);
}

static bool
set_range(struct start *s)
{
    const struct amounts *a = &s->amounts;
    struct client_answer answer;
    bool good;

    if (!a->has_range)
        return true;
    call_until_there(s, "squeezed.set_range",
                     json_pack("{s:I, s:I, s:I}", "domid", (json_int_t)s->domid,
                               "dynamic_min", (json_int_t)a->range_min_kib,
                               "dynamic_max", (json_int_t)a->range_max_kib),
                     true, &answer);
    good = judge_call(s, &answer, "");
    client_answer_done(&answer);
    if (s->broker_lost)
        xl_say(s->options,
               "the broker has gone: when it is back, squeezectl range "
               "%" PRIu32 " %" PRIu64 "M %" PRIu64 "M",
               s->domid, a->range_min_kib / KIB_PER_MIB,
               a->range_max_kib / KIB_PER_MIB);
    return good;
}

/* Where the broker has matched it by UUID, it knows no such reservation any
 * more, or says that it has it. */
static bool
transfer(struct start *s)
{
    struct client_answer answer;
    bool good;

    if (s->broker_lost)
        return true;
    call_until_there(s, "squeezed.transfer",
                     json_pack("{s:s, s:I}", "reservation", s->reservation,
                               "domid", (json_int_t)s->domid),
                     true, &answer);
    good = judge_call(s, &answer, "unknown-reservation");
    client_answer_done(&answer);
    return good;
}

/* ------------------------------------------------------------ and it starts */

static json_int_t
target_of(const json_t *status, json_int_t domid)
{
    const json_t *domains = json_object_get(status, "domains");
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain) if (
        json_integer_value(json_object_get(domain, "domid")) ==
        domid) return json_integer_value(json_object_get(domain, "target_kib"));
    return -1;
}

/* Whose target went down between two looks. */
static size_t
count_squeezed(const json_t *before, const json_t *after, json_int_t *ret_kib)
{
    const json_t *domains = json_object_get(before, "domains");
    const json_t *domain;
    size_t count = 0;
    size_t i;

    *ret_kib = 0;
    json_array_foreach(domains, i, domain)
    {
        json_int_t domid = json_integer_value(json_object_get(domain, "domid"));
        json_int_t was_kib =
            json_integer_value(json_object_get(domain, "target_kib"));
        json_int_t is_kib = target_of(after, domid);

        if (is_kib < 0 || is_kib >= was_kib)
            continue;
        *ret_kib += was_kib - is_kib;
        count++;
    }
    return count;
}

static bool
unpause(struct start *s)
{
    char domid[16];
    const char *const argv[] = { "xl", "unpause", domid, NULL };
    struct xl_run run = { .argv = argv, .manner = XL_IN_PEACE };

    snprintf(domid, sizeof(domid), "%" PRIu32, s->domid);
    s->started = s->options->paused || xl_run(&run);
    if (s->started)
        return true;
    xl_say(s->options, "`xl unpause %s` fails", domid);
    return fail(s, EXIT_FAILED);
}

/* ----------------------------------------------------------------- the way */

/* Right after the grant, before others move. */
static bool
compare(struct start *s)
{
    struct client_answer answer;

    xl_call(s->options, "squeezed.status", json_object(), false, &answer);
    if (answer.end == CLIENT_RESULT)
        s->squeezed_count =
            count_squeezed(s->before, answer.result, &s->squeezed_kib);
    client_answer_done(&answer);
    return true;
}

static bool
report(struct start *s)
{
    char memory[SIZE_TEXT], given[SIZE_TEXT];

    if (s->options->quiet)
        return true;
    printf("%s has %s: ", name_of(s),
           format_size((int64_t)s->memory_kib, memory));
    if (s->squeezed_count == 0)
        puts("nobody had to give anything");
    else
        printf("squeezed %zu %s by %s in %.1f s\n", s->squeezed_count,
               s->squeezed_count == 1 ? "domain" : "domains",
               format_size(s->squeezed_kib, given), s->took_ms / 1000);
    fflush(stdout);
    return true;
}

static bool (*const steps[])(struct start *) = {
    check_unique, release_left_over, reserve,  compare, build,
    find_built,   set_range,         transfer, unpause, report,
};

static bool
go(struct start *s)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool good = steps[i](s);

        if (!s->started && !s->signal)
            s->signal = xl_take_signal();
        if (!good || s->signal)
            return false;
    }
    return true;
}

/* -------------------------------------------------------------------- undo */

/* Ours is paused: a running one is somebody else's, who was faster. */
static bool
destroy(const struct start *s, uint32_t domid)
{
    char number[16];
    const char *const argv[] = { "xl", "destroy", number, NULL };
    struct xl_run run = { .argv = argv, .manner = XL_IN_PEACE };

    snprintf(number, sizeof(number), "%" PRIu32, domid);
    if (!xl_is_paused(domid)) {
        xl_say(s->options, "domain %s is not paused, so it is left alone",
               number);
        return false;
    }
    xl_run(&run);
    return true;
}

/* True when no domain of ours is there any more. */
static bool
remove_domain(const struct start *s)
{
    int64_t end_ms = xl_clock_ms() + GONE_MS;
    bool destroyed = false;
    enum xl_found found;
    uint32_t domid = 0;

    for (;;) {
        found = xl_find_domain(s->machine.uuid, s->machine.name, &domid);
        if (found == XL_NOT_THERE)
            return true;
        if (found == XL_FOUND && !destroyed) {
            if (!destroy(s, domid))
                return false;
            destroyed = true;
        }
        if (xl_clock_ms() >= end_ms)
            break;
        pause_ms(POLL_MS);
    }
    if (found == XL_UNKNOWN)
        xl_say(s->options,
               "`xl vm-list` fails: whether %s is still there, "
               "half-built, can't be told",
               name_of(s));
    else
        xl_say(s->options,
               "the half-built domain %" PRIu32 " is still there: see xl list, "
               "xl destroy %" PRIu32,
               domid, domid);
    return false;
}

static void
release(struct start *s)
{
    struct client_answer answer;

    call_until_there(s, "squeezed.release",
                     json_pack("{s:s}", "reservation", s->reservation), false,
                     &answer);
    /* It is unknown where it went with the domain. */
    if (answer.end != CLIENT_RESULT &&
        strcmp(xl_reason(&answer), "unknown-reservation") != 0) {
        xl_say_why(s->options, &answer);
        xl_say(s->options,
               "reservation %s could not be released; it ends by itself in "
               "%d minutes",
               s->reservation, (int)(HOLD_MS / 60000));
    }
    client_answer_done(&answer);
}

static void
undo(struct start *s)
{
    bool gone = true;

    if (s->signal)
        xl_say(s->options, "interrupted: taking everything back");
    if (s->xl_ran)
        gone = remove_domain(s);
    if (*s->reservation && gone)
        release(s);
}

/* ---------------------------------------------------------------- the ends */

/* What -c and -V are for, once it runs. */
static int
attach(const struct start *s)
{
    char domid[16];
    const char *const console[] = { "xl", "console", domid, NULL };
    const char *const viewer[] = { "xl", "vncviewer", domid,
                                   s->options->viewer_password ? "--autopass"
                                                               : NULL,
                                   NULL };
    const char *argv[] = { "sh",        "-c",  "\"$@\" & ", "sh", "xl",
                           "vncviewer", domid, viewer[3],   NULL };
    struct xl_run run = { .argv = argv, .manner = XL_FOREGROUND };

    snprintf(domid, sizeof(domid), "%" PRIu32, s->domid);
    if (s->options->console && s->options->viewer)
        xl_run(&run);
    if (s->options->console)
        return xl_become(console);
    return s->options->viewer ? xl_become(viewer) : EXIT_DONE;
}

static int
run_steps(struct start *s)
{
    if (go(s))
        return attach(s);
    undo(s);
    if (s->signal)
        xl_end_by_signal(s->signal);
    return s->status;
}

static int
with_broker(struct start *s)
{
    if (!s->signal && read_sizes(s) && !s->signal && choose_amounts(s))
        return run_steps(s);
    if (s->signal)
        xl_end_by_signal(s->signal);
    return s->status;
}

/* A broker that has just been started hasn't seen the host yet. */
static void
ask_status(struct start *s, struct client_answer *ret)
{
    int64_t end_ms = xl_clock_ms() + BROKER_BACK_MS;

    for (;;) {
        xl_call(s->options, "squeezed.status", json_object(), false, ret);
        s->signal = xl_take_signal();
        if (strcmp(xl_reason(ret), "not-ready") != 0 || s->signal ||
            xl_clock_ms() >= end_ms)
            return;
        client_answer_done(ret);
        pause_ms(POLL_MS);
    }
}

int
xl_start(const struct xl_options *options)
{
    struct start s = { .options = options, .lock = -1, .status = EXIT_FAILED };
    struct client_answer answer;
    int status = EXIT_FAILED;

    if (options->dry_run)
        return xl_become(options->plain);
    ask_status(&s, &answer);
    if (answer.end == CLIENT_NO_ANSWER) {
        status = xl_without_broker(options, answer.message);
    } else if (answer.end != CLIENT_RESULT) {
        xl_say_why(options, &answer);
    } else {
        s.before = answer.result;
        status = with_broker(&s);
    }
    client_answer_done(&answer);
    return status;
}
