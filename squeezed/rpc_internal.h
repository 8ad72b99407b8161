/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by rpc.c (the envelope), rpc_params.c (the parameters) and
 * rpc_methods.c (what the methods do).  Nobody else includes it. */
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
    PARAM_UUID
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

const struct rpc_method *
rpc_method_find(const char *name);

/* How an answer is written.  Further notations (XML-RPC for bodies that begin
 * with '<') become further forms, with functions in place of these texts, and
 * a reader beside the one in rpc.c. */
struct rpc_form {
    const char *result, *result_end; /* around a result; the id follows */
    const char *error, *error_end;   /* around an error */
};

struct rpc_call {
    struct rpc_call *next, **at; /* rpc's list of open calls */
    struct rpc *rpc;
    const struct rpc_form *form;
    char *id; /* as JSON text; NULL: a notification */
    rpc_answered *answered;
    void *arg;
    const struct rpc_method *method;
    struct rpc_value values[RPC_PARAMS_MAX];
    uint64_t request; /* reserve: for broker_cancel(); else 0 */
    bool balances;    /* balance: broker_forget() takes it back */
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

/* data may be NULL. */
void
rpc_fail(struct rpc_call *call, int code, const char *message, json_t *data);

/* One of ours; `reason` goes into data, which may be NULL. */
void
rpc_fail_err(struct rpc_call *call, enum err error, const char *message,
             json_t *data);

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
