/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/host.h"

#include <assert.h>
#include <string.h>

enum {
    /* libxl's limit of a new domain, of whatever type, is that much above its
     * target. */
    REBUILT_EXTRA_KIB = KIB_PER_MIB
};

static const char *const state_names[] = {
    [DOMAIN_STATE_OK] = "ok",
    [DOMAIN_STATE_SLOW] = "slow",
    [DOMAIN_STATE_STUCK] = "stuck",
    [DOMAIN_STATE_BOOTING] = "booting",
    [DOMAIN_STATE_PAUSED] = "paused",
    [DOMAIN_STATE_FROZEN] = "frozen",
    [DOMAIN_STATE_UNMANAGED] = "unmanaged",
    [DOMAIN_STATE_DYING] = "dying",
};

const char *
domain_state_name(enum domain_state state)
{
    return state_names[state];
}

static bool
same_domain(const struct domain_facts *a, const struct domain_facts *b)
{
    return a->domid == b->domid && memcmp(a->uuid, b->uuid, UUID_BYTES) == 0;
}

/* Keeps those of our domains that are still there, in order, at the front. */
static size_t
keep_survivors(struct host *host, const struct snapshot *snapshot)
{
    size_t kept = 0, at = 0;

    for (size_t i = 0; i < host->count; i++) {
        const struct domain_facts *f = &host->domains[i].facts;

        while (at < snapshot->count && snapshot->domains[at].domid < f->domid)
            at++;
        if (at < snapshot->count && same_domain(&snapshot->domains[at], f))
            host->domains[kept++] = host->domains[i];
    }
    return kept;
}

/* Both lists have ascending domids, and the survivors are part of the new
 * one: from the end on each moves back to its place, and the new ones fill
 * the gaps. */
static void
merge_domains(struct host *host, const struct snapshot *snapshot)
{
    size_t kept = keep_survivors(host, snapshot);

    for (size_t i = snapshot->count; i-- > 0;) {
        struct domain *d = &host->domains[i];

        if (kept > 0 &&
            same_domain(&host->domains[kept - 1].facts, &snapshot->domains[i]))
            *d = host->domains[--kept];
        else
            *d = (struct domain){ .facts = snapshot->domains[i] };
    }
    host->count = snapshot->count;
}

/* What a domain could hold without asking us, its promise aside.  One that is
 * dying only gives: Xen allocates nothing for it any more. */
static uint64_t
allowed_kib(const struct domain_facts *f)
{
    if (f->flags & DOMAIN_DYING)
        return f->actual_kib;
    return max_u64(max_u64(f->actual_kib, f->limit_kib + f->extra_kib),
                   f->actual_kib + f->claim_kib);
}

static void
derive(struct domain *d)
{
    const struct domain_facts *f = &d->facts;
    /* Without a static maximum (no toolstack leaves it out) there is none. */
    uint64_t static_max_kib =
        f->static_max_kib ? f->static_max_kib : f->dynamic_max_kib;

    d->held_kib = max_u64(f->limit_kib, sub_or_0(f->actual_kib, f->extra_kib));
    d->lower_kib = page_up(max_u64(f->static_min_kib, f->dynamic_min_kib));
    d->upper_kib =
        max_u64(page_down(min_u64(min_u64(f->dynamic_max_kib, static_max_kib),
                                  f->ceiling_kib)),
                d->lower_kib);
    d->touchable =
        (f->flags & DOMAIN_MANAGED) && !(f->flags & DOMAIN_UNTOUCHABLE);
    d->movable =
        d->touchable && ((f->flags & DOMAIN_BALLOON) || d->probe.proven);
}

/* What depends on the promise, which comes out of the ledger. */
static void
commit_promise(struct host *host, struct domain *d, uint64_t promise_kib)
{
    const struct domain_facts *f = &d->facts;

    host->promised_kib -= d->committed_kib;
    d->promise_kib = promise_kib;
    d->committed_kib = allowed_kib(f);
    if (!(f->flags & DOMAIN_DYING))
        d->committed_kib =
            max_u64(d->committed_kib, sub_or_0(promise_kib, f->paging_kib));
    d->committed_kib = max_u64(d->committed_kib, d->kept_kib);
    host->promised_kib += d->committed_kib;
}

/* Of a domain, in its own frame, so much is part of what is kept for the next
 * one beside it. */
static uint64_t
beside_kib(const struct domain_facts *f)
{
    return f->paging_kib + (uint64_t)max_i64(f->offset_kib, 0);
}

uint64_t
host_reboot_kib(const struct domain *d)
{
    const struct domain_facts *f = &d->facts;

    return page_up(f->target_kib + max_u64(f->extra_kib, REBUILT_EXTRA_KIB) +
                   beside_kib(f));
}

uint64_t
host_reboot_held_kib(const struct domain *d)
{
    return page_up(d->facts.actual_kib + beside_kib(&d->facts));
}

uint64_t
host_reboot_own_kib(const struct domain *d)
{
    return min_u64(d->committed_kib + beside_kib(&d->facts),
                   host_reboot_kib(d));
}

static bool
carries(const struct domain *d, const struct ledger_entry *e)
{
    return (d->facts.flags & (DOMAIN_SHUTDOWN | DOMAIN_DYING)) &&
           memcmp(d->facts.uuid, e->uuid, UUID_BYTES) == 0;
}

struct domain *
host_carrier(const struct host *host, const struct ledger_entry *e)
{
    if (!e->reboots || e->transferred)
        return NULL;
    if (e->has_elder) {
        struct domain *d = host_find(host, e->elder_domid);

        if (d && carries(d, e))
            return d;
    }
    for (size_t i = 0; i < host->count; i++)
        if (carries(&host->domains[i], e))
            return &host->domains[i];
    return NULL;
}

/* Whatever comes free of it stays: in its own frame, so that what it holds and
 * what is kept are one thing. */
static void
carry(struct host *host, struct domain *d, uint64_t kib)
{
    d->kept_kib += sub_or_0(kib, beside_kib(&d->facts));
    commit_promise(host, d, d->promise_kib);
}

static void
add_promises(struct host *host, const struct ledger *ledger)
{
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_entry *e = &ledger->entries[i];
        struct domain *d = host_carrier(host, e);

        if (d)
            carry(host, d, e->amount_kib);
        if (!e->transferred || e->over)
            continue;
        d = host_find(host, e->domid);
        if (!d)
            continue;
        commit_promise(host, d, d->promise_kib + e->amount_kib);
        d->unstored |= e->storing;
    }
}

void
host_set_promises(struct host *host, const struct ledger *ledger)
{
    for (size_t i = 0; i < host->count; i++) {
        host->domains[i].kept_kib = 0;
        commit_promise(host, &host->domains[i], 0);
    }
    add_promises(host, ledger);
}

void
host_begin(struct host *host, const struct snapshot *snapshot)
{
    assert(snapshot->count <= host->capacity);
    host->total_kib = snapshot->total_kib;
    host->free_kib = snapshot->free_kib;
    host->scrub_kib = snapshot->scrub_kib;
    host->domains_kib = 0;
    host->growth_allowed_kib = 0;
    host->promised_kib = 0;
    host->building = 0;
}

struct domain *
host_take(struct host *host, const struct snapshot *snapshot, size_t i)
{
    const struct domain_facts *f = &snapshot->domains[i];
    struct domain *d = &host->domains[i];

    /* Nearly every look shows the domains of the look before. */
    if (i >= host->count || !same_domain(&d->facts, f))
        merge_domains(host, snapshot);
    d->facts = *f;
    derive(d);
    d->setting = 0;
    d->hopeless = false;
    d->unstored = false;
    d->promise_kib = 0;
    d->kept_kib = 0;
    d->committed_kib = allowed_kib(f);
    host->domains_kib += (uint64_t)((int64_t)f->actual_kib + f->offset_kib);
    host->growth_allowed_kib += d->committed_kib - f->actual_kib;
    host->building += (f->flags & DOMAIN_BUILDING) != 0;
    return d;
}

void
host_end(struct host *host, const struct snapshot *snapshot,
         const struct ledger *ledger)
{
    host->count = snapshot->count;
    add_promises(host, ledger);
}

void
host_look(struct host *host, const struct snapshot *snapshot,
          const struct ledger *ledger)
{
    host_begin(host, snapshot);
    for (size_t i = 0; i < snapshot->count; i++)
        host_take(host, snapshot, i);
    host_end(host, snapshot, ledger);
}

struct domain *
host_find(const struct host *host, uint32_t domid)
{
    size_t low = 0, high = host->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (host->domains[middle].facts.domid < domid)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < host->count && host->domains[low].facts.domid == domid)
        return &host->domains[low];
    return NULL;
}

enum domain_state
host_domain_state(const struct domain *d, int64_t now_us)
{
    const uint32_t flags = d->facts.flags;

    if (flags & (DOMAIN_DYING | DOMAIN_SHUTDOWN))
        return DOMAIN_STATE_DYING;
    if (!(flags & DOMAIN_MANAGED))
        return DOMAIN_STATE_UNMANAGED;
    if (flags & DOMAIN_FROZEN)
        return DOMAIN_STATE_FROZEN;
    if (flags & DOMAIN_BUILDING)
        return DOMAIN_STATE_BOOTING;
    if (flags & DOMAIN_PAUSED)
        return DOMAIN_STATE_PAUSED;
    if (!(flags & DOMAIN_BALLOON) && !d->probe.proven)
        return DOMAIN_STATE_BOOTING;
    if (d->judgement.stuck_until_us > now_us ||
        (d->judgement.working && d->judgement.stuck_since_us > 0))
        return DOMAIN_STATE_STUCK;
    return d->judgement.lagging ? DOMAIN_STATE_SLOW : DOMAIN_STATE_OK;
}

void
host_sum(const struct host *host, const struct ledger *ledger,
         uint64_t host_reserve_kib, uint64_t cushion_kib, struct host_sums *ret)
{
    struct host_sums s = {
        .total_kib = host->total_kib,
        .free_kib = host->free_kib,
        .scrub_kib = host->scrub_kib,
        .host_reserve_kib = host_reserve_kib,
        .cushion_kib = cushion_kib,
        .reserved_kib = ledger->reserved_kib,
        .domains_kib = host->domains_kib,
        .growth_allowed_kib = host->growth_allowed_kib,
        .promised_kib = host->promised_kib,
    };

    /* One whose domain is not there counts until it is removed: its transfer
     * may come to nothing. */
    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_entry *e = &ledger->entries[i];

        if (e->transferred && !e->over && !host_find(host, e->domid))
            s.reserved_kib += e->amount_kib;
        else if (host_carrier(host, e))
            s.reserved_kib -= e->amount_kib;
    }
    s.headroom_kib =
        (int64_t)(s.free_kib + s.scrub_kib) -
        (int64_t)(s.host_reserve_kib + s.cushion_kib + s.reserved_kib +
                  s.growth_allowed_kib + s.promised_kib);
    s.xen_kib = sub_or_0(s.total_kib, s.free_kib + s.scrub_kib + s.domains_kib);
    *ret = s;
}
