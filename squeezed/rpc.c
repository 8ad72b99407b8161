/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/rpc_internal.h"
#include "squeezed/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Twelve digits show any time that we tell to the microsecond. */
#define DUMP_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12))

static const struct rpc_form version_2 = {
    .result = "{\"jsonrpc\":\"2.0\",\"result\":",
    .result_end = "",
    .error = "{\"jsonrpc\":\"2.0\",\"error\":",
    .error_end = "",
};

static const struct rpc_form version_1 = {
    .result = "{\"result\":",
    .result_end = ",\"error\":null",
    .error = "{\"result\":null,\"error\":",
    .error_end = "",
};

/* ----------------------------------------------------------------- answers */

/* The text of an answer; NULL without memory. */
static char *
compose(const char *head, const json_t *value, const char *tail, const char *id)
{
    char *body = value ? json_dumps(value, DUMP_FLAGS) : NULL;
    char *text = NULL;

    if (body && asprintf(&text, "%s%s%s,\"id\":%s}", head, body, tail, id) < 0)
        text = NULL;
    free(body);
    return text;
}

static void
free_call(struct rpc_call *call)
{
    if (call->at) {
        *call->at = call->next;
        if (call->next)
            call->next->at = call->at;
    }
    for (size_t i = 0; i < RPC_PARAMS_MAX; i++)
        json_decref(call->values[i].json);
    free(call->id);
    free(call);
}

static void
give_back(struct rpc_call *call, const char *reservation)
{
    if (reservation)
        rpc_undelivered(call->rpc, reservation);
}

/* Hands the answer over.  The call is gone afterwards, unless rpc_handle()
 * has it in hand. */
static void
end_call(struct rpc_call *call, struct rpc_answer *answer)
{
    if (call->deaf || !call->answered(call->arg, answer))
        give_back(call, answer->granted);
    call->ended = true;
    if (!call->inside)
        free_call(call);
}

static void
end_with_text(struct rpc_call *call, int status, char *text,
              const char *granted)
{
    struct rpc_answer answer = {
        .status = status,
        .type = "application/json",
        .text = text,
        .length = text ? strlen(text) : 0,
        .granted = granted,
    };

    if (!text) {
        answer.status = 500;
        answer.type = NULL;
    }
    end_call(call, &answer);
    free(text);
}

void
rpc_grant(struct rpc_call *call, json_t *result, const char *reservation)
{
    struct rpc_answer nothing = { .status = 204, .granted = reservation };
    const struct rpc_form *form = call->form;

    if (call->id)
        end_with_text(call, 200,
                      compose(form->result, result, form->result_end, call->id),
                      reservation);
    else
        end_call(call, &nothing);
    json_decref(result);
}

void
rpc_succeed(struct rpc_call *call, json_t *result)
{
    rpc_grant(call, result, NULL);
}

static json_t *
error_object(int code, const char *message, json_t *data)
{
    json_t *error = json_object();

    json_object_set_new(error, "code", json_integer(code));
    json_object_set_new(error, "message", status_text(message));
    if (data)
        json_object_set_new(error, "data", data);
    return error;
}

/* id NULL: JSON's null. */
static void
fail_with_status(struct rpc_call *call, int status, int code,
                 const char *message, json_t *data)
{
    json_t *error = error_object(code, message, data);
    const struct rpc_form *form = call->form;

    end_with_text(call, status,
                  compose(form->error, error, form->error_end,
                          call->id ? call->id : "null"),
                  NULL);
    json_decref(error);
}

void
rpc_fail(struct rpc_call *call, int code, const char *message, json_t *data)
{
    struct rpc_answer nothing = { .status = 204 };

    if (call->id) {
        fail_with_status(call, 200, code, message, data);
        return;
    }
    json_decref(data);
    end_call(call, &nothing);
}

void
rpc_fail_err(struct rpc_call *call, enum err error, const char *message,
             json_t *data)
{
    if (!data)
        data = json_object();
    json_object_set_new(data, "reason", json_string(err_name(error)));
    rpc_fail(call, err_rpc_code(error), message, data);
}

char *
rpc_error_text(int code, const char *message, const char *limit)
{
    json_t *data = NULL;
    json_t *error;
    char *text;

    if (limit)
        data = json_pack("{s:s,s:s}", "reason", err_name(ERR_BUSY), "limit",
                         limit);
    error = error_object(code, message, data);
    text = compose(version_2.error, error, version_2.error_end, "null");
    json_decref(error);
    return text;
}

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
read_json(const char *text, size_t length, json_error_t *error)
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

/* The id as it has to come back; false if it is none.  *ret stays NULL for a
 * notification. */
static bool
read_id(const json_t *root, bool null_is_none, char **ret)
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

/* What keeps root from being a call; NULL: nothing. */
static const char *
check_envelope(struct rpc_call *call, const json_t *root)
{
    const json_t *version = json_object_get(root, "jsonrpc");
    const json_t *params = json_object_get(root, "params");

    if (json_is_array(root))
        return "batches are not served: send one call at a time";
    if (!json_is_object(root))
        return "a call is a JSON object";
    if (version && (!json_is_string(version) ||
                    strcmp(json_string_value(version), "2.0") != 0))
        return "\"jsonrpc\" has to be \"2.0\"";
    if (!read_id(root, !version, &call->id))
        return "\"id\" has to be a number, a string or null";
    if (!rpc_plain_text(json_object_get(root, "method")))
        return "\"method\" has to be a string";
    if (params && !json_is_object(params) && !json_is_array(params) &&
        !json_is_null(params))
        return "\"params\" has to be an object or an array";
    return NULL;
}

static void
fail_unknown_method(struct rpc_call *call, const char *name)
{
    char message[160];

    snprintf(message, sizeof message, "there is no method '%.64s'", name);
    rpc_fail(call, RPC_NO_METHOD, message, NULL);
}

static void
run(struct rpc_call *call, const json_t *root)
{
    const json_t *name = json_object_get(root, "method");
    const char *wrong = check_envelope(call, root);

    if (wrong) {
        fail_with_status(call, 400, RPC_INVALID_REQUEST, wrong, NULL);
        return;
    }
    if (!json_object_get(root, "jsonrpc"))
        call->form = &version_1;
    /* Calls without the prefix `squeezed.` will belong to the toolstack
     * interface: here is where they will turn off. */
    call->method = rpc_method_find(json_string_value(name));
    if (!call->method)
        fail_unknown_method(call, json_string_value(name));
    else if (rpc_take_params(call, json_object_get(root, "params")))
        call->method->run(call, call->values);
}

static void
fail_parse(struct rpc_call *call, const json_error_t *error)
{
    char message[JSON_ERROR_TEXT_LENGTH + 80];

    snprintf(message, sizeof message, "this is no JSON: line %d, column %d: %s",
             error->line, error->column, error->text);
    fail_with_status(call, 400, RPC_PARSE_ERROR, message, NULL);
}

/* ---------------------------------------------------------- life of a call */

struct rpc_call *
rpc_handle(struct rpc *rpc, const char *text, size_t length,
           rpc_answered *answered, void *arg)
{
    struct rpc_call *call = calloc(1, sizeof *call);
    struct rpc_answer out_of_memory = { .status = 500 };
    json_error_t error = { .line = 0 };
    json_t *root;

    if (!call) {
        answered(arg, &out_of_memory);
        return NULL;
    }
    *call = (struct rpc_call){
        .next = rpc->calls,
        .at = &rpc->calls,
        .rpc = rpc,
        .form = &version_2,
        .answered = answered,
        .arg = arg,
        .inside = true,
    };
    if (call->next)
        call->next->at = &call->next;
    rpc->calls = call;
    root = read_json(text, length, &error);
    if (root)
        run(call, root);
    else
        fail_parse(call, &error);
    json_decref(root);
    call->inside = false;
    if (!call->ended)
        return call;
    free_call(call);
    return NULL;
}

/* True if the broker won't reply to it any more. */
static bool
take_back(struct rpc_call *call)
{
    const struct rpc_options *o = &call->rpc->options;

    if (call->request)
        broker_cancel(o->broker, call->request, o->now_us());
    else if (call->balances)
        broker_forget(o->broker, call);
    return call->request || call->balances;
}

bool
rpc_cancel(struct rpc_call *call)
{
    if (!take_back(call))
        return false;
    rpc_fail_err(call, ERR_CANCELLED,
                 "cancelled: the client closed its side of the connection",
                 NULL);
    return true;
}

void
rpc_forget(struct rpc_call *call)
{
    if (take_back(call))
        free_call(call);
    else
        call->deaf = true;
}

void
rpc_undelivered(struct rpc *rpc, const char *reservation)
{
    broker_undelivered(rpc->options.broker, reservation, rpc->options.now_us());
}

struct rpc *
rpc_new(const struct rpc_options *options)
{
    struct rpc *rpc = calloc(1, sizeof *rpc);

    if (rpc)
        rpc->options = *options;
    return rpc;
}

void
rpc_free(struct rpc *rpc)
{
    if (!rpc)
        return;
    while (rpc->calls)
        free_call(rpc->calls);
    free(rpc);
}
