/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a platform sees of its host at one instant: plain facts, nothing
 * judged.  The platform fills a snapshot, the core only reads it.
 *
 * All sizes are KiB in whole pages.  "actual" and "limit" are in the same
 * frame as the target: a platform has taken the guest's constant offset, and
 * what its toolstack lets the type exceed the limit by, off them already. */
#ifndef CORE_FACTS_H
#define CORE_FACTS_H

#include "common/units.h"

#include <stddef.h>
#include <stdint.h>

enum domain_flag {
    /* Both dynamic keys were seen, as a good pair: it may be moved. */
    DOMAIN_MANAGED = 1 << 0,
    /* Its balloon is known to work; a managed domain without it is booting. */
    DOMAIN_BALLOON = 1 << 1,
    DOMAIN_PAUSED = 1 << 2,
    /* Saving, migrating, or frozen by hand: not to be touched. */
    DOMAIN_FROZEN = 1 << 3,
    DOMAIN_SHUTDOWN = 1 << 4,
    DOMAIN_DYING = 1 << 5,
    /* Created, and has never run: somebody is building it. */
    DOMAIN_BUILDING = 1 << 6,
    /* Without DOMAIN_BALLOON: it has booted far enough that a balloon would
     * answer, so that it may be found out by asking. */
    DOMAIN_PROBE_READY = 1 << 7,
    /* It bears the mark of the uncooperative (as last set by apply). */
    DOMAIN_MARKED = 1 << 8,
    /* What is written as its range is no good; why is in its texts. */
    DOMAIN_BAD_RANGE = 1 << 9,
    /* Shut down to be started again: another domain of its UUID will come. */
    DOMAIN_REBOOTS = 1 << 10,
    /* A domain with any of these is left alone. */
    DOMAIN_UNTOUCHABLE = DOMAIN_PAUSED | DOMAIN_FROZEN | DOMAIN_SHUTDOWN |
                         DOMAIN_DYING | DOMAIN_BUILDING
};

#define CEILING_NONE UINT64_MAX

/* What a pass reads again and again comes first: see struct domain. */
struct domain_facts {
    uint32_t domid;      /* 0 to 32751 */
    uint32_t flags;      /* enum domain_flag */
    uint64_t actual_kib; /* what it holds */
    uint64_t limit_kib;  /* what it may grow to without asking us */
    /* The last target set by apply(), or the one in the store. */
    uint64_t target_kib;
    uint64_t extra_kib;  /* what it may hold beyond limit_kib all the same */
    uint64_t claim_kib;  /* claimed for it and not yet given to it */
    uint64_t paging_kib; /* its shadow or HAP memory, part of no actual_kib;
                          * only known while it is being built */
    /* The range; the dynamic part meaningful for DOMAIN_MANAGED only, the
     * static part 0 where the toolstack says nothing; for DOMAIN_MANAGED
     * static_min <= dynamic_min <= dynamic_max <= static_max. */
    uint64_t static_min_kib;
    uint64_t dynamic_min_kib;
    uint64_t dynamic_max_kib;
    uint64_t static_max_kib;
    /* The manual target: no target above it, wherever the range reaches to.
     * CEILING_NONE: none, squeezed chooses in the whole range. */
    uint64_t ceiling_kib;
    int64_t offset_kib; /* what was taken off actual_kib; for status only */
    uint8_t uuid[UUID_BYTES];
};

struct snapshot {
    uint64_t total_kib; /* all memory that domains and Xen share */
    uint64_t free_kib;
    uint64_t scrub_kib; /* given back, being cleaned: as good as free */
    const struct domain_facts *domains; /* ascending domids, none twice */
    size_t count;
    size_t reboots; /* of them with DOMAIN_REBOOTS */
};

#endif
