/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A scenario from its start to its end in virtual time: makes the simulated
 * host and the broker, goes from event to event, watches the promises, and
 * says what came out.  It reads no clock (but for cpu_s) and no file: the same
 * scenario and seed give the same results. */
#ifndef SIMULATION_RUN_H
#define SIMULATION_RUN_H

#include "squeezed/core/host.h"
#include "squeezed/simulation.h"

/* What a hook may look at. */
struct simulation_now {
    int64_t t_us; /* since the start */
    struct platform *sim;
    struct broker *broker;
};

struct simulation_run_options {
    uint64_t seed;
    int64_t until_us;   /* since the start; -1: when all is at rest, after 10
                         * min at most */
    int64_t latency_us; /* of the store */
    /* Each time something may have changed, and at the start.  May be NULL. */
    void (*changed)(void *context, const struct simulation_now *now);
    /* What the simulation has to tell.  May be NULL. */
    void (*note)(void *context, int64_t t_us, bool trouble, const char *text);
    void *context;
};

struct simulated_domain {
    uint32_t domid;
    char name[128];
    enum domain_state state;
    bool managed; /* dynamic_min_kib and dynamic_max_kib say something */
    uint64_t dynamic_min_kib, target_kib, actual_kib, limit_kib,
        dynamic_max_kib;
};

/* A broken promise (its number in DESIGN: 1 no theft ... 7 every MiB has an
 * owner). */
struct violation {
    int64_t t_us;
    int promise;
    char text[200];
};

struct simulation_results {
    int64_t simulated_us;
    struct simulated_request *requests; /* times since the start */
    size_t request_count;
    uint64_t total_kib, free_kib, reserved_kib;
    int64_t min_headroom_kib;
    struct simulated_domain *domains;
    size_t domain_count;
    uint64_t target_writes;
    struct violation *violations;
    size_t violation_count;
    /* Expectations that did not come true, each a text for people. */
    char (*failures)[200];
    size_t failure_count;
    double cpu_s;
};

/* False without memory. */
bool
simulation_run(const struct scenario *scenario,
               const struct simulation_run_options *options,
               struct simulation_results *ret);

void
simulation_results_done(struct simulation_results *results);

#endif
