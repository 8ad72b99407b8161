/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker on a simulated host, in virtual time: who is answered what and
 * when. */
#include "tests/broker_stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(not_ready_at_first)
{
    struct reply r = { 0 };

    start(full_host);
    sim_set_latency(world.platform, 3 * SECOND);
    reserve(GIB, GIB, &r);
    run_for(2 * SECOND);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_int_eq(r.error, ERR_NOT_READY);
    run_for(5 * SECOND);
    ck_assert_ptr_nonnull(broker_planner(world.broker));
    stop();
}
END_TEST

START_TEST(answered_after_it_is_stored)
{
    struct reply r = { 0 };

    start(full_host);
    sim_set_latency(world.platform, 20 * US_PER_MS);
    run_for(SECOND);
    reserve_and_wait(2 * GIB, &r);
    ck_assert_int_eq(r.error, ERR_NONE);
    ck_assert_uint_eq(r.amount_kib, 2 * GIB);
    ck_assert(r.stored);
    ck_assert_int_eq(headroom(), 0);
    stop();
}
END_TEST

START_TEST(what_cannot_be_stored_is_not_granted)
{
    struct reply r;

    start(full_host);
    run_for(SECOND);
    sim_fail_persist(world.platform, 1, ERR_IO);
    reserve_and_wait(2 * GIB, &r);
    ck_assert_int_eq(r.error, ERR_NOT_READY);
    ck_assert_uint_eq(reserved(), 0);
    reserve_and_wait(2 * GIB, &r);
    ck_assert_int_eq(r.error, ERR_NONE);
    stop();
}
END_TEST

START_TEST(released_once_it_is_stored)
{
    struct reply r, d = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(2 * GIB, &r);
    sim_set_latency(world.platform, 20 * US_PER_MS);
    broker_release(world.broker, r.id, world.now_us, take_reply, &d);
    ck_assert_uint_eq(reserved(), 2 * GIB); /* still counts */
    run_for(10 * SECOND);
    ck_assert_uint_eq(d.count, 1);
    ck_assert_int_eq(d.error, ERR_NONE);
    ck_assert(!is_stored(r.id));
    ck_assert_uint_eq(sim_find(world.platform, 1)->actual_kib, 4 * GIB);
    broker_release(world.broker, r.id, world.now_us, take_reply, &d);
    ck_assert_int_eq(d.error, ERR_UNKNOWN_RESERVATION);
    stop();
}
END_TEST

START_TEST(a_release_that_fails_changes_nothing)
{
    struct reply r, d = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(2 * GIB, &r);
    sim_fail_persist(world.platform, 1, ERR_IO);
    broker_release(world.broker, r.id, world.now_us, take_reply, &d);
    run_for(SECOND);
    ck_assert_int_eq(d.error, ERR_NOT_READY);
    ck_assert_uint_eq(reserved(), 2 * GIB);
    stop();
}
END_TEST

START_TEST(cancelled_while_queued)
{
    struct reply r = { 0 };
    uint64_t seq;

    start(full_host);
    run_for(SECOND);
    seq = reserve(8 * GIB, 8 * GIB, &r);
    run_for(50 * US_PER_MS);
    broker_cancel(world.broker, seq, world.now_us);
    run_for(10 * SECOND);
    ck_assert_uint_eq(r.count, 0);
    ck_assert_uint_eq(reserved(), 0);
    ck_assert_uint_eq(sim_find(world.platform, 1)->actual_kib, 4 * GIB);
    broker_cancel(world.broker, seq, world.now_us); /* twice is fine */
    stop();
}
END_TEST

static uint64_t
passes(void)
{
    struct broker_view view;

    broker_view(world.broker, &view);
    return view.passes;
}

static const char spare_host[] = "[host]\nmemory = 24648M\n"
                                 "[domain 1]\ncount = 4\n"
                                 "dynamic-min = 1G\ndynamic-max = 4G\n";

/* To a moment at which a pass was made. */
static void
make_a_pass(void)
{
    uint64_t before = passes();

    while (passes() == before)
        step(world.now_us + MINUTE);
}

START_TEST(what_is_left_over_is_granted_without_a_pass)
{
    struct reply r[2] = { 0 };
    uint64_t before;

    start(spare_host);
    run_for(SECOND);
    make_a_pass();
    before = passes();
    world.now_us += 20 * US_PER_MS;
    reserve(4 * GIB, 4 * GIB, &r[0]);
    reserve(4 * GIB, 4 * GIB, &r[1]);
    broker_run(world.broker, world.now_us);
    ck_assert_uint_eq(passes(), before);
    ck_assert_uint_eq(reserved(), 8 * GIB);
    sim_deliver(world.platform);
    ck_assert_uint_eq(r[0].count + r[1].count, 2);
    ck_assert_int_eq(r[0].error, ERR_NONE);
    ck_assert_int_eq(r[1].error, ERR_NONE);
    ck_assert_int_eq(headroom(), 0);
    /* The next pass knows of it. */
    make_a_pass();
    reserve(KIB_PER_PAGE, KIB_PER_PAGE, &r[0]);
    broker_run(world.broker, world.now_us);
    ck_assert_uint_eq(reserved(), 8 * GIB);
    stop();
}
END_TEST

/* 0: a neighbour takes free memory; 1: it was long ago; 2: something is said
 * to have changed; 3: somebody waits already; 4: it is too much. */
START_TEST(what_may_be_gone_takes_a_pass)
{
    struct reply r[2] = { 0 };
    uint64_t before;

    start(spare_host);
    run_for(SECOND);
    make_a_pass();
    before = passes();
    world.now_us += (_i == 1 ? 200 : 20) * US_PER_MS;
    if (_i == 0)
        sim_consume(world.platform, 5 * (int64_t)GIB);
    if (_i == 2)
        world.platform->hooks.changed(world.platform->hooks.context);
    if (_i == 3)
        reserve(GIB, 12 * GIB, &r[1]);
    reserve(_i == 4 ? 9 * GIB : 4 * GIB, _i == 4 ? 9 * GIB : 4 * GIB, &r[0]);
    broker_run(world.broker, world.now_us);
    ck_assert_uint_eq(passes(), before + 1);
    ck_assert_int_ge(headroom(), 0);
    run_for(20 * SECOND);
    ck_assert_uint_eq(r[0].count, 1);
    ck_assert_int_eq(r[0].error, ERR_NONE);
    ck_assert_int_ge(headroom(), 0);
    stop();
}
END_TEST

/* A pass that took long since others were run instead is no reason to look
 * seldom. */
START_TEST(a_nap_is_no_cost)
{
    struct broker_view before, after;
    struct reply r = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve(GIB, GIB, &r);
    run_for(100 * US_PER_MS);
    world.nap_us = 50 * US_PER_MS;
    world.nap_in = 2;
    while (world.nap_in > 0)
        step(world.now_us + SECOND);
    broker_view(world.broker, &before);
    run_for(60 * US_PER_MS);
    broker_view(world.broker, &after);
    ck_assert_uint_ge(after.passes, before.passes + 2);
    stop();
}
END_TEST

START_TEST(cancelled_while_it_is_being_stored)
{
    struct reply r = { 0 };
    uint64_t seq;
    size_t n;

    start(full_host);
    run_for(SECOND);
    sim_set_latency(world.platform, SECOND);
    seq = reserve(GIB, GIB, &r);
    while (reserved() == 0)
        step(world.now_us + MINUTE);
    broker_cancel(world.broker, seq, world.now_us);
    run_for(10 * SECOND);
    ck_assert_uint_eq(r.count, 0);
    ck_assert_uint_eq(reserved(), 0);
    sim_ledger(world.platform, &n);
    ck_assert_uint_eq(n, 0);
    stop();
}
END_TEST

START_TEST(undelivered_grants_are_released)
{
    struct reply r;

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    broker_undelivered(world.broker, r.id, world.now_us);
    run_for(SECOND);
    ck_assert(!is_stored(r.id));
    stop();
}
END_TEST

START_TEST(refusals_have_numbers)
{
    struct reply r;

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(13 * GIB, &r);
    ck_assert_int_eq(r.error, ERR_CANNOT_FREE);
    ck_assert_uint_eq(r.free_kib, 12 * GIB);
    ck_assert_ptr_nonnull(strstr(r.message, "1.0 GiB short"));
    ck_assert_uint_eq(sim_find(world.platform, 1)->target_writes, 0);
    stop();
}
END_TEST

START_TEST(the_stuck_are_named)
{
    struct guest_behaviour stuck = { .kind = GUEST_STUCK };
    struct reply r;

    start(full_host);
    sim_set_guest(world.platform, 2, &stuck);
    run_for(SECOND);
    reserve_and_wait(10 * GIB, &r);
    ck_assert_int_eq(r.error, ERR_UNCOOPERATIVE);
    ck_assert_uint_eq(r.domid_count, 1);
    ck_assert_ptr_nonnull(strstr(r.message, "domain 2"));
    stop();
}
END_TEST

START_TEST(bad_calls_are_refused)
{
    static const struct {
        const char *client;
        uint64_t min, max;
        const char *parameter;
    } bad[] = {
        { "", 4, 4, "client" },        { "a b", 4, 4, "client" },
        { "a/b", 4, 4, "client" },     { "x", 8, 4, "max" },
        { "x", 0, UINT64_MAX, "max" },
    };
    struct reserve_call call = { .hold_us = -1, .timeout_us = MINUTE };
    struct reply r = { 0 };

    start(full_host);
    run_for(SECOND);
    call.client = bad[_i].client;
    call.min_kib = bad[_i].min;
    call.max_kib = bad[_i].max;
    broker_reserve(world.broker, &call, world.now_us, take_reply, &r);
    ck_assert_uint_eq(r.count, 0);
    run_for(SECOND);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_int_eq(r.error, ERR_INVALID);
    ck_assert_str_eq(r.parameter, bad[_i].parameter);
    stop();
}
END_TEST

START_TEST(limits_are_answered_busy)
{
    static struct reply r[LIMIT_QUEUE_CLIENT + 1];

    memset(r, 0, sizeof r);
    start(full_host);
    run_for(SECOND);
    for (size_t i = 0; i <= LIMIT_QUEUE_CLIENT; i++)
        reserve(4 * MIB, 4 * MIB, &r[i]);
    run_for(SECOND);
    ck_assert_int_eq(r[LIMIT_QUEUE_CLIENT].error, ERR_BUSY);
    for (size_t i = 0; i < LIMIT_QUEUE_CLIENT; i++)
        ck_assert_int_eq(r[i].error, ERR_NONE);
    stop();
}
END_TEST

START_TEST(limit_of_the_whole_queue)
{
    static struct reply r[LIMIT_QUEUE + 1];
    struct reserve_call call = { .min_kib = 1024 * (uint64_t)GIB,
                                 .max_kib = 1024 * (uint64_t)GIB,
                                 .wait = true,
                                 .hold_us = -1,
                                 .timeout_us = MINUTE };
    char client[20];

    memset(r, 0, sizeof r);
    start(full_host);
    run_for(SECOND);
    call.client = client;
    for (size_t i = 0; i <= LIMIT_QUEUE; i++) {
        snprintf(client, sizeof client, "client-%zu", i / LIMIT_QUEUE_CLIENT);
        broker_reserve(world.broker, &call, world.now_us, take_reply, &r[i]);
    }
    run_for(SECOND);
    ck_assert_int_eq(r[LIMIT_QUEUE].error, ERR_BUSY);
    ck_assert_str_eq(r[LIMIT_QUEUE].parameter, "queued requests");
    for (size_t i = 0; i < LIMIT_QUEUE; i++)
        ck_assert_uint_eq(r[i].count, 0); /* they wait, as they were told to */
    stop();
}
END_TEST

START_TEST(balance_answers_when_all_is_calm)
{
    struct reply a, b = { 0 }, forgotten = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(8 * GIB, &a);
    broker_release(world.broker, a.id, world.now_us, take_reply, &a);
    step(world.now_us);
    broker_balance(world.broker, world.now_us, take_reply, &b);
    broker_balance(world.broker, world.now_us, take_reply, &forgotten);
    broker_forget(world.broker, &forgotten);
    run_for(100 * US_PER_MS);
    ck_assert_uint_eq(b.count, 0);
    run_for(10 * SECOND);
    ck_assert_uint_eq(b.count, 1);
    ck_assert_int_eq(b.error, ERR_NONE);
    ck_assert_uint_eq(forgotten.count, 0);
    stop();
}
END_TEST

/* What a host is like that can't be seen (again). */
static enum err
blind_look(struct platform *platform, int64_t now_us, struct snapshot *ret)
{
    (void)platform, (void)now_us, (void)ret;
    return ERR_NOT_READY;
}

/* "balance_memory answers within a bounded time, never an error": also where
 * xenstored is away from the start, or goes on the way. */
START_TEST(balance_is_bounded)
{
    struct platform_ops ops;
    struct reply b = { 0 };

    start(full_host);
    if (_i == 1)
        run_for(SECOND);
    ops = *world.platform->ops;
    ops.look = blind_look;
    world.platform->ops = &ops;
    broker_balance(world.broker, world.now_us, take_reply, &b);
    run_for(25 * SECOND);
    ck_assert_uint_eq(b.count, 0);
    run_for(6 * SECOND);
    ck_assert_uint_eq(b.count, 1);
    ck_assert_int_eq(b.error, ERR_NONE);
    stop();
}
END_TEST

static struct {
    uint64_t requests[2]; /* each reply cancels both */
    void *waiter;         /* the waiter that the reply forgets */
    unsigned count;
} again;

static void
cancel_both(void *arg, const struct result *result)
{
    (void)arg;
    (void)result;
    again.count++;
    for (size_t i = 0; i < 2; i++)
        broker_cancel(world.broker, again.requests[i], world.now_us);
}

static void
forget_the_other(void *arg, const struct result *result)
{
    (void)result;
    again.count++;
    broker_forget(world.broker, arg == &again ? again.waiter : &again);
    broker_balance(world.broker, world.now_us, forget_the_other, arg);
}

START_TEST(a_refusal_may_cancel_another)
{
    const struct reserve_call bad = { .client = "no such name" };

    start(full_host);
    memset(&again, 0, sizeof again);
    for (size_t i = 0; i < 2; i++)
        again.requests[i] =
            broker_reserve(world.broker, &bad, world.now_us, cancel_both, NULL);
    run_for(SECOND);
    ck_assert_uint_eq(again.count, 1);
    stop();
}
END_TEST

START_TEST(a_waiter_may_forget_another_and_wait_again)
{
    int other;

    start(full_host);
    run_for(SECOND);
    memset(&again, 0, sizeof again);
    again.waiter = &other;
    broker_balance(world.broker, world.now_us, forget_the_other, &again);
    broker_balance(world.broker, world.now_us, forget_the_other, &other);
    broker_run(world.broker, world.now_us);
    ck_assert_uint_eq(again.count, 1);
    broker_run(world.broker, world.now_us);
    ck_assert_uint_eq(again.count, 2);
    stop();
}
END_TEST

/* A full host of guests with rates of their own, that they keep. */
static void
start_with_rates(struct random *r)
{
    static char text[8000];
    uint64_t count = 1 + random_below(r, 12), held = 0;
    uint64_t slowest = 64 + random_below(r, 512);
    size_t n = 0;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t max = 512 + 4 * random_below(r, 1024);
        uint64_t min = max / 8 + random_below(r, max / 2);

        held += max;
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "[domain %" PRIu64 "]\ndynamic-min = %" PRIu64
            "M\ndynamic-max = %" PRIu64 "M\nrate = %" PRIu64 "M\n",
            i + 1, min, max, slowest + random_below(r, 3 * slowest));
        assert(n < sizeof text);
    }
    snprintf(text + n, sizeof text - n, "[host]\nmemory = %" PRIu64 "M\n",
             held + 72);
    start(text);
}

/* Each guest is squeezed once, so that its rate is known. */
static void
make_known(void)
{
    uint64_t now_kib, most_kib;
    struct reply r;

    planner_available(broker_planner(world.broker), world.now_us, &now_kib,
                      &most_kib);
    memset(&r, 0, sizeof r);
    reserve(most_kib / 2, most_kib / 2, &r);
    run_for(MINUTE);
    assert(r.count == 1 && !r.error);
    broker_release(world.broker, r.id, world.now_us, take_reply, &r);
    run_for(2 * MINUTE);
}

/* Asked, and then done: foretold and true, in microseconds. */
static void
foretell(struct random *r, int64_t *ret_eta_us, int64_t *ret_took_us)
{
    uint64_t now_kib, most_kib, kib;
    struct reply done = { 0 };
    struct planner *planner;
    struct what_if w;
    int64_t start_us;

    start_with_rates(r);
    run_for(MINUTE);
    make_known();
    planner = broker_planner(world.broker);
    planner_available(planner, world.now_us, &now_kib, &most_kib);
    kib = page_up(now_kib + random_below(r, most_kib - now_kib));
    planner_what_if(planner, kib, kib, world.now_us, &w);
    start_us = world.now_us;
    reserve(kib, kib, &done);
    while (done.count == 0)
        step(start_us + 2 * MINUTE);
    assert(!done.error);
    *ret_eta_us = w.eta_us;
    *ret_took_us = world.now_us - start_us;
    stop();
}

/* Within 25 %, or what a look or two take: of guests that keep their rates,
 * the fastest of them four times as fast as the slowest.  Who turns out to lag
 * after others are done makes some of them late: 4 % here, and by no more than
 * half. */
START_TEST(etas_come_true)
{
    const int runs = random_runs(150);
    int64_t eta_us, took_us, off_us;
    int late = 0;

    for (int i = 0; i < runs; i++) {
        struct random r = random_seed("etas_come_true", (uint64_t)i);

        foretell(&r, &eta_us, &took_us);
        off_us = took_us > eta_us ? took_us - eta_us : eta_us - took_us;
        if (eta_us >= 0 && off_us <= eta_us / 4 + 30 * US_PER_MS)
            continue;
        fprintf(stderr, "run %d: foretold %.3f s, took %.3f s\n", i,
                (double)eta_us / US_PER_S, (double)took_us / US_PER_S);
        late++;
        assert(eta_us >= 0 && off_us <= eta_us / 2 + 30 * US_PER_MS);
    }
    ck_assert_int_le(late, 1 + runs / 25);
}
END_TEST

int
main(void)
{
    TCase *tcase = tcase_create("broker");

    tcase_add_test(tcase, not_ready_at_first);
    tcase_add_test(tcase, answered_after_it_is_stored);
    tcase_add_test(tcase, what_cannot_be_stored_is_not_granted);
    tcase_add_test(tcase, released_once_it_is_stored);
    tcase_add_test(tcase, a_release_that_fails_changes_nothing);
    tcase_add_test(tcase, cancelled_while_queued);
    tcase_add_test(tcase, what_is_left_over_is_granted_without_a_pass);
    tcase_add_loop_test(tcase, what_may_be_gone_takes_a_pass, 0, 5);
    tcase_add_test(tcase, cancelled_while_it_is_being_stored);
    tcase_add_test(tcase, undelivered_grants_are_released);
    tcase_add_test(tcase, refusals_have_numbers);
    tcase_add_test(tcase, the_stuck_are_named);
    tcase_add_loop_test(tcase, bad_calls_are_refused, 0, 5);
    tcase_add_test(tcase, limits_are_answered_busy);
    tcase_add_test(tcase, limit_of_the_whole_queue);
    tcase_add_test(tcase, balance_answers_when_all_is_calm);
    tcase_add_loop_test(tcase, balance_is_bounded, 0, 2);
    tcase_add_test(tcase, a_nap_is_no_cost);
    tcase_add_test(tcase, a_refusal_may_cancel_another);
    tcase_add_test(tcase, a_waiter_may_forget_another_and_wait_again);
    tcase_add_test(tcase, etas_come_true);
    return run_broker_suite("broker", tcase);
}
