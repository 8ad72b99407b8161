/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever of the broker goes through the store: the ledger's changes and
 * ranges.  An entry counts from the decision until its removal is stored, so
 * that a crash at any point leaves no promise without its memory. */
#include "squeezed/broker_internal.h"

#include "common/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ----------------------------------------------------------------- pending */

static struct pending *
pending_new(struct broker *b, enum pending_kind kind, const char *id,
            broker_reply *reply, void *arg)
{
    struct pending *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->broker = b;
    w->kind = kind;
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
broker_detach_pending(struct broker *b)
{
    while (b->pending) {
        struct pending *w = b->pending;

        unlink_pending(w);
        w->broker = NULL;
        w->reply = NULL;
    }
}

static void
reply_done(const struct pending *w)
{
    struct result result = { .error = ERR_NONE };

    if (w->reply)
        w->reply(w->arg, &result);
}

static void
reply_not_stored(const struct pending *w, enum err error)
{
    log_warning("xenstore: %s could not be stored: %s", w->id, err_name(error));
    broker_reply_error(w->reply, w->arg, ERR_NOT_READY, NULL,
                       "could not be stored (%s): nothing has changed; try "
                       "again",
                       err_name(error));
}

/* What became of each kind once the store has answered. */
static void
grant_stored(struct pending *w, enum err error);
static void
release_stored(struct pending *w, enum err error);
static void
transfer_stored(struct pending *w, enum err error);
static void
login_stored(struct pending *w, enum err error);
static void
order_stored(struct pending *w, enum err error);
static void
over_stored(struct pending *w, enum err error);
static void
rewrite_stored(struct pending *w, enum err error);

static void (*const when_stored[])(struct pending *w, enum err error) = {
    [PENDING_GRANT] = grant_stored,       [PENDING_RELEASE] = release_stored,
    [PENDING_TRANSFER] = transfer_stored, [PENDING_LOGIN] = login_stored,
    [PENDING_ORDER] = order_stored,       [PENDING_OVER] = over_stored,
    [PENDING_REWRITE] = rewrite_stored,
};

static void
stored(void *arg, enum err error)
{
    struct pending *w = arg;

    unlink_pending(w);
    if (w->broker) {
        when_stored[w->kind](w, error);
        broker_wake_at(w->broker,
                       max_i64(broker_clock(w->broker), w->broker->now_us));
    }
    free(w);
}

static void
persist(struct broker *b, enum ledger_op op, const struct ledger_entry *entry,
        bool set_limit, struct pending *w)
{
    const struct ledger_change change = { op, entry, set_limit };

    b->platform->ops->persist(b->platform, &change, 1, stored, w);
}

static struct ledger_entry *
find_entry(struct broker *b, const char *id)
{
    return ledger_find(&b->planner.ledger, id);
}

/* ------------------------------------------------------------------- grant */

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

void
broker_grant(struct broker *b, const struct request *r, const struct call *call,
             uint64_t amount_kib)
{
    struct ledger_entry entry = {
        .amount_kib = amount_kib,
        .state = ENTRY_STAGED,
        .has_uuid = call->has_uuid,
        .created_us = b->now_us,
    };
    struct pending *w;
    enum err error;

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
    if (entry.has_uuid)
        broker_end_reboot(b, entry.uuid);
    set_hold(b, &entry, call->hold_us);
    error = ledger_add(&b->planner.ledger, &entry);
    w = error ? NULL
              : pending_new(b, PENDING_GRANT, entry.id, call->reply, call->arg);
    if (!w) {
        if (!error)
            ledger_remove(&b->planner.ledger, find_entry(b, entry.id));
        broker_reply_error(call->reply, call->arg, ERR_BUSY, "reservations",
                           "no room for another reservation");
        return;
    }
    snprintf(w->client, sizeof w->client, "%s", call->client);
    w->seq = r->seq;
    w->submitted_us = r->submitted_us;
    w->enough_us = b->now_us;
    persist(b, LEDGER_PUT, &entry, false, w);
}

static void
start_release(struct broker *b, struct ledger_entry *e, const char *why,
              broker_reply *reply, void *arg);

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
    if (ledger_add(&b->planner.ledger, entry)) {
        log_warning("no room for another reservation");
        return;
    }
    w = pending_new(b, PENDING_GRANT, entry->id, broker_nobody_waits, NULL);
    if (!w) {
        ledger_remove(&b->planner.ledger, find_entry(b, entry->id));
        return;
    }
    w->enough_us = b->now_us;
    persist(b, LEDGER_PUT, entry, false, w);
}

void
broker_drop(struct broker *b, struct ledger_entry *e, const char *why)
{
    e->unwanted = true;
    start_release(b, e, why, NULL, NULL);
}

/* A grant that nobody got.  It counts as long as it may be in the store. */
static void
drop(struct broker *b, struct ledger_entry *e)
{
    e->unwanted = true;
    start_release(b, e, "nobody has got it", NULL, NULL);
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
    reply_not_stored(w, error);
}

static void
grant_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = find_entry(b, w->id);
    struct result result;
    char size[SIZE_TEXT];

    assert(e && e->state == ENTRY_STAGED);
    ledger_commit(&b->planner.ledger, e);
    if (error == ERR_NOT_READY) { /* it may have been stored all the same */
        drop(b, e); /* before the reply, which may change the ledger */
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
        drop(b, e);
        return;
    }
    log_info("reservation %s of %s granted to %s after %" PRId64 " ms", w->id,
             format_size((int64_t)e->amount_kib, size), e->client,
             result.took_us / US_PER_MS);
    w->reply(w->arg, &result);
}

void
broker_abandon(struct broker *b, uint64_t seq)
{
    for (struct pending *w = b->pending; w; w = w->next)
        if (w->kind == PENDING_GRANT && w->seq == seq)
            w->reply = NULL;
}

/* ----------------------------------------------------------------- release */

static void
start_release(struct broker *b, struct ledger_entry *e, const char *why,
              broker_reply *reply, void *arg)
{
    struct pending *w = pending_new(b, PENDING_RELEASE, e->id, reply, arg);

    if (!w) {
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
        return;
    }
    w->why = why;
    ledger_leave(&b->planner.ledger, e);
    persist(b, LEDGER_DELETE, e, false, w);
}

static void
release_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = find_entry(b, w->id);

    assert(e && e->state == ENTRY_LEAVING);
    if (error) {
        ledger_stay(&b->planner.ledger, e);
        /* Our own removals are tried again, and complained of once. */
        if (w->reply || e->retry_us == 0)
            reply_not_stored(w, error);
        if (!w->reply)
            e->retry_us = b->now_us + RETRY_US;
        return;
    }
    log_info("reservation %s of %s released", e->id, e->client);
    broker_tell_entry(b, NEWS_RELEASE, e, w->why ? w->why : "released");
    ledger_remove(&b->planner.ledger, e);
    reply_done(w);
}

static bool
settled_entry(const struct ledger_entry *e)
{
    return e && (e->state == ENTRY_GRANTED || e->state == ENTRY_OWNED);
}

/* Before the ledger was read nobody can tell what is in it. */
static bool
refuse_unloaded(const struct broker *b, broker_reply *reply, void *arg)
{
    if (!b->loaded)
        broker_reply_error(reply, arg, ERR_NOT_READY, NULL,
                           "the ledger has not been read yet: try again");
    return !b->loaded;
}

static void
reply_unknown(broker_reply *reply, void *arg, const char *id)
{
    broker_reply_error(reply, arg, ERR_UNKNOWN_RESERVATION, "reservation",
                       "there is no reservation %.64s", id);
}

void
broker_release(struct broker *b, const char *id, int64_t now_us,
               broker_reply *reply, void *arg)
{
    struct ledger_entry *e = find_entry(b, id);

    b->now_us = max_i64(b->now_us, now_us);
    if (refuse_unloaded(b, reply, arg))
        return;
    if (!settled_entry(e))
        reply_unknown(reply, arg, id);
    else
        start_release(b, e, NULL, reply, arg);
}

void
broker_undelivered(struct broker *b, const char *id, int64_t now_us)
{
    struct ledger_entry *e = find_entry(b, id);

    b->now_us = max_i64(b->now_us, now_us);
    if (e && e->state == ENTRY_GRANTED)
        drop(b, e);
}

/* ---------------------------------------------------------------- transfer */

static void
note_owner(const struct broker *b, struct ledger_entry *e)
{
    const struct domain *d = host_find(&b->planner.host, e->domid);

    e->has_owner_uuid = d != NULL;
    if (d)
        memcpy(e->owner_uuid, d->facts.uuid, UUID_BYTES);
}

static void
start_transfer(struct broker *b, struct ledger_entry *e, uint32_t domid,
               bool set_limit, broker_reply *reply, void *arg)
{
    struct pending *w = pending_new(b, PENDING_TRANSFER, e->id, reply, arg);

    if (!w) {
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
        return;
    }
    /* It counts as the domain's from here on: not twice while the builder
     * takes the memory.  If this is never stored, a restart counts both. */
    b->fresh = false;
    ledger_transfer(&b->planner.ledger, e, domid);
    note_owner(b, e);
    e->limit_set = set_limit;
    persist(b, LEDGER_TRANSFER, e, set_limit, w);
}

static void
transfer_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = find_entry(b, w->id);

    /* Its domain may have gone meanwhile, and the entry with it. */
    if (error && e && e->state == ENTRY_OWNED) {
        b->fresh = false;
        ledger_untransfer(&b->planner.ledger, e);
        e->retry_us = b->now_us + RETRY_US;
    }
    if (error) {
        reply_not_stored(w, error);
        return;
    }
    if (e) {
        ledger_confirm(&b->planner.ledger, e);
        log_info("reservation %s transferred to domain %" PRIu32, e->id,
                 e->domid);
        broker_tell_entry(b, NEWS_TRANSFER, e, NULL);
    }
    reply_done(w);
}

/* A domain that has come since the last look counts, too. */
static struct domain *
find_domain_now(struct broker *b, uint32_t domid)
{
    struct snapshot snapshot;

    if (!b->platform->ops->look(b->platform, b->now_us, &snapshot) &&
        broker_make_room(b, snapshot.count))
        host_look(&b->planner.host, &snapshot, &b->planner.ledger);
    return host_find(&b->planner.host, domid);
}

bool
broker_has_domain(struct broker *b, uint32_t domid, int64_t now_us)
{
    b->now_us = max_i64(b->now_us, now_us);
    return host_find(&b->planner.host, domid) || find_domain_now(b, domid);
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
    const struct domain *d = find_domain_now(b, domid);

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
    struct ledger_entry *e = find_entry(b, id);

    b->now_us = max_i64(b->now_us, now_us);
    if (refuse_unloaded(b, reply, arg))
        return;
    if (!settled_entry(e))
        reply_unknown(reply, arg, id);
    else if (e->state == ENTRY_GRANTED)
        transfer_to(b, e, domid, set_limit, reply, arg);
    else if (!find_domain_now(b, domid))
        broker_reply_error(reply, arg, ERR_UNKNOWN_DOMAIN, "domid",
                           "there is no domain %" PRIu32, domid);
    else if (e->domid != domid)
        broker_reply_error(reply, arg, ERR_INVALID, "domid",
                           "reservation %s was transferred to domain %" PRIu32
                           " already",
                           e->id, e->domid);
    else
        broker_reply_error(reply, arg, ERR_NONE, NULL, "%s", "");
}

/* ------------------------------------------------------------------- login */

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
        if (e->state != ENTRY_LEAVING || e->login_seq != w->seq) {
            i++;
            continue;
        }
        e->login_seq = 0;
        if (error) {
            ledger_stay(ledger, e);
            i++;
        } else {
            broker_tell_entry(w->broker, NEWS_RELEASE, e, "login");
            ledger_remove(ledger, e);
        }
    }
    if (error) {
        reply_not_stored(w, error);
        return;
    }
    log_info("login of %s: its reservations that no domain owns were dropped",
             w->client);
    reply_done(w);
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
    if (refuse_unloaded(b, reply, arg))
        return;
    changes = calloc(ledger->count + 1, sizeof *changes);
    w = changes ? pending_new(b, PENDING_LOGIN, client, reply, arg) : NULL;
    if (!w) {
        free(changes);
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
        e->login_seq = w->seq;
        changes[n++] = (struct ledger_change){ LEDGER_DELETE, e, false };
    }
    if (n > 0) {
        b->platform->ops->persist(b->platform, changes, n, stored, w);
    } else { /* nothing to store, nothing to wait for */
        unlink_pending(w);
        reply_done(w);
        free(w);
    }
    free(changes);
}

/* ------------------------------------------------------------------ orders */

static void
order_stored(struct pending *w, enum err error)
{
    if (error)
        reply_not_stored(w, error);
    else
        reply_done(w);
}

/* What is wrong with this range, as the parameter's name; NULL if it's fine. */
static const char *
bad_range(const struct domain_facts *f, const struct domain_order *order)
{
    if (order->min_kib < f->static_min_kib || order->min_kib > order->max_kib)
        return "dynamic_min";
    /* Without a static maximum (no toolstack leaves it out) there is none. */
    if (f->static_max_kib > 0 && order->max_kib > f->static_max_kib)
        return "dynamic_max";
    return NULL;
}

/* True if it was refused. */
static bool
refuse_range(const struct domain_facts *f, const struct domain_order *order,
             broker_reply *reply, void *arg)
{
    const char *bad = bad_range(f, order);

    if (!bad)
        return false;
    broker_reply_error(reply, arg, ERR_INVALID, bad,
                       "range %" PRIu64 " to %" PRIu64
                       " KiB: static-min %" PRIu64
                       " <= min <= max <= static-max %" PRIu64
                       " must hold for domain %" PRIu32,
                       order->min_kib, order->max_kib, f->static_min_kib,
                       f->static_max_kib, f->domid);
    return true;
}

static bool
refuse_ceiling(const struct domain_facts *f, broker_reply *reply, void *arg)
{
    if (f->flags & DOMAIN_MANAGED)
        return false;
    broker_reply_error(reply, arg, ERR_INVALID, "domid",
                       "domain %" PRIu32 " has no range, so that squeezed "
                       "leaves it alone: set one first",
                       f->domid);
    return true;
}

static bool
refuse_order(const struct domain_facts *f, const struct domain_order *order,
             broker_reply *reply, void *arg)
{
    if (order->kind == ORDER_RANGE)
        return refuse_range(f, order, reply, arg);
    return order->kind == ORDER_CEILING && refuse_ceiling(f, reply, arg);
}

/* The range that a ceiling is kept in, as its own keys give it. */
static uint64_t
clamp_ceiling(const struct domain_facts *f, uint64_t kib)
{
    uint64_t most = f->dynamic_max_kib;

    if (f->static_max_kib > 0)
        most = min_u64(most, f->static_max_kib);
    return max_u64(min_u64(page_down(kib), page_down(most)),
                   page_up(max_u64(f->static_min_kib, f->dynamic_min_kib)));
}

void
broker_order(struct broker *b, uint32_t domid,
             const struct domain_order *wanted, int64_t now_us,
             broker_reply *reply, void *arg)
{
    struct domain_order order = *wanted;
    struct pending *w;
    struct domain *d;
    char what[48];

    b->now_us = max_i64(b->now_us, now_us);
    if (refuse_unloaded(b, reply, arg))
        return;
    d = find_domain_now(b, domid);
    if (!d) {
        broker_reply_error(reply, arg, ERR_UNKNOWN_DOMAIN, "domid",
                           "there is no domain %" PRIu32, domid);
        return;
    }
    if (refuse_order(&d->facts, &order, reply, arg))
        return;
    order.target_kib = clamp_ceiling(&d->facts, order.target_kib);
    snprintf(what, sizeof what, "the order for domain %" PRIu32, domid);
    w = pending_new(b, PENDING_ORDER, what, reply, arg);
    if (!w)
        broker_reply_error(reply, arg, ERR_NO_MEMORY, NULL, "out of memory");
    else
        b->platform->ops->order(b->platform, domid, &order, stored, w);
}

/* ------------------------------------------------- the start, and reconnects
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
    e.login_seq = 0;
    e.storing = false;
    e.unwanted = false;
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

    unlink_pending(w);
    free(w);
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
    struct pending *w = pending_new(b, PENDING_LOAD, "the ledger", NULL, NULL);

    if (!w)
        return;
    b->loading = true;
    b->platform->ops->load(b->platform, loaded, w);
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
    struct pending *w = pending_new(b, PENDING_REWRITE, e->id, NULL, NULL);

    if (!w) {
        e->rewrite_us = b->now_us + RETRY_US;
        return;
    }
    w->again = e->rewrite_us > 0;
    e->rewrite_us = 0;
    b->platform->ops->persist(b->platform, changes, e->transferred ? 3 : 2,
                              stored, w);
}

static void
rewrite_stored(struct pending *w, enum err error)
{
    struct broker *b = w->broker;
    struct ledger_entry *e = find_entry(b, w->id);

    if (!error || !e)
        return;
    e->rewrite_us = b->now_us + RETRY_US;
    if (!w->again)
        log_warning("xenstore: reservation %s could not be written back: %s; "
                    "trying again",
                    w->id, err_name(error));
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
        if (settled_entry(e))
            rewrite_entry(b, e);
        else /* once what is on its way has been answered */
            e->rewrite_us = b->now_us;
    }
}

/* -------------------------------------------------------------- the ledger */

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

/* Why it leaves, for people; NULL if it stays. */
static const char *
why_over(const struct broker *b, const struct ledger_entry *e)
{
    if (e->state == ENTRY_OWNED &&
        (e->owner_gone || !host_find(&b->planner.host, e->domid)))
        return "its domain has gone";
    if (e->state == ENTRY_GRANTED && e->unwanted)
        return "nobody has got it";
    if (e->state == ENTRY_GRANTED && e->hold_until_us <= b->now_us)
        return "its hold has ended";
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

static void
meet_awaited(struct broker *b, struct ledger_entry *e)
{
    const struct domain *d = awaited_domain(b, e);

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

/* While something else of it is being stored, that comes first. */
static void
tend_rewrite(struct broker *b, struct ledger_entry *e, int64_t *next_us)
{
    if (e->rewrite_us == 0 || !settled_entry(e))
        return;
    if (e->rewrite_us <= b->now_us)
        rewrite_entry(b, e);
    if (e->rewrite_us > 0)
        *next_us = min_i64(*next_us, e->rewrite_us);
}

static void
over_stored(struct pending *w, enum err error)
{
    struct ledger_entry *e = find_entry(w->broker, w->id);

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
    w = pending_new(b, PENDING_OVER, e->id, NULL, NULL);
    if (!w)
        return;
    e->retry_us = 0;
    e->over_stored = true;
    persist(b, LEDGER_PUT, e, false, w);
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
    start_release(b, e, why, NULL, NULL);
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
