/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hypercalls that the xen platform makes, behind a few functions.  The
 * only room that includes xenctrl.h: above it there are no pages, no flags of
 * Xen's and no errno. */
#ifndef XEN_HYPERVISOR_H
#define XEN_HYPERVISOR_H

#include "common/err.h"
#include "common/units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xen_hypervisor;

/* A domain as Xen counts it: no offset and no extra taken off. */
struct xen_hypervisor_domain {
    uint32_t domid;
    uint8_t uuid[UUID_BYTES];
    uint64_t held_kib;  /* tot_pages */
    uint64_t max_kib;   /* max_pages; at most LIMIT_SIZE_KIB ("unlimited") */
    uint64_t claim_kib; /* outstanding_pages */
    bool hvm;           /* HVM or PVH: Xen doesn't tell them apart */
    bool paused;
    bool shutdown;
    bool reboots; /* ... to be started again */
    bool dying;
    bool ran; /* has used CPU time */
};

struct xen_hypervisor_memory {
    uint64_t total_kib;
    uint64_t free_kib; /* claims not taken off */
    uint64_t scrub_kib;
};

/* Closed at first.  NULL without memory. */
struct xen_hypervisor *
xen_hypervisor_new(void);

/* NULL is fine. */
void
xen_hypervisor_free(struct xen_hypervisor *hypervisor);

/* Xen's own command line; false if it can't be had. */
bool
xen_hypervisor_command_line(struct xen_hypervisor *hypervisor, char *text,
                            size_t size);

/* What was wrong with the last open or look, for people; empty: nothing. */
const char *
xen_hypervisor_why(const struct xen_hypervisor *hypervisor);

/* All domains in ascending order, and the host's memory at that instant.  *ret
 * lives until the next call.  Opens first where that is needed. */
enum err
xen_hypervisor_look(struct xen_hypervisor *hypervisor,
                    const struct xen_hypervisor_domain **ret, size_t *ret_count,
                    struct xen_hypervisor_memory *ret_memory);

/* What is free at this instant, what is being cleaned included. */
enum err
xen_hypervisor_see_free(struct xen_hypervisor *hypervisor, uint64_t *ret_kib);

/* One domain, asked for now; ERR_UNKNOWN_DOMAIN if there is none. */
enum err
xen_hypervisor_domain(struct xen_hypervisor *hypervisor, uint32_t domid,
                      struct xen_hypervisor_domain *ret);

/* max_pages.  ERR_UNKNOWN_DOMAIN if there is no such domain (any more). */
enum err
xen_hypervisor_set_limit(struct xen_hypervisor *hypervisor, uint32_t domid,
                         uint64_t kib);

/* Populate on demand, of HVM and PVH: the holes that the guest believes to be
 * memory, and the pages kept to fill them.  None, where Xen can't. */
enum err
xen_hypervisor_pod(struct xen_hypervisor *hypervisor, uint32_t domid,
                   uint64_t *ret_entries_kib, uint64_t *ret_cache_kib);

/* Pages to fill holes with, so that the domain holds so much; it never gives
 * any back by this. */
enum err
xen_hypervisor_set_pod(struct xen_hypervisor *hypervisor, uint32_t domid,
                       uint64_t kib);

/* The domain's shadow or HAP memory; 0 where Xen can't tell. */
uint64_t
xen_hypervisor_paging_kib(struct xen_hypervisor *hypervisor, uint32_t domid);

#endif
