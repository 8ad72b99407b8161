/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A call of the platform that is on its way, until its completion: done once,
 * later, or never if the platform is freed before. */
#ifndef XEN_OPERATION_H
#define XEN_OPERATION_H

#include "squeezed/platform/platform.h"
#include "xenstore-client/xsc.h"

#include <event2/event.h>
#include <sys/queue.h>

struct xen_operation;
LIST_HEAD(xen_operations, xen_operation);

/* Never NULL. */
struct xen_operation *
xen_operation_new(struct xen_operations *list, struct event_base *base,
                  platform_done *done, void *arg);

/* Completes it; only from the loop. */
void
xen_operation_end(struct xen_operation *operation, enum err error);

/* Completes it with the error, from the loop. */
void
xen_operation_fail(struct xen_operation *operation, enum err error);

/* Writes all or none; completes it with the result. */
void
xen_operation_commit(struct xen_operation *operation, struct xsc *xsc,
                     const struct xsc_change *changes, size_t count);

/* Drops all that are on their way; after the xenstore client. */
void
xen_operations_free(struct xen_operations *list);

#endif
