/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/loop.h"

#include "common/units.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

struct loop_handler {
    struct event *event;
    loop_signal *handler;
    void *context;
};

struct loop {
    struct event_base *base;
    struct event *timer;
    struct event *watchdog; /* NULL if systemd doesn't want one */
    struct loop_work works[LOOP_WORKS];
    unsigned work_count;
    struct loop_handler handlers[LOOP_SIGNALS];
    unsigned handler_count;
};

int64_t
loop_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static void
notify(const char *state)
{
#ifdef HAVE_LIBSYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

/* 0: systemd doesn't watch us. */
static int64_t
watchdog_us(void)
{
    uint64_t us = 0;

#ifdef HAVE_LIBSYSTEMD
    if (sd_watchdog_enabled(0, &us) <= 0 || us > INT64_MAX)
        return 0;
#endif
    return (int64_t)us;
}

static void
arm(struct event *event, int64_t delay_us)
{
    struct timeval delay = { .tv_sec = (time_t)(delay_us / US_PER_S),
                             .tv_usec = (suseconds_t)(delay_us % US_PER_S) };

    event_add(event, &delay);
}

static int64_t
next_us(const struct loop *loop)
{
    int64_t next = TIME_NEVER_US;

    for (unsigned i = 0; i < loop->work_count; i++) {
        const struct loop_work *work = &loop->works[i];

        next = min_i64(next, work->next_us(work->context));
    }
    return next;
}

void
loop_wake(struct loop *loop)
{
    int64_t next = next_us(loop);

    if (next == TIME_NEVER_US)
        event_del(loop->timer);
    else
        arm(loop->timer, max_i64(next - loop_now_us(), 0));
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;

    (void)fd, (void)what;
    for (unsigned i = 0; i < loop->work_count; i++) {
        const struct loop_work *work = &loop->works[i];
        int64_t now = loop_now_us();

        if (work->next_us(work->context) <= now)
            work->run(work->context, now);
        if (event_base_got_break(loop->base))
            return;
    }
    loop_wake(loop);
}

static void
on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    notify("WATCHDOG=1");
}

static void
on_signal(evutil_socket_t number, short what, void *arg)
{
    const struct loop_handler *handler = arg;

    (void)number, (void)what;
    handler->handler(handler->context);
}

/* Precise timers: the others are late by up to a tick of the kernel, and a
 * look while a request waits is due within 5 ms. */
static struct event_base *
base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    if (config == NULL)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER |
                                      EVENT_BASE_FLAG_NO_CACHE_TIME);
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct loop *
loop_new(void)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL)
        return NULL;
    loop->base = base_new();
    if (loop->base != NULL)
        loop->timer = evtimer_new(loop->base, on_timer, loop);
    if (loop->timer == NULL) {
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void
loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    for (unsigned i = 0; i < loop->handler_count; i++)
        event_free(loop->handlers[i].event);
    if (loop->watchdog != NULL)
        event_free(loop->watchdog);
    if (loop->timer != NULL)
        event_free(loop->timer);
    if (loop->base != NULL)
        event_base_free(loop->base);
    free(loop);
}

struct event_base *
loop_base(struct loop *loop)
{
    return loop->base;
}

void
loop_add_work(struct loop *loop, const struct loop_work *work)
{
    assert(loop->work_count < LOOP_WORKS);
    loop->works[loop->work_count++] = *work;
}

bool
loop_add_signal(struct loop *loop, int number, loop_signal *handler,
                void *context)
{
    struct loop_handler *new = &loop->handlers[loop->handler_count];

    assert(loop->handler_count < LOOP_SIGNALS);
    new->handler = handler;
    new->context = context;
    new->event = evsignal_new(loop->base, number, on_signal, new);
    if (new->event == NULL)
        return false;
    loop->handler_count++;
    return event_add(new->event, NULL) == 0;
}

/* At twice the pace that systemd asks for, so that one late look is no
 * death. */
static void
start_watchdog(struct loop *loop)
{
    int64_t us = watchdog_us();
    struct timeval period = { .tv_sec = (time_t)(us / 2 / US_PER_S),
                              .tv_usec = (suseconds_t)(us / 2 % US_PER_S) };

    if (us == 0)
        return;
    loop->watchdog = event_new(loop->base, -1, EV_PERSIST, on_watchdog, loop);
    if (loop->watchdog != NULL)
        event_add(loop->watchdog, &period);
}

bool
loop_run(struct loop *loop)
{
    start_watchdog(loop);
    loop_wake(loop);
    notify("READY=1");
    int result = event_base_dispatch(loop->base);
    notify("STOPPING=1");
    return result == 0;
}

void
loop_stop(struct loop *loop)
{
    event_base_loopbreak(loop->base);
}
