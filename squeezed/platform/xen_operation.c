/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_operation.h"

#include "common/log.h"

#include <stdlib.h>

struct xen_operation {
    LIST_ENTRY(xen_operation) link;
    platform_done *done;
    void *arg;
    enum err error;
    struct event *later;
};

static void
operation_free(struct xen_operation *operation)
{
    LIST_REMOVE(operation, link);
    event_free(operation->later);
    free(operation);
}

void
xen_operation_end(struct xen_operation *operation, enum err error)
{
    platform_done *done = operation->done;
    void *arg = operation->arg;

    operation_free(operation);
    done(arg, error);
}

static void
fail_now(evutil_socket_t fd, short events, void *arg)
{
    struct xen_operation *operation = arg;

    (void)fd;
    (void)events;
    xen_operation_end(operation, operation->error);
}

static void
committed(void *arg, enum err error, const char *value, size_t length)
{
    (void)value;
    (void)length;
    xen_operation_end(arg, error);
}

struct xen_operation *
xen_operation_new(struct xen_operations *list, struct event_base *base,
                  platform_done *done, void *arg)
{
    struct xen_operation *operation = calloc(1, sizeof(*operation));

    if (operation)
        operation->later = evtimer_new(base, fail_now, operation);
    if (!operation || !operation->later) {
        /* Nothing could tell the caller later.  A restart loses nothing. */
        log_error("out of memory");
        abort();
    }
    operation->done = done;
    operation->arg = arg;
    LIST_INSERT_HEAD(list, operation, link);
    return operation;
}

void
xen_operation_fail(struct xen_operation *operation, enum err error)
{
    operation->error = error;
    event_active(operation->later, EV_TIMEOUT, 0);
}

void
xen_operation_commit(struct xen_operation *operation, struct xsc *xsc,
                     const struct xsc_change *changes, size_t count)
{
    xsc_commit(xsc, changes, count, committed, operation);
}

void
xen_operations_free(struct xen_operations *list)
{
    while (!LIST_EMPTY(list))
        operation_free(LIST_FIRST(list)); /* NOLINT: it unlinks what it frees */
}
