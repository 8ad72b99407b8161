/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/events.h"

#include "common/log.h"
#include "squeezed/broker.h"
#include "squeezed/status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE_US (15 * (int64_t)US_PER_S)

static const char hello[] = ": squeezed " PACKAGE_VERSION "\n\n";
static const char alive[] = ": still here\n\n";
static const char last_word[] =
    ": dropped: what happens was not read as fast as it happened\n\n";

struct events {
    struct events_options options;
    struct event *timer;
    bool quiet; /* nothing was sent since the last comment was due */
    struct peer *listeners[LIMIT_LISTENERS];
    size_t count;
    uint64_t dropped;
};

/* -------------------------------------------------------------------- data */

static void
put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new_nocheck(object, key, value);
}

static void
put_text(json_t *object, const char *key, const char *text)
{
    if (text && text[0])
        put(object, key, status_text(text));
}

static void
put_domain(json_t *object, const struct news *news, struct platform *platform,
           struct domain_text *text)
{
    *text = (struct domain_text){ .name = "" };
    platform->ops->describe(platform, news->domid, text);
    put(object, "domid", json_integer(news->domid));
    put_text(object, "name", text->name);
}

static void
put_request(json_t *object, const struct news *news)
{
    put(object, "request", status_number(news->request));
    put_text(object, "client", news->client);
}

static void
add_request(json_t *object, const struct news *news, struct platform *platform)
{
    const struct request *r = news->asked;
    bool ends = r->deadline_us != TIME_NEVER_US;

    (void)platform;
    put_request(object, news);
    put(object, "min_kib", status_number(r->min_kib));
    put(object, "max_kib", status_number(r->max_kib));
    put(object, "wait", json_boolean(r->wait));
    put(object, "timeout_ms",
        ends ? status_ms(r->deadline_us - r->submitted_us) : json_null());
}

static void
add_grant(json_t *object, const struct news *news, struct platform *platform)
{
    (void)platform;
    put_request(object, news);
    put_text(object, "reservation", news->result->reservation);
    put(object, "amount_kib", status_number(news->result->amount_kib));
    put(object, "took_ms", status_ms(news->result->took_us));
}

static bool
has_numbers(enum err error)
{
    return error == ERR_CANNOT_FREE || error == ERR_UNCOOPERATIVE ||
           error == ERR_TIMEOUT;
}

static void
add_refusal(json_t *object, const struct news *news, struct platform *platform)
{
    const struct result *result = news->result;

    (void)platform;
    put_request(object, news);
    put(object, "reason", json_string(err_name(result->error)));
    put_text(object, "message", result->message);
    put(object, "took_ms", status_ms(result->took_us));
    if (!has_numbers(result->error))
        return;
    put(object, "needed_kib", status_number(result->needed_kib));
    put(object, "free_kib", status_number(result->free_kib));
    put(object, "short_kib", status_number(result->short_kib));
    if (result->error != ERR_CANNOT_FREE)
        put(object, "domids", status_domids(result));
}

static void
put_reservation(json_t *object, const struct news *news)
{
    put_text(object, "reservation", news->reservation);
    put_text(object, "client", news->client);
    put(object, "amount_kib", status_number(news->amount_kib));
}

static void
add_release(json_t *object, const struct news *news, struct platform *platform)
{
    (void)platform;
    put_reservation(object, news);
    put_text(object, "why", news->why);
}

static void
add_transfer(json_t *object, const struct news *news, struct platform *platform)
{
    struct domain_text text;

    put_reservation(object, news);
    put_domain(object, news, platform, &text);
}

static void
add_target(json_t *object, const struct news *news, struct platform *platform)
{
    struct domain_text text;

    put_domain(object, news, platform, &text);
    put(object, "target_kib", status_number(news->setting->target_kib));
    put(object, "limit_kib", status_number(news->setting->limit_kib));
    put_text(object, "why", news->why);
}

static void
add_state(json_t *object, const struct news *news, struct platform *platform)
{
    struct domain_text text;

    if (!news->of_host)
        put_domain(object, news, platform, &text);
    put_text(object, "state", news->state);
}

static void
add_range_error(json_t *object, const struct news *news,
                struct platform *platform)
{
    struct domain_text text;

    put_domain(object, news, platform, &text);
    put(object, "range_error",
        news->begins ? status_text(text.range_error) : json_null());
}

static void
add_missing(json_t *object, const struct news *news, struct platform *platform)
{
    (void)platform;
    if (news->kind == NEWS_OVERLOAD)
        put(object, "overloaded", json_boolean(news->begins));
    put(object, "missing_kib", status_number(news->missing_kib));
}

static void
add_store(json_t *object, const struct news *news, struct platform *platform)
{
    (void)platform;
    put(object, "connected", json_boolean(news->health->connected));
    put(object, "reconnects", json_integer(news->health->reconnects));
    put(object, "why",
        news->health->why[0] ? status_text(news->health->why) : json_null());
}

static void (*const add_data[NEWS_KINDS])(json_t *object,
                                          const struct news *news,
                                          struct platform *platform) = {
    [NEWS_REQUEST] = add_request,   [NEWS_GRANT] = add_grant,
    [NEWS_REFUSAL] = add_refusal,   [NEWS_RELEASE] = add_release,
    [NEWS_TRANSFER] = add_transfer, [NEWS_TARGET] = add_target,
    [NEWS_STATE] = add_state,       [NEWS_RANGE_ERROR] = add_range_error,
    [NEWS_THEFT] = add_missing,     [NEWS_OVERLOAD] = add_missing,
    [NEWS_STORE] = add_store,
};

/* Without its time. */
static json_t *
data_of(const struct news *news, struct platform *platform)
{
    json_t *object = json_object();

    add_data[news->kind](object, news, platform);
    return object;
}

/* --------------------------------------------------------------- listeners */

static void
remove_listener(struct events *e, size_t i)
{
    e->listeners[i] = e->listeners[--e->count];
}

/* Who has no room for it gets the last word instead. */
static void
send_to_all(struct events *e, const char *text, size_t length)
{
    for (size_t i = e->count; i-- > 0;) {
        struct peer *peer = e->listeners[i];

        if (peer_send(peer, text, length, LIMIT_LISTENER_BYTES))
            continue;
        log_warning("a listener to the events doesn't read: dropped");
        remove_listener(e, i);
        e->dropped++;
        peer_send(peer, last_word, sizeof last_word - 1, SIZE_MAX);
        peer_end(peer);
    }
}

static int64_t
stamp_ms(const struct events *e)
{
    return e->options.wall_ms ? e->options.wall_ms()
                              : e->options.now_us() / US_PER_MS;
}

void
events_tell(struct events *e, const struct news *news)
{
    json_t *data;
    char *text, *event = NULL;
    int length = -1;

    if (e->count == 0)
        return;
    data = data_of(news, e->options.platform);
    put(data, "t_ms", json_integer(stamp_ms(e)));
    text = json_dumps(data, JSON_COMPACT);
    if (text)
        length = asprintf(&event, "event: %s\ndata: %s\n\n",
                          news_name(news->kind), text);
    if (length > 0) {
        e->quiet = false;
        send_to_all(e, event, (size_t)length);
        free(event);
    }
    free(text);
    json_decref(data);
}

bool
events_add(struct events *e, struct peer *peer)
{
    if (e->count == LIMIT_LISTENERS)
        return false;
    e->listeners[e->count++] = peer;
    peer_stream(peer, "text/event-stream");
    peer_send(peer, hello, sizeof hello - 1, LIMIT_LISTENER_BYTES);
    return true;
}

void
events_left(struct events *e, struct peer *peer)
{
    for (size_t i = e->count; i-- > 0;)
        if (e->listeners[i] == peer)
            remove_listener(e, i);
}

size_t
events_count(const struct events *e)
{
    return e->count;
}

uint64_t
events_dropped(const struct events *e)
{
    return e->dropped;
}

/* -------------------------------------------------------------------- life */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct events *e = arg;

    (void)fd;
    (void)what;
    if (e->quiet)
        send_to_all(e, alive, sizeof alive - 1);
    e->quiet = true;
}

struct events *
events_new(const struct events_options *options)
{
    struct events *e = calloc(1, sizeof *e);
    int64_t alive_us = options->alive_us ? options->alive_us : ALIVE_US;
    const struct timeval pause = { .tv_sec = (time_t)(alive_us / US_PER_S),
                                   .tv_usec =
                                       (suseconds_t)(alive_us % US_PER_S) };

    if (!e)
        return NULL;
    e->options = *options;
    e->timer = event_new(options->base, -1, EV_PERSIST, on_timer, e);
    if (!e->timer || event_add(e->timer, &pause) < 0) {
        events_free(e);
        return NULL;
    }
    return e;
}

void
events_free(struct events *e)
{
    if (!e)
        return;
    if (e->timer)
        event_free(e->timer);
    free(e);
}
