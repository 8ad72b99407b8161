/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"
#include "common/units.h"
#include "squeezed/listen.h"
#include "squeezed/peer_internal.h"

#include <stdlib.h>

/* Connections over the limit that can be told so at the same time; the next
 * ones wait to be accepted. */
#define MARGIN 16
/* When no further file can be opened: the next try. */
#define ACCEPT_RETRY_US (100 * US_PER_MS)

/* ---------------------------------------------------------------- idle time */

static void
arm(struct event *timer, int64_t us)
{
    struct timeval wait = { .tv_sec = (time_t)(us / US_PER_S),
                            .tv_usec = (suseconds_t)(us % US_PER_S) };

    event_add(timer, &wait);
}

void
peers_arm_idle_timer(struct peers *all)
{
    const struct peers_options *o = &all->options;
    const struct peer *oldest = TAILQ_FIRST(&all->idle);

    if (oldest && !event_pending(all->idle_timer, EV_TIMEOUT, NULL))
        arm(all->idle_timer,
            max_i64(oldest->since_us + o->idle_us - o->now_us(), US_PER_MS));
}

static void
on_idle_timer(evutil_socket_t fd, short what, void *arg)
{
    struct peers *all = arg;
    int64_t due_us = all->options.now_us() - all->options.idle_us;
    struct peer *p;

    (void)fd;
    (void)what;
    while ((p = TAILQ_FIRST(&all->idle)) != NULL && p->since_us <= due_us)
        peer_cut(p);
    peers_arm_idle_timer(all);
}

/* ---------------------------------------------------------- room for others */

static void
enable_listeners(struct peers *all, bool enable)
{
    struct entrance *e;

    all->paused = !enable;
    all->knocked = false;
    for (e = TAILQ_FIRST(&all->entrances); e; e = TAILQ_NEXT(e, link)) {
        if (enable) {
            evconnlistener_enable(e->listener);
            event_add(e->knock, NULL);
        } else {
            evconnlistener_disable(e->listener);
            event_del(e->knock);
        }
    }
}

static bool
is_full(const struct peers *all)
{
    return all->count >= all->options.limit + MARGIN;
}

void
peers_resume(struct peers *all)
{
    if (all->paused && !all->ending && !is_full(all) &&
        !event_pending(all->accept_timer, EV_TIMEOUT, NULL))
        enable_listeners(all, true);
}

/* Closes the one that has been without a call for longest; one that is about
 * to ask only if there is no other.  Who was refused still has to be told. */
static bool
make_room(struct peers *all)
{
    struct peer *p, *second = NULL;

    for (p = TAILQ_FIRST(&all->idle); p; p = TAILQ_NEXT(p, link)) {
        if (p->standing != PEER_WELCOME)
            continue;
        if (p->state == QUIET || p->state == LINGERING)
            break;
        if (!second && p->state == READING)
            second = p;
    }
    if (!p)
        p = second;
    if (p)
        peer_cut(p);
    return p != NULL;
}

void
peers_judge(struct peer *p)
{
    struct peers *all = p->all;

    if (!listen_peer_allowed(bufferevent_getfd(p->stream),
                             all->options.group)) {
        log_warning("a connection of somebody who may not was refused");
        p->standing = PEER_STRANGER;
    } else if (all->count > all->options.limit && !make_room(all)) {
        if (!all->overfull)
            log_warning("%zu connections with open calls: others are refused",
                        all->count - 1);
        all->overfull = true;
        p->standing = PEER_TOO_MANY;
    }
}

/* ---------------------------------------------------------------- accepting */

/* NULL: evhttp makes its own. */
static struct bufferevent *
on_connect(struct event_base *base, void *arg)
{
    struct peers *all = arg;
    struct peer *p = peer_new(all);

    (void)base;
    all->knocked = false;
    all->accept_failed = false;
    if (is_full(all))
        enable_listeners(all, false);
    return p ? p->stream : NULL;
}

/* Somebody wants in, for the second time without anybody having been accepted
 * in between: no more files, most likely.  Without a pause the listener would
 * spin.  (Its error callback has evhttp's argument instead of ours.) */
static void
on_knock(evutil_socket_t fd, short what, void *arg)
{
    struct peers *all = arg;

    (void)fd;
    (void)what;
    if (!all->knocked) {
        all->knocked = true;
        return;
    }
    if (!all->accept_failed)
        log_error("can't accept a connection: too many files are open, most "
                  "likely; trying again");
    all->accept_failed = true;
    enable_listeners(all, false);
    arm(all->accept_timer, ACCEPT_RETRY_US);
}

static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)listener; /* else libevent logs each */
    (void)arg;
}

static void
on_accept_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    peers_resume(arg);
}

bool
peers_listen(struct peers *all, int fd)
{
    struct entrance *e = calloc(1, sizeof *e);

    if (!e)
        return false;
    e->knock =
        event_new(all->options.base, fd, EV_READ | EV_PERSIST, on_knock, all);
    e->listener = evconnlistener_new(all->options.base, NULL, NULL,
                                     LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (e->knock && e->listener &&
        evhttp_bind_listener(all->http, e->listener)) {
        evconnlistener_set_error_cb(e->listener, on_accept_error);
        event_add(e->knock, NULL);
        TAILQ_INSERT_TAIL(&all->entrances, e, link);
        return true;
    }
    if (e->listener)
        evconnlistener_free(e->listener);
    if (e->knock)
        event_free(e->knock);
    free(e);
    return false;
}

/* -------------------------------------------------------------- all of them */

static void
on_request(struct evhttp_request *request, void *arg)
{
    peer_take(arg, request);
}

static void
on_chores(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    peer_do_chores(arg);
}

static void
set_up_http(struct peers *all)
{
    evhttp_set_bevcb(all->http, on_connect, all);
    evhttp_set_gencb(all->http, on_request, all);
    evhttp_set_max_headers_size(all->http, LIMIT_HEADER_BYTES);
    evhttp_set_max_body_size(all->http, (ev_ssize_t)PEER_BODY_MAX);
    evhttp_set_default_content_type(all->http, NULL);
    /* All, those too that nobody has heard of: the answer is ours. */
    evhttp_set_allowed_methods(all->http, UINT16_MAX);
}

struct peers *
peers_new(const struct peers_options *options)
{
    struct peers *all = calloc(1, sizeof *all);

    if (!all)
        return NULL;
    all->options = *options;
    TAILQ_INIT(&all->entrances);
    TAILQ_INIT(&all->idle);
    TAILQ_INIT(&all->calling);
    TAILQ_INIT(&all->due);
    all->http = evhttp_new(options->base);
    all->bit = evbuffer_new();
    all->chores = event_new(options->base, -1, 0, on_chores, all);
    all->idle_timer = evtimer_new(options->base, on_idle_timer, all);
    all->accept_timer = evtimer_new(options->base, on_accept_timer, all);
    if (!all->http || !all->bit || !all->chores || !all->idle_timer ||
        !all->accept_timer) {
        peers_free(all);
        return NULL;
    }
    set_up_http(all);
    return all;
}

static void
free_entrances(struct peers *all)
{
    struct entrance *e;

    while ((e = TAILQ_FIRST(&all->entrances)) != NULL) {
        TAILQ_REMOVE(&all->entrances, e, link);
        event_free(e->knock);
        free(e);
    }
}

static void
free_event(struct event *event)
{
    if (event)
        event_free(event);
}

void
peers_free(struct peers *all)
{
    struct peer *p;

    if (!all)
        return;
    all->ending = true;
    free_entrances(all);
    if (all->http)
        evhttp_free(all->http); /* listeners and connections too */
    while ((p = TAILQ_FIRST(&all->idle)) || (p = TAILQ_FIRST(&all->calling)))
        peer_forget(p); /* NOLINT: it unlinks what it frees */
    if (all->bit)
        evbuffer_free(all->bit);
    free_event(all->chores);
    free_event(all->idle_timer);
    free_event(all->accept_timer);
    free(all);
}

size_t
peers_count(const struct peers *all)
{
    return all->count;
}
