/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A reader for `[section]`, `key = value` and comments from # or ; to the end
 * of the line, with line numbers and no silent cutting.  It serves the
 * configuration (no sections) and the scenarios. */
#ifndef COMMON_INI_H
#define COMMON_INI_H

#include <stddef.h>

/* Called for each section line (key and value NULL) and each key.  All texts
 * are trimmed and live only during the call; section is "" before the first.
 * Return NULL, or what is wrong with it: a text that lives until ini_read
 * returns (it is put behind FILE:LINE). */
typedef const char *
ini_handler(void *arg, const char *section, const char *key, const char *value,
            unsigned line);

/* Reads the file at path.  Returns 0; -1 with "FILE:LINE: what is wrong" (or
 * "FILE: why it can't be read", then *ret_missing, if given, tells whether it
 * doesn't exist) in message.  Stops at the first error. */
struct ini_options {
    size_t max_bytes; /* a larger file is an error */
    int *ret_missing; /* may be NULL */
};

int
ini_read(const char *path, const struct ini_options *options,
         ini_handler *handler, void *arg, char *message, size_t message_size);

/* The same for text in memory (tests, fuzzers); name stands for the file. */
int
ini_read_text(const char *name, const char *text, size_t length,
              ini_handler *handler, void *arg, char *message,
              size_t message_size);

#endif
