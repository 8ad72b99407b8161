/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker: the shell around the core.  It looks, lets the planner decide,
 * carries the plan out through the platform, keeps the ledger stored and
 * answers the callers.  It does not know the loop, a clock, JSON or HTTP: the
 * daemon drives it in real time, tests and simulations in virtual time.
 *
 * Replies come exactly once.  broker_reserve never replies before it has
 * returned; the others may. */
#ifndef BROKER_H
#define BROKER_H

#include "squeezed/news.h"

struct broker;

struct broker_options {
    struct planner_settings planner;
    int64_t reboot_hold_us; /* memory is kept so long for a domain that
                             * reboots; 0: none */
    bool dry_run;           /* decide and log, but set no target and no limit */
    /* Makes an id for a reservation (a UUID); NULL: random. */
    void (*new_id)(void *context, char id[UUID_TEXT]);
    /* broker_next_us() is earlier than it was: the driver has to ask anew. */
    void (*wake)(void *context);
    /* The driver's clocks, for stamps: monotonic microseconds, the one that
     * every now_us below is from (NULL: the last now_us that was passed), and
     * the wall clock in milliseconds (NULL: stored holds never end). */
    int64_t (*now_us)(void *context);
    int64_t (*wall_ms)(void *context);
    void *context; /* of all of these */
};

/* The end of a call. */
struct result {
    enum err error;
    char message[240];     /* for people, with the numbers; empty if none */
    const char *parameter; /* ERR_INVALID: which one; ERR_BUSY: which limit */
    /* reserve, granted */
    const char *reservation; /* lives during the reply only */
    uint64_t amount_kib;
    int64_t took_us;   /* from submission to this reply */
    int64_t answer_us; /* from the first look that showed enough memory */
    /* reserve, refused */
    uint64_t needed_kib, free_kib, short_kib;
    const uint32_t *domids; /* lives during the reply only */
    size_t domid_count;
};

typedef void
broker_reply(void *arg, const struct result *result);

struct reserve_call {
    const char *client; /* [A-Za-z0-9_-]{1,64} */
    uint64_t min_kib;   /* 0 is allowed; rounded up to pages by us */
    uint64_t max_kib;
    int64_t timeout_us;
    bool wait;
    int64_t hold_us;     /* -1: none */
    const uint8_t *uuid; /* NULL: none */
    const char *id;      /* that the reservation gets; NULL: one is made */
};

/* platform stays the caller's and must outlive the broker.  NULL without
 * memory. */
struct broker *
broker_new(const struct broker_options *options, struct platform *platform,
           int64_t now_us);

/* Drops everything without replying: what a kill would do. */
void
broker_free(struct broker *broker);

/* Tells all that happens from now on, from within the other functions: told()
 * must not call the broker.  NULL: nobody any more. */
void
broker_follow(struct broker *broker, news_told *told, void *context);

/* New settings; queued requests and reservations stay. */
void
broker_reconfigure(struct broker *broker, const struct broker_options *options,
                   int64_t now_us);

/* When broker_run has to be called next. */
int64_t
broker_next_us(const struct broker *broker);

/* One pass: look, decide, act, answer. */
void
broker_run(struct broker *broker, int64_t now_us);

/* Returns the request's number, for broker_cancel; never 0. */
uint64_t
broker_reserve(struct broker *broker, const struct reserve_call *call,
               int64_t now_us, broker_reply *reply, void *arg);

/* The client has gone: no reply will come.  What was granted in the same
 * instant and not yet replied is released.  Nothing happens if the request has
 * been replied to. */
void
broker_cancel(struct broker *broker, uint64_t request, int64_t now_us);

/* Its reply did not reach the client: release it again. */
void
broker_undelivered(struct broker *broker, const char *reservation,
                   int64_t now_us);

void
broker_release(struct broker *broker, const char *reservation, int64_t now_us,
               broker_reply *reply, void *arg);

void
broker_transfer(struct broker *broker, const char *reservation, uint32_t domid,
                bool set_limit, int64_t now_us, broker_reply *reply, void *arg);

/* Drops the client's reservations that no domain owns. */
void
broker_login(struct broker *broker, const char *client, int64_t now_us,
             broker_reply *reply, void *arg);

/* Refused if it makes no sense for that domain; a ceiling is brought into the
 * range. */
void
broker_order(struct broker *broker, uint32_t domid,
             const struct domain_order *order, int64_t now_us,
             broker_reply *reply, void *arg);

/* The same, without another look, for who has just found the domain through
 * broker_planner(): one for each of thousands would take seconds. */
void
broker_order_seen(struct broker *broker, const struct domain *domain,
                  const struct domain_order *order, int64_t now_us,
                  broker_reply *reply, void *arg);

/* A domain's weight, as long as it is there. */
void
broker_set_shares(struct broker *broker, uint32_t domid, uint32_t shares);

/* Replies when the host is balanced or nothing more can be done, after 30 s
 * at the latest. */
void
broker_balance(struct broker *broker, int64_t now_us, broker_reply *reply,
               void *arg);

/* Takes a pending balance call back (its client has gone): no reply. */
void
broker_forget(struct broker *broker, void *arg);

/* The reservation of that id, in any state; NULL if there is none, or the
 * ledger was not read yet.  Lives until the next call. */
const struct ledger_entry *
broker_reservation(struct broker *broker, const char *id);

/* For status, plan and available; NULL while the host can't be seen. */
struct planner *
broker_planner(struct broker *broker);

/* One that was created a moment ago is found, too. */
bool
broker_has_domain(struct broker *broker, uint32_t domid, int64_t now_us);

/* In force now, be the host visible or not. */
const struct planner_settings *
broker_settings(const struct broker *broker);

struct broker_view {
    const char *platform;
    bool ready;           /* looked, and the ledger was read */
    int64_t last_plan_us; /* the last pass that set a target; 0 */
    char last_plan[160];  /* why */
    size_t last_writes;
    int64_t last_look_us;   /* the last good look */
    uint64_t target_writes; /* since the start */
    uint64_t passes;
    uint64_t thefts;      /* since the start */
    uint64_t missing_kib; /* of what was promised, now */
};

void
broker_view(const struct broker *broker, struct broker_view *ret);

/* The queued request number i, in order; NULL past the end. */
const struct request *
broker_queued(const struct broker *broker, size_t i, const char **ret_client);

/* The guests that queued requests wait for. */
const uint32_t *
broker_debtors(const struct broker *broker, size_t *ret_count);

#endif
