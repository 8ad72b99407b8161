/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The platform xen: the real libxenctrl over a fake hypervisor, which is
 * linked into this program, and a real xenstored.  What is in xenstore is
 * written and read by libxenstore, as the second opinion. */
#include "common/log.h"
#include "tests/fakexen/stage.h"
#include "tests/suite.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <xenctrl.h>

/* Facts */

START_TEST(numbers_are_in_their_frame)
{
    const struct domain_facts *f;

    add_managed(1, FLAGS_PV);
    add_managed(2, FLAGS_HVM)->max_pages += 256;
    write_memory(2, "memory-offset", "-2048");
    add(3, FLAGS_HVM)->max_pages = UINT32_MAX;
    add(4, FLAGS_PV)->outstanding_pages = 100;
    start(XEN_BALLOON_FEATURE);

    f = facts(0);
    ck_assert_uint_eq(f->limit_kib, f->actual_kib);
    ck_assert_uint_eq(f->flags, 0);
    f = facts(1);
    ck_assert_uint_eq(f->flags, DOMAIN_MANAGED);
    ck_assert_uint_eq(f->actual_kib, KIB_1G);
    ck_assert_uint_eq(f->limit_kib, KIB_1G);
    ck_assert_uint_eq(f->extra_kib, 0);
    ck_assert_uint_eq(f->target_kib, KIB_1G);
    ck_assert_uint_eq(f->dynamic_min_kib, 262144);
    ck_assert_uint_eq(f->static_max_kib, KIB_1G);
    ck_assert_uint_eq(f->uuid[0], 2);
    f = facts(2);
    ck_assert_uint_eq(f->extra_kib, 1024);
    ck_assert_uint_eq(f->actual_kib, KIB_1G + 2048);
    ck_assert_uint_eq(f->limit_kib, KIB_1G + 2048);
    f = facts(3);
    ck_assert_uint_eq(f->extra_kib, 0);
    ck_assert_uint_eq(f->limit_kib, snapshot.total_kib);
    ck_assert_uint_eq(f->target_kib, KIB_1G);
    f = facts(4);
    ck_assert_uint_eq(f->claim_kib, 400);
    ck_assert_uint_eq(snapshot.total_kib, hv->total_pages * 4);
    ck_assert_uint_eq(snapshot.free_kib, hv->free_pages * 4);
    ck_assert_uint_eq(snapshot.count, 5);
}
END_TEST

static bool
one_is_web(void)
{
    return !strcmp(text_of(1).name, "web");
}

START_TEST(states_become_flags)
{
    struct fakehv_domain *building = add_managed(1, FLAGS_BUILD);

    building->paging_bytes = 9 << 20;
    building->max_pages = 0;
    add_managed(2, FLAGS_PV | XEN_DOMINF_paused)->cpu_time = 1;
    add(3, XEN_DOMINF_shutdown);
    add(4, XEN_DOMINF_dying | XEN_DOMINF_shutdown);
    start(XEN_BALLOON_ALWAYS);

    ck_assert_uint_eq(facts(1)->flags,
                      DOMAIN_MANAGED | DOMAIN_PAUSED | DOMAIN_BUILDING);
    ck_assert_uint_eq(facts(1)->paging_kib, 9 << 10);
    ck_assert_uint_eq(facts(1)->limit_kib, 0);
    ck_assert_uint_eq(facts(2)->flags,
                      DOMAIN_MANAGED | DOMAIN_BALLOON | DOMAIN_PAUSED);
    ck_assert_uint_eq(facts(3)->flags, DOMAIN_SHUTDOWN);
    ck_assert_uint_eq(facts(4)->flags, DOMAIN_DYING | DOMAIN_SHUTDOWN);

    store_write(&store, "web", "/local/domain/1/name");
    building->flags = FLAGS_HVM;
    building->cpu_time = 1;
    ck_assert_uint_eq(facts(1)->flags, DOMAIN_MANAGED | DOMAIN_BALLOON);
    ck_assert(wait_for(one_is_web, LATE_MS));
}
END_TEST

/* An offset can't make limit - actual anything else than what Xen allows. */
START_TEST(offsets_do_not_underflow)
{
    struct fakehv_domain *domain = add_managed(1, FLAGS_HVM);

    write_memory(1, "memory-offset", "65536");
    domain->tot_pages = 1024;
    domain->max_pages = 2048;
    add_managed(2, FLAGS_HVM)->max_pages = 10;
    write_memory(2, "memory-offset", "65540"); /* no constant any more */
    start(XEN_BALLOON_AUTO);
    ck_assert_uint_eq(facts(1)->actual_kib, 0);
    ck_assert_uint_eq(facts(1)->limit_kib, 4096 - 1024);
    ck_assert_uint_eq(facts(2)->limit_kib, 0);
    ck_assert_uint_eq(facts(2)->actual_kib, KIB_1G);
    ck_assert(facts(1)->flags & DOMAIN_BALLOON);
    ck_assert(!(facts(2)->flags & DOMAIN_BALLOON));
}
END_TEST

static bool
one_balloons(void)
{
    return facts(1)->flags & DOMAIN_BALLOON;
}

START_TEST(a_guest_tells_that_it_balloons)
{
    add_managed(1, FLAGS_PV);
    add_managed(2, FLAGS_PV);
    store_write(&store, "0", "/local/domain/2/control/feature-balloon");
    start(XEN_BALLOON_FEATURE);
    ck_assert(!one_balloons());
    store_write(&store, "1", "/local/domain/1/control/feature-balloon");
    ck_assert(wait_for(one_balloons, LATE_MS));
    ck_assert_uint_gt(changes, 0);
    ck_assert(!(facts(2)->flags & DOMAIN_BALLOON));
}
END_TEST

START_TEST(a_domain_has_a_name_and_a_type)
{
    struct domain_text text;

    add(1, FLAGS_HVM);
    store_write(&store, "db \x01", "/local/domain/1/name");
    store_write(&store, "pvh", "/libxl/1/type");
    add(2, FLAGS_HVM);
    add(3, FLAGS_PV);
    store_write(&store, "pv-in-pvh", "/local/domain/3/domain-type");
    add(4, FLAGS_PV);
    store_write(&store, "nonsense", "/local/domain/4/domain-type");
    start(XEN_BALLOON_AUTO);
    ck_assert_str_eq(text_of(1).name, "db ?");
    ck_assert_str_eq(text_of(1).type, "pvh");
    ck_assert_str_eq(text_of(2).type, "hvm");
    ck_assert_str_eq(text_of(2).name, "");
    ck_assert_str_eq(text_of(3).type, "pv-in-pvh");
    ck_assert_str_eq(text_of(4).type, "pv");
    ck_assert(!platform->ops->describe(platform, 77, &text));
}
END_TEST

/* Ranges */

static bool
one_at_512m(void)
{
    return facts(1)->dynamic_max_kib == 524288;
}

static bool
one_at_1g(void)
{
    return facts(1)->dynamic_max_kib == KIB_1G;
}

START_TEST(a_new_range_counts_at_once)
{
    int64_t best_us = INT64_MAX, from_us;

    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    for (int i = 0; i < 3; i++) {
        write_memory(1, "dynamic-max", "524288");
        from_us = now_us();
        ck_assert(wait_for(was_told, LATE_MS));
        ck_assert(one_at_512m());
        best_us = min_i64(best_us, now_us() - from_us);
        write_memory(1, "dynamic-max", "1048576");
        ck_assert(wait_for(one_at_1g, LATE_MS));
        changes = 0;
    }
    ck_assert_int_lt(best_us, SOON_MS * US_PER_MS);
}
END_TEST

START_TEST(a_bad_pair_is_reported_after_a_while)
{
    int64_t from_us;

    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    from_us = now_us();
    write_memory(1, "dynamic-min", "2000000");
    ck_assert(wait_for(was_told, LATE_MS));
    /* less a little: libevent counts from the start of its round */
    ck_assert_int_ge(now_us() - from_us, 190 * US_PER_MS);
    ck_assert_ptr_nonnull(strstr(text_of(1).range_error,
                                 "dynamic-min 2000000 is above dynamic-max "
                                 "1048576"));
    ck_assert(managed(1));
    ck_assert_uint_eq(facts(1)->dynamic_min_kib, 262144);
    ck_assert_uint_eq(facts(1)->dynamic_max_kib, 1048576);

    write_memory(1, "dynamic-min", "524288");
    changes = 0;
    ck_assert(wait_for(was_told, LATE_MS));
    ck_assert_str_eq(text_of(1).range_error, "");
    ck_assert_uint_eq(facts(1)->dynamic_min_kib, 524288);
}
END_TEST

/* As xenopsd does: one end after the other, and bad in between. */
START_TEST(two_writes_are_no_error)
{
    int64_t from_us;

    add_managed(1, FLAGS_PV);
    write_memory(1, "static-max", "4194304");
    start(XEN_BALLOON_ALWAYS);
    from_us = now_us();
    write_memory(1, "dynamic-min", "2097152");
    run_ms(20);
    if (now_us() - from_us < 190 * US_PER_MS) /* else the machine was busy */
        ck_assert_str_eq(text_of(1).range_error, "");
    write_memory(1, "dynamic-max", "3145728");
    for (int i = 0; i < 30; i++) {
        run_ms(10);
        ck_assert_str_eq(text_of(1).range_error, "");
    }
    ck_assert_uint_eq(facts(1)->dynamic_min_kib, 2097152);
    ck_assert_uint_eq(facts(1)->dynamic_max_kib, 3145728);
}
END_TEST

static const struct bad_value {
    const char *leaf, *value, *error;
} bad_values[] = {
    { "dynamic-max", "", "dynamic-max \"\" is not a number" },
    { "dynamic-max", "abc", "dynamic-max \"abc\" is not a number" },
    { "dynamic-max", "-1", "dynamic-max \"-1\" is not a number" },
    { "dynamic-max", " 8192", "dynamic-max \" 8192\" is not a number" },
    { "dynamic-max", "1048576k", "dynamic-max \"1048576k\" is not a number" },
    { "dynamic-min", "1125899906842625", "dynamic-min \"1125899906842625\"" },
    { "dynamic-min", "99999999999999999999999999999999",
      "dynamic-min \"999999999999999999999999999\"" },
    { "static-max", "1\n2", "static-max \"1?2\" is not a number" },
    { "static-max", "1048572", "dynamic-max 1048576 is above static-max" },
    { "static-min", "300000", "static-min 300000 is above dynamic-min" },
};

START_TEST(bad_values_are_named)
{
    const struct bad_value *bad = &bad_values[_i];

    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    write_memory(1, bad->leaf, bad->value);
    ck_assert(wait_for(was_told, LATE_MS));
    ck_assert_msg(strstr(text_of(1).range_error, bad->error) != NULL, "%s",
                  text_of(1).range_error);
    ck_assert(managed(1));
    ck_assert_uint_eq(facts(1)->dynamic_max_kib, KIB_1G);
}
END_TEST

static bool
one_managed(void)
{
    return managed(1);
}

static bool
one_unmanaged(void)
{
    return !managed(1);
}

START_TEST(without_a_key_it_is_unmanaged)
{
    add(1, FLAGS_HVM);
    write_memory(1, "dynamic-min", "4096");
    start(XEN_BALLOON_ALWAYS);
    ck_assert(!managed(1));
    /* No static-max: dynamic-max bounds it.  Inside whole pages. */
    write_memory(1, "dynamic-min", "4097");
    write_memory(1, "dynamic-max", "8195");
    ck_assert(wait_for(one_managed, LATE_MS));
    ck_assert_uint_eq(facts(1)->static_min_kib, 0);
    ck_assert_uint_eq(facts(1)->dynamic_min_kib, 4100);
    ck_assert_uint_eq(facts(1)->dynamic_max_kib, 8192);
    ck_assert_uint_eq(facts(1)->static_max_kib, 8192);
    changes = 0;
    store_remove(&store, "/local/domain/1/memory/dynamic-max");
    ck_assert(wait_for(one_unmanaged, LATE_MS));
    ck_assert_uint_gt(changes, 0);
    ck_assert_uint_eq(facts(1)->extra_kib, 0);
    write_memory(1, "dynamic-max", "8192");
    ck_assert(wait_for(one_managed, LATE_MS));
    store_remove(&store, "/local/domain/1");
    ck_assert(wait_for(one_unmanaged, LATE_MS));
    ck_assert_str_eq(text_of(1).range_error, "");
}
END_TEST

static enum err ended;
static bool has_ended;

static void
on_done(void *arg, enum err error)
{
    (void)arg;
    ck_assert(!has_ended);
    ended = error;
    has_ended = true;
}

static void
order_range(uint64_t min_kib, uint64_t max_kib)
{
    const struct domain_order order = { .kind = ORDER_RANGE,
                                        .min_kib = min_kib,
                                        .max_kib = max_kib };

    platform->ops->order(platform, 1, &order, on_done, NULL);
}

static bool
is_done(void)
{
    return has_ended;
}

static enum err
wait_done(void)
{
    ck_assert_msg(!has_ended, "completed inside the call");
    ck_assert(wait_for(is_done, LATE_MS));
    has_ended = false;
    return ended;
}

START_TEST(a_range_is_set)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    order_range(8192, 524288);
    ck_assert_int_eq(wait_done(), ERR_NONE);
    ck_assert(wait_for(one_at_512m, LATE_MS));
    ck_assert_uint_eq(facts(1)->dynamic_min_kib, 8192);
    ck_assert_str_eq(store_read(&store, "/local/domain/1/memory/dynamic-min"),
                     "8192");
}
END_TEST

static void
send_order(struct domain_order order)
{
    platform->ops->order(platform, 1, &order, on_done, NULL);
    ck_assert_int_eq(wait_done(), ERR_NONE);
}

/* They count from the completion on, without waiting for a watch; and they are
 * there after a restart. */
START_TEST(orders_are_keys)
{
    const char *ceiling = "/local/domain/1/memory/squeezed-ceiling";

    add_managed(1, FLAGS_PV);
    write_memory(1, "squeezed-ceiling", "300001");
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(facts(1)->ceiling_kib, 300000);
    ck_assert(!(facts(1)->flags & DOMAIN_FROZEN));
    send_order((struct domain_order){ .kind = ORDER_FREEZE });
    ck_assert(facts(1)->flags & DOMAIN_FROZEN);
    send_order(
        (struct domain_order){ .kind = ORDER_CEILING, .target_kib = 400000 });
    ck_assert_uint_eq(facts(1)->ceiling_kib, 400000);
    ck_assert_str_eq(store_read(&store, "%s", ceiling), "400000");
    send_order((struct domain_order){ .kind = ORDER_AUTO });
    ck_assert_uint_eq(facts(1)->ceiling_kib, CEILING_NONE);
    ck_assert_str_eq(store_read(&store, "%s", ceiling), "");
    send_order((struct domain_order){ .kind = ORDER_THAW });
    ck_assert(!(facts(1)->flags & DOMAIN_FROZEN));
    /* Twice is no error. */
    send_order((struct domain_order){ .kind = ORDER_THAW });
    /* Somebody else's write counts, too. */
    write_memory(1, "squeezed-frozen", "");
    changes = 0;
    ck_assert(wait_for(was_told, LATE_MS));
    ck_assert(facts(1)->flags & DOMAIN_FROZEN);
}
END_TEST

/* Settings */

static bool
one_written(void)
{
    return !strcmp(target_in_store(1, "target"), "524288");
}

START_TEST(shrinking_sets_target_and_limit)
{
    struct fakehv_domain *domain = add_managed(1, FLAGS_HVM);

    write_memory(1, "memory-offset", "2048");
    start(XEN_BALLOON_ALWAYS);
    apply(1, 524288, 524288, false);
    ck_assert_uint_eq(facts(1)->target_kib, 524288);
    ck_assert_uint_eq(facts(1)->limit_kib, 524288);
    ck_assert_uint_eq(domain->max_pages, (524288 + 2048 + 1024) / 4);
    ck_assert(wait_for(one_written, LATE_MS));
    ck_assert_str_eq(target_in_store(1, "squeezed-target"), "524288");
    run_ms(20);
    ck_assert_uint_eq(facts(1)->target_kib, 524288);
    ck_assert_uint_eq(changes, 0); /* our own write is no news */
}
END_TEST

START_TEST(growing_sets_the_limit_first)
{
    struct fakehv_domain *domain = add_managed(1, FLAGS_PV);

    start(XEN_BALLOON_ALWAYS);
    fakehv_lock(hv);
    hv->fail_in = 1;
    hv->fail_errno = ENOMEM;
    fakehv_unlock(hv);
    apply(1, 524288, 524288, true);
    ck_assert_uint_eq(domain->max_pages, PAGES_1G);
    run_ms(SOON_MS);
    /* Never a target above the limit. */
    ck_assert_str_eq(target_in_store(1, "target"), "1048576");
    ck_assert_uint_eq(facts(1)->target_kib, KIB_1G);

    apply(1, 524288, 524288, true);
    ck_assert_uint_eq(domain->max_pages, 524288 / 4);
    ck_assert_str_eq(target_in_store(1, "target"), "1048576");
    ck_assert(wait_for(one_written, LATE_MS));
}
END_TEST

static bool
newest_written(void)
{
    return !strcmp(target_in_store(1, "target"), "262144");
}

/* While a target is on its way, the newest of those after it waits. */
START_TEST(the_newest_target_counts)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    apply(1, 524288, 524288, false);
    for (uint64_t kib = 520192; kib >= 262144; kib -= 4096)
        apply(1, kib, kib, false);
    ck_assert_uint_eq(facts(1)->target_kib, 262144);
    ck_assert(wait_for(newest_written, LATE_MS));
    run_ms(20);
    ck_assert_str_eq(target_in_store(1, "squeezed-target"), "262144");
    ck_assert_uint_eq(facts(1)->target_kib, 262144);
    ck_assert_uint_eq(facts(1)->limit_kib, 262144);
    ck_assert_uint_eq(changes, 0);
}
END_TEST

START_TEST(a_domain_that_went_is_no_error)
{
    struct setting settings[2] = {
        { .domid = 1,
          .target_kib = 524288,
          .limit_kib = 524288,
          .grows = true },
        { .domid = 7, .target_kib = 4096, .limit_kib = 4096 },
    };

    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    fakehv_lock(hv);
    fakehv_remove_domain(hv, 1);
    fakehv_unlock(hv);
    platform->ops->apply(platform, settings, 2);
    run_ms(20);
    ck_assert_str_eq(target_in_store(1, "target"), "1048576");
    ck_assert_str_eq(target_in_store(7, "target"), "");
}
END_TEST

START_TEST(a_foreign_target_is_seen)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    write_memory(1, "target", "786432");
    ck_assert(wait_for(was_told, LATE_MS));
    ck_assert_uint_eq(facts(1)->target_kib, 786432);
}
END_TEST

static bool
one_at_768m(void)
{
    return !strcmp(target_in_store(1, "target"), "786432");
}

/* Somebody wrote what we had written, but as another text. */
START_TEST(a_number_may_have_many_forms)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    apply(1, 524288, 524288, false);
    run_ms(SOON_MS);
    write_memory(1, "target", "0524288");
    run_ms(SOON_MS);
    apply(1, 786432, 786432, true);
    ck_assert(wait_for(one_at_768m, LATE_MS));
}
END_TEST

enum { MANY = 100 };

static bool
many_written(void)
{
    return !strcmp(target_in_store(MANY, "target"), "8192") &&
           !strcmp(target_in_store(1, "squeezed-target"), "8192");
}

START_TEST(many_targets_go_in_batches)
{
    struct setting settings[MANY];

    for (uint32_t i = 0; i < MANY; i++) {
        add(i + 1, FLAGS_PV);
        settings[i] = (struct setting){ .domid = i + 1,
                                        .target_kib = 8192,
                                        .limit_kib = 8192,
                                        .grows = i % 2 };
    }
    start(XEN_BALLOON_ALWAYS);
    platform->ops->apply(platform, settings, MANY);
    ck_assert(wait_for(many_written, LATE_MS));
    run_ms(20);
    for (uint32_t i = 1; i <= MANY; i++) {
        ck_assert_str_eq(target_in_store(i, "target"), "8192");
        ck_assert_uint_eq(facts(i)->target_kib, 8192);
        ck_assert_uint_eq(hv->domains[i].max_pages, 2048);
    }
}
END_TEST

/* The ledger */

static struct ledger_entry loaded[16];
static size_t loaded_count;

static void
on_loaded(void *arg, enum err error, const struct ledger_entry *entries,
          size_t count)
{
    ck_assert_uint_le(count, 16);
    loaded_count = count;
    if (count)
        memcpy(loaded, entries, count * sizeof(*entries));
    on_done(arg, error);
}

static enum err
load(void)
{
    platform->ops->load(platform, on_loaded, NULL);
    return wait_done();
}

static const struct ledger_entry *
loaded_entry(const char *id)
{
    for (size_t i = 0; i < loaded_count; i++)
        if (!strcmp(loaded[i].id, id))
            return &loaded[i];
    ck_abort_msg("%s was not loaded", id);
    return NULL;
}

static enum err
persist(const struct ledger_change *list, size_t count)
{
    platform->ops->persist(platform, list, count, on_done, NULL);
    return wait_done();
}

START_TEST(the_ledger_survives)
{
    struct ledger_entry a = { .id = "a-1",
                              .client = "xenopsd",
                              .amount_kib = 4096,
                              .state = ENTRY_STAGED };
    struct ledger_entry b = { .id = "b-2",
                              .client = "cli",
                              .amount_kib = 8192,
                              .has_uuid = true,
                              .uuid = { 1, 2, 3 },
                              .hold_until_wall_ms = 1700000000123 };
    struct ledger_change list[] = { { LEDGER_PUT, &a, false },
                                    { LEDGER_PUT, &b, false } };

    start(XEN_BALLOON_ALWAYS);
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert_uint_eq(loaded_count, 0);
    ck_assert_int_eq(persist(list, 2), ERR_NONE);
    ck_assert_str_eq(store_read(&store, "/squeezed/state/xenopsd/a-1"), "4096");
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert_uint_eq(loaded_count, 2);
    ck_assert_uint_eq(loaded_entry("a-1")->amount_kib, 4096);
    ck_assert_int_eq(loaded_entry("a-1")->state, ENTRY_GRANTED);
    ck_assert(!loaded_entry("a-1")->has_uuid);
    ck_assert_int_eq(loaded_entry("b-2")->hold_until_wall_ms, 1700000000123);
    ck_assert_int_eq(memcmp(loaded_entry("b-2")->uuid, b.uuid, UUID_BYTES), 0);

    list[0].op = LEDGER_DELETE;
    list[1].op = LEDGER_DELETE;
    ck_assert_int_eq(persist(list, 2), ERR_NONE);
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert_uint_eq(loaded_count, 0);
}
END_TEST

START_TEST(a_transfer_sets_the_limit)
{
    struct ledger_entry entry = {
        .id = "a-1", .client = "xenopsd", .amount_kib = 8192, .domid = 5
    };
    const struct ledger_change transfer = { LEDGER_TRANSFER, &entry, true };
    const struct ledger_change put = { LEDGER_PUT, &entry, false };
    struct fakehv_domain *domain;

    start(XEN_BALLOON_ALWAYS);
    ck_assert_int_eq(persist(&put, 1), ERR_NONE);
    ck_assert_int_eq(persist(&transfer, 1), ERR_UNKNOWN_DOMAIN);
    ck_assert_str_eq(
        store_read(&store, "/squeezed/state/xenopsd/a-1/in-transfer"), "");
    domain = add(5, FLAGS_BUILD);
    domain->max_pages = 0;
    ck_assert_int_eq(persist(&transfer, 1), ERR_NONE);
    ck_assert_uint_eq(domain->max_pages, (8192 + 1024) / 4);
    ck_assert_str_eq(
        store_read(&store, "/squeezed/state/xenopsd/a-1/in-transfer"), "5");
    ck_assert_str_eq(target_in_store(5, "initial-reservation"), "8192");
    ck_assert_str_eq(target_in_store(5, "reservation-id"), "a-1");
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert(loaded_entry("a-1")->transferred);
    ck_assert_int_eq(loaded_entry("a-1")->state, ENTRY_OWNED);
    ck_assert_uint_eq(loaded_entry("a-1")->domid, 5);
    ck_assert(!loaded_entry("a-1")->has_owner_uuid);
    ck_assert(!loaded_entry("a-1")->over);
    entry.transferred = entry.over = true;
    ck_assert_int_eq(persist(&put, 1), ERR_NONE);
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert(loaded_entry("a-1")->over);
    ck_assert_uint_eq(loaded_entry("a-1")->domid, 5);
}
END_TEST

START_TEST(the_owner_is_known_by_its_uuid)
{
    struct ledger_entry entry = {
        .id = "a-1",
        .client = "cli",
        .amount_kib = 8192,
        .domid = 5,
        .has_owner_uuid = true,
        .owner_uuid = { 5, 6 },
    };
    const struct ledger_change list[] = { { LEDGER_PUT, &entry, false },
                                          { LEDGER_TRANSFER, &entry, false } };

    start(XEN_BALLOON_ALWAYS);
    ck_assert_int_eq(persist(list, 2), ERR_NONE);
    ck_assert_str_eq(store_read(&store, "/squeezed/state/cli/a-1/owner-uuid"),
                     "05060000-0000-0000-0000-000000000000");
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert(loaded_entry("a-1")->has_owner_uuid);
    ck_assert_mem_eq(loaded_entry("a-1")->owner_uuid, entry.owner_uuid,
                     UUID_BYTES);
    /* Written back after a restart of xenstored. */
    entry.transferred = true;
    store_write(&store, "", "/squeezed/state/cli/a-1/owner-uuid");
    ck_assert_int_eq(persist(list, 1), ERR_NONE);
    ck_assert_str_eq(store_read(&store, "/squeezed/state/cli/a-1/owner-uuid"),
                     "05060000-0000-0000-0000-000000000000");
}
END_TEST

START_TEST(a_dry_run_sets_no_limit)
{
    struct ledger_entry entry = {
        .id = "a-1", .client = "xenopsd", .amount_kib = 8192, .domid = 5
    };
    const struct ledger_change transfer = { LEDGER_TRANSFER, &entry, true };
    struct fakehv_domain *domain = add(5, FLAGS_BUILD);

    options.read_only = true;
    start(XEN_BALLOON_ALWAYS);
    ck_assert_int_eq(persist(&transfer, 1), ERR_NONE);
    ck_assert_uint_eq(domain->max_pages, PAGES_1G);
}
END_TEST

START_TEST(broken_entries_are_left_alone)
{
    static const char *const broken[][2] = {
        { "empty", "" },      { "word", "lots" },
        { "negative", "-4" }, { "huge", "1125899906842625" },
        { "blank", "4096 " },
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        store_write(&store, broken[i][1], "/squeezed/state/x/%s", broken[i][0]);
    store_write(&store, "4096", "/squeezed/state/x/owner");
    store_write(&store, "32752", "/squeezed/state/x/owner/in-transfer");
    store_write(&store, "4096", "/squeezed/state/x/held");
    store_write(&store, "soon", "/squeezed/state/x/held/hold-until");
    store_write(&store, "4096", "/squeezed/state/x/awaits");
    store_write(&store, "1234", "/squeezed/state/x/awaits/uuid");
    store_write(&store, "4096", "/squeezed/state/x/%066d", 0);
    store_write(&store, "4097", "/squeezed/state/x/good");
    store_write(&store, "", "/squeezed/state/y");
    start(XEN_BALLOON_ALWAYS);
    ck_assert_int_eq(load(), ERR_NONE);
    ck_assert_uint_eq(loaded_count, 1);
    ck_assert_uint_eq(loaded_entry("good")->amount_kib, 4100);
    ck_assert_str_eq(loaded_entry("good")->client, "x");
    ck_assert_str_eq(store_read(&store, "/squeezed/state/x/word"), "lots");
}
END_TEST

/* Lives */

START_TEST(domains_come_and_go)
{
    start(XEN_BALLOON_ALWAYS);
    add_managed(1, FLAGS_PV);
    ck_assert(!managed(1)); /* not read yet */
    ck_assert(wait_for(one_managed, LATE_MS));
    ck_assert_uint_gt(changes, 0);
    run_ms(20);

    /* The same domid, another domain: what was known of it is forgotten, and
     * the keys that are left are read anew. */
    fakehv_lock(hv);
    hv->domains[1].handle[0]++;
    fakehv_unlock(hv);
    ck_assert(!managed(1));
    ck_assert(wait_for(one_managed, LATE_MS));
    write_memory(1, "dynamic-max", "524288");
    ck_assert(wait_for(one_at_512m, LATE_MS));

    fakehv_lock(hv);
    fakehv_remove_domain(hv, 1);
    fakehv_unlock(hv);
    ck_assert(is_ready());
    ck_assert_uint_eq(snapshot.count, 1);
    changes = 0;
    write_memory(1, "dynamic-max", "1048576");
    run_ms(20);
    ck_assert_uint_eq(changes, 0);
}
END_TEST

START_TEST(xenstored_tells_of_domains)
{
    start(XEN_BALLOON_ALWAYS);
    add(3, FLAGS_PV);
    store_introduce(&store, 3);
    ck_assert(wait_for(was_told, LATE_MS));
    changes = 0;
    fakehv_lock(hv);
    fakehv_remove_domain(hv, 3);
    fakehv_unlock(hv);
    store_raise_exception(&store);
    ck_assert(wait_for(was_told, LATE_MS));
}
END_TEST

/* More than fit the first buffers, and than are read at once. */
enum { CROWD = 1500 };

START_TEST(a_crowd_is_seen_at_once)
{
    for (uint32_t i = 1; i <= CROWD; i++) {
        add(i, FLAGS_PV)->tot_pages = 4;
        if (i % 100 == 0)
            write_range(i, "4", "1048576");
    }
    start(XEN_BALLOON_ALWAYS);
    ck_assert_uint_eq(snapshot.count, CROWD + 1);
    for (uint32_t i = 1; i <= CROWD; i++)
        ck_assert_int_eq(snapshot.domains[i].flags & DOMAIN_MANAGED,
                         i % 100 == 0);
    hv->calls[FAKEHV_DOMAININFO] = hv->calls[FAKEHV_PHYSINFO] = 0;
    ck_assert(is_ready());
    ck_assert_uint_eq(hv->calls[FAKEHV_DOMAININFO], 1);
    ck_assert_uint_eq(hv->calls[FAKEHV_PHYSINFO], 2);
}
END_TEST

static void __attribute__((noreturn)) make_noise(const char *path)
{
    struct store mine = store;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    store_reopen(&mine);
    for (unsigned i = 0;; i++)
        store_write(&mine, i % 2 ? "1" : "0", "%s", path);
}

/* A guest that writes its keys all the time, or below them, keeps nobody from
 * starting, and a range from counting. */
START_TEST(a_noisy_guest_blocks_nobody)
{
    static const char *const paths[] = {
        "/local/domain/1/control/feature-balloon",
        "/local/domain/1/control/feature-poweroff/x",
    };
    pid_t noise[3];

    add_managed(1, FLAGS_PV);
    for (size_t i = 0; i < 3; i++) {
        noise[i] = fork();
        if (noise[i] == 0)
            make_noise(paths[_i]);
    }
    run_ms(20);
    start(XEN_BALLOON_AUTO);
    ck_assert(managed(1));
    write_memory(1, "dynamic-max", "524288");
    ck_assert(wait_for(one_at_512m, LATE_MS));
    for (size_t i = 0; i < 3; i++) {
        kill(noise[i], SIGKILL);
        waitpid(noise[i], NULL, 0);
    }
}
END_TEST

/* The connection */

static bool
is_lost(void)
{
    return !is_ready();
}

START_TEST(xenstored_restarts)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    store_kill(&store);
    ck_assert(wait_for(is_lost, LATE_MS));
    ck_assert_uint_gt(changes, 0);
    ck_assert(!health().connected);
    ck_assert_ptr_nonnull(strstr(health().why, "no xenstore at"));
    apply(1, 8192, 8192, false);
    order_range(4, 8);
    ck_assert_int_eq(wait_done(), ERR_NOT_READY);
    ck_assert_int_eq(load(), ERR_NOT_READY);
    ck_assert_uint_eq(hv->domains[1].max_pages, PAGES_1G);

    store_restart(&store);
    changes = 0;
    ck_assert(wait_for(is_ready, LATE_MS));
    ck_assert_uint_gt(changes, 0);
    ck_assert(health().connected);
    ck_assert_uint_eq(health().reconnects, 1);
    ck_assert(!managed(1));
    ck_assert_ptr_nonnull(strstr(health().why, "1 domains have lost"));
    write_range(1, "4096", "1048576");
    ck_assert(wait_for(one_managed, LATE_MS));
    ck_assert_str_eq(health().why, "");
}
END_TEST

/* Its replies never come: the deadline tells.  Its content is still there. */
START_TEST(xenstored_hangs)
{
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    kill(store.pid, SIGSTOP);
    order_range(4096, 524288);
    ck_assert_int_eq(wait_done(), ERR_NOT_READY);
    ck_assert(!is_ready());
    kill(store.pid, SIGCONT);
    ck_assert(wait_for(is_ready, LATE_MS));
    ck_assert_uint_eq(health().reconnects, 1);
    ck_assert(managed(1));
    ck_assert_str_eq(health().why, "");
}
END_TEST

START_TEST(xenstored_comes_late)
{
    store_kill(&store);
    make_platform(XEN_BALLOON_ALWAYS);
    run_ms(50);
    ck_assert(!is_ready());
    ck_assert_ptr_nonnull(strstr(health().why, "no xenstore at"));
    store_restart(&store);
    ck_assert(wait_for(is_ready, LATE_MS));
    ck_assert_uint_eq(health().reconnects, 0);
}
END_TEST

START_TEST(xen_comes_late)
{
    char *path = strdup(getenv(FAKEHV_ENV));

    add_managed(1, FLAGS_PV);
    unsetenv(FAKEHV_ENV);
    make_platform(XEN_BALLOON_ALWAYS);
    run_ms(50);
    ck_assert(!is_ready());
    ck_assert_ptr_nonnull(strstr(health().why, "no Xen hypervisor"));
    setenv(FAKEHV_ENV, path, 1);
    free(path);
    changes = 0;
    ck_assert(wait_for(was_told, LATE_MS)); /* without being asked */
    ck_assert(managed(1));
    ck_assert_str_eq(health().why, "");
}
END_TEST

START_TEST(a_failed_hypercall_passes)
{
    start(XEN_BALLOON_ALWAYS);
    fakehv_lock(hv);
    hv->fail_in = 1;
    hv->fail_errno = EPERM;
    fakehv_unlock(hv);
    ck_assert(!is_ready());
    ck_assert_ptr_nonnull(strstr(health().why, "not permitted"));
    ck_assert(is_ready());
    ck_assert_str_eq(health().why, "");
}
END_TEST

static unsigned
lines_with(const char *path, const char *text)
{
    char line[512];
    unsigned count = 0;
    FILE *file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

static void
refuse_limits(bool on)
{
    fakehv_lock(hv);
    hv->fail_errno = EPERM;
    hv->fail_always = on ? 1u << FAKEHV_MAX_MEM : 0;
    fakehv_unlock(hv);
}

static void
set_limits_ten_times(void)
{
    for (uint64_t i = 0; i < 10; i++) {
        is_ready();
        apply(1, KIB_1G + 4096 * (i + 1), KIB_1G + 4096 * (i + 1), true);
        run_ms(2);
    }
}

/* Once while it lasts; and again when it comes back later, whatever else was
 * said of that domain. */
START_TEST(a_trouble_that_comes_back_is_said_again)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/log", store.dir);
    add_managed(1, FLAGS_PV);
    start(XEN_BALLOON_ALWAYS);
    ck_assert(log_open(path));
    refuse_limits(true);
    set_limits_ten_times();
    ck_assert_uint_eq(lines_with(path, "its limit can't be set"), 1);
    refuse_limits(false);
    set_limits_ten_times();
    refuse_limits(true);
    set_limits_ten_times(); /* too soon */
    refuse_limits(false);
    set_limits_ten_times();
    skipped_us += 11 * US_PER_S;
    refuse_limits(true);
    set_limits_ten_times();
    ck_assert_uint_eq(lines_with(path, "its limit can't be set"), 2);
    log_open("stderr");
    unlink(path);
}
END_TEST

START_TEST(autoballoon_is_warned_of_once)
{
    char log[128], conf[128];
    FILE *file;

    snprintf(log, sizeof(log), "%s/log", store.dir);
    snprintf(conf, sizeof(conf), "%s/xl.conf", store.dir);
    file = fopen(conf, "w");
    ck_assert_ptr_nonnull(file);
    fputs("autoballoon=\"on\"\n", file);
    fclose(file);
    options.xl_conf = conf;
    ck_assert(log_open(log));
    start(XEN_BALLOON_ALWAYS);
    store_kill(&store);
    ck_assert(wait_for(is_lost, LATE_MS));
    store_restart(&store);
    ck_assert(wait_for(is_ready, LATE_MS));
    ck_assert_uint_eq(lines_with(log, "autoballoon is on"), 1);
    log_open("stderr");
    unlink(log);
    unlink(conf);
}
END_TEST

/* Freed with everything on its way. */
START_TEST(it_can_be_freed_at_any_time)
{
    struct ledger_entry entry = { .id = "a", .client = "b" };
    const struct ledger_change put = { LEDGER_PUT, &entry, false };

    add_managed(1, FLAGS_PV);
    make_platform(XEN_BALLOON_ALWAYS);
    run_ms(_i);
    if (_i > 4)
        ck_assert(wait_for(is_ready, LATE_MS));
    platform->ops->load(platform, on_loaded, NULL);
    run_ms(_i % 3);
    apply(1, 8192, 8192, false);
    platform->ops->persist(platform, &put, 1, on_done, NULL);
    order_range(4, 8);
    fakehv_lock(hv);
    fakehv_remove_domain(hv, 1);
    fakehv_unlock(hv);
    is_ready();
    platform->ops->free(platform);
    platform = NULL;
    run_ms(5);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("xen platform");
    TCase *facts_case = tcase_create("facts");
    TCase *ranges = tcase_create("ranges");
    TCase *settings = tcase_create("settings");
    TCase *ledger = tcase_create("ledger");
    TCase *lives = tcase_create("lives");
    TCase *all[] = { facts_case, ranges, settings, ledger, lives };

    tcase_add_test(facts_case, numbers_are_in_their_frame);
    tcase_add_test(facts_case, states_become_flags);
    tcase_add_test(facts_case, offsets_do_not_underflow);
    tcase_add_test(facts_case, a_guest_tells_that_it_balloons);
    tcase_add_test(facts_case, a_domain_has_a_name_and_a_type);
    tcase_add_test(ranges, a_new_range_counts_at_once);
    tcase_add_test(ranges, a_bad_pair_is_reported_after_a_while);
    tcase_add_test(ranges, two_writes_are_no_error);
    tcase_add_loop_test(ranges, bad_values_are_named, 0,
                        sizeof(bad_values) / sizeof(bad_values[0]));
    tcase_add_test(ranges, without_a_key_it_is_unmanaged);
    tcase_add_test(ranges, a_range_is_set);
    tcase_add_test(ranges, orders_are_keys);
    tcase_add_test(settings, shrinking_sets_target_and_limit);
    tcase_add_test(settings, growing_sets_the_limit_first);
    tcase_add_test(settings, the_newest_target_counts);
    tcase_add_test(settings, a_domain_that_went_is_no_error);
    tcase_add_test(settings, a_foreign_target_is_seen);
    tcase_add_test(settings, a_number_may_have_many_forms);
    tcase_add_test(settings, many_targets_go_in_batches);
    tcase_add_test(ledger, the_ledger_survives);
    tcase_add_test(ledger, a_transfer_sets_the_limit);
    tcase_add_test(ledger, the_owner_is_known_by_its_uuid);
    tcase_add_test(ledger, a_dry_run_sets_no_limit);
    tcase_add_test(ledger, broken_entries_are_left_alone);
    tcase_add_test(lives, domains_come_and_go);
    tcase_add_test(lives, xenstored_tells_of_domains);
    tcase_add_test(lives, a_crowd_is_seen_at_once);
    tcase_add_loop_test(lives, a_noisy_guest_blocks_nobody, 0, 2);
    tcase_add_test(lives, xenstored_restarts);
    tcase_add_test(lives, xenstored_hangs);
    tcase_add_test(lives, xenstored_comes_late);
    tcase_add_test(lives, xen_comes_late);
    tcase_add_test(lives, a_failed_hypercall_passes);
    tcase_add_test(lives, a_trouble_that_comes_back_is_said_again);
    tcase_add_test(lives, autoballoon_is_warned_of_once);
    tcase_add_loop_test(lives, it_can_be_freed_at_any_time, 0, 8);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        tcase_set_timeout(all[i], 120);
        suite_add_tcase(s, all[i]);
    }
    return s;
}

int
main(void)
{

    if (!store_possible())
        return 77;
    return run_suite(suite(), CK_FORK_GETENV);
}
