/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What there is over all domains at one look, and what could be had of it.
 * Inside core only: the planner's parts share it. */
#ifndef CORE_TALLY_H
#define CORE_TALLY_H

#include "squeezed/core/planner.h"

struct tally {
    int64_t headroom_kib;
    /* Of a negative headroom, what nobody is squeezed for while nobody waits:
     * a domain is being built.  No grant and no growth comes out of it. */
    int64_t relief_kib;
    uint64_t held_kib;    /* by the movable domains */
    uint64_t slack_kib;   /* of it, above where their targets are */
    int64_t best_kib;     /* could be had if every donor gave all */
    int64_t sure_kib;     /* the same without the stuck ones */
    int64_t brisk_kib;    /* the same without the slow ones, too */
    int64_t unproven_kib; /* beyond it: of unproven guests, and of the dying */
    uint64_t cut_kib; /* of limits, by this plan, where nothing has to move */
    /* How many domains there is something to be done about. */
    size_t sated; /* they don't take all that they may */
    size_t lagging;
    size_t leaving;  /* they die, and give what they held */
    size_t probing;  /* unproven: asked, or to be asked, whether they balloon */
    size_t tended;   /* to be woken, or to be marked */
    size_t indebted; /* stuck, and above their minimum */
    size_t lacking;  /* below their minimum */
    size_t hopeless; /* of these, what can't have it */
};

void
tally_take(struct tally *tally, const struct planner *planner, int64_t now_us);

/* The same in parts: of a tally of zeros, each domain, and the end. */
void
tally_add(struct tally *tally, const struct domain *domain, int64_t now_us);
void
tally_end(struct tally *tally, const struct planner *planner, int64_t now_us);

/* It is stuck and holds more than its minimum. */
bool
tally_is_stuck_debtor(const struct domain *domain, int64_t now_us);

/* kib is reserved: nobody else can have it. */
void
tally_spend(struct tally *tally, uint64_t kib);

/* Why a request of this minimum can't be met behind wants of ahead_kib;
 * ERR_NONE if it can.  *ret_free_kib: what could be had for it. */
enum err
tally_impossible(const struct tally *tally, uint64_t min_kib,
                 uint64_t ahead_kib, int64_t *ret_free_kib);

/* Guests whose balloons nobody knows of might do: worth a little patience. */
bool
tally_unproven_may_help(const struct tally *tally, uint64_t min_kib,
                        uint64_t ahead_kib);

static inline uint64_t
or_0(int64_t kib)
{
    return kib > 0 ? (uint64_t)kib : 0;
}

#endif
