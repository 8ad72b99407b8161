/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/policy.h"

#include <assert.h>
#include <string.h>

typedef unsigned __int128 u128;

#define FRACTION_ONE  (UINT64_C(1) << SHARE_FRACTION_BITS)
#define FRACTION_MASK (FRACTION_ONE - 1)

/* The same (target - min) / (max - min) for all: XAPI's rule. */
static uint64_t
proportional_share(const struct share_member *m, uint64_t gamma)
{
    u128 span = (u128)(m->max_pages - m->min_pages) * gamma;

    return (m->min_pages << SHARE_FRACTION_BITS) +
           (uint64_t)(span >> (GAMMA_BITS - SHARE_FRACTION_BITS));
}

static const struct policy policies[] = {
    { .name = "proportional", .share = proportional_share },
};

const struct policy *
policy_find(const char *name)
{
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i];
    return NULL;
}

/* A share between its member's bounds, fixed-point. */
static uint64_t
bounded(const struct share_member *m, uint64_t share)
{
    uint64_t lower = m->lower_pages << SHARE_FRACTION_BITS;
    uint64_t upper = m->upper_pages << SHARE_FRACTION_BITS;

    return share < lower ? lower : share > upper ? upper : share;
}

static inline u128
sum_shares_by(uint64_t (*share)(const struct share_member *, uint64_t),
              const struct share_member *members, size_t count, uint64_t gamma)
{
    u128 sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += bounded(&members[i], share(&members[i], gamma));
    return sum;
}

/* Most of a pass over thousands of domains is spent here: the policy that
 * nearly everybody has is worth a loop of its own, without calls. */
static u128
sum_shares(const struct policy *policy, const struct share_member *members,
           size_t count, uint64_t gamma)
{
    if (policy->share == proportional_share)
        return sum_shares_by(proportional_share, members, count, gamma);
    return sum_shares_by(policy->share, members, count, gamma);
}

/* The largest gamma whose shares don't exceed the budget by more than less
 * than a page in all.  The sum grows piecewise linearly, so that interpolation
 * gets there in a few steps; each step that did not halve the interval is
 * followed by one that does. */
static uint64_t
find_gamma(const struct policy *policy, const struct share_member *members,
           size_t count, u128 budget)
{
    uint64_t low = 0, high = GAMMA_ONE, gamma;
    u128 low_sum = sum_shares(policy, members, count, low);
    u128 high_sum, sum;
    int halve = 0;

    if (low_sum >= budget)
        return low;
    high_sum = sum_shares(policy, members, count, high);
    if (high_sum <= budget)
        return high;
    /* Here low_sum < budget < high_sum. */
    while (high - low > 1 && budget - low_sum >= FRACTION_ONE) {
        uint64_t width = high - low;

        if (halve)
            gamma = low + width / 2;
        else
            gamma = low + (uint64_t)((u128)width * (budget - low_sum) /
                                     (high_sum - low_sum));
        if (gamma <= low)
            gamma = low + 1;
        if (gamma >= high)
            gamma = high - 1;
        sum = sum_shares(policy, members, count, gamma);
        if (sum <= budget) {
            low = gamma;
            low_sum = sum;
        } else {
            high = gamma;
            high_sum = sum;
        }
        halve = high - low > width / 2;
    }
    return low;
}

/* May it have one page more than its share?  Members at a bound stay there. */
static int
takes_remainder(const struct share_member *m, uint64_t share)
{
    return share >= m->lower_pages << SHARE_FRACTION_BITS &&
           share < m->upper_pages << SHARE_FRACTION_BITS;
}

/* How many of the given digit values (128 of them) from the top are wholly
 * among the first `wanted`; *ret_left is what remains for the digit at which
 * it stops, which is returned. */
static unsigned
select_digit(const size_t histogram[128], size_t wanted, size_t *ret_left)
{
    unsigned digit = 127;

    while (digit > 0 && histogram[digit] < wanted)
        wanted -= histogram[digit--];
    *ret_left = wanted;
    return digit;
}

/* Gives `left` pages to the largest fractions, one each.  The fractions have
 * 14 bits: two histograms of 7 select without sorting.  Members that take none
 * have the fraction UINT32_MAX. */
static size_t
give_remainders(struct share_member *members, size_t count, size_t left)
{
    size_t high[128] = { 0 }, low[128] = { 0 }, equal, takers = 0;
    unsigned high_digit, low_digit;
    uint32_t limit;

    for (size_t i = 0; i < count; i++)
        if (members[i].fraction != UINT32_MAX) {
            high[members[i].fraction >> 7]++;
            takers++;
        }
    if (left > takers)
        left = takers;
    if (left == 0)
        return 0;
    high_digit = select_digit(high, left, &equal);
    for (size_t i = 0; i < count; i++)
        if (members[i].fraction >> 7 == high_digit)
            low[members[i].fraction & 127]++;
    low_digit = select_digit(low, equal, &equal);
    limit = high_digit << 7 | low_digit;
    for (size_t i = 0; i < count; i++) {
        if (members[i].fraction == UINT32_MAX || members[i].fraction < limit)
            continue;
        if (members[i].fraction == limit) {
            if (equal == 0)
                continue;
            equal--;
        }
        members[i].share_pages++;
    }
    return left;
}

/* What fractions could not take: only where a policy jumps at gamma. */
static void
give_rest(struct share_member *members, size_t count, uint64_t left)
{
    for (size_t i = 0; i < count && left > 0; i++) {
        uint64_t room = members[i].upper_pages - members[i].share_pages;
        uint64_t gift = room < left ? room : left;

        members[i].share_pages += gift;
        left -= gift;
    }
}

uint64_t
policy_share(const struct policy *policy, struct share_member *members,
             size_t count, uint64_t budget_pages)
{
    u128 budget = (u128)budget_pages << SHARE_FRACTION_BITS;
    uint64_t gamma = find_gamma(policy, members, count, budget);
    u128 sum = 0;
    uint64_t left;

    for (size_t i = 0; i < count; i++) {
        struct share_member *m = &members[i];
        uint64_t share = policy->share(m, gamma);
        uint64_t kept = bounded(m, share);

        assert(m->min_pages <= m->max_pages);
        assert(m->lower_pages <= m->upper_pages);
        m->share_pages = kept >> SHARE_FRACTION_BITS;
        m->fraction = takes_remainder(m, share)
                          ? (uint32_t)(kept & FRACTION_MASK)
                          : UINT32_MAX;
        sum += m->share_pages;
    }
    /* At either end the bounds, not the budget, decide. */
    if (sum >= budget_pages || gamma == GAMMA_ONE)
        return gamma;
    left = budget_pages - (uint64_t)sum;
    left -=
        give_remainders(members, count, left < count ? (size_t)left : count);
    give_rest(members, count, left);
    return gamma;
}
