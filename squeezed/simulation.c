/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/simulation_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int64_t
simulation_now(const struct simulation *s)
{
    return s->options.now_us(s->options.context);
}

void __attribute__((format(printf, 3, 4)))
simulation_note(const struct simulation *s, bool trouble, const char *format,
                ...)
{
    char text[400];
    va_list args;

    if (!s->options.note)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->options.note(s->options.context, simulation_now(s), trouble, text);
}

void
simulation_on_done(void *arg, const struct result *result)
{
    struct simulation *s = arg;

    if (result->error)
        simulation_note(s, true, "%s: %s", err_name(result->error),
                        result->message);
}

void
simulation_tell_taken(const struct simulation *s)
{
    if (s->options.taken)
        s->options.taken(s->options.context);
}

/* ---------------------------------------------------------------- the order */

static uint64_t
rank_of(uint64_t seed, size_t i)
{
    uint64_t z = seed + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    if (seed == 0)
        return i;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void
simulation_end_event(struct simulation *s, size_t index, int64_t now_us)
{
    struct event_state *state = &s->events[index];

    if (state->over || state->open > 0 ||
        state->carried < s->scenario->events[index].repeat)
        return;
    state->over = true;
    s->last_us = now_us;
    for (size_t i = 0; i < s->scenario->event_count; i++)
        if (s->scenario->events[i].after_index == index)
            s->events[i].due_us = now_us + s->scenario->events[i].at_us;
    if (s->options.wake)
        s->options.wake(s->options.context);
}

/* ------------------------------------------------------------------ actions */

static bool
destroy(struct simulation *s, size_t index, int64_t now_us)
{
    (void)now_us;
    return sim_destroy(s->sim, s->scenario->events[index].domid);
}

static bool
pause_or_not(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];

    (void)now_us;
    return sim_pause(s->sim, e->domid, e->action == ACTION_PAUSE);
}

static bool
freeze_or_thaw(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];

    (void)now_us;
    return sim_freeze(s->sim, e->domid, e->action == ACTION_FREEZE);
}

static bool
write_range(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];

    (void)now_us;
    return sim_write_range(s->sim, e->domid, &e->min_kib, &e->max_kib);
}

static bool
write_target(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];

    (void)now_us;
    return sim_write_target(s->sim, e->domid, e->size_kib);
}

static bool
demand(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];

    (void)now_us;
    return sim_set_used(s->sim, e->domid, e->domain.used_kib);
}

static bool
change_guest(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];

    (void)now_us;
    return sim_set_guest(s->sim, e->domid, &e->domain.guest);
}

static bool
consume(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    int64_t taken = sim_consume(s->sim, e->consume_kib);
    char size[SIZE_TEXT];

    (void)now_us;
    simulation_tell_taken(s);
    if (taken != e->consume_kib)
        simulation_note(s, true, "event %" PRIu32 ": only %s could be taken",
                        e->number, format_size(taken, size));
    return true;
}

static bool
balance(struct simulation *s, size_t index, int64_t now_us)
{
    (void)index;
    broker_balance(s->broker, now_us, simulation_on_done, s);
    return true;
}

static bool
restart(struct simulation *s, size_t index, int64_t now_us)
{
    (void)index, (void)now_us;
    s->wants_restart = true;
    return true;
}

/* Ends what the manual method has begun. */
static bool
set_auto(struct simulation *s, size_t index, int64_t now_us)
{
    (void)now_us;
    return sim_set_ceiling(s->sim, s->scenario->events[index].domid,
                           CEILING_NONE);
}

/* False: there is no such domain. */
static bool (*const actions[ACTION_COUNT])(struct simulation *s, size_t index,
                                           int64_t now_us) = {
    [ACTION_RESERVE] = simulation_reserve,
    [ACTION_RELEASE] = simulation_release,
    [ACTION_CANCEL] = simulation_cancel,
    [ACTION_BUILD] = simulation_build,
    [ACTION_DESTROY] = destroy,
    [ACTION_PAUSE] = pause_or_not,
    [ACTION_UNPAUSE] = pause_or_not,
    [ACTION_AUTO] = set_auto,
    [ACTION_FREEZE] = freeze_or_thaw,
    [ACTION_THAW] = freeze_or_thaw,
    [ACTION_REBOOT] = simulation_reboot,
    [ACTION_RANGE] = write_range,
    [ACTION_TARGET] = write_target,
    [ACTION_DEMAND] = demand,
    [ACTION_GUEST] = change_guest,
    [ACTION_CONSUME] = consume,
    [ACTION_BALANCE] = balance,
    [ACTION_RESTART] = restart,
};

/* What says for itself what it does, and how much of it. */
static bool
speaks_for_itself(enum scenario_action action)
{
    return action == ACTION_RESERVE || action == ACTION_RELEASE ||
           action == ACTION_CANCEL || action == ACTION_BUILD;
}

/* ---------------------------------------------------------------- the steps */

static void
carry_out(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    struct event_state *state = &s->events[index];
    bool good;

    state->carried++;
    state->due_us = state->carried < e->repeat ? state->due_us + e->every_us
                                               : TIME_NEVER_US;
    s->last_us = now_us;
    good = actions[e->action](s, index, now_us);
    if (!good)
        simulation_note(s, true,
                        "event %" PRIu32 ": %s: there is no domain %" PRIu32,
                        e->number, scenario_action_name(e->action), e->domid);
    else if (!speaks_for_itself(e->action))
        simulation_note(s, false, "event %" PRIu32 ": %s", e->number,
                        scenario_action_name(e->action));
    simulation_end_event(s, index, now_us);
}

/* The one that comes first of those that are due; EVENT_NONE. */
static size_t
first_due(const struct simulation *s, int64_t now_us)
{
    size_t best = EVENT_NONE;

    for (size_t i = 0; i < s->scenario->event_count; i++) {
        const struct event_state *e = &s->events[i];

        if (e->due_us > now_us)
            continue;
        if (best == EVENT_NONE || e->due_us < s->events[best].due_us ||
            (e->due_us == s->events[best].due_us &&
             e->rank < s->events[best].rank))
            best = i;
    }
    return best;
}

/* A restart comes between what was due before it and what is due after. */
void
simulation_step(struct simulation *s, int64_t now_us)
{
    size_t index;

    simulation_rebuild(s, now_us);
    while (!s->wants_restart && (index = first_due(s, now_us)) != EVENT_NONE)
        carry_out(s, index, now_us);
}

int64_t
simulation_next_us(const struct simulation *s)
{
    int64_t next = TIME_NEVER_US;

    for (size_t i = 0; i < s->scenario->event_count; i++)
        next = min_i64(next, s->events[i].due_us);
    for (const struct rebuild *r = s->rebuilds; r; r = r->next)
        next = min_i64(next, r->due_us);
    return next;
}

bool
simulation_is_over(const struct simulation *s)
{
    if (s->wants_restart || s->rebuilds)
        return false;
    for (size_t i = 0; i < s->scenario->event_count; i++)
        if (!s->events[i].over)
            return false;
    return true;
}

bool
simulation_wants_restart(const struct simulation *s)
{
    return s->wants_restart;
}

void
simulation_restarted(struct simulation *s, struct broker *broker,
                     int64_t now_us)
{
    s->broker = broker;
    s->wants_restart = false;
    simulation_give_up_buildings(s);
    for (size_t i = 0; i < s->request_count; i++)
        if (s->requests[i]->request.answered_us < 0)
            simulation_end_request(s, &s->requests[i]->request, ERR_CANCELLED,
                                   now_us);
}

size_t
simulation_request_count(const struct simulation *s)
{
    return s->request_count;
}

struct simulated_request *
simulation_request(const struct simulation *s, size_t i)
{
    return &s->requests[i]->request;
}

int64_t
simulation_last_us(const struct simulation *s)
{
    return s->last_us;
}

struct simulation *
simulation_new(const struct scenario *scenario, struct platform *sim,
               struct broker *broker, const struct simulation_options *options,
               int64_t now_us)
{
    struct simulation *s = calloc(1, sizeof *s);

    if (s)
        s->events = calloc(scenario->event_count + 1, sizeof *s->events);
    if (!s || !s->events) {
        free(s);
        return NULL;
    }
    s->scenario = scenario;
    s->sim = sim;
    s->broker = broker;
    s->options = *options;
    s->last_us = now_us;
    for (size_t i = 0; i < scenario->event_count; i++) {
        const struct scenario_event *e = &scenario->events[i];

        s->events[i].rank = rank_of(options->seed, i);
        s->events[i].due_us =
            e->after_index == EVENT_NONE ? now_us + e->at_us : TIME_NEVER_US;
    }
    return s;
}

void
simulation_free(struct simulation *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->request_count; i++) {
        free(s->requests[i]->request.domids);
        free(s->requests[i]);
    }
    simulation_free_buildings(s);
    free(s->requests);
    free(s->events);
    free(s);
}
