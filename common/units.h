/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes (KiB, pages of 4 KiB) and times (microseconds): arithmetic that cannot
 * wrap, and their form for people.  Everything above the Xen platform counts
 * in KiB that are multiples of 4.  No I/O. */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Wide, so that what is multiplied with them is, too. */
#define KIB_PER_PAGE UINT64_C(4)
#define KIB_PER_MIB  UINT64_C(1024)
#define KIB_PER_GIB  UINT64_C(1048576)
#define US_PER_MS    INT64_C(1000)
#define US_PER_S     INT64_C(1000000)
/* Later than any time that comes up: "never". */
#define TIME_NEVER_US INT64_MAX

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline int64_t
min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t
max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* a - b, or 0 where that is negative. */
static inline uint64_t
sub_or_0(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* a + b, or UINT64_MAX where that does not fit. */
static inline uint64_t
add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* a * b / c without an intermediate that wraps; c must not be 0; UINT64_MAX
 * where the result does not fit. */
static inline uint64_t
mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 r = (unsigned __int128)a * b / c;

    return r > UINT64_MAX ? UINT64_MAX : (uint64_t)r;
}

/* Rounded up, or down, to whole pages. */
static inline uint64_t
page_up(uint64_t kib)
{
    return (kib + KIB_PER_PAGE - 1) / KIB_PER_PAGE * KIB_PER_PAGE;
}

static inline uint64_t
page_down(uint64_t kib)
{
    return kib / KIB_PER_PAGE * KIB_PER_PAGE;
}

/* A size such as "8G", "512 MiB", "1.5G", "4096" (a bare number is KiB; with
 * bare_bytes it is bytes).  K M G T are powers of 1024, optionally followed by
 * iB or B.  Rounded up to whole pages.  False, with *ret_kib untouched, for
 * anything else, negative sizes and those above LIMIT_SIZE_KIB. */
bool
parse_size(const char *text, bool bare_bytes, uint64_t *ret_kib);

/* A time such as "25ms", "1.5 s", "10" (a bare number is seconds); us ms s m
 * h.  False, with *ret_us untouched, for anything else, negative times and
 * those over 1,000 hours. */
bool
parse_time(const char *text, int64_t *ret_us);

/* A whole decimal number without sign, blanks or anything behind it. */
bool
parse_u64(const char *text, uint64_t *ret);

/* yes/no, true/false, on/off, 1/0. */
bool
parse_bool(const char *text, bool *ret);

/* "2.0 GiB", "412.5 MiB", "96 KiB", for people; negative sizes too.  Returns
 * buffer. */
#define SIZE_TEXT 24
const char *
format_size(int64_t kib, char buffer[SIZE_TEXT]);

/* A UUID as 36 characters, and back (false if it isn't one). */
#define UUID_BYTES 16
#define UUID_TEXT  37
const char *
format_uuid(const uint8_t uuid[UUID_BYTES], char buffer[UUID_TEXT]);
bool
parse_uuid(const char *text, uint8_t ret[UUID_BYTES]);

#endif
