/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/targets.h"

#include "squeezed/core/judge.h"
#include "squeezed/core/probe.h"

enum {
    /* A long way up takes about this many writes. */
    GROW_STEPS = 10,
    GROW_STEP_KIB = KIB_PER_MIB
};

/* A next_kib: neither target nor limit is touched. */
#define NEXT_AS_IT_IS UINT64_MAX

/* All that decides whether and how anybody grows, and whether anything is
 * written at all, summed up in one walk. */
struct demand {
    uint64_t gap_kib;       /* what the acceptors lack of their shares */
    uint64_t lack_kib;      /* of it, what they lack of their minimums */
    uint64_t coming_kib;    /* what the donors are asked for anew */
    bool works;             /* some donor is at it */
    int64_t expected_kib;   /* what the targets as they are will free */
    uint64_t deviation_kib; /* how far they are from what they should be */
    bool astray; /* a target is out of its range, or above its limit */
};

static uint64_t
distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* The target that costs no headroom: down to the share at once; up to what
 * the domain holds anyway. */
static uint64_t
costless_target(const struct domain *d)
{
    /* Below its minimum it takes one write, once there is enough: until then
     * nothing is written, whatever its target is. */
    if (d->held_kib < d->lower_kib)
        return NEXT_AS_IT_IS;
    /* A guest that was woken by a page less keeps that until it has moved. */
    if (d->judgement.working && d->judgement.poked &&
        distance(d->share_kib, d->facts.target_kib) <= KIB_PER_PAGE)
        return NEXT_AS_IT_IS;
    if (d->share_kib <= d->held_kib)
        return d->share_kib;
    /* What a guest rests above its target is not worth a write. */
    if (d->judgement.slack_kib > 0)
        return min_u64(d->facts.target_kib, d->held_kib);
    return d->held_kib;
}

static uint64_t
gap_kib(const struct domain *d)
{
    return d->movable && !d->unstored ? sub_or_0(d->share_kib, d->held_kib) : 0;
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

/* How far this domain's target or limit are from what they should be. */
static uint64_t
deviation_kib(const struct domain *d)
{
    if (d->next_kib == NEXT_AS_IT_IS)
        return 0;
    return max_u64(distance(d->next_kib, d->facts.target_kib),
                   distance(d->next_kib, d->facts.limit_kib));
}

/* That is nobody's share, but what somebody else has written, or of a range
 * that was another. */
static bool
is_astray(const struct domain *d)
{
    const struct domain_facts *f = &d->facts;

    return d->next_kib != NEXT_AS_IT_IS &&
           (f->target_kib > f->limit_kib || f->target_kib > d->upper_kib ||
            f->target_kib < d->lower_kib);
}

static void
grow_to(struct domain *d, uint64_t next_kib, struct demand *demand)
{
    demand->deviation_kib -= deviation_kib(d);
    d->next_kib = next_kib;
    demand->deviation_kib += deviation_kib(d);
}

/* One after the other takes a step, as long as there is room; who had no turn
 * is the first next time. */
static void
grow_in_turn(struct planner *p, uint64_t room_kib, struct demand *demand)
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
        grow_to(d, d->held_kib + step, demand);
        room_kib -= step;
    }
}

static void
grow_all(struct planner *p, struct demand *demand)
{
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        if (gap_kib(d) > 0)
            grow_to(d, d->share_kib, demand);
    }
}

/* Those below their minimum, or the others, up to their shares. */
static uint64_t
grow_some(struct planner *p, bool lacking, uint64_t room_kib,
          struct demand *demand)
{
    for (size_t i = 0; i < p->host.count && room_kib > 0; i++) {
        struct domain *d = &p->host.domains[i];
        uint64_t gift = min_u64(gap_kib(d), room_kib);

        if (gift == 0 || (d->held_kib < d->lower_kib) != lacking ||
            d->held_kib + gift < d->lower_kib)
            continue;
        grow_to(d, d->held_kib + gift, demand);
        room_kib -= gift;
    }
    return room_kib;
}

/* Nothing more will come: what is there is given out in the order of domids, in
 * parts of steps if it must be; minimums first, which are had whole or not at
 * all. */
static void
grow_with_rest(struct planner *p, uint64_t room_kib, struct demand *demand)
{
    if (demand->lack_kib > 0)
        room_kib = grow_some(p, true, room_kib, demand);
    grow_some(p, false, room_kib, demand);
}

/* Raises targets out of the headroom that is there at this moment. */
static void
grow(struct planner *p, struct demand *demand, int64_t room_kib)
{
    /* A few pages that may not be worth a write are nothing to wait for. */
    bool more_comes =
        demand->works || demand->coming_kib >= p->settings.tolerance_kib;

    if (demand->gap_kib == 0 || room_kib <= 0)
        return;
    if (demand->gap_kib <= (uint64_t)room_kib)
        grow_all(p, demand);
    else if (more_comes)
        grow_in_turn(p, page_down((uint64_t)room_kib), demand);
    else
        grow_with_rest(p, page_down((uint64_t)room_kib), demand);
}

/* What a domain will hold once it has followed the target it has. */
static uint64_t
expected_kib(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;
    uint64_t rest;

    if (judge_is_stuck(d, now_us) || d->held_kib < d->lower_kib)
        return d->held_kib;
    rest =
        max_u64(d->facts.limit_kib, d->facts.target_kib + judge_slack_kib(d));
    if (j->lagging)
        rest = max_u64(rest, j->reach_kib);
    return min_u64(rest, d->held_kib);
}

/* The domain's setting of this pass; a new one with what it has. */
static struct setting *
setting_of(struct plan *plan, struct domain *d)
{
    if (d->setting == 0) {
        plan->settings[plan->setting_count] = (struct setting){
            .domid = d->facts.domid,
            .target_kib = d->facts.target_kib,
            .limit_kib = d->facts.limit_kib,
        };
        d->setting = (uint32_t)++plan->setting_count;
    }
    return &plan->settings[d->setting - 1];
}

static void
emit(struct domain *d, struct plan *plan, int64_t now_us)
{
    plan->settings[plan->setting_count] = (struct setting){
        .domid = d->facts.domid,
        .target_kib = d->next_kib,
        .limit_kib = d->next_kib,
        .grows = d->next_kib > d->facts.limit_kib,
    };
    d->setting = (uint32_t)++plan->setting_count;
    if (d->next_kib < d->facts.actual_kib && d->next_kib < d->facts.target_kib)
        judge_ask(d, d->next_kib, now_us);
    else if (d->next_kib > d->facts.actual_kib)
        judge_raise(d, now_us);
}

/* What costs nothing, for every domain. */
static void
set_costless(struct planner *p, int64_t now_us, struct demand *ret)
{
    struct demand demand = { 0 };

    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];
        uint64_t gap;

        if (!d->movable)
            continue;
        d->next_kib = costless_target(d);
        gap = gap_kib(d);
        if (gap == 0)
            d->grow_step_kib = 0;
        demand.gap_kib += gap;
        if (!d->hopeless)
            demand.lack_kib += sub_or_0(d->lower_kib, d->held_kib);
        demand.coming_kib += sub_or_0(
            min_u64(d->facts.target_kib, d->facts.actual_kib), d->next_kib);
        demand.works |= d->judgement.working && !judge_is_retried(d);
        demand.deviation_kib += deviation_kib(d);
        demand.astray |= is_astray(d);
        demand.expected_kib += (int64_t)(d->held_kib - expected_kib(d, now_us));
    }
    *ret = demand;
}

/* Small deviations are not worth a write, unless a target is where none may be
 * (a driver that fails to reach it sleeps), or the targets as they are will not
 * free what is wanted, or what somebody lacks of his minimum: he gets that
 * in one step or not at all, and all that was freed for it would lie idle. */
static bool
worth_writing(const struct planner *p, const struct tally *t,
              const struct demand *demand, uint64_t unmet_kib)
{
    int64_t coming = t->headroom_kib + demand->expected_kib;

    coming += unmet_kib > 0 ? (int64_t)p->settings.cushion_kib : t->relief_kib;
    return demand->astray ||
           demand->deviation_kib >= p->settings.tolerance_kib ||
           coming < (int64_t)(unmet_kib + demand->lack_kib);
}

void
targets_set(struct planner *p, struct tally *t, struct plan *plan,
            int64_t now_us)
{
    struct demand demand;

    set_costless(p, now_us, &demand);
    grow(p, &demand, t->headroom_kib - (int64_t)plan->unmet_kib);
    /* Whatever is worth it: where nothing deviates, there is nothing. */
    if (demand.deviation_kib == 0 ||
        !worth_writing(p, t, &demand, plan->unmet_kib))
        return;
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        if (!d->movable || deviation_kib(d) == 0)
            continue;
        t->headroom_kib -= (int64_t)sub_or_0(d->next_kib, d->held_kib);
        t->cut_kib +=
            sub_or_0(d->held_kib, max_u64(d->next_kib, d->facts.actual_kib));
        emit(d, plan, now_us);
    }
}

/* A changed target wakes a driver that has gone to sleep.  A page less is
 * enough, and frees no less than was asked for; where its range has none, a
 * page more, which is asked for again once it has moved. */
static void
poke(struct domain *d, struct plan *plan, int64_t now_us)
{
    uint64_t target = d->facts.target_kib;
    bool down = target >= d->lower_kib + KIB_PER_PAGE;
    uint64_t wake = down ? target - KIB_PER_PAGE : target + KIB_PER_PAGE;
    struct setting *s;

    /* Its new target, if it just got one, wakes it anyway. */
    if (d->next_kib != target || wake > d->upper_kib || wake > d->held_kib ||
        !judge_poke(d, now_us))
        return;
    s = setting_of(plan, d);
    s->target_kib = wake;
    s->grows = wake > s->limit_kib;
    s->limit_kib = max_u64(s->limit_kib, wake);
}

/* Marks go along with the target as it is, or as it is set now. */
static void
mark(struct domain *d, struct plan *plan, int64_t now_us)
{
    if (judge_mark_changes(d, now_us))
        setting_of(plan, d)->mark = judge_is_uncooperative(d, now_us)
                                        ? MARK_UNCOOPERATIVE
                                        : MARK_COOPERATIVE;
}

void
targets_tend(struct planner *p, const struct tally *t, struct plan *plan,
             int64_t now_us)
{
    if (t->tended == 0)
        return;
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];

        if (d->movable) {
            poke(d, plan, now_us);
            mark(d, plan, now_us);
        }
    }
}

void
targets_probe(struct planner *p, struct tally *t, struct plan *plan,
              int64_t now_us)
{
    bool eager = p->queue.count > 0;
    struct probe_order order;

    if (t->probing == 0)
        return;
    for (size_t i = 0; i < p->host.count; i++) {
        struct domain *d = &p->host.domains[i];
        int64_t room = t->headroom_kib - (int64_t)plan->unmet_kib;
        struct setting *s;

        if (d->movable || !probe_look(d, eager, or_0(room), now_us, &order))
            continue;
        t->headroom_kib -= (int64_t)probe_order_cost_kib(d, &order);
        s = setting_of(plan, d);
        s->target_kib = order.target_kib;
        s->limit_kib = order.limit_kib;
        s->grows = order.limit_kib > d->facts.limit_kib;
    }
}
