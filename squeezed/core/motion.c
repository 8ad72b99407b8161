/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/motion.h"

#include "squeezed/core/judge.h"
#include "squeezed/core/probe.h"

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
    if (!m->moves)
        m->moves = judge_is_moving(d, now_us) || judge_is_leaving(d, now_us);
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
