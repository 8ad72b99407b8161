/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The manual method: what somebody else writes to memory/target (`xl mem-set`,
 * `virsh setmem`, plain writes) is a wish, which becomes the domain's ceiling.
 *
 * memory/squeezed-target is the last target that counts: ours are written
 * together with it, in one transaction; one of somebody else is written there
 * once it has become the ceiling.  So whatever differs from it is a wish that
 * nobody has heard yet, also after a restart. */
#ifndef XEN_MANUAL_H
#define XEN_MANUAL_H

#include "squeezed/platform/xen_values.h"

/* After it was built or restored a toolstack may still write the target. */
#define XEN_MANUAL_YOUNG_US US_PER_S

/* All zero at first. */
struct xen_manual {
    bool seen;        /* built, */
    int64_t young_us; /*   and that began then, while we looked; 0 */
};

struct xen_manual_sight {
    bool managed;
    bool building;
    bool going;   /* shut down, or dying */
    bool new;     /* it came while we looked */
    bool certain; /* nothing that concerns the two is on its way */
    const struct xen_value *target;
    const struct xen_value *squeezed; /* memory/squeezed-target */
};

enum xen_manual_verdict {
    XEN_MANUAL_NOTHING,
    XEN_MANUAL_BASE, /* no wish, and from now on the one to compare with */
    XEN_MANUAL_WISH
};

/* Once a look. */
enum xen_manual_verdict
xen_manual_look(struct xen_manual *manual, const struct xen_manual_sight *sight,
                int64_t now_us);

#endif
