/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/server_stage.h"

#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct broker toy;
struct event_base *base;
struct server *server;
struct server_options options;
char folder[64], path[108], message[512];
const char *paths[2];

int64_t
real_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
pump(void)
{
    for (int i = 0; i < 8; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

void
pump_for(int ms)
{
    int64_t end = real_ms() + ms;

    while (real_ms() < end) {
        pump();
        poll(NULL, 0, 1);
    }
}

int
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

int
new_client(void)
{
    return connect_to(path);
}

bool
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

void
send_text(int fd, const char *text)
{
    ck_assert(send_bytes(fd, text, strlen(text)));
}

const char *
post(const char *body)
{
    static char text[2000];

    snprintf(text, sizeof text,
             "POST / HTTP/1.1\r\nUser-agent: test\r\ncontent-length: %zu\r\n"
             "\r\n%s",
             strlen(body), body);
    return text;
}

struct http_answer got;

/* What came and wasn't used yet. */
static struct {
    char *bytes;
    size_t length;
} rest;

void
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

void
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

void
receive(int fd)
{
    receive_within(fd, 5000);
}

static json_t *json; /* of the last answer */

json_t *
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

json_t *
result_of(int status)
{
    json_t *result = json_object_get(json_of(status), "result");

    ck_assert_msg(result != NULL, "%s", got.body);
    return result;
}

void
expect_error(int status, int code)
{
    json_t *error = json_object_get(json_of(status), "error");

    ck_assert_msg(json_integer_value(json_object_get(error, "code")) == code,
                  "%s", got.body);
}

void
expect_status(int status)
{
    ck_assert_msg(got.status == status, "not %d: %d %s", status, got.status,
                  got.body);
}

void
expect_end(int fd)
{
    receive(fd);
    ck_assert_int_eq(got.status, 0);
    ck_assert(got.at_end);
    close(fd);
    forget_rest();
    pump();
}

int64_t
work_of(int ms)
{
    const struct timeval wait = { .tv_sec = ms / 1000,
                                  .tv_usec = ms % 1000 * 1000 };
    clock_t start = clock();

    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
    return (int64_t)(clock() - start) * 1000 / CLOCKS_PER_SEC;
}

size_t
open_files(void)
{
    DIR *folder_of_files = opendir("/proc/self/fd");
    size_t count = 0;

    while (readdir(folder_of_files))
        count++;
    closedir(folder_of_files);
    return count;
}

void
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

void
post_long_id(int fd, size_t length)
{
    static const char start[] = "{\"method\":\"squeezed.available\",\"id\":\"";
    char *body = padded(length);
    char head[100];

    memset(body, 'x', length);
    memcpy(body, start, strlen(start));
    memcpy(body + length - 2, "\"}", 2);
    snprintf(head, sizeof head,
             "POST / HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", length);
    send_text(fd, head);
    ck_assert(send_bytes(fd, body, length));
    free(body);
}

void
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

void
setup(void)
{
    set_up(0, 0);
}

void
setup_small(void)
{
    set_up(4, 50 * US_PER_MS);
}

void
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

char *
padded(size_t length)
{
    char *body = malloc(length + 1);

    memset(body, ' ', length);
    memcpy(body, CALL("available"), strlen(CALL("available")));
    body[length] = '\0';
    return body;
}

bool
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

TCase *
server_case(Suite *suite, const char *name, SFun set_up_server)
{
    TCase *tc = tcase_create(name);

    signal(SIGPIPE, SIG_IGN);
    log_open("/dev/null");
    tcase_add_checked_fixture(tc, set_up_server, teardown);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return tc;
}
