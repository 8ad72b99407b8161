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

enum {
    /* What was counted on and not taken, as that could not be stored, stays at
     * least so long: its client is told to try again. */
    KEPT_AGAIN_US = 5 * US_PER_S
};

/* What was kept for a reboot has left with the grant, or stays.  Moves
 * entries. */
static void
settle_kept(struct broker *b, uint64_t seq, bool stays)
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
        if (stays) {
            ledger_stay(ledger, e);
            e->hold_until_us =
                max_i64(e->hold_until_us, b->now_us + KEPT_AGAIN_US);
            i++;
        } else {
            log_info("reservation %s of %s is over: %s", e->id, e->client,
                     BROKER_TAKEN_OVER);
            broker_tell_entry(b, NEWS_RELEASE, e, BROKER_TAKEN_OVER);
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

    /* The client may have gone meanwhile: its domain still reboots. */
    settle_kept(b, w->seq, error || !w->reply);
    e = broker_find_entry(b, w->id);
    assert(e && e->state == ENTRY_STAGED);
    ledger_commit(&b->planner.ledger, e);
    if (!error && w->reply)
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
    if (!w->reply) {
        broker_drop(b, e, NOBODY_HAS_IT);
        return;
    }
    log_info("reservation %s of %s granted to %s after %" PRId64 " ms", w->id,
             format_size((int64_t)e->amount_kib, size), e->client,
             result.took_us / US_PER_MS);
    w->reply(w->arg, &result);
}

/* What was kept for its domain's reboot, so that the grant takes the place of
 * that; nothing where another request counts on it.  False: less is there than
 * was decided on. */
static bool
find_kept(struct broker *b, const struct call *call, uint64_t kept_kib,
          struct ledger_entry *ret[BROKER_KEPT_MAX], size_t *ret_count)
{
    uint64_t sum_kib = 0;

    *ret_count = 0;
    if (call->has_uuid &&
        (kept_kib > 0 || !broker_is_counted_on(b, call->uuid)))
        *ret_count = broker_list_kept(b, call->uuid, ret);
    for (size_t i = 0; i < *ret_count; i++)
        sum_kib += ret[i]->amount_kib;
    return sum_kib >= kept_kib;
}

/* Either what was kept is in the store, or the entry. */
static void
store_grant(struct broker *b, const struct ledger_entry *entry,
            struct ledger_entry *const *kept, size_t count, struct pending *w)
{
    struct ledger_change changes[BROKER_KEPT_MAX + 1];

    for (size_t i = 0; i < count; i++) {
        ledger_leave(&b->planner.ledger, kept[i]);
        kept[i]->leaving_seq = w->seq;
        changes[i] = (struct ledger_change){ LEDGER_DELETE, kept[i], false };
    }
    changes[count] = (struct ledger_change){ LEDGER_PUT, entry, false };
    broker_store(b, changes, count + 1, w);
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
        .replaces = kept_kib > 0,
        .created_us = b->now_us,
    };
    struct ledger_entry *kept[BROKER_KEPT_MAX];
    size_t kept_count;
    struct pending *w;

    if (call->reboots) {
        broker_keep_more(b, r, call, amount_kib);
        return;
    }
    if (!find_kept(b, call, kept_kib, kept, &kept_count)) {
        broker_reply_error(call->reply, call->arg, ERR_NOT_READY, NULL,
                           "what was kept for this domain has just gone: try "
                           "again");
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
    store_grant(b, &entry, kept, kept_count, w);
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
broker_keep_undelivered(struct broker *b, struct ledger_entry *e)
{
    log_info("reservation %s of %s: nobody has got it, but its domain reboots: "
             "kept for that",
             e->id, e->client);
    set_hold(b, e, b->options.reboot_hold_us);
    e->rewrite_us = b->now_us;
    broker_wake_at(b, b->now_us);
}

void
broker_abandon(struct broker *b, uint64_t seq)
{
    for (struct pending *w = b->pending; w; w = w->next)
        if (w->stored == grant_stored && w->seq == seq)
            w->reply = NULL;
}
