/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A machine on its way, and the steps of which xl_start.c makes a start:
 * xl_start_sizes.c knows what it needs, xl_start_broker.c asks for it.  A step
 * returns false where it failed, which it has told; .status is the exit status
 * then.  For these three files. */
#ifndef TOOLS_XL_START_H
#define TOOLS_XL_START_H

#include "tools/xl_config.h"
#include "tools/xl_run.h"
#include "tools/xl_squeeze.h"

#include "sq_limits.h"

#define CLIENT_NAME "xl-squeeze"
#define POLL_MS     100
/* Words of xl's command line. */
#define ARGV_MAX (2 * XL_WORDS_MAX + 16)

/* What is reserved, and what the machine is started with. */
struct amounts {
    uint64_t low_kib;  /* its memory at least */
    uint64_t high_kib; /* and at most */
    bool has_range;    /* squeezed may move it between range_… */
    uint64_t range_min_kib;
    uint64_t range_max_kib;
};

struct start {
    const struct xl_options *options;
    struct xl_machine machine;
    struct amounts amounts;
    const json_t *before; /* the status before anybody was asked */
    size_t squeezed_count;
    json_int_t squeezed_kib;
    int lock;                             /* -1: none */
    char reservation[LIMIT_ID_CHARS + 1]; /* "": none */
    uint64_t granted_kib;
    double took_ms;
    uint64_t memory_kib; /* it is started with */
    uint32_t domid;
    bool has_domid;
    bool started;     /* too late to take anything back */
    bool xl_ran;      /* there may be a domain of ours */
    bool broker_lost; /* it went meanwhile; the machine is built */
    int signal;       /* that came; 0 */
    int status;       /* of a step that failed */
};

bool
start_fail(struct start *s, int status);
/* The same after xl has ended; says what, unless a signal did it. */
bool
start_fail_with_xl(struct start *s, const char *what, const struct xl_run *run);
bool
start_is_restore(const struct start *s);
void
start_pause_ms(long ms);

/* xl_start_sizes.c */

/* Behind its own options xl takes the words of our caller, and no more options:
 * it stops at the first word that is none.  Returns how many there are now. */
size_t
start_add_words(const struct start *s, const char **argv, size_t n);
bool
start_read_sizes(struct start *s);
/* A restored machine has the memory that it had: xl can't give it another. */
bool
start_choose_amounts(struct start *s);
/* May it start with less than its maximum?  A PVH or HVM machine gets pages
 * then that don't exist yet, and dies without a balloon; xl refuses that with
 * passed-through devices and vNUMA. */
bool
start_may_be_small(const struct start *s);

/* xl_start_broker.c */

/* A broker that has just been started hasn't seen the host yet. */
void
start_ask_status(struct start *s, struct client_answer *ret);
/* What it doesn't work for is counted twice for a while, no more. */
bool
start_release_left_over(struct start *s);
bool
start_reserve(struct start *s);
/* Right after the grant, before others move. */
bool
start_compare(struct start *s);
bool
start_set_range(struct start *s);
/* Where the broker has matched it by UUID, it knows no such reservation any
 * more, or says that it has it. */
bool
start_transfer(struct start *s);
void
start_release(struct start *s);

#endif
