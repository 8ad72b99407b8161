/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/follow.h"

#include "common/units.h"
#include "tools/table.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An event of the longest names is some 1,000 bytes. */
#define LINE_MAX_BYTES ((size_t)1 << 20)

void
follow_init(struct follow *f, FILE *out, bool json)
{
    *f = (struct follow){ .out = out, .json = json };
}

void
follow_done(struct follow *f)
{
    free(f->line);
    *f = (struct follow){ .out = f->out };
}

/* --------------------------------------------------------------- for people */

static bool
ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Local time, as people look at the clock. */
static void
put_time(FILE *out, const json_t *data)
{
    json_int_t ms = json_integer_value(json_object_get(data, "t_ms"));
    time_t seconds = (time_t)(ms / 1000);
    struct tm local;
    char text[16];

    if (!localtime_r(&seconds, &local) ||
        strftime(text, sizeof text, "%H:%M:%S", &local) == 0)
        text[0] = '\0';
    fprintf(out, "%s.%03d", text, (int)(ms % 1000));
}

static void
put_number(FILE *out, const char *key, json_int_t number)
{
    int label = (int)strlen(key);
    char size[SIZE_TEXT];

    if (ends_with(key, "_kib"))
        fprintf(out, "%.*s %s", label - 4, key, format_size(number, size));
    else if (ends_with(key, "_ms"))
        fprintf(out, "%.*s %" JSON_INTEGER_FORMAT " ms", label - 3, key,
                number);
    else
        fprintf(out, "%s %" JSON_INTEGER_FORMAT, key, number);
}

static void
put_list(FILE *out, const char *key, const json_t *list)
{
    const json_t *value;
    size_t i;

    fputs(key, out);
    json_array_foreach(list, i, value)
        fprintf(out, " %" JSON_INTEGER_FORMAT, json_integer_value(value));
}

static void
put_field(FILE *out, const char *key, const json_t *value)
{
    if (json_is_integer(value)) {
        put_number(out, key, json_integer_value(value));
    } else if (json_is_array(value)) {
        put_list(out, key, value);
    } else if (json_is_boolean(value)) {
        fprintf(out, "%s%s", json_is_true(value) ? "" : "not ", key);
    } else {
        fprintf(out, "%s ", key);
        put_clean(out, json_is_string(value) ? json_string_value(value) : "?");
    }
}

/* 12:03:04.123  grant        client x, amount 1.0 GiB, took 505 ms */
static void
put_event(struct follow *f, const json_t *data)
{
    const char *key, *between = "  ";
    json_t *value;

    put_time(f->out, data);
    fprintf(f->out, "  %-11s", f->event);
    json_object_foreach((json_t *)data, key, value)
    {
        if (json_is_null(value) || strcmp(key, "t_ms") == 0)
            continue;
        fputs(between, f->out);
        put_field(f->out, key, value);
        between = ", ";
    }
    putc('\n', f->out);
}

/* ------------------------------------------------------------------- lines */

static bool
take_data(struct follow *f, const char *text)
{
    json_t *data = json_loads(text, 0, NULL);

    if (!json_is_object(data)) {
        json_decref(data);
        return false;
    }
    if (f->json) {
        json_t *whole = json_pack("{s:s}", "event", f->event);

        json_object_update(whole, data);
        json_dumpf(whole, f->out, JSON_COMPACT);
        putc('\n', f->out);
        json_decref(whole);
    } else {
        put_event(f, data);
    }
    json_decref(data);
    if (fflush(f->out) != 0)
        f->error = errno;
    return f->error == 0;
}

static bool
take_line(struct follow *f, const char *line)
{
    if (strncmp(line, "event: ", 7) == 0)
        snprintf(f->event, sizeof f->event, "%s", line + 7);
    else if (strncmp(line, "data: ", 6) == 0)
        return take_data(f, line + 6);
    else if (strncmp(line, ": ", 2) == 0)
        snprintf(f->last_word, sizeof f->last_word, "%s", line + 2);
    return true;
}

static bool
append(struct follow *f, char byte)
{
    if (f->length + 1 >= f->room) {
        size_t room = f->room ? 2 * f->room : 1024;
        char *line = room <= LINE_MAX_BYTES ? realloc(f->line, room) : NULL;

        if (!line)
            return false;
        f->line = line;
        f->room = room;
    }
    f->line[f->length++] = byte;
    f->line[f->length] = '\0';
    return true;
}

/* An empty one ends an event, whose lines were taken as they came. */
static bool
end_line(struct follow *f)
{
    bool good = f->length == 0 || take_line(f, f->line);

    f->length = 0;
    return good;
}

bool
follow_feed(struct follow *f, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!(bytes[i] == '\n' ? end_line(f) : append(f, bytes[i])))
            return false;
    return true;
}
