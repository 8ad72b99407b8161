/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/sim.h"
#include "tests/random.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MIB UINT64_C(1024)
#define GIB (1024 * MIB)
#define S   INT64_C(1000000)
#define MS  INT64_C(1000)

/* Not 0, so that nobody gets away with taking 0 for the start. */
#define START (5 * S)

static struct platform *
host(const char *text)
{
    char message[400] = "";
    struct scenario *s = scenario_read_text("test", text, strlen(text), NULL,
                                            message, sizeof message);
    struct platform *p;

    ck_assert_msg(s != NULL, "%s", message);
    p = sim_platform_new(s, START);
    ck_assert(p != NULL);
    scenario_free(s);
    return p;
}

static void
set(struct platform *p, uint32_t domid, uint64_t target_kib, uint64_t limit_kib)
{
    const struct setting setting = { .domid = domid,
                                     .target_kib = target_kib,
                                     .limit_kib = limit_kib };

    p->ops->apply(p, &setting, 1);
}

static uint64_t
actual(const struct platform *p, uint32_t domid)
{
    const struct sim_domain *d = sim_find(p, domid);

    ck_assert(d != NULL);
    return d->actual_kib;
}

/* At START + us. */
static uint64_t
actual_at(struct platform *p, uint32_t domid, int64_t us)
{
    sim_advance(p, START + us);
    ck_assert(sim_adds_up(p));
    return actual(p, domid);
}

#define HOST "[host]\nmemory = 16G\n"
/* One domain of 2 GiB that moves 1 MiB a millisecond. */
#define ONE                                                                    \
    HOST "[domain 1]\nrate = 1000M\ndynamic-min = 256M\n"                      \
         "dynamic-max = 4G\nactual = 2G\n"

/* ------------------------------------------------------------ the movement */

START_TEST(obedient_shrinks_at_its_rate)
{
    struct platform *p = host(ONE);

    ck_assert_int_eq(sim_next_us(p), TIME_NEVER_US);
    ck_assert(sim_at_rest(p));
    set(p, 1, GIB, GIB);
    ck_assert(!sim_at_rest(p));
    ck_assert_int_eq(sim_next_us(p), START + 1024 * MS);
    ck_assert_uint_eq(actual_at(p, 1, 0), 2 * GIB);
    /* 1,000 MiB/s: a page every 3.90625 us, that is 3 whole ones in 12. */
    ck_assert_uint_eq(actual_at(p, 1, 3), 2 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 4), 2 * GIB - 4);
    ck_assert_uint_eq(actual_at(p, 1, 12), 2 * GIB - 12);
    ck_assert_uint_eq(actual_at(p, 1, 500 * MS), 2 * GIB - 500 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 1024 * MS - 1), GIB + 4);
    ck_assert_uint_eq(actual_at(p, 1, 1024 * MS), GIB);
    ck_assert_uint_eq(actual_at(p, 1, 9 * S), GIB);
    ck_assert_uint_eq(sim_free_kib(p), 15 * GIB);
    ck_assert(sim_at_rest(p));
    p->ops->free(p);
}
END_TEST

START_TEST(obedient_grows_no_further_than_its_limit)
{
    struct platform *p = host(ONE);

    set(p, 1, 3 * GIB, 2 * GIB + 100 * MIB);
    ck_assert_int_eq(sim_next_us(p), START + 100 * MS);
    ck_assert_uint_eq(actual_at(p, 1, 50 * MS), 2 * GIB + 50 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 1 * S), 2 * GIB + 100 * MIB);
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 1 * S + 24 * MS), 2 * GIB + 124 * MIB);
    /* A limit below what it holds takes nothing away. */
    set(p, 1, 3 * GIB, 1 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 2 * S), 2 * GIB + 124 * MIB);
    p->ops->free(p);
}
END_TEST

START_TEST(a_new_target_on_the_way_keeps_the_part_of_a_page)
{
    struct platform *p = host(ONE);

    set(p, 1, GIB, GIB);
    sim_advance(p, START + 3); /* three quarters of a page */
    set(p, 1, GIB + 4, GIB + 4);
    ck_assert_uint_eq(actual_at(p, 1, 4), 2 * GIB - 4);
    sim_advance(p, START + 7); /* 7 us: 1.792 pages */
    set(p, 1, 3 * GIB, 3 * GIB);
    /* The other way it begins with nothing. */
    ck_assert_uint_eq(actual_at(p, 1, 7 + 3), 2 * GIB - 4);
    ck_assert_uint_eq(actual_at(p, 1, 7 + 4), 2 * GIB);
    p->ops->free(p);
}
END_TEST

START_TEST(inaccuracy_stops_short_both_ways)
{
    struct platform *p = host(ONE "inaccuracy = 1M\n");

    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 10 * S), GIB + MIB);
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 20 * S), 3 * GIB - MIB);
    set(p, 1, 3 * GIB - 2 * MIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 30 * S), 3 * GIB - MIB);
    p->ops->free(p);
}
END_TEST

START_TEST(delay_before_the_first_movement)
{
    struct platform *p = host(ONE "delay = 200ms\n");

    set(p, 1, GIB, GIB);
    ck_assert(!sim_at_rest(p));
    ck_assert_int_eq(sim_next_us(p), START + 200 * MS);
    ck_assert_uint_eq(actual_at(p, 1, 200 * MS), 2 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 210 * MS), 2 * GIB - 10 * MIB);
    /* It goes on while it has not seen the next one yet. */
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 310 * MS), 2 * GIB - 110 * MIB);
    set(p, 1, 3 * GIB - 4, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 410 * MS), 2 * GIB - 210 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 420 * MS), 2 * GIB - 200 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 9 * S), 3 * GIB - 4);
    p->ops->free(p);
}
END_TEST

START_TEST(stuck_never_moves)
{
    struct platform *p = host(ONE "guest = stuck\n");

    set(p, 1, GIB, GIB);
    ck_assert_int_eq(sim_next_us(p), TIME_NEVER_US);
    ck_assert_uint_eq(actual_at(p, 1, 100 * S), 2 * GIB);
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 200 * S), 2 * GIB);
    ck_assert(sim_at_rest(p));
    p->ops->free(p);
}
END_TEST

START_TEST(floor_and_ceiling)
{
    struct platform *p = host(ONE "guest = floor 1.5G\n");
    const struct guest_behaviour ceiling = { GUEST_CEILING, 2 * GIB, 0 };

    set(p, 1, GIB, GIB);
    ck_assert_int_eq(sim_next_us(p), START + 512 * MS);
    ck_assert_uint_eq(actual_at(p, 1, 10 * S), GIB + 512 * MIB);
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 11 * S), GIB + 512 * MIB + 1000 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 20 * S), 3 * GIB);
    /* Above its ceiling it doesn't shrink by itself. */
    ck_assert(sim_set_guest(p, 1, &ceiling));
    ck_assert_uint_eq(actual_at(p, 1, 30 * S), 3 * GIB);
    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 40 * S), GIB);
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 50 * S), 2 * GIB);
    p->ops->free(p);
}
END_TEST

START_TEST(a_floor_above_what_it_holds_does_not_make_it_grow)
{
    struct platform *p = host(ONE "guest = floor 3G\n");

    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 10 * S), 2 * GIB);
    p->ops->free(p);
}
END_TEST

START_TEST(sticky_every_other_time)
{
    struct platform *p = host(ONE "guest = sticky 100ms\n");

    sim_advance(p, START + 50 * MS);
    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 100 * MS), 2 * GIB - 50 * MIB);
    ck_assert_int_eq(sim_next_us(p), START + 200 * MS);
    ck_assert_uint_eq(actual_at(p, 1, 199 * MS), 2 * GIB - 50 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 250 * MS), 2 * GIB - 100 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 450 * MS), 2 * GIB - 200 * MIB);
    p->ops->free(p);
}
END_TEST

START_TEST(crawl_at_the_end_of_each_time)
{
    struct platform *p = host(ONE "guest = crawl 4M 100ms\n");

    sim_advance(p, START + 30 * MS);
    set(p, 1, 2 * GIB - 9 * MIB, GIB);
    ck_assert_int_eq(sim_next_us(p), START + 100 * MS);
    ck_assert_uint_eq(actual_at(p, 1, 100 * MS - 1), 2 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 100 * MS), 2 * GIB - 4 * MIB);
    ck_assert(!sim_at_rest(p));
    ck_assert_uint_eq(actual_at(p, 1, 250 * MS), 2 * GIB - 8 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 900 * MS), 2 * GIB - 9 * MIB);
    ck_assert(sim_at_rest(p));
    /* Nothing is saved up while it is content. */
    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 1000 * MS), 2 * GIB - 13 * MIB);
    p->ops->free(p);
}
END_TEST

static void
count_change(void *context)
{
    ++*(int *)context;
}

START_TEST(late_gets_its_balloon_and_says_so)
{
    struct platform *p = host(ONE "guest = late 2\n");
    struct snapshot snapshot;
    int changes = 0;

    p->hooks = (struct platform_hooks){ &changes, count_change };
    p->ops->look(p, START, &snapshot);
    ck_assert_uint_eq(snapshot.domains[0].flags, DOMAIN_MANAGED);
    set(p, 1, GIB, GIB);
    ck_assert_int_eq(sim_next_us(p), START + 2 * S);
    ck_assert_uint_eq(actual_at(p, 1, 2 * S - 1), 2 * GIB);
    ck_assert_int_eq(changes, 0);
    ck_assert_uint_eq(actual_at(p, 1, 2 * S), 2 * GIB);
    ck_assert_int_eq(changes, 1);
    p->ops->look(p, START + 2 * S, &snapshot);
    ck_assert_uint_eq(snapshot.domains[0].flags,
                      DOMAIN_MANAGED | DOMAIN_BALLOON);
    ck_assert_uint_eq(actual_at(p, 1, 2100 * MS), 2 * GIB - 100 * MIB);
    p->ops->free(p);
}
END_TEST

START_TEST(vanish_dies_and_its_memory_is_free)
{
    struct platform *p = host(ONE "guest = vanish 2\n");
    int changes = 0;

    p->hooks = (struct platform_hooks){ &changes, count_change };
    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 100 * MS), 2 * GIB - 100 * MIB);
    ck_assert_int_eq(changes, 0);
    sim_advance(p, START + 2 * S);
    ck_assert_int_eq(changes, 1);
    ck_assert(!sim_find(p, 1));
    ck_assert_uint_eq(sim_free_kib(p), 16 * GIB);
    ck_assert_int_eq(sim_next_us(p), TIME_NEVER_US);
    set(p, 1, GIB, GIB); /* no error */
    p->ops->free(p);
}
END_TEST

START_TEST(backoff_sleeps_longer_each_time)
{
    struct platform *p = host(ONE "guest = backoff\n");
    /* It fails at once, then 1, 2, 4, ... 32, 32 s later. */
    const int64_t tries[] = { 1, 3, 7, 15, 31, 63, 95 };

    set(p, 1, 3 * GIB, 2 * GIB);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        ck_assert_int_eq(sim_next_us(p), START + tries[i] * S);
        sim_advance(p, START + tries[i] * S);
    }
    /* It doesn't see the new limit before it wakes ... */
    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 126 * S), 2 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 127 * S), 2 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 127 * S + 10 * MS), 2 * GIB + 10 * MIB);
    /* ... and a step that was done makes its next sleep a short one. */
    set(p, 1, 3 * GIB, 2 * GIB + 20 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 127 * S + 50 * MS), 2 * GIB + 20 * MIB);
    ck_assert_int_eq(sim_next_us(p), START + 128 * S + 20 * MS);
    p->ops->free(p);
}
END_TEST

START_TEST(backoff_is_woken_by_a_changed_target)
{
    struct platform *p = host(ONE "guest = backoff\nused = 1.5G\n");

    set(p, 1, GIB, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 20 * S), GIB + 512 * MIB);
    ck_assert(sim_set_used(p, 1, GIB));
    ck_assert_uint_eq(actual_at(p, 1, 21 * S), GIB + 512 * MIB);
    set(p, 1, GIB, GIB); /* the same: it sleeps on */
    ck_assert_uint_eq(actual_at(p, 1, 22 * S), GIB + 512 * MIB);
    set(p, 1, GIB + 4, GIB);
    ck_assert_uint_eq(actual_at(p, 1, 22 * S + 10 * MS), GIB + 502 * MIB);
    ck_assert_uint_eq(actual_at(p, 1, 30 * S), GIB + 4);
    p->ops->free(p);
}
END_TEST

START_TEST(backoff_fails_without_free_memory)
{
    struct platform *p = host("[host]\nmemory = 2052M\n"
                              "[domain 1]\nrate = 1000M\nactual = 2G\n"
                              "guest = backoff\n");

    set(p, 1, 3 * GIB, 3 * GIB);
    ck_assert_uint_eq(actual_at(p, 1, 4 * MS), 2052 * MIB);
    ck_assert_int_eq(sim_next_us(p), START + 1004 * MS);
    p->ops->free(p);
}
END_TEST

START_TEST(paused_does_not_move)
{
    struct platform *p = host(ONE);

    set(p, 1, GIB, GIB);
    sim_advance(p, START + 100 * MS);
    ck_assert(sim_pause(p, 1, true));
    ck_assert_int_eq(sim_next_us(p), TIME_NEVER_US);
    ck_assert_uint_eq(actual_at(p, 1, 5 * S), 2 * GIB - 100 * MIB);
    ck_assert(sim_pause(p, 1, false));
    ck_assert_uint_eq(actual_at(p, 1, 5100 * MS), 2 * GIB - 200 * MIB);
    ck_assert(!sim_pause(p, 2, true));
    p->ops->free(p);
}
END_TEST

/* -------------------------------------------------------------- the memory */

/* 1 GiB is free, two want 1 GiB each, and one gives. */
#define SHORT                                                                  \
    "[host]\nmemory = 4G\n"                                                    \
    "[domain 1]\nrate = 1000M\nactual = 1G\ncount = 2\n"                       \
    "[domain 5]\nrate = 500M\nactual = 1G\n"

START_TEST(growth_takes_free_memory_only)
{
    struct platform *p = host(SHORT);

    set(p, 1, 2 * GIB, 2 * GIB);
    set(p, 2, 2 * GIB, 2 * GIB);
    sim_advance(p, START + 10 * S);
    ck_assert_uint_eq(sim_free_kib(p), 0);
    ck_assert_uint_eq(actual(p, 1) + actual(p, 2), 3 * GIB);
    /* Nothing can move: nothing is due, however often we ask. */
    ck_assert_int_eq(sim_next_us(p), TIME_NEVER_US);
    ck_assert(sim_at_rest(p));
    /* What is given in an interval can be taken in it. */
    set(p, 5, 512 * MIB, 512 * MIB);
    sim_advance(p, START + 11 * S);
    ck_assert_uint_eq(sim_free_kib(p), 0);
    ck_assert_uint_eq(actual(p, 1) + actual(p, 2), 3 * GIB + 500 * MIB);
    ck_assert(sim_adds_up(p));
    p->ops->free(p);
}
END_TEST

START_TEST(shortage_does_not_depend_on_how_often_it_is_looked_at)
{
    uint64_t held[3] = { 0 };

    for (int run = 0; run < 3; run++) {
        struct platform *p = host(SHORT);
        int64_t step = run == 0 ? 5 * S : run == 1 ? 7 * MS : 130 * MS;

        set(p, 1, 2 * GIB, 2 * GIB);
        set(p, 2, 2 * GIB, 2 * GIB);
        set(p, 5, 512 * MIB, 512 * MIB);
        for (int64_t t = 0; t < 5 * S; t += step)
            sim_advance(p, START + t);
        sim_advance(p, START + 5 * S);
        ck_assert(sim_adds_up(p));
        ck_assert_uint_eq(sim_free_kib(p), 0);
        if (run > 0) /* but for parts of pages */
            ck_assert_int_le(labs((long)actual(p, 1) - (long)held[0]), 2048);
        held[0] = actual(p, 1);
        p->ops->free(p);
    }
}
END_TEST

START_TEST(seed_chooses_who_grows_first)
{
    struct platform *p = host(SHORT), *q = host(SHORT);

    sim_set_seed(q, 1);
    for (int i = 0; i < 2; i++) {
        struct platform *one = i ? q : p;

        sim_consume(one, (int64_t)GIB);
        set(one, 1, 2 * GIB, 2 * GIB);
        set(one, 2, 2 * GIB, 2 * GIB);
        set(one, 5, 512 * MIB, 512 * MIB); /* slower than either */
        sim_advance(one, START + 5 * S);
    }
    ck_assert_uint_gt(actual(p, 1), actual(p, 2));
    ck_assert_uint_lt(actual(q, 1), actual(q, 2));
    p->ops->free(p);
    q->ops->free(q);
}
END_TEST

START_TEST(consume_and_give_back)
{
    struct platform *p = host(ONE);
    struct snapshot snapshot;

    ck_assert_int_eq(sim_consume(p, (int64_t)GIB), (int64_t)GIB);
    ck_assert_uint_eq(sim_free_kib(p), 13 * GIB);
    p->ops->look(p, START, &snapshot);
    ck_assert_uint_eq(snapshot.total_kib, 16 * GIB);
    ck_assert_uint_eq(snapshot.free_kib, 13 * GIB);
    ck_assert_int_eq(sim_consume(p, (int64_t)(20 * GIB)), (int64_t)(13 * GIB));
    ck_assert_int_eq(sim_consume(p, -(int64_t)(20 * GIB)),
                     -(int64_t)(14 * GIB));
    ck_assert_uint_eq(sim_consumed_kib(p), 0);
    ck_assert(sim_adds_up(p));
    p->ops->free(p);
}
END_TEST

/* -------------------------------------------------- domains come and go */

struct outcome_of_done {
    int calls;
    enum err error;
    size_t entries;
    uint64_t amount_kib;
};

static void
note_done(void *arg, enum err error)
{
    struct outcome_of_done *o = arg;

    o->calls++;
    o->error = error;
}

static struct scenario_domain
built_domain(uint32_t domid, uint64_t amount_kib)
{
    struct scenario_domain d;
    char error[SCENARIO_ERROR_CHARS];

    scenario_domain_init(&d);
    d.domid = domid;
    d.rate_kib = 1000 * MIB;
    ck_assert(!scenario_domain_complete(&d, amount_kib, error));
    return d;
}

START_TEST(build_waits_for_its_limit_then_runs)
{
    struct platform *p = host(ONE);
    struct scenario_domain d = built_domain(7, GIB);
    const struct ledger_entry entry = { .id = "r",
                                        .amount_kib = GIB,
                                        .domid = 7 };
    const struct ledger_change change = { LEDGER_TRANSFER, &entry, true };
    struct snapshot snapshot;
    struct outcome_of_done done = { 0 };
    int changes = 0;

    p->hooks = (struct platform_hooks){ &changes, count_change };
    ck_assert_int_eq(sim_build(p, &d, GIB, false), ERR_NONE);
    ck_assert_int_eq(sim_build(p, &d, GIB, false), ERR_EXISTS);
    ck_assert_int_eq(changes, 1);
    ck_assert_uint_eq(actual_at(p, 7, 1 * S), 0);
    p->ops->persist(p, &change, 1, note_done, &done);
    sim_deliver(p);
    ck_assert_int_eq(done.calls, 1);
    ck_assert_uint_eq(actual_at(p, 7, 1 * S + 24 * MS), 24 * MIB);
    p->ops->look(p, START + 1 * S + 24 * MS, &snapshot);
    ck_assert_uint_eq(snapshot.domains[1].flags, DOMAIN_BUILDING);
    ck_assert_uint_eq(snapshot.domains[1].limit_kib, GIB);
    ck_assert_int_eq(sim_next_us(p), START + 2024 * MS);
    ck_assert_int_eq(changes, 1);
    ck_assert_uint_eq(actual_at(p, 7, 2024 * MS), GIB);
    ck_assert_int_eq(changes, 2);
    p->ops->look(p, START + 2024 * MS, &snapshot);
    ck_assert_uint_eq(snapshot.domains[1].flags, DOMAIN_BALLOON);
    ck_assert_uint_eq(sim_free_kib(p), 13 * GIB);
    ck_assert(sim_destroy(p, 7));
    ck_assert_int_eq(changes, 3);
    ck_assert_uint_eq(sim_free_kib(p), 14 * GIB);
    ck_assert(!sim_destroy(p, 7));
    p->ops->free(p);
}
END_TEST

START_TEST(facts_of_a_look)
{
    struct platform *p =
        host(HOST "[domain 3]\nname = b\ndynamic-min=1G\ndynamic-max=2G\n"
                  "static-max = 3G\nlimit = 1G\ntarget = 1.5G\ncount = 2\n"
                  "[domain 0]\nactual = 1G\nlimit = 4G\n");
    struct snapshot s;
    struct domain_text text;

    ck_assert_int_eq(p->ops->look(p, START, &s), ERR_NONE);
    ck_assert_uint_eq(s.count, 3);
    ck_assert_uint_eq(s.domains[0].domid, 0);
    ck_assert_uint_eq(s.domains[0].flags, DOMAIN_BALLOON);
    ck_assert_uint_eq(s.domains[0].limit_kib, GIB); /* at its actual */
    ck_assert_uint_eq(s.domains[1].domid, 3);
    ck_assert_uint_eq(s.domains[1].flags, DOMAIN_MANAGED | DOMAIN_BALLOON);
    ck_assert_uint_eq(s.domains[1].actual_kib, 2 * GIB);
    ck_assert_uint_eq(s.domains[1].target_kib, GIB + 512 * MIB);
    ck_assert_uint_eq(s.domains[1].limit_kib, GIB);
    ck_assert_uint_eq(s.domains[1].dynamic_min_kib, GIB);
    ck_assert_uint_eq(s.domains[1].static_max_kib, 3 * GIB);
    ck_assert_mem_ne(s.domains[1].uuid, s.domains[2].uuid, UUID_BYTES);
    ck_assert(p->ops->describe(p, 4, &text));
    ck_assert_str_eq(text.name, "b-2");
    ck_assert_str_eq(text.type, "pv");
    ck_assert_str_eq(text.range_error, "");
    ck_assert(!p->ops->describe(p, 5, &text));
    ck_assert(sim_freeze(p, 4, true));
    p->ops->look(p, START, &s);
    ck_assert(s.domains[2].flags & DOMAIN_FROZEN);
    p->ops->free(p);
}
END_TEST

START_TEST(range_writes_of_others)
{
    struct platform *p = host(ONE "static-min = 128M\n");
    const uint64_t low = 64 * MIB, good = 512 * MIB, high = 5 * GIB;
    const struct sim_domain *d = sim_find(p, 1);
    int changes = 0;

    p->hooks = (struct platform_hooks){ &changes, count_change };
    ck_assert(sim_write_range(p, 1, &good, &good));
    ck_assert_int_eq(changes, 1);
    ck_assert_uint_eq(d->dynamic_max_kib, good);
    const uint64_t *const bad[][2] = { { &low, &good },
                                       { &good, &high },
                                       { &high, &good } };
    for (size_t i = 0; i < 3; i++) {
        struct domain_text text;

        ck_assert(sim_write_range(p, 1, bad[i][0], bad[i][1]));
        ck_assert(p->ops->describe(p, 1, &text));
        ck_assert_str_ne(text.range_error, "");
        ck_assert(d->managed);
        ck_assert_uint_eq(d->dynamic_min_kib, good);
        ck_assert_uint_eq(d->dynamic_max_kib, good);
    }
    ck_assert(sim_write_range(p, 1, &good, NULL));
    ck_assert(!d->managed);
    ck_assert_str_eq(d->range_error, "");
    ck_assert(sim_write_range(p, 1, &high, &low));
    ck_assert(!d->managed);
    ck_assert(sim_write_range(p, 1, &good, &good));
    ck_assert(d->managed);
    ck_assert(!sim_write_range(p, 2, &good, &good));
    p->ops->free(p);
}
END_TEST

START_TEST(writes_are_counted)
{
    struct platform *p = host(ONE);

    set(p, 1, 2 * GIB, 3 * GIB); /* the limit only */
    ck_assert_uint_eq(sim_find(p, 1)->target_writes, 0);
    set(p, 1, GIB, GIB);
    set(p, 1, GIB, GIB);
    set(p, 1, 2 * GIB, 2 * GIB);
    ck_assert_uint_eq(sim_find(p, 1)->target_writes, 2);
    ck_assert(sim_write_target(p, 1, GIB)); /* somebody else's */
    ck_assert_uint_eq(sim_find(p, 1)->target_writes, 2);
    ck_assert_uint_eq(actual_at(p, 1, 9 * S), GIB);
    p->ops->free(p);
}
END_TEST

START_TEST(the_mark_of_the_uncooperative)
{
    struct platform *p = host(ONE);
    struct setting setting = { .domid = 1,
                               .target_kib = 2 * GIB,
                               .limit_kib = 2 * GIB,
                               .mark = MARK_UNCOOPERATIVE };
    struct snapshot s;

    p->ops->apply(p, &setting, 1);
    p->ops->look(p, START, &s);
    ck_assert(s.domains[0].flags & DOMAIN_MARKED);
    setting.mark = MARK_AS_IT_IS;
    p->ops->apply(p, &setting, 1);
    p->ops->look(p, START, &s);
    ck_assert(s.domains[0].flags & DOMAIN_MARKED);
    setting.mark = MARK_COOPERATIVE;
    p->ops->apply(p, &setting, 1);
    p->ops->look(p, START, &s);
    ck_assert(!(s.domains[0].flags & DOMAIN_MARKED));
    ck_assert_uint_eq(sim_find(p, 1)->target_writes, 0);
    p->ops->free(p);
}
END_TEST

/* --------------------------------------------------------------- the store */

static void
note_loaded(void *arg, enum err error, const struct ledger_entry *entries,
            size_t count)
{
    struct outcome_of_done *o = arg;

    o->calls++;
    o->error = error;
    o->entries = count;
    o->amount_kib = count ? entries[0].amount_kib : 0;
}

static void
put(struct platform *p, const char *id, struct outcome_of_done *o)
{
    struct ledger_entry entry = { .amount_kib = GIB };
    const struct ledger_change change = { LEDGER_PUT, &entry, false };

    strcpy(entry.id, id);
    *o = (struct outcome_of_done){ 0 };
    p->ops->persist(p, &change, 1, note_done, o);
}

START_TEST(completions_come_later)
{
    struct platform *p = host(ONE);
    struct outcome_of_done o, l = { 0 };
    size_t count;

    put(p, "one", &o);
    ck_assert_int_eq(o.calls, 0);
    ck_assert_int_eq(sim_next_us(p), START);
    sim_deliver(p);
    ck_assert_int_eq(o.calls, 1);
    ck_assert_int_eq(o.error, ERR_NONE);
    sim_deliver(p);
    ck_assert_int_eq(o.calls, 1);
    sim_set_latency(p, 5 * MS);
    p->ops->load(p, note_loaded, &l);
    ck_assert_int_eq(sim_next_us(p), START + 5 * MS);
    sim_advance(p, START + 5 * MS - 1);
    sim_deliver(p);
    ck_assert_int_eq(l.calls, 0);
    sim_advance(p, START + 5 * MS);
    sim_deliver(p);
    ck_assert_int_eq(l.calls, 1);
    ck_assert_uint_eq(l.entries, 1);
    ck_assert_uint_eq(l.amount_kib, GIB);
    ck_assert_str_eq(sim_ledger(p, &count)[0].id, "one");
    p->ops->free(p);
}
END_TEST

START_TEST(the_nth_change_fails)
{
    struct platform *p = host(ONE);
    struct outcome_of_done o[3];
    size_t count;

    sim_fail_persist(p, 2, ERR_IO);
    put(p, "a", &o[0]);
    put(p, "b", &o[1]);
    put(p, "c", &o[2]);
    sim_deliver(p);
    ck_assert_int_eq(o[0].error, ERR_NONE);
    ck_assert_int_eq(o[1].error, ERR_IO);
    ck_assert_int_eq(o[2].error, ERR_NONE);
    sim_ledger(p, &count);
    ck_assert_uint_eq(count, 2);
    p->ops->free(p);
}
END_TEST

START_TEST(a_kill_stores_or_loses_what_was_on_its_way)
{
    struct platform *p = host(ONE);
    struct outcome_of_done o;
    size_t count;

    put(p, "a", &o);
    sim_settle_store(p, true);
    ck_assert_int_eq(o.calls, 1);
    ck_assert_int_eq(o.error, ERR_IO);
    sim_ledger(p, &count);
    ck_assert_uint_eq(count, 0);
    put(p, "a", &o);
    sim_settle_store(p, false);
    sim_ledger(p, &count);
    ck_assert_uint_eq(count, 1);
    put(p, "b", &o); /* dropped by free, not completed */
    o.calls = 0;
    p->ops->free(p);
    ck_assert_int_eq(o.calls, 0);
}
END_TEST

START_TEST(delete_and_transfer)
{
    struct platform *p = host(ONE);
    struct outcome_of_done o;
    struct ledger_entry entry = { .id = "a", .amount_kib = GIB, .domid = 9 };
    struct ledger_change change = { LEDGER_TRANSFER, &entry, false };
    const struct ledger_entry *entries;
    size_t count;

    put(p, "a", &o);
    put(p, "b", &o);
    p->ops->persist(p, &change, 1, note_done, &o);
    sim_deliver(p);
    entries = sim_ledger(p, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert(entries[0].transferred);
    ck_assert_uint_eq(entries[0].domid, 9);
    change.op = LEDGER_DELETE;
    p->ops->persist(p, &change, 1, note_done, &o);
    sim_deliver(p);
    entries = sim_ledger(p, &count);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(entries[0].id, "b");
    p->ops->free(p);
}
END_TEST

/* ------------------------------------------------------------- properties */

static const char *const kinds[] = {
    "obedient",    "stuck",     "floor 1100M", "ceiling 2500M", "sticky 30ms",
    "crawl 3M 20", "late 40ms", "vanish 90ms", "backoff"
};

/* The same orders at the same times; between them one host is looked at often
 * and the other isn't. */
START_TEST(how_often_does_not_matter)
{
    struct random r = random_seed("how_often_does_not_matter", (uint64_t)_i);
    char text[512];
    struct platform *often, *seldom;

    snprintf(text, sizeof text,
             HOST "[domain 1]\nrate = %u\ndynamic-min=256M\ndynamic-max=4G\n"
                  "actual = 2G\nguest = %s\ndelay = %ums\ninaccuracy = %u\n"
                  "used = 1500M\n",
             (unsigned)random_below(&r, 4 * GIB) + 4, kinds[_i % 9],
             (unsigned)random_below(&r, 2) * 7,
             (unsigned)random_below(&r, 500));
    often = host(text);
    seldom = host(text);
    for (int64_t t = 0, next = 0; t < 200 * MS; t = next) {
        uint64_t target = page_down(random_below(&r, 4 * GIB));
        uint64_t limit = page_down(random_below(&r, 4 * GIB));

        set(often, 1, target, limit);
        set(seldom, 1, target, limit);
        next = t + (int64_t)random_below(&r, 20 * MS);
        for (int64_t at = t; at < next; at += (int64_t)random_below(&r, 3 * MS))
            sim_advance(often, START + at);
        sim_advance(often, START + next);
        sim_advance(seldom, START + next);
        ck_assert(!sim_find(often, 1) == !sim_find(seldom, 1));
        ck_assert_uint_eq(sim_free_kib(often), sim_free_kib(seldom));
    }
    often->ops->free(often);
    seldom->ops->free(seldom);
}
END_TEST

/* A guest is where it was said to arrive exactly then, and not before. */
START_TEST(next_is_exact)
{
    struct random r = random_seed("next_is_exact", (uint64_t)_i);
    char text[256];
    struct platform *p;

    snprintf(text, sizeof text, HOST "[domain 1]\nrate = %u\nactual = 2G\n",
             (unsigned)random_below(&r, 4 * GIB) + 4);
    p = host(text);
    for (int i = 0; i < 20; i++) {
        uint64_t target = page_down(random_below(&r, 4 * GIB));
        int64_t next;

        set(p, 1, target, target);
        next = sim_next_us(p);
        if (next == TIME_NEVER_US)
            continue;
        sim_advance(p, next - 1);
        ck_assert_uint_ne(actual(p, 1), target);
        sim_advance(p, next);
        ck_assert_uint_eq(actual(p, 1), target);
        ck_assert(sim_at_rest(p));
    }
    p->ops->free(p);
}
END_TEST

static void
random_set(struct platform *p, struct random *r, uint32_t domid)
{
    set(p, domid, page_down(random_below(r, 3 * GIB)),
        page_down(random_below(r, 3 * GIB)));
}

static void
random_guest(struct platform *p, struct random *r, uint32_t domid)
{
    struct guest_behaviour guest;

    ck_assert(guest_behaviour_parse(kinds[random_below(r, 9)], &guest));
    sim_set_guest(p, domid, &guest);
}

static void
random_build(struct platform *p, struct random *r, uint32_t domid)
{
    uint64_t amount = page_down(random_below(r, GIB)) + 4;
    struct scenario_domain d = built_domain(domid, amount);

    sim_build(p, &d, amount, random_below(r, 2));
}

static void
random_destroy(struct platform *p, struct random *r, uint32_t domid)
{
    if (random_below(r, 4) == 0)
        sim_destroy(p, domid);
}

static void
random_pause(struct platform *p, struct random *r, uint32_t domid)
{
    sim_pause(p, domid, random_below(r, 2));
}

static void
random_consume(struct platform *p, struct random *r, uint32_t domid)
{
    (void)domid;
    sim_consume(p,
                (int64_t)page_down(random_below(r, GIB)) - (int64_t)(GIB / 2));
}

static void
random_foreign(struct platform *p, struct random *r, uint32_t domid)
{
    sim_write_target(p, domid, random_below(r, 3 * GIB));
}

START_TEST(memory_adds_up_whatever_happens)
{
    static void (*const acts[])(struct platform * p, struct random * r,
                                uint32_t domid) = {
        random_set,     random_set,     random_set,
        random_guest,   random_build,   random_pause,
        random_destroy, random_consume, random_foreign,
    };
    struct random r =
        random_seed("memory_adds_up_whatever_happens", (uint64_t)_i);
    struct platform *p = host("[host]\nmemory = 8G\n[domain 1]\ncount = 5\n"
                              "actual = 1G\nrate = 300M\n");
    int64_t now = START;

    for (int i = 0; i < 400; i++) {
        size_t count;
        const struct sim_domain *d;

        acts[random_below(&r, sizeof acts / sizeof *acts)](
            p, &r, 1 + (uint32_t)random_below(&r, 8));
        now += (int64_t)random_below(&r, random_below(&r, 2) ? 300 * MS : MS);
        sim_advance(p, now);
        ck_assert(sim_adds_up(p));
        ck_assert_int_gt(sim_next_us(p), now);
        d = sim_domains(p, &count);
        for (size_t k = 0; k < count; k++)
            ck_assert_uint_eq(d[k].actual_kib % KIB_PER_PAGE, 0);
    }
    p->ops->free(p);
}
END_TEST

static void
add_movement_tests(Suite *s)
{
    TCase *c = tcase_create("movement");

    tcase_add_test(c, obedient_shrinks_at_its_rate);
    tcase_add_test(c, obedient_grows_no_further_than_its_limit);
    tcase_add_test(c, a_new_target_on_the_way_keeps_the_part_of_a_page);
    tcase_add_test(c, inaccuracy_stops_short_both_ways);
    tcase_add_test(c, delay_before_the_first_movement);
    tcase_add_test(c, stuck_never_moves);
    tcase_add_test(c, floor_and_ceiling);
    tcase_add_test(c, a_floor_above_what_it_holds_does_not_make_it_grow);
    tcase_add_test(c, sticky_every_other_time);
    tcase_add_test(c, crawl_at_the_end_of_each_time);
    tcase_add_test(c, late_gets_its_balloon_and_says_so);
    tcase_add_test(c, vanish_dies_and_its_memory_is_free);
    tcase_add_test(c, backoff_sleeps_longer_each_time);
    tcase_add_test(c, backoff_is_woken_by_a_changed_target);
    tcase_add_test(c, backoff_fails_without_free_memory);
    tcase_add_test(c, paused_does_not_move);
    suite_add_tcase(s, c);
}

static void
add_host_tests(Suite *s)
{
    TCase *c = tcase_create("host");

    tcase_add_test(c, growth_takes_free_memory_only);
    tcase_add_test(c, shortage_does_not_depend_on_how_often_it_is_looked_at);
    tcase_add_test(c, seed_chooses_who_grows_first);
    tcase_add_test(c, consume_and_give_back);
    tcase_add_test(c, build_waits_for_its_limit_then_runs);
    tcase_add_test(c, facts_of_a_look);
    tcase_add_test(c, range_writes_of_others);
    tcase_add_test(c, writes_are_counted);
    tcase_add_test(c, the_mark_of_the_uncooperative);
    tcase_add_test(c, completions_come_later);
    tcase_add_test(c, the_nth_change_fails);
    tcase_add_test(c, a_kill_stores_or_loses_what_was_on_its_way);
    tcase_add_test(c, delete_and_transfer);
    suite_add_tcase(s, c);
}

int
main(void)
{
    Suite *s = suite_create("sim");
    TCase *properties = tcase_create("properties");
    int status;

    add_movement_tests(s);
    add_host_tests(s);
    tcase_add_loop_test(properties, how_often_does_not_matter, 0, 90);
    tcase_add_loop_test(properties, next_is_exact, 0, 20);
    tcase_add_loop_test(properties, memory_adds_up_whatever_happens, 0, 50);
    suite_add_tcase(s, properties);
    status = run_suite(s, CK_FORK_GETENV);
    if (status != EXIT_SUCCESS)
        random_report();
    return status;
}
