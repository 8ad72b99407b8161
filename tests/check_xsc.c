/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The xenstore client's connection: single requests, the stream, garbage,
 * deadlines and reconnects. */
#include "sq_limits.h"
#include "tests/fake_xenstored.h"
#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One request */

START_TEST(reads_any_bytes)
{
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    ck_assert_uint_eq(fake.last.type, XS_READ);
    ck_assert_uint_eq(fake.last.len, 3);
    ck_assert_uint_ne(fake.last.req_id, 0);
    answer(&fake.last, "x\0y\n", 4);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 4);
    ck_assert_mem_eq(seen.value, "x\0y\n", 4);
}
END_TEST

static void
serve_form(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    char line[128];
    size_t used = (size_t)snprintf(line, sizeof(line), "%u:", header->type);

    for (uint32_t i = 0; i < header->len; i++)
        line[used++] = body[i] ? body[i] : '|';
    line[used] = '\0';
    note("", line);
    serve_ok(f, header, body);
}

START_TEST(sends_each_kind)
{
    fake.serve = serve_form;
    xsc_write(seen.xsc, 0, "/w", "va\0l", 4, on_reply, &seen);
    xsc_write(seen.xsc, 0, "/e", "", 0, on_reply, &seen);
    xsc_remove(seen.xsc, 0, "/r", on_reply, &seen);
    xsc_watch(seen.xsc, "@releaseDomain", "tok", on_reply, &seen);
    xsc_unwatch(seen.xsc, "/p", "", on_reply, &seen);
    run_until(&seen.replies, 5);
    ck_assert_str_eq(fake.log, "11:/w|va|l 11:/e| 13:/r| "
                               "4:@releaseDomain|tok| 5:/p|| ");
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

START_TEST(takes_no_reply_function)
{
    fake.serve = serve_ok;
    xsc_write(seen.xsc, 0, "/w", "v", 1, NULL, NULL);
    xsc_write(seen.xsc, 0, "w w", "v", 1, NULL, NULL);
    read_key("/a");
    run_until(&seen.replies, 1);
}
END_TEST

static const struct {
    const char *text;
    size_t length;
    enum err error;
} error_texts[] = {
    { "ENOENT", 7, ERR_NOT_FOUND },
    { "EACCES", 7, ERR_PERMISSION },
    { "EINVAL", 7, ERR_INVALID },
    { "EEXIST", 7, ERR_EXISTS },
    { "EAGAIN", 7, ERR_AGAIN },
    { "EIO", 4, ERR_IO },
    { "ENOENT", 6, ERR_NOT_FOUND },
    { "ENOENTX", 8, ERR_IO },
    { "", 0, ERR_IO },
    { "\0ENOENT", 8, ERR_IO },
    { "\xff\xfe\n", 3, ERR_IO },
    { "ENO", 3, ERR_IO },
};

START_TEST(translates_errors)
{
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    message(XS_ERROR, fake.last.req_id, 0, error_texts[_i].text,
            error_texts[_i].length);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, error_texts[_i].error);
    ck_assert_uint_eq(seen.length, 0);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(refuses_what_cannot_be_sent)
{
    static char longest[WIRE_PATH_MAX + 1], too_long[WIRE_PATH_MAX + 2];
    static char value[XENSTORE_PAYLOAD_MAX], token[WIRE_TOKEN_MAX + 2];
    const struct xsc_change bad = { "/a b", "v" };

    memset(longest, 'a', sizeof(longest) - 1);
    memset(too_long, 'a', sizeof(too_long) - 1);
    memset(token, 't', sizeof(token) - 1);
    fake.serve = serve_ok;
    read_key("");
    read_key("/a b");
    read_key("/a\n");
    read_key("/\xc3\xa4");
    read_key("/a:b");
    read_key(too_long);
    xsc_write(seen.xsc, 0, "/a", value, sizeof(value) - 2, on_reply, &seen);
    xsc_watch(seen.xsc, "/a", token, on_reply, &seen);
    xsc_directory(seen.xsc, 0, "/a ", on_reply, &seen);
    xsc_commit(seen.xsc, &bad, 1, on_reply, &seen);
    ck_assert_uint_eq(seen.replies, 0);
    for (unsigned i = 1; i <= 10; i++) {
        run_until(&seen.replies, 10);
        ck_assert_int_eq(seen.error, ERR_INVALID);
    }
    ck_assert_uint_eq(fake.served, 0);
    read_key(longest);
    run_until(&seen.replies, 11);
    ck_assert_int_eq(seen.error, ERR_NONE);
    xsc_write(seen.xsc, 0, "/a", value, sizeof(value) - 3, on_reply, &seen);
    run_until(&seen.replies, 12);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* The stream */

START_TEST(takes_single_bytes)
{
    struct xsd_sockmsg event = { .type = XS_WATCH_EVENT, .len = 5 };
    struct xsd_sockmsg reply;
    char stream[64];
    size_t length = 0;

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    reply = fake.last;
    reply.len = 3;
    memcpy(stream, &event, sizeof(event));
    memcpy(stream + 16, "/w\0t", 5);
    memcpy(stream + 21, &reply, sizeof(reply));
    memcpy(stream + 37, "abc", 3);
    memcpy(stream + 40, &event, sizeof(event));
    memcpy(stream + 56, "/v\0u", 5);
    for (length = 0; length < 61; length++) {
        ck_assert_uint_eq(seen.events, length >= 21);
        ck_assert_uint_eq(seen.replies, length >= 40);
        raw(stream + length, 1);
        run_for(500);
    }
    run_until(&seen.events, 2);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_mem_eq(seen.value, "abc", 3);
    ck_assert_str_eq(seen.event_path, "/v");
    ck_assert_str_eq(seen.event_token, "u");
}
END_TEST

static unsigned ordered;

static void
on_ordered(void *arg, enum err error, const char *value, size_t length)
{
    char expected[32];

    ck_assert_int_eq(error, ERR_NONE);
    snprintf(expected, sizeof(expected), "/key/%u", (unsigned)(uintptr_t)arg);
    ck_assert_str_eq(value, expected);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_uint_eq((unsigned)(uintptr_t)arg, ordered);
    ordered++;
}

START_TEST(pipelines_ten_thousand)
{
    char path[32];

    fake.serve = serve_path;
    ordered = 0;
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(path, sizeof(path), "/key/%u", i);
        xsc_read(seen.xsc, 0, path, on_ordered, (void *)(uintptr_t)i);
    }
    run_until(&ordered, 10000);
    ck_assert_uint_eq(fake.served, 10000);
}
END_TEST

static void
serve_with_events(struct fake *f, const struct xsd_sockmsg *header,
                  const char *body)
{
    message(XS_WATCH_EVENT, 0, 0, "/some/path\0token", 17);
    serve_path(f, header, body);
}

START_TEST(tells_events_from_replies)
{
    char path[32];

    fake.serve = serve_with_events;
    ordered = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "/key/%u", i);
        xsc_read(seen.xsc, 0, path, on_ordered, (void *)(uintptr_t)i);
    }
    run_until(&ordered, 100);
    ck_assert_uint_eq(seen.events, 100);
    ck_assert_str_eq(seen.event_path, "/some/path");
    ck_assert_str_eq(seen.event_token, "token");
}
END_TEST

START_TEST(limits_what_is_pending)
{
    fake.serve = serve_nothing;
    for (unsigned i = 0; i < LIMIT_XENSTORE_PENDING; i++)
        xsc_read(seen.xsc, 0, "/a", NULL, NULL);
    read_key("/a");
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_BUSY);
}
END_TEST

static unsigned chained;

static void
on_chain(void *arg, enum err error, const char *value, size_t length)
{
    (void)value;
    (void)length;
    ck_assert_int_eq(error, ERR_NONE);
    if (++chained < 1000)
        xsc_read(seen.xsc, 0, "/a", on_chain, arg);
}

START_TEST(callbacks_may_ask_more)
{
    fake.serve = serve_path;
    chained = 0;
    xsc_read(seen.xsc, 0, "/a", on_chain, NULL);
    run_until(&chained, 1000);
}
END_TEST

START_TEST(takes_replies_of_one_mib)
{
    char *big = calloc(1, LIMIT_XENSTORE_REPLY + 1);

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    answer(&fake.last, big, LIMIT_XENSTORE_REPLY);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, LIMIT_XENSTORE_REPLY);
    read_key("/a");
    run_until(&fake.served, 2);
    answer(&fake.last, big, LIMIT_XENSTORE_REPLY + 1);
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    free(big);
}
END_TEST

/* What makes no sense */

static const struct {
    uint32_t type;
    uint32_t id_offset; /* added to the request's */
    uint32_t length;
    const char *body;
    size_t body_length;
    const char *why; /* part of it; NULL: not lost */
} garbage[] = {
    { XS_READ, 1, 1, "x", 1, "another request" },
    { XS_READ, UINT32_MAX, 1, "x", 1, "another request" },
    { XS_WRITE, 0, 1, "x", 1, "another type" },
    { XS_ERROR, 7, 7, "ENOENT", 7, "another request" },
    { 4711, 0, 1, "x", 1, "another type" },
    { XS_INVALID, 0, 0, "", 0, "another type" },
    { UINT32_MAX, 0, 0, "", 0, "another type" },
    { XS_READ, 0, UINT32_MAX, "", 0, "1 MiB" },
    { XS_READ, 0, 1u << 31, "", 0, "1 MiB" },
    { XS_WATCH_EVENT, 0, 0, "", 0, "watch event" },
    { XS_WATCH_EVENT, 0, 4, "path", 4, "watch event" },
    { XS_WATCH_EVENT, 0, 5, "path", 5, "watch event" },
    { XS_WATCH_EVENT, 0, 7, "path\0to", 7, "watch event" },
    { XS_WATCH_EVENT, 0, 8, "path\0to", 8, NULL },
    { XS_WATCH_EVENT, 0, 2, "\0", 2, NULL },
    { XS_WATCH_EVENT, 0, 9, "p\0t\0extra", 9, NULL },
};

START_TEST(drops_garbage)
{
    struct xsd_sockmsg header;

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    header = (struct xsd_sockmsg){
        .type = garbage[_i].type,
        .req_id = fake.last.req_id + garbage[_i].id_offset,
        .len = garbage[_i].length,
    };
    raw(&header, sizeof(header));
    raw(garbage[_i].body, garbage[_i].body_length);
    if (!garbage[_i].why) {
        run_until(&seen.events, 1);
        ck_assert_uint_eq(seen.replies, 0);
        return;
    }
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_msg(strstr(seen.why, garbage[_i].why), "%s", seen.why);
    /* and it comes back */
    run_until(&seen.ups, 2);
    fake.serve = serve_ok;
    read_key("/a");
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

START_TEST(drops_what_nobody_asked)
{
    message(XS_READ, 12345, 0, "x", 1);
    run_until(&seen.losts, 1);
    ck_assert_ptr_nonnull(strstr(seen.why, "nobody"));
    run_until(&seen.ups, 2);
}
END_TEST

START_TEST(survives_random_bytes)
{
    unsigned state = (unsigned)_i * 2654435761u + 1;
    char bytes[300];

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        state = state * 1103515245u + 12345u;
        bytes[i] = (char)(state >> 16);
        /* Small numbers get further. */
        if (_i % 2 && i % 4)
            bytes[i] = 0;
    }
    raw(bytes, sizeof(bytes));
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    run_until(&seen.ups, 2);
}
END_TEST

/* Losing the connection */

START_TEST(sees_the_end_at_every_byte)
{
    struct xsd_sockmsg header;
    char stream[20];

    fake.serve = serve_nothing;
    read_key("/a");
    read_key("/b");
    run_until(&fake.served, 2);
    header = fake.last;
    header.req_id--;
    header.len = 4;
    memcpy(stream, &header, sizeof(header));
    memcpy(stream + 16, "abcd", 4);
    ck_assert_int_eq(
        write(bufferevent_getfd(fake.connection), stream, (size_t)_i), _i);
    hang_up();
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_str_eq(seen.why, "xenstored closed the connection");
    ck_assert_uint_eq(seen.length, 0);
    ck_assert_mem_eq(seen.value, "abcd", _i == 20 ? 4 : 0);
    run_until(&seen.ups, 2);
    fake.serve = serve_ok;
    read_key("/a");
    run_until(&seen.replies, 3);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* What wasn't sent must not open the next connection. */
START_TEST(forgets_what_was_not_sent)
{
    static char value[4000];

    bufferevent_disable(fake.connection, EV_READ);
    for (int i = 0; i < 1000; i++)
        xsc_write(seen.xsc, 0, "/a", value, sizeof(value), on_reply, &seen);
    run_for(5 * US_PER_MS);
    hang_up();
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1000);
    run_until(&seen.ups, 2);
    fake.serve = serve_ok;
    read_key("/a");
    run_until(&seen.replies, 1001);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.served, 1);
}
END_TEST

START_TEST(is_not_ready_without_a_connection)
{
    const struct xsc_change changes[] = { { "/a", "1" }, { "/b", NULL } };

    stop_listening();
    hang_up();
    run_until(&seen.losts, 1);
    read_key("/a");
    xsc_directory(seen.xsc, 0, "/a", on_reply, &seen);
    xsc_commit(seen.xsc, changes, 2, on_reply, &seen);
    ck_assert_uint_eq(seen.replies, 0);
    run_until(&seen.replies, 3);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_uint_eq(seen.losts, 1);
}
END_TEST

START_TEST(comes_back_when_xenstored_does)
{
    int64_t start;

    stop_listening();
    hang_up();
    run_until(&seen.losts, 1);
    run_for(300 * US_PER_MS);
    ck_assert(!xsc_is_up(seen.xsc));
    listen_now();
    accept_now();
    start = now_us();
    run_until(&seen.ups, 2);
    ck_assert_int_lt(now_us() - start, 5 * US_PER_S);
    ck_assert_uint_eq(seen.losts, 1);
}
END_TEST

START_TEST(waits_for_xenstored_to_start)
{
    start_client(US_PER_S);
    run_for(20 * US_PER_MS);
    listen_now();
    run_for(20 * US_PER_MS);
    ck_assert_uint_eq(seen.ups, 0);
    accept_now();
    run_until(&seen.ups, 1);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

/* Not accepted, a connection fills the backlog: connect says EAGAIN. */
START_TEST(retries_a_full_backlog)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fds[4];

    listen_now();
    strcpy(address.sun_path, fake.path);
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fds[i], (struct sockaddr *)&address, sizeof(address)))
            ck_assert_int_eq(errno, EAGAIN);
    }
    ck_assert_int_eq(errno, EAGAIN);
    start_client(US_PER_S);
    run_for(50 * US_PER_MS);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    accept_now();
    run_until(&seen.ups, 1);
}
END_TEST

START_TEST(isnt_up_before_an_answer)
{
    fake.mute_probe = true;
    listen_now();
    accept_now();
    start_client(20 * US_PER_MS);
    run_until(&fake.accepted, 3);
    ck_assert_uint_eq(seen.ups, 0);
    ck_assert_uint_eq(seen.losts, 0);
    read_key("/a");
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    fake.mute_probe = false;
    run_until(&seen.ups, 1);
}
END_TEST

START_TEST(keeps_the_deadline)
{
    int64_t start;

    listen_now();
    accept_now();
    start_client(100 * US_PER_MS);
    run_until(&seen.ups, 1);
    run_for(150 * US_PER_MS); /* idle is no fault */
    ck_assert_uint_eq(seen.losts, 0);
    start = now_us();
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&seen.losts, 1);
    ck_assert_int_ge(now_us() - start, 100 * US_PER_MS);
    ck_assert_int_lt(now_us() - start, 5 * US_PER_S);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_str_eq(seen.why, "xenstored hasn't answered for 0.1 s");
    run_until(&seen.ups, 2);
}
END_TEST

/* A long queue is no reason to give up while it moves. */
START_TEST(slow_answers_keep_the_connection)
{
    uint32_t first;

    listen_now();
    accept_now();
    start_client(US_PER_S);
    run_until(&seen.ups, 1);
    fake.serve = serve_nothing;
    for (int i = 0; i < 5; i++)
        read_key("/a");
    run_until(&fake.served, 5);
    first = fake.last.req_id - 4;
    for (uint32_t i = 0; i < 4; i++) {
        run_for(400 * US_PER_MS);
        message(XS_READ, first + i, 0, "x", 1);
    }
    run_until(&seen.replies, 4);
    ck_assert_uint_eq(seen.losts, 0);
    run_until(&seen.losts, 1);
}
END_TEST

/* Watch events don't prove that requests are answered. */
START_TEST(events_do_not_move_the_deadline)
{
    listen_now();
    accept_now();
    start_client(100 * US_PER_MS);
    run_until(&seen.ups, 1);
    fake.serve = serve_nothing;
    read_key("/a");
    for (int i = 0; i < 4 && !seen.losts; i++) {
        run_for(40 * US_PER_MS);
        if (fake.connection && fake.probed)
            message(XS_WATCH_EVENT, 0, 0, "p\0t", 4);
    }
    run_until(&seen.losts, 1);
}
END_TEST

#define TABLE(test, table)                                                     \
    tcase_add_loop_test(t, test, 0, (int)(sizeof(table) / sizeof(table[0])))

static Suite *
suite(void)
{
    Suite *s = suite_create("xsc");
    TCase *t = tcase_create("connected");
    TCase *n = tcase_create("not connected");

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, reads_any_bytes);
    tcase_add_test(t, sends_each_kind);
    tcase_add_test(t, takes_no_reply_function);
    TABLE(translates_errors, error_texts);
    tcase_add_test(t, refuses_what_cannot_be_sent);
    tcase_add_test(t, takes_single_bytes);
    tcase_add_test(t, pipelines_ten_thousand);
    tcase_add_test(t, tells_events_from_replies);
    tcase_add_test(t, limits_what_is_pending);
    tcase_add_test(t, callbacks_may_ask_more);
    tcase_add_test(t, takes_replies_of_one_mib);
    TABLE(drops_garbage, garbage);
    tcase_add_test(t, drops_what_nobody_asked);
    tcase_add_loop_test(t, survives_random_bytes, 0, 40);
    tcase_add_loop_test(t, sees_the_end_at_every_byte, 0, 20);
    tcase_add_test(t, forgets_what_was_not_sent);
    tcase_add_test(t, is_not_ready_without_a_connection);
    tcase_add_test(t, comes_back_when_xenstored_does);

    suite_add_tcase(s, n);
    tcase_add_checked_fixture(n, setup_nothing, teardown);
    tcase_set_timeout(n, 60);
    tcase_add_test(n, waits_for_xenstored_to_start);
    tcase_add_test(n, retries_a_full_backlog);
    tcase_add_test(n, isnt_up_before_an_answer);
    tcase_add_test(n, keeps_the_deadline);
    tcase_add_test(n, slow_answers_keep_the_connection);
    tcase_add_test(n, events_do_not_move_the_deadline);
    return s;
}

int
main(void)
{
    return run_suite(suite(), CK_FORK_GETENV);
}
