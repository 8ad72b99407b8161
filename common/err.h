/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one list of errors.  0 is good.  Names and codes of those that go over
 * the wire are stable.  errno is translated where it arises. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

enum err {
    ERR_NONE = 0,
    /* what a request can end with (the native interface) */
    ERR_CANNOT_FREE,   /* not even with every donor at its minimum */
    ERR_UNCOOPERATIVE, /* it would do if the stuck guests gave */
    ERR_TIMEOUT,       /* the request's own deadline */
    ERR_CANCELLED,     /* by its client, or the client went away */
    ERR_INVALID,       /* a parameter is out of range */
    ERR_UNKNOWN_RESERVATION,
    ERR_UNKNOWN_DOMAIN,
    ERR_NOT_READY, /* xenstore or Xen is not there (yet) */
    ERR_BUSY,      /* a limit of sq_limits.h */
    /* what only happens inside */
    ERR_NOT_FOUND, /* no such xenstore node, or file */
    ERR_AGAIN,     /* a transaction's conflict: try again */
    ERR_EXISTS,
    ERR_PERMISSION,
    ERR_NO_MEMORY,
    ERR_PROTOCOL, /* the other side sent what it must not */
    ERR_IO,       /* anything else that errno can say */
    ERR_COUNT
};

/* The stable name, such as "cannot-free".  Never NULL. */
const char *
err_name(enum err error);

/* The JSON-RPC code (-32000 and below; -32603 for those that only happen
 * inside). */
int
err_rpc_code(enum err error);

/* errno's value (positive) as one of ours; 0 is ERR_NONE. */
enum err
err_from_errno(int value);

#endif
