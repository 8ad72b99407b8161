/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The HTTP server on the broker's Unix sockets: who may connect, how many,
 * for how long; carries texts between clients and rpc.h, and serves a few
 * pages (GET).  Works from the loop only and never blocks.
 *
 * The process has to ignore SIGPIPE, and should be allowed more open files than
 * there may be connections (past that, new ones just wait). */
#ifndef SERVER_H
#define SERVER_H

#include "squeezed/rpc.h"

#include <event2/event.h>

struct server;

struct server_options {
    const char *const *paths; /* of the sockets; at least one */
    size_t path_count;
    const char *group; /* may connect beside root; NULL: nobody */
    struct platform *platform;
    struct boot_memory *boot; /* for rpc.h: these two */
    struct rpc_zero zero;
    int64_t (*now_us)(void);  /* the loop's clock, the same as the broker's */
    int64_t (*wall_ms)(void); /* stamps the events; NULL: the loop's clock */
    /* 0: LIMIT_CONNECTIONS, LIMIT_IDLE_S, 15 s. */
    size_t connection_limit;
    int64_t idle_us;
    int64_t alive_us; /* between comments to who follows the events */
};

/* Makes the sockets (and their parent folders) and listens.  A socket file
 * that nobody listens on is replaced; a live one is an error.  NULL with what
 * is wrong in message. */
struct server *
server_new(struct event_base *base, struct broker *broker,
           const struct server_options *options, char *message, size_t size);

/* Closes all connections and removes the socket files.  Call broker_free()
 * first: no answer can be given any more. */
void
server_free(struct server *server);

/* Where its calls go; others may hand theirs in there, too.  Lives as long as
 * the server. */
struct rpc *
server_rpc(struct server *server);

/* Of open connections. */
size_t
server_connections(const struct server *server);

#endif
