/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/pidfile.h"
#include "tests/suite.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[40], path[64];
static char message[256];

static void
setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/check_pidfile.XXXXXX")));
    snprintf(path, sizeof path, "%s/pid", folder);
}

static void
teardown(void)
{
    unlink(path);
    rmdir(folder);
}

static int
make(void)
{
    message[0] = '\0';
    return pidfile_make(path, message, sizeof message);
}

static const char *
contents(void)
{
    static char text[64];
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return NULL;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static const char *
own_pid(void)
{
    static char text[32];

    snprintf(text, sizeof text, "%d\n", (int)getpid());
    return text;
}

START_TEST(it_holds_the_process_id)
{
    int fd = make();

    ck_assert_msg(fd >= 0, "%s", message);
    ck_assert_str_eq(contents(), own_pid());
    pidfile_remove(path, fd);
    ck_assert_ptr_null(contents());
}
END_TEST

START_TEST(a_living_holder_is_named)
{
    int fd = make();
    char expected[32];

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(make(), -1);
    snprintf(expected, sizeof expected, "process %d;", (int)getpid());
    ck_assert_msg(strstr(message, expected) != NULL, "%s", message);
    ck_assert_str_eq(contents(), own_pid());
    pidfile_remove(path, fd);
    fd = make();
    ck_assert_int_ge(fd, 0);
    pidfile_remove(path, fd);
}
END_TEST

START_TEST(a_dead_one_is_no_obstacle)
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(make() < 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_ptr_nonnull(contents()); /* left behind */
    int fd = make();
    ck_assert_msg(fd >= 0, "%s", message);
    ck_assert_str_eq(contents(), own_pid());
    pidfile_remove(path, fd);
}
END_TEST

START_TEST(longer_leavings_are_cut_off)
{
    FILE *file = fopen(path, "w");

    fputs("123456789123456789\nand more\n", file);
    fclose(file);
    int fd = make();
    ck_assert_int_ge(fd, 0);
    ck_assert_str_eq(contents(), own_pid());
    pidfile_remove(path, fd);
}
END_TEST

START_TEST(the_file_of_another_is_not_removed)
{
    int fd = make();

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    int other = make();
    ck_assert_int_ge(other, 0);
    pidfile_remove(path, fd);
    ck_assert_ptr_nonnull(contents());
    pidfile_remove(path, other);
}
END_TEST

/* As on a full disk: it can be made, and not be written. */
START_TEST(a_full_disk_is_said)
{
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };
    const struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
    int fd;

    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    fd = make();
    setrlimit(RLIMIT_FSIZE, &any);
    ck_assert_int_eq(fd, -1);
    ck_assert_ptr_nonnull(strstr(message, "can't write the pidfile"));
    ck_assert_ptr_nonnull(strstr(message, "File too large"));
    /* What is left of it is no obstacle once there is room. */
    fd = make();
    ck_assert_int_ge(fd, 0);
    pidfile_remove(path, fd);
}
END_TEST

START_TEST(what_cannot_be_written_is_said)
{
    ck_assert_int_eq(pidfile_make("/nonexistent/pid", message, sizeof message),
                     -1);
    ck_assert_str_eq(message, "can't write the pidfile /nonexistent/pid: "
                              "No such file or directory");
    ck_assert_int_eq(symlink("/tmp/elsewhere", path), 0);
    ck_assert_int_eq(make(), -1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("pidfile");
    TCase *tcase = tcase_create("pidfile");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, it_holds_the_process_id);
    tcase_add_test(tcase, a_living_holder_is_named);
    tcase_add_test(tcase, a_dead_one_is_no_obstacle);
    tcase_add_test(tcase, longer_leavings_are_cut_off);
    tcase_add_test(tcase, the_file_of_another_is_not_removed);
    tcase_add_test(tcase, a_full_disk_is_said);
    tcase_add_test(tcase, what_cannot_be_written_is_said);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
