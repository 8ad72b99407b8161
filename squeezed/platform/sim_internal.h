/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The simulated host's own, for sim.c (what the broker sees of it), sim_time.c
 * (how time passes) and sim_events.c (what others do to it). */
#ifndef SIM_INTERNAL_H
#define SIM_INTERNAL_H

#include "squeezed/platform/sim.h"
#include "squeezed/platform/sim_store.h"

struct sim {
    struct platform platform; /* first: the ops get a pointer to it */
    int64_t now_us;
    uint64_t memory_kib;
    uint64_t free_kib;
    uint64_t consumed_kib;
    uint64_t target_writes;     /* of all, those that have gone too */
    struct sim_domain *domains; /* ascending domids */
    size_t count;
    size_t room;
    struct domain_facts *facts; /* of the last look; as much room */
    struct sim_store store;
    uint64_t seed;
    bool quiet;   /* no hooks in the middle of the broker's look */
    bool changed; /* the hook is due */
    void (*wake)(void *context);
    void *wake_context;
};

static inline struct sim *
sim_of(struct platform *platform)
{
    return (struct sim *)platform;
}

static inline const struct sim *
const_sim_of(const struct platform *platform)
{
    return (const struct sim *)platform;
}

/* sim.c */

/* NULL if it isn't there. */
struct sim_domain *
sim_lookup(const struct sim *s, uint32_t domid);
/* Its memory comes out of what is free.  NULL: no memory of our own. */
struct sim_domain *
sim_insert(struct sim *s, const struct scenario_domain *from, uint32_t index);
void
sim_delete(struct sim *s, size_t at);
/* The driver has to ask anew when we are due. */
void
sim_wake(struct sim *s);
/* The hook, where something has changed. */
void
sim_tell_changed(struct sim *s);

/* sim_time.c */

/* What is due at this very instant, movement aside. */
void
sim_pass_instant(struct sim *s);
/* All that happens until then; tells nobody. */
void
sim_pass_time(struct sim *s, int64_t now_us);

#endif
