/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/err.h"

#include <errno.h>
#include <stddef.h>

/* JSON-RPC's "internal error". */
#define RPC_INTERNAL (-32603)

static const struct {
    const char *name;
    int rpc_code;
} errors[ERR_COUNT] = {
    [ERR_NONE] = { "none", 0 },
    [ERR_CANNOT_FREE] = { "cannot-free", -32000 },
    [ERR_UNCOOPERATIVE] = { "uncooperative", -32001 },
    [ERR_TIMEOUT] = { "timeout", -32002 },
    [ERR_CANCELLED] = { "cancelled", -32003 },
    [ERR_INVALID] = { "invalid", -32004 },
    [ERR_UNKNOWN_RESERVATION] = { "unknown-reservation", -32005 },
    [ERR_UNKNOWN_DOMAIN] = { "unknown-domain", -32006 },
    [ERR_NOT_READY] = { "not-ready", -32007 },
    [ERR_BUSY] = { "busy", -32008 },
    [ERR_NOT_FOUND] = { "not-found", RPC_INTERNAL },
    [ERR_AGAIN] = { "again", RPC_INTERNAL },
    [ERR_EXISTS] = { "exists", RPC_INTERNAL },
    [ERR_PERMISSION] = { "permission", RPC_INTERNAL },
    [ERR_NO_MEMORY] = { "no-memory", RPC_INTERNAL },
    [ERR_PROTOCOL] = { "protocol", RPC_INTERNAL },
    [ERR_IO] = { "io", RPC_INTERNAL },
};

static const struct {
    int value;
    enum err error;
} errnos[] = {
    { 0, ERR_NONE },
    { ENOENT, ERR_NOT_FOUND },
    { EAGAIN, ERR_AGAIN },
    { EEXIST, ERR_EXISTS },
    { EACCES, ERR_PERMISSION },
    { EPERM, ERR_PERMISSION },
    { EROFS, ERR_PERMISSION },
    { ENOMEM, ERR_NO_MEMORY },
    { EINVAL, ERR_INVALID },
    { E2BIG, ERR_INVALID },
    { ENAMETOOLONG, ERR_INVALID },
    { EPROTO, ERR_PROTOCOL },
    { EBADMSG, ERR_PROTOCOL },
    { ENOSPC, ERR_BUSY }, /* xenstored's word for a quota */
    { EDQUOT, ERR_BUSY },
    { ENOTCONN, ERR_NOT_READY },
    { ECONNREFUSED, ERR_NOT_READY },
    { ECONNRESET, ERR_NOT_READY },
    { EPIPE, ERR_NOT_READY },
    { ESRCH, ERR_UNKNOWN_DOMAIN }, /* Xen's word for a domain that is gone */
};

const char *
err_name(enum err error)
{
    unsigned i = (unsigned)error;

    return i < ERR_COUNT ? errors[i].name : "unknown";
}

int
err_rpc_code(enum err error)
{
    unsigned i = (unsigned)error;

    return i < ERR_COUNT ? errors[i].rpc_code : RPC_INTERNAL;
}

enum err
err_from_errno(int value)
{
    for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++)
        if (errnos[i].value == value)
            return errnos[i].error;
    return ERR_IO;
}
