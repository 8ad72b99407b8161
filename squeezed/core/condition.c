/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/condition.h"

static const char *const names[] = {
    [HOST_RELAXED] = "relaxed",
    [HOST_SQUEEZED] = "squeezed",
    [HOST_TIGHT] = "tight",
    [HOST_OVERLOADED] = "overloaded",
};

const char *
host_condition_name(enum host_condition condition)
{
    return names[condition];
}

static bool
is_overloaded(const struct planner *p)
{
    struct host_sums sums;

    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib,
             p->settings.cushion_kib, &sums);
    if (sums.headroom_kib < 0 &&
        (uint64_t)-sums.headroom_kib > p->settings.tolerance_kib)
        return true;
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];

        if (d->movable && d->facts.target_kib < d->lower_kib)
            return true;
    }
    return false;
}

enum host_condition
host_condition(const struct planner *p)
{
    uint64_t above_min = 0, below_max = 0;

    if (is_overloaded(p))
        return HOST_OVERLOADED;
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];

        if (!d->movable)
            continue;
        above_min += sub_or_0(d->facts.target_kib, d->lower_kib);
        below_max += sub_or_0(d->upper_kib, d->facts.target_kib);
    }
    if (below_max <= p->settings.tolerance_kib)
        return HOST_RELAXED;
    return above_min <= p->settings.tolerance_kib ? HOST_TIGHT : HOST_SQUEEZED;
}
