/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains that reboot find what they left. */
#include "tests/broker_stage.h"

#include <string.h>

/* A full host, and domain 2 of it is about to be started again. */
static void
start_reboot(uint8_t uuid[UUID_BYTES])
{
    start(full_host);
    world.options.reboot_hold_us = 30 * SECOND;
    broker_reconfigure(world.broker, &world.options, world.now_us);
    run_for(SECOND);
    memcpy(uuid, sim_find(world.platform, 2)->uuid, UUID_BYTES);
    ck_assert(sim_reboot(world.platform, 2));
    run_for(50 * US_PER_MS);
}

/* What xl lets its domains hold beyond their targets. */
#define XL_EXTRA_KIB MIB

/* Nobody gets anything of it, and nothing is counted twice: what the next one
 * may hold beyond its target the others give, if they have been asked yet. */
static void
check_kept(bool whole)
{
    const struct ledger *ledger = &broker_planner(world.broker)->ledger;
    uint64_t given_kib = 12 * GIB;

    ck_assert_int_ge(headroom(), 0);
    for (uint32_t domid = 1; domid <= 4; domid++)
        if (domid != 2)
            given_kib -= sim_find(world.platform, domid)->target_kib;
    ck_assert_uint_le(given_kib, XL_EXTRA_KIB);
    ck_assert_uint_eq(ledger->count, 1);
    ck_assert_uint_ge(ledger->entries[0].amount_kib, 4 * GIB);
    if (!whole)
        return;
    ck_assert_uint_eq(ledger->entries[0].amount_kib, 4 * GIB + XL_EXTRA_KIB);
    ck_assert_uint_eq(given_kib, XL_EXTRA_KIB);
}

/* As libxl does. */
static void
build_successor(const uint8_t uuid[UUID_BYTES], uint32_t domid)
{
    struct scenario_domain d;
    char error[SCENARIO_ERROR_CHARS];

    scenario_domain_init(&d);
    d.domid = domid;
    memcpy(d.uuid, uuid, UUID_BYTES);
    d.limit_kib = 4 * GIB + XL_EXTRA_KIB;
    d.given |= GIVEN_UUID | GIVEN_LIMIT;
    ck_assert_ptr_null(scenario_domain_complete(&d, 4 * GIB, error));
    ck_assert_int_eq(sim_build(world.platform, &d, 4 * GIB, true), 0);
}

static void
check_successor(uint32_t domid)
{
    size_t n;
    const struct ledger_entry *e = sim_ledger(world.platform, &n);

    ck_assert_uint_eq(n, 1);
    ck_assert(e->transferred);
    ck_assert_uint_eq(e->domid, domid);
    ck_assert_uint_eq(e->amount_kib, 4 * GIB + XL_EXTRA_KIB);
    ck_assert_int_ge(headroom(), 0);
}

/* Nobody has taken anything. */
static void
check_no_theft(void)
{
    struct broker_view view;

    broker_view(world.broker, &view);
    ck_assert_uint_eq(view.thefts, 0);
}

START_TEST(a_reboot_keeps_its_memory)
{
    struct random r = random_seed("a_reboot_keeps_its_memory", (uint64_t)_i);
    uint8_t uuid[UUID_BYTES];

    start_reboot(uuid);
    check_kept(true);
    /* Its pages go down slowly; the broker looks, sometimes is started anew. */
    while (sim_find(world.platform, 2)->actual_kib > 0) {
        sim_drain(world.platform, 2, 4 * random_below(&r, GIB / 16));
        check_kept(true);
        if (random_below(&r, 3) == 0)
            run_for((int64_t)random_below(&r, 20) * US_PER_MS);
        if (random_below(&r, 8) == 0) {
            broker_free(world.broker);
            sim_settle_store(world.platform, true);
            start_broker();
            run_for(US_PER_MS);
        }
        check_kept(true);
    }
    sim_destroy(world.platform, 2);
    check_kept(true);
    run_for(2 * SECOND);
    check_kept(true);
    check_no_theft();
    build_successor(uuid, 9);
    run_for(60 * US_PER_MS);
    check_successor(9);
    run_for(10 * SECOND);
    ck_assert_int_ge(headroom(), 0);
    check_no_theft();
    stop();
}
END_TEST

/* Killed at any moment of it: what was kept so far is kept, and the rest is
 * asked for by the next broker. */
START_TEST(a_reboot_and_a_restart)
{
    uint8_t uuid[UUID_BYTES];

    start(full_host);
    world.options.reboot_hold_us = 30 * SECOND;
    broker_reconfigure(world.broker, &world.options, world.now_us);
    run_for(SECOND);
    memcpy(uuid, sim_find(world.platform, 2)->uuid, UUID_BYTES);
    ck_assert(sim_reboot(world.platform, 2));
    step(world.now_us);
    check_kept(false);
    broker_free(world.broker);
    sim_settle_store(world.platform, false);
    start_broker();
    run_for(50 * US_PER_MS);
    check_kept(true);
    sim_destroy(world.platform, 2);
    run_for(2 * SECOND);
    build_successor(uuid, 9);
    run_for(10 * SECOND);
    check_successor(9);
    check_no_theft();
    stop();
}
END_TEST

/* domids come back: an elder that has gone is none any more. */
START_TEST(a_reboot_into_the_same_domid)
{
    uint8_t uuid[UUID_BYTES];

    start_reboot(uuid);
    sim_destroy(world.platform, 2);
    run_for(2 * SECOND);
    build_successor(uuid, 2);
    run_for(60 * US_PER_MS);
    check_successor(2);
    check_no_theft();
    stop();
}
END_TEST

START_TEST(a_reboot_that_never_ends)
{
    uint8_t uuid[UUID_BYTES];

    start_reboot(uuid);
    sim_destroy(world.platform, 2);
    run_for(29 * SECOND);
    check_kept(true);
    run_for(12 * SECOND);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 0);
    ck_assert_uint_eq(sim_find(world.platform, 1)->target_kib, 4 * GIB);
    ck_assert_int_ge(headroom(), (int64_t)(4 * GIB));
    stop();
}
END_TEST

/* Its toolstack reserves by itself: with a limit at the transfer, or under the
 * UUID. */
START_TEST(reboots_of_other_toolstacks)
{
    struct reply r = { 0 }, done = { 0 };
    struct reserve_call call = { .client = "test",
                                 .min_kib = GIB,
                                 .max_kib = GIB,
                                 .timeout_us = MINUTE,
                                 .hold_us = -1 };
    uint8_t uuid[UUID_BYTES];

    start(full_host);
    world.options.reboot_hold_us = 30 * SECOND;
    broker_reconfigure(world.broker, &world.options, world.now_us);
    run_for(SECOND);
    reserve_and_wait(GIB, &r);
    broker_transfer(world.broker, r.id, build_domain(&r, NULL), true,
                    world.now_us, take_reply, &done);
    run_for(5 * SECOND);
    ck_assert_int_eq(done.error, ERR_NONE);
    sim_reboot(world.platform, 9);
    run_for(SECOND);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 1);
    sim_destroy(world.platform, 9);
    run_for(10 * SECOND);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 0);
    stop();

    start_reboot(uuid);
    sim_destroy(world.platform, 2);
    call.uuid = uuid;
    memset(&r, 0, sizeof r);
    broker_reserve(world.broker, &call, world.now_us, take_reply, &r);
    run_for(10 * SECOND);
    ck_assert_int_eq(r.error, ERR_NONE);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 1);
    ck_assert_uint_eq(reserved(), GIB);
    stop();
}
END_TEST

START_TEST(no_hold_for_reboots)
{
    start(full_host);
    run_for(SECOND);
    sim_reboot(world.platform, 2);
    run_for(SECOND);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 0);
    stop();
}
END_TEST

int
main(void)
{
    TCase *tcase = tcase_create("broker_reboot");

    tcase_add_loop_test(tcase, a_reboot_keeps_its_memory, 0, random_runs(20));
    tcase_add_test(tcase, a_reboot_and_a_restart);
    tcase_add_test(tcase, a_reboot_into_the_same_domid);
    tcase_add_test(tcase, a_reboot_that_never_ends);
    tcase_add_test(tcase, reboots_of_other_toolstacks);
    tcase_add_test(tcase, no_hold_for_reboots);
    return run_broker_suite("broker_reboot", tcase);
}
