/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests from the call to the answer: the queue, who may be in it, and what
 * they are told. */
#include "squeezed/broker_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- late replies */

/* A refusal that must not come before the call has returned. */
static void __attribute__((format(printf, 7, 8)))
reply_late(struct broker *b, uint64_t seq, broker_reply *reply, void *arg,
           enum err error, const char *parameter, const char *format, ...)
{
    struct late_reply *late = calloc(1, sizeof *late);
    va_list arguments;

    if (!late)
        return; /* without memory for an answer there is none */
    late->seq = seq;
    late->reply = reply;
    late->arg = arg;
    late->result.error = error;
    late->result.parameter = parameter;
    va_start(arguments, format);
    vsnprintf(late->result.message, sizeof late->result.message, format,
              arguments);
    va_end(arguments);
    late->next = b->late;
    b->late = late;
}

/* The first of those up to seq; NULL if there is none. */
static struct late_reply *
take_late_reply(struct broker *b, uint64_t seq)
{
    struct late_reply **at = &b->late;
    struct late_reply *late;

    while (*at && (*at)->seq > seq)
        at = &(*at)->next;
    late = *at;
    if (late)
        *at = late->next;
    return late;
}

/* Replies may call us again: they may cancel others, and add more, which wait
 * for the next run. */
void
broker_send_late_replies(struct broker *b)
{
    const uint64_t last = b->last_seq;
    struct late_reply *late;

    while ((late = take_late_reply(b, last))) {
        broker_tell(b, &(struct news){ .kind = NEWS_REFUSAL,
                                       .request = late->seq,
                                       .result = &late->result });
        late->reply(late->arg, &late->result);
        free(late);
    }
}

void
broker_free_late_replies(struct broker *b)
{
    while (b->late) {
        struct late_reply *next = b->late->next;

        free(b->late);
        b->late = next;
    }
}

/* ---------------------------------------------------------------- the queue */

static size_t
queue_index(const struct broker *b, uint64_t seq)
{
    size_t i = 0;

    while (i < b->planner.queue.count && b->requests[i].seq != seq)
        i++;
    return i;
}

void
broker_take_off_queue(struct broker *b, size_t i)
{
    size_t behind = b->planner.queue.count - i - 1;

    memmove(&b->requests[i], &b->requests[i + 1],
            behind * sizeof b->requests[0]);
    memmove(&b->calls[i], &b->calls[i + 1], behind * sizeof b->calls[0]);
    b->planner.queue.count--;
}

static size_t
queued_of_client(const struct broker *b, const char *client)
{
    size_t n = 0;

    for (size_t i = 0; i < b->planner.queue.count; i++)
        n += strcmp(b->calls[i].client, client) == 0;
    return n;
}

static bool
good_client_name(const char *client)
{
    size_t n = strlen(client);

    return n >= 1 && n <= LIMIT_CLIENT_CHARS &&
           strspn(client, "abcdefghijklmnopqrstuvwxyz"
                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

/* Past a limit?  Then which, else NULL. */
static const char *
limit_reached(const struct broker *b, const char *client)
{
    if (b->planner.queue.count >= LIMIT_QUEUE)
        return "queued requests";
    if (queued_of_client(b, client) >= LIMIT_QUEUE_CLIENT)
        return "queued requests of one client";
    if (b->planner.ledger.count + b->planner.queue.count >= LIMIT_RESERVATIONS)
        return "reservations";
    return NULL;
}

/* True if it was refused (late). */
static bool
refuse_call(struct broker *b, uint64_t seq, const struct reserve_call *call,
            broker_reply *reply, void *arg)
{
    const char *limit;

    if (!good_client_name(call->client))
        reply_late(b, seq, reply, arg, ERR_INVALID, "client",
                   "client '%.64s': 1 to 64 characters of A-Z a-z 0-9 _ - "
                   "are allowed",
                   call->client);
    else if (call->max_kib < call->min_kib)
        reply_late(b, seq, reply, arg, ERR_INVALID, "max",
                   "max %" PRIu64 " KiB is below min %" PRIu64 " KiB",
                   call->max_kib, call->min_kib);
    else if (call->max_kib > LIMIT_SIZE_KIB)
        reply_late(b, seq, reply, arg, ERR_INVALID, "max",
                   "max %" PRIu64 " KiB is above the limit of 2^50 KiB",
                   call->max_kib);
    else if (call->timeout_us < 0)
        reply_late(b, seq, reply, arg, ERR_INVALID, "timeout_ms",
                   "a time-out can't be negative");
    else if ((limit = limit_reached(b, call->client)) != NULL)
        reply_late(b, seq, reply, arg, ERR_BUSY, limit,
                   "too many %s: try again when some have been answered or "
                   "released",
                   limit);
    else
        return false;
    return true;
}

uint64_t
broker_reserve(struct broker *b, const struct reserve_call *call,
               int64_t now_us, broker_reply *reply, void *arg)
{
    uint64_t seq = ++b->last_seq;
    size_t i = b->planner.queue.count;

    broker_wake_for_call(b, now_us);
    if (refuse_call(b, seq, call, reply, arg))
        return seq;
    b->requests[i] = (struct request){
        .seq = seq,
        .min_kib = page_up(call->min_kib),
        .max_kib = page_up(call->max_kib),
        .wait = call->wait,
        .submitted_us = now_us,
        .deadline_us = call->timeout_us > TIME_NEVER_US - now_us
                           ? TIME_NEVER_US
                           : now_us + call->timeout_us,
    };
    b->calls[i] = (struct call){
        .reply = reply,
        .arg = arg,
        .hold_us = call->hold_us,
        .has_uuid = call->uuid != NULL,
    };
    snprintf(b->calls[i].client, sizeof b->calls[i].client, "%s", call->client);
    if (call->id)
        snprintf(b->calls[i].id, sizeof b->calls[i].id, "%s", call->id);
    if (call->uuid)
        memcpy(b->calls[i].uuid, call->uuid, UUID_BYTES);
    b->planner.queue.count++;
    broker_tell(b, &(struct news){ .kind = NEWS_REQUEST,
                                   .request = seq,
                                   .client = b->calls[i].client,
                                   .asked = &b->requests[i] });
    return seq;
}

static void
tell_refusal(const struct broker *b, const struct request *r,
             const struct call *call, const struct result *result)
{
    broker_tell(b, &(struct news){ .kind = NEWS_REFUSAL,
                                   .request = r->seq,
                                   .client = call->client,
                                   .result = result });
}

void
broker_cancel(struct broker *b, uint64_t seq, int64_t now_us)
{
    size_t i = queue_index(b, seq);

    for (struct late_reply **at = &b->late; *at; at = &(*at)->next)
        if ((*at)->seq == seq) {
            struct late_reply *late = *at;

            *at = late->next;
            free(late);
            return;
        }
    if (i < b->planner.queue.count) {
        log_info("request of %s cancelled: its client has gone",
                 b->calls[i].client);
        tell_refusal(
            b, &b->requests[i], &b->calls[i],
            &(struct result){ .error = ERR_CANCELLED,
                              .took_us = now_us - b->requests[i].submitted_us,
                              .message = "its client has gone" });
        broker_take_off_queue(b, i);
        broker_wake_for_call(b, now_us);
        return;
    }
    broker_abandon(b, seq);
}

/* -------------------------------------------------------------- the answers */

static void
describe_refusal(const struct answer *a, const struct result *result,
                 char *message, size_t size)
{
    char needed[SIZE_TEXT], had[SIZE_TEXT], lacking[SIZE_TEXT];
    int n;

    format_size((int64_t)a->needed_kib, needed);
    format_size((int64_t)a->free_kib, had);
    format_size((int64_t)a->short_kib, lacking);
    if (a->error == ERR_TIMEOUT) {
        snprintf(message, size,
                 "%s did not become free in time (%s could be had after the "
                 "best squeeze)",
                 needed, had);
        return;
    }
    n = snprintf(message, size,
                 "%s asked for, %s can be had after the best squeeze: %s "
                 "short",
                 needed, had, lacking);
    if (a->error != ERR_UNCOOPERATIVE || n < 0)
        return;
    n += snprintf(message + n, size - (size_t)n, "; not giving: domain");
    for (size_t i = 0; i < result->domid_count && (size_t)n < size - 1; i++)
        n += snprintf(message + n, size - (size_t)n, "%s %" PRIu32,
                      i ? "," : "", result->domids[i]);
}

static void
send_refusal(struct broker *b, const struct request *r, const struct call *call,
             const struct answer *a)
{
    struct result result = {
        .error = a->error,
        .needed_kib = a->needed_kib,
        .free_kib = a->free_kib,
        .short_kib = a->short_kib,
        .took_us = broker_clock(b) - r->submitted_us,
    };

    if (a->error == ERR_UNCOOPERATIVE || a->error == ERR_TIMEOUT) {
        result.domids = b->plan.debtors;
        result.domid_count = b->plan.debtor_count;
    }
    describe_refusal(a, &result, result.message, sizeof result.message);
    log_info("request of %s refused (%s): %s", call->client, err_name(a->error),
             result.message);
    tell_refusal(b, r, call, &result);
    call->reply(call->arg, &result);
}

void
broker_send_answers(struct broker *b)
{
    size_t count = b->plan.answer_count;

    for (size_t k = 0; k < count; k++) {
        const struct answer a = b->plan.answers[k];
        size_t i = queue_index(b, a.seq);
        struct request r;
        struct call call;

        if (i == b->planner.queue.count)
            continue; /* cancelled by the reply to another one */
        r = b->requests[i];
        call = b->calls[i];
        broker_take_off_queue(b, i);
        if (a.error)
            send_refusal(b, &r, &call, &a);
        else
            broker_grant(b, &r, &call, a.amount_kib);
    }
}

static void
refuse_unready(struct broker *b, size_t i, const struct platform_health *health)
{
    const struct request r = b->requests[i];
    const struct call call = b->calls[i];
    struct result result = {
        .error = call.planned ? ERR_TIMEOUT : ERR_NOT_READY,
        .took_us = b->now_us - r.submitted_us,
    };

    snprintf(result.message, sizeof result.message,
             "the host can't be seen: %s",
             health->why[0] ? health->why : "not read yet");
    broker_take_off_queue(b, i);
    tell_refusal(b, &r, &call, &result);
    call.reply(call.arg, &result);
}

int64_t
broker_answer_unready(struct broker *b)
{
    struct platform_health health;
    int64_t next_us = TIME_NEVER_US;

    b->platform->ops->health(b->platform, &health);
    for (size_t i = 0; i < b->planner.queue.count;) {
        const struct request *r = &b->requests[i];
        int64_t due_us = r->deadline_us;

        if (!b->calls[i].planned)
            due_us = min_i64(due_us, r->submitted_us + RETRY_US);
        if (due_us > b->now_us) {
            next_us = min_i64(next_us, due_us);
            i++;
            continue;
        }
        refuse_unready(b, i, &health);
    }
    return next_us;
}
