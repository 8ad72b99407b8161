/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_cache.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between attempts to read or watch what xenstored refused. */
#define RETRY_S 1

/* Domains that are read for the first time at once: some 14,000 requests. */
enum { STARTING_MAX = 1024 };

#define TOKEN_FORMAT "domain-%u-%u" /* domid, serial */
#define TOKEN_SIZE   40

struct xen_cache {
    int64_t now_us; /* of the last look */
    struct event_base *base;
    struct xsc *xsc; /* NULL: no connection */
    int64_t settle_us;
    struct xen_cache_hooks hooks;
    struct xen_domain **domains; /* ascending domids */
    struct xen_domain **spare;   /* of the same size */
    size_t count;
    size_t capacity;
    struct xen_domain *gone; /* dropped, with requests on their way */
    uint32_t serial;
    bool synced;         /* domains were listed on this connection */
    size_t awaited;      /* of them, not read yet */
    size_t starting;     /* being read for the first time */
    size_t next_start;   /* all domains before this one were started */
    struct event *retry; /* of what could not be read or watched */
};

void
xen_cache_clock(struct xen_cache *cache, int64_t now_us)
{
    cache->now_us = now_us;
}

bool
xen_cache_trouble(struct xen_domain *domain, enum xen_trouble trouble)
{
    return xen_complaint_due(&domain->complaints[trouble],
                             domain->cache->now_us);
}

void
xen_cache_no_trouble(struct xen_domain *domain, enum xen_trouble trouble)
{
    xen_complaint_over(&domain->complaints[trouble]);
}

static void
retry_due(evutil_socket_t fd, short events, void *arg);

struct xen_cache *
xen_cache_new(struct event_base *base, int64_t settle_us,
              const struct xen_cache_hooks *hooks)
{
    struct xen_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return NULL;
    cache->retry = evtimer_new(base, retry_due, cache);
    if (!cache->retry) {
        free(cache);
        return NULL;
    }
    cache->base = base;
    cache->settle_us = settle_us;
    cache->hooks = *hooks;
    return cache;
}

static void
domain_free(struct xen_domain *domain)
{
    if (domain->settle)
        event_free(domain->settle);
    free(domain);
}

void
xen_cache_free(struct xen_cache *cache)
{
    struct xen_domain *domain;

    if (!cache)
        return;
    while ((domain = cache->gone)) {
        cache->gone = domain->next;
        domain_free(domain);
    }
    for (size_t i = 0; i < cache->count; i++)
        domain_free(cache->domains[i]);
    free(cache->domains);
    free(cache->spare);
    event_free(cache->retry);
    free(cache);
}

bool
xen_cache_ready(const struct xen_cache *cache)
{
    return cache->xsc && cache->synced && !cache->awaited;
}

struct xen_domain *
xen_cache_at(const struct xen_cache *cache, size_t i)
{
    return i < cache->count ? cache->domains[i] : NULL;
}

struct xen_domain *
xen_cache_find(const struct xen_cache *cache, uint32_t domid)
{
    size_t low = 0, high = cache->count, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (cache->domains[middle]->domid < domid)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == cache->count || cache->domains[low]->domid != domid)
        return NULL;
    return cache->domains[low];
}

size_t
xen_cache_lost_ranges(const struct xen_cache *cache)
{
    size_t lost = 0;

    for (size_t i = 0; i < cache->count; i++)
        lost += cache->domains[i]->range_lost && cache->domains[i]->domid;
    return lost;
}

const char *
xen_cache_type(const struct xen_domain *domain)
{
    static const char *const types[] = { "pv", "pvh", "hvm", "pv-in-pvh" };
    static const enum xen_key keys[] = { XEN_KEY_TYPE, XEN_KEY_LIBXL_TYPE };

    for (size_t k = 0; k < 2; k++)
        for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
            if (!strcmp(domain->values[keys[k]].text, types[t]))
                return types[t];
    return NULL;
}

bool
xen_cache_balloons(const struct xen_domain *domain)
{
    const struct xen_value *value = &domain->values[XEN_KEY_FEATURE];

    return value->state == XEN_VALUE_GOOD && strcmp(value->text, "0");
}

bool
xen_cache_is_marked(const struct xen_domain *domain)
{
    return domain->writes
               ? domain->written_mark
               : domain->values[XEN_KEY_MARK].state == XEN_VALUE_GOOD;
}

/* A request came back.  False if its domain has gone meanwhile: it must not
 * be touched any more. */
static bool
came_back(struct xen_domain *domain)
{
    struct xen_domain **link;

    assert(domain->pending > 0);
    domain->pending--;
    if (!domain->gone)
        return true;
    if (domain->pending)
        return false;
    for (link = &domain->cache->gone; *link != domain; link = &(*link)->next)
        ;
    *link = domain->next;
    domain_free(domain);
    return false;
}

static void
tell(struct xen_cache *cache)
{
    if (xen_cache_ready(cache))
        cache->hooks.changed(cache->hooks.context);
}

/* Ranges */

static bool
range_being_read(const struct xen_domain *domain)
{
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        if (xen_key_is_range(key) && domain->cached[key].reading)
            return true;
    return false;
}

static void
complain_of_range(struct xen_domain *domain, const char *text)
{
    snprintf(domain->range_error, sizeof(domain->range_error), "%s; %s", text,
             domain->managed ? "the last good range stays in force"
                             : "unmanaged until that is corrected");
    log_warning("domain %u (%s): memory/%s", domain->domid, domain->name,
                domain->range_error);
}

/* The pair was bad, and enough time has passed to write its other end. */
static void
range_settled(evutil_socket_t fd, short events, void *arg)
{
    struct xen_domain *domain = arg;
    struct xen_range range;
    char text[120];

    (void)fd;
    (void)events;
    if (xen_range_read(domain->values, &range, text, sizeof(text)) !=
        XEN_RANGE_BAD)
        return; /* it is being read, and judged then */
    complain_of_range(domain, text);
    tell(domain->cache);
}

static void
range_is_bad(struct xen_domain *domain)
{
    int64_t wait_us = domain->cache->settle_us;
    struct timeval wait = { .tv_sec = (time_t)(wait_us / US_PER_S),
                            .tv_usec = (suseconds_t)(wait_us % US_PER_S) };

    if (!domain->settle)
        domain->settle =
            evtimer_new(domain->cache->base, range_settled, domain);
    if (!domain->settle)
        range_settled(-1, 0, domain);
    else if (!evtimer_pending(domain->settle, NULL))
        evtimer_add(domain->settle, &wait);
}

/* Sets what is in force (NULL: no range); true if that is a change. */
static bool
range_set(struct xen_domain *domain, const struct xen_range *range)
{
    bool managed = range != NULL;
    bool changed = domain->managed != managed || domain->range_error[0] ||
                   (range && memcmp(&domain->range, range, sizeof(*range)));

    if (domain->settle)
        evtimer_del(domain->settle);
    domain->managed = managed;
    domain->range_error[0] = '\0';
    if (range)
        domain->range = *range;
    domain->range_lost =
        !managed && (domain->range_lost || domain->was_managed);
    domain->was_managed = false;
    return changed;
}

/* Only called when none of the four is on its way: two that were written
 * together are judged together. */
static bool
range_judge(struct xen_domain *domain)
{
    struct xen_range range = { 0 };
    char text[120];

    switch (xen_range_read(domain->values, &range, text, sizeof(text))) {
    case XEN_RANGE_NONE:
        return range_set(domain, NULL);
    case XEN_RANGE_GOOD:
        return range_set(domain, &range);
    case XEN_RANGE_BAD:
        range_is_bad(domain);
        break;
    }
    return false;
}

/* Reading */

static void
key_reply(void *arg, enum err error, const char *value, size_t length);

/* One refusal must not make us deaf to a domain until somebody writes. */
static void
retry_later(struct xen_domain *domain)
{
    static const struct timeval delay = { .tv_sec = RETRY_S };

    domain->retry = true;
    if (!evtimer_pending(domain->cache->retry, NULL))
        evtimer_add(domain->cache->retry, &delay);
}

static void
watch_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct xen_domain *domain = arg;

    (void)value;
    (void)length;
    if (!came_back(domain) || !error || error == ERR_NOT_READY)
        return;
    retry_later(domain);
    if (xen_cache_trouble(domain, XEN_TROUBLE_READING))
        log_warning("domain %u: its keys in xenstore can't be watched: %s; "
                    "trying again",
                    domain->domid, err_name(error));
}

void
xen_cache_reread(struct xen_domain *domain, enum xen_key key)
{
    struct xen_cached *cached = &domain->cached[key];
    char path[XEN_KEY_PATH];

    if (!domain->cache->xsc || !domain->started)
        return;
    if (cached->reading) {
        cached->dirty = true;
        return;
    }
    cached->reading = true;
    domain->pending++;
    xsc_read(domain->cache->xsc, 0, xen_key_path(key, domain->domid, path),
             key_reply, cached);
}

static void
reread_all(struct xen_domain *domain, bool (*which)(enum xen_key key))
{
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        if (!which || which(key))
            xen_cache_reread(domain, key);
}

void
xen_cache_reread_texts(struct xen_domain *domain)
{
    reread_all(domain, xen_key_is_text);
}

/* What each watch but that of the folder is for. */
static const enum xen_key watched_keys[XEN_WATCHES] = {
    [XEN_WATCH_MEMORY] = XEN_KEYS,
    [XEN_WATCH_FEATURE] = XEN_KEY_FEATURE,
    [XEN_WATCH_POWEROFF] = XEN_KEY_POWEROFF,
};

static void
set_watch(struct xen_domain *domain, enum xen_watch watch, bool on)
{
    struct xsc *xsc = domain->cache->xsc;
    char token[TOKEN_SIZE], path[XEN_KEY_PATH];

    if (domain->watched[watch] == on)
        return;
    domain->watched[watch] = on;
    snprintf(token, sizeof(token), TOKEN_FORMAT, domain->domid, domain->serial);
    if (watch == XEN_WATCH_MEMORY)
        snprintf(path, sizeof(path), KEY_MEMORY, domain->domid);
    else
        xen_key_path(watched_keys[watch], domain->domid, path);
    if (!on) {
        xsc_unwatch(xsc, path, token, NULL, NULL);
        return;
    }
    domain->fired[watch] = false;
    domain->pending++;
    xsc_watch(xsc, path, token, watch_reply, domain);
}

static void
set_watches(struct xen_domain *domain, bool on)
{
    for (enum xen_watch watch = 0; watch < XEN_WATCHES; watch++)
        set_watch(domain, watch, on);
}

/* Requests are answered in order: what changes after these reads is seen by
 * the watches before them. */
static void
start_domain(struct xen_domain *domain)
{
    domain->started = true;
    domain->starting = true;
    domain->cache->starting++;
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        domain->cached[key].unread = true;
    set_watches(domain, true);
    reread_all(domain, NULL);
}

static void
retry_due(evutil_socket_t fd, short events, void *arg)
{
    struct xen_cache *cache = arg;

    (void)fd;
    (void)events;
    for (size_t i = 0; i < cache->count && cache->xsc; i++) {
        struct xen_domain *domain = cache->domains[i];

        if (!domain->retry)
            continue;
        domain->retry = false;
        set_watches(domain, false);
        set_watches(domain, true);
        reread_all(domain, NULL);
    }
}

static void
start_some(struct xen_cache *cache)
{
    struct xen_domain *domain;

    while (cache->starting < STARTING_MAX && cache->next_start < cache->count) {
        domain = cache->domains[cache->next_start++];
        if (!domain->started)
            start_domain(domain);
    }
}

/* It doesn't count among those being read any more. */
static void
end_start(struct xen_domain *domain)
{
    struct xen_cache *cache = domain->cache;

    if (domain->starting)
        cache->starting--;
    if (domain->awaited)
        cache->awaited--;
    domain->starting = false;
    domain->awaited = false;
}

/* Each key once is enough: a guest that writes one of its own all the time
 * must not keep us from starting.  True if that ended its start. */
static bool
check_start(struct xen_domain *domain)
{
    if (!domain->starting)
        return false;
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        if (domain->cached[key].unread)
            return false;
    end_start(domain);
    start_some(domain->cache);
    return true;
}

/* What can't be read stays as it was: one such key must not block all. */
static void
reading_failed(struct xen_domain *domain, enum xen_key key, enum err error)
{
    char path[XEN_KEY_PATH];

    retry_later(domain);
    if (error != ERR_BUSY)
        domain->cached[key].unread = false;
    if (xen_cache_trouble(domain, XEN_TROUBLE_READING))
        log_warning("%s can't be read: %s; trying again",
                    xen_key_path(key, domain->domid, path), err_name(error));
}

/* Would a look show it?  What we write ourselves comes back, and a guest may
 * write anything where it is to say that it has booted. */
static bool
is_news(const struct xen_domain *domain, enum xen_key key,
        const struct xen_value *value)
{
    if (xen_key_is_text(key) || xen_value_equal(&domain->values[key], value))
        return false;
    switch (key) {
    case XEN_KEY_TARGET:
        return !domain->writes || value->number != (int64_t)domain->sent_kib;
    case XEN_KEY_MARK:
        return !domain->writes;
    case XEN_KEY_POWEROFF:
        return xen_value_is_one(value);
    default:
        return true;
    }
}

/* Puts what was read into the cache; true if a look shows the difference. */
static bool
take_value(struct xen_domain *domain, enum xen_key key, enum err error,
           const char *bytes, size_t length)
{
    struct xen_value value = { .state = XEN_VALUE_ABSENT };
    bool news;

    if (!error)
        value = xen_value_read(key, bytes, length);
    if (key == XEN_KEY_NAME)
        xen_text_copy(domain->name, sizeof(domain->name), error ? "" : bytes,
                      error ? 0 : length);
    news = is_news(domain, key, &value);
    domain->values[key] = value;
    domain->cached[key].unread = false;
    if (key == XEN_KEY_POWEROFF && xen_value_is_one(&value))
        set_watch(domain, XEN_WATCH_POWEROFF, false);
    return news;
}

/* Over only when all of a round could be read. */
static void
check_trouble(struct xen_domain *domain)
{
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        if (domain->cached[key].reading)
            return;
    xen_cache_no_trouble(domain, XEN_TROUBLE_READING);
}

static void
key_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct xen_cached *cached = arg;
    struct xen_domain *domain = cached->domain;
    enum xen_key key = (enum xen_key)(cached - domain->cached);
    bool changed = false;

    cached->reading = false;
    if (!came_back(domain) || error == ERR_NOT_READY)
        return;
    if (!error || error == ERR_NOT_FOUND)
        changed = take_value(domain, key, error, value, length);
    else
        reading_failed(domain, key, error);
    if (cached->dirty) {
        cached->dirty = false;
        xen_cache_reread(domain, key);
    }
    if (!domain->retry && domain->complaints[XEN_TROUBLE_READING].lasts)
        check_trouble(domain);
    if (xen_key_is_range(key))
        changed = !range_being_read(domain) && range_judge(domain);
    if (check_start(domain) || (changed && !domain->starting))
        tell(domain->cache);
}

void
xen_cache_wrote(struct xen_domain *domain, enum xen_key key,
                struct xen_value value)
{
    domain->values[key] = value;
    if (domain->cached[key].reading)
        domain->cached[key].dirty = true;
}

/* Events */

static struct xen_domain *
of_token(const struct xen_cache *cache, const char *token, bool *ret_ours)
{
    struct xen_domain *domain;
    unsigned domid, serial;

    *ret_ours = sscanf(token, TOKEN_FORMAT, &domid, &serial) == 2;
    if (!*ret_ours)
        return NULL;
    domain = xen_cache_find(cache, domid);
    return domain && domain->serial == serial ? domain : NULL;
}

/* Something else than a key of ours changed: the folder, what is above it, or
 * another key in it. */
static void
memory_event(struct xen_domain *domain, const char *path)
{
    char root[XEN_KEY_PATH];
    size_t length;

    snprintf(root, sizeof(root), KEY_MEMORY, domain->domid);
    length = strlen(root);
    if (!strcmp(path, root) && !domain->fired[XEN_WATCH_MEMORY])
        domain->fired[XEN_WATCH_MEMORY] = true;
    else if (strncmp(path, root, length) || path[length] != '/')
        reread_all(domain, xen_key_in_memory);
}

/* The first event of a watch says nothing: the key was read after the watch was
 * set.  Nor do those of a watch that isn't needed any more. */
static bool
says_nothing(struct xen_domain *domain, enum xen_key key)
{
    for (enum xen_watch watch = 0; watch < XEN_WATCHES; watch++) {
        if (watched_keys[watch] != key)
            continue;
        if (domain->watched[watch] && domain->fired[watch])
            return false;
        domain->fired[watch] = true;
        return true;
    }
    return false;
}

bool
xen_cache_event(struct xen_cache *cache, const char *path, const char *token)
{
    bool ours;
    struct xen_domain *domain = of_token(cache, token, &ours);
    enum xen_key key;

    if (!domain)
        return ours;
    key = xen_key_find(domain->domid, path);
    /* Read once; from then on it is what we have written. */
    if (key == XEN_KEY_SQUEEZED_TARGET)
        return true;
    if (key == XEN_KEYS)
        memory_event(domain, path);
    else if (!says_nothing(domain, key))
        xen_cache_reread(domain, key);
    return true;
}

void
xen_cache_introduced(struct xen_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++)
        if (!cache->domains[i]->name[0])
            xen_cache_reread_texts(cache->domains[i]);
}

/* Connections and domains */

void
xen_cache_up(struct xen_cache *cache, struct xsc *xsc)
{
    cache->xsc = xsc;
    cache->synced = false;
    cache->next_start = 0;
    cache->awaited = cache->count;
    for (size_t i = 0; i < cache->count; i++)
        cache->domains[i]->awaited = true;
    start_some(cache);
}

static void
stop_domain(struct xen_domain *domain)
{
    end_start(domain);
    domain->started = false;
    domain->was_managed |= domain->managed;
    domain->retry = false;
    if (domain->settle)
        evtimer_del(domain->settle);
    memset(domain->watched, 0, sizeof(domain->watched));
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        domain->cached[key] = (struct xen_cached){ .domain = domain };
}

void
xen_cache_lost(struct xen_cache *cache)
{
    cache->xsc = NULL;
    for (size_t i = 0; i < cache->count; i++)
        stop_domain(cache->domains[i]);
}

static struct xen_domain *
add_domain(struct xen_cache *cache, const struct xen_hypervisor_domain *seen)
{
    struct xen_domain *domain = calloc(1, sizeof(*domain));

    if (!domain)
        return NULL;
    domain->cache = cache;
    domain->domid = seen->domid;
    domain->serial = ++cache->serial;
    memcpy(domain->uuid, seen->uuid, sizeof(domain->uuid));
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        domain->cached[key].domain = domain;
    if (cache->xsc && !xen_cache_ready(cache)) {
        domain->awaited = true;
        cache->awaited++;
    }
    cache->next_start = 0;
    return domain;
}

static void
drop_domain(struct xen_domain *domain)
{
    struct xen_cache *cache = domain->cache;

    cache->next_start = 0;
    if (cache->xsc && domain->started)
        set_watches(domain, false);
    end_start(domain);
    if (domain->settle)
        evtimer_del(domain->settle);
    if (!domain->pending) {
        domain_free(domain);
        return;
    }
    domain->gone = true;
    domain->next = cache->gone;
    cache->gone = domain;
}

static bool
make_room(struct xen_cache *cache, size_t count)
{
    size_t capacity = count + count / 2 + 16;
    void *domains, *spare;

    if (count <= cache->capacity)
        return true;
    domains = realloc(cache->domains, capacity * sizeof(*cache->domains));
    if (domains)
        cache->domains = domains;
    spare = realloc(cache->spare, capacity * sizeof(*cache->spare));
    if (spare)
        cache->spare = spare;
    if (domains && spare)
        cache->capacity = capacity;
    return domains && spare;
}

/* The domain that was seen, as it is known: from cache->domains[*old] on,
 * where all that is before it is dropped. */
static struct xen_domain *
keep_or_add(struct xen_cache *cache, const struct xen_hypervisor_domain *seen,
            size_t *old)
{
    struct xen_domain *domain;

    while (*old < cache->count) {
        domain = cache->domains[*old];
        if (domain->domid > seen->domid)
            break;
        (*old)++;
        if (domain->domid == seen->domid &&
            !memcmp(domain->uuid, seen->uuid, sizeof(domain->uuid)))
            return domain;
        drop_domain(domain);
    }
    return add_domain(cache, seen);
}

static void
swap_lists(struct xen_cache *cache, size_t count)
{
    struct xen_domain **list = cache->domains;

    cache->domains = cache->spare;
    cache->spare = list;
    cache->count = count;
}

void
xen_cache_sync(struct xen_cache *cache,
               const struct xen_hypervisor_domain *list, size_t count)
{
    struct xen_domain *domain;
    size_t old = 0, kept = 0;

    if (!make_room(cache, count))
        return;
    for (size_t i = 0; i < count; i++) {
        domain = keep_or_add(cache, &list[i], &old);
        if (domain)
            cache->spare[kept++] = domain;
    }
    while (old < cache->count)
        drop_domain(cache->domains[old++]);
    swap_lists(cache, kept);
    if (cache->xsc) {
        cache->synced = true;
        start_some(cache);
    }
}
