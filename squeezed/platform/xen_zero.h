/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domain 0's range, where it is to take part: dynamic-min and dynamic-max
 * below /local/domain/0/memory, as of any other domain; nobody else writes
 * them.  static-max is left to the toolstack, and a target that is there to
 * whoever set it.  Pure. */
#ifndef XEN_ZERO_H
#define XEN_ZERO_H

#include "squeezed/platform/xen_values.h"

/* max_kib: what it has at the first start. */
#define XEN_ZERO_AUTO UINT64_MAX

struct xen_zero {
    bool managed;
    uint64_t min_kib;
    uint64_t max_kib;
    uint64_t first_kib; /* what it had at the first start; 0: not known yet */
    bool written;       /* on this connection, or on its way */
    int64_t again_us;   /* it was refused: not before that; 0: it wasn't */
};

/* The range that it gets.  auto: stored, its dynamic-max in the store, is from
 * the first start since the host's, when there is one; else that is now.  A
 * minimum above the maximum becomes the maximum. */
void
xen_zero_range(struct xen_zero *zero, const struct xen_value *stored,
               uint64_t held_kib, uint64_t *ret_min_kib, uint64_t *ret_max_kib);

/* The target that it gets where it has none: what it holds, as more is given
 * out of what is free only. */
uint64_t
xen_zero_target(uint64_t max_kib, uint64_t held_kib);

#endif
