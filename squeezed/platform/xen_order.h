/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an administrator orders for a domain, as keys of it: they die with the
 * domid and survive a restart of the broker.  Ceiling and frozen count from the
 * completion on: the cache is told, and doesn't wait for its watch. */
#ifndef XEN_ORDER_H
#define XEN_ORDER_H

#include "squeezed/platform/xen_cache.h"
#include "squeezed/platform/xen_operation.h"

struct xen_order;

struct xen_orders {
    struct xen_cache *cache;
    LIST_HEAD(, xen_order) list; /* on their way */
};

/* Stores it, all or nothing.  operation: completed with the result, or NULL. */
void
xen_order_send(struct xen_orders *orders, struct xsc *xsc, uint32_t domid,
               const struct domain_order *order,
               struct xen_operation *operation);

/* Drops what is on its way; after the xenstore client. */
void
xen_orders_free(struct xen_orders *orders);

#endif
