/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a look shows of a domain: the hypervisor's numbers, brought into the
 * frame of its target, what its keys say, and what its guest was seen to do.
 * Makes one hypercall each for domains under construction and for those with
 * populate on demand, and stores a guest's offset when it was measured. */
#ifndef XEN_FACTS_H
#define XEN_FACTS_H

#include "squeezed/core/facts.h"
#include "squeezed/platform/xen_cache.h"

struct xen_facts {
    struct xen_hypervisor *hypervisor;
    struct xsc *xsc;
    enum xen_balloon balloon;
    bool zero_managed;
    bool read_only; /* offsets aren't stored */
    /* As of this look. */
    int64_t now_us;
    uint64_t total_kib;
    /* When a managed domain was last seen on its way to its target. */
    bool anything_moved;
    int64_t moved_us;
};

/* domain: NULL, or its keys, where they were read. */
void
xen_facts_of(struct xen_facts *facts, struct xen_domain *domain,
             const struct xen_hypervisor_domain *seen,
             struct domain_facts *ret);

#endif
