/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by store_requests.c (the connection, what changed, reading) and
 * store_request.c (what a folder means, and what becomes of it).  Nobody else
 * includes it. */
#ifndef STORE_REQUESTS_INTERNAL_H
#define STORE_REQUESTS_INTERNAL_H

#include "squeezed/store_requests.h"
#include "xenstore-client/xsc.h"

#include <sys/queue.h>

/* What is read of a folder. */
enum request_field {
    FIELD_NODE, /* the folder itself */
    FIELD_STATE,
    FIELD_MIN,
    FIELD_MAX,
    FIELD_CLIENT,
    FIELD_TIMEOUT,
    FIELD_UUID,
    FIELD_TRANSFER,
    FIELD_TICKET,
    FIELDS
};

/* Below a folder; "" for itself. */
extern const char *const request_leaves[FIELDS];

/* Longer values are none that make sense. */
enum { VALUE_CHARS = 71, REQUEST_BUCKETS = 256 };

struct request_value {
    bool there;
    bool unfit; /* too long, or with a NUL in it */
    char text[VALUE_CHARS + 1];
};

enum request_phase {
    PHASE_IDLE,    /* half-written, or not accepted yet */
    PHASE_HELD,    /* accepted; the broker has enough of ours */
    PHASE_QUEUED,  /* the broker has it */
    PHASE_DECIDED, /* its outcome is to be written */
    PHASE_GRANTED,
    PHASE_MOVING, /* it is being transferred */
    PHASE_DONE
};

enum request_outcome {
    OUTCOME_GRANTED,
    OUTCOME_REFUSED,
    OUTCOME_TRANSFERRED,
    OUTCOME_NOT_TRANSFERRED /* it stays granted */
};

struct store_request {
    struct store_requests *all;
    LIST_ENTRY(store_request) bucket;
    LIST_ENTRY(store_request) link;   /* of all */
    TAILQ_ENTRY(store_request) work;  /* while it is to be read */
    TAILQ_ENTRY(store_request) queue; /* while it is held */
    enum request_phase phase;
    bool counted;   /* against the limit */
    bool to_read;   /* in the list for that */
    bool busy;      /* being read or written */
    bool dirty;     /* and something has changed since */
    bool retry;     /* something failed: again at the next tick */
    bool gone;      /* forgotten, once what is under way has come back */
    bool to_queue;  /* what is being written makes it queued */
    bool forgotten; /* ... or is the last word on one that isn't counted */
    /* As asked for. */
    struct request_value asked[FIELDS];
    uint64_t min_kib, max_kib;
    int64_t timeout_us;
    bool has_uuid;
    uint8_t uuid[UUID_BYTES];
    int64_t accepted_us;
    /* The reservation's id, from the beginning. */
    char ticket[UUID_TEXT];
    uint64_t seq; /* the broker's number */
    enum request_outcome outcome;
    uint64_t amount_kib;
    char error[300]; /* "reason: text" */
    char id[];
};

struct store_requests {
    struct event_base *base;
    struct broker *broker;
    int64_t (*now_us)(void);
    struct xsc *xsc;
    struct event *tick;
    bool begun;     /* the broker knows its reservations */
    bool listing;   /* the list of all folders is on its way */
    bool swept;     /* reservations without a folder were looked for */
    bool overflow;  /* not all folders are known: list them again */
    bool unlisted;  /* they could not be listed, which was said */
    bool unwatched; /* to be watched at the next tick */
    bool refused;   /* ... as that was refused, which was said */
    size_t known, counted;
    size_t reading; /* folders, now */
    size_t asked;   /* requests that the broker has */
    LIST_HEAD(, store_request) list;
    LIST_HEAD(, reading) readings;
    LIST_HEAD(, store_request) buckets[REQUEST_BUCKETS];
    TAILQ_HEAD(, store_request) work;
    TAILQ_HEAD(, store_request) held;
};

/* store_requests.c */

/* Reads it anew, and judges it then. */
void
store_request_touch(struct store_request *r);

/* Out of everything. */
void
store_request_forget(struct store_request *r);

/* Once a second, as long as there is something to look after. */
void
store_requests_tick_soon(struct store_requests *all);

/* store_request.c */

/* What its folder says. */
void
store_request_judge(struct store_request *r,
                    const struct request_value values[FIELDS]);

/* The tree was lost: writes it back as it is known. */
void
store_request_rewrite(struct store_request *r);

/* A reservation of this id was asked for here. */
bool
store_request_is_ticket(const char *id);

/* Granted: is the reservation still there, and still nobody's? */
void
store_request_check(struct store_request *r);

#endif
