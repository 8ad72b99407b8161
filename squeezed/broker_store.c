/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/broker_store.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>

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

void
broker_pending_end(struct pending *w)
{
    unlink_pending(w);
    free(w);
}

void
broker_detach_pending(struct broker *b)
{
    while (b->pending) {
        struct pending *w = b->pending;

        unlink_pending(w);
        w->broker = NULL;
        w->reply = NULL;
    }
}

void
broker_reply_done(const struct pending *w)
{
    struct result result = { .error = ERR_NONE };

    if (w->reply)
        w->reply(w->arg, &result);
}

void
broker_reply_not_stored(const struct pending *w, enum err error)
{
    log_warning("xenstore: %s could not be stored: %s", w->id, err_name(error));
    broker_reply_error(w->reply, w->arg, ERR_NOT_READY, NULL,
                       "could not be stored (%s): nothing has changed; try "
                       "again",
                       err_name(error));
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
    free(w);
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
