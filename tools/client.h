/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One blocking call of the native interface: JSON-RPC 2.0 over HTTP on the
 * broker's Unix socket.  For command-line tools; the daemon never blocks and
 * has no use for it.  Prints nothing. */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct client_call {
    const char *socket_path;
    const char *method;
    json_t *params;     /* an object; stays the caller's */
    int64_t timeout_ms; /* for the whole answer; 0: none */
    /* Instead of a call: the page at this path, which is handed on as it
     * comes.  take() returns false to have no more of it.  At its end
     * (CLIENT_RESULT) the result is null. */
    const char *page;
    bool (*take)(void *context, const char *bytes, size_t length);
    void *context;
    /* SIGINT, SIGTERM and SIGHUP cancel the call instead of ending the
     * process, and stay blocked afterwards: for calls whose answer must not
     * get lost before it is printed. */
    bool cancellable;
};

enum client_end {
    CLIENT_RESULT,     /* `result` is there */
    CLIENT_ERROR,      /* the broker answered with an error */
    CLIENT_NO_ANSWER,  /* no broker, or no sense in what it said: `message` */
    CLIENT_INTERRUPTED /* cancelled by a signal, and no answer came */
};

struct client_answer {
    enum client_end end;
    json_t *result; /* owned, also when it is JSON's null */
    json_t *error;  /* owned; an object */
    /* A signal came.  With CLIENT_RESULT: too late, it was carried out; with
     * CLIENT_ERROR: the broker says so itself, or it had failed anyway. */
    bool interrupted;
    int signal;        /* which one that was, as far as it was taken; 0 */
    char message[400]; /* for people; without the program's name */
};

/* The longest path of a Unix socket that can be spelled. */
#define CLIENT_SOCKET_PATH_MAX 107

/* Where it listens unless somebody says otherwise. */
#define CLIENT_SOCKET_DEFAULT "/run/squeezed/socket"

/* Sets all of *ret; client_answer_done() afterwards. */
void
client_call(const struct client_call *call, struct client_answer *ret);

/* The same for one that can't be cancelled; params is given away. */
void
client_ask(const char *socket_path, const char *method, json_t *params,
           int64_t timeout_ms, struct client_answer *ret);

void
client_answer_done(struct client_answer *answer);

#endif
