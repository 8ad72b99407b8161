/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker's own, for broker*.c and nobody else: its state, and what each of
 * these files does for the others.  broker.c has passes and questions,
 * broker_store.h whatever goes through the store. */
#ifndef BROKER_INTERNAL_H
#define BROKER_INTERNAL_H

#include "squeezed/broker.h"
#include "squeezed/core/condition.h"

/* What the planner need not know of a queued request; the same index. */
struct call {
    char client[LIMIT_CLIENT_CHARS + 1];
    broker_reply *reply;
    void *arg;
    int64_t hold_us; /* -1: none */
    bool has_uuid;
    uint8_t uuid[UUID_BYTES];
    char id[LIMIT_ID_CHARS + 1]; /* of its reservation; empty: to be made */
    bool planned;                /* a pass has considered it */
    bool reboots;          /* ours: more for what is kept under that UUID */
    uint64_t credited_kib; /* its kept_kib at the pass before */
};

/* A reply that is due, but not before its call has returned. */
struct late_reply {
    struct late_reply *next;
    uint64_t seq;
    broker_reply *reply;
    void *arg;
    struct result result;
};

struct waiter { /* for the balance */
    struct waiter *next;
    uint64_t seq;
    int64_t since_us;
    broker_reply *reply;
    void *arg;
};

/* Holds for reboots stand under this name in the ledger. */
#define BROKER_REBOOT_CLIENT "squeezed-reboot"
/* Why one of these ends when somebody else reserves under its UUID. */
#define BROKER_TAKEN_OVER "somebody has reserved for its domain"

enum {
    /* Looks cost at most a twentieth of the time, as the cheapest of the last
     * few tells: of a long pass we may have slept most. */
    LOOK_COST_FACTOR = 20,
    COSTS_KEPT = 4,
    /* The answer to `balance` comes at the latest then. */
    BALANCE_LIMIT_US = 30 * US_PER_S,
    /* A look that is no older will do for a question. */
    FRESH_US = 100 * US_PER_MS,
    /* While the host can't be seen. */
    RETRY_US = US_PER_S,
    /* The same plan is logged no more often. */
    SAME_PLAN_US = 10 * US_PER_S,
    /* While a reservation waits for a domain of its UUID.  No event tells of
     * that domain before it is built, and until it is known its memory and the
     * reservation are two things. */
    AWAITED_LOOK_US = 50 * US_PER_MS,
    /* For each domain, between comparisons of all of them. */
    WATCH_DOMAIN_US = 10
};

/* A domain as it was told of last. */
struct known_domain {
    uint32_t domid;
    uint8_t uuid[UUID_BYTES];
    enum domain_state state;
    bool bad_range;
};

struct broker {
    struct broker_options options;
    struct platform *platform;
    struct planner planner;
    struct plan plan;
    struct request requests[LIMIT_QUEUE];
    struct call calls[LIMIT_QUEUE];
    struct answer answers[LIMIT_QUEUE];
    struct ledger_entry entries[LIMIT_RESERVATIONS];
    struct late_reply *late;
    struct pending *pending;
    struct waiter *waiters;
    uint64_t last_seq;
    int64_t now_us; /* the last time that we were told */
    int64_t next_us;
    int64_t not_before_us;        /* looks come no earlier, calls apart */
    int64_t costs_us[COSTS_KEPT]; /* of the last passes, in turn */
    bool urgent;                  /* a call came in: look at once */
    bool loading, loaded, looked;
    bool host_visible; /* the last look was a good one */
    bool fresh; /* nothing is known to have changed since the last pass but
                 * what its planner knows of */
    int64_t last_pass_us;
    unsigned reconnects; /* of the platform, when the ledger was written */
    int64_t last_look_us;
    int64_t last_plan_us;
    char last_plan[160];
    char told_plan[160]; /* the one that was logged last, */
    int64_t told_us;     /*   which was then */
    size_t last_writes;
    uint64_t target_writes;
    uint64_t passes;
    /* Whom news are told, and what was told last. */
    news_told *told;
    void *told_context;
    struct known_domain *known, *known_spare; /* of the same size */
    size_t known_count, known_room;
    enum host_condition condition;
    bool condition_known;
    int64_t watched_us;
    bool store_known, store_connected;
    unsigned store_reconnects;
    uint64_t missing_kib;
    uint64_t thefts;
};

/* broker_memory.c: room for count domains in all of the planner's arrays. */

bool
broker_make_room(struct broker *broker, size_t count);
void
broker_free_room(struct broker *broker);

/* broker.c */

int64_t
broker_clock(const struct broker *broker);
/* Run at us, or earlier if that was planned. */
void
broker_wake_at(struct broker *broker, int64_t us);
/* A call came in: it has a pass of its own. */
void
broker_wake_for_call(struct broker *broker, int64_t now_us);
void
broker_reply_error(broker_reply *reply, void *arg, enum err error,
                   const char *parameter, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* A domain that has come since the last look counts, too; NULL: there is
 * none. */
struct domain *
broker_find_domain(struct broker *broker, uint32_t domid);

/* broker_queue.c */

/* Replies that were due before their calls had returned. */
void
broker_send_late_replies(struct broker *broker);
void
broker_free_late_replies(struct broker *broker);
void
broker_take_off_queue(struct broker *broker, size_t i);
/* Carries the plan's answers out.  Replies may call us again: the answers and
 * the debtors are copied or used before that can change them. */
void
broker_send_answers(struct broker *broker);
/* While the host can't be seen, nothing new is taken on; what was queued
 * before waits for its deadline.  A second of patience spares the clients of
 * a broker that has just started.  Returns when it is due again. */
int64_t
broker_answer_unready(struct broker *broker);

/* broker_news.c */

void
broker_tell(const struct broker *broker, const struct news *news);
/* Of a reservation. */
void
broker_tell_entry(const struct broker *broker, enum news_kind kind,
                  const struct ledger_entry *entry, const char *why);
/* What a pass has shown. */
void
broker_watch_pass(struct broker *broker);
void
broker_watch_store(struct broker *broker, const struct platform_health *health);

/* broker_reboot.c */

/* Domains that reboot leave what the next one of their UUID needs: before
 * anything is planned, as their memory comes free now. */
void
broker_keep_reboots(struct broker *broker, const struct snapshot *snapshot);
/* A request for what was lacking of that is granted. */
void
broker_keep_more(struct broker *broker, const struct request *request,
                 const struct call *call, uint64_t kib);
/* Requests for a domain whose memory is kept already need only the rest. */
void
broker_credit_reboots(struct broker *broker, const struct snapshot *snapshot);
/* What keeps memory for the next domain of that UUID, and can leave; returns
 * how many.  There is one; two if they were kept by different runs. */
enum { BROKER_KEPT_MAX = 4 };
size_t
broker_list_kept(struct broker *broker, const uint8_t uuid[UUID_BYTES],
                 struct ledger_entry *ret[BROKER_KEPT_MAX]);
/* A queued request needs only what is beyond that. */
bool
broker_is_counted_on(const struct broker *broker,
                     const uint8_t uuid[UUID_BYTES]);

/* broker_grant.c */

/* For what nobody waits for, and what is wanted all the same. */
void
broker_nobody_waits(void *arg, const struct result *result);
/* An entry that nobody asked for: staged, and stored. */
void
broker_hold(struct broker *broker, struct ledger_entry *entry, int64_t hold_us);
/* Stages, stores and then answers a granted request. */
void
broker_grant(struct broker *broker, const struct request *request,
             const struct call *call, uint64_t amount_kib);
/* It stands for what was kept for a reboot: that is still to come. */
void
broker_keep_undelivered(struct broker *broker, struct ledger_entry *entry);
/* The request's client has gone while its grant was being stored. */
void
broker_abandon(struct broker *broker, uint64_t seq);

/* broker_release.c */

/* Removes an entry, and says why in the log. */
void
broker_drop(struct broker *broker, struct ledger_entry *entry, const char *why);

/* broker_transfer.c */

/* Reservations that wait for a UUID get their domain: before anything is
 * planned, so that nobody is squeezed for both. */
void
broker_meet_domains(struct broker *broker, const struct snapshot *snapshot);

/* broker_ledger.c */

void
broker_load(struct broker *broker);
/* Entries whose hold has ended, or whose domain has gone, leave.  Returns when
 * it is due next. */
int64_t
broker_tend_ledger(struct broker *broker);
/* After xenstored came back: all of the ledger is stored anew. */
void
broker_rewrite_ledger(struct broker *broker);

/* broker_store.c */

/* Ends what the store still works on, without replies. */
void
broker_detach_pending(struct broker *broker);

#endif
