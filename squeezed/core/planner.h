/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The planner: one pure function of (what was seen, who asks, the time) gives
 * what to set, what to answer and when to look again.  The broker carries it
 * out.  Nothing in here does I/O, reads a clock, logs or allocates. */
#ifndef CORE_PLANNER_H
#define CORE_PLANNER_H

#include "squeezed/core/host.h"
#include "squeezed/core/policy.h"

/* A request that waits for memory. */
struct request {
    uint64_t seq; /* rising in the order of arrival; never 0 */
    uint64_t min_kib;
    uint64_t max_kib; /* >= min_kib; a fixed amount when equal */
    bool wait;        /* stays queued while impossible */
    int64_t submitted_us;
    int64_t deadline_us;
    /* Of it, so much is kept for it already (its domain reboots): only what is
     * beyond that comes out of what all share. */
    uint64_t kept_kib;
    bool kept_comes; /* the old domain still holds it: no grant before */
    /* The planner's: */
    uint64_t want_kib; /* beyond what is kept; 0 until it was fixed */
};

struct request_queue {
    struct request *requests; /* in the order of arrival; the caller's */
    size_t count;
};

struct planner_settings {
    uint64_t host_reserve_kib;
    uint64_t cushion_kib;
    uint64_t tolerance_kib; /* unassigned memory that isn't worth a write */
    const struct policy *policy;
    int64_t interval_us; /* between looks when nothing moves */
};

/* The mark that tells others about a guest that has not given for long. */
enum mark { MARK_AS_IT_IS, MARK_UNCOOPERATIVE, MARK_COOPERATIVE };

/* Set this target and this limit (both in the frame of the facts).  Either may
 * be what it is already: then it isn't written again. */
struct setting {
    uint32_t domid;
    uint64_t target_kib;
    uint64_t limit_kib;
    bool grows; /* the limit goes up: it comes before the target */
    enum mark mark;
};

/* The end of a request. */
struct answer {
    uint64_t seq;
    enum err error;      /* ERR_NONE: granted; else cannot-free,
                          * uncooperative or timeout */
    uint64_t amount_kib; /* granted */
    uint64_t needed_kib; /* refused: its min ... */
    uint64_t free_kib;   /* ... what could be had at best ... */
    uint64_t short_kib;  /* ... and what is missing */
};

enum plan_why { PLAN_NOTHING, PLAN_REQUEST, PLAN_BALANCE, PLAN_OVERLOAD };

struct plan {
    struct setting *settings; /* room for each domain */
    size_t setting_count;
    struct answer *answers; /* room for each request */
    size_t answer_count;
    /* The guests that owe memory (for `uncooperative`, and for what a queued
     * request waits for); ascending, room for each domain. */
    uint32_t *debtors;
    size_t debtor_count;
    int64_t next_us; /* look again then */
    bool settled;    /* nothing moves, or nothing more can be done */
    enum plan_why why;
    uint64_t unmet_kib; /* wants that are still waited for */
    /* Of what was promised this much isn't there: somebody took it. */
    uint64_t missing_kib;
};

struct planner {
    struct planner_settings settings;
    struct host host;
    struct ledger ledger;
    struct request_queue queue;
    /* Scratch, room for each domain and one more for each request. */
    struct share_member *members;
    uint32_t *member_of; /* the index of its domain */
    size_t member_count; /* as of the last look */
    size_t grow_cursor;  /* whose turn it is to grow */
    /* What a request may have at once: after the last pass, less what was
     * given since; and the free memory that this pass saw. */
    int64_t spare_kib;
    uint64_t spare_free_kib;
};

/* Takes the look over, judges, decides.  The caller has to take granted and
 * refused requests off the queue and to stage what was granted before the
 * next pass.  plan's arrays are the caller's. */
void
planner_pass(struct planner *planner, const struct snapshot *snapshot,
             int64_t now_us, struct plan *plan);

/* What it would get, as of the last pass. */
uint64_t
planner_amount_kib(const struct request *request);

/* Grants a request of a fixed amount out of what the last pass left over,
 * without another pass, if nothing moved then and free_kib (what is free now)
 * is what was free then: what guests may take without us is no part of it
 * anyhow, but of what was taken nobody knows by whom, nor whether another gave
 * as much that it may take again.  For when no other request waits, and nothing
 * is known to have changed. */
bool
planner_grant_spare(struct planner *planner, const struct request *request,
                    uint64_t free_kib);

enum verdict { VERDICT_NOW, VERDICT_AFTER_SQUEEZE, VERDICT_IMPOSSIBLE };

struct what_if {
    enum verdict verdict;
    enum err error;      /* what reserve would be refused with */
    uint64_t amount_kib; /* what it would get */
    uint64_t free_kib;   /* what could be had at best */
    uint64_t short_kib;  /* what is missing, if impossible */
    int64_t eta_us;      /* -1 if unknown */
    /* What each domain would give: in host.domains[i].share_kib its target
     * then, to be compared with held_kib. */
};

/* What a request made now would get, as of the last pass; changes nothing but
 * the domains' share_kib. */
void
planner_what_if(struct planner *planner, uint64_t min_kib, uint64_t max_kib,
                int64_t now_us, struct what_if *ret);

/* Whether the domain can be built of amount_kib that is reserved for it, as of
 * the last look; when not, others took that memory and even the best squeeze
 * does not make it good.  All other reservations are given up for it: who comes
 * first can start.  *ret_short_kib: what is missing. */
enum err
planner_lacks(const struct planner *planner, const struct domain *domain,
              uint64_t amount_kib, int64_t now_us, uint64_t *ret_short_kib);

/* It is stuck and holds more than its minimum. */
bool
planner_is_debtor(const struct domain *domain, int64_t now_us);

/* What could be had at once, and after the best squeeze. */
void
planner_available(const struct planner *planner, int64_t now_us,
                  uint64_t *ret_now_kib, uint64_t *ret_squeezed_kib);

#endif
