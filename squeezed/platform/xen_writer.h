/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets targets and limits.  Growing: the limit first; shrinking: the target
 * first.  Targets go out in transactions of a few domains, each with the key
 * that tells our own writes from others'. */
#ifndef XEN_WRITER_H
#define XEN_WRITER_H

#include "squeezed/core/planner.h"
#include "squeezed/platform/xen_cache.h"

struct xen_writer;

/* All three stay the caller's.  NULL without memory. */
struct xen_writer *
xen_writer_new(struct xsc *xsc, struct xen_hypervisor *hypervisor,
               struct xen_cache *cache);

/* After the xenstore client; before the cache. */
void
xen_writer_free(struct xen_writer *writer);

/* Domains that are gone are left out. */
void
xen_writer_apply(struct xen_writer *writer, const struct setting *settings,
                 size_t count);

/* Nobody can read the target in the store: this one takes its place. */
void
xen_writer_restore(struct xen_writer *writer, struct xen_domain *domain,
                   uint64_t target_kib);

#endif
