/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_values.h"

#include "sq_limits.h"
#include "xenstore_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    KIND_RANGE,  /* KiB, one of the four of a range */
    KIND_AMOUNT, /* KiB */
    KIND_OFFSET, /* KiB, may be negative */
    KIND_FLAG,   /* it is there, or it isn't */
    KIND_TEXT    /* for people */
};

/* Below KEY_DOMAIN, where there is a leaf. */
static const struct key {
    const char *leaf;
    enum kind kind;
} keys[XEN_KEYS] = {
    [XEN_KEY_STATIC_MIN] = { "memory/" LEAF_STATIC_MIN, KIND_RANGE },
    [XEN_KEY_STATIC_MAX] = { "memory/" LEAF_STATIC_MAX, KIND_RANGE },
    [XEN_KEY_DYNAMIC_MIN] = { "memory/" LEAF_DYNAMIC_MIN, KIND_RANGE },
    [XEN_KEY_DYNAMIC_MAX] = { "memory/" LEAF_DYNAMIC_MAX, KIND_RANGE },
    [XEN_KEY_TARGET] = { "memory/" LEAF_TARGET, KIND_AMOUNT },
    [XEN_KEY_SQUEEZED_TARGET] = { "memory/" LEAF_SQUEEZED_TARGET, KIND_AMOUNT },
    [XEN_KEY_OFFSET] = { "memory/" LEAF_OFFSET, KIND_OFFSET },
    [XEN_KEY_VIDEORAM] = { "memory/" LEAF_VIDEORAM, KIND_AMOUNT },
    [XEN_KEY_MARK] = { "memory/" LEAF_UNCOOPERATIVE, KIND_FLAG },
    [XEN_KEY_CEILING] = { "memory/" LEAF_SQUEEZED_CEILING, KIND_AMOUNT },
    [XEN_KEY_FROZEN] = { "memory/" LEAF_SQUEEZED_FROZEN, KIND_FLAG },
    [XEN_KEY_POWEROFF] = { &KEY_FEATURE_POWEROFF[sizeof(KEY_DOMAIN)],
                           KIND_FLAG },
    [XEN_KEY_FEATURE] = { &KEY_FEATURE_BALLOON[sizeof(KEY_DOMAIN)], KIND_FLAG },
    [XEN_KEY_NAME] = { &KEY_NAME[sizeof(KEY_DOMAIN)], KIND_TEXT },
    [XEN_KEY_TYPE] = { &KEY_DOMAIN_TYPE[sizeof(KEY_DOMAIN)], KIND_TEXT },
    [XEN_KEY_LIBXL_TYPE] = { NULL, KIND_TEXT }, /* KEY_LIBXL_TYPE */
};

const char *
xen_key_path(enum xen_key key, uint32_t domid, char buffer[XEN_KEY_PATH])
{
    if (keys[key].leaf)
        snprintf(buffer, XEN_KEY_PATH, KEY_DOMAIN "/%s", domid, keys[key].leaf);
    else
        snprintf(buffer, XEN_KEY_PATH, KEY_LIBXL_TYPE, domid);
    return buffer;
}

enum xen_key
xen_key_find(uint32_t domid, const char *path)
{
    char root[XEN_KEY_PATH];
    int length = snprintf(root, sizeof(root), KEY_DOMAIN "/", domid);

    if (strncmp(path, root, (size_t)length))
        return XEN_KEYS;
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        if (keys[key].leaf && !strcmp(path + length, keys[key].leaf))
            return key;
    return XEN_KEYS;
}

bool
xen_key_is_range(enum xen_key key)
{
    return keys[key].kind == KIND_RANGE;
}

bool
xen_key_in_memory(enum xen_key key)
{
    return keys[key].leaf && !strncmp(keys[key].leaf, "memory/", 7);
}

bool
xen_key_is_text(enum xen_key key)
{
    return keys[key].kind == KIND_TEXT;
}

void
xen_text_copy(char *to, size_t size, const char *bytes, size_t length)
{
    size_t n = length < size - 1 ? length : size - 1;

    for (size_t i = 0; i < n; i++)
        to[i] = bytes[i] >= ' ' && bytes[i] < 0x7f ? bytes[i] : '?';
    to[n] = '\0';
}

static bool
read_amount(const char *text, int64_t *ret)
{
    uint64_t value;

    if (!parse_u64(text, &value) || value > LIMIT_SIZE_KIB)
        return false;
    *ret = (int64_t)value;
    return true;
}

/* Whole pages, towards zero. */
static bool
read_offset(const char *text, int64_t *ret)
{
    bool negative = text[0] == '-';
    uint64_t value;

    if (!parse_u64(text + negative, &value) || value > XEN_OFFSET_MAX_KIB)
        return false;
    value = page_down(value);
    *ret = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

struct xen_value
xen_value_read(enum xen_key key, const char *bytes, size_t length)
{
    struct xen_value value = { .state = XEN_VALUE_GOOD };
    bool good = true;

    xen_text_copy(value.text, sizeof(value.text), bytes, length);
    if (keys[key].kind <= KIND_OFFSET) {
        /* bytes are terminated; a NUL among them makes no number. */
        good =
            strlen(bytes) == length &&
            (keys[key].kind == KIND_OFFSET ? read_offset(bytes, &value.number)
                                           : read_amount(bytes, &value.number));
    }
    if (!good)
        value.state = XEN_VALUE_BAD;
    return value;
}

struct xen_value
xen_value_of(uint64_t kib)
{
    struct xen_value value = { .state = XEN_VALUE_GOOD,
                               .number = (int64_t)kib };

    snprintf(value.text, sizeof(value.text), "%" PRIu64, kib);
    return value;
}

struct xen_value
xen_value_empty(void)
{
    return (struct xen_value){ .state = XEN_VALUE_GOOD };
}

bool
xen_value_is_one(const struct xen_value *value)
{
    return value->state == XEN_VALUE_GOOD && !strcmp(value->text, "1");
}

bool
xen_value_equal(const struct xen_value *a, const struct xen_value *b)
{
    return a->state == b->state && a->number == b->number &&
           !strcmp(a->text, b->text);
}

/* The first of the four that is no number: XEN_KEYS if there is none. */
static enum xen_key
bad_number(const struct xen_value values[XEN_KEYS])
{
    for (enum xen_key key = 0; key < XEN_KEYS; key++)
        if (xen_key_is_range(key) && values[key].state == XEN_VALUE_BAD)
            return key;
    return XEN_KEYS;
}

/* For people: without the folder. */
static const char *
key_name(enum xen_key key)
{
    return strchr(keys[key].leaf, '/') + 1;
}

/* Pairs that must not fall. */
static const enum xen_key order[][2] = {
    { XEN_KEY_DYNAMIC_MIN, XEN_KEY_DYNAMIC_MAX },
    { XEN_KEY_DYNAMIC_MAX, XEN_KEY_STATIC_MAX },
    { XEN_KEY_STATIC_MIN, XEN_KEY_DYNAMIC_MIN },
};

static bool
in_order(const struct xen_value values[XEN_KEYS], char *text, size_t size)
{
    const struct xen_value *low, *high;

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        low = &values[order[i][0]];
        high = &values[order[i][1]];
        if (low->state == XEN_VALUE_ABSENT || high->state == XEN_VALUE_ABSENT ||
            low->number <= high->number)
            continue;
        snprintf(text, size, "%s %s is above %s %s (KiB)",
                 key_name(order[i][0]), low->text, key_name(order[i][1]),
                 high->text);
        return false;
    }
    return true;
}

/* Whole pages inside the range; a range inside one page becomes its start. */
static struct xen_range
whole_pages(const struct xen_value values[XEN_KEYS])
{
    const struct xen_value *static_max = &values[XEN_KEY_STATIC_MAX];
    uint64_t max = page_down((uint64_t)values[XEN_KEY_DYNAMIC_MAX].number);
    uint64_t min = page_up((uint64_t)values[XEN_KEY_DYNAMIC_MIN].number);
    uint64_t least = page_up((uint64_t)values[XEN_KEY_STATIC_MIN].number);

    return (struct xen_range){
        .static_min_kib = min_u64(least, max),
        .dynamic_min_kib = min_u64(min, max),
        .dynamic_max_kib = max,
        .static_max_kib = static_max->state == XEN_VALUE_GOOD
                              ? page_down((uint64_t)static_max->number)
                              : max,
    };
}

enum xen_range_verdict
xen_range_read(const struct xen_value values[XEN_KEYS], struct xen_range *ret,
               char *text, size_t size)
{
    enum xen_key key = bad_number(values);

    if (values[XEN_KEY_DYNAMIC_MIN].state == XEN_VALUE_ABSENT ||
        values[XEN_KEY_DYNAMIC_MAX].state == XEN_VALUE_ABSENT)
        return XEN_RANGE_NONE;
    if (key != XEN_KEYS) {
        snprintf(text, size, "%s \"%s\" is not a number of KiB", key_name(key),
                 values[key].text);
        return XEN_RANGE_BAD;
    }
    if (!in_order(values, text, size))
        return XEN_RANGE_BAD;
    /* A target of 0 kills any guest: nobody means that. */
    if (values[XEN_KEY_DYNAMIC_MAX].number < (int64_t)KIB_PER_PAGE) {
        snprintf(text, size, "dynamic-max %s is less than a page (KiB)",
                 values[XEN_KEY_DYNAMIC_MAX].text);
        return XEN_RANGE_BAD;
    }
    *ret = whole_pages(values);
    return XEN_RANGE_GOOD;
}
