/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reservations become a domain's: by a call, or as their UUID tells. */
#include "squeezed/broker_store.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
note_owner(const struct broker *b, struct ledger_entry *e)
{
    const struct domain *d = host_find(&b->planner.host, e->domid);

    e->has_owner_uuid = d != NULL;
    if (d)
        memcpy(e->owner_uuid, d->facts.uuid, UUID_BYTES);
}

static void
transfer_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = broker_find_entry(b, w->id);

    /* Its domain may have gone meanwhile, and the entry with it. */
    if (error && e && e->state == ENTRY_OWNED) {
        b->fresh = false;
        ledger_untransfer(&b->planner.ledger, e);
        e->retry_us = b->now_us + RETRY_US;
    }
    /* It is being removed; if that fails, too, it is the domain's as before,
     * and the store is told again. */
    if (error && e && e->state == ENTRY_LEAVING && e->transferred) {
        ledger_confirm(&b->planner.ledger, e);
        e->rewrite_us = b->now_us;
    }
    if (error) {
        broker_reply_not_stored(w, error);
        return;
    }
    if (e) {
        ledger_confirm(&b->planner.ledger, e);
        log_info("reservation %s transferred to domain %" PRIu32, e->id,
                 e->domid);
        broker_tell_entry(b, NEWS_TRANSFER, e, NULL);
    }
    broker_reply_done(w);
}

static void
start_transfer(struct broker *b, struct ledger_entry *e, uint32_t domid,
               bool set_limit, broker_reply *reply, void *arg)
{
    struct pending *w =
        broker_pending_new(b, transfer_stored, e->id, reply, arg);

    if (!w)
        return;
    /* It counts as the domain's from here on: not twice while the builder
     * takes the memory.  If this is never stored, a restart counts both. */
    b->fresh = false;
    ledger_transfer(&b->planner.ledger, e, domid);
    note_owner(b, e);
    e->limit_set = set_limit;
    broker_store_entry(b, LEDGER_TRANSFER, e, set_limit, w);
}

/* Who owes what was taken, ascending; NULL without memory. */
static uint32_t *
find_debtors(const struct broker *b, size_t *ret_count)
{
    const struct host *host = &b->planner.host;
    uint32_t *domids = calloc(host->count + 1, sizeof *domids);

    *ret_count = 0;
    for (size_t i = 0; domids && i < host->count; i++)
        if (planner_is_debtor(&host->domains[i], b->now_us))
            domids[(*ret_count)++] = host->domains[i].facts.domid;
    return domids;
}

/* Others took what was reserved, and nobody can make it good: better told now
 * than by a build that fails halfway.  True if it was refused. */
static bool
refuse_stolen(const struct broker *b, const struct ledger_entry *e,
              const struct domain *d, broker_reply *reply, void *arg)
{
    struct result result = { .needed_kib = e->amount_kib };
    char needed[SIZE_TEXT], lacking[SIZE_TEXT];
    uint32_t *domids;

    result.error = planner_lacks(&b->planner, d, e->amount_kib, b->now_us,
                                 &result.short_kib);
    if (!result.error)
        return false;
    result.free_kib = e->amount_kib - result.short_kib;
    snprintf(result.message, sizeof result.message,
             "%s of the %s of reservation %s were taken by others, and guests "
             "can't make that good: free some memory and try again, or release "
             "it",
             format_size((int64_t)result.short_kib, lacking),
             format_size((int64_t)e->amount_kib, needed), e->id);
    log_warning("transfer to domain %" PRIu32 " refused: %s", d->facts.domid,
                result.message);
    domids = find_debtors(b, &result.domid_count);
    result.domids = domids;
    if (reply)
        reply(arg, &result);
    free(domids);
    return true;
}

/* A domain that hasn't got it yet. */
static void
transfer_to(struct broker *b, struct ledger_entry *e, uint32_t domid,
            bool set_limit, broker_reply *reply, void *arg)
{
    const struct domain *d = broker_find_domain(b, domid);

    if (!d)
        broker_reply_error(reply, arg, ERR_UNKNOWN_DOMAIN, "domid",
                           "there is no domain %" PRIu32, domid);
    else if (!refuse_stolen(b, e, d, reply, arg))
        start_transfer(b, e, domid, set_limit, reply, arg);
}

void
broker_transfer(struct broker *b, const char *id, uint32_t domid,
                bool set_limit, int64_t now_us, broker_reply *reply, void *arg)
{
    struct ledger_entry *e = broker_find_entry(b, id);

    b->now_us = max_i64(b->now_us, now_us);
    if (broker_refuse_unloaded(b, reply, arg))
        return;
    if (!broker_entry_settled(e))
        broker_reply_unknown(reply, arg, id);
    else if (e->state == ENTRY_GRANTED)
        transfer_to(b, e, domid, set_limit, reply, arg);
    else if (!broker_find_domain(b, domid))
        broker_reply_error(reply, arg, ERR_UNKNOWN_DOMAIN, "domid",
                           "there is no domain %" PRIu32, domid);
    else if (e->domid != domid)
        broker_reply_error(reply, arg, ERR_INVALID, "domid",
                           "reservation %s was transferred to domain %" PRIu32
                           " already",
                           e->id, e->domid);
    else if (e->storing)
        broker_pending_ride(b, transfer_stored, e->id, reply, arg);
    else
        broker_reply_error(reply, arg, ERR_NONE, NULL, "%s", "");
}

/* ------------------------------------------------------------------- by UUID
 */

/* A new domain of that UUID: not the one that had it before (which may be on
 * its way out), nor domain 0, whose UUID is nil. */
static bool
may_be_awaited(const struct domain_facts *f, const struct ledger_entry *e)
{
    return !(f->flags & (DOMAIN_DYING | DOMAIN_SHUTDOWN)) && f->domid != 0 &&
           !(e->has_elder && f->domid == e->elder_domid) &&
           memcmp(f->uuid, e->uuid, UUID_BYTES) == 0;
}

/* The domain that this reservation has waited for; NULL if it isn't there. */
static const struct domain *
awaited_domain(const struct broker *b, const struct ledger_entry *e)
{
    const struct host *host = &b->planner.host;

    for (size_t i = 0; i < host->count; i++)
        if (may_be_awaited(&host->domains[i].facts, e))
            return &host->domains[i];
    return NULL;
}

/* A promise that was read at the start, to a domain that went while nobody
 * looked: whoever has its domid now was promised nothing. */
static void
meet_owner(struct broker *b, struct ledger_entry *e)
{
    const struct domain *d = host_find(&b->planner.host, e->domid);

    e->owner_unmet = false;
    if (d && memcmp(d->facts.uuid, e->owner_uuid, UUID_BYTES) != 0)
        e->over = e->owner_gone = true;
}

/* domids come back: once the elder has gone, its domid may be the one that is
 * waited for. */
static void
meet_elder(const struct broker *b, struct ledger_entry *e)
{
    const struct domain *d = host_find(&b->planner.host, e->elder_domid);

    if (!d || memcmp(d->facts.uuid, e->uuid, UUID_BYTES) != 0)
        e->has_elder = false;
}

static void
meet_awaited(struct broker *b, struct ledger_entry *e)
{
    const struct domain *d;

    if (e->has_elder)
        meet_elder(b, e);
    d = awaited_domain(b, e);
    if (d)
        start_transfer(b, e, d->facts.domid, false, NULL, NULL);
}

void
broker_meet_domains(struct broker *b, const struct snapshot *snapshot)
{
    struct ledger *ledger = &b->planner.ledger;
    bool looked = false;

    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];
        bool awaits = e->state == ENTRY_GRANTED && e->has_uuid &&
                      !e->unwanted && e->retry_us <= b->now_us;

        if (!awaits && !e->owner_unmet)
            continue;
        if (!looked)
            host_look(&b->planner.host, snapshot, ledger);
        looked = true;
        if (e->owner_unmet)
            meet_owner(b, e);
        else
            meet_awaited(b, e);
    }
}
