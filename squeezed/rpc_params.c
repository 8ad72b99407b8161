/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/rpc_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value that is shown to the one who sent it: no longer than this. */
enum { ECHO_MAX = 256 };

const char *
rpc_plain_text(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* ------------------------------------------------------------------- kinds */

/* Each takes a JSON value into a value of ours; false: it isn't one. */

static bool
take_number(const json_t *json, uint64_t *ret)
{
    json_int_t number = json_integer_value(json);

    if (!json_is_integer(json) || number < 0 ||
        (uint64_t)number > LIMIT_SIZE_KIB)
        return false;
    *ret = (uint64_t)number;
    return true;
}

static bool
take_plain_number(const json_t *json, struct rpc_value *ret)
{
    return take_number(json, &ret->number);
}

static bool
take_size(const json_t *json, struct rpc_value *ret)
{
    if (!take_number(json, &ret->number))
        return false;
    ret->number = page_up(ret->number);
    return true;
}

static bool
take_flag(const json_t *json, struct rpc_value *ret)
{
    ret->flag = json_is_true(json);
    return json_is_boolean(json);
}

static bool
take_text(const json_t *json, struct rpc_value *ret)
{
    ret->text = rpc_plain_text(json);
    return ret->text != NULL;
}

static bool
take_client(const json_t *json, struct rpc_value *ret)
{
    const char *allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                          "abcdefghijklmnopqrstuvwxyz0123456789_-";

    return take_text(json, ret) && ret->text[0] != '\0' &&
           strlen(ret->text) <= LIMIT_CLIENT_CHARS &&
           strspn(ret->text, allowed) == strlen(ret->text);
}

static bool
take_uuid(const json_t *json, struct rpc_value *ret)
{
    return take_text(json, ret) && parse_uuid(ret->text, ret->uuid);
}

static bool
take_int64(const json_t *json, struct rpc_value *ret)
{
    ret->integer = json_integer_value(json);
    return json_is_integer(json);
}

static const struct kind {
    bool (*take)(const json_t *json, struct rpc_value *ret);
    const char *expected;
} kinds[] = {
    [PARAM_SIZE] = { take_size, "a whole number of KiB from 0 to 2^50" },
    [PARAM_MS] = { take_plain_number,
                   "a whole number of milliseconds from 0 to 2^50" },
    [PARAM_DOMID] = { take_plain_number, "a domain's number" },
    [PARAM_FLAG] = { take_flag, "true or false" },
    [PARAM_CLIENT] = { take_client, "1 to 64 characters of A-Z a-z 0-9 _ -" },
    [PARAM_ID] = { take_text, "the id of a reservation, a string" },
    [PARAM_UUID] = { take_uuid, "a UUID, such as "
                                "\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"" },
    [PARAM_TEXT] = { take_text, "a text" },
    [PARAM_INT64] = { take_int64, "a whole number of 64 bits" },
};

static bool
is_numeric(enum param_type type)
{
    return type == PARAM_SIZE || type == PARAM_MS || type == PARAM_DOMID ||
           type == PARAM_INT64;
}

/* A number that came as a text, where that may be: as a number.  A new
 * reference. */
static json_t *
tighten(const json_t *json, enum param_type type)
{
    const char *text = rpc_plain_text(json);
    char *end;
    long long number;

    if (!text || !is_numeric(type))
        return json_incref((json_t *)json);
    errno = 0;
    number = strtoll(text, &end, 10);
    end += strspn(end, " \t\r\n");
    if (errno || end == text || *end != '\0')
        return json_incref((json_t *)json);
    return json_integer(number);
}

/* ------------------------------------------------------------------ errors */

/* What was sent, to be shown: scalars as they are, large things by what they
 * are. */
static json_t *
echo(const json_t *value)
{
    const char *text = json_string_value(value);

    if (json_is_object(value))
        return json_string("(an object)");
    if (json_is_array(value))
        return json_string("(an array)");
    if (text && json_string_length(value) > ECHO_MAX)
        return json_sprintf("(a string of %zu bytes)",
                            json_string_length(value));
    if (text && !rpc_plain_text(value))
        return json_string("(a string with a NUL inside)");
    if (text && text[0] == RPC_BIG_NUMBER)
        return json_string(text + 1);
    return value ? json_copy((json_t *)value) : json_null();
}

void
rpc_fail_invalid(struct rpc_call *call, const char *name, const json_t *value,
                 const char *message)
{
    json_t *data = json_object();

    json_object_set_new(data, "parameter", json_string(name));
    json_object_set_new(data, "value", echo(value));
    rpc_fail_err(call, ERR_INVALID, message, data);
}

static void
fail_value(struct rpc_call *call, const struct rpc_param *param,
           const json_t *value)
{
    json_t *shown = echo(value);
    char *text = json_dumps(shown, JSON_ENCODE_ANY | JSON_COMPACT);
    char message[ECHO_MAX + 200];

    snprintf(message, sizeof message, "%s is %s: it has to be %s", param->name,
             text ? text : "wrong", kinds[param->type].expected);
    rpc_fail_invalid(call, param->name, value, message);
    json_decref(shown);
    free(text);
}

static void
fail_params(struct rpc_call *call, const char *name, const char *message)
{
    rpc_fail(call, RPC_INVALID_PARAMS, message,
             json_pack("{s:s%}", "parameter", name, strnlen(name, ECHO_MAX)));
}

/* ----------------------------------------------------------------- binding */

static size_t
count_params(const struct rpc_method *method)
{
    size_t n = 0;

    while (method->params[n].name)
        n++;
    return n;
}

/* The parameters' names, for somebody who didn't find the right one. */
static const char *
list_names(const struct rpc_method *method, char *text, size_t size)
{
    size_t used = 0;

    snprintf(text, size, "none");
    for (const struct rpc_param *p = method->params; p->name; p++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 used ? ", " : "", p->name);
    return text;
}

static void
fail_unknown(struct rpc_call *call, const char *name)
{
    char names[160], message[400];

    snprintf(message, sizeof message,
             "%s has no parameter '%.64s'; its parameters: %s",
             call->method->name, name,
             list_names(call->method, names, sizeof names));
    fail_params(call, name, message);
}

/* Each of the named parameters has to be one of the method's. */
static bool
check_names(struct rpc_call *call, const json_t *params)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)params, name, value)
    {
        const struct rpc_param *p = call->method->params;

        while (p->name && strcmp(p->name, name) != 0)
            p++;
        if (!p->name) {
            fail_unknown(call, name);
            return false;
        }
    }
    return true;
}

/* Toolstacks may send a unit, in any of its forms, where nothing is due. */
static size_t
count_given(const struct rpc_call *call, const json_t *params)
{
    size_t given = json_array_size(params);
    const json_t *last = json_array_get(params, given - 1);
    bool unit = json_is_null(last) ||
                (call->form->loose_numbers && json_is_string(last) &&
                 json_string_length(last) == 0);

    if (call->toolstack && unit && given == count_params(call->method) + 1)
        given--;
    return given;
}

static bool
check_count(struct rpc_call *call, const json_t *params)
{
    size_t most = count_params(call->method);
    size_t given = count_given(call, params);
    char names[160], message[400];

    if (given <= most)
        return true;
    snprintf(message, sizeof message,
             "%s takes %zu parameters at most, not %zu; its parameters: %s",
             call->method->name, most, given,
             list_names(call->method, names, sizeof names));
    rpc_fail(call, RPC_INVALID_PARAMS, message, NULL);
    return false;
}

static bool
take_default(struct rpc_call *call, const struct rpc_param *param,
             struct rpc_value *ret)
{
    char message[160];

    if (param->need == PARAM_REQUIRED) {
        snprintf(message, sizeof message, "%s needs the parameter '%s'",
                 call->method->name, param->name);
        fail_params(call, param->name, message);
        return false;
    }
    ret->number = param->number;
    ret->text = param->text;
    return true;
}

/* value is taken over. */
static bool
take_value(struct rpc_call *call, size_t i, json_t *value)
{
    const struct rpc_param *param = &call->method->params[i];
    struct rpc_value *ret = &call->values[i];

    ret->json = value;
    if (!kinds[param->type].take(value, ret)) {
        fail_value(call, param, value);
        return false;
    }
    ret->given = true;
    return true;
}

static bool
take_one(struct rpc_call *call, size_t i, json_t *value)
{
    const struct rpc_param *param = &call->method->params[i];

    if (json_is_null(value) && param->need == PARAM_NULLABLE)
        value = NULL;
    if (!value)
        return take_default(call, param, &call->values[i]);
    if (call->form->loose_numbers)
        return take_value(call, i, tighten(value, param->type));
    return take_value(call, i, json_incref(value));
}

static bool
check_positional(struct rpc_call *call, const json_t *params)
{
    char names[160], message[400];

    if (!call->toolstack || !params || json_is_null(params) ||
        json_is_array(params))
        return true;
    snprintf(message, sizeof message,
             "the parameters of %s are an array without names: %s",
             call->method->name, list_names(call->method, names, sizeof names));
    rpc_fail(call, RPC_INVALID_PARAMS, message, NULL);
    return false;
}

bool
rpc_take_params(struct rpc_call *call, const json_t *params)
{
    size_t count = count_params(call->method);
    bool named = !json_is_array(params);

    if (!check_positional(call, params) ||
        (named ? !check_names(call, params) : !check_count(call, params)))
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *name = call->method->params[i].name;
        json_t *value =
            named ? json_object_get(params, name) : json_array_get(params, i);

        if (!take_one(call, i, value))
            return false;
    }
    return true;
}
