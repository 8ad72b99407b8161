/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server on real Unix sockets in a temporary folder; clients and server in
 * one process and one loop. */
#include "squeezed/server.h"

#include "common/log.h"
#include "tests/toy_broker.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ID1     "11111111-2222-3333-4444-555555555555"
#define CALL(m) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"squeezed." m "\"}"
#define RESERVE                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"squeezed.reserve\","           \
    "\"params\":{\"min\":4}}"
#define RELEASE                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"squeezed.release\","           \
    "\"params\":[\"a\"]}"
#define MIB ((size_t)1 << 20)

static struct broker toy;
static struct event_base *base;
static struct server *server;
static struct server_options options;
static char folder[64], path[108], message[512];
static const char *paths[2];

/* -------------------------------------------------------------------- tools */

static int64_t
real_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
pump(void)
{
    for (int i = 0; i < 8; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

static void
pump_for(int ms)
{
    int64_t end = real_ms() + ms;

    while (real_ms() < end) {
        pump();
        poll(NULL, 0, 1);
    }
}

static int
connect_to(const char *where)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", where);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address),
                     0);
    return fd;
}

static int
new_client(void)
{
    return connect_to(path);
}

/* False if the server doesn't take it any more. */
static bool
send_bytes(int fd, const char *bytes, size_t length)
{
    int64_t end = real_ms() + 5000;

    while (length > 0 && real_ms() < end) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
        pump();
    }
    ck_assert_uint_eq(length, 0);
    return true;
}

static void
send_text(int fd, const char *text)
{
    ck_assert(send_bytes(fd, text, strlen(text)));
}

static const char *
post(const char *body)
{
    static char text[2000];

    snprintf(text, sizeof text,
             "POST / HTTP/1.1\r\nUser-agent: test\r\ncontent-length: %zu\r\n"
             "\r\n%s",
             strlen(body), body);
    return text;
}

/* One answer. */
static struct {
    int status; /* 0: none came */
    char head[2000];
    char *body;
    size_t length;
    bool at_end; /* end of file came instead */
} got;

/* What came and wasn't used yet. */
static struct {
    char *bytes;
    size_t length;
} rest;

static void
forget_rest(void)
{
    free(rest.bytes);
    memset(&rest, 0, sizeof rest);
}

static bool
take_answer(void)
{
    char *end =
        rest.bytes ? memmem(rest.bytes, rest.length, "\r\n\r\n", 4) : NULL;
    size_t head, length = 0;
    const char *field;

    if (!end)
        return false;
    head = (size_t)(end - rest.bytes) + 4;
    ck_assert_uint_lt(head, sizeof got.head);
    memcpy(got.head, rest.bytes, head);
    got.head[head] = '\0';
    ck_assert_int_eq(sscanf(got.head, "HTTP/1.%*d %d", &got.status), 1);
    field = strstr(got.head, "Content-Length: ");
    if (field)
        length = strtoul(field + 16, NULL, 10);
    if (rest.length < head + length)
        return false;
    got.body = malloc(length + 1);
    memcpy(got.body, rest.bytes + head, length);
    got.body[length] = '\0';
    got.length = length;
    memmove(rest.bytes, rest.bytes + head + length,
            rest.length - head - length);
    rest.length -= head + length;
    return true;
}

static bool
read_more(int fd)
{
    char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof bytes, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        got.at_end = true;
        return false;
    }
    if (n > 0) {
        rest.bytes = realloc(rest.bytes, rest.length + (size_t)n);
        memcpy(rest.bytes + rest.length, bytes, (size_t)n);
        rest.length += (size_t)n;
    }
    return true;
}

/* Fills got: an answer, the end, or nothing within ms. */
static void
receive_within(int fd, int ms)
{
    int64_t end = real_ms() + ms;

    free(got.body);
    memset(&got, 0, sizeof got);
    while (!take_answer() && read_more(fd) && real_ms() < end)
        pump();
    if (!got.body)
        got.status = 0;
}

static void
receive(int fd)
{
    receive_within(fd, 5000);
}

static json_t *json; /* of the last answer */

static json_t *
json_of(int status)
{
    json_decref(json);
    ck_assert_msg(got.status == status, "not %d: %d %s", status, got.status,
                  got.body);
    ck_assert(strstr(got.head, "Content-Type: application/json\r\n") != NULL);
    json = json_loadb(got.body, got.length, 0, NULL);
    ck_assert_msg(json != NULL, "no JSON: %s", got.body);
    return json;
}

static json_t *
result_of(int status)
{
    json_t *result = json_object_get(json_of(status), "result");

    ck_assert_msg(result != NULL, "%s", got.body);
    return result;
}

static void
expect_error(int status, int code)
{
    json_t *error = json_object_get(json_of(status), "error");

    ck_assert_msg(json_integer_value(json_object_get(error, "code")) == code,
                  "%s", got.body);
}

/* evhttp's own answers: their text is HTML. */
static void
expect_status(int status)
{
    ck_assert_msg(got.status == status, "not %d: %d %s", status, got.status,
                  got.body);
}

static void
expect_end(int fd)
{
    receive(fd);
    ck_assert_int_eq(got.status, 0);
    ck_assert(got.at_end);
    close(fd);
    forget_rest();
    pump();
}

/* CPU time while the loop turns for ms, in ms. */
static int64_t
work_of(int ms)
{
    const struct timeval wait = { .tv_sec = ms / 1000,
                                  .tv_usec = ms % 1000 * 1000 };
    clock_t start = clock();

    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
    return (int64_t)(clock() - start) * 1000 / CLOCKS_PER_SEC;
}

static size_t
open_files(void)
{
    DIR *folder_of_files = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(folder_of_files))
        count++;
    closedir(folder_of_files);
    return count;
}

/* A whole connection for one call that has to work. */
static void
still_serves(void)
{
    int fd = new_client();

    forget_rest();
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    close(fd);
    pump();
}

static void
set_up(size_t limit, int64_t idle_us)
{
    toy_init(&toy);
    forget_rest();
    options = (struct server_options){ .paths = paths,
                                       .path_count = 1,
                                       .platform = &toy.platform,
                                       .now_us = toy_now_us,
                                       .connection_limit = limit,
                                       .idle_us = idle_us,
                                       .alive_us = idle_us };
    snprintf(folder, sizeof folder, "/tmp/check_server.XXXXXX");
    ck_assert_ptr_ne(mkdtemp(folder), NULL);
    snprintf(path, sizeof path, "%s/run/socket", folder);
    paths[0] = path;
    base = event_base_new();
    server = server_new(base, &toy, &options, message, sizeof message);
    ck_assert_msg(server != NULL, "%s", message);
}

static void
setup(void)
{
    set_up(0, 0);
}

static void
setup_small(void)
{
    set_up(4, 50 * US_PER_MS);
}

static void
teardown(void)
{
    char command[200];

    server_free(server);
    server = NULL;
    event_base_free(base);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    free(got.body);
    memset(&got, 0, sizeof got);
    forget_rest();
    json_decref(json);
    json = NULL;
}

/* ----------------------------------------------------------------- requests */

START_TEST(one_call)
{
    int fd = new_client();

    send_text(fd, post(CALL("available")));
    receive(fd);
    ck_assert_int_eq(
        json_integer_value(json_object_get(result_of(200), "now_kib")), 100);
    ck_assert_ptr_eq(strstr(got.head, "Connection:"), NULL);
    ck_assert_uint_eq(server_connections(server), 1);
    close(fd);
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(keep_alive)
{
    int fd = new_client();

    for (int i = 0; i < 20; i++) {
        send_text(fd, post(CALL("available")));
        receive(fd);
        result_of(200);
    }
    send_text(fd, post("nonsense")); /* bad JSON doesn't end it either */
    receive(fd);
    expect_error(400, -32700);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    close(fd);
}
END_TEST

START_TEST(connection_header)
{
    static const struct {
        const char *version, *header;
        bool stays;
    } cases[] = {
        { "1.1", "", true },
        { "1.1", "Connection: close\r\n", false },
        { "1.1", "CONNECTION:  Close \r\n", false },
        { "1.1", "Connection: keep-alive\r\n", true },
        { "1.0", "", false },
        { "1.0", "Connection: Keep-Alive\r\n", true },
    };
    char text[300];
    int fd = new_client();

    snprintf(text, sizeof text,
             "POST /any/path?x HTTP/%s\r\n%sContent-Length: %zu\r\n\r\n%s",
             cases[_i].version, cases[_i].header, strlen(CALL("available")),
             CALL("available"));
    send_text(fd, text);
    receive(fd);
    result_of(200);
    ck_assert_int_eq(strncmp(got.head + 5, cases[_i].version, 3), 0);
    if (!cases[_i].stays) {
        if (cases[_i].header[0])
            ck_assert(strstr(got.head, "Connection: close\r\n") != NULL);
        expect_end(fd);
        return;
    }
    if (strcmp(cases[_i].version, "1.0") == 0)
        ck_assert(strstr(got.head, "Connection: keep-alive\r\n") != NULL);
    send_text(fd, text);
    receive(fd);
    result_of(200);
    close(fd);
}
END_TEST

START_TEST(pipelined)
{
    int fd = new_client();
    char text[4000];

    snprintf(text, sizeof text, "%s", post(RESERVE));
    strcat(text, post(CALL("available")));
    strcat(text, "GET /healthz HTTP/1.1\r\n\r\n");
    send_text(fd, text);
    receive_within(fd, 50);
    ck_assert_int_eq(got.status, 0); /* each in its turn */
    ck_assert(toy_grant(&toy, ID1, 4));
    receive(fd);
    ck_assert_str_eq(
        json_string_value(json_object_get(result_of(200), "reservation")), ID1);
    receive(fd);
    ck_assert(json_object_get(result_of(200), "now_kib") != NULL);
    receive(fd);
    ck_assert_str_eq(got.body, "ok");
    ck_assert_uint_eq(toy.undelivered, 0);
    close(fd);
    pump();
    ck_assert_uint_eq(toy.undelivered, 0);
}
END_TEST

START_TEST(byte_by_byte)
{
    const char *text = post(CALL("available"));
    int fd = new_client();

    for (const char *at = text; *at; at++)
        ck_assert(send_bytes(fd, at, 1));
    receive(fd);
    result_of(200);
    close(fd);
}
END_TEST

/* The client closes, or closes its side only, after n bytes. */
START_TEST(cut_at_each_byte)
{
    char text[2000];
    size_t length;

    snprintf(text, sizeof text, "%s", post(CALL("available")));
    length = strlen(text);
    for (size_t n = 0; n < length; n++) {
        int fd = new_client();

        ck_assert(send_bytes(fd, text, n));
        pump();
        ck_assert_uint_eq(server_connections(server), 1);
        if (_i == 0)
            close(fd);
        else {
            shutdown(fd, SHUT_WR);
            expect_end(fd);
        }
        pump();
        ck_assert_uint_eq(server_connections(server), 0);
    }
    still_serves();
}
END_TEST

START_TEST(half_closed_after_a_request)
{
    int fd = new_client();

    send_text(fd, post(CALL("available")));
    shutdown(fd, SHUT_WR);
    receive(fd);
    result_of(200);
    expect_end(fd);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(notification)
{
    int fd = new_client();

    send_text(fd, post("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.login\","
                       "\"params\":[\"x\"]}"));
    pump();
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    receive(fd);
    ck_assert_int_eq(got.status, 204);
    ck_assert_ptr_eq(strstr(got.head, "Content-Length"), NULL);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    close(fd);
}
END_TEST

/* -------------------------------------------------------------------- sizes */

/* A call padded with blanks to length bytes. */
static char *
padded(size_t length)
{
    char *body = malloc(length + 1);

    memset(body, ' ', length);
    memcpy(body, CALL("available"), strlen(CALL("available")));
    body[length] = '\0';
    return body;
}

static bool
post_padded(int fd, size_t length)
{
    char *body = padded(length);
    char head[100];
    bool taken;

    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", length);
    send_text(fd, head);
    taken = send_bytes(fd, body, length);
    free(body);
    return taken;
}

START_TEST(body_limit)
{
    int fd = new_client();

    ck_assert(post_padded(fd, MIB - 1));
    receive(fd);
    result_of(200);
    ck_assert(post_padded(fd, MIB));
    receive(fd);
    result_of(200);
    ck_assert(post_padded(fd, MIB + 1));
    receive(fd);
    expect_error(413, -32600);
    expect_end(fd);

    fd = new_client();
    ck_assert(post_padded(fd, 10 * MIB)); /* it is listened to the end */
    receive(fd);
    expect_status(413);
    expect_end(fd);
    still_serves();
}
END_TEST

START_TEST(large_answer)
{
    char *body = padded(600000);
    char head[100];
    int fd = new_client();

    /* The id comes back. */
    memset(body, 'x', 600000);
    memcpy(body, "{\"method\":\"squeezed.available\",\"id\":\"", 37);
    memcpy(body + 600000 - 2, "\"}", 2);
    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nContent-Length: 600000\r\n\r\n");
    send_text(fd, head);
    ck_assert(send_bytes(fd, body, 600000));
    pump_for(20);
    receive(fd);
    result_of(200);
    ck_assert_uint_gt(got.length, 599900);
    free(body);
    close(fd);
}
END_TEST

START_TEST(chunks)
{
    const char *head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const char *body = CALL("available");
    char text[1000];
    int fd = new_client();

    snprintf(text, sizeof text,
             "%s5\r\n%.5s\r\n%zX\r\n%s\r\n0\r\nTrailer: x\r\n\r\n", head, body,
             strlen(body) - 5, body + 5);
    send_text(fd, text);
    receive(fd);
    result_of(200);
    for (const char *at = text; *at; at++)
        ck_assert(send_bytes(fd, at, 1));
    receive(fd);
    result_of(200);
    close(fd);
}
END_TEST

/* evhttp calls all of these too long. */
START_TEST(bad_chunks)
{
    static const char *const cases[] = {
        "x\r\n",       "-1\r\n",
        "5;ext=1\r\n", "2\r\nab\r\nx\r\n",
        "120001\r\n",  "ffffffffffffffff\r\n",
    };
    int fd = new_client();

    send_text(fd, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_text(fd, cases[_i]);
    receive(fd);
    expect_status(413);
    expect_end(fd);
    still_serves();
}
END_TEST

static void
send_chunks(int fd, int count)
{
    char chunk[1100];

    memset(chunk, ' ', sizeof chunk);
    memcpy(chunk, "400\r\n", 5);
    memcpy(chunk + 5 + 1024, "\r\n", 2);
    send_text(fd, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < count; i++)
        ck_assert(send_bytes(fd, chunk, 5 + 1024 + 2));
    send_text(fd, "0\r\n\r\n");
}

START_TEST(chunks_over_the_limit)
{
    int fd = new_client();

    send_chunks(fd, 1025);
    receive(fd);
    expect_error(413, -32600);
    expect_end(fd);
    fd = new_client();
    send_chunks(fd, 1200);
    receive(fd);
    expect_status(413);
    expect_end(fd);
}
END_TEST

/* As much as a connection may hold, and no request in it: evhttp alone would
 * ask itself for ever whether there is one. */
START_TEST(chunk_without_end)
{
    char *line = padded(MIB);
    int fd = new_client();

    memset(line, '1', MIB);
    send_text(fd, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 4; i++)
        if (!send_bytes(fd, line, MIB))
            break;
    free(line);
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
    close(fd);
    still_serves();
}
END_TEST

START_TEST(expectation)
{
    int fd = new_client();
    char head[200];

    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %zu"
             "\r\n\r\n",
             strlen(CALL("available")));
    send_text(fd, head);
    receive(fd);
    ck_assert_int_eq(got.status, 100);
    send_text(fd, CALL("available"));
    receive(fd);
    result_of(200);
    send_text(fd, "POST / HTTP/1.1\r\nExpect: 100-continue\r\n"
                  "Content-Length: 2000000\r\n\r\n");
    receive(fd);
    expect_status(413);
    expect_end(fd);
}
END_TEST

/* What evhttp doesn't take; it forgives more than a strict reader would. */
START_TEST(bad_heads)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        { "nonsense\r\n\r\n", 400 },
        { "\r\n\r\n", 400 },
        { "GET\r\n\r\n", 400 },
        { "GET /\r\n\r\n", 400 },
        { "GET / HTTP\r\n\r\n", 400 },
        { "GET / HTTP/2.0\r\n\r\n", 400 },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400 },
        { "GET /v1/status HTTP/1.1\r\nno colon\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400 },
        { "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
          413 },
        { "POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413 },
        { "POST / HTTP/1.1\r\nContent-Length: 1\r\n"
          "Transfer-Encoding: chunked\r\n\r\n",
          400 },
        { "POST / HTTP/1.1\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n",
          417 },
    };
    int fd = new_client();

    send_text(fd, cases[_i].text);
    receive(fd);
    expect_status(cases[_i].status);
    ck_assert(strstr(got.head, "Connection: close\r\n") != NULL);
    expect_end(fd);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(long_heads)
{
    char *line = padded(LIMIT_HEADER_BYTES);
    int fd = new_client();

    memset(line, 'x', LIMIT_HEADER_BYTES);
    send_text(fd, "GET /healthz HTTP/1.1\r\nA: ");
    ck_assert(send_bytes(fd, line, LIMIT_HEADER_BYTES - 200));
    send_text(fd, "\r\n\r\n");
    receive(fd);
    ck_assert_int_eq(got.status, 200);
    send_text(fd, "GET /healthz HTTP/1.1\r\nA: ");
    ck_assert(send_bytes(fd, line, LIMIT_HEADER_BYTES));
    receive(fd);
    expect_status(400);
    expect_end(fd);
    fd = new_client();
    for (int i = 0; i < 200; i++) /* without any end */
        ck_assert(send_bytes(fd, line, LIMIT_HEADER_BYTES));
    receive(fd);
    expect_status(400);
    expect_end(fd);
    free(line);
}
END_TEST

/* -------------------------------------------------------------------- pages */

START_TEST(status_page)
{
    int fd = new_client();

    send_text(fd, "GET /v1/status?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    receive(fd);
    ck_assert(json_object_get(json_of(200), "host") != NULL);
    toy.invisible = true;
    send_text(fd, "GET /v1/status HTTP/1.1\r\n\r\n");
    receive(fd);
    expect_error(503, -32007);
    close(fd);
}
END_TEST

/* As a proxy gets it; evhttp closes after it. */
START_TEST(absolute_target)
{
    int fd = new_client();

    send_text(fd, "GET http://squeezed/v1/status HTTP/1.1\r\n\r\n");
    receive(fd);
    ck_assert(json_object_get(json_of(200), "host") != NULL);
    expect_end(fd);
}
END_TEST

START_TEST(health_page)
{
    int fd = new_client();

    send_text(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    receive(fd);
    ck_assert_int_eq(got.status, 200);
    ck_assert_str_eq(got.body, "ok");
    toy.health.connected = false;
    snprintf(toy.health.why, sizeof toy.health.why, "no xenstored");
    send_text(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    receive(fd);
    ck_assert_int_eq(got.status, 503);
    ck_assert(strstr(got.body, "no xenstored") != NULL);
    close(fd);
}
END_TEST

START_TEST(unknown_pages)
{
    static const char *const pages[] = {
        "/",
        "/v1",
        "/v1/status/",
        "/v1/events/",
        "/healthz2",
        "*",
        "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/%22",
        "/\"\\",
        "/\xff",
    };
    char text[200];
    int fd = new_client();

    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n\r\n", pages[_i]);
    send_text(fd, text);
    receive(fd);
    expect_error(404, -32601);
    send_text(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    receive(fd);
    ck_assert_int_eq(got.status, 200);
    close(fd);
}
END_TEST

START_TEST(other_methods)
{
    static const char *const methods[] = {
        "PUT",   "DELETE", "OPTIONS",
        "TRACE", "PATCH",  "CONNECT",
        "post",  "FOO",    "FOOFOOFOOFOOFOOFOO",
    };
    char text[200];
    int fd = new_client();

    snprintf(text, sizeof text,
             "%s /v1/status HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
             methods[_i]);
    send_text(fd, text);
    receive(fd);
    expect_error(405, -32600);
    ck_assert(strstr(got.head, "Allow: GET, POST\r\n") != NULL);
    ck_assert(strstr(got.head, "Connection: close\r\n") != NULL);
    expect_end(fd);
    still_serves();
}
END_TEST

START_TEST(head_has_no_body)
{
    char bytes[2000];
    ssize_t n;
    int fd = new_client();

    send_text(fd, "HEAD /v1/status HTTP/1.1\r\n\r\n");
    pump();
    n = recv(fd, bytes, sizeof bytes - 1, 0);
    ck_assert_int_gt(n, 0);
    bytes[n] = '\0';
    ck_assert_int_eq(strncmp(bytes, "HTTP/1.1 405 ", 13), 0);
    ck_assert_ptr_eq(strstr(bytes, "\r\n\r\n"), bytes + n - 4);
    expect_end(fd);
}
END_TEST

START_TEST(no_body)
{
    int fd = new_client();

    send_text(fd, "POST / HTTP/1.1\r\n\r\n");
    receive(fd);
    expect_error(400, -32700);
    close(fd);
}
END_TEST

/* ------------------------------------------------------- clients that leave */

static int
queue_reserve(const char *more)
{
    int fd = new_client();

    send_text(fd, post(RESERVE));
    send_text(fd, more);
    pump();
    ck_assert_str_eq(toy.asked, "reserve anonymous 4 4 60000000 0 -1 -");
    ck_assert_uint_eq(toy.cancelled, 0);
    return fd;
}

START_TEST(leaves_while_queued)
{
    int fd = queue_reserve("");

    close(fd);
    pump();
    ck_assert_uint_eq(toy.cancelled, 1);
    ck_assert_uint_eq(server_connections(server), 0);
    ck_assert(!toy_grant(&toy, ID1, 4));
    still_serves();
}
END_TEST

START_TEST(leaves_with_requests_unread)
{
    int fd = queue_reserve(post(CALL("available")));

    close(fd);
    pump();
    ck_assert_uint_eq(toy.cancelled, 1);
    ck_assert_uint_eq(server_connections(server), 0);
    still_serves();
}
END_TEST

/* Its end is an error for us then. */
START_TEST(leaves_with_answers_unread)
{
    int fd = new_client();

    send_text(fd, post(CALL("available")));
    send_text(fd, post(RESERVE));
    pump();
    close(fd);
    pump();
    ck_assert_uint_eq(toy.cancelled, 1);
    ck_assert_uint_eq(server_connections(server), 0);
    ck_assert_int_lt(work_of(200), 100);

    fd = new_client(); /* the same with one that can't be taken back */
    send_text(fd, post(CALL("available")));
    send_text(fd, post(RELEASE));
    pump();
    close(fd);
    ck_assert_int_lt(work_of(200), 100);
    ck_assert_uint_eq(server_connections(server), 0);
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    still_serves();
}
END_TEST

START_TEST(leaves_after_an_expectation)
{
    char head[200];
    int fd = new_client();

    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %zu"
             "\r\n\r\n",
             strlen(RESERVE));
    send_text(fd, head);
    pump();
    send_text(fd, RESERVE); /* its "100 Continue" stays unread */
    pump();
    ck_assert_uint_eq(toy.open_count, 1);
    close(fd);
    pump();
    ck_assert_uint_eq(toy.cancelled, 1);
    ck_assert_uint_eq(server_connections(server), 0);
    still_serves();
}
END_TEST

START_TEST(half_closes_with_much_to_read)
{
    char *body = padded(600000);
    char head[100];
    int fd = new_client();

    memset(body, 'x', 600000);
    memcpy(body, "{\"method\":\"squeezed.available\",\"id\":\"", 37);
    memcpy(body + 600000 - 2, "\"}", 2);
    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nContent-Length: 600000\r\n\r\n");
    send_text(fd, head);
    ck_assert(send_bytes(fd, body, 600000));
    shutdown(fd, SHUT_WR);
    pump_for(20);
    receive(fd);
    result_of(200);
    ck_assert_uint_gt(got.length, 599900);
    free(body);
    expect_end(fd);
}
END_TEST

START_TEST(leaves_with_much_unread)
{
    char *body = padded(3 * MIB);
    int fd = queue_reserve("");
    int sent = 0;

    for (int i = 0; i < 100; i++) { /* as much as goes: nobody reads it */
        sent += send(fd, body, MIB, MSG_NOSIGNAL) > 0;
        pump();
    }
    ck_assert_int_gt(sent, 0);
    free(body);
    ck_assert_uint_eq(toy.cancelled, 0);
    close(fd);
    pump();
    ck_assert_uint_eq(toy.cancelled, 1);
    still_serves();
}
END_TEST

START_TEST(half_closes_while_queued)
{
    int fd = queue_reserve("");

    shutdown(fd, SHUT_WR);
    pump();
    ck_assert_uint_eq(toy.cancelled, 1);
    receive(fd);
    expect_error(200, -32003);
    expect_end(fd);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(leaves_while_it_is_stored)
{
    int fd = new_client();

    send_text(fd, post(RELEASE));
    pump();
    close(fd);
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    still_serves();

    fd = new_client();
    send_text(fd, post(RELEASE));
    shutdown(fd, SHUT_WR);
    pump();
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    receive(fd); /* who only stopped sending gets his answer */
    ck_assert(json_is_null(result_of(200)));
    expect_end(fd);
}
END_TEST

START_TEST(leaves_in_the_same_instant)
{
    int fd = queue_reserve("");

    close(fd);
    ck_assert(toy_grant(&toy, ID1, 4)); /* before the loop could notice */
    ck_assert_uint_eq(toy.undelivered, 1);
    ck_assert_str_eq(toy.undelivered_id, ID1);
    pump();
    ck_assert_uint_eq(toy.undelivered, 1);
    ck_assert_uint_eq(server_connections(server), 0);

    fd = queue_reserve("");
    ck_assert(toy_grant(&toy, ID1, 4));
    close(fd); /* before the answer was written */
    pump();
    ck_assert_uint_eq(toy.undelivered, 2);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(leaves_without_reading)
{
    char text[500];
    int fd = queue_reserve("");

    ck_assert(toy_grant(&toy, ID1, 4));
    pump();
    ck_assert_uint_eq(toy.undelivered, 0);
    close(fd);
    pump();
    ck_assert_uint_eq(toy.undelivered, 1);
    ck_assert_str_eq(toy.undelivered_id, ID1);

    fd = queue_reserve(""); /* the same with an answer that was read */
    ck_assert(toy_grant(&toy, ID1, 4));
    receive(fd);
    result_of(200);
    close(fd);
    pump();
    ck_assert_uint_eq(toy.undelivered, 1);

    fd = queue_reserve(""); /* and with a later one that wasn't */
    ck_assert(toy_grant(&toy, ID1, 4));
    receive(fd);
    result_of(200);
    send_text(fd, post(CALL("available")));
    pump();
    close(fd);
    pump();
    ck_assert_uint_eq(toy.undelivered, 1);
    ck_assert_uint_eq(server_connections(server), 0);

    fd = new_client(); /* and with the last one of a connection */
    snprintf(text, sizeof text,
             "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n"
             "\r\n%s",
             strlen(RESERVE), RESERVE);
    send_text(fd, text);
    ck_assert(toy_grant(&toy, ID1, 4));
    pump();
    ck_assert_uint_eq(server_connections(server), 1);
    close(fd);
    pump();
    ck_assert_uint_eq(toy.undelivered, 2);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(closes_with_calls_open)
{
    queue_reserve("");
    queue_reserve(post(CALL("available")));
    send_text(new_client(), "POST / HTTP/1.1\r\nContent-Le");
    send_text(new_client(), "PUT / HTTP/1.1\r\n\r\n"); /* lingers */
    pump();
    ck_assert_uint_eq(server_connections(server), 4);
    new_client(); /* not accepted yet */
    /* teardown frees all: the sanitizer looks at this */
}
END_TEST

/* ------------------------------------------------------------------- limits */

START_TEST(many_idle_connections)
{
    int fds[300], first_open = -1;
    char byte;

    for (int i = 0; i < 300; i++) {
        fds[i] = new_client();
        if (i % 16 == 0)
            pump();
    }
    pump();
    ck_assert_uint_eq(server_connections(server), LIMIT_CONNECTIONS);
    still_serves();
    for (int i = 0; i < 300; i++) {
        bool closed = recv(fds[i], &byte, 1, 0) == 0;

        if (!closed && first_open < 0)
            first_open = i;
        ck_assert(closed == (first_open < 0)); /* the oldest ones only */
    }
    ck_assert_int_eq(first_open, 300 - LIMIT_CONNECTIONS + 1);
    send_text(fds[299], post(CALL("available")));
    receive(fds[299]);
    result_of(200);
    for (int i = 0; i < 300; i++)
        close(fds[i]);
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

/* Whatever they do before they go. */
START_TEST(ten_thousand_connections)
{
    static const char *const texts[] = {
        "",
        "GET",
        "GET / HTTP/1.1\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
        "x\r\n\r\n",
        "PUT / HTTP/1.1\r\n\r\n",
    };
    size_t files = open_files();

    for (int i = 0; i < 10000; i++) {
        const char *text = texts[i % 7];
        int fd = new_client();

        send(fd, text, strlen(text), MSG_NOSIGNAL);
        if (i % 2 == 0)
            event_base_loop(base, EVLOOP_NONBLOCK);
        if (i % 3 == 0)
            shutdown(fd, SHUT_WR);
        if (i % 5 == 0)
            event_base_loop(base, EVLOOP_NONBLOCK);
        close(fd);
    }
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
    ck_assert_uint_eq(open_files(), files);
    ck_assert_int_lt(work_of(200), 100);
    still_serves();
}
END_TEST

START_TEST(half_closed_connections)
{
    int fds[100];

    for (int i = 0; i < 100; i++) {
        fds[i] = new_client();
        shutdown(fds[i], SHUT_WR);
    }
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(recv(fds[i], &(char){ 0 }, 1, 0), 0);
        close(fds[i]);
    }
    ck_assert_int_lt(work_of(200), 100);
}
END_TEST

/* libevent takes its address along: versions without CVE-2026-63388's
 * correction wrote past their memory then. */
START_TEST(client_with_a_name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memset(address.sun_path, 'x', sizeof address.sun_path);
    address.sun_path[0] = '\0'; /* abstract: no file */
    snprintf(address.sun_path + 1, 20, "%d", (int)getpid());
    address.sun_path[1 + strlen(address.sun_path + 1)] = 'x';
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address),
                     0);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    close(fd);
}
END_TEST

START_TEST(idle_time)
{
    int quiet = new_client();
    int slow = new_client();
    int queued;

    pump();
    toy_set_now_us(toy_now_us() + 40 * US_PER_MS);
    queued = queue_reserve("");
    send_text(slow, "POST / HT");
    pump();
    toy_set_now_us(toy_now_us() + 20 * US_PER_MS);
    pump_for(120);
    expect_end(quiet);
    ck_assert_uint_eq(server_connections(server), 2);
    /* what comes in drops buys no time */
    send_text(slow, "TP/1.1\r\nContent-Length: 9\r\n\r\nx");
    toy_set_now_us(toy_now_us() + 40 * US_PER_MS);
    pump_for(120);
    expect_end(slow);
    ck_assert_uint_eq(server_connections(server), 1);
    ck_assert(toy_grant(&toy, ID1, 4)); /* who waits isn't idle */
    receive(queued);
    result_of(200);
    toy_set_now_us(toy_now_us() + 60 * US_PER_MS);
    pump_for(120);
    expect_end(queued);
    ck_assert_uint_eq(toy.undelivered, 0);
}
END_TEST

START_TEST(answer_that_nobody_reads)
{
    char *body = padded(900000);
    char head[100];
    int fd = new_client();

    memset(body, 'x', 900000);
    memcpy(body, "{\"method\":\"squeezed.available\",\"id\":\"", 37);
    memcpy(body + 900000 - 2, "\"}", 2);
    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n");
    send_text(fd, head);
    ck_assert(send_bytes(fd, body, 900000));
    pump();
    ck_assert_uint_eq(server_connections(server), 1);
    toy_set_now_us(toy_now_us() + 60 * US_PER_MS);
    pump_for(120);
    ck_assert_uint_eq(server_connections(server), 0);
    free(body);
    close(fd);
}
END_TEST

START_TEST(all_connections_wait)
{
    int fds[4], fd, others[40];

    for (int i = 0; i < 4; i++)
        fds[i] = queue_reserve("");
    for (int round = 0; round < 3; round++) {
        fd = new_client();
        send_text(fd, post(CALL("available")));
        receive(fd);
        expect_error(503, -32008);
        ck_assert(strstr(got.body, "\"limit\":\"connections\"") != NULL);
        expect_end(fd);
    }
    for (int i = 0; i < 40; i++) { /* some wait to be accepted */
        others[i] = new_client();
        send_text(others[i], post(CALL("available")));
    }
    ck_assert_uint_le(server_connections(server), 4 + 16);
    for (int i = 0; i < 40; i++) {
        receive(others[i]);
        expect_error(503, -32008);
        close(others[i]);
        forget_rest();
    }
    pump();
    ck_assert_uint_eq(server_connections(server), 4);
    ck_assert(toy_grant(&toy, ID1, 4));
    receive(fds[0]);
    result_of(200);
    still_serves(); /* at the cost of the one that is idle now */
    ck_assert_uint_eq(server_connections(server), 3);
    ck_assert_uint_eq(toy.cancelled, 0);
    ck_assert_uint_eq(toy.undelivered, 0);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}
END_TEST

START_TEST(begun_requests_are_closed_last)
{
    int begun = new_client();
    int fds[3], fd;

    send_text(begun, "GET /healthz HTTP/1.1\r\n");
    pump();
    for (int i = 0; i < 3; i++)
        fds[i] = new_client();
    pump();
    fd = new_client();
    pump();
    ck_assert_uint_eq(server_connections(server), 4);
    send_text(begun, "\r\n");
    receive(begun);
    ck_assert_int_eq(got.status, 200);
    expect_end(fds[0]);
    close(begun);
    close(fd);
    close(fds[1]);
    close(fds[2]);
}
END_TEST

/* Out of descriptors, the listener must not spin. */
START_TEST(no_more_files)
{
    struct rlimit before, few;
    int fds[64], opened = 0, turns = 0, fd;
    int64_t end;

    getrlimit(RLIMIT_NOFILE, &before);
    while (opened < 8)
        fds[opened++] = socket(AF_UNIX, SOCK_STREAM, 0);
    few = before;
    few.rlim_cur = (rlim_t)fds[7] + 1;
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (opened = 0; opened < 7; opened++)
        fds[opened] = new_client(); /* leaves one for the server */
    end = real_ms() + 350;
    while (real_ms() < end) {
        event_base_loop(base, EVLOOP_ONCE);
        turns++;
    }
    ck_assert_int_lt(turns, 40);
    ck_assert_uint_eq(server_connections(server), 1);
    setrlimit(RLIMIT_NOFILE, &before);
    pump_for(150);
    ck_assert_uint_eq(server_connections(server), 7);
    fd = fds[6];
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    while (opened > 0)
        close(fds[--opened]);
}
END_TEST

/* Opens connections until its end is closed. */
static pid_t
crowd(int count, int *ret_end)
{
    pid_t child;
    char byte;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        close(ends[1]);
        for (int i = 0; i < count; i++)
            if (send(connect_to(path), "GET ", 4, MSG_NOSIGNAL) != 4)
                _exit(1);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 2);
    }
    close(ends[0]);
    *ret_end = ends[1];
    return child;
}

static int lines_of_libevent;

static void
count_line(int severity, const char *text)
{
    (void)severity;
    (void)text;
    lines_of_libevent++;
}

static int
lines_of(const char *file)
{
    FILE *f = fopen(file, "r");
    int lines = 0, c;

    ck_assert_ptr_ne(f, NULL);
    while ((c = getc(f)) != EOF)
        lines += c == '\n';
    fclose(f);
    return lines;
}

/* As with `ulimit -n 64`, and more clients than that. */
START_TEST(few_files)
{
    struct rlimit before, few;
    char log[100];
    int end, status;
    pid_t child;

    snprintf(log, sizeof log, "%s/log", folder);
    log_open(log);
    event_set_log_callback(count_line);
    lines_of_libevent = 0;
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = 64;
    child = crowd(100, &end);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_lt(work_of(1000), 200);
    ck_assert_uint_gt(server_connections(server), 20);
    ck_assert_uint_lt(server_connections(server), 64);
    setrlimit(RLIMIT_NOFILE, &before);
    pump_for(250);
    ck_assert_uint_eq(server_connections(server), 100);
    close(end);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    pump();
    ck_assert_uint_eq(server_connections(server), 0);
    still_serves();
    log_open("/dev/null");
    event_set_log_callback(NULL);
    ck_assert_int_eq(lines_of(log), 1);
    ck_assert_int_eq(lines_of_libevent, 0);
}
END_TEST

/* -------------------------------------------------------------- the sockets */

static mode_t
mode_of(const char *file)
{
    struct stat st;

    return lstat(file, &st) == 0 ? st.st_mode : 0;
}

static struct server *
another(const char *where, size_t count)
{
    struct server_options o = options;

    paths[0] = where;
    o.path_count = count;
    return server_new(base, &toy, &o, message, sizeof message);
}

START_TEST(file_mode)
{
    char run[100];

    snprintf(run, sizeof run, "%s/run", folder);
    ck_assert_uint_eq(mode_of(path), S_IFSOCK | 0660);
    ck_assert_uint_eq(mode_of(run), S_IFDIR | 0755);
    server_free(server);
    server = NULL;
    ck_assert_uint_eq(mode_of(path), 0);
    ck_assert_uint_eq(mode_of(run), S_IFDIR | 0755);
}
END_TEST

START_TEST(live_socket)
{
    ck_assert_ptr_eq(another(path, 1), NULL);
    ck_assert_msg(strstr(message, "listens there already") != NULL, "%s",
                  message);
    ck_assert(strstr(message, path) != NULL);
    still_serves();
}
END_TEST

START_TEST(stale_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct server *second;
    char stale[100];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(stale, sizeof stale, "%s/stale", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", stale);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    close(fd); /* as after a kill: the file stays */
    ck_assert_uint_ne(mode_of(stale), 0);
    second = another(stale, 1);
    ck_assert_msg(second != NULL, "%s", message);
    fd = connect_to(stale);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    close(fd);
    server_free(second);
    ck_assert_uint_eq(mode_of(stale), 0);
}
END_TEST

START_TEST(bad_paths)
{
    char file[200], other[300];

    snprintf(file, sizeof file, "%s/file", folder);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_ptr_eq(another(file, 1), NULL);
    ck_assert_msg(strstr(message, "is no socket") != NULL, "%s", message);
    ck_assert_uint_eq(mode_of(file), S_IFREG | 0600);
    snprintf(other, sizeof other, "%s/file/socket", folder);
    ck_assert_ptr_eq(another(other, 1), NULL);
    snprintf(other, sizeof other, "%s/no/such/folder", folder);
    ck_assert_ptr_eq(another(other, 1), NULL);
    ck_assert_msg(strstr(message, "No such file") != NULL, "%s", message);
    ck_assert_ptr_eq(another("", 1), NULL);
    memset(other, 'x', 108);
    other[108] = '\0';
    ck_assert_ptr_eq(another(other, 1), NULL);
    ck_assert_msg(strstr(message, "107 characters") != NULL, "%s", message);
    options.group = "no-such-group-here";
    snprintf(other, sizeof other, "%s/socket", folder);
    ck_assert_ptr_eq(another(other, 1), NULL);
    ck_assert_msg(strstr(message, "no-such-group-here") != NULL, "%s", message);
    ck_assert_uint_eq(mode_of(other), 0);
}
END_TEST

START_TEST(two_sockets)
{
    char one[200], two[200];
    struct server *second;
    int fd;

    snprintf(one, sizeof one, "%s/one", folder);
    snprintf(two, sizeof two, "%s/xapi/two", folder);
    paths[1] = two;
    second = another(one, 2);
    ck_assert_msg(second != NULL, "%s", message);
    fd = connect_to(two);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    ck_assert_uint_eq(server_connections(second), 1);
    close(fd);
    server_free(second);
    ck_assert_uint_eq(mode_of(one) | mode_of(two), 0);

    paths[1] = path; /* live: then the first one must not stay either */
    ck_assert_ptr_eq(another(one, 2), NULL);
    ck_assert_uint_eq(mode_of(one), 0);
    ck_assert_uint_ne(mode_of(path), 0);
}
END_TEST

START_TEST(file_of_somebody_else_stays)
{
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    server_free(server);
    server = NULL;
    ck_assert_uint_eq(mode_of(path), S_IFREG | 0600);
}
END_TEST

/* In a child process as another user; 0: served, 1: refused. */
static int
ask_as(uid_t uid, gid_t gid)
{
    struct pollfd p;
    char answer[100] = "";
    pid_t child;
    int status;

    child = fork();
    if (child == 0) {
        if (setgroups(0, NULL) || setgid(gid) || setuid(uid))
            _exit(3);
        p.fd = connect_to(path);
        p.events = POLLIN;
        send(p.fd, "GET /healthz HTTP/1.1\r\n\r\n", 25, MSG_NOSIGNAL);
        if (poll(&p, 1, 5000) != 1 || recv(p.fd, answer, 99, 0) < 12)
            _exit(4);
        _exit(strncmp(answer, "HTTP/1.1 200", 12) == 0   ? 0
              : strncmp(answer, "HTTP/1.1 403", 12) == 0 ? 1
                                                         : 5);
    }
    while (waitpid(child, &status, WNOHANG) == 0)
        pump();
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(other_users)
{
    if (geteuid() != 0)
        return; /* only root can be somebody else */
    chmod(folder, 0755);
    chmod(path, 0666); /* past the first bolt */
    ck_assert_int_eq(ask_as(0, 0), 0);
    ck_assert_int_eq(ask_as(65534, 65534), 1);
    server_free(server);
    options.group = "daemon";
    server = another(path, 1);
    ck_assert_msg(server != NULL, "%s", message);
    ck_assert_int_eq(ask_as(65534, 1), 0); /* daemon's number everywhere */
    chmod(path, 0666);
    ck_assert_int_eq(ask_as(65534, 65534), 1);
}
END_TEST

/* ------------------------------------------------------------------- events */

#define FOLLOW "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"

/* What a listener has got so far. */
struct listener {
    int fd;
    char *text;
    size_t length;
    bool at_end;
};

static void
hear(struct listener *l)
{
    char bytes[65536];
    ssize_t n;

    pump();
    while ((n = recv(l->fd, bytes, sizeof bytes, 0)) > 0) {
        l->text = realloc(l->text, l->length + (size_t)n + 1);
        memcpy(l->text + l->length, bytes, (size_t)n);
        l->length += (size_t)n;
        l->text[l->length] = '\0';
    }
    l->at_end = n == 0;
}

static struct listener
follow(const char *request)
{
    struct listener l = { .fd = new_client() };

    send_text(l.fd, request);
    hear(&l);
    ck_assert_ptr_ne(l.text, NULL);
    ck_assert_msg(strncmp(l.text, "HTTP/1.1 200", 12) == 0 ||
                      strncmp(l.text, "HTTP/1.0 200", 12) == 0,
                  "%s", l.text);
    return l;
}

static void
hang_up(struct listener *l)
{
    close(l->fd);
    free(l->text);
    pump();
}

static bool
has_heard(struct listener *l, const char *text)
{
    hear(l);
    return l->text && strstr(l->text, text) != NULL;
}

static void
tell_transfer(uint32_t domid)
{
    toy.told(toy.told_context, &(struct news){ .kind = NEWS_TRANSFER,
                                               .client = "xenopsd",
                                               .reservation = ID1,
                                               .amount_kib = 8,
                                               .domid = domid });
}

START_TEST(listeners_hear_of_it)
{
    struct listener a = follow(FOLLOW), b = follow(FOLLOW);
    const char *data;

    ck_assert_ptr_ne(strstr(a.text, "Content-Type: text/event-stream\r\n"),
                     NULL);
    ck_assert(has_heard(&a, ": squeezed "));
    tell_transfer(7);
    ck_assert(has_heard(&a, "event: transfer\ndata: {") &&
              has_heard(&b, "event: transfer\ndata: {"));
    data = strstr(a.text, "data: ") + 6;
    json = json_loads(data, JSON_DISABLE_EOF_CHECK, NULL);
    ck_assert_ptr_ne(json, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(json, "reservation")),
                     ID1);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "domid")), 7);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "t_ms")),
                     toy_now_us() / 1000);
    hang_up(&a);
    tell_transfer(8);
    ck_assert(has_heard(&b, "\"domid\":8"));
    still_serves();
    hang_up(&b);
    ck_assert_uint_eq(server_connections(server), 0);
    tell_transfer(9); /* to nobody */
    pump();
}
END_TEST

START_TEST(listeners_of_all_kinds)
{
    struct listener old = follow("GET /v1/events HTTP/1.0\r\n\r\n");
    /* What is sent meanwhile is not heard. */
    struct listener eager = follow(FOLLOW FOLLOW "rubbish");
    struct listener half = follow(FOLLOW);

    ck_assert_ptr_eq(strstr(old.text, "chunked"), NULL);
    tell_transfer(7);
    ck_assert(has_heard(&old, "\"domid\":7"));
    ck_assert(has_heard(&eager, "\"domid\":7"));
    ck_assert_uint_eq(server_connections(server), 3);
    shutdown(half.fd, SHUT_WR); /* counts as gone */
    pump();
    hear(&half);
    ck_assert(half.at_end);
    ck_assert_uint_eq(server_connections(server), 2);
    hang_up(&half);
    hang_up(&old);
    hang_up(&eager);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

/* The bound is in sq_limits.h, and a socket holds some as well. */
START_TEST(who_does_not_read_is_dropped)
{
    struct listener slow = follow(FOLLOW), fast = follow(FOLLOW);

    for (uint32_t i = 0; i < 8000; i++) {
        tell_transfer(i);
        if (i % 100 == 0)
            hear(&fast);
    }
    ck_assert(has_heard(&fast, "\"domid\":7999"));
    ck_assert_ptr_eq(strstr(fast.text, "dropped"), NULL);
    ck_assert_ptr_eq(strstr(fast.text, "rubbish"), NULL);
    for (int i = 0; i < 100 && !slow.at_end; i++)
        hear(&slow);
    ck_assert(slow.at_end);
    ck_assert_ptr_eq(strstr(slow.text, "\"domid\":7999"), NULL);
    ck_assert_str_eq(strstr(slow.text, ": dropped"),
                     ": dropped: what happens was not read as fast as it "
                     "happened\n\n\r\n0\r\n\r\n");
    ck_assert_uint_lt(slow.length, 2 * LIMIT_LISTENER_BYTES + MIB);
    hang_up(&slow);
    hang_up(&fast);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(not_too_many_follow)
{
    struct listener all[LIMIT_LISTENERS];
    int fd;

    for (size_t i = 0; i < LIMIT_LISTENERS; i++)
        all[i] = follow(FOLLOW);
    fd = new_client();
    send_text(fd, FOLLOW);
    receive(fd);
    expect_error(503, -32008);
    hang_up(&all[3]);
    send_text(fd, FOLLOW); /* on the same connection: it was not closed */
    receive(fd);
    ck_assert_int_eq(got.status, 200);
    close(fd);
    for (size_t i = 0; i < LIMIT_LISTENERS; i++)
        if (i != 3)
            hang_up(&all[i]);
    still_serves();
}
END_TEST

/* Its idle time is 50 ms here. */
START_TEST(a_listener_is_not_idle)
{
    struct listener l = follow(FOLLOW);

    pump_for(200);
    toy_set_now_us(toy_now_us() + 10 * (int64_t)US_PER_S);
    pump_for(100);
    ck_assert(has_heard(&l, ": still here\n\n"));
    ck_assert(!l.at_end);
    tell_transfer(7);
    ck_assert(has_heard(&l, "\"domid\":7"));
    hang_up(&l);
}
END_TEST

START_TEST(ends_with_listeners)
{
    struct listener l = follow(FOLLOW);

    server_free(server);
    server = NULL;
    hear(&l);
    ck_assert(l.at_end);
    hang_up(&l);
}
END_TEST

static void
tell(struct news news)
{
    toy.told(toy.told_context, &news);
}

/* Each kind of news, as it is sent. */
START_TEST(events_have_their_fields)
{
    const struct request asked = { .min_kib = 4,
                                   .max_kib = 8,
                                   .submitted_us = 5,
                                   .deadline_us = 5 + US_PER_S };
    const uint32_t domids[] = { 3, 7 };
    const struct result granted = { .reservation = ID1,
                                    .amount_kib = 8,
                                    .took_us = 12345 };
    const struct result refused = { .error = ERR_UNCOOPERATIVE,
                                    .message = "no",
                                    .needed_kib = 8,
                                    .free_kib = 4,
                                    .short_kib = 4,
                                    .domids = domids,
                                    .domid_count = 2 };
    const struct setting setting = { .domid = 1,
                                     .target_kib = 4,
                                     .limit_kib = 8 };
    const struct platform_health health = { .reconnects = 2, .why = "x" };
    static const char *const wanted[] = {
        "event: request\ndata: {\"request\":9,\"client\":\"c\",\"min_kib\":4,"
        "\"max_kib\":8,\"wait\":false,\"timeout_ms\":1000,\"t_ms\":",
        "event: grant\ndata: {\"request\":9,\"client\":\"c\","
        "\"reservation\":\"" ID1 "\",\"amount_kib\":8,\"took_ms\":12,",
        "event: refusal\ndata: {\"request\":9,\"client\":\"c\",\"reason\":"
        "\"uncooperative\",\"message\":\"no\",\"took_ms\":0,\"needed_kib\":8,"
        "\"free_kib\":4,\"short_kib\":4,\"domids\":[3,7],",
        "event: release\ndata: {\"reservation\":\"r\",\"client\":\"c\","
        "\"amount_kib\":8,\"why\":\"login\",",
        "event: target\ndata: {\"domid\":1,\"name\":\"web\",\"target_kib\":4,"
        "\"limit_kib\":8,\"why\":\"balance\",",
        "event: state\ndata: {\"domid\":1,\"name\":\"web\",\"state\":\"ok\",",
        "event: state\ndata: {\"state\":\"tight\",",
        "event: range-error\ndata: {\"domid\":7,\"name\":\"b?s\\\"e\","
        "\"range_error\":\"dynamic-min 9 is above dynamic-max 8\",",
        "event: theft\ndata: {\"missing_kib\":8,",
        "event: overload\ndata: {\"overloaded\":true,\"missing_kib\":8,",
        "event: store\ndata: {\"connected\":false,\"reconnects\":2,\"why\":"
        "\"x\",",
    };
    struct listener l = follow(FOLLOW);

    tell((struct news){ NEWS_REQUEST, 9, "c", .asked = &asked });
    tell((struct news){ NEWS_GRANT, 9, "c", .result = &granted });
    tell((struct news){ NEWS_REFUSAL, 9, "c", .result = &refused });
    tell((struct news){ .kind = NEWS_RELEASE,
                        .client = "c",
                        .reservation = "r",
                        .amount_kib = 8,
                        .why = "login" });
    tell((struct news){ .kind = NEWS_TARGET,
                        .domid = 1,
                        .setting = &setting,
                        .why = "balance" });
    tell((struct news){ .kind = NEWS_STATE, .domid = 1, .state = "ok" });
    tell(
        (struct news){ .kind = NEWS_STATE, .of_host = true, .state = "tight" });
    tell((struct news){ .kind = NEWS_RANGE_ERROR, .domid = 7, .begins = true });
    tell((struct news){ .kind = NEWS_THEFT, .missing_kib = 8 });
    tell((struct news){
        .kind = NEWS_OVERLOAD, .begins = true, .missing_kib = 8 });
    tell((struct news){ .kind = NEWS_STORE, .health = &health });
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        ck_assert_msg(has_heard(&l, wanted[i]), "no\n%s in\n%s", wanted[i],
                      l.text);
    hang_up(&l);
}
END_TEST

/* ------------------------------------------------------------------ metrics */

static const char *
metrics(const char *header)
{
    char text[200];
    int fd = new_client();

    snprintf(text, sizeof text, "GET /metrics HTTP/1.1\r\n%s\r\n", header);
    send_text(fd, text);
    receive(fd);
    close(fd);
    pump();
    expect_status(200);
    return got.body;
}

static void
expect_metric(const char *line)
{
    ck_assert_msg(strstr(got.body, line) != NULL, "no %s in\n%s", line,
                  got.body);
}

START_TEST(metrics_count_and_measure)
{
    const struct result granted = { .reservation = ID1,
                                    .amount_kib = 8,
                                    .took_us = 12345 };
    const struct result refused = { .error = ERR_TIMEOUT };
    const char *page = metrics("");

    ck_assert_ptr_ne(
        strstr(got.head, "Content-Type: text/plain; version=0.0.4"), NULL);
    ck_assert_str_eq(page + got.length - 6, "# EOF\n");
    expect_metric("# TYPE squeezed_grants_total counter\n"
                  "squeezed_grants_total 0\n");
    expect_metric("\nsqueezed_host_free_bytes 1024000000\n");
    expect_metric("\nsqueezed_domain_actual_bytes{domid=\"7\",name=\"b?s"
                  "\\\"e\"} 1073741824\n");
    tell((struct news){ NEWS_GRANT, 9, "c", .result = &granted });
    tell((struct news){ NEWS_GRANT, 9, "c", .result = &granted });
    tell((struct news){ NEWS_REFUSAL, 9, "c", .result = &refused });
    metrics("");
    expect_metric("\nsqueezed_grants_total 2\n");
    expect_metric("\nsqueezed_granted_bytes_total 16384\n");
    expect_metric("\nsqueezed_refusals_total{reason=\"timeout\"} 1\n");
    expect_metric("\nsqueezed_grant_seconds_bucket{le=\"0.01\"} 0\n");
    expect_metric("\nsqueezed_grant_seconds_bucket{le=\"0.025\"} 2\n");
    expect_metric("\nsqueezed_grant_seconds_bucket{le=\"+Inf\"} 2\n");
    expect_metric("\nsqueezed_grant_seconds_sum 0.024690\n");
    metrics("Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    ck_assert_ptr_ne(strstr(got.head, "application/openmetrics-text"), NULL);
    expect_metric("# TYPE squeezed_grants counter\n"
                  "squeezed_grants_total 2\n");
    expect_metric("# UNIT squeezed_granted_bytes bytes\n");
    toy.invisible = true; /* the counters are there all the same */
    metrics("");
    expect_metric("\nsqueezed_grants_total 2\n");
    ck_assert_ptr_eq(strstr(got.body, "\nsqueezed_host_free_bytes"), NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("server");
    TCase *tc = tcase_create("requests");
    TCase *small = tcase_create("limits");
    TCase *files = tcase_create("files");
    SRunner *runner;
    int failed;

    signal(SIGPIPE, SIG_IGN);
    log_open("/dev/null");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, one_call);
    tcase_add_test(tc, keep_alive);
    tcase_add_loop_test(tc, connection_header, 0, 6);
    tcase_add_test(tc, pipelined);
    tcase_add_test(tc, byte_by_byte);
    tcase_add_loop_test(tc, cut_at_each_byte, 0, 2);
    tcase_add_test(tc, half_closed_after_a_request);
    tcase_add_test(tc, notification);
    tcase_add_test(tc, body_limit);
    tcase_add_test(tc, large_answer);
    tcase_add_test(tc, chunks);
    tcase_add_loop_test(tc, bad_chunks, 0, 6);
    tcase_add_test(tc, chunks_over_the_limit);
    tcase_add_test(tc, chunk_without_end);
    tcase_add_test(tc, expectation);
    tcase_add_loop_test(tc, bad_heads, 0, 15);
    tcase_add_test(tc, long_heads);
    tcase_add_test(tc, status_page);
    tcase_add_test(tc, absolute_target);
    tcase_add_test(tc, health_page);
    tcase_add_loop_test(tc, unknown_pages, 0, 10);
    tcase_add_loop_test(tc, other_methods, 0, 9);
    tcase_add_test(tc, head_has_no_body);
    tcase_add_test(tc, no_body);
    tcase_add_test(tc, leaves_while_queued);
    tcase_add_test(tc, leaves_with_requests_unread);
    tcase_add_test(tc, leaves_with_answers_unread);
    tcase_add_test(tc, leaves_after_an_expectation);
    tcase_add_test(tc, half_closes_with_much_to_read);
    tcase_add_test(tc, leaves_with_much_unread);
    tcase_add_test(tc, half_closes_while_queued);
    tcase_add_test(tc, leaves_while_it_is_stored);
    tcase_add_test(tc, leaves_in_the_same_instant);
    tcase_add_test(tc, leaves_without_reading);
    tcase_add_test(tc, closes_with_calls_open);
    tcase_add_test(tc, many_idle_connections);
    tcase_add_test(tc, ten_thousand_connections);
    tcase_add_test(tc, half_closed_connections);
    tcase_add_test(tc, client_with_a_name);
    tcase_add_test(tc, file_mode);
    tcase_add_test(tc, live_socket);
    tcase_add_test(tc, stale_socket);
    tcase_add_test(tc, bad_paths);
    tcase_add_test(tc, two_sockets);
    tcase_add_test(tc, file_of_somebody_else_stays);
    tcase_add_test(tc, other_users);
    tcase_add_test(tc, listeners_hear_of_it);
    tcase_add_test(tc, listeners_of_all_kinds);
    tcase_add_test(tc, who_does_not_read_is_dropped);
    tcase_add_test(tc, not_too_many_follow);
    tcase_add_test(tc, ends_with_listeners);
    tcase_add_test(tc, events_have_their_fields);
    tcase_add_test(tc, metrics_count_and_measure);
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(small, setup_small, teardown);
    tcase_set_timeout(small, 30);
    tcase_add_test(small, idle_time);
    tcase_add_test(small, a_listener_is_not_idle);
    tcase_add_test(small, answer_that_nobody_reads);
    tcase_add_test(small, all_connections_wait);
    tcase_add_test(small, begun_requests_are_closed_last);
    suite_add_tcase(suite, small);
    tcase_add_checked_fixture(files, setup, teardown);
    tcase_set_timeout(files, 30);
    tcase_set_tags(files, "descriptors"); /* valgrind has some of its own */
    tcase_add_test(files, no_more_files);
    tcase_add_test(files, few_files);
    suite_add_tcase(suite, files);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
