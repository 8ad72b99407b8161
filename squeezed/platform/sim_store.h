/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store of a simulated host: the ledger, as it would survive the broker,
 * and what is on its way to it.  For sim*.c only. */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include "squeezed/platform/platform.h"

struct sim_pending;

struct sim_store {
    struct ledger_entry *entries;
    size_t count;
    size_t room;
    struct sim_pending *first, **last; /* in the order of their calls */
    int64_t latency_us;
    unsigned fail_nth;
    enum err fail_error;
    /* A transfer that sets the domain's limit. */
    void (*set_limit)(void *context, uint32_t domid, uint64_t limit_kib);
    void *context;
};

void
sim_store_init(struct sim_store *store,
               void (*set_limit)(void *context, uint32_t domid,
                                 uint64_t limit_kib),
               void *context);

/* Drops what is pending. */
void
sim_store_done(struct sim_store *store);

void
sim_store_change(struct sim_store *store, const struct ledger_change *changes,
                 size_t count, int64_t now_us, platform_done *done, void *arg);

void
sim_store_load(struct sim_store *store, int64_t now_us, platform_loaded *done,
               void *arg);

/* Only the completion. */
void
sim_store_complete(struct sim_store *store, enum err error, int64_t now_us,
                   platform_done *done, void *arg);

/* When the next completion is due; TIME_NEVER_US. */
int64_t
sim_store_next_us(const struct sim_store *store);

void
sim_store_deliver(struct sim_store *store, int64_t now_us);

/* All that is pending is stored, or lost, and completed at once. */
void
sim_store_settle(struct sim_store *store, bool lost);

#endif
