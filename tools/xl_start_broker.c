/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the broker is asked for a machine: memory before it is built, and that
 * it gets its range and its reservation. */
#include "tools/xl_start.h"

#include "common/units.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* If we are killed, the reservation ends by itself. */
#define HOLD_MS (INT64_C(5) * 60 * 1000)
/* A broker that is being restarted is back by then. */
#define BROKER_BACK_MS 5000

/* -------------------------------------------------------------------- calls */

void
start_ask_status(struct start *s, struct client_answer *ret)
{
    int64_t end_ms = xl_clock_ms() + BROKER_BACK_MS;

    for (;;) {
        xl_call(s->options, "squeezed.status", json_object(), false, ret);
        s->signal = xl_take_signal();
        if (strcmp(xl_reason(ret), "not-ready") != 0 || s->signal ||
            xl_clock_ms() >= end_ms)
            return;
        client_answer_done(ret);
        start_pause_ms(POLL_MS);
    }
}

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
        start_pause_ms(POLL_MS);
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
    return start_fail(s, EXIT_FAILED);
}

/* --------------------------------------------------------- before the build */

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

bool
start_release_left_over(struct start *s)
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
        return start_fail(s, EXIT_FAILED);
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

    if (s->machine.guest.type == OVERHEAD_PV || start_may_be_small(s) ||
        start_is_restore(s) || s->machine.passthrough || s->machine.vnuma ||
        s->amounts.range_min_kib == s->amounts.high_kib)
        return;
    xl_say(s->options,
           "it was to start with all of its %s; if it has a balloon driver, "
           "--balloon lets it start with less",
           format_size((int64_t)s->amounts.high_kib, size));
}

bool
start_reserve(struct start *s)
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
        start_fail(s, EXIT_FAILED);
    }
    client_answer_done(&answer);
    return good;
}

static json_int_t
target_of(const json_t *status, json_int_t domid)
{
    const json_t *domains = json_object_get(status, "domains");
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain)
    {
        if (json_integer_value(json_object_get(domain, "domid")) == domid)
            return json_integer_value(json_object_get(domain, "target_kib"));
    }
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

bool
start_compare(struct start *s)
{
    struct client_answer answer;

    xl_call(s->options, "squeezed.status", json_object(), false, &answer);
    if (answer.end == CLIENT_RESULT)
        s->squeezed_count =
            count_squeezed(s->before, answer.result, &s->squeezed_kib);
    client_answer_done(&answer);
    return true;
}

/* ------------------------------------------------------------- and after it */

bool
start_set_range(struct start *s)
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

bool
start_transfer(struct start *s)
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

void
start_release(struct start *s)
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
