/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Xen platform's own, for xen.c (connections, orders, life) and xen_look.c
 * (what there is). */
#ifndef XEN_INTERNAL_H
#define XEN_INTERNAL_H

#include "squeezed/platform/xen.h"
#include "squeezed/platform/xen_cache.h"
#include "squeezed/platform/xen_facts.h"
#include "squeezed/platform/xen_hypervisor.h"
#include "squeezed/platform/xen_ledger.h"
#include "squeezed/platform/xen_note.h"
#include "squeezed/platform/xen_order.h"
#include "squeezed/platform/xen_writer.h"
#include "squeezed/platform/xen_zero.h"

/* What is the matter: the first of them that is. */
enum trouble {
    TROUBLE_NONE,
    TROUBLE_XEN,
    TROUBLE_XENSTORE,
    TROUBLE_READING,
    TROUBLE_RANGES
};

struct xen_platform {
    struct platform platform;
    struct event_base *base;
    char path[108]; /* of xenstored's socket; as long as they can be */
    struct xen_facts view;
    struct xen_zero zero;
    struct xen_hypervisor *hypervisor;
    struct xsc *xsc;
    struct xen_cache *cache;
    struct xen_writer *writer;
    struct xen_operations operations;
    struct xen_orders orders;
    struct xen_notes notes;
    bool looked; /* at least once: who comes from now on is new */
    struct xen_writes writes;
    struct xen_loads loads;
    struct event *retry;
    struct xen_brake *brake; /* NULL: none to be had */
    unsigned connections;
    bool deaf; /* to domains that come and go: xenstored refused */
    bool deaf_said;
    bool autoballoon_checked;
    char xl_conf[108];
    char lost_why[80];
    enum trouble said; /* what was logged last */
    bool said_any;
    /* The last listing, and the facts made of it. */
    const struct xen_hypervisor_domain *listed;
    size_t count;
    struct xen_hypervisor_memory memory;
    struct domain_facts *facts;
    size_t capacity;
    size_t reboots; /* domains that do */
};

static inline struct xen_platform *
to_xen(struct platform *platform)
{
    return (struct xen_platform *)platform;
}

/* xen.c */

/* Hypervisor, xenstore and all that is read of it. */
bool
xen_usable(const struct xen_platform *xen);
void
xen_retry_soon(struct xen_platform *xen);

/* xen_look.c */

/* What the hypervisor lists; tries again soon where it can't be asked. */
enum err
xen_list_domains(struct xen_platform *xen);
/* Of the last listing; NULL: it wasn't there. */
const struct xen_hypervisor_domain *
xen_find_listed(const struct xen_platform *xen, uint32_t domid);
/* platform.h's look. */
enum err
xen_look(struct platform *platform, int64_t now_us, struct snapshot *ret);

#endif
