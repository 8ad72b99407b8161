/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Orders for domains, and what the broker tells of all that happens. */
#include "tests/broker_stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(ranges_are_checked)
{
    struct reply r = { 0 };

    start(full_host);
    run_for(SECOND);
    set_range(7, GIB, GIB, &r);
    ck_assert_int_eq(r.error, ERR_UNKNOWN_DOMAIN);
    set_range(1, 2 * GIB, GIB, &r);
    ck_assert_int_eq(r.error, ERR_INVALID);
    ck_assert_str_eq(r.parameter, "dynamic_min");
    set_range(1, GIB, 5 * GIB, &r);
    ck_assert_str_eq(r.parameter, "dynamic_max");
    set_range(1, GIB, 2 * GIB, &r);
    run_for(10 * SECOND);
    ck_assert_int_eq(r.error, ERR_NONE);
    ck_assert_uint_eq(r.count, 4);
    ck_assert_uint_eq(sim_find(world.platform, 1)->actual_kib, 2 * GIB);
    stop();
}
END_TEST

static uint64_t
actual(uint32_t domid)
{
    return sim_find(world.platform, domid)->actual_kib;
}

START_TEST(a_ceiling_is_kept)
{
    struct reply r = { 0 };

    start(full_host);
    run_for(10 * SECOND);
    ck_assert_uint_eq(actual(1), 4 * GIB);
    order(1,
          (struct domain_order){ .kind = ORDER_CEILING,
                                 .target_kib = 2 * GIB + 3 },
          &r);
    run_for(10 * SECOND);
    ck_assert_int_eq(r.error, ERR_NONE);
    ck_assert_uint_eq(actual(1), 2 * GIB);
    /* The range is as it was, and a restart forgets nothing. */
    ck_assert_uint_eq(sim_find(world.platform, 1)->dynamic_max_kib, 4 * GIB);
    broker_free(world.broker);
    start_broker();
    run_for(20 * SECOND);
    ck_assert_uint_eq(actual(1), 2 * GIB);
    order(1, (struct domain_order){ .kind = ORDER_AUTO }, &r);
    run_for(10 * SECOND);
    ck_assert_uint_eq(actual(1), 4 * GIB);
    ck_assert_uint_eq(r.count, 2);
    stop();
}
END_TEST

/* Brought into the range, and never beyond what headroom allows. */
START_TEST(ceilings_are_clamped)
{
    struct domain_order low = { .kind = ORDER_CEILING };
    struct domain_order high = { .kind = ORDER_CEILING,
                                 .target_kib = LIMIT_SIZE_KIB };
    struct reply r = { 0 }, held;

    start(full_host);
    run_for(SECOND);
    order(1, low, &r);
    run_for(10 * SECOND);
    ck_assert_uint_eq(sim_find(world.platform, 1)->ceiling_kib, GIB);
    ck_assert_uint_eq(actual(1), GIB);
    reserve_and_wait(3 * GIB, &held);
    ck_assert_int_eq(held.error, ERR_NONE);
    order(1, high, &r);
    run_for(10 * SECOND);
    ck_assert_uint_eq(sim_find(world.platform, 1)->ceiling_kib, 4 * GIB);
    ck_assert_int_ge(headroom(), 0);
    ck_assert_uint_gt(actual(1), 3 * GIB);
    ck_assert_uint_lt(actual(1), 4 * GIB);
    order(7, high, &r);
    ck_assert_int_eq(r.error, ERR_UNKNOWN_DOMAIN);
    sim_write_range(world.platform, 2, NULL, NULL);
    order(2, high, &r);
    ck_assert_int_eq(r.error, ERR_INVALID);
    ck_assert_str_eq(r.parameter, "domid");
    ck_assert_uint_eq(r.count, 4);
    stop();
}
END_TEST

START_TEST(the_frozen_neither_give_nor_get)
{
    struct reply r = { 0 }, held;
    const struct domain *d;

    start(full_host);
    run_for(10 * SECOND);
    order(1, (struct domain_order){ .kind = ORDER_FREEZE }, &r);
    run_for(SECOND);
    ck_assert_int_eq(r.error, ERR_NONE);
    reserve_and_wait(9 * GIB, &held);
    ck_assert_int_eq(held.error, ERR_NONE);
    ck_assert_uint_eq(actual(1), 4 * GIB);
    ck_assert_uint_eq(actual(2), GIB);
    d = host_find(&broker_planner(world.broker)->host, 1);
    ck_assert_str_eq(domain_state_name(host_domain_state(d, world.now_us)),
                     "frozen");
    order(1, (struct domain_order){ .kind = ORDER_THAW }, &r);
    run_for(10 * SECOND);
    ck_assert_uint_lt(actual(1), 4 * GIB);
    ck_assert_uint_gt(actual(2), GIB);
    ck_assert_uint_eq(r.count, 2);
    stop();
}
END_TEST

static char heard[4000];

/* One line each: what, of whom, and the words. */
static void
hear(void *context, const struct news *news)
{
    size_t n = strlen(heard);
    const char *word = news->state ? news->state : news->why;

    (void)context;
    if (news->kind == NEWS_TARGET)
        return; /* many */
    if (news->result)
        word = err_name(news->result->error);
    snprintf(heard + n, sizeof heard - n, "%s %s %" PRIu32 " %s\n",
             news_name(news->kind), news->client ? news->client : "-",
             news->domid, word ? word : "-");
}

static void
follow(void)
{
    heard[0] = '\0';
    broker_follow(world.broker, hear, NULL);
}

static void
expect_news(const char *wanted)
{
    ck_assert_msg(strstr(heard, wanted) != NULL, "no '%s' in\n%s", wanted,
                  heard);
}

START_TEST(the_life_of_a_reservation_is_told)
{
    struct reply r, refused = { 0 }, cancelled = { 0 };
    uint64_t seq;

    start(full_host);
    run_for(10 * SECOND);
    follow();
    reserve_and_wait(GIB, &r);
    ck_assert_str_eq(heard, "request test 0 -\n"
                            "state - 0 squeezed\n"
                            "grant test 0 none\n");
    follow();
    build_domain(&r, NULL);
    broker_transfer(world.broker, r.id, 9, false, world.now_us, take_reply, &r);
    run_for(SECOND);
    expect_news("transfer test 9 -\n");
    expect_news("state - 9 unmanaged\n");
    sim_destroy(world.platform, 9);
    run_for(SECOND);
    expect_news("release test 9 its domain has gone\n");
    expect_news("state - 9 gone\n");
    follow();
    reserve(64 * GIB, 64 * GIB, &refused);
    seq = reserve(4 * GIB, 4 * GIB, &cancelled);
    step(world.now_us);
    broker_cancel(world.broker, seq, world.now_us);
    run_for(SECOND);
    expect_news("refusal test 0 cannot-free\n");
    expect_news("refusal test 0 cancelled\n");
    stop();
}
END_TEST

START_TEST(thefts_and_bad_ranges_are_told)
{
    const uint64_t low = GIB, high = 2 * GIB;
    struct reply r;

    start(full_host);
    run_for(SECOND);
    reserve_and_wait(4 * GIB, &r);
    follow();
    sim_consume(world.platform, (int64_t)(2 * GIB));
    step(world.now_us);
    expect_news("theft - 0 -\n");
    expect_news("state - 0 overloaded\n");
    expect_news("overload - 0 -\n");
    follow();
    run_for(20 * SECOND); /* it is made good: nothing more was taken */
    ck_assert_ptr_null(strstr(heard, "theft"));
    expect_news("overload - 0 -\n");
    follow();
    sim_write_range(world.platform, 3, &high, &low);
    run_for(SECOND);
    ck_assert_str_eq(heard, "range-error - 3 -\n");
    sim_write_range(world.platform, 3, &low, &high);
    run_for(SECOND);
    expect_news("range-error - 3 -\nrange-error - 3 -\n");
    stop();
}
END_TEST

START_TEST(a_dry_run_sets_nothing)
{
    struct reply r;

    start(full_host);
    world.options.dry_run = true;
    broker_reconfigure(world.broker, &world.options, world.now_us);
    run_for(SECOND);
    memset(&r, 0, sizeof r);
    reserve(GIB, GIB, &r);
    run_for(2 * MINUTE);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_uint_eq(sim_find(world.platform, 1)->target_writes, 0);
    stop();
}
END_TEST

int
main(void)
{
    TCase *tcase = tcase_create("broker_orders");

    tcase_add_test(tcase, ranges_are_checked);
    tcase_add_test(tcase, a_ceiling_is_kept);
    tcase_add_test(tcase, ceilings_are_clamped);
    tcase_add_test(tcase, the_frozen_neither_give_nor_get);
    tcase_add_test(tcase, the_life_of_a_reservation_is_told);
    tcase_add_test(tcase, thefts_and_bad_ranges_are_told);
    tcase_add_test(tcase, a_dry_run_sets_nothing);
    return run_broker_suite("broker_orders", tcase);
}
