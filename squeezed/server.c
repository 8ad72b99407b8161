/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/server.h"

#include "squeezed/events.h"
#include "squeezed/listen.h"
#include "squeezed/metrics.h"
#include "squeezed/peer.h"
#include "squeezed/rpc.h"
#include "squeezed/status.h"

#include <event2/buffer.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct server {
    struct broker *broker;
    struct server_options options;
    struct rpc *rpc;
    struct peers *peers;
    struct events *events;
    struct metrics metrics;
    gid_t group;
    struct listen_socket *sockets;
    size_t socket_count; /* open */
};

/* ----------------------------------------------------------------- answers */

/* An error that is none of a call, in the notation of what was sent all the
 * same. */
static void
send_error_like(struct peer *p, struct peer_answer *a, struct evbuffer *body,
                int code, const char *message, const char *limit)
{
    char start[64]; /* tells the notation */
    ev_ssize_t n = body ? evbuffer_copyout(body, start, sizeof start) : 0;
    char *text = rpc_error_text(start, n > 0 ? (size_t)n : 0, code, message,
                                limit, &a->type);

    a->text = text;
    a->length = text ? strlen(text) : 0;
    if (!text)
        a->type = NULL;
    peer_answer(p, a);
    free(text);
}

/* The same where nothing was. */
static void
send_error(struct peer *p, struct peer_answer *a, int code, const char *message,
           const char *limit)
{
    send_error_like(p, a, NULL, code, message, limit);
}

static bool
on_answered(void *arg, const struct rpc_answer *answer)
{
    struct peer *p = arg;
    struct peer_answer a = {
        .status = answer->status,
        .type = answer->type,
        .text = answer->text,
        .length = answer->length,
        .granted = answer->granted,
    };

    if (answer->granted && !peer_is_read(p))
        return false;
    peer_answer(p, &a);
    return true;
}

/* ------------------------------------------------------------------- pages */

static void
serve_status(struct server *s, struct peer *p, struct evhttp_request *request)
{
    const struct server_options *o = &s->options;
    json_t *status = status_build(s->broker, o->platform, o->now_us());
    char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    struct peer_answer a = { .status = text ? 200 : 503,
                             .type = "application/json",
                             .text = text,
                             .length = text ? strlen(text) : 0 };

    (void)request;
    if (text)
        peer_answer(p, &a);
    else
        send_error(p, &a, err_rpc_code(ERR_NOT_READY),
                   "the host can't be seen yet", NULL);
    json_decref(status);
    free(text);
}

static void
serve_health(struct server *s, struct peer *p, struct evhttp_request *request)
{
    const struct server_options *o = &s->options;
    char why[STATUS_WHY] = "ok";
    bool good = status_healthy(s->broker, o->platform, o->now_us(), why);
    struct peer_answer a = { .status = good ? 200 : 503,
                             .type = "text/plain",
                             .text = why,
                             .length = strlen(why) };

    (void)request;
    peer_answer(p, &a);
}

static void
serve_events(struct server *s, struct peer *p, struct evhttp_request *request)
{
    struct peer_answer a = { .status = 503 };

    (void)request;
    if (!events_add(s->events, p))
        send_error(p, &a, err_rpc_code(ERR_BUSY),
                   "too many follow the events: try again when one has left",
                   "listeners");
}

/* Who can read OpenMetrics says so; what others get differs in its comments
 * alone. */
static bool
wants_openmetrics(const struct evhttp_request *request)
{
    const char *accept = evhttp_find_header(
        evhttp_request_get_input_headers((struct evhttp_request *)request),
        "Accept");

    return accept && strstr(accept, "application/openmetrics-text");
}

static void
serve_metrics(struct server *s, struct peer *p, struct evhttp_request *request)
{
    const struct metrics_sources sources = {
        .broker = s->broker,
        .platform = s->options.platform,
        .now_us = s->options.now_us(),
        .connections = peers_count(s->peers),
        .listeners = events_count(s->events),
        .listeners_dropped = events_dropped(s->events),
    };
    bool open = wants_openmetrics(request);
    char *text = metrics_text(&s->metrics, &sources, open);
    struct peer_answer a = { .status = text ? 200 : 500,
                             .type =
                                 open ? METRICS_TYPE_OPEN : METRICS_TYPE_PLAIN,
                             .text = text,
                             .length = text ? strlen(text) : 0 };

    peer_answer(p, &a);
    free(text);
}

static const struct {
    const char *path;
    void (*serve)(struct server *s, struct peer *p,
                  struct evhttp_request *request);
} pages[] = {
    { "/v1/status", serve_status },
    { "/v1/events", serve_events },
    { "/metrics", serve_metrics },
    { "/healthz", serve_health },
};

static void
serve_page(struct server *s, struct peer *p, struct evhttp_request *request)
{
    const char *path =
        evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    struct peer_answer a = { .status = 404 };
    char message[160];

    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(path, pages[i].path) == 0) {
            pages[i].serve(s, p, request);
            return;
        }
    snprintf(message, sizeof message,
             "there is no page '%.64s': GET /v1/status, /v1/events, /metrics "
             "or /healthz, or POST a call",
             path);
    send_error(p, &a, RPC_NO_METHOD, message, NULL);
}

/* ---------------------------------------------------------------- requests */

static void
serve_call(struct server *s, struct peer *p, struct evhttp_request *request)
{
    struct peer_answer too_long = { .status = 413, .close = true };
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(body);
    const void *text = evbuffer_pullup(body, -1);
    struct rpc_call *call;

    if (length > LIMIT_BODY_BYTES) {
        send_error_like(p, &too_long, body, RPC_INVALID_REQUEST,
                        "the body is over the limit of 1 MiB", NULL);
        return;
    }
    call = rpc_handle(s->rpc, text ? text : "", length, on_answered, p);
    if (call)
        peer_wait(p, call);
}

static void
serve_method(struct server *s, struct peer *p, struct evhttp_request *request)
{
    /* Of some of them evhttp doesn't read the body: what comes next is not
     * known then. */
    struct peer_answer a = { .status = 405,
                             .allow = "GET, POST",
                             .close = true };
    enum evhttp_cmd_type method = evhttp_request_get_command(request);

    if (method == EVHTTP_REQ_POST)
        serve_call(s, p, request);
    else if (method == EVHTTP_REQ_GET)
        serve_page(s, p, request);
    else
        send_error(p, &a, RPC_INVALID_REQUEST,
                   "GET a page, or POST a call: nothing else is served", NULL);
}

static void
serve(void *context, struct peer *p, struct evhttp_request *request)
{
    struct peer_answer forbidden = { .status = 403, .close = true };
    struct peer_answer busy = { .status = 503, .close = true };
    struct evbuffer *body = evhttp_request_get_input_buffer(request);

    switch (peer_standing(p)) {
    case PEER_STRANGER:
        send_error_like(p, &forbidden, body, RPC_INVALID_REQUEST,
                        "only root and members of socket-group may connect",
                        NULL);
        break;
    case PEER_TOO_MANY:
        send_error_like(
            p, &busy, body, err_rpc_code(ERR_BUSY),
            "all connections are in use by calls that wait: try again "
            "when one has been answered",
            "connections");
        break;
    default:
        serve_method(context, p, request);
    }
}

/* ----------------------------------------------------------- life of it all */

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

/* Nobody to be told, or counted for, but those who ask us. */
static void
on_news(void *context, const struct news *news)
{
    struct server *s = context;

    metrics_count(&s->metrics, news);
    events_tell(s->events, news);
}

static void
on_left(void *context, struct peer *p)
{
    struct server *s = context;

    events_left(s->events, p);
}

static bool
make_parts(struct server *s, struct event_base *base)
{
    const struct server_options *o = &s->options;
    const struct rpc_options rpc = { .broker = s->broker,
                                     .platform = o->platform,
                                     .boot = o->boot,
                                     .zero = o->zero,
                                     .now_us = o->now_us };
    struct peers_options peers = {
        .base = base,
        .limit = o->connection_limit ? o->connection_limit : LIMIT_CONNECTIONS,
        .idle_us = o->idle_us ? o->idle_us : LIMIT_IDLE_S * (int64_t)US_PER_S,
        .now_us = o->now_us,
        .group = s->group,
        .serve = serve,
        .left = on_left,
        .context = s,
    };
    const struct events_options events = { .base = base,
                                           .platform = o->platform,
                                           .now_us = o->now_us,
                                           .wall_ms = o->wall_ms,
                                           .alive_us = o->alive_us };

    s->rpc = rpc_new(&rpc);
    peers.rpc = s->rpc;
    s->peers = peers_new(&peers);
    s->events = events_new(&events);
    return s->rpc && s->peers && s->events;
}

static bool
open_socket(struct server *s, const char *path, char *message, size_t size)
{
    struct listen_socket *socket = &s->sockets[s->socket_count];

    if (!listen_open(socket, path, s->group, message, size))
        return false;
    s->socket_count++;
    if (peers_listen(s->peers, socket->fd))
        return true;
    snprintf(message, size, "%s: out of memory", path);
    return false;
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
    s->broker = broker;
    s->options = *options;
    s->sockets = calloc(options->path_count, sizeof *s->sockets);
    good = s->sockets && find_group(options->group, &s->group, message, size) &&
           make_parts(s, base);
    for (size_t i = 0; good && i < options->path_count; i++)
        good = open_socket(s, options->paths[i], message, size);
    if (good) {
        broker_follow(broker, on_news, s);
        return s;
    }
    server_free(s);
    return NULL;
}

void
server_free(struct server *s)
{
    if (!s)
        return;
    peers_free(s->peers);
    events_free(s->events);
    while (s->socket_count > 0)
        listen_close(&s->sockets[--s->socket_count]);
    rpc_free(s->rpc);
    free(s->sockets);
    free(s);
}

struct rpc *
server_rpc(struct server *s)
{
    return s->rpc;
}

size_t
server_connections(const struct server *s)
{
    return peers_count(s->peers);
}
