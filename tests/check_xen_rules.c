/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules of real Xen hosts that the platform keeps: whether a guest balloons,
 * populate on demand, offsets, the mark of the uncooperative, domain 0.  The
 * stage is that of check_xen_platform. */
#include "tests/fakexen/stage.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <xenstore.h>

enum { MIB_PAGES = KIB_PER_MIB / KIB_PER_PAGE };

#define PROVEN DOMAIN_BALLOON
#define READY  DOMAIN_PROBE_READY

static uint32_t
balloon_flags(uint32_t domid)
{
    return facts(domid)->flags & (PROVEN | READY);
}

/* Looks go on for so long, as the platform's clock has it. */
static void
let_pass(int64_t us)
{
    for (int64_t step_us = US_PER_S / 2; us > 0; us -= step_us) {
        skipped_us += step_us;
        ck_assert(is_ready());
    }
}

static void
write_control(uint32_t domid, const char *leaf, const char *value)
{
    store_write(&store, value, "/local/domain/%u/control/%s", domid, leaf);
}

/* `balloon = auto` */

static bool
one_ready(void)
{
    return balloon_flags(1) == READY;
}

/* "Else not before a `control/feature-*` that Linux writes is `1`" */
START_TEST(linux_says_that_it_has_booted)
{
    add_managed(1, FLAGS_PV);
    write_control(1, "feature-poweroff", ""); /* as libxl makes it */
    start(XEN_BALLOON_AUTO);
    ck_assert_uint_eq(balloon_flags(1), 0);
    write_control(1, "feature-poweroff", "1");
    ck_assert(wait_for(one_ready, LATE_MS));
    ck_assert_uint_gt(changes, 0);
}
END_TEST

/* A guest's own node: nothing else in it is news, and no news come from it any
 * more once it has said so. */
START_TEST(a_guest_may_write_what_it_likes)
{
    char text[4001];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    if (!strcmp(getenv("XENSTORED_KIND"), "ocaml"))
        text[2000] = '\0'; /* more is too much for it */
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_AUTO);
    write_control(1, "feature-poweroff", text);
    write_control(1, "feature-poweroff", "11");
    run_ms(SOON_MS);
    ck_assert_uint_eq(changes, 0);
    ck_assert_uint_eq(balloon_flags(1), 0);
    write_control(1, "feature-poweroff", "1");
    ck_assert(wait_for(one_ready, LATE_MS));
    changes = 0;
    write_control(1, "feature-poweroff", "0");
    run_ms(SOON_MS);
    ck_assert_uint_eq(changes, 0);
    ck_assert_uint_eq(balloon_flags(1), READY);
}
END_TEST

/* "or 60 s of running for guests that write none" */
START_TEST(a_minute_of_running_will_do)
{
    struct fakehv_domain *paused;

    add_managed(1, FLAGS_PV);
    paused = add_managed(2, FLAGS_PV | XEN_DOMINF_paused);
    paused->cpu_time = 1;
    start(XEN_BALLOON_AUTO);
    let_pass(59 * US_PER_S);
    ck_assert_uint_eq(balloon_flags(1), 0);
    let_pass(2 * US_PER_S);
    ck_assert_uint_eq(balloon_flags(1), READY);
    ck_assert_uint_eq(balloon_flags(2), 0);
}
END_TEST

/* "`feature`: only the key counts. `always`: every managed domain that runs."
 */
START_TEST(other_rules_know_no_probe)
{
    add_managed(1, FLAGS_PV);
    write_control(1, "feature-poweroff", "1");
    start(_i ? XEN_BALLOON_ALWAYS : XEN_BALLOON_FEATURE);
    let_pass(100 * US_PER_S);
    ck_assert_uint_eq(balloon_flags(1), _i ? PROVEN : 0);
}
END_TEST

/* "a memory-offset that is already there [...]: yes" */
START_TEST(an_offset_proves_a_balloon)
{
    add_managed(1, FLAGS_PV);
    write_memory(1, "memory-offset", "-64");
    start(XEN_BALLOON_AUTO);
    ck_assert_uint_eq(balloon_flags(1), PROVEN);
    ck_assert_int_eq(facts(1)->offset_kib, -64);
}
END_TEST

/* Populate on demand */

static struct fakehv_domain *
add_with_holes(uint32_t domid, uint32_t flags)
{
    struct fakehv_domain *domain = add_managed(domid, flags);

    write_memory(domid, "static-max", "2097152");
    write_memory(domid, "dynamic-max", "2097152");
    domain->max_pages += 256;
    domain->pod_entries = 300 * MIB_PAGES;
    domain->pod_cache_pages = 200 * MIB_PAGES;
    return domain;
}

static uint64_t
pod_calls(void)
{
    uint64_t calls;

    hv->calls[FAKEHV_POD_TARGET] = 0;
    ck_assert(is_ready());
    calls = hv->calls[FAKEHV_POD_TARGET];
    return calls;
}

/* "As long as that holds it is *booting*" */
START_TEST(a_guest_with_holes_is_booting)
{
    struct fakehv_domain *domain = add_with_holes(1, FLAGS_HVM);

    write_control(1, "feature-balloon", "1");
    start(_i ? XEN_BALLOON_ALWAYS : XEN_BALLOON_AUTO);
    ck_assert_uint_eq(balloon_flags(1), 0);
    let_pass(100 * US_PER_S);
    ck_assert_uint_eq(balloon_flags(1), 0);
    ck_assert_uint_eq(pod_calls(), 1);
    domain->pod_entries = domain->pod_cache_pages;
    ck_assert_uint_eq(balloon_flags(1), PROVEN);
    ck_assert_uint_eq(pod_calls(), 0); /* it won't come back */
}
END_TEST

/* "Falling pod_entries is progress, and proves a balloon." */
START_TEST(taking_holes_proves_a_balloon)
{
    struct fakehv_domain *domain = add_with_holes(1, FLAGS_HVM);

    start(XEN_BALLOON_AUTO);
    ck_assert_uint_eq(balloon_flags(1), 0);
    domain->pod_entries = 250 * MIB_PAGES;
    ck_assert_uint_eq(balloon_flags(1), 0);
    domain->pod_entries = 200 * MIB_PAGES;
    ck_assert_uint_eq(balloon_flags(1), PROVEN);
}
END_TEST

START_TEST(who_has_no_holes_is_not_asked)
{
    add_managed(1, FLAGS_PV);
    add_with_holes(2, FLAGS_BUILD);
    add(3, FLAGS_HVM); /* unmanaged */
    add_managed(4, FLAGS_HVM | XEN_DOMINF_dying);
    start(XEN_BALLOON_AUTO);
    ck_assert_uint_eq(facts(1)->flags, DOMAIN_MANAGED);
    ck_assert_uint_eq(hv->calls[FAKEHV_POD_TARGET], 0);
}
END_TEST

/* What Xen doesn't tell isn't taken for granted. */
START_TEST(an_unknown_number_of_holes_is_no_proof)
{
    add_managed(1, FLAGS_HVM);
    fakehv_lock(hv);
    hv->fail_always = 1u << FAKEHV_POD_TARGET;
    hv->fail_errno = EPERM;
    fakehv_unlock(hv);
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(balloon_flags(1), 0);
    hv->fail_errno = EOPNOTSUPP; /* a Xen without populate on demand */
    ck_assert_uint_eq(balloon_flags(1), PROVEN);
    apply(1, 2 * KIB_1G, 2 * KIB_1G, true);
    ck_assert_uint_eq(facts(1)->target_kib, 2 * KIB_1G);
}
END_TEST

static bool
one_at_2g(void)
{
    return !strcmp(target_in_store(1, "target"), "2097152");
}

/* "Order when growing: limit, then for HVM and PVH `xc_domain_set_pod_target`,
 * then target" */
START_TEST(holes_are_filled_before_the_target_rises)
{
    struct fakehv_domain *domain = add_with_holes(1, FLAGS_HVM);

    start(XEN_BALLOON_AUTO);
    for (int fails_at = 1; fails_at <= 2; fails_at++) {
        fakehv_lock(hv);
        hv->fail_in = (uint64_t)fails_at;
        hv->fail_errno = ENOMEM;
        hv->calls[FAKEHV_MAX_MEM] = hv->calls[FAKEHV_POD_TARGET] = 0;
        fakehv_unlock(hv);
        apply(1, 2 * KIB_1G, 2 * KIB_1G, true);
        ck_assert_uint_eq(hv->calls[FAKEHV_MAX_MEM], 1);
        ck_assert_uint_eq(hv->calls[FAKEHV_POD_TARGET], (unsigned)fails_at - 1);
        ck_assert_uint_eq(domain->pod_cache_pages, 200 * MIB_PAGES);
        run_ms(SOON_MS);
        ck_assert_str_eq(target_in_store(1, "target"), "1048576");
    }
    apply(1, 2 * KIB_1G, 2 * KIB_1G, true);
    ck_assert_uint_eq(domain->pod_cache_pages, domain->pod_entries);
    ck_assert_uint_eq(domain->max_pages, 2 * PAGES_1G + 256);
    ck_assert(wait_for(one_at_2g, LATE_MS));
}
END_TEST

static bool
one_at_half(void)
{
    return !strcmp(target_in_store(1, "target"), "524288");
}

/* "when shrinking: target, pod target, limit" */
START_TEST(shrinking_sets_all_three)
{
    struct fakehv_domain *domain = add_managed(1, FLAGS_HVM);

    start(XEN_BALLOON_ALWAYS);
    hv->calls[FAKEHV_POD_TARGET] = 0;
    fakehv_lock(hv);
    hv->fail_in = 1; /* the pod target comes before the limit */
    hv->fail_errno = ENOMEM;
    fakehv_unlock(hv);
    apply(1, 524288, 524288, false);
    ck_assert_uint_eq(hv->calls[FAKEHV_POD_TARGET], 1);
    ck_assert_uint_eq(domain->max_pages, PAGES_1G / 2 + 256);
    ck_assert(wait_for(one_at_half, LATE_MS));
}
END_TEST

START_TEST(pv_has_no_holes)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    hv->calls[FAKEHV_POD_TARGET] = 0;
    apply(1, 524288, 524288, false);
    ck_assert(wait_for(one_at_half, LATE_MS));
    ck_assert_uint_eq(hv->calls[FAKEHV_POD_TARGET], 0);
}
END_TEST

/* Offsets */

static bool
one_has_offset(void)
{
    return target_in_store(1, "memory-offset")[0] && facts(1)->offset_kib;
}

/* "only believed after a change of the target was seen to move tot_pages by
 * the same amount" */
START_TEST(an_offset_is_measured)
{
    struct fakehv_domain *domain = add_managed(1, FLAGS_HVM);

    domain->max_pages += 256;
    domain->tot_pages += 16;
    start(XEN_BALLOON_AUTO);
    let_pass(100 * US_PER_S);
    run_ms(20);
    ck_assert_str_eq(target_in_store(1, "memory-offset"), "");
    ck_assert_uint_eq(balloon_flags(1), READY);
    ck_assert_int_eq(facts(1)->offset_kib, 0);

    apply(1, KIB_1G - KIB_PER_MIB, facts(1)->limit_kib, false);
    domain->tot_pages -= MIB_PAGES;
    run_ms(20);
    let_pass(2 * US_PER_S);
    ck_assert_str_eq(target_in_store(1, "memory-offset"), "");
    let_pass(1 * US_PER_S);
    ck_assert(wait_for(one_has_offset, LATE_MS));
    ck_assert_str_eq(target_in_store(1, "memory-offset"), "64");
    ck_assert_int_eq(facts(1)->offset_kib, 64);
    ck_assert_uint_eq(facts(1)->actual_kib, KIB_1G - KIB_PER_MIB);
    ck_assert_uint_eq(balloon_flags(1), PROVEN);
}
END_TEST

/* "A key that is already there is taken." */
START_TEST(an_offset_that_is_there_is_taken)
{
    add_managed(1, FLAGS_PV);
    write_memory(1, "memory-offset", "4096");
    start(XEN_BALLOON_AUTO);
    let_pass(100 * US_PER_S);
    run_ms(20);
    ck_assert_str_eq(target_in_store(1, "memory-offset"), "4096");
    ck_assert_uint_eq(facts(1)->actual_kib, KIB_1G - 4096);
}
END_TEST

/* "tot_pages still for 2 s, PoD settled": a guest with holes isn't measured. */
START_TEST(a_guest_with_holes_is_not_calibrated)
{
    struct fakehv_domain *domain = add_with_holes(1, FLAGS_HVM);

    start(XEN_BALLOON_AUTO);
    let_pass(5 * US_PER_S);
    write_memory(1, "target", "1044480");
    domain->tot_pages -= MIB_PAGES;
    run_ms(20);
    let_pass(5 * US_PER_S);
    run_ms(20);
    ck_assert_str_eq(target_in_store(1, "memory-offset"), "");
}
END_TEST

/* "An HVM target in xenstore = target - videoram" */
START_TEST(video_memory_is_no_part_of_the_target)
{
    add_managed(1, FLAGS_HVM)->max_pages += 256;
    write_memory(1, "videoram", "16384");
    write_memory(1, "target", "1032192");
    add_managed(2, FLAGS_PV);
    write_memory(2, "videoram", "16384");
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(facts(1)->actual_kib, KIB_1G - 16384);
    ck_assert_uint_eq(facts(1)->limit_kib, KIB_1G - 16384);
    ck_assert_uint_eq(facts(1)->target_kib, facts(1)->actual_kib);
    ck_assert_uint_eq(facts(2)->actual_kib, KIB_1G);
    apply(1, 524288, 524288, false);
    ck_assert_uint_eq(hv->domains[1].max_pages,
                      (524288 + 16384 + 1024) / KIB_PER_PAGE);
}
END_TEST

/* Limits */

/* "Managed PV gets none." "The extra of HVM and PVH counts as that domain's
 * overhead" */
START_TEST(extras_by_type)
{
    add_managed(1, FLAGS_PV)->max_pages += 256; /* as xl builds it */
    add_managed(2, FLAGS_HVM)->max_pages += 256;
    add(3, FLAGS_HVM)->max_pages += 256;
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(facts(1)->limit_kib, KIB_1G + 1024);
    ck_assert_uint_eq(facts(1)->extra_kib, 0);
    ck_assert_uint_eq(facts(2)->limit_kib, KIB_1G);
    ck_assert_uint_eq(facts(2)->extra_kib, 1024);
    ck_assert_uint_eq(facts(3)->limit_kib, KIB_1G + 1024);
    ck_assert_uint_eq(facts(3)->extra_kib, 0);
}
END_TEST

/* "Paging memory (shadow/HAP) is one call per domain, made only while it is
 * under construction." */
START_TEST(paging_memory_of_those_being_built)
{
    struct fakehv_domain *domain = add(1, FLAGS_BUILD);

    domain->paging_bytes = 9 << 20;
    add(2, FLAGS_HVM)->paging_bytes = 9 << 20;
    start(XEN_BALLOON_ALWAYS);
    hv->calls[FAKEHV_PAGING] = 0;
    ck_assert_uint_eq(facts(1)->paging_kib, 9 << 10);
    ck_assert_uint_eq(hv->calls[FAKEHV_PAGING], 1);
    ck_assert_uint_eq(facts(2)->paging_kib, 0);
    hv->calls[FAKEHV_PAGING] = 0;
    domain->flags = FLAGS_HVM;
    domain->cpu_time = 1;
    ck_assert_uint_eq(facts(1)->paging_kib, 0);
    ck_assert_uint_eq(hv->calls[FAKEHV_PAGING], 0);
}
END_TEST

/* "with two domains of one UUID (local migration) only the one that isn't shut
 * down and isn't incoming": each has its own keys, and the other one can be
 * told by its flags. */
START_TEST(two_domains_of_one_uuid)
{
    struct fakehv_domain *old = add_managed(1, FLAGS_HVM);
    struct fakehv_domain *incoming = add_managed(2, FLAGS_BUILD);

    incoming->handle[0] = old->handle[0];
    incoming->max_pages = 0;
    write_memory(2, "target", "262144");
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(facts(1)->flags, DOMAIN_MANAGED | DOMAIN_BALLOON);
    ck_assert(facts(2)->flags & DOMAIN_BUILDING);
    ck_assert(!(facts(2)->flags & DOMAIN_BALLOON));
    old->flags = XEN_DOMINF_shutdown | XEN_DOMINF_hvm_guest;
    incoming->flags = FLAGS_HVM;
    incoming->cpu_time = 1;
    ck_assert(facts(1)->flags & DOMAIN_SHUTDOWN);
    ck_assert_uint_eq(facts(2)->flags, DOMAIN_MANAGED | DOMAIN_BALLOON);
    ck_assert_uint_eq(facts(2)->target_kib, 262144);
}
END_TEST

/* Settings */

static void
mark(uint32_t domid, enum mark mark, uint64_t target_kib)
{
    const struct setting setting = { .domid = domid,
                                     .target_kib = target_kib,
                                     .limit_kib = KIB_1G,
                                     .mark = mark };

    platform->ops->apply(platform, &setting, 1);
}

/* Its value is empty: it is there or it isn't. */
static bool
one_is_marked(void)
{
    char *value = xs_read(store.xs, XBT_NULL,
                          "/local/domain/1/memory/uncooperative", NULL);
    bool there = value != NULL;

    if (there)
        ck_assert_str_eq(value, "");
    free(value);
    return there;
}

static bool
one_is_not_marked(void)
{
    return !one_is_marked();
}

/* "present (empty value) while the domain has been inactive for 20 s" */
START_TEST(the_mark_of_the_uncooperative)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    ck_assert(!(facts(1)->flags & DOMAIN_MARKED));
    mark(1, MARK_UNCOOPERATIVE, 524288);
    ck_assert(facts(1)->flags & DOMAIN_MARKED);
    ck_assert(wait_for(one_is_marked, LATE_MS));
    ck_assert(one_at_half()); /* in one commit */
    mark(1, MARK_AS_IT_IS, KIB_1G);
    run_ms(SOON_MS);
    ck_assert(one_is_marked());
    ck_assert(facts(1)->flags & DOMAIN_MARKED);
    mark(1, MARK_COOPERATIVE, KIB_1G); /* nothing else to write */
    ck_assert(!(facts(1)->flags & DOMAIN_MARKED));
    ck_assert(wait_for(one_is_not_marked, LATE_MS));
    run_ms(SOON_MS);
    ck_assert(!(facts(1)->flags & DOMAIN_MARKED));
    ck_assert_uint_eq(changes, 0); /* our own writes are no news */
}
END_TEST

/* Marks that follow each other faster than the store are all the same right
 * in the end. */
START_TEST(the_last_mark_counts)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    mark(1, MARK_UNCOOPERATIVE, 524288);
    mark(1, MARK_COOPERATIVE, 524288);
    ck_assert(!(facts(1)->flags & DOMAIN_MARKED));
    mark(1, MARK_UNCOOPERATIVE, 524288);
    mark(1, MARK_AS_IT_IS, 262144);
    ck_assert(facts(1)->flags & DOMAIN_MARKED);
    run_ms(SOON_MS);
    ck_assert(one_is_marked());
    ck_assert_str_eq(target_in_store(1, "target"), "262144");
}
END_TEST

/* Of a broker before this one. */
START_TEST(a_mark_that_is_there_is_seen)
{
    add_managed(1, FLAGS_PV);
    write_memory(1, "uncooperative", "");
    start(XEN_BALLOON_ALWAYS);
    ck_assert(facts(1)->flags & DOMAIN_MARKED);
    mark(1, MARK_COOPERATIVE, KIB_1G);
    ck_assert(wait_for(one_is_not_marked, LATE_MS));
}
END_TEST

static unsigned
events_seen(void)
{
    unsigned count = 0;
    char **event;

    run_ms(SOON_MS);
    while ((event = xs_check_watch(store.xs))) {
        free(event);
        count++;
    }
    return count;
}

START_TEST(what_is_so_already_is_not_written_again)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    ck_assert(xs_watch(store.xs, "/local/domain/1/memory", "test"));
    events_seen();
    hv->calls[FAKEHV_MAX_MEM] = 0;
    apply(1, KIB_1G, KIB_1G, false);
    apply(1, KIB_1G, KIB_1G, true);
    mark(1, MARK_COOPERATIVE, KIB_1G);
    ck_assert_uint_eq(events_seen(), 0);
    ck_assert_uint_eq(hv->calls[FAKEHV_MAX_MEM], 0);
    apply(1, 524288, KIB_1G, false); /* a probe leaves the limit alone */
    ck_assert_uint_eq(events_seen(), 2);
    ck_assert_uint_eq(hv->calls[FAKEHV_MAX_MEM], 0);
    apply(1, 524288, 524288, false);
    ck_assert_uint_eq(events_seen(), 0);
    ck_assert_uint_eq(hv->calls[FAKEHV_MAX_MEM], 1);
    /* xl mem-max: it goes back at the next look. */
    hv->domains[1].max_pages = PAGES_1G;
    ck_assert_uint_eq(facts(1)->limit_kib, KIB_1G);
    apply(1, 524288, 524288, false);
    ck_assert_uint_eq(hv->domains[1].max_pages, PAGES_1G / 2);
}
END_TEST

/* Domain 0 */

static bool
zero_managed(void)
{
    return managed(0);
}

static bool
is_lost(void)
{
    return !is_ready();
}

static void
start_with_zero(uint64_t max_kib)
{
    options.manage_zero = true;
    options.zero_min_kib = 262144;
    options.zero_max_kib = max_kib;
    start(XEN_BALLOON_AUTO);
    ck_assert(wait_for(zero_managed, LATE_MS));
}

/* "domain-zero-dynamic-max: auto: what it has at first start" */
START_TEST(domain_zero_takes_part)
{
    start_with_zero(XEN_ZERO_AUTO);
    ck_assert_uint_eq(facts(0)->flags, DOMAIN_MANAGED | DOMAIN_BALLOON);
    ck_assert_uint_eq(facts(0)->dynamic_min_kib, 262144);
    ck_assert_uint_eq(facts(0)->dynamic_max_kib, KIB_1G);
    ck_assert_uint_eq(facts(0)->limit_kib, snapshot.total_kib);
    ck_assert_str_eq(target_in_store(0, "dynamic-max"), "1048576");
    ck_assert_str_eq(target_in_store(0, "target"), "1048576");
    apply(0, 524288, 524288, false);
    ck_assert_uint_eq(hv->domains[0].max_pages, PAGES_1G / 2);
    hv->domains[0].tot_pages = PAGES_1G / 2;
    run_ms(SOON_MS);
    ck_assert_str_eq(target_in_store(0, "target"), "524288");

    /* The next start finds it squeezed. */
    platform->ops->free(platform);
    start_with_zero(XEN_ZERO_AUTO);
    run_ms(SOON_MS);
    ck_assert_uint_eq(facts(0)->dynamic_max_kib, KIB_1G);
    ck_assert_uint_eq(facts(0)->actual_kib, 524288);

    /* A new xenstored knows nothing. */
    store_kill(&store);
    ck_assert(wait_for(is_lost, LATE_MS));
    store_restart(&store);
    ck_assert(wait_for(is_ready, LATE_MS));
    ck_assert(wait_for(zero_managed, LATE_MS));
    ck_assert_uint_eq(facts(0)->dynamic_max_kib, KIB_1G);
    ck_assert_str_eq(target_in_store(0, "target"), "524288");
    run_ms(SOON_MS);
    /* and that target is nobody's wish */
    ck_assert_uint_eq(facts(0)->ceiling_kib, CEILING_NONE);
    ck_assert_str_eq(health().why, "");
}
END_TEST

/* As XAPI's does; but never more than it has, which would take memory past us,
 * nor what somebody has set already. */
START_TEST(domain_zero_has_a_target)
{
    start_with_zero(2 * KIB_1G);
    ck_assert_str_eq(target_in_store(0, "dynamic-max"), "2097152");
    ck_assert_str_eq(target_in_store(0, "target"), "1048576");
    ck_assert_uint_eq(facts(0)->target_kib, KIB_1G);
    platform->ops->free(platform);
    write_memory(0, "target", "786432");
    start_with_zero(2 * KIB_1G);
    run_ms(SOON_MS);
    ck_assert_str_eq(target_in_store(0, "target"), "786432");
}
END_TEST

START_TEST(domain_zero_as_configured)
{
    store_write(&store, "4", "/local/domain/0/memory/dynamic-max");
    start_with_zero(524288);
    ck_assert_uint_eq(facts(0)->dynamic_max_kib, 524288);
    ck_assert_str_eq(target_in_store(0, "dynamic-min"), "262144");
    ck_assert_str_eq(target_in_store(0, "target"), "524288");
}
END_TEST

START_TEST(a_dry_run_writes_nothing)
{
    struct fakehv_domain *domain = add_managed(1, FLAGS_PV);

    options.read_only = true;
    options.manage_zero = true;
    options.zero_max_kib = XEN_ZERO_AUTO;
    start(XEN_BALLOON_AUTO);
    let_pass(3 * US_PER_S);
    write_memory(1, "target", "1044480");
    domain->tot_pages -= MIB_PAGES;
    run_ms(SOON_MS);
    let_pass(3 * US_PER_S);
    run_ms(SOON_MS);
    ck_assert_str_eq(target_in_store(1, "memory-offset"), "");
    ck_assert_str_eq(target_in_store(0, "dynamic-max"), "");
    ck_assert_str_eq(target_in_store(0, "target"), "");
}
END_TEST

/* "dom0, when it isn't managed, at actual" */
START_TEST(domain_zero_is_left_alone)
{
    write_range(0, "262144", "1048576");
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(facts(0)->flags, 0);
    ck_assert_uint_eq(facts(0)->limit_kib, KIB_1G);
}
END_TEST

/* The brake */

static void
raise_low_memory(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const uint32_t port = 1;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    strcpy(address.sun_path, path);
    ck_assert_int_eq(sendto(fd, &port, sizeof(port), 0,
                            (struct sockaddr *)&address, sizeof(address)),
                     sizeof(port));
    close(fd);
}

/* "VIRQ_ENOMEM and a headroom below zero stop all growth": the broker looks at
 * once. */
START_TEST(low_memory_is_told)
{
    char path[100];

    snprintf(path, sizeof(path), "%s/brake", store.dir);
    setenv("FAKEXEN_EVTCHN", path, 1);
    start(XEN_BALLOON_AUTO);
    run_ms(SOON_MS);
    ck_assert_uint_eq(changes, 0);
    raise_low_memory(path);
    ck_assert(wait_for(was_told, LATE_MS));
    changes = 0;
    raise_low_memory(path); /* and again */
    ck_assert(wait_for(was_told, LATE_MS));
}
END_TEST

static TCase *
new_case(Suite *s, const char *name)
{
    TCase *c = tcase_create(name);

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_set_timeout(c, 30);
    suite_add_tcase(s, c);
    return c;
}

static Suite *
suite(void)
{
    Suite *s = suite_create("xen rules");
    TCase *balloon = new_case(s, "balloon");
    TCase *holes = new_case(s, "holes");
    TCase *offsets = new_case(s, "offsets");
    TCase *limits = new_case(s, "limits");
    TCase *settings = new_case(s, "settings");
    TCase *zero = new_case(s, "zero");
    TCase *brake = new_case(s, "brake");

    tcase_add_test(balloon, linux_says_that_it_has_booted);
    tcase_add_test(balloon, a_guest_may_write_what_it_likes);
    tcase_add_test(balloon, a_minute_of_running_will_do);
    tcase_add_loop_test(balloon, other_rules_know_no_probe, 0, 2);
    tcase_add_test(balloon, an_offset_proves_a_balloon);
    tcase_add_loop_test(holes, a_guest_with_holes_is_booting, 0, 2);
    tcase_add_test(holes, taking_holes_proves_a_balloon);
    tcase_add_test(holes, who_has_no_holes_is_not_asked);
    tcase_add_test(holes, an_unknown_number_of_holes_is_no_proof);
    tcase_add_test(holes, holes_are_filled_before_the_target_rises);
    tcase_add_test(holes, shrinking_sets_all_three);
    tcase_add_test(holes, pv_has_no_holes);
    tcase_add_test(offsets, an_offset_is_measured);
    tcase_add_test(offsets, an_offset_that_is_there_is_taken);
    tcase_add_test(offsets, a_guest_with_holes_is_not_calibrated);
    tcase_add_test(offsets, video_memory_is_no_part_of_the_target);
    tcase_add_test(limits, extras_by_type);
    tcase_add_test(limits, paging_memory_of_those_being_built);
    tcase_add_test(limits, two_domains_of_one_uuid);
    tcase_add_test(settings, the_mark_of_the_uncooperative);
    tcase_add_test(settings, the_last_mark_counts);
    tcase_add_test(settings, a_mark_that_is_there_is_seen);
    tcase_add_test(settings, what_is_so_already_is_not_written_again);
    tcase_add_test(zero, domain_zero_takes_part);
    tcase_add_test(zero, domain_zero_as_configured);
    tcase_add_test(zero, domain_zero_has_a_target);
    tcase_add_test(zero, domain_zero_is_left_alone);
    tcase_add_test(zero, a_dry_run_writes_nothing);
    tcase_add_test(brake, low_memory_is_told);
    return s;
}

int
main(void)
{

    if (!store_possible())
        return 77;
    return run_suite(suite(), CK_FORK_GETENV);
}
