/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/simulation.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* xl's pause between the end of a domain and its rebuilding. */
#define REBOOT_PAUSE_US (2 * (int64_t)US_PER_S)

/* How far an event has come. */
struct event_state {
    int64_t due_us;   /* its next time; TIME_NEVER_US: none (yet) */
    uint32_t carried; /* out so often */
    size_t open;      /* its requests without an answer */
    uint64_t rank;    /* among those of the same instant */
    bool over;        /* carried out, all of it, and answered */
};

/* A domain that was shut down to be built again. */
struct rebuild {
    struct rebuild *next;
    int64_t due_us;
    struct scenario_domain domain;
    uint64_t amount_kib;
};

/* A reservation on its way to a domain. */
struct transfer {
    struct transfer *next;
    struct simulation *simulation;
    struct simulated_request *request;
    uint32_t domid;
};

struct simulation {
    const struct scenario *scenario;
    struct platform *sim;
    struct broker *broker;
    struct simulation_options options;
    struct event_state *events;
    struct request_slot **requests; /* each at a place of its own: the broker
                                     * holds on to it */
    size_t request_count;
    size_t request_room;
    struct rebuild *rebuilds;
    struct transfer *transfers;
    int64_t last_us;
    bool wants_restart;
};

struct request_slot {
    struct simulation *simulation;
    struct simulated_request request;
};

static int64_t
now_of(const struct simulation *s)
{
    return s->options.now_us(s->options.context);
}

static void __attribute__((format(printf, 3, 4)))
note(const struct simulation *s, bool trouble, const char *format, ...)
{
    char text[400];
    va_list args;

    if (!s->options.note)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->options.note(s->options.context, now_of(s), trouble, text);
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

/* Its time has come to an end: those that wait for it are due from now. */
static void
end_event(struct simulation *s, size_t index, int64_t now_us)
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

/* ------------------------------------------------------------- the requests */

static enum outcome
outcome_of(enum err error)
{
    switch (error) {
    case ERR_NONE:
        return OUTCOME_GRANTED;
    case ERR_TIMEOUT:
        return OUTCOME_TIMEOUT;
    case ERR_CANCELLED:
        return OUTCOME_CANCELLED;
    default:
        return OUTCOME_REFUSED;
    }
}

static void
end_request(struct simulation *s, struct simulated_request *r, enum err error,
            int64_t now_us)
{
    r->answered_us = now_us;
    r->error = error;
    r->outcome = outcome_of(error);
    s->events[r->event].open--;
    end_event(s, r->event, now_us);
}

static void
copy_domids(struct simulated_request *r, const struct result *result)
{
    size_t size = result->domid_count * sizeof *r->domids;

    if (result->domid_count == 0)
        return;
    r->domids = malloc(size);
    if (!r->domids)
        return;
    memcpy(r->domids, result->domids, size);
    r->domid_count = result->domid_count;
}

static void
on_answer(void *arg, const struct result *result)
{
    struct request_slot *slot = arg;
    struct simulation *s = slot->simulation;
    struct simulated_request *r = &slot->request;
    uint32_t number = s->scenario->events[r->event].number;
    char size[SIZE_TEXT];

    r->needed_kib = result->needed_kib;
    r->free_kib = result->free_kib;
    r->short_kib = result->short_kib;
    copy_domids(r, result);
    if (result->error) {
        note(s, false, "event %" PRIu32 ": request ended: %s: %s", number,
             err_name(result->error), result->message);
    } else {
        r->amount_kib = result->amount_kib;
        r->held = true;
        snprintf(r->reservation, sizeof r->reservation, "%s",
                 result->reservation);
        note(s, false, "event %" PRIu32 ": %s granted", number,
             format_size((int64_t)r->amount_kib, size));
    }
    end_request(s, r, result->error, now_of(s));
}

static struct request_slot *
add_request(struct simulation *s, size_t event, int64_t now_us)
{
    struct request_slot *slot = calloc(1, sizeof *slot);
    struct request_slot **grown;

    if (slot && s->request_count == s->request_room) {
        grown = reallocarray(s->requests, s->request_room * 2 + 16,
                             sizeof(struct request_slot *));
        if (!grown) {
            free(slot);
            return NULL;
        }
        s->requests = grown;
        s->request_room = s->request_room * 2 + 16;
    }
    if (!slot)
        return NULL;
    slot->simulation = s;
    slot->request = (struct simulated_request){ .event = event,
                                                .submitted_us = now_us,
                                                .answered_us = -1,
                                                .limit_us = -1 };
    s->requests[s->request_count++] = slot;
    return slot;
}

static bool
reserve(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    const struct reserve_call call = { .client = e->client,
                                       .min_kib = e->min_kib,
                                       .max_kib = e->max_kib,
                                       .timeout_us = e->timeout_us,
                                       .wait = e->wait,
                                       .hold_us = e->hold_us };
    char size[SIZE_TEXT];

    for (uint32_t i = 0; i < e->count; i++) {
        struct request_slot *slot = add_request(s, index, now_us);

        if (!slot) {
            note(s, true, "event %" PRIu32 ": out of memory", e->number);
            return false;
        }
        s->events[index].open++;
        if (s->options.submit)
            s->options.submit(s->options.context, s->request_count - 1);
        slot->request.seq =
            broker_reserve(s->broker, &call, now_us, on_answer, slot);
    }
    note(s, false, "event %" PRIu32 ": %" PRIu32 " x reserve %s", e->number,
         e->count, format_size((int64_t)e->min_kib, size));
    return true;
}

static void
on_done(void *arg, const struct result *result)
{
    struct simulation *s = arg;

    if (result->error)
        note(s, true, "%s: %s", err_name(result->error), result->message);
}

static bool
release(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    size_t released = 0;

    for (size_t i = 0; i < s->request_count; i++) {
        struct simulated_request *r = &s->requests[i]->request;

        if (r->event != e->of_index || !r->held)
            continue;
        r->held = false;
        broker_release(s->broker, r->reservation, now_us, on_done, s);
        released++;
    }
    note(s, released == 0, "event %" PRIu32 ": %zu released", e->number,
         released);
    return true;
}

static bool
cancel(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    size_t cancelled = 0;

    for (size_t i = 0; i < s->request_count; i++) {
        struct simulated_request *r = &s->requests[i]->request;

        if (r->event != e->of_index || r->answered_us >= 0)
            continue;
        broker_cancel(s->broker, r->seq, now_us);
        end_request(s, r, ERR_CANCELLED, now_us);
        cancelled++;
    }
    note(s, cancelled == 0, "event %" PRIu32 ": %zu cancelled", e->number,
         cancelled);
    return true;
}

/* ------------------------------------------------------------ the buildings */

/* The highest domid in use, and one; LIMIT_DOMAINS or more: none left. */
static uint32_t
next_domid(const struct simulation *s)
{
    size_t count;
    const struct sim_domain *d = sim_domains(s->sim, &count);

    return count > 0 ? d[count - 1].domid + 1 : 1;
}

static void
drop_transfer(struct transfer *t)
{
    struct transfer **at = &t->simulation->transfers;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t);
}

/* Without its memory there is no domain. */
static void
give_up_building(const struct transfer *t, const char *why)
{
    note(t->simulation, true, "domain %" PRIu32 ": not built: %s", t->domid,
         why);
    sim_destroy(t->simulation->sim, t->domid);
}

static void
on_transferred(void *arg, const struct result *result)
{
    struct transfer *t = arg;

    if (result->error)
        give_up_building(t, result->message);
    drop_transfer(t);
}

static void
start_transfer(struct simulation *s, struct simulated_request *r,
               uint32_t domid, int64_t now_us)
{
    struct transfer *t = malloc(sizeof *t);

    if (!t) {
        note(s, true, "out of memory");
        sim_destroy(s->sim, domid);
        return;
    }
    *t = (struct transfer){ s->transfers, s, r, domid };
    s->transfers = t;
    r->held = false;
    broker_transfer(s->broker, r->reservation, domid, true, now_us,
                    on_transferred, t);
}

static const char *
start_building(struct simulation *s, struct scenario_domain *domain,
               uint64_t amount_kib, bool limited, char *buffer)
{
    const char *error = scenario_domain_complete(domain, amount_kib, buffer);
    enum err refused;

    if (error)
        return error;
    if (domain->domid >= LIMIT_DOMAINS)
        return "no domid is left";
    refused = sim_build(s->sim, domain, min_u64(domain->actual_kib, amount_kib),
                        limited);
    return refused == ERR_EXISTS ? "the domid is in use"
           : refused             ? "out of memory"
                                 : NULL;
}

/* The domain is there first, and empty; then the reservation becomes its own,
 * which sets its limit; then it takes its memory. */
static void
build_one(struct simulation *s, const struct scenario_event *e,
          struct simulated_request *r, uint32_t index, int64_t now_us)
{
    struct scenario_domain domain = e->domain;
    char buffer[SCENARIO_ERROR_CHARS], size[SIZE_TEXT];
    const char *error;

    domain.domid = e->domid_given ? e->domid + index : next_domid(s);
    error = start_building(s, &domain, r->amount_kib, false, buffer);
    if (error) {
        note(s, true, "event %" PRIu32 ": domain %" PRIu32 " not built: %s",
             e->number, domain.domid, error);
        return;
    }
    note(s, false, "event %" PRIu32 ": building domain %" PRIu32 " (%s, %s)",
         e->number, domain.domid, domain.name,
         format_size((int64_t)r->amount_kib, size));
    start_transfer(s, r, domain.domid, now_us);
}

static bool
build(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    uint32_t built = 0;

    for (size_t i = 0; i < s->request_count && built < e->count; i++) {
        struct simulated_request *r = &s->requests[i]->request;

        if (r->event == e->of_index && r->held)
            build_one(s, e, r, built++, now_us);
    }
    if (built == 0)
        note(s, true,
             "event %" PRIu32 ": nothing to build: no reservation of event "
             "%" PRIu32 " is held",
             e->number, e->of);
    return true;
}

/* What would be needed to build the same domain again. */
static void
describe_domain(const struct sim_domain *d, struct scenario_domain *ret)
{
    scenario_domain_init(ret);
    ret->given = GIVEN_UUID | GIVEN_NAME | GIVEN_STATIC_MAX;
    if (d->managed)
        ret->given |= GIVEN_DYNAMIC_MIN | GIVEN_DYNAMIC_MAX;
    snprintf(ret->name, sizeof ret->name, "%.99s", d->name);
    memcpy(ret->uuid, d->uuid, UUID_BYTES);
    ret->type = d->type;
    ret->static_min_kib = d->static_min_kib;
    ret->static_max_kib = d->static_max_kib;
    ret->dynamic_min_kib = d->dynamic_min_kib;
    ret->dynamic_max_kib = d->dynamic_max_kib;
    ret->used_kib = d->used_kib;
    ret->rate_kib = d->rate_kib;
    ret->inaccuracy_kib = d->inaccuracy_kib;
    ret->shares = d->shares;
    ret->delay_us = d->delay_us;
    ret->guest = d->guest;
}

/* As xl does it: the domain goes, and 2 s later it is built from what is free
 * then, with the target that it had. */
static bool
reboot(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    const struct sim_domain *d = sim_find(s->sim, e->domid);
    struct rebuild *r = d ? calloc(1, sizeof *r) : NULL;

    if (!r)
        return false;
    r->due_us = now_us + REBOOT_PAUSE_US;
    r->amount_kib = d->target_kib;
    describe_domain(d, &r->domain);
    r->next = s->rebuilds;
    s->rebuilds = r;
    return sim_destroy(s->sim, e->domid);
}

static void
tell_taken(const struct simulation *s)
{
    if (s->options.taken)
        s->options.taken(s->options.context);
}

static void
rebuild_one(struct simulation *s, struct rebuild *r)
{
    char buffer[SCENARIO_ERROR_CHARS], size[SIZE_TEXT];
    const char *error = NULL;

    r->domain.domid = next_domid(s);
    if (sim_free_kib(s->sim) < r->amount_kib)
        error = "there is not enough free memory";
    if (!error)
        error = start_building(s, &r->domain, r->amount_kib, true, buffer);
    tell_taken(s);
    if (error)
        note(s, true, "%s did not come back from its reboot: %s",
             r->domain.name, error);
    else
        note(s, false, "%s is built again as domain %" PRIu32 " with %s",
             r->domain.name, r->domain.domid,
             format_size((int64_t)r->amount_kib, size));
}

static void
rebuild_due(struct simulation *s, int64_t now_us)
{
    struct rebuild **at = &s->rebuilds;

    while (*at) {
        struct rebuild *r = *at;

        if (r->due_us > now_us) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        rebuild_one(s, r);
        s->last_us = now_us;
        free(r);
    }
}

/* ------------------------------------------------------------ other actions */

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
    tell_taken(s);
    if (taken != e->consume_kib)
        note(s, true, "event %" PRIu32 ": only %s could be taken", e->number,
             format_size(taken, size));
    return true;
}

static bool
balance(struct simulation *s, size_t index, int64_t now_us)
{
    (void)index;
    broker_balance(s->broker, now_us, on_done, s);
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
    [ACTION_RESERVE] = reserve,       [ACTION_RELEASE] = release,
    [ACTION_CANCEL] = cancel,         [ACTION_BUILD] = build,
    [ACTION_DESTROY] = destroy,       [ACTION_PAUSE] = pause_or_not,
    [ACTION_UNPAUSE] = pause_or_not,  [ACTION_AUTO] = set_auto,
    [ACTION_FREEZE] = freeze_or_thaw, [ACTION_THAW] = freeze_or_thaw,
    [ACTION_REBOOT] = reboot,         [ACTION_RANGE] = write_range,
    [ACTION_TARGET] = write_target,   [ACTION_DEMAND] = demand,
    [ACTION_GUEST] = change_guest,    [ACTION_CONSUME] = consume,
    [ACTION_BALANCE] = balance,       [ACTION_RESTART] = restart,
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
        note(s, true, "event %" PRIu32 ": %s: there is no domain %" PRIu32,
             e->number, scenario_action_name(e->action), e->domid);
    else if (!speaks_for_itself(e->action))
        note(s, false, "event %" PRIu32 ": %s", e->number,
             scenario_action_name(e->action));
    end_event(s, index, now_us);
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

    rebuild_due(s, now_us);
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
    /* Who had asked for a transfer doesn't know what became of it, and gives
     * the domain up. */
    while (s->transfers) {
        s->transfers->request->held = true;
        give_up_building(s->transfers, "the broker has gone");
        drop_transfer(s->transfers);
    }
    for (size_t i = 0; i < s->request_count; i++)
        if (s->requests[i]->request.answered_us < 0)
            end_request(s, &s->requests[i]->request, ERR_CANCELLED, now_us);
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
    while (s->transfers)
        drop_transfer(s->transfers); /* NOLINT: it unlinks what it frees */
    while (s->rebuilds) {
        struct rebuild *next = s->rebuilds->next;

        free(s->rebuilds);
        s->rebuilds = next;
    }
    free(s->requests);
    free(s->events);
    free(s);
}
