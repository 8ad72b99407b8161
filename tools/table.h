/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A table for people: columns as wide as what is in them, the one that gives
 * way cut to fit the terminal.  Plain text; what comes from others is made
 * harmless (control characters become '?'). */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stddef.h>
#include <stdio.h>

enum table_flag {
    TABLE_RIGHT = 1 << 0,  /* aligned to the right */
    TABLE_YIELDS = 1 << 1, /* cut when the table is too wide */
    TABLE_GAP = 1 << 2     /* set off from the column before */
};

struct table_column {
    const char *title; /* NULL in the first column: no line of titles */
    unsigned flags;
};

struct table;

/* Ends the process where there is no memory, as all of these do.  columns must
 * outlive the table. */
struct table *
table_new(const struct table_column *columns, size_t count);

/* Fills the next cell; after a row's last one the next row begins. */
void
table_cell(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

size_t
table_rows(const struct table *table);

/* width: of the terminal; 0: as wide as it gets. */
void
table_print(const struct table *table, FILE *out, unsigned width);

void
table_free(struct table *table);

/* Puts text with its control characters made harmless. */
void
put_clean(FILE *out, const char *text);

#endif
