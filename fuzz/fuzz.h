/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the harnesses have in common.  Each gives libFuzzer one function, which
 * takes any bytes; a broken promise is an abort. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* libFuzzer's own entries. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

int
LLVMFuzzerInitialize(int *argc, char ***argv);

/* assert() would go with NDEBUG. */
#define MUST(what)                                                             \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                           \
        }                                                                      \
    } while (0)

#endif
