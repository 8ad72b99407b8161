/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The platform `xen`: libxenctrl for what is, xenstore for what is meant.
 *
 * It starts where neither Xen nor xenstore is there (yet), says so, and tries
 * again by itself.  When the connection to xenstore is lost, look() gives
 * ERR_NOT_READY until there is a new one and all is read anew.  A daemon that
 * was restarted (not: stopped for a while) has lost its tree, the stored
 * ledger with it: whenever health().reconnects has risen, the broker stores
 * all its reservations again. */
#ifndef XEN_H
#define XEN_H

#include "squeezed/platform/platform.h"

#include <event2/event.h>

/* How it is known that a guest's balloon works. */
enum xen_balloon {
    XEN_BALLOON_AUTO,    /* feature, or a memory-offset that is already there */
    XEN_BALLOON_FEATURE, /* control/feature-balloon, other than "0" */
    XEN_BALLOON_ALWAYS   /* every managed domain that has run */
};

struct xen_options {
    const char *xenstore; /* path of xenstored's socket; NULL or "auto":
                           * XENSTORED_PATH, XENSTORED_RUNDIR/socket,
                           * /run/xenstored/socket */
    enum xen_balloon balloon;
    int64_t range_settle_us; /* how long a range may be bad before it counts;
                              * 0: 200 ms */
    int64_t deadline_us;     /* of a request to xenstored; 0: 5 s */
};

/* Copies the options.  Hooks are set in the result.  NULL without memory. */
struct platform *
xen_platform_new(struct event_base *base, const struct xen_options *options);

#endif
