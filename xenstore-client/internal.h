/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the xenstore client share: the connection (connection.c),
 * the requests of its callers (xsc.c), and the operations that take several
 * requests (directory.c, commit.c).  Nobody else includes this.
 *
 * Every function that calls back may find the client freed afterwards: such
 * functions say so, and their callers return at once then. */
#ifndef XSC_INTERNAL_H
#define XSC_INTERNAL_H

#include "xenstore-client/lanes.h"
#include "xenstore-client/queue.h"
#include "xenstore-client/transport.h"
#include "xenstore-client/wire.h"

#include <event2/event_struct.h>
#include <sys/queue.h>

/* How a request ended. */
struct answer {
    uint32_t type;     /* of the request */
    int error;         /* errno, 0 is good; ENOTCONN: the connection is lost */
    const char *value; /* of a good reply, terminated; else "" */
    size_t length;
};

/* Several requests that make one call.  It belongs to the client (which frees
 * those that are left), and to nobody once it has finished. */
struct operation {
    LIST_ENTRY(operation) entry;
    /* The answer to a request that it sent.  May end with the client freed. */
    void (*step)(struct xsc *xsc, struct operation *operation,
                 const struct answer *answer);
    /* Frees what it holds, and itself. */
    void (*free)(struct operation *operation);
    xsc_reply *reply;
    void *arg;
};

struct commit;

/* Several commits run at a time, but one that met a conflict runs alone. */
struct commits {
    TAILQ_HEAD(commit_list, commit) waiting;
    unsigned running;
    bool alone;
};

enum connection_state {
    CONNECTION_DOWN,    /* until the reconnect timer fires */
    CONNECTION_PROBING, /* connected, but nothing has answered yet */
    CONNECTION_UP
};

struct xsc {
    struct event_base *base;
    char *path;
    char *fallback;  /* NULL: none */
    const char *way; /* which of them was tried last */
    struct xsc_options options;
    struct xsc_hooks hooks;

    enum connection_state state;
    const struct transport *transport;
    int fd;             /* -1 without a connection */
    int64_t delay_us;   /* of the next reconnect */
    int64_t up_us;      /* since when the connection is up */
    int64_t waiting_us; /* since when the oldest request is the oldest */
    uint32_t next_id;
    struct lanes waiting; /* to be sent */
    struct queue pending; /* sent, or in output */
    struct queue local;   /* answered by ourselves, when the loop runs */
    struct evbuffer *output;
    struct wire_reader reader;
    struct event read_event;
    struct event write_event;
    struct event connect_timer;
    struct event deadline_timer;
    struct event local_timer;

    LIST_HEAD(operation_list, operation) operations;
    struct commits commits;

    unsigned depth;       /* of the loop's calls that are on the stack */
    bool freed;           /* by a callback: goes when depth is 0 again */
    char chunk[64 << 10]; /* what was just read */
};

/* connection.c */

/* How many requests wait to be sent, or answered. */
size_t
connection_pending(const struct xsc *xsc);

/* Prepares the events, and starts to connect from the loop. */
void
connection_init(struct xsc *xsc);

/* Closes; calls nobody.  Harmless when it was closed before. */
void
connection_close(struct xsc *xsc);

/* Sends a message, or, while there is no connection, ends the request with
 * ENOTCONN; both from the loop.  parts have been checked. */
void
connection_send(struct xsc *xsc, struct request *request, uint32_t transaction,
                const struct iovec *parts, int count);

/* Ends a request from the loop, with this error (or 0) and no value. */
void
connection_end(struct xsc *xsc, struct request *request, int error);

/* xsc.c */

/* Makes it one of the client's. */
void
operation_start(struct xsc *xsc, struct operation *operation);

/* Frees it and calls its reply: may end with the client freed. */
void
operation_finish(struct xsc *xsc, struct operation *operation, int error,
                 const char *value, size_t length);

/* The error that a request with this path can't be sent for: EINVAL, or ENOSPC
 * when this many more would be too many; 0 when it can. */
int
request_check(const struct xsc *xsc, const char *path, size_t count);

/* Calls a reply: may end with the client freed. */
void
reply_call(xsc_reply *reply, void *arg, int error, const char *value,
           size_t length);

/* commit.c */

void
commits_init(struct commits *commits);

/* The connection is lost: those that wait end with ENOTCONN.  May end with the
 * client freed. */
void
commits_lost(struct xsc *xsc);

#endif
