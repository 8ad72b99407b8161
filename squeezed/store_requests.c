/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/store_requests_internal.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_US  (5 * US_PER_S)
#define RECONNECT_US (10 * US_PER_MS)
#define TICK_S       1
/* Until the broker knows its reservations. */
#define BEGIN_US (50 * US_PER_MS)

/* Domain 0 alone. */
#define PERMISSION "n0"

#define TOKEN "requests"

enum {
    READING_MAX = 64,   /* folders at a time */
    KNOWN_MAX = 1 << 15 /* folders that we have in mind */
};

const char *const request_leaves[FIELDS] = {
    [FIELD_NODE] = "",         [FIELD_STATE] = "state",
    [FIELD_MIN] = "min",       [FIELD_MAX] = "max",
    [FIELD_CLIENT] = "client", [FIELD_TIMEOUT] = "timeout",
    [FIELD_UUID] = "uuid",     [FIELD_TRANSFER] = "transfer",
    [FIELD_TICKET] = "ticket",
};

/* -------------------------------------------------------------- the folders */

static unsigned
hash(const char *id, size_t length)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)id[i]) * 16777619u;
    return h % REQUEST_BUCKETS;
}

static struct store_request *
find(struct store_requests *all, const char *id, size_t length)
{
    struct store_request *r;

    LIST_FOREACH(r, &all->buckets[hash(id, length)], bucket)
    if (strncmp(r->id, id, length) == 0 && r->id[length] == '\0')
        return r;
    return NULL;
}

/* NULL if there are too many, or no memory. */
static struct store_request *
find_or_add(struct store_requests *all, const char *id, size_t length)
{
    struct store_request *r = find(all, id, length);

    if (r || length == 0)
        return r;
    if (all->known < KNOWN_MAX)
        r = calloc(1, sizeof *r + length + 1);
    if (!r) {
        all->overflow = true;
        store_requests_tick_soon(all);
        return NULL;
    }
    memcpy(r->id, id, length);
    r->all = all;
    all->known++;
    LIST_INSERT_HEAD(&all->list, r, link);
    LIST_INSERT_HEAD(&all->buckets[hash(id, length)], r, bucket);
    return r;
}

void
store_request_forget(struct store_request *r)
{
    assert(!r->counted || r->phase == PHASE_DONE);
    r->gone = true;
    if (r->busy)
        return; /* until that has come back */
    if (r->to_read)
        TAILQ_REMOVE(&r->all->work, r, work);
    if (r->counted)
        r->all->counted--;
    r->all->known--;
    LIST_REMOVE(r, link);
    LIST_REMOVE(r, bucket);
    free(r);
}

/* ------------------------------------------------------------------ reading */

struct reading {
    LIST_ENTRY(reading) link;
    struct store_request *r;
    size_t pending;
    bool failed;
    struct reading_field {
        struct reading *reading;
        struct request_value value;
    } fields[FIELDS];
};

static void
read_some(struct store_requests *all);

static void
was_read(struct reading *reading)
{
    struct store_request *r = reading->r;
    struct store_requests *all = r->all;
    struct request_value values[FIELDS];
    bool failed = reading->failed;

    for (size_t i = 0; i < FIELDS; i++)
        values[i] = reading->fields[i].value;
    LIST_REMOVE(reading, link);
    free(reading);
    all->reading--;
    r->busy = false;
    if (r->gone) {
        store_request_forget(r);
    } else if (!failed) {
        bool again = r->dirty;

        r->dirty = false;
        if (again)
            store_request_touch(r);
        else
            store_request_judge(r, values);
    }
    read_some(all);
}

static void
take(struct request_value *value, const char *bytes, size_t length)
{
    size_t n = min_u64(length, VALUE_CHARS);

    value->there = true;
    value->unfit = length > VALUE_CHARS || memchr(bytes, '\0', length);
    for (size_t i = 0; i < n; i++)
        value->text[i] = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
}

static void
field_reply(void *arg, enum err error, const char *bytes, size_t length)
{
    struct reading_field *field = arg;
    struct reading *reading = field->reading;

    if (!error) {
        take(&field->value, bytes, length);
    } else if (error != ERR_NOT_FOUND) {
        reading->failed = true;
        if (error != ERR_NOT_READY) {
            reading->r->retry = true;
            store_requests_tick_soon(reading->r->all);
        }
    }
    if (--reading->pending == 0)
        was_read(reading);
}

static void
start_reading(struct store_request *r)
{
    struct reading *reading = calloc(1, sizeof *reading);
    char path[2100];

    if (!reading) {
        r->retry = true;
        store_requests_tick_soon(r->all);
        return;
    }
    r->busy = true;
    r->dirty = r->retry = false;
    r->all->reading++;
    LIST_INSERT_HEAD(&r->all->readings, reading, link);
    reading->r = r;
    reading->pending = FIELDS;
    /* The state first: it is written last. */
    for (size_t i = 0; i < FIELDS; i++) {
        const char *leaf = request_leaves[i];

        reading->fields[i].reading = reading;
        snprintf(path, sizeof path, KEY_REQUESTS "/%s%s%s", r->id,
                 *leaf ? "/" : "", leaf);
        xsc_read(r->all->xsc, 0, path, field_reply, &reading->fields[i]);
    }
}

static bool
has_folder(const struct store_requests *all, const char *ticket)
{
    const struct store_request *r;

    LIST_FOREACH(r, &all->list, link)
    if (strcmp(r->ticket, ticket) == 0)
        return true;
    return false;
}

static bool
some_unread(const struct store_requests *all)
{
    const struct store_request *r;

    LIST_FOREACH(r, &all->list, link)
    if (r->retry)
        return true;
    return false;
}

/* Folders that were removed while no broker was there: their reservations are
 * nobody's.  What could not be read isn't taken for removed. */
static void
sweep(struct store_requests *all)
{
    struct planner *planner = broker_planner(all->broker);

    if (!planner || some_unread(all))
        return;
    all->swept = true;
    for (size_t i = 0; i < planner->ledger.count; i++) {
        const struct ledger_entry *e = &planner->ledger.entries[i];

        if (e->state == ENTRY_GRANTED && store_request_is_ticket(e->id) &&
            !has_folder(all, e->id))
            broker_undelivered(all->broker, e->id, all->now_us());
    }
}

static void
read_some(struct store_requests *all)
{
    struct store_request *r;

    while (all->begun && xsc_is_up(all->xsc) && all->reading < READING_MAX &&
           (r = TAILQ_FIRST(&all->work))) {
        TAILQ_REMOVE(&all->work, r, work);
        r->to_read = false;
        start_reading(r);
    }
    if (all->begun && !all->swept && !all->listing && !all->overflow &&
        !all->reading && TAILQ_EMPTY(&all->work) && xsc_is_up(all->xsc))
        sweep(all);
}

void
store_request_touch(struct store_request *r)
{
    if (r->busy) {
        r->dirty = true;
        return;
    }
    if (!r->to_read)
        TAILQ_INSERT_TAIL(&r->all->work, r, work);
    r->to_read = true;
    read_some(r->all);
}

static void
touch_all(struct store_requests *all)
{
    struct store_request *r;

    LIST_FOREACH(r, &all->list, link)
    store_request_touch(r);
}

/* ------------------------------------------------------------- the whole */

static void
listed(void *arg, enum err error, const char *names, size_t length)
{
    struct store_requests *all = arg;
    const char *end = error ? names : names + length;

    all->listing = error == ERR_NOT_READY;
    if (error && error != ERR_NOT_READY && error != ERR_NOT_FOUND) {
        if (!all->unlisted)
            log_warning(KEY_REQUESTS " can't be listed: %s; trying again",
                        err_name(error));
        all->unlisted = all->overflow = true;
        store_requests_tick_soon(all);
    } else if (!error) {
        all->unlisted = false;
    }
    for (; !error && names < end; names += strlen(names) + 1) {
        struct store_request *r = find_or_add(all, names, strlen(names));

        if (r)
            store_request_touch(r);
    }
    read_some(all);
}

static void
list_folders(struct store_requests *all)
{
    all->overflow = false;
    all->listing = true;
    xsc_directory(all->xsc, 0, KEY_REQUESTS, listed, all);
}

static void
permission_set(void *arg, enum err error, const char *value, size_t length)
{
    (void)arg;
    (void)value;
    (void)length;
    if (error && error != ERR_NOT_READY)
        log_warning(KEY_REQUESTS " can't be given its permission: %s",
                    err_name(error));
}

static void
make_folder(struct store_requests *all)
{
    xsc_write(all->xsc, 0, KEY_REQUESTS, "", 0, NULL, NULL);
    xsc_set_permission(all->xsc, KEY_REQUESTS, PERMISSION, permission_set, all);
}

/* On a new connection: with its tree, or a xenstored that has none. */
static void
found_folder(void *arg, enum err error, const char *value, size_t length)
{
    struct store_requests *all = arg;
    struct store_request *r, *next;

    (void)value;
    (void)length;
    if (error == ERR_NOT_READY)
        return;
    /* Refused says nothing: what the listing shows, decides. */
    if (error != ERR_NOT_FOUND) {
        xsc_set_permission(all->xsc, KEY_REQUESTS, PERMISSION, permission_set,
                           all);
        touch_all(all);
        list_folders(all);
        return;
    }
    make_folder(all);
    for (r = LIST_FIRST(&all->list); r; r = next) {
        next = LIST_NEXT(r, link);
        store_request_rewrite(r);
    }
    all->listing = all->overflow = false;
    read_some(all);
}

static void
look(struct store_requests *all)
{
    if (all->begun && xsc_is_up(all->xsc))
        xsc_read(all->xsc, 0, KEY_REQUESTS, found_folder, all);
}

/* The folder, or one above it, was changed while we looked. */
static void
looked_after_folder(void *arg, enum err error, const char *value, size_t length)
{
    struct store_requests *all = arg;

    (void)value;
    (void)length;
    if (error == ERR_NOT_FOUND)
        make_folder(all);
    touch_all(all);
}

/* Refused: at the next tick again.  What was written until then, no event has
 * told of. */
static void
watch_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct store_requests *all = arg;

    (void)value;
    (void)length;
    if (error == ERR_NOT_READY)
        return; /* on the next connection */
    if (error && !all->refused)
        log_error("xenstore: " KEY_REQUESTS " can't be watched: %s; no "
                  "requests are taken there until it can; trying again",
                  err_name(error));
    else if (!error && all->refused)
        look(all);
    all->unwatched = all->refused = error != ERR_NONE;
    if (error)
        store_requests_tick_soon(all);
}

static void
watch(struct store_requests *all)
{
    xsc_watch(all->xsc, KEY_REQUESTS, TOKEN, watch_reply, all);
}

static void
tick(struct store_requests *all)
{
    struct store_request *r, *next;

    for (r = LIST_FIRST(&all->list); r; r = next) {
        next = LIST_NEXT(r, link);
        store_request_check(r);
        if (r->retry) {
            r->retry = false;
            store_request_touch(r);
        }
        if (r->phase == PHASE_GRANTED)
            store_requests_tick_soon(all);
    }
    if (all->overflow)
        list_folders(all);
    if (all->unwatched) {
        all->unwatched = false;
        watch(all);
    }
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct store_requests *all = arg;
    struct broker_view view;

    (void)fd;
    (void)what;
    if (!all->begun) {
        broker_view(all->broker, &view);
        all->begun = view.ready;
        store_requests_tick_soon(all);
        look(all);
    } else if (xsc_is_up(all->xsc)) {
        tick(all);
    }
}

void
store_requests_tick_soon(struct store_requests *all)
{
    const struct timeval begin = { .tv_usec = BEGIN_US };
    const struct timeval second = { .tv_sec = TICK_S };

    if (!evtimer_pending(all->tick, NULL))
        evtimer_add(all->tick, all->begun ? &second : &begin);
}

/* ----------------------------------------------------------- the connection */

static void
on_up(void *context)
{
    struct store_requests *all = context;

    all->unwatched = all->refused = false;
    watch(all);
    look(all);
}

/* All that was under way has come back. */
static void
on_lost(void *context, const char *why)
{
    struct store_requests *all = context;
    struct store_request *r;

    (void)why;
    while ((r = TAILQ_FIRST(&all->work))) {
        TAILQ_REMOVE(&all->work, r, work);
        r->to_read = false;
    }
}

static void
on_watch(void *context, const char *path, const char *token)
{
    struct store_requests *all = context;
    const size_t root = sizeof KEY_REQUESTS - 1;
    const char *id = path + root + 1, *leaf;
    struct store_request *r;
    size_t length;

    (void)token;
    if (!all->begun)
        return; /* all is read then */
    if (strlen(path) <= root || strncmp(path, KEY_REQUESTS "/", root + 1)) {
        xsc_read(all->xsc, 0, KEY_REQUESTS, looked_after_folder, all);
        return;
    }
    length = strcspn(id, "/");
    leaf = id[length] ? id + length + 1 : "";
    if (*leaf && strcmp(leaf, request_leaves[FIELD_STATE]) != 0 &&
        strcmp(leaf, request_leaves[FIELD_TRANSFER]) != 0)
        return; /* means nothing before the state is written */
    r = find_or_add(all, id, length);
    if (r)
        store_request_touch(r);
}

struct store_requests *
store_requests_new(struct event_base *base, struct broker *broker,
                   const struct store_requests_options *options)
{
    const struct xsc_options client = { .deadline_us = DEADLINE_US,
                                        .reconnect_us = RECONNECT_US,
                                        .fallback = options->fallback };
    struct store_requests *all = calloc(1, sizeof *all);
    const struct xsc_hooks hooks = { all, on_up, on_lost, on_watch };

    if (!all)
        return NULL;
    all->base = base;
    all->broker = broker;
    all->now_us = options->now_us;
    LIST_INIT(&all->list);
    LIST_INIT(&all->readings);
    TAILQ_INIT(&all->work);
    TAILQ_INIT(&all->held);
    all->tick = evtimer_new(base, on_tick, all);
    all->xsc = all->tick ? xsc_new(base, options->path, &client, &hooks) : NULL;
    if (!all->xsc) {
        store_requests_free(all);
        return NULL;
    }
    all->listing = true;
    store_requests_tick_soon(all);
    return all;
}

void
store_requests_free(struct store_requests *all)
{
    struct store_request *r;
    struct reading *reading;

    if (!all)
        return;
    xsc_free(all->xsc);
    while ((r = LIST_FIRST(&all->list))) {
        LIST_REMOVE(r, link);
        free(r);
    }
    while ((reading = LIST_FIRST(&all->readings))) {
        LIST_REMOVE(reading, link);
        free(reading);
    }
    if (all->tick)
        event_free(all->tick);
    free(all);
}
