/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Xen's own warning: free memory has fallen below what it wants for itself
 * (VIRQ_ENOMEM).  Somebody took memory behind our back, and the next look may
 * be seconds away: this asks for one at once, and what it shows stops all
 * growth. */
#ifndef XEN_BRAKE_H
#define XEN_BRAKE_H

#include <event2/event.h>

struct xen_brake;

/* NULL where event channels can't be had, or another program listens already:
 * then the looks alone have to tell. */
struct xen_brake *
xen_brake_new(struct event_base *base, void (*pulled)(void *context),
              void *context);

/* NULL is fine. */
void
xen_brake_free(struct xen_brake *brake);

#endif
