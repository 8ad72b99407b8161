/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How guests move while time passes: evenly from one event to the next. */
#include "squeezed/platform/sim_internal.h"

void
sim_pass_instant(struct sim *s)
{
    for (size_t i = 0; i < s->count;) {
        struct sim_domain *d = &s->domains[i];
        bool balloon = sim_guest_has_balloon(d, s->now_us);

        if (sim_guest_is_dead(d, s->now_us)) {
            sim_delete(s, i);
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
    if (!sim_guest_moves_evenly(d))
        return; /* nothing but at its arrivals */
    if (stop > d->actual_kib)
        flow->grow_rate_kib += d->rate_kib;
    else if (stop < d->actual_kib)
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

void
sim_pass_time(struct sim *s, int64_t now_us)
{
    sim_pass_instant(s);
    while (s->now_us < now_us) {
        int64_t to_us = max_i64(next_event_us(s), s->now_us + 1);

        to_us = min_i64(to_us, now_us);
        shrink_until(s, to_us);
        grow_until(s, to_us);
        s->now_us = to_us;
        sim_pass_instant(s);
    }
}

void
sim_advance(struct platform *platform, int64_t now_us)
{
    struct sim *s = sim_of(platform);

    sim_pass_time(s, now_us);
    sim_tell_changed(s);
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
