/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes down what xen_manual.h has found out: the base line, and wishes. */
#ifndef XEN_NOTE_H
#define XEN_NOTE_H

#include "squeezed/platform/xen_cache.h"

#include <sys/queue.h>

struct xen_note;

struct xen_notes {
    struct xsc *xsc;
    struct xen_cache *cache;
    /* A wish counts from now on: look again. */
    void (*noted)(void *context);
    void *context;
    LIST_HEAD(, xen_note) list;
};

/* The target in the store is the one to compare with. */
void
xen_note_base(struct xen_notes *notes, struct xen_domain *domain);

/* The same, and its ceiling is ceiling_kib.  Two writes, in this order: a wish
 * that is only half written down when we end is heard again. */
void
xen_note_wish(struct xen_notes *notes, struct xen_domain *domain,
              uint64_t ceiling_kib);

/* Drops all that are on their way; after the xenstore client. */
void
xen_notes_free(struct xen_notes *notes);

#endif
