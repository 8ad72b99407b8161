/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests that don't take what they may: a kernel that was booted with less, an
 * application that keeps its driver busy, no driver that grows.  What they are
 * given would lie idle, so where others can use it they get a little more than
 * they hold; once they take that, they get their share again, step by step.
 * Pure. */
#ifndef CORE_APPETITE_H
#define CORE_APPETITE_H

#include "squeezed/core/host.h"

enum {
    /* What it may always take beyond what it holds: who has come to appetite
     * is known by that. */
    APPETITE_ROOM_KIB = KIB_PER_MIB,
    /* Who takes it gets half of the way to its maximum, or so much, once a
     * second. */
    APPETITE_STEP_KIB = 4 * KIB_PER_MIB
};

/* Of nearly all there is nothing to be known: they hold what they may. */
static inline bool
appetite_is_asked(const struct domain *domain)
{
    const struct judgement *j = &domain->judgement;

    return domain->facts.target_kib != domain->facts.actual_kib ||
           j->sated_pages > 0 || j->window_us > 0;
}

/* Once after each look, for each domain of which that is asked, after
 * judge_look(). */
void
appetite_look(struct domain *domain, int64_t now_us);

bool
appetite_is_capped(const struct domain *domain);

/* It is given no more than this where others can use the rest; UINT64_MAX for
 * nearly all. */
uint64_t
appetite_cap_kib(const struct domain *domain);

/* When it is known whether it takes what it was given; TIME_NEVER_US if that is
 * no question. */
int64_t
appetite_event_us(const struct domain *domain);

#endif
