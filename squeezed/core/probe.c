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
start(struct domain *d, int64_t now_us, uint64_t *ret_target_kib)
{
    struct probe *p = &d->probe;
    uint64_t from_kib = min_u64(d->facts.target_kib, d->facts.actual_kib);
    uint64_t target_kib = sub_or_0(from_kib, PROBE_KIB);

    if (from_kib < PROBE_KIB || target_kib < d->lower_kib ||
        target_kib > d->upper_kib)
        return false;
    p->started_us = now_us;
    p->actual_kib = d->facts.actual_kib;
    p->old_target_kib = d->facts.target_kib;
    *ret_target_kib = target_kib;
    return true;
}

/* In either case the guest gets its old target back, unless its range or its
 * limit no longer allow that. */
static uint64_t
restored_target(const struct domain *d)
{
    uint64_t target = d->probe.old_target_kib;

    if (target < d->lower_kib || target > d->upper_kib ||
        target > d->facts.limit_kib)
        return d->facts.target_kib;
    return target;
}

static void
stop(struct domain *d, bool proven, int64_t now_us, uint64_t *ret_target_kib)
{
    struct probe *p = &d->probe;

    p->proven = proven;
    p->started_us = 0;
    p->stopped_us = now_us;
    p->pause_us = p->pause_us == 0
                      ? PROBE_PAUSE_US
                      : min_i64(2 * p->pause_us, PROBE_LONGEST_PAUSE_US);
    p->next_us = now_us + p->pause_us;
    *ret_target_kib = restored_target(d);
}

static bool
is_time(const struct probe *p, bool eager, int64_t now_us)
{
    return now_us >= p->next_us ||
           (eager && now_us - p->stopped_us >= PROBE_EAGER_US);
}

bool
probe_look(struct domain *d, bool eager, int64_t now_us,
           uint64_t *ret_target_kib)
{
    struct probe *p = &d->probe;

    if (!probe_is_candidate(d)) {
        /* Paused or proven otherwise in the middle of it: whoever is in
         * charge of its target now sets it. */
        p->started_us = 0;
        return false;
    }
    if (!probe_is_running(d))
        return is_time(p, eager, now_us) && start(d, now_us, ret_target_kib);
    if (d->facts.actual_kib + PROBE_PROOF_KIB <= p->actual_kib) {
        stop(d, true, now_us, ret_target_kib);
        return true;
    }
    if (now_us - p->started_us < PROBE_US)
        return false;
    stop(d, false, now_us, ret_target_kib);
    return true;
}

int64_t
probe_next_us(const struct domain *d)
{
    if (!probe_is_candidate(d))
        return TIME_NEVER_US;
    return probe_is_running(d) ? d->probe.started_us + PROBE_US
                               : d->probe.next_us;
}
