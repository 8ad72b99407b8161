/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of xenstore's wire protocol: which ones may be sent, taking a byte
 * stream apart into them, and what their error texts mean.  No I/O.
 * For the xenstore client only. */
#ifndef XSC_WIRE_H
#define XSC_WIRE_H

#include "common/err.h"
#include "sq_limits.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/io/xs_wire.h>

enum {
    /* xenstored allows 3072 for absolute and 2048 for relative paths; what is
     * below both is good everywhere. */
    WIRE_PATH_MAX = 2047,
    /* An event is the longest path, the token and two NULs. */
    WIRE_TOKEN_MAX = XENSTORE_PAYLOAD_MAX - XENSTORE_ABS_PATH_MAX - 2
};

/* Can be sent: not empty, not too long, of xenstore's characters only.
 * Whether it makes sense (slashes, special names) is for xenstored to say. */
bool
wire_path_ok(const char *path);

bool
wire_token_ok(const char *token);

/* A value of so many bytes, for this (good) path. */
bool
wire_value_ok(const char *path, size_t length);

/* The errno that an XS_ERROR text means; EIO for one that nobody knows. */
int
wire_errno(const char *text);

/* Takes a stream apart. */
struct wire_reader {
    struct xsd_sockmsg header; /* valid once a message is there */
    char *body;                /* header.len bytes, terminated beyond them */
    size_t have;               /* bytes of header and body so far */
    size_t capacity;           /* of body */
};

enum wire_state {
    WIRE_MORE,    /* all bytes taken, no message yet */
    WIRE_MESSAGE, /* one is there, until the next call */
    WIRE_BAD,     /* no message starts like this */
    WIRE_NO_MEMORY
};

void
wire_init(struct wire_reader *reader);

/* Forgets a message half read, and gives its memory back. */
void
wire_done(struct wire_reader *reader);

/* Takes bytes from *data, at most *length, up to the end of the message; both
 * are moved on. */
enum wire_state
wire_feed(struct wire_reader *reader, const char **data, size_t *length);

#endif
