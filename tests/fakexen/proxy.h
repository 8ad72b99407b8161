/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A proxy between squeezed and xenstored, which does something bad at one
 * chosen request.
 *
 * It sends one request at a time and waits for its answer, so that it is exact
 * what xenstored has carried out when the fault comes.  A process of its own,
 * which ends with whoever started it. */
#ifndef PROXY_H
#define PROXY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum proxy_fault {
    PROXY_KILL_BEFORE, /* the client is killed; xenstored never sees it */
    PROXY_KILL_AFTER,  /* the same once it was carried out */
    PROXY_CUT_BEFORE,  /* the connection is closed; xenstored never sees it */
    PROXY_CUT_AFTER,   /* the same once it was carried out */
    PROXY_FAIL,        /* refused with plan->error, and not carried out */
    PROXY_GARBAGE,     /* answered with plan->garbage, and not carried out */
    PROXY_STALL,       /* never answered, nor is what follows */
    PROXY_NOTHING      /* carried out: for plan->hold */
};

/* Answers that no xenstored gives. */
enum proxy_garbage {
    GARBAGE_NOISE,        /* bytes that are no message */
    GARBAGE_HUGE,         /* a message of 4 GiB */
    GARBAGE_OTHER_TYPE,   /* of another request's type */
    GARBAGE_OTHER_ID,     /* to another request */
    GARBAGE_NO_ERROR,     /* an error without a name */
    GARBAGE_ODD_ERROR,    /* an error that nobody knows */
    GARBAGE_EVENT,        /* a watch event that isn't terminated */
    GARBAGE_OTHER_EVENTS, /* events of watches that nobody set; then cut */
    GARBAGE_HALF,         /* half an answer; then cut */
    GARBAGE_KINDS
};

/* Shared with the process. */
struct proxy_plan {
    uint64_t requests; /* so many came */
    uint64_t at; /* this one (or the next that can) has the fault; 0: none */
    enum proxy_fault fault;
    bool again;     /* not once, but at that request of each connection */
    char only[100]; /* only at those whose `what` begins so; "": any */
    bool hold; /* the fault comes once this is false; until then nothing goes
                * on on its connection, but on the others */
    char error[16];
    enum proxy_garbage garbage;
    uint32_t delay_us; /* before each answer */
    bool done;         /* the fault has come */
    char what[120];    /* which request that was */
};

struct proxy {
    pid_t pid;
    volatile struct proxy_plan *plan;
};

/* Listens at path; at `to` is xenstored. */
void
proxy_start(struct proxy *proxy, const char *path, const char *to);

void
proxy_stop(struct proxy *proxy);

/* No fault, and nothing counted, from here on. */
void
proxy_reset(struct proxy *proxy);

#endif
