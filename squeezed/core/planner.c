/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/planner.h"

#include "squeezed/core/appetite.h"
#include "squeezed/core/judge.h"
#include "squeezed/core/motion.h"
#include "squeezed/core/probe.h"
#include "squeezed/core/shares.h"
#include "squeezed/core/targets.h"

#include <assert.h>

enum {
    /* libxl's limits are 1 MiB above what it builds; as much again for what a
     * guest gave back while it booted. */
    BUILT_SLACK_KIB = 2 * KIB_PER_MIB,
    /* While something moves. */
    SPARE_NONE_KIB = -1
};

/* ------------------------------------------------------------- the look */

/* A built domain holds its promise, or all that its limit lets it have: the
 * rest of the promise went into its overhead (shadow, page tables). */
static bool
holds(const struct domain *d, uint64_t amount_kib)
{
    const struct domain_facts *f = &d->facts;

    return f->actual_kib >= amount_kib ||
           f->actual_kib + BUILT_SLACK_KIB >= f->limit_kib;
}

/* A promise is over when its domain runs and holds it, or is proven to
 * balloon: from then on actual and limit say what it may take. */
static void
end_promises(struct planner *p)
{
    const uint32_t still = DOMAIN_BUILDING | DOMAIN_PAUSED;
    bool ended = false;

    for (size_t i = 0; i < p->ledger.count; i++) {
        struct ledger_entry *e = &p->ledger.entries[i];
        const struct domain *d;

        if (!e->transferred || e->over || e->storing)
            continue;
        d = host_find(&p->host, e->domid);
        if (d && !(d->facts.flags & still) &&
            (d->movable || holds(d, e->amount_kib)))
            ended = e->over = true;
    }
    if (ended)
        host_set_promises(&p->host, &p->ledger);
}

/* ------------------------------------------------------------- the queue */

/* What it has to have beyond what is kept for it, */
static uint64_t
least_kib(const struct request *r)
{
    return sub_or_0(r->min_kib, r->kept_kib);
}

/* and what it may have. */
static uint64_t
most_kib(const struct request *r)
{
    return sub_or_0(r->max_kib, r->kept_kib);
}

/* What is kept for it will do, and is there: whoever else waits, and whatever
 * for. */
static bool
is_covered(const struct planner *p, const struct tally *t,
           const struct request *r)
{
    int64_t spare = (int64_t)p->settings.cushion_kib + t->relief_kib;

    return r->kept_kib > 0 && least_kib(r) == 0 && t->headroom_kib + spare >= 0;
}

/* The policy's share of its range; what is kept for it is part of that. */
static uint64_t
fair_share(struct planner *p, const struct tally *t, const struct request *r,
           uint64_t ahead_kib)
{
    struct tally with_kept = *t;

    with_kept.headroom_kib += (int64_t)r->kept_kib;
    return sub_or_0(
        shares_of_range(p, &with_kept, r->min_kib, r->max_kib, ahead_kib),
        r->kept_kib);
}

/* What `request` should get, with wants ahead of it as they are: its fixed
 * amount, or for a range the policy's share; never more than can be had. */
static uint64_t
want_of(struct planner *p, const struct tally *t, const struct request *r,
        uint64_t ahead_kib)
{
    uint64_t least = least_kib(r), most = most_kib(r), want = r->want_kib;
    int64_t sure = t->sure_kib - (int64_t)ahead_kib;
    int64_t brisk = t->brisk_kib - (int64_t)ahead_kib;

    if (least == most)
        return least;
    if (want == 0)
        want = fair_share(p, t, r, ahead_kib);
    if ((int64_t)want > sure)
        want = page_down(or_0(sure));
    if ((int64_t)want > brisk)
        want = page_down(or_0(brisk));
    return max_u64(min_u64(want, most), least);
}

uint64_t
planner_amount_kib(const struct request *r)
{
    return min_u64(max_u64(r->want_kib + r->kept_kib, r->min_kib), r->max_kib);
}

static void
grant(struct plan *plan, const struct request *r, uint64_t beyond_kib)
{
    plan->answers[plan->answer_count++] = (struct answer){
        .seq = r->seq,
        .amount_kib = min_u64(beyond_kib + r->kept_kib, r->max_kib),
    };
}

static void
refuse(struct plan *plan, const struct request *r, enum err error,
       int64_t free_kib)
{
    uint64_t had_kib = page_down(or_0(free_kib + (int64_t)r->kept_kib));

    plan->answers[plan->answer_count++] = (struct answer){
        .seq = r->seq,
        .error = error,
        .needed_kib = r->min_kib,
        .free_kib = had_kib,
        .short_kib = sub_or_0(r->min_kib, had_kib),
    };
}

/* At the deadline a range takes what is there, if that is enough. */
static void
expire(const struct planner *p, const struct tally *t, const struct request *r,
       int64_t here_kib, uint64_t ahead_kib, struct plan *plan)
{
    int64_t free_kib;

    if (!r->kept_comes &&
        (is_covered(p, t, r) || here_kib >= (int64_t)least_kib(r))) {
        grant(plan, r, page_down(or_0(here_kib)));
        return;
    }
    tally_impossible(t, least_kib(r), ahead_kib, &free_kib);
    refuse(plan, r, ERR_TIMEOUT, free_kib);
}

/* Answers the request if that can be done now.  `here` is what it could have
 * at once.  Returns what it still wants. */
static uint64_t
serve_request(struct planner *p, const struct tally *t, struct request *r,
              int64_t here_kib, uint64_t ahead_kib, int64_t now_us,
              struct plan *plan)
{
    uint64_t least = least_kib(r);
    bool covered = is_covered(p, t, r);
    int64_t free_kib;
    enum err error =
        tally_impossible(t, least, least > 0 ? ahead_kib : 0, &free_kib);

    if (covered)
        error = ERR_NONE;
    if (error && !r->wait &&
        (now_us - r->submitted_us >= PROBE_REQUEST_US ||
         !tally_unproven_may_help(t, least, ahead_kib))) {
        refuse(plan, r, error, free_kib);
        return 0;
    }
    if (error) {
        if (r->deadline_us <= now_us)
            refuse(plan, r, ERR_TIMEOUT, free_kib);
        return 0;
    }
    r->want_kib = want_of(p, t, r, ahead_kib);
    if (!r->kept_comes &&
        ((int64_t)r->want_kib <= here_kib || (covered && r->want_kib == 0))) {
        grant(plan, r, r->want_kib);
        return 0;
    }
    if (r->deadline_us <= now_us) {
        expire(p, t, r, here_kib, ahead_kib, plan);
        return 0;
    }
    return r->want_kib;
}

/* First come, first served: a later request gets only what is beyond the
 * unmet wants ahead of it.  What is granted leaves the tally. */
static void
serve_queue(struct planner *p, struct tally *t, struct plan *plan,
            int64_t now_us)
{
    uint64_t ahead = 0;

    for (size_t i = 0; i < p->queue.count; i++) {
        size_t answered = plan->answer_count;
        int64_t here =
            t->headroom_kib + (int64_t)p->settings.cushion_kib - (int64_t)ahead;

        ahead += serve_request(p, t, &p->queue.requests[i], here, ahead, now_us,
                               plan);
        if (plan->answer_count > answered)
            tally_spend(t, sub_or_0(plan->answers[answered].amount_kib,
                                    p->queue.requests[i].kept_kib));
    }
    plan->unmet_kib = ahead;
}

/* ------------------------------------------------------------- laggards */

/* What has yet to come free for those who wait; 0 if nobody does. */
static int64_t
needed_kib(const struct planner *p, const struct tally *t, uint64_t unmet_kib)
{
    if (unmet_kib == 0)
        return 0;
    return max_i64((int64_t)unmet_kib - t->headroom_kib -
                       (int64_t)p->settings.cushion_kib,
                   KIB_PER_PAGE);
}

/* Nobody waits: nobody lags, but those that were stuck. */
static void
relax_laggards(struct planner *p, struct tally *t)
{
    if (t->lagging == 0)
        return;
    t->lagging = 0;
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        judge_relax(d);
        t->lagging += d->movable && d->judgement.lagging;
    }
}

/* Half as long again as all need together at their rates, and more than a
 * look; -1 if no rate is known. */
static int64_t
patience_us(int64_t remaining_us)
{
    return remaining_us < 0
               ? -1
               : remaining_us + remaining_us / 2 + 2 * (int64_t)LOOK_WAITING_US;
}

/* Who won't be done by then, where that holds the others up.  A guest that is
 * slow with what nobody waits for does not lag. */
static void
find_new_laggards(struct planner *p, struct tally *t, const struct motion *m,
                  int64_t need_kib, int64_t now_us)
{
    int64_t remaining = motion_least_us(m, p, need_kib, now_us);
    int64_t patience = patience_us(remaining), gifts = 0;

    for (size_t i = 0; i < p->host.count; i++)
        gifts += (int64_t)judge_gift_kib(&p->host.domains[i], patience, now_us);
    if (gifts >= need_kib)
        return;
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];
        const struct domain_facts *f = &d->facts;

        if (!d->movable || !d->judgement.working)
            continue;
        if (d->judgement.lagging) {
            if (judge_fell_short(d, now_us))
                judge_lag(d, remaining, now_us);
        } else if (judge_gift_kib(d, patience, now_us) <
                   sub_or_0(f->actual_kib, f->target_kib)) {
            judge_lag(d, remaining, now_us);
            t->lagging++;
        }
    }
}

/* ------------------------------------------------------------ what is left */

/* The guests that owe memory.  When a request failed: the stuck ones, or
 * where there are none those that rest above their targets; else, and for a
 * deadline, whoever is still at work, too. */
static void
list_debtors(const struct planner *p, const struct tally *t, struct plan *plan,
             int64_t now_us)
{
    bool failed = false;

    if (plan->answer_count == 0 && p->queue.count == 0)
        return;
    for (size_t i = 0; i < plan->answer_count; i++)
        failed |= plan->answers[i].error == ERR_UNCOOPERATIVE;
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        bool owes = tally_is_stuck_debtor(d, now_us);

        if (failed)
            owes |=
                t->indebted == 0 && d->movable && d->judgement.slack_kib > 0;
        else
            owes |= d->judgement.working;
        if (owes)
            plan->debtors[plan->debtor_count++] = d->facts.domid;
    }
}

/* When its time for the unproven, or all of its time, is up. */
static int64_t
request_event_us(const struct request *r, int64_t now_us)
{
    int64_t end_us = r->submitted_us + PROBE_REQUEST_US;
    int64_t event_us =
        end_us > now_us ? min_i64(end_us, r->deadline_us) : r->deadline_us;

    return max_i64(event_us, now_us + LOOK_SOON_US);
}

static void
plan_next_look(const struct planner *p, const struct motion *motion,
               struct plan *plan, int64_t need_kib, int64_t now_us)
{
    struct motion m = *motion;

    plan->settled =
        plan->setting_count == 0 && plan->unmet_kib == 0 && !m.moves;
    m.moves |= plan->setting_count > 0;
    plan->next_us =
        now_us + motion_wait_us(&m, need_kib, p->settings.interval_us);
    plan->next_us = min_i64(plan->next_us, m.probe_us);
    for (size_t i = 0; i < p->queue.count; i++)
        plan->next_us = min_i64(
            plan->next_us, request_event_us(&p->queue.requests[i], now_us));
}

/* A cushion that is lent, and what building costs, are no overload. */
static enum plan_why
why(const struct planner *p, const struct tally *t, const struct plan *plan)
{
    int64_t spare = (int64_t)p->settings.cushion_kib + t->relief_kib;

    if (plan->setting_count == 0 && plan->answer_count == 0)
        return PLAN_NOTHING;
    if (plan->unmet_kib > 0 || plan->answer_count > 0)
        return PLAN_REQUEST;
    return t->headroom_kib + spare < 0 ? PLAN_OVERLOAD : PLAN_BALANCE;
}

/* Everything that is to be known of each domain, in one walk. */
static void
look(struct planner *p, const struct snapshot *snapshot, int64_t now_us,
     struct tally *t, struct motion *m)
{
    bool eager = p->queue.count > 0;

    *t = (struct tally){ 0 };
    motion_begin(m);
    p->member_count = 0;
    host_begin(&p->host, snapshot);
    for (size_t i = 0; i < snapshot->count; i++) {
        struct domain *d = host_take(&p->host, snapshot, i);

        judge_look(d, now_us);
        if (appetite_is_asked(d))
            appetite_look(d, now_us);
        tally_add(t, d, now_us);
        motion_add(m, d, eager, now_us);
        shares_add(p, i, now_us);
    }
    host_end(&p->host, snapshot, &p->ledger);
    end_promises(p);
    tally_end(t, p, now_us);
    if (t->hopeless > 0)
        shares_gather(p, now_us);
}

void
planner_pass(struct planner *p, const struct snapshot *snapshot, int64_t now_us,
             struct plan *plan)
{
    struct tally tally;
    struct motion motion;
    size_t lagged;
    int64_t need;

    plan->setting_count = plan->answer_count = plan->debtor_count = 0;
    look(p, snapshot, now_us, &tally, &motion);
    plan->missing_kib = or_0(-tally.headroom_kib - tally.relief_kib);
    serve_queue(p, &tally, plan, now_us);
    need = needed_kib(p, &tally, plan->unmet_kib);
    shares_set(p, &tally, plan->unmet_kib);
    lagged = tally.lagging;
    if (need > 0)
        find_new_laggards(p, &tally, &motion, need, now_us);
    else
        relax_laggards(p, &tally);
    /* Others are asked for what a laggard won't give in time. */
    if (tally.lagging > 0)
        shares_set_around_laggards(p, &tally, plan->unmet_kib);
    targets_probe(p, &tally, plan, now_us);
    targets_set(p, &tally, plan, now_us);
    targets_tend(p, &tally, plan, now_us);
    list_debtors(p, &tally, plan, now_us);
    /* Seen before any of this was decided: only where something was. */
    if (plan->setting_count > 0 || tally.probing > 0 || tally.lagging != lagged)
        motion_take(&motion, p, now_us);
    plan_next_look(p, &motion, plan, need, now_us);
    if (need > 0 && (int64_t)tally.cut_kib >= need)
        plan->next_us = min_i64(plan->next_us, now_us + LOOK_SOON_US);
    plan->why = why(p, &tally, plan);
    p->spare_kib = plan->settled
                       ? tally.headroom_kib + (int64_t)p->settings.cushion_kib
                       : SPARE_NONE_KIB;
    p->spare_free_kib = p->host.free_kib + p->host.scrub_kib;
}

bool
planner_grant_spare(struct planner *p, const struct request *r,
                    uint64_t free_kib)
{
    if (r->min_kib != r->max_kib || free_kib != p->spare_free_kib ||
        (int64_t)r->min_kib > p->spare_kib)
        return false;
    p->spare_kib -= (int64_t)r->min_kib;
    return true;
}

/* --------------------------------------------------------------- questions */

/* What the queue still wants: the same sums as serve_queue makes. */
static uint64_t
queued_wants(const struct planner *p, const struct tally *t)
{
    uint64_t ahead = 0;
    int64_t free_kib;

    for (size_t i = 0; i < p->queue.count; i++) {
        const struct request *r = &p->queue.requests[i];

        if (!tally_impossible(t, least_kib(r), ahead, &free_kib))
            ahead += max_u64(r->want_kib, least_kib(r));
    }
    return ahead;
}

static uint64_t
moved_kib(const struct domain *d, int64_t us)
{
    return mul_div(d->judgement.rate_kib_s, (uint64_t)us, US_PER_S);
}

static uint64_t
asked_kib(const struct domain *d)
{
    return d->movable ? sub_or_0(d->facts.actual_kib, d->share_kib) : 0;
}

/* What one has given after so long at its rate: of its share at first; then
 * the laggards are known, and who can is asked for more. */
static uint64_t
given_by_kib(const struct domain *d, int64_t us)
{
    uint64_t most = sub_or_0(d->facts.actual_kib, d->lower_kib);
    uint64_t early =
        min_u64(asked_kib(d), moved_kib(d, min_i64(us, JUDGE_STILL_US)));

    if (!d->movable)
        return 0;
    if (us <= JUDGE_STILL_US)
        return early;
    return min_u64(most, early + moved_kib(d, us - JUDGE_STILL_US));
}

static uint64_t
given_kib(const struct planner *p, int64_t us)
{
    uint64_t kib = 0;

    for (size_t i = 0; i < p->host.count; i++)
        kib += given_by_kib(&p->host.domains[i], us);
    return kib;
}

/* When the last one has given its share; -1 if some rate isn't known.
 * *ret: the rates when the laggards become known. */
static int64_t
shares_us(const struct planner *p, struct motion *ret)
{
    int64_t longest = 0;

    motion_begin(ret);
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        uint64_t rate = d->judgement.rate_kib_s;
        uint64_t asked = asked_kib(d);

        if (moved_kib(d, JUDGE_STILL_US) < sub_or_0(d->held_kib, d->lower_kib))
            ret->able_kib_s += d->movable ? rate : 0;
        if (asked == 0)
            continue;
        if (rate == 0)
            return -1;
        if (moved_kib(d, JUDGE_STILL_US) < asked)
            ret->rate_kib_s += rate;
        longest =
            max_i64(longest, (int64_t)min_u64(mul_div(asked, US_PER_S, rate),
                                              INT64_MAX / 4));
    }
    return longest;
}

/* When so much will have come free at the rates that were measured; -1 if some
 * rate isn't known, or it takes more than a day. */
static int64_t
squeeze_eta_us(const struct planner *p, uint64_t need_kib)
{
    int64_t low = 0, high = 24 * (int64_t)3600 * US_PER_S;
    struct motion m;
    int64_t longest_us = shares_us(p, &m), left_us;

    if (longest_us < 0 || given_kib(p, high) < need_kib)
        return -1;
    while (high - low > US_PER_MS) {
        int64_t middle = low + (high - low) / 2;

        if (given_kib(p, middle) < need_kib)
            low = middle;
        else
            high = middle;
    }
    left_us = high - JUDGE_STILL_US;
    if (left_us <= 0)
        return high;
    if (!motion_can_hurry(&m))
        left_us = motion_remaining_us(
            &m, (int64_t)(need_kib - given_kib(p, JUDGE_STILL_US)));
    /* Nobody is left behind: all give their shares, and that is it. */
    if (longest_us <= JUDGE_STILL_US + patience_us(max_i64(left_us, 0)))
        return longest_us;
    /* What laggards won't give is asked of others when they are known. */
    return high + min_i64(high / 6, max_i64(longest_us - high, 0) / 2);
}

void
planner_what_if(struct planner *p, uint64_t min_kib, uint64_t max_kib,
                int64_t now_us, struct what_if *ret)
{
    struct request r = { .min_kib = min_kib, .max_kib = max_kib };
    struct tally t;
    uint64_t ahead;
    int64_t free_kib, here;

    tally_take(&t, p, now_us);
    shares_gather(p, now_us);
    ahead = queued_wants(p, &t);
    here = t.headroom_kib + (int64_t)p->settings.cushion_kib - (int64_t)ahead;
    *ret = (struct what_if){ .eta_us = -1 };
    ret->error = tally_impossible(&t, min_kib, ahead, &free_kib);
    ret->free_kib = page_down(or_0(free_kib));
    if (ret->error && tally_unproven_may_help(&t, min_kib, ahead)) {
        ret->error = ERR_NONE;
        ret->verdict = VERDICT_AFTER_SQUEEZE;
        ret->amount_kib = min_kib;
        shares_set(p, &t, ahead + min_kib);
        return;
    }
    if (ret->error) {
        ret->verdict = VERDICT_IMPOSSIBLE;
        ret->short_kib = sub_or_0(min_kib, ret->free_kib);
        return;
    }
    ret->amount_kib = want_of(p, &t, &r, ahead);
    shares_set(p, &t, ahead + ret->amount_kib);
    if ((int64_t)ret->amount_kib <= here) {
        ret->verdict = VERDICT_NOW;
        ret->eta_us = 0;
    } else {
        ret->verdict = VERDICT_AFTER_SQUEEZE;
        ret->eta_us =
            squeeze_eta_us(p, (uint64_t)((int64_t)ret->amount_kib - here));
    }
}

void
planner_available(const struct planner *p, int64_t now_us,
                  uint64_t *ret_now_kib, uint64_t *ret_squeezed_kib)
{
    struct tally t;
    int64_t ahead;

    tally_take(&t, p, now_us);
    ahead = (int64_t)queued_wants(p, &t);
    *ret_now_kib = page_down(
        or_0(t.headroom_kib + (int64_t)p->settings.cushion_kib - ahead));
    *ret_squeezed_kib =
        page_down(or_0(min_i64(t.sure_kib, t.best_kib) - ahead));
}

enum err
planner_lacks(const struct planner *p, const struct domain *d,
              uint64_t amount_kib, int64_t now_us, uint64_t *ret_short_kib)
{
    struct tally t;
    int64_t more_kib, grows_kib;

    *ret_short_kib = 0;
    /* Most of it is built: to be told that now would help nobody. */
    if (d->facts.actual_kib >= amount_kib / 2)
        return ERR_NONE;
    tally_take(&t, p, now_us);
    grows_kib = (int64_t)sub_or_0(sub_or_0(amount_kib, d->facts.paging_kib),
                                  d->committed_kib);
    more_kib = (int64_t)p->ledger.reserved_kib + t.relief_kib + t.unproven_kib -
               grows_kib;
    if (t.sure_kib + more_kib >= 0)
        return ERR_NONE;
    *ret_short_kib = min_u64(
        amount_kib, page_up(or_0(-min_i64(t.sure_kib, t.best_kib) - more_kib)));
    return t.best_kib + more_kib < 0 ? ERR_CANNOT_FREE : ERR_UNCOOPERATIVE;
}

bool
planner_is_debtor(const struct domain *d, int64_t now_us)
{
    return tally_is_stuck_debtor(d, now_us);
}
