/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What xenstore says of each domain, kept current by watches, so that a look
 * reads nothing.  Two watches per domain, and a third until its guest has
 * booted; a key is read when its watch fires, at most one read of it on the
 * way at a time: a guest owns the keys below control, and may write them all
 * the time.
 *
 * A range that is no good (or a value that is no number) counts as an error
 * only if it still is one after a while, since toolstacks write both ends one
 * after the other; the last good range stays in force meanwhile and
 * afterwards.  One of the dynamic keys missing: the domain is unmanaged.
 * No static-min: 0.  No static-max: dynamic-max is all there is to bound it.
 *
 * The cache decides nothing and writes nothing but its log. */
#ifndef XEN_CACHE_H
#define XEN_CACHE_H

#include "squeezed/platform/xen_complaint.h"
#include "squeezed/platform/xen_guest.h"
#include "squeezed/platform/xen_hypervisor.h"
#include "squeezed/platform/xen_manual.h"
#include "squeezed/platform/xen_values.h"
#include "xenstore-client/xsc.h"

#include <event2/event.h>

struct xen_cache;
struct xen_domain;

enum xen_watch {
    XEN_WATCH_MEMORY,
    XEN_WATCH_FEATURE,
    XEN_WATCH_POWEROFF, /* only until it says that the guest has booted */
    XEN_WATCHES
};

/* How current a value is. */
struct xen_cached {
    struct xen_domain *domain;
    bool unread;  /* not read yet on this connection */
    bool reading; /* a read is on its way */
    bool dirty;   /* and what it brings is out of date */
};

/* What may be the matter with a domain. */
enum xen_trouble {
    XEN_TROUBLE_READING,
    XEN_TROUBLE_TARGET,
    XEN_TROUBLE_LIMIT,
    XEN_TROUBLE_POD,
    XEN_TROUBLES
};

struct xen_domain {
    struct xen_cache *cache;
    uint32_t domid;
    uint8_t uuid[UUID_BYTES];
    uint32_t serial; /* tells it from others that had this domid */
    struct xen_value values[XEN_KEYS];
    bool managed;    /* the range is in force */
    bool range_lost; /* by a restart of xenstored, and not set since */
    struct xen_range range;
    char range_error[160];
    char name[128];

    /* The platform's: as of the last look. */
    int64_t offset_kib; /* the frame */
    uint64_t extra_kib;
    uint64_t limit_kib; /* in it; or as set since */
    uint64_t away_kib;  /* how far it was from its target */
    bool hvm;
    bool was_building;
    struct xen_guest guest;
    struct xen_offset offset;
    struct xen_manual manual;
    unsigned noting; /* writes of a base line or a wish that are on their way */
    /* The writer's: the target on its way to the store, and the one that
     * counts.  They differ when that came while the other was on its way.
     * The mark of the uncooperative goes with it. */
    unsigned writes;
    uint64_t sent_kib;
    uint64_t written_kib;
    bool written_mark;
    uint64_t pod_kib; /* the populate-on-demand target set last, raw */
    struct xen_complaint complaints[XEN_TROUBLES];

    /* The cache's own. */
    struct xen_cached cached[XEN_KEYS];
    bool started;     /* it is watched, and was read or is being read */
    bool starting;    /* it is being read for the first time */
    bool awaited;     /* ... and nothing is ready before it was */
    bool was_managed; /* on the connection before */
    bool retry;       /* a read or a watch failed: again in a second */
    bool watched[XEN_WATCHES];
    bool fired[XEN_WATCHES]; /* each fires once at first */
    unsigned pending; /* requests that will come back with a pointer to it */
    bool gone;
    struct event *settle;
    struct xen_domain *next; /* of those that are gone */
};

struct xen_cache_hooks {
    void *context;
    /* What a look shows has changed. */
    void (*changed)(void *context);
};

/* settle_us: how long a range may be bad before it counts as bad.  NULL
 * without memory. */
struct xen_cache *
xen_cache_new(struct event_base *base, int64_t settle_us,
              const struct xen_cache_hooks *hooks);

/* After the xenstore client has gone: nothing comes back any more. */
void
xen_cache_free(struct xen_cache *cache);

/* A new connection: watches and reads all domains that are known.  Domains in
 * xen_cache_sync() until xen_cache_ready() are waited for as well. */
void
xen_cache_up(struct xen_cache *cache, struct xsc *xsc);

/* The connection is gone (all replies came before this). */
void
xen_cache_lost(struct xen_cache *cache);

/* A watch of ours fired; true if it was one of the cache's. */
bool
xen_cache_event(struct xen_cache *cache, const char *path, const char *token);

/* A domain was introduced: names that aren't known may be by now. */
void
xen_cache_introduced(struct xen_cache *cache);

/* Takes a listing over: domains that came are watched and read, those that
 * went are dropped, and so is one whose domid now has another UUID. */
void
xen_cache_sync(struct xen_cache *cache,
               const struct xen_hypervisor_domain *list, size_t count);

/* The time of this look; for what is told now and then. */
void
xen_cache_clock(struct xen_cache *cache, int64_t now_us);

/* It can't be read, or set: true if that is to be said now. */
bool
xen_cache_trouble(struct xen_domain *domain, enum xen_trouble trouble);

/* It can. */
void
xen_cache_no_trouble(struct xen_domain *domain, enum xen_trouble trouble);

/* All that was there when the connection came up has been read. */
bool
xen_cache_ready(const struct xen_cache *cache);

/* NULL if it isn't known. */
struct xen_domain *
xen_cache_find(const struct xen_cache *cache, uint32_t domid);

/* The domain number i in ascending order; NULL past the end. */
struct xen_domain *
xen_cache_at(const struct xen_cache *cache, size_t i);

/* How many domains lost their ranges when xenstored was restarted. */
size_t
xen_cache_lost_ranges(const struct xen_cache *cache);

/* A key was written by us: it has this value from now on. */
void
xen_cache_wrote(struct xen_domain *domain, enum xen_key key,
                struct xen_value value);

/* Reads a key anew (also while it is being read). */
void
xen_cache_reread(struct xen_domain *domain, enum xen_key key);

/* Reads name and type anew. */
void
xen_cache_reread_texts(struct xen_domain *domain);

/* pv, pvh, hvm or pv-in-pvh, as the store says; NULL if it doesn't. */
const char *
xen_cache_type(const struct xen_domain *domain);

/* The guest says that it has a balloon driver. */
bool
xen_cache_balloons(const struct xen_domain *domain);

/* It bears the mark of the uncooperative, or will as soon as that is stored. */
bool
xen_cache_is_marked(const struct xen_domain *domain);

#endif
