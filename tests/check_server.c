/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server: requests, their sizes, and the pages that it shows. */
#include "tests/server_stage.h"

#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
    int fd = new_client();

    post_long_id(fd, 600000);
    pump_for(20);
    receive(fd);
    result_of(200);
    ck_assert_uint_gt(got.length, 599900);
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

int
main(void)
{
    Suite *suite = suite_create("server");
    TCase *tc = server_case(suite, "requests", setup);

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
    return run_suite(suite, CK_FORK_GETENV);
}
