/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planner's decisions, one by one, on small hosts. */
#include "squeezed/core/judge.h"
#include "tests/suite.h"
#include "tests/toy_host.h"

#include <check.h>
#include <stdlib.h>

#define GIB     (UINT64_C(1) * KIB_PER_GIB)
#define MIB     (UINT64_C(1) * KIB_PER_MIB)
#define RESERVE (72 * MIB)
#define MINUTE  (INT64_C(60) * US_PER_S)

static struct toy_host toy;

/* The standard host: n domains, dynamic 1 to 4 GiB, all at 4, nothing free. */
static void
full_host(size_t n)
{
    toy_init(&toy, RESERVE + n * 4 * GIB);
    for (size_t i = 0; i < n; i++)
        toy_add(&toy, GIB, 4 * GIB, 4 * GIB);
    toy_settle(&toy, MINUTE);
}

static double
reserve_seconds(uint64_t kib)
{
    int64_t start = toy.now_us;

    toy_reserve(&toy, kib, kib, MINUTE, false);
    toy_await(&toy, 2 * MINUTE);
    return (double)(toy.now_us - start) / 1e6;
}

START_TEST(a_full_host_makes_room)
{
    double seconds;

    full_host(64);
    ck_assert_uint_eq(toy.writes, 0);
    seconds = reserve_seconds(8 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_uint_eq(toy.last_answer.amount_kib, 8 * GIB);
    ck_assert_double_le(seconds, 0.125 * 1.1);
    ck_assert_uint_eq(toy.writes, 64); /* one a donor */
    for (size_t i = 0; i < 64; i++)
        ck_assert_uint_eq(toy.facts[i].target_kib, 4 * GIB - 128 * MIB);
}
END_TEST

START_TEST(enough_is_granted_at_once)
{
    full_host(3);
    toy_destroy(&toy, 0);
    toy_reserve(&toy, 4 * GIB, 4 * GIB, MINUTE, false);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.answers, 1);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_uint_eq(toy.writes, 0);
}
END_TEST

START_TEST(the_impossible_is_refused_before_anything_moves)
{
    full_host(64);
    toy_reserve(&toy, 193 * GIB, 193 * GIB, MINUTE, false);
    toy_pass(&toy);
    ck_assert_int_eq(toy.last_answer.error, ERR_CANNOT_FREE);
    ck_assert_uint_eq(toy.last_answer.needed_kib, 193 * GIB);
    ck_assert_uint_eq(toy.last_answer.free_kib, 192 * GIB);
    ck_assert_uint_eq(toy.last_answer.short_kib, GIB);
    ck_assert_uint_eq(toy.writes, 0);
}
END_TEST

START_TEST(exactly_the_most)
{
    uint64_t less = (uint64_t)_i * 4;

    full_host(16);
    reserve_seconds(48 * GIB - less);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
}
END_TEST

START_TEST(inaccurate_guests_end_it_too)
{
    uint64_t less = (uint64_t)_i * 4;

    full_host(16);
    for (size_t i = 0; i < 16; i++)
        toy.guests[i].inaccuracy_kib = 4;
    reserve_seconds(48 * GIB - less);
    ck_assert_int_eq(toy.last_answer.error,
                     less < 16 * 4 ? ERR_UNCOOPERATIVE : ERR_NONE);
}
END_TEST

START_TEST(others_give_for_the_stuck)
{
    double seconds;

    full_host(64);
    for (int i = 0; i < _i; i++)
        toy.guests[i * 7].stuck = true;
    seconds = reserve_seconds(8 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_double_le(seconds, (_i == 1 ? 0.127 : 0.143) * 1.1 + 0.25);
    ck_assert_uint_le(toy.writes, 3 * 64);
}
END_TEST

START_TEST(others_give_for_the_slow)
{
    double seconds;

    full_host(64);
    toy.guests[5].rate_kib_s = MIB;
    seconds = reserve_seconds(8 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_double_le(seconds, 0.127 * 1.1 + 0.25);
    ck_assert_uint_le(toy.writes, 3 * 64);
    /* It goes on to its fair share, and the others get back what it frees. */
    toy_settle(&toy, 5 * MINUTE);
    for (size_t i = 0; i < 64; i++) { /* within a page a domain */
        ck_assert_uint_le(toy.facts[i].actual_kib, 4 * GIB - 128 * MIB + 256);
        ck_assert_uint_ge(toy.facts[i].actual_kib, 4 * GIB - 128 * MIB - 256);
    }
}
END_TEST

START_TEST(stuck_guests_are_named_after_5_s)
{
    double seconds;

    full_host(4);
    toy.guests[1].stuck = toy.guests[3].stuck = true;
    seconds = reserve_seconds(10 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_UNCOOPERATIVE);
    ck_assert_double_ge(seconds, 5);
    ck_assert_double_le(seconds, 5.2);
    ck_assert_uint_eq(toy.plan.debtor_count, 2);
    ck_assert_uint_eq(toy.plan.debtors[0], toy.facts[1].domid);
    ck_assert_uint_eq(toy.plan.debtors[1], toy.facts[3].domid);
    ck_assert_uint_eq(toy.last_answer.free_kib, 6 * GIB);
    /* The others' targets are back in the same pass. */
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(toy.facts[i].target_kib, 4 * GIB);
}
END_TEST

START_TEST(a_stuck_guest_is_set_to_what_it_holds)
{
    full_host(4);
    toy.guests[1].stuck = true;
    reserve_seconds(6 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    toy_settle(&toy, MINUTE);
    ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB);
    ck_assert_uint_eq(toy.facts[1].limit_kib, 4 * GIB);
}
END_TEST

START_TEST(a_guest_that_behaves_again_takes_part_again)
{
    full_host(4);
    toy.guests[1].stuck = true;
    reserve_seconds(6 * GIB);
    toy_settle(&toy, MINUTE);
    toy.guests[1].stuck = false;
    for (int i = 0; i < 30; i++) {
        toy_advance(&toy, US_PER_S);
        toy_pass(&toy);
    }
    toy_settle(&toy, MINUTE);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(toy.facts[i].actual_kib, 2560 * MIB);
}
END_TEST

static void
pass_for(int64_t us)
{
    int64_t end_us = toy.now_us + us;

    while (toy.now_us < end_us) {
        toy_advance(&toy, min_i64(toy.plan.next_us, end_us) - toy.now_us);
        toy_pass(&toy);
    }
}

/* Two of 1 to 4 GiB at their minimum, and 3 GiB to share; the first one doesn't
 * take any. */
static void
sated_host(void)
{
    toy_init(&toy, 5 * GIB + 72 * MIB);
    toy_add(&toy, GIB, 4 * GIB, GIB);
    toy_add(&toy, GIB, 4 * GIB, GIB);
    toy.guests[0].stuck = true;
    toy_pass(&toy);
    pass_for(20 * US_PER_S);
}

START_TEST(what_one_does_not_take_others_get)
{
    sated_host();
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB + MIB);
    ck_assert_uint_eq(toy.facts[0].limit_kib, GIB + MIB);
    ck_assert_uint_eq(toy.facts[1].actual_kib, 4 * GIB - MIB);
    ck_assert_int_eq(toy_headroom(&toy), 0);
}
END_TEST

/* It takes what little it may, and comes back to its fair share; at most one
 * new target in a second, as nobody knows for how long. */
START_TEST(who_takes_again_gets_its_share)
{
    int64_t changed_us, end_us;

    sated_host();
    toy.guests[0].stuck = false;
    changed_us = toy.now_us - US_PER_S;
    end_us = toy.now_us + 30 * (int64_t)US_PER_S;
    while (toy.now_us < end_us) {
        uint64_t before = toy.facts[0].target_kib;

        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
        /* Grown in steps, as its share comes free. */
        if (toy.facts[0].target_kib < before)
            ck_abort_msg("its target went down");
        if (toy.facts[0].target_kib > before &&
            toy.facts[0].target_kib < GIB + 8 * MIB) {
            ck_assert_int_ge(toy.now_us - changed_us, US_PER_S);
            changed_us = toy.now_us;
        }
    }
    ck_assert_uint_eq(toy.facts[0].actual_kib, 5 * GIB / 2);
    ck_assert_uint_eq(toy.facts[1].actual_kib, 5 * GIB / 2);
}
END_TEST

/* One that always rests 8 MiB below its target takes part as it is: a target of
 * what it holds would make it give 8 MiB, and so on. */
START_TEST(who_follows_at_a_distance_is_not_sated)
{
    const uint64_t distance_kib = 8 * MIB;
    uint64_t least_kib = UINT64_MAX;
    struct domain_facts *f = &toy.facts[0];

    toy_init(&toy, 5 * GIB + 72 * MIB);
    toy_add(&toy, GIB, 4 * GIB, 2 * GIB);
    toy_add(&toy, GIB, 4 * GIB, GIB);
    toy.guests[0].stuck = true;
    for (int i = 0; i < 2000; i++) {
        uint64_t held = f->target_kib - distance_kib;

        toy.snapshot.free_kib += f->actual_kib - held;
        f->actual_kib = held;
        toy_pass(&toy);
        toy_advance(&toy, 100 * US_PER_MS);
        if (i > 500)
            least_kib = min_u64(least_kib, f->target_kib);
    }
    ck_assert_uint_eq(least_kib, 5 * GIB / 2);
    ck_assert_uint_le(toy.writes, 40);
}
END_TEST

/* What nobody else can use is theirs all the same. */
START_TEST(the_rest_goes_to_the_sated)
{
    toy_init(&toy, 12 * GIB + 72 * MIB);
    for (size_t i = 0; i < 4; i++)
        toy_add(&toy, GIB, 4 * GIB, GIB);
    toy.guests[0].stuck = toy.guests[1].stuck = toy.guests[2].stuck = true;
    toy_pass(&toy);
    pass_for(30 * US_PER_S);
    ck_assert_uint_eq(toy.facts[3].actual_kib, 4 * GIB);
    ck_assert_uint_ge(toy.facts[0].target_kib, 2 * GIB);
    ck_assert_uint_ge(toy.facts[2].target_kib, 2 * GIB);
    ck_assert_int_lt(toy_headroom(&toy), 512);
    /* They hold none of it: a request is granted in the next pass but one. */
    toy_reserve(&toy, 4 * GIB, 4 * GIB, MINUTE, false);
    toy_pass(&toy);
    toy_advance(&toy, 5 * US_PER_MS);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.answers, 1);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
}
END_TEST

/* A Linux driver that failed sleeps until its target changes. */
START_TEST(a_sleeper_is_poked_once_before_it_is_given_up)
{
    uint64_t first;
    unsigned pokes = 0;

    full_host(4);
    toy.guests[1].stuck = true;
    toy_reserve(&toy, 9 * GIB, 9 * GIB, MINUTE, false);
    toy_advance(&toy, 10 * US_PER_MS);
    toy_pass(&toy);
    first = toy.facts[1].target_kib;
    while (toy.facts[1].target_kib < 4 * GIB) {
        uint64_t before = toy.facts[1].target_kib;

        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
        pokes += toy.facts[1].target_kib == before - 4;
    }
    ck_assert_uint_lt(first, 4 * GIB);
    ck_assert_uint_eq(pokes, 1);
}
END_TEST

/* One at its very minimum can't be given a page less. */
START_TEST(a_sleeper_at_its_minimum_is_poked_upward)
{
    unsigned up = 0, writes = 0;

    full_host(4);
    toy.guests[1].stuck = true;
    toy_reserve(&toy, 12 * GIB, 12 * GIB, MINUTE, false);
    toy_advance(&toy, 10 * US_PER_MS);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[1].target_kib, GIB);
    while (toy.facts[1].target_kib < 4 * GIB) {
        uint64_t before = toy.facts[1].target_kib;

        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
        up += toy.facts[1].target_kib == before + 4;
        writes += toy.facts[1].target_kib != before;
        ck_assert_uint_ge(toy.facts[1].limit_kib, toy.facts[1].target_kib);
    }
    ck_assert_uint_eq(up, 1);
    ck_assert_uint_eq(writes, 2); /* and back to what it holds */
}
END_TEST

/* It is awake from then on. */
START_TEST(a_woken_guest_gives_all)
{
    full_host(4);
    toy.guests[1].stuck = true;
    toy_reserve(&toy, 12 * GIB, 12 * GIB, MINUTE, false);
    while (toy.facts[1].target_kib != GIB + 4) {
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
    }
    toy.guests[1].stuck = false;
    toy_settle(&toy, MINUTE);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_uint_eq(toy.last_answer.amount_kib, 12 * GIB);
}
END_TEST

START_TEST(where_it_was_stuck_is_known_for_10_minutes)
{
    const struct domain *d;

    full_host(4);
    toy.guests[1].stuck = true;
    reserve_seconds(6 * GIB);
    toy_settle(&toy, MINUTE);
    d = &toy.planner.host.domains[1];
    ck_assert_uint_eq(judge_known_floor_kib(d, toy.now_us), 4 * GIB);
    ck_assert_uint_eq(judge_known_floor_kib(d, toy.now_us + 8 * MINUTE),
                      4 * GIB);
    ck_assert_uint_eq(judge_known_floor_kib(d, toy.now_us + 11 * MINUTE), GIB);
    /* It is no reason to take what it might give for gone. */
    toy.guests[1].stuck = false;
    for (int i = 0; i < 30; i++) {
        toy_advance(&toy, US_PER_S);
        toy_pass(&toy);
    }
    toy_settle(&toy, MINUTE);
    ck_assert_uint_eq(judge_known_floor_kib(d, toy.now_us), GIB);
}
END_TEST

START_TEST(the_uncooperative_are_marked_after_20_s)
{
    int64_t stuck_us;

    full_host(4);
    toy.guests[1].stuck = true;
    reserve_seconds(6 * GIB);
    while (toy.planner.host.domains[1].judgement.stuck_since_us == 0) {
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
    }
    stuck_us = toy.now_us;
    while (!(toy.facts[1].flags & DOMAIN_MARKED)) {
        /* However often somebody wants a look. */
        toy_advance(&toy, min_i64(toy.plan.next_us - toy.now_us, US_PER_S / 2));
        toy_pass(&toy);
    }
    ck_assert_int_ge(toy.now_us - stuck_us, 20 * US_PER_S);
    ck_assert_int_le(toy.now_us - stuck_us, 21 * US_PER_S);
    toy.guests[1].stuck = false;
    for (int i = 0; i < 30; i++) {
        toy_advance(&toy, US_PER_S);
        toy_pass(&toy);
    }
    ck_assert(!(toy.facts[1].flags & DOMAIN_MARKED));
}
END_TEST

/* Nothing says that it balloons: it is asked for 1 MiB, gets it back, and
 * from then on takes part. */
START_TEST(a_probe_finds_a_balloon)
{
    full_host(2);
    toy.facts[1].flags = DOMAIN_MANAGED;
    toy.writes = 0;
    toy_settle(&toy, MINUTE);
    ck_assert_uint_eq(toy.writes, 0); /* not before it has booted */
    toy.facts[1].flags |= DOMAIN_PROBE_READY;
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB - MIB);
    ck_assert_uint_eq(toy.facts[1].limit_kib, 4 * GIB);
    for (int i = 0; i < 5; i++) {
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
    }
    ck_assert(toy.planner.host.domains[1].movable);
    ck_assert_uint_eq(toy.facts[1].actual_kib, 4 * GIB);
    reserve_seconds(2 * GIB);
    ck_assert_uint_eq(toy.facts[1].target_kib, 3 * GIB);
}
END_TEST

START_TEST(a_probe_that_fails_is_undone_and_seldom)
{
    full_host(2);
    toy.facts[1].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    toy.guests[1].stuck = true;
    toy.writes = 0;
    for (int i = 0; i < 3600; i++) {
        toy_advance(&toy, US_PER_S);
        toy_pass(&toy);
        /* It has 5 s to answer. */
        if (i <= 4)
            ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB - MIB);
        else if (i == 6)
            ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB);
    }
    /* At 0, 65, 190, 435, 920, 1885 s: two writes each. */
    ck_assert_uint_eq(toy.writes, 12);
    ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB);
    ck_assert(!toy.planner.host.domains[1].movable);
}
END_TEST

/* At its minimum, where nothing may be taken from it, it is given 1 MiB; if
 * its limit has no room for that, out of the headroom. */
static void
probe_at_minimum(uint64_t limit_kib, uint64_t free_kib, bool stuck)
{
    toy_init(&toy, GIB + 72 * MIB + free_kib);
    toy_add(&toy, GIB, 4 * GIB, GIB);
    toy.facts[0].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    toy.facts[0].limit_kib = limit_kib;
    toy.guests[0].stuck = stuck;
    toy_pass(&toy);
}

START_TEST(a_guest_at_its_minimum_is_given_some)
{
    probe_at_minimum(GIB + MIB, MIB, false);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB + MIB);
    ck_assert_uint_eq(toy.facts[0].limit_kib, GIB + MIB);
    pass_for(US_PER_S);
    ck_assert(toy.planner.host.domains[0].movable);
}
END_TEST

START_TEST(out_of_the_headroom_if_need_be)
{
    probe_at_minimum(GIB, GIB, true);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB + MIB);
    ck_assert_uint_eq(toy.facts[0].limit_kib, GIB + MIB);
    pass_for(5 * US_PER_S);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB);
    ck_assert_uint_eq(toy.facts[0].limit_kib, GIB);
    ck_assert(!toy.planner.host.domains[0].movable);
}
END_TEST

/* Before the others take what comes free. */
START_TEST(a_probe_comes_before_growth)
{
    toy_init(&toy, 3 * GIB + 72 * MIB);
    for (int i = 0; i < 3; i++)
        toy_add(&toy, GIB, 8 * GIB, GIB);
    toy.facts[0].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB);
    toy_destroy(&toy, 2);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB + MIB);
    pass_for(US_PER_S);
    ck_assert_uint_eq(toy.facts[0].actual_kib, GIB + GIB / 2);
}
END_TEST

/* Without room for a probe there is nothing to look for all the time. */
START_TEST(and_there_may_be_no_room)
{
    probe_at_minimum(GIB, 0, false);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB);
    ck_assert_int_gt(toy.plan.next_us - toy.now_us, US_PER_S);
}
END_TEST

START_TEST(a_guest_below_its_minimum_is_brought_there)
{
    toy_init(&toy, 2 * GIB);
    toy_add(&toy, GIB, GIB, 512 * MIB);
    toy.facts[0].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB);
    pass_for(US_PER_S);
    ck_assert_uint_eq(toy.facts[0].actual_kib, GIB);
}
END_TEST

START_TEST(a_request_waits_for_the_unproven)
{
    full_host(2);
    toy.facts[1].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    reserve_seconds(5 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
}
END_TEST

START_TEST(but_not_for_long)
{
    double seconds;

    full_host(2);
    toy.facts[1].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    toy.guests[1].stuck = true;
    seconds = reserve_seconds(5 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_CANNOT_FREE);
    ck_assert_double_ge(seconds, 3);
    ck_assert_double_le(seconds, 3.2);
}
END_TEST

/* Nor if its probe has just failed, and nothing else moves. */
START_TEST(and_not_longer_on_a_quiet_host)
{
    double seconds;

    full_host(2);
    toy.facts[1].flags = DOMAIN_MANAGED | DOMAIN_PROBE_READY;
    toy.guests[1].stuck = true;
    pass_for(6 * US_PER_S);
    seconds = reserve_seconds(5 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_CANNOT_FREE);
    ck_assert_double_ge(seconds, 3);
    ck_assert_double_le(seconds, 3.2);
}
END_TEST

START_TEST(a_storm_costs_one_squeeze)
{
    int64_t start;

    full_host(64);
    start = toy.now_us;
    for (int i = 0; i < 32; i++)
        toy_reserve(&toy, GIB, GIB, MINUTE, false);
    while (toy.answers < 32)
        toy_await(&toy, MINUTE);
    ck_assert_uint_eq(toy.planner.ledger.reserved_kib, 32 * GIB);
    ck_assert_double_le((double)(toy.now_us - start) / 1e6, 0.5 * 1.1);
    ck_assert_uint_eq(toy.writes, 64);
}
END_TEST

START_TEST(first_come_first_served)
{
    full_host(4);
    toy_destroy(&toy, 0); /* 4 GiB come free */
    toy_reserve(&toy, 6 * GIB, 6 * GIB, MINUTE, false);
    toy_reserve(&toy, GIB, GIB, MINUTE, false);
    toy_await(&toy, MINUTE);
    ck_assert_uint_eq(toy.last_answer.seq, 1);
}
END_TEST

START_TEST(what_comes_free_is_given_back_at_once)
{
    full_host(64);
    reserve_seconds(8 * GIB);
    toy_settle(&toy, MINUTE);
    toy.writes = 0;
    ledger_remove(&toy.planner.ledger, &toy.entries[0]);
    toy_pass(&toy);
    for (size_t i = 0; i < 64; i++)
        ck_assert_uint_eq(toy.facts[i].target_kib, 4 * GIB);
    ck_assert_uint_eq(toy.writes, 64);
}
END_TEST

/* Nobody tells when the last pages of a domain have gone. */
START_TEST(the_dying_are_followed_to_their_end)
{
    full_host(3);
    reserve_seconds(3 * GIB);
    toy_settle(&toy, MINUTE);
    toy.facts[0].flags |= DOMAIN_DYING | DOMAIN_PAUSED;
    toy_pass(&toy);
    ck_assert_int_le(toy.plan.next_us - toy.now_us, US_PER_S / 10);
    /* What it gave counts at once, whatever its limit is. */
    toy.snapshot.free_kib += toy.facts[0].actual_kib - 8;
    toy.facts[0].actual_kib = 8;
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB);
    ck_assert_uint_eq(toy.facts[2].target_kib, 4 * GIB);
    ck_assert(!toy.plan.settled);
    toy_settle(&toy, MINUTE);
    ck_assert(toy.plan.settled); /* though it still keeps two pages */
}
END_TEST

START_TEST(memory_flows_as_it_is_freed)
{
    uint64_t sum, least = UINT64_MAX;
    int64_t start;

    toy_init(&toy, RESERVE + 160 * GIB);
    for (size_t i = 0; i < 64; i++)
        toy_add(&toy, GIB, 4 * GIB, i % 2 ? 4 * GIB : GIB);
    start = toy.now_us;
    toy_pass(&toy);
    while (!toy.plan.settled && toy.now_us < start + MINUTE) {
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        sum = 0;
        for (size_t i = 0; i < 64; i++)
            sum += toy.facts[i].actual_kib;
        least = min_u64(least, sum);
        toy_pass(&toy);
    }
    for (size_t i = 0; i < 64; i++)
        ck_assert_uint_eq(toy.facts[i].actual_kib, 2560 * MIB);
    ck_assert_double_le((double)(toy.now_us - start) / 1e6, 1.5 * 1.25 + 0.2);
    ck_assert_uint_ge(least, 152 * GIB); /* 5 % */
    ck_assert_uint_le(toy.writes, 32 + 32 * 12);
}
END_TEST

/* On a host out of balance a request is served before anybody grows. */
START_TEST(wants_come_before_growth)
{
    toy_init(&toy, RESERVE + 10 * GIB);
    toy_add(&toy, GIB, 4 * GIB, GIB);
    toy_add(&toy, GIB, 4 * GIB, GIB);
    toy_add(&toy, GIB, 8 * GIB, 8 * GIB);
    toy_reserve(&toy, 3 * GIB, 3 * GIB, MINUTE, false);
    toy_pass(&toy);
    while (toy.answers == 0) {
        ck_assert_uint_eq(toy.facts[0].limit_kib, GIB);
        ck_assert_uint_eq(toy.facts[1].limit_kib, GIB);
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
    }
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    toy_settle(&toy, MINUTE);
    ck_assert_uint_gt(toy.facts[0].limit_kib, GIB);
}
END_TEST

START_TEST(ranges_that_are_no_whole_pages)
{
    toy_init(&toy, RESERVE + 8 * GIB);
    toy_add(&toy, GIB + 1, 4 * GIB - 1, 4 * GIB - 4);
    toy_add(&toy, GIB + 3, 4 * GIB - 3, 4 * GIB - 4);
    toy_settle(&toy, MINUTE);
    reserve_seconds(6 * GIB - 4); /* a page more than there is */
    ck_assert_int_eq(toy.last_answer.error, ERR_CANNOT_FREE);
    reserve_seconds(6 * GIB - 8);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_uint_eq(toy.facts[0].target_kib, GIB + 4);
    ck_assert_uint_eq(toy.facts[1].target_kib, GIB + 4);
}
END_TEST

START_TEST(a_range_gets_its_fair_share)
{
    full_host(64);
    toy_reserve(&toy, 150 * GIB, 400 * GIB, MINUTE, false);
    toy_await(&toy, MINUTE);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    /* ratio = (256 - 64 - 150) / (192 + 250); 150 + 250 ratio = 173.756 */
    ck_assert_double_eq_tol((double)toy.last_answer.amount_kib / GIB, 173.756,
                            0.001);
}
END_TEST

START_TEST(waits_where_asked_to)
{
    full_host(4);
    toy_reserve(&toy, 13 * GIB, 13 * GIB, MINUTE, true);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.answers, 0);
    ck_assert_uint_eq(toy.writes, 0); /* impossible: no want */
    toy_destroy(&toy, 0);
    toy_await(&toy, MINUTE);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
}
END_TEST

START_TEST(a_deadline_is_an_answer)
{
    full_host(2);
    toy.guests[0].rate_kib_s = toy.guests[1].rate_kib_s = MIB * 10;
    toy_reserve(&toy, 2 * GIB, 2 * GIB, 3 * US_PER_S, false);
    toy_await(&toy, MINUTE);
    ck_assert_int_eq(toy.last_answer.error, ERR_TIMEOUT);
    for (size_t i = 0; i < 2; i++) /* back as far as there is headroom */
        ck_assert_uint_eq(toy.facts[i].target_kib, 4 * GIB);
}
END_TEST

/* "committed = the largest of actual, limit, actual + its outstanding claim,
 * promise - paging memory": each is the largest once. */
static const struct {
    uint64_t actual_mib, limit_mib, extra_mib, claim_mib, promise_mib,
        paging_mib;
    uint32_t flags;
    uint64_t committed_mib;
} commitments[] = {
    { 512, 256, 0, 0, 0, 0, 0, 512 },
    { 512, 1024, 0, 0, 0, 0, 0, 1024 }, /* unmanaged: up to its limit, too */
    { 512, 1024, 1, 0, 0, 0, 0, 1025 },
    { 512, 256, 0, 600, 0, 0, DOMAIN_BUILDING, 1112 },
    { 0, 0, 0, 0, 700, 0, DOMAIN_BUILDING, 700 },
    { 0, 0, 0, 0, 700, 8, DOMAIN_BUILDING, 692 },
    { 100, 700, 0, 600, 700, 0, DOMAIN_BUILDING, 700 }, /* one and the same */
    { 512, 1024, 1, 100, 700, 0, DOMAIN_DYING, 512 },   /* only gives */
};

START_TEST(what_a_domain_could_hold)
{
    struct domain_facts *f;
    size_t n;

    toy_init(&toy, 8 * GIB);
    n = toy_add(&toy, 0, 0, commitments[_i].actual_mib * MIB);
    f = &toy.facts[n];
    f->flags = commitments[_i].flags;
    f->limit_kib = commitments[_i].limit_mib * MIB;
    f->extra_kib = commitments[_i].extra_mib * MIB;
    f->claim_kib = commitments[_i].claim_mib * MIB;
    f->paging_kib = commitments[_i].paging_mib * MIB;
    if (commitments[_i].promise_mib) {
        reserve_seconds(commitments[_i].promise_mib * MIB);
        ledger_transfer(&toy.planner.ledger, &toy.entries[0], f->domid);
    }
    host_look(&toy.planner.host, &toy.snapshot, &toy.planner.ledger);
    ck_assert_uint_eq(toy.planner.host.domains[n].committed_kib,
                      commitments[_i].committed_mib * MIB);
}
END_TEST

/* Of domains of 1 GiB that reboot: libxl's limit of the next one is its target
 * and 1 MiB, with video memory in it, and paging memory beside it. */
static const struct {
    const char *what;
    uint64_t extra_mib, offset_mib, paging_mib, limit_mib; /* of the old one */
    uint64_t kept_mib, own_mib;
} reboots[] = {
    { "PV, managed", 0, 0, 0, 1024, 1025, 1024 },
    { "PV, unmanaged", 0, 0, 0, 1025, 1025, 1025 },
    { "PVH, managed", 1, 0, 4, 1024, 1029, 1029 },
    { "PVH, unmanaged", 0, 0, 4, 1025, 1029, 1029 },
    { "HVM, managed", 1, 16, 9, 1024, 1050, 1050 },
    { "HVM, unmanaged", 0, 16, 9, 1025, 1050, 1050 },
};

START_TEST(what_a_reboot_needs)
{
    struct domain_facts *f;
    size_t n;

    toy_init(&toy, 8 * GIB);
    n = toy_add(&toy, 0, 0, GIB);
    f = &toy.facts[n];
    f->limit_kib = reboots[_i].limit_mib * MIB;
    f->extra_kib = reboots[_i].extra_mib * MIB;
    f->offset_kib = (int64_t)(reboots[_i].offset_mib * MIB);
    f->paging_kib = reboots[_i].paging_mib * MIB;
    f->flags |= DOMAIN_SHUTDOWN | DOMAIN_REBOOTS;
    host_look(&toy.planner.host, &toy.snapshot, &toy.planner.ledger);
    ck_assert_uint_eq(host_reboot_kib(&toy.planner.host.domains[n]),
                      reboots[_i].kept_mib * MIB);
    ck_assert_uint_eq(host_reboot_own_kib(&toy.planner.host.domains[n]),
                      reboots[_i].own_mib * MIB);
}
END_TEST

/* What was known of its predecessor isn't known of it. */
START_TEST(a_domid_that_comes_back_starts_anew)
{
    const struct domain *d;

    full_host(4);
    toy.guests[1].stuck = true;
    reserve_seconds(6 * GIB);
    toy_settle(&toy, MINUTE);
    d = &toy.planner.host.domains[1];
    ck_assert(judge_is_stuck(d, toy.now_us));
    toy.facts[1].uuid[0]++;
    toy.guests[1].stuck = false;
    host_look(&toy.planner.host, &toy.snapshot, &toy.planner.ledger);
    ck_assert(!judge_is_stuck(d, toy.now_us));
    ck_assert_uint_eq(judge_known_floor_kib(d, toy.now_us), GIB);
}
END_TEST

/* The domain that owns a reservation may take it, and nothing is counted
 * twice. */
START_TEST(a_promise_is_counted_once)
{
    struct domain_facts *f;
    size_t n;

    full_host(4);
    reserve_seconds(2 * GIB);
    toy_settle(&toy, MINUTE);
    n = toy_add(&toy, 0, 0, 0);
    f = &toy.facts[n];
    f->flags = DOMAIN_BUILDING | DOMAIN_PAUSED;
    ledger_transfer(&toy.planner.ledger, &toy.entries[0], f->domid);
    ledger_confirm(&toy.planner.ledger, &toy.entries[0]);
    toy.writes = 0;
    for (int i = 0; i <= 16; i++) {
        toy_pass(&toy);
        ck_assert_int_eq(toy_headroom(&toy), 0);
        f->actual_kib += 128 * MIB;
        toy.snapshot.free_kib -= 128 * MIB;
        f->claim_kib = 2 * GIB - min_u64(f->actual_kib, 2 * GIB);
        if (i == 15)
            break;
    }
    toy_pass(&toy);
    ck_assert_int_eq(toy_headroom(&toy), 0);
    ck_assert_uint_eq(toy.writes, 0);
    f->flags = 0; /* it runs */
    toy_pass(&toy);
    ck_assert(toy.entries[0].over);
    ck_assert_int_eq(toy_headroom(&toy), 0);
}
END_TEST

START_TEST(foreign_limits_are_taken_back)
{
    full_host(2);
    toy.facts[0].limit_kib += MIB; /* xl mem-max leaves 1 MiB */
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[0].limit_kib, 4 * GIB);
}
END_TEST

START_TEST(the_untouchable_are_left_alone)
{
    static const uint32_t flags[] = { DOMAIN_PAUSED, DOMAIN_FROZEN,
                                      DOMAIN_SHUTDOWN, DOMAIN_DYING,
                                      DOMAIN_BUILDING };

    full_host(3);
    toy.facts[1].flags |= flags[_i];
    reserve_seconds(3 * GIB);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB);
    toy_reserve(&toy, 4 * GIB, 4 * GIB, MINUTE, false);
    toy_await(&toy, MINUTE); /* the dying are waited for a little */
    ck_assert_int_eq(toy.last_answer.error, ERR_CANNOT_FREE);
}
END_TEST

/* On a host that has some memory to spare `now` costs nobody anything, and what
 * is a page more than that does. */
START_TEST(what_is_there_costs_nobody_anything)
{
    const uint64_t spare_kib[] = { 4, 2 * MIB, GIB, 7 * GIB };
    const uint64_t kib = spare_kib[_i];
    struct what_if w;

    toy_init(&toy, RESERVE + 8 * GIB + kib);
    toy_add(&toy, GIB, 4 * GIB, 4 * GIB);
    toy_add(&toy, 2 * GIB, 4 * GIB, 4 * GIB);
    toy_settle(&toy, MINUTE);
    planner_what_if(&toy.planner, kib + 4, kib + 4, toy.now_us, &w);
    ck_assert_int_eq(w.verdict, VERDICT_AFTER_SQUEEZE);
    planner_what_if(&toy.planner, kib, kib, toy.now_us, &w);
    ck_assert_int_eq(w.verdict, VERDICT_NOW);
    ck_assert_int_eq(w.eta_us, 0);
    toy_reserve(&toy, kib, kib, MINUTE, false);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.plan.answer_count, 1);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
    ck_assert_uint_eq(toy.plan.setting_count, 0);
    toy_settle(&toy, MINUTE);
    ck_assert_uint_eq(toy.facts[0].target_kib, 4 * GIB);
    ck_assert_uint_eq(toy.facts[1].target_kib, 4 * GIB);
}
END_TEST

START_TEST(theft_is_made_good)
{
    full_host(4);
    reserve_seconds(2 * GIB);
    toy.snapshot.free_kib -= GIB; /* somebody built behind our back */
    toy.snapshot.total_kib -= GIB;
    toy_settle(&toy, MINUTE);
    ck_assert_int_eq(toy_headroom(&toy), 0);
}
END_TEST

START_TEST(a_raised_minimum_comes_first)
{
    full_host(4);
    reserve_seconds(8 * GIB);
    toy_settle(&toy, MINUTE);
    toy.facts[2].dynamic_min_kib = 3 * GIB;
    toy_settle(&toy, MINUTE);
    ck_assert_uint_ge(toy.facts[2].actual_kib, 3 * GIB);
}
END_TEST

/* A target above the limit, and no room for the minimum: nothing is given that
 * isn't there. */
START_TEST(a_foreign_target_above_the_limit)
{
    full_host(4);
    toy.facts[0].target_kib = 8 * GIB;
    toy.facts[0].dynamic_min_kib = toy.facts[0].dynamic_max_kib =
        toy.facts[0].static_max_kib = 6 * GIB;
    for (size_t i = 1; i < 4; i++)
        toy.facts[i].dynamic_min_kib = 4 * GIB;
    toy_pass(&toy);
    ck_assert_uint_eq(toy.facts[0].limit_kib, 4 * GIB);
    ck_assert_int_eq(toy_headroom(&toy), 0);
}
END_TEST

/* HVM and PVH may exceed their limits by 1 MiB: a squeeze that is turned back
 * gives nobody that much twice. */
START_TEST(extras_are_not_given_away)
{
    toy_init(&toy, RESERVE + 16 * GIB + 4 * MIB);
    for (size_t i = 0; i < 4; i++) {
        toy_add(&toy, GIB, 4 * GIB, 4 * GIB);
        toy.facts[i].extra_kib = MIB;
    }
    toy_pass(&toy);
    ck_assert_int_eq(toy_headroom(&toy), 0);
    toy_reserve(&toy, 8 * GIB, 8 * GIB, MINUTE, false);
    toy_pass(&toy);
    toy_advance(&toy, 300 * US_PER_MS);
    toy.planner.queue.count = 0; /* it goes away */
    toy_pass(&toy);
    ck_assert_int_ge(toy_headroom(&toy), 0);
    toy_settle(&toy, MINUTE);
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(toy.facts[i].target_kib, 4 * GIB);
}
END_TEST

/* What was reserved for its overhead is free again once a domain runs. */
START_TEST(a_promise_with_overhead_ends)
{
    struct domain_facts *f;

    full_host(4);
    reserve_seconds(GIB);
    toy_settle(&toy, MINUTE);
    f = &toy.facts[toy_add(&toy, 0, 0, GIB - 12 * MIB)];
    f->limit_kib += MIB;
    f->paging_kib = 8 * MIB;
    toy.snapshot.free_kib -= 8 * MIB;
    toy.snapshot.total_kib -= 8 * MIB;
    f->flags = DOMAIN_BUILDING | DOMAIN_PAUSED;
    ledger_transfer(&toy.planner.ledger, &toy.entries[0], f->domid);
    ledger_confirm(&toy.planner.ledger, &toy.entries[0]);
    toy_pass(&toy);
    ck_assert(!toy.entries[0].over);
    f->flags = 0;
    f->paging_kib = 0;
    toy_pass(&toy);
    ck_assert(toy.entries[0].over);
}
END_TEST

/* Building costs some KiB more than the domain gets: no reason to squeeze. */
START_TEST(a_build_squeezes_nobody)
{
    full_host(4);
    toy_add(&toy, 0, 0, 0);
    toy.facts[4].flags = DOMAIN_BUILDING | DOMAIN_PAUSED;
    toy.snapshot.free_kib -= 88;
    toy.snapshot.total_kib -= 88;
    toy.writes = 0;
    toy_settle(&toy, MINUTE);
    ck_assert_uint_eq(toy.writes, 0);
}
END_TEST

/* Stopped and started at once: its memory is about to come free. */
START_TEST(a_start_right_after_a_stop)
{
    full_host(4);
    for (size_t i = 1; i < 4; i++)
        toy.facts[i].dynamic_min_kib = 4 * GIB;
    toy.facts[0].flags |= DOMAIN_DYING | DOMAIN_PAUSED;
    toy_reserve(&toy, 3 * GIB, 3 * GIB, MINUTE, false);
    toy_pass(&toy);
    ck_assert_uint_eq(toy.answers, 0);
    toy_advance(&toy, US_PER_S);
    toy.snapshot.free_kib += toy.facts[0].actual_kib;
    toy.facts[0].actual_kib = 0;
    toy_pass(&toy);
    ck_assert_uint_eq(toy.answers, 1);
    ck_assert_int_eq(toy.last_answer.error, ERR_NONE);
}
END_TEST

START_TEST(a_cushion_is_kept_and_used)
{
    full_host(4);
    toy.planner.settings.cushion_kib = GIB;
    toy_pass(&toy);
    ck_assert_int_eq(toy.plan.why, PLAN_BALANCE); /* nobody took anything */
    toy_settle(&toy, MINUTE);
    ck_assert_int_eq(toy_headroom(&toy), GIB);
    toy_reserve(&toy, GIB, GIB, MINUTE, false);
    toy_pass(&toy); /* at once, and filled again */
    ck_assert_uint_eq(toy.answers, 1);
    toy_settle(&toy, MINUTE);
    ck_assert_int_eq(toy_headroom(&toy), GIB);
}
END_TEST

START_TEST(what_if_agrees)
{
    struct what_if w;

    full_host(8);
    planner_what_if(&toy.planner, 8 * GIB, 8 * GIB, toy.now_us, &w);
    ck_assert_int_eq(w.verdict, VERDICT_AFTER_SQUEEZE);
    ck_assert_uint_eq(w.amount_kib, 8 * GIB);
    ck_assert_uint_eq(toy.planner.host.domains[0].share_kib, 3 * GIB);
    planner_what_if(&toy.planner, 25 * GIB, 25 * GIB, toy.now_us, &w);
    ck_assert_int_eq(w.verdict, VERDICT_IMPOSSIBLE);
    ck_assert_uint_eq(w.short_kib, GIB);
    toy_destroy(&toy, 0);
    toy_pass(&toy);
    planner_what_if(&toy.planner, 4 * GIB, 4 * GIB, toy.now_us, &w);
    ck_assert_int_eq(w.verdict, VERDICT_NOW);
}
END_TEST

START_TEST(at_rest_nothing_is_written)
{
    full_host(10);
    reserve_seconds(3 * GIB + 4);
    toy_settle(&toy, MINUTE);
    toy.writes = 0;
    for (int i = 0; i < 100; i++) {
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
    }
    ck_assert_uint_eq(toy.writes, 0);
    ck_assert_int_ge(toy.plan.next_us - toy.now_us, 10 * US_PER_S);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("planner");
    TCase *tcase = tcase_create("planner");

    tcase_add_test(tcase, a_full_host_makes_room);
    tcase_add_test(tcase, enough_is_granted_at_once);
    tcase_add_test(tcase, the_impossible_is_refused_before_anything_moves);
    tcase_add_loop_test(tcase, exactly_the_most, 0, 256);
    tcase_add_loop_test(tcase, inaccurate_guests_end_it_too, 0, 64);
    tcase_add_loop_test(tcase, others_give_for_the_stuck, 1, 9);
    tcase_add_test(tcase, others_give_for_the_slow);
    tcase_add_test(tcase, stuck_guests_are_named_after_5_s);
    tcase_add_test(tcase, a_stuck_guest_is_set_to_what_it_holds);
    tcase_add_test(tcase, a_guest_that_behaves_again_takes_part_again);
    tcase_add_test(tcase, what_one_does_not_take_others_get);
    tcase_add_test(tcase, who_takes_again_gets_its_share);
    tcase_add_test(tcase, who_follows_at_a_distance_is_not_sated);
    tcase_add_test(tcase, the_rest_goes_to_the_sated);
    tcase_add_test(tcase, a_sleeper_is_poked_once_before_it_is_given_up);
    tcase_add_test(tcase, a_sleeper_at_its_minimum_is_poked_upward);
    tcase_add_test(tcase, a_woken_guest_gives_all);
    tcase_add_test(tcase, where_it_was_stuck_is_known_for_10_minutes);
    tcase_add_test(tcase, the_uncooperative_are_marked_after_20_s);
    tcase_add_test(tcase, a_probe_finds_a_balloon);
    tcase_add_test(tcase, a_probe_that_fails_is_undone_and_seldom);
    tcase_add_test(tcase, a_guest_at_its_minimum_is_given_some);
    tcase_add_test(tcase, out_of_the_headroom_if_need_be);
    tcase_add_test(tcase, a_probe_comes_before_growth);
    tcase_add_test(tcase, and_there_may_be_no_room);
    tcase_add_test(tcase, a_guest_below_its_minimum_is_brought_there);
    tcase_add_test(tcase, a_request_waits_for_the_unproven);
    tcase_add_test(tcase, but_not_for_long);
    tcase_add_test(tcase, and_not_longer_on_a_quiet_host);
    tcase_add_test(tcase, a_storm_costs_one_squeeze);
    tcase_add_test(tcase, first_come_first_served);
    tcase_add_test(tcase, what_comes_free_is_given_back_at_once);
    tcase_add_test(tcase, the_dying_are_followed_to_their_end);
    tcase_add_test(tcase, memory_flows_as_it_is_freed);
    tcase_add_test(tcase, wants_come_before_growth);
    tcase_add_test(tcase, ranges_that_are_no_whole_pages);
    tcase_add_test(tcase, a_range_gets_its_fair_share);
    tcase_add_test(tcase, waits_where_asked_to);
    tcase_add_test(tcase, a_deadline_is_an_answer);
    tcase_add_loop_test(tcase, what_a_domain_could_hold, 0,
                        (int)(sizeof commitments / sizeof commitments[0]));
    tcase_add_loop_test(tcase, what_a_reboot_needs, 0,
                        (int)(sizeof reboots / sizeof reboots[0]));
    tcase_add_test(tcase, a_domid_that_comes_back_starts_anew);
    tcase_add_test(tcase, a_promise_is_counted_once);
    tcase_add_test(tcase, foreign_limits_are_taken_back);
    tcase_add_loop_test(tcase, the_untouchable_are_left_alone, 0, 5);
    tcase_add_loop_test(tcase, what_is_there_costs_nobody_anything, 0, 4);
    tcase_add_test(tcase, theft_is_made_good);
    tcase_add_test(tcase, a_raised_minimum_comes_first);
    tcase_add_test(tcase, a_foreign_target_above_the_limit);
    tcase_add_test(tcase, extras_are_not_given_away);
    tcase_add_test(tcase, a_promise_with_overhead_ends);
    tcase_add_test(tcase, a_build_squeezes_nobody);
    tcase_add_test(tcase, a_start_right_after_a_stop);
    tcase_add_test(tcase, a_cushion_is_kept_and_used);
    tcase_add_test(tcase, what_if_agrees);
    tcase_add_test(tcase, at_rest_nothing_is_written);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_NOFORK);
}
