/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the cache share: connections and domains (xen_cache.c),
 * reading and watching their keys (xen_cache_keys.c), and the ranges among
 * these (xen_cache_range.c).  Nobody else includes it. */
#ifndef XEN_CACHE_INTERNAL_H
#define XEN_CACHE_INTERNAL_H

#include "squeezed/platform/xen_cache.h"

struct xen_cache {
    int64_t now_us; /* of the last look */
    struct event_base *base;
    struct xsc *xsc; /* NULL: no connection */
    int64_t settle_us;
    struct xen_cache_hooks hooks;
    struct xen_domain **domains; /* ascending domids */
    struct xen_domain **spare;   /* of the same size */
    size_t count;
    size_t capacity;
    struct xen_domain *gone; /* dropped, with requests on their way */
    uint32_t serial;
    bool synced;         /* domains were listed on this connection */
    size_t awaited;      /* of them, not read yet */
    size_t starting;     /* being read for the first time */
    size_t next_start;   /* all domains before this one were started */
    struct event *retry; /* of what could not be read or watched */
};

/* xen_cache.c */

/* A request came back.  False if its domain has gone meanwhile: it must not
 * be touched any more. */
bool
xen_cache_came_back(struct xen_domain *domain);

/* What a look shows has changed; while the cache isn't ready nobody is told. */
void
xen_cache_tell(struct xen_cache *cache);

/* xen_cache_keys.c */

/* Watches and reads the domains that were not yet. */
void
xen_cache_start_some(struct xen_cache *cache);

/* It doesn't count among those being read any more. */
void
xen_cache_end_start(struct xen_domain *domain);

void
xen_cache_unwatch(struct xen_domain *domain);

/* The timer: what was refused is tried again. */
void
xen_cache_retry_due(evutil_socket_t fd, short events, void *cache);

/* xen_cache_range.c */

/* A key of its range was read; true if its range is another one now. */
bool
xen_cache_range_was_read(struct xen_domain *domain);

#endif
