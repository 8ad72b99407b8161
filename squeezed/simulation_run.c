/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/simulation_run.h"

#include "squeezed/core/appetite.h"
#include "squeezed/simulation_audit.h"
#include "squeezed/simulation_limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Not 0, so that nobody gets away with taking 0 for "never". */
#define START_US (1000 * (int64_t)US_PER_S)
/* Without --until it ends then. */
#define LONGEST_US (600 * (int64_t)US_PER_S)
/* As the daemon's balance-check-interval and reboot-hold. */
#define INTERVAL_US    (10 * (int64_t)US_PER_S)
#define REBOOT_HOLD_US (30 * (int64_t)US_PER_S)
/* A broker that has looked at everything sleeps for longer than this. */
#define QUIET_US (US_PER_S)
/* What is left over may have to wait for a verdict to expire (20 s) and the
 * look after that. */
#define PATIENCE_US (3 * INTERVAL_US + QUIET_US)
/* One instant doesn't take more rounds than this. */
#define ROUNDS_MAX 10000

struct run {
    const struct scenario *scenario;
    const struct simulation_run_options *options;
    struct simulation_results *results;
    struct platform *sim;
    struct broker *broker;
    struct simulation *simulation;
    struct audit audit;
    int64_t now_us;
    int64_t resting_us; /* at rest since then; -1: it isn't */
    uint64_t resting_writes;
    uint64_t ids;
};

/* ---------------------------------------------------------------- the hooks */

static int64_t
run_now_us(void *context)
{
    return ((struct run *)context)->now_us;
}

static int64_t
run_wall_ms(void *context)
{
    return INT64_C(1700000000000) + ((struct run *)context)->now_us / US_PER_MS;
}

static void
run_new_id(void *context, char id[UUID_TEXT])
{
    struct run *run = context;

    snprintf(id, UUID_TEXT, "00000000-0000-4000-8000-%012" PRIx64,
             ++run->ids & UINT64_C(0xffffffffffff));
}

static void
run_note(void *context, int64_t now_us, bool trouble, const char *text)
{
    const struct run *run = context;

    if (run->options->note)
        run->options->note(run->options->context, now_us - START_US, trouble,
                           text);
}

static void
run_submit(void *context, size_t request)
{
    struct run *run = context;

    audit_submit(&run->audit, run->sim, request);
    simulation_request(run->simulation, request)->limit_us =
        simulation_limit_us(run->scenario, run->simulation, run->sim, request);
}

static void
run_taken(void *context)
{
    struct run *run = context;

    audit_taken(&run->audit, run->sim, run->broker);
}

/* ------------------------------------------------------------------ the start
 */

static bool
start_broker(struct run *run)
{
    const struct scenario *s = run->scenario;
    const struct broker_options options = {
        .planner = { .host_reserve_kib = s->reserve_kib,
                     .cushion_kib = s->cushion_kib,
                     .tolerance_kib = s->tolerance_kib,
                     .policy = s->policy,
                     .interval_us = INTERVAL_US },
        .reboot_hold_us = REBOOT_HOLD_US,
        .new_id = run_new_id,
        .now_us = run_now_us,
        .wall_ms = run_wall_ms,
        .context = run,
    };

    run->broker = broker_new(&options, run->sim, run->now_us);
    return run->broker != NULL;
}

static bool
start(struct run *run)
{
    const struct simulation_options options = {
        .context = run,
        .now_us = run_now_us,
        .note = run_note,
        .submit = run_submit,
        .taken = run_taken,
        .seed = run->options->seed,
    };

    run->sim = sim_platform_new(run->scenario, run->now_us);
    if (!run->sim)
        return false;
    sim_set_seed(run->sim, run->options->seed);
    sim_set_latency(run->sim, run->options->latency_us);
    if (!start_broker(run) || !audit_init(&run->audit, run->scenario, run->sim,
                                          run->results, run->now_us))
        return false;
    run->simulation = simulation_new(run->scenario, run->sim, run->broker,
                                     &options, run->now_us);
    return run->simulation != NULL;
}

static void
stop(struct run *run)
{
    broker_free(run->broker);
    if (run->sim) {
        sim_settle_store(run->sim, true);
        run->sim->ops->free(run->sim);
    }
    simulation_free(run->simulation);
    audit_done(&run->audit);
}

/* Killed and started again: what was on its way to the store is stored, or by
 * another seed lost. */
static bool
restart(struct run *run)
{
    broker_free(run->broker);
    run->broker = NULL;
    sim_settle_store(run->sim, run->options->seed % 2 != 0);
    if (!start_broker(run))
        return false;
    run->audit.check_ledger = true;
    simulation_restarted(run->simulation, run->broker, run->now_us);
    return true;
}

/* ------------------------------------------------------------------- the time
 */

static struct simulation_now
this_instant(const struct run *run)
{
    return (struct simulation_now){ run->now_us - START_US, run->sim,
                                    run->broker };
}

static void
look(struct run *run)
{
    const struct simulation_now now = this_instant(run);

    audit_look(&run->audit, &now, run->simulation);
    if (run->options->changed)
        run->options->changed(run->options->context, &now);
}

static int64_t
next_us(const struct run *run)
{
    return min_i64(
        broker_next_us(run->broker),
        min_i64(sim_next_us(run->sim), simulation_next_us(run->simulation)));
}

static void
pass_broker(struct run *run)
{
    const struct simulation_now now = this_instant(run);

    audit_before_pass(&run->audit, &now, run->simulation);
    broker_run(run->broker, run->now_us);
    audit_after_pass(&run->audit, &now, run->simulation);
}

/* The host, then the events, then the broker; and again, as long as something
 * is due in this very instant.  False without memory. */
static bool
pass_instant(struct run *run)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        sim_advance(run->sim, run->now_us);
        sim_deliver(run->sim);
        look(run);
        simulation_step(run->simulation, run->now_us);
        if (simulation_wants_restart(run->simulation) && !restart(run))
            return false;
        if (broker_next_us(run->broker) <= run->now_us)
            pass_broker(run);
        look(run);
        if (next_us(run) > run->now_us)
            return true;
    }
    fprintf(stderr, "the simulation turns round at %.6f s\n",
            (double)(run->now_us - START_US) / US_PER_S);
    return false;
}

static bool
is_judging(const struct run *run)
{
    const struct planner *planner = broker_planner(run->broker);

    if (!planner)
        return true;
    for (size_t i = 0; i < planner->host.count; i++)
        if (planner->host.domains[i].judgement.working ||
            planner->host.domains[i].judgement.moving ||
            appetite_event_us(&planner->host.domains[i]) != TIME_NEVER_US)
            return true;
    return false;
}

/* What has moved since its last look the broker doesn't know. */
static bool
has_seen_all(const struct run *run)
{
    const struct planner *planner = broker_planner(run->broker);
    size_t count;
    const struct sim_domain *d = sim_domains(run->sim, &count);

    if (!planner || planner->host.count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (planner->host.domains[i].facts.actual_kib != d[i].actual_kib)
            return false;
    return true;
}

/* No request, no event, no movement, and the broker has nothing in mind. */
static bool
is_quiet(const struct run *run)
{
    return simulation_is_over(run->simulation) && sim_at_rest(run->sim) &&
           !is_judging(run) && has_seen_all(run) &&
           broker_next_us(run->broker) > run->now_us + QUIET_US;
}

/* Quiet, and either nothing is left over or that doesn't change any more. */
static bool
is_at_rest(struct run *run)
{
    const struct simulation_now now = this_instant(run);
    uint64_t writes = sim_target_writes(run->sim);

    if (!is_quiet(run)) {
        run->resting_us = -1;
        return false;
    }
    if (run->resting_us < 0 || run->resting_writes != writes) {
        run->resting_us = run->now_us;
        run->resting_writes = writes;
    }
    return audit_is_settled(&run->audit, &now) ||
           run->now_us - run->resting_us >= PATIENCE_US;
}

/* True if it came to rest by itself. */
static bool
run_to_end(struct run *run, bool *ret_good)
{
    bool until = run->options->until_us >= 0;
    int64_t end_us = START_US + (until ? run->options->until_us : LONGEST_US);

    for (;;) {
        int64_t next;

        *ret_good = pass_instant(run);
        if (!*ret_good)
            return false;
        if (!until && is_at_rest(run))
            return true;
        next = next_us(run);
        if (next > end_us) {
            run->now_us = end_us;
            *ret_good = pass_instant(run);
            return false;
        }
        run->now_us = next;
    }
}

/* ------------------------------------------------------------------ the
 * results
 */

static bool
take_requests(struct run *run)
{
    struct simulation_results *r = run->results;
    size_t count = simulation_request_count(run->simulation);

    r->requests = calloc(count + 1, sizeof *r->requests);
    if (!r->requests)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct simulated_request *from = simulation_request(run->simulation, i);

        r->requests[i] = *from;
        from->domids = NULL; /* it is the results' now */
        r->requests[i].submitted_us -= START_US;
        if (from->answered_us >= 0)
            r->requests[i].answered_us -= START_US;
        /* Refused at once: nothing was to move. */
        if (from->outcome == OUTCOME_REFUSED &&
            from->answered_us == from->submitted_us)
            r->requests[i].limit_us = -1;
    }
    r->request_count = count;
    return true;
}

static enum domain_state
state_of(const struct run *run, uint32_t domid)
{
    const struct planner *planner = broker_planner(run->broker);
    const struct domain *d = planner ? host_find(&planner->host, domid) : NULL;

    return d ? host_domain_state(d, run->now_us) : DOMAIN_STATE_BOOTING;
}

static bool
take_domains(struct run *run)
{
    struct simulation_results *r = run->results;
    size_t count;
    const struct sim_domain *d = sim_domains(run->sim, &count);

    r->domains = calloc(count + 1, sizeof *r->domains);
    if (!r->domains)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct simulated_domain *to = &r->domains[i];

        *to = (struct simulated_domain){
            .domid = d[i].domid,
            .state = state_of(run, d[i].domid),
            .managed = d[i].managed,
            .dynamic_min_kib = d[i].dynamic_min_kib,
            .target_kib = d[i].target_kib,
            .actual_kib = d[i].actual_kib,
            .limit_kib = d[i].limit_kib,
            .dynamic_max_kib = d[i].dynamic_max_kib,
        };
        memcpy(to->name, d[i].name, sizeof to->name);
    }
    r->domain_count = count;
    return true;
}

static bool
take_results(struct run *run)
{
    struct simulation_results *r = run->results;
    size_t count;
    const struct ledger_entry *e = sim_ledger(run->sim, &count);

    r->simulated_us = run->now_us - START_US;
    r->total_kib = run->scenario->memory_kib;
    r->free_kib = sim_free_kib(run->sim);
    for (size_t i = 0; i < count; i++)
        if (!e[i].transferred)
            r->reserved_kib += e[i].amount_kib;
    r->target_writes = sim_target_writes(run->sim);
    return take_requests(run) && take_domains(run);
}

bool
simulation_run(const struct scenario *scenario,
               const struct simulation_run_options *options,
               struct simulation_results *ret)
{
    struct run run = { .scenario = scenario,
                       .options = options,
                       .results = ret,
                       .now_us = START_US,
                       .resting_us = -1 };
    clock_t began = clock();
    bool good;

    *ret = (struct simulation_results){ 0 };
    good = start(&run);
    if (good) {
        bool rested = run_to_end(&run, &good);

        if (good) {
            const struct simulation_now now = this_instant(&run);

            audit_end(&run.audit, &now, run.simulation, rested);
            good = take_results(&run);
        }
    }
    stop(&run);
    ret->cpu_s = (double)(clock() - began) / CLOCKS_PER_SEC;
    return good;
}

void
simulation_results_done(struct simulation_results *r)
{
    for (size_t i = 0; i < r->request_count; i++)
        free(r->requests[i].domids);
    free(r->requests);
    free(r->domains);
    free(r->violations);
    free(r->failures);
    *r = (struct simulation_results){ 0 };
}
