/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small message switch for tests, written from what XAPI's does: an HTTP
 * server on a Unix socket, in the loop of the test.  It keeps messages until
 * they are acknowledged, and notes whoever breaks its rules.  One per
 * process. */
#ifndef FAKE_SWITCH_H
#define FAKE_SWITCH_H

#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_MESSAGES = 4096, FAKE_CONNECTIONS = 16, FAKE_REPLY_QUEUES = 8 };

struct fake_message {
    char *payload;
    char reply_queue[64];
    const char *kind; /* "Request" */
    bool acked;
    bool broken;   /* goes out without its payload */
    int delivered; /* how often */
    int answers;   /* how many came for it, and the last of them */
    char *answer;
};

struct fake_connection {
    struct evhttp_connection *http; /* NULL: free */
    char token[64];                 /* empty: not logged in */
    bool transfers;
    bool talks;
};

/* What a switch may do wrong. */
enum fake_fault {
    FAKE_FINE,
    FAKE_NO_JSON,    /* in reply to a transfer */
    FAKE_NO_NEXT,    /* in it */
    FAKE_STATUS,     /* 500 to a transfer */
    FAKE_HANGS_UP,   /* on a transfer */
    FAKE_BAD_LOGIN,  /* 500 to a login */
    FAKE_DROPS,      /* the connection of a response, before it was taken */
    FAKE_TAKES,      /* the same after it was taken */
    FAKE_RIDDLES,    /* in reply to a response */
    FAKE_ENDLESS,    /* a reply to a transfer over every limit */
    FAKE_MUTE_LOGIN, /* no reply to it, and the connection stays */
    FAKE_MUTE_RESPONSE
};

struct fake_switch {
    struct event_base *base;
    char path[100];
    struct evhttp *http; /* NULL: it does not run */
    bool has_queue;
    struct fake_message messages[FAKE_MESSAGES];
    int count;
    char reply_queues[FAKE_REPLY_QUEUES][64]; /* that exist */
    struct fake_connection connections[FAKE_CONNECTIONS];
    struct evhttp_request *waiting; /* a transfer */
    struct event *timeout;          /* its */
    int64_t waiting_from;
    /* Knobs. */
    long pid; /* of the client; 0: this process */
    enum fake_fault fault;
    int faults;       /* so many times, then it is fine; -1: always */
    bool deliver_all; /* with each transfer, also what was acknowledged */
    int deliver_most; /* messages in one reply; 0: all */
    int answer_ms;    /* how long a response takes */
    /* What came. */
    int logins, transfers, firsts; /* firsts: those without from */
    int responses, acks;
    int connected;   /* now */
    char wrong[200]; /* the first rule that was broken; empty */
};

extern struct fake_switch fake;

/* As at the start of the process: the next test may be run in the same one. */
void
fake_reset(void);

/* Listens; what it knew before a stop it still knows. */
void
fake_start(struct event_base *base, const char *path);

/* Closes everything, without a word. */
void
fake_stop(void);

/* Only those connections that transfer, or those that don't. */
void
fake_hang_up(bool transferring);

/* Like a new one: no messages, counting from 0. */
void
fake_forget(void);

/* A call; its number.  payload is copied. */
int
fake_call(const char *reply_queue, const char *payload);

void
fake_add_reply_queue(const char *name);

void
fake_remove_reply_queue(const char *name);

#endif
