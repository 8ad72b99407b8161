/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Those who follow what happens: server-sent events on connections that stay
 * open.  Each listener has a bounded queue; who doesn't read is dropped, and
 * nobody waits for him.  While nothing happens a comment now and then keeps
 * the connection alive. */
#ifndef EVENTS_H
#define EVENTS_H

#include "squeezed/news.h"
#include "squeezed/peer.h"

struct events;

struct events_options {
    struct event_base *base;
    struct platform *platform; /* for the names of domains */
    int64_t (*now_us)(void);
    int64_t (*wall_ms)(void); /* for the stamps; NULL: the other one */
    int64_t alive_us;         /* between comments; 0: 15 s */
};

/* NULL without memory. */
struct events *
events_new(const struct events_options *options);

/* Tells nobody; the connections are the server's. */
void
events_free(struct events *events);

/* The request of that connection is answered with events from now on.  False
 * if there are too many listeners. */
bool
events_add(struct events *events, struct peer *peer);

/* The listener has gone. */
void
events_left(struct events *events, struct peer *peer);

void
events_tell(struct events *events, const struct news *news);

/* Of listeners, now; and of those that were dropped, ever. */
size_t
events_count(const struct events *events);
uint64_t
events_dropped(const struct events *events);

#endif
