/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/appetite.h"

#include "squeezed/core/judge.h"

/* In sated_pages: */
#define PAGES_MASK UINT32_C(0x7fffffff)
/* The cap was raised beyond where it was seen to rest. */
#define WIDENED UINT32_C(0x80000000)
/* Given less, it took less: it rests at a distance from whatever target it
 * has.  Holds until it is seen at one. */
#define DISTANT UINT32_MAX

static uint64_t
lacking_kib(const struct domain *d)
{
    return sub_or_0(d->facts.target_kib, d->facts.actual_kib);
}

static void
set_cap(struct domain *d, uint64_t room_kib, uint32_t widened)
{
    uint64_t kib = page_up(d->facts.actual_kib + room_kib);
    uint64_t pages = kib / KIB_PER_PAGE;

    d->judgement.sated_pages = kib >= d->upper_kib || pages >= PAGES_MASK
                                   ? 0
                                   : (uint32_t)pages | widened;
}

bool
appetite_is_capped(const struct domain *d)
{
    return d->judgement.sated_pages > 0 && d->judgement.sated_pages != DISTANT;
}

uint64_t
appetite_cap_kib(const struct domain *d)
{
    return appetite_is_capped(d)
               ? (uint64_t)(d->judgement.sated_pages & PAGES_MASK) *
                     KIB_PER_PAGE
               : UINT64_MAX;
}

static void
open_window(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;

    j->window_us = now_us;
    j->window_kib = d->facts.actual_kib;
    j->window_work_kib = lacking_kib(d);
}

/* It is nearly where it is capped. */
static bool
takes_all(const struct domain *d)
{
    return appetite_is_capped(d) &&
           d->facts.actual_kib + APPETITE_ROOM_KIB / 2 >= appetite_cap_kib(d);
}

static int64_t
next_bite_us(const struct domain *d)
{
    return d->judgement.window_us + JUDGE_WRITE_US;
}

/* Not all at once: it may have had enough after the next bite, and others give
 * it up for it. */
static void
widen(struct domain *d, int64_t now_us)
{
    uint64_t way = sub_or_0(d->upper_kib, d->facts.actual_kib);

    set_cap(d, max_u64(way / 2, APPETITE_STEP_KIB), WIDENED);
    open_window(d, now_us);
}

/* It does not take what it may. */
static void
cap(struct domain *d)
{
    struct judgement *j = &d->judgement;

    if (appetite_is_capped(d) && !(j->sated_pages & WIDENED))
        j->sated_pages = DISTANT;
    else
        set_cap(d, APPETITE_ROOM_KIB, 0);
    j->window_us = 0;
}

/* The same measure as for those that give. */
static void
watch(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    uint64_t wanted = max_u64(JUDGE_PROGRESS_KIB, j->window_work_kib / 100 *
                                                      JUDGE_PROGRESS_PERCENT);

    if (j->window_us == 0 || d->facts.actual_kib >= j->window_kib + wanted)
        open_window(d, now_us);
    else if (now_us - j->window_us >= JUDGE_STUCK_US)
        cap(d);
}

static void
rest(struct domain *d)
{
    struct judgement *j = &d->judgement;

    j->window_us = 0;
    if (j->sated_pages == DISTANT && lacking_kib(d) <= JUDGE_ACCURACY_KIB)
        j->sated_pages = 0;
}

void
appetite_look(struct domain *d, int64_t now_us)
{
    const struct judgement *j = &d->judgement;

    if (j->working || !d->movable)
        return;
    if (takes_all(d)) {
        if (now_us >= next_bite_us(d))
            widen(d, now_us);
    } else if (lacking_kib(d) > JUDGE_ACCURACY_KIB &&
               j->sated_pages != DISTANT &&
               d->facts.target_kib <= appetite_cap_kib(d)) {
        watch(d, now_us);
    } else {
        rest(d);
    }
}

int64_t
appetite_event_us(const struct domain *d)
{
    const struct judgement *j = &d->judgement;

    if (!d->movable || j->working || j->window_us == 0)
        return TIME_NEVER_US;
    return takes_all(d) ? next_bite_us(d) : j->window_us + JUDGE_STUCK_US;
}
