/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random numbers for property tests: the same for the same seed everywhere.
 * SEED in the environment replaces the base of all seeds (0); the name and the
 * seed of a run are kept where a failure prints them. */
#ifndef TESTS_RANDOM_H
#define TESTS_RANDOM_H

#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
    uint64_t state;
};

/* splitmix64 */
static inline uint64_t
random_next(struct random *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 to n - 1; 0 for n = 0. */
static inline uint64_t
random_below(struct random *r, uint64_t n)
{
    return n ? random_next(r) % n : 0;
}

static char random_what[128];

/* Call it when a run has failed; an abort does by itself. */
static inline void
random_report(void)
{
    fprintf(stderr, "\nthe last random run: %s\n", random_what);
}

static inline void
random_aborted(int signal)
{
    (void)signal;
    random_report();
    fflush(stderr);
}

static inline struct random
random_seed(const char *test, uint64_t i)
{
    const char *root = getenv("SEED");
    uint64_t seed = (root ? strtoull(root, NULL, 10) : 0) * 1000000 + i;
    struct random r = { seed * UINT64_C(0x2545f4914f6cdd1d) + 1 };

    signal(SIGABRT, random_aborted);
    snprintf(random_what, sizeof random_what,
             "%s, run %" PRIu64 " with SEED=%s", test, i, root ? root : "0");
    return r;
}

/* How many runs: RUNS in the environment, or as many as usual. */
static inline int
random_runs(int usual)
{
    const char *number = getenv("RUNS");

    return number ? (int)strtol(number, NULL, 10) : usual;
}

#endif
