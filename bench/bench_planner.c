/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU time of one full pass (look, judge, plan; nothing applied) against the
 * number of domains: at rest, all on the move, and a fast-path grant. */
#include "squeezed/core/planner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GIB (UINT64_C(1) * KIB_PER_GIB)

struct bench {
    struct planner planner;
    struct plan plan;
    struct snapshot snapshot;
    struct domain_facts *facts;
    struct request request;
    struct answer answer;
    struct ledger_entry entry;
    int64_t now_us;
};

static void *
need(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory) {
        fputs("bench_planner: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void
set_up(struct bench *b, size_t n)
{
    struct planner *p = &b->planner;

    *b = (struct bench){ .now_us = US_PER_S };
    b->facts = need(n, sizeof *b->facts);
    p->host.domains = need(n, sizeof *p->host.domains);
    p->host.capacity = n;
    p->members = need(n + 1, sizeof *p->members);
    p->member_of = need(n + 1, sizeof *p->member_of);
    b->plan.settings = need(n, sizeof *b->plan.settings);
    b->plan.debtors = need(n, sizeof *b->plan.debtors);
    b->plan.answers = &b->answer;
    p->queue.requests = &b->request;
    ledger_init(&p->ledger, &b->entry, 1);
    p->settings = (struct planner_settings){
        .host_reserve_kib = 72 * KIB_PER_MIB,
        .tolerance_kib = 512,
        .policy = policy_find("proportional"),
        .interval_us = 10 * US_PER_S,
    };
    for (size_t i = 0; i < n; i++)
        b->facts[i] = (struct domain_facts){
            .domid = (uint32_t)i + 1,
            .flags = DOMAIN_MANAGED | DOMAIN_BALLOON,
            .actual_kib = 4 * GIB,
            .limit_kib = 4 * GIB,
            .target_kib = 4 * GIB,
            .dynamic_min_kib = GIB + i % 7 * 4,
            .dynamic_max_kib = 4 * GIB + i % 11 * 4,
            .static_max_kib = 5 * GIB,
        };
    b->snapshot = (struct snapshot){
        .total_kib = n * 4 * GIB + 72 * KIB_PER_MIB,
        .free_kib = 72 * KIB_PER_MIB,
        .domains = b->facts,
        .count = n,
    };
}

static void
tear_down(struct bench *b)
{
    free(b->facts);
    free(b->planner.host.domains);
    free(b->planner.members);
    free(b->planner.member_of);
    free(b->plan.settings);
    free(b->plan.debtors);
}

static double
cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
pass(struct bench *b)
{
    b->now_us += 10 * US_PER_MS;
    planner_pass(&b->planner, &b->snapshot, b->now_us, &b->plan);
}

static void
apply(struct bench *b)
{
    for (size_t i = 0; i < b->plan.setting_count; i++) {
        const struct setting *s = &b->plan.settings[i];
        struct domain_facts *f = &b->facts[s->domid - 1];

        f->target_kib = s->target_kib;
        f->limit_kib = s->limit_kib;
    }
}

/* Every guest gives a page between two passes. */
static void
move_all(struct bench *b)
{
    for (size_t i = 0; i < b->snapshot.count; i++)
        if (b->facts[i].actual_kib > b->facts[i].target_kib) {
            b->facts[i].actual_kib -= KIB_PER_PAGE;
            b->snapshot.free_kib += KIB_PER_PAGE;
        }
}

enum phase { AT_REST, SQUEEZE, MOVING, PHASES };

static double
measure(struct bench *b, enum phase phase, size_t passes)
{
    double sum = 0, start;

    for (size_t i = 0; i < passes; i++) {
        if (phase == MOVING)
            move_all(b);
        start = cpu_us();
        pass(b);
        sum += cpu_us() - start;
        apply(b);
    }
    return sum / (double)passes;
}

int
main(void)
{
    printf("%8s %12s %12s %12s %12s\n", "domains", "at rest us", "squeeze us",
           "moving us", "bytes/domain");
    for (size_t n = 10; n <= 10000; n *= 10) {
        struct bench b;
        double us[PHASES];

        set_up(&b, n);
        pass(&b);
        apply(&b);
        us[AT_REST] = measure(&b, AT_REST, 100000 / n + 10);
        b.request = (struct request){ .seq = 1,
                                      .min_kib = n * GIB / 8,
                                      .max_kib = n * GIB / 8,
                                      .deadline_us = INT64_MAX };
        b.planner.queue.count = 1;
        us[SQUEEZE] = measure(&b, SQUEEZE, 1);
        us[MOVING] = measure(&b, MOVING, 100000 / n + 10);
        printf("%8zu %12.1f %12.1f %12.1f %12zu\n", n, us[AT_REST], us[SQUEEZE],
               us[MOVING],
               sizeof(struct domain) + sizeof(struct share_member) +
                   sizeof(uint32_t) + sizeof(struct setting) +
                   sizeof(uint32_t));
        tear_down(&b);
    }
    return 0;
}
