/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One HTTP connection, kept alive, to a server on a Unix socket; one request
 * at a time.  It is made by the first request and never made anew: whoever has
 * logged in on it knows that he still is.  libcurl speaks HTTP, the loop drives
 * it; nothing blocks.
 *
 * The process has to ignore SIGPIPE. */
#ifndef SWITCH_LINE_H
#define SWITCH_LINE_H

#include <event2/event.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct switch_line;

struct switch_reply {
    int status;       /* HTTP's; 0: there is no reply, and ... */
    const char *why;  /* ... this is the reason */
    const char *text; /* of the body, terminated */
    size_t length;
};

/* From the loop, once a request.  Another one may be made in it, or the line
 * be freed; the reply lives until then. */
typedef void
switch_line_done(void *arg, const struct switch_reply *reply);

/* limit: on the bytes of a reply's body.  NULL without memory. */
struct switch_line *
switch_line_new(struct event_base *base, const char *path, size_t limit,
                switch_line_done *done, void *arg);

/* Closes it; a request under way is not told. */
void
switch_line_free(struct switch_line *line);

struct switch_request {
    const char *path; /* begins with / */
    const char *body; /* NULL: it is a GET, else a POST; it is copied */
    size_t length;
    int64_t timeout_us;
};

/* False without memory. */
bool
switch_line_ask(struct switch_line *line, const struct switch_request *request);

/* A request is under way. */
bool
switch_line_busy(const struct switch_line *line);

#endif
