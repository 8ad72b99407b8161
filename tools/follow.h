/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker's events, as they come over the wire: server-sent events are cut
 * into lines, and each is printed for people or as a line of JSON. */
#ifndef TOOLS_FOLLOW_H
#define TOOLS_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct follow {
    FILE *out;
    bool json; /* a line of JSON each */
    int error; /* errno of writing; 0 */
    char event[40];
    char last_word[200]; /* the last comment; empty: none */
    char *line;          /* what has come of it */
    size_t length, room;
};

void
follow_init(struct follow *follow, FILE *out, bool json);

void
follow_done(struct follow *follow);

/* False if it can't be written, or isn't what a broker sends. */
bool
follow_feed(struct follow *follow, const char *bytes, size_t length);

#endif
