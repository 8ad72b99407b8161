/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/tally.h"

#include "squeezed/core/judge.h"
#include "squeezed/core/probe.h"

/* What a stuck guest holds beyond the highest target we may give it, or any
 * guest above the target at which it rests. */
static uint64_t
slack_kib(const struct domain *d, int64_t now_us)
{
    if (judge_is_stuck(d, now_us))
        return sub_or_0(d->held_kib, d->upper_kib);
    return judge_slack_kib(d);
}

enum {
    /* Building costs a little more than the domain gets (88 KiB for a PV
     * guest, measured): nobody is squeezed for that much. */
    BUILD_COST_KIB = 8 * KIB_PER_MIB
};

static bool
anything_is_built(const struct host *host)
{
    for (size_t i = 0; i < host->count; i++)
        if (host->domains[i].facts.flags & DOMAIN_BUILDING)
            return true;
    return false;
}

void
tally_take(struct tally *t, const struct planner *p, int64_t now_us)
{
    struct host_sums sums;

    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib,
             p->settings.cushion_kib, &sums);
    *t = (struct tally){ .headroom_kib = sums.headroom_kib };
    if (t->headroom_kib < 0 && anything_is_built(&p->host))
        t->relief_kib = min_i64(-t->headroom_kib, BUILD_COST_KIB);
    t->best_kib = t->headroom_kib + (int64_t)p->settings.cushion_kib;
    t->sure_kib = t->brisk_kib = t->best_kib;
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        int64_t held = (int64_t)d->held_kib;
        int64_t sure = held - (int64_t)judge_floor_kib(d, now_us);

        /* What the dying still hold is about to come free. */
        if (judge_is_leaving(d, now_us))
            t->unproven_kib += (int64_t)d->facts.actual_kib;
        if (probe_is_candidate(d))
            t->unproven_kib += max_i64(held - (int64_t)d->lower_kib, 0);
        if (!d->movable)
            continue;
        t->held_kib += d->held_kib;
        t->slack_kib += slack_kib(d, now_us);
        t->best_kib += held - (int64_t)d->lower_kib;
        t->sure_kib += sure;
        t->brisk_kib += judge_is_slow(d, now_us) ? min_i64(sure, 0) : sure;
    }
}

void
tally_spend(struct tally *t, uint64_t kib)
{
    t->headroom_kib -= (int64_t)kib;
    t->best_kib -= (int64_t)kib;
    t->sure_kib -= (int64_t)kib;
    t->brisk_kib -= (int64_t)kib;
}

enum err
tally_impossible(const struct tally *t, uint64_t min_kib, uint64_t ahead_kib,
                 int64_t *ret_free_kib)
{
    int64_t best = t->best_kib - (int64_t)ahead_kib;
    int64_t sure = t->sure_kib - (int64_t)ahead_kib;

    *ret_free_kib = min_i64(best, sure);
    if ((int64_t)min_kib > best)
        return ERR_CANNOT_FREE;
    return (int64_t)min_kib > sure ? ERR_UNCOOPERATIVE : ERR_NONE;
}

bool
tally_unproven_may_help(const struct tally *t, uint64_t min_kib,
                        uint64_t ahead_kib)
{
    return t->unproven_kib > 0 && (int64_t)min_kib <= t->sure_kib +
                                                          t->unproven_kib -
                                                          (int64_t)ahead_kib;
}
