/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/broker_stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct world world;

bool
is_stored(const char *id)
{
    size_t n;
    const struct ledger_entry *e = sim_ledger(world.platform, &n);

    for (size_t i = 0; i < n; i++)
        if (strcmp(e[i].id, id) == 0)
            return true;
    return false;
}

void
take_reply(void *arg, const struct result *result)
{
    struct reply *r = arg;

    r->count++;
    r->error = result->error;
    r->amount_kib = result->amount_kib;
    r->free_kib = result->free_kib;
    r->domid_count = result->domid_count;
    snprintf(r->message, sizeof r->message, "%s", result->message);
    snprintf(r->parameter, sizeof r->parameter, "%s",
             result->parameter ? result->parameter : "");
    if (result->reservation) {
        snprintf(r->id, sizeof r->id, "%s", result->reservation);
        r->stored = is_stored(r->id);
    }
}

static void
number_id(void *context, char id[UUID_TEXT])
{
    (void)context;
    snprintf(id, UUID_TEXT, "00000000-0000-4000-8000-%012" PRIu64, ++world.ids);
}

static int64_t
world_now(void *context)
{
    (void)context;
    if (world.nap_in > 0 && --world.nap_in == 0)
        world.now_us += world.nap_us;
    return world.now_us;
}

static int64_t
world_wall_ms(void *context)
{
    (void)context;
    return INT64_C(1700000000000) + world.wall_off_ms +
           world.now_us / US_PER_MS;
}

void
start_broker(void)
{
    world.broker = broker_new(&world.options, world.platform, world.now_us);
    assert(world.broker);
}

void
start(const char *scenario_text)
{
    char message[256];
    struct scenario *scenario =
        scenario_read_text("test", scenario_text, strlen(scenario_text), NULL,
                           message, sizeof message);

    if (!scenario)
        ck_abort_msg("%s", message);
    world = (struct world){ .now_us = SECOND };
    world.options = (struct broker_options){
        .planner = { .host_reserve_kib = scenario->reserve_kib,
                     .cushion_kib = scenario->cushion_kib,
                     .tolerance_kib = scenario->tolerance_kib,
                     .policy = scenario->policy,
                     .interval_us = 10 * SECOND },
        .new_id = number_id,
        .now_us = world_now,
        .wall_ms = world_wall_ms,
    };
    world.platform = sim_platform_new(scenario, world.now_us);
    scenario_free(scenario);
    assert(world.platform);
    start_broker();
}

void
stop(void)
{
    broker_free(world.broker);
    world.platform->ops->free(world.platform);
}

void
step(int64_t limit_us)
{
    int64_t next =
        min_i64(broker_next_us(world.broker), sim_next_us(world.platform));

    world.now_us = max_i64(world.now_us, min_i64(next, limit_us));
    sim_advance(world.platform, world.now_us);
    sim_deliver(world.platform);
    if (broker_next_us(world.broker) <= world.now_us)
        broker_run(world.broker, world.now_us);
}

void
run_for(int64_t us)
{
    int64_t end = world.now_us + us;

    while (world.now_us < end)
        step(end);
    step(end);
}

const char full_host[] = "[host]\nmemory = 16456M\n"
                         "[domain 1]\ncount = 4\n"
                         "dynamic-min = 1G\ndynamic-max = 4G\n";

uint64_t
reserve(uint64_t min_kib, uint64_t max_kib, struct reply *reply)
{
    const struct reserve_call call = { .client = "test",
                                       .min_kib = min_kib,
                                       .max_kib = max_kib,
                                       .timeout_us = MINUTE,
                                       .hold_us = -1 };

    return broker_reserve(world.broker, &call, world.now_us, take_reply, reply);
}

void
reserve_and_wait(uint64_t kib, struct reply *reply)
{
    memset(reply, 0, sizeof *reply);
    reserve(kib, kib, reply);
    ck_assert_uint_eq(reply->count, 0); /* never before the call returned */
    run_for(10 * SECOND);
    ck_assert_uint_eq(reply->count, 1);
}

uint64_t
reserved(void)
{
    return broker_planner(world.broker)->ledger.reserved_kib;
}

int64_t
headroom(void)
{
    struct host_sums sums;
    struct planner *p = broker_planner(world.broker);
    struct snapshot now;

    assert(!world.platform->ops->look(world.platform, world.now_us, &now));
    host_look(&p->host, &now, &p->ledger);
    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib, 0, &sums);
    return sums.headroom_kib;
}

void
order(uint32_t domid, struct domain_order wanted, struct reply *ret)
{
    broker_order(world.broker, domid, &wanted, world.now_us, take_reply, ret);
}

void
set_range(uint32_t domid, uint64_t min_kib, uint64_t max_kib, struct reply *ret)
{
    order(domid,
          (struct domain_order){
              .kind = ORDER_RANGE, .min_kib = min_kib, .max_kib = max_kib },
          ret);
}

uint32_t
build_domain(const struct reply *r, const uint8_t *uuid)
{
    struct scenario_domain d;
    char error[SCENARIO_ERROR_CHARS];

    scenario_domain_init(&d);
    d.domid = 9;
    if (uuid) {
        memcpy(d.uuid, uuid, UUID_BYTES);
        d.given |= GIVEN_UUID;
    }
    ck_assert_ptr_null(scenario_domain_complete(&d, r->amount_kib, error));
    ck_assert_int_eq(sim_build(world.platform, &d, r->amount_kib, true), 0);
    return 9;
}
