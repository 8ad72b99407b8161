/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host in a few lines, for tests of the pure core: guests that move towards
 * their targets or don't, a planner with its memory, and the promises asserted
 * from the toy's own numbers after every step. */
#ifndef TESTS_TOY_HOST_H
#define TESTS_TOY_HOST_H

#include "squeezed/core/planner.h"
#include "tests/random.h"

enum { TOY_DOMAINS = 64, TOY_REQUESTS = 64, TOY_ENTRIES = 256 };

struct toy_guest {
    bool stuck;         /* never moves */
    uint64_t floor_kib; /* never shrinks below */
    uint64_t rate_kib_s;
    uint64_t inaccuracy_kib;
    int64_t fraction; /* of a KiB, in millionths, that is still to move */
};

struct toy_host {
    struct planner planner;
    struct plan plan;
    struct snapshot snapshot;
    struct domain_facts facts[TOY_DOMAINS];
    struct toy_guest guests[TOY_DOMAINS];
    int64_t now_us;
    uint64_t last_seq;
    unsigned writes;           /* targets changed since toy_init */
    struct answer last_answer; /* of any request */
    unsigned answers;
    bool host_took; /* memory went behind our back: no theft */
    /* the planner's memory */
    struct domain domains[TOY_DOMAINS];
    struct share_member members[TOY_DOMAINS + 1];
    uint32_t member_of[TOY_DOMAINS + 1];
    struct setting settings[TOY_DOMAINS];
    struct answer answer_memory[TOY_REQUESTS];
    uint32_t debtors[TOY_DOMAINS];
    struct request requests[TOY_REQUESTS];
    struct ledger_entry entries[TOY_ENTRIES];
};

/* An empty host with that much free memory, 72 MiB reserve, 512 KiB
 * tolerance. */
void
toy_init(struct toy_host *toy, uint64_t free_kib);

/* A managed domain that balloons, holds actual = target = limit out of the
 * free memory; returns its index. */
size_t
toy_add(struct toy_host *toy, uint64_t min_kib, uint64_t max_kib,
        uint64_t actual_kib);

/* Its memory becomes free. */
void
toy_destroy(struct toy_host *toy, size_t index);

/* Returns the request's number. */
uint64_t
toy_reserve(struct toy_host *toy, uint64_t min_kib, uint64_t max_kib,
            int64_t timeout_us, bool wait);

/* The guests move for that long. */
void
toy_advance(struct toy_host *toy, int64_t us);

/* One pass: settings are applied, answers taken, grants put into the ledger at
 * once.  Asserts the promises before and after. */
void
toy_pass(struct toy_host *toy);

/* Passes whenever the planner wants to look, until it is settled or so much
 * time has gone by. */
void
toy_settle(struct toy_host *toy, int64_t limit_us);

/* The same until a request is answered. */
void
toy_await(struct toy_host *toy, int64_t limit_us);

/* What nobody may take without us, from the toy's own numbers. */
int64_t
toy_headroom(const struct toy_host *toy);

/* All that matters, to stderr: for a failure. */
void
toy_dump(const struct toy_host *toy);

#endif
