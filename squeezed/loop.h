/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's event loop: one libevent base, one timer for all that happens
 * at a time of its own, signals, and systemd's notifications.  The monotonic
 * clock is read here and nowhere else. */
#ifndef LOOP_H
#define LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Microseconds of CLOCK_MONOTONIC. */
int64_t
loop_now_us(void);

/* Something that has to be run when its time comes. */
struct loop_work {
    void *context;
    /* When; TIME_NEVER_US for not before loop_wake() was called. */
    int64_t (*next_us)(void *context);
    void (*run)(void *context, int64_t now_us);
};

enum { LOOP_WORKS = 8, LOOP_SIGNALS = 4 };

/* NULL if the system gives no event loop. */
struct loop *
loop_new(void);

void
loop_free(struct loop *loop);

struct event_base *
loop_base(struct loop *loop);

/* Those added first run first when they are due in the same instant. */
void
loop_add_work(struct loop *loop, const struct loop_work *work);

/* Some next_us has become earlier. */
void
loop_wake(struct loop *loop);

typedef void
loop_signal(void *context);

/* False without memory. */
bool
loop_add_signal(struct loop *loop, int number, loop_signal *handler,
                void *context);

/* Tells systemd that the daemon is ready, and runs until loop_stop().  False
 * if the loop broke. */
bool
loop_run(struct loop *loop);

/* No work is run after it. */
void
loop_stop(struct loop *loop);

#endif
