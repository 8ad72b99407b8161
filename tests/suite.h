/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a test program ends. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Runs all of suite, which goes with it, each test in a process of its own or
 * not as fork says; returns what main does. */
static inline int
run_suite(Suite *suite, enum fork_status fork)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_set_fork_status(runner, fork);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* How a child ends that was forked in the middle of something.  By another
 * program: valgrind would call what the parent has at hand leaks of the
 * child's. status: 0 to 125. */
static inline void __attribute__((noreturn)) end_child(int status)
{
    char command[32];

    snprintf(command, sizeof command, "exit %d", status);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(126);
}

#endif
