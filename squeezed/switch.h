/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of XAPI's message switch: takes the calls that wait in the queue
 * org.xen.xapi.memory, hands each to rpc.h, and takes the answers back there.
 * Works from the loop only and never blocks.
 *
 * The switch delivers a message again until it is acknowledged.  Each is known
 * by its id, its reply queue and its text, and carried out once; an answer that
 * could not be delivered, since the connection broke, is delivered when the
 * message comes again.  Answers are kept for a while after that. */
#ifndef SWITCH_H
#define SWITCH_H

#include "squeezed/rpc.h"

#include <event2/event.h>

struct switch_client;

struct switch_options {
    const char *path;        /* of the switch's socket */
    bool wanted;             /* that it isn't there is worth a warning */
    struct rpc *rpc;         /* outlives the client */
    int64_t (*now_us)(void); /* the loop's clock */
    /* 0: as in switch.c. */
    int64_t look_us;     /* between looks whether the socket is there */
    int64_t retry_us;    /* first pause after trouble; doubles each time */
    int64_t transfer_us; /* how long the switch may let us wait for calls */
    int64_t request_us;  /* and with everything else */
    int64_t patience_us; /* for messages that should come again */
};

/* Connects from the loop.  NULL without memory. */
struct switch_client *
switch_new(struct event_base *base, const struct switch_options *options);

/* After broker_free(), before rpc_free(): open calls get no answer. */
void
switch_free(struct switch_client *client);

/* It is logged in and takes calls. */
bool
switch_is_up(const struct switch_client *client);

#endif
