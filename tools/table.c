/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INDENT        2u
#define SPACE         2u
#define GAP           4u
#define YIELD_CHARS   8u
#define COLUMNS_MAX   16u
#define CELL_CAPACITY 64u

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* row after row */
    size_t cell_count;
    size_t capacity;
};

static void *
need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static bool
is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Characters of UTF-8; wide ones count as one. */
static unsigned
text_width(const char *text)
{
    unsigned width = 0;

    for (; *text; text++)
        if (!is_continuation(*text))
            width++;
    return width;
}

static void
clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

void
put_clean(FILE *out, const char *text)
{
    char *copy = need(strdup(text));

    clean(copy);
    fputs(copy, out);
    free(copy);
}

struct table *
table_new(const struct table_column *columns, size_t count)
{
    struct table *table = need(calloc(1, sizeof(*table)));

    table->columns = columns;
    table->column_count = count < COLUMNS_MAX ? count : COLUMNS_MAX;
    return table;
}

void
table_free(struct table *table)
{
    size_t i;

    for (i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

void
table_cell(struct table *table, const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    clean(need(text));
    if (table->cell_count == table->capacity) {
        table->capacity = table->capacity * 2 + CELL_CAPACITY;
        table->cells = need(
            realloc(table->cells, table->capacity * sizeof(*table->cells)));
    }
    table->cells[table->cell_count++] = text;
}

size_t
table_rows(const struct table *table)
{
    assert(table->column_count > 0);
    return table->cell_count / table->column_count;
}

/* What stands before column i. */
static unsigned
space_before(const struct table *table, size_t i)
{
    if (i == 0)
        return INDENT;
    return table->columns[i].flags & TABLE_GAP ? GAP : SPACE;
}

static unsigned
natural_width(const struct table *table, size_t column)
{
    const char *title = table->columns[column].title;
    unsigned width = title ? text_width(title) : 0;
    size_t i;

    for (i = column; i < table->cell_count; i += table->column_count) {
        unsigned cell = text_width(table->cells[i]);

        if (cell > width)
            width = cell;
    }
    return width;
}

static void
fit(const struct table *table, unsigned width, unsigned *widths)
{
    unsigned sum = 0;
    size_t i;

    for (i = 0; i < table->column_count; i++) {
        widths[i] = natural_width(table, i);
        sum += widths[i] + space_before(table, i);
    }
    if (!width || sum <= width)
        return;
    for (i = 0; i < table->column_count; i++) {
        unsigned over = sum - width;

        if (!(table->columns[i].flags & TABLE_YIELDS) ||
            widths[i] <= YIELD_CHARS)
            continue;
        widths[i] =
            widths[i] > over + YIELD_CHARS ? widths[i] - over : YIELD_CHARS;
        return;
    }
}

/* The first width characters; the last of them a '~' if there are more. */
static void
put_cut(FILE *out, const char *text, unsigned width)
{
    unsigned seen = 0;

    for (; *text; text++) {
        if (!is_continuation(*text) && ++seen == width)
            break;
        fputc(*text, out);
    }
    fputc('~', out);
}

static void
put_cell(FILE *out, const char *text, unsigned width, bool right, bool last)
{
    unsigned own = text_width(text);
    unsigned padding = own < width ? width - own : 0;

    if (right)
        fprintf(out, "%*s", (int)padding, "");
    if (own > width)
        put_cut(out, text, width);
    else
        fputs(text, out);
    if (!right && !last)
        fprintf(out, "%*s", (int)padding, "");
}

/* A line without blanks at its end. */
static void
put_row(const struct table *table, FILE *out, const unsigned *widths,
        const char *const *texts)
{
    size_t count = table->column_count;
    size_t i;

    while (count > 0 && (!texts[count - 1] || !*texts[count - 1]))
        count--;
    for (i = 0; i < count; i++) {
        const char *text = texts[i] ? texts[i] : "";

        fprintf(out, "%*s", (int)space_before(table, i), "");
        put_cell(out, text, widths[i], table->columns[i].flags & TABLE_RIGHT,
                 i + 1 == count);
    }
    fputc('\n', out);
}

void
table_print(const struct table *table, FILE *out, unsigned width)
{
    unsigned widths[COLUMNS_MAX];
    const char *texts[COLUMNS_MAX];
    size_t row, i;

    fit(table, width, widths);
    if (table->columns[0].title) {
        for (i = 0; i < table->column_count; i++)
            texts[i] = table->columns[i].title;
        put_row(table, out, widths, texts);
    }
    for (row = 0; row < table_rows(table); row++) {
        for (i = 0; i < table->column_count; i++)
            texts[i] = table->cells[row * table->column_count + i];
        put_row(table, out, widths, texts);
    }
}
