/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The xenstore client against a real xenstored, with libxenstore as a second
 * opinion.  Run by check-xenstored.sh, as
 *
 *   check_xsc_real START KIND
 *
 * START: the path of start-xenstored.sh.  KIND: c or ocaml.  In the variable
 * FAKEXEN_SO: the path of fakexen.so. */
#include "common/units.h"
#include "tests/suite.h"
#include "xenstore-client/xsc.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

enum { MANY = 2000, PIPELINED = 10000 };

/* Of a request; a busy machine answers within that. */
#define DEADLINE_US (2 * US_PER_S)
/* What takes no time but that of a busy machine. */
#define PATIENCE_US (8 * US_PER_S)

static const char *start_script, *kind;
static char directory[64], socket_path[96];

static struct event_base *base;
static struct xsc *xsc;
static struct xs_handle *xs; /* the second opinion */

static unsigned ups, losts, events, replies;
static char why[160], event_path[64], event_token[64];
static enum err last_error;
static size_t last_length;
static char *last_value;

/* The daemon.  It is started before the tests fork, and its pid is kept in a
 * file, so that it is ended whatever becomes of a test. */

static void
run_start_script(void)
{
    char command[512];
    const char *preload = getenv("FAKEXEN_SO");

    snprintf(command, sizeof(command), "%s %s %s %s >%s/pid", start_script,
             directory, kind, preload ? preload : "tests/fakexen/fakexen.so",
             directory);
    ck_assert_int_eq(system(command), 0);
}

/* 0 if there is none. */
static pid_t
daemon_pid(void)
{
    char path[96];
    int pid = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/pid", directory);
    file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    fclose(file);
    return pid;
}

static void
signal_daemon(int signal)
{
    pid_t pid = daemon_pid();

    if (pid > 0)
        kill(pid, signal);
}

static void
start_daemon(void)
{
    const char *parent = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%.40s/xsc.XXXXXX",
             parent ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
    setenv("XENSTORED_RUNDIR", directory, 1);
    setenv("XENSTORED_PATH", socket_path, 1);
    run_start_script();
}

static void
stop_daemon(void)
{
    struct dirent *entry;
    DIR *dir;

    signal_daemon(SIGKILL);
    dir = opendir(directory);
    while (dir && (entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0); /* . and .. stay */
    if (dir)
        closedir(dir);
    rmdir(directory);
}

/* The client. */

static void
on_up(void *context)
{
    (void)context;
    ups++;
}

static void
on_lost(void *context, const char *text)
{
    (void)context;
    losts++;
    snprintf(why, sizeof(why), "%s", text);
}

static void
on_watch(void *context, const char *path, const char *token)
{
    (void)context;
    events++;
    snprintf(event_path, sizeof(event_path), "%s", path);
    snprintf(event_token, sizeof(event_token), "%s", token);
}

static void
on_reply(void *arg, enum err error, const char *value, size_t length)
{
    (void)arg;
    replies++;
    last_error = error;
    last_length = length;
    free(last_value);
    last_value = malloc(length + 1);
    memcpy(last_value, value, length + 1);
}

static int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static void
tick(int64_t us)
{
    const struct timeval time = { .tv_usec = us };

    event_base_loopexit(base, &time);
    event_base_loop(base, EVLOOP_ONCE);
}

static void
run_until(const unsigned *count, unsigned value)
{
    int64_t end = now_us() + 20 * US_PER_S;

    while (*count < value && now_us() < end)
        tick(1000);
    ck_assert_uint_ge(*count, value);
}

static void
run_for(int64_t us)
{
    int64_t end = now_us() + us;

    while (now_us() < end)
        tick(1000);
}

/* The error that the next reply brings. */
static enum err
result(void)
{
    static unsigned seen;

    run_until(&replies, ++seen);
    ck_assert_uint_eq(replies, seen);
    return last_error;
}

static void
setup(void)
{
    const struct xsc_options options = { .deadline_us = DEADLINE_US,
                                         .reconnect_us = 5000 };
    const struct xsc_hooks hooks = { .up = on_up,
                                     .lost = on_lost,
                                     .watch = on_watch };

    base = event_base_new();
    xsc = xsc_new(base, socket_path, &options, &hooks);
    xs = xs_open(0);
    ck_assert_ptr_nonnull(xs);
    run_until(&ups, 1);
    xs_rm(xs, XBT_NULL, "/t");
    ck_assert(xs_mkdir(xs, XBT_NULL, "/t"));
}

static void
teardown(void)
{
    xs_close(xs);
    xsc_free(xsc);
    event_base_free(base);
    free(last_value);
}

static void
ck_value(const char *value, size_t length)
{
    ck_assert_int_eq(result(), ERR_NONE);
    ck_assert_uint_eq(last_length, length);
    ck_assert_mem_eq(last_value, value, length);
}

static void
other_writes(const char *path, const char *value)
{
    ck_assert(xs_write(xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

static void
other_reads(const char *path, const char *value, unsigned length)
{
    unsigned read_length = 0;
    char *read = xs_read(xs, XBT_NULL, path, &read_length);

    ck_assert_msg(read, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(read_length, length);
    ck_assert_mem_eq(read, value, length);
    free(read);
}

START_TEST(reads_and_writes)
{
    other_writes("/t/a", "from libxenstore");
    xsc_read(xsc, 0, "/t/a", on_reply, NULL);
    ck_value("from libxenstore", 16);
    xsc_write(xsc, 0, "/t/b", "any\0bytes\n", 10, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    other_reads("/t/b", "any\0bytes\n", 10);
    xsc_write(xsc, 0, "/t/b", "", 0, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    other_reads("/t/b", "", 0);
    xsc_read(xsc, 0, "/t/b", on_reply, NULL);
    ck_value("", 0);
    xsc_read(xsc, 0, "/t/none", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
    xsc_read(xsc, 0, "/t//a/", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_INVALID);
    ck_assert_uint_eq(losts, 0);
}
END_TEST

START_TEST(removes)
{
    const struct xsc_change changes[] = { { "/t/no/parent", NULL },
                                          { "/t/a", NULL } };

    other_writes("/t/a/b", "1");
    xsc_remove(xsc, 0, "/t/a/none", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    xsc_remove(xsc, 0, "/t/a/none/none", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
    xsc_commit(xsc, changes, 1, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    xsc_commit(xsc, changes, 2, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    ck_assert_ptr_null(xs_read(xs, XBT_NULL, "/t/a/b", NULL));
}
END_TEST

/* Marks the numbers that the names are; each must come once. */
static unsigned
count_names(const char *names, size_t length)
{
    static bool seen[MANY];
    const char *end = names + length;
    unsigned count = 0;

    memset(seen, 0, sizeof(seen));
    for (; names < end; names += strlen(names) + 1) {
        unsigned number;

        ck_assert_int_eq(sscanf(names, "a-longer-name-%u", &number), 1);
        ck_assert_uint_lt(number, MANY);
        ck_assert(!seen[number]);
        seen[number] = true;
        count++;
    }
    return count;
}

/* 36 KiB of names. */
START_TEST(lists_directories)
{
    char path[64];

    other_writes("/t/a", "1");
    other_writes("/t/bc", "1");
    xsc_directory(xsc, 0, "/t", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    ck_assert_uint_eq(last_length, 5);
    xsc_directory(xsc, 0, "/t/a", on_reply, NULL);
    ck_value("", 0);
    xsc_directory(xsc, 0, "/t/none", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof(path), "/t/many/a-longer-name-%u", i);
        xsc_write(xsc, 0, path, "", 0, i + 1 < MANY ? NULL : on_reply, NULL);
    }
    ck_assert_int_eq(result(), ERR_NONE);
    xsc_directory(xsc, 0, "/t/many", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    ck_assert_uint_eq(count_names(last_value, last_length), MANY);
    ck_assert_uint_eq(losts, 0);
}
END_TEST

START_TEST(watches)
{
    xsc_watch(xsc, "/t/w", "token", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    run_until(&events, 1); /* at once */
    ck_assert_str_eq(event_path, "/t/w");
    ck_assert_str_eq(event_token, "token");
    other_writes("/t/w/below", "1");
    run_until(&events, 2);
    ck_assert_str_eq(event_path, "/t/w/below");
    xsc_watch(xsc, "/t/w", "token", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_EXISTS);
    xsc_unwatch(xsc, "/t/w", "token", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    other_writes("/t/w/below", "2");
    run_for(20 * US_PER_MS);
    ck_assert_uint_eq(events, 2);
    xsc_unwatch(xsc, "/t/w", "token", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
    xsc_watch(xsc, "@releaseDomain", "dom", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    run_until(&events, 3);
    ck_assert_str_eq(event_path, "@releaseDomain");
}
END_TEST

static const struct xsc_change two[] = { { "/t/x", "1" }, { "/t/y", "2" } };

START_TEST(commits_count_for_others)
{
    xs_transaction_t other;

    other_writes("/t/x", "0");
    other = xs_transaction_start(xs);
    ck_assert(other != XBT_NULL);
    free(xs_read(xs, other, "/t/x", NULL));
    ck_assert(xs_write(xs, other, "/t/x", "lost", 4));
    xsc_commit(xsc, two, 2, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    ck_assert(!xs_transaction_end(xs, other, false));
    ck_assert_int_eq(errno, EAGAIN);
    other_reads("/t/x", "1", 1);
    other_reads("/t/y", "2", 1);
}
END_TEST

START_TEST(guarded_commits)
{
    struct xsc_change guards[] = { { "/t/x", "0" }, { "/t/z", "" } };
    const struct xsc_guards both = { guards, 2 };

    other_writes("/t/x", "0");
    xsc_commit_if(xsc, both, two, 2, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
    other_writes("/t/z", "01");
    xsc_commit_if(xsc, both, two, 2, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
    other_reads("/t/x", "0", 1);
    other_writes("/t/z", "");
    xsc_commit_if(xsc, both, two, 2, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    other_reads("/t/x", "1", 1);
    other_reads("/t/y", "2", 1);
    xsc_commit_if(xsc, both, two, 1, on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
}
END_TEST

START_TEST(permissions)
{
    struct xs_permissions *p;
    unsigned n = 0;

    other_writes("/t/p", "");
    xsc_set_permission(xsc, "/t/p", "r0", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    p = xs_get_permissions(xs, XBT_NULL, "/t/p", &n);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(p[0].perms, XS_PERM_READ);
    free(p);
    xsc_set_permission(xsc, "/t/none", "n0", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_FOUND);
}
END_TEST

/* One step of the loop, then writes by somebody else: several, since xenstored
 * may take the first before what the client has just sent. */
static void
step_and_disturb(void)
{
    event_base_loop(base, EVLOOP_ONCE);
    for (int i = 0; i < 3; i++)
        other_writes("/t/x", "0");
}

/* Somebody writes between all steps of our transaction.  (oxenstored plays the
 * writes again by itself.) */
START_TEST(commits_meet_conflicts)
{
    bool is_c = !strcmp(kind, "c");
    unsigned before = replies;

    other_writes("/t/x", "0");
    xsc_commit(xsc, two, 2, on_reply, NULL);
    while (replies == before)
        step_and_disturb();
    ck_assert_int_eq(result(), is_c ? ERR_AGAIN : ERR_NONE);
    if (is_c)
        ck_assert_ptr_null(xs_read(xs, XBT_NULL, "/t/y", NULL));

    /* Now only at first. */
    xsc_commit(xsc, two, 2, on_reply, NULL);
    for (int i = 0; i < (is_c ? 10 : 0); i++)
        step_and_disturb();
    ck_assert_uint_eq(replies, before + 1);
    ck_assert_int_eq(result(), ERR_NONE);
    other_reads("/t/x", "1", 1);
    other_reads("/t/y", "2", 1);
}
END_TEST

/* All below one new folder: they do conflict with each other. */
START_TEST(a_crowd_of_commits_ends)
{
    static char paths[200][2][32];
    unsigned before = replies;

    for (int i = 0; i < 200; i++) {
        struct xsc_change changes[2] = { { paths[i][0], "1" },
                                         { paths[i][1], "2" } };

        snprintf(paths[i][0], 32, "/t/crowd/%d", i);
        snprintf(paths[i][1], 32, "/t/crowd/%d/leaf", i);
        xsc_commit(xsc, changes, 2, on_reply, NULL);
    }
    while (replies < before + 200) {
        unsigned now = replies;

        run_until(&replies, now + 1);
        ck_assert_int_eq(last_error, ERR_NONE);
    }
    for (int i = 0; i < 200; i++)
        other_reads(paths[i][1], "2", 1);
}
END_TEST

START_TEST(pipelines)
{
    int64_t start;

    other_writes("/t/a", "1");
    start = now_us();
    for (unsigned i = 0; i < PIPELINED; i++)
        xsc_read(xsc, 0, "/t/a", on_reply, NULL);
    run_until(&replies, PIPELINED);
    ck_assert_int_eq(last_error, ERR_NONE);
    ck_assert_uint_eq(losts, 0);
    printf("%s: a pipelined read takes %.1f us\n", kind,
           (double)(now_us() - start) / PIPELINED);
}
END_TEST

/* It must be noticed at once, not at the next request. */
START_TEST(sees_a_killed_xenstored)
{
    int64_t start = now_us();

    xs_close(xs);
    signal_daemon(SIGKILL);
    run_until(&losts, 1);
    ck_assert_int_lt(now_us() - start, DEADLINE_US);
    ck_assert_str_eq(why, "xenstored closed the connection");
    xsc_read(xsc, 0, "/", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_READY);
    run_for(500 * US_PER_MS);
    run_start_script();
    start = now_us();
    run_until(&ups, 2);
    ck_assert_int_lt(now_us() - start, PATIENCE_US);
    xsc_read(xsc, 0, "/", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    xs = xs_open(0);
}
END_TEST

START_TEST(sees_a_stopped_xenstored)
{
    int64_t start = now_us();

    signal_daemon(SIGSTOP);
    xsc_read(xsc, 0, "/", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NOT_READY);
    ck_assert_int_ge(now_us() - start, DEADLINE_US);
    ck_assert_int_lt(now_us() - start, DEADLINE_US + PATIENCE_US);
    run_until(&losts, 1);
    ck_assert_ptr_nonnull(strstr(why, "hasn't answered"));
    run_for(US_PER_S);
    ck_assert_uint_eq(ups, 1); /* connected perhaps, but not up */
    signal_daemon(SIGCONT);
    start = now_us();
    run_until(&ups, 2);
    ck_assert_int_lt(now_us() - start, PATIENCE_US);
    xsc_read(xsc, 0, "/", on_reply, NULL);
    ck_assert_int_eq(result(), ERR_NONE);
    ck_assert_uint_eq(losts, 1);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create(kind);
    TCase *t = tcase_create("real");

    suite_add_tcase(s, t);
    tcase_add_unchecked_fixture(t, start_daemon, stop_daemon);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, reads_and_writes);
    tcase_add_test(t, removes);
    tcase_add_test(t, lists_directories);
    tcase_add_test(t, watches);
    tcase_add_test(t, commits_count_for_others);
    tcase_add_test(t, guarded_commits);
    tcase_add_test(t, permissions);
    tcase_add_test(t, commits_meet_conflicts);
    tcase_add_test(t, a_crowd_of_commits_ends);
    tcase_add_test(t, pipelines);
    tcase_add_test(t, sees_a_killed_xenstored);
    tcase_add_test(t, sees_a_stopped_xenstored);
    return s;
}

int
main(int argc, char **argv)
{

    if (argc != 3) {
        fprintf(stderr, "usage: check_xsc_real START-SCRIPT c|ocaml\n");
        return EXIT_FAILURE;
    }
    start_script = argv[1];
    kind = argv[2];
    return run_suite(suite(), CK_FORK_GETENV);
}
