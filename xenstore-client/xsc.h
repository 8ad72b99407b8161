/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A xenstore client for an event loop: requests pipelined and never waited
 * for, each with a deadline; the end of the connection seen at once;
 * reconnects by itself.
 *
 * libxenstore is not used because it blocks without a time-out, and never
 * tells that xenstored has died.  This speaks the public wire protocol
 * (xen/io/xs_wire.h) over a Unix socket, or over the kernel's device (see
 * transport.h), non-blocking, with libevent.
 *
 * Replies come exactly once, from the loop, never before the call returned.
 * After the connection is lost, all that was pending is replied to with
 * ERR_NOT_READY, then `lost` is called; watches and transactions are gone.
 * When there is a new connection, and xenstored has answered on it, `up` is
 * called: set watches and read everything anew.
 *
 * Inside any callback requests may be made, and xsc_free be called; after that
 * the client must not be used any more, also not in the same callback. */
#ifndef XSC_H
#define XSC_H

#include "common/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xsc;

struct xsc_hooks {
    void *context;
    void (*up)(void *context);
    /* why: for people, e.g. "xenstored closed the connection". */
    void (*lost)(void *context, const char *why);
    /* A watch fired.  path is terminated; both live during the call only. */
    void (*watch)(void *context, const char *path, const char *token);
};

/* value is terminated beyond its length and lives during the call only; it may
 * hold any bytes, NUL among them.  For a directory: names, each terminated.
 * Empty (never NULL) on errors, and where nothing is read. */
typedef void
xsc_reply(void *arg, enum err error, const char *value, size_t length);

struct xsc_options {
    int64_t deadline_us;  /* of the oldest request, from when it was sent or
                           * from the reply before its own; then the
                           * connection is taken for dead, closed and made
                           * anew */
    int64_t reconnect_us; /* first delay; doubles up to 1 s while connections
                           * fail or are lost within 1 s */
    const char *fallback; /* tried while there is nothing at path; NULL: none.
                           * Copied */
};

/* Starts to connect.  path: of xenstored's socket or of a device that leads
 * to it; hooks are copied.  NULL without memory. */
struct xsc *
xsc_new(struct event_base *base, const char *path,
        const struct xsc_options *options, const struct xsc_hooks *hooks);

/* Closes; pending replies are not called. */
void
xsc_free(struct xsc *xsc);

bool
xsc_is_up(const struct xsc *xsc);

/* Where it is connected to, or tried to last. */
const char *
xsc_way(const struct xsc *xsc);

/* Everything below: transaction 0 is none.  A path or value that can't be sent
 * (too long, a character that xenstored would drop the connection for) is
 * replied to with ERR_INVALID; too many pending requests with ERR_BUSY; no
 * connection with ERR_NOT_READY.  reply may be NULL. */
void
xsc_read(struct xsc *xsc, uint32_t transaction, const char *path,
         xsc_reply *reply, void *arg);
void
xsc_write(struct xsc *xsc, uint32_t transaction, const char *path,
          const char *value, size_t length, xsc_reply *reply, void *arg);
void
xsc_remove(struct xsc *xsc, uint32_t transaction, const char *path,
           xsc_reply *reply, void *arg);
/* The whole directory, also where it takes several replies
 * (DIRECTORY_PART). */
void
xsc_directory(struct xsc *xsc, uint32_t transaction, const char *path,
              xsc_reply *reply, void *arg);
void
xsc_watch(struct xsc *xsc, const char *path, const char *token,
          xsc_reply *reply, void *arg);
void
xsc_unwatch(struct xsc *xsc, const char *path, const char *token,
            xsc_reply *reply, void *arg);

/* Who may do what with a node: such as "n0" for domain 0 alone (xenstore's
 * form). */
void
xsc_set_permission(struct xsc *xsc, const char *path, const char *permission,
                   xsc_reply *reply, void *arg);

/* A list of changes that happen together or not at all.  It is copied; on a
 * conflict (EAGAIN) it is tried again by itself, up to 20 times.  One change
 * alone is sent without a transaction. */
struct xsc_change {
    const char *path;
    const char *value; /* NULL: remove (a path that isn't there is fine) */
};
void
xsc_commit(struct xsc *xsc, const struct xsc_change *changes, size_t count,
           xsc_reply *reply, void *arg);

/* The same, ahead of all that waits to be sent, other commits among it: for
 * what somebody waits for, and nothing else of ours writes. */
void
xsc_commit_urgent(struct xsc *xsc, const struct xsc_change *changes,
                  size_t count, xsc_reply *reply, void *arg);

/* The same, only if each guard's value is at its path at that moment; else
 * nothing is changed, and the reply is ERR_NOT_FOUND. */
struct xsc_guards {
    const struct xsc_change *list; /* none of the values is NULL */
    size_t count;
};
void
xsc_commit_if(struct xsc *xsc, struct xsc_guards guards,
              const struct xsc_change *changes, size_t count, xsc_reply *reply,
              void *arg);

#endif
