/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Does a guest balloon at all?  Some can't say so: a Linux guest started by xl
 * has no key for it that it may write.  So it is asked for 1 MiB, with its
 * limit untouched, and gets it back whatever comes of it.  Pure. */
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

/* Once after each look, for each domain; eager: a request waits for memory
 * that unproven guests may have.  True if the domain needs a new target:
 * *ret_target_kib, with the limit as it is. */
bool
probe_look(struct domain *domain, bool eager, int64_t now_us,
           uint64_t *ret_target_kib);

/* When its next probe begins or the one under way ends; TIME_NEVER_US. */
int64_t
probe_next_us(const struct domain *domain);

#endif
