/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remote calls: the text of one call comes in, the broker is asked, the text
 * of its answer goes out.  Knows nothing of HTTP beyond the status number, and
 * nothing of sockets.  What a text's notation is, is told by its first byte;
 * the answer is in the same.
 *
 * What a carrier may rely on, be it a connection or a queue of messages:
 * - rpc_handle() calls answered() exactly once, before it returns or later,
 *   unless rpc_forget() was called or broker and rpc are freed first.
 * - An answer that has a text is to be sent whatever its status is: what is no
 *   call gets the text of an error, too (status 400).  Without a text (204: a
 *   native call without id; 500: no memory) there is nothing to send.
 * - answered() that returns true has taken the answer over.  If it told of a
 *   reservation (answer->granted: copy it) and is found to be undeliverable
 *   later on, rpc_undelivered() gives that back; after its transfer or release
 *   that does nothing, so it may come too late or twice.
 * - A call may be handed in again, under another arg: it is then another call.
 *   Whoever gets calls twice has to know them by himself.
 * - rpc_forget() and rpc_cancel() only while the call is open, that is: between
 *   rpc_handle() that returned it and answered().  A carrier that can deliver
 *   the answer later need not call them when its connection breaks. */
#ifndef RPC_H
#define RPC_H

#include "squeezed/broker.h"

struct boot_memory;
struct rpc;
struct rpc_call;

/* Domain 0's range by the configuration; used until it is seen there. */
struct rpc_zero {
    bool managed;
    uint64_t min_kib;
    uint64_t max_kib; /* UINT64_MAX: what it has */
};

struct rpc_options {
    struct broker *broker;
    struct platform *platform;
    struct boot_memory *boot; /* NULL: nobody knows */
    struct rpc_zero zero;
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

/* A granted reservation whose answer got lost on the way.  One that was
 * released or transferred since, or isn't known, is left as it is. */
void
rpc_undelivered(struct rpc *rpc, const char *reservation);

/* An error that never was a call (HTTP 400, 413, ...), as text; the caller
 * frees it.  NULL without memory.  It is in the notation of call_text, as far
 * as that came (an empty one: JSON).  limit: for `busy`, else NULL. */
char *
rpc_error_text(const char *call_text, size_t length, int code,
               const char *message, const char *limit, const char **ret_type);

/* Codes of JSON-RPC itself. */
enum {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_NO_METHOD = -32601,
    RPC_INVALID_PARAMS = -32602
};

/* The name of method i, toolstacks' after our own; NULL past the end (for the
 * man page's check). */
const char *
rpc_method_name(size_t i);

#endif
