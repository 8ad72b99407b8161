/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_zero.h"

void
xen_zero_range(struct xen_zero *zero, const struct xen_value *stored,
               uint64_t held_kib, uint64_t *ret_min_kib, uint64_t *ret_max_kib)
{
    uint64_t max_kib = zero->max_kib;

    if (zero->first_kib == 0)
        zero->first_kib = stored->state == XEN_VALUE_GOOD && stored->number > 0
                              ? (uint64_t)stored->number
                              : held_kib;
    if (max_kib == XEN_ZERO_AUTO)
        max_kib = zero->first_kib;
    *ret_min_kib = min_u64(zero->min_kib, max_kib);
    *ret_max_kib = max_kib;
}

uint64_t
xen_zero_target(uint64_t max_kib, uint64_t held_kib)
{
    return min_u64(page_down(held_kib), max_kib);
}
