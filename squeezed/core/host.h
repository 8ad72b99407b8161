/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host model: the domains as the core knows them (facts, judgement, what
 * was planned), and the accounting over them. */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include "squeezed/core/facts.h"
#include "squeezed/core/ledger.h"

#include <stdbool.h>

enum domain_state {
    DOMAIN_STATE_OK,
    DOMAIN_STATE_SLOW,
    DOMAIN_STATE_STUCK,
    DOMAIN_STATE_BOOTING,
    DOMAIN_STATE_PAUSED,
    DOMAIN_STATE_FROZEN,
    DOMAIN_STATE_UNMANAGED,
    DOMAIN_STATE_DYING
};

/* "ok", "slow", ...: the names in status. */
const char *
domain_state_name(enum domain_state state);

/* What is known of how a guest's balloon behaves: see judge.h. */
struct judgement {
    int64_t window_us;        /* the progress that keeps it from being stuck, or
                               * sated, */
    uint64_t window_kib;      /*   is measured from here: actual at window_us */
    uint64_t window_work_kib; /* and the work then */
    int64_t seen_us;          /* the look before: */
    uint64_t seen_kib;        /*   actual then */
    int64_t rate_us;          /* the next measurement of the rate begins: */
    uint64_t rate_from_kib;   /*   actual at rate_us */
    int64_t leaving_us;       /* dying: first seen so, or last seen to give */
    uint64_t floor_kib;     /* it was stuck there, and has not given since; 0 */
    int64_t floor_until_us; /*   no longer known then */
    int64_t raised_us;      /* when it was last allowed to grow */
    /* The rest is read by every walk. */
    int64_t asked_us;       /* when its work began (its target was lowered) */
    int64_t moved_us;       /* when it was last seen to give */
    uint64_t rate_kib_s;    /* how fast it gives; 0: never seen */
    int64_t stuck_until_us; /* the verdict expires then; 0: not stuck */
    int64_t stuck_since_us; /* the first verdict since it last gave; 0 */
    uint64_t slack_kib;     /* it rests this far above its target */
    uint64_t reach_kib;     /* lagging: what it is expected to hold at best */
    bool poked;             /* in this window, by a changed target */
    bool moving;            /* it was seen to move at the last look */
    bool working;           /* it owes, and asked_us and window are set */
    bool lagging;           /* others are asked for what it won't reach */
    uint32_t sated_pages;   /* see appetite.c; 0 for nearly all */
};

/* Whether a guest balloons at all: see probe.h. */
struct probe {
    bool proven;
    bool cramped;        /* it is time, and there is no room for it */
    int64_t started_us;  /* 0: none under way */
    int64_t stopped_us;  /* the last one; 0: none yet */
    int64_t next_us;     /* the next one, if nobody waits for memory */
    int64_t pause_us;    /* the pause before that */
    uint64_t actual_kib; /* at started_us: */
    uint64_t old_target_kib;
    uint64_t old_limit_kib;
};

/* With thousands of domains a pass takes as long as their memory takes to
 * come: the first walk of a pass (look and judge) reads all of a domain, the
 * later ones the end of its judgement, what follows, and the beginning of the
 * facts.  So that is one piece, and as short as can be. */
struct domain {
    struct judgement judgement;
    bool movable;     /* managed, balloons, and may be touched now */
    bool touchable;   /* the same, but for its balloon */
    bool hopeless;    /* below its minimum, and that can't be had for it */
    bool unstored;    /* its promise is not stored as its own: it doesn't grow,
                       * as a restart would count that beside the promise */
    uint32_t setting; /* of the planner: its place in the plan, from 1; 0 */
    /* Derived at each look. */
    uint64_t held_kib;  /* max(limit, actual - extra): what its target can
                         * free; a limit of held_kib + x costs just x */
    uint64_t lower_kib; /* the range that its target is kept in, */
    uint64_t upper_kib; /*   its ceiling considered */
    /* Scratch of the planner. */
    uint64_t share_kib;     /* the policy's target for it */
    uint64_t next_kib;      /* the target that this pass gives it */
    uint64_t grow_step_kib; /* on a long way up: what is worth a write */
    struct domain_facts facts;
    uint64_t promise_kib;   /* of a reservation that it owns */
    uint64_t committed_kib; /* what it could hold without asking us */
    struct probe probe;
    uint64_t kept_kib; /* rebooting: of what it holds, so much is kept */
    bool reboot_heard; /*   for the next one; that was seen to */
    uint32_t shares;   /* its weight, for policies to come; 0: as usual, 1000 */
};

/* Sums over the host at one look, KiB.  They add up:
 * free + scrub = reserve + cushion + reserved + growth_allowed + promised
 * + headroom,  total = free + scrub + domains + xen. */
struct host_sums {
    uint64_t total_kib;
    uint64_t free_kib;
    uint64_t scrub_kib;
    uint64_t host_reserve_kib;
    uint64_t cushion_kib;
    uint64_t reserved_kib;
    uint64_t domains_kib;        /* what the domains hold, offsets included */
    uint64_t growth_allowed_kib; /* what they may take without asking */
    uint64_t promised_kib;       /* what was promised to them beyond that */
    int64_t headroom_kib;        /* may be negative */
    uint64_t xen_kib;
};

struct host {
    struct domain *domains; /* ascending domids; the caller's memory */
    size_t count;
    size_t capacity;
    uint64_t total_kib;
    uint64_t free_kib;
    uint64_t scrub_kib;
    /* Sums over the domains, kept by what changes them. */
    uint64_t domains_kib;
    uint64_t growth_allowed_kib;
    uint64_t promised_kib;
    size_t building; /* domains under construction */
};

/* Takes the facts of a look over: domains that came, went or changed, with
 * the judgement of those that stayed.  A domid that comes back as another
 * domain (its UUID differs) starts anew.  snapshot->count must not exceed
 * host->capacity. */
void
host_look(struct host *host, const struct snapshot *snapshot,
          const struct ledger *ledger);

/* The same in parts, for who has something to do with each domain on the way:
 * host_begin(), host_take() for each index of the snapshot in turn, which
 * returns that domain, host_end(). */
void
host_begin(struct host *host, const struct snapshot *snapshot);
struct domain *
host_take(struct host *host, const struct snapshot *snapshot, size_t i);
void
host_end(struct host *host, const struct snapshot *snapshot,
         const struct ledger *ledger);

/* What the ledger promises, once more: after promises have ended. */
void
host_set_promises(struct host *host, const struct ledger *ledger);

/* What the next domain of its UUID needs after a reboot under xl: its target,
 * what it holds beside that, and what libxl lets it hold beyond that. */
uint64_t
host_reboot_kib(const struct domain *domain);

/* What of that is committed to this domain: keeping it costs nothing. */
uint64_t
host_reboot_own_kib(const struct domain *domain);

/* What it still holds of what is kept for that one. */
uint64_t
host_reboot_held_kib(const struct domain *domain);

/* The domain that shuts down and still holds what this entry keeps for the next
 * one; NULL: the entry keeps nothing of that kind, or the domain has gone. */
struct domain *
host_carrier(const struct host *host, const struct ledger_entry *entry);

/* NULL if there is none. */
struct domain *
host_find(const struct host *host, uint32_t domid);

enum domain_state
host_domain_state(const struct domain *domain, int64_t now_us);

/* As of the last host_look. */
void
host_sum(const struct host *host, const struct ledger *ledger,
         uint64_t host_reserve_kib, uint64_t cushion_kib,
         struct host_sums *ret);

#endif
