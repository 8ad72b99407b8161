/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A domain's keys in xenstore: where they are, what their values mean, and
 * when they make a range.  Pure functions; everything they read was written by
 * others and may be anything. */
#ifndef XEN_VALUES_H
#define XEN_VALUES_H

#include "squeezed/platform/xen_offset.h"

enum xen_key {
    XEN_KEY_STATIC_MIN,
    XEN_KEY_STATIC_MAX,
    XEN_KEY_DYNAMIC_MIN,
    XEN_KEY_DYNAMIC_MAX,
    XEN_KEY_TARGET,
    XEN_KEY_SQUEEZED_TARGET,
    XEN_KEY_OFFSET,
    XEN_KEY_VIDEORAM,
    XEN_KEY_MARK,    /* uncooperative: our own, of a life before this one too */
    XEN_KEY_CEILING, /* the manual target, and */
    XEN_KEY_FROZEN,  /*   frozen by hand: our own, too */
    XEN_KEY_FEATURE,
    XEN_KEY_POWEROFF,
    XEN_KEY_NAME,
    XEN_KEY_TYPE,
    XEN_KEY_LIBXL_TYPE,
    XEN_KEYS
};

/* Room for the path of any of them. */
#define XEN_KEY_PATH 64

enum xen_value_state {
    XEN_VALUE_ABSENT,
    XEN_VALUE_BAD, /* it is there, and is no number that makes sense */
    XEN_VALUE_GOOD
};

struct xen_value {
    enum xen_value_state state;
    int64_t number; /* KiB; of numbers only */
    char text[28];  /* how it begins; what can't be printed is '?' */
};

/* KiB in whole pages, in this order rising. */
struct xen_range {
    uint64_t static_min_kib;
    uint64_t dynamic_min_kib;
    uint64_t dynamic_max_kib;
    uint64_t static_max_kib;
};

/* Returns buffer. */
const char *
xen_key_path(enum xen_key key, uint32_t domid, char buffer[XEN_KEY_PATH]);

/* Which key of the domain a path is.  XEN_KEYS if none. */
enum xen_key
xen_key_find(uint32_t domid, const char *path);

/* One of the four of a range. */
bool
xen_key_is_range(enum xen_key key);

/* Below KEY_MEMORY. */
bool
xen_key_in_memory(enum xen_key key);

/* One of the names, which nothing depends on but what people read. */
bool
xen_key_is_text(enum xen_key key);

/* The key's value, any bytes. */
struct xen_value
xen_value_read(enum xen_key key, const char *bytes, size_t length);

/* The number, or the empty text, as written by us. */
struct xen_value
xen_value_of(uint64_t kib);
struct xen_value
xen_value_empty(void);

/* control/feature-poweroff as libxl makes it is empty; Linux writes this. */
bool
xen_value_is_one(const struct xen_value *value);

bool
xen_value_equal(const struct xen_value *a, const struct xen_value *b);

/* Copies at most size - 1 bytes; what can't be printed comes out as '?'. */
void
xen_text_copy(char *to, size_t size, const char *bytes, size_t length);

enum xen_range_verdict {
    XEN_RANGE_NONE, /* one of the dynamic keys is absent */
    XEN_RANGE_BAD,
    XEN_RANGE_GOOD
};

/* What the values (indexed by their keys) give: *ret if it is good, text if it
 * is bad (which key, its value, what is wrong with it). */
enum xen_range_verdict
xen_range_read(const struct xen_value values[XEN_KEYS], struct xen_range *ret,
               char *text, size_t size);

#endif
