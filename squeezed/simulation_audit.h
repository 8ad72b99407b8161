/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Watches a simulation: adds up the host with sums of its own, not the
 * broker's, and notes where a promise is broken.  For simulation_run.c. */
#ifndef SIMULATION_AUDIT_H
#define SIMULATION_AUDIT_H

#include "squeezed/simulation_run.h"

/* What was seen of a domain before. */
struct audited_domain {
    uint32_t domid;
    uint8_t uuid[UUID_BYTES];
    bool from_start;
    uint64_t start_kib;         /* held at the start */
    uint64_t writes;            /* that were checked */
    uint64_t writes_at_request; /* when the first one was submitted */
};

struct audit {
    const struct scenario *scenario;
    struct simulation_results *results; /* violations and failures go there */
    int64_t start_us;
    struct audited_domain *domains; /* one for each that is there, in order */
    size_t domain_count;
    size_t start_count;
    uint64_t start_kib; /* what they all held */
    int64_t floor_kib;  /* headroom may not fall below it: 0, or what theft
                         * has left */
    bool seen;          /* min_headroom_kib says something */
    uint64_t dom0_kib;  /* what domain 0 holds while nobody manages it */
    bool dom0_managed;
    bool check_ledger;    /* after a restart */
    size_t hopeless_next; /* the first request that was not looked at */
    size_t hopeless_done;
    int64_t max_dip_kib;
    int64_t settled_us;    /* nothing has changed since */
    uint64_t first_writes; /* the most writes of one domain for the first
                            * request, once it was answered */
    bool first_done;
};

bool
audit_init(struct audit *audit, const struct scenario *scenario,
           struct platform *sim, struct simulation_results *results,
           int64_t now_us);

void
audit_done(struct audit *audit);

/* Memory that nobody may take without the broker; the cushion is not. */
int64_t
audit_headroom_kib(const struct scenario *scenario, const struct platform *sim);

/* Somebody took memory behind the broker's back (which may be NULL). */
void
audit_taken(struct audit *audit, const struct platform *sim,
            struct broker *broker);

/* Request i is about to be submitted. */
void
audit_submit(struct audit *audit, const struct platform *sim, size_t i);

/* The broker is about to make a pass, and has made it: what can't be had has
 * to be refused in that one. */
void
audit_before_pass(struct audit *audit, const struct simulation_now *now,
                  const struct simulation *simulation);

void
audit_after_pass(struct audit *audit, const struct simulation_now *now,
                 const struct simulation *simulation);

/* After everything that may have changed something. */
void
audit_look(struct audit *audit, const struct simulation_now *now,
           const struct simulation *simulation);

/* At the end: promises that only show then, and the expectations.  rested: it
 * came to rest by itself. */
void
audit_end(struct audit *audit, const struct simulation_now *now,
          const struct simulation *simulation, bool rested);

/* "unassigned memory is below the tolerance, or nobody can take more". */
bool
audit_is_settled(const struct audit *audit, const struct simulation_now *now);

#endif
