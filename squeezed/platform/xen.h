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
#include "squeezed/platform/xen_guest.h"
#include "squeezed/platform/xen_zero.h"

#include <event2/event.h>

struct xen_options {
    const char *xenstore; /* path of xenstored's socket; NULL or "auto":
                           * XENSTORED_PATH, XENSTORED_RUNDIR/socket,
                           * /run/xenstored/socket; and, while there is no
                           * such file, /dev/xen/xenbus.  The path of that
                           * device will do, too */
    const char *xl_conf;  /* xl's configuration; NULL: where it is */
    enum xen_balloon balloon;
    bool read_only;   /* writes nothing by itself: no offset, no range */
    bool manage_zero; /* domain 0 takes part, within: */
    uint64_t zero_min_kib;
    uint64_t zero_max_kib;   /* or XEN_ZERO_AUTO */
    int64_t range_settle_us; /* how long a range may be bad before it counts;
                              * 0: 200 ms */
    int64_t deadline_us;     /* of a request to xenstored; 0: 5 s */
};

/* The path of xenstored's socket, as in the options.  Returns what serves while
 * there is none; NULL: nothing. */
const char *
xen_find_socket(const char *wanted, char *path, size_t size);

/* Copies the options.  Hooks are set in the result.  NULL without memory. */
struct platform *
xen_platform_new(struct event_base *base, const struct xen_options *options);

#endif
