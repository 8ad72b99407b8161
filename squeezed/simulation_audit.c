/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/simulation_audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A promise that is broken for good would be noted at every instant. */
#define VIOLATIONS_MAX 100
/* An answer may come this much after its deadline. */
#define ANSWER_GRACE_US (1 * (int64_t)US_PER_S)

static void __attribute__((format(printf, 4, 5)))
violate(struct audit *a, int64_t t_us, int promise, const char *format, ...)
{
    struct simulation_results *r = a->results;
    struct violation *grown;
    va_list args;

    if (r->violation_count == VIOLATIONS_MAX)
        return;
    grown = reallocarray(r->violations, r->violation_count + 1, sizeof *grown);
    if (!grown)
        return;
    r->violations = grown;
    grown += r->violation_count++;
    *grown = (struct violation){ .t_us = t_us, .promise = promise };
    va_start(args, format);
    vsnprintf(grown->text, sizeof grown->text, format, args);
    va_end(args);
}

static void __attribute__((format(printf, 2, 3)))
disappoint(struct audit *a, const char *format, ...)
{
    struct simulation_results *r = a->results;
    char(*grown)[200];
    va_list args;

    grown = reallocarray(r->failures, r->failure_count + 1, sizeof *grown);
    if (!grown)
        return;
    r->failures = grown;
    va_start(args, format);
    vsnprintf(grown[r->failure_count++], sizeof *grown, format, args);
    va_end(args);
}

bool
audit_init(struct audit *a, const struct scenario *scenario,
           struct platform *sim, struct simulation_results *results,
           int64_t now_us)
{
    const struct sim_domain *d = sim_domains(sim, &a->domain_count);

    a->scenario = scenario;
    a->results = results;
    a->start_us = a->settled_us = now_us;
    a->domains = calloc(a->domain_count + 1, sizeof *a->domains);
    if (!a->domains)
        return false;
    for (size_t i = 0; i < a->domain_count; i++) {
        a->domains[i].domid = d[i].domid;
        a->domains[i].start_kib = d[i].actual_kib;
        memcpy(a->domains[i].uuid, d[i].uuid, UUID_BYTES);
        if (d[i].domid != 0)
            a->start_kib += d[i].actual_kib;
    }
    audit_taken(a, sim);
    return true;
}

void
audit_done(struct audit *a)
{
    free(a->domains);
}

/* ----------------------------------------------------------------- the sums */

/* What domain domid was promised, and is being built with. */
static uint64_t
promise_kib(const struct platform *sim, uint32_t domid)
{
    size_t count;
    const struct ledger_entry *e = sim_ledger(sim, &count);
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        if (e[i].transferred && e[i].domid == domid)
            sum += e[i].amount_kib;
    return sum;
}

/* What it could hold without asking. */
static uint64_t
committed_kib(const struct platform *sim, const struct sim_domain *d)
{
    uint64_t kib = d->actual_kib;

    if (d->domid != 0 || d->managed)
        kib = max_u64(kib, d->limit_kib);
    if (d->building)
        kib = max_u64(kib, promise_kib(sim, d->domid));
    return kib;
}

static uint64_t
reserved_kib(const struct platform *sim)
{
    size_t count;
    const struct ledger_entry *e = sim_ledger(sim, &count);
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        if (!e[i].transferred)
            sum += e[i].amount_kib;
    return sum;
}

int64_t
audit_headroom_kib(const struct scenario *scenario, const struct platform *sim)
{
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);
    int64_t kib = (int64_t)sim_free_kib(sim);

    kib -= (int64_t)(scenario->reserve_kib + scenario->cushion_kib);
    kib -= (int64_t)reserved_kib(sim);
    for (size_t i = 0; i < count; i++)
        kib -= (int64_t)(committed_kib(sim, &d[i]) - d[i].actual_kib);
    return kib;
}

/* As much as there is now, or 0: the cushion is for reservations. */
static int64_t
floor_now_kib(const struct audit *a, const struct platform *sim)
{
    int64_t kib = audit_headroom_kib(a->scenario, sim);

    return min_i64(kib + (int64_t)a->scenario->cushion_kib, 0);
}

void
audit_taken(struct audit *a, const struct platform *sim)
{
    a->floor_kib = min_i64(a->floor_kib, floor_now_kib(a, sim));
}

/* ---------------------------------------------------------- the first promise
 */

static void
look_at_headroom(struct audit *a, const struct simulation_now *now)
{
    int64_t kib = audit_headroom_kib(a->scenario, now->sim);
    int64_t floor = floor_now_kib(a, now->sim);

    if (floor < a->floor_kib)
        violate(a, now->t_us, 1,
                "headroom fell to %" PRId64 " KiB (%" PRId64 " before)", kib,
                a->floor_kib);
    if (floor != 0 && floor >= a->floor_kib) { /* theft made good in part */
        a->floor_kib = floor;
        return;
    }
    if (!a->seen || kib < a->results->min_headroom_kib)
        a->results->min_headroom_kib = kib;
    a->seen = true;
    a->floor_kib = floor;
}

/* ---------------------------------------------------------- the third promise
 */

static struct audited_domain *
find_audited(const struct audit *a, const struct sim_domain *d)
{
    size_t low = 0, high = a->domain_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (a->domains[middle].domid < d->domid)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == a->domain_count || a->domains[low].domid != d->domid ||
        memcmp(a->domains[low].uuid, d->uuid, UUID_BYTES) != 0)
        return NULL;
    return &a->domains[low];
}

static void
check_target(struct audit *a, const struct simulation_now *now,
             const struct sim_domain *d)
{
    uint64_t low = max_u64(d->static_min_kib, d->dynamic_min_kib);
    uint64_t high = min_u64(d->dynamic_max_kib, d->static_max_kib);

    if (d->target_kib < low || d->target_kib > high)
        violate(a, now->t_us, 3,
                "domain %" PRIu32 ": target %" PRIu64 " KiB is not in %" PRIu64
                " to %" PRIu64,
                d->domid, d->target_kib, low, high);
    if (d->target_kib > d->limit_kib)
        violate(a, now->t_us, 3,
                "domain %" PRIu32 ": target %" PRIu64
                " KiB is above the limit %" PRIu64,
                d->domid, d->target_kib, d->limit_kib);
}

/* Targets that the broker has set since the last look. */
static void
look_at_targets(struct audit *a, const struct simulation_now *now)
{
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);

    for (size_t i = 0; i < count; i++) {
        struct audited_domain *seen = find_audited(a, &d[i]);

        if (seen && d[i].target_writes < seen->writes)
            seen->writes = 0; /* built anew under the same domid */
        if (!seen || seen->writes == d[i].target_writes)
            continue;
        seen->writes = d[i].target_writes;
        if (!d[i].managed)
            violate(a, now->t_us, 3,
                    "domain %" PRIu32 " is unmanaged, and its target was set",
                    d[i].domid);
        else
            check_target(a, now, &d[i]);
    }
}

/* ---------------------------------------------------------- the fifth promise
 */

static void
check_ledger(struct audit *a, const struct simulation_now *now)
{
    struct planner *planner = broker_planner(now->broker);
    size_t count;
    const struct ledger_entry *e = sim_ledger(now->sim, &count);

    if (!planner)
        return; /* not read yet */
    a->check_ledger = false;
    for (size_t i = 0; i < count; i++) {
        const struct ledger_entry *known =
            ledger_find(&planner->ledger, e[i].id);

        if (!known || known->amount_kib != e[i].amount_kib)
            violate(a, now->t_us, 5,
                    "reservation %s of %s was lost by the restart", e[i].id,
                    e[i].client);
    }
}

/* -------------------------------------------------------------- expectations
 */

static void
look_at_dip(struct audit *a, const struct simulation_now *now)
{
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);
    int64_t dip = 0;

    for (size_t i = 0; i < count; i++) {
        const struct audited_domain *seen = find_audited(a, &d[i]);

        if (seen && d[i].domid != 0)
            dip += (int64_t)seen->start_kib - (int64_t)d[i].actual_kib;
    }
    a->max_dip_kib = max_i64(a->max_dip_kib, dip);
}

void
audit_submit(struct audit *a, const struct platform *sim, size_t i)
{
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);

    if (i > 0)
        return;
    for (size_t k = 0; k < count; k++) {
        struct audited_domain *seen = find_audited(a, &d[k]);

        if (seen)
            seen->writes_at_request = d[k].target_writes;
    }
}

static void
look_at_first_request(struct audit *a, const struct simulation_now *now,
                      const struct simulation *simulation)
{
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);

    if (a->first_done || simulation_request_count(simulation) == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct audited_domain *seen = find_audited(a, &d[i]);

        if (seen)
            a->first_writes = max_u64(
                a->first_writes, d[i].target_writes - seen->writes_at_request);
    }
    a->first_done = simulation_request(simulation, 0)->answered_us >= 0;
}

/* Could this domain take a part of what nobody uses? */
static bool
could_take(const struct audit *a, const struct domain *d, int64_t now_us)
{
    return d->movable && host_domain_state(d, now_us) == DOMAIN_STATE_OK &&
           d->judgement.slack_kib == 0 &&
           d->facts.target_kib + a->scenario->tolerance_kib < d->upper_kib;
}

bool
audit_is_settled(const struct audit *a, const struct simulation_now *now)
{
    const struct planner *planner = broker_planner(now->broker);
    int64_t kib = audit_headroom_kib(a->scenario, now->sim);

    if (!sim_at_rest(now->sim) || !planner)
        return false;
    if (kib < (int64_t)max_u64(a->scenario->tolerance_kib, KIB_PER_PAGE))
        return true;
    for (size_t i = 0; i < planner->host.count; i++)
        if (could_take(a, &planner->host.domains[i], a->start_us + now->t_us))
            return false;
    return true;
}

void
audit_look(struct audit *a, const struct simulation_now *now,
           const struct simulation *simulation)
{
    if (!sim_adds_up(now->sim))
        violate(a, now->t_us, 7, "the host's memory does not add up");
    look_at_headroom(a, now);
    look_at_targets(a, now);
    look_at_dip(a, now);
    look_at_first_request(a, now, simulation);
    if (a->check_ledger)
        check_ledger(a, now);
    if (!audit_is_settled(a, now))
        a->settled_us = a->start_us + now->t_us;
}

/* ------------------------------------------------------- the physical limit */

struct limit_sum {
    struct share_member *members;
    const struct sim_domain **donors; /* of the first donor_count members */
    size_t donor_count;
    size_t count;
    int64_t budget_kib; /* what the members may hold together */
    int64_t least_kib;  /* what they hold at least */
};

static bool
is_donor(const struct sim_domain *d)
{
    return d->managed && d->balloon && !d->paused && !d->frozen && !d->building;
}

static void
add_member(struct limit_sum *sum, uint64_t min_kib, uint64_t max_kib)
{
    struct share_member *m = &sum->members[sum->count++];

    *m = (struct share_member){ .min_pages = min_kib / KIB_PER_PAGE,
                                .max_pages = max_kib / KIB_PER_PAGE };
    m->lower_pages = m->min_pages;
    m->upper_pages = max_u64(m->max_pages, m->min_pages);
    sum->least_kib += (int64_t)min_kib;
}

static void
add_donors(struct limit_sum *sum, const struct platform *sim)
{
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);

    for (size_t i = 0; i < count; i++) {
        if (!is_donor(&d[i]))
            continue;
        sum->donors[sum->donor_count++] = &d[i];
        add_member(sum, max_u64(d[i].static_min_kib, d[i].dynamic_min_kib),
                   min_u64(d[i].dynamic_max_kib, d[i].static_max_kib));
        sum->budget_kib += (int64_t)max_u64(d[i].actual_kib, d[i].limit_kib);
    }
}

/* A range counts as one more domain; false if there is not enough for its
 * minimum. */
static bool
add_want(struct limit_sum *sum, const struct scenario_event *e)
{
    int64_t min_kib = (int64_t)e->min_kib;

    if (sum->least_kib + min_kib > sum->budget_kib)
        return false;
    if (e->min_kib == e->max_kib)
        sum->budget_kib -= min_kib;
    else
        add_member(sum, e->min_kib, e->max_kib);
    return true;
}

/* The slowest donor's time for its share. */
static int64_t
slowest_us(const struct audit *a, struct limit_sum *sum)
{
    int64_t longest = 0;

    policy_share(a->scenario->policy, sum->members, sum->count,
                 (uint64_t)max_i64(sum->budget_kib, 0) / KIB_PER_PAGE);
    for (size_t i = 0; i < sum->donor_count; i++) {
        const struct sim_domain *d = sum->donors[i];
        uint64_t share = sum->members[i].share_pages * KIB_PER_PAGE;
        uint64_t us =
            mul_div(sub_or_0(d->actual_kib, share), US_PER_S, d->rate_kib);

        longest = max_i64(longest, (int64_t)min_u64(us, INT64_MAX / 2));
    }
    return longest;
}

/* All wants that wait, in their order, and the last one. */
static int64_t
limit_of_queue(const struct audit *a, struct limit_sum *sum,
               const struct simulation *simulation, size_t last,
               int64_t headroom_kib)
{
    uint64_t wants_kib = 0;
    bool possible = true;

    for (size_t i = 0; i <= last; i++) {
        const struct simulated_request *r = simulation_request(simulation, i);
        const struct scenario_event *e = &a->scenario->events[r->event];

        if (r->answered_us >= 0)
            continue;
        possible = add_want(sum, e);
        if (possible)
            wants_kib += e->max_kib;
    }
    if (!possible)
        return -1;
    if ((int64_t)wants_kib <= headroom_kib + (int64_t)a->scenario->cushion_kib)
        return 0;
    return slowest_us(a, sum);
}

int64_t
audit_limit_us(const struct audit *a, const struct simulation *simulation,
               const struct platform *sim, size_t i)
{
    int64_t headroom = audit_headroom_kib(a->scenario, sim), limit = -1;
    struct limit_sum sum = { .budget_kib = headroom };
    size_t count;

    sim_domains(sim, &count);
    sum.members = calloc(count + i + 1, sizeof *sum.members);
    sum.donors = calloc(count + 1, sizeof *sum.donors);
    if (sum.members && sum.donors) {
        add_donors(&sum, sim);
        limit = limit_of_queue(a, &sum, simulation, i, headroom);
    }
    free(sum.members);
    free(sum.donors);
    return limit;
}

/* ------------------------------------------------------------------ the end */

static void
expect_of_request(struct audit *a, const struct simulated_request *r)
{
    const struct scenario_event *e = &a->scenario->events[r->event];
    uint64_t slack = KIB_PER_PAGE * (a->domain_count + 1);
    int64_t took = r->answered_us - r->submitted_us;

    if (e->expect != OUTCOME_PENDING && r->outcome != e->expect)
        disappoint(a, "event %" PRIu32 ": %s, expected %s", e->number,
                   outcome_name(r->outcome), outcome_name(e->expect));
    if (e->expect_error != ERR_NONE && r->error != e->expect_error)
        disappoint(a, "event %" PRIu32 ": error %s, expected %s", e->number,
                   err_name(r->error), err_name(e->expect_error));
    if (e->expect_within_us >= 0 &&
        (r->answered_us < 0 || took > e->expect_within_us))
        disappoint(a, "event %" PRIu32 ": %s, expected within %.6f s",
                   e->number,
                   r->answered_us < 0 ? "not answered" : "answered too late",
                   (double)e->expect_within_us / US_PER_S);
    if (e->expect_amount_kib != UINT64_MAX &&
        (r->amount_kib + slack < e->expect_amount_kib ||
         r->amount_kib > e->expect_amount_kib + slack))
        disappoint(
            a, "event %" PRIu32 ": amount %" PRIu64 " KiB, expected %" PRIu64,
            e->number, r->amount_kib, e->expect_amount_kib);
}

/* The sixth promise: an answer at the deadline at the latest. */
static void
check_deadline(struct audit *a, const struct simulation_now *now,
               const struct simulated_request *r)
{
    const struct scenario_event *e = &a->scenario->events[r->event];
    int64_t deadline = r->submitted_us + e->timeout_us + ANSWER_GRACE_US;
    int64_t end =
        r->answered_us >= 0 ? r->answered_us : a->start_us + now->t_us;

    if (end > deadline)
        violate(a, now->t_us, 6,
                "event %" PRIu32 ": no answer %.3f s after the deadline",
                e->number,
                (double)(end - r->submitted_us - e->timeout_us) / US_PER_S);
}

static void
expect_targets(struct audit *a, const struct simulation_now *now)
{
    const struct scenario_expect *x = &a->scenario->expect;
    size_t count;
    uint64_t slack;

    sim_domains(now->sim, &count);
    slack = KIB_PER_PAGE * count;
    for (size_t i = 0; i < x->target_count; i++) {
        const struct sim_domain *d = sim_find(now->sim, x->targets[i].domid);
        uint64_t want = x->targets[i].target_kib;

        if (!d)
            disappoint(
                a, "domain %" PRIu32 ": gone, expected target %" PRIu64 " KiB",
                x->targets[i].domid, want);
        else if (d->target_kib + slack < want || d->target_kib > want + slack)
            disappoint(a,
                       "domain %" PRIu32 ": target %" PRIu64
                       " KiB, expected %" PRIu64,
                       d->domid, d->target_kib, want);
    }
}

static void
expect_of_whole(struct audit *a, const struct simulation_now *now,
                const struct simulation *simulation)
{
    const struct scenario_expect *x = &a->scenario->expect;
    int64_t left = audit_headroom_kib(a->scenario, now->sim);
    int64_t settled = a->settled_us - simulation_last_us(simulation);
    double dip =
        a->start_kib ? (double)a->max_dip_kib * 1e6 / (double)a->start_kib : 0;

    if (a->first_writes > x->max_writes)
        disappoint(a, "max-writes-per-domain: %" PRIu64 ", expected %" PRIu64,
                   a->first_writes, x->max_writes);
    if (x->settled_within_us >= 0 &&
        (settled > x->settled_within_us || !audit_is_settled(a, now)))
        disappoint(a, "settled-within: %.6f s after the last event%s",
                   (double)settled / US_PER_S,
                   audit_is_settled(a, now) ? "" : ", and not settled yet");
    if (x->max_dip_ppm >= 0 && dip > (double)x->max_dip_ppm)
        disappoint(a, "max-dip: %.4f %%, expected %.4f", dip / 1e4,
                   (double)x->max_dip_ppm / 1e4);
    if (x->left_over_kib != UINT64_MAX && left > (int64_t)x->left_over_kib)
        disappoint(a, "left-over: %" PRId64 " KiB, expected %" PRIu64, left,
                   x->left_over_kib);
}

void
audit_end(struct audit *a, const struct simulation_now *now,
          const struct simulation *simulation, bool rested)
{
    for (size_t i = 0; i < simulation_request_count(simulation); i++) {
        const struct simulated_request *r = simulation_request(simulation, i);

        expect_of_request(a, r);
        check_deadline(a, now, r);
    }
    expect_targets(a, now);
    expect_of_whole(a, now, simulation);
    if (rested && !audit_is_settled(a, now))
        violate(a, now->t_us, 2,
                "at rest, %" PRId64 " KiB are left that some guest could use",
                audit_headroom_kib(a->scenario, now->sim));
    if (!a->seen)
        a->results->min_headroom_kib =
            audit_headroom_kib(a->scenario, now->sim);
}
