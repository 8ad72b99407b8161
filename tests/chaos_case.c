/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/chaos_case.h"

#include "tests/random.h"

#include <stdarg.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof *(array))

enum { GROUPS_MAX = 12, EVENTS_MAX = 30 };

struct writer {
    char *text;
    struct random random;
    uint64_t unit_kib; /* all sizes are some of these */
    uint64_t held_kib; /* by the domains */
    unsigned domids;   /* the highest in use */
    unsigned reserve_events[EVENTS_MAX + 1];
    unsigned reserve_count;
};

static void __attribute__((format(printf, 2, 3)))
put(struct writer *w, const char *format, ...)
{
    size_t at = strlen(w->text);
    va_list args;

    va_start(args, format);
    vsnprintf(w->text + at, CHAOS_TEXT - at, format, args);
    va_end(args);
}

static uint64_t
below(struct writer *w, uint64_t n)
{
    return random_below(&w->random, n);
}

/* Once in n times. */
static bool
once_in(struct writer *w, uint64_t n)
{
    return below(w, n) == 0;
}

/* Small ones are as frequent as large ones. */
static uint64_t
any_size(struct writer *w, uint64_t highest)
{
    uint64_t range = highest >> below(w, 12);

    return 4 * (below(w, range * w->unit_kib / 4 + 1));
}

/* Microseconds, in all orders of magnitude up to this. */
static uint64_t
any_time(struct writer *w, uint64_t highest_us)
{
    return 1 + below(w, highest_us >> below(w, 14));
}

/* ------------------------------------------------------------- the domains */

static void
put_guest(struct writer *w)
{
    switch (below(w, 16)) {
    case 0:
        put(w, "guest = stuck\n");
        break;
    case 1:
        put(w, "guest = floor %" PRIu64 "\n", any_size(w, 3000));
        break;
    case 2:
        put(w, "guest = ceiling %" PRIu64 "\n", any_size(w, 3000));
        break;
    case 3:
        put(w, "guest = sticky %" PRIu64 "us\n",
            100000 + any_time(w, 20000000));
        break;
    case 4:
        put(w, "guest = crawl %" PRIu64 " %" PRIu64 "us\n",
            4 + any_size(w, 100), 20000 + any_time(w, 8000000));
        break;
    case 5:
        put(w, "guest = late %" PRIu64 "us\n", any_time(w, 30000000));
        break;
    case 6:
        put(w, "guest = vanish %" PRIu64 "us\n", any_time(w, 60000000));
        break;
    case 7:
        put(w, "guest = backoff\nused = %" PRIu64 "\n", any_size(w, 2000));
        break;
    default:
        break;
    }
}

static void
put_manners(struct writer *w)
{
    uint64_t rate = 4 + any_size(w, 2000);

    put(w, "rate = %" PRIu64 "\n", rate);
    if (once_in(w, 6))
        put(w, "inaccuracy = %" PRIu64 "\n", any_size(w, 2));
    if (once_in(w, 6))
        put(w, "delay = %" PRIu64 "us\n", any_time(w, 2000000));
    if (once_in(w, 8))
        put(w, "shares = %" PRIu64 "\n", 1 + below(w, 100000));
    put_guest(w);
}

/* A range, and sometimes the static one around it. */
static uint64_t
put_range(struct writer *w)
{
    uint64_t low = any_size(w, 1500), high = low + any_size(w, 3000);

    put(w, "dynamic-min = %" PRIu64 "\ndynamic-max = %" PRIu64 "\n", low, high);
    if (once_in(w, 3))
        put(w, "static-min = %" PRIu64 "\n", low / 2);
    if (once_in(w, 2))
        put(w, "static-max = %" PRIu64 "\n", high + any_size(w, 1000));
    return once_in(w, 10) ? any_size(w, 4000)
                          : low + 4 * below(w, (high - low) / 4 + 1);
}

static void
put_group(struct writer *w, unsigned domid)
{
    unsigned count = once_in(w, 3) ? 1 + (unsigned)below(w, 12) : 1;
    uint64_t actual;

    put(w, "[domain %u]\n", domid);
    actual = once_in(w, 8) ? any_size(w, 2000) : put_range(w);
    if (domid == 0)
        count = 1;
    if (count > 1)
        put(w, "count = %u\n", count);
    put(w, "actual = %" PRIu64 "\n", actual);
    if (once_in(w, 6))
        put(w, "target = %" PRIu64 "\n", any_size(w, 3000));
    if (once_in(w, 8))
        put(w, "limit = %" PRIu64 "\n", actual + any_size(w, 500));
    put_manners(w);
    w->held_kib += actual * count;
    w->domids = domid + count - 1;
}

static void
put_host(struct writer *w)
{
    static const uint64_t units[] = { 4, 1024, 1024, 1024, 1024, 1048576 };
    unsigned groups = 1 + (unsigned)below(w, GROUPS_MAX);
    uint64_t reserve = UINT64_C(72) * 1024;

    w->unit_kib = units[below(w, ARRAY_SIZE(units))];
    if (once_in(w, 3))
        put_group(w, 0);
    for (unsigned i = 0; i < groups; i++)
        put_group(w, w->domids + 1);
    put(w, "[host]\n");
    if (once_in(w, 3))
        put(w, "reserve = %" PRIu64 "\n", reserve = any_size(w, 200));
    if (once_in(w, 5))
        put(w, "cushion = %" PRIu64 "\n", any_size(w, 600));
    if (once_in(w, 5))
        put(w, "tolerance = %" PRIu64 "\n", any_size(w, 8));
    put(w, "memory = %" PRIu64 "\n",
        w->held_kib + (once_in(w, 10) ? 0 : reserve) + any_size(w, 1000) + 4);
}

/* -------------------------------------------------------------- the events */

static void
put_reserve(struct writer *w)
{
    uint64_t min = any_size(w, 3000);

    put(w, "action = reserve\nmin = %" PRIu64 "\n", min);
    if (once_in(w, 3))
        put(w, "max = %" PRIu64 "\n", min + any_size(w, 3000));
    if (once_in(w, 4))
        put(w, "count = %" PRIu64 "\n", 1 + below(w, 8));
    if (once_in(w, 2))
        put(w, "timeout = %" PRIu64 "us\n", any_time(w, 40000000));
    if (once_in(w, 4))
        put(w, "wait = yes\n");
    if (once_in(w, 4))
        put(w, "hold = %" PRIu64 "us\n", any_time(w, 20000000));
    if (once_in(w, 3))
        put(w, "client = c%" PRIu64 "\n", below(w, 3));
}

static void
put_of(struct writer *w, const char *action)
{
    put(w, "action = %s\nof = %u\n", action,
        w->reserve_events[below(w, w->reserve_count)]);
}

static void
put_build(struct writer *w)
{
    put_of(w, "build");
    if (once_in(w, 2))
        put_range(w);
    if (once_in(w, 4))
        put(w, "actual = %" PRIu64 "\n", any_size(w, 2000));
    if (once_in(w, 4))
        put(w, "domid = %" PRIu64 "\n", 1 + below(w, w->domids + 20));
    if (once_in(w, 4))
        put(w, "count = %" PRIu64 "\n", 1 + below(w, 3));
    put_manners(w);
}

static uint64_t
any_domid(struct writer *w)
{
    return below(w, w->domids + 4);
}

static void
put_of_domain(struct writer *w)
{
    static const char *const actions[] = { "destroy", "pause",  "unpause",
                                           "auto",    "freeze", "thaw",
                                           "reboot" };

    put(w, "action = %s\ndomid = %" PRIu64 "\n",
        actions[below(w, ARRAY_SIZE(actions))], any_domid(w));
}

static void
put_write(struct writer *w)
{
    uint64_t domid = any_domid(w);

    switch (below(w, 4)) {
    case 0:
        put(w, "action = target\ndomid = %" PRIu64 "\nsize = %" PRIu64 "\n",
            domid, any_size(w, 4000));
        break;
    case 1:
        put(w, "action = demand\ndomid = %" PRIu64 "\nused = %" PRIu64 "\n",
            domid, any_size(w, 3000));
        break;
    case 2:
        put(w,
            "action = range\ndomid = %" PRIu64 "\nmin = %" PRIu64
            "\nmax = %" PRIu64 "\n",
            domid, any_size(w, 2000), any_size(w, 4000));
        break;
    default: {
        size_t before;

        put(w, "action = guest\ndomid = %" PRIu64 "\n", domid);
        before = strlen(w->text);
        put_guest(w);
        if (strlen(w->text) == before ||
            strstr(w->text + before, "used = ") != NULL)
            w->text[before] = '\0', put(w, "guest = obedient\n");
    }
    }
}

static void
put_consume(struct writer *w)
{
    put(w, "action = consume\nsize = %s%" PRIu64 "\n", once_in(w, 2) ? "-" : "",
        any_size(w, 500));
}

static void
put_action(struct writer *w, unsigned number)
{
    uint64_t choice = below(w, 20);

    if (choice < 7 || w->reserve_count == 0) {
        w->reserve_events[w->reserve_count++] = number;
        put_reserve(w);
    } else if (choice < 9) {
        put_build(w);
    } else if (choice < 11) {
        put_of(w, once_in(w, 3) ? "cancel" : "release");
    } else if (choice < 14) {
        put_of_domain(w);
    } else if (choice < 17) {
        put_write(w);
    } else if (choice == 17) {
        put_consume(w);
    } else {
        put(w, "action = %s\n", once_in(w, 3) ? "balance" : "restart");
    }
}

/* Many things happen in the same instant, or just after one another. */
static void
put_event(struct writer *w, unsigned number)
{
    put(w, "[event %u]\n", number);
    if (number > 1 && once_in(w, 3))
        put(w, "at = after %" PRIu64 " + %" PRIu64 "us\n",
            1 + below(w, number - 1),
            once_in(w, 3) ? 0 : any_time(w, 10000000));
    else if (once_in(w, 2))
        put(w, "at = %" PRIu64 "\n", below(w, 12) * 3);
    else
        put(w, "at = %" PRIu64 "us\n", any_time(w, 60000000));
    if (once_in(w, 8))
        put(w, "repeat = %" PRIu64 "\nevery = %" PRIu64 "us\n", 2 + below(w, 6),
            any_time(w, 5000000));
    put_action(w, number);
}

void
chaos_write(struct chaos_case *ret, uint64_t seed)
{
    struct writer w = { .text = ret->text };
    unsigned events;

    w.random.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    ret->text[0] = '\0';
    ret->seed = below(&w, 4);
    ret->latency_us = once_in(&w, 3) ? (int64_t)any_time(&w, 200000) : 0;
    put_host(&w);
    events = 1 + (unsigned)below(&w, EVENTS_MAX);
    for (unsigned i = 1; i <= events; i++)
        put_event(&w, i);
}

/* --------------------------------------------------------------- shrinking */

/* The end of the line, or of the section, that begins there. */
static size_t
piece_end(const char *text, size_t from, bool section)
{
    const char *end = strstr(text + from, section ? "\n[" : "\n");

    return end ? (size_t)(end + 1 - text) : strlen(text);
}

static uint64_t
number_of(const char *text, size_t from, size_t to, const char *key,
          uint64_t otherwise)
{
    const char *at = strstr(text + from, key);

    return at && (size_t)(at - text) < to ? strtoull(at + strlen(key), NULL, 10)
                                          : otherwise;
}

/* Without a domain the host has less memory, so that as much is free. */
static void
take_memory(char *text, uint64_t kib)
{
    static const char key[] = "\nmemory = ";
    char *at = strstr(text, key), *end, rest[CHAOS_TEXT];
    uint64_t memory;

    if (!at || kib == 0)
        return;
    at += sizeof key - 1;
    memory = strtoull(at, &end, 10);
    if (memory <= kib)
        return;
    snprintf(rest, sizeof rest, "%s", end);
    snprintf(at, CHAOS_TEXT - (size_t)(at - text), "%" PRIu64 "%s",
             memory - kib, rest);
}

static bool
try_without(struct chaos_case *c, size_t from, size_t to, bool adjust,
            chaos_breaks *breaks, void *context)
{
    static struct chaos_case smaller;
    uint64_t kib = 0;

    smaller = *c;
    if (adjust && strncmp(c->text + from, "[domain", 7) == 0)
        kib = number_of(c->text, from, to, "\nactual = ", 0) *
              number_of(c->text, from, to, "\ncount = ", 1);
    memmove(smaller.text + from, smaller.text + to,
            strlen(smaller.text + to) + 1);
    take_memory(smaller.text, kib);
    if (!breaks(context, &smaller))
        return false;
    *c = smaller;
    return true;
}

/* Sections or lines, one after the other; true if one could go. */
static bool
shrink_once(struct chaos_case *c, bool section, chaos_breaks *breaks,
            void *context)
{
    bool any = false;
    size_t at = 0;

    while (c->text[at] != '\0') {
        size_t end = piece_end(c->text, at, section);

        if (!section && c->text[at] == '[')
            at = end;
        else if (try_without(c, at, end, true, breaks, context) ||
                 try_without(c, at, end, false, breaks, context))
            any = true;
        else
            at = end;
    }
    return any;
}

void
chaos_shrink(struct chaos_case *c, chaos_breaks *breaks, void *context)
{
    static struct chaos_case plain;

    plain = *c;
    plain.latency_us = 0;
    if (breaks(context, &plain))
        *c = plain;
    plain = *c;
    plain.seed = 0;
    if (breaks(context, &plain))
        *c = plain;
    while (shrink_once(c, true, breaks, context))
        continue;
    while (shrink_once(c, false, breaks, context) ||
           shrink_once(c, true, breaks, context))
        continue;
}
