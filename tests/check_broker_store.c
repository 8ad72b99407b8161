/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker and its store: what is stored by the time of an answer, what
 * becomes of reservations, and what a kill at any point leaves. */
#include "tests/broker_stage.h"

#include <string.h>

static void
reserve_held(int64_t hold_us, struct reply *reply)
{
    const struct reserve_call call = { .client = "test",
                                       .min_kib = GIB,
                                       .max_kib = GIB,
                                       .timeout_us = MINUTE,
                                       .hold_us = hold_us };

    broker_reserve(world.broker, &call, world.now_us, take_reply, reply);
}

START_TEST(holds_end)
{
    struct reply r = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_held(30 * SECOND, &r);
    run_for(10 * SECOND);
    ck_assert(is_stored(r.id));
    /* A restart in between: the hold goes on by the wall clock. */
    broker_free(world.broker);
    start_broker();
    run_for(15 * SECOND);
    ck_assert(is_stored(r.id));
    run_for(10 * SECOND);
    ck_assert(!is_stored(r.id));
    stop();
}
END_TEST

/* A hold is for the time until the transfer, and no longer; nor does a restart
 * change that. */
START_TEST(what_a_domain_owns_is_not_held)
{
    struct reply r = { 0 }, t = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_held(5 * SECOND, &r);
    run_for(SECOND);
    build_domain(&r, NULL);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &t);
    run_for(10 * SECOND);
    ck_assert_int_eq(t.error, ERR_NONE);
    ck_assert(is_stored(r.id));
    broker_free(world.broker);
    start_broker();
    run_for(10 * SECOND);
    ck_assert(is_stored(r.id));
    ck_assert(broker_reservation(world.broker, r.id)->transferred);
    stop();
}
END_TEST

/* Someone sets the host's clock while a reservation is held. */
START_TEST(holds_know_no_wall_clock)
{
    struct reply r = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_held(30 * SECOND, &r);
    run_for(SECOND);
    world.wall_off_ms = _i ? 3600 * 1000 : -3600 * 1000;
    run_for(28 * SECOND);
    ck_assert(is_stored(r.id));
    run_for(3 * SECOND);
    ck_assert(!is_stored(r.id));
    stop();
}
END_TEST

START_TEST(transferred_and_gone)
{
    struct reply r, t = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(2 * GIB, &r);
    broker_transfer(world.broker, "no-such", 9, false, world.now_us, take_reply,
                    &t);
    ck_assert_int_eq(t.error, ERR_UNKNOWN_RESERVATION);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &t);
    ck_assert_int_eq(t.error, ERR_UNKNOWN_DOMAIN);
    build_domain(&r, NULL);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &t);
    run_for(10 * SECOND);
    ck_assert_int_eq(t.error, ERR_NONE);
    ck_assert_uint_eq(t.count, 3);
    ck_assert_uint_eq(reserved(), 0);
    ck_assert_uint_eq(sim_find(world.platform, 9)->actual_kib, 2 * GIB);
    ck_assert_int_eq(headroom(), 0);
    ck_assert_uint_eq(sim_find(world.platform, 1)->target_writes, 1);
    sim_destroy(world.platform, 9);
    run_for(10 * SECOND);
    ck_assert(!is_stored(r.id));
    ck_assert_uint_eq(sim_find(world.platform, 1)->actual_kib, 4 * GIB);
    stop();
}
END_TEST

/* Asked for again while it is being stored: both are told what came of it, and
 * when. */
START_TEST(transferred_again)
{
    struct reply r, t[3] = { 0 };
    bool fails = _i;

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(2 * GIB, &r);
    build_domain(&r, NULL);
    sim_set_latency(world.platform, 10 * US_PER_MS);
    if (fails)
        sim_fail_persist(world.platform, 1, ERR_NO_MEMORY);
    for (int i = 0; i < 3; i++)
        broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply,
                        &t[i]);
    run_for(5 * US_PER_MS);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(t[i].count, 0);
    run_for(10 * US_PER_MS);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(t[i].count, 1);
        ck_assert_int_eq(t[i].error, fails ? ERR_NOT_READY : ERR_NONE);
    }
    ck_assert_uint_eq(reserved(), fails ? 2 * GIB : 0);
    /* Nobody hears of it when the broker goes. */
    memset(t, 0, sizeof t);
    reserve_and_wait(GIB, &r);
    for (int i = 0; i < 3; i++)
        broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply,
                        &t[i]);
    broker_free(world.broker);
    sim_settle_store(world.platform, true);
    start_broker();
    run_for(SECOND);
    ck_assert_uint_eq(t[0].count + t[1].count + t[2].count, 0);
    stop();
}
END_TEST

static void
make_domain(uint32_t domid, uint64_t build_kib)
{
    struct scenario_domain d;
    char error[SCENARIO_ERROR_CHARS];

    scenario_domain_init(&d);
    d.domid = domid;
    ck_assert_ptr_null(scenario_domain_complete(&d, build_kib, error));
    ck_assert_int_eq(sim_build(world.platform, &d, build_kib, false), 0);
}

/* Somebody takes a reservation's memory, and all guests are at their minimum:
 * who comes to build with it is told before; who finds enough is not. */
START_TEST(what_was_stolen_is_told_at_the_transfer)
{
    struct reply first = { 0 }, second = { 0 }, t = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(6 * GIB, &first);
    reserve_and_wait(6 * GIB, &second); /* nobody has any more to give */
    sim_consume(world.platform, (int64_t)(2 * GIB));
    run_for(10 * SECOND);
    make_domain(9, 6 * GIB);
    broker_transfer(world.broker, first.id, 9, false, world.now_us, take_reply,
                    &t);
    run_for(SECOND);
    ck_assert_int_eq(t.error, ERR_NONE); /* 10 GiB are there */
    make_domain(10, 6 * GIB);
    broker_transfer(world.broker, second.id, 10, false, world.now_us,
                    take_reply, &t);
    run_for(SECOND);
    ck_assert_uint_eq(t.count, 2);
    ck_assert_int_eq(t.error, ERR_CANNOT_FREE);
    /* Both may cost 8 MiB more than they get, out of the reserve. */
    ck_assert_uint_ge(t.free_kib, 4 * GIB);
    ck_assert_uint_le(t.free_kib, 4 * GIB + 8 * MIB);
    ck_assert_ptr_nonnull(strstr(t.message, "were taken by others"));
    ck_assert(is_stored(second.id)); /* its holder may wait, or release it */
    sim_consume(world.platform, -(int64_t)(2 * GIB));
    broker_transfer(world.broker, second.id, 10, false, world.now_us,
                    take_reply, &t);
    run_for(SECOND);
    ck_assert_int_eq(t.error, ERR_NONE);
    stop();
}
END_TEST

/* The same, where guests could make it good, but don't. */
START_TEST(who_does_not_make_it_good_is_named)
{
    struct guest_behaviour stuck = { .kind = GUEST_STUCK };
    struct guest_behaviour obedient = { .kind = GUEST_OBEDIENT };
    struct reply r, t = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(6 * GIB, &r);
    for (uint32_t domid = 1; domid <= 4; domid++)
        sim_set_guest(world.platform, domid, &stuck);
    sim_consume(world.platform, (int64_t)(2 * GIB));
    run_for(10 * SECOND);
    make_domain(9, 6 * GIB);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &t);
    ck_assert_int_eq(t.error, ERR_UNCOOPERATIVE);
    ck_assert_uint_eq(t.domid_count, 4);
    for (uint32_t domid = 1; domid <= 4; domid++)
        sim_set_guest(world.platform, domid, &obedient);
    run_for(MINUTE);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &t);
    run_for(SECOND);
    ck_assert_int_eq(t.error, ERR_NONE);
    stop();
}
END_TEST

START_TEST(a_uuid_meets_its_domain)
{
    static const uint8_t uuid[UUID_BYTES] = { 1, 2, 3 };
    struct reserve_call call = { .client = "test",
                                 .min_kib = GIB,
                                 .max_kib = GIB,
                                 .timeout_us = MINUTE,
                                 .hold_us = -1,
                                 .uuid = uuid };
    struct reply r = { 0 };
    uint64_t writes;
    size_t n;

    start(full_host);
    run_for(SECOND);
    broker_reserve(world.broker, &call, world.now_us, take_reply, &r);
    run_for(SECOND);
    writes = sim_find(world.platform, 1)->target_writes;
    /* It may come without a word: xenstored tells only after the build. */
    ck_assert_int_le(broker_next_us(world.broker),
                     world.now_us + 50 * US_PER_MS);
    build_domain(&r, uuid);
    run_for(60 * US_PER_MS);
    ck_assert_int_gt(broker_next_us(world.broker),
                     world.now_us + 50 * US_PER_MS);
    ck_assert(sim_ledger(world.platform, &n)[0].transferred);
    run_for(SECOND);
    /* Nobody was asked for the domain and for the reservation. */
    ck_assert_uint_eq(sim_find(world.platform, 1)->target_writes, writes);
    ck_assert(sim_ledger(world.platform, &n)[0].transferred);
    ck_assert_uint_eq(sim_ledger(world.platform, &n)[0].domid, 9);
    stop();
}
END_TEST

/* Built at any pace, with the broker started anew at any moment: the memory of
 * the domain and its reservation are one thing at every look of the broker, and
 * nobody is asked twice. */
START_TEST(a_uuid_is_counted_once)
{
    static const uint8_t uuid[UUID_BYTES] = { 4, 5, 6 };
    struct random rnd = random_seed("a_uuid_is_counted_once", (uint64_t)_i);
    struct reserve_call call = {
        .client = "test", .timeout_us = MINUTE, .hold_us = -1, .uuid = uuid
    };
    struct reply r = { 0 };
    uint64_t writes;

    start(full_host);
    run_for(SECOND);
    call.min_kib = call.max_kib = 4 * (1 + random_below(&rnd, GIB));
    broker_reserve(world.broker, &call, world.now_us, take_reply, &r);
    run_for(10 * SECOND);
    ck_assert_int_eq(r.error, ERR_NONE);
    writes = sim_find(world.platform, 1)->target_writes;
    build_domain(&r, uuid);
    for (int64_t us = 0; us < 5 * SECOND;) {
        int64_t nap_us = (int64_t)random_below(&rnd, 20) * US_PER_MS;

        if (random_below(&rnd, 40) == 0) {
            broker_free(world.broker);
            sim_settle_store(world.platform, random_below(&rnd, 2));
            start_broker();
            run_for(US_PER_MS);
        }
        run_for(nap_us);
        us += nap_us + 1;
        if (us < 60 * US_PER_MS)
            continue; /* known after 50 ms at the latest */
        ck_assert_int_ge(headroom(), -(int64_t)(8 * MIB));
        ck_assert_int_le(headroom(), 512);
    }
    ck_assert_uint_eq(sim_find(world.platform, 1)->target_writes, writes);
    stop();
}
END_TEST

/* The one that has the UUID already is on its way out, or another's. */
START_TEST(an_elder_of_that_uuid_is_not_meant)
{
    struct reserve_call call = { .client = "test",
                                 .min_kib = GIB,
                                 .max_kib = GIB,
                                 .timeout_us = MINUTE,
                                 .hold_us = -1 };
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];
    size_t n;

    start(full_host);
    run_for(SECOND);
    memcpy(uuid, sim_find(world.platform, 2)->uuid, UUID_BYTES);
    call.uuid = uuid;
    broker_reserve(world.broker, &call, world.now_us, take_reply, &r);
    run_for(2 * SECOND);
    ck_assert_uint_eq(r.count, 1);
    ck_assert(!sim_ledger(world.platform, &n)[0].transferred);
    sim_destroy(world.platform, 2);
    build_domain(&r, uuid);
    run_for(2 * SECOND);
    ck_assert(sim_ledger(world.platform, &n)[0].transferred);
    ck_assert_uint_eq(sim_ledger(world.platform, &n)[0].domid, 9);
    stop();
}
END_TEST

/* Before the ledger was read nothing is called unknown. */
START_TEST(nothing_is_unknown_before_the_ledger_is_read)
{
    struct reply r, early = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    broker_free(world.broker);
    sim_set_latency(world.platform, SECOND);
    start_broker();
    broker_release(world.broker, r.id, world.now_us, take_reply, &early);
    ck_assert_int_eq(early.error, ERR_NOT_READY);
    broker_transfer(world.broker, r.id, 1, false, world.now_us, take_reply,
                    &early);
    ck_assert_int_eq(early.error, ERR_NOT_READY);
    set_range(1, GIB, GIB, &early);
    ck_assert_int_eq(early.error, ERR_NOT_READY);
    run_for(5 * SECOND);
    ck_assert(is_stored(r.id));
    stop();
}
END_TEST

START_TEST(login_drops_what_no_domain_owns)
{
    struct reply a, b, login = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(GIB, &a);
    reserve_and_wait(GIB, &b);
    build_domain(&b, NULL);
    broker_transfer(world.broker, b.id, 9, false, world.now_us, take_reply,
                    &login);
    run_for(SECOND);
    broker_login(world.broker, "other", world.now_us, take_reply, &login);
    run_for(SECOND);
    ck_assert(is_stored(a.id) && is_stored(b.id));
    broker_login(world.broker, "test", world.now_us, take_reply, &login);
    run_for(SECOND);
    ck_assert(!is_stored(a.id) && is_stored(b.id));
    ck_assert_uint_eq(login.count, 3);
    ck_assert_int_eq(login.error, ERR_NONE);
    stop();
}
END_TEST

/* In one transaction: all of them, or none. */
START_TEST(a_login_is_one_change)
{
    struct reply a, b, login = { 0 };

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(GIB, &a);
    reserve_and_wait(GIB, &b);
    sim_fail_persist(world.platform, 1, ERR_IO);
    broker_login(world.broker, "test", world.now_us, take_reply, &login);
    run_for(SECOND);
    ck_assert_uint_eq(login.count, 1);
    ck_assert_int_ne(login.error, ERR_NONE);
    ck_assert(is_stored(a.id) && is_stored(b.id));
    broker_login(world.broker, "test", world.now_us, take_reply, &login);
    run_for(SECOND);
    ck_assert_uint_eq(login.count, 2);
    ck_assert_int_eq(login.error, ERR_NONE);
    ck_assert(!is_stored(a.id) && !is_stored(b.id));
    stop();
}
END_TEST

/* It would count as the promise of whoever came after. */
START_TEST(a_domid_that_came_back_was_promised_nothing)
{
    static const uint8_t old[UUID_BYTES] = { 1 }, young[UUID_BYTES] = { 2 };
    struct reply r, t = { 0 };
    const struct ledger_entry *e;
    size_t n;

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    build_domain(&r, old);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &t);
    run_for(10 * US_PER_MS);
    ck_assert_int_eq(t.error, ERR_NONE);
    e = sim_ledger(world.platform, &n);
    ck_assert(n == 1 && e[0].transferred && e[0].has_owner_uuid);
    ck_assert_int_eq(memcmp(e[0].owner_uuid, old, UUID_BYTES), 0);

    broker_free(world.broker);
    sim_destroy(world.platform, 9);
    for (unsigned i = 0; i < 100; i++) { /* until it has gone */
        world.now_us += 100 * US_PER_MS;
        sim_advance(world.platform, world.now_us);
    }
    build_domain(&r, young);
    start_broker();
    run_for(100 * US_PER_MS);
    ck_assert(!is_stored(r.id));
    ck_assert_uint_eq(
        host_find(&broker_planner(world.broker)->host, 9)->promise_kib, 0);
    stop();
}
END_TEST

static struct platform_ops lossy_ops;
static unsigned lossy_reconnects;

static void
lossy_health(struct platform *platform, struct platform_health *ret)
{
    (void)platform;
    *ret = (struct platform_health){ .connected = true,
                                     .reconnects = lossy_reconnects };
}

static void
make_lossy(void)
{
    lossy_ops = *world.platform->ops;
    lossy_ops.health = lossy_health;
    lossy_reconnects = 0;
    world.platform->ops = &lossy_ops;
}

static void
come_back(void)
{
    lossy_reconnects++;
    world.platform->hooks.changed(world.platform->hooks.context);
}

START_TEST(written_back_once_that_is_possible)
{
    struct reply r;

    start(full_host);
    make_lossy();
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    sim_lose_store(world.platform);
    ck_assert(!is_stored(r.id));
    sim_fail_persist(world.platform, 1, ERR_IO);
    come_back();
    run_for(900 * US_PER_MS);
    ck_assert(!is_stored(r.id));
    sim_fail_persist(world.platform, 1, ERR_IO);
    run_for(900 * US_PER_MS);
    ck_assert(!is_stored(r.id));
    run_for(SECOND);
    ck_assert(is_stored(r.id));
    stop();
}
END_TEST

/* What was being released when the store came back, and could not be, stays
 * reserved: so it is written back, too. */
START_TEST(written_back_after_a_release_that_failed)
{
    struct reply r, d = { 0 };

    start(full_host);
    make_lossy();
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    sim_lose_store(world.platform);
    sim_set_latency(world.platform, 100 * US_PER_MS);
    sim_fail_persist(world.platform, 1, ERR_IO);
    broker_release(world.broker, r.id, world.now_us, take_reply, &d);
    come_back();
    run_for(3 * SECOND);
    ck_assert_int_eq(d.error, ERR_NOT_READY);
    ck_assert_uint_eq(reserved(), GIB);
    ck_assert(is_stored(r.id));
    stop();
}
END_TEST

enum { CALLS = 12 };

struct story {
    struct reply replies[CALLS];
    bool released[CALLS]; /* asked for, whether answered or not */
};

/* A domain's reservation that could be neither stored as its own nor removed
 * is tried again, and its promise ends as any other. */
START_TEST(neither_transferred_nor_released)
{
    struct reply r, t = { 0 }, d = { 0 };
    const struct ledger_entry *e, *stored;
    size_t n;

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    sim_set_latency(world.platform, 100 * US_PER_MS);
    sim_fail_persist(world.platform, 1, ERR_IO);
    broker_transfer(world.broker, r.id, 1, false, world.now_us, take_reply, &t);
    sim_fail_persist(world.platform, 1, ERR_IO);
    broker_release(world.broker, r.id, world.now_us, take_reply, &d);
    run_for(3 * SECOND);
    ck_assert_int_eq(t.error, ERR_NOT_READY);
    ck_assert_int_eq(d.error, ERR_NOT_READY);
    e = broker_reservation(world.broker, r.id);
    ck_assert_ptr_nonnull(e);
    ck_assert(!e->storing);
    stored = sim_ledger(world.platform, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(stored->transferred, e->transferred);
    stop();
}
END_TEST

/* Every reservation that was answered and never given back is stored, and the
 * broker counts what is stored, once. */
static void
check_story(const struct story *s)
{
    uint64_t stored_kib = 0;
    const struct ledger_entry *e;
    size_t n;

    for (size_t i = 0; i < CALLS; i++)
        if (s->replies[i].id[0] && !s->released[i])
            assert(is_stored(s->replies[i].id));
    e = sim_ledger(world.platform, &n);
    for (size_t i = 0; i < n; i++)
        stored_kib += e[i].transferred ? 0 : e[i].amount_kib;
    assert(reserved() == stored_kib);
    ledger_audit(&broker_planner(world.broker)->ledger);
}

START_TEST(killed_anywhere)
{
    struct random r = random_seed("killed_anywhere", (uint64_t)_i);
    struct story story = { 0 };

    start(full_host);
    sim_set_latency(world.platform, (int64_t)random_below(&r, 30) * US_PER_MS);
    for (size_t i = 0; i < CALLS; i++) {
        struct reply *done = &story.replies[random_below(&r, i + 1)];
        size_t steps = (size_t)random_below(&r, 20);

        reserve(random_below(&r, 512) * 4 * MIB, 2 * GIB, &story.replies[i]);
        while (steps-- > 0)
            step(world.now_us + SECOND);
        if (done->id[0] && random_below(&r, 2)) {
            story.released[done - story.replies] = true;
            broker_release(world.broker, done->id, world.now_us, NULL, NULL);
        }
        if (random_below(&r, 2) == 0)
            sim_fail_persist(world.platform, 1 + (unsigned)random_below(&r, 3),
                             ERR_IO);
        if (random_below(&r, 2)) {
            broker_free(world.broker);
            sim_settle_store(world.platform, random_below(&r, 2));
            start_broker();
            do {
                step(world.now_us + SECOND);
            } while (!broker_planner(world.broker));
            check_story(&story);
            assert(headroom() >= 0);
        }
    }
    sim_fail_persist(world.platform, 0, ERR_NONE);
    run_for(2 * MINUTE);
    check_story(&story);
    assert(headroom() >= 0);
    stop();
}
END_TEST

int
main(void)
{
    TCase *tcase = tcase_create("broker_store");

    tcase_add_test(tcase, holds_end);
    tcase_add_test(tcase, what_a_domain_owns_is_not_held);
    tcase_add_loop_test(tcase, holds_know_no_wall_clock, 0, 2);
    tcase_add_test(tcase, transferred_and_gone);
    tcase_add_loop_test(tcase, transferred_again, 0, 2);
    tcase_add_test(tcase, what_was_stolen_is_told_at_the_transfer);
    tcase_add_test(tcase, who_does_not_make_it_good_is_named);
    tcase_add_test(tcase, a_uuid_meets_its_domain);
    tcase_add_loop_test(tcase, a_uuid_is_counted_once, 0, random_runs(20));
    tcase_add_test(tcase, an_elder_of_that_uuid_is_not_meant);
    tcase_add_test(tcase, nothing_is_unknown_before_the_ledger_is_read);
    tcase_add_test(tcase, login_drops_what_no_domain_owns);
    tcase_add_test(tcase, a_login_is_one_change);
    tcase_add_test(tcase, a_domid_that_came_back_was_promised_nothing);
    tcase_add_test(tcase, written_back_once_that_is_possible);
    tcase_add_test(tcase, written_back_after_a_release_that_failed);
    tcase_add_test(tcase, neither_transferred_nor_released);
    tcase_add_loop_test(tcase, killed_anywhere, 0, 300);
    return run_broker_suite("broker_store", tcase);
}
