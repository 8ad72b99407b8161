/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/server.h"

#include "common/log.h"
#include "squeezed/http.h"
#include "squeezed/listen.h"
#include "squeezed/rpc.h"
#include "squeezed/status.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a connection may make us hold of what it sends. */
#define READ_MAX ((size_t)LIMIT_BODY_BYTES + LIMIT_HEADER_BYTES)
/* After an answer that ends the connection its client may take this long to
 * read it and to close. */
#define LINGER_S 2
/* When no further file can be opened: the next try. */
#define ACCEPT_RETRY_US (100 * US_PER_MS)

enum connection_state {
    QUIET, /* between requests */
    READING_HEAD,
    READING_BODY,
    CALLING,  /* the answer is awaited */
    WRITING,  /* it is on its way */
    LINGERING /* all is said: until the client closes */
};

struct connection {
    TAILQ_ENTRY(connection) link;
    struct server *server;
    struct bufferevent *stream;
    struct event *left; /* tells that the client closed, while CALLING */
    enum connection_state state;
    int64_t since_us; /* in the server's idle list since then */
    struct http_head head;
    struct http_chunks chunks;
    struct evbuffer *body; /* of what comes in chunks */
    struct rpc_call *call; /* open */
    bool close_after;      /* this answer */
    /* The reservation that the last answer told of; empty: none. */
    char granted[LIMIT_ID_CHARS + 1];
};

TAILQ_HEAD(connection_list, connection);

struct server {
    struct event_base *base;
    struct broker *broker;
    struct server_options options;
    struct rpc *rpc;
    gid_t group;
    struct listen_socket *sockets;
    struct evconnlistener **listeners;
    struct event *idle_timer;
    struct event *accept_timer;
    bool accept_failed;
    size_t connections;
    /* Those without a call, the one that is longest so first; and the
     * others. */
    struct connection_list idle;
    struct connection_list calling;
};

/* ------------------------------------------------------------------ closing */

static void
arm_idle_timer(struct server *s)
{
    const struct connection *oldest = TAILQ_FIRST(&s->idle);
    struct timeval wait;
    int64_t left_us;

    if (!oldest || event_pending(s->idle_timer, EV_TIMEOUT, NULL))
        return;
    left_us = max_i64(
        oldest->since_us + s->options.idle_us - s->options.now_us(), US_PER_MS);
    wait.tv_sec = (time_t)(left_us / US_PER_S);
    wait.tv_usec = (suseconds_t)(left_us % US_PER_S);
    event_add(s->idle_timer, &wait);
}

static struct connection_list *
list_of(struct connection *c)
{
    return c->state == CALLING ? &c->server->calling : &c->server->idle;
}

/* Every change of state goes through here.  The idle time starts anew, except
 * within a request: whoever sends one byte a minute gets no more time. */
static void
set_state(struct connection *c, enum connection_state state)
{
    struct server *s = c->server;
    bool starts_anew = c->state != READING_HEAD || state != READING_BODY;

    if (!starts_anew) {
        c->state = state;
        return;
    }
    TAILQ_REMOVE(list_of(c), c, link);
    c->state = state;
    c->since_us = s->options.now_us();
    TAILQ_INSERT_TAIL(list_of(c), c, link);
    arm_idle_timer(s);
}

static void
free_connection(struct connection *c)
{
    struct server *s = c->server;

    TAILQ_REMOVE(list_of(c), c, link);
    s->connections--;
    if (c->left)
        event_free(c->left);
    if (c->stream)
        bufferevent_free(c->stream);
    if (c->body)
        evbuffer_free(c->body);
    free(c);
}

/* lost: its last answer did not arrive. */
static void
close_connection(struct connection *c, bool lost)
{
    struct server *s = c->server;

    if (c->call)
        rpc_forget(c->call);
    if (lost && c->granted[0])
        rpc_undelivered(s->rpc, c->granted);
    free_connection(c);
}

static bool
has_unsent(const struct connection *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->stream)) > 0;
}

static void
on_idle_timer(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    int64_t due_us = s->options.now_us() - s->options.idle_us;
    struct connection *c;

    (void)fd;
    (void)what;
    while ((c = TAILQ_FIRST(&s->idle)) != NULL && c->since_us <= due_us)
        close_connection(c, has_unsent(c));
    arm_idle_timer(s);
}

/* Closes the one that has been without a call for longest; one that is about
 * to ask, or still has to read an answer, only if there is no other. */
static bool
make_room(struct server *s)
{
    struct connection *c, *second = NULL;

    for (c = TAILQ_FIRST(&s->idle); c; c = TAILQ_NEXT(c, link)) {
        if (c->state == QUIET || c->state == LINGERING)
            break;
        if (!second && c->state != WRITING)
            second = c;
    }
    if (!c)
        c = second;
    if (!c)
        return false;
    close_connection(c, false);
    return true;
}

/* ----------------------------------------------------------------- answers */

/* a->http10 and a->omit_text are set here. */
static void
send_answer(struct connection *c, struct http_answer *a)
{
    a->http10 = c->head.http10;
    a->omit_text = strcmp(c->head.method, "HEAD") == 0;
    a->close = a->close || !c->head.keep_alive;
    c->close_after = a->close;
    http_write_answer(bufferevent_get_output(c->stream), a);
    set_state(c, WRITING);
    bufferevent_disable(c->stream, EV_READ);
    bufferevent_enable(c->stream, EV_WRITE);
}

static void
linger(struct connection *c)
{
    const struct timeval limit = { .tv_sec = LINGER_S };

    set_state(c, LINGERING);
    shutdown(bufferevent_getfd(c->stream), SHUT_WR);
    bufferevent_set_timeouts(c->stream, &limit, NULL);
    bufferevent_enable(c->stream, EV_READ);
}

/* An error that is none of a call: its text is that of a JSON-RPC error all
 * the same. */
static void
send_error(struct connection *c, struct http_answer *a, int code,
           const char *message, const char *limit)
{
    char *text = rpc_error_text(code, message, limit);

    a->type = text ? "application/json" : NULL;
    a->text = text;
    a->length = text ? strlen(text) : 0;
    send_answer(c, a);
    free(text);
}

static const struct {
    int status;
    const char *message;
} refusals[] = {
    { 400, "this is no HTTP/1.1 request" },
    { 413, "the body is over the limit of 1 MiB" },
    { 417, "of all expectations only 100-continue is known" },
    { 431, "the headers are over the limit of 16 KiB" },
    { 501, "of all transfer encodings only chunked is known" },
    { 505, "only HTTP/1.0 and 1.1 are spoken here" },
};

/* Where the next request would begin isn't known any more: this ends the
 * connection. */
static void
refuse(struct connection *c, int status)
{
    struct http_answer a = { .status = status, .close = true };
    const char *message = "";

    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (refusals[i].status == status)
            message = refusals[i].message;
    send_error(c, &a, RPC_INVALID_REQUEST, message, NULL);
}

/* Closed altogether, or (half) for sending only. */
static bool
peer_left(const struct connection *c, bool half)
{
    struct pollfd p = { .fd = bufferevent_getfd(c->stream),
                        .events = POLLRDHUP };
    short gone = (short)(POLLHUP | POLLERR | (half ? POLLRDHUP : 0));

    return poll(&p, 1, 0) > 0 && (p.revents & gone);
}

static bool
on_answered(void *arg, const struct rpc_answer *answer)
{
    struct connection *c = arg;
    struct http_answer a = {
        .status = answer->status,
        .type = answer->type,
        .text = answer->text,
        .length = answer->length,
    };

    c->call = NULL;
    event_del(c->left);
    if (answer->granted && peer_left(c, true)) {
        linger(c);
        return false;
    }
    if (answer->granted)
        snprintf(c->granted, sizeof c->granted, "%s", answer->granted);
    send_answer(c, &a);
    return true;
}

/* While a call is open its connection isn't read from: this is how we learn
 * that its client has left, be there unread requests or not.  Whoever has
 * closed his side for sending only counts as gone for what can be taken
 * back, and may read the answer to the rest. */
static void
on_left(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;

    (void)fd;
    (void)what;
    if (c->call && !rpc_cancel(c->call) && peer_left(c, false))
        close_connection(c, true);
}

/* ------------------------------------------------------------------- pages */

static void
serve_status(struct connection *c)
{
    const struct server_options *o = &c->server->options;
    json_t *status = status_build(c->server->broker, o->platform, o->now_us());
    char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    struct http_answer a = { .status = text ? 200 : 503,
                             .type = "application/json",
                             .text = text,
                             .length = text ? strlen(text) : 0 };

    if (text)
        send_answer(c, &a);
    else
        send_error(c, &a, err_rpc_code(ERR_NOT_READY),
                   "the host can't be seen yet", NULL);
    json_decref(status);
    free(text);
}

static void
serve_health(struct connection *c)
{
    const struct server_options *o = &c->server->options;
    char why[STATUS_WHY] = "ok";
    bool good =
        status_healthy(c->server->broker, o->platform, o->now_us(), why);
    struct http_answer a = { .status = good ? 200 : 503,
                             .type = "text/plain",
                             .text = why,
                             .length = strlen(why) };

    send_answer(c, &a);
}

static const struct {
    const char *path;
    void (*serve)(struct connection *c);
} pages[] = {
    { "/v1/status", serve_status },
    { "/healthz", serve_health },
};

static void
serve_page(struct connection *c)
{
    struct http_answer a = { .status = 404 };
    char message[160];

    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(c->head.path, pages[i].path) == 0) {
            pages[i].serve(c);
            return;
        }
    snprintf(message, sizeof message,
             "there is no page '%s': GET /v1/status or /healthz, or POST a "
             "call",
             c->head.path);
    send_error(c, &a, RPC_NO_METHOD, message, NULL);
}

/* ---------------------------------------------------------------- requests */

static void
serve_call(struct connection *c, const char *text, size_t length)
{
    struct rpc_call *call =
        rpc_handle(c->server->rpc, text, length, on_answered, c);

    if (!call)
        return;
    c->call = call;
    event_add(c->left, NULL);
}

static void
serve(struct connection *c, const char *text, size_t length)
{
    struct http_answer a = { .status = 405, .allow = "GET, POST" };

    set_state(c, CALLING);
    bufferevent_disable(c->stream, EV_READ);
    if (strcmp(c->head.method, "POST") == 0)
        serve_call(c, text, length);
    else if (strcmp(c->head.method, "GET") == 0)
        serve_page(c);
    else
        send_error(c, &a, RPC_INVALID_REQUEST,
                   "GET a page, or POST a call: nothing else is served", NULL);
}

static void
read_body(struct connection *c)
{
    struct evbuffer *input = bufferevent_get_input(c->stream);
    struct evbuffer *from = c->head.chunked ? c->body : input;
    size_t length = (size_t)c->head.length;
    int status = HTTP_DONE;

    if (c->head.chunked) {
        status = http_unchunk(&c->chunks, input, c->body, LIMIT_BODY_BYTES);
        length = evbuffer_get_length(c->body);
    } else if (evbuffer_get_length(input) < length) {
        status = HTTP_MORE;
    }
    if (status == HTTP_DONE) {
        const void *text = evbuffer_pullup(from, (ev_ssize_t)length);

        serve(c, text ? text : "", length);
        evbuffer_drain(from, length);
    } else if (status != HTTP_MORE) {
        refuse(c, status);
    }
}

static void
start_body(struct connection *c)
{
    struct evbuffer *input = bufferevent_get_input(c->stream);

    if (c->head.length > LIMIT_BODY_BYTES) {
        refuse(c, 413);
        return;
    }
    set_state(c, READING_BODY);
    c->chunks = (struct http_chunks){ .left = 0 };
    evbuffer_drain(c->body, evbuffer_get_length(c->body));
    if (c->head.expects_continue && !c->head.http10 &&
        evbuffer_get_length(input) == 0)
        bufferevent_write(c->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    read_body(c);
}

static void
read_head(struct connection *c)
{
    struct evbuffer *input = bufferevent_get_input(c->stream);
    size_t length = evbuffer_get_length(input);
    const char *text;
    int status;

    if (length > LIMIT_HEADER_BYTES)
        length = LIMIT_HEADER_BYTES;
    text = (const char *)evbuffer_pullup(input, (ev_ssize_t)length);
    status = http_parse_head(text, length, &c->head);
    if (status == HTTP_MORE && length == LIMIT_HEADER_BYTES)
        status = 431;
    if (status == HTTP_DONE) {
        evbuffer_drain(input, c->head.bytes);
        start_body(c);
    } else if (status != HTTP_MORE) {
        refuse(c, status);
    }
}

static void
on_read(struct bufferevent *stream, void *arg)
{
    struct connection *c = arg;
    struct evbuffer *input = bufferevent_get_input(stream);

    if (c->state == LINGERING)
        evbuffer_drain(input, evbuffer_get_length(input));
    if (c->state == QUIET && evbuffer_get_length(input) > 0) {
        set_state(c, READING_HEAD);
        c->granted[0] = '\0'; /* whoever goes on has read the answer */
    }
    if (c->state == READING_HEAD)
        read_head(c);
    else if (c->state == READING_BODY)
        read_body(c);
}

static void
on_written(struct bufferevent *stream, void *arg)
{
    struct connection *c = arg;

    if (c->state != WRITING)
        return; /* a "100 Continue" is out */
    if (c->close_after) {
        linger(c);
        return;
    }
    set_state(c, QUIET);
    bufferevent_enable(stream, EV_READ);
    on_read(stream, c); /* the next request may be there already */
}

/* An error, in contrast to an end, tells that the client has closed with
 * something unread: our last answer. */
static void
on_event(struct bufferevent *stream, short what, void *arg)
{
    struct connection *c = arg;

    (void)stream;
    close_connection(c, (what & BEV_EVENT_ERROR) || has_unsent(c));
}

/* ------------------------------------------------------------- connections */

/* NULL without memory; the descriptor has been closed then. */
static struct connection *
new_connection(struct server *s, int fd)
{
    struct connection *c = calloc(1, sizeof *c);

    if (!c) {
        close(fd);
        return NULL;
    }
    c->server = s;
    c->since_us = s->options.now_us();
    c->head.keep_alive = true;
    TAILQ_INSERT_TAIL(&s->idle, c, link);
    s->connections++;
    c->stream = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->left = event_new(s->base, fd, EV_CLOSED, on_left, c);
    c->body = evbuffer_new();
    if (!c->stream)
        close(fd);
    if (!c->stream || !c->left || !c->body) {
        free_connection(c);
        return NULL;
    }
    bufferevent_setcb(c->stream, on_read, on_written, on_event, c);
    bufferevent_setwatermark(c->stream, EV_READ, 0, READ_MAX);
    arm_idle_timer(s);
    return c;
}

/* In one breath, for those that get no connection of ours. */
static void
turn_away(int fd, int status, int code, const char *message, const char *limit)
{
    char *text = rpc_error_text(code, message, limit);
    struct http_answer a = { .status = status,
                             .type = "application/json",
                             .text = text,
                             .length = text ? strlen(text) : 0,
                             .close = true };
    struct evbuffer *buffer = evbuffer_new();

    if (text && buffer) {
        http_write_answer(buffer, &a);
        evbuffer_write(buffer, fd);
    }
    if (buffer)
        evbuffer_free(buffer);
    free(text);
    close(fd);
}

/* All connections wait for answers.  The new one is told so as a connection
 * of its own, so that its client can send its request and read; unless there
 * are many of these. */
static void
refuse_connection(struct server *s, int fd)
{
    const char *message = "all connections are in use by calls that wait: try "
                          "again when one has been answered";
    struct http_answer a = { .status = 503, .close = true };
    const size_t margin = 16;
    struct connection *c;

    log_warning("%zu connections with open calls: another one was refused",
                s->connections);
    if (s->connections >= s->options.connection_limit + margin)
        turn_away(fd, 503, err_rpc_code(ERR_BUSY), message, "connections");
    else if ((c = new_connection(s, fd)) != NULL)
        send_error(c, &a, err_rpc_code(ERR_BUSY), message, "connections");
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd,
          struct sockaddr *address, int length, void *arg)
{
    struct server *s = arg;
    struct connection *c;

    (void)listener;
    (void)address;
    (void)length;
    s->accept_failed = false;
    if (!listen_peer_allowed(fd, s->group)) {
        log_warning("a connection of somebody who may not was refused");
        turn_away(fd, 403, RPC_INVALID_REQUEST,
                  "only root and members of socket-group may connect", NULL);
        return;
    }
    if (s->connections >= s->options.connection_limit)
        make_room(s);
    if (s->connections >= s->options.connection_limit)
        refuse_connection(s, fd);
    else if ((c = new_connection(s, fd)) != NULL)
        bufferevent_enable(c->stream, EV_READ);
}

static void
enable_listeners(struct server *s, bool enable)
{
    for (size_t i = 0; i < s->options.path_count; i++)
        if (enable)
            evconnlistener_enable(s->listeners[i]);
        else
            evconnlistener_disable(s->listeners[i]);
}

/* No more files, most likely: without a pause the listener would spin. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
    const struct timeval pause = { .tv_usec = ACCEPT_RETRY_US };
    struct server *s = arg;

    (void)listener;
    if (!s->accept_failed)
        log_error("can't accept a connection: %s; trying again",
                  strerror(errno));
    s->accept_failed = true;
    enable_listeners(s, false);
    event_add(s->accept_timer, &pause);
}

static void
on_accept_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    enable_listeners(arg, true);
}

/* ------------------------------------------------------------ life of it all
 */

static bool
find_group(const char *name, gid_t *ret, char *message, size_t size)
{
    const struct group *group;

    *ret = (gid_t)-1;
    if (!name || !name[0])
        return true;
    group = getgrnam(name);
    if (group) {
        *ret = group->gr_gid;
        return true;
    }
    snprintf(message, size,
             "socket-group: there is no group '%s': make it with groupadd, or "
             "choose another",
             name);
    return false;
}

static bool
make_parts(struct server *s)
{
    const struct rpc_options rpc = { .broker = s->broker,
                                     .platform = s->options.platform,
                                     .now_us = s->options.now_us };

    s->rpc = rpc_new(&rpc);
    s->idle_timer = evtimer_new(s->base, on_idle_timer, s);
    s->accept_timer = evtimer_new(s->base, on_accept_timer, s);
    return s->rpc && s->idle_timer && s->accept_timer;
}

static bool
open_socket(struct server *s, size_t i, char *message, size_t size)
{
    const char *path = s->options.paths[i];

    if (!listen_open(&s->sockets[i], path, s->group, message, size))
        return false;
    s->listeners[i] = evconnlistener_new(
        s->base, on_accept, s, LEV_OPT_CLOSE_ON_EXEC, 0, s->sockets[i].fd);
    if (!s->listeners[i]) {
        snprintf(message, size, "%s: out of memory", path);
        return false;
    }
    evconnlistener_set_error_cb(s->listeners[i], on_accept_error);
    return true;
}

struct server *
server_new(struct event_base *base, struct broker *broker,
           const struct server_options *options, char *message, size_t size)
{
    struct server *s = calloc(1, sizeof *s);
    bool good;

    snprintf(message, size, "out of memory");
    if (!s)
        return NULL;
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->calling);
    s->base = base;
    s->broker = broker;
    s->options = *options;
    if (s->options.connection_limit == 0)
        s->options.connection_limit = LIMIT_CONNECTIONS;
    if (s->options.idle_us == 0)
        s->options.idle_us = LIMIT_IDLE_S * (int64_t)US_PER_S;
    s->options.path_count = 0; /* as many as are open */
    s->sockets = calloc(options->path_count, sizeof *s->sockets);
    s->listeners = calloc(options->path_count, sizeof *s->listeners);
    good = s->sockets && s->listeners && make_parts(s) &&
           find_group(options->group, &s->group, message, size);
    while (good && s->options.path_count < options->path_count) {
        s->sockets[s->options.path_count].fd = -1;
        good = open_socket(s, s->options.path_count++, message, size);
    }
    if (good)
        return s;
    server_free(s);
    return NULL;
}

void
server_free(struct server *s)
{
    struct connection *c;

    if (!s)
        return;
    while ((c = TAILQ_FIRST(&s->idle)) || (c = TAILQ_FIRST(&s->calling)))
        free_connection(c); /* NOLINT: it unlinks what it frees */
    for (size_t i = 0; i < s->options.path_count; i++) {
        if (s->listeners[i])
            evconnlistener_free(s->listeners[i]);
        listen_close(&s->sockets[i]);
    }
    if (s->idle_timer)
        event_free(s->idle_timer);
    if (s->accept_timer)
        event_free(s->accept_timer);
    rpc_free(s->rpc);
    free(s->sockets);
    free(s->listeners);
    free(s);
}

size_t
server_connections(const struct server *s)
{
    return s->connections;
}
