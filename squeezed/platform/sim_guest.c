/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/sim_guest.h"

#include <stdio.h>
#include <string.h>

/* A page, in the unit of credit. */
#define CREDIT_PER_PAGE ((unsigned __int128)KIB_PER_PAGE * US_PER_S)

/* The Linux driver's sleeps: 1, 2, 4 ... 32 s. */
#define FIRST_SLEEP_US INT64_C(1000000)
#define LAST_SLEEP_US  (32 * FIRST_SLEEP_US)

void
sim_guest_init(struct sim_domain *d, const struct scenario_domain *from,
               uint32_t index, int64_t now_us)
{
    const uint32_t both = GIVEN_DYNAMIC_MIN | GIVEN_DYNAMIC_MAX;

    *d = (struct sim_domain){
        .domid = from->domid + index,
        .type = from->type,
        .managed = (from->given & both) == both,
        .static_min_kib = from->static_min_kib,
        .static_max_kib = from->static_max_kib,
        .ceiling_kib = CEILING_NONE,
        .dynamic_min_kib = from->dynamic_min_kib,
        .dynamic_max_kib = from->dynamic_max_kib,
        .actual_kib = from->actual_kib,
        .limit_kib = from->limit_kib,
        .target_kib = from->target_kib,
        .used_kib = from->used_kib,
        .rate_kib = from->rate_kib,
        .inaccuracy_kib = from->inaccuracy_kib,
        .shares = from->shares,
        .delay_us = from->delay_us,
        .heeded_kib = from->target_kib,
        .heed_at_us = TIME_NEVER_US,
    };
    scenario_domain_name(from, index, d->name, d->uuid);
    sim_guest_behave(d, &from->guest, now_us);
}

void
sim_guest_behave(struct sim_domain *d, const struct guest_behaviour *guest,
                 int64_t now_us)
{
    d->guest = *guest;
    d->since_us = now_us;
    d->credit = 0;
    d->asleep_until_us = now_us;
    d->next_sleep_us = FIRST_SLEEP_US;
    d->balloon = sim_guest_has_balloon(d, now_us);
}

bool
sim_guest_has_balloon(const struct sim_domain *d, int64_t now_us)
{
    return d->guest.kind != GUEST_LATE ||
           now_us - d->since_us >= d->guest.time_us;
}

bool
sim_guest_is_dead(const struct sim_domain *d, int64_t now_us)
{
    return d->guest.kind == GUEST_VANISH &&
           now_us - d->since_us >= d->guest.time_us;
}

/* ------------------------------------------------------------- the targets */

static void
heed(struct sim_domain *d, int64_t now_us)
{
    d->heed_at_us = TIME_NEVER_US;
    if (d->heeded_kib == d->target_kib)
        return;
    d->heeded_kib = d->target_kib;
    d->asleep_until_us = now_us;
    d->next_sleep_us = FIRST_SLEEP_US;
}

/* Until it looks the guest goes on with the target it knows; what changes
 * while it is about to look, it sees then. */
void
sim_guest_notice(struct sim_domain *d, int64_t now_us)
{
    if (d->delay_us == 0)
        heed(d, now_us);
    else if (d->heed_at_us == TIME_NEVER_US)
        d->heed_at_us = now_us + d->delay_us;
}

/* Where the guest wants to be: its actual_kib where it is content. */
static uint64_t
goal_kib(const struct sim_domain *d)
{
    uint64_t above = d->heeded_kib + d->inaccuracy_kib;
    uint64_t below = sub_or_0(d->heeded_kib, d->inaccuracy_kib);
    uint64_t size = d->guest.size_kib;

    if (d->building)
        return max_u64(d->build_kib, d->actual_kib);
    if (d->actual_kib > above)
        return d->guest.kind == GUEST_FLOOR
                   ? min_u64(max_u64(above, size), d->actual_kib)
                   : above;
    if (d->actual_kib < below)
        return d->guest.kind == GUEST_CEILING
                   ? max_u64(min_u64(below, size), d->actual_kib)
                   : below;
    return d->actual_kib;
}

/* How far towards its goal it can get. */
static uint64_t
reach_kib(const struct sim_domain *d)
{
    uint64_t goal = goal_kib(d);

    if (goal > d->actual_kib)
        return max_u64(min_u64(goal, d->limit_kib), d->actual_kib);
    if (d->guest.kind == GUEST_BACKOFF && d->used_kib != USED_UNKNOWN)
        return min_u64(max_u64(goal, d->used_kib), d->actual_kib);
    return goal;
}

/* ------------------------------------------------------------ the movement */

/* Sticky guests are stuck every other time. */
static bool
is_sticking(const struct sim_domain *d, int64_t now_us)
{
    return (now_us - d->since_us) / d->guest.time_us % 2 != 0;
}

/* Does anything in the guest move at this time?  (A crawling one does so at
 * the ends of its times.) */
static bool
is_awake(const struct sim_domain *d, int64_t now_us)
{
    if (d->paused)
        return false;
    if (d->building)
        return true;
    switch (d->guest.kind) {
    case GUEST_STUCK:
        return false;
    case GUEST_STICKY:
        return !is_sticking(d, now_us);
    case GUEST_LATE:
        return d->balloon;
    case GUEST_BACKOFF:
        return now_us >= d->asleep_until_us;
    case GUEST_OBEDIENT:
    case GUEST_FLOOR:
    case GUEST_CEILING:
    case GUEST_CRAWL:
    case GUEST_VANISH:
        break;
    }
    return true;
}

uint64_t
sim_guest_stop_kib(const struct sim_domain *d, int64_t now_us)
{
    return is_awake(d, now_us) ? reach_kib(d) : d->actual_kib;
}

static bool
is_crawling(const struct sim_domain *d)
{
    return d->guest.kind == GUEST_CRAWL && !d->building;
}

bool
sim_guest_moves_evenly(const struct sim_domain *d)
{
    return !is_crawling(d);
}

static uint64_t
distance_kib(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* The ends of its times in (from, to]. */
static uint64_t
crawl_steps(const struct sim_domain *d, int64_t from_us, int64_t to_us)
{
    return (uint64_t)((to_us - d->since_us) / d->guest.time_us -
                      (from_us - d->since_us) / d->guest.time_us);
}

uint64_t
sim_guest_step_kib(struct sim_domain *d, int64_t from_us, int64_t to_us)
{
    uint64_t stop = sim_guest_stop_kib(d, from_us);
    uint64_t way = distance_kib(stop, d->actual_kib);
    unsigned __int128 sum;

    if (is_crawling(d))
        return min_u64(
            way, mul_div(crawl_steps(d, from_us, to_us), d->guest.size_kib, 1));
    if (way == 0 || d->credit_grows != (stop > d->actual_kib)) {
        d->credit = 0;
        d->credit_grows = stop > d->actual_kib;
    }
    if (way == 0)
        return 0;
    sum = (unsigned __int128)d->rate_kib * (uint64_t)(to_us - from_us) +
          d->credit;
    if (sum / CREDIT_PER_PAGE >= way / KIB_PER_PAGE) {
        d->credit = 0;
        return way;
    }
    d->credit = (uint64_t)(sum % CREDIT_PER_PAGE);
    return (uint64_t)(sum / CREDIT_PER_PAGE) * KIB_PER_PAGE;
}

void
sim_guest_move(struct sim_domain *d, uint64_t kib, bool grows, bool cut_short)
{
    d->actual_kib = grows ? d->actual_kib + kib : d->actual_kib - kib;
    if (cut_short)
        d->credit = 0;
    if (kib > 0)
        d->next_sleep_us = FIRST_SLEEP_US;
}

/* A driver whose next step would fail sleeps, each time longer. */
static void
back_off(struct sim_domain *d, bool no_room, int64_t now_us)
{
    uint64_t goal = goal_kib(d);
    bool grows = goal > d->actual_kib;

    if (d->building || now_us < d->asleep_until_us || goal == d->actual_kib)
        return;
    if (reach_kib(d) != d->actual_kib && !(grows && no_room))
        return;
    d->asleep_until_us = now_us + d->next_sleep_us;
    d->next_sleep_us = min_i64(d->next_sleep_us * 2, LAST_SLEEP_US);
}

void
sim_guest_instant(struct sim_domain *d, bool no_room, int64_t now_us)
{
    if (d->heed_at_us <= now_us)
        heed(d, now_us);
    if (d->guest.kind == GUEST_BACKOFF && !d->paused)
        back_off(d, no_room, now_us);
}

/* ------------------------------------------------------------- what is next */

/* The next whole time after now_us, counted from since_us. */
static int64_t
next_time_us(const struct sim_domain *d, int64_t now_us)
{
    return d->since_us +
           ((now_us - d->since_us) / d->guest.time_us + 1) * d->guest.time_us;
}

/* The next change of a guest that wants to be elsewhere. */
static int64_t
restless_event_us(const struct sim_domain *d, int64_t now_us)
{
    uint64_t reach = reach_kib(d);

    if (d->guest.kind == GUEST_STICKY || d->guest.kind == GUEST_CRAWL)
        return reach == d->actual_kib ? TIME_NEVER_US : next_time_us(d, now_us);
    if (d->guest.kind != GUEST_BACKOFF)
        return TIME_NEVER_US;
    if (now_us < d->asleep_until_us)
        return d->asleep_until_us;
    /* It will fail where it stops. */
    return reach == goal_kib(d) ? TIME_NEVER_US
                                : sim_guest_arrival_us(d, UINT64_MAX, now_us);
}

int64_t
sim_guest_event_us(const struct sim_domain *d, int64_t now_us)
{
    int64_t next = d->heed_at_us;

    if (d->guest.kind == GUEST_VANISH ||
        (d->guest.kind == GUEST_LATE && !d->balloon))
        next = min_i64(next, d->since_us + d->guest.time_us);
    if (d->building)
        return min_i64(next, sim_guest_arrival_us(d, UINT64_MAX, now_us));
    if (d->paused || goal_kib(d) == d->actual_kib)
        return next;
    return min_i64(next, restless_event_us(d, now_us));
}

int64_t
sim_guest_arrival_us(const struct sim_domain *d, uint64_t room_kib,
                     int64_t now_us)
{
    uint64_t stop = sim_guest_stop_kib(d, now_us);
    uint64_t way = distance_kib(stop, d->actual_kib), credit = 0;
    unsigned __int128 need;

    if (stop > d->actual_kib)
        way = min_u64(way, page_down(room_kib));
    if (way == 0)
        return TIME_NEVER_US;
    if (is_crawling(d))
        return next_time_us(d, now_us);
    if (d->credit_grows == (stop > d->actual_kib))
        credit = d->credit;
    need = (unsigned __int128)(way / KIB_PER_PAGE) * CREDIT_PER_PAGE - credit;
    need = (need + d->rate_kib - 1) / d->rate_kib;
    return need < INT64_MAX / 2 ? now_us + (int64_t)need : TIME_NEVER_US;
}

bool
sim_guest_moves(const struct sim_domain *d, uint64_t room_kib, int64_t now_us)
{
    if (d->heed_at_us != TIME_NEVER_US && d->heeded_kib != d->target_kib)
        return true;
    return sim_guest_arrival_us(d, room_kib, now_us) != TIME_NEVER_US;
}
