/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reservations that are new: asked for, or held for a reboot. */
#include "squeezed/broker_store.h"

#include "common/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Our own ids: random UUIDs (version 4). */
static void
make_id(struct broker *b, char *id)
{
    uint8_t bytes[UUID_BYTES];

    if (b->options.new_id) {
        b->options.new_id(b->options.context, id);
        return;
    }
    /* Up to 256 bytes can't come short once the kernel's pool is ready. */
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        abort();
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    format_uuid(bytes, id);
}

static void
set_hold(struct broker *b, struct ledger_entry *e, int64_t hold_us)
{
    e->hold_until_us = TIME_NEVER_US;
    if (hold_us < 0)
        return;
    e->hold_until_us = b->now_us > TIME_NEVER_US - hold_us
                           ? TIME_NEVER_US
                           : b->now_us + hold_us;
    if (b->options.wall_ms)
        e->hold_until_wall_ms =
            b->options.wall_ms(b->options.context) + hold_us / US_PER_MS;
}

static void
note_elder(const struct broker *b, struct ledger_entry *e)
{
    const struct host *host = &b->planner.host;

    for (size_t i = 0; e->has_uuid && i < host->count; i++)
        if (memcmp(host->domains[i].facts.uuid, e->uuid, UUID_BYTES) == 0) {
            e->has_elder = true;
            e->elder_domid = host->domains[i].facts.domid;
        }
}

static void
refuse_not_stored(const struct pending *w, enum err error)
{
    struct result result = { .error = ERR_NOT_READY };

    snprintf(result.message, sizeof result.message, "could not be stored (%s)",
             err_name(error));
    broker_tell(w->broker, &(struct news){ .kind = NEWS_REFUSAL,
                                           .request = w->seq,
                                           .client = w->client,
                                           .result = &result });
    broker_reply_not_stored(w, error);
}

/* What was kept for a reboot has left with the grant, or stays.  Moves
 * entries. */
static void
settle_kept(struct broker *b, uint64_t seq, enum err error)
{
    struct ledger *ledger = &b->planner.ledger;
    size_t i = 0;

    while (seq > 0 && i < ledger->count) {
        struct ledger_entry *e = &ledger->entries[i];

        if (e->state != ENTRY_LEAVING || e->leaving_seq != seq) {
            i++;
            continue;
        }
        e->leaving_seq = 0;
        if (error) {
            ledger_stay(ledger, e);
            e->rewrite_us = b->now_us; /* it may have left all the same */
            i++;
        } else {
            log_info("reservation %s of %s is over: somebody has reserved for "
                     "its domain",
                     e->id, e->client);
            broker_tell_entry(b, NEWS_RELEASE, e,
                              "somebody has reserved for its domain");
            ledger_remove(ledger, e);
        }
    }
}

static void
grant_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e;
    struct result result;
    char size[SIZE_TEXT];

    settle_kept(b, w->seq, error);
    e = broker_find_entry(b, w->id);
    assert(e && e->state == ENTRY_STAGED);
    ledger_commit(&b->planner.ledger, e);
    if (!error)
        ledger_enlarge(&b->planner.ledger, e, w->kept_kib);
    if (error == ERR_NOT_READY) { /* it may have been stored all the same */
        /* Before the reply, which may change the ledger. */
        broker_drop(b, e, NOBODY_HAS_IT);
        refuse_not_stored(w, error);
        return;
    }
    if (error) {
        ledger_remove(&b->planner.ledger, e);
        refuse_not_stored(w, error);
        return;
    }
    result = (struct result){
        .reservation = w->id,
        .amount_kib = e->amount_kib,
        .took_us = broker_clock(b) - w->submitted_us,
        .answer_us = broker_clock(b) - w->enough_us,
    };
    broker_tell(b, &(struct news){ .kind = NEWS_GRANT,
                                   .request = w->seq,
                                   .client = e->client,
                                   .result = &result });
    if (!w->reply) { /* the client has gone meanwhile */
        broker_drop(b, e, NOBODY_HAS_IT);
        return;
    }
    log_info("reservation %s of %s granted to %s after %" PRId64 " ms", w->id,
             format_size((int64_t)e->amount_kib, size), e->client,
             result.took_us / US_PER_MS);
    w->reply(w->arg, &result);
}

enum {
    /* There is one; two if they were kept by different runs. */
    KEPT_MAX = 4
};

/* Stores the entry in the place of what was kept for its domain's reboot:
 * either the one is in the store, or the other. */
static void
store_grant(struct broker *b, const struct ledger_entry *entry,
            struct pending *w)
{
    struct ledger *ledger = &b->planner.ledger;
    struct ledger_change changes[KEPT_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; entry->has_uuid && i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];

        if (n == KEPT_MAX || !broker_keeps_for(e, entry->uuid))
            continue;
        ledger_leave(ledger, e);
        e->leaving_seq = w->seq;
        changes[n++] = (struct ledger_change){ LEDGER_DELETE, e, false };
    }
    changes[n++] = (struct ledger_change){ LEDGER_PUT, entry, false };
    broker_store(b, changes, n, w);
}

void
broker_grant(struct broker *b, const struct request *r, const struct call *call,
             uint64_t amount_kib)
{
    uint64_t kept_kib = min_u64(amount_kib, r->kept_kib);
    /* Until it is stored, what is kept counts as that. */
    struct ledger_entry entry = {
        .amount_kib = amount_kib - kept_kib,
        .state = ENTRY_STAGED,
        .has_uuid = call->has_uuid,
        .created_us = b->now_us,
    };
    struct pending *w;

    if (call->reboots) {
        broker_keep_more(b, r, call, amount_kib);
        return;
    }
    if (call->id[0])
        memcpy(entry.id, call->id, sizeof entry.id);
    else
        make_id(b, entry.id);
    snprintf(entry.client, sizeof entry.client, "%s", call->client);
    memcpy(entry.uuid, call->uuid, UUID_BYTES);
    note_elder(b, &entry);
    set_hold(b, &entry, call->hold_us);
    w = broker_pending_new(b, grant_stored, entry.id, call->reply, call->arg);
    if (!w)
        return;
    if (ledger_add(&b->planner.ledger, &entry)) {
        broker_pending_end(w);
        broker_reply_error(call->reply, call->arg, ERR_BUSY, "reservations",
                           "no room for another reservation");
        return;
    }
    snprintf(w->client, sizeof w->client, "%s", call->client);
    w->seq = r->seq;
    w->submitted_us = r->submitted_us;
    w->enough_us = b->now_us;
    w->kept_kib = kept_kib;
    entry.amount_kib = amount_kib;
    store_grant(b, &entry, w);
}

void
broker_nobody_waits(void *arg, const struct result *result)
{
    (void)arg;
    (void)result;
}

void
broker_hold(struct broker *b, struct ledger_entry *entry, int64_t hold_us)
{
    struct pending *w;

    make_id(b, entry->id);
    entry->created_us = b->now_us;
    set_hold(b, entry, hold_us);
    w = broker_pending_new(b, grant_stored, entry->id, broker_nobody_waits,
                           NULL);
    if (!w)
        return;
    if (ledger_add(&b->planner.ledger, entry)) {
        broker_pending_end(w);
        log_warning("no room for another reservation");
        return;
    }
    w->enough_us = b->now_us;
    broker_store_entry(b, LEDGER_PUT, entry, false, w);
}

void
broker_abandon(struct broker *b, uint64_t seq)
{
    for (struct pending *w = b->pending; w; w = w->next)
        if (w->stored == grant_stored && w->seq == seq)
            w->reply = NULL;
}
