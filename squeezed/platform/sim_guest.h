/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One simulated domain, and how its guest moves: what it steers to, how fast,
 * and when something about it changes by itself.  Pure functions of the domain
 * and the time; the host around it (free memory, the store) is sim.c.
 *
 * Movement is exact: rates are KiB a second, time is in microseconds, and the
 * part of a page that is left over is carried on.  So what a guest holds at
 * some instant doesn't depend on how often it was looked at. */
#ifndef SIM_GUEST_H
#define SIM_GUEST_H

#include "squeezed/core/facts.h"
#include "squeezed/platform/scenario.h"

struct sim_domain {
    uint32_t domid;
    char name[128];
    uint8_t uuid[UUID_BYTES];
    enum guest_type type;
    bool building; /* grows to build_kib, then runs */
    bool paused;
    bool frozen;
    bool reboots; /* shut down, to be started again */
    bool dying;
    bool balloon;       /* its driver is there */
    bool uncooperative; /* bears the broker's mark */
    bool managed;       /* its range is good, or once was */
    char range_error[160];
    uint64_t static_min_kib, static_max_kib;
    uint64_t dynamic_min_kib, dynamic_max_kib; /* the last good ones */
    uint64_t ceiling_kib;                      /* CEILING_NONE */
    uint64_t actual_kib;
    uint64_t limit_kib;
    uint64_t target_kib; /* in the store */
    uint64_t build_kib;
    uint64_t built_limit_kib; /* its limit once it is built; 0: as it is */
    uint64_t used_kib;        /* USED_UNKNOWN */
    uint64_t rate_kib;        /* a second */
    uint64_t inaccuracy_kib;
    uint64_t shares;
    int64_t delay_us;
    struct guest_behaviour guest;
    int64_t since_us; /* its behaviour counts from here */
    /* The target that the guest follows, and when it looks at the one in the
     * store again (TIME_NEVER_US: not before that changes). */
    uint64_t heeded_kib;
    int64_t heed_at_us;
    uint64_t credit; /* KiB x microseconds / second that don't make a page */
    bool credit_grows;
    int64_t asleep_until_us; /* backoff */
    int64_t next_sleep_us;
    uint64_t target_writes; /* changed targets that were set by the broker */
};

/* From a completed scenario_domain; index counts its alike. */
void
sim_guest_init(struct sim_domain *domain, const struct scenario_domain *from,
               uint32_t index, int64_t now_us);

/* A new behaviour, counted from now. */
void
sim_guest_behave(struct sim_domain *domain, const struct guest_behaviour *guest,
                 int64_t now_us);

/* The target in the store has changed. */
void
sim_guest_notice(struct sim_domain *domain, int64_t now_us);

/* What it would hold if it moved as far as it can as things are now, its
 * limit considered and free memory not; its actual_kib if it doesn't move. */
uint64_t
sim_guest_stop_kib(const struct sim_domain *domain, int64_t now_us);

/* It moves at its rate, and not in steps. */
bool
sim_guest_moves_evenly(const struct sim_domain *domain);

/* How much it moves between from_us and to_us, not beyond its stop, and no
 * event of its own in between; takes the left-over part into credit. */
uint64_t
sim_guest_step_kib(struct sim_domain *domain, int64_t from_us, int64_t to_us);

/* It has moved by so much, of what it wanted to. */
void
sim_guest_move(struct sim_domain *domain, uint64_t kib, bool grows,
               bool cut_short);

/* What changes by itself at now_us: the delay ends, a driver that fails falls
 * asleep.  no_room: there is no free memory to grow into. */
void
sim_guest_instant(struct sim_domain *domain, bool no_room, int64_t now_us);

/* Is it dead by now? */
bool
sim_guest_is_dead(const struct sim_domain *domain, int64_t now_us);

/* Is its driver there by now? */
bool
sim_guest_has_balloon(const struct sim_domain *domain, int64_t now_us);

/* When its movement changes by itself, its arrival aside; TIME_NEVER_US. */
int64_t
sim_guest_event_us(const struct sim_domain *domain, int64_t now_us);

/* When it will be where it stops, with so much memory to grow into;
 * TIME_NEVER_US if it isn't on its way. */
int64_t
sim_guest_arrival_us(const struct sim_domain *domain, uint64_t room_kib,
                     int64_t now_us);

/* It is on its way, or about to be: a changed target or a step of a crawl. */
bool
sim_guest_moves(const struct sim_domain *domain, uint64_t room_kib,
                int64_t now_us);

#endif
