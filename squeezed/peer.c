/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/units.h"
#include "squeezed/peer_internal.h"
#include "squeezed/rpc.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* After an answer that ends the connection its client may take this long to
 * read it and to close. */
#define LINGER_S 2

/* ------------------------------------------------------------------- chores */

/* What can't be done where it is noticed: within evhttp's calls, connections
 * can't be closed, and new ones are not known to it.  This is done at once
 * afterwards, before anything else is heard of the connection: active events
 * are a queue. */
static void
add_chore(struct peer *p)
{
    if (p->due)
        return;
    p->due = true;
    TAILQ_INSERT_TAIL(&p->all->due, p, due_link);
    event_active(p->all->chores, EV_TIMEOUT, 0);
}

static void
remove_chore(struct peer *p)
{
    if (p->due)
        TAILQ_REMOVE(&p->all->due, p, due_link);
    p->due = false;
}

/* ------------------------------------------------------------------- states */

static struct peer_list *
list_of(struct peer *p)
{
    return p->state == CALLING ? &p->all->calling : &p->all->idle;
}

/* The idle time starts anew.  Not within a request: whoever sends one byte a
 * minute gets no more time. */
static void
set_state(struct peer *p, enum peer_state state)
{
    TAILQ_REMOVE(list_of(p), p, link);
    p->state = state;
    p->since_us = p->all->options.now_us();
    TAILQ_INSERT_TAIL(list_of(p), p, link);
    peers_arm_idle_timer(p->all);
}

static bool
has_unsent(const struct peer *p)
{
    return evbuffer_get_length(bufferevent_get_output(p->stream)) > 0;
}

/* What poll() says of a client that closed: POLLRDHUP for sending, POLLHUP
 * altogether, POLLERR with something unread. */
static short
departure(const struct peer *p)
{
    struct pollfd fd = { .fd = bufferevent_getfd(p->stream),
                         .events = POLLRDHUP };

    return poll(&fd, 1, 0) > 0 ? fd.revents : 0;
}

/* ------------------------------------------------------------------ closing */

static void
on_input(struct evbuffer *input, const struct evbuffer_cb_info *info,
         void *arg);

void
peer_forget(struct peer *p)
{
    struct peers *all = p->all;

    TAILQ_REMOVE(list_of(p), p, link);
    remove_chore(p);
    all->count--;
    if (all->count < all->options.limit)
        all->overfull = false;
    if (p->watch)
        event_free(p->watch);
    evbuffer_remove_cb(bufferevent_get_input(p->stream), on_input, p);
    bufferevent_setcb(p->stream, NULL, NULL, NULL, NULL);
    bufferevent_disable(p->stream, EV_READ | EV_WRITE);
    bufferevent_decref(p->stream); /* closes the descriptor */
    peers_resume(all);
    if (p->lost && p->granted[0] && !all->ending)
        rpc_undelivered(all->options.rpc, p->granted);
    free(p);
}

void
peer_cut(struct peer *p)
{
    if (p->http)
        evhttp_connection_free(p->http); /* calls on_closed */
    peer_forget(p);
}

static void
doom(struct peer *p)
{
    p->doomed = true;
    add_chore(p);
}

/* Its client has gone, or we have. */
static void
end_stream(struct peer *p)
{
    const struct peers_options *o = &p->all->options;

    if (p->streaming && !p->all->ending && o->left)
        o->left(o->context, p);
    p->streaming = false;
}

/* evhttp is about to close the connection, for whatever reason.  Requests that
 * it took off the connection are ours now. */
static void
on_closed(struct evhttp_connection *http, void *arg)
{
    struct peer *p = arg;

    (void)http;
    p->http = NULL;
    event_del(p->watch);
    end_stream(p);
    if (p->request && !evhttp_request_get_connection(p->request))
        evhttp_request_free(p->request);
    p->request = NULL;
    if (p->call && !p->all->ending)
        rpc_forget(p->call);
    p->call = NULL;
    p->lost = p->lost || has_unsent(p);
    set_state(p, LEFT);
    add_chore(p);
}

static void
on_linger_read(struct bufferevent *stream, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(stream);

    (void)arg;
    evbuffer_drain(input, evbuffer_get_length(input));
}

/* An error, in contrast to an end, tells that the client has closed with
 * something unread: our last answer. */
static void
on_linger_end(struct bufferevent *stream, short what, void *arg)
{
    struct peer *p = arg;

    (void)stream;
    p->lost = p->lost || (what & BEV_EVENT_ERROR);
    peer_forget(p);
}

/* evhttp has shut its side down, and our reference kept the descriptor open:
 * a client that still sends would otherwise get an error before it reads our
 * last answer. */
static void
linger(struct peer *p)
{
    const struct timeval limit = { .tv_sec = LINGER_S };
    short gone = departure(p);

    if (gone) {
        p->lost = p->lost || (gone & POLLERR);
        peer_forget(p);
        return;
    }
    set_state(p, LINGERING);
    bufferevent_disable(p->stream, EV_WRITE);
    on_linger_read(p->stream, p);
    bufferevent_setcb(p->stream, on_linger_read, NULL, on_linger_end, p);
    bufferevent_set_timeouts(p->stream, &limit, NULL);
    bufferevent_enable(p->stream, EV_READ);
}

/* ---------------------------------------------------------------- requests */

/* What was granted before has been read. */
static void
begin_request(struct peer *p)
{
    set_state(p, READING);
    p->granted[0] = '\0';
    event_del(p->watch);
}

/* evhttp takes whole requests at once off the input.  Where none can come of
 * as much as it may hold (a chunk's size without end), it would go on asking
 * for more. */
static void
on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct peer *p = arg;

    if (info->n_added == 0)
        return;
    if (p->state == QUIET)
        begin_request(p);
    if (p->state == READING && evbuffer_get_length(input) >= PEER_READ_MAX)
        doom(p);
}

static void
on_answered(struct evhttp_request *request, void *arg)
{
    struct peer *p = arg;

    (void)request;
    set_state(p, QUIET);
    if (p->last)
        doom(p); /* evhttp closes it, but after CONNECT */
    else if (evbuffer_get_length(bufferevent_get_input(p->stream)) > 0)
        begin_request(p);
    else if (p->granted[0])
        add_chore(p); /* watch */
}

static struct peer *
find(struct peers *all, const struct evhttp_connection *http)
{
    struct peer *p = TAILQ_LAST(&all->idle, peer_list);

    /* The last one has most likely just begun to send. */
    while (p && p->http != http)
        p = TAILQ_PREV(p, peer_list, link);
    return p;
}

void
peer_take(struct peers *all, struct evhttp_request *request)
{
    struct peer *p = find(all, evhttp_request_get_connection(request));

    if (!p) { /* there was no memory to know it */
        evhttp_send_error(request, HTTP_SERVUNAVAIL, NULL);
        return;
    }
    set_state(p, CALLING);
    p->request = request;
    all->options.serve(all->options.context, p, request);
}

enum peer_standing
peer_standing(const struct peer *p)
{
    return p->standing;
}

static void
add_headers(struct evkeyvalq *headers, const struct peer_answer *a)
{
    char length[32];

    snprintf(length, sizeof length, "%zu", a->length);
    if (a->type)
        evhttp_add_header(headers, "Content-Type", a->type);
    if (a->allow)
        evhttp_add_header(headers, "Allow", a->allow);
    if (a->close)
        evhttp_add_header(headers, "Connection", "close");
    if (a->status != HTTP_NOCONTENT) /* evhttp doesn't tell HTTP/1.0 clients */
        evhttp_add_header(headers, "Content-Length", length);
}

void
peer_answer(struct peer *p, const struct peer_answer *a)
{
    struct evhttp_request *request = p->request;

    assert(request);
    event_del(p->watch);
    p->request = NULL;
    p->call = NULL;
    p->last = a->close;
    if (a->granted)
        snprintf(p->granted, sizeof p->granted, "%s", a->granted);
    add_headers(evhttp_request_get_output_headers(request), a);
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD)
        evbuffer_add(evhttp_request_get_output_buffer(request), a->text,
                     a->length);
    evhttp_request_set_on_complete_cb(request, on_answered, p);
    set_state(p, WRITING);
    evhttp_send_reply(request, a->status, NULL, NULL);
    /* evhttp would read, without a limit, and take an end for the end of
     * everything: whoever closed his side for sending gets his answer. */
    bufferevent_disable(p->stream, EV_READ);
}

/* ----------------------------------------------------------- who is leaving */

static void
on_watch_call(struct peer *p, short gone)
{
    if (gone && p->streaming) {
        peer_cut(p);
        return;
    }
    if (!gone || !p->call || rpc_cancel(p->call))
        return;
    if (gone & (POLLHUP | POLLERR))
        peer_cut(p);
}

static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct peer *p = arg;
    short gone = departure(p);

    (void)fd;
    (void)what;
    if (p->state == CALLING) {
        on_watch_call(p, gone);
        return;
    }
    p->lost = p->lost || (gone & POLLERR);
    event_del(p->watch); /* whatever came, evhttp reads it now */
}

static void
watch(struct peer *p, short edge)
{
    event_del(p->watch);
    event_assign(p->watch, p->all->options.base, bufferevent_getfd(p->stream),
                 (short)(EV_READ | EV_PERSIST | edge), on_watch, p);
    event_add(p->watch, NULL);
}

/* While a call is open evhttp doesn't read: this is how we learn that its
 * client has left, be there unread requests or not (hence edges).  EV_CLOSED
 * would not do: libevent doesn't tell it along with an error, which there is
 * if an answer was left unread, and turns around for ever. */
void
peer_wait(struct peer *p, struct rpc_call *call)
{
    p->call = call;
    bufferevent_disable(p->stream, EV_WRITE); /* a "100 Continue" can wait */
    watch(p, EV_ET);
}

void
peer_stream(struct peer *p, const char *type)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(p->request);

    p->streaming = true;
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Cache-Control", "no-cache");
    evhttp_add_header(headers, "Connection", "close");
    evhttp_send_reply_start(p->request, HTTP_OK, NULL);
    bufferevent_disable(p->stream, EV_READ); /* as in peer_answer() */
    watch(p, EV_ET);
}

bool
peer_send(struct peer *p, const char *text, size_t length, size_t most)
{
    struct evbuffer *output = bufferevent_get_output(p->stream);
    struct evbuffer *bit = p->all->bit;

    assert(p->streaming);
    if (evbuffer_get_length(output) + length > most)
        return false;
    evbuffer_add(bit, text, length);
    evhttp_send_reply_chunk(p->request, bit);
    evbuffer_drain(bit, evbuffer_get_length(bit)); /* if nobody took it */
    bufferevent_disable(p->stream, EV_READ);
    return true;
}

void
peer_end(struct peer *p)
{
    struct evhttp_request *request = p->request;

    assert(p->streaming);
    event_del(p->watch);
    p->streaming = false;
    p->request = NULL;
    p->last = true;
    evhttp_request_set_on_complete_cb(request, on_answered, p);
    set_state(p, WRITING);
    evhttp_send_reply_end(request);
    bufferevent_disable(p->stream, EV_READ);
}

bool
peer_is_read(struct peer *p)
{
    if (!departure(p))
        return true;
    p->call = NULL;
    doom(p);
    return false;
}

/* --------------------------------------------------- beginning; and chores */

static bool
make_stream(struct peer *p, struct event_base *base)
{
    p->stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!p->stream)
        return false;
    bufferevent_incref(p->stream);
    bufferevent_setwatermark(p->stream, EV_READ, 0, PEER_READ_MAX);
    evbuffer_add_cb(bufferevent_get_input(p->stream), on_input, p);
    return true;
}

struct peer *
peer_new(struct peers *all)
{
    struct peer *p = calloc(1, sizeof *p);

    if (!p || !make_stream(p, all->options.base)) {
        free(p);
        return NULL;
    }
    p->all = all;
    p->since_us = all->options.now_us();
    TAILQ_INSERT_TAIL(&all->idle, p, link);
    all->count++;
    add_chore(p);
    peers_arm_idle_timer(all);
    return p;
}

/* A stream's callbacks have the evhttp_connection as their argument: nothing
 * else leads to it before the first request.  None: evhttp had no memory, and
 * the descriptor is not ours to close. */
static void
adopt(struct peer *p)
{
    void *http = NULL;

    bufferevent_getcb(p->stream, NULL, NULL, NULL, &http);
    if (!http) {
        bufferevent_setfd(p->stream, -1);
        peer_forget(p);
        return;
    }
    p->watch = event_new(p->all->options.base, -1, 0, on_watch, p);
    if (!p->watch) {
        evhttp_connection_free(http);
        peer_forget(p);
        return;
    }
    p->http = http;
    evhttp_connection_set_closecb(p->http, on_closed, p);
    peers_judge(p);
    p->state = QUIET;
}

void
peer_do_chores(struct peers *all)
{
    struct peer *p;

    while ((p = TAILQ_FIRST(&all->due)) != NULL) {
        remove_chore(p); /* NOLINT: peer_forget() unlinks what it frees */
        if (p->state == NEW)
            adopt(p);
        else if (p->state == LEFT)
            linger(p);
        else if (p->doomed)
            peer_cut(p);
        else if (p->state == QUIET && p->granted[0])
            watch(p, 0);
    }
}
