/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON-RPC 1 and 2: texts into calls, values into texts. */
#include "squeezed/rpc_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Twelve digits show any time that we tell to the microsecond. */
#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12))

/* ----------------------------------------------------------------- writing */

/* Head, value, tail and the id; NULL without memory. */
static char *
compose(const struct rpc_call *call, const char *head, const json_t *value,
        const char *tail)
{
    char *body = value ? json_dumps(value, DUMP_FLAGS) : NULL;
    char *text = NULL;

    if (body && asprintf(&text, "%s%s%s,\"id\":%s}", head, body, tail,
                         call->id ? call->id : "null") < 0)
        text = NULL;
    free(body);
    return text;
}

static char *
write_result_2(const struct rpc_call *call, const json_t *value)
{
    return compose(call, "{\"jsonrpc\":\"2.0\",\"result\":", value, "");
}

static char *
write_error_2(const struct rpc_call *call, const json_t *error)
{
    return compose(call, "{\"jsonrpc\":\"2.0\",\"error\":", error, "");
}

static char *
write_result_1(const struct rpc_call *call, const json_t *value)
{
    return compose(call, "{\"result\":", value, ",\"error\":null");
}

static char *
write_error_1(const struct rpc_call *call, const json_t *error)
{
    return compose(call, "{\"result\":null,\"error\":", error, "");
}

const struct rpc_form rpc_json_2 = {
    .type = "application/json",
    .write_result = write_result_2,
    .write_error = write_error_2,
    .boxed_variants = true,
};

const struct rpc_form rpc_json_1 = {
    .type = "application/json",
    .write_result = write_result_1,
    .write_error = write_error_1,
};

/* ----------------------------------------------------------------- reading */

/* The length of the number at text, if it is one that JSON allows and no
 * reader can hold; else 0. */
static size_t
big_number(const char *text)
{
    size_t n = text[0] == '-';
    char *end;

    if (text[n] < '0' || text[n] > '9' ||
        (text[n] == '0' && strchr("0123456789", text[n + 1])))
        return 0;
    n += strspn(text + n, "0123456789");
    errno = 0;
    if (strchr(".eE", text[n]) && text[n])
        (void)strtod(text, &end);
    else
        (void)strtoll(text, &end, 10);
    return errno == ERANGE ? (size_t)(end - text) : 0;
}

/* How much at text belongs together: a number, an escaped character, or just
 * one character. */
static size_t
piece(const char *text, bool in_string)
{
    if (in_string)
        return text[0] == '\\' && text[1] ? 2 : 1;
    return max_u64(strspn(text, "0123456789+-.eE"), 1);
}

/* The text with every number that is too big for jansson made a string, so
 * that it is told apart from what is no JSON at all.  NULL without memory. */
static char *
quote_big_numbers(const char *text, size_t length, size_t *ret_length)
{
    char *copy = strndup(text, length); /* ends at a NUL: no JSON anyway */
    char *quoted = NULL, *to;
    bool in_string = false;

    if (copy)
        quoted = malloc(3 * length + 1); /* 8 more, for 5 characters or more */
    to = quoted;
    for (const char *at = copy; quoted && *at;) {
        size_t n = in_string ? 0 : big_number(at);

        if (n > 0) {
            to += sprintf(to, "\"\\u%04x%.*s\"", RPC_BIG_NUMBER, (int)n, at);
        } else {
            in_string ^= *at == '"';
            n = piece(at, in_string);
            to = mempcpy(to, at, n);
        }
        at += n;
    }
    *ret_length = quoted ? (size_t)(to - quoted) : 0;
    free(copy);
    return quoted;
}

static json_t *
load(const char *text, size_t length, json_error_t *error)
{
    const size_t flags =
        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_t *root = json_loadb(text, length, flags, error);
    char *quoted;

    if (root || json_error_code(error) != json_error_numeric_overflow)
        return root;
    quoted = quote_big_numbers(text, length, &length);
    if (!quoted)
        return NULL;
    root = json_loadb(quoted, length, flags, error);
    free(quoted);
    return root;
}

json_t *
rpc_json_read(const char *text, size_t length, char *message, size_t size)
{
    json_error_t error = { .line = 0 };
    json_t *root = load(text, length, &error);

    if (!root)
        snprintf(message, size, "this is no JSON: line %d, column %d: %s",
                 error.line, error.column, error.text);
    return root;
}

/* The id as it has to come back; false if it is none.  *ret stays NULL for a
 * notification. */
bool
rpc_json_id(const json_t *root, bool null_is_none, char **ret)
{
    const json_t *id = json_object_get(root, "id");
    const char *text = json_string_value(id);

    if (!id || (json_is_null(id) && null_is_none))
        return true;
    if (!json_is_number(id) && !json_is_string(id) && !json_is_null(id))
        return false;
    if (text && text[0] == RPC_BIG_NUMBER && big_number(text + 1) > 0 &&
        big_number(text + 1) == json_string_length(id) - 1)
        *ret = strdup(text + 1);
    else
        *ret = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
    return *ret != NULL;
}
