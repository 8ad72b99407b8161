/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that are made by writing to xenstore: folders below
 * KEY_REQUESTS, for scripts that have xenstore-write and nothing else.  A
 * surface beside the HTTP server: it carries texts between xenstore and the
 * broker, on a connection of its own, and decides nothing.
 *
 * A request's reservation gets its id before it is asked for, and the id is
 * stored with the state `queued`.  So whatever of the two (the reservation, the
 * word `granted`) a crash leaves out, a restart finds the one by the other. */
#ifndef STORE_REQUESTS_H
#define STORE_REQUESTS_H

#include "squeezed/broker.h"

#include <event2/event.h>

struct store_requests;

struct store_requests_options {
    const char *path;        /* of xenstored's socket */
    const char *fallback;    /* where there is none; NULL: nothing */
    int64_t (*now_us)(void); /* the broker's clock */
};

/* NULL without memory. */
struct store_requests *
store_requests_new(struct event_base *base, struct broker *broker,
                   const struct store_requests_options *options);

/* Call broker_free() first: no answer can be given any more.  What is in
 * xenstore stays there, for the next one. */
void
store_requests_free(struct store_requests *all);

#endif
