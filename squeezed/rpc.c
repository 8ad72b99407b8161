/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/boot_memory.h"
#include "squeezed/rpc_internal.h"
#include "squeezed/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        .type = call->form->type,
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

/* Native calls without an id want no answer. */
static bool
is_notification(const struct rpc_call *call)
{
    return !call->id && !call->toolstack && call->form != &rpc_xml;
}

void
rpc_grant(struct rpc_call *call, json_t *result, const char *reservation)
{
    struct rpc_answer nothing = { .status = 204, .granted = reservation };

    if (is_notification(call))
        end_call(call, &nothing);
    else
        end_with_text(call, 200, call->form->write_result(call, result),
                      reservation);
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

static void
fail_with_status(struct rpc_call *call, int status, json_t *error)
{
    end_with_text(call, status, call->form->write_error(call, error), NULL);
    json_decref(error);
}

void
rpc_fail_variant(struct rpc_call *call, const char *name, json_t *payload)
{
    json_t *variant =
        payload ? json_pack("[s,o]", name, payload) : json_string(name);

    if (call->form->boxed_variants)
        variant = error_object(err_rpc_code(ERR_CANNOT_FREE), name, variant);
    fail_with_status(call, 200, variant);
}

void
rpc_fail(struct rpc_call *call, int code, const char *message, json_t *data)
{
    struct rpc_answer nothing = { .status = 204 };

    if (call->toolstack) {
        json_decref(data);
        rpc_fail_variant(call, "Internal_error", status_text(message));
    } else if (is_notification(call)) {
        json_decref(data);
        end_call(call, &nothing);
    } else {
        fail_with_status(call, 200, error_object(code, message, data));
    }
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

/* ----------------------------------------------- errors that are no call's */

static const struct rpc_form *
form_of(const char *text, size_t length)
{
    size_t blank = 0;

    while (blank < length && strchr(" \t\r\n", text[blank]) && text[blank])
        blank++;
    return blank < length && text[blank] == '<' ? &rpc_xml : &rpc_json_2;
}

char *
rpc_error_text(const char *call_text, size_t length, int code,
               const char *message, const char *limit, const char **ret_type)
{
    static const struct rpc_call nobody;
    const struct rpc_form *form = form_of(call_text, length);
    json_t *data = NULL;
    json_t *error;
    char *text;

    if (limit)
        data = json_pack("{s:s,s:s}", "reason", err_name(ERR_BUSY), "limit",
                         limit);
    if (form == &rpc_xml) {
        json_decref(data);
        error = json_pack("[s,s]", "Internal_error", message);
    } else {
        error = error_object(code, message, data);
    }
    text = form->write_error(&nobody, error);
    *ret_type = form->type;
    json_decref(error);
    return text;
}

/* ----------------------------------------------------------------- reading */

#define NATIVE_PREFIX "squeezed."

static bool
is_native(const char *method)
{
    return strncmp(method, NATIVE_PREFIX, strlen(NATIVE_PREFIX)) == 0;
}

/* What keeps root from being a call; NULL: nothing.  Toolstacks may say any
 * version: it is 1 then. */
static const char *
check_envelope(struct rpc_call *call, const json_t *root)
{
    const json_t *version = json_object_get(root, "jsonrpc");
    const json_t *params = json_object_get(root, "params");
    const char *method = rpc_plain_text(json_object_get(root, "method"));
    bool second = json_is_string(version) &&
                  strcmp(json_string_value(version), "2.0") == 0;

    if (json_is_array(root))
        return "batches are not served: send one call at a time";
    if (!json_is_object(root))
        return "a call is a JSON object";
    if (version && !second && (!method || is_native(method)))
        return "\"jsonrpc\" has to be \"2.0\"";
    if (!rpc_json_id(root, !second, &call->id))
        return "\"id\" has to be a number, a string or null";
    if (!method)
        return "\"method\" has to be a string";
    if (is_native(method) && params && !json_is_object(params) &&
        !json_is_array(params) && !json_is_null(params))
        return "\"params\" has to be an object or an array";
    call->form = second ? &rpc_json_2 : &rpc_json_1;
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
run(struct rpc_call *call, const char *name, const json_t *params)
{
    call->toolstack = !is_native(name);
    call->method =
        call->toolstack ? rpc_memory_method_find(name) : rpc_method_find(name);
    if (!call->method)
        fail_unknown_method(call, name);
    else if (rpc_take_params(call, params))
        call->method->run(call, call->values);
}

static void
read_json(struct rpc_call *call, const char *text, size_t length)
{
    char message[RPC_READ_MESSAGE];
    json_t *root = rpc_json_read(text, length, message, sizeof message);
    const char *wrong = root ? check_envelope(call, root) : message;

    if (wrong)
        fail_with_status(
            call, 400,
            error_object(root ? RPC_INVALID_REQUEST : RPC_PARSE_ERROR, wrong,
                         NULL));
    else
        run(call, json_string_value(json_object_get(root, "method")),
            json_object_get(root, "params"));
    json_decref(root);
}

/* What is no call at all is answered in the native manner. */
static void
read_xml(struct rpc_call *call, const char *text, size_t length)
{
    char message[RPC_READ_MESSAGE];
    bool formed;
    json_t *root = rpc_xml_read(text, length, &formed, message, sizeof message);

    if (!root) {
        fail_with_status(
            call, 400,
            error_object(formed ? RPC_INVALID_REQUEST : RPC_PARSE_ERROR,
                         message, NULL));
        return;
    }
    call->form = &rpc_xml;
    run(call, json_string_value(json_object_get(root, "method")),
        json_object_get(root, "params"));
    json_decref(root);
}

/* ---------------------------------------------------------- life of a call */

struct rpc_call *
rpc_handle(struct rpc *rpc, const char *text, size_t length,
           rpc_answered *answered, void *arg)
{
    struct rpc_call *call = calloc(1, sizeof *call);
    struct rpc_answer out_of_memory = { .status = 500 };

    if (!call) {
        answered(arg, &out_of_memory);
        return NULL;
    }
    *call = (struct rpc_call){
        .next = rpc->calls,
        .at = &rpc->calls,
        .rpc = rpc,
        .form = &rpc_json_2,
        .answered = answered,
        .arg = arg,
        .inside = true,
    };
    if (call->next)
        call->next->at = &call->next;
    rpc->calls = call;
    if (form_of(text, length) == &rpc_xml)
        read_xml(call, text, length);
    else
        read_json(call, text, length);
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
    else if (call->awaits_boot)
        boot_memory_forget(o->boot, call);
    return call->request || call->balances || call->awaits_boot;
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
