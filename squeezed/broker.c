/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/broker_internal.h"

#include "common/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- the time */

int64_t
broker_clock(const struct broker *b)
{
    if (b->options.now_us)
        return max_i64(b->options.now_us(b->options.context), b->now_us);
    return b->now_us;
}

void
broker_wake_at(struct broker *b, int64_t us)
{
    if (us >= b->next_us)
        return;
    b->next_us = us;
    if (b->options.wake)
        b->options.wake(b->options.context);
}

void
broker_wake_for_call(struct broker *b, int64_t now_us)
{
    b->now_us = max_i64(b->now_us, now_us);
    b->urgent = true;
    broker_wake_at(b, b->now_us);
}

/* The platform's hook. */
static void
host_changed(void *context)
{
    struct broker *b = context;

    b->fresh = false;
    broker_wake_at(b, max_i64(broker_clock(b), b->not_before_us));
}

int64_t
broker_next_us(const struct broker *b)
{
    return b->next_us;
}

void
broker_reply_error(broker_reply *reply, void *arg, enum err error,
                   const char *parameter, const char *format, ...)
{
    struct result result = { .error = error, .parameter = parameter };
    va_list arguments;

    if (!reply)
        return;
    va_start(arguments, format);
    vsnprintf(result.message, sizeof result.message, format, arguments);
    va_end(arguments);
    reply(arg, &result);
}

/* -------------------------------------------------------------- the balance */

void
broker_balance(struct broker *b, int64_t now_us, broker_reply *reply, void *arg)
{
    struct waiter *w = calloc(1, sizeof *w);

    if (!w) {
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
        return;
    }
    *w = (struct waiter){ b->waiters, ++b->last_seq, now_us, reply, arg };
    b->waiters = w;
    broker_wake_for_call(b, now_us);
}

void
broker_forget(struct broker *b, void *arg)
{
    struct waiter **at = &b->waiters;

    while (*at) {
        struct waiter *w = *at;

        if (w->arg != arg) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w);
    }
}

/* The first of those up to seq that is to be answered; NULL if none is. */
static struct waiter *
take_waiter(struct broker *b, uint64_t seq)
{
    const bool settled = b->host_visible && b->plan.settled;

    for (struct waiter **at = &b->waiters; *at; at = &(*at)->next) {
        struct waiter *w = *at;

        if (w->seq <= seq &&
            (settled || b->now_us - w->since_us >= BALANCE_LIMIT_US)) {
            *at = w->next;
            return w;
        }
    }
    return NULL;
}

/* Replies may call us again. */
static void
answer_waiters(struct broker *b)
{
    const struct result result = { .error = ERR_NONE };
    const uint64_t last = b->last_seq;
    struct waiter *w;

    while ((w = take_waiter(b, last))) {
        w->reply(w->arg, &result);
        free(w);
    }
}

/* ----------------------------------------------------------------- the pass */

static void
describe_plan(struct broker *b)
{
    const struct plan *plan = &b->plan;
    char size[SIZE_TEXT];
    size_t n = sizeof b->last_plan;

    if (plan->setting_count == 0)
        return;
    b->last_plan_us = b->now_us;
    b->last_writes = plan->setting_count;
    if (plan->why == PLAN_REQUEST && b->planner.queue.count > 0)
        snprintf(
            b->last_plan, n, "request of %s for %s", b->calls[0].client,
            format_size((int64_t)planner_amount_kib(&b->requests[0]), size));
    else
        snprintf(b->last_plan, n, "%s",
                 plan->why == PLAN_OVERLOAD
                     ? "overload: domains may hold more than there is"
                     : "balance");
}

/* A plan that fails, or takes many steps, is made again and again: it is told
 * once in a while. */
static void
log_plan(struct broker *b)
{
    size_t count = b->plan.setting_count;
    bool again = strcmp(b->last_plan, b->told_plan) == 0 &&
                 b->now_us - b->told_us < SAME_PLAN_US;

    log_at(again ? LEVEL_DEBUG : LEVEL_INFO, "%s: %zu target%s", b->last_plan,
           count, count == 1 ? "" : "s");
    if (again)
        return;
    memcpy(b->told_plan, b->last_plan, sizeof b->told_plan);
    b->told_us = b->now_us;
}

static void
apply_settings(struct broker *b)
{
    const struct plan *plan = &b->plan;

    if (plan->setting_count == 0)
        return;
    for (size_t i = 0; i < plan->setting_count; i++)
        log_debug("domain %" PRIu32 ": target and limit %" PRIu64 " KiB%s",
                  plan->settings[i].domid, plan->settings[i].target_kib,
                  b->options.dry_run ? " (dry run: not set)" : "");
    log_plan(b);
    if (b->options.dry_run)
        return;
    for (size_t i = 0; i < plan->setting_count; i++)
        broker_tell(b, &(struct news){ .kind = NEWS_TARGET,
                                       .domid = plan->settings[i].domid,
                                       .setting = &plan->settings[i],
                                       .why = b->last_plan });
    b->target_writes += plan->setting_count;
    b->platform->ops->apply(b->platform, plan->settings, plan->setting_count);
}

/* False while the host can't be seen. */
static bool
look(struct broker *b, struct snapshot *snapshot)
{
    enum err error = b->platform->ops->look(b->platform, b->now_us, snapshot);

    if (!error && !broker_make_room(b, snapshot->count))
        error = ERR_NO_MEMORY;
    if (!error != b->host_visible)
        log_info("the host %s", error ? "can't be seen" : "is seen");
    b->host_visible = !error;
    if (error)
        return false;
    b->looked = true;
    b->last_look_us = b->now_us;
    return true;
}

static void
watch_reconnects(struct broker *b)
{
    struct platform_health health;

    b->platform->ops->health(b->platform, &health);
    broker_watch_store(b, &health);
    if (health.reconnects == b->reconnects || !health.connected)
        return;
    b->reconnects = health.reconnects;
    if (b->loaded)
        broker_rewrite_ledger(b);
}

/* Until when the next look can wait for the cost of this pass. */
static int64_t
rest_until(struct broker *b, int64_t cost_us)
{
    int64_t least_us = cost_us;

    b->costs_us[b->passes % COSTS_KEPT] = cost_us;
    for (size_t i = 0; i < COSTS_KEPT; i++)
        least_us = min_i64(least_us, b->costs_us[i]);
    return b->now_us + LOOK_COST_FACTOR * least_us;
}

static void
decide_and_act(struct broker *b, const struct snapshot *snapshot)
{
    b->passes++;
    broker_meet_domains(b, snapshot);
    broker_keep_reboots(b, snapshot);
    broker_credit_reboots(b, snapshot);
    b->fresh = true;
    b->last_pass_us = b->now_us;
    planner_pass(&b->planner, snapshot, b->now_us, &b->plan);
    for (size_t i = 0; i < b->planner.queue.count; i++)
        b->calls[i].planned = true;
    describe_plan(b);
    b->next_us = min_i64(b->next_us, b->plan.next_us);
    /* Somebody waits for what is to be stored; no guest does. */
    broker_send_answers(b);
    apply_settings(b);
    broker_watch_pass(b);
    b->next_us = min_i64(b->next_us, broker_tend_ledger(b));
}

/* A request that the last pass has room for need not wait for another one,
 * which takes its time where there are thousands of domains.  True if nobody
 * waits any more. */
static bool
grant_spare(struct broker *b)
{
    uint64_t free_kib;

    if (!b->fresh || b->planner.queue.count == 0 ||
        b->now_us - b->last_pass_us > FRESH_US || !b->platform->ops->see_free ||
        b->platform->ops->see_free(b->platform, b->now_us, &free_kib))
        return false;
    /* Replies may call us again: for a pass, then. */
    b->urgent = false;
    b->next_us = max_i64(b->now_us, b->not_before_us);
    while (b->fresh && b->planner.queue.count > 0) {
        const struct request r = b->requests[0];
        const struct call call = b->calls[0];

        /* A domain of that UUID may just be coming. */
        if (call.planned || call.has_uuid ||
            !planner_grant_spare(&b->planner, &r, free_kib))
            break;
        broker_take_off_queue(b, 0);
        broker_grant(b, &r, &call, r.min_kib);
    }
    return b->planner.queue.count == 0 && !b->urgent;
}

void
broker_run(struct broker *b, int64_t now_us)
{
    struct snapshot snapshot;
    int64_t start_us;

    b->now_us = max_i64(b->now_us, now_us);
    broker_send_late_replies(b);
    if (b->urgent) {
        if (grant_spare(b))
            return;
        b->urgent = true;
    }
    if (!b->urgent && b->now_us < b->not_before_us && b->next_us <= b->now_us) {
        b->next_us = b->not_before_us;
        return;
    }
    b->urgent = false;
    b->next_us = TIME_NEVER_US;
    watch_reconnects(b);
    if (!b->loaded && !b->loading)
        broker_load(b);
    start_us = broker_clock(b);
    if (!look(b, &snapshot) || !b->loaded) {
        b->next_us = min_i64(b->next_us, broker_answer_unready(b));
        b->next_us = min_i64(b->next_us, b->now_us + RETRY_US);
    } else {
        decide_and_act(b, &snapshot);
        b->not_before_us = rest_until(b, broker_clock(b) - start_us);
    }
    answer_waiters(b);
    for (const struct waiter *w = b->waiters; w; w = w->next)
        b->next_us = min_i64(b->next_us, w->since_us + BALANCE_LIMIT_US);
    if (b->urgent || b->late)
        b->next_us = b->now_us;
}

/* ------------------------------------------------------- life and questions */

struct broker *
broker_new(const struct broker_options *options, struct platform *platform,
           int64_t now_us)
{
    struct broker *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->platform = platform;
    b->now_us = b->next_us = now_us;
    b->planner.queue.requests = b->requests;
    b->plan.answers = b->answers;
    ledger_init(&b->planner.ledger, b->entries, LIMIT_RESERVATIONS);
    if (!broker_make_room(b, 1)) {
        broker_free(b);
        return NULL;
    }
    broker_reconfigure(b, options, now_us);
    platform->hooks = (struct platform_hooks){ b, host_changed };
    return b;
}

void
broker_reconfigure(struct broker *b, const struct broker_options *options,
                   int64_t now_us)
{
    assert(options->planner.policy && options->planner.interval_us > 0);
    b->options = *options;
    b->planner.settings = options->planner;
    b->fresh = false;
    broker_wake_for_call(b, now_us);
}

void
broker_free(struct broker *b)
{
    if (!b)
        return;
    b->platform->hooks = (struct platform_hooks){ 0 };
    broker_detach_pending(b);
    broker_free_late_replies(b);
    while (b->waiters) {
        struct waiter *next = b->waiters->next;

        free(b->waiters);
        b->waiters = next;
    }
    broker_free_room(b);
    free(b->known);
    free(b->known_spare);
    free(b);
}

/* Questions are answered from what is there, not from what was there when
 * something last happened. */
static void
refresh(struct broker *b)
{
    struct snapshot snapshot;

    b->now_us = broker_clock(b);
    if (!b->host_visible || b->now_us - b->last_look_us < FRESH_US ||
        !look(b, &snapshot))
        return;
    host_look(&b->planner.host, &snapshot, &b->planner.ledger);
}

struct domain *
broker_find_domain(struct broker *b, uint32_t domid)
{
    struct snapshot snapshot;

    if (!b->platform->ops->look(b->platform, b->now_us, &snapshot) &&
        broker_make_room(b, snapshot.count))
        host_look(&b->planner.host, &snapshot, &b->planner.ledger);
    return host_find(&b->planner.host, domid);
}

bool
broker_has_domain(struct broker *b, uint32_t domid, int64_t now_us)
{
    b->now_us = max_i64(b->now_us, now_us);
    return host_find(&b->planner.host, domid) || broker_find_domain(b, domid);
}

void
broker_set_shares(struct broker *b, uint32_t domid, uint32_t shares)
{
    struct domain *d = host_find(&b->planner.host, domid);

    if (d)
        d->shares = shares;
}

const struct ledger_entry *
broker_reservation(struct broker *b, const char *id)
{
    return b->loaded ? ledger_find(&b->planner.ledger, id) : NULL;
}

struct planner *
broker_planner(struct broker *b)
{
    if (b->looked && b->loaded)
        refresh(b);
    return b->looked && b->loaded ? &b->planner : NULL;
}

const struct planner_settings *
broker_settings(const struct broker *b)
{
    return &b->planner.settings;
}

void
broker_view(const struct broker *b, struct broker_view *ret)
{
    *ret = (struct broker_view){
        .platform = b->platform->ops->name,
        .ready = b->looked && b->loaded && b->host_visible,
        .last_plan_us = b->last_plan_us,
        .last_writes = b->last_writes,
        .last_look_us = b->last_look_us,
        .target_writes = b->target_writes,
        .passes = b->passes,
        .thefts = b->thefts,
        .missing_kib = b->plan.missing_kib,
    };
    snprintf(ret->last_plan, sizeof ret->last_plan, "%s", b->last_plan);
}

const struct request *
broker_queued(const struct broker *b, size_t i, const char **ret_client)
{
    if (i >= b->planner.queue.count)
        return NULL;
    *ret_client = b->calls[i].client;
    return &b->requests[i];
}

const uint32_t *
broker_debtors(const struct broker *b, size_t *ret_count)
{
    *ret_count = b->plan.debtor_count;
    return b->plan.debtors;
}
