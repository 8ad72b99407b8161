/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/sim.h"

#include "squeezed/platform/sim_store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim {
    struct platform platform; /* first: the ops get a pointer to it */
    int64_t now_us;
    uint64_t memory_kib;
    uint64_t free_kib;
    uint64_t consumed_kib;
    uint64_t target_writes;     /* of all, those that have gone too */
    struct sim_domain *domains; /* ascending domids */
    size_t count;
    size_t room;
    struct domain_facts *facts; /* of the last look; as much room */
    struct sim_store store;
    uint64_t seed;
    bool quiet;   /* no hooks in the middle of the broker's look */
    bool changed; /* the hook is due */
    void (*wake)(void *context);
    void *wake_context;
};

static struct sim *
sim_of(struct platform *platform)
{
    return (struct sim *)platform;
}

static const struct sim *
const_sim_of(const struct platform *platform)
{
    return (const struct sim *)platform;
}

/* ------------------------------------------------------------ the domains */

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

static struct sim_domain *
find(const struct sim *s, uint32_t domid)
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

/* Its memory comes out of what is free.  NULL: no memory of our own. */
static struct sim_domain *
insert(struct sim *s, const struct scenario_domain *from, uint32_t index)
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

static void delete (struct sim *s, size_t at)
{
    s->free_kib += s->domains[at].actual_kib;
    s->count--;
    memmove(&s->domains[at], &s->domains[at + 1],
            (s->count - at) * sizeof *s->domains);
    s->changed = true;
}

static void
tell_changed(struct sim *s)
{
    const struct platform_hooks *hooks = &s->platform.hooks;

    if (!s->changed || s->quiet)
        return;
    s->changed = false;
    if (hooks->changed)
        hooks->changed(hooks->context);
}

/* ------------------------------------------------------------------- time */

/* What is due at this very instant, movement aside. */
static void
pass_instant(struct sim *s)
{
    for (size_t i = 0; i < s->count;) {
        struct sim_domain *d = &s->domains[i];
        bool balloon = sim_guest_has_balloon(d, s->now_us);

        if (sim_guest_is_dead(d, s->now_us)) {
            delete (s, i);
            continue;
        }
        s->changed |= balloon != d->balloon;
        d->balloon = balloon;
        if (d->building && d->actual_kib >= d->build_kib) {
            d->building = false;
            if (d->built_limit_kib > 0)
                d->limit_kib = d->built_limit_kib;
            s->changed = true;
        }
        sim_guest_instant(d, s->free_kib == 0, s->now_us);
        i++;
    }
}

static bool
wants_to_grow(const struct sim *s, const struct sim_domain *d)
{
    return sim_guest_stop_kib(d, s->now_us) > d->actual_kib;
}

static void
shrink_until(struct sim *s, int64_t to_us)
{
    for (size_t i = 0; i < s->count; i++) {
        struct sim_domain *d = &s->domains[i];
        uint64_t kib;

        if (wants_to_grow(s, d))
            continue;
        kib = sim_guest_step_kib(d, s->now_us, to_us);
        sim_guest_move(d, kib, false, false);
        s->free_kib += kib;
    }
}

static void
grow_until(struct sim *s, int64_t to_us)
{
    for (size_t i = 0; i < s->count; i++) {
        struct sim_domain *d = &s->domains[(i + s->seed) % s->count];
        uint64_t want, kib;

        if (!wants_to_grow(s, d))
            continue;
        want = sim_guest_step_kib(d, s->now_us, to_us);
        kib = min_u64(want, s->free_kib);
        sim_guest_move(d, kib, true, kib < want);
        s->free_kib -= kib;
    }
}

/* What all guests together are about to do. */
struct flow {
    int64_t event_us;   /* the next event of one of them */
    int64_t arrival_us; /* the next arrival */
    uint64_t growth_kib;
    uint64_t grow_rate_kib; /* a second */
    uint64_t shrink_rate_kib;
};

static void
add_to_flow(const struct sim *s, const struct sim_domain *d, struct flow *flow)
{
    uint64_t stop = sim_guest_stop_kib(d, s->now_us);
    int64_t event = sim_guest_event_us(d, s->now_us);
    int64_t arrival = sim_guest_arrival_us(d, s->free_kib, s->now_us);

    flow->event_us = min_i64(flow->event_us, event);
    flow->arrival_us = min_i64(flow->arrival_us, arrival);
    flow->growth_kib += sub_or_0(stop, d->actual_kib);
    if (stop > d->actual_kib)
        flow->grow_rate_kib += d->rate_kib;
    else if (stop < d->actual_kib && d->guest.kind != GUEST_CRAWL)
        flow->shrink_rate_kib += d->rate_kib;
}

/* When those that grow will have taken all that is free. */
static int64_t
exhausted_us(const struct sim *s, const struct flow *flow)
{
    uint64_t net = sub_or_0(flow->grow_rate_kib, flow->shrink_rate_kib);
    uint64_t us;

    if (net == 0 || s->free_kib == 0)
        return TIME_NEVER_US;
    us = mul_div(s->free_kib, US_PER_S, net);
    return us < INT64_MAX / 2 ? s->now_us + (int64_t)us : TIME_NEVER_US;
}

/* The next event, up to which all guests move evenly.  As long as there is
 * memory enough for all that grow, nobody's arrival matters to others. */
static int64_t
next_event_us(const struct sim *s)
{
    struct flow flow = { .event_us = TIME_NEVER_US,
                         .arrival_us = TIME_NEVER_US };

    for (size_t i = 0; i < s->count; i++)
        add_to_flow(s, &s->domains[i], &flow);
    if (flow.growth_kib <= s->free_kib)
        return flow.event_us;
    return min_i64(min_i64(flow.event_us, flow.arrival_us),
                   exhausted_us(s, &flow));
}

static void
advance(struct sim *s, int64_t now_us)
{
    pass_instant(s);
    while (s->now_us < now_us) {
        int64_t to_us = max_i64(next_event_us(s), s->now_us + 1);

        to_us = min_i64(to_us, now_us);
        shrink_until(s, to_us);
        grow_until(s, to_us);
        s->now_us = to_us;
        pass_instant(s);
    }
}

void
sim_advance(struct platform *platform, int64_t now_us)
{
    struct sim *s = sim_of(platform);

    advance(s, now_us);
    tell_changed(s);
}

int64_t
sim_next_us(const struct platform *platform)
{
    const struct sim *s = const_sim_of(platform);
    int64_t next = sim_store_next_us(&s->store);

    for (size_t i = 0; i < s->count; i++) {
        const struct sim_domain *d = &s->domains[i];

        next = min_i64(next, sim_guest_event_us(d, s->now_us));
        next = min_i64(next, sim_guest_arrival_us(d, s->free_kib, s->now_us));
    }
    return next;
}

bool
sim_at_rest(const struct platform *platform)
{
    const struct sim *s = const_sim_of(platform);

    for (size_t i = 0; i < s->count; i++)
        if (sim_guest_moves(&s->domains[i], s->free_kib, s->now_us))
            return false;
    return true;
}

/* ---------------------------------------------------------------- the ops */

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
    advance(s, now_us);
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
        advance(s, now_us);
    *ret_kib = s->free_kib;
    return ERR_NONE;
}

/* The driver has to ask anew when we are due. */
static void
wake(struct sim *s)
{
    if (s->wake)
        s->wake(s->wake_context);
}

static void
sim_apply(struct platform *platform, const struct setting *settings,
          size_t count)
{
    struct sim *s = sim_of(platform);

    for (size_t i = 0; i < count; i++) {
        struct sim_domain *d = find(s, settings[i].domid);

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
    pass_instant(s);
    wake(s);
}

static void
set_transferred_limit(void *context, uint32_t domid, uint64_t limit_kib)
{
    struct sim *s = context;
    struct sim_domain *d = find(s, domid);

    if (d)
        d->limit_kib = limit_kib;
}

static void
sim_persist(struct platform *platform, const struct ledger_change *changes,
            size_t count, platform_done *done, void *arg)
{
    struct sim *s = sim_of(platform);

    sim_store_change(&s->store, changes, count, s->now_us, done, arg);
    wake(s);
}

static void
sim_load(struct platform *platform, platform_loaded *done, void *arg)
{
    struct sim *s = sim_of(platform);

    sim_store_load(&s->store, s->now_us, done, arg);
    wake(s);
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
    wake(s);
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
            good = insert(s, &scenario->domains[i], k) != NULL;
    if (!good) {
        sim_free(&s->platform);
        return NULL;
    }
    pass_instant(s);
    return &s->platform;
}

void
sim_set_wake(struct platform *platform, void (*wake_driver)(void *context),
             void *context)
{
    sim_of(platform)->wake = wake_driver;
    sim_of(platform)->wake_context = context;
}

void
sim_set_seed(struct platform *platform, uint64_t seed)
{
    sim_of(platform)->seed = seed % LIMIT_DOMAINS;
}

/* --------------------------------------------------------------- the store */

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

/* ----------------------------------------------------- what others do to it */

/* Something of the guest was changed from outside. */
static void
touched(struct sim *s, bool tell)
{
    pass_instant(s);
    s->changed |= tell;
    tell_changed(s);
    wake(s);
}

enum err
sim_build(struct platform *platform, const struct scenario_domain *from,
          uint64_t build_kib, bool limited)
{
    struct sim *s = sim_of(platform);
    struct scenario_domain empty = *from;
    struct sim_domain *d;

    if (find(s, from->domid))
        return ERR_EXISTS;
    empty.actual_kib = 0;
    d = insert(s, &empty, 0);
    if (!d)
        return ERR_NO_MEMORY;
    d->building = true;
    d->build_kib = page_down(build_kib);
    d->limit_kib = limited ? d->build_kib : 0;
    d->built_limit_kib = from->given & GIVEN_LIMIT ? from->limit_kib : 0;
    touched(s, true);
    return ERR_NONE;
}

bool
sim_destroy(struct platform *platform, uint32_t domid)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        delete (s, (size_t)(d - s->domains));
        touched(s, true);
    }
    return d != NULL;
}

bool
sim_pause(struct platform *platform, uint32_t domid, bool paused)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        d->paused = paused;
        touched(s, true);
    }
    return d != NULL;
}

bool
sim_reboot(struct platform *platform, uint32_t domid)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        d->reboots = true;
        d->paused = true; /* it moves no more */
        touched(s, true);
    }
    return d != NULL;
}

bool
sim_drain(struct platform *platform, uint32_t domid, uint64_t kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        kib = min_u64(kib, d->actual_kib);
        d->dying = true;
        d->actual_kib -= kib;
        s->free_kib += kib;
        touched(s, true);
    }
    return d != NULL;
}

bool
sim_freeze(struct platform *platform, uint32_t domid, bool frozen)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        d->frozen = frozen;
        touched(s, true);
    }
    return d != NULL;
}

bool
sim_set_ceiling(struct platform *platform, uint32_t domid, uint64_t ceiling_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        d->ceiling_kib = ceiling_kib;
        touched(s, true);
    }
    return d != NULL;
}

static void
take_range(struct sim_domain *d, uint64_t min_kib, uint64_t max_kib)
{
    if (d->static_min_kib <= min_kib && min_kib <= max_kib &&
        max_kib <= d->static_max_kib) {
        d->managed = true;
        d->dynamic_min_kib = min_kib;
        d->dynamic_max_kib = max_kib;
        d->range_error[0] = '\0';
        return;
    }
    snprintf(d->range_error, sizeof d->range_error,
             "dynamic-min %" PRIu64 ", dynamic-max %" PRIu64
             " KiB: static-min %" PRIu64 " <= min <= max <= static-max %" PRIu64
             " must hold",
             min_kib, max_kib, d->static_min_kib, d->static_max_kib);
}

bool
sim_write_range(struct platform *platform, uint32_t domid,
                const uint64_t *min_kib, const uint64_t *max_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (!d)
        return false;
    if (min_kib && max_kib) {
        take_range(d, *min_kib, *max_kib);
    } else {
        d->managed = false;
        d->range_error[0] = '\0';
    }
    touched(s, true);
    return true;
}

static uint64_t
ceiling_of(const struct sim_domain *d, uint64_t target_kib)
{
    uint64_t lower_kib = max_u64(d->static_min_kib, d->dynamic_min_kib);
    uint64_t upper_kib = min_u64(d->dynamic_max_kib, d->static_max_kib);

    return max_u64(min_u64(target_kib, upper_kib), page_up(lower_kib));
}

bool
sim_write_target(struct platform *platform, uint32_t domid, uint64_t target_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (!d)
        return false;
    d->target_kib = page_down(target_kib);
    /* The manual method: the most that it is to have. */
    if (d->managed && !d->building)
        d->ceiling_kib = ceiling_of(d, d->target_kib);
    sim_guest_notice(d, s->now_us);
    touched(s, true);
    return true;
}

bool
sim_set_guest(struct platform *platform, uint32_t domid,
              const struct guest_behaviour *guest)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        bool balloon = d->balloon;

        sim_guest_behave(d, guest, s->now_us);
        touched(s, d->balloon != balloon);
    }
    return d != NULL;
}

bool
sim_set_used(struct platform *platform, uint32_t domid, uint64_t used_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = find(s, domid);

    if (d) {
        d->used_kib = used_kib;
        touched(s, false);
    }
    return d != NULL;
}

int64_t
sim_consume(struct platform *platform, int64_t kib)
{
    struct sim *s = sim_of(platform);

    kib = min_i64(kib, (int64_t)s->free_kib);
    kib = max_i64(kib, -(int64_t)s->consumed_kib);
    s->free_kib = (uint64_t)((int64_t)s->free_kib - kib);
    s->consumed_kib = (uint64_t)((int64_t)s->consumed_kib + kib);
    touched(s, true);
    return kib;
}

/* --------------------------------------------------------------- questions */

const struct sim_domain *
sim_domains(const struct platform *platform, size_t *ret_count)
{
    *ret_count = const_sim_of(platform)->count;
    return const_sim_of(platform)->domains;
}

const struct sim_domain *
sim_find(const struct platform *platform, uint32_t domid)
{
    return find(const_sim_of(platform), domid);
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
