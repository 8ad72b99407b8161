/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_cache_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

struct xen_cache *
xen_cache_new(struct event_base *base, int64_t settle_us,
              const struct xen_cache_hooks *hooks)
{
    struct xen_cache *cache = calloc(1, sizeof(*cache));

    if (!cache)
        return NULL;
    cache->retry = evtimer_new(base, xen_cache_retry_due, cache);
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

bool
xen_cache_came_back(struct xen_domain *domain)
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

void
xen_cache_tell(struct xen_cache *cache)
{
    if (xen_cache_ready(cache))
        cache->hooks.changed(cache->hooks.context);
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
    xen_cache_start_some(cache);
}

static void
stop_domain(struct xen_domain *domain)
{
    xen_cache_end_start(domain);
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
        xen_cache_unwatch(domain);
    xen_cache_end_start(domain);
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
        xen_cache_start_some(cache);
    }
}
