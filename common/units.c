/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/units.h"

#include "sq_limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Decimals are exact: the smallest step that comes up is a page of a TiB,
 * 2^-28, which has 28 digits; what lies behind those only has to be known to
 * be zero or not.  10^28 times the largest unit fits 128 bits. */
#define FRACTION_DIGITS 28

typedef unsigned __int128 u128;

/* whole + fraction / 10^28 (+ something less than a step, if more). */
struct decimal {
    uint64_t whole;
    u128 fraction;
    bool more;
};

/* More than any size or time that is accepted, in any unit. */
#define WHOLE_MAX (UINT64_C(1) << 60)

struct unit {
    const char *name;
    uint64_t factor;
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits behind the point. */
static const char *
parse_fraction(const char *text, struct decimal *ret)
{
    unsigned digits = 0;

    for (; is_digit(*text); text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (digits < FRACTION_DIGITS) {
            ret->fraction = ret->fraction * 10 + digit;
            digits++;
        } else if (digit != 0) {
            ret->more = true;
        }
    }
    for (; digits < FRACTION_DIGITS; digits++)
        ret->fraction *= 10;
    return text;
}

/* DIGITS or DIGITS.DIGITS.  Returns what stands behind it, NULL for no number
 * or one above WHOLE_MAX. */
static const char *
parse_decimal(const char *text, struct decimal *ret)
{
    *ret = (struct decimal){ 0 };
    if (!is_digit(*text))
        return NULL;
    for (; is_digit(*text); text++) {
        ret->whole = ret->whole * 10 + (unsigned)(*text - '0');
        if (ret->whole > WHOLE_MAX)
            return NULL;
    }
    if (*text != '.')
        return text;
    if (!is_digit(text[1]))
        return NULL;
    return parse_fraction(text + 1, ret);
}

/* The decimal times factor, rounded up. */
static u128
scale_up(const struct decimal *decimal, uint64_t factor)
{
    u128 one = 1;

    for (int i = 0; i < FRACTION_DIGITS; i++)
        one *= 10;
    u128 part = decimal->fraction * factor;
    u128 up = part / one + (part % one != 0 || decimal->more ? 1 : 0);
    return (u128)decimal->whole * factor + up;
}

static const struct unit *
find_unit(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

static const char *
skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* A number, blanks if a unit follows, the unit. */
static const struct unit *
parse_quantity(const char *text, const struct unit *units, struct decimal *ret)
{
    const char *rest = parse_decimal(text, ret);

    if (rest == NULL)
        return NULL;
    const char *name = skip_blanks(rest);
    if (*name == '\0' && name != rest)
        return NULL;
    return find_unit(units, name);
}

/* In bytes; what is a page or more, in pages: see parse_size. */
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

static const struct unit size_units[] = {
    { "K", KIB },   { "KiB", KIB }, { "KB", KIB },  { "M", MIB },
    { "MiB", MIB }, { "MB", MIB },  { "G", GIB },   { "GiB", GIB },
    { "GB", GIB },  { "T", TIB },   { "TiB", TIB }, { "TB", TIB },
    { "", 0 }, /* a bare number: see parse_size */
    { NULL, 0 },
};

bool
parse_size(const char *text, bool bare_bytes, uint64_t *ret_kib)
{
    const uint64_t page = KIB_PER_PAGE * KIB;
    struct decimal number;
    const struct unit *unit = parse_quantity(text, size_units, &number);
    u128 pages;

    if (unit == NULL)
        return false;
    uint64_t factor = unit->factor;
    if (factor == 0)
        factor = bare_bytes ? 1 : KIB;
    if (factor >= page)
        pages = scale_up(&number, factor / page);
    else
        pages = (scale_up(&number, factor) + page - 1) / page;
    if (pages > LIMIT_SIZE_KIB / KIB_PER_PAGE)
        return false;
    *ret_kib = (uint64_t)pages * KIB_PER_PAGE;
    return true;
}

static const struct unit time_units[] = {
    { "", US_PER_S },
    { "us", 1 },
    { "ms", US_PER_MS },
    { "s", US_PER_S },
    { "m", UINT64_C(60) * US_PER_S },
    { "h", UINT64_C(3600) * US_PER_S },
    { NULL, 0 },
};

#define TIME_MAX_US (INT64_C(1000) * 3600 * US_PER_S)

bool
parse_time(const char *text, int64_t *ret_us)
{
    struct decimal number;
    const struct unit *unit = parse_quantity(text, time_units, &number);

    if (unit == NULL)
        return false;
    u128 us = scale_up(&number, unit->factor);
    if (us > TIME_MAX_US)
        return false;
    *ret_us = (int64_t)us;
    return true;
}

bool
parse_u64(const char *text, uint64_t *ret)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (!is_digit(*text) ||
            __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool
parse_bool(const char *text, bool *ret)
{
    static const struct {
        const char *name;
        bool value;
    } words[] = {
        { "yes", true }, { "no", false },  { "true", true }, { "false", false },
        { "on", true },  { "off", false }, { "1", true },    { "0", false },
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].name, text) == 0) {
            *ret = words[i].value;
            return true;
        }
    }
    return false;
}

/* Below a MiB whole KiB, above that one decimal of the unit that fits. */
const char *
format_size(int64_t kib, char buffer[SIZE_TEXT])
{
    static const char *const names[] = { "MiB", "GiB", "TiB" };
    uint64_t magnitude = kib < 0 ? 0 - (uint64_t)kib : (uint64_t)kib;
    const char *sign = kib < 0 ? "-" : "";
    uint64_t unit = KIB_PER_MIB, whole, tenths;

    if (magnitude < KIB_PER_MIB) {
        snprintf(buffer, SIZE_TEXT, "%s%" PRIu64 " KiB", sign, magnitude);
        return buffer;
    }
    for (size_t i = 0;; i++, unit *= 1024) {
        whole = magnitude / unit;
        tenths = (magnitude % unit * 10 + unit / 2) / unit;
        if (tenths == 10) { /* 1023.96 MiB is 1.0 GiB */
            whole++;
            tenths = 0;
        }
        if (whole < 1024 || i == sizeof names / sizeof *names - 1) {
            snprintf(buffer, SIZE_TEXT, "%s%" PRIu64 ".%" PRIu64 " %s", sign,
                     whole, tenths, names[i]);
            return buffer;
        }
    }
}

/* Where the dashes stand: 8-4-4-4-12 hexadecimal digits. */
static bool
is_dash_place(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

const char *
format_uuid(const uint8_t uuid[UUID_BYTES], char buffer[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    size_t out = 0;

    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (is_dash_place(out))
            buffer[out++] = '-';
        buffer[out++] = digits[uuid[i] >> 4];
        buffer[out++] = digits[uuid[i] & 15];
    }
    buffer[out] = '\0';
    return buffer;
}

static int
hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool
parse_uuid(const char *text, uint8_t ret[UUID_BYTES])
{
    uint8_t uuid[UUID_BYTES] = { 0 };
    size_t nibble = 0;

    for (size_t i = 0; i < UUID_TEXT - 1; i++) {
        if (is_dash_place(i)) {
            if (text[i] != '-')
                return false;
            continue;
        }
        int value = hex_value(text[i]);
        if (value < 0)
            return false;
        uuid[nibble / 2] = (uint8_t)(uuid[nibble / 2] << 4 | value);
        nibble++;
    }
    if (text[UUID_TEXT - 1] != '\0')
        return false;
    memcpy(ret, uuid, UUID_BYTES);
    return true;
}
