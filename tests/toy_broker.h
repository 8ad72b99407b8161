/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A broker for the tests of what stands in front of it: it has broker.h's
 * functions, writes down what it was asked, and answers when and what the test
 * says. */
#ifndef TOY_BROKER_H
#define TOY_BROKER_H

#include "squeezed/broker.h"

enum { TOY_OPEN = 1024, TOY_DOMAINS = 4, TOY_ENTRIES = 4 };

struct toy_open {
    uint64_t seq;
    broker_reply *reply; /* NULL: taken back */
    void *arg;
};

struct broker {
    struct platform platform; /* describe() and health() only */
    struct platform_health health;
    struct planner planner;
    struct broker_view view;
    struct domain domains[TOY_DOMAINS];
    struct ledger_entry entries[TOY_ENTRIES];
    struct request queued[2];
    struct what_if what_if;
    bool invisible; /* the host was never seen */
    /* What was asked last, and which calls are open. */
    char asked[400];
    struct toy_open open[TOY_OPEN];
    size_t open_count;
    /* Everything but reserve and balance is answered at once with this. */
    bool at_once;
    struct result result;
    size_t cancelled, forgotten, undelivered;
    char undelivered_id[LIMIT_ID_CHARS + 1];
    /* Who follows: for the test to tell. */
    news_told *told;
    void *told_context;
};

/* A host with two domains, one reservation and one queued request that adds
 * up. */
void
toy_init(struct broker *broker);

int64_t
toy_now_us(void);
void
toy_set_now_us(int64_t now_us);

/* Answers the oldest open call; false if there is none. */
bool
toy_answer(struct broker *broker, const struct result *result);

/* The same with a granted reservation. */
bool
toy_grant(struct broker *broker, const char *id, uint64_t amount_kib);

#endif
