/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What peer.c (one connection) and peer_accept.c (all of them) know of each
 * other. */
#ifndef PEER_INTERNAL_H
#define PEER_INTERNAL_H

#include "sq_limits.h"
#include "squeezed/peer.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/queue.h>

/* Up to here a body over LIMIT_BODY_BYTES is read, and refused in our words;
 * evhttp refuses longer ones in its own. */
#define PEER_BODY_MAX ((size_t)LIMIT_BODY_BYTES + (64 << 10))
/* What a connection may make us hold of what it sends. */
#define PEER_READ_MAX (PEER_BODY_MAX + (64 << 10))

enum peer_state {
    NEW,      /* accepted, but evhttp didn't tell us of it yet */
    QUIET,    /* between requests */
    READING,  /* a request comes in */
    CALLING,  /* the answer is awaited */
    WRITING,  /* it is on its way */
    LEFT,     /* evhttp has closed it */
    LINGERING /* all is said: until the client closes */
};

struct peer {
    TAILQ_ENTRY(peer) link;
    TAILQ_ENTRY(peer) due_link;
    bool due; /* in the list of chores */
    struct peers *all;
    struct bufferevent *stream;     /* evhttp and we hold a reference each */
    struct evhttp_connection *http; /* NULL while NEW, and from LEFT on */
    struct evhttp_request *request; /* CALLING: the one to answer */
    struct rpc_call *call;          /* open */
    struct event *watch;            /* tells that the client has left */
    enum peer_state state;
    enum peer_standing standing;
    int64_t since_us; /* in this state since then */
    bool streaming;   /* CALLING: the answer has begun */
    bool doomed;      /* to be closed */
    bool last;        /* no request after this one */
    bool lost;        /* the last answer did not arrive */
    /* The reservation that the last answer told of; empty: none. */
    char granted[LIMIT_ID_CHARS + 1];
};

TAILQ_HEAD(peer_list, peer);

/* One socket that is listened on. */
struct entrance {
    TAILQ_ENTRY(entrance) link;
    struct evconnlistener *listener; /* evhttp's */
    struct event *knock;
};

struct peers {
    struct peers_options options;
    struct evhttp *http;
    TAILQ_HEAD(, entrance) entrances;
    struct evbuffer *bit; /* empty between calls */
    struct event *chores;
    struct event *idle_timer;
    struct event *accept_timer;
    size_t count;
    bool overfull; /* and it was logged */
    bool knocked;  /* somebody wants in, and nobody was accepted since */
    bool accept_failed;
    bool paused; /* no one is accepted */
    bool ending;
    /* Those without a call, the one that is longest so first; and the
     * others. */
    struct peer_list idle;
    struct peer_list calling;
    struct peer_list due;
};

/* ------------------------------------------------------------------ peer.c */

/* For a connection that evhttp has just accepted, and asks for a stream for.
 * NULL without memory. */
struct peer *
peer_new(struct peers *all);

/* At once.  Not from within evhttp. */
void
peer_cut(struct peer *p);

/* evhttp knows nothing of it any more. */
void
peer_forget(struct peer *p);

/* What was put off until evhttp has returned. */
void
peer_do_chores(struct peers *all);

/* A whole request has come. */
void
peer_take(struct peers *all, struct evhttp_request *request);

/* ----------------------------------------------------------- peer_accept.c */

/* The idle time of one has begun. */
void
peers_arm_idle_timer(struct peers *all);

/* One is known to evhttp now: may it be there? */
void
peers_judge(struct peer *p);

/* One is gone. */
void
peers_resume(struct peers *all);

#endif
