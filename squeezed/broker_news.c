/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker's news: what is told when it happens, and what has to be noticed
 * by comparing a pass with the one before. */
#include "squeezed/broker_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void
broker_follow(struct broker *b, news_told *told, void *context)
{
    b->told = told;
    b->told_context = context;
}

void
broker_tell(const struct broker *b, const struct news *news)
{
    if (b->told)
        b->told(b->told_context, news);
}

void
broker_tell_entry(const struct broker *b, enum news_kind kind,
                  const struct ledger_entry *e, const char *why)
{
    broker_tell(b, &(struct news){ .kind = kind,
                                   .client = e->client,
                                   .reservation = e->id,
                                   .amount_kib = e->amount_kib,
                                   .domid = e->domid,
                                   .why = why });
}

/* ------------------------------------------------------------- the domains */

static void
tell_state(const struct broker *b, uint32_t domid, const char *state)
{
    broker_tell(b, &(struct news){
                       .kind = NEWS_STATE, .domid = domid, .state = state });
}

static struct known_domain
known_of(const struct broker *b, const struct domain *d)
{
    struct known_domain known = {
        .domid = d->facts.domid,
        .state = host_domain_state(d, b->now_us),
        .bad_range = d->facts.flags & DOMAIN_BAD_RANGE,
    };

    memcpy(known.uuid, d->facts.uuid, UUID_BYTES);
    return known;
}

static bool
same_domain(const struct known_domain *a, const struct known_domain *b)
{
    return a->domid == b->domid && memcmp(a->uuid, b->uuid, UUID_BYTES) == 0;
}

/* before NULL: it is new. */
static void
tell_changes(const struct broker *b, const struct known_domain *before,
             const struct known_domain *now)
{
    bool was_bad = before && before->bad_range;

    if (!before || before->state != now->state)
        tell_state(b, now->domid, domain_state_name(now->state));
    if (was_bad != now->bad_range)
        broker_tell(b, &(struct news){ .kind = NEWS_RANGE_ERROR,
                                       .domid = now->domid,
                                       .begins = now->bad_range });
}

/* Both lists have ascending domids.  now: as many as the host has. */
static void
compare(const struct broker *b, struct known_domain *now)
{
    const struct host *host = &b->planner.host;
    size_t old = 0;

    for (size_t i = 0; i < host->count; i++) {
        const struct known_domain *before = NULL;

        now[i] = known_of(b, &host->domains[i]);
        for (; old < b->known_count && b->known[old].domid <= now[i].domid;
             old++) {
            if (same_domain(&b->known[old], &now[i]))
                before = &b->known[old];
            else
                tell_state(b, b->known[old].domid, "gone");
        }
        tell_changes(b, before, &now[i]);
    }
    for (; old < b->known_count; old++)
        tell_state(b, b->known[old].domid, "gone");
}

/* Without memory for it, it is noticed later. */
static void
watch_domains(struct broker *b)
{
    size_t count = b->planner.host.count;
    struct known_domain *spare = b->known_spare;

    if (count > b->known_room) {
        size_t room = count + count / 2 + 16;
        void *known = reallocarray(b->known, room, sizeof *b->known);

        if (known)
            b->known = known;
        spare = reallocarray(b->known_spare, room, sizeof *b->known);
        if (spare)
            b->known_spare = spare;
        if (!known || !spare)
            return;
        b->known_room = room;
    }
    compare(b, spare);
    b->known_spare = b->known;
    b->known = spare;
    b->known_count = count;
}

/* ---------------------------------------------------------------- the host */

static void
watch_condition(struct broker *b)
{
    enum host_condition now = host_condition(&b->planner);
    enum host_condition before = b->condition;

    if (b->condition_known && now == before)
        return;
    b->condition = now;
    broker_tell(b, &(struct news){ .kind = NEWS_STATE,
                                   .of_host = true,
                                   .state = host_condition_name(now) });
    if (now == HOST_OVERLOADED ||
        (b->condition_known && before == HOST_OVERLOADED))
        broker_tell(b, &(struct news){ .kind = NEWS_OVERLOAD,
                                       .begins = now == HOST_OVERLOADED,
                                       .missing_kib = b->plan.missing_kib });
    b->condition_known = true;
}

/* Nothing of ours takes headroom below zero: somebody else did, or the reserve
 * was raised. */
static void
watch_thefts(struct broker *b)
{
    uint64_t missing_kib = b->plan.missing_kib;
    uint64_t told_kib = b->missing_kib;
    char size[SIZE_TEXT];

    if (missing_kib <= told_kib) {
        b->missing_kib = missing_kib;
        return;
    }
    if (missing_kib - told_kib <= b->planner.settings.tolerance_kib)
        return;
    b->missing_kib = missing_kib;
    if (b->planner.ledger.count == 0)
        return;
    log_warning("memory that was promised was taken by others: %s are missing, "
                "nothing grows until they are back",
                format_size((int64_t)missing_kib, size));
    b->thefts++;
    broker_tell(
        b, &(struct news){ .kind = NEWS_THEFT, .missing_kib = missing_kib });
}

void
broker_watch_store(struct broker *b, const struct platform_health *health)
{
    if (b->store_known && b->store_connected == health->connected &&
        b->store_reconnects == health->reconnects)
        return;
    b->store_known = true;
    b->store_connected = health->connected;
    b->store_reconnects = health->reconnects;
    broker_tell(b, &(struct news){ .kind = NEWS_STORE, .health = health });
}

/* Walks over all domains: less often than a pass where there are many. */
void
broker_watch_pass(struct broker *b)
{
    int64_t due_us =
        b->watched_us + (int64_t)b->planner.host.count * WATCH_DOMAIN_US;

    watch_thefts(b);
    if (b->condition_known && b->now_us < due_us) {
        b->next_us = min_i64(b->next_us, due_us);
        return;
    }
    b->watched_us = b->now_us;
    watch_condition(b);
    watch_domains(b);
}
