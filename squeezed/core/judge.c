/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/judge.h"

#include <assert.h>

static uint64_t
owed_kib(const struct domain *d)
{
    return sub_or_0(d->facts.actual_kib, d->facts.target_kib);
}

static void
open_window(struct domain *d, uint64_t work_kib, int64_t now_us)
{
    struct judgement *j = &d->judgement;

    j->window_us = now_us;
    j->window_kib = d->facts.actual_kib;
    j->window_work_kib = work_kib;
    j->poked = false;
}

void
judge_ask(struct domain *d, uint64_t target_kib, int64_t now_us)
{
    struct judgement *j = &d->judgement;

    assert(target_kib < d->facts.actual_kib);
    j->slack_kib = 0;
    if (j->working)
        return; /* asked for more: the running window decides */
    j->working = true;
    j->lagging = j->stuck_since_us > 0;
    j->reach_kib = sub_or_0(d->facts.actual_kib, d->facts.extra_kib);
    j->asked_us = now_us;
    j->rate_us = now_us;
    j->rate_from_kib = d->facts.actual_kib;
    open_window(d, d->facts.actual_kib - target_kib, now_us);
}

/* The rate is that of a guest at work: an average over at least
 * JUDGE_RATE_US, the newest half of it.  The first movement counts at once.
 * One that has arrived did so some time before this look: its rate is no less
 * than what was seen. */
static void
measure_rate(struct judgement *j, uint64_t actual_kib, bool arrived,
             int64_t now_us)
{
    int64_t elapsed_us = now_us - j->rate_us;
    uint64_t given_kib = sub_or_0(j->rate_from_kib, actual_kib);
    uint64_t rate;

    if (elapsed_us <= 0 ||
        (elapsed_us < JUDGE_RATE_US && (j->rate_kib_s > 0 || given_kib == 0)))
        return;
    rate = mul_div(given_kib, US_PER_S, (uint64_t)elapsed_us);
    if (arrived && rate < j->rate_kib_s)
        return;
    j->rate_kib_s = j->rate_kib_s > 0 ? (j->rate_kib_s + rate) / 2 : rate;
    j->rate_us = now_us;
    j->rate_from_kib = actual_kib;
}

static void
stop_working(struct judgement *j, uint64_t slack_kib)
{
    j->working = false;
    j->window_us = 0;
    j->lagging = false;
    j->slack_kib = slack_kib;
}

static int64_t
last_sign_us(const struct judgement *j)
{
    return max_i64(j->asked_us, j->moved_us);
}

/* Enough for a new window, or too little for too long? */
static void
judge_progress(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    uint64_t wanted = max_u64(JUDGE_PROGRESS_KIB, j->window_work_kib / 100 *
                                                      JUDGE_PROGRESS_PERCENT);

    if (sub_or_0(j->window_kib, d->facts.actual_kib) >= wanted) {
        open_window(d, owed_kib(d), now_us);
        j->stuck_since_us = 0;
        j->floor_kib = 0;
    } else if (now_us - j->window_us >= JUDGE_STUCK_US) {
        j->stuck_until_us = now_us + JUDGE_EXPIRY_US;
        if (j->stuck_since_us == 0)
            j->stuck_since_us = now_us;
        j->floor_kib = d->held_kib;
        j->floor_until_us = now_us + JUDGE_FLOOR_US;
        stop_working(j, 0);
    }
}

static void
judge_work(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    uint64_t owed = owed_kib(d);

    measure_rate(j, d->facts.actual_kib, owed == 0, now_us);
    if (owed == 0) {
        /* It gave what was asked, or nothing is asked any more. */
        if (j->moving) {
            j->stuck_since_us = 0;
            j->floor_kib = 0;
        }
        stop_working(j, 0);
        return;
    }
    if (owed <= JUDGE_ACCURACY_KIB &&
        now_us - last_sign_us(j) >= JUDGE_STILL_US)
        stop_working(j, owed);
    else
        judge_progress(d, now_us);
}

/* One that nothing is asked of.  Its death is worth following: nobody tells
 * when the last pages of a domain have gone. */
static void
judge_untouchable(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    int64_t leaving_us = 0;

    if (d->facts.flags & DOMAIN_DYING)
        leaving_us = j->leaving_us == 0 || d->facts.actual_kib != j->seen_kib
                         ? now_us
                         : j->leaving_us;
    *j = (struct judgement){ .seen_us = now_us,
                             .seen_kib = d->facts.actual_kib,
                             .leaving_us = leaving_us };
}

void
judge_look(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    uint64_t actual = d->facts.actual_kib;
    uint64_t owed = owed_kib(d);

    if (!d->movable) {
        judge_untouchable(d, now_us);
        return;
    }
    if (actual < j->seen_kib && j->seen_us > 0) {
        j->moved_us = now_us;
        /* A sign of life; whether it is enough, the next window tells. */
        if (j->seen_kib - actual >= JUDGE_PROGRESS_KIB)
            j->stuck_until_us = 0;
    }
    j->moving = j->seen_us > 0 && actual != j->seen_kib;
    j->seen_us = now_us;
    j->seen_kib = actual;
    if (owed == 0)
        j->slack_kib = 0;
    /* It owes what nobody has asked for since we know it: a target that was
     * there before us, or a rest that is no longer where it was. */
    if (!j->working && owed > 0 && owed != j->slack_kib &&
        !judge_is_stuck(d, now_us))
        judge_ask(d, d->facts.target_kib, now_us);
    if (j->working)
        judge_work(d, now_us);
}

void
judge_raise(struct domain *d, int64_t now_us)
{
    d->judgement.raised_us = now_us;
}

bool
judge_is_moving(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    /* Another try with a guest that was stuck is nothing to wait for. */
    return (j->working && !judge_is_retried(d)) || j->moving ||
           (j->raised_us > 0 && d->facts.actual_kib < d->facts.target_kib &&
            now_us - j->raised_us < JUDGE_STILL_US);
}

bool
judge_is_leaving(const struct domain *d, int64_t now_us)
{
    return d->judgement.leaving_us > 0 &&
           now_us - d->judgement.leaving_us < JUDGE_STUCK_US;
}

bool
judge_is_stuck(const struct domain *d, int64_t now_us)
{
    return d->judgement.stuck_until_us > now_us;
}

bool
judge_needs_poke(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    if (!j->working || j->poked ||
        now_us - max_i64(last_sign_us(j), j->window_us) < JUDGE_POKE_US)
        return false;
    /* So near to the verdict, which sets its target, it would be the second
     * write in a second. */
    return now_us + JUDGE_WRITE_US <= j->window_us + JUDGE_STUCK_US;
}

bool
judge_poke(struct domain *d, int64_t now_us)
{
    if (!judge_needs_poke(d, now_us))
        return false;
    d->judgement.poked = true;
    return true;
}

bool
judge_is_retried(const struct domain *d)
{
    return d->judgement.working && d->judgement.stuck_since_us > 0;
}

bool
judge_is_uncooperative(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    return j->stuck_since_us > 0 &&
           now_us - j->stuck_since_us >= JUDGE_UNCOOPERATIVE_US;
}

bool
judge_mark_changes(const struct domain *d, int64_t now_us)
{
    bool marked = d->facts.flags & DOMAIN_MARKED;

    return marked != judge_is_uncooperative(d, now_us);
}

bool
judge_is_slow(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    return j->working && j->lagging && now_us - j->asked_us >= JUDGE_STUCK_US;
}

/* Asked long enough ago, and not seen to give since. */
static bool
is_still(const struct judgement *j, int64_t now_us)
{
    return now_us - last_sign_us(j) >= JUDGE_STILL_US;
}

uint64_t
judge_gift_kib(const struct domain *d, int64_t horizon_us, int64_t now_us)
{
    const struct judgement *j = &d->judgement;
    uint64_t owed = owed_kib(d);

    if (!j->working || j->lagging)
        return 0;
    if (now_us - j->asked_us < JUDGE_STILL_US)
        return owed; /* too early to tell */
    if (is_still(j, now_us))
        return 0;
    if (horizon_us < 0 || j->rate_kib_s == 0)
        return owed;
    return min_u64(owed,
                   mul_div(j->rate_kib_s, (uint64_t)horizon_us, US_PER_S));
}

void
judge_lag(struct domain *d, int64_t remaining_us, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    uint64_t reach = sub_or_0(d->facts.actual_kib, d->facts.extra_kib);

    if (!is_still(j, now_us) && remaining_us > 0)
        reach = page_up(sub_or_0(
            reach, mul_div(j->rate_kib_s, (uint64_t)remaining_us, US_PER_S)));
    j->lagging = true;
    j->reach_kib = reach;
}

bool
judge_fell_short(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    return j->working && j->lagging && is_still(j, now_us) &&
           j->reach_kib < sub_or_0(d->facts.actual_kib, d->facts.extra_kib);
}

void
judge_relax(struct domain *d)
{
    if (!judge_is_retried(d))
        d->judgement.lagging = false;
}

uint64_t
judge_slack_kib(const struct domain *d)
{
    if (d->judgement.slack_kib == 0 || d->held_kib < d->lower_kib)
        return 0;
    return sub_or_0(d->held_kib, d->facts.target_kib);
}

uint64_t
judge_known_floor_kib(const struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    return j->floor_until_us > now_us ? max_u64(d->lower_kib, j->floor_kib)
                                      : d->lower_kib;
}

uint64_t
judge_floor_kib(const struct domain *d, int64_t now_us)
{
    if (judge_is_stuck(d, now_us))
        return max_u64(d->held_kib, d->lower_kib);
    return d->lower_kib + judge_slack_kib(d);
}
