/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The promises, on random hosts with random events; toy_pass() asserts those
 * that hold at every step (no theft, in range, sums), this file those that
 * need a while: always an answer, no waste, early refusal. */
#include "squeezed/core/judge.h"
#include "tests/suite.h"
#include "tests/toy_host.h"

#include <assert.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) * KIB_PER_MIB)
#define GIB (UINT64_C(1) * KIB_PER_GIB)

static struct toy_host toy;

static uint64_t
random_kib(struct random *r, uint64_t most)
{
    return random_below(r, most / KIB_PER_PAGE + 1) * KIB_PER_PAGE;
}

static void
add_domain(struct random *r)
{
    uint64_t most = sub_or_0(toy.snapshot.free_kib, 100 * MIB);
    uint64_t max = random_kib(r, 4 * GIB) + 16 * MIB;
    uint64_t min = random_kib(r, max);
    uint64_t actual = min_u64(random_kib(r, max), most) / 4 * 4;
    struct toy_guest *g;
    size_t i;

    if (toy.snapshot.count == TOY_DOMAINS || toy_headroom(&toy) < 0)
        return;
    /* Another builder sees all free memory: now and then it takes it. */
    if (random_below(r, 8))
        actual = min_u64(actual, (uint64_t)toy_headroom(&toy) / 4 * 4);
    i = toy_add(&toy, min, max, actual);
    g = &toy.guests[i];
    g->rate_kib_s = (32 + random_below(r, 1024)) * 1024;
    g->stuck = random_below(r, 8) == 0;
    /* HVM and PVH: their limits are 1 MiB above what we set. */
    if (random_below(r, 3) == 0 && toy_headroom(&toy) >= (int64_t)KIB_PER_MIB)
        toy.facts[i].extra_kib = KIB_PER_MIB;
    if (random_below(r, 6) == 0)
        g->inaccuracy_kib = 4 * random_below(r, 16);
    if (random_below(r, 6) == 0)
        g->floor_kib = random_kib(r, max);
    if (random_below(r, 6) == 0)
        toy.facts[i].flags = 0; /* unmanaged */
    if (random_below(r, 10) == 0)
        toy.facts[i].flags ^= DOMAIN_BALLOON;
    if (random_below(r, 3) == 0)
        toy.facts[i].flags |= DOMAIN_PROBE_READY;
    if (random_below(r, 10) == 0)
        toy.facts[i].flags |= DOMAIN_FROZEN;
    if (random_below(r, 6) == 0)
        toy.facts[i].ceiling_kib = random_kib(r, 5 * GIB);
}

static struct domain_facts *
any_domain(struct random *r)
{
    return toy.snapshot.count ? &toy.facts[random_below(r, toy.snapshot.count)]
                              : NULL;
}

static void
request(struct random *r)
{
    uint64_t min = random_kib(r, random_below(r, 5) ? GIB : 64 * GIB);
    uint64_t max = random_below(r, 3) ? min : min + random_kib(r, 4 * GIB);

    if (toy.planner.queue.count < TOY_REQUESTS &&
        toy.planner.ledger.count + toy.planner.queue.count < TOY_ENTRIES)
        toy_reserve(&toy, min, max, (int64_t)random_below(r, 60) * US_PER_S,
                    random_below(r, 5) == 0);
}

static void
touch_ledger(struct random *r)
{
    struct ledger *ledger = &toy.planner.ledger;
    struct domain_facts *f = any_domain(r);
    struct ledger_entry *e;

    if (ledger->count == 0)
        return;
    e = &ledger->entries[random_below(r, ledger->count)];
    if (random_below(r, 2) || !f || e->transferred)
        ledger_remove(ledger, e);
    else if (f->actual_kib >= e->amount_kib || toy_headroom(&toy) >= 0) {
        ledger_transfer(ledger, e, f->domid);
        ledger_confirm(ledger, e);
    }
}

static void
touch_domain(struct random *r)
{
    struct domain_facts *f = any_domain(r);
    uint64_t max;

    if (!f)
        return;
    switch (random_below(r, 8)) {
    case 0:
        f->flags ^= DOMAIN_PAUSED;
        break;
    case 1:
        f->flags ^= DOMAIN_BALLOON;
        break;
    case 2:
        f->flags ^= DOMAIN_MANAGED;
        break;
    case 3:
        /* A plain write by somebody, above the limit and out of range. */
        if (random_below(r, 4) == 0)
            f->target_kib = random_kib(r, 8 * GIB);
        max = 16 * MIB + random_kib(r, 4 * GIB);
        f->dynamic_max_kib = f->static_max_kib = max;
        f->dynamic_min_kib = random_kib(r, max);
        break;
    case 4:
        toy.guests[f - toy.facts].stuck ^= true;
        break;
    case 5:
        f->flags ^= DOMAIN_FROZEN;
        break;
    case 6: /* the manual method, also with values that make no sense */
        f->ceiling_kib =
            random_below(r, 3) ? random_kib(r, 5 * GIB) : CEILING_NONE;
        break;
    default:
        toy_destroy(&toy, (size_t)(f - toy.facts));
    }
}

static void
event(struct random *r)
{
    switch (random_below(r, 10)) {
    case 0:
    case 1:
        add_domain(r);
        break;
    case 2:
    case 3:
    case 4:
        request(r);
        break;
    case 5:
    case 6:
        touch_ledger(r);
        break;
    case 7:
        toy.planner.settings.cushion_kib = random_kib(r, 256 * MIB);
        break;
    default:
        touch_domain(r);
    }
}

/* Promise 4, from the toy's own numbers: what is refused as cannot-free is
 * more than all donors could give. */
static void
check_refusals(void)
{
    for (size_t i = 0; i < toy.plan.answer_count; i++) {
        const struct answer *a = &toy.plan.answers[i];

        if (a->error == ERR_CANNOT_FREE)
            assert(a->needed_kib > a->free_kib &&
                   a->short_kib == a->needed_kib - a->free_kib);
        if (a->error == ERR_UNCOOPERATIVE)
            assert(toy.plan.debtor_count > 0);
    }
}

static bool
movable(const struct domain_facts *f)
{
    const struct domain *d = host_find(&toy.planner.host, f->domid);

    return d && d->movable; /* a balloon may have been proven by a probe */
}

static uint64_t
top_kib(const struct domain_facts *f)
{
    return max_u64(page_down(min_u64(f->dynamic_max_kib, f->ceiling_kib)),
                   page_up(f->dynamic_min_kib));
}

static uint64_t
held_kib(const struct domain_facts *f)
{
    return max_u64(f->actual_kib, f->limit_kib);
}

/* A domain that lacks more of its minimum than there is: what comes is kept
 * for it, as no target may be below the minimum. */
static bool
somebody_starves(int64_t headroom_kib)
{
    for (size_t i = 0; i < toy.snapshot.count; i++) {
        const struct domain_facts *f = &toy.facts[i];

        if (movable(f) && (int64_t)page_up(f->dynamic_min_kib) >
                              (int64_t)held_kib(f) + headroom_kib)
            return true;
    }
    return false;
}

/* Promise 2: at rest nothing is left over, unless the acceptors are at their
 * maxima, but for less than the tolerance in all. */
static void
check_no_waste(void)
{
    int64_t headroom =
        toy_headroom(&toy) - (int64_t)toy.planner.settings.cushion_kib;
    uint64_t gaps = 0;

    for (size_t i = 0; i < toy.snapshot.count; i++) {
        const struct domain_facts *f = &toy.facts[i];

        if (movable(f))
            gaps += sub_or_0(top_kib(f), held_kib(f));
    }
    if (headroom >= 512 && gaps >= 512 && !somebody_starves(headroom)) {
        toy_dump(&toy);
        assert(0 && "at rest, memory is left over");
    }
}

/* Time goes on without events: whatever was asked ends, and all comes to
 * rest. */
static void
calm_down(void)
{
    int64_t end_us = toy.now_us + INT64_C(200) * US_PER_S;

    while (toy.now_us < end_us) {
        toy_advance(&toy, toy.plan.next_us - toy.now_us);
        toy_pass(&toy);
        check_refusals();
    }
    assert(toy.planner.queue.count == 0);
    /* A stuck guest is tried again now and then: not in the middle of that. */
    toy_settle(&toy, INT64_C(60) * US_PER_S);
    if (!toy.plan.settled) {
        toy_dump(&toy);
        assert(0 && "never at rest");
    }
    check_no_waste();
}

/* Asking and reserving speak one arithmetic: at the same instant `now` means
 * that it is granted in this pass, `impossible` that it is refused in it. */
static void
check_plan_against_reserve(struct random *r)
{
    uint64_t min = random_kib(r, random_below(r, 3) ? GIB : 16 * GIB);
    uint64_t max = random_below(r, 2) ? min : min + random_kib(r, 4 * GIB);
    const struct answer *answer = NULL;
    struct what_if w;
    uint64_t seq;

    if (toy.planner.queue.count == TOY_REQUESTS ||
        toy.planner.ledger.count + toy.planner.queue.count >= TOY_ENTRIES)
        return;
    /* What was planned before is set, and seen; what a probe has proven counts
     * from the pass after it on. */
    for (int i = 0; i < 2 || (i < 1000 && toy.plan.setting_count > 0); i++)
        toy_pass(&toy);
    planner_what_if(&toy.planner, min, max, toy.now_us, &w);
    seq = toy_reserve(&toy, min, max, INT64_C(60) * US_PER_S, false);
    toy_pass(&toy);
    for (size_t i = 0; i < toy.plan.answer_count; i++)
        if (toy.plan.answers[i].seq == seq)
            answer = &toy.plan.answers[i];
    if ((w.verdict == VERDICT_NOW) != (answer && !answer->error)) {
        toy_dump(&toy);
        fprintf(stderr,
                "asked for %" PRIu64 " to %" PRIu64 ": verdict %d, %" PRIu64
                " of %" PRIu64 ", but %s %" PRIu64 "\n",
                min, max, (int)w.verdict, w.amount_kib, w.free_kib,
                answer ? "answered" : "queued",
                answer ? answer->amount_kib : 0);
        assert(0 && "plan and reserve differ");
    }
    assert((w.verdict == VERDICT_IMPOSSIBLE) == (answer && answer->error));
    if (answer) {
        assert(answer->error == w.error);
        assert(answer->amount_kib == w.amount_kib);
        assert(answer->short_kib == w.short_kib);
    }
}

START_TEST(random_hosts)
{
    struct random r = random_seed("random_hosts", (uint64_t)_i);

    toy_init(&toy, (1 + random_below(&r, 64)) * GIB);
    for (uint64_t n = random_below(&r, 40); n > 0; n--)
        add_domain(&r);
    for (int step = 0; step < 300; step++) {
        for (uint64_t n = random_below(&r, 3); n > 0; n--)
            event(&r);
        toy_pass(&toy);
        check_refusals();
        toy_advance(&toy, random_below(&r, 4)
                              ? min_i64(toy.plan.next_us - toy.now_us, US_PER_S)
                              : (int64_t)random_below(&r, 3 * US_PER_S));
        if (random_below(&r, 10) == 0) {
            toy_pass(&toy);
            check_plan_against_reserve(&r);
        }
        if (random_below(&r, 100) == 0)
            calm_down();
    }
    calm_down();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("promises");
    TCase *tcase = tcase_create("promises");
    int status;

    tcase_add_loop_test(tcase, random_hosts, 0, random_runs(60));
    tcase_set_timeout(tcase, 0);
    suite_add_tcase(suite, tcase);
    status = run_suite(suite, CK_NOFORK);
    if (status != EXIT_SUCCESS)
        random_report();
    return status;
}
