/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the xen platform concludes of a guest: does it balloon, what is its
 * offset; and domain 0's range. */
#include "squeezed/core/facts.h"
#include "squeezed/platform/xen_autoballoon.h"
#include "squeezed/platform/xen_guest.h"
#include "squeezed/platform/xen_offset.h"
#include "squeezed/platform/xen_zero.h"
#include "tests/suite.h"

#include <check.h>

enum { MIB = KIB_PER_MIB, GIB = KIB_PER_GIB };

/* Does it balloon? */

#define S(n) ((n)*US_PER_S)

static struct xen_guest guest;
static struct xen_guest_signs signs;

static void
set_up(void)
{
    guest = (struct xen_guest){ 0 };
    signs = (struct xen_guest_signs){ .managed = true, .runs = true };
}

static uint32_t
flags(enum xen_balloon rule)
{
    return xen_guest_flags(&guest, rule, &signs);
}

/* "feature-balloon, or a memory-offset that is already there [...]: yes." */
START_TEST(signs_of_a_balloon)
{
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
    signs.feature = true;
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_BALLOON);
    ck_assert_uint_eq(flags(XEN_BALLOON_FEATURE), DOMAIN_BALLOON);
    signs.feature = false;
    signs.offset = true;
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_BALLOON);
}
END_TEST

/* "`feature`: only the key counts." */
START_TEST(only_the_key_counts)
{
    signs.offset = signs.poweroff = true;
    guest.pod_proof = true;
    guest.ran_us = S(1000);
    ck_assert_uint_eq(flags(XEN_BALLOON_FEATURE), 0);
}
END_TEST

/* "`always`: every managed domain that runs." */
START_TEST(every_managed_domain_that_runs)
{
    ck_assert_uint_eq(flags(XEN_BALLOON_ALWAYS), DOMAIN_BALLOON);
    signs.managed = false;
    ck_assert_uint_eq(flags(XEN_BALLOON_ALWAYS), 0);
    signs.managed = true;
    signs.runs = false;
    ck_assert_uint_eq(flags(XEN_BALLOON_ALWAYS), 0);
}
END_TEST

/* "Else not before a control/feature-* that Linux writes is 1" */
START_TEST(ready_when_linux_says_so)
{
    signs.poweroff = true;
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_PROBE_READY);
    signs.runs = false;
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
    signs.runs = true;
    signs.offset = true;
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_BALLOON);
}
END_TEST

/* "or 60 s of running for guests that write none" */
START_TEST(ready_after_a_minute)
{
    int64_t now_us = S(1000);

    for (int i = 0; i < 6; i++, now_us += S(10)) {
        xen_guest_look(&guest, true, now_us);
        ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
    }
    /* Half a minute's pause is no running. */
    xen_guest_look(&guest, false, now_us - S(1));
    xen_guest_look(&guest, false, now_us + S(30));
    xen_guest_look(&guest, true, now_us + S(31));
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
    xen_guest_look(&guest, true, now_us + S(41) - 1);
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
    xen_guest_look(&guest, true, now_us + S(41));
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_PROBE_READY);
    ck_assert_uint_eq(flags(XEN_BALLOON_FEATURE), 0);
}
END_TEST

/* "As long as that holds it is *booting*: not raised, not calibrated, not
 * judged." */
START_TEST(holes_mean_booting)
{
    signs.feature = signs.offset = signs.poweroff = true;
    xen_guest_look_pod(&guest, 512 * MIB, 512 * MIB - 4, GIB);
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
    ck_assert_uint_eq(flags(XEN_BALLOON_FEATURE), 0);
    ck_assert_uint_eq(flags(XEN_BALLOON_ALWAYS), 0);
    ck_assert(!guest.pod_settled);
    xen_guest_look_pod(&guest, 100 * MIB, 100 * MIB, GIB);
    ck_assert(guest.pod_settled);
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_BALLOON);
}
END_TEST

/* "Falling pod_entries is progress, and proves a balloon." */
START_TEST(falling_entries_prove_a_balloon)
{
    xen_guest_look_pod(&guest, 512 * MIB, 256 * MIB, GIB);
    xen_guest_look_pod(&guest, 300 * MIB, 256 * MIB, GIB);
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0); /* not done yet */
    xen_guest_look_pod(&guest, 200 * MIB, 200 * MIB, GIB);
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), DOMAIN_BALLOON);
}
END_TEST

/* Pages that are only touched take from both; a stock that somebody adds to is
 * in what the domain holds. */
START_TEST(touched_pages_prove_nothing)
{
    xen_guest_look_pod(&guest, 512 * MIB, 256 * MIB, GIB);
    xen_guest_look_pod(&guest, 412 * MIB, 156 * MIB, GIB);
    ck_assert(!guest.pod_proof);
    xen_guest_look_pod(&guest, 412 * MIB, 412 * MIB, GIB + 256 * MIB);
    ck_assert(!guest.pod_proof);
    ck_assert(guest.pod_settled);
    ck_assert_uint_eq(flags(XEN_BALLOON_AUTO), 0);
}
END_TEST

START_TEST(no_holes_at_all)
{
    xen_guest_look_pod(&guest, 0, 0, GIB);
    ck_assert(guest.pod_settled);
    ck_assert(!guest.pod_proof);
}
END_TEST

/* The offset */

struct scene {
    struct xen_offset offset;
    int64_t now_us;
    uint64_t max_kib;
    bool host_moves;
    unsigned measured; /* so often */
    int64_t kib;       /* the last */
};

/* It stands like this for so long, and is looked at twice a second. */
static void
stand(struct scene *scene, uint64_t target_kib, uint64_t held_kib,
      int64_t for_us)
{
    const struct xen_offset_sight sight = {
        .target_kib = target_kib,
        .held_kib = held_kib,
        .max_kib = scene->max_kib ? scene->max_kib : 4 * (uint64_t)GIB,
        .host_moves = scene->host_moves,
    };
    int64_t end_us = scene->now_us + for_us;

    for (; scene->now_us < end_us; scene->now_us += US_PER_S / 2)
        if (xen_offset_look(&scene->offset, &sight, scene->now_us, &scene->kib))
            scene->measured++;
}

/* "measured once the domain is at rest (tot_pages still for 2 s [...]), and
 * only believed after a change of the target was seen to move tot_pages by the
 * same amount" */
START_TEST(a_pvh_guest_is_64_kib_above)
{
    struct scene s = { .now_us = S(100) };

    stand(&s, GIB, GIB + 64, S(10));
    ck_assert_uint_eq(s.measured, 0); /* nothing has moved it yet */
    stand(&s, GIB - MIB, GIB - 500, S(1));
    stand(&s, GIB - MIB, GIB - MIB + 64, S(2));
    ck_assert_uint_eq(s.measured, 0); /* not still long enough */
    stand(&s, GIB - MIB, GIB - MIB + 64, S(1));
    ck_assert_uint_eq(s.measured, 1);
    ck_assert_int_eq(s.kib, 64);
    stand(&s, GIB - MIB, GIB - MIB + 64, S(1000));
    ck_assert_uint_eq(s.measured, 1);
}
END_TEST

START_TEST(offsets_may_be_negative)
{
    struct scene s = { .now_us = S(100) };

    stand(&s, GIB, GIB - 16 * MIB, S(3));
    stand(&s, 2 * GIB, 2 * GIB - 16 * MIB, S(3));
    ck_assert_uint_eq(s.measured, 1);
    ck_assert_int_eq(s.kib, -16 * MIB);
}
END_TEST

START_TEST(a_guest_that_drifts_has_none)
{
    struct scene s = { .now_us = S(100) };

    stand(&s, GIB, GIB + 64, S(3));
    for (unsigned i = 1; i < 20; i++)
        stand(&s, GIB, GIB + 64 + 4 * i, S(3));
    stand(&s, GIB - MIB, GIB - 4 * MIB, S(3)); /* moved, but not by so much */
    stand(&s, GIB - 2 * MIB, GIB - 4 * MIB, S(3)); /* didn't */
    ck_assert_uint_eq(s.measured, 0);
}
END_TEST

START_TEST(one_that_never_rests_has_none)
{
    struct scene s = { .now_us = S(100) };

    stand(&s, GIB, GIB, S(3));
    for (unsigned i = 0; i < 50; i++)
        stand(&s, GIB - MIB, GIB - MIB + 4 * (i % 2), S(1));
    ck_assert_uint_eq(s.measured, 0);
}
END_TEST

/* "|offset| <= 64 MiB" */
START_TEST(large_offsets_are_none)
{
    struct scene s = { .now_us = S(100) };

    stand(&s, GIB, GIB + 64 * MIB + 4, S(3));
    stand(&s, GIB - MIB, GIB + 63 * MIB + 4, S(3));
    ck_assert_uint_eq(s.measured, 0);
    s = (struct scene){ .now_us = S(100) };
    stand(&s, GIB, GIB - 64 * MIB - 4, S(3));
    stand(&s, GIB - MIB, GIB - 65 * MIB - 4, S(3));
    ck_assert_uint_eq(s.measured, 0);
    s = (struct scene){ .now_us = S(100) };
    stand(&s, GIB, GIB + 64 * MIB, S(3));
    stand(&s, GIB - MIB, GIB + 63 * MIB, S(3));
    ck_assert_uint_eq(s.measured, 1);
}
END_TEST

/* "corrected at most once a minute, never while something moves" */
START_TEST(corrections_are_rare)
{
    struct scene s = { .now_us = S(100) };

    stand(&s, GIB, GIB + 64, S(3));
    stand(&s, GIB - MIB, GIB - MIB + 64, S(3));
    ck_assert_uint_eq(s.measured, 1);
    stand(&s, GIB - MIB, GIB - MIB + 128, S(3)); /* it has changed */
    stand(&s, GIB, GIB + 128, S(40));
    ck_assert_uint_eq(s.measured, 1);
    stand(&s, GIB, GIB + 128, S(30));
    ck_assert_uint_eq(s.measured, 2);
    ck_assert_int_eq(s.kib, 128);

    stand(&s, GIB, GIB, S(100));
    s.host_moves = true;
    stand(&s, GIB - MIB, GIB - MIB, S(100));
    ck_assert_uint_eq(s.measured, 2);
    s.host_moves = false;
    stand(&s, GIB - MIB, GIB - MIB, S(1));
    ck_assert_uint_eq(s.measured, 3);
    ck_assert_int_eq(s.kib, 0);
}
END_TEST

/* Where its limit stops it, nobody sees where it would go. */
START_TEST(a_limit_is_no_rest)
{
    struct scene s = { .now_us = S(100), .max_kib = GIB + MIB };

    stand(&s, GIB - 100 * MIB, GIB - 90 * MIB, S(3));
    stand(&s, GIB, GIB + MIB, S(3));
    s.max_kib += 10 * MIB;
    stand(&s, GIB + 10 * MIB, GIB + 11 * MIB, S(3));
    ck_assert_uint_eq(s.measured, 0);
    stand(&s, GIB - 50 * MIB, GIB - 40 * MIB, S(3));
    ck_assert_uint_eq(s.measured, 1);
    ck_assert_int_eq(s.kib, 10 * MIB);
}
END_TEST

/* Domain 0 */

static const struct zero_case {
    uint64_t min_kib, max_kib, held_kib;
    int64_t stored_kib; /* 0: none */
    uint64_t want_min_kib, want_max_kib;
} zero_cases[] = {
    { GIB, XEN_ZERO_AUTO, 2 * GIB, 0, GIB, 2 * GIB },
    /* At a later start it may have been squeezed. */
    { GIB, XEN_ZERO_AUTO, GIB, 2 * GIB, GIB, 2 * GIB },
    { GIB, XEN_ZERO_AUTO, GIB / 2, 0, GIB / 2, GIB / 2 },
    { GIB, 3 * (uint64_t)GIB, GIB, 2 * GIB, GIB, 3 * (uint64_t)GIB },
};

static const struct {
    const char *conf, *line;
    bool on;
} autoballoons[] = {
    { "", "placeholder", true }, /* auto is the default */
    { "", "dom0_mem=1024M,max:1024M", false },
    { "", "loglvl=all dom0_mem=1G", false },
    { "", "nodom0_mem=1G", true },
    { "", NULL, false }, /* nobody knows */
    { "#autoballoon=\"on\"\n", NULL, false },
    { "autoballoon=\"on\"", "dom0_mem=1G", true },
    { "vif.default.script=\"x\"\n  autoballoon = 1 # yes\n", NULL, true },
    { "autoballoon=\"off\"\n", "x", false },
    { "autoballoon='0'\n", "x", false },
    { "autoballoon=\"on\"\nautoballoon=\"off\"\n", "x", false },
    { "autoballoon=\"auto\"\n", "x", true },
    { "autoballoon_more=\"on\"\nautoballoon", NULL, false },
    { "autoballoon=nobodyknowswhatthisis\n", NULL, false },
};

START_TEST(autoballoon_as_xl_reads_it)
{
    ck_assert_int_eq(
        xen_autoballoon_is_on(autoballoons[_i].conf, autoballoons[_i].line),
        autoballoons[_i].on);
}
END_TEST

START_TEST(domain_zero_gets_a_range)
{
    const struct zero_case *c = &zero_cases[_i];
    struct xen_zero zero = { .min_kib = c->min_kib, .max_kib = c->max_kib };
    struct xen_value stored = { .state = XEN_VALUE_ABSENT };
    uint64_t min_kib, max_kib;

    if (c->stored_kib)
        stored = xen_value_of((uint64_t)c->stored_kib);
    xen_zero_range(&zero, &stored, c->held_kib, &min_kib, &max_kib);
    ck_assert_uint_eq(min_kib, c->want_min_kib);
    ck_assert_uint_eq(max_kib, c->want_max_kib);

    /* The same after xenstored has forgotten it. */
    stored.state = XEN_VALUE_ABSENT;
    xen_zero_range(&zero, &stored, 4096, &min_kib, &max_kib);
    ck_assert_uint_eq(min_kib, c->want_min_kib);
    ck_assert_uint_eq(max_kib, c->want_max_kib);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("xen guest");
    TCase *balloon = tcase_create("balloon");
    TCase *offset = tcase_create("offset");
    TCase *zero = tcase_create("zero");

    tcase_add_checked_fixture(balloon, set_up, NULL);
    tcase_add_test(balloon, signs_of_a_balloon);
    tcase_add_test(balloon, only_the_key_counts);
    tcase_add_test(balloon, every_managed_domain_that_runs);
    tcase_add_test(balloon, ready_when_linux_says_so);
    tcase_add_test(balloon, ready_after_a_minute);
    tcase_add_test(balloon, holes_mean_booting);
    tcase_add_test(balloon, falling_entries_prove_a_balloon);
    tcase_add_test(balloon, touched_pages_prove_nothing);
    tcase_add_test(balloon, no_holes_at_all);
    tcase_add_test(offset, a_pvh_guest_is_64_kib_above);
    tcase_add_test(offset, offsets_may_be_negative);
    tcase_add_test(offset, a_guest_that_drifts_has_none);
    tcase_add_test(offset, one_that_never_rests_has_none);
    tcase_add_test(offset, large_offsets_are_none);
    tcase_add_test(offset, corrections_are_rare);
    tcase_add_test(offset, a_limit_is_no_rest);
    tcase_add_loop_test(zero, autoballoon_as_xl_reads_it, 0,
                        (int)(sizeof(autoballoons) / sizeof(autoballoons[0])));
    tcase_add_loop_test(zero, domain_zero_gets_a_range, 0,
                        sizeof(zero_cases) / sizeof(zero_cases[0]));
    suite_add_tcase(s, balloon);
    suite_add_tcase(s, offset);
    suite_add_tcase(s, zero);
    return s;
}

int
main(void)
{
    return run_suite(suite(), CK_FORK_GETENV);
}
