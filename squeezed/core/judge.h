/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Judging guests by how their balloons behave: at what rate a guest gives, at
 * which small distance from its target it rests, whether it lags behind the
 * others, and whether it is stuck.  Judgements expire.  Pure. */
#ifndef CORE_JUDGE_H
#define CORE_JUDGE_H

#include "squeezed/core/host.h"

enum {
    /* Stuck: gave less than max(1 MiB, 1 % of its work) in 5 s (XAPI's 5 s;
     * a Linux driver backs off for 1, 2, 4 s first). */
    JUDGE_STUCK_US = 5 * US_PER_S,
    JUDGE_PROGRESS_KIB = KIB_PER_MIB,
    JUDGE_PROGRESS_PERCENT = 1,
    /* A Linux driver that failed sleeps for up to 32 s; a changed target wakes
     * it.  Without a sign of life for so long it gets one. */
    JUDGE_POKE_US = JUDGE_STUCK_US / 2,
    /* A guest that misbehaves gets at most one target in so long. */
    JUDGE_WRITE_US = US_PER_S,
    /* Stuck for so long, with tries in between: marked as uncooperative. */
    JUDGE_UNCOOPERATIVE_US = 20 * US_PER_S,
    /* How long that verdict holds. */
    JUDGE_EXPIRY_US = 20 * US_PER_S,
    /* How long it is remembered below what it would not go. */
    JUDGE_FLOOR_US = 600 * US_PER_S,
    /* A guest that has not moved for so long is at rest, or lags. */
    JUDGE_STILL_US = 100 * US_PER_MS,
    /* Rates are averaged over at least so long. */
    JUDGE_RATE_US = 20 * US_PER_MS,
    /* At rest this near to its target it has done what it can: a PVH guest
     * ends 64 KiB above (measured), older toolstacks leave 1 MiB. */
    JUDGE_ACCURACY_KIB = KIB_PER_MIB
};

/* Once after each look, for each domain, before anything is planned. */
void
judge_look(struct domain *domain, int64_t now_us);

/* Its target goes to target_kib now, below what it holds. */
void
judge_ask(struct domain *domain, uint64_t target_kib, int64_t now_us);

/* Its target goes up now, above what it holds. */
void
judge_raise(struct domain *domain, int64_t now_us);

/* It is on its way, in either direction, or was sent just now. */
bool
judge_is_moving(const struct domain *domain, int64_t now_us);

/* It dies and gives its pages back.  One that keeps some for long (others have
 * mapped them) is left to the usual looks. */
bool
judge_is_leaving(const struct domain *domain, int64_t now_us);

bool
judge_is_stuck(const struct domain *domain, int64_t now_us);

/* Is it time to wake its driver? */
bool
judge_needs_poke(const struct domain *domain, int64_t now_us);

/* The same, and it is woken: true once in a window. */
bool
judge_poke(struct domain *domain, int64_t now_us);

/* It was stuck, and is being tried again: nobody counts on it. */
bool
judge_is_retried(const struct domain *domain);

bool
judge_is_uncooperative(const struct domain *domain, int64_t now_us);

/* The mark that it bears is not the one that it deserves. */
bool
judge_mark_changes(const struct domain *domain, int64_t now_us);

/* It has lagged for as long as would make a guest stuck. */
bool
judge_is_slow(const struct domain *domain, int64_t now_us);

/* What it will have given within horizon_us (-1: not known) of what it owes,
 * by its rate; 0 for one that lags already or has not moved for long. */
uint64_t
judge_gift_kib(const struct domain *domain, int64_t horizon_us, int64_t now_us);

/* It lags: others are asked for what it won't have given in remaining_us.
 * Stays so until judge_relax() or its work is done, so that others are asked
 * once and not at each look. */
void
judge_lag(struct domain *domain, int64_t remaining_us, int64_t now_us);

/* It was moving when it began to lag, and has stopped before it got as far as
 * was expected of it. */
bool
judge_fell_short(const struct domain *domain, int64_t now_us);

/* Nobody waits any more. */
void
judge_relax(struct domain *domain);

/* What it rests above its target, as far as its limit (with the extra that Xen
 * allows it) does not cover that anyway; nothing for one below its minimum,
 * which can only be raised. */
uint64_t
judge_slack_kib(const struct domain *domain);

/* What it is known to hold at least: its lower bound, or above that what it
 * was last seen to be stuck at.  It is asked for less all the same, with
 * nobody counting on it: it may have come to life. */
uint64_t
judge_known_floor_kib(const struct domain *domain, int64_t now_us);

/* What it would hold at least if asked for all: its lower bound and what it
 * rests above a target; what it holds when it is stuck, but no less than its
 * lower bound. */
uint64_t
judge_floor_kib(const struct domain *domain, int64_t now_us);

#endif
