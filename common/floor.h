/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest can live with: rules of thumb that warn, and forbid nothing. */
#ifndef COMMON_FLOOR_H
#define COMMON_FLOOR_H

#include <stdint.h>

/* From which a Linux guest with so much at its boot refuses to shrink further:
 * its balloon driver's own floor. */
uint64_t
floor_of_guest_kib(uint64_t static_max_kib);

enum { FLOOR_TEXT = 160 };

/* What is to be said of a range that begins at min_kib; empty if nothing.
 * Returns text. */
const char *
floor_warning(uint64_t min_kib, uint64_t static_max_kib, char text[FLOOR_TEXT]);

#endif
