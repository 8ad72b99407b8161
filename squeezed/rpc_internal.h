/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by rpc.c (a call's life), rpc_json.c and rpc_xml.c (notations),
 * rpc_params.c (the parameters), rpc_methods.c and rpc_memory.c (what the
 * methods do, native and a toolstack's).  Nobody else includes it.
 *
 * Between notations and methods everything is a json_t. */
#ifndef RPC_INTERNAL_H
#define RPC_INTERNAL_H

#include "squeezed/rpc.h"

#include <jansson.h>

enum { RPC_PARAMS_MAX = 7 };

enum param_type {
    PARAM_SIZE,   /* KiB, rounded up to pages */
    PARAM_MS,     /* milliseconds */
    PARAM_DOMID,  /* may be of a domain that can't exist */
    PARAM_FLAG,   /* true, false */
    PARAM_CLIENT, /* a client's name */
    PARAM_ID,     /* any string that could be a reservation's id */
    PARAM_UUID,
    /* of toolstacks: */
    PARAM_TEXT, /* any text */
    PARAM_INT64 /* any integer of 64 bits, as it is */
};

enum param_need {
    PARAM_REQUIRED,
    PARAM_OPTIONAL, /* the default is in the table or known to the method */
    PARAM_NULLABLE  /* the same; null, too, stands for "none" */
};

struct rpc_param {
    const char *name; /* NULL ends the list */
    enum param_type type;
    enum param_need need;
    /* The default of what is left out. */
    uint64_t number;
    const char *text;
};

struct rpc_value {
    bool given;
    bool flag;
    uint64_t number;
    int64_t integer;  /* PARAM_INT64 */
    const char *text; /* lives as long as json */
    uint8_t uuid[UUID_BYTES];
    json_t *json; /* as it came; NULL if it was left out */
};

/* name and positional order of the parameters are part of the interface */
struct rpc_method {
    const char *name;
    void (*run)(struct rpc_call *call, const struct rpc_value *values);
    struct rpc_param params[RPC_PARAMS_MAX + 1];
};

/* NULL: there is none of that name. */
const struct rpc_method *
rpc_table_find(const struct rpc_method *table, size_t count, const char *name);
const struct rpc_method *
rpc_method_find(const char *name);

/* The methods of the toolstack interface: the same, without a prefix; all
 * parameters are positional, and required. */
const struct rpc_method *
rpc_memory_method_find(const char *name);
const char *
rpc_memory_method_name(size_t i);

/* How an answer is written.  The texts are the caller's to free; NULL without
 * memory. */
struct rpc_form {
    const char *type; /* HTTP's Content-Type */
    char *(*write_result)(const struct rpc_call *call, const json_t *value);
    /* error: the native object, or a toolstack's variant */
    char *(*write_error)(const struct rpc_call *call, const json_t *error);
    bool boxed_variants; /* a variant stands in the data of an object */
    bool loose_numbers;  /* numbers may come as texts: types are optional */
};

extern const struct rpc_form rpc_json_1, rpc_json_2, rpc_xml;

struct rpc_call {
    struct rpc_call *next, **at; /* rpc's list of open calls */
    struct rpc *rpc;
    const struct rpc_form *form;
    char *id;       /* as JSON text; NULL: none */
    bool toolstack; /* answered in the manner of the `memory` interface */
    rpc_answered *answered;
    void *arg;
    const struct rpc_method *method;
    struct rpc_value values[RPC_PARAMS_MAX];
    uint64_t request; /* reserve: for broker_cancel(); else 0 */
    bool balances;    /* balance: broker_forget() takes it back */
    bool awaits_boot; /* boot_memory_forget() takes it back */
    bool inside;      /* rpc_handle() is still at work on it */
    bool ended;       /* answered, or nobody wants to know */
    bool deaf;        /* the client has gone, the broker is still at it */
};

struct rpc {
    struct rpc_options options;
    struct rpc_call *calls;
};

/* ---- rpc.c: each of these ends the call */

void
rpc_succeed(struct rpc_call *call, json_t *result);

/* The same for a granted reservation, of which it tells. */
void
rpc_grant(struct rpc_call *call, json_t *result, const char *reservation);

/* A toolstack's error.  payload (NULL: none) is taken over. */
void
rpc_fail_variant(struct rpc_call *call, const char *name, json_t *payload);

/* data may be NULL.  For a toolstack it is an Internal_error. */
void
rpc_fail(struct rpc_call *call, int code, const char *message, json_t *data);

/* One of ours; `reason` goes into data, which may be NULL. */
void
rpc_fail_err(struct rpc_call *call, enum err error, const char *message,
             json_t *data);

/* ---- rpc_json.c, rpc_xml.c */

enum { RPC_READ_MESSAGE = JSON_ERROR_TEXT_LENGTH + 120 };

/* The text as a value; NULL with what is wrong in message. */
json_t *
rpc_json_read(const char *text, size_t length, char *message, size_t size);

/* The id as it has to come back; false if it is none.  *ret stays NULL where
 * there is none. */
bool
rpc_json_id(const json_t *root, bool null_is_none, char **ret);

/* An object with `method` (a string) and `params` (an array); NULL with what is
 * wrong in message.  *ret_formed: it is XML, but no call. */
json_t *
rpc_xml_read(const char *text, size_t length, bool *ret_formed, char *message,
             size_t size);

/* ---- rpc_params.c */

/* Fills call->values from the params of the request (NULL: none were given).
 * False if something is wrong: the call has then been ended. */
bool
rpc_take_params(struct rpc_call *call, const json_t *params);

/* The text of a JSON string; NULL if it is none, or has a NUL inside. */
const char *
rpc_plain_text(const json_t *value);

/* A parameter's value is out of range. */
void
rpc_fail_invalid(struct rpc_call *call, const char *name, const json_t *value,
                 const char *message);

/* A number that is too large for JSON's readers comes as a string: this, and
 * its digits. */
#define RPC_BIG_NUMBER '\001'

#endif
