/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ranges that an administrator keeps for domains, in files of a folder:
 *
 *     [web]                                  # a name, or a UUID
 *     dynamic-min = 256M
 *     dynamic-max = 2G                       # left out: static-max
 *     shares = 2000
 *
 * Reads *.conf in the order of their names; of two sections about one domain
 * the last counts.  A bad file is logged and ignored, all of it: what it said
 * when it was read before stays. */
#ifndef RANGE_RULES_H
#define RANGE_RULES_H

#include "common/units.h"

#include <stdbool.h>

enum { RANGE_NAME = 128, RANGE_SHARES_DEFAULT = 1000 };

struct range_rule {
    bool by_uuid;
    uint8_t uuid[UUID_BYTES];
    char name[RANGE_NAME];
    bool has_range;
    uint64_t min_kib;
    uint64_t max_kib; /* UINT64_MAX: static-max */
    unsigned shares;  /* 0: none given */
    uint64_t file;    /* a number for the file that it is from */
};

struct range_rules {
    struct range_rule *rules;
    size_t count;
    uint64_t seen; /* what the folder was like: see range_rules_changed() */
};

/* A folder that isn't there is fine.  Replaces what was read before, except for
 * files that are bad now. */
void
range_rules_read(struct range_rules *rules, const char *folder);

void
range_rules_done(struct range_rules *rules);

/* Has anything in the folder changed since? */
bool
range_rules_changed(const struct range_rules *rules, const char *folder);

/* By UUID, else by name; name is that of range_base_name().  NULL if there is
 * none. */
const struct range_rule *
range_rules_find(const struct range_rules *rules,
                 const uint8_t uuid[UUID_BYTES], const char *name);

/* A domain's name without what xl puts behind it while it migrates.  True if
 * the domain is one that comes in, and isn't there yet. */
bool
range_base_name(const char *name, char ret[RANGE_NAME]);

#endif
