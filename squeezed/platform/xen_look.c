/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A look: the domains that the hypervisor lists, with what their keys say. */
#include "squeezed/platform/xen_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum err
xen_list_domains(struct xen_platform *xen)
{
    enum err error = xen_hypervisor_look(xen->hypervisor, &xen->listed,
                                         &xen->count, &xen->memory);

    if (error) {
        xen->count = 0;
        xen_retry_soon(xen);
        return error;
    }
    xen_cache_sync(xen->cache, xen->listed, xen->count);
    return ERR_NONE;
}

/* Names are final once the domain has been built. */
static void
note_built(struct xen_domain *domain, const struct domain_facts *facts)
{
    bool building = facts->flags & DOMAIN_BUILDING;

    if (domain->was_building && !building)
        xen_cache_reread_texts(domain);
    domain->was_building = building;
}

static bool
make_room(struct xen_platform *xen, size_t count)
{
    size_t capacity = count + count / 2 + 16;
    struct domain_facts *facts;

    if (count <= xen->capacity)
        return true;
    facts = realloc(xen->facts, capacity * sizeof(*facts));
    if (!facts)
        return false;
    xen->facts = facts;
    xen->capacity = capacity;
    return true;
}

/* A target that is no number moves no guest, and shows no difference to the one
 * that is wanted. */
static void
mend_target(struct xen_platform *xen, struct xen_domain *domain,
            const struct domain_facts *facts)
{
    if (domain->values[XEN_KEY_TARGET].state != XEN_VALUE_BAD ||
        xen->view.read_only || !(facts->flags & DOMAIN_MANAGED) ||
        (facts->flags & DOMAIN_UNTOUCHABLE))
        return;
    xen_writer_restore(xen->writer, domain, facts->target_kib);
}

/* What somebody else has written as the target is a wish: the ceiling. */
static void
hear_wishes(struct xen_platform *xen, struct xen_domain *domain,
            const struct domain_facts *facts)
{
    const struct xen_value *target = &domain->values[XEN_KEY_TARGET];
    const struct xen_manual_sight sight = {
        .managed = facts->flags & DOMAIN_MANAGED,
        .building = facts->flags & DOMAIN_BUILDING,
        .going = facts->flags & (DOMAIN_SHUTDOWN | DOMAIN_DYING),
        .new = xen->looked || domain->was_building,
        .certain = !domain->writes && !domain->noting &&
                   !domain->cached[XEN_KEY_TARGET].reading &&
                   !domain->cached[XEN_KEY_SQUEEZED_TARGET].reading,
        .target = target,
        .squeezed = &domain->values[XEN_KEY_SQUEEZED_TARGET],
    };
    enum xen_manual_verdict verdict =
        xen_manual_look(&domain->manual, &sight, xen->view.now_us);
    uint64_t ceiling_kib;

    if (verdict == XEN_MANUAL_NOTHING || xen->view.read_only)
        return;
    if (verdict == XEN_MANUAL_BASE) {
        xen_note_base(&xen->notes, domain);
        return;
    }
    ceiling_kib =
        min_u64(page_down((uint64_t)target->number), facts->dynamic_max_kib);
    ceiling_kib = max_u64(ceiling_kib, facts->dynamic_min_kib);
    log_info("domain %u (%s): somebody set its target to %" PRId64
             " KiB: its ceiling is %" PRIu64 " KiB now",
             domain->domid, domain->name, target->number, ceiling_kib);
    xen_note_wish(&xen->notes, domain, ceiling_kib);
}

/* The cache has what was listed, in the same order (less, if there was no
 * memory for it).  A domain whose keys are still being read is unmanaged. */
static void
fill_facts(struct xen_platform *xen)
{
    struct xen_domain *domain;
    size_t known = 0;
    bool was_read;

    xen->reboots = 0;
    for (size_t i = 0; i < xen->count; i++) {
        domain = xen_cache_at(xen->cache, known);
        if (domain && domain->domid != xen->listed[i].domid)
            domain = NULL;
        known += domain != NULL;
        was_read = domain && domain->started && !domain->starting;
        xen_facts_of(&xen->view, was_read ? domain : NULL, &xen->listed[i],
                     &xen->facts[i]);
        xen->reboots += (xen->facts[i].flags & DOMAIN_REBOOTS) != 0;
        if (was_read)
            hear_wishes(xen, domain, &xen->facts[i]);
        if (domain)
            note_built(domain, &xen->facts[i]);
        if (was_read)
            mend_target(xen, domain, &xen->facts[i]);
    }
}

const struct xen_hypervisor_domain *
xen_find_listed(const struct xen_platform *xen, uint32_t domid)
{
    for (size_t i = 0; i < xen->count; i++)
        if (xen->listed[i].domid == domid)
            return &xen->listed[i];
    return NULL;
}

static void
put_zero(struct xsc_change *change, enum xen_key key, char path[XEN_KEY_PATH],
         struct xen_value *value, uint64_t kib)
{
    *value = xen_value_of(kib);
    *change = (struct xsc_change){ xen_key_path(key, 0, path), value->text };
}

static void
zero_was_written(void *arg, enum err error, const char *value, size_t length)
{
    struct xen_platform *xen = arg;

    (void)value;
    (void)length;
    if (!error)
        xen->zero.again_us = 0;
    if (!error || error == ERR_NOT_READY) /* a new connection starts anew */
        return;
    if (xen->zero.again_us == 0)
        log_warning("xenstore: domain 0's range could not be stored: %s; "
                    "trying again",
                    err_name(error));
    xen->zero.written = false;
    xen->zero.again_us = xen->view.now_us + US_PER_S;
}

/* Domain 0's range, once on each connection: a new xenstored has forgotten
 * it.  A target, too, where it has none: toolstacks look for one. */
static void
write_zero(struct xen_platform *xen, int64_t now_us)
{
    const struct xen_domain *domain = xen_cache_find(xen->cache, 0);
    const struct xen_hypervisor_domain *seen = xen_find_listed(xen, 0);
    struct xsc_change changes[3];
    char paths[3][XEN_KEY_PATH];
    struct xen_value values[3];
    uint64_t min_kib, max_kib;
    size_t n = 0;

    if (!xen->zero.managed || xen->view.read_only || xen->zero.written ||
        now_us < xen->zero.again_us || !domain || !seen)
        return;
    xen_zero_range(&xen->zero, &domain->values[XEN_KEY_DYNAMIC_MAX],
                   seen->held_kib, &min_kib, &max_kib);
    xen->zero.written = true;
    put_zero(&changes[n], XEN_KEY_DYNAMIC_MIN, paths[n], &values[n], min_kib);
    n++;
    put_zero(&changes[n], XEN_KEY_DYNAMIC_MAX, paths[n], &values[n], max_kib);
    n++;
    if (domain->values[XEN_KEY_TARGET].state == XEN_VALUE_ABSENT) {
        put_zero(&changes[n], XEN_KEY_TARGET, paths[n], &values[n],
                 xen_zero_target(max_kib, seen->held_kib));
        n++;
    }
    xsc_commit(xen->xsc, changes, n, zero_was_written, xen);
}

enum err
xen_look(struct platform *platform, int64_t now_us, struct snapshot *ret)
{
    struct xen_platform *xen = to_xen(platform);
    enum err error = xen_list_domains(xen);

    if (error || !xen_usable(xen))
        return ERR_NOT_READY;
    if (!make_room(xen, xen->count))
        return ERR_NO_MEMORY;
    write_zero(xen, now_us);
    xen->view.now_us = now_us;
    xen_cache_clock(xen->cache, now_us);
    xen->view.total_kib = xen->memory.total_kib;
    fill_facts(xen);
    xen->looked = true;
    *ret = (struct snapshot){
        .total_kib = xen->memory.total_kib,
        .free_kib = xen->memory.free_kib,
        .scrub_kib = xen->memory.scrub_kib,
        .domains = xen->facts,
        .count = xen->count,
        .reboots = xen->reboots,
    };
    return ERR_NONE;
}
