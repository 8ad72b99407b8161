/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU time of a grant out of memory that is free, from the call to the
 * decision (the entry on its way to the store), against the number of domains:
 * what the last pass left over is given at once; else there is another look at
 * all domains, and a pass. */
#include "squeezed/broker.h"
#include "squeezed/platform/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GRANTS = 101 };

static int64_t now_us = US_PER_S;
static unsigned granted;

static int64_t
virtual_now(void *context)
{
    (void)context;
    return now_us;
}

static void
take_reply(void *arg, const struct result *result)
{
    (void)arg;
    granted += !result->error;
}

static double
cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct platform *
host_of(size_t domains)
{
    char text[256], message[256];
    struct scenario *scenario;
    struct platform *platform;

    snprintf(text, sizeof text,
             "[host]\nmemory = %zuM\n"
             "[domain 1]\ncount = %zu\ndynamic-min = 1G\ndynamic-max = 4G\n",
             domains * 4096 + 72 + 1024, domains);
    scenario = scenario_read_text("bench", text, strlen(text), NULL, message,
                                  sizeof message);
    platform = scenario ? sim_platform_new(scenario, now_us) : NULL;
    scenario_free(scenario);
    if (!platform) {
        fputs("bench_grant: no host\n", stderr);
        exit(1);
    }
    return platform;
}

static void
run(struct broker *b, struct platform *p)
{
    sim_advance(p, now_us);
    sim_deliver(p);
    if (broker_next_us(b) <= now_us)
        broker_run(b, now_us);
}

/* Until nothing is to be done at this instant. */
static void
calm(struct broker *b, struct platform *p)
{
    do
        run(b, p);
    while (broker_next_us(b) <= now_us || sim_next_us(p) <= now_us);
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One a second; the pass before is so old. */
static double
median_grant_us(size_t domains, int64_t age_us)
{
    const struct broker_options options = {
        .planner = { .host_reserve_kib = 72 * KIB_PER_MIB,
                     .tolerance_kib = 512,
                     .policy = policy_find("proportional"),
                     .interval_us = 10 * US_PER_S },
        .now_us = virtual_now,
    };
    const struct reserve_call call = { .client = "bench",
                                       .min_kib = KIB_PER_MIB,
                                       .max_kib = KIB_PER_MIB,
                                       .timeout_us = US_PER_S,
                                       .hold_us = -1 };
    struct platform *p = host_of(domains);
    struct broker *b = broker_new(&options, p, now_us);
    double took[GRANTS];

    calm(b, p);
    for (int i = 0; i < GRANTS; i++) {
        double start;

        now_us = max_i64(now_us, broker_next_us(b));
        calm(b, p);
        now_us += age_us;
        sim_advance(p, now_us);
        start = cpu_us();
        broker_reserve(b, &call, now_us, take_reply, NULL);
        broker_run(b, now_us);
        took[i] = cpu_us() - start;
        calm(b, p);
    }
    broker_free(b);
    p->ops->free(p);
    qsort(took, GRANTS, sizeof took[0], compare);
    return took[GRANTS / 2];
}

int
main(void)
{
    printf("%8s %16s %16s\n", "domains", "left over us", "with a pass us");
    for (size_t n = 10; n <= 10000; n *= 10) {
        double spare = median_grant_us(n, 20 * US_PER_MS);

        printf("%8zu %16.1f %16.1f\n", n, spare,
               median_grant_us(n, 500 * US_PER_MS));
    }
    if (granted != 8 * GRANTS)
        fprintf(stderr, "bench_grant: %u of %d granted\n", granted, 8 * GRANTS);
    return granted != 8 * GRANTS;
}
