/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/motion.h"

#include "squeezed/core/appetite.h"
#include "squeezed/core/judge.h"
#include "squeezed/core/probe.h"

/* Of a search whose every step takes a walk over the domains, and which is near
 * enough after two or three. */
enum { LEAST_STEPS = 6 };

static int64_t
time_for_us(uint64_t kib, uint64_t rate_kib_s)
{
    return (int64_t)min_u64(mul_div(kib, US_PER_S, rate_kib_s), INT64_MAX / 4);
}

static void
add_work(struct motion *m, const struct domain *d)
{
    const struct judgement *j = &d->judgement;
    uint64_t owed = sub_or_0(d->facts.actual_kib, d->facts.target_kib);

    m->works = true;
    if (!j->lagging) {
        m->brisk = true;
        m->rate_kib_s += j->rate_kib_s;
    }
    if (m->longest_us < 0)
        return;
    if (j->rate_kib_s == 0)
        m->longest_us = -1;
    else
        m->longest_us =
            max_i64(m->longest_us, time_for_us(owed, j->rate_kib_s));
}

/* What it could be asked for, beside what it was asked for already. */
static uint64_t
able_room_kib(const struct domain *d, int64_t now_us)
{
    if (!d->movable || d->judgement.lagging || d->judgement.rate_kib_s == 0 ||
        judge_is_stuck(d, now_us))
        return 0;
    return sub_or_0(d->held_kib, d->lower_kib + judge_slack_kib(d));
}

/* A probe is followed as any movement is. */
static int64_t
probe_event_us(const struct domain *d, bool eager, int64_t now_us)
{
    if (probe_is_running(d))
        return now_us + LOOK_MOVING_US;
    return max_i64(probe_next_us(d, eager), now_us + LOOK_MOVING_US);
}

void
motion_begin(struct motion *m)
{
    *m = (struct motion){ .probe_us = TIME_NEVER_US };
}

void
motion_add(struct motion *m, const struct domain *d, bool eager, int64_t now_us)
{
    if (d->judgement.working)
        add_work(m, d);
    if (able_room_kib(d, now_us) > 0)
        m->able_kib_s += d->judgement.rate_kib_s;
    if (!m->moves)
        m->moves = judge_is_moving(d, now_us) || judge_is_leaving(d, now_us);
    if (!d->judgement.working && d->judgement.window_us > 0)
        m->probe_us = min_i64(m->probe_us, appetite_event_us(d));
    if (!d->movable && probe_is_candidate(d))
        m->probe_us = min_i64(m->probe_us, probe_event_us(d, eager, now_us));
}

void
motion_take(struct motion *m, const struct planner *p, int64_t now_us)
{
    motion_begin(m);
    for (size_t i = 0; i < p->host.count; i++)
        motion_add(m, &p->host.domains[i], p->queue.count > 0, now_us);
}

int64_t
motion_remaining_us(const struct motion *m, int64_t need_kib)
{
    if (need_kib <= 0)
        return 0;
    return m->rate_kib_s ? time_for_us((uint64_t)need_kib, m->rate_kib_s) : -1;
}

/* What all would have given by then, and the rate of those that would not be at
 * their minimums yet. */
static uint64_t
given_by(const struct planner *p, int64_t time_us, int64_t now_us,
         uint64_t *ret_rate_kib_s)
{
    uint64_t given = 0, rate_kib_s = 0;

    for (size_t i = 0; i < p->host.count; i++) {
        const struct domain *d = &p->host.domains[i];
        uint64_t room = able_room_kib(d, now_us);
        uint64_t could =
            mul_div(d->judgement.rate_kib_s, (uint64_t)time_us, US_PER_S);

        given += min_u64(room, could);
        if (could < room)
            rate_kib_s += d->judgement.rate_kib_s;
    }
    *ret_rate_kib_s = rate_kib_s;
    return given;
}

bool
motion_can_hurry(const struct motion *m)
{
    return m->able_kib_s / 3 > m->rate_kib_s / 2;
}

int64_t
motion_least_us(const struct motion *m, const struct planner *p,
                int64_t need_kib, int64_t now_us)
{
    int64_t remaining_us = motion_remaining_us(m, need_kib), least_us;

    if (need_kib <= 0 || !motion_can_hurry(m))
        return remaining_us;
    least_us = time_for_us((uint64_t)need_kib, m->able_kib_s);
    /* The sum grows ever more slowly, as one after the other is at its minimum:
     * each step comes nearer from the same side. */
    for (int step = 0; step < LEAST_STEPS; step++) {
        uint64_t rate_kib_s;
        uint64_t given = given_by(p, least_us, now_us, &rate_kib_s);

        if (given >= (uint64_t)need_kib)
            break;
        if (rate_kib_s == 0)
            return remaining_us;
        least_us += time_for_us((uint64_t)need_kib - given, rate_kib_s) + 1;
    }
    return remaining_us < 0 ? least_us : min_i64(least_us, remaining_us);
}

static int64_t
clamp_us(int64_t us, int64_t low_us, int64_t high_us)
{
    return us < low_us ? low_us : us > high_us ? high_us : us;
}

int64_t
motion_wait_us(const struct motion *m, int64_t need_kib, int64_t interval_us)
{
    /* When the sum is predicted to do; soon while no rate is known yet; seldom
     * when only laggards are left. */
    if (need_kib > 0)
        return m->brisk ? clamp_us(motion_remaining_us(m, need_kib),
                                   LOOK_SOON_US, LOOK_WAITING_US)
                        : LOOK_WAITING_US;
    if (m->works && m->longest_us >= 0)
        return clamp_us(m->longest_us, LOOK_SOON_US, LOOK_MOVING_US);
    return m->works || m->moves ? LOOK_MOVING_US : interval_us;
}
