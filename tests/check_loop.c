/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/loop.h"

#include "common/units.h"
#include "tests/suite.h"

#include <check.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Work that runs a few times, and notes when. */
struct toy {
    struct loop *loop;
    char name;
    int64_t next_us;
    int64_t period_us;
    unsigned left; /* 0 after a run: stops the loop */
};

static char order[64];
static int64_t last_us;

static void
setup(void)
{
    memset(order, 0, sizeof order);
}

static int64_t
toy_next(void *context)
{
    const struct toy *toy = context;

    return toy->next_us;
}

static void
toy_run(void *context, int64_t now_us)
{
    struct toy *toy = context;
    size_t length = strlen(order);

    ck_assert_int_ge(now_us, toy->next_us);
    ck_assert_uint_lt(length, sizeof order - 1);
    order[length] = toy->name;
    last_us = now_us;
    toy->next_us =
        toy->period_us == 0 ? TIME_NEVER_US : now_us + toy->period_us;
    if (--toy->left == 0)
        loop_stop(toy->loop);
}

static void
add(struct toy *toy)
{
    const struct loop_work work = { toy, toy_next, toy_run };

    loop_add_work(toy->loop, &work);
}

START_TEST(work_runs_at_its_time_in_order)
{
    struct loop *loop = loop_new();
    int64_t start = loop_now_us();
    struct toy a = { loop, 'a', start + 20000, 0, 9 };
    struct toy b = { loop, 'b', start + 20000, 10000, 3 };

    ck_assert_ptr_nonnull(loop);
    add(&a);
    add(&b);
    ck_assert(loop_run(loop));
    ck_assert_str_eq(order, "abbb");
    ck_assert_int_ge(last_us, start + 40000);
    ck_assert_int_lt(last_us, start + US_PER_S);
    loop_free(loop);
}
END_TEST

static struct toy sleeper;

static void
on_usr1(void *context)
{
    struct loop *loop = context;

    strcat(order, "!");
    sleeper.next_us = loop_now_us();
    loop_wake(loop);
}

START_TEST(a_signal_can_wake_it)
{
    struct loop *loop = loop_new();

    sleeper = (struct toy){ loop, 's', TIME_NEVER_US, 0, 1 };
    add(&sleeper);
    ck_assert(loop_add_signal(loop, SIGUSR1, on_usr1, loop));
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert(loop_run(loop));
    ck_assert_str_eq(order, "!s");
    loop_free(loop);
}
END_TEST

START_TEST(nothing_runs_after_a_stop)
{
    struct loop *loop = loop_new();
    int64_t now = loop_now_us();
    struct toy last = { loop, 'l', now, 0, 1 };
    struct toy never = { loop, 'n', now, 0, 1 };

    add(&last);
    add(&never);
    ck_assert(loop_run(loop));
    ck_assert_str_eq(order, "l");
    loop_free(loop);
}
END_TEST

START_TEST(wake_can_also_put_it_off)
{
    struct loop *loop = loop_new();
    int64_t start = loop_now_us();
    struct toy toy = { loop, 't', start, 0, 1 };

    add(&toy);
    loop_wake(loop);
    toy.next_us = start + 30000;
    loop_wake(loop);
    ck_assert(loop_run(loop));
    ck_assert_int_ge(last_us, start + 30000);
    loop_free(loop);
    loop_free(NULL);
}
END_TEST

#ifdef HAVE_LIBSYSTEMD
/* What systemd would hear. */
START_TEST(systemd_is_told)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    char heard[4096] = "", pid[32], text[64];
    struct loop *loop = loop_new();
    /* However slow the machine is: some of them lie between its runs. */
    struct toy toy = { loop, 't', loop_now_us() + 30000, 30000, 6 };
    ssize_t length;

    /* An abstract socket: there is no file to be left behind. */
    snprintf(text, sizeof text, "@check_loop.%d", (int)getpid());
    memcpy(address.sun_path + 1, text + 1, strlen(text + 1));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                      strlen(text))),
                     0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", text, 1), 0);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    ck_assert_int_eq(setenv("WATCHDOG_PID", pid, 1), 0);
    ck_assert_int_eq(setenv("WATCHDOG_USEC", "40000", 1), 0);
    add(&toy);
    ck_assert(loop_run(loop));
    loop_free(loop);
    while ((length = recv(fd, text, sizeof text - 2, MSG_DONTWAIT)) > 0 &&
           strlen(heard) < sizeof heard - sizeof text) {
        memcpy(text + length, " ", 2);
        strcat(heard, text);
    }
    close(fd);
    ck_assert_msg(strncmp(heard, "READY=1 WATCHDOG=1 WATCHDOG=1 ", 30) == 0,
                  "%s", heard);
    ck_assert_ptr_nonnull(strstr(heard, " STOPPING=1 "));
}
END_TEST
#endif

int
main(void)
{
    Suite *suite = suite_create("loop");
    TCase *tcase = tcase_create("loop");

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, work_runs_at_its_time_in_order);
    tcase_add_test(tcase, a_signal_can_wake_it);
    tcase_add_test(tcase, nothing_runs_after_a_stop);
    tcase_add_test(tcase, wake_can_also_put_it_off);
#ifdef HAVE_LIBSYSTEMD
    tcase_add_test(tcase, systemd_is_told);
#endif
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
