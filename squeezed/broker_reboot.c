/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reboots.  Under xl a domain that reboots is destroyed, and 2 s later a new
 * one of the same UUID is built; without a hold its memory would be somebody
 * else's by then. */
#include "squeezed/broker_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <string.h>

static bool
waits_for(const struct ledger_entry *e, const uint8_t uuid[UUID_BYTES])
{
    return !e->transferred && e->has_uuid && !e->unwanted &&
           memcmp(e->uuid, uuid, UUID_BYTES) == 0;
}

/* Something waits for the next one already; or its toolstack (XAPI's) reserves
 * for it by itself. */
static bool
is_seen_to(const struct ledger *ledger, const struct domain_facts *f)
{
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_entry *e = &ledger->entries[i];

        if (waits_for(e, f->uuid) ||
            (e->transferred && e->domid == f->domid && e->limit_set))
            return true;
    }
    return false;
}

static void
keep(struct broker *b, struct domain *d)
{
    struct ledger_entry entry = {
        .client = BROKER_REBOOT_CLIENT,
        .amount_kib = host_reboot_kib(d),
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
        if (!is_seen_to(&b->planner.ledger, &d->facts))
            keep(b, d);
    }
}

void
broker_end_reboot(struct broker *b, const uint8_t uuid[UUID_BYTES])
{
    struct ledger *ledger = &b->planner.ledger;

    for (size_t i = 0; i < ledger->count; i++) {
        struct ledger_entry *e = &ledger->entries[i];

        if (e->reboots && e->state == ENTRY_GRANTED && waits_for(e, uuid))
            broker_drop(b, e, "somebody has reserved for its domain");
    }
}
