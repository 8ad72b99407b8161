/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What guests and toolstacks write into xenstore.  Each line of the input is
 * the value of a key, in their order, then a path. */
#include "common/units.h"
#include "fuzz/fuzz.h"
#include "sq_limits.h"
#include "squeezed/platform/xen_values.h"

#include <string.h>

static void
check_value(enum xen_key key, const struct xen_value *v)
{
    MUST(v->state == XEN_VALUE_GOOD || v->state == XEN_VALUE_BAD);
    MUST(strlen(v->text) < sizeof v->text);
    MUST(xen_value_equal(v, v));
    MUST(!xen_key_is_text(key) || v->state == XEN_VALUE_GOOD);
    if (v->state != XEN_VALUE_GOOD)
        return;
    MUST(v->number <= (int64_t)LIMIT_SIZE_KIB);
    MUST(key == XEN_KEY_OFFSET ? v->number >= -XEN_OFFSET_MAX_KIB &&
                                     v->number <= XEN_OFFSET_MAX_KIB
                               : v->number >= 0);
}

static void
check_range(const struct xen_value values[XEN_KEYS])
{
    struct xen_range r = { 0 };
    char text[160] = "";

    switch (xen_range_read(values, &r, text, sizeof text)) {
    case XEN_RANGE_GOOD:
        MUST(r.static_min_kib <= r.dynamic_min_kib &&
             r.dynamic_min_kib <= r.dynamic_max_kib &&
             r.dynamic_max_kib <= r.static_max_kib);
        MUST(r.dynamic_max_kib >= KIB_PER_PAGE);
        MUST(page_down(r.static_min_kib) == r.static_min_kib &&
             page_down(r.dynamic_min_kib) == r.dynamic_min_kib &&
             page_down(r.dynamic_max_kib) == r.dynamic_max_kib &&
             page_down(r.static_max_kib) == r.static_max_kib);
        break;
    case XEN_RANGE_BAD:
        MUST(*text != '\0');
        break;
    case XEN_RANGE_NONE:
        MUST(values[XEN_KEY_DYNAMIC_MIN].state == XEN_VALUE_ABSENT ||
             values[XEN_KEY_DYNAMIC_MAX].state == XEN_VALUE_ABSENT);
    }
}

static void
check_path(const char *path)
{
    enum xen_key key = xen_key_find(7, path);
    char own[XEN_KEY_PATH];

    if (key != XEN_KEYS)
        MUST(strcmp(xen_key_path(key, 7, own), path) == 0);
}

/* The next line as the store would hand it over: terminated, and in memory
 * that ends there.  NULL after the last one. */
static char *
next_line(const uint8_t **data, size_t *length, size_t *ret)
{
    const uint8_t *end;
    char *line;

    if (*length == 0)
        return NULL;
    end = memchr(*data, '\n', *length);
    *ret = end ? (size_t)(end - *data) : *length;
    line = malloc(*ret + 1);
    MUST(line != NULL);
    memcpy(line, *data, *ret);
    line[*ret] = '\0';
    *length -= *ret + (end != NULL);
    *data += *ret + (end != NULL);
    return line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct xen_value values[XEN_KEYS] = { { 0 } };
    enum xen_key key = 0;
    size_t n = 0;
    char *line;

    while ((line = next_line(&data, &length, &n)) != NULL) {
        /* "-" alone: the key isn't there. */
        if (key < XEN_KEYS && strcmp(line, "-") != 0) {
            values[key] = xen_value_read(key, line, n);
            check_value(key, &values[key]);
        }
        check_path(line);
        free(line);
        key += key < XEN_KEYS;
    }
    check_range(values);
    return 0;
}
