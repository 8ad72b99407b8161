/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The manual method: what others write as a target becomes the ceiling, what we
 * write never does, in whatever order things are seen; and no wish is lost. */
#include "squeezed/platform/xen_manual.h"
#include "tests/fakexen/stage.h"
#include "tests/random.h"
#include "tests/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <xenstore.h>

enum {
    MIN_KIB = 256 * 1024, /* of add_managed() */
    MAX_KIB = 1024 * 1024,
    OURS = 0, /* our targets modulo 32 KiB, and those of others */
    FOREIGN = 4
};

static const char *
memory(const char *leaf)
{
    return target_in_store(1, leaf);
}

/* Looks, as a broker does, until nothing changes any more. */
static void
settle(void)
{
    for (int i = 0; i < 30; i++) {
        facts(1);
        run_ms(1);
    }
}

static void
begin(void)
{
    add_managed(1, FLAGS_PV);
    write_memory(1, "target", "1048576");
    start(XEN_BALLOON_ALWAYS);
    settle();
}

static void
check_wish(const char *target, const char *ceiling)
{
    settle();
    ck_assert_str_eq(memory("squeezed-ceiling"), ceiling);
    ck_assert_str_eq(memory("squeezed-target"), memory("target"));
    ck_assert_str_eq(memory("target"), target);
}

START_TEST(first_value_is_the_base_line)
{
    begin();
    check_wish("1048576", "");
    ck_assert(facts(1)->ceiling_kib == CEILING_NONE);
    write_memory(1, "target", "524288");
    check_wish("524288", "524288");
    ck_assert_uint_eq(facts(1)->ceiling_kib, 524288);
}
END_TEST

START_TEST(clamped_into_the_range)
{
    begin();
    write_memory(1, "target", "1000");
    check_wish("1000", "262144");
    write_memory(1, "target", "9999999");
    check_wish("9999999", "1048576");
    write_memory(1, "target", "600001");
    check_wish("600001", "600000");
}
END_TEST

START_TEST(ours_are_none)
{
    begin();
    apply(1, 600 * 1024, 600 * 1024, false);
    settle();
    apply(1, 800 * 1024, 800 * 1024, true);
    check_wish("819200", "");
}
END_TEST

START_TEST(removing_is_no_command)
{
    begin();
    store_remove(&store, "/local/domain/1/memory/target");
    settle();
    ck_assert_str_eq(memory("squeezed-ceiling"), "");
    write_memory(1, "target", "524288");
    check_wish("524288", "524288");
    write_memory(1, "target", "nonsense");
    settle();
    ck_assert_str_eq(memory("squeezed-ceiling"), "524288");
    ck_assert_str_eq(memory("target"), memory("squeezed-target"));
}
END_TEST

START_TEST(heard_at_the_start)
{
    add_managed(1, FLAGS_PV);
    write_memory(1, "squeezed-target", "1048576");
    write_memory(1, "target", "700000");
    start(XEN_BALLOON_ALWAYS);
    check_wish("700000", "700000");
}
END_TEST

START_TEST(builders_may_write)
{
    begin();
    add_managed(2, FLAGS_BUILD);
    hv->domains[2].cpu_time = 0;
    write_memory(2, "target", "1048576");
    settle();
    write_memory(2, "target", "524288");
    settle();
    ck_assert_str_eq(target_in_store(2, "squeezed-target"), "");
    /* Built, restored, or what is left of it. */
    hv->domains[2].flags = FLAGS_PV;
    hv->domains[2].cpu_time = 1;
    settle();
    ck_assert_str_eq(target_in_store(2, "squeezed-target"), "524288");
    write_memory(2, "target", "600000");
    settle();
    ck_assert_str_eq(target_in_store(2, "squeezed-ceiling"), "");
    skipped_us += XEN_MANUAL_YOUNG_US;
    write_memory(2, "target", "700000");
    settle();
    ck_assert_str_eq(target_in_store(2, "squeezed-ceiling"), "700000");
}
END_TEST

START_TEST(unmanaged_are_left_alone)
{
    add(1, FLAGS_PV);
    write_memory(1, "target", "1048576");
    start(XEN_BALLOON_ALWAYS);
    settle();
    write_memory(1, "target", "524288");
    settle();
    ck_assert_str_eq(memory("squeezed-target"), "");
    ck_assert_str_eq(memory("squeezed-ceiling"), "");
}
END_TEST

/* A wish that comes while a target of ours is on its way is heard, too. */
START_TEST(nothing_is_overwritten)
{
    begin();
    apply(1, 600 * 1024, 600 * 1024, false);
    write_memory(1, "target", "524292");
    settle();
    ck_assert_str_eq(memory("squeezed-ceiling"), "524292");
}
END_TEST

/* Not a manual target, but as much a word of the hypervisor. */
START_TEST(reboots_are_seen)
{
    begin();
    hv->domains[1].flags = XEN_DOMINF_shutdown;
    ck_assert(!(facts(1)->flags & DOMAIN_REBOOTS));
    ck_assert_uint_eq(snapshot.reboots, 0);
    hv->domains[1].flags =
        XEN_DOMINF_shutdown | SHUTDOWN_reboot << XEN_DOMINF_shutdownshift;
    ck_assert(facts(1)->flags & DOMAIN_REBOOTS);
    ck_assert_uint_eq(snapshot.reboots, 1);
    hv->domains[1].flags =
        XEN_DOMINF_shutdown | SHUTDOWN_crash << XEN_DOMINF_shutdownshift;
    ck_assert(!(facts(1)->flags & DOMAIN_REBOOTS));
}
END_TEST

/* Long before it is introduced; what libxl writes later on says nothing. */
START_TEST(a_domain_is_seen_when_libxl_has_made_it)
{
    begin();
    run_ms(20);
    changes = 0;
    store_write(&store, "pvh", "/libxl/1/type");
    run_ms(20);
    ck_assert_uint_eq(changes, 0);
    add(5, FLAGS_BUILD);
    store_write(&store, "pvh", "/libxl/5/type");
    ck_assert(wait_for(was_told, SOON_MS * 20));
    facts(5);
    settle();
    changes = 0;
    store_write(&store, "1", "/libxl/5/device");
    run_ms(20);
    ck_assert_uint_eq(changes, 0);
}
END_TEST

/* ------------------------------------------------------------------ random */

struct wishes {
    uint64_t last_kib; /* 0: none yet */
    uint64_t all[500];
    size_t count;
};

static uint64_t
some_kib(struct random *r, uint64_t kind)
{
    return MIN_KIB + kind + 32 * random_below(r, (MAX_KIB - MIN_KIB) / 32);
}

static void
wish(struct random *r, struct wishes *w)
{
    char text[24];

    w->last_kib = some_kib(r, FOREIGN);
    w->all[w->count++] = w->last_kib;
    snprintf(text, sizeof text, "%" PRIu64, w->last_kib);
    write_memory(1, "target", text);
}

/* Events that say nothing, at any level. */
static void
disturb(struct random *r)
{
    switch (random_below(r, 4)) {
    case 0:
        store_write(&store, "", "/local/domain/1/memory");
        break;
    case 1:
        write_memory(1, "unknown", "1");
        break;
    case 2:
        write_memory(1, "dynamic-min", "262144");
        break;
    default:
        store_remove(&store, "/local/domain/1/memory/unknown");
    }
}

static void
restart(void)
{
    platform->ops->free(platform);
    make_platform(XEN_BALLOON_ALWAYS);
    ck_assert(wait_for(is_ready, LATE_MS));
}

static void
check_ceiling(const struct wishes *w)
{
    uint64_t kib = strtoull(memory("squeezed-ceiling"), NULL, 10);
    bool known = kib == 0;

    for (size_t i = 0; i < w->count && !known; i++)
        known = w->all[i] == kib;
    if (!known)
        random_report();
    ck_assert_msg(known, "%" PRIu64 " KiB is nobody's wish", kib);
}

static void
one_step(struct random *r, struct wishes *w)
{
    uint64_t kib;

    switch (random_below(r, 12)) {
    case 0:
    case 1:
    case 2:
        kib = some_kib(r, OURS);
        apply(1, kib, kib, random_below(r, 2));
        break;
    case 3:
        wish(r, w);
        break;
    case 4:
        disturb(r);
        break;
    case 5:
        if (random_below(r, 8) == 0)
            restart();
        break;
    case 6:
    case 7:
        facts(1);
        break;
    case 8:
        run_ms(1);
        break;
    default: /* some of what is there */
        for (uint64_t n = random_below(r, 6); n-- > 0;)
            event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
}

START_TEST(in_any_order)
{
    struct random r = random_seed("in_any_order", (uint64_t)_i);
    struct wishes w = { 0 };

    begin();
    for (int i = 0; i < 300; i++) {
        one_step(&r, &w);
        check_ceiling(&w);
    }
    settle();
    check_ceiling(&w);
    if (w.count == 0)
        return;
    if (strtoull(memory("squeezed-ceiling"), NULL, 10) != w.last_kib)
        random_report();
    ck_assert_uint_eq(strtoull(memory("squeezed-ceiling"), NULL, 10),
                      w.last_kib);
    ck_assert_str_eq(memory("squeezed-target"), memory("target"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("manual targets");
    TCase *rules = tcase_create("rules");
    TCase *any = tcase_create("random");

    if (!store_possible())
        return 77;
    tcase_add_checked_fixture(rules, set_up, tear_down);
    tcase_add_checked_fixture(any, set_up, tear_down);
    tcase_set_timeout(rules, 30);
    tcase_set_timeout(any, 60);
    tcase_add_test(rules, first_value_is_the_base_line);
    tcase_add_test(rules, clamped_into_the_range);
    tcase_add_test(rules, ours_are_none);
    tcase_add_test(rules, removing_is_no_command);
    tcase_add_test(rules, heard_at_the_start);
    tcase_add_test(rules, builders_may_write);
    tcase_add_test(rules, unmanaged_are_left_alone);
    tcase_add_test(rules, nothing_is_overwritten);
    tcase_add_test(rules, reboots_are_seen);
    tcase_add_test(rules, a_domain_is_seen_when_libxl_has_made_it);
    tcase_add_loop_test(any, in_any_order, 0, random_runs(20));
    suite_add_tcase(suite, rules);
    suite_add_tcase(suite, any);
    return run_suite(suite, CK_FORK_GETENV);
}
