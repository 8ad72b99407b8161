/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains that reboot find what they left. */
#include "tests/broker_stage.h"

#include <string.h>

/* Nobody has anything to give. */
static const char rigid_host[] = "[host]\nmemory = 16456M\n"
                                 "[domain 1]\ncount = 4\n"
                                 "dynamic-min = 4G\ndynamic-max = 4G\n";

/* Domain 2 of this host shuts down to be started again; nobody has looked
 * yet. */
static void
shut_down(const char *scenario, uint8_t uuid[UUID_BYTES])
{
    start(scenario);
    world.options.reboot_hold_us = 30 * SECOND;
    broker_reconfigure(world.broker, &world.options, world.now_us);
    run_for(SECOND);
    memcpy(uuid, sim_find(world.platform, 2)->uuid, UUID_BYTES);
    ck_assert(sim_reboot(world.platform, 2));
}

/* It has been seen. */
static void
start_reboot_of(const char *scenario, uint8_t uuid[UUID_BYTES])
{
    shut_down(scenario, uuid);
    run_for(50 * US_PER_MS);
}

/* The same, and the old one has gone. */
static void
start_gone(const char *scenario, uint8_t uuid[UUID_BYTES])
{
    start_reboot_of(scenario, uuid);
    sim_destroy(world.platform, 2);
    run_for(SECOND);
}

static void
start_reboot(uint8_t uuid[UUID_BYTES])
{
    start_reboot_of(full_host, uuid);
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

    shut_down(full_host, uuid);
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

    start_gone(full_host, uuid);
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

/* As a toolstack does that starts its domains anew by itself (libvirt's hook
 * under it): once the old one has gone. */
static void
reserve_anew(const uint8_t uuid[UUID_BYTES], uint64_t min_kib, uint64_t max_kib,
             struct reply *r)
{
    const struct reserve_call call = { .client = "test",
                                       .min_kib = min_kib,
                                       .max_kib = max_kib,
                                       .timeout_us = MINUTE,
                                       .hold_us = -1,
                                       .uuid = uuid };

    broker_reserve(world.broker, &call, world.now_us, take_reply, r);
}

/* What is stored for the next domain of that UUID. */
static uint64_t
stored_for(const uint8_t uuid[UUID_BYTES])
{
    size_t n;
    const struct ledger_entry *e = sim_ledger(world.platform, &n);
    uint64_t kib = 0;

    for (size_t i = 0; i < n; i++)
        if (e[i].has_uuid && memcmp(e[i].uuid, uuid, UUID_BYTES) == 0)
            kib += e[i].amount_kib;
    return kib;
}

static void
check_reserved_anew(const struct reply *r, uint64_t kib)
{
    size_t n;
    const struct ledger_entry *e = sim_ledger(world.platform, &n);

    ck_assert_uint_eq(r->count, 1);
    ck_assert_msg(r->error == ERR_NONE, "%s", r->message);
    ck_assert(r->stored);
    ck_assert_uint_eq(r->amount_kib, kib);
    ck_assert_uint_eq(n, 1);
    ck_assert_str_eq(e->id, r->id);
    ck_assert_uint_eq(e->amount_kib, kib);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 1);
    ck_assert_uint_eq(reserved(), kib);
    ck_assert_int_ge(headroom(), 0);
}

/* What is kept for it is what it gets: the others have nothing to give. */
START_TEST(what_is_kept_can_be_reserved)
{
    static const struct {
        uint64_t min_kib, max_kib, gets_kib;
    } asked[] = {
        { 4 * GIB, 4 * GIB, 4 * GIB },
        { 1 * GIB, 1 * GIB, 1 * GIB },
        { 1 * GIB, 4 * GIB, 4 * GIB },
    };
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];

    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        memset(&r, 0, sizeof r);
        start_gone(rigid_host, uuid);
        reserve_anew(uuid, asked[i].min_kib, asked[i].max_kib, &r);
        run_for(SECOND);
        check_reserved_anew(&r, asked[i].gets_kib);
        check_no_theft();
        stop();
    }
}
END_TEST

/* Others give what it wants beyond that, and no more. */
START_TEST(more_than_what_is_kept)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];
    uint64_t given_kib = 12 * GIB;

    start_gone(full_host, uuid);
    reserve_anew(uuid, 6 * GIB, 6 * GIB, &r);
    for (int i = 0; i < 100; i++) {
        run_for(100 * US_PER_MS);
        ck_assert_int_ge(headroom(), 0);
    }
    check_reserved_anew(&r, 6 * GIB);
    for (uint32_t domid = 1; domid <= 4; domid++)
        if (domid != 2)
            given_kib -= sim_find(world.platform, domid)->target_kib;
    ck_assert_uint_le(given_kib, 2 * GIB + MIB);
    stop();
}
END_TEST

/* What a domain on its way out leaves is the next one's: nobody else waits for
 * it. */
START_TEST(what_is_kept_is_no_hope_for_others)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];

    start_reboot_of(rigid_host, uuid);
    sim_drain(world.platform, 2, GIB);
    run_for(50 * US_PER_MS);
    reserve(GIB, GIB, &r);
    run_for(50 * US_PER_MS);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_int_eq(r.error, ERR_CANNOT_FREE);
    stop();
}
END_TEST

/* A range gets its fair share, of which that is part: of 16 GiB, 1 and three
 * quarters of 7, as the others get 1 and three quarters of 3. */
START_TEST(what_is_kept_is_part_of_a_share)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];

    start_gone(full_host, uuid);
    reserve_anew(uuid, GIB, 8 * GIB, &r);
    run_for(10 * SECOND);
    check_reserved_anew(&r, r.amount_kib);
    ck_assert_uint_ge(r.amount_kib, 25 * GIB / 4 - 4 * MIB);
    ck_assert_uint_le(r.amount_kib, 25 * GIB / 4 + 4 * MIB);
    stop();
}
END_TEST

/* What we have asked for on top of what is kept isn't asked for twice. */
START_TEST(what_we_ask_for_is_part_of_it)
{
    const char *client;
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];

    shut_down(full_host, uuid);
    sim_drain(world.platform, 2, GIB);
    reserve_anew(uuid, 6 * GIB, 6 * GIB, &r);
    step(world.now_us);
    ck_assert_ptr_nonnull(broker_queued(world.broker, 0, &client));
    ck_assert_str_eq(client, "test");
    ck_assert_ptr_null(broker_queued(world.broker, 1, &client));
    sim_destroy(world.platform, 2);
    run_for(10 * SECOND);
    check_reserved_anew(&r, 6 * GIB);
    stop();
}
END_TEST

/* Reserved while the old one is on its way out: granted when it has gone. */
START_TEST(what_is_kept_comes)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];

    start_reboot_of(rigid_host, uuid);
    if (_i == 2) /* what is counted on doesn't end */
        run_for(29 * SECOND);
    sim_drain(world.platform, 2, GIB);
    if (_i)
        run_for(50 * US_PER_MS);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    for (int i = 0; i < 20; i++) {
        run_for(100 * US_PER_MS);
        sim_drain(world.platform, 2, GIB / 10);
        ck_assert_uint_eq(r.count, 0);
        ck_assert_uint_ge(stored_for(uuid), 4 * GIB);
        ck_assert_int_ge(headroom(), 0);
    }
    sim_destroy(world.platform, 2);
    run_for(50 * US_PER_MS);
    check_reserved_anew(&r, 4 * GIB);
    check_no_theft();
    stop();
}
END_TEST

/* Others have mapped pages of the old one, which stays for ever: all but those
 * are there. */
START_TEST(what_a_zombie_leaves)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];

    start_reboot_of(rigid_host, uuid);
    sim_drain(world.platform, 2, 4 * GIB - 8);
    run_for(7 * SECOND);
    reserve_anew(uuid, 4 * GIB - MIB, 4 * GIB - MIB, &r);
    run_for(50 * US_PER_MS);
    check_reserved_anew(&r, 4 * GIB - MIB);
    check_no_theft();
    stop();
}
END_TEST

/* Its client went before it could be told: the domain may come all the same. */
START_TEST(what_is_kept_and_nobody_has_got)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];
    size_t n;

    start_gone(rigid_host, uuid);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(SECOND);
    check_reserved_anew(&r, 4 * GIB);
    broker_undelivered(world.broker, r.id, world.now_us);
    run_for(2 * SECOND);
    ck_assert_uint_eq(stored_for(uuid), 4 * GIB);
    if (_i == 0) { /* nor does a restart keep it for longer */
        broker_free(world.broker);
        start_broker();
        run_for(26 * SECOND);
        ck_assert_uint_eq(stored_for(uuid), 4 * GIB);
        run_for(4 * SECOND);
        ck_assert_uint_eq(stored_for(uuid), 0);
    } else {
        build_successor(uuid, 9);
        run_for(10 * SECOND);
        ck_assert(sim_ledger(world.platform, &n)->transferred);
        ck_assert_uint_eq(n, 1);
    }
    stop();
}
END_TEST

/* Somebody else has built a domain of it: there is nothing to be granted. */
START_TEST(what_is_kept_was_taken)
{
    struct reply r = { 0 }, thief = { .amount_kib = 2 * GIB };
    uint8_t uuid[UUID_BYTES];

    start_gone(rigid_host, uuid);
    build_domain(&thief, NULL);
    run_for(5 * SECOND);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(50 * US_PER_MS);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_int_eq(r.error, ERR_CANNOT_FREE);
    ck_assert_uint_eq(r.free_kib, 2 * GIB);
    memset(&r, 0, sizeof r);
    sim_destroy(world.platform, 9);
    run_for(SECOND);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(50 * US_PER_MS);
    check_reserved_anew(&r, 4 * GIB);
    stop();
}
END_TEST

/* The first one counts on it: another one of that UUID doesn't end it. */
START_TEST(what_is_kept_and_two_requests)
{
    struct reply first = { 0 }, second = { 0 };
    struct reserve_call call = { .client = "test",
                                 .min_kib = 14 * GIB,
                                 .max_kib = 14 * GIB,
                                 .timeout_us = MINUTE,
                                 .hold_us = -1,
                                 .wait = true };
    uint8_t uuid[UUID_BYTES];

    start_gone(rigid_host, uuid);
    call.uuid = uuid;
    broker_reserve(world.broker, &call, world.now_us, take_reply, &first);
    sim_destroy(world.platform, 3);
    run_for(SECOND);
    reserve_anew(uuid, 64 * MIB, 64 * MIB, &second);
    run_for(SECOND);
    ck_assert_uint_eq(first.count, 0);
    ck_assert_uint_eq(second.count, 1);
    ck_assert_int_eq(second.error, ERR_NONE);
    ck_assert_uint_ge(stored_for(uuid), 4 * GIB + 64 * MIB);
    stop();
}
END_TEST

/* In the instant of its grant: the domain comes back all the same. */
START_TEST(what_is_kept_and_a_client_that_goes)
{
    struct reserve_call call = { .client = "test",
                                 .min_kib = 4 * GIB,
                                 .max_kib = 4 * GIB,
                                 .timeout_us = MINUTE,
                                 .hold_us = -1 };
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];
    uint64_t seq;
    size_t n;

    start_gone(rigid_host, uuid);
    sim_set_latency(world.platform, 10 * US_PER_MS);
    call.uuid = uuid;
    seq = broker_reserve(world.broker, &call, world.now_us, take_reply, &r);
    run_for(5 * US_PER_MS);
    broker_cancel(world.broker, seq, world.now_us);
    for (int i = 0; i < 20; i++) {
        run_for(5 * US_PER_MS);
        ck_assert_uint_ge(stored_for(uuid), 4 * GIB);
        ck_assert_int_ge(headroom(), 0);
    }
    ck_assert_uint_eq(r.count, 0);
    ck_assert_str_eq(sim_ledger(world.platform, &n)->client, "squeezed-reboot");
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(reserved(), stored_for(uuid));
    sim_set_latency(world.platform, 0);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(SECOND);
    check_reserved_anew(&r, 4 * GIB);
    stop();
}
END_TEST

/* Either what was kept is stored, or what was reserved of it. */
START_TEST(what_is_kept_and_a_store_that_fails)
{
    static const enum err errors[] = { ERR_NOT_READY, ERR_NO_MEMORY };
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];
    size_t n;
    const struct ledger_entry *e;

    start_gone(rigid_host, uuid);
    sim_fail_persist(world.platform, 1, errors[_i]);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(5 * SECOND);
    ck_assert_int_eq(r.error, ERR_NOT_READY);
    e = sim_ledger(world.platform, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert(e->has_uuid);
    ck_assert_uint_ge(e->amount_kib, 4 * GIB);
    ck_assert_uint_eq(reserved(), e->amount_kib);
    memset(&r, 0, sizeof r);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(SECOND);
    check_reserved_anew(&r, 4 * GIB);
    stop();
}
END_TEST

START_TEST(what_is_kept_and_a_kill)
{
    struct reply r = { 0 };
    uint8_t uuid[UUID_BYTES];
    size_t n;
    const struct ledger_entry *e;

    start_gone(rigid_host, uuid);
    sim_set_latency(world.platform, 10 * US_PER_MS);
    reserve_anew(uuid, 4 * GIB, 4 * GIB, &r);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(r.count, 0);
    ck_assert_uint_eq(broker_planner(world.broker)->ledger.count, 2);
    ck_assert_int_ge(headroom(), 0);
    broker_free(world.broker);
    sim_settle_store(world.platform, _i);
    start_broker();
    run_for(SECOND);
    e = sim_ledger(world.platform, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_ge(e->amount_kib, 4 * GIB);
    ck_assert_str_eq(e->client, _i ? "squeezed-reboot" : "test");
    ck_assert_uint_eq(reserved(), e->amount_kib);
    ck_assert_int_ge(headroom(), 0);
    stop();
}
END_TEST

static void
something_happens(struct random *r, const uint8_t uuid[UUID_BYTES],
                  struct reply *anew, uint64_t *asked_kib)
{
    static struct reply other;
    const struct sim_domain *old = sim_find(world.platform, 2);

    switch (random_below(r, 8)) {
    case 0:
        if (old)
            sim_drain(world.platform, 2, 4 * random_below(r, GIB / 8));
        return;
    case 1:
        if (old && random_below(r, 3) == 0)
            sim_destroy(world.platform, 2);
        return;
    case 2: /* again, when it was refused */
        if (anew->count == 0 && *asked_kib > 0)
            return;
        memset(anew, 0, sizeof *anew);
        *asked_kib = 4 * (1 + random_below(r, 5 * GIB / 4));
        reserve_anew(uuid, *asked_kib,
                     *asked_kib + 4 * random_below(r, GIB / 4), anew);
        return;
    case 3:
        memset(&other, 0, sizeof other);
        reserve(4 * random_below(r, GIB / 4), GIB, &other);
        return;
    case 4:
        sim_fail_persist(world.platform, (unsigned)random_below(r, 4),
                         random_below(r, 2) ? ERR_NOT_READY : ERR_NO_MEMORY);
        return;
    case 5:
        sim_set_latency(world.platform,
                        (int64_t)random_below(r, 20) * US_PER_MS);
        return;
    default:
        run_for((int64_t)random_below(r, 300) * US_PER_MS);
    }
}

/* Whatever happens until it is granted: what was kept is there, stored as one
 * thing or as the other, and once; and nobody's memory is promised twice. */
START_TEST(a_reboot_and_its_toolstack)
{
    struct random r = random_seed("a_reboot_and_its_toolstack", (uint64_t)_i);
    struct reply anew = { 0 };
    uint64_t asked_kib = 0, kept_kib;
    uint8_t uuid[UUID_BYTES];

    start_reboot_of(random_below(&r, 2) ? full_host : rigid_host, uuid);
    kept_kib = stored_for(uuid);
    ck_assert_uint_ge(kept_kib, 4 * GIB);
    for (int i = 0; i < 80 && !(anew.count && !anew.error); i++) {
        something_happens(&r, uuid, &anew, &asked_kib);
        ck_assert_uint_le(anew.count, 1);
        ck_assert_int_ge(headroom(), 0);
        ledger_audit(&broker_planner(world.broker)->ledger);
        if (asked_kib == 0)
            ck_assert_uint_ge(stored_for(uuid), kept_kib);
        else
            ck_assert_uint_ge(stored_for(uuid), min_u64(kept_kib, asked_kib));
    }
    if (anew.count && !anew.error) {
        run_for(SECOND);
        ck_assert_uint_ge(anew.amount_kib, asked_kib);
        ck_assert_uint_eq(stored_for(uuid), anew.amount_kib);
        ck_assert_int_ge(headroom(), 0);
        check_no_theft();
    }
    /* Killed in between: what is stored then goes on. */
    broker_free(world.broker);
    sim_settle_store(world.platform, random_below(&r, 2));
    start_broker();
    run_for(SECOND);
    ck_assert_int_ge(headroom(), 0);
    ck_assert_uint_ge(stored_for(uuid),
                      asked_kib ? min_u64(kept_kib, asked_kib) : kept_kib);
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
    tcase_add_test(tcase, what_is_kept_can_be_reserved);
    tcase_add_test(tcase, more_than_what_is_kept);
    tcase_add_test(tcase, what_is_kept_is_no_hope_for_others);
    tcase_add_loop_test(tcase, what_is_kept_comes, 0, 3);
    tcase_add_test(tcase, what_is_kept_was_taken);
    tcase_add_test(tcase, what_a_zombie_leaves);
    tcase_add_loop_test(tcase, what_is_kept_and_nobody_has_got, 0, 2);
    tcase_add_test(tcase, what_is_kept_is_part_of_a_share);
    tcase_add_test(tcase, what_we_ask_for_is_part_of_it);
    tcase_add_test(tcase, what_is_kept_and_two_requests);
    tcase_add_test(tcase, what_is_kept_and_a_client_that_goes);
    tcase_add_loop_test(tcase, what_is_kept_and_a_store_that_fails, 0, 2);
    tcase_add_loop_test(tcase, what_is_kept_and_a_kill, 0, 2);
    tcase_add_loop_test(tcase, a_reboot_and_its_toolstack, 0, random_runs(100));
    tcase_add_test(tcase, no_hold_for_reboots);
    return run_broker_suite("broker_reboot", tcase);
}
