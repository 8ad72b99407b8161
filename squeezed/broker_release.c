/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reservations that leave: released by their clients, by a login, or by us. */
#include "squeezed/broker_store.h"

#include "common/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What it had taken the place of may have been transferred, or have been on its
 * way out, when it left: then it is not in the store. */
static void
rewrite_kept(struct broker *b, const uint8_t uuid[UUID_BYTES])
{
    struct ledger *ledger = &b->planner.ledger;

    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];

        if (e->reboots && memcmp(e->uuid, uuid, UUID_BYTES) == 0)
            e->rewrite_us = b->now_us;
    }
}

static void
release_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = broker_find_entry(b, w->id);

    assert(e && e->state == ENTRY_LEAVING);
    if (error) {
        ledger_stay(&b->planner.ledger, e);
        /* Our own removals are tried again, and complained of once. */
        if (w->reply || e->retry_us == 0)
            broker_reply_not_stored(w, error);
        if (!w->reply)
            e->retry_us = b->now_us + RETRY_US;
        return;
    }
    if (e->unwanted && e->has_uuid)
        rewrite_kept(b, e->uuid);
    log_info("reservation %s of %s released", e->id, e->client);
    broker_tell_entry(b, NEWS_RELEASE, e, w->why ? w->why : "released");
    ledger_remove(&b->planner.ledger, e);
    broker_reply_done(w);
}

/* A grant that nobody has got may have taken the place of what was kept for its
 * domain: then that comes back. */
static void
store_release(struct broker *b, const struct ledger_entry *e, struct pending *w)
{
    struct ledger_entry *kept[BROKER_KEPT_MAX];
    struct ledger_change changes[2 * BROKER_KEPT_MAX + 1];
    size_t n = 0, count = 0;

    if (e->unwanted && e->has_uuid)
        count = broker_list_kept(b, e->uuid, kept);
    for (size_t i = 0; i < count; i++) {
        changes[n++] = (struct ledger_change){ LEDGER_DELETE, kept[i], false };
        changes[n++] = (struct ledger_change){ LEDGER_PUT, kept[i], false };
    }
    changes[n++] = (struct ledger_change){ LEDGER_DELETE, e, false };
    broker_store(b, changes, n, w);
}

void
broker_start_release(struct broker *b, struct ledger_entry *e, const char *why,
                     broker_reply *reply, void *arg)
{
    struct pending *w =
        broker_pending_new(b, release_stored, e->id, reply, arg);

    if (!w)
        return;
    w->why = why;
    ledger_leave(&b->planner.ledger, e);
    store_release(b, e, w);
}

void
broker_drop(struct broker *b, struct ledger_entry *e, const char *why)
{
    e->unwanted = true;
    broker_start_release(b, e, why, NULL, NULL);
}

void
broker_release(struct broker *b, const char *id, int64_t now_us,
               broker_reply *reply, void *arg)
{
    struct ledger_entry *e = broker_find_entry(b, id);

    b->now_us = max_i64(b->now_us, now_us);
    if (broker_refuse_unloaded(b, reply, arg))
        return;
    if (!broker_entry_settled(e))
        broker_reply_unknown(reply, arg, id);
    else
        broker_start_release(b, e, NULL, reply, arg);
}

void
broker_undelivered(struct broker *b, const char *id, int64_t now_us)
{
    struct ledger_entry *e = broker_find_entry(b, id);

    b->now_us = max_i64(b->now_us, now_us);
    if (!e || e->state != ENTRY_GRANTED)
        return;
    if (e->replaces)
        broker_keep_undelivered(b, e);
    else
        broker_drop(b, e, NOBODY_HAS_IT);
}

/* -------------------------------------------------------------------- login */

static bool
of_login(const struct ledger_entry *e, const char *client)
{
    return e->state == ENTRY_GRANTED && strcmp(e->client, client) == 0;
}

static void
login_stored(struct pending *w, enum err error)
{
    struct ledger *ledger = &w->broker->planner.ledger;
    size_t i = 0;

    while (i < ledger->count) {
        struct ledger_entry *e = &ledger->entries[i];

        /* Those that leave for this login, and for nothing else. */
        if (e->state != ENTRY_LEAVING || e->leaving_seq != w->seq) {
            i++;
            continue;
        }
        e->leaving_seq = 0;
        if (error) {
            ledger_stay(ledger, e);
            i++;
        } else {
            broker_tell_entry(w->broker, NEWS_RELEASE, e, "login");
            ledger_remove(ledger, e);
        }
    }
    if (error) {
        broker_reply_not_stored(w, error);
        return;
    }
    log_info("login of %s: its reservations that no domain owns were dropped",
             w->client);
    broker_reply_done(w);
}

void
broker_login(struct broker *b, const char *client, int64_t now_us,
             broker_reply *reply, void *arg)
{
    struct ledger *ledger = &b->planner.ledger;
    struct ledger_change *changes;
    struct pending *w;
    size_t n = 0;

    b->now_us = max_i64(b->now_us, now_us);
    if (broker_refuse_unloaded(b, reply, arg))
        return;
    w = broker_pending_new(b, login_stored, client, reply, arg);
    if (!w)
        return;
    changes = calloc(ledger->count + 1, sizeof *changes);
    if (!changes) {
        broker_pending_end(w);
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
        return;
    }
    w->seq = ++b->last_seq;
    snprintf(w->client, sizeof w->client, "%s", client);
    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];

        if (!of_login(e, client))
            continue;
        ledger_leave(ledger, e);
        e->leaving_seq = w->seq;
        changes[n++] = (struct ledger_change){ LEDGER_DELETE, e, false };
    }
    if (n > 0) {
        broker_store(b, changes, n, w);
    } else { /* nothing to store, nothing to wait for */
        broker_reply_done(w);
        broker_pending_end(w);
    }
    free(changes);
}
