/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_guest.h"

#include "squeezed/core/facts.h"

void
xen_guest_look(struct xen_guest *g, bool runs_now, int64_t now_us)
{
    if (g->ran && runs_now)
        g->ran_us += max_i64(now_us - g->looked_us, 0);
    g->ran = runs_now;
    g->looked_us = now_us;
}

/* A hole that the guest touches takes a page of the stock: what is short stays
 * the same.  It becomes less if the balloon takes holes, or if somebody adds
 * to the stock, which the domain then holds. */
void
xen_guest_look_pod(struct xen_guest *g, uint64_t entries_kib,
                   uint64_t cache_kib, uint64_t held_kib)
{
    uint64_t short_kib = sub_or_0(entries_kib, cache_kib);

    if (g->pod_seen && sub_or_0(g->pod_short_kib, short_kib) >
                           sub_or_0(held_kib, g->pod_held_kib))
        g->pod_proof = true;
    g->pod_seen = true;
    g->pod_short_kib = short_kib;
    g->pod_held_kib = held_kib;
    g->pod_settled = short_kib == 0;
}

static bool
is_booting(const struct xen_guest *g)
{
    return g->pod_seen && !g->pod_settled;
}

static bool
is_proven(const struct xen_guest *g, enum xen_balloon rule,
          const struct xen_guest_signs *signs)
{
    switch (rule) {
    case XEN_BALLOON_ALWAYS:
        return signs->managed && signs->runs;
    case XEN_BALLOON_FEATURE:
        return signs->feature;
    case XEN_BALLOON_AUTO:
        break;
    }
    return signs->feature || signs->offset || g->pod_proof;
}

uint32_t
xen_guest_flags(const struct xen_guest *g, enum xen_balloon rule,
                const struct xen_guest_signs *signs)
{
    if (is_booting(g))
        return 0;
    if (is_proven(g, rule, signs))
        return DOMAIN_BALLOON;
    if (rule == XEN_BALLOON_AUTO && signs->runs &&
        (signs->poweroff || g->ran_us >= XEN_GUEST_BOOT_US))
        return DOMAIN_PROBE_READY;
    return 0;
}
