/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/toy_host.h"

#include <assert.h>
#include <string.h>

enum { RESERVE_KIB = 72 * 1024 };

void
toy_init(struct toy_host *toy, uint64_t free_kib)
{
    struct planner *p = &toy->planner;

    memset(toy, 0, sizeof *toy);
    toy->now_us = 1000000;
    toy->snapshot.free_kib = toy->snapshot.total_kib = free_kib;
    toy->snapshot.domains = toy->facts;
    p->settings = (struct planner_settings){
        .host_reserve_kib = RESERVE_KIB,
        .tolerance_kib = 512,
        .policy = policy_find("proportional"),
        .interval_us = 10 * US_PER_S,
    };
    p->host.domains = toy->domains;
    p->host.capacity = TOY_DOMAINS;
    p->members = toy->members;
    p->member_of = toy->member_of;
    p->queue.requests = toy->requests;
    toy->plan.settings = toy->settings;
    toy->plan.answers = toy->answer_memory;
    toy->plan.debtors = toy->debtors;
    ledger_init(&p->ledger, toy->entries, TOY_ENTRIES);
}

size_t
toy_add(struct toy_host *toy, uint64_t min_kib, uint64_t max_kib,
        uint64_t actual_kib)
{
    size_t n = toy->snapshot.count++;

    assert(n < TOY_DOMAINS && toy->snapshot.free_kib >= actual_kib);
    toy->snapshot.free_kib -= actual_kib;
    toy->facts[n] = (struct domain_facts){
        .domid = n ? toy->facts[n - 1].domid + 1 : 1,
        .flags = DOMAIN_MANAGED | DOMAIN_BALLOON,
        .actual_kib = actual_kib,
        .limit_kib = actual_kib,
        .target_kib = actual_kib,
        .dynamic_min_kib = min_kib,
        .dynamic_max_kib = max_kib,
        .static_max_kib = max_kib,
        .ceiling_kib = CEILING_NONE,
    };
    toy->guests[n] = (struct toy_guest){ .rate_kib_s = KIB_PER_GIB };
    return n;
}

void
toy_destroy(struct toy_host *toy, size_t index)
{
    size_t behind = toy->snapshot.count - index - 1;

    toy->snapshot.free_kib += toy->facts[index].actual_kib;
    for (size_t i = 0; i < toy->planner.ledger.count;) {
        struct ledger_entry *e = &toy->entries[i];

        if (e->transferred && e->domid == toy->facts[index].domid)
            ledger_remove(&toy->planner.ledger, e);
        else
            i++;
    }
    memmove(&toy->facts[index], &toy->facts[index + 1],
            behind * sizeof toy->facts[0]);
    memmove(&toy->guests[index], &toy->guests[index + 1],
            behind * sizeof toy->guests[0]);
    toy->snapshot.count--;
}

uint64_t
toy_reserve(struct toy_host *toy, uint64_t min_kib, uint64_t max_kib,
            int64_t timeout_us, bool wait)
{
    struct request_queue *queue = &toy->planner.queue;

    assert(queue->count < TOY_REQUESTS);
    queue->requests[queue->count++] = (struct request){
        .seq = ++toy->last_seq,
        .min_kib = min_kib,
        .max_kib = max_kib,
        .wait = wait,
        .submitted_us = toy->now_us,
        .deadline_us = toy->now_us + timeout_us,
    };
    return toy->last_seq;
}

static bool
runs(const struct domain_facts *f)
{
    return !(f->flags & (DOMAIN_PAUSED | DOMAIN_DYING | DOMAIN_SHUTDOWN));
}

/* Whole pages that fit into this time at its rate. */
static uint64_t
may_move(struct toy_guest *g, int64_t us)
{
    uint64_t page = (uint64_t)KIB_PER_PAGE * US_PER_S;
    uint64_t moves = g->rate_kib_s * (uint64_t)us + (uint64_t)g->fraction;

    g->fraction = (int64_t)(moves % page);
    return moves / page * KIB_PER_PAGE;
}

static void
move_guest(struct toy_host *toy, size_t i, uint64_t most)
{
    struct domain_facts *f = &toy->facts[i];
    struct toy_guest *g = &toy->guests[i];
    uint64_t goal = min_u64(f->target_kib, f->limit_kib);
    uint64_t by;

    if (f->actual_kib > goal) {
        goal = max_u64(goal + g->inaccuracy_kib, g->floor_kib);
        by = min_u64(sub_or_0(f->actual_kib, goal), most);
        f->actual_kib -= by;
        toy->snapshot.free_kib += by;
    } else {
        by = min_u64(sub_or_0(goal, f->actual_kib), most);
        by = min_u64(by, toy->snapshot.free_kib);
        f->actual_kib += by;
        toy->snapshot.free_kib -= by;
    }
}

void
toy_advance(struct toy_host *toy, int64_t us)
{
    toy->now_us += us;
    for (size_t i = 0; i < toy->snapshot.count; i++)
        if (!toy->guests[i].stuck && runs(&toy->facts[i]))
            move_guest(toy, i, may_move(&toy->guests[i], us));
}

int64_t
toy_headroom(const struct toy_host *toy)
{
    int64_t headroom = (int64_t)toy->snapshot.free_kib - RESERVE_KIB;

    for (size_t i = 0; i < toy->planner.ledger.count; i++)
        if (!toy->entries[i].transferred)
            headroom -= (int64_t)toy->entries[i].amount_kib;
    for (size_t i = 0; i < toy->snapshot.count; i++) {
        const struct domain_facts *f = &toy->facts[i];
        uint64_t most = max_u64(f->actual_kib, f->limit_kib + f->extra_kib),
                 promise = 0;

        if (f->flags & DOMAIN_DYING)
            continue; /* it only gives */
        for (size_t k = 0; k < toy->planner.ledger.count; k++)
            if (toy->entries[k].transferred && !toy->entries[k].over &&
                toy->entries[k].domid == f->domid)
                promise += toy->entries[k].amount_kib;
        most = max_u64(most, sub_or_0(promise, f->paging_kib));
        headroom -= (int64_t)(most - f->actual_kib);
    }
    return headroom;
}

static struct domain_facts *
find_facts(struct toy_host *toy, uint32_t domid)
{
    for (size_t i = 0; i < toy->snapshot.count; i++)
        if (toy->facts[i].domid == domid)
            return &toy->facts[i];
    assert(0 && "a setting for a domain that is not there");
}

/* Promise 3, and never a target above the limit. */
static void
apply(struct toy_host *toy, const struct setting *s)
{
    struct domain_facts *f = find_facts(toy, s->domid);

    assert(f->flags & DOMAIN_MANAGED);
    assert(f->flags & (DOMAIN_BALLOON | DOMAIN_PROBE_READY));
    assert(runs(f) && !(f->flags & (DOMAIN_FROZEN | DOMAIN_BUILDING)));
    if (s->target_kib != f->target_kib) {
        assert(s->target_kib >= max_u64(f->static_min_kib, f->dynamic_min_kib));
        assert(s->target_kib <= min_u64(f->static_max_kib, f->dynamic_max_kib));
        /* A ceiling below the range means its minimum. */
        assert(s->target_kib <=
               max_u64(f->ceiling_kib, page_up(f->dynamic_min_kib)));
        assert(s->limit_kib >= s->target_kib);
    }
    assert(s->target_kib % KIB_PER_PAGE == 0);
    assert(s->grows == (s->limit_kib > f->limit_kib));
    if (f->target_kib != s->target_kib)
        toy->writes++;
    f->target_kib = s->target_kib;
    f->limit_kib = s->limit_kib;
    if (s->mark == MARK_UNCOOPERATIVE)
        f->flags |= DOMAIN_MARKED;
    if (s->mark == MARK_COOPERATIVE)
        f->flags &= ~(uint32_t)DOMAIN_MARKED;
}

static void
take_answer(struct toy_host *toy, const struct answer *a)
{
    struct request_queue *queue = &toy->planner.queue;
    size_t i = 0;

    while (i < queue->count && queue->requests[i].seq != a->seq)
        i++;
    assert(i < queue->count);
    if (!a->error) {
        struct ledger_entry e = { .state = ENTRY_GRANTED,
                                  .amount_kib = a->amount_kib,
                                  .hold_until_us = TIME_NEVER_US };

        assert(a->amount_kib >= queue->requests[i].min_kib);
        assert(a->amount_kib <= queue->requests[i].max_kib);
        snprintf(e.id, sizeof e.id, "r%" PRIu64, a->seq);
        assert(!ledger_add(&toy->planner.ledger, &e));
    }
    memmove(&queue->requests[i], &queue->requests[i + 1],
            (queue->count - i - 1) * sizeof queue->requests[0]);
    queue->count--;
    toy->last_answer = *a;
    toy->answers++;
}

/* Promise 7: every MiB has an owner. */
static void
check_sums(const struct toy_host *toy)
{
    struct host_sums s;

    host_sum(&toy->planner.host, &toy->planner.ledger, RESERVE_KIB,
             toy->planner.settings.cushion_kib, &s);
    assert((int64_t)(s.free_kib + s.scrub_kib) ==
           (int64_t)(s.host_reserve_kib + s.cushion_kib + s.reserved_kib +
                     s.growth_allowed_kib + s.promised_kib) +
               s.headroom_kib);
    assert(s.total_kib == s.free_kib + s.scrub_kib + s.domains_kib + s.xen_kib);
}

void
toy_pass(struct toy_host *toy)
{
    struct plan *plan = &toy->plan;
    int64_t before, after;

    planner_pass(&toy->planner, &toy->snapshot, toy->now_us, plan);
    ledger_audit(&toy->planner.ledger);
    check_sums(toy);
    before = toy_headroom(toy);
    for (size_t i = 0; i < plan->setting_count; i++)
        apply(toy, &plan->settings[i]);
    for (size_t i = 0; i < plan->answer_count; i++)
        take_answer(toy, &plan->answers[i]);
    ledger_audit(&toy->planner.ledger);
    /* Promise 1: no action of ours takes headroom below zero. */
    after = toy_headroom(toy);
    assert(after >= (before < 0 ? before : 0));
    assert(plan->next_us > toy->now_us);
}

static void
run(struct toy_host *toy, int64_t limit_us, bool until_answer)
{
    int64_t end_us = toy->now_us + limit_us;
    unsigned answers = toy->answers;

    toy_pass(toy);
    while (toy->now_us < end_us &&
           (until_answer ? toy->answers == answers : !toy->plan.settled)) {
        toy_advance(toy, toy->plan.next_us - toy->now_us);
        toy_pass(toy);
    }
}

void
toy_settle(struct toy_host *toy, int64_t limit_us)
{
    run(toy, limit_us, false);
}

void
toy_await(struct toy_host *toy, int64_t limit_us)
{
    run(toy, limit_us, true);
}

void
toy_dump(const struct toy_host *toy)
{
    const struct planner *p = &toy->planner;

    fprintf(stderr,
            "\nfree %" PRIu64 " headroom %" PRId64 " reserved %" PRIu64
            " unmet %" PRIu64 " settled %d\n",
            toy->snapshot.free_kib, toy_headroom(toy), p->ledger.reserved_kib,
            toy->plan.unmet_kib, toy->plan.settled);
    for (size_t i = 0; i < p->queue.count; i++)
        fprintf(stderr,
                "request %" PRIu64 ": %" PRIu64 " to %" PRIu64
                ", wants %" PRIu64 "%s\n",
                p->queue.requests[i].seq, p->queue.requests[i].min_kib,
                p->queue.requests[i].max_kib, p->queue.requests[i].want_kib,
                p->queue.requests[i].wait ? ", waits" : "");
    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];

        fprintf(stderr,
                "%3" PRIu32 " %-9s min %8" PRIu64 " target %8" PRIu64
                " actual %8" PRIu64 " limit %8" PRIu64 " max %8" PRIu64
                " share %8" PRIu64 " next %8" PRIu64 " slack %" PRIu64 "%s%s\n",
                d->facts.domid,
                domain_state_name(host_domain_state(d, toy->now_us)),
                d->lower_kib, d->facts.target_kib, d->facts.actual_kib,
                d->facts.limit_kib, d->upper_kib, d->share_kib, d->next_kib,
                d->judgement.slack_kib, d->judgement.working ? " works" : "",
                toy->guests[i].stuck ? " (stuck)" : "");
    }
}
