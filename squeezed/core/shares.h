/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planner's use of the policy: each movable domain's share_kib, and what a
 * range request gets beside them.  Inside core only. */
#ifndef CORE_SHARES_H
#define CORE_SHARES_H

#include "squeezed/core/tally.h"

/* Every movable domain's share_kib, with want_kib kept free. */
void
shares_set(struct planner *planner, const struct tally *tally,
           uint64_t want_kib, int64_t now_us);

/* The same once more, with the laggards at what they can reach, so that the
 * others give what these won't.  A laggard keeps its own share: it may wake
 * up.  After shares_set(). */
void
shares_set_around_laggards(struct planner *planner, const struct tally *tally,
                           uint64_t want_kib, int64_t now_us);

/* A range request counts as one more domain with that range, which holds
 * nothing yet: what it gets.  fixed_kib is what other requests will get. */
uint64_t
shares_of_range(struct planner *planner, const struct tally *tally,
                uint64_t min_kib, uint64_t max_kib, uint64_t fixed_kib,
                int64_t now_us);

#endif
