/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/toy_broker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct policy toy_policy = { .name = "proportional" };
static int64_t clock_us = 1000 * (int64_t)US_PER_S;

int64_t
toy_now_us(void)
{
    return clock_us;
}

void
toy_set_now_us(int64_t now_us)
{
    clock_us = now_us;
}

/* ---------------------------------------------------------------- platform */

static bool
toy_describe(struct platform *platform, uint32_t domid, struct domain_text *ret)
{
    (void)platform;
    *ret = (struct domain_text){ .type = "pv" };
    if (domid == 1)
        snprintf(ret->name, sizeof ret->name, "web");
    if (domid == 7) { /* a guest's owner may write anything */
        snprintf(ret->name, sizeof ret->name, "b\xffs\"e");
        snprintf(ret->range_error, sizeof ret->range_error,
                 "dynamic-min 9 is above dynamic-max 8");
    }
    return true;
}

static void
toy_health(struct platform *platform, struct platform_health *ret)
{
    *ret = ((struct broker *)platform)->health;
}

static const struct platform_ops toy_ops = {
    .name = "toy",
    .describe = toy_describe,
    .health = toy_health,
};

void
toy_init(struct broker *b)
{
    struct planner *p = &b->planner;

    *b = (struct broker){ .platform = { .ops = &toy_ops } };
    b->health = (struct platform_health){ .connected = true };
    b->view = (struct broker_view){ .platform = "toy",
                                    .ready = true,
                                    .last_look_us = clock_us,
                                    .last_plan_us = clock_us - US_PER_S,
                                    .last_plan = "request of x for 2.0 GiB",
                                    .last_writes = 3 };
    p->settings = (struct planner_settings){ .host_reserve_kib = 73728,
                                             .tolerance_kib = 512,
                                             .policy = &toy_policy,
                                             .interval_us = 10 * US_PER_S };
    p->host = (struct host){ .domains = b->domains,
                             .count = 2,
                             .total_kib = 4194304,
                             .free_kib = 1000000,
                             .scrub_kib = 24 };
    for (size_t i = 0; i < 2; i++)
        b->domains[i] = (struct domain){
            .facts = { .domid = i ? 7 : 1,
                       .flags = DOMAIN_MANAGED | DOMAIN_BALLOON,
                       .actual_kib = 1048576,
                       .limit_kib = 1048576,
                       .target_kib = 1048576,
                       .static_min_kib = 4096,
                       .dynamic_min_kib = 524288,
                       .dynamic_max_kib = 2097152,
                       .static_max_kib = 2097152,
                       .ceiling_kib = i ? 1572864 : CEILING_NONE },
            .held_kib = 1048576,
            .committed_kib = 1048576,
            .lower_kib = 524288,
            .upper_kib = 2097152,
            .movable = true,
        };
    ledger_init(&p->ledger, b->entries, TOY_ENTRIES);
    ledger_add(&p->ledger, &(struct ledger_entry){
                               .id = "11111111-2222-3333-4444-555555555555",
                               .client = "xenopsd",
                               .amount_kib = 4096,
                               .state = ENTRY_GRANTED,
                               .created_us = clock_us - 2 * US_PER_S,
                               .hold_until_us = TIME_NEVER_US });
    b->queued[0] = (struct request){ .seq = 1,
                                     .min_kib = 4,
                                     .max_kib = 8,
                                     .submitted_us = clock_us - US_PER_S };
}

/* ----------------------------------------------------------------- answers */

bool
toy_answer(struct broker *b, const struct result *result)
{
    for (size_t i = 0; i < b->open_count; i++) {
        struct toy_open open = b->open[i];

        if (!open.reply)
            continue;
        b->open[i].reply = NULL;
        open.reply(open.arg, result);
        return true;
    }
    return false;
}

bool
toy_grant(struct broker *b, const char *id, uint64_t amount_kib)
{
    struct result result = { .reservation = id,
                             .amount_kib = amount_kib,
                             .took_us = 12345,
                             .answer_us = 1234 };

    return toy_answer(b, &result);
}

static void __attribute__((format(printf, 2, 3)))
asked(struct broker *b, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(b->asked, sizeof b->asked, format, arguments);
    va_end(arguments);
}

static uint64_t
keep_open(struct broker *b, broker_reply *reply, void *arg)
{
    if (b->open_count == TOY_OPEN)
        b->open_count = 0;
    b->open[b->open_count] = (struct toy_open){ b->open_count + 1, reply, arg };
    return ++b->open_count;
}

static void
finish(struct broker *b, broker_reply *reply, void *arg)
{
    if (b->at_once)
        reply(arg, &b->result);
    else
        keep_open(b, reply, arg);
}

/* ------------------------------------------------------------- broker.h's */

uint64_t
broker_reserve(struct broker *b, const struct reserve_call *call,
               int64_t now_us, broker_reply *reply, void *arg)
{
    char uuid[UUID_TEXT] = "-";

    (void)now_us;
    if (call->uuid)
        format_uuid(call->uuid, uuid);
    asked(b, "reserve %s %" PRIu64 " %" PRIu64 " %" PRId64 " %d %" PRId64 " %s",
          call->client, call->min_kib, call->max_kib, call->timeout_us,
          call->wait, call->hold_us, uuid);
    return keep_open(b, reply, arg);
}

void
broker_cancel(struct broker *b, uint64_t seq, int64_t now_us)
{
    (void)now_us;
    b->cancelled++;
    b->open[seq - 1].reply = NULL;
}

void
broker_follow(struct broker *b, news_told *told, void *context)
{
    b->told = told;
    b->told_context = context;
}

void
broker_undelivered(struct broker *b, const char *reservation, int64_t now_us)
{
    (void)now_us;
    b->undelivered++;
    snprintf(b->undelivered_id, sizeof b->undelivered_id, "%s", reservation);
}

void
broker_release(struct broker *b, const char *reservation, int64_t now_us,
               broker_reply *reply, void *arg)
{
    (void)now_us;
    asked(b, "release %s", reservation);
    finish(b, reply, arg);
}

void
broker_transfer(struct broker *b, const char *reservation, uint32_t domid,
                bool set_limit, int64_t now_us, broker_reply *reply, void *arg)
{
    (void)now_us;
    asked(b, "transfer %s %" PRIu32 " %d", reservation, domid, set_limit);
    finish(b, reply, arg);
}

void
broker_login(struct broker *b, const char *client, int64_t now_us,
             broker_reply *reply, void *arg)
{
    (void)now_us;
    asked(b, "login %s", client);
    finish(b, reply, arg);
}

void
broker_order(struct broker *b, uint32_t domid, const struct domain_order *order,
             int64_t now_us, broker_reply *reply, void *arg)
{
    static const char *const names[] = {
        [ORDER_RANGE] = "set_range", [ORDER_CEILING] = "set_target",
        [ORDER_AUTO] = "set_auto",   [ORDER_FREEZE] = "freeze",
        [ORDER_THAW] = "thaw",
    };
    const char *name = names[order->kind];

    (void)now_us;
    if (order->kind == ORDER_RANGE)
        asked(b, "%s %" PRIu32 " %" PRIu64 " %" PRIu64, name, domid,
              order->min_kib, order->max_kib);
    else if (order->kind == ORDER_CEILING)
        asked(b, "%s %" PRIu32 " %" PRIu64, name, domid, order->target_kib);
    else
        asked(b, "%s %" PRIu32, name, domid);
    finish(b, reply, arg);
}

void
broker_balance(struct broker *b, int64_t now_us, broker_reply *reply, void *arg)
{
    (void)now_us;
    asked(b, "balance");
    keep_open(b, reply, arg);
}

void
broker_forget(struct broker *b, void *arg)
{
    b->forgotten++;
    for (size_t i = 0; i < b->open_count; i++)
        if (b->open[i].arg == arg)
            b->open[i].reply = NULL;
}

struct planner *
broker_planner(struct broker *b)
{
    return b->invisible ? NULL : &b->planner;
}

bool
broker_has_domain(struct broker *b, uint32_t domid, int64_t now_us)
{
    (void)now_us;
    return host_find(&b->planner.host, domid) != NULL;
}

const struct planner_settings *
broker_settings(const struct broker *b)
{
    return &b->planner.settings;
}

void
broker_view(const struct broker *b, struct broker_view *ret)
{
    *ret = b->view;
}

const struct request *
broker_queued(const struct broker *b, size_t i, const char **ret_client)
{
    *ret_client = "x";
    return i == 0 ? &b->queued[0] : NULL;
}

const uint32_t *
broker_debtors(const struct broker *b, size_t *ret_count)
{
    static const uint32_t debtors[] = { 3, 7 };

    (void)b;
    *ret_count = 2;
    return debtors;
}

/* ------------------------------------------------------------- planner.h's */

void
planner_what_if(struct planner *p, uint64_t min_kib, uint64_t max_kib,
                int64_t now_us, struct what_if *ret)
{
    struct broker *b =
        (struct broker *)((char *)p - offsetof(struct broker, planner));

    (void)now_us;
    asked(b, "plan %" PRIu64 " %" PRIu64, min_kib, max_kib);
    *ret = b->what_if;
    for (size_t i = 0; i < p->host.count; i++)
        p->host.domains[i].share_kib = p->host.domains[i].held_kib;
    p->host.domains[0].share_kib -= 4096;
}

void
planner_available(const struct planner *p, int64_t now_us,
                  uint64_t *ret_now_kib, uint64_t *ret_squeezed_kib)
{
    (void)p;
    (void)now_us;
    *ret_now_kib = 100;
    *ret_squeezed_kib = 2000;
}
