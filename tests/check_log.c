/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"
#include "tests/suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[32], path[64];
static char got[8192];
static int stderr_before;

static void
setup(void)
{
    stderr_before = dup(STDERR_FILENO);
    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/check_log.XXXXXX")));
    snprintf(path, sizeof path, "%s/log", folder);
}

static void
teardown(void)
{
    unsetenv("JOURNAL_STREAM");
    log_open("stderr");
    log_set_level(LEVEL_INFO);
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    unlink(path);
    rmdir(folder);
}

static const char *
contents(void)
{
    FILE *file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    got[fread(got, 1, sizeof got - 1, file)] = '\0';
    fclose(file);
    return got;
}

static void
redirect_stderr(void)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    close(fd);
}

START_TEST(stderr_is_the_first_sink)
{
    redirect_stderr();
    log_info("started with %d", 7);
    log_warning("odd");
    log_error("bad");
    log_debug("not shown");
    ck_assert_str_eq(contents(), "check_log: started with 7\n"
                                 "check_log: warning: odd\n"
                                 "check_log: error: bad\n");
}
END_TEST

START_TEST(the_level_filters)
{
    redirect_stderr();
    log_set_level(LEVEL_ERROR);
    log_warning("not shown");
    log_error("shown");
    log_set_level(LEVEL_DEBUG);
    log_debug("shown too");
    ck_assert_str_eq(contents(), "check_log: error: shown\n"
                                 "check_log: debug: shown too\n");
}
END_TEST

START_TEST(levels_have_names)
{
    enum log_level level = LEVEL_DEBUG;

    ck_assert(!log_parse_level("", &level) && !log_parse_level("INFO", &level));
    ck_assert(!log_parse_level("information", &level));
    ck_assert_int_eq(level, LEVEL_DEBUG);
    ck_assert(log_parse_level("error", &level) && level == LEVEL_ERROR);
    ck_assert(log_parse_level("warning", &level) && level == LEVEL_WARNING);
    ck_assert(log_parse_level("info", &level) && level == LEVEL_INFO);
    ck_assert(log_parse_level("debug", &level) && level == LEVEL_DEBUG);
}
END_TEST

START_TEST(lines_cannot_be_forged)
{
    redirect_stderr();
    log_info("%s", "a\nsqueezed: forged\r\x1b[2J\x7f\t\xc2\x9b"
                   "2J \xc3\xa4");
    ck_assert_str_eq(contents(), "check_log: a?squeezed: forged??[2J????"
                                 "2J \xc3\xa4\n");
}
END_TEST

START_TEST(long_lines_are_cut_visibly)
{
    char text[5000];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    redirect_stderr();
    log_info("%s", text);
    log_info("next");
    contents();
    ck_assert_uint_lt(strlen(got), 2200);
    ck_assert_ptr_nonnull(strstr(got, "xxx...\ncheck_log: next\n"));
}
END_TEST

START_TEST(a_file_takes_dated_lines)
{
    int year, pid;
    char level[16], rest[32];

    ck_assert(log_open(path));
    log_warning("odd");
    ck_assert_int_eq(sscanf(contents(),
                            "%d-%*d-%*dT%*d:%*d:%*d.%*d check_log[%d] %15[^:]"
                            ": %31[^\n]",
                            &year, &pid, level, rest),
                     4);
    ck_assert_int_eq(pid, getpid());
    ck_assert_str_eq(level, "warning");
    ck_assert_str_eq(rest, "odd");
}
END_TEST

/* As a log rotation needs it: opening again makes a new file. */
START_TEST(a_file_is_opened_anew)
{
    char old[80];

    snprintf(old, sizeof old, "%s.1", path);
    ck_assert(log_open(path));
    log_info("first");
    ck_assert_int_eq(rename(path, old), 0);
    ck_assert(log_open(path));
    log_info("second");
    unlink(old);
    ck_assert_ptr_null(strstr(contents(), "first"));
    ck_assert_ptr_nonnull(strstr(got, "second"));
    ck_assert(log_open(path));
    log_info("third");
    ck_assert_ptr_nonnull(strstr(contents(), "second"));
    ck_assert_ptr_nonnull(strstr(got, "third"));
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_changes_nothing)
{
    ck_assert(log_open(path));
    errno = 0;
    ck_assert(!log_open("/nonexistent/log"));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert(!log_open(""));
    ck_assert(!log_open(folder));
    log_info("still here");
    ck_assert_ptr_nonnull(strstr(contents(), "still here"));
    ck_assert(log_open("stderr"));
}
END_TEST

START_TEST(a_full_disk_costs_lines_only)
{
    ck_assert(log_open("/dev/full"));
    for (int i = 0; i < 1000; i++)
        log_warning("nobody will read this");
    ck_assert(log_open(path));
    log_info("there is room again");
    ck_assert_ptr_nonnull(strstr(contents(), "there is room again"));
}
END_TEST

START_TEST(errno_survives)
{
    redirect_stderr();
    errno = EXDEV;
    log_info("line");
    ck_assert_int_eq(errno, EXDEV);
    close(STDERR_FILENO);
    errno = EXDEV;
    log_info("into nothing");
    ck_assert_int_eq(errno, EXDEV);
}
END_TEST

START_TEST(auto_is_stderr_without_a_journal)
{
    redirect_stderr();
    ck_assert_int_eq(setenv("JOURNAL_STREAM", "1:2", 1), 0);
    ck_assert(log_open("auto"));
    log_info("here");
    ck_assert_str_eq(contents(), "check_log: here\n");
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, stderr_is_the_first_sink);
    tcase_add_test(tcase, the_level_filters);
    tcase_add_test(tcase, levels_have_names);
    tcase_add_test(tcase, lines_cannot_be_forged);
    tcase_add_test(tcase, long_lines_are_cut_visibly);
    tcase_add_test(tcase, a_file_takes_dated_lines);
    tcase_add_test(tcase, a_file_is_opened_anew);
    tcase_add_test(tcase, a_file_that_cannot_be_opened_changes_nothing);
    tcase_add_test(tcase, a_full_disk_costs_lines_only);
    tcase_add_test(tcase, errno_survives);
    tcase_add_test(tcase, auto_is_stderr_without_a_journal);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
