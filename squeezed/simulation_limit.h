/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What no broker could do better than, from the simulated guests themselves:
 * how soon memory can come free, and how much of it. */
#ifndef SIMULATION_LIMIT_H
#define SIMULATION_LIMIT_H

#include "squeezed/simulation.h"

/* The physical limit of request i, which is about to be submitted: with every
 * donor moving at its rate, the time that the slowest needs for the share that
 * the policy asks of it, for all wants up to and including this one.  0:
 * nothing has to move; -1: it can't be met. */
int64_t
simulation_limit_us(const struct scenario *scenario,
                    const struct simulation *simulation,
                    const struct platform *sim, size_t i);

/* More than this is not to be had now, by nobody: every domain that might give
 * at its minimum.  May be negative. */
int64_t
simulation_most_kib(const struct scenario *scenario,
                    const struct platform *sim);

#endif
