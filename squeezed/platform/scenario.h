/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scenarios: a simulated host, what happens to it, and what is expected of
 * the broker, read from an INI file into plain structs.  Nothing here acts:
 * the simulated platform takes the domains, the simulation the events. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "common/err.h"
#include "common/units.h"
#include "sq_limits.h"
#include "squeezed/core/policy.h"

#include <stdbool.h>

#define SCENARIO_NAME_CHARS 100
#define USED_UNKNOWN        UINT64_MAX

enum guest_kind {
    GUEST_OBEDIENT,
    GUEST_STUCK,   /* never moves */
    GUEST_FLOOR,   /* never shrinks below size */
    GUEST_CEILING, /* never grows above size */
    GUEST_STICKY,  /* free for time, stuck for time, and so on */
    GUEST_CRAWL,   /* at most size at the end of each time */
    GUEST_LATE,    /* has no balloon for time */
    GUEST_VANISH,  /* dies after time */
    GUEST_BACKOFF  /* a Linux driver: sleeps after a step that failed */
};

struct guest_behaviour {
    enum guest_kind kind;
    uint64_t size_kib;
    int64_t time_us;
};

/* "floor 512M": the kind and what belongs to it; false for anything else. */
bool
guest_behaviour_parse(const char *text, struct guest_behaviour *ret);

enum guest_type { GUEST_TYPE_PV, GUEST_TYPE_PVH, GUEST_TYPE_HVM };

const char *
guest_type_name(enum guest_type type);

/* Bits of scenario_domain.given: what the file said. */
enum scenario_domain_given {
    GIVEN_NAME = 1 << 0,
    GIVEN_COUNT = 1 << 1,
    GIVEN_UUID = 1 << 2,
    GIVEN_DYNAMIC_MIN = 1 << 3,
    GIVEN_DYNAMIC_MAX = 1 << 4,
    GIVEN_STATIC_MAX = 1 << 5,
    GIVEN_ACTUAL = 1 << 6,
    GIVEN_TARGET = 1 << 7,
    GIVEN_LIMIT = 1 << 8,
    GIVEN_USED = 1 << 9,
    GIVEN_GUEST = 1 << 10,
    GIVEN_OTHER = 1 << 11
};

/* A [domain N]; in a `build` event what is to be built.  Managed if both
 * dynamic keys were given. */
struct scenario_domain {
    uint32_t given;
    uint32_t domid; /* of the first */
    uint32_t count;
    char name[SCENARIO_NAME_CHARS];
    uint8_t uuid[UUID_BYTES];
    enum guest_type type;
    uint64_t static_min_kib;
    uint64_t dynamic_min_kib;
    uint64_t dynamic_max_kib;
    uint64_t static_max_kib;
    uint64_t actual_kib;
    uint64_t target_kib;
    uint64_t limit_kib;
    uint64_t used_kib; /* USED_UNKNOWN */
    uint64_t rate_kib; /* a second; at least a page */
    uint64_t inaccuracy_kib;
    uint64_t shares;
    int64_t delay_us;
    struct guest_behaviour guest;
};

/* A domain of nothing but defaults. */
void
scenario_domain_init(struct scenario_domain *domain);

/* Fills in the defaults that depend on other keys (and the name and the UUID)
 * and checks the whole.  amount_kib: what a domain is built with, the default
 * of `actual`; 0: none.  Returns NULL, or what is wrong, in buffer. */
#define SCENARIO_ERROR_CHARS 200
const char *
scenario_domain_complete(struct scenario_domain *domain, uint64_t amount_kib,
                         char buffer[SCENARIO_ERROR_CHARS]);

/* The name and the UUID of the index-th (from 0) of domain->count. */
void
scenario_domain_name(const struct scenario_domain *domain, uint32_t index,
                     char name[128], uint8_t uuid[UUID_BYTES]);

enum scenario_action {
    ACTION_NONE,
    ACTION_RESERVE,
    ACTION_RELEASE,
    ACTION_CANCEL,
    ACTION_BUILD,
    ACTION_DESTROY,
    ACTION_PAUSE,
    ACTION_UNPAUSE,
    ACTION_AUTO,
    ACTION_FREEZE,
    ACTION_THAW,
    ACTION_REBOOT,
    ACTION_RANGE,
    ACTION_TARGET,
    ACTION_DEMAND,
    ACTION_GUEST,
    ACTION_CONSUME,
    ACTION_BALANCE,
    ACTION_RESTART,
    ACTION_COUNT
};

const char *
scenario_action_name(enum scenario_action action);

enum outcome {
    OUTCOME_PENDING,
    OUTCOME_GRANTED,
    OUTCOME_REFUSED,
    OUTCOME_TIMEOUT,
    OUTCOME_CANCELLED,
    OUTCOME_COUNT
};

const char *
outcome_name(enum outcome outcome);

#define EVENT_NONE SIZE_MAX

struct scenario_event {
    unsigned line;
    uint32_t number;
    enum scenario_action action;
    int64_t at_us;      /* from the start, or from ... */
    uint32_t after;     /* the number of another event, and ... */
    size_t after_index; /* ... where it is; EVENT_NONE: from the start */
    uint32_t repeat;    /* carried out so often, */
    int64_t every_us;   /*   so far apart */
    uint32_t of;        /* release, cancel, build: whose requests */
    size_t of_index;    /* EVENT_NONE */
    uint32_t domid;     /* of the domain that it is about */
    bool domid_given;   /* build: else the next one */
    char client[LIMIT_CLIENT_CHARS + 1];
    uint64_t min_kib;
    uint64_t max_kib;
    uint32_t count;
    int64_t timeout_us;
    bool wait;
    int64_t hold_us;               /* -1: none */
    uint64_t size_kib;             /* target */
    int64_t consume_kib;           /* consume; negative gives back */
    struct scenario_domain domain; /* build; demand: used; guest: guest */
    /* What is expected of a request; OUTCOME_PENDING, ERR_NONE, -1 and
     * UINT64_MAX: nothing. */
    enum outcome expect;
    enum err expect_error;
    int64_t expect_within_us;
    uint64_t expect_amount_kib;
};

struct expected_target {
    uint32_t domid;
    uint64_t target_kib;
};

/* [expect]; UINT64_MAX or -1: nothing is expected. */
struct scenario_expect {
    uint64_t max_writes;
    int64_t settled_within_us;
    int64_t max_dip_ppm; /* millionths of what the guests held at start */
    uint64_t left_over_kib;
    struct expected_target *targets;
    size_t target_count;
};

struct scenario {
    char name[128]; /* of the file, without folder and suffix */
    uint64_t memory_kib;
    uint64_t reserve_kib;
    uint64_t cushion_kib;
    uint64_t tolerance_kib;
    const struct policy *policy;
    struct scenario_domain *domains; /* in the order of the file */
    size_t domain_count;
    struct scenario_event *events; /* in the order of the file */
    size_t event_count;
    struct scenario_expect expect;
};

/* Texts such as "domain 1.rate=100M" that stand over what the file says. */
struct scenario_settings {
    const char *const *texts;
    size_t count;
};

/* NULL with "FILE:LINE: what is wrong, with the value" in message.  settings
 * may be NULL. */
struct scenario *
scenario_read(const char *path, const struct scenario_settings *settings,
              char *message, size_t message_size);

/* The same for text in memory; name stands for the file. */
struct scenario *
scenario_read_text(const char *name, const char *text, size_t length,
                   const struct scenario_settings *settings, char *message,
                   size_t message_size);

void
scenario_free(struct scenario *scenario);

#endif
