/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages that the switch has delivered: those whose calls are open, those
 * whose answers are to be sent, and for a while those that are done with, so
 * that one that comes again is known.  No I/O; for switch.c alone. */
#ifndef SWITCH_CALL_H
#define SWITCH_CALL_H

#include "sq_limits.h"
#include "squeezed/switch_wire.h"

#include <sys/queue.h>

enum switch_step {
    SWITCH_OPEN,     /* being carried out */
    SWITCH_ANSWERED, /* the answer is to be sent */
    SWITCH_SENDING,
    SWITCH_SENT, /* to be acknowledged */
    SWITCH_ACKING,
    SWITCH_DONE
};

struct switch_calls;

struct switch_call {
    TAILQ_ENTRY(switch_call) entry; /* of all, the oldest first */
    TAILQ_ENTRY(switch_call)
    due; /* of those that something is to be sent
          * for */
    struct switch_calls *calls;
    void *owner;
    struct switch_id id;
    char reply_queue[SWITCH_NAME]; /* empty: it is only acknowledged */
    uint64_t hash;                 /* of its text */
    enum switch_step step;
    bool queued;      /* it is due */
    uint64_t session; /* the connection that it came over last */
    bool delivered;   /* the answer, once */
    bool acked;
    unsigned refusals; /* of the answer, in riddles */
    char *text;        /* the answer; NULL: it has no text */
    size_t length;
    char granted[LIMIT_ID_CHARS + 1]; /* of which it tells; or empty */
};

TAILQ_HEAD(switch_call_list, switch_call);

struct switch_calls {
    struct switch_call_list all;
    struct switch_call_list due;
    size_t count;
    size_t bytes; /* of the answers */
};

void
switch_calls_init(struct switch_calls *calls);

void
switch_calls_done(struct switch_calls *calls);

/* NULL: the message is new.  session: it came over this one. */
struct switch_call *
switch_calls_find(struct switch_calls *calls,
                  const struct switch_message *message, uint64_t session);

/* A new one, open; NULL if there are too many, or no memory. */
struct switch_call *
switch_calls_add(struct switch_calls *calls,
                 const struct switch_message *message, uint64_t session);

/* Its answer (text is copied). */
void
switch_call_answer(struct switch_call *call, const char *text, size_t length,
                   const char *granted);

/* Something is to be sent for it: after all others, or before them. */
void
switch_call_push(struct switch_call *call, bool first);

/* The next one that something is to be sent for, taken from the list; or
 * NULL. */
struct switch_call *
switch_calls_pop(struct switch_calls *calls);

/* The connection is gone: nothing is under way or due any more. */
void
switch_calls_lost(struct switch_calls *calls);

#endif
