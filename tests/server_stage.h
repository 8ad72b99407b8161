/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A server on real Unix sockets in a temporary folder, in front of a toy
 * broker; clients and server are in one process and in one loop, which turns
 * while a client waits.  Whatever fails here fails the test. */
#ifndef TESTS_SERVER_STAGE_H
#define TESTS_SERVER_STAGE_H

#include "squeezed/server.h"
#include "tests/toy_broker.h"

#include <check.h>
#include <jansson.h>

#define ID1     "11111111-2222-3333-4444-555555555555"
#define CALL(m) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"squeezed." m "\"}"
#define MIB     ((size_t)1 << 20)
#define RESERVE                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"squeezed.reserve\","           \
    "\"params\":{\"min\":4}}"

extern struct broker toy;
extern struct event_base *base;
extern struct server *server;
extern struct server_options options; /* it was made with them */
extern char folder[64], path[108], message[512];
extern const char *paths[2]; /* the first is path */

/* limit: of connections; 0: the usual one */
void
set_up(size_t limit, int64_t idle_us);
void
setup(void);
/* Four connections, which may be idle for 50 ms. */
void
setup_small(void);
void
teardown(void);

/* A case of suite, and what every main begins with. */
TCase *
server_case(Suite *suite, const char *name, SFun set_up_server);

/* The loop and the time, in ms of the real clock. */
int64_t
real_ms(void);
void
pump(void);
void
pump_for(int ms);
/* CPU time while the loop turns for ms, in ms. */
int64_t
work_of(int ms);
size_t
open_files(void);

/* Clients: sockets, the test's to close. */
int
connect_to(const char *where);
int
new_client(void);
/* False if the server doesn't take it any more. */
bool
send_bytes(int fd, const char *bytes, size_t length);
void
send_text(int fd, const char *text);
/* A whole request; until the next call. */
const char *
post(const char *body);
/* A call padded with blanks to length bytes: to be freed. */
char *
padded(size_t length);
/* Sends that; as send_bytes(). */
bool
post_padded(int fd, size_t length);

/* A call of that length, whose answer is as long: the id comes back. */
void
post_long_id(int fd, size_t length);

/* The last answer. */
extern struct http_answer {
    int status; /* 0: none came */
    char head[2000];
    char *body;
    size_t length;
    bool at_end; /* end of file came instead */
} got;

/* Fills got: an answer, the end, or nothing within ms. */
void
receive_within(int fd, int ms);
void
receive(int fd);
/* Bytes that came and weren't used yet: before another client's turn. */
void
forget_rest(void);
/* What got has to be; JSON lives until the next one. */
json_t *
json_of(int status);
json_t *
result_of(int status);
void
expect_error(int status, int code);
/* evhttp's own answers: their text is HTML. */
void
expect_status(int status);
/* The server closes it, and so do we. */
void
expect_end(int fd);
/* A whole connection for one call that has to work. */
void
still_serves(void);

#endif
