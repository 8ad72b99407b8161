/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said of a trouble that comes again and again: once while it lasts,
 * once more when it comes back after it was over, and no more often than every
 * 10 s.  Pure. */
#ifndef XEN_COMPLAINT_H
#define XEN_COMPLAINT_H

#include "common/units.h"

#include <stdbool.h>
#include <stdint.h>

#define XEN_COMPLAINT_PAUSE_US (10 * US_PER_S)

struct xen_complaint { /* all zero at first */
    bool lasts;
    bool said;
    int64_t said_us;
};

/* The trouble is there; true if that is to be said now. */
static inline bool
xen_complaint_due(struct xen_complaint *complaint, int64_t now_us)
{
    bool due = !complaint->lasts &&
               (!complaint->said ||
                now_us - complaint->said_us >= XEN_COMPLAINT_PAUSE_US);

    complaint->lasts = true;
    if (due) {
        complaint->said = true;
        complaint->said_us = now_us;
    }
    return due;
}

static inline void
xen_complaint_over(struct xen_complaint *complaint)
{
    complaint->lasts = false;
}

#endif
