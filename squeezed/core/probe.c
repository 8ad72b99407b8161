/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/probe.h"

#include <assert.h>

bool
probe_is_candidate(const struct domain *d)
{
    return d->touchable && !d->movable && (d->facts.flags & DOMAIN_PROBE_READY);
}

bool
probe_is_running(const struct domain *d)
{
    return d->probe.started_us > 0;
}

/* 1 MiB less than it holds, where its range has room for that. */
static bool
order_less(const struct domain *d, struct probe_order *ret)
{
    uint64_t from_kib = min_u64(d->facts.target_kib, d->facts.actual_kib);

    ret->target_kib = sub_or_0(from_kib, PROBE_KIB);
    ret->limit_kib = d->facts.limit_kib;
    return from_kib >= PROBE_KIB && ret->target_kib >= d->lower_kib &&
           ret->target_kib <= d->upper_kib;
}

uint64_t
probe_order_cost_kib(const struct domain *d, const struct probe_order *order)
{
    const struct domain_facts *f = &d->facts;

    if (order->limit_kib <= f->limit_kib)
        return 0;
    return sub_or_0(order->limit_kib + f->extra_kib,
                    max_u64(f->actual_kib, f->limit_kib + f->extra_kib));
}

/* 1 MiB more, or its minimum. */
static bool
order_more(const struct domain *d, uint64_t room_kib, struct probe_order *ret)
{
    ret->target_kib = max_u64(d->facts.target_kib + PROBE_KIB, d->lower_kib);
    ret->limit_kib = max_u64(d->facts.limit_kib, ret->target_kib);
    return ret->target_kib <= d->upper_kib &&
           probe_order_cost_kib(d, ret) <= room_kib;
}

static bool
start(struct domain *d, uint64_t room_kib, int64_t now_us,
      struct probe_order *ret)
{
    struct probe *p = &d->probe;
    struct probe_order order;

    p->cramped = !order_less(d, &order) && !order_more(d, room_kib, &order);
    if (p->cramped)
        return false;
    p->started_us = now_us;
    p->actual_kib = d->facts.actual_kib;
    p->old_target_kib = d->facts.target_kib;
    p->old_limit_kib = d->facts.limit_kib;
    *ret = order;
    return true;
}

/* It went where it was sent. */
static bool
has_moved(const struct domain *d)
{
    const struct probe *p = &d->probe;
    bool down = d->facts.target_kib < p->old_target_kib;

    return down ? d->facts.actual_kib + PROBE_PROOF_KIB <= p->actual_kib
                : d->facts.actual_kib >= p->actual_kib + PROBE_PROOF_KIB;
}

/* In either case the guest gets its old target back, unless its range or its
 * limit no longer allow that. */
static void
restore(const struct domain *d, struct probe_order *ret)
{
    uint64_t target = d->probe.old_target_kib;

    if (target < d->lower_kib || target > d->upper_kib ||
        target > d->facts.limit_kib)
        target = d->facts.target_kib;
    ret->target_kib = target;
    ret->limit_kib =
        min_u64(d->facts.limit_kib, max_u64(d->probe.old_limit_kib, target));
}

static void
stop(struct domain *d, bool proven, int64_t now_us, struct probe_order *ret)
{
    struct probe *p = &d->probe;

    p->proven = proven;
    p->started_us = 0;
    p->stopped_us = now_us;
    p->pause_us = p->pause_us == 0
                      ? PROBE_PAUSE_US
                      : min_i64(2 * p->pause_us, PROBE_LONGEST_PAUSE_US);
    p->next_us = now_us + p->pause_us;
    restore(d, ret);
}

/* When the next one is due. */
static int64_t
due_us(const struct probe *p, bool eager)
{
    return eager ? min_i64(p->next_us, p->stopped_us + PROBE_EAGER_US)
                 : p->next_us;
}

bool
probe_look(struct domain *d, bool eager, uint64_t room_kib, int64_t now_us,
           struct probe_order *ret)
{
    struct probe *p = &d->probe;

    if (!probe_is_candidate(d)) {
        /* Paused or proven otherwise in the middle of it: whoever is in
         * charge of its target now sets it. */
        p->started_us = 0;
        return false;
    }
    if (!probe_is_running(d))
        return now_us >= due_us(p, eager) && start(d, room_kib, now_us, ret);
    if (has_moved(d)) {
        stop(d, true, now_us, ret);
        return true;
    }
    if (now_us - p->started_us < PROBE_US)
        return false;
    stop(d, false, now_us, ret);
    return true;
}

int64_t
probe_next_us(const struct domain *d, bool eager)
{
    if (!probe_is_candidate(d))
        return TIME_NEVER_US;
    if (probe_is_running(d))
        return d->probe.started_us + PROBE_US;
    return d->probe.cramped ? TIME_NEVER_US : due_us(&d->probe, eager);
}
