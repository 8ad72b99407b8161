/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gives domains that come without a range the one that the administrator keeps
 * for them (range_rules.h), or the default one.  Once: a range that somebody
 * writes, or removes, later on stays as it is, until the rule itself changes.
 * Works over the broker, so that it is the same on every platform. */
#ifndef RANGES_H
#define RANGES_H

#include "squeezed/broker.h"

struct ranges;

struct ranges_options {
    const char *folder;       /* of the files; lives as long as ranges */
    unsigned default_percent; /* of static-max: default-dynamic-min; 0: none */
};

/* Reads the files.  NULL without memory. */
struct ranges *
ranges_new(struct broker *broker, struct platform *platform,
           const struct ranges_options *options);

/* Call broker_free() first: no answer can be given any more. */
void
ranges_free(struct ranges *ranges);

/* Reads the files anew; rules that have changed are applied to the domains that
 * are there. */
void
ranges_reload(struct ranges *ranges, const struct ranges_options *options);

/* To be called after each pass of the broker; returns when it is due again at
 * the latest. */
int64_t
ranges_run(struct ranges *ranges, int64_t now_us);

#endif
