/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/appetite.h"

#include "squeezed/core/judge.h"

static uint64_t
lacking_kib(const struct domain *d)
{
    return sub_or_0(d->facts.target_kib, d->facts.actual_kib);
}

static void
set_cap(struct domain *d, uint64_t room_kib)
{
    uint64_t kib = d->facts.actual_kib + room_kib;

    d->judgement.sated_pages =
        kib >= d->upper_kib || kib / KIB_PER_PAGE > UINT32_MAX
            ? 0
            : (uint32_t)(page_up(kib) / KIB_PER_PAGE);
}

uint64_t
appetite_cap_kib(const struct domain *d)
{
    return d->judgement.sated_pages
               ? (uint64_t)d->judgement.sated_pages * KIB_PER_PAGE
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
    return d->judgement.sated_pages > 0 &&
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

    set_cap(d, max_u64(way / 2, APPETITE_STEP_KIB));
    open_window(d, now_us);
}

/* The same measure as for those that give. */
static void
watch(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;
    uint64_t wanted = max_u64(JUDGE_PROGRESS_KIB, j->window_work_kib / 100 *
                                                      JUDGE_PROGRESS_PERCENT);

    if (j->window_us == 0 || d->facts.actual_kib >= j->window_kib + wanted) {
        open_window(d, now_us);
    } else if (now_us - j->window_us >= JUDGE_STUCK_US) {
        set_cap(d, APPETITE_ROOM_KIB);
        j->window_us = 0;
    }
}

void
appetite_look(struct domain *d, int64_t now_us)
{
    struct judgement *j = &d->judgement;

    if (j->working || !d->movable)
        return;
    if (takes_all(d)) {
        if (now_us >= next_bite_us(d))
            widen(d, now_us);
    } else if (lacking_kib(d) > JUDGE_ACCURACY_KIB &&
               d->facts.target_kib <= appetite_cap_kib(d)) {
        watch(d, now_us);
    } else {
        j->window_us = 0;
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
