/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that wait for their reply, first in, first out.
 * For the xenstore client only. */
#ifndef XSC_QUEUE_H
#define XSC_QUEUE_H

#include "xenstore-client/xsc.h"

struct operation;

struct request {
    uint32_t id;   /* of the message */
    uint32_t type; /* of the message, and of its reply */
    bool urgent;   /* goes before those that aren't and wait to be sent */
    int error;     /* for those that end without a message: why */
    /* Who gets the reply: the operation that it is a step of ... */
    struct operation *operation;
    /* ... or, without one, the caller. */
    xsc_reply *reply;
    void *arg;
};

/* All zero is an empty queue. */
struct queue {
    struct request *ring;
    size_t capacity; /* a power of two, or 0 */
    size_t head;
    size_t count;
};

/* Ends the process when there is no memory: then nobody could be answered. */
void
queue_push(struct queue *queue, const struct request *request);

/* Must not be empty. */
const struct request *
queue_first(const struct queue *queue);
struct request
queue_pop(struct queue *queue);

/* Empties it, and gives its memory back. */
void
queue_done(struct queue *queue);

#endif
