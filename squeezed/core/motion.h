/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is on its way at this look, and when it is worth looking again.  Inside
 * core only. */
#ifndef CORE_MOTION_H
#define CORE_MOTION_H

#include "squeezed/core/tally.h"

enum {
    /* While a request waits: look again between 5 and 25 ms from now. */
    LOOK_SOON_US = 5 * US_PER_MS,
    LOOK_WAITING_US = 25 * US_PER_MS,
    /* While something else moves. */
    LOOK_MOVING_US = 100 * US_PER_MS
};

struct motion {
    bool works;          /* some donor is at work */
    bool brisk;          /*   and does not lag */
    uint64_t rate_kib_s; /* of those that don't, together */
    uint64_t able_kib_s; /* and of those that could be asked for more */
    int64_t longest_us;  /* until the last donor is done; -1: not known */
    bool moves;          /* anything, in either direction */
    int64_t probe_us;    /* the next event of a probe; TIME_NEVER_US */
};

void
motion_take(struct motion *motion, const struct planner *planner,
            int64_t now_us);

/* The same in parts: eager while a request waits. */
void
motion_begin(struct motion *motion);
void
motion_add(struct motion *motion, const struct domain *domain, bool eager,
           int64_t now_us);

/* How long the brisk ones need for so much, together; -1 if not known. */
int64_t
motion_remaining_us(const struct motion *motion, int64_t need_kib);

/* Those that have given what they were asked for are a good part of what could
 * be had: worth asking them for more. */
bool
motion_can_hurry(const struct motion *motion);

/* The least time in which all guests that don't lag could free so much, each at
 * its observed rate and down to its minimum: those that have given what they
 * were asked for may give more.  motion_remaining_us() where that is not much
 * longer. */
int64_t
motion_least_us(const struct motion *motion, const struct planner *planner,
                int64_t need_kib, int64_t now_us);

/* How long to wait until the next look while need_kib is waited for; while
 * nothing is, 0 or less. */
int64_t
motion_wait_us(const struct motion *motion, int64_t need_kib,
               int64_t interval_us);

#endif
