/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planner's use of the policy: each movable domain's share_kib, and what a
 * range request gets beside them.  Inside core only. */
#ifndef CORE_SHARES_H
#define CORE_SHARES_H

#include "squeezed/core/tally.h"

/* Who takes part, and within which bounds: before the others, once a look.
 * In parts: of no members, each domain in turn. */
void
shares_gather(struct planner *planner, int64_t now_us);
void
shares_add(struct planner *planner, size_t domain, int64_t now_us);

/* Every movable domain's share_kib, with want_kib kept free. */
void
shares_set(struct planner *planner, const struct tally *tally,
           uint64_t want_kib);

/* The same once more, with the laggards at what they can reach, so that the
 * others give what these won't.  A laggard keeps its own share: it may wake
 * up.  After shares_set(). */
void
shares_set_around_laggards(struct planner *planner, const struct tally *tally,
                           uint64_t want_kib);

/* A range request counts as one more domain with that range, which holds
 * nothing yet: what it gets.  fixed_kib is what other requests will get. */
uint64_t
shares_of_range(struct planner *planner, const struct tally *tally,
                uint64_t min_kib, uint64_t max_kib, uint64_t fixed_kib);

#endif
