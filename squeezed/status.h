/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The status of the host and of the broker as JSON, and whether all is well.
 * Reads, changes nothing. */
#ifndef STATUS_H
#define STATUS_H

#include "squeezed/broker.h"

#include <jansson.h>

/* The whole status object; NULL if the host has never been seen yet, or
 * without memory. */
json_t *
status_build(struct broker *broker, struct platform *platform, int64_t now_us);

#define STATUS_WHY 240

/* True while the store answers and the last good look is recent; else why not
 * goes into why. */
bool
status_healthy(struct broker *broker, struct platform *platform, int64_t now_us,
               char why[STATUS_WHY]);

/* A JSON string of a text that may come from a guest: what isn't UTF-8 comes
 * out as '?'. */
json_t *
status_text(const char *text);

/* A size or count; above 2^63 - 1: that. */
json_t *
status_number(uint64_t number);

/* A time since then, or until then, in whole milliseconds; never negative. */
json_t *
status_ms(int64_t duration_us);

/* Those that a refusal names. */
json_t *
status_domids(const struct result *result);

#endif
