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
            .ceiling_kib = CEILING_NONE,
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

static const char *const phase_names[PHASES] = { "rest", "squeeze", "moving" };

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median: what the machine does besides moves it least. */
static double
median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static double
measure(struct bench *b, enum phase phase, size_t passes)
{
    double *took = need(passes, sizeof *took), result;

    for (size_t i = 0; i < passes; i++) {
        double start;

        if (phase == MOVING)
            move_all(b);
        start = cpu_us();
        pass(b);
        took[i] = cpu_us() - start;
        apply(b);
    }
    result = median(took, passes);
    free(took);
    return result;
}

/* An eighth of all memory, at once. */
static void
ask(struct bench *b)
{
    uint64_t kib = b->snapshot.count * GIB / 8;

    b->request = (struct request){
        .seq = 1, .min_kib = kib, .max_kib = kib, .deadline_us = INT64_MAX
    };
    b->planner.queue.count = 1;
}

/* Goes through the phases up to this one, which takes so many passes. */
static double
run_to(struct bench *b, size_t n, enum phase phase, size_t passes)
{
    set_up(b, n);
    pass(b);
    apply(b);
    if (phase == AT_REST)
        return measure(b, AT_REST, passes);
    ask(b);
    if (phase == MOVING)
        measure(b, SQUEEZE, 1);
    return measure(b, phase, passes);
}

enum { RUNS = 9 };

/* There is only one squeeze in a run. */
static double
median_of_runs(size_t n, enum phase phase)
{
    double took[RUNS];

    for (size_t i = 0; i < RUNS; i++) {
        struct bench b;

        took[i] = run_to(&b, n, phase, phase == SQUEEZE ? 1 : 20000 / n + 10);
        tear_down(&b);
    }
    return median(took, RUNS);
}

static size_t
bytes_per_domain(void)
{
    return sizeof(struct domain) + sizeof(struct share_member) +
           sizeof(uint32_t) + sizeof(struct setting) + sizeof(uint32_t);
}

static void
print_table(void)
{
    printf("%8s %12s %12s %12s %12s\n", "domains", "at rest us", "squeeze us",
           "moving us", "bytes/domain");
    for (size_t n = 10; n <= 10000; n *= 10) {
        printf("%8zu", n);
        for (enum phase phase = AT_REST; phase < PHASES; phase++)
            printf(" %12.1f", median_of_runs(n, phase));
        printf(" %12zu\n", bytes_per_domain());
    }
}

static int
print_usage(void)
{
    fputs("usage: bench_planner [DOMAINS rest|squeeze|moving PASSES]\n",
          stderr);
    return 2;
}

/* One phase alone, for instructions.sh. */
static int
run_phase(char **args)
{
    size_t n = strtoul(args[0], NULL, 10), passes = strtoul(args[2], NULL, 10);
    struct bench b;

    for (enum phase phase = AT_REST; n > 0 && phase < PHASES; phase++) {
        if (strcmp(args[1], phase_names[phase]) != 0)
            continue;
        run_to(&b, n, phase, passes);
        tear_down(&b);
        return 0;
    }
    return print_usage();
}

int
main(int argc, char **argv)
{
    if (argc == 4)
        return run_phase(argv + 1);
    if (argc != 1)
        return print_usage();
    print_table();
    return 0;
}
