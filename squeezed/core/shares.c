/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/shares.h"

#include "squeezed/core/appetite.h"
#include "squeezed/core/judge.h"

#include <assert.h>

static uint64_t
capped_upper_pages(const struct domain *d)
{
    return max_u64(min_u64(d->upper_kib, appetite_cap_kib(d)), d->lower_kib) /
           KIB_PER_PAGE;
}

static struct share_member
share_of_domain(const struct domain *d, int64_t now_us)
{
    struct share_member m = {
        .min_pages = d->lower_kib / KIB_PER_PAGE,
        .max_pages = d->upper_kib / KIB_PER_PAGE,
    };

    m.lower_pages = m.min_pages;
    m.upper_pages =
        d->judgement.sated_pages > 0 ? capped_upper_pages(d) : m.max_pages;
    /* A stuck guest is set to what it holds. */
    if (judge_is_stuck(d, now_us) && d->held_kib > d->lower_kib)
        m.lower_pages = m.upper_pages =
            min_u64(d->held_kib, d->upper_kib) / KIB_PER_PAGE;
    if (d->hopeless)
        m.lower_pages = m.upper_pages = d->held_kib / KIB_PER_PAGE;
    return m;
}

void
shares_add(struct planner *p, size_t i, int64_t now_us)
{
    const struct domain *d = &p->host.domains[i];

    if (!d->movable)
        return;
    p->member_of[p->member_count] = (uint32_t)i;
    p->members[p->member_count++] = share_of_domain(d, now_us);
}

void
shares_gather(struct planner *p, int64_t now_us)
{
    p->member_count = 0;
    for (size_t i = 0; i < p->host.count; i++)
        shares_add(p, i, now_us);
}

/* What the movable domains may hold in all once `want` is kept free. */
static uint64_t
budget_pages(const struct tally *t, uint64_t want_kib)
{
    int64_t kib = (int64_t)t->held_kib - (int64_t)t->slack_kib +
                  t->headroom_kib - (int64_t)want_kib;

    if (want_kib == 0)
        kib += t->relief_kib;

    return or_0(kib) / KIB_PER_PAGE;
}

/* By that alone: it is neither stuck nor hopeless. */
static bool
is_capped(const struct share_member *m, const struct domain *d)
{
    return appetite_is_capped(d) && !d->hopeless &&
           m->upper_pages == capped_upper_pages(d);
}

static uint64_t
capped_lack_pages(const struct planner *p, size_t i)
{
    const struct share_member *m = &p->members[i];

    return is_capped(m, &p->host.domains[p->member_of[i]])
               ? m->max_pages - m->upper_pages
               : 0;
}

/* All others are at their maximum: the rest is no use to anybody else, and goes
 * to those that are sated, by what they lack of theirs. */
static void
share_rest(struct planner *p, uint64_t budget)
{
    uint64_t lack = 0, rest = budget;

    for (size_t i = 0; i < p->member_count; i++) {
        rest = sub_or_0(rest, p->members[i].share_pages);
        lack += capped_lack_pages(p, i);
    }
    rest = min_u64(rest, lack);
    for (size_t i = 0; i < p->member_count && rest > 0; i++) {
        uint64_t lacks = capped_lack_pages(p, i), part;

        if (lacks == 0)
            continue;
        assert(lacks <= lack); /* which is the sum of those to come */
        part = mul_div(lacks, rest, lack);
        p->members[i].share_pages += part;
        rest -= part;
        lack -= lacks;
    }
}

static void
share_out(struct planner *p, const struct tally *t, uint64_t want_kib)
{
    uint64_t budget = budget_pages(t, want_kib);

    policy_share(p->settings.policy, p->members, p->member_count, budget);
    if (t->sated > 0)
        share_rest(p, budget);
}

void
shares_set(struct planner *p, const struct tally *t, uint64_t want_kib)
{
    size_t n = p->member_count;

    share_out(p, t, want_kib);
    for (size_t i = 0; i < n; i++)
        p->host.domains[p->member_of[i]].share_kib =
            p->members[i].share_pages * KIB_PER_PAGE;
}

uint64_t
shares_of_range(struct planner *p, const struct tally *t, uint64_t min_kib,
                uint64_t max_kib, uint64_t fixed_kib)
{
    size_t n = p->member_count;

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

void
shares_set_around_laggards(struct planner *p, const struct tally *t,
                           uint64_t want_kib)
{
    size_t n = p->member_count;

    for (size_t i = 0; i < n; i++) {
        const struct domain *d = &p->host.domains[p->member_of[i]];
        struct share_member *m = &p->members[i];
        uint64_t reach = d->judgement.reach_kib / KIB_PER_PAGE;

        if (d->judgement.lagging)
            m->lower_pages =
                min_u64(max_u64(reach, m->lower_pages), m->upper_pages);
    }
    share_out(p, t, want_kib);
    for (size_t i = 0; i < n; i++) {
        struct domain *d = &p->host.domains[p->member_of[i]];
        uint64_t share = p->members[i].share_pages * KIB_PER_PAGE;

        if (!d->judgement.lagging || share < d->share_kib)
            d->share_kib = share;
    }
}
