/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remote calls: the text of one call comes in, the broker is asked, the text
 * of its answer goes out.  Knows nothing of HTTP beyond the status number, and
 * nothing of sockets.
 *
 * Today's one notation is JSON-RPC (2.0; a call without `"jsonrpc"` is
 * answered in the manner of version 1).  What a text's notation is, is told by
 * its first byte; see struct rpc_form in rpc_internal.h for where another one
 * goes. */
#ifndef RPC_H
#define RPC_H

#include "squeezed/broker.h"

struct rpc;
struct rpc_call;

struct rpc_options {
    struct broker *broker;
    struct platform *platform;
    int64_t (*now_us)(void); /* the loop's clock */
};

struct rpc_answer {
    int status;       /* HTTP's: 200, 204, 400, 413, 500, 503 */
    const char *type; /* of the text; NULL: there is none */
    const char *text;
    size_t length;
    const char *granted; /* the reservation that it tells of, or NULL */
};

/* The answer to a call, exactly once.  What it points to lives during the call
 * only.  False if the client can't get it any more: what was granted is then
 * given back. */
typedef bool
rpc_answered(void *arg, const struct rpc_answer *answer);

/* NULL without memory.  Broker and platform stay the caller's. */
struct rpc *
rpc_new(const struct rpc_options *options);

/* After broker_free(): calls that are still open get no answer. */
void
rpc_free(struct rpc *rpc);

/* Carries one call out; text need not live longer.  NULL if it was answered
 * before this returned, else the open call, valid until its answer. */
struct rpc_call *
rpc_handle(struct rpc *rpc, const char *text, size_t length,
           rpc_answered *answered, void *arg);

/* The client doesn't wait any more.  True if the call could be taken back: it
 * was then answered with `cancelled`.  False: it goes on. */
bool
rpc_cancel(struct rpc_call *call);

/* The client has gone: the call is taken back if that can be, and there is no
 * answer in either case.  The call is no longer the caller's. */
void
rpc_forget(struct rpc_call *call);

/* A granted reservation whose answer got lost on the way. */
void
rpc_undelivered(struct rpc *rpc, const char *reservation);

/* An error that never was a call (HTTP 400, 413, ...), as text; the caller
 * frees it.  NULL without memory.  limit: for `busy`, else NULL. */
char *
rpc_error_text(int code, const char *message, const char *limit);

/* Codes of JSON-RPC itself. */
enum {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_NO_METHOD = -32601,
    RPC_INVALID_PARAMS = -32602
};

/* The name of method i; NULL past the end (for the man page's check). */
const char *
rpc_method_name(size_t i);

#endif
