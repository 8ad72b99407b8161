/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What shows that a guest has a working balloon, or that it has booted far
 * enough to be asked.  Pure. */
#ifndef XEN_GUEST_H
#define XEN_GUEST_H

#include "common/units.h"

/* How it is known that a guest's balloon works. */
enum xen_balloon {
    XEN_BALLOON_AUTO,    /* by any sign of it; else it may be probed */
    XEN_BALLOON_FEATURE, /* control/feature-balloon, other than "0" */
    XEN_BALLOON_ALWAYS   /* every managed domain that has run */
};

/* A guest that says nothing has booted after this. */
#define XEN_GUEST_BOOT_US (60 * US_PER_S)

/* All zero at first. */
struct xen_guest {
    bool ran;          /* at the look before, */
    int64_t looked_us; /*   which was then */
    int64_t ran_us;    /* that it has run, as far as it was seen */
    /* Populate on demand: it has holes that it believes to be memory, and a
     * stock of pages to fill them.  As long as there are more holes than
     * pages it has not started its balloon, or dies without it. */
    bool pod_seen;
    bool pod_settled;
    bool pod_proof; /* its balloon has taken holes */
    uint64_t pod_short_kib;
    uint64_t pod_held_kib;
};

struct xen_guest_signs {
    bool managed;
    bool runs;     /* it has run, and nobody builds it any more */
    bool feature;  /* control/feature-balloon */
    bool offset;   /* it has a memory-offset */
    bool poweroff; /* control/feature-poweroff is what Linux makes it */
};

/* Once a look. */
void
xen_guest_look(struct xen_guest *guest, bool runs_now, int64_t now_us);

/* What there is left of populate on demand in a domain that has run. */
void
xen_guest_look_pod(struct xen_guest *guest, uint64_t entries_kib,
                   uint64_t cache_kib, uint64_t held_kib);

/* DOMAIN_BALLOON, DOMAIN_PROBE_READY or neither. */
uint32_t
xen_guest_flags(const struct xen_guest *guest, enum xen_balloon rule,
                const struct xen_guest_signs *signs);

#endif
