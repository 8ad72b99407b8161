/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The simulated host: the platform's ops over guests in software, and what
 * drivers and tests do to it behind the broker's back.
 *
 * The driver gives the time: sim_advance() moves everything up to now,
 * sim_deliver() completes what the store was asked for, sim_next_us() says
 * when something will happen next.  Nothing else reads a clock. */
#ifndef SIM_H
#define SIM_H

#include "squeezed/platform/platform.h"
#include "squeezed/platform/sim_guest.h"

/* The scenario's host and domains; its events are not carried out here.  NULL
 * without memory. */
struct platform *
sim_platform_new(const struct scenario *scenario, int64_t now_us);

/* Called when sim_next_us() may have become earlier by what the broker did.
 * May be NULL. */
void
sim_set_wake(struct platform *platform, void (*wake)(void *context),
             void *context);

/* Which guest goes first where free memory is short: 0 the lowest domid. */
void
sim_set_seed(struct platform *platform, uint64_t seed);

/* ------------------------------------------------------------------- time */

/* Moves everything up to now; earlier than the last time is ignored. */
void
sim_advance(struct platform *platform, int64_t now_us);

/* The next completion, event of a guest (it vanishes, gets its balloon, sees
 * its target, wakes up, takes a step) or arrival; TIME_NEVER_US. */
int64_t
sim_next_us(const struct platform *platform);

/* No guest is on its way, or about to be. */
bool
sim_at_rest(const struct platform *platform);

/* ------------------------------------------------------------- the store */

/* Completes what is due: never what was asked for meanwhile. */
void
sim_deliver(struct platform *platform);

/* Completions come so long after their call; 0 at first. */
void
sim_set_latency(struct platform *platform, int64_t latency_us);

/* The nth change of the ledger from now on (1: the next one) is not stored
 * and ends with error; 0: none. */
void
sim_fail_persist(struct platform *platform, unsigned nth, enum err error);

/* The broker has gone (it was freed): what it had asked for is stored, or
 * lost, and nobody is told. */
void
sim_settle_store(struct platform *platform, bool lost);

/* All that is stored is gone, as when a real store starts anew. */
void
sim_lose_store(struct platform *platform);

/* What is stored. */
const struct ledger_entry *
sim_ledger(const struct platform *platform, size_t *ret_count);

/* --------------------------------------------------- what others do to it */
/* All at the time of the last sim_advance().  False, or ERR_UNKNOWN_DOMAIN,
 * if there is no such domain. */

/* Somebody builds a domain: it grows from 0 to build_kib (no further than its
 * limit), then runs.  Its limit is 0 until a transfer sets it; limited sets it
 * at once.  from was completed with build_kib.  ERR_EXISTS: the domid is in
 * use. */
enum err
sim_build(struct platform *platform, const struct scenario_domain *from,
          uint64_t build_kib, bool limited);

bool
sim_destroy(struct platform *platform, uint32_t domid);

bool
sim_pause(struct platform *platform, uint32_t domid, bool paused);

/* It has shut down to be started again; sim_destroy() follows, or before that
 * its pages go, some at a time. */
bool
sim_reboot(struct platform *platform, uint32_t domid);
bool
sim_drain(struct platform *platform, uint32_t domid, uint64_t kib);

bool
sim_freeze(struct platform *platform, uint32_t domid, bool frozen);

/* The manual target; CEILING_NONE: none. */
bool
sim_set_ceiling(struct platform *platform, uint32_t domid,
                uint64_t ceiling_kib);

/* Writes of the range by somebody else; NULL: the key is removed.  A bad pair
 * is reported, and the last good one stays; without both it is unmanaged. */
bool
sim_write_range(struct platform *platform, uint32_t domid,
                const uint64_t *min_kib, const uint64_t *max_kib);

/* Somebody else's write: the manual method, where it is managed. */
bool
sim_write_target(struct platform *platform, uint32_t domid,
                 uint64_t target_kib);

bool
sim_set_guest(struct platform *platform, uint32_t domid,
              const struct guest_behaviour *guest);

bool
sim_set_used(struct platform *platform, uint32_t domid, uint64_t used_kib);

/* Somebody takes free memory; negative gives it back.  No more than there is.
 * Returns what was taken. */
int64_t
sim_consume(struct platform *platform, int64_t kib);

/* -------------------------------------------------------------- questions */

/* All domains, ascending; until the next call that may change them. */
const struct sim_domain *
sim_domains(const struct platform *platform, size_t *ret_count);

/* NULL if there is none. */
const struct sim_domain *
sim_find(const struct platform *platform, uint32_t domid);

uint64_t
sim_free_kib(const struct platform *platform);

uint64_t
sim_consumed_kib(const struct platform *platform);

/* Changed targets that the broker has set, in all. */
uint64_t
sim_target_writes(const struct platform *platform);

/* free + what the domains hold + consumed is all memory, and the list of
 * domains is in order. */
bool
sim_adds_up(const struct platform *platform);

#endif
