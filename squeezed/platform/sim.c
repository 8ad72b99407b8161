/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/sim_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------- the domains */

/* Where domid is, or would be. */
static size_t
place_of(const struct sim *s, uint32_t domid)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->domains[middle].domid < domid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sim_domain *
sim_lookup(const struct sim *s, uint32_t domid)
{
    size_t i = place_of(s, domid);

    return i < s->count && s->domains[i].domid == domid ? &s->domains[i] : NULL;
}

static bool
make_room(struct sim *s, size_t room)
{
    struct sim_domain *domains;
    struct domain_facts *facts;

    if (room <= s->room)
        return true;
    room = room + room / 2 + 16;
    domains = reallocarray(s->domains, room, sizeof *domains);
    if (domains)
        s->domains = domains;
    facts = reallocarray(s->facts, room, sizeof *facts);
    if (facts)
        s->facts = facts;
    if (!domains || !facts)
        return false;
    s->room = room;
    return true;
}

struct sim_domain *
sim_insert(struct sim *s, const struct scenario_domain *from, uint32_t index)
{
    size_t at = place_of(s, from->domid + index);

    if (!make_room(s, s->count + 1))
        return NULL;
    memmove(&s->domains[at + 1], &s->domains[at],
            (s->count - at) * sizeof *s->domains);
    s->count++;
    sim_guest_init(&s->domains[at], from, index, s->now_us);
    assert(s->domains[at].actual_kib <= s->free_kib);
    s->free_kib -= s->domains[at].actual_kib;
    return &s->domains[at];
}

void
sim_delete(struct sim *s, size_t at)
{
    s->free_kib += s->domains[at].actual_kib;
    s->count--;
    memmove(&s->domains[at], &s->domains[at + 1],
            (s->count - at) * sizeof *s->domains);
    s->changed = true;
}

/* ---------------------------------------------------------------- the hooks */

void
sim_tell_changed(struct sim *s)
{
    const struct platform_hooks *hooks = &s->platform.hooks;

    if (!s->changed || s->quiet)
        return;
    s->changed = false;
    if (hooks->changed)
        hooks->changed(hooks->context);
}

void
sim_wake(struct sim *s)
{
    if (s->wake)
        s->wake(s->wake_context);
}

void
sim_set_wake(struct platform *platform, void (*wake_driver)(void *context),
             void *context)
{
    sim_of(platform)->wake = wake_driver;
    sim_of(platform)->wake_context = context;
}

/* ------------------------------------------------------------------ the ops */

static uint32_t
flags_of(const struct sim_domain *d)
{
    return (d->managed ? DOMAIN_MANAGED : 0u) |
           (d->balloon && !d->building ? DOMAIN_BALLOON : 0u) |
           (d->paused ? DOMAIN_PAUSED : 0u) | (d->frozen ? DOMAIN_FROZEN : 0u) |
           (d->building ? DOMAIN_BUILDING : 0u) |
           (d->reboots ? DOMAIN_SHUTDOWN | DOMAIN_REBOOTS : 0u) |
           (d->dying ? DOMAIN_DYING : 0u) |
           (d->uncooperative ? DOMAIN_MARKED : 0u) |
           (d->range_error[0] ? DOMAIN_BAD_RANGE : 0u);
}

static void
fill_facts(const struct sim_domain *d, struct domain_facts *ret)
{
    *ret = (struct domain_facts){
        .domid = d->domid,
        .flags = flags_of(d),
        .actual_kib = d->actual_kib,
        /* Domain 0, when nobody manages it, stays as it is. */
        .limit_kib =
            d->domid == 0 && !d->managed ? d->actual_kib : d->limit_kib,
        .target_kib = d->target_kib,
        .static_min_kib = d->static_min_kib,
        .dynamic_min_kib = d->dynamic_min_kib,
        .dynamic_max_kib = d->dynamic_max_kib,
        .static_max_kib = d->static_max_kib,
        .ceiling_kib = d->ceiling_kib,
    };
    memcpy(ret->uuid, d->uuid, UUID_BYTES);
}

static enum err
sim_look(struct platform *platform, int64_t now_us, struct snapshot *ret)
{
    struct sim *s = sim_of(platform);
    size_t reboots = 0;

    s->quiet = true;
    sim_pass_time(s, now_us);
    s->quiet = false;
    for (size_t i = 0; i < s->count; i++) {
        fill_facts(&s->domains[i], &s->facts[i]);
        reboots += s->domains[i].reboots;
    }
    *ret = (struct snapshot){
        .total_kib = s->memory_kib,
        .free_kib = s->free_kib,
        .domains = s->facts,
        .count = s->count,
        .reboots = reboots,
    };
    return ERR_NONE;
}

static enum err
sim_see_free(struct platform *platform, int64_t now_us, uint64_t *ret_kib)
{
    struct sim *s = sim_of(platform);

    if (s->now_us < now_us)
        sim_pass_time(s, now_us);
    *ret_kib = s->free_kib;
    return ERR_NONE;
}

static void
sim_apply(struct platform *platform, const struct setting *settings,
          size_t count)
{
    struct sim *s = sim_of(platform);

    for (size_t i = 0; i < count; i++) {
        struct sim_domain *d = sim_lookup(s, settings[i].domid);

        if (!d)
            continue;
        if (settings[i].mark != MARK_AS_IT_IS)
            d->uncooperative = settings[i].mark == MARK_UNCOOPERATIVE;
        d->limit_kib = settings[i].limit_kib;
        if (d->target_kib == settings[i].target_kib)
            continue;
        d->target_kib = settings[i].target_kib;
        d->target_writes++;
        s->target_writes++;
        sim_guest_notice(d, s->now_us);
    }
    sim_pass_instant(s);
    sim_wake(s);
}

static void
set_transferred_limit(void *context, uint32_t domid, uint64_t limit_kib)
{
    struct sim *s = context;
    struct sim_domain *d = sim_lookup(s, domid);

    if (d)
        d->limit_kib = limit_kib;
}

static void
sim_persist(struct platform *platform, const struct ledger_change *changes,
            size_t count, platform_done *done, void *arg)
{
    struct sim *s = sim_of(platform);

    sim_store_change(&s->store, changes, count, s->now_us, done, arg);
    sim_wake(s);
}

static void
sim_load(struct platform *platform, platform_loaded *done, void *arg)
{
    struct sim *s = sim_of(platform);

    sim_store_load(&s->store, s->now_us, done, arg);
    sim_wake(s);
}

static bool
carry_out(struct platform *platform, uint32_t domid,
          const struct domain_order *order)
{
    switch (order->kind) {
    case ORDER_RANGE:
        return sim_write_range(platform, domid, &order->min_kib,
                               &order->max_kib);
    case ORDER_CEILING:
        return sim_set_ceiling(platform, domid, order->target_kib);
    case ORDER_AUTO:
        return sim_set_ceiling(platform, domid, CEILING_NONE);
    case ORDER_FREEZE:
    case ORDER_THAW:
        return sim_freeze(platform, domid, order->kind == ORDER_FREEZE);
    }
    return false;
}

static void
sim_order(struct platform *platform, uint32_t domid,
          const struct domain_order *order, platform_done *done, void *arg)
{
    struct sim *s = sim_of(platform);
    bool there = carry_out(platform, domid, order);

    sim_store_complete(&s->store, there ? ERR_NONE : ERR_NOT_FOUND, s->now_us,
                       done, arg);
    sim_wake(s);
}

static bool
sim_describe(struct platform *platform, uint32_t domid, struct domain_text *ret)
{
    const struct sim_domain *d = sim_find(platform, domid);

    if (!d)
        return false;
    snprintf(ret->name, sizeof ret->name, "%s", d->name);
    snprintf(ret->type, sizeof ret->type, "%s", guest_type_name(d->type));
    snprintf(ret->range_error, sizeof ret->range_error, "%s", d->range_error);
    return true;
}

static void
sim_health(struct platform *platform, struct platform_health *ret)
{
    (void)platform;
    *ret = (struct platform_health){ .connected = true };
}

static void
sim_free(struct platform *platform)
{
    struct sim *s = sim_of(platform);

    sim_store_done(&s->store);
    free(s->domains);
    free(s->facts);
    free(s);
}

static const struct platform_ops sim_ops = {
    .name = "sim",
    .look = sim_look,
    .see_free = sim_see_free,
    .apply = sim_apply,
    .persist = sim_persist,
    .load = sim_load,
    .order = sim_order,
    .describe = sim_describe,
    .health = sim_health,
    .free = sim_free,
};

struct platform *
sim_platform_new(const struct scenario *scenario, int64_t now_us)
{
    struct sim *s = calloc(1, sizeof *s);
    bool good = s != NULL && make_room(s, 1);

    if (!s)
        return NULL;
    s->platform.ops = &sim_ops;
    s->now_us = now_us;
    s->memory_kib = s->free_kib = scenario->memory_kib;
    sim_store_init(&s->store, set_transferred_limit, s);
    for (size_t i = 0; good && i < scenario->domain_count; i++)
        for (uint32_t k = 0; good && k < scenario->domains[i].count; k++)
            good = sim_insert(s, &scenario->domains[i], k) != NULL;
    if (!good) {
        sim_free(&s->platform);
        return NULL;
    }
    sim_pass_instant(s);
    return &s->platform;
}

void
sim_set_seed(struct platform *platform, uint64_t seed)
{
    sim_of(platform)->seed = seed % LIMIT_DOMAINS;
}

/* ---------------------------------------------------------------- the store */

void
sim_deliver(struct platform *platform)
{
    struct sim *s = sim_of(platform);

    sim_store_deliver(&s->store, s->now_us);
}

void
sim_set_latency(struct platform *platform, int64_t latency_us)
{
    sim_of(platform)->store.latency_us = latency_us;
}

void
sim_fail_persist(struct platform *platform, unsigned nth, enum err error)
{
    sim_of(platform)->store.fail_nth = nth;
    sim_of(platform)->store.fail_error = error;
}

void
sim_settle_store(struct platform *platform, bool lost)
{
    sim_store_settle(&sim_of(platform)->store, lost);
}

void
sim_lose_store(struct platform *platform)
{
    sim_of(platform)->store.count = 0;
}

const struct ledger_entry *
sim_ledger(const struct platform *platform, size_t *ret_count)
{
    const struct sim *s = const_sim_of(platform);

    *ret_count = s->store.count;
    return s->store.entries;
}

/* ---------------------------------------------------------------- questions */

const struct sim_domain *
sim_domains(const struct platform *platform, size_t *ret_count)
{
    *ret_count = const_sim_of(platform)->count;
    return const_sim_of(platform)->domains;
}

const struct sim_domain *
sim_find(const struct platform *platform, uint32_t domid)
{
    return sim_lookup(const_sim_of(platform), domid);
}

uint64_t
sim_free_kib(const struct platform *platform)
{
    return const_sim_of(platform)->free_kib;
}

uint64_t
sim_consumed_kib(const struct platform *platform)
{
    return const_sim_of(platform)->consumed_kib;
}

uint64_t
sim_target_writes(const struct platform *platform)
{
    return const_sim_of(platform)->target_writes;
}

bool
sim_adds_up(const struct platform *platform)
{
    const struct sim *s = const_sim_of(platform);
    uint64_t sum = s->free_kib + s->consumed_kib;

    for (size_t i = 0; i < s->count; i++) {
        sum += s->domains[i].actual_kib;
        if (i > 0 && s->domains[i].domid <= s->domains[i - 1].domid)
            return false;
    }
    return sum == s->memory_kib;
}
