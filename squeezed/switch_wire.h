/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes over the wire between us and XAPI's message switch: the paths and
 * bodies that are sent to it, and what its replies say.  Pure; replies may be
 * anything. */
#ifndef SWITCH_WIRE_H
#define SWITCH_WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names of queues are shorter than this; room for the longest path. */
enum { SWITCH_NAME = 256, SWITCH_PATH = 2 * 3 * SWITCH_NAME + 64 };

/* A message's id is the name of its queue and its number there. */
struct switch_id {
    char queue[SWITCH_NAME];
    int64_t number;
};

/* "/VERB/NAME", percent-encoded.  Returns path. */
const char *
switch_path_name(char path[SWITCH_PATH], const char *verb, const char *name);

/* "/ack/QUEUE/N" */
const char *
switch_path_ack(char path[SWITCH_PATH], const struct switch_id *id);

/* "/response/REPLY_QUEUE/QUEUE/N" */
const char *
switch_path_response(char path[SWITCH_PATH], const char *reply_queue,
                     const struct switch_id *id);

/* The body of a transfer; from: the last reply's `next`, NULL the first time.
 * The caller frees it.  NULL without memory. */
char *
switch_transfer_body(const char *queue, int64_t timeout_us, const json_t *from);

/* The reply to a transfer. */
struct switch_transfer {
    json_t *root;
    const json_t *messages; /* an array, in root */
    const json_t *next;     /* for the next transfer's from, in root */
};

/* False with what is wrong in why; then there is nothing to be done. */
bool
switch_transfer_read(const char *text, size_t length,
                     struct switch_transfer *ret, char *why, size_t size);

void
switch_transfer_done(struct switch_transfer *transfer);

struct switch_message {
    struct switch_id id;
    char reply_queue[SWITCH_NAME]; /* empty: nobody waits for an answer */
    const char *payload;           /* NULL: it is no call; in the transfer */
    size_t length;
};

/* The message number i.  False if not even its id can be read. */
bool
switch_transfer_message(const struct switch_transfer *transfer, size_t i,
                        struct switch_message *ret);

enum switch_delivery {
    SWITCH_DELIVERED,
    SWITCH_GONE,   /* there is no such reply queue any more */
    SWITCH_UNCLEAR /* the switch speaks in riddles */
};

/* The reply to a response. */
enum switch_delivery
switch_response_read(const char *text, size_t length);

#endif
