/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every limit on what others may make us hold, in one place.  Past a limit the
 * caller gets a clear error and existing work goes on. */
#ifndef SQ_LIMITS_H
#define SQ_LIMITS_H

#include <stdint.h>

enum {
    LIMIT_BODY_BYTES = 1 << 20,      /* one RPC request */
    LIMIT_HEADER_BYTES = 16 << 10,   /* its HTTP headers */
    LIMIT_XML_DEPTH = 64,            /* elements that are open in XML-RPC */
    LIMIT_CONNECTIONS = 256,         /* on all sockets together */
    LIMIT_IDLE_S = 300,              /* a connection without a call is closed */
    LIMIT_LISTENERS = 32,            /* connections that follow the events */
    LIMIT_LISTENER_BYTES = 1 << 18,  /* what one of them hasn't read yet */
    LIMIT_QUEUE = 1024,              /* requests that wait for memory, in all */
    LIMIT_QUEUE_CLIENT = 64,         /* the same, of one client name */
    LIMIT_STORE_REQUESTS = 1024,     /* requests made by xenstore writes */
    LIMIT_RESERVATIONS = 4096,       /* entries of the ledger */
    LIMIT_DOMAINS = 32752,           /* domids are 0 to 32751 */
    LIMIT_CLIENT_CHARS = 64,         /* a client's name: [A-Za-z0-9_-] */
    LIMIT_ID_CHARS = 64,             /* a reservation's id; ours are UUIDs */
    LIMIT_SCENARIO_BYTES = 16 << 20, /* a scenario or configuration file */
    LIMIT_SWITCH_REPLY = 16 << 20,   /* of the message switch */
    LIMIT_SWITCH_CALLS = 1024,       /* messages of it: open ones, and known */
    LIMIT_SWITCH_BYTES = 4 << 20,    /* of answers that are kept for them */
    LIMIT_XENSTORE_REPLY = 1 << 20,  /* oxenstored sends over 4096 (a fault) */
    LIMIT_XENSTORE_PENDING = 65536   /* requests on their way to xenstored */
};

/* Any size that somebody gives us, KiB: above it `invalid`.  2^50 KiB is an
 * exbibyte, and 32,752 domains of it still add up in 64 bits. */
#define LIMIT_SIZE_KIB (UINT64_C(1) << 50)

#endif
