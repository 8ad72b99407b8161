/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the broker has on its way to the store: the ledger's changes and orders.
 * An entry counts from the decision until its removal is stored, so that a
 * crash at any point leaves no promise without its memory.  For broker*.c
 * alone. */
#ifndef BROKER_STORE_H
#define BROKER_STORE_H

#include "squeezed/broker_internal.h"

struct pending;

/* Others who wait for the same: they asked for it again. */
struct rider {
    struct rider *next;
    broker_reply *reply;
    void *arg;
};

/* What becomes of it once the store has answered; it is freed thereafter. */
typedef void
when_stored(struct pending *pending, enum err error);

/* It outlives its broker: the platform completes it all the same. */
struct pending {
    struct pending *next, **at; /* the broker's list; at is NULL without one */
    struct broker *broker;      /* NULL: it has gone */
    when_stored *stored;
    char id[LIMIT_ID_CHARS + 1];         /* of the entry */
    char client[LIMIT_CLIENT_CHARS + 1]; /* grant, login */
    const char *why; /* release: it isn't because somebody said so */
    uint64_t seq;    /* of the request */
    bool again;      /* it failed before, and that was said */
    int64_t submitted_us;
    uint64_t kept_kib;   /* grant: comes out of what was kept for a reboot */
    int64_t enough_us;   /* the look that showed enough memory */
    broker_reply *reply; /* NULL: nobody waits (any more) */
    void *arg;
    struct rider *riders;
};

/* NULL without memory, which is replied then.  reply: NULL where nobody
 * waits. */
struct pending *
broker_pending_new(struct broker *broker, when_stored *stored, const char *id,
                   broker_reply *reply, void *arg);
/* Of what the store was not asked, or has answered. */
void
broker_pending_end(struct pending *pending);

/* Waits for what is on its way already for this entry, and gets the same
 * reply. */
void
broker_pending_ride(struct broker *broker, when_stored *stored, const char *id,
                    broker_reply *reply, void *arg);

/* Changes in one transaction; pending is theirs from here on. */
void
broker_store(struct broker *broker, const struct ledger_change *changes,
             size_t count, struct pending *pending);
void
broker_store_entry(struct broker *broker, enum ledger_op op,
                   const struct ledger_entry *entry, bool set_limit,
                   struct pending *pending);
/* The platform's completion; arg is the pending. */
void
broker_stored(void *arg, enum err error);

void
broker_reply_done(const struct pending *pending);
void
broker_reply_not_stored(const struct pending *pending, enum err error);
void
broker_reply_unknown(broker_reply *reply, void *arg, const char *id);
/* Before the ledger was read nobody can tell what is in it: true if that was
 * the reply. */
bool
broker_refuse_unloaded(const struct broker *broker, broker_reply *reply,
                       void *arg);

/* NULL if there is none. */
struct ledger_entry *
broker_find_entry(struct broker *broker, const char *id);
/* It is there, and nothing of it but a transfer is on its way. */
bool
broker_entry_settled(const struct ledger_entry *entry);

/* Why a grant is released that its client didn't wait for.  It counts as long
 * as it may be in the store. */
#define NOBODY_HAS_IT "nobody has got it"

/* broker_release.c: why is NULL where somebody said so. */
void
broker_start_release(struct broker *broker, struct ledger_entry *entry,
                     const char *why, broker_reply *reply, void *arg);

#endif
