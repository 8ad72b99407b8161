/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Does a guest balloon at all?  Some can't say so: a Linux guest started by xl
 * has no key for it that it may write.  So it is asked for 1 MiB, with its
 * limit untouched, and gets it back whatever comes of it.  One that is at its
 * minimum, or below, is given some instead: up to its limit if that will do
 * (xl's limits are 1 MiB above targets), else out of the headroom.  Pure. */
#ifndef CORE_PROBE_H
#define CORE_PROBE_H

#include "squeezed/core/host.h"

enum {
    PROBE_KIB = KIB_PER_MIB,
    /* Half of it is proof: a PVH guest rests 64 KiB above its target. */
    PROBE_PROOF_KIB = PROBE_KIB / 2,
    PROBE_US = 5 * US_PER_S,
    /* The next try: after this, doubled each time up to the last. */
    PROBE_PAUSE_US = 60 * US_PER_S,
    /* While a request waits, at the earliest so long after the last one. */
    PROBE_EAGER_US = 10 * US_PER_S,
    /* A request that would fit only with unproven guests waits so long for
     * them. */
    PROBE_REQUEST_US = 3 * US_PER_S
};
#define PROBE_LONGEST_PAUSE_US (INT64_C(3600) * US_PER_S)

/* Managed, untouched by others, and only its balloon isn't known to work. */
bool
probe_is_candidate(const struct domain *domain);

/* A probe of it is under way. */
bool
probe_is_running(const struct domain *domain);

struct probe_order {
    uint64_t target_kib;
    uint64_t limit_kib;
};

/* Once after each look, for each domain; eager: a request waits for memory
 * that unproven guests may have; room_kib: headroom that it may use.  True if
 * the domain needs what is in *ret. */
bool
probe_look(struct domain *domain, bool eager, uint64_t room_kib, int64_t now_us,
           struct probe_order *ret);

/* The headroom that the order takes. */
uint64_t
probe_order_cost_kib(const struct domain *domain,
                     const struct probe_order *order);

/* When its next probe begins or the one under way ends; TIME_NEVER_US. */
int64_t
probe_next_us(const struct domain *domain, bool eager);

#endif
