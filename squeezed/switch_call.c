/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/switch_call.h"

#include <stdlib.h>
#include <string.h>

void
switch_calls_init(struct switch_calls *calls)
{
    *calls = (struct switch_calls){ .count = 0 };
    TAILQ_INIT(&calls->all);
    TAILQ_INIT(&calls->due);
}

static void
drop(struct switch_call *call)
{
    struct switch_calls *calls = call->calls;

    if (call->queued)
        TAILQ_REMOVE(&calls->due, call, due);
    TAILQ_REMOVE(&calls->all, call, entry);
    calls->count--;
    calls->bytes -= call->length;
    free(call->text);
    free(call);
}

void
switch_calls_done(struct switch_calls *calls)
{
    struct switch_call *call;

    while ((call = TAILQ_FIRST(&calls->all)) != NULL)
        drop(call);
}

/* FNV-1a */
static uint64_t
hash_of(const struct switch_message *message)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ message->length;

    for (size_t i = 0; i < message->length; i++) {
        hash ^= (unsigned char)message->payload[i];
        hash *= UINT64_C(0x100000001b3);
    }
    return hash;
}

static bool
is_same(const struct switch_call *call, const struct switch_message *message,
        uint64_t hash)
{
    return call->id.number == message->id.number && call->hash == hash &&
           strcmp(call->id.queue, message->id.queue) == 0 &&
           strcmp(call->reply_queue, message->reply_queue) == 0;
}

/* A switch that has acknowledged our acknowledgement does not send a message
 * again, but one that was restarted may count from the beginning: then it is
 * another. */
struct switch_call *
switch_calls_find(struct switch_calls *calls,
                  const struct switch_message *message, uint64_t session)
{
    uint64_t hash = hash_of(message);
    struct switch_call *call;

    TAILQ_FOREACH_REVERSE(call, &calls->all, switch_call_list, entry)
    {
        if (!is_same(call, message, hash))
            continue;
        if (call->acked && call->session != session) {
            drop(call);
            return NULL;
        }
        call->session = session;
        return call;
    }
    return NULL;
}

/* The oldest ones that are done with make place. */
static bool
make_place(struct switch_calls *calls)
{
    struct switch_call *call = TAILQ_FIRST(&calls->all), *next;

    for (; call; call = next) {
        if (calls->count < LIMIT_SWITCH_CALLS &&
            calls->bytes <= LIMIT_SWITCH_BYTES)
            break;
        next = TAILQ_NEXT(call, entry);
        if (call->step == SWITCH_DONE)
            drop(call);
    }
    return calls->count < LIMIT_SWITCH_CALLS;
}

struct switch_call *
switch_calls_add(struct switch_calls *calls,
                 const struct switch_message *message, uint64_t session)
{
    struct switch_call *call = make_place(calls) ? malloc(sizeof *call) : NULL;

    if (!call)
        return NULL;
    *call = (struct switch_call){ .calls = calls,
                                  .id = message->id,
                                  .hash = hash_of(message),
                                  .step = SWITCH_OPEN,
                                  .session = session };
    memcpy(call->reply_queue, message->reply_queue, sizeof call->reply_queue);
    TAILQ_INSERT_TAIL(&calls->all, call, entry);
    calls->count++;
    return call;
}

void
switch_call_answer(struct switch_call *call, const char *text, size_t length,
                   const char *granted)
{
    call->text = text ? malloc(length + 1) : NULL;
    if (call->text) {
        memcpy(call->text, text, length);
        call->text[length] = '\0';
        call->length = length;
        call->calls->bytes += length;
    }
    if (granted && strlen(granted) < sizeof call->granted)
        memcpy(call->granted, granted, strlen(granted) + 1);
    call->step = SWITCH_ANSWERED;
}

void
switch_call_push(struct switch_call *call, bool first)
{
    if (call->queued)
        return;
    call->queued = true;
    if (first)
        TAILQ_INSERT_HEAD(&call->calls->due, call, due);
    else
        TAILQ_INSERT_TAIL(&call->calls->due, call, due);
}

struct switch_call *
switch_calls_pop(struct switch_calls *calls)
{
    struct switch_call *call = TAILQ_FIRST(&calls->due);

    if (call) {
        TAILQ_REMOVE(&calls->due, call, due);
        call->queued = false;
    }
    return call;
}

void
switch_calls_lost(struct switch_calls *calls)
{
    struct switch_call *call;

    while (switch_calls_pop(calls))
        ;
    TAILQ_FOREACH(call, &calls->all, entry)
    {
        if (call->step == SWITCH_SENDING)
            call->step = SWITCH_ANSWERED;
        else if (call->step == SWITCH_SENT || call->step == SWITCH_ACKING)
            call->step = SWITCH_DONE;
    }
}
