/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client, and the calls that are one request each. */
#include "xenstore-client/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void
release(struct xsc *xsc)
{
    if (xsc->output)
        evbuffer_free(xsc->output);
    lanes_done(&xsc->waiting);
    free(xsc->fallback);
    free(xsc->path);
    free(xsc);
}

struct xsc *
xsc_new(struct event_base *base, const char *path,
        const struct xsc_options *options, const struct xsc_hooks *hooks)
{
    struct xsc *xsc = calloc(1, sizeof(*xsc));

    assert(options->deadline_us > 0 && options->reconnect_us > 0);
    if (!xsc)
        return NULL;
    xsc->path = strdup(path);
    xsc->fallback = options->fallback ? strdup(options->fallback) : NULL;
    xsc->output = evbuffer_new();
    if (!lanes_init(&xsc->waiting) || !xsc->path || !xsc->output ||
        (options->fallback && !xsc->fallback)) {
        release(xsc);
        return NULL;
    }
    xsc->base = base;
    xsc->options = *options;
    xsc->options.fallback = NULL; /* the caller's */
    xsc->hooks = *hooks;
    LIST_INIT(&xsc->operations);
    commits_init(&xsc->commits);
    connection_init(xsc);
    return xsc;
}

/* The events of a client that was freed inside a callback must not fire any
 * more; what that callback was given stays. */
static void
stop(struct xsc *xsc)
{
    struct operation *operation;

    connection_close(xsc);
    event_del(&xsc->local_timer);
    queue_done(&xsc->pending);
    queue_done(&xsc->local);
    while ((operation = LIST_FIRST(&xsc->operations))) {
        LIST_REMOVE(operation, entry);
        operation->free(operation);
    }
}

void
xsc_free(struct xsc *xsc)
{
    if (!xsc)
        return;
    if (!xsc->freed)
        stop(xsc);
    xsc->freed = true;
    if (xsc->depth)
        return;
    wire_done(&xsc->reader);
    release(xsc);
}

bool
xsc_is_up(const struct xsc *xsc)
{
    return xsc->state == CONNECTION_UP;
}

const char *
xsc_way(const struct xsc *xsc)
{
    return xsc->way;
}

void
reply_call(xsc_reply *reply, void *arg, int error, const char *value,
           size_t length)
{
    if (reply)
        reply(arg, err_from_errno(error), value, length);
}

void
operation_start(struct xsc *xsc, struct operation *operation)
{
    LIST_INSERT_HEAD(&xsc->operations, operation, entry);
}

void
operation_finish(struct xsc *xsc, struct operation *operation, int error,
                 const char *value, size_t length)
{
    (void)xsc;
    LIST_REMOVE(operation, entry);
    reply_call(operation->reply, operation->arg, error, value, length);
    operation->free(operation);
}

int
request_check(const struct xsc *xsc, const char *path, size_t count)
{
    if (!wire_path_ok(path))
        return EINVAL;
    if (connection_pending(xsc) + count > LIMIT_XENSTORE_PENDING)
        return ENOSPC;
    return 0;
}

/* A path with its NUL, then so many more bytes. */
static void
submit(struct xsc *xsc, struct request *request, uint32_t transaction,
       const char *path, const char *more, size_t length)
{
    struct iovec parts[2] = {
        { .iov_base = (void *)(uintptr_t)path, .iov_len = strlen(path) + 1 },
        { .iov_base = (void *)(uintptr_t)more, .iov_len = length },
    };

    connection_send(xsc, request, transaction, parts, length ? 2 : 1);
}

void
xsc_read(struct xsc *xsc, uint32_t transaction, const char *path,
         xsc_reply *reply, void *arg)
{
    struct request request = { .type = XS_READ, .reply = reply, .arg = arg };
    int error = request_check(xsc, path, 1);

    if (error)
        connection_end(xsc, &request, error);
    else
        submit(xsc, &request, transaction, path, NULL, 0);
}

void
xsc_write(struct xsc *xsc, uint32_t transaction, const char *path,
          const char *value, size_t length, xsc_reply *reply, void *arg)
{
    struct request request = { .type = XS_WRITE, .reply = reply, .arg = arg };
    int error = request_check(xsc, path, 1);

    if (!error && !wire_value_ok(path, length))
        error = EINVAL;
    if (error)
        connection_end(xsc, &request, error);
    else
        submit(xsc, &request, transaction, path, value, length);
}

void
xsc_remove(struct xsc *xsc, uint32_t transaction, const char *path,
           xsc_reply *reply, void *arg)
{
    struct request request = { .type = XS_RM, .reply = reply, .arg = arg };
    int error = request_check(xsc, path, 1);

    if (error)
        connection_end(xsc, &request, error);
    else
        submit(xsc, &request, transaction, path, NULL, 0);
}

/* All of the same form: a path, and a token (or a permission). */
static void
path_and_text(struct xsc *xsc, struct request *request, const char *path,
              const char *token)
{
    int error = request_check(xsc, path, 1);

    if (!error && !wire_token_ok(token))
        error = EINVAL;
    if (error)
        connection_end(xsc, request, error);
    else
        submit(xsc, request, 0, path, token, strlen(token) + 1);
}

void
xsc_set_permission(struct xsc *xsc, const char *path, const char *permission,
                   xsc_reply *reply, void *arg)
{
    struct request request = { .type = XS_SET_PERMS,
                               .reply = reply,
                               .arg = arg };

    path_and_text(xsc, &request, path, permission);
}

void
xsc_watch(struct xsc *xsc, const char *path, const char *token,
          xsc_reply *reply, void *arg)
{
    struct request request = { .type = XS_WATCH, .reply = reply, .arg = arg };

    path_and_text(xsc, &request, path, token);
}

void
xsc_unwatch(struct xsc *xsc, const char *path, const char *token,
            xsc_reply *reply, void *arg)
{
    struct request request = { .type = XS_UNWATCH, .reply = reply, .arg = arg };

    path_and_text(xsc, &request, path, token);
}
