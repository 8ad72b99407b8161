/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connection: connects and reconnects, writes requests, reads replies and
 * gives each to the request that it answers. */
#include "xenstore-client/internal.h"

#include "common/units.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const int64_t max_delay_us = US_PER_S;

static int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static void
start_timer(struct event *timer, int64_t delay_us)
{
    struct timeval delay = { .tv_sec = delay_us / US_PER_S,
                             .tv_usec = delay_us % US_PER_S };

    evtimer_add(timer, &delay);
}

/* Around everything that the loop calls: a client that was freed by one of its
 * callbacks lives until the outermost function is done with it. */
static void
enter(struct xsc *xsc)
{
    xsc->depth++;
}

static void
leave(struct xsc *xsc)
{
    if (--xsc->depth == 0 && xsc->freed)
        xsc_free(xsc);
}

/* May end with the client freed. */
static void
give(struct xsc *xsc, const struct request *request,
     const struct answer *answer)
{
    if (request->operation)
        request->operation->step(xsc, request->operation, answer);
    else if (answer->type == XS_READ)
        reply_call(request->reply, request->arg, answer->error, answer->value,
                   answer->length);
    else /* only the error counts: an "OK" is no value */
        reply_call(request->reply, request->arg, answer->error, "", 0);
}

/* Ends what is in the queue, which nobody else refers to.  error: 0 for each
 * request's own.  May end with the client freed. */
static void
end_all(struct xsc *xsc, struct queue *queue, int error)
{
    while (queue->count && !xsc->freed) {
        struct request request = queue_pop(queue);
        struct answer answer = { .type = request.type,
                                 .error = error ? error : request.error,
                                 .value = "" };

        give(xsc, &request, &answer);
    }
    queue_done(queue);
}

static void
on_local(evutil_socket_t fd, short what, void *arg)
{
    struct xsc *xsc = arg;
    struct queue local = xsc->local;

    (void)fd;
    (void)what;
    xsc->local = (struct queue){ .ring = NULL };
    enter(xsc);
    end_all(xsc, &local, 0);
    leave(xsc);
}

void
connection_end(struct xsc *xsc, struct request *request, int error)
{
    assert(!xsc->freed);
    request->error = error;
    queue_push(&xsc->local, request);
    if (xsc->local.count == 1)
        start_timer(&xsc->local_timer, 0);
}

size_t
connection_pending(const struct xsc *xsc)
{
    return xsc->pending.count + lanes_count(&xsc->waiting);
}

/* Next time it takes twice as long. */
static void
connect_later(struct xsc *xsc)
{
    start_timer(&xsc->connect_timer, xsc->delay_us);
    xsc->delay_us = min_i64(2 * xsc->delay_us, max_delay_us);
}

void
connection_close(struct xsc *xsc)
{
    event_del(&xsc->read_event);
    event_del(&xsc->write_event);
    event_del(&xsc->deadline_timer);
    event_del(&xsc->connect_timer);
    if (xsc->fd >= 0)
        close(xsc->fd);
    xsc->fd = -1;
    xsc->state = CONNECTION_DOWN;
    evbuffer_drain(xsc->output, evbuffer_get_length(xsc->output));
}

/* May end with the client freed. */
static void
lose(struct xsc *xsc, const char *why)
{
    bool was_up = xsc->state == CONNECTION_UP;
    struct queue ended[1 + LANES] = { xsc->pending };

    xsc->pending = (struct queue){ .ring = NULL };
    lanes_drop(&xsc->waiting, &ended[1]);
    connection_close(xsc);
    wire_done(&xsc->reader);
    /* Not so soon where each connection is lost at once. */
    if (was_up && now_us() - xsc->up_us >= max_delay_us)
        xsc->delay_us = xsc->options.reconnect_us;
    connect_later(xsc);
    for (size_t i = 0; i < 1 + LANES; i++)
        end_all(xsc, &ended[i], ENOTCONN);
    if (!xsc->freed)
        commits_lost(xsc);
    if (was_up && !xsc->freed && xsc->hooks.lost)
        xsc->hooks.lost(xsc->hooks.context, why);
}

static void
lose_errno(struct xsc *xsc, const char *doing)
{
    char why[128];

    snprintf(why, sizeof(why), "%s xenstored: %s", doing, strerror(errno));
    lose(xsc, why);
}

/* An event: path and token, each terminated.  NULL, or what is wrong. */
static const char *
take_event(struct xsc *xsc)
{
    const char *path = xsc->reader.body;
    size_t length = xsc->reader.header.len;
    const char *token = memchr(path, '\0', length);

    token = token ? token + 1 : path + length;
    if (!memchr(token, '\0', length - (size_t)(token - path)))
        return "xenstored sent a watch event without path or token";
    if (xsc->state == CONNECTION_UP && xsc->hooks.watch)
        xsc->hooks.watch(xsc->hooks.context, path, token);
    return NULL;
}

/* From the loop, so that many requests go with one call. */
static void
write_soon(struct xsc *xsc)
{
    if (!event_pending(&xsc->write_event, EV_WRITE, NULL))
        event_active(&xsc->write_event, EV_WRITE, 0);
}

/* Something lives there: the first request was answered. */
static void
come_up(struct xsc *xsc)
{
    xsc->state = CONNECTION_UP;
    xsc->up_us = xsc->waiting_us;
    if (xsc->hooks.up)
        xsc->hooks.up(xsc->hooks.context);
}

static bool
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The reply to the oldest request.  NULL, or what is wrong. */
static const char *
take_reply(struct xsc *xsc)
{
    const struct xsd_sockmsg *header = &xsc->reader.header;
    const char *body = xsc->reader.body;
    struct answer answer = { .type = header->type,
                             .value = body,
                             .length = header->len };
    struct request request;

    if (!xsc->pending.count)
        return "xenstored answered what nobody asked";
    request = *queue_first(&xsc->pending);
    if (header->req_id != request.id)
        return "xenstored answered another request than the oldest";
    if (header->type != request.type && header->type != XS_ERROR)
        return "xenstored's answer is of another type than the request";
    if (header->type == XS_ERROR)
        answer = (struct answer){ .type = request.type,
                                  .error = wire_errno(body),
                                  .value = "" };
    queue_pop(&xsc->pending);
    xsc->waiting_us = now_us();
    if (lanes_count(&xsc->waiting))
        write_soon(xsc);
    if (xsc->state == CONNECTION_UP)
        give(xsc, &request, &answer);
    else if (xsc->way == xsc->fallback && is_there(xsc->path))
        return "there is a better way to xenstored now";
    else
        come_up(xsc);
    return NULL;
}

/* May end with the client freed, or the connection lost. */
static void
take_bytes(struct xsc *xsc, const char *data, size_t length)
{
    while (!xsc->freed) {
        const char *wrong = NULL;

        switch (wire_feed(&xsc->reader, &data, &length)) {
        case WIRE_MORE:
            return;
        case WIRE_MESSAGE:
            wrong = xsc->reader.header.type == XS_WATCH_EVENT ? take_event(xsc)
                                                              : take_reply(xsc);
            break;
        case WIRE_BAD:
            wrong = "xenstored sent a message of over 1 MiB";
            break;
        case WIRE_NO_MEMORY:
            wrong = "no memory for xenstored's answer";
            break;
        }
        if (wrong) {
            lose(xsc, wrong);
            return;
        }
    }
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
    struct xsc *xsc = arg;
    ssize_t n = xsc->transport->read(fd, xsc->chunk, sizeof(xsc->chunk));

    (void)what;
    enter(xsc);
    if (n > 0)
        take_bytes(xsc, xsc->chunk, (size_t)n);
    else if (n == 0)
        lose(xsc, "xenstored closed the connection");
    else if (errno != EAGAIN && errno != EINTR)
        lose_errno(xsc, "reading from");
    leave(xsc);
}

/* The message that was just written is refused by the device. */
static void
refuse_written(struct xsc *xsc, int error)
{
    struct request request = queue_pop(&xsc->pending);
    struct answer answer = { .type = request.type,
                             .error = error,
                             .value = "" };

    xsc->waiting_us = now_us();
    give(xsc, &request, &answer);
}

/* As much goes to output as may be on its way. */
static void
fill_window(struct xsc *xsc)
{
    struct request request;

    while (xsc->pending.count < xsc->transport->window &&
           lanes_take(&xsc->waiting, xsc->output, &request)) {
        if (!xsc->pending.count)
            xsc->waiting_us = now_us();
        queue_push(&xsc->pending, &request);
    }
}

/* True when there is something to be written. */
static bool
may_write(struct xsc *xsc)
{
    if (xsc->freed || xsc->state == CONNECTION_DOWN)
        return false;
    fill_window(xsc);
    return evbuffer_get_length(xsc->output);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
    struct xsc *xsc = arg;

    (void)fd;
    (void)what;
    enter(xsc);
    while (may_write(xsc)) {
        if (xsc->transport->write(xsc->fd, xsc->output) >= 0)
            continue;
        if (errno == EAGAIN || errno == EINTR) {
            event_add(&xsc->write_event, NULL);
            break;
        }
        if (xsc->transport->refuses && xsc->state == CONNECTION_UP)
            refuse_written(xsc, errno);
        else
            lose_errno(xsc, "writing to");
    }
    leave(xsc);
}

/* The timer isn't moved with each answer: it looks, when it fires, how long
 * the oldest request has been waited for. */
static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct xsc *xsc = arg;
    int64_t left_us = xsc->waiting_us + xsc->options.deadline_us - now_us();
    char why[80];

    (void)fd;
    (void)what;
    if (!connection_pending(xsc))
        return;
    if (!xsc->pending.count) /* about to be sent */
        left_us = xsc->options.deadline_us;
    if (left_us > 0) {
        start_timer(&xsc->deadline_timer, left_us);
        return;
    }
    snprintf(why, sizeof(why), "xenstored hasn't answered for %.3g s",
             (double)xsc->options.deadline_us / US_PER_S);
    enter(xsc);
    lose(xsc, why);
    leave(xsc);
}

static void
put(struct xsc *xsc, struct request *request, uint32_t transaction,
    const struct iovec *parts, int count)
{
    struct xsd_sockmsg header = { .type = request->type,
                                  .req_id = xsc->next_id++,
                                  .tx_id = transaction };

    if (!xsc->next_id) /* 0 is that of watch events */
        xsc->next_id = 1;
    for (int i = 0; i < count; i++)
        header.len += (uint32_t)parts[i].iov_len;
    request->id = header.req_id;
    lanes_put(&xsc->waiting, request, &header, parts, count);
    if (!event_pending(&xsc->deadline_timer, EV_TIMEOUT, NULL))
        start_timer(&xsc->deadline_timer, xsc->options.deadline_us);
    write_soon(xsc);
}

void
connection_send(struct xsc *xsc, struct request *request, uint32_t transaction,
                const struct iovec *parts, int count)
{
    assert(!xsc->freed);
    if (xsc->state == CONNECTION_UP)
        put(xsc, request, transaction, parts, count);
    else
        connection_end(xsc, request, ENOTCONN);
}

/* A connection says little: a stopped xenstored has them too, in its backlog.
 * So it counts once a first request was answered. */
static void
probe(struct xsc *xsc)
{
    static char root[] = "/";
    struct request request = { .type = XS_READ };
    struct iovec path = { .iov_base = root, .iov_len = sizeof(root) };

    xsc->state = CONNECTION_PROBING;
    put(xsc, &request, 0, &path, 1);
}

static void
open_way(struct xsc *xsc, const char *path)
{
    xsc->way = path;
    xsc->transport = transport_of(path);
    xsc->fd = xsc->transport->open(path);
}

static void
on_connect(evutil_socket_t none, short what, void *arg)
{
    struct xsc *xsc = arg;

    (void)none;
    (void)what;
    open_way(xsc, xsc->path);
    if (xsc->fd < 0 && xsc->fallback && !is_there(xsc->path))
        open_way(xsc, xsc->fallback);
    if (xsc->fd < 0) {
        connect_later(xsc);
        return;
    }
    event_assign(&xsc->read_event, xsc->base, xsc->fd, EV_READ | EV_PERSIST,
                 on_read, xsc);
    event_assign(&xsc->write_event, xsc->base, xsc->fd, EV_WRITE, on_write,
                 xsc);
    event_add(&xsc->read_event, NULL);
    probe(xsc);
}

void
connection_init(struct xsc *xsc)
{
    xsc->fd = -1;
    xsc->way = xsc->path;
    xsc->state = CONNECTION_DOWN;
    xsc->next_id = 1;
    xsc->delay_us = xsc->options.reconnect_us;
    wire_init(&xsc->reader);
    event_assign(&xsc->read_event, xsc->base, -1, EV_READ, on_read, xsc);
    event_assign(&xsc->write_event, xsc->base, -1, EV_WRITE, on_write, xsc);
    evtimer_assign(&xsc->connect_timer, xsc->base, on_connect, xsc);
    evtimer_assign(&xsc->deadline_timer, xsc->base, on_deadline, xsc);
    evtimer_assign(&xsc->local_timer, xsc->base, on_local, xsc);
    start_timer(&xsc->connect_timer, 0);
}
