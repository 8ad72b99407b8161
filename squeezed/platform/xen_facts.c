/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_facts.h"

#include "common/log.h"
#include "squeezed/platform/xen_ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint32_t
state_flags(const struct xen_hypervisor_domain *seen)
{
    uint32_t flags = 0;

    if (seen->paused)
        flags |= DOMAIN_PAUSED;
    if (seen->shutdown)
        flags |= DOMAIN_SHUTDOWN;
    if (seen->reboots)
        flags |= DOMAIN_REBOOTS;
    if (seen->dying)
        flags |= DOMAIN_DYING;
    if (seen->paused && !seen->ran && !seen->shutdown)
        flags |= DOMAIN_BUILDING;
    return flags;
}

/* What the hypervisor alone tells: an unmanaged domain, its limit raw.  Nobody
 * can hold more than there is, whatever limit it has ("unlimited", too); dom0,
 * which nobody builds and which has no limit on most hosts, counts at what it
 * holds while it isn't managed. */
static void
raw_facts(const struct xen_facts *facts,
          const struct xen_hypervisor_domain *seen, struct domain_facts *ret)
{
    *ret = (struct domain_facts){
        .domid = seen->domid,
        .flags = state_flags(seen),
        .actual_kib = seen->held_kib,
        .limit_kib = seen->domid == 0 && !facts->zero_managed
                         ? seen->held_kib
                         : min_u64(seen->max_kib, facts->total_kib),
        .claim_kib = seen->claim_kib,
        .target_kib = seen->held_kib,
        .ceiling_kib = CEILING_NONE,
    };
    memcpy(ret->uuid, seen->uuid, sizeof(ret->uuid));
    /* One call per domain: only while it is built, when it matters. */
    if ((ret->flags & (DOMAIN_BUILDING | DOMAIN_REBOOTS)) && seen->hvm)
        ret->paging_kib =
            xen_hypervisor_paging_kib(facts->hypervisor, seen->domid);
}

/* The frame */

/* Until it is measured, the offset of an HVM guest is its video memory: libxl
 * takes that off the target that it writes. */
static int64_t
offset_of(const struct xen_domain *domain,
          const struct xen_hypervisor_domain *seen)
{
    const struct xen_value *offset = &domain->values[XEN_KEY_OFFSET];
    const struct xen_value *videoram = &domain->values[XEN_KEY_VIDEORAM];

    if (offset->state == XEN_VALUE_GOOD)
        return offset->number;
    if (seen->hvm && videoram->state == XEN_VALUE_GOOD)
        return (int64_t)page_down((uint64_t)videoram->number);
    return 0;
}

/* What is taken off the hypervisor's numbers, and put back when a limit is
 * set.  Never more off than there is, so that limit - actual stays what it
 * is. */
static void
find_frame(struct xen_domain *domain, const struct xen_hypervisor_domain *seen)
{
    domain->offset_kib =
        min_i64(offset_of(domain, seen), (int64_t)seen->held_kib);
    domain->extra_kib = domain->managed && seen->hvm ? XEN_EXTRA_KIB : 0;
    domain->hvm = seen->hvm;
}

static uint64_t
in_frame(uint64_t kib, int64_t taken_off)
{
    return (uint64_t)max_i64((int64_t)kib - taken_off, 0);
}

static uint64_t
target_of(const struct xen_domain *domain, uint64_t actual_kib)
{
    const struct xen_value *target = &domain->values[XEN_KEY_TARGET];

    if (domain->writes)
        return domain->written_kib;
    if (target->state == XEN_VALUE_GOOD)
        return page_down((uint64_t)target->number);
    return actual_kib;
}

static void
put_into_frame(struct xen_domain *domain,
               const struct xen_hypervisor_domain *seen,
               struct domain_facts *ret)
{
    find_frame(domain, seen);
    ret->actual_kib = in_frame(ret->actual_kib, domain->offset_kib);
    ret->limit_kib = in_frame(ret->limit_kib,
                              domain->offset_kib + (int64_t)domain->extra_kib);
    ret->offset_kib = domain->offset_kib;
    ret->extra_kib = domain->extra_kib;
    ret->target_kib = target_of(domain, ret->actual_kib);
    domain->limit_kib = ret->limit_kib;
}

/* The guest */

static bool
runs_now(const struct domain_facts *ret)
{
    return !(ret->flags & (DOMAIN_UNTOUCHABLE & ~(uint32_t)DOMAIN_FROZEN));
}

/* Whether it may have holes that kill it: one call a look, until it hasn't. */
static bool
may_have_holes(const struct xen_facts *facts, struct xen_domain *domain,
               const struct xen_hypervisor_domain *seen,
               const struct domain_facts *ret)
{
    uint64_t entries_kib, cache_kib;

    if (!seen->hvm || domain->guest.pod_settled || !domain->managed ||
        (ret->flags & (DOMAIN_BUILDING | DOMAIN_SHUTDOWN | DOMAIN_DYING)))
        return false;
    if (xen_hypervisor_pod(facts->hypervisor, seen->domid, &entries_kib,
                           &cache_kib))
        return true;
    xen_guest_look_pod(&domain->guest, entries_kib, cache_kib, seen->held_kib);
    return !domain->guest.pod_settled;
}

static uint32_t
guest_flags(const struct xen_facts *facts, const struct xen_domain *domain,
            const struct domain_facts *ret)
{
    const struct xen_guest_signs signs = {
        .managed = domain->managed,
        .runs = !(ret->flags & DOMAIN_BUILDING),
        .feature = xen_cache_balloons(domain),
        .offset = domain->values[XEN_KEY_OFFSET].state == XEN_VALUE_GOOD,
        .poweroff = xen_value_is_one(&domain->values[XEN_KEY_POWEROFF]),
    };

    /* Who lets domain 0 take part says that it can. */
    if (domain->domid == 0)
        return DOMAIN_BALLOON;
    return xen_guest_flags(&domain->guest, facts->balloon, &signs);
}

/* A domain that comes nearer to its target is at work. */
static void
note_movement(struct xen_facts *facts, struct xen_domain *domain,
              const struct domain_facts *ret)
{
    uint64_t away_kib = ret->actual_kib > ret->target_kib
                            ? ret->actual_kib - ret->target_kib
                            : ret->target_kib - ret->actual_kib;

    if (away_kib < domain->away_kib && domain->offset.seen) {
        facts->anything_moved = true;
        facts->moved_us = facts->now_us;
    }
    domain->away_kib = away_kib;
}

static void
store_offset(const struct xen_facts *facts, const struct xen_domain *domain,
             int64_t kib)
{
    const struct xen_value *offset = &domain->values[XEN_KEY_OFFSET];
    char path[XEN_KEY_PATH], value[24];
    int length;

    if (offset->state == XEN_VALUE_GOOD && offset->number == kib)
        return;
    log_info("domain %u (%s): holds %" PRId64 " KiB more than its target",
             domain->domid, domain->name, kib);
    length = snprintf(value, sizeof(value), "%" PRId64, kib);
    /* It counts when its watch brings it back. */
    xsc_write(facts->xsc, 0, xen_key_path(XEN_KEY_OFFSET, domain->domid, path),
              value, (size_t)length, NULL, NULL);
}

static void
measure_offset(const struct xen_facts *facts, struct xen_domain *domain,
               const struct xen_hypervisor_domain *seen)
{
    const struct xen_value *target = &domain->values[XEN_KEY_TARGET];
    const struct xen_offset_sight sight = {
        .target_kib = page_down((uint64_t)target->number),
        .held_kib = seen->held_kib,
        .max_kib = seen->max_kib,
        .host_moves = facts->anything_moved &&
                      facts->now_us - facts->moved_us < XEN_OFFSET_STILL_US,
    };
    int64_t kib;

    if (target->state == XEN_VALUE_GOOD && !domain->writes &&
        !facts->read_only &&
        xen_offset_look(&domain->offset, &sight, facts->now_us, &kib))
        store_offset(facts, domain, kib);
}

static void
look_at_guest(struct xen_facts *facts, struct xen_domain *domain,
              const struct xen_hypervisor_domain *seen,
              struct domain_facts *ret)
{
    bool runs = runs_now(ret);

    xen_guest_look(&domain->guest, runs, facts->now_us);
    if (may_have_holes(facts, domain, seen, ret))
        return; /* it is booting */
    ret->flags |= guest_flags(facts, domain, ret);
    if (!runs || !domain->managed)
        return;
    note_movement(facts, domain, ret);
    measure_offset(facts, domain, seen);
}

/* All */

/* What the toolstack says of an unmanaged domain: a first range is checked
 * against it.  0: it says nothing. */
static void
add_static_range(const struct xen_domain *domain, struct domain_facts *ret)
{
    const struct xen_value *min = &domain->values[XEN_KEY_STATIC_MIN];
    const struct xen_value *max = &domain->values[XEN_KEY_STATIC_MAX];

    if (min->state == XEN_VALUE_GOOD && min->number > 0)
        ret->static_min_kib = page_up((uint64_t)min->number);
    if (max->state == XEN_VALUE_GOOD && max->number > 0)
        ret->static_max_kib = page_down((uint64_t)max->number);
}

static void
add_range(const struct xen_domain *domain, struct domain_facts *ret)
{
    ret->flags |= DOMAIN_MANAGED;
    ret->static_min_kib = domain->range.static_min_kib;
    ret->dynamic_min_kib = domain->range.dynamic_min_kib;
    ret->dynamic_max_kib = domain->range.dynamic_max_kib;
    ret->static_max_kib = domain->range.static_max_kib;
}

/* What an administrator has ordered. */
static void
add_orders(const struct xen_domain *domain, struct domain_facts *ret)
{
    const struct xen_value *ceiling = &domain->values[XEN_KEY_CEILING];

    if (ceiling->state == XEN_VALUE_GOOD)
        ret->ceiling_kib = page_down((uint64_t)ceiling->number);
    if (domain->values[XEN_KEY_FROZEN].state != XEN_VALUE_ABSENT)
        ret->flags |= DOMAIN_FROZEN;
}

void
xen_facts_of(struct xen_facts *facts, struct xen_domain *domain,
             const struct xen_hypervisor_domain *seen, struct domain_facts *ret)
{
    raw_facts(facts, seen, ret);
    if (!domain || (seen->domid == 0 && !facts->zero_managed))
        return;
    put_into_frame(domain, seen, ret);
    if (domain->managed)
        add_range(domain, ret);
    else
        add_static_range(domain, ret);
    add_orders(domain, ret);
    if (xen_cache_is_marked(domain))
        ret->flags |= DOMAIN_MARKED;
    if (domain->range_error[0])
        ret->flags |= DOMAIN_BAD_RANGE;
    look_at_guest(facts, domain, seen, ret);
}
