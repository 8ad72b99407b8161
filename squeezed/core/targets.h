/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From shares to settings: who shrinks now, who grows out of the headroom of
 * this moment, and what else is written to a guest (pokes, marks, probes).
 * Inside core only. */
#ifndef CORE_TARGETS_H
#define CORE_TARGETS_H

#include "squeezed/core/tally.h"

/* Probes the unproven; before the headroom goes to others.  What it took of it
 * leaves the tally. */
void
targets_probe(struct planner *planner, struct tally *tally, struct plan *plan,
              int64_t now_us);

/* Adds the settings to plan; after the shares were set.  plan->unmet_kib is
 * what requests still want.  What it gives to guests leaves the tally. */
void
targets_set(struct planner *planner, struct tally *tally, struct plan *plan,
            int64_t now_us);

/* Wakes sleeping drivers, marks the uncooperative; after targets_set(). */
void
targets_tend(struct planner *planner, const struct tally *tally,
             struct plan *plan, int64_t now_us);

#endif
