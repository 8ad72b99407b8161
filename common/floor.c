/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/floor.h"

#include "common/units.h"

#include <stdio.h>

/* MiB at boot, and the floor: drivers/xen/balloon.c of Linux, in steps of
 * which it makes a line.  The last slope goes on. */
static const struct {
    uint64_t size, floor;
} steps[] = {
    { 0, 0 },      { 16, 16 },      { 32, 24 },
    { 128, 72 },   { 512, 168 },    { 2048, 360 },
    { 8192, 552 }, { 32768, 1320 }, { 131072, 4392 },
};

uint64_t
floor_of_guest_kib(uint64_t static_max_kib)
{
    enum { LAST = sizeof steps / sizeof *steps - 1 };
    size_t i = 1;
    uint64_t from;

    while (i < LAST && static_max_kib > steps[i].size * KIB_PER_MIB)
        i++;
    from = steps[i - 1].size * KIB_PER_MIB;
    return page_up(steps[i - 1].floor * KIB_PER_MIB +
                   mul_div(static_max_kib - from,
                           steps[i].floor - steps[i - 1].floor,
                           steps[i].size - steps[i - 1].size));
}

const char *
floor_warning(uint64_t min_kib, uint64_t static_max_kib, char text[FLOOR_TEXT])
{
    char min[SIZE_TEXT], floor[SIZE_TEXT], max[SIZE_TEXT];
    uint64_t floor_kib = floor_of_guest_kib(static_max_kib);

    text[0] = '\0';
    format_size((int64_t)min_kib, min);
    format_size((int64_t)static_max_kib, max);
    if (static_max_kib == 0)
        return text;
    if (min_kib < floor_kib)
        snprintf(text, FLOOR_TEXT,
                 "%s is below %s, from where a Linux guest of %s refuses to "
                 "give",
                 min, format_size((int64_t)floor_kib, floor), max);
    else if (min_kib < static_max_kib / 4)
        snprintf(text, FLOOR_TEXT,
                 "%s is below a quarter of its %s: few guests can live with "
                 "that",
                 min, max);
    return text;
}
