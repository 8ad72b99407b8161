/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/switch_wire.h"

#include "common/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A longer `next` is no token. */
enum { NEXT_MAX = 4096 };

/* ------------------------------------------------------------------- paths */

/* What a segment of a path may hold as it is (RFC 3986), but for '+', which
 * some take for a blank. */
static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "abcdefghijklmnopqrstuvwxyz"
                            "0123456789-._~!$&'()*,;=:@";

static char *
put_name(char *to, const char *name)
{
    /* Names of dots alone are folders to some. */
    bool dots = name[strspn(name, ".")] == '\0';

    *to++ = '/';
    for (; *name; name++)
        if (strchr(plain, *name) && !dots)
            *to++ = *name;
        else
            to += sprintf(to, "%%%02X", (unsigned char)*name);
    *to = '\0';
    return to;
}

const char *
switch_path_name(char path[SWITCH_PATH], const char *verb, const char *name)
{
    put_name(put_name(path, verb), name);
    return path;
}

static void
put_id(char *to, const struct switch_id *id)
{
    to = put_name(to, id->queue);
    sprintf(to, "/%" PRId64, id->number);
}

const char *
switch_path_ack(char path[SWITCH_PATH], const struct switch_id *id)
{
    put_id(put_name(path, "ack"), id);
    return path;
}

const char *
switch_path_response(char path[SWITCH_PATH], const char *reply_queue,
                     const struct switch_id *id)
{
    put_id(put_name(put_name(path, "response"), reply_queue), id);
    return path;
}

/* --------------------------------------------------------------- transfers */

char *
switch_transfer_body(const char *queue, int64_t timeout_us, const json_t *from)
{
    json_t *body = json_pack("{s:f,s:[s]}", "timeout",
                             (double)timeout_us / US_PER_S, "queues", queue);
    char *text = NULL;

    if (body && (!from || json_object_set(body, "from", (json_t *)from) == 0))
        text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(body);
    return text;
}

/* How many bytes the UTF-8 character at text takes; 0: it is none. */
static size_t
character(const unsigned char *text, size_t length)
{
    size_t n = text[0] < 0x80   ? 1
               : text[0] < 0xc2 ? 0
               : text[0] < 0xe0 ? 2
               : text[0] < 0xf0 ? 3
               : text[0] < 0xf5 ? 4
                                : 0;

    if (n > length)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    /* overlong ones, surrogates, beyond Unicode */
    if ((text[0] == 0xe0 && text[1] < 0xa0) ||
        (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) ||
        (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return n;
}

/* With '?' in place of what is no UTF-8: OCaml's strings are bytes, and one
 * such message must not hide all others.  NULL without memory. */
static char *
make_utf8(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    size_t n;

    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    for (size_t i = 0; i < length; i += n) {
        n = character((const unsigned char *)copy + i, length - i);
        if (n == 0) {
            copy[i] = '?';
            n = 1;
        }
    }
    return copy;
}

static json_t *
read_reply(const char *text, size_t length, json_error_t *error)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *root = json_loadb(text, length, flags, error);
    char *better;

    if (root || json_error_code(error) != json_error_invalid_utf8)
        return root;
    better = make_utf8(text, length);
    root = better ? json_loadb(better, length, flags, error) : NULL;
    free(better);
    return root;
}

static bool
is_token(const json_t *next)
{
    return json_is_integer(next) ||
           (json_is_string(next) && json_string_length(next) <= NEXT_MAX);
}

/* Which part of it is missing; NULL: none. */
static const char *
find_parts(struct switch_transfer *transfer)
{
    transfer->messages = json_object_get(transfer->root, "messages");
    transfer->next = json_object_get(transfer->root, "next");
    if (!json_is_object(transfer->root))
        return "is no object";
    if (!json_is_array(transfer->messages))
        return "has no list of messages";
    return is_token(transfer->next) ? NULL : "has no next";
}

bool
switch_transfer_read(const char *text, size_t length,
                     struct switch_transfer *ret, char *why, size_t size)
{
    json_error_t error;
    struct switch_transfer transfer = { .root =
                                            read_reply(text, length, &error) };
    const char *wrong;

    if (!transfer.root) {
        snprintf(why, size, "its reply to a transfer is no JSON: %s",
                 error.text);
        return false;
    }
    wrong = find_parts(&transfer);
    if (wrong) {
        snprintf(why, size, "its reply to a transfer %s", wrong);
        switch_transfer_done(&transfer);
        return false;
    }
    *ret = transfer;
    return true;
}

void
switch_transfer_done(struct switch_transfer *transfer)
{
    json_decref(transfer->root);
    *transfer = (struct switch_transfer){ .root = NULL };
}

/* ---------------------------------------------------------------- messages */

static bool
read_name(const json_t *value, char to[SWITCH_NAME])
{
    const char *name = json_string_value(value);
    size_t length = json_string_length(value);

    if (!name || length == 0 || length >= SWITCH_NAME || strlen(name) != length)
        return false;
    memcpy(to, name, length + 1);
    return true;
}

static bool
read_id(const json_t *pair, struct switch_id *ret)
{
    const json_t *number = json_array_get(pair, 1);

    if (json_array_size(pair) != 2 || !json_is_integer(number) ||
        !read_name(json_array_get(pair, 0), ret->queue))
        return false;
    ret->number = json_integer_value(number);
    return true;
}

bool
switch_transfer_message(const struct switch_transfer *transfer, size_t i,
                        struct switch_message *ret)
{
    const json_t *message = json_array_get(transfer->messages, i);
    const json_t *content = json_array_get(message, 1);
    const json_t *payload = json_object_get(content, "payload");
    const json_t *kind = json_object_get(content, "kind");
    const char *what = json_string_value(json_array_get(kind, 0));

    *ret = (struct switch_message){ .length = 0 };
    if (!read_id(json_array_get(message, 0), &ret->id))
        return false;
    if (!what || strcmp(what, "Request") != 0 || !json_is_string(payload) ||
        !read_name(json_array_get(kind, 1), ret->reply_queue)) {
        ret->reply_queue[0] = '\0';
        return true;
    }
    ret->payload = json_string_value(payload);
    ret->length = json_string_length(payload);
    return true;
}

enum switch_delivery
switch_response_read(const char *text, size_t length)
{
    json_error_t error;
    json_t *root = read_reply(text, length, &error);
    enum switch_delivery delivery = !json_is_array(root) ? SWITCH_UNCLEAR
                                    : json_array_size(root) == 0
                                        ? SWITCH_GONE
                                        : SWITCH_DELIVERED;

    json_decref(root);
    return delivery;
}
