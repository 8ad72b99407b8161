/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the host is, in one word. */
#ifndef CORE_CONDITION_H
#define CORE_CONDITION_H

#include "squeezed/core/planner.h"

enum host_condition {
    HOST_RELAXED,   /* everybody has all that he may have */
    HOST_SQUEEZED,  /* somebody has less */
    HOST_TIGHT,     /* everybody is at his minimum */
    HOST_OVERLOADED /* memory that was promised is not there */
};

/* As of the last look. */
enum host_condition
host_condition(const struct planner *planner);

/* "relaxed", "squeezed", "tight", "overloaded" */
const char *
host_condition_name(enum host_condition condition);

#endif
