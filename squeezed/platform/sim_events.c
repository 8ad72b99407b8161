/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What others do to the simulated host: toolstacks, guests, people. */
#include "squeezed/platform/sim_internal.h"

#include <inttypes.h>
#include <stdio.h>

static void
touch(struct sim *s, bool tell)
{
    sim_pass_instant(s);
    s->changed |= tell;
    sim_tell_changed(s);
    sim_wake(s);
}

/* Something of a guest, NULL if there is none, was changed from outside: true
 * if it was. */
static bool
touched(struct sim *s, const struct sim_domain *d)
{
    if (d)
        touch(s, true);
    return d != NULL;
}

enum err
sim_build(struct platform *platform, const struct scenario_domain *from,
          uint64_t build_kib, bool limited)
{
    struct sim *s = sim_of(platform);
    struct scenario_domain empty = *from;
    struct sim_domain *d;

    if (sim_lookup(s, from->domid))
        return ERR_EXISTS;
    empty.actual_kib = 0;
    d = sim_insert(s, &empty, 0);
    if (!d)
        return ERR_NO_MEMORY;
    d->building = true;
    d->build_kib = page_down(build_kib);
    d->limit_kib = limited ? d->build_kib : 0;
    d->built_limit_kib = from->given & GIVEN_LIMIT ? from->limit_kib : 0;
    touch(s, true);
    return ERR_NONE;
}

bool
sim_destroy(struct platform *platform, uint32_t domid)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d)
        sim_delete(s, (size_t)(d - s->domains));
    return touched(s, d);
}

bool
sim_pause(struct platform *platform, uint32_t domid, bool paused)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d)
        d->paused = paused || d->reboots;
    return touched(s, d);
}

bool
sim_reboot(struct platform *platform, uint32_t domid)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d) {
        d->reboots = true;
        d->paused = true; /* it moves no more */
    }
    return touched(s, d);
}

bool
sim_drain(struct platform *platform, uint32_t domid, uint64_t kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d) {
        kib = min_u64(kib, d->actual_kib);
        d->dying = true;
        d->actual_kib -= kib;
        s->free_kib += kib;
    }
    return touched(s, d);
}

bool
sim_freeze(struct platform *platform, uint32_t domid, bool frozen)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d)
        d->frozen = frozen;
    return touched(s, d);
}

bool
sim_set_ceiling(struct platform *platform, uint32_t domid, uint64_t ceiling_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d)
        d->ceiling_kib = ceiling_kib;
    return touched(s, d);
}

static void
take_range(struct sim_domain *d, uint64_t min_kib, uint64_t max_kib)
{
    if (d->static_min_kib <= min_kib && min_kib <= max_kib &&
        max_kib <= d->static_max_kib) {
        d->managed = true;
        d->dynamic_min_kib = min_kib;
        d->dynamic_max_kib = max_kib;
        d->range_error[0] = '\0';
        return;
    }
    snprintf(d->range_error, sizeof d->range_error,
             "dynamic-min %" PRIu64 ", dynamic-max %" PRIu64
             " KiB: static-min %" PRIu64 " <= min <= max <= static-max %" PRIu64
             " must hold",
             min_kib, max_kib, d->static_min_kib, d->static_max_kib);
}

bool
sim_write_range(struct platform *platform, uint32_t domid,
                const uint64_t *min_kib, const uint64_t *max_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (!d)
        return false;
    if (min_kib && max_kib) {
        take_range(d, *min_kib, *max_kib);
    } else {
        d->managed = false;
        d->range_error[0] = '\0';
    }
    touch(s, true);
    return true;
}

static uint64_t
ceiling_of(const struct sim_domain *d, uint64_t target_kib)
{
    uint64_t lower_kib = max_u64(d->static_min_kib, d->dynamic_min_kib);
    uint64_t upper_kib = min_u64(d->dynamic_max_kib, d->static_max_kib);

    return max_u64(min_u64(target_kib, upper_kib), page_up(lower_kib));
}

bool
sim_write_target(struct platform *platform, uint32_t domid, uint64_t target_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (!d)
        return false;
    d->target_kib = page_down(target_kib);
    /* The manual method: the most that it is to have. */
    if (d->managed && !d->building)
        d->ceiling_kib = ceiling_of(d, d->target_kib);
    sim_guest_notice(d, s->now_us);
    touch(s, true);
    return true;
}

bool
sim_set_guest(struct platform *platform, uint32_t domid,
              const struct guest_behaviour *guest)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d) {
        bool balloon = d->balloon;

        sim_guest_behave(d, guest, s->now_us);
        touch(s, d->balloon != balloon);
    }
    return d != NULL;
}

bool
sim_set_used(struct platform *platform, uint32_t domid, uint64_t used_kib)
{
    struct sim *s = sim_of(platform);
    struct sim_domain *d = sim_lookup(s, domid);

    if (d) {
        d->used_kib = used_kib;
        touch(s, false);
    }
    return d != NULL;
}

int64_t
sim_consume(struct platform *platform, int64_t kib)
{
    struct sim *s = sim_of(platform);

    kib = min_i64(kib, (int64_t)s->free_kib);
    kib = max_i64(kib, -(int64_t)s->consumed_kib);
    s->free_kib = (uint64_t)((int64_t)s->free_kib - kib);
    s->consumed_kib = (uint64_t)((int64_t)s->consumed_kib + kib);
    touch(s, true);
    return kib;
}
