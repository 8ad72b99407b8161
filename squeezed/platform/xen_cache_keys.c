/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The domains' keys: read when a domain is first seen and whenever a watch
 * says so. */
#include "squeezed/platform/xen_cache_internal.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <stdio.h>
#include <string.h>

/* Between attempts to read or watch what xenstored refused. */
#define RETRY_S 1

/* Domains that are read for the first time at once: some 14,000 requests. */
enum { STARTING_MAX = 1024 };

#define TOKEN_FORMAT "domain-%u-%u" /* domid, serial */
#define TOKEN_SIZE   40

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
    if (!xen_cache_came_back(domain) || !error || error == ERR_NOT_READY)
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

void
xen_cache_unwatch(struct xen_domain *domain)
{
    set_watches(domain, false);
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

void
xen_cache_retry_due(evutil_socket_t fd, short events, void *arg)
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

void
xen_cache_start_some(struct xen_cache *cache)
{
    struct xen_domain *domain;

    while (cache->starting < STARTING_MAX && cache->next_start < cache->count) {
        domain = cache->domains[cache->next_start++];
        if (!domain->started)
            start_domain(domain);
    }
}

void
xen_cache_end_start(struct xen_domain *domain)
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
    xen_cache_end_start(domain);
    xen_cache_start_some(domain->cache);
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
    if (!xen_cache_came_back(domain) || error == ERR_NOT_READY)
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
        changed = xen_cache_range_was_read(domain);
    if (check_start(domain) || (changed && !domain->starting))
        xen_cache_tell(domain->cache);
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

/* Below its own keys a guest may write what it likes. */
static bool
is_of_the_guest(const struct xen_domain *domain, const char *path)
{
    char root[XEN_KEY_PATH];

    snprintf(root, sizeof(root), KEY_DOMAIN "/control/", domain->domid);
    return !strncmp(path, root, strlen(root));
}

/* Something else than a key of ours changed: the folder, what is above it, or
 * another key in it. */
static void
memory_event(struct xen_domain *domain, const char *path)
{
    char root[XEN_KEY_PATH];
    size_t length;

    if (is_of_the_guest(domain, path))
        return;
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
