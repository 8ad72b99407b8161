/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/simulation_audit.h"

#include "squeezed/simulation_limit.h"

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

static bool
is_same(const struct audited_domain *seen, const struct sim_domain *d)
{
    return seen->domid == d->domid &&
           memcmp(seen->uuid, d->uuid, UUID_BYTES) == 0;
}

/* Makes domains[i] what is known of the i-th that is there now. */
static void
follow_domains(struct audit *a, const struct platform *sim)
{
    size_t count, old = 0;
    const struct sim_domain *d = sim_domains(sim, &count);
    struct audited_domain *now;

    while (old < count && old < a->domain_count &&
           is_same(&a->domains[old], &d[old]))
        old++;
    if (old == count && old == a->domain_count)
        return;
    now = calloc(count + 1, sizeof *now);
    if (!now)
        abort(); /* no verdict without it */
    old = 0;
    for (size_t i = 0; i < count; i++) {
        while (old < a->domain_count && a->domains[old].domid < d[i].domid)
            old++;
        now[i].domid = d[i].domid;
        memcpy(now[i].uuid, d[i].uuid, UUID_BYTES);
        if (old < a->domain_count && is_same(&a->domains[old], &d[i]))
            now[i] = a->domains[old];
    }
    free(a->domains);
    a->domains = now;
    a->domain_count = count;
}

bool
audit_init(struct audit *a, const struct scenario *scenario,
           struct platform *sim, struct simulation_results *results,
           int64_t now_us)
{
    const struct sim_domain *d;

    a->scenario = scenario;
    a->results = results;
    a->start_us = a->settled_us = now_us;
    follow_domains(a, sim);
    d = sim_domains(sim, &a->start_count);
    for (size_t i = 0; i < a->domain_count; i++) {
        a->domains[i].from_start = d[i].domid != 0;
        a->domains[i].start_kib = d[i].actual_kib;
        if (d[i].domid != 0)
            a->start_kib += d[i].actual_kib;
    }
    audit_taken(a, sim, NULL);
    return true;
}

void
audit_done(struct audit *a)
{
    free(a->domains);
}

/* ----------------------------------------------------------------- the sums */

/* A domain that reboots is built of what was kept for its UUID, and until it
 * has gone, the old one still holds that.  (The new one may be done before it
 * is stored that this is its own.) */
static bool
is_kept_for(const struct ledger_entry *e, const struct sim_domain *d)
{
    return !e->transferred && e->has_uuid &&
           memcmp(e->uuid, d->uuid, UUID_BYTES) == 0;
}

/* domids come back: what was promised to the one before isn't its. */
static bool
is_promised_to(const struct ledger_entry *e, const struct sim_domain *d)
{
    return e->transferred && e->domid == d->domid &&
           !(e->has_owner_uuid &&
             memcmp(e->owner_uuid, d->uuid, UUID_BYTES) != 0);
}

/* What a domain was promised, and is being built with. */
static uint64_t
promise_kib(const struct platform *sim, const struct sim_domain *d)
{
    size_t count;
    const struct ledger_entry *e = sim_ledger(sim, &count);
    uint64_t promised = 0, kept = 0;

    for (size_t i = 0; i < count; i++)
        if (d->building && is_promised_to(&e[i], d))
            promised += e[i].amount_kib;
        else if (is_kept_for(&e[i], d))
            kept += e[i].amount_kib;
    return max_u64(promised, kept);
}

/* What it could hold without asking. */
static uint64_t
committed_kib(const struct platform *sim, const struct sim_domain *d)
{
    uint64_t kib = d->actual_kib;

    if (d->domid != 0 || d->managed)
        kib = max_u64(kib, d->limit_kib);
    if (d->building || d->reboots)
        kib = max_u64(kib, promise_kib(sim, d));
    return kib;
}

static bool
is_of_a_rebooting(const struct platform *sim, const struct ledger_entry *e)
{
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);

    for (size_t i = 0; e->has_uuid && i < count; i++)
        if (is_kept_for(e, &d[i]))
            return true;
    return false;
}

static uint64_t
reserved_kib(const struct platform *sim)
{
    size_t count;
    const struct ledger_entry *e = sim_ledger(sim, &count);
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        if (!e[i].transferred && !is_of_a_rebooting(sim, &e[i]))
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

static uint64_t
stored_kib(const struct platform *sim, const char *id)
{
    size_t count;
    const struct ledger_entry *e = sim_ledger(sim, &count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(e[i].id, id) == 0)
            return e[i].amount_kib;
    return 0;
}

/* What is to be kept for the next of a domain that reboots, beyond what that
 * one holds and what is stored. */
static uint64_t
staged_beside_kib(const struct platform *sim, const struct ledger *ledger,
                  const struct sim_domain *d)
{
    uint64_t kept = 0;

    if (!d->reboots)
        return 0;
    for (size_t i = 0; i < ledger->count; i++)
        if (is_kept_for(&ledger->entries[i], d))
            kept += ledger->entries[i].amount_kib;
    return sub_or_0(kept, committed_kib(sim, d));
}

/* What the broker has decided to keep for somebody, and is being stored. */
static uint64_t
staged_kib(const struct platform *sim, struct broker *broker)
{
    const struct planner *planner = broker ? broker_planner(broker) : NULL;
    uint64_t sum = 0;
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);

    for (size_t i = 0; planner && i < planner->ledger.count; i++) {
        const struct ledger_entry *e = &planner->ledger.entries[i];

        if (!e->transferred && !is_of_a_rebooting(sim, e))
            sum += sub_or_0(e->amount_kib, stored_kib(sim, e->id));
    }
    for (size_t i = 0; planner && i < count; i++)
        sum += staged_beside_kib(sim, &planner->ledger, &d[i]);
    return sum;
}

/* As much as there is now, or 0: the cushion is for reservations. */
static int64_t
floor_now_kib(const struct audit *a, const struct platform *sim,
              struct broker *broker)
{
    int64_t kib = audit_headroom_kib(a->scenario, sim);

    kib -= (int64_t)staged_kib(sim, broker);
    return min_i64(kib + (int64_t)a->scenario->cushion_kib, 0);
}

void
audit_taken(struct audit *a, const struct platform *sim, struct broker *broker)
{
    a->floor_kib = min_i64(a->floor_kib, floor_now_kib(a, sim, broker));
}

/* ---------------------------------------------------------- the first promise
 */

/* Domain 0 grows as it likes while nobody manages it, and is to have its limit
 * from the moment when somebody does: neither is an action of ours. */
static void
look_at_dom0(struct audit *a, const struct simulation_now *now)
{
    const struct sim_domain *d = sim_find(now->sim, 0);
    bool managed = d && d->managed;
    uint64_t actual = d && !managed ? d->actual_kib : 0;

    if (actual > a->dom0_kib || (managed && !a->dom0_managed))
        audit_taken(a, now->sim, now->broker);
    a->dom0_kib = actual;
    a->dom0_managed = managed;
}

static void
look_at_headroom(struct audit *a, const struct simulation_now *now)
{
    int64_t kib = audit_headroom_kib(a->scenario, now->sim);
    int64_t floor = floor_now_kib(a, now->sim, now->broker);

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
        struct audited_domain *seen = &a->domains[i];

        if (d[i].target_writes < seen->writes) { /* built anew */
            seen->writes = 0;
            seen->writes_at_request = 0;
        }
        if (seen->writes == d[i].target_writes)
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

/* --------------------------------------------------------- the fourth promise
 */

void
audit_before_pass(struct audit *a, const struct simulation_now *now,
                  const struct simulation *simulation)
{
    size_t count = simulation_request_count(simulation);
    int64_t most;

    if (a->hopeless_next == count || !broker_planner(now->broker))
        return; /* it has to read its ledger first */
    most = simulation_most_kib(a->scenario, now->sim);
    for (; a->hopeless_next < count; a->hopeless_next++) {
        struct simulated_request *r =
            simulation_request(simulation, a->hopeless_next);
        const struct scenario_event *e = &a->scenario->events[r->event];

        r->hopeless = !e->wait && r->answered_us < 0 && e->min_kib > 0 &&
                      (int64_t)e->min_kib > most;
    }
}

/* ---------------------------------------------------------- the fifth promise
 */

/* A toolstack that reserved for a domain does so again when it reboots. */
static bool
is_reserved_for(const struct ledger_entry *e, const struct sim_domain *d)
{
    return e->transferred ? e->domid == d->domid && e->limit_set
                          : is_kept_for(e, d);
}

/* The memory of a domain that reboots stays its own. */
static void
look_at_reboots(struct audit *a, const struct simulation_now *now)
{
    const struct planner *planner = broker_planner(now->broker);
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);

    for (size_t i = 0; planner && i < count; i++) {
        bool kept = !d[i].reboots || d[i].domid == 0;

        for (size_t k = 0; !kept && k < planner->ledger.count; k++)
            kept = is_reserved_for(&planner->ledger.entries[k], &d[i]);
        if (!kept)
            violate(a, now->t_us, 5,
                    "domain %" PRIu32 " reboots, and nothing is kept for it",
                    d[i].domid);
    }
}

void
audit_after_pass(struct audit *a, const struct simulation_now *now,
                 const struct simulation *simulation)
{
    for (size_t i = a->hopeless_done; i < a->hopeless_next; i++) {
        const struct simulated_request *r = simulation_request(simulation, i);

        if (r->hopeless && r->answered_us < 0)
            violate(a, now->t_us, 4,
                    "event %" PRIu32
                    ": what can't be had was not refused at once",
                    a->scenario->events[r->event].number);
    }
    a->hopeless_done = a->hopeless_next;
    look_at_reboots(a, now);
}

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

/* -------------------------------------------------------- the seventh promise
 */

/* The simulated host's memory, and the broker's own account of it. */
static void
look_at_sums(struct audit *a, const struct simulation_now *now)
{
    const struct planner *p = broker_planner(now->broker);
    struct host_sums s;
    int64_t uses;

    if (!sim_adds_up(now->sim))
        violate(a, now->t_us, 7, "the host's memory does not add up");
    if (!p || p->host.total_kib == 0)
        return; /* it hasn't looked yet */
    host_sum(&p->host, &p->ledger, a->scenario->reserve_kib,
             a->scenario->cushion_kib, &s);
    uses = (int64_t)(s.host_reserve_kib + s.cushion_kib + s.reserved_kib +
                     s.growth_allowed_kib + s.promised_kib) +
           s.headroom_kib;
    if (uses != (int64_t)(s.free_kib + s.scrub_kib))
        violate(a, now->t_us, 7,
                "the status: %" PRIu64 " KiB are free, %" PRId64
                " KiB have a use",
                s.free_kib + s.scrub_kib, uses);
    if (s.total_kib != s.free_kib + s.scrub_kib + s.domains_kib + s.xen_kib)
        violate(a, now->t_us, 7, "the status: the whole does not add up");
}

/* -------------------------------------------------------------- expectations
 */

static void
look_at_dip(struct audit *a, const struct simulation_now *now)
{
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);
    int64_t dip = 0;

    for (size_t i = 0; i < count; i++)
        if (a->domains[i].from_start)
            dip += (int64_t)a->domains[i].start_kib - (int64_t)d[i].actual_kib;
    a->max_dip_kib = max_i64(a->max_dip_kib, dip);
}

void
audit_submit(struct audit *a, const struct platform *sim, size_t i)
{
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);

    follow_domains(a, sim);
    for (size_t k = 0; k < count && i == 0; k++)
        a->domains[k].writes_at_request = d[k].target_writes;
}

static void
look_at_first_request(struct audit *a, const struct simulation_now *now,
                      const struct simulation *simulation)
{
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);

    if (a->first_done || simulation_request_count(simulation) == 0)
        return;
    for (size_t i = 0; i < count; i++)
        a->first_writes =
            max_u64(a->first_writes,
                    d[i].target_writes - a->domains[i].writes_at_request);
    a->first_done = simulation_request(simulation, 0)->answered_us >= 0;
}

/* Could this domain take a part of what nobody uses?  One that is stuck isn't
 * given anything until that verdict expires; one below its minimum takes what
 * it lacks of that, or nothing. */
static bool
could_take(const struct audit *a, const struct domain *d, int64_t unused_kib,
           int64_t now_us)
{
    enum domain_state state = host_domain_state(d, now_us);
    uint64_t lack = sub_or_0(d->lower_kib, d->held_kib);

    return d->movable &&
           (state == DOMAIN_STATE_OK || state == DOMAIN_STATE_STUCK) &&
           d->judgement.slack_kib == 0 && (int64_t)lack <= unused_kib &&
           d->facts.target_kib + a->scenario->tolerance_kib < d->upper_kib;
}

bool
audit_is_settled(const struct audit *a, const struct simulation_now *now)
{
    const struct planner *planner = broker_planner(now->broker);
    int64_t kib = audit_headroom_kib(a->scenario, now->sim);
    bool takes = false;

    if (!sim_at_rest(now->sim) || !planner)
        return false;
    if (kib < (int64_t)max_u64(a->scenario->tolerance_kib, KIB_PER_PAGE))
        return true;
    for (size_t i = 0; i < planner->host.count; i++) {
        const struct domain *d = &planner->host.domains[i];

        if (could_take(a, d, kib, a->start_us + now->t_us))
            takes = true;
    }
    return !takes;
}

void
audit_look(struct audit *a, const struct simulation_now *now,
           const struct simulation *simulation)
{
    follow_domains(a, now->sim);
    look_at_sums(a, now);
    look_at_dom0(a, now);
    look_at_headroom(a, now);
    look_at_targets(a, now);
    look_at_dip(a, now);
    look_at_first_request(a, now, simulation);
    if (a->check_ledger)
        check_ledger(a, now);
    if (!audit_is_settled(a, now))
        a->settled_us = a->start_us + now->t_us;
}

/* ------------------------------------------------------------------ the end */

static void
expect_of_request(struct audit *a, const struct simulated_request *r)
{
    const struct scenario_event *e = &a->scenario->events[r->event];
    uint64_t slack = KIB_PER_PAGE * (a->start_count + 1);
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

/* "No guest stays capped wrongly": at rest what a guest was told it may also
 * have, but for what is not worth a write. */
static void
look_at_caps(struct audit *a, const struct simulation_now *now)
{
    const struct planner *planner = broker_planner(now->broker);

    for (size_t i = 0; planner && i < planner->host.count; i++) {
        const struct domain *d = &planner->host.domains[i];

        if (d->movable && d->held_kib >= d->lower_kib &&
            d->facts.limit_kib + a->scenario->tolerance_kib <
                d->facts.target_kib)
            violate(a, now->t_us, 5,
                    "domain %" PRIu32 ": its limit %" PRIu64
                    " KiB stays below its target %" PRIu64,
                    d->facts.domid, d->facts.limit_kib, d->facts.target_kib);
    }
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
    if (rested)
        look_at_caps(a, now);
    if (rested && !audit_is_settled(a, now))
        violate(a, now->t_us, 2,
                "at rest, %" PRId64 " KiB are left that some guest could use",
                audit_headroom_kib(a->scenario, now->sim));
    if (!a->seen)
        a->results->min_headroom_kib =
            audit_headroom_kib(a->scenario, now->sim);
}
