/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/switch.h"

#include "common/log.h"
#include "squeezed/switch_call.h"
#include "squeezed/switch_line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE "org.xen.xapi.memory"

/* XAPI's own wait for calls as long as that. */
#define TRANSFER_US (30 * (int64_t)US_PER_S)
#define REQUEST_US  (30 * (int64_t)US_PER_S)
#define LOOK_US     (2 * (int64_t)US_PER_S)
#define RETRY_US    (100 * (int64_t)US_PER_MS)
#define RETRY_MAX   (10 * (int64_t)US_PER_S)
#define PATIENCE_US (60 * (int64_t)US_PER_S)
/* A connection that lasts as long is a good one. */
#define GOOD_US (10 * (int64_t)US_PER_S)
/* Transfers that bring nothing new follow each other no faster. */
#define PACE_US (100 * (int64_t)US_PER_MS)
/* So often an answer that the switch doesn't understand is sent. */
enum { REFUSALS_MAX = 3 };

enum state {
    AWAY,         /* until the timer fires */
    LOGIN_TALK,   /* the connection for everything but transfers */
    MAKE_QUEUE,   /* over it */
    LOGIN_LISTEN, /* the one for transfers */
    UP,
    BROKEN /* to be torn down, by the timer */
};

struct switch_client {
    struct event_base *base;
    struct switch_options options;
    char *path;
    enum state state;
    struct event *timer;
    struct switch_line *talk, *listen; /* NULL while away */
    struct switch_calls calls;
    struct switch_call *current; /* talk is at it */
    json_t *from;                /* for the next transfer; NULL: none yet */
    uint64_t session;
    int64_t since_us;  /* the session is up */
    int64_t asked_us;  /* the last transfer */
    int64_t retry_us;  /* the next pause */
    bool full;         /* there was no place for a message */
    bool told;         /* that it is being served */
    char trouble[200]; /* what was logged last */
};

/* ----------------------------------------------------------------- trouble */

static void
set_timer(struct switch_client *c, int64_t delay_us)
{
    const struct timeval delay = { delay_us / US_PER_S, delay_us % US_PER_S };

    evtimer_add(c->timer, &delay);
}

/* Each trouble is logged once, until things went well for a while. */
static void
log_trouble(struct switch_client *c, enum log_level level, const char *why)
{
    if (strcmp(c->trouble, why) == 0)
        return;
    snprintf(c->trouble, sizeof c->trouble, "%s", why);
    c->told = false;
    log_at(level, "message switch %s: %s; trying again", c->path, why);
}

/* The connection is no good: everything anew, after a pause. */
__attribute__((format(printf, 2, 3))) static void
fail(struct switch_client *c, const char *format, ...)
{
    char why[sizeof c->trouble];
    va_list arguments;

    if (c->state == BROKEN)
        return;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    log_trouble(c, LEVEL_WARNING, why);
    c->state = BROKEN;
    set_timer(c, 0);
}

/* False, and trouble, if a reply is none, or not 200. */
static bool
is_good(struct switch_client *c, const struct switch_reply *reply,
        const char *what)
{
    if (reply->status == 200)
        return true;
    if (reply->status == 0)
        fail(c, "%s: %s", what, reply->why);
    else
        fail(c, "%s: it answered with status %d", what, reply->status);
    return false;
}

static void
ask(struct switch_client *c, struct switch_line *line, const char *path,
    const char *body, size_t length, int64_t timeout_us)
{
    const struct switch_request request = { path, body, length, timeout_us };

    if (!switch_line_ask(line, &request))
        fail(c, "out of memory");
}

static void
get(struct switch_client *c, struct switch_line *line, const char *path)
{
    ask(c, line, path, NULL, 0, c->options.request_us);
}

/* ----------------------------------------------------------------- answers */

static void
pump(struct switch_client *c);

/* Its answer arrived, or nobody wants it: the message may go.  One that came
 * over another connection may have another meaning on this one. */
static void
acknowledge(struct switch_client *c, struct switch_call *call)
{
    call->step = call->session == c->session ? SWITCH_SENT : SWITCH_DONE;
    if (call->step == SWITCH_SENT)
        switch_call_push(call, true);
}

static void
caller_died(struct switch_client *c, struct switch_call *call)
{
    if (call->delivered)
        return;
    log_info("message switch: the caller %s died before it was answered%s%s",
             call->reply_queue,
             call->granted[0] ? ": releasing its reservation " : "",
             call->granted);
    if (call->granted[0])
        rpc_undelivered(c->options.rpc, call->granted);
    call->granted[0] = '\0';
}

/* The switch has something against this answer.  It is not clear whether it
 * arrived, so what it grants is kept. */
static void
refused(struct switch_client *c, struct switch_call *call, int status)
{
    if (++call->refusals < REFUSALS_MAX) {
        call->step = SWITCH_ANSWERED;
        fail(c, "it does not take an answer (status %d)", status);
        return;
    }
    log_warning("message switch: giving up an answer to %s that it does not "
                "take (status %d)",
                call->reply_queue, status);
    acknowledge(c, call);
}

static void
take_sent(struct switch_client *c, struct switch_call *call,
          const struct switch_reply *reply)
{
    enum switch_delivery delivery = SWITCH_UNCLEAR;

    if (reply->status == 0) {
        (void)is_good(c, reply, "answering a call");
        return;
    }
    if (reply->status == 200)
        delivery = switch_response_read(reply->text, reply->length);
    if (delivery == SWITCH_UNCLEAR) {
        refused(c, call, reply->status);
        return;
    }
    if (delivery == SWITCH_GONE)
        caller_died(c, call);
    else
        call->delivered = true;
    acknowledge(c, call);
}

static void
take_acked(struct switch_client *c, struct switch_call *call,
           const struct switch_reply *reply)
{
    if (!is_good(c, reply, "acknowledging a call"))
        return;
    call->acked = true;
    call->step = SWITCH_DONE;
}

static void
send_answer(struct switch_client *c, struct switch_call *call)
{
    char path[SWITCH_PATH];

    call->step = SWITCH_SENDING;
    ask(c, c->talk, switch_path_response(path, call->reply_queue, &call->id),
        call->text ? call->text : "", call->length, c->options.request_us);
}

static void
send_ack(struct switch_client *c, struct switch_call *call)
{
    char path[SWITCH_PATH];

    call->step = SWITCH_ACKING;
    get(c, c->talk, switch_path_ack(path, &call->id));
}

/* The next thing that is to be said. */
static void
pump(struct switch_client *c)
{
    if (c->state != UP || switch_line_busy(c->talk))
        return;
    c->current = switch_calls_pop(&c->calls);
    if (!c->current)
        return;
    if (c->current->step == SWITCH_SENT)
        send_ack(c, c->current);
    else
        send_answer(c, c->current);
}

/* May come long after its message, and while there is no connection. */
static bool
on_answered(void *arg, const struct rpc_answer *answer)
{
    struct switch_call *call = arg;
    struct switch_client *c = call->owner;

    switch_call_answer(call, answer->text, answer->length, answer->granted);
    if (c->state == UP && call->session == c->session) {
        switch_call_push(call, false);
        pump(c);
    }
    return true;
}

/* ---------------------------------------------------------------- messages */

static void
carry_out(struct switch_client *c, struct switch_call *call,
          const struct switch_message *message)
{
    call->owner = c;
    if (!message->payload) {
        log_warning("message switch: message %" PRId64
                    " of %s is no call: ignored",
                    message->id.number, message->id.queue);
        acknowledge(c, call);
    } else if (message->length > LIMIT_BODY_BYTES) {
        const char *type;
        char *text = rpc_error_text(
            message->payload, message->length, RPC_INVALID_REQUEST,
            "the call is over the limit of 1 MiB", NULL, &type);

        switch_call_answer(call, text, text ? strlen(text) : 0, NULL);
        switch_call_push(call, false);
        free(text);
    } else {
        (void)rpc_handle(c->options.rpc, message->payload, message->length,
                         on_answered, call);
    }
}

/* It was here before.  Whatever is under way goes on. */
static void
take_again(struct switch_client *c, struct switch_call *call)
{
    log_debug("message switch: message %" PRId64 " of %s came again",
              call->id.number, call->id.queue);
    (void)c;
    if (call->step == SWITCH_DONE)
        call->step = call->reply_queue[0] ? SWITCH_ANSWERED : SWITCH_SENT;
    if (call->step == SWITCH_ANSWERED || call->step == SWITCH_SENT)
        switch_call_push(call, false);
}

/* True if it was new. */
static bool
take_message(struct switch_client *c, const struct switch_message *message)
{
    struct switch_call *call =
        switch_calls_find(&c->calls, message, c->session);

    if (call) {
        take_again(c, call);
        return false;
    }
    call = switch_calls_add(&c->calls, message, c->session);
    if (call)
        carry_out(c, call, message);
    else
        c->full = true;
    return call != NULL;
}

/* How many were new. */
static size_t
take_messages(struct switch_client *c, const struct switch_transfer *transfer)
{
    struct switch_message message;
    size_t fresh = 0;

    c->full = false;
    for (size_t i = 0; i < json_array_size(transfer->messages); i++) {
        if (switch_transfer_message(transfer, i, &message))
            fresh += take_message(c, &message);
        else
            log_warning("message switch: a message without an id: ignored");
    }
    return fresh;
}

/* Answers whose messages did not come again: a switch that was restarted may
 * have lost them, and still know their callers. */
static void
send_leftovers(struct switch_client *c)
{
    struct switch_call *call;

    if (c->options.now_us() - c->since_us < c->options.patience_us)
        return;
    TAILQ_FOREACH(call, &c->calls.all, entry)
    {
        if (call->step == SWITCH_ANSWERED && call->session != c->session)
            switch_call_push(call, false);
    }
}

/* --------------------------------------------------------------- transfers */

static void
next_transfer(struct switch_client *c)
{
    char *body;

    if (c->state != UP || switch_line_busy(c->listen))
        return;
    body = switch_transfer_body(QUEUE, c->options.transfer_us, c->from);
    if (!body) {
        fail(c, "out of memory");
        return;
    }
    c->asked_us = c->options.now_us();
    ask(c, c->listen, "/transfer", body, strlen(body),
        c->options.transfer_us + c->options.request_us);
    free(body);
}

static void
went_well(struct switch_client *c)
{
    if (c->options.now_us() - c->since_us < GOOD_US)
        return;
    c->retry_us = c->options.retry_us;
    c->trouble[0] = '\0';
}

static void
take_transfer(struct switch_client *c, const struct switch_reply *reply)
{
    struct switch_transfer transfer;
    char why[160];
    bool fresh;

    if (!is_good(c, reply, "waiting for calls"))
        return;
    if (!switch_transfer_read(reply->text, reply->length, &transfer, why,
                              sizeof why)) {
        fail(c, "%s", why);
        return;
    }
    fresh = take_messages(c, &transfer) > 0;
    /* What there was no place for has to come again. */
    if (!c->full) {
        json_decref(c->from);
        c->from = json_incref((json_t *)transfer.next);
    }
    switch_transfer_done(&transfer);
    went_well(c);
    send_leftovers(c);
    pump(c);
    if ((fresh && !c->full) || c->options.now_us() - c->asked_us >= PACE_US)
        next_transfer(c);
    else
        set_timer(c, PACE_US);
}

/* ------------------------------------------------------------------- login */

static void
log_in(struct switch_client *c, struct switch_line *line)
{
    char token[40], path[SWITCH_PATH];

    snprintf(token, sizeof token, "squeezed:%ld", (long)getpid());
    get(c, line, switch_path_name(path, "login", token));
}

/* The reply on talk to what belongs to the state; then the next thing. */
static void
take_greeting(struct switch_client *c, const struct switch_reply *reply)
{
    char path[SWITCH_PATH];

    if (c->state == LOGIN_TALK && is_good(c, reply, "logging in")) {
        c->state = MAKE_QUEUE;
        get(c, c->talk, switch_path_name(path, "persistent", QUEUE));
    } else if (c->state == MAKE_QUEUE &&
               is_good(c, reply, "making the queue " QUEUE)) {
        c->state = LOGIN_LISTEN;
        log_in(c, c->listen);
    }
}

static void
on_talk(void *arg, const struct switch_reply *reply)
{
    struct switch_client *c = arg;
    struct switch_call *call = c->current;

    c->current = NULL;
    if (c->state == BROKEN)
        return;
    if (c->state != UP)
        take_greeting(c, reply);
    else if (call && call->step == SWITCH_SENDING)
        take_sent(c, call, reply);
    else if (call)
        take_acked(c, call, reply);
    pump(c);
}

static void
on_listen(void *arg, const struct switch_reply *reply)
{
    struct switch_client *c = arg;

    if (c->state == UP) {
        take_transfer(c, reply);
    } else if (c->state == LOGIN_LISTEN && is_good(c, reply, "logging in")) {
        c->state = UP;
        c->since_us = c->options.now_us();
        if (!c->told)
            log_info("serving the message switch at %s", c->path);
        c->told = true;
        next_transfer(c);
    }
}

/* -------------------------------------------------------------- connections */

static void
tear_down(struct switch_client *c)
{
    switch_line_free(c->talk);
    switch_line_free(c->listen);
    c->talk = c->listen = NULL;
    c->current = NULL;
    c->full = false;
    json_decref(c->from);
    c->from = NULL;
    switch_calls_lost(&c->calls);
    c->state = AWAY;
}

static void
connect_anew(struct switch_client *c)
{
    c->talk = switch_line_new(c->base, c->path, LIMIT_SWITCH_REPLY, on_talk, c);
    c->listen =
        switch_line_new(c->base, c->path, LIMIT_SWITCH_REPLY, on_listen, c);
    c->session++;
    c->state = LOGIN_TALK;
    if (c->talk && c->listen)
        log_in(c, c->talk);
    else
        fail(c, "libcurl or memory is missing");
}

/* A host without a switch is as good as one with it, unless it is wanted. */
static void
look_for_it(struct switch_client *c)
{
    struct stat about;

    if (stat(c->path, &about) == 0 || errno != ENOENT) {
        connect_anew(c);
        return;
    }
    if (c->options.wanted)
        log_trouble(c, LEVEL_WARNING,
                    "there is none: is it running, and is switch-path right?");
    c->retry_us = c->options.retry_us;
    set_timer(c, c->options.look_us);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct switch_client *c = arg;

    (void)fd, (void)what;
    switch (c->state) {
    case BROKEN:
        tear_down(c);
        set_timer(c, c->retry_us);
        c->retry_us = min_i64(2 * c->retry_us, RETRY_MAX);
        break;
    case AWAY:
        look_for_it(c);
        break;
    case UP:
        next_transfer(c);
        break;
    default:
        break;
    }
}

static void
set_default(int64_t *option, int64_t value)
{
    if (*option == 0)
        *option = value;
}

struct switch_client *
switch_new(struct event_base *base, const struct switch_options *options)
{
    struct switch_client *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    switch_calls_init(&c->calls);
    c->base = base;
    c->options = *options;
    set_default(&c->options.look_us, LOOK_US);
    set_default(&c->options.retry_us, RETRY_US);
    set_default(&c->options.transfer_us, TRANSFER_US);
    set_default(&c->options.request_us, REQUEST_US);
    set_default(&c->options.patience_us, PATIENCE_US);
    c->retry_us = c->options.retry_us;
    c->path = strdup(options->path);
    c->timer = evtimer_new(base, on_timer, c);
    if (!c->path || !c->timer) {
        switch_free(c);
        return NULL;
    }
    set_timer(c, 0);
    return c;
}

void
switch_free(struct switch_client *c)
{
    if (!c)
        return;
    tear_down(c);
    switch_calls_done(&c->calls);
    if (c->timer)
        event_free(c->timer);
    free(c->path);
    free(c);
}

bool
switch_is_up(const struct switch_client *c)
{
    return c->state == UP;
}
