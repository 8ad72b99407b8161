/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger as a whole: read at the start, written back when xenstored has
 * lost it, and rid of what is over. */
#include "squeezed/broker_store.h"

#include "common/log.h"

#include <string.h>

/* -------------------------------------------------- the start, and reconnects
 */

static void
take_stored_entry(struct broker *b, const struct ledger_entry *stored_entry)
{
    struct ledger_entry e = *stored_entry;
    char size[SIZE_TEXT];
    enum err error;

    e.created_us = b->now_us;
    e.over = e.over && e.transferred;
    e.over_stored = e.over;
    e.reboots = e.has_uuid && strcmp(e.client, BROKER_REBOOT_CLIENT) == 0;
    e.leaving_seq = 0;
    e.storing = false;
    e.unwanted = false;
    e.replaces = false;
    e.owner_unmet = e.transferred && e.has_owner_uuid;
    e.owner_gone = false;
    e.rewrite_us = 0;
    e.retry_us = 0;
    e.state = e.transferred ? ENTRY_OWNED : ENTRY_GRANTED;
    if (e.hold_until_wall_ms == 0) {
        e.hold_until_us = TIME_NEVER_US;
    } else if (b->options.wall_ms) {
        int64_t left_ms =
            e.hold_until_wall_ms - b->options.wall_ms(b->options.context);

        e.hold_until_us =
            b->now_us + max_i64(0, min_i64(left_ms, INT64_MAX / 4000)) * 1000;
    }
    error = ledger_add(&b->planner.ledger, &e);
    if (error)
        log_error("stored reservation %s of %s can't be taken over: %s", e.id,
                  e.client, err_name(error));
    else
        log_info("reservation %s of %s (%s) is still there", e.id, e.client,
                 format_size((int64_t)e.amount_kib, size));
}

static void
loaded(void *arg, enum err error, const struct ledger_entry *entries,
       size_t count)
{
    struct pending *w = arg;
    struct broker *b = w->broker;

    broker_pending_end(w);
    if (!b)
        return;
    b->loading = false;
    if (error)
        return; /* the next run tries again */
    for (size_t i = 0; i < count; i++)
        take_stored_entry(b, &entries[i]);
    b->loaded = true;
    broker_wake_at(b, broker_clock(b));
}

void
broker_load(struct broker *b)
{
    struct pending *w = broker_pending_new(b, NULL, "the ledger", NULL, NULL);

    if (!w)
        return;
    b->loading = true;
    b->platform->ops->load(b->platform, loaded, w);
}

static void
rewrite_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = broker_find_entry(b, w->id);

    if (!error || !e)
        return;
    e->rewrite_us = b->now_us + RETRY_US;
    if (!w->again)
        log_warning("xenstore: reservation %s could not be written back: %s; "
                    "trying again",
                    w->id, err_name(error));
}

/* The store has lost its content. */
static void
rewrite_entry(struct broker *b, struct ledger_entry *e)
{
    /* The store may know more of it than came true. */
    const struct ledger_change changes[] = {
        { LEDGER_DELETE, e, false },
        { LEDGER_PUT, e, false },
        { LEDGER_TRANSFER, e, false },
    };
    struct pending *w =
        broker_pending_new(b, rewrite_stored, e->id, NULL, NULL);

    if (!w) {
        e->rewrite_us = b->now_us + RETRY_US;
        return;
    }
    w->again = e->rewrite_us > 0;
    e->rewrite_us = 0;
    broker_store(b, changes, e->transferred ? 3 : 2, w);
}

void
broker_rewrite_ledger(struct broker *b)
{
    struct ledger *ledger = &b->planner.ledger;

    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];

        e->retry_us = min_i64(e->retry_us, b->now_us);
        if (e->unwanted)
            continue;
        if (broker_entry_settled(e))
            rewrite_entry(b, e);
        else /* once what is on its way has been answered */
            e->rewrite_us = b->now_us;
    }
}

/* ------------------------------------------------------------ what is over */

/* Why it leaves, for people; NULL if it stays. */
static const char *
why_over(const struct broker *b, const struct ledger_entry *e)
{
    if (e->state == ENTRY_OWNED &&
        (e->owner_gone || !host_find(&b->planner.host, e->domid)))
        return "its domain has gone";
    if (e->state == ENTRY_GRANTED && e->unwanted)
        return NOBODY_HAS_IT;
    if (e->state == ENTRY_GRANTED && e->hold_until_us <= b->now_us)
        return "its hold has ended";
    return NULL;
}

/* While something else of it is being stored, that comes first. */
static void
tend_rewrite(struct broker *b, struct ledger_entry *e, int64_t *next_us)
{
    if (e->rewrite_us == 0 || !broker_entry_settled(e))
        return;
    if (e->rewrite_us <= b->now_us)
        rewrite_entry(b, e);
    if (e->rewrite_us > 0)
        *next_us = min_i64(*next_us, e->rewrite_us);
}

static void
over_stored(struct pending *w, enum err error)
{
    struct ledger_entry *e = broker_find_entry(w->broker, w->id);

    if (!error || !e || !e->over)
        return;
    e->over_stored = false;
    e->retry_us = w->broker->now_us + RETRY_US;
}

/* That its promise has ended is stored: after a restart nothing may tell any
 * more (a domain that was built, gave memory away and was paused looks like
 * one under construction). */
static void
store_over(struct broker *b, struct ledger_entry *e, int64_t *next_us)
{
    struct pending *w;

    if (e->state != ENTRY_OWNED || !e->over || e->over_stored)
        return;
    if (e->retry_us > b->now_us) {
        *next_us = min_i64(*next_us, e->retry_us);
        return;
    }
    w = broker_pending_new(b, over_stored, e->id, NULL, NULL);
    if (!w)
        return;
    e->retry_us = 0;
    e->over_stored = true;
    broker_store_entry(b, LEDGER_PUT, e, false, w);
}

/* Removes it if it is over.  *next_us: no later than when it may be. */
static void
tend_entry(struct broker *b, struct ledger_entry *e, int64_t *next_us)
{
    const char *why = why_over(b, e);

    if (!why) {
        tend_rewrite(b, e, next_us);
        store_over(b, e, next_us);
        if (e->state == ENTRY_GRANTED)
            *next_us = min_i64(*next_us, e->hold_until_us);
        if (e->state == ENTRY_GRANTED && e->has_uuid)
            *next_us = min_i64(*next_us, b->now_us + AWAITED_LOOK_US);
        return;
    }
    if (e->retry_us > b->now_us) {
        *next_us = min_i64(*next_us, e->retry_us);
        return;
    }
    if (e->retry_us == 0)
        log_info("reservation %s of %s: %s", e->id, e->client, why);
    broker_start_release(b, e, why, NULL, NULL);
}

int64_t
broker_tend_ledger(struct broker *b)
{
    struct ledger *ledger = &b->planner.ledger;
    int64_t next_us = TIME_NEVER_US;

    for (size_t i = 0; i < ledger->count; i++)
        tend_entry(b, &ledger->entries[i], &next_us);
    return next_us;
}
