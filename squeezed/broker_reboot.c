/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reboots.  Under xl a domain that reboots is destroyed, and 2 s later a new
 * one of the same UUID is built; without a hold its memory would be somebody
 * else's by then. */
#include "squeezed/broker_internal.h"

#include "common/log.h"
#include "squeezed/core/judge.h"

#include <inttypes.h>
#include <string.h>

enum {
    /* xl builds the next domain 2 s after the old one has gone. */
    MORE_TIMEOUT_US = 5 * US_PER_S
};

static bool
waits_for(const struct ledger_entry *e, const uint8_t uuid[UUID_BYTES])
{
    return !e->transferred && e->has_uuid && !e->unwanted &&
           memcmp(e->uuid, uuid, UUID_BYTES) == 0;
}

/* Something else waits for the next one already; or its toolstack (XAPI's)
 * reserves for it by itself.  *ret_kept_kib: what is kept for it so far. */
static bool
is_seen_to(const struct ledger *ledger, const struct domain_facts *f,
           uint64_t *ret_kept_kib)
{
    *ret_kept_kib = 0;
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_entry *e = &ledger->entries[i];

        if ((e->transferred && e->domid == f->domid && e->limit_set) ||
            (!e->reboots && waits_for(e, f->uuid)))
            return true;
        if (waits_for(e, f->uuid))
            *ret_kept_kib += e->amount_kib;
    }
    return false;
}

static uint64_t
spare_kib(const struct broker *b)
{
    const struct planner *p = &b->planner;
    struct host_sums sums;

    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib,
             p->settings.cushion_kib, &sums);
    return page_down((uint64_t)max_i64(sums.headroom_kib, 0));
}

static void
keep(struct broker *b, const struct domain *d, uint64_t kib)
{
    struct ledger_entry entry = {
        .client = BROKER_REBOOT_CLIENT,
        .amount_kib = kib,
        .state = ENTRY_STAGED,
        .reboots = true,
        .has_uuid = true,
        .has_elder = true,
        .elder_domid = d->facts.domid,
    };
    char size[SIZE_TEXT];

    memcpy(entry.uuid, d->facts.uuid, UUID_BYTES);
    log_info("domain %" PRIu32 " reboots: %s are kept for it", d->facts.domid,
             format_size((int64_t)entry.amount_kib, size));
    broker_hold(b, &entry, b->options.reboot_hold_us);
    host_set_promises(&b->planner.host, &b->planner.ledger);
}

static void
ask_for_more(struct broker *b, const struct domain *d, uint64_t kib)
{
    const struct reserve_call call = {
        .client = BROKER_REBOOT_CLIENT,
        .min_kib = kib,
        .max_kib = kib,
        .timeout_us = MORE_TIMEOUT_US,
        .hold_us = b->options.reboot_hold_us,
        .uuid = d->facts.uuid,
    };
    size_t i = b->planner.queue.count;

    broker_reserve(b, &call, b->now_us, broker_nobody_waits, NULL);
    if (b->planner.queue.count > i)
        b->calls[i].reboots = true;
}

/* What comes free with the domain, or is free, is kept at once; the others are
 * asked for the rest: a guest whose limit is its target leaves less than libxl
 * lets the next one take. */
static void
see_to(struct broker *b, const struct domain *d)
{
    uint64_t wanted_kib = host_reboot_kib(d), kept_kib;

    if (is_seen_to(&b->planner.ledger, &d->facts, &kept_kib))
        return;
    if (kept_kib == 0) {
        kept_kib = min_u64(host_reboot_own_kib(d) + spare_kib(b), wanted_kib);
        keep(b, d, kept_kib);
    }
    if (kept_kib < wanted_kib)
        ask_for_more(b, d, wanted_kib - kept_kib);
}

void
broker_keep_reboots(struct broker *b, const struct snapshot *snapshot)
{
    struct host *host = &b->planner.host;

    if (snapshot->reboots == 0 || b->options.reboot_hold_us == 0)
        return;
    host_look(host, snapshot, &b->planner.ledger);
    for (size_t i = 0; i < host->count; i++) {
        struct domain *d = &host->domains[i];

        if (!(d->facts.flags & DOMAIN_REBOOTS) || d->reboot_heard ||
            d->facts.domid == 0)
            continue;
        d->reboot_heard = true;
        see_to(b, d);
    }
}

void
broker_keep_more(struct broker *b, const struct request *r,
                 const struct call *call, uint64_t kib)
{
    struct ledger *ledger = &b->planner.ledger;

    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];
        struct result result = { .reservation = e->id, .amount_kib = kib };

        if (!e->reboots || !waits_for(e, call->uuid) ||
            e->state == ENTRY_LEAVING)
            continue;
        ledger_enlarge(ledger, e, kib);
        e->rewrite_us = b->now_us;
        broker_tell(b, &(struct news){ .kind = NEWS_GRANT,
                                       .request = r->seq,
                                       .client = call->client,
                                       .result = &result });
        return;
    }
    /* The next one is there already, or somebody else has seen to it. */
    broker_tell(b, &(struct news){ .kind = NEWS_REFUSAL,
                                   .request = r->seq,
                                   .client = call->client,
                                   .result = &(struct result){
                                       .error = ERR_CANCELLED,
                                       .message = "nothing waits for it" } });
}

static bool
is_for(const struct call *call, const uint8_t uuid[UUID_BYTES])
{
    return call->has_uuid && memcmp(call->uuid, uuid, UUID_BYTES) == 0;
}

/* The index of the first one for that UUID, by somebody else or by us; the
 * queue's count if there is none. */
static size_t
queued_for(const struct broker *b, const uint8_t uuid[UUID_BYTES], bool ours)
{
    size_t i = 0;

    while (i < b->planner.queue.count &&
           (b->calls[i].reboots != ours || !is_for(&b->calls[i], uuid)))
        i++;
    return i;
}

/* It is about to come free.  (When it is first seen dying, that is not yet
 * judged.) */
static bool
is_coming(const struct broker *b, const struct domain *old)
{
    return (old->facts.flags & DOMAIN_DYING) &&
           (old->judgement.leaving_us == 0 || judge_is_leaving(old, b->now_us));
}

/* It may be met: what it counts on doesn't end, then. */
static bool
is_hopeful(const struct call *call, const struct request *r)
{
    return !call->planned || r->want_kib > 0 || r->min_kib <= r->kept_kib;
}

/* What a domain holds that has shut down, but isn't on its way out, may stay
 * there (Xen keeps pages that others have mapped): others give for its
 * successor, then.  False if there is nothing for it. */
static bool
credit(const struct broker *b, struct ledger_entry *e, const struct call *call,
       struct request *r)
{
    const struct domain *old = host_carrier(&b->planner.host, e);
    bool comes = e->state == ENTRY_STAGED || (old && is_coming(b, old));
    uint64_t stays_kib = old && !comes ? host_reboot_held_kib(old) : 0;

    if (e->amount_kib <= stays_kib)
        return false;
    r->kept_kib += e->amount_kib - stays_kib;
    r->kept_comes |= comes;
    if (is_hopeful(call, r))
        e->hold_until_us = max_i64(e->hold_until_us, b->now_us + US_PER_S);
    return true;
}

/* What we have asked for on top of what is kept is part of what it asks for. */
static void
drop_ours(struct broker *b, const uint8_t uuid[UUID_BYTES])
{
    size_t i = queued_for(b, uuid, true);

    if (i == b->planner.queue.count)
        return;
    broker_tell(b, &(struct news){ .kind = NEWS_REFUSAL,
                                   .request = b->requests[i].seq,
                                   .client = b->calls[i].client,
                                   .result = &(struct result){
                                       .error = ERR_CANCELLED,
                                       .message = BROKER_TAKEN_OVER } });
    broker_take_off_queue(b, i);
}

/* One request for each UUID. */
static void
credit_all(struct broker *b, const struct snapshot *snapshot)
{
    struct ledger *ledger = &b->planner.ledger;
    bool looked = false;

    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];
        size_t k = b->planner.queue.count;

        if (e->reboots && e->state != ENTRY_LEAVING && waits_for(e, e->uuid))
            k = queued_for(b, e->uuid, false);
        if (k == b->planner.queue.count)
            continue;
        if (!looked)
            host_look(&b->planner.host, snapshot, ledger);
        looked = true;
        if (credit(b, e, &b->calls[k], &b->requests[k]))
            drop_ours(b, e->uuid);
    }
}

void
broker_credit_reboots(struct broker *b, const struct snapshot *snapshot)
{
    const struct request_queue *queue = &b->planner.queue;

    for (size_t i = 0; i < queue->count; i++) {
        b->calls[i].credited_kib = b->requests[i].kept_kib;
        b->requests[i].kept_kib = 0;
        b->requests[i].kept_comes = false;
    }
    if (queue->count > 0)
        credit_all(b, snapshot);
    /* What a range is to get beyond it was fixed for another case. */
    for (size_t i = 0; i < queue->count; i++)
        if (b->requests[i].kept_kib != b->calls[i].credited_kib)
            b->requests[i].want_kib = 0;
}

size_t
broker_list_kept(struct broker *b, const uint8_t uuid[UUID_BYTES],
                 struct ledger_entry *ret[BROKER_KEPT_MAX])
{
    struct ledger *ledger = &b->planner.ledger;
    size_t n = 0;

    for (size_t i = 0; n < BROKER_KEPT_MAX && i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];

        if (e->reboots && e->state == ENTRY_GRANTED && waits_for(e, uuid))
            ret[n++] = e;
    }
    return n;
}

bool
broker_is_counted_on(const struct broker *b, const uint8_t uuid[UUID_BYTES])
{
    size_t i = queued_for(b, uuid, false);

    return i < b->planner.queue.count && b->requests[i].kept_kib > 0;
}
