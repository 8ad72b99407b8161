/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/planner.h"

#include "squeezed/core/judge.h"
#include "squeezed/core/probe.h"

#include <assert.h>

enum {
    /* While a request waits: look again between 5 and 25 ms from now. */
    LOOK_SOON_US = 5 * US_PER_MS,
    LOOK_WAITING_US = 25 * US_PER_MS,
    /* While something else moves. */
    LOOK_MOVING_US = 100 * US_PER_MS,
    /* A long way up takes about this many writes. */
    GROW_STEPS = 10,
    GROW_STEP_KIB = KIB_PER_MIB
};

/* What there is, over all domains, at this look. */
struct tally {
    int64_t headroom_kib;
    uint64_t held_kib;    /* by the movable domains */
    uint64_t slack_kib;   /* of it, above where their targets are */
    int64_t best_kib;     /* could be had if every donor gave all */
    int64_t sure_kib;     /* the same without the stuck ones */
    int64_t brisk_kib;    /* the same without the slow ones, too */
    int64_t unproven_kib; /* beyond the best, if unproven guests gave all */
};

/* ------------------------------------------------------------- the look */

/* A promise is over when its domain runs and holds it, or is proven to
 * balloon: from then on actual and limit say what it may take. */
static void
end_promises(struct planner *p)
{
    const uint32_t still = DOMAIN_BUILDING | DOMAIN_PAUSED;

    for (size_t i = 0; i < p->ledger.count; i++) {
        struct ledger_entry *e = &p->ledger.entries[i];
        const struct domain *d;

        if (!e->transferred || e->over)
            continue;
        d = host_find(&p->host, e->domid);
        if (d && !(d->facts.flags & still) &&
            (d->movable || d->facts.actual_kib >= e->amount_kib))
            e->over = true;
    }
}

/* What a stuck guest holds beyond the highest target we may give it, or any
 * guest above the target at which it rests. */
static uint64_t
slack_kib(const struct domain *d, int64_t now_us)
{
    if (judge_is_stuck(d, now_us))
        return sub_or_0(d->held_kib, d->upper_kib);
    return d->judgement.slack_kib;
}

static void
take_tally(const struct planner *p, int64_t now_us, struct tally *t)
{
    struct host_sums sums;

    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib,
             p->settings.cushion_kib, &sums);
    *t = (struct tally){ .headroom_kib = sums.headroom_kib };
    t->best_kib = sums.headroom_kib + (int64_t)p->settings.cushion_kib;
    t->sure_kib = t->brisk_kib = t->best_kib;
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        int64_t held = (int64_t)d->held_kib;
        int64_t sure = held - (int64_t)judge_floor_kib(d, now_us);

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

static uint64_t
or_0(int64_t kib)
{
    return kib > 0 ? (uint64_t)kib : 0;
}

/* ------------------------------------------------------------ the shares */

static struct share_member
share_of_domain(const struct domain *d, int64_t now_us)
{
    struct share_member m = {
        .min_pages = d->lower_kib / KIB_PER_PAGE,
        .max_pages = d->upper_kib / KIB_PER_PAGE,
    };

    m.lower_pages = m.min_pages;
    m.upper_pages = m.max_pages;
    /* A stuck guest is set to what it holds. */
    if (judge_is_stuck(d, now_us) && d->held_kib > d->lower_kib)
        m.lower_pages = m.upper_pages =
            min_u64(d->held_kib, d->upper_kib) / KIB_PER_PAGE;
    return m;
}

/* One member per movable domain; returns how many. */
static size_t
gather_members(struct planner *p, int64_t now_us)
{
    size_t n = 0;

    for (size_t i = 0; i < p->host.count; i++)
        if (p->host.domains[i].movable) {
            p->member_of[n] = (uint32_t)i;
            p->members[n++] = share_of_domain(&p->host.domains[i], now_us);
        }
    return n;
}

/* What the movable domains may hold in all once `want` is kept free. */
static uint64_t
budget_pages(const struct tally *t, uint64_t want_kib)
{
    int64_t kib = (int64_t)t->held_kib - (int64_t)t->slack_kib +
                  t->headroom_kib - (int64_t)want_kib;

    return or_0(kib) / KIB_PER_PAGE;
}

/* Every movable domain's share_kib, with `want` kept free. */
static void
share_among_domains(struct planner *p, const struct tally *t, uint64_t want_kib,
                    int64_t now_us)
{
    size_t n = gather_members(p, now_us);

    policy_share(p->settings.policy, p->members, n, budget_pages(t, want_kib));
    for (size_t i = 0; i < n; i++)
        p->host.domains[p->member_of[i]].share_kib =
            p->members[i].share_pages * KIB_PER_PAGE;
}

/* A range request counts as one more domain with that range, which holds
 * nothing yet.  `fixed` is what other requests will get. */
static uint64_t
share_for_range(struct planner *p, const struct tally *t, uint64_t min_kib,
                uint64_t max_kib, uint64_t fixed_kib, int64_t now_us)
{
    size_t n = gather_members(p, now_us);

    p->members[n] = (struct share_member){
        .min_pages = min_kib / KIB_PER_PAGE,
        .max_pages = max_kib / KIB_PER_PAGE,
        .lower_pages = min_kib / KIB_PER_PAGE,
        .upper_pages = max_kib / KIB_PER_PAGE,
    };
    policy_share(p->settings.policy, p->members, n + 1,
                 budget_pages(t, fixed_kib));
    return p->members[n].share_pages * KIB_PER_PAGE;
}

/* ------------------------------------------------------------- the queue */

/* What `request` should get, with wants ahead of it as they are: its fixed
 * amount, or for a range the policy's share; never more than can be had. */
static uint64_t
want_of(struct planner *p, const struct tally *t, const struct request *r,
        uint64_t ahead_kib, int64_t now_us)
{
    uint64_t want = r->want_kib;
    int64_t sure = t->sure_kib - (int64_t)ahead_kib;
    int64_t brisk = t->brisk_kib - (int64_t)ahead_kib;

    if (r->min_kib == r->max_kib)
        return r->min_kib;
    if (want == 0)
        want = share_for_range(p, t, r->min_kib, r->max_kib, ahead_kib, now_us);
    if ((int64_t)want > sure)
        want = page_down(or_0(sure));
    if ((int64_t)want > brisk)
        want = page_down(or_0(brisk));
    return max_u64(want, r->min_kib);
}

static void
answer(struct plan *plan, const struct request *r, enum err error,
       uint64_t amount_kib, int64_t free_kib)
{
    plan->answers[plan->answer_count++] = (struct answer){
        .seq = r->seq,
        .error = error,
        .amount_kib = amount_kib,
        .needed_kib = error ? r->min_kib : 0,
        .free_kib = error ? page_down(or_0(free_kib)) : 0,
        .short_kib =
            error ? sub_or_0(r->min_kib, page_down(or_0(free_kib))) : 0,
    };
}

/* Why a request of this minimum can't be met; ERR_NONE if it can.  *ret_free:
 * what could be had for it. */
static enum err
impossible(const struct tally *t, uint64_t min_kib, uint64_t ahead_kib,
           int64_t *ret_free_kib)
{
    int64_t best = t->best_kib - (int64_t)ahead_kib;
    int64_t sure = t->sure_kib - (int64_t)ahead_kib;

    *ret_free_kib = min_i64(best, sure);
    if ((int64_t)min_kib > best)
        return ERR_CANNOT_FREE;
    return (int64_t)min_kib > sure ? ERR_UNCOOPERATIVE : ERR_NONE;
}

/* Guests whose balloons nobody knows of might do: worth a little patience. */
static bool
unproven_may_help(const struct tally *t, uint64_t min_kib, uint64_t ahead_kib)
{
    return t->unproven_kib > 0 && (int64_t)min_kib <= t->sure_kib +
                                                          t->unproven_kib -
                                                          (int64_t)ahead_kib;
}

/* At the deadline a range takes what is there, if that is enough. */
static void
expire(struct plan *plan, struct request *r, const struct tally *t,
       int64_t here_kib, uint64_t ahead_kib)
{
    int64_t free_kib;

    if (here_kib >= (int64_t)r->min_kib) {
        answer(plan, r, ERR_NONE, page_down(or_0(here_kib)), 0);
        return;
    }
    impossible(t, r->min_kib, ahead_kib, &free_kib);
    answer(plan, r, ERR_TIMEOUT, 0, free_kib);
}

/* Answers the request if that can be done now.  `here` is what it could have
 * at once.  Returns what it still wants. */
static uint64_t
serve_request(struct planner *p, const struct tally *t, struct request *r,
              int64_t here_kib, uint64_t ahead_kib, int64_t now_us,
              struct plan *plan)
{
    int64_t free_kib;
    enum err error = impossible(t, r->min_kib, ahead_kib, &free_kib);

    if (error && !r->wait &&
        (now_us - r->submitted_us >= PROBE_REQUEST_US ||
         !unproven_may_help(t, r->min_kib, ahead_kib))) {
        answer(plan, r, error, 0, free_kib);
        return 0;
    }
    if (error) {
        if (r->deadline_us <= now_us)
            answer(plan, r, ERR_TIMEOUT, 0, free_kib);
        return 0;
    }
    r->want_kib = want_of(p, t, r, ahead_kib, now_us);
    if ((int64_t)r->want_kib <= here_kib) {
        answer(plan, r, ERR_NONE, r->want_kib, 0);
        return 0;
    }
    if (r->deadline_us <= now_us) {
        expire(plan, r, t, here_kib, ahead_kib);
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
        if (plan->answer_count > answered) {
            int64_t granted = (int64_t)plan->answers[answered].amount_kib;

            t->headroom_kib -= granted;
            t->best_kib -= granted;
            t->sure_kib -= granted;
            t->brisk_kib -= granted;
        }
    }
    plan->unmet_kib = ahead;
}

/* ------------------------------------------------------------- laggards */

/* How long the guests that are at work need for the rest, together, at their
 * measured rates; -1 if that isn't known. */
static int64_t
remaining_us(const struct planner *p, int64_t need_kib)
{
    uint64_t rate = 0;

    for (size_t i = 0; i < p->host.count; i++) {
        const struct judgement *j = &p->host.domains[i].judgement;

        if (j->working && !j->lagging)
            rate += j->rate_kib_s;
    }
    if (need_kib <= 0)
        return 0;
    return rate ? (int64_t)min_u64(mul_div((uint64_t)need_kib, US_PER_S, rate),
                                   INT64_MAX / 4)
                : -1;
}

/* True if some guest lags: then the others are asked for what it won't give
 * in time.  Without a waiting request nobody lags. */
static bool
find_laggards(struct planner *p, const struct tally *t, uint64_t unmet_kib,
              int64_t now_us)
{
    int64_t need =
        (int64_t)unmet_kib - t->headroom_kib - (int64_t)p->settings.cushion_kib;
    int64_t remaining = unmet_kib ? remaining_us(p, need) : 0;
    bool any = false;

    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        if (!d->movable)
            continue;
        if (unmet_kib == 0)
            judge_relax(d);
        else
            judge_lag(d, remaining, now_us);
        any |= d->judgement.lagging;
    }
    return any;
}

/* Shares anew, with the laggards at what they can reach.  A laggard is still
 * asked for its own share: it may wake up. */
static void
share_around_laggards(struct planner *p, const struct tally *t,
                      uint64_t want_kib, int64_t now_us)
{
    size_t n = gather_members(p, now_us);

    for (size_t i = 0; i < n; i++) {
        const struct domain *d = &p->host.domains[p->member_of[i]];
        struct share_member *m = &p->members[i];
        uint64_t reach = d->judgement.reach_kib / KIB_PER_PAGE;

        if (d->judgement.lagging)
            m->lower_pages =
                min_u64(max_u64(reach, m->lower_pages), m->upper_pages);
    }
    policy_share(p->settings.policy, p->members, n, budget_pages(t, want_kib));
    for (size_t i = 0; i < n; i++) {
        struct domain *d = &p->host.domains[p->member_of[i]];
        uint64_t share = p->members[i].share_pages * KIB_PER_PAGE;

        if (!d->judgement.lagging || share < d->share_kib)
            d->share_kib = share;
    }
}

/* ------------------------------------------------------------ the targets */

/* The target that costs no headroom: down to the share at once; up to what
 * the domain holds anyway. */
static uint64_t
costless_target(const struct domain *d)
{
    if (d->share_kib <= d->held_kib)
        return d->share_kib;
    /* Below its minimum it takes one write, once there is enough; and what a
     * guest rests above its target is not worth one. */
    if (d->held_kib < d->lower_kib || d->judgement.slack_kib > 0)
        return d->facts.target_kib;
    return d->held_kib;
}

static uint64_t
gap_kib(const struct domain *d)
{
    return d->movable ? sub_or_0(d->share_kib, d->held_kib) : 0;
}

/* The next step up that is worth a write; a domain below its minimum gets
 * there in one. */
static uint64_t
grow_step(struct domain *d)
{
    uint64_t gap = gap_kib(d);

    if (d->grow_step_kib == 0)
        d->grow_step_kib = page_up(max_u64(gap / GROW_STEPS, GROW_STEP_KIB));
    return min_u64(
        gap, max_u64(d->grow_step_kib, sub_or_0(d->lower_kib, d->held_kib)));
}

/* One after the other takes a step, as long as there is room; who had no turn
 * is the first next time. */
static void
grow_in_turn(struct planner *p, uint64_t room_kib)
{
    size_t n = p->host.count;

    for (size_t i = 0; i < n; i++) {
        size_t at = (p->grow_cursor + i) % n;
        struct domain *d = &p->host.domains[at];
        uint64_t step;

        if (gap_kib(d) == 0)
            continue;
        step = grow_step(d);
        if (step > room_kib) {
            p->grow_cursor = at;
            return;
        }
        d->next_kib = d->held_kib + step;
        room_kib -= step;
    }
}

/* Nothing more will come: what is there goes to whoever is furthest from its
 * share in the order of domids, in parts of steps if it must be. */
static void
grow_with_rest(struct planner *p, uint64_t room_kib)
{
    for (size_t i = 0; i < p->host.count && room_kib > 0; i++) {
        struct domain *d = &p->host.domains[i];
        uint64_t gift = min_u64(gap_kib(d), room_kib);

        if (gift == 0 || d->held_kib + gift < d->lower_kib)
            continue;
        d->next_kib = d->held_kib + gift;
        room_kib -= gift;
    }
}

/* Raises targets out of the headroom that is there at this moment. */
static void
grow(struct planner *p, int64_t room_kib, bool more_comes)
{
    uint64_t gaps = 0;

    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        gaps += gap_kib(d);
        if (gap_kib(d) == 0)
            d->grow_step_kib = 0;
    }
    if (gaps == 0 || room_kib <= 0)
        return;
    if (gaps > (uint64_t)room_kib) {
        if (more_comes)
            grow_in_turn(p, page_down((uint64_t)room_kib));
        else
            grow_with_rest(p, page_down((uint64_t)room_kib));
        return;
    }
    for (size_t i = 0; i < p->host.count; i++)
        if (gap_kib(&p->host.domains[i]) > 0)
            p->host.domains[i].next_kib = p->host.domains[i].share_kib;
}

/* What a domain will hold once it has followed the target it has. */
static uint64_t
expected_kib(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;
    uint64_t rest;

    if (judge_is_stuck(d, now_us))
        return d->held_kib;
    rest = max_u64(d->facts.limit_kib, d->facts.target_kib + j->slack_kib);
    if (j->lagging)
        rest = max_u64(rest, j->reach_kib);
    return min_u64(rest, d->held_kib);
}

/* Will the targets as they are free what is wanted?  If so, and all is near
 * its share, nothing is written. */
static bool
falls_short(const struct planner *p, const struct tally *t, uint64_t unmet_kib,
            int64_t now_us)
{
    int64_t coming = t->headroom_kib;

    if (unmet_kib > 0)
        coming += (int64_t)p->settings.cushion_kib;
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];

        if (d->movable)
            coming += (int64_t)(d->held_kib - expected_kib(d, now_us));
    }
    return coming < (int64_t)unmet_kib;
}

static uint64_t
distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* How far this domain's target or limit are from what they should be. */
static uint64_t
deviation_kib(const struct domain *d)
{
    return max_u64(distance(d->next_kib, d->facts.target_kib),
                   distance(d->next_kib, d->facts.limit_kib));
}

/* The domain's setting of this pass; a new one with what it has. */
static struct setting *
setting_of(struct plan *plan, const struct domain *d)
{
    struct setting *s = plan->settings;
    struct setting *end = s + plan->setting_count;

    while (s < end && s->domid != d->facts.domid)
        s++;
    if (s == end) {
        plan->setting_count++;
        *s = (struct setting){
            .domid = d->facts.domid,
            .target_kib = d->facts.target_kib,
            .limit_kib = d->facts.limit_kib,
        };
    }
    return s;
}

static void
emit(struct domain *d, struct plan *plan, int64_t now_us)
{
    plan->settings[plan->setting_count++] = (struct setting){
        .domid = d->facts.domid,
        .target_kib = d->next_kib,
        .limit_kib = d->next_kib,
        .grows = d->next_kib > d->facts.limit_kib,
    };
    if (d->next_kib < d->facts.actual_kib && d->next_kib < d->facts.target_kib)
        judge_ask(d, d->next_kib, now_us);
    else if (d->next_kib > d->facts.actual_kib)
        judge_raise(d, now_us);
}

/* A changed target wakes a driver that has gone to sleep.  A page less is
 * enough, and frees no less than was asked for. */
static void
poke_sleepers(struct planner *p, struct plan *plan, int64_t now_us)
{
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];
        uint64_t target = d->facts.target_kib;

        /* Its new target, if it just got one, wakes it anyway. */
        if (!d->movable || d->next_kib != target || !judge_poke(d, now_us))
            continue;
        if (target >= d->lower_kib + KIB_PER_PAGE) {
            target -= KIB_PER_PAGE;
            setting_of(plan, d)->target_kib = target;
        }
    }
}

/* Marks go along with the targets as they are. */
static void
mark_guests(struct planner *p, struct plan *plan, int64_t now_us)
{
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        bool marked = d->facts.flags & DOMAIN_MARKED;
        bool uncooperative = judge_is_uncooperative(d, now_us);

        if (!d->movable || marked == uncooperative)
            continue;
        setting_of(plan, d)->mark =
            uncooperative ? MARK_UNCOOPERATIVE : MARK_COOPERATIVE;
    }
}

static void
probe_guests(struct planner *p, struct plan *plan, int64_t now_us)
{
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];
        uint64_t target_kib;

        if (probe_look(d, p->queue.count > 0, now_us, &target_kib))
            plan->settings[plan->setting_count++] = (struct setting){
                .domid = d->facts.domid,
                .target_kib = target_kib,
                .limit_kib = d->facts.limit_kib,
            };
    }
}

static bool
anything_comes(const struct planner *p)
{
    for (size_t i = 0; i < p->host.count; i++)
        if (p->host.domains[i].judgement.working)
            return true;
    return false;
}

static void
set_targets(struct planner *p, const struct tally *t, struct plan *plan,
            int64_t now_us)
{
    uint64_t sum = 0, coming = 0;
    bool act;

    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        if (!d->movable)
            continue;
        d->next_kib = costless_target(d);
        coming += sub_or_0(min_u64(d->facts.target_kib, d->facts.actual_kib),
                           d->next_kib);
    }
    /* A few pages that may not be worth a write are nothing to wait for. */
    grow(p, t->headroom_kib - (int64_t)plan->unmet_kib,
         coming >= p->settings.tolerance_kib || anything_comes(p));
    for (size_t i = 0; i < p->host.count; i++)
        if (p->host.domains[i].movable)
            sum += deviation_kib(&p->host.domains[i]);
    act = sum >= p->settings.tolerance_kib ||
          falls_short(p, t, plan->unmet_kib, now_us);
    for (size_t i = 0; act && i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        if (d->movable && deviation_kib(d) > 0)
            emit(d, plan, now_us);
    }
}

/* ------------------------------------------------------------ what is left */

static bool
is_stuck_debtor(const struct domain *d, int64_t now_us)
{
    return d->movable && judge_is_stuck(d, now_us) &&
           d->held_kib > d->lower_kib;
}

/* The guests that owe memory.  When a request failed: the stuck ones, or
 * where there are none those that rest above their targets; else, and for a
 * deadline, whoever is still at work, too. */
static void
list_debtors(const struct planner *p, struct plan *plan, int64_t now_us)
{
    bool failed = false, any_stuck = false;

    for (size_t i = 0; i < plan->answer_count; i++)
        failed |= plan->answers[i].error == ERR_UNCOOPERATIVE;
    for (size_t i = 0; i < p->host.count; i++)
        any_stuck |= is_stuck_debtor(&p->host.domains[i], now_us);
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        bool owes = is_stuck_debtor(d, now_us);

        if (failed)
            owes |= !any_stuck && d->movable && d->judgement.slack_kib > 0;
        else
            owes |= d->judgement.working;
        if (owes)
            plan->debtors[plan->debtor_count++] = d->facts.domid;
    }
}

/* When the guests at work will be done, or -1 if their rates aren't known. */
static int64_t
work_left_us(const struct planner *p)
{
    int64_t longest = 0;

    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        uint64_t owed = sub_or_0(d->facts.actual_kib, d->facts.target_kib);

        if (!d->judgement.working)
            continue;
        if (d->judgement.rate_kib_s == 0)
            return -1;
        longest = max_i64(
            longest,
            (int64_t)min_u64(mul_div(owed, US_PER_S, d->judgement.rate_kib_s),
                             INT64_MAX / 4));
    }
    return longest;
}

static int64_t
clamp_us(int64_t us, int64_t low_us, int64_t high_us)
{
    return us < low_us ? low_us : us > high_us ? high_us : us;
}

static bool
anything_moves(const struct planner *p, int64_t now_us)
{
    for (size_t i = 0; i < p->host.count; i++)
        if (judge_is_moving(&p->host.domains[i], now_us))
            return true;
    return false;
}

/* A domain dies and gives its pages back.  One that keeps some for long (others
 * have mapped them) is left to the usual looks. */
static bool
anything_leaves(const struct planner *p, int64_t now_us)
{
    for (size_t i = 0; i < p->host.count; i++) {
        int64_t leaving_us = p->host.domains[i].judgement.leaving_us;

        if (leaving_us > 0 && now_us - leaving_us < JUDGE_STUCK_US)
            return true;
    }
    return false;
}

/* When the sum is predicted to reach the want; soon while no rate is known
 * yet; seldom when only laggards are left. */
static int64_t
next_look_for_request(const struct planner *p, const struct tally *t,
                      uint64_t unmet_kib)
{
    int64_t need =
        (int64_t)unmet_kib - t->headroom_kib - (int64_t)p->settings.cushion_kib;

    for (size_t i = 0; i < p->host.count; i++) {
        const struct judgement *j = &p->host.domains[i].judgement;

        if (j->working && !j->lagging)
            return clamp_us(remaining_us(p, need), LOOK_SOON_US,
                            LOOK_WAITING_US);
    }
    return LOOK_WAITING_US;
}

/* A probe is followed as any movement is. */
static int64_t
next_probe_us(const struct domain *d, int64_t now_us)
{
    if (probe_is_running(d))
        return now_us + LOOK_MOVING_US;
    return max_i64(probe_next_us(d), now_us + LOOK_MOVING_US);
}

static void
plan_next_look(const struct planner *p, const struct tally *t,
               struct plan *plan, int64_t now_us)
{
    int64_t wait = p->settings.interval_us;
    bool works = anything_comes(p);

    plan->settled = plan->setting_count == 0 && plan->unmet_kib == 0 &&
                    !anything_moves(p, now_us) && !anything_leaves(p, now_us);
    if (plan->unmet_kib > 0)
        wait = next_look_for_request(p, t, plan->unmet_kib);
    else if (works)
        wait = clamp_us(work_left_us(p), LOOK_SOON_US, LOOK_MOVING_US);
    else if (!plan->settled)
        wait = LOOK_MOVING_US;
    plan->next_us = now_us + wait;
    for (size_t i = 0; i < p->host.count; i++)
        plan->next_us =
            min_i64(plan->next_us, next_probe_us(&p->host.domains[i], now_us));
    for (size_t i = 0; i < p->queue.count; i++)
        plan->next_us =
            min_i64(plan->next_us, max_i64(p->queue.requests[i].deadline_us,
                                           now_us + LOOK_SOON_US));
}

static enum plan_why
why(const struct tally *t, const struct plan *plan)
{
    if (plan->setting_count == 0 && plan->answer_count == 0)
        return PLAN_NOTHING;
    if (plan->unmet_kib > 0 || plan->answer_count > 0)
        return PLAN_REQUEST;
    return t->headroom_kib < 0 ? PLAN_OVERLOAD : PLAN_BALANCE;
}

void
planner_pass(struct planner *p, const struct snapshot *snapshot, int64_t now_us,
             struct plan *plan)
{
    struct tally tally;

    plan->setting_count = plan->answer_count = plan->debtor_count = 0;
    host_look(&p->host, snapshot, &p->ledger);
    end_promises(p);
    host_set_promises(&p->host, &p->ledger);
    for (size_t i = 0; i < p->host.count; i++)
        judge_look(&p->host.domains[i], now_us);
    take_tally(p, now_us, &tally);
    serve_queue(p, &tally, plan, now_us);
    share_among_domains(p, &tally, plan->unmet_kib, now_us);
    if (find_laggards(p, &tally, plan->unmet_kib, now_us))
        share_around_laggards(p, &tally, plan->unmet_kib, now_us);
    set_targets(p, &tally, plan, now_us);
    poke_sleepers(p, plan, now_us);
    mark_guests(p, plan, now_us);
    probe_guests(p, plan, now_us);
    list_debtors(p, plan, now_us);
    plan_next_look(p, &tally, plan, now_us);
    plan->why = why(&tally, plan);
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

        if (!impossible(t, r->min_kib, ahead, &free_kib))
            ahead += max_u64(r->want_kib, r->min_kib);
    }
    return ahead;
}

/* The longest that a donor needs for its share at its measured rate; -1 if
 * some rate isn't known. */
static int64_t
squeeze_eta_us(const struct planner *p)
{
    int64_t longest = 0;

    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        uint64_t gives;

        if (!d->movable || d->share_kib >= d->facts.actual_kib)
            continue;
        gives = d->facts.actual_kib - d->share_kib;
        if (d->judgement.rate_kib_s == 0)
            return -1;
        longest = max_i64(
            longest,
            (int64_t)min_u64(mul_div(gives, US_PER_S, d->judgement.rate_kib_s),
                             INT64_MAX / 4));
    }
    return longest;
}

void
planner_what_if(struct planner *p, uint64_t min_kib, uint64_t max_kib,
                int64_t now_us, struct what_if *ret)
{
    struct request r = { .min_kib = min_kib, .max_kib = max_kib };
    struct tally t;
    uint64_t ahead;
    int64_t free_kib, here;

    take_tally(p, now_us, &t);
    ahead = queued_wants(p, &t);
    here = t.headroom_kib + (int64_t)p->settings.cushion_kib - (int64_t)ahead;
    *ret = (struct what_if){ .eta_us = -1 };
    ret->error = impossible(&t, min_kib, ahead, &free_kib);
    ret->free_kib = page_down(or_0(free_kib));
    if (ret->error && unproven_may_help(&t, min_kib, ahead)) {
        ret->error = ERR_NONE;
        ret->verdict = VERDICT_AFTER_SQUEEZE;
        ret->amount_kib = min_kib;
        share_among_domains(p, &t, ahead + min_kib, now_us);
        return;
    }
    if (ret->error) {
        ret->verdict = VERDICT_IMPOSSIBLE;
        ret->short_kib = sub_or_0(min_kib, ret->free_kib);
        return;
    }
    ret->amount_kib = want_of(p, &t, &r, ahead, now_us);
    share_among_domains(p, &t, ahead + ret->amount_kib, now_us);
    if ((int64_t)ret->amount_kib <= here) {
        ret->verdict = VERDICT_NOW;
        ret->eta_us = 0;
    } else {
        ret->verdict = VERDICT_AFTER_SQUEEZE;
        ret->eta_us = squeeze_eta_us(p);
    }
}

void
planner_available(const struct planner *p, int64_t now_us,
                  uint64_t *ret_now_kib, uint64_t *ret_squeezed_kib)
{
    struct tally t;
    int64_t ahead;

    take_tally(p, now_us, &t);
    ahead = (int64_t)queued_wants(p, &t);
    *ret_now_kib = page_down(
        or_0(t.headroom_kib + (int64_t)p->settings.cushion_kib - ahead));
    *ret_squeezed_kib =
        page_down(or_0(min_i64(t.sure_kib, t.best_kib) - ahead));
}
