/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A broker on a simulated host, in virtual time. */
#ifndef TESTS_BROKER_STAGE_H
#define TESTS_BROKER_STAGE_H

#include "squeezed/broker.h"
#include "squeezed/platform/sim.h"
#include "tests/random.h"
#include "tests/suite.h"

#include <assert.h>

#define MIB    (UINT64_C(1) * KIB_PER_MIB)
#define GIB    (UINT64_C(1) * KIB_PER_GIB)
#define SECOND ((int64_t)US_PER_S)
#define MINUTE (60 * SECOND)

extern struct world {
    struct platform *platform;
    struct broker *broker;
    struct broker_options options;
    int64_t now_us;
    int64_t nap_us;  /* we aren't run for so long, */
    unsigned nap_in; /*   once, before the clock is read so many times */
    uint64_t ids;
    int64_t wall_off_ms; /* somebody set the clock */
} world;

/* What came of a call. */
struct reply {
    unsigned count;
    enum err error;
    char message[240];
    char parameter[64];
    char id[UUID_TEXT];
    uint64_t amount_kib;
    uint64_t free_kib;
    size_t domid_count;
    bool stored; /* at the moment of the reply */
};

/* By its id. */
bool
is_stored(const char *id);

/* A broker_reply; arg is the struct reply, which has to live until then. */
void
take_reply(void *arg, const struct result *result);

/* Another broker after the first was freed, as a restart does it. */
void
start_broker(void);

/* A host, with a broker that has not run yet. */
void
start(const char *scenario_text);

void
stop(void);

/* To the next thing that happens, no later than limit. */
void
step(int64_t limit_us);

void
run_for(int64_t us);

/* Four domains of 4 GiB, which can give 3 each; hardly anything is free. */
extern const char full_host[];

/* A minute's time-out, no hold; returns what cancels it. */
uint64_t
reserve(uint64_t min_kib, uint64_t max_kib, struct reply *reply);

/* Until it has been answered: up to 10 s. */
void
reserve_and_wait(uint64_t kib, struct reply *reply);

/* In the ledger, and no domain's: KiB. */
uint64_t
reserved(void);

/* The promise of all promises: what could be taken without us, and what was
 * promised, is there. */
int64_t
headroom(void);

void
order(uint32_t domid, struct domain_order wanted, struct reply *ret);

void
set_range(uint32_t domid, uint64_t min_kib, uint64_t max_kib,
          struct reply *ret);

uint32_t
build_domain(const struct reply *r, const uint8_t *uuid);

/* How every main ends: without processes of their own, so that asserts are
 * told with the seed of the last random run, which this file knows. */
static inline int
run_broker_suite(const char *name, TCase *tcase)
{
    Suite *suite = suite_create(name);
    int status;

    tcase_set_timeout(tcase, 0);
    suite_add_tcase(suite, tcase);
    status = run_suite(suite, CK_NOFORK);
    if (status != EXIT_SUCCESS)
        random_report();
    return status;
}

#endif
