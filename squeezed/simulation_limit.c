/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/simulation_limit.h"

#include "squeezed/simulation_audit.h"

#include <stdlib.h>

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
slowest_us(const struct scenario *scenario, struct limit_sum *sum)
{
    int64_t longest = 0;

    policy_share(scenario->policy, sum->members, sum->count,
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
limit_of_queue(const struct scenario *scenario, struct limit_sum *sum,
               const struct simulation *simulation, size_t last,
               int64_t here_kib)
{
    uint64_t wants_kib = 0;
    bool possible = true;

    for (size_t i = 0; i <= last; i++) {
        const struct simulated_request *r = simulation_request(simulation, i);
        const struct scenario_event *e = &scenario->events[r->event];

        if (r->answered_us >= 0)
            continue;
        possible = add_want(sum, e);
        if (possible)
            wants_kib += e->max_kib;
    }
    if (!possible)
        return -1;
    if ((int64_t)wants_kib <= here_kib)
        return 0;
    return slowest_us(scenario, sum);
}

int64_t
simulation_limit_us(const struct scenario *scenario,
                    const struct simulation *simulation,
                    const struct platform *sim, size_t i)
{
    int64_t here = audit_headroom_kib(scenario, sim), limit = -1;
    struct limit_sum sum = { 0 };
    size_t count;

    here += (int64_t)scenario->cushion_kib;
    sum.budget_kib = here;
    sim_domains(sim, &count);
    sum.members = calloc(count + i + 1, sizeof *sum.members);
    sum.donors = calloc(count + 1, sizeof *sum.donors);
    if (sum.members && sum.donors) {
        add_donors(&sum, sim);
        limit = limit_of_queue(scenario, &sum, simulation, i, here);
    }
    free(sum.members);
    free(sum.donors);
    return limit;
}

/* Also those that only may have a balloon. */
static bool
may_give(const struct sim_domain *d)
{
    return d->managed && !d->paused && !d->frozen && !d->building;
}

int64_t
simulation_most_kib(const struct scenario *scenario, const struct platform *sim)
{
    int64_t kib = audit_headroom_kib(scenario, sim);
    size_t count;
    const struct sim_domain *d = sim_domains(sim, &count);

    kib += (int64_t)scenario->cushion_kib;
    for (size_t i = 0; i < count; i++)
        if (may_give(&d[i]))
            kib += (int64_t)sub_or_0(
                max_u64(d[i].actual_kib, d[i].limit_kib),
                max_u64(d[i].static_min_kib, d[i].dynamic_min_kib));
    return kib;
}
