/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/ini.h"

#include "sq_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reader {
    const char *name; /* of the file */
    unsigned line;
    const char *section;
    ini_handler *handler;
    void *arg;
    char *message;
    size_t message_size;
};

/* Always -1.  Control characters of the file don't get into the message. */
static int __attribute__((format(printf, 3, 4)))
fail(char *message, size_t size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(message, size, format, args);
    va_end(args);
    for (char *p = message; size > 0 && *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
    return -1;
}

static int
fail_line(const struct reader *reader, const char *what, const char *text)
{
    return fail(reader->message, reader->message_size, "%s:%u: %s%s%s%s",
                reader->name, reader->line, what, text == NULL ? "" : ": \"",
                text == NULL ? "" : text, text == NULL ? "" : "\"");
}

static int
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts blanks off both ends, in place. */
static char *
trim(char *text)
{
    size_t length;

    while (is_blank(*text))
        text++;
    length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

static int
tell(struct reader *reader, const char *key, const char *value)
{
    const char *wrong =
        reader->handler(reader->arg, reader->section, key, value, reader->line);

    return wrong == NULL ? 0 : fail_line(reader, wrong, NULL);
}

static int
read_section(struct reader *reader, char *line)
{
    size_t length = strlen(line);

    if (line[length - 1] != ']')
        return fail_line(reader, "a section must end with ']'", line);
    line[length - 1] = '\0';
    char *name = trim(line + 1);
    if (*name == '\0')
        return fail_line(reader, "a section without a name", NULL);
    if (strpbrk(name, "[]") != NULL)
        return fail_line(reader, "a bracket in the name of a section", name);
    reader->section = name;
    return tell(reader, NULL, NULL);
}

static int
read_line(struct reader *reader, char *line)
{
    line[strcspn(line, "#;")] = '\0';
    line = trim(line);
    if (*line == '\0')
        return 0;
    if (*line == '[')
        return read_section(reader, line);
    char *value = strchr(line, '=');
    if (value == NULL)
        return fail_line(reader, "neither 'key = value' nor '[section]'", line);
    *value++ = '\0';
    line = trim(line);
    if (*line == '\0')
        return fail_line(reader, "no key in front of '='", NULL);
    return tell(reader, line, trim(value));
}

/* text is ours to cut up, and terminated. */
static int
read_lines(struct reader *reader, char *text, size_t length)
{
    char *end = text + length;

    if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
        text += 3;
    while (text < end) {
        char *next = memchr(text, '\n', (size_t)(end - text));

        if (next == NULL)
            next = end;
        *next = '\0';
        reader->line++;
        if (strlen(text) != (size_t)(next - text))
            return fail_line(reader, "a NUL byte: not a text file", NULL);
        if (read_line(reader, text) < 0)
            return -1;
        text = next + 1;
    }
    return 0;
}

static int
read_buffer(const char *name, char *text, size_t length, ini_handler *handler,
            void *arg, char *message, size_t message_size)
{
    struct reader reader = { .name = name,
                             .section = "",
                             .handler = handler,
                             .arg = arg,
                             .message = message,
                             .message_size = message_size };

    return read_lines(&reader, text, length);
}

int
ini_read_text(const char *name, const char *text, size_t length,
              ini_handler *handler, void *arg, char *message,
              size_t message_size)
{
    char *copy = malloc(length + 1);
    int result;

    if (copy == NULL)
        return fail(message, message_size, "%s: out of memory", name);
    memcpy(copy, text, length);
    copy[length] = '\0';
    result =
        read_buffer(name, copy, length, handler, arg, message, message_size);
    free(copy);
    return result;
}

/* Everything that comes, up to max bytes and one more (which tells that it is
 * too large), plus room for a terminator.  NULL with errno. */
static char *
slurp(int fd, size_t max, size_t *ret_length)
{
    size_t size = 4096, length = 0;
    char *text = malloc(size);
    ssize_t got = 1;

    while (text != NULL && got != 0 && length <= max) {
        if (length + 1 == size) {
            char *larger = realloc(text, size *= 2);

            if (larger == NULL)
                free(text);
            if ((text = larger) == NULL)
                break;
        }
        got = read(fd, text + length, size - length - 1);
        if (got < 0 && errno != EINTR) {
            free(text);
            return NULL;
        }
        length += got > 0 ? (size_t)got : 0;
    }
    if (text != NULL)
        text[length] = '\0';
    *ret_length = length;
    return text;
}

int
ini_read(const char *path, const struct ini_options *options,
         ini_handler *handler, void *arg, char *message, size_t message_size)
{
    size_t length = 0, max = options->max_bytes;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC), result;

    if (options->ret_missing != NULL)
        *options->ret_missing = fd < 0 && errno == ENOENT;
    if (fd >= 0)
        text = slurp(fd, max, &length);
    if (text == NULL)
        result = fail(message, message_size, "%s: %s", path, strerror(errno));
    else if (length > max)
        result = fail(message, message_size,
                      "%s: larger than %zu bytes, the limit", path, max);
    else
        result = read_buffer(path, text, length, handler, arg, message,
                             message_size);
    free(text);
    if (fd >= 0)
        close(fd);
    return result;
}
