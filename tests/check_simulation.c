/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The events of scenarios against the real broker, in virtual time. */
#include "common/log.h"
#include "squeezed/simulation_run.h"
#include "tests/random.h"
#include "tests/suite.h"

#include <check.h>
#include <stdarg.h>
#include <string.h>

#define MIB UINT64_C(1024)
#define GIB (1024 * MIB)
#define S   INT64_C(1000000)
#define MS  INT64_C(1000)

static struct simulation_results results;
static char notes[20000];
static unsigned troubles;

static void
keep_note(void *context, int64_t t_us, bool trouble, const char *text)
{
    size_t at = strlen(notes);

    (void)context;
    troubles += trouble;
    snprintf(notes + at, sizeof notes - at, "%.6f %s\n", (double)t_us / 1e6,
             text);
}

static void
run_options(const char *text, struct simulation_run_options options)
{
    char message[400] = "";
    struct scenario *s = scenario_read_text("test", text, strlen(text), NULL,
                                            message, sizeof message);

    ck_assert_msg(s != NULL, "%s\nof:\n%s", message, text);
    notes[0] = '\0';
    troubles = 0;
    options.note = keep_note;
    simulation_results_done(&results);
    ck_assert_msg(simulation_run(s, &options, &results), "of:\n%s", text);
    scenario_free(s);
}

static void
run_seed(const char *text, uint64_t seed)
{
    run_options(
        text, (struct simulation_run_options){ .seed = seed, .until_us = -1 });
}

static void
show_all(const char *text)
{
    fprintf(stderr, "%s\n%s", text, notes);
    for (size_t i = 0; i < results.violation_count; i++)
        fprintf(stderr, "%.6f promise %d: %s\n",
                (double)results.violations[i].t_us / 1e6,
                results.violations[i].promise, results.violations[i].text);
    for (size_t i = 0; i < results.failure_count; i++)
        fprintf(stderr, "%s\n", results.failures[i]);
}

/* Nothing broken, all expectations true. */
static void
run_good(const char *text)
{
    run_seed(text, 0);
    if (results.violation_count > 0 || results.failure_count > 0)
        show_all(text);
    ck_assert_uint_eq(results.violation_count, 0);
    ck_assert_uint_eq(results.failure_count, 0);
}

static const struct simulated_domain *
domain(uint32_t domid)
{
    for (size_t i = 0; i < results.domain_count; i++)
        if (results.domains[i].domid == domid)
            return &results.domains[i];
    return NULL;
}

/* 2 GiB can be had of two alike, each 1 MiB a millisecond; nothing is free. */
#define PAIR                                                                   \
    "[host]\nmemory = 4168M\n"                                                 \
    "[domain 1]\ncount = 2\nrate = 1000M\n"                                    \
    "dynamic-min = 1G\ndynamic-max = 2G\n"

/* ------------------------------------------------------------- the requests */

START_TEST(life_of_a_machine)
{
    run_good(PAIR "[event 1]\nat = 1\naction = reserve\nmin = 1000M\n"
                  "expect = granted\nexpect-within = 600ms\n"
                  "expect-amount = 1000M\n"
                  "[event 2]\nat = after 1 + 2\naction = build\nof = 1\n"
                  "name = new\ndynamic-min = 1000M\ndynamic-max = 1000M\n"
                  "[event 3]\nat = after 2 + 3\naction = destroy\ndomid = 3\n"
                  "[expect]\nsettled-within = 2\nleft-over = 512K\n"
                  "domain-1-target = 2G\nmax-dip = 25\n");
    ck_assert_uint_eq(results.request_count, 1);
    ck_assert_int_eq(results.requests[0].submitted_us, 1 * S);
    /* Each gives 72 MiB less than half: 464 MiB at 1,000 MiB/s... */
    ck_assert_int_eq(results.requests[0].limit_us, 500 * MS);
    ck_assert_int_ge(results.requests[0].answered_us, 1500 * MS);
    ck_assert_uint_eq(results.requests[0].amount_kib, 1000 * MIB);
    ck_assert_uint_eq(results.domain_count, 2);
    ck_assert_uint_eq(results.reserved_kib, 0);
    ck_assert_int_ge(results.min_headroom_kib, 0);
    ck_assert_uint_gt(results.target_writes, 3);
    ck_assert_uint_eq(troubles, 0);
}
END_TEST

START_TEST(a_built_machine_owns_its_memory)
{
    run_good(PAIR "[event 1]\naction = reserve\nmin = 512M\ncount = 2\n"
                  "[event 2]\nat = after 1\naction = build\nof = 1\n"
                  "domid = 7\nname = new\n");
    ck_assert_uint_eq(results.domain_count, 4);
    ck_assert_uint_eq(domain(7)->actual_kib, 512 * MIB);
    ck_assert_uint_eq(domain(8)->actual_kib, 512 * MIB);
    ck_assert_str_eq(domain(8)->name, "new-2");
    ck_assert_int_eq(domain(7)->state, DOMAIN_STATE_UNMANAGED);
    ck_assert_uint_eq(results.reserved_kib, 0);
    ck_assert_uint_eq(results.free_kib, 72 * MIB);
}
END_TEST

START_TEST(refused_at_once)
{
    run_good(PAIR "[event 1]\nat = 1\naction = reserve\nmin = 3G\n"
                  "expect = refused\nexpect-error = cannot-free\n"
                  "expect-within = 0\n");
    ck_assert_int_eq(results.requests[0].limit_us, -1);
    ck_assert_uint_eq(results.requests[0].needed_kib, 3 * GIB);
    ck_assert_uint_eq(results.requests[0].free_kib, 2 * GIB);
    ck_assert_uint_eq(domain(1)->target_kib, 2 * GIB);
}
END_TEST

START_TEST(granted_at_once)
{
    run_good("[host]\nmemory = 8G\n[event 1]\naction = reserve\nmin = 1G\n"
             "expect-within = 0\n");
    ck_assert_int_eq(results.requests[0].limit_us, 0);
    ck_assert_uint_eq(results.reserved_kib, GIB);
}
END_TEST

START_TEST(timeout_and_cancel)
{
    run_good(PAIR
             "[event 1]\naction = reserve\nmin = 3G\nwait = yes\ntimeout = 5\n"
             "expect = timeout\nexpect-error = timeout\n"
             "[event 2]\nat = 1\naction = reserve\nmin = 3G\nwait = yes\n"
             "expect = cancelled\ncount = 2\n"
             "[event 3]\nat = 2\naction = cancel\nof = 2\n");
    ck_assert_int_eq(results.requests[0].answered_us, 5 * S);
    ck_assert_int_eq(results.requests[1].answered_us, 2 * S);
    ck_assert_int_eq(results.requests[2].answered_us, 2 * S);
}
END_TEST

START_TEST(release_gives_back)
{
    run_good(PAIR "[event 1]\naction = reserve\nmin = 100M\ncount = 3\n"
                  "[event 2]\nat = after 1 + 1\naction = release\nof = 1\n"
                  "[expect]\ndomain-1-target = 2G\nsettled-within = 1\n");
    ck_assert_uint_eq(results.reserved_kib, 0);
}
END_TEST

START_TEST(a_hold_ends_by_itself)
{
    run_good(PAIR "[event 1]\naction = reserve\nmin = 100M\nhold = 3\n"
                  "[event 2]\nat = 10\naction = build\nof = 1\n");
    ck_assert_uint_eq(results.reserved_kib, 0);
    ck_assert_uint_eq(results.domain_count, 2);
    ck_assert_ptr_nonnull(strstr(notes, "not built"));
}
END_TEST

START_TEST(uncooperative_names_who_owes)
{
    run_seed(PAIR "guest = stuck\n[event 1]\nat = 1\naction = reserve\n"
                  "min = 1G\nexpect-error = uncooperative\n",
             0);
    ck_assert_uint_eq(results.failure_count, 0);
    ck_assert_uint_eq(results.requests[0].domid_count, 2);
    ck_assert_uint_eq(results.requests[0].domids[1], 2);
}
END_TEST

/* ------------------------------------------------------------------ the order
 */

START_TEST(after_counts_from_the_answer)
{
    run_good(PAIR "[event 5]\nat = after 4 + 250ms\naction = reserve\n"
                  "min = 4\n"
                  "[event 4]\nat = 1\naction = reserve\nmin = 500M\n"
                  "[event 6]\nat = after 5\naction = balance\n"
                  "[event 7]\nat = after 6 + 1\naction = reserve\nmin = 4\n");
    ck_assert_uint_eq(results.request_count, 3);
    ck_assert_int_eq(results.requests[1].submitted_us,
                     results.requests[0].answered_us + 250 * MS);
    ck_assert_int_eq(results.requests[2].submitted_us,
                     results.requests[1].answered_us + 1 * S);
}
END_TEST

START_TEST(repeat_and_count)
{
    run_good("[host]\nmemory = 8G\n[event 1]\nat = 2\naction = reserve\n"
             "min = 4\ncount = 2\nrepeat = 3\nevery = 1.5\n"
             "[event 2]\nat = after 1\naction = release\nof = 1\n");
    ck_assert_uint_eq(results.request_count, 6);
    ck_assert_int_eq(results.requests[1].submitted_us, 2 * S);
    ck_assert_int_eq(results.requests[2].submitted_us, 3500 * MS);
    ck_assert_int_eq(results.requests[5].submitted_us, 5 * S);
    ck_assert_uint_eq(results.reserved_kib, 0);
}
END_TEST

/* Only one of them can have it. */
#define RIVALS                                                                 \
    "[host]\nmemory = 1096M\n"                                                 \
    "[event 1]\nat = 1\naction = reserve\nmin = 1G\n"                          \
    "[event 2]\nat = 1\naction = reserve\nmin = 1000M\n"

START_TEST(a_seed_orders_the_same_instant)
{
    bool other = false;

    run_seed(RIVALS, 0);
    ck_assert_uint_eq(results.requests[0].event, 0);
    ck_assert_int_eq(results.requests[0].outcome, OUTCOME_GRANTED);
    ck_assert_int_eq(results.requests[1].outcome, OUTCOME_REFUSED);
    for (uint64_t seed = 1; seed < 10; seed++) {
        size_t first;

        run_seed(RIVALS, seed);
        ck_assert_int_eq(results.requests[0].outcome, OUTCOME_GRANTED);
        first = results.requests[0].event;
        other |= first == 1;
        run_seed(RIVALS, seed);
        ck_assert_uint_eq(results.requests[0].event, first);
    }
    ck_assert(other);
}
END_TEST

START_TEST(until_ends_it)
{
    run_options(PAIR "[event 1]\nat = 60\naction = balance\n",
                (struct simulation_run_options){ .until_us = 1234567 });
    ck_assert_int_eq(results.simulated_us, 1234567);
    run_seed(PAIR "[event 1]\nat = 60\naction = balance\n", 0);
    ck_assert_int_ge(results.simulated_us, 60 * S);
    ck_assert_int_lt(results.simulated_us, 62 * S);
    run_seed(PAIR "[event 1]\naction = reserve\nmin = 3G\nwait = yes\n"
                  "timeout = 1h\n",
             0);
    ck_assert_int_eq(results.simulated_us, 600 * S);
    ck_assert_int_eq(results.requests[0].outcome, OUTCOME_PENDING);
}
END_TEST

/* -------------------------------------------------------------- other actions
 */

START_TEST(a_domain_that_is_not_there_is_reported)
{
    static const char *const events[] = {
        "destroy\ndomid=9",
        "pause\ndomid=9",
        "unpause\ndomid=9",
        "freeze\ndomid=9",
        "thaw\ndomid=9",
        "reboot\ndomid=9",
        "range\ndomid=9\nmin=4\nmax=4",
        "target\ndomid=9\nsize=4",
        "demand\ndomid=9\nused=4",
        "guest\ndomid=9\nguest=stuck",
    };
    char text[400];

    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        snprintf(text, sizeof text, PAIR "[event 3]\naction = %s\n", events[i]);
        run_good(text);
        ck_assert_uint_eq(troubles, 1);
        ck_assert_ptr_nonnull(strstr(notes, "event 3"));
        ck_assert_ptr_nonnull(strstr(notes, "there is no domain 9"));
    }
}
END_TEST

START_TEST(a_refused_reservation_is_not_built)
{
    run_good(PAIR "[event 1]\naction = reserve\nmin = 9G\n"
                  "[event 2]\nat = after 1\naction = build\nof = 1\n");
    ck_assert_uint_eq(troubles, 1);
    ck_assert_ptr_nonnull(strstr(notes, "nothing to build"));
    ck_assert_uint_eq(results.domain_count, 2);
}
END_TEST

START_TEST(a_domid_in_use_is_not_built)
{
    run_good(PAIR "[event 1]\naction = reserve\nmin = 4M\n"
                  "[event 2]\nat = after 1\naction = build\nof = 1\n"
                  "domid = 2\n");
    ck_assert_uint_eq(troubles, 1);
    ck_assert_uint_eq(results.reserved_kib, 4 * MIB);
}
END_TEST

START_TEST(paused_and_frozen_are_left_alone)
{
    run_good(PAIR "[event 1]\naction = pause\ndomid = 1\n"
                  "[event 2]\naction = freeze\ndomid = 2\n"
                  "[event 3]\nat = 1\naction = reserve\nmin = 4M\n"
                  "expect = refused\n"
                  "[event 4]\nat = 2\naction = unpause\ndomid = 1\n"
                  "[event 5]\nat = 3\naction = reserve\nmin = 4M\n"
                  "expect = granted\n"
                  "[expect]\ndomain-1-target = 2044M\n");
    ck_assert_int_eq(domain(2)->state, DOMAIN_STATE_FROZEN);
    ck_assert_uint_eq(domain(2)->target_kib, 2 * GIB);
}
END_TEST

START_TEST(theft_is_made_good)
{
    run_good(PAIR "[event 1]\nat = 1\naction = consume\nsize = 60M\n"
                  "[expect]\ndomain-1-target = 2018M\nsettled-within = 1\n");
    ck_assert_uint_eq(results.free_kib, 72 * MIB);
    /* What theft does is not what we do. */
    ck_assert_int_ge(results.min_headroom_kib, 0);
}
END_TEST

START_TEST(a_bad_range_changes_nothing)
{
    run_good(PAIR "[event 1]\nat = 1\naction = range\ndomid = 1\n"
                  "min = 3G\nmax = 1G\n"
                  "[event 2]\nat = 2\naction = range\ndomid = 2\n"
                  "min = 1G\nmax = 1.5G\n"
                  "[expect]\ndomain-1-target = 2G\ndomain-2-target = 1.5G\n");
    ck_assert_uint_eq(domain(1)->dynamic_min_kib, GIB);
}
END_TEST

START_TEST(reboot_comes_back_or_not)
{
    run_good(PAIR "[event 1]\nat = 1\naction = reboot\ndomid = 2\n");
    /* Domain 1 is at its maximum: there was room. */
    ck_assert_uint_eq(results.domain_count, 2);
    ck_assert_uint_eq(domain(2)->actual_kib, 2 * GIB);
    /* What it had is kept for it: nobody else gets that, ... */
    run_good(PAIR "[event 1]\nat = 1\naction = reboot\ndomid = 2\n"
                  "[event 2]\nat = 2\naction = reserve\nmin = 1.5G\n"
                  "expect = refused\nexpect-error = cannot-free\n"
                  "[event 3]\nat = 2\naction = reserve\nmin = 900M\n"
                  "expect = granted\n");
    ck_assert_uint_eq(results.domain_count, 2);
    ck_assert_ptr_null(strstr(notes, "did not come back"));
    /* ... but by theft. */
    run_seed(PAIR "[event 1]\nat = 1\naction = reboot\ndomid = 2\n"
                  "[event 2]\nat = 2\naction = consume\nsize = 2G\n",
             0);
    ck_assert_uint_eq(results.violation_count, 0);
    ck_assert_uint_eq(results.domain_count, 1);
    ck_assert_ptr_nonnull(strstr(notes, "did not come back"));
}
END_TEST

START_TEST(restart_keeps_what_was_granted)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        run_seed(PAIR "[event 1]\naction = reserve\nmin = 100M\ncount = 3\n"
                      "[event 2]\nat = after 1\naction = restart\n"
                      "[event 3]\nat = 3\naction = reserve\nmin = 1G\n"
                      "expect = cancelled\n"
                      "[event 4]\nat = 3.1\naction = restart\n"
                      "[event 5]\nat = 5\naction = build\nof = 1\ncount = 1\n",
                 seed);
        ck_assert_uint_eq(results.violation_count, 0);
        ck_assert_uint_eq(results.failure_count, 0);
        ck_assert_uint_eq(results.reserved_kib, 200 * MIB);
        ck_assert_uint_eq(domain(3)->actual_kib, 100 * MIB);
    }
}
END_TEST

START_TEST(a_slow_store_delays_the_answer)
{
    const char *text = "[host]\nmemory = 8G\n[event 1]\nat = 1\n"
                       "action = reserve\nmin = 1G\n";

    run_options(text, (struct simulation_run_options){ .until_us = -1,
                                                       .latency_us = 7 * MS });
    ck_assert_int_eq(results.requests[0].answered_us, 1 * S + 7 * MS);
}
END_TEST

/* What is kept for a domain that reboots, beyond what it holds, counts from the
 * decision: others take memory while that is stored. */
START_TEST(what_is_kept_counts_before_it_is_stored)
{
    const char *text = "[host]\nmemory = 1300000\n"
                       "[domain 7]\ndynamic-min = 493820\n"
                       "dynamic-max = 497396\n"
                       "[domain 8]\ndynamic-min = 17620\n"
                       "dynamic-max = 657140\nactual = 500M\n"
                       "[event 1]\nat = 21\naction = reboot\ndomid = 7\n"
                       "[event 2]\nat = after 1 + 1229us\naction = consume\n"
                       "size = 100M\n";

    run_options(text, (struct simulation_run_options){ .until_us = 60 * S,
                                                       .latency_us = 2 * MS });
    ck_assert_uint_eq(results.violation_count, 0);
}
END_TEST

/* A domain that runs already doesn't grow into its promise before that is
 * stored as its own: a restart would count both. */
START_TEST(what_is_promised_is_stored_first)
{
    const char *text = "[host]\nmemory = 3793932\n"
                       "[domain 3]\ndynamic-min = 18992\n"
                       "dynamic-max = 1310644\nrate = 56064\n"
                       "[event 1]\nrepeat = 4\nevery = 4123243us\n"
                       "action = reserve\nmin = 1563776\n"
                       "[event 2]\nat = after 1 + 0us\naction = build\nof = 1\n"
                       "dynamic-min = 392\ndynamic-max = 4384\nactual = 0\n"
                       "[event 3]\nat = after 2 + 0us\naction = reserve\n"
                       "min = 6044\ntimeout = 61391us\n";

    run_options(text, (struct simulation_run_options){ .until_us = 60 * S,
                                                       .latency_us = 92245 });
    ck_assert_uint_eq(results.violation_count, 0);
    ck_assert_uint_eq(domain(4)->actual_kib, 4384);
}
END_TEST

/* ------------------------------------------------------------ what is watched
 */

START_TEST(expectations_that_fail_are_told)
{
    static const char *const bad[] = {
        "expect = refused\n",
        "expect-error = busy\n",
        "expect-within = 100ms\n",
        "expect-amount = 1G\n",
        "[expect]\nmax-writes-per-domain = 0\n",
        "[expect]\nsettled-within = 0\n",
        "[expect]\nmax-dip = 1\n",
        "[expect]\ndomain-1-target = 1G\n",
        "[expect]\ndomain-9-target = 1G\n",
    };
    char text[600];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text,
                 PAIR "[event 2]\nat = after 1 + 1\naction = release\nof = 1\n"
                      "[event 1]\naction = reserve\nmin = 500M\n%s",
                 bad[i]);
        run_seed(text, 0);
        ck_assert_msg(results.failure_count == 1, "%s: %zu", bad[i],
                      results.failure_count);
        ck_assert_uint_eq(results.violation_count, 0);
    }
    run_seed("[host]\nmemory = 1G\n[expect]\nleft-over = 1M\n", 0);
    ck_assert_uint_eq(results.failure_count, 1);
}
END_TEST

/* Each sees as many changes as the next, from the start to the end. */
static void
check_sums(void *context, const struct simulation_now *now)
{
    size_t *looks = context;

    ++*looks;
    ck_assert(sim_adds_up(now->sim));
    ck_assert_int_ge(now->t_us, 0);
}

START_TEST(the_hook_sees_every_change)
{
    size_t looks = 0;

    run_options(PAIR "[event 1]\nat = 1\naction = reserve\nmin = 500M\n",
                (struct simulation_run_options){
                    .until_us = -1, .changed = check_sums, .context = &looks });
    ck_assert_uint_gt(looks, 10);
}
END_TEST

/* ------------------------------------------------------------------ properties
 */

struct writer {
    char text[8000];
    struct random random;
};

static void __attribute__((format(printf, 2, 3)))
put(struct writer *w, const char *format, ...)
{
    size_t at = strlen(w->text);
    va_list args;

    va_start(args, format);
    vsnprintf(w->text + at, sizeof w->text - at, format, args);
    va_end(args);
}

static unsigned
below(struct writer *w, unsigned n)
{
    return (unsigned)random_below(&w->random, n);
}

static void
put_guest(struct writer *w)
{
    static const char *const guests[] = {
        "obedient",   "obedient",     "obedient", "stuck",
        "floor 700M", "ceiling 900M", "sticky 2", "crawl 9M 300ms",
        "late 3s",    "vanish 15",    "backoff",
    };

    put(w, "guest = %s\n", guests[below(w, 11)]);
}

/* Ranges that leave something to share, and no more than a half of it free. */
static void
put_host(struct writer *w, unsigned domains)
{
    unsigned held = 0;

    for (unsigned i = 1; i <= domains; i++) {
        unsigned low = 100 + below(w, 900), high = low + below(w, 2000);
        unsigned actual = low + below(w, high - low + 1);

        put(w, "[domain %u]\nactual = %uM\nrate = %uM\n", i, actual,
            50 + below(w, 900));
        if (below(w, 8) > 0)
            put(w, "dynamic-min = %uM\ndynamic-max = %uM\n", low, high);
        if (below(w, 4) == 0)
            put(w, "inaccuracy = %uK\n", below(w, 300));
        if (below(w, 4) == 0)
            put(w, "delay = %ums\n", below(w, 300));
        put_guest(w);
        held += actual;
    }
    put(w, "[host]\nmemory = %uM\n", held + 72 + below(w, 1000));
}

static void
put_event(struct writer *w, unsigned number, unsigned domains)
{
    static const char *const of_domain[] = {
        "destroy", "pause", "unpause", "freeze", "thaw", "reboot",
    };
    unsigned domid = 1 + below(w, domains + 2);

    put(w, "[event %u]\nat = %ums\n", number, below(w, 40000));
    switch (below(w, 9)) {
    case 0:
        put(w, "action = release\nof = 1\n");
        break;
    case 1:
        put(w,
            "action = build\nof = 1\ndynamic-min = 8M\nstatic-max = 9G\n"
            "dynamic-max = %uM\n",
            8 + below(w, 2000));
        put_guest(w);
        break;
    case 2:
        put(w, "action = %s\ndomid = %u\n", of_domain[below(w, 6)], domid);
        break;
    case 3:
        put(w, "action = restart\n");
        break;
    case 4:
        put(w, "action = consume\nsize = %dM\n", (int)below(w, 400) - 200);
        break;
    default:
        put(w, "action = reserve\nmin = %uM\ncount = %u\ntimeout = %u\n",
            1 + below(w, 1500), 1 + below(w, 3), 1 + below(w, 20));
        if (below(w, 3) == 0)
            put(w, "max = 3G\n");
        if (below(w, 3) == 0)
            put(w, "wait = yes\n");
    }
}

/* Whatever happens, no promise is broken; and again with the same seed it is
 * the same to the microsecond. */
START_TEST(no_promise_is_broken)
{
    static struct writer w;
    unsigned domains, events;
    int64_t end_us;
    uint64_t writes;

    w.text[0] = '\0';
    w.random = random_seed("no_promise_is_broken", (uint64_t)_i);
    domains = 1 + below(&w, 6);
    put_host(&w, domains);
    put(&w, "[event 1]\nat = 1\naction = reserve\nmin = %uM\n", below(&w, 900));
    events = below(&w, 12);
    for (unsigned i = 2; i < events + 2; i++)
        put_event(&w, i, domains);
    run_seed(w.text, (uint64_t)_i % 4);
    end_us = results.simulated_us;
    writes = results.target_writes;
    if (results.violation_count > 0) {
        random_report();
        show_all(w.text);
    }
    ck_assert_uint_eq(results.violation_count, 0);
    for (size_t i = 0; i < results.request_count; i++)
        ck_assert_int_ne(results.requests[i].outcome, OUTCOME_PENDING);
    run_seed(w.text, (uint64_t)_i % 4);
    ck_assert_int_eq(results.simulated_us, end_us);
    ck_assert_uint_eq(results.target_writes, writes);
}
END_TEST

static void
add_tests(TCase *c)
{
    tcase_add_test(c, life_of_a_machine);
    tcase_add_test(c, a_built_machine_owns_its_memory);
    tcase_add_test(c, refused_at_once);
    tcase_add_test(c, granted_at_once);
    tcase_add_test(c, timeout_and_cancel);
    tcase_add_test(c, release_gives_back);
    tcase_add_test(c, a_hold_ends_by_itself);
    tcase_add_test(c, uncooperative_names_who_owes);
    tcase_add_test(c, after_counts_from_the_answer);
    tcase_add_test(c, repeat_and_count);
    tcase_add_test(c, a_seed_orders_the_same_instant);
    tcase_add_test(c, until_ends_it);
    tcase_add_test(c, a_domain_that_is_not_there_is_reported);
    tcase_add_test(c, a_refused_reservation_is_not_built);
    tcase_add_test(c, a_domid_in_use_is_not_built);
    tcase_add_test(c, paused_and_frozen_are_left_alone);
    tcase_add_test(c, theft_is_made_good);
    tcase_add_test(c, a_bad_range_changes_nothing);
    tcase_add_test(c, reboot_comes_back_or_not);
    tcase_add_test(c, restart_keeps_what_was_granted);
    tcase_add_test(c, a_slow_store_delays_the_answer);
    tcase_add_test(c, what_is_kept_counts_before_it_is_stored);
    tcase_add_test(c, what_is_promised_is_stored_first);
    tcase_add_test(c, expectations_that_fail_are_told);
    tcase_add_test(c, the_hook_sees_every_change);
}

int
main(void)
{
    Suite *s = suite_create("simulation");
    TCase *events = tcase_create("events");
    TCase *properties = tcase_create("properties");
    int status;

    log_set_level(LEVEL_ERROR);
    add_tests(events);
    suite_add_tcase(s, events);
    tcase_add_loop_test(properties, no_promise_is_broken, 0, 150);
    suite_add_tcase(s, properties);
    status = run_suite(s, CK_FORK_GETENV);
    simulation_results_done(&results);
    return status;
}
