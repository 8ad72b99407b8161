/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger in xenstore: /squeezed/state/CLIENT/ID, in the form of XAPI's
 * squeezed.  Only carries: what is in the ledger is the broker's business. */
#ifndef XEN_LEDGER_H
#define XEN_LEDGER_H

#include "squeezed/platform/xen_hypervisor.h"
#include "squeezed/platform/xen_operation.h"

/* HVM and PVH may hold this much beyond their limit, KiB (a habit of the
 * toolstacks: some pages of the firmware are none of the guest's). */
#define XEN_EXTRA_KIB 1024u

/* What is on its way to the store. */
struct xen_write;
TAILQ_HEAD(xen_writes, xen_write);

/* Stores the changes, all or none; completes operation.  Changes of the same
 * entry are stored in the order of the calls.  A transfer that sets the limit
 * does so first: ERR_UNKNOWN_DOMAIN, and nothing stored, if the domain isn't
 * there. */
void
xen_ledger_persist(struct xen_writes *list, struct xsc *xsc,
                   struct xen_hypervisor *hypervisor,
                   const struct ledger_change *changes, size_t count,
                   struct xen_operation *operation);

/* Drops all that are on their way; after the xenstore client. */
void
xen_writes_free(struct xen_writes *list);

struct xen_load;
LIST_HEAD(xen_loads, xen_load);

/* Reads all of it.  Entries that make no sense are logged and left alone. */
void
xen_ledger_load(struct xen_loads *list, struct xsc *xsc, platform_loaded *done,
                void *arg);

/* Drops all that are on their way; after the xenstore client. */
void
xen_loads_free(struct xen_loads *list);

#endif
