/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/tally.h"

#include "squeezed/core/appetite.h"
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

bool
tally_is_stuck_debtor(const struct domain *d, int64_t now_us)
{
    return d->movable && judge_is_stuck(d, now_us) &&
           d->held_kib > d->lower_kib;
}

static void
add_movable(struct tally *t, const struct domain *d, int64_t now_us)
{
    int64_t gives = (int64_t)d->held_kib - (int64_t)d->lower_kib;
    int64_t sure = gives;

    /* Most guests are neither stuck nor rest above their targets. */
    if (d->judgement.stuck_until_us > now_us || d->judgement.slack_kib > 0) {
        sure = (int64_t)d->held_kib - (int64_t)judge_floor_kib(d, now_us);
        t->slack_kib += slack_kib(d, now_us);
        t->indebted += tally_is_stuck_debtor(d, now_us);
    }
    t->lacking += gives < 0;
    t->held_kib += d->held_kib;
    t->best_kib += gives;
    t->sure_kib += sure;
    t->brisk_kib += judge_is_slow(d, now_us) ? min_i64(sure, 0) : sure;
    t->lagging += d->judgement.lagging;
    t->sated += d->judgement.sated_pages > 0 && appetite_is_capped(d);
    t->tended += judge_needs_poke(d, now_us) || judge_mark_changes(d, now_us);
}

void
tally_add(struct tally *t, const struct domain *d, int64_t now_us)
{
    if (d->movable) {
        add_movable(t, d, now_us);
        return;
    }
    /* What the dying still hold is about to come free. */
    if (judge_is_leaving(d, now_us)) {
        t->unproven_kib += (int64_t)d->facts.actual_kib;
        t->leaving++;
    }
    if (probe_is_candidate(d))
        t->unproven_kib +=
            max_i64((int64_t)d->held_kib - (int64_t)d->lower_kib, 0);
    t->probing += probe_is_candidate(d) || probe_is_running(d);
}

/* What a domain lacks of its minimum is squeezed out of others only if it can
 * be had: domids in front first.  The rest are left as they are, and out of
 * the sums. */
static void
find_hopeless(struct tally *t, const struct planner *p)
{
    /* The cushion is for requests. */
    int64_t can_kib = t->sure_kib - (int64_t)p->settings.cushion_kib;

    for (size_t i = 0; i < p->host.count; i++)
        if (p->host.domains[i].movable)
            can_kib += (int64_t)sub_or_0(p->host.domains[i].lower_kib,
                                         p->host.domains[i].held_kib);
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];
        int64_t lack_kib = (int64_t)sub_or_0(d->lower_kib, d->held_kib);

        if (!d->movable || lack_kib == 0)
            continue;
        d->hopeless = lack_kib > can_kib;
        if (!d->hopeless) {
            can_kib -= lack_kib;
            continue;
        }
        t->hopeless++;
        t->best_kib += lack_kib;
        t->sure_kib += lack_kib;
        t->brisk_kib += lack_kib;
    }
}

/* That is kept for their successors: nobody else's. */
static int64_t
kept_of_leaving_kib(const struct planner *p, int64_t now_us)
{
    uint64_t kib = 0;

    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];

        if (!d->movable && judge_is_leaving(d, now_us))
            kib += min_u64(d->facts.actual_kib, d->kept_kib);
    }
    return (int64_t)kib;
}

void
tally_end(struct tally *t, const struct planner *p, int64_t now_us)
{
    struct host_sums sums;
    int64_t there;

    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib,
             p->settings.cushion_kib, &sums);
    t->headroom_kib = sums.headroom_kib;
    if (t->headroom_kib < 0 && p->host.building > 0)
        t->relief_kib = min_i64(-t->headroom_kib, BUILD_COST_KIB);
    there = t->headroom_kib + (int64_t)p->settings.cushion_kib;
    t->best_kib += there;
    t->sure_kib += there;
    t->brisk_kib += there;
    if (t->leaving > 0)
        t->unproven_kib -= kept_of_leaving_kib(p, now_us);
    if (t->lacking > 0)
        find_hopeless(t, p);
}

void
tally_take(struct tally *t, const struct planner *p, int64_t now_us)
{
    *t = (struct tally){ 0 };
    for (size_t i = 0; i < p->host.count; i++)
        tally_add(t, &p->host.domains[i], now_us);
    tally_end(t, p, now_us);
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
