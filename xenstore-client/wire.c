/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xenstore-client/wire.h"

#include <stdlib.h>
#include <string.h>

static const char path_characters[] = "abcdefghijklmnopqrstuvwxyz"
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789-/_@";

bool
wire_path_ok(const char *path)
{
    size_t length = strspn(path, path_characters);

    return length && length <= WIRE_PATH_MAX && !path[length];
}

bool
wire_token_ok(const char *token)
{
    return strlen(token) <= WIRE_TOKEN_MAX;
}

bool
wire_value_ok(const char *path, size_t length)
{
    return length <= XENSTORE_PAYLOAD_MAX - (strlen(path) + 1);
}

int
wire_errno(const char *text)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        if (!strcmp(text, xsd_errors[i].errstring))
            return xsd_errors[i].errnum;
    return EIO;
}

void
wire_init(struct wire_reader *reader)
{
    *reader = (struct wire_reader){ .body = NULL };
}

void
wire_done(struct wire_reader *reader)
{
    free(reader->body);
    wire_init(reader);
}

/* Copies until have reaches end; true when it has. */
static bool
take(struct wire_reader *reader, char *to, size_t end, const char **data,
     size_t *length)
{
    size_t n = end - reader->have;

    if (n > *length)
        n = *length;
    if (n)
        memcpy(to, *data, n);
    reader->have += n;
    *data += n;
    *length -= n;
    return reader->have == end;
}

static bool
make_room(struct wire_reader *reader, size_t capacity)
{
    char *body;

    if (capacity <= reader->capacity)
        return true;
    body = realloc(reader->body, capacity);
    if (!body)
        return false;
    reader->body = body;
    reader->capacity = capacity;
    return true;
}

enum wire_state
wire_feed(struct wire_reader *reader, const char **data, size_t *length)
{
    struct xsd_sockmsg *header = &reader->header;
    const size_t header_end = sizeof(*header);

    /* The message before is done with. */
    if (reader->have >= header_end && reader->have == header_end + header->len)
        reader->have = 0;
    if (reader->have < header_end) {
        if (!take(reader, (char *)header + reader->have, header_end, data,
                  length))
            return WIRE_MORE;
        if (header->len > LIMIT_XENSTORE_REPLY)
            return WIRE_BAD;
        if (!make_room(reader, (size_t)header->len + 1))
            return WIRE_NO_MEMORY;
        reader->body[header->len] = '\0';
    }
    if (!take(reader, reader->body + (reader->have - header_end),
              header_end + header->len, data, length))
        return WIRE_MORE;
    return WIRE_MESSAGE;
}
