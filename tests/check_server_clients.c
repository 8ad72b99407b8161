/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server and clients that leave, that are many, or that are slow. */
#include "tests/server_stage.h"

#include "common/log.h"
#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------- clients that leave */

#define RELEASE                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"squeezed.release\","           \
    "\"params\":[\"a\"]}"

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
    int fd = new_client();

    post_long_id(fd, 600000);
    shutdown(fd, SHUT_WR);
    pump_for(20);
    receive(fd);
    result_of(200);
    ck_assert_uint_gt(got.length, 599900);
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
    int fd = new_client();

    post_long_id(fd, 900000);
    pump();
    ck_assert_uint_eq(server_connections(server), 1);
    toy_set_now_us(toy_now_us() + 60 * US_PER_MS);
    pump_for(120);
    ck_assert_uint_eq(server_connections(server), 0);
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
                end_child(1);
        end_child(read(ends[0], &byte, 1) == 0 ? 0 : 2);
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

int
main(void)
{
    Suite *suite = suite_create("server_clients");
    TCase *tc = server_case(suite, "clients", setup);
    TCase *small = server_case(suite, "limits", setup_small);
    TCase *files = server_case(suite, "files", setup);

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
    tcase_add_test(small, idle_time);
    tcase_add_test(small, answer_that_nobody_reads);
    tcase_add_test(small, all_connections_wait);
    tcase_add_test(small, begun_requests_are_closed_last);
    tcase_set_tags(files, "descriptors"); /* valgrind has some of its own */
    tcase_add_test(files, no_more_files);
    tcase_add_test(files, few_files);
    return run_suite(suite, CK_FORK_GETENV);
}
