/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/broker_store.h"

#include "common/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pending *
broker_pending_new(struct broker *b, when_stored *stored, const char *id,
                   broker_reply *reply, void *arg)
{
    struct pending *w = calloc(1, sizeof *w);

    if (!w) {
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
        return NULL;
    }
    w->broker = b;
    w->stored = stored;
    w->reply = reply;
    w->arg = arg;
    w->submitted_us = b->now_us;
    snprintf(w->id, sizeof w->id, "%s", id);
    w->next = b->pending;
    w->at = &b->pending;
    if (w->next)
        w->next->at = &w->next;
    b->pending = w;
    return w;
}

static void
unlink_pending(struct pending *w)
{
    if (!w->at)
        return;
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    w->at = NULL;
}

static void
free_riders(struct pending *w)
{
    while (w->riders) {
        struct rider *next = w->riders->next;

        free(w->riders);
        w->riders = next;
    }
}

static void
free_pending(struct pending *w)
{
    free_riders(w);
    free(w);
}

void
broker_pending_end(struct pending *w)
{
    unlink_pending(w);
    free_pending(w);
}

void
broker_pending_ride(struct broker *b, when_stored *stored, const char *id,
                    broker_reply *reply, void *arg)
{
    struct pending *w = b->pending;
    struct rider *rider;

    while (w && (w->stored != stored || strcmp(w->id, id) != 0))
        w = w->next;
    assert(w);
    rider = calloc(1, sizeof *rider);
    if (!rider) {
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
        return;
    }
    *rider = (struct rider){ w->riders, reply, arg };
    w->riders = rider;
}

void
broker_detach_pending(struct broker *b)
{
    while (b->pending) {
        struct pending *w = b->pending;

        unlink_pending(w);
        w->broker = NULL;
        w->reply = NULL;
        free_riders(w);
    }
}

void
broker_reply_done(const struct pending *w)
{
    struct result result = { .error = ERR_NONE };

    if (w->reply)
        w->reply(w->arg, &result);
    for (const struct rider *r = w->riders; r; r = r->next)
        r->reply(r->arg, &result);
}

static void
reply_not_stored(broker_reply *reply, void *arg, enum err error)
{
    broker_reply_error(reply, arg, ERR_NOT_READY, NULL,
                       "could not be stored (%s): nothing has changed; try "
                       "again",
                       err_name(error));
}

void
broker_reply_not_stored(const struct pending *w, enum err error)
{
    log_warning("xenstore: %s could not be stored: %s", w->id, err_name(error));
    reply_not_stored(w->reply, w->arg, error);
    for (const struct rider *r = w->riders; r; r = r->next)
        reply_not_stored(r->reply, r->arg, error);
}

void
broker_stored(void *arg, enum err error)
{
    struct pending *w = arg;

    unlink_pending(w);
    if (w->broker) {
        w->stored(w, error);
        broker_wake_at(w->broker,
                       max_i64(broker_clock(w->broker), w->broker->now_us));
    }
    free_pending(w);
}

void
broker_store(struct broker *b, const struct ledger_change *changes,
             size_t count, struct pending *w)
{
    b->platform->ops->persist(b->platform, changes, count, broker_stored, w);
}

void
broker_store_entry(struct broker *b, enum ledger_op op,
                   const struct ledger_entry *entry, bool set_limit,
                   struct pending *w)
{
    const struct ledger_change change = { op, entry, set_limit };

    broker_store(b, &change, 1, w);
}

struct ledger_entry *
broker_find_entry(struct broker *b, const char *id)
{
    return ledger_find(&b->planner.ledger, id);
}

bool
broker_entry_settled(const struct ledger_entry *e)
{
    return e && (e->state == ENTRY_GRANTED || e->state == ENTRY_OWNED);
}

bool
broker_refuse_unloaded(const struct broker *b, broker_reply *reply, void *arg)
{
    if (!b->loaded)
        broker_reply_error(reply, arg, ERR_NOT_READY, NULL,
                           "the ledger has not been read yet: try again");
    return !b->loaded;
}

void
broker_reply_unknown(broker_reply *reply, void *arg, const char *id)
{
    broker_reply_error(reply, arg, ERR_UNKNOWN_RESERVATION, "reservation",
                       "there is no reservation %.64s", id);
}
