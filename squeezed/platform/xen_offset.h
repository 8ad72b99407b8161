/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest at rest holds a little more or less than its target, always by the
 * same amount: pages of its firmware, video memory, holes.  This measures that
 * offset, and believes it only after a change of the target was seen to move
 * what the domain holds by the same amount: a guest without a balloon, or one
 * that drifts, has no offset.  Pure. */
#ifndef XEN_OFFSET_H
#define XEN_OFFSET_H

#include "common/units.h"

/* Larger offsets than this are no constant of a guest: KiB either way. */
#define XEN_OFFSET_MAX_KIB INT64_C(65536)
/* At rest: nothing has changed for so long. */
#define XEN_OFFSET_STILL_US (2 * US_PER_S)
/* Between two measurements. */
#define XEN_OFFSET_PAUSE_US (60 * US_PER_S)

/* All zero at first. */
struct xen_offset {
    bool seen;
    uint64_t target_kib; /* at the look before */
    uint64_t held_kib;
    int64_t changed_us; /* they are so since then */
    bool rested;        /* it was at rest, last like this: */
    uint64_t rest_target_kib;
    uint64_t rest_held_kib;
    bool measured;
    int64_t measured_us;
};

/* What a look shows of a domain that runs. */
struct xen_offset_sight {
    uint64_t target_kib; /* in the store */
    uint64_t held_kib;   /* tot_pages */
    uint64_t max_kib;    /* max_pages */
    bool host_moves;     /* others follow their targets just now */
};

/* True if an offset was measured: *ret_kib = held - target. */
bool
xen_offset_look(struct xen_offset *offset, const struct xen_offset_sight *sight,
                int64_t now_us, int64_t *ret_kib);

#endif
