/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connections of the HTTP server.  libevent's evhttp accepts them, reads
 * requests and writes answers; this is what it doesn't do: who may connect,
 * how many, how long they may be quiet, and that a client leaves while its call
 * is open or without having read what it was granted.
 *
 * For the server alone, from the loop only. */
#ifndef PEER_H
#define PEER_H

#include <event2/event.h>
#include <event2/http.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct rpc;
struct rpc_call;
struct peer;
struct peers; /* all of them */

/* A request is to be answered with peer_answer(), now or later; later:
 * peer_wait() tells so. */
typedef void
peer_serve(void *context, struct peer *p, struct evhttp_request *request);

struct peers_options {
    struct event_base *base;
    size_t limit;
    int64_t idle_us;         /* without a call, or within a request */
    int64_t (*now_us)(void); /* the loop's clock */
    gid_t group;             /* may connect beside root; (gid_t)-1: none */
    struct rpc *rpc;         /* for calls whose client has gone */
    peer_serve *serve;
    /* The client of a stream has gone (not after peer_end()): it is no longer
     * there. */
    void (*left)(void *context, struct peer *p);
    void *context;
};

/* NULL without memory. */
struct peers *
peers_new(const struct peers_options *options);

/* Closes all; no call is told. */
void
peers_free(struct peers *all);

/* Accepts from a listening socket, which stays the caller's.  False without
 * memory. */
bool
peers_listen(struct peers *all, int fd);

size_t
peers_count(const struct peers *all);

/* How requests of a connection are to be treated. */
enum peer_standing {
    PEER_WELCOME,
    PEER_STRANGER, /* neither root nor of the group */
    PEER_TOO_MANY  /* all others have open calls */
};

enum peer_standing
peer_standing(const struct peer *p);

struct peer_answer {
    int status;
    const char *type;  /* of the text; NULL: there is none */
    const char *allow; /* 405: the methods; else NULL */
    const char *text;
    size_t length;
    bool close;          /* it is the last one */
    const char *granted; /* the reservation that it tells of, or NULL */
};

void
peer_answer(struct peer *p, const struct peer_answer *answer);

/* The call is open.  If the client leaves, it is taken back. */
void
peer_wait(struct peer *p, struct rpc_call *call);

/* Begins an answer without an end, status 200, that is sent bit by bit.  As
 * long as it lasts the connection isn't idle. */
void
peer_stream(struct peer *p, const char *type);

/* One bit.  False if more than most bytes would wait for the client to read
 * them: nothing was sent then. */
bool
peer_send(struct peer *p, const char *text, size_t length, size_t most);

/* That was the last one; the connection ends once the client has read it. */
void
peer_end(struct peer *p);

/* False if nobody would read an answer (a client that has closed his side for
 * sending counts as gone): then the connection is closed instead. */
bool
peer_is_read(struct peer *p);

#endif
