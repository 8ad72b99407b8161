/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random hosts with random events, as the text of a scenario, and how to make
 * one smaller that breaks something.  For chaos.c. */
#ifndef TESTS_CHAOS_CASE_H
#define TESTS_CHAOS_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHAOS_TEXT = 65536 };

struct chaos_case {
    uint64_t seed;      /* of the simulation: what comes first */
    int64_t latency_us; /* of the store */
    char text[CHAOS_TEXT];
};

/* The same for the same seed, everywhere. */
void
chaos_write(struct chaos_case *ret, uint64_t seed);

/* Does it still break what it is to break? */
typedef bool
chaos_breaks(void *context, const struct chaos_case *smaller);

/* Leaves out whatever isn't needed for that. */
void
chaos_shrink(struct chaos_case *c, chaos_breaks *breaks, void *context);

#endif
