/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Policies: how memory is shared between domains that could all use it.
 *
 * A policy is a pure function that gives each domain's share as a growing
 * function of one number gamma; share() finds the gamma at which the shares,
 * each kept between its bounds, add up to the budget, to the page. */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include <stddef.h>
#include <stdint.h>

/* gamma runs from 0 to GAMMA_ONE.  A step of it moves even the largest range
 * (2^48 pages) by at most one page. */
#define GAMMA_BITS 48
#define GAMMA_ONE  (UINT64_C(1) << GAMMA_BITS)
/* Shares are fixed-point pages: this many bits are the fraction of a page. */
#define SHARE_FRACTION_BITS 14

struct share_member {
    /* The range that the policy shares out, and what else it may look at. */
    uint64_t min_pages;
    uint64_t max_pages; /* >= min_pages */
    /* What the share is kept between, whatever the policy says. */
    uint64_t lower_pages;
    uint64_t upper_pages; /* >= lower_pages */
    /* The result. */
    uint64_t share_pages;
    uint32_t fraction; /* scratch */
};

struct policy {
    const char *name;
    /* The member's share at gamma, as pages << SHARE_FRACTION_BITS.  Grows
     * with gamma; min_pages at 0, max_pages at GAMMA_ONE. */
    uint64_t (*share)(const struct share_member *member, uint64_t gamma);
};

/* All there are; NULL if there is none of that name. */
const struct policy *
policy_find(const char *name);

/* Sets share_pages of each member so that they add up to budget_pages exactly,
 * or, where the bounds don't allow that, are all at their lower or all at
 * their upper bounds.  Returns the gamma.  Fractions of pages go to the largest
 * remainders, members further in front first. */
uint64_t
policy_share(const struct policy *policy, struct share_member *members,
             size_t count, uint64_t budget_pages);

#endif
