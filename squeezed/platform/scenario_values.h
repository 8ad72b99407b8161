/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values that stand behind the keys of a scenario: a table of how each
 * kind is read.  For scenario.c only. */
#ifndef SCENARIO_VALUES_H
#define SCENARIO_VALUES_H

#include "squeezed/platform/scenario.h"

enum value_type {
    VALUE_NAME,        /* char[SCENARIO_NAME_CHARS] */
    VALUE_CLIENT,      /* char[LIMIT_CLIENT_CHARS + 1] */
    VALUE_UUID,        /* uint8_t[UUID_BYTES] */
    VALUE_GUEST_TYPE,  /* enum guest_type */
    VALUE_GUEST,       /* struct guest_behaviour */
    VALUE_POLICY,      /* const struct policy * */
    VALUE_SIZE,        /* uint64_t, KiB */
    VALUE_SIGNED_SIZE, /* int64_t, KiB */
    VALUE_SIZE_ABOVE_0,
    VALUE_SIZE_OR_NONE,  /* uint64_t; none: UINT64_MAX */
    VALUE_TIME,          /* int64_t, microseconds */
    VALUE_TIME_OR_NONE,  /* int64_t; none: -1 */
    VALUE_AT,            /* struct scenario_event: at_us, after */
    VALUE_DOMID,         /* uint32_t */
    VALUE_COUNT,         /* uint32_t, 1 to 32752 */
    VALUE_REPEAT,        /* uint32_t, 1 to 1,000,000 */
    VALUE_EVENT_NUMBER,  /* uint32_t */
    VALUE_SHARES,        /* uint64_t, 1 to 100000 */
    VALUE_WHOLE,         /* uint64_t */
    VALUE_PERCENT,       /* int64_t, millionths */
    VALUE_YES_NO,        /* bool */
    VALUE_ACTION,        /* enum scenario_action */
    VALUE_OUTCOME,       /* enum outcome */
    VALUE_EXPECTED_ERROR /* enum err */
};

/* Reads text into field.  NULL, or what it should have been ("a size such as
 * 512M"), with the field untouched. */
const char *
scenario_value(enum value_type type, const char *text, void *field);

#endif
