/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages that wait to be sent, in two lanes: the urgent ones go first.
 *
 * xenstored answers one connection's requests in their order, 10 to 50 us
 * each, so only so many are on their way at a time: what is sent behind two
 * hundred others waits for milliseconds.
 * For the xenstore client only. */
#ifndef XSC_LANES_H
#define XSC_LANES_H

#include "xenstore-client/queue.h"

#include <event2/buffer.h>
#include <sys/uio.h>
#include <xen/io/xs_wire.h>

enum { LANES = 2 };

struct lanes {
    struct lane {
        struct evbuffer *bytes;
        struct queue requests; /* whose messages these are */
    } lanes[LANES];
};

/* False without memory; lanes_done() is needed then, too. */
bool
lanes_init(struct lanes *lanes);
void
lanes_done(struct lanes *lanes);

size_t
lanes_count(const struct lanes *lanes);

/* Puts a message at the end of its lane. */
void
lanes_put(struct lanes *lanes, const struct request *request,
          const struct xsd_sockmsg *header, const struct iovec *parts,
          int count);

/* Moves the next message to the end of output.  False if there is none. */
bool
lanes_take(struct lanes *lanes, struct evbuffer *output,
           struct request *ret_request);

/* Drops the messages; their requests are the caller's from now on. */
void
lanes_drop(struct lanes *lanes, struct queue ret_requests[LANES]);

#endif
