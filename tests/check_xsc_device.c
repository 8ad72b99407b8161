/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The xenstore client over the kernel's device, which is played here by the
 * rules of Linux's driver: see xenstore-client/transport.h. */
#include "tests/fake_xenstored.h"
#include "tests/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Deadlines: of what is answered, even on a busy machine; and of what is not,
 * but what comes before it is. */
#define PATIENCE_US (10 * US_PER_S)
#define SILENCE_US  (2 * US_PER_S)

/* A character device that is there wherever tests run. */
#define DEVICE "/dev/null"

/* The driver */
static struct {
    bool absent;      /* open fails: there is no xenstore (yet) */
    int refuse;       /* the next write fails with it */
    unsigned opened;  /* how often */
    unsigned refused; /* messages */
    unsigned written; /* messages that went on to xenstored */
} driver;

/* NOLINTBEGIN(bugprone-reserved-identifier, cert-dcl37-c, cert-dcl51-cpp):
 * ld's --wrap gives these names. */
int
__wrap_open(const char *path, int flags, ...);
ssize_t
__real_write(int fd, const void *bytes, size_t length);
ssize_t
__wrap_write(int fd, const void *bytes, size_t length);

int
__wrap_open(const char *path, int flags, ...)
{
    int ends[2];

    ck_assert_str_eq(path, DEVICE);
    ck_assert_int_eq(flags, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (driver.absent) {
        errno = ENOENT;
        return -1;
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends),
                     0);
    driver.opened++;
    driver.written = fake.answered = 0;
    connect_fake(ends[1]);
    return ends[0];
}

static int
refusal(const struct xsd_sockmsg *header, size_t length)
{
    if (driver.refuse)
        return driver.refuse;
    if (length > XENSTORE_PAYLOAD_MAX)
        return EINVAL;
    return sizeof(*header) + header->len > XENSTORE_PAYLOAD_MAX ? E2BIG : 0;
}

ssize_t
__wrap_write(int fd, const void *bytes, size_t length)
{
    struct xsd_sockmsg header;
    int error;

    ck_assert_uint_ge(length, sizeof(header));
    memcpy(&header, bytes, sizeof(header));
    ck_assert_msg(length == sizeof(header) + header.len,
                  "%zu bytes are not one message", length);
    /* It would lock up if that were a watch. */
    ck_assert_msg(driver.written == fake.answered,
                  "a request before the last was answered");
    error = refusal(&header, length);
    driver.refuse = 0;
    if (error) {
        driver.refused++;
        errno = error;
        return -1;
    }
    driver.written++;
    return __real_write(fd, bytes, length);
}
/* NOLINTEND(bugprone-reserved-identifier, cert-dcl37-c, cert-dcl51-cpp) */

static void
setup_absent(void)
{
    setup_nothing();
    strcpy(fake.path, DEVICE);
    memset(&driver, 0, sizeof(driver));
    driver.absent = true;
    start_client(PATIENCE_US);
}

static void
teardown_device(void)
{
    fake.path[0] = '\0'; /* nothing to remove */
    teardown();
}

static void
setup_device(void)
{
    setup_absent();
    driver.absent = false;
    run_until(&seen.ups, 1);
}

/* Requests */

START_TEST(one_request_at_a_time)
{
    fake.serve = serve_path;
    for (unsigned i = 0; i < 100; i++) {
        xsc_watch(seen.xsc, "/w", "token", on_reply, &seen);
        read_key("/a");
        xsc_unwatch(seen.xsc, "/w", "token", on_reply, &seen);
    }
    run_until(&seen.replies, 300);
    ck_assert_uint_eq(fake.served, 300);
    ck_assert_uint_eq(driver.opened, 1);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

/* The driver's answer to a watch that is not set, and to what it has no memory
 * for. */
static const struct {
    int number;
    enum err error;
} refusals[] = {
    { EINVAL, ERR_INVALID },
    { EEXIST, ERR_EXISTS },
    { EACCES, ERR_PERMISSION },
    { ENOENT, ERR_NOT_FOUND },
    { EIO, ERR_IO },
};

START_TEST(a_refused_write_is_the_answer)
{
    fake.serve = serve_ok;
    driver.refuse = refusals[_i].number;
    xsc_watch(seen.xsc, "/w", "token", on_reply, &seen);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, refusals[_i].error);
    ck_assert_uint_eq(fake.served, 0);
    read_key("/a");
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(what_waits_goes_on_after_a_refusal)
{
    fake.serve = serve_ok;
    driver.refuse = ENOMEM;
    for (unsigned i = 0; i < 10; i++)
        read_key("/a");
    run_until(&seen.replies, 10);
    ck_assert_uint_eq(fake.served, 9);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

START_TEST(freed_by_the_answer_to_a_refused_write)
{
    seen.free_in_reply = true;
    driver.refuse = EINVAL;
    read_key("/a");
    read_key("/b");
    run_until(&seen.replies, 1);
    run_for(5000);
    ck_assert_ptr_null(seen.xsc);
}
END_TEST

/* Its messages are 16 bytes shorter than those of the socket. */
START_TEST(longest_value)
{
    static char value[XENSTORE_PAYLOAD_MAX];
    const size_t most = XENSTORE_PAYLOAD_MAX - sizeof(struct xsd_sockmsg) - 3;

    fake.serve = serve_ok;
    xsc_write(seen.xsc, 0, "/w", value, most + 1, on_reply, &seen);
    run_until(&seen.replies, 1);
    ck_assert_int_ne(seen.error, ERR_NONE);
    xsc_write(seen.xsc, 0, "/w", value, most, on_reply, &seen);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(driver.refused, 1);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

static void
serve_commit(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    (void)f;
    if (header->type == XS_TRANSACTION_START)
        answer(header, "7", 2);
    else if (header->type == XS_TRANSACTION_END && fake.conflicts) {
        fake.conflicts--;
        refuse(header, "EAGAIN");
    } else {
        note("", body);
        answer(header, "OK", 3);
    }
}

START_TEST(commits)
{
    const struct xsc_change changes[] = { { "/a", "1" }, { "/b", NULL } };

    fake.serve = serve_commit;
    fake.conflicts = 1;
    xsc_commit(seen.xsc, changes, 2, on_reply, &seen);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "/a /b /a /b T ");
}
END_TEST

/* The header of an event holds whatever the driver's stack did. */
START_TEST(events_between_replies)
{
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    message(XS_WATCH_EVENT, 0xdeadbeef, 0x5a5a, "/w\0t", 5);
    answer(&fake.last, "x", 1);
    message(XS_WATCH_EVENT, fake.last.req_id, 0, "/v\0u", 5);
    run_until(&seen.events, 2);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_str_eq(seen.event_path, "/v");
}
END_TEST

/* Connections */

/* Nothing else tells that xenstored has died. */
START_TEST(silence_is_the_end)
{
    free_client();
    memset(&seen, 0, sizeof(seen));
    driver.opened = 0;
    start_client(SILENCE_US);
    run_until(&seen.ups, 1);
    fake.serve = serve_nothing;
    read_key("/a");
    read_key("/b");
    ck_assert_uint_eq(seen.losts, 0);
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_str_eq(seen.why, "xenstored hasn't answered for 2 s");
    run_until(&seen.ups, 2);
    ck_assert_uint_eq(driver.opened, 2);
}
END_TEST

START_TEST(opened_again_until_it_is_there)
{
    run_for(20000);
    ck_assert_uint_eq(seen.ups, 0);
    driver.absent = false;
    run_until(&seen.ups, 1);
    ck_assert_str_eq(xsc_way(seen.xsc), DEVICE);
}
END_TEST

START_TEST(opened_again_where_nothing_can_be_asked)
{
    driver.absent = false;
    driver.refuse = EIO;
    run_until(&seen.ups, 1);
    ck_assert_uint_eq(driver.opened, 2);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

/* Beside a socket */

static void
setup_fallback(void)
{
    setup_nothing();
    memset(&driver, 0, sizeof(driver));
    fake.fallback = DEVICE;
}

START_TEST(used_where_there_is_no_socket)
{
    start_client(PATIENCE_US);
    run_until(&seen.ups, 1);
    ck_assert_uint_eq(driver.opened, 1);
    ck_assert_str_eq(xsc_way(seen.xsc), DEVICE);
}
END_TEST

START_TEST(not_used_where_there_is_a_socket)
{
    listen_now();
    accept_now();
    start_client(PATIENCE_US);
    run_until(&seen.ups, 1);
    ck_assert_uint_eq(driver.opened, 0);
    ck_assert_str_eq(xsc_way(seen.xsc), fake.path);
}
END_TEST

/* xenstored was there, and will be again. */
START_TEST(not_used_where_a_dead_socket_lies)
{
    listen_now();
    close(fake.listener);
    fake.listener = -1;
    start_client(PATIENCE_US);
    run_for(30000);
    ck_assert_uint_eq(driver.opened, 0);
    ck_assert_uint_eq(seen.ups, 0);
}
END_TEST

/* The kernel asked xenstored as soon as that had started. */
START_TEST(left_for_a_socket_that_came_meanwhile)
{
    fake.mute_probe = true;
    start_client(PATIENCE_US);
    run_until(&driver.written, 1);
    run_for(2000);
    listen_now();
    accept_now();
    fake.mute_probe = false;
    message(XS_READ, 1, 0, "", 0);
    run_until(&seen.ups, 1);
    ck_assert_str_eq(xsc_way(seen.xsc), fake.path);
    ck_assert_uint_eq(seen.losts, 0);
    ck_assert_uint_eq(driver.opened, 1);
}
END_TEST

static Suite *
device_suite(void)
{
    Suite *suite = suite_create("xsc over the device");
    TCase *requests = tcase_create("requests");
    TCase *connections = tcase_create("connections");
    TCase *fallback = tcase_create("fallback");

    tcase_add_checked_fixture(requests, setup_device, teardown_device);
    tcase_add_test(requests, one_request_at_a_time);
    tcase_add_loop_test(requests, a_refused_write_is_the_answer, 0,
                        (int)(sizeof(refusals) / sizeof(refusals[0])));
    tcase_add_test(requests, what_waits_goes_on_after_a_refusal);
    tcase_add_test(requests, freed_by_the_answer_to_a_refused_write);
    tcase_add_test(requests, longest_value);
    tcase_add_test(requests, commits);
    tcase_add_test(requests, events_between_replies);
    tcase_add_test(requests, silence_is_the_end);
    tcase_set_timeout(requests, 60);
    suite_add_tcase(suite, requests);

    tcase_add_checked_fixture(connections, setup_absent, teardown_device);
    tcase_add_test(connections, opened_again_until_it_is_there);
    tcase_add_test(connections, opened_again_where_nothing_can_be_asked);
    tcase_set_timeout(connections, 60);
    suite_add_tcase(suite, connections);

    tcase_add_checked_fixture(fallback, setup_fallback, teardown);
    tcase_add_test(fallback, used_where_there_is_no_socket);
    tcase_add_test(fallback, not_used_where_there_is_a_socket);
    tcase_add_test(fallback, not_used_where_a_dead_socket_lies);
    tcase_add_test(fallback, left_for_a_socket_that_came_meanwhile);
    tcase_set_timeout(fallback, 60);
    suite_add_tcase(suite, fallback);
    return suite;
}

int
main(void)
{
    return run_suite(device_suite(), CK_FORK_GETENV);
}
