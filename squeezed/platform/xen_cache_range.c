/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The range of a domain: which pair of its keys is in force. */
#include "squeezed/platform/xen_cache_internal.h"

#include "common/log.h"

#include <stdio.h>
#include <string.h>

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
    xen_cache_tell(domain->cache);
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

bool
xen_cache_range_was_read(struct xen_domain *domain)
{
    return !range_being_read(domain) && range_judge(domain);
}
