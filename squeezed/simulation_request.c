/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What clients ask: memory, and that it be given back. */
#include "squeezed/simulation_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void
simulation_end_request(struct simulation *s, struct simulated_request *r,
                       enum err error, int64_t now_us)
{
    r->answered_us = now_us;
    r->error = error;
    r->outcome = outcome_of(error);
    s->events[r->event].open--;
    simulation_end_event(s, r->event, now_us);
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
        simulation_note(s, false, "event %" PRIu32 ": request ended: %s: %s",
                        number, err_name(result->error), result->message);
    } else {
        r->amount_kib = result->amount_kib;
        r->held = true;
        snprintf(r->reservation, sizeof r->reservation, "%s",
                 result->reservation);
        simulation_note(s, false, "event %" PRIu32 ": %s granted", number,
                        format_size((int64_t)r->amount_kib, size));
    }
    simulation_end_request(s, r, result->error, simulation_now(s));
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

bool
simulation_reserve(struct simulation *s, size_t index, int64_t now_us)
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
            simulation_note(s, true, "event %" PRIu32 ": out of memory",
                            e->number);
            return false;
        }
        s->events[index].open++;
        if (s->options.submit)
            s->options.submit(s->options.context, s->request_count - 1);
        slot->request.seq =
            broker_reserve(s->broker, &call, now_us, on_answer, slot);
    }
    simulation_note(s, false, "event %" PRIu32 ": %" PRIu32 " x reserve %s",
                    e->number, e->count,
                    format_size((int64_t)e->min_kib, size));
    return true;
}

bool
simulation_release(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    size_t released = 0;

    for (size_t i = 0; i < s->request_count; i++) {
        struct simulated_request *r = &s->requests[i]->request;

        if (r->event != e->of_index || !r->held)
            continue;
        r->held = false;
        broker_release(s->broker, r->reservation, now_us, simulation_on_done,
                       s);
        released++;
    }
    simulation_note(s, released == 0, "event %" PRIu32 ": %zu released",
                    e->number, released);
    return true;
}

bool
simulation_cancel(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    size_t cancelled = 0;

    for (size_t i = 0; i < s->request_count; i++) {
        struct simulated_request *r = &s->requests[i]->request;

        if (r->event != e->of_index || r->answered_us >= 0)
            continue;
        broker_cancel(s->broker, r->seq, now_us);
        simulation_end_request(s, r, ERR_CANCELLED, now_us);
        cancelled++;
    }
    simulation_note(s, cancelled == 0, "event %" PRIu32 ": %zu cancelled",
                    e->number, cancelled);
    return true;
}
