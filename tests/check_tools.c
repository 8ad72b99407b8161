/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of squeezectl: which domain is meant, tables on narrow terminals,
 * and calls to a broker that takes them and says nothing. */
#include "tests/suite.h"
#include "tools/client.h"
#include "tools/resolve.h"
#include "tools/table.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char domains[] =
    "{\"domains\": [{\"domid\": 3, \"name\": \"web\", \"uuid\": "
    "\"6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03\"}, {\"domid\": 5, \"name\": "
    "\"7\", \"uuid\": \"6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03\"}, {\"domid\": "
    "8, \"name\": \"db\"}, {\"name\": \"none\"}, {\"domid\": 99999, "
    "\"name\": \"far\"}, 17, {\"domid\": 9, \"name\": null}]}";

static enum err
resolve(const char *text, uint32_t *domid, char message[200])
{
    json_t *status = json_loads(domains, 0, NULL);
    enum err error = resolve_domain(status, text, domid, message, 200);

    ck_assert_ptr_nonnull(status);
    json_decref(status);
    return error;
}

START_TEST(test_resolve)
{
    char message[200];
    uint32_t domid = 0;

    ck_assert_int_eq(resolve("web", &domid, message), ERR_NONE);
    ck_assert_uint_eq(domid, 3);
    ck_assert_int_eq(resolve("db", &domid, message), ERR_NONE);
    ck_assert_uint_eq(domid, 8);
    ck_assert_int_eq(resolve("nil", &domid, message), ERR_UNKNOWN_DOMAIN);
    ck_assert_str_eq(message, "no domain has the domid, name or UUID 'nil'");
    ck_assert_int_eq(resolve("far", &domid, message), ERR_UNKNOWN_DOMAIN);
    ck_assert_int_eq(
        resolve("6F0D8A52-51A5-4F6E-8D43-7C2D9B1C0A03", &domid, message),
        ERR_INVALID);
    ck_assert_str_eq(message, "'6F0D8A52-51A5-4F6E-8D43-7C2D9B1C0A03' fits the "
                              "domains 3, 5: give the domid");
    ck_assert_uint_eq(domid, 8);
}
END_TEST

START_TEST(test_resolve_many)
{
    json_t *status = json_pack("{s:[]}", "domains");
    char message[40];
    uint32_t domid;
    int i;

    for (i = 0; i < 1000; i++)
        json_array_append_new(json_object_get(status, "domains"),
                              json_pack("{s:i, s:s}", "domid", i, "name", "x"));
    ck_assert_int_eq(
        resolve_domain(status, "x", &domid, message, sizeof(message)),
        ERR_INVALID);
    ck_assert_uint_lt(strlen(message), sizeof(message));
    json_decref(status);
}
END_TEST

START_TEST(test_is_domid)
{
    uint32_t domid = 1;

    ck_assert(resolve_is_domid("0", &domid));
    ck_assert_uint_eq(domid, 0);
    ck_assert(resolve_is_domid("32751", &domid));
    ck_assert_uint_eq(domid, 32751);
    ck_assert(!resolve_is_domid("32752", &domid));
    ck_assert(!resolve_is_domid("-1", &domid));
    ck_assert(!resolve_is_domid("3x", &domid));
    ck_assert(!resolve_is_domid("", &domid));
}
END_TEST

static const struct table_column columns[] = {
    { "ID", TABLE_RIGHT },
    { "NAME", TABLE_YIELDS },
    { "SIZE", TABLE_RIGHT | TABLE_GAP },
};

/* The table's text, to be freed. */
static char *
print(unsigned width)
{
    struct table *table = table_new(columns, 3);
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    table_cell(table, "%d", 7);
    table_cell(table, "%s", "a-long-name-of-2\xc3\xa9\xc3\xa9");
    table_cell(table, "%s", "2.0 GiB");
    table_cell(table, "%d", 12);
    table_cell(table, "%s", "x\033[31m");
    table_cell(table, "%s", "");
    ck_assert_uint_eq(table_rows(table), 2);
    table_print(table, out, width);
    table_free(table);
    fclose(out);
    return text;
}

START_TEST(test_table)
{
    char *wide = print(0);
    char *narrow = print(30);
    char *tiny = print(1);

    ck_assert_str_eq(wide, "  ID  NAME                     SIZE\n"
                           "   7  a-long-name-of-2\xc3\xa9\xc3\xa9    2.0 GiB\n"
                           "  12  x?[31m\n");
    ck_assert_str_eq(narrow, "  ID  NAME                SIZE\n"
                             "   7  a-long-name-~    2.0 GiB\n"
                             "  12  x?[31m\n");
    ck_assert_str_eq(tiny, "  ID  NAME           SIZE\n"
                           "   7  a-long-~    2.0 GiB\n"
                           "  12  x?[31m\n");
    free(wide);
    free(narrow);
    free(tiny);
}
END_TEST

static char folder[32], path[64];

/* A socket that takes connections into its backlog and no further. */
static int
listen_mutely(int backlog)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/check_tools.XXXXXX")));
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static void
stop_listening(int fd)
{
    close(fd);
    unlink(path);
    rmdir(folder);
}

static void
ask(int64_t timeout_ms, bool cancellable, struct client_answer *ret)
{
    struct client_call call = { .socket_path = path,
                                .method = "squeezed.status",
                                .params = json_object(),
                                .timeout_ms = timeout_ms,
                                .cancellable = cancellable };

    client_call(&call, ret);
    json_decref(call.params);
}

START_TEST(test_timeout)
{
    int fd = listen_mutely(8);
    struct client_answer answer;

    ask(1000, false, &answer);
    ck_assert_int_eq(answer.end, CLIENT_NO_ANSWER);
    ck_assert_ptr_nonnull(strstr(answer.message, "not answered within 1 s"));
    client_answer_done(&answer);
    stop_listening(fd);
}
END_TEST

static void *
press_twice(void *arg)
{
    (void)arg;
    usleep(200000);
    kill(getpid(), SIGINT);
    usleep(200000);
    kill(getpid(), SIGINT);
    return NULL;
}

/* A broker that doesn't even notice: the second Ctrl-C ends it. */
START_TEST(test_interrupted_twice)
{
    int fd = listen_mutely(8);
    struct client_answer answer;
    pthread_t thread;
    sigset_t set;

    /* so that the thread doesn't get it */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, press_twice, NULL);
    alarm(2); /* it has to be faster than a cancelled call's time-out */
    ask(0, true, &answer);
    ck_assert_int_eq(answer.end, CLIENT_INTERRUPTED);
    ck_assert(answer.interrupted);
    pthread_join(thread, NULL);
    alarm(0);
    client_answer_done(&answer);
    stop_listening(fd);
}
END_TEST

static void *
make_room(void *arg)
{
    const int *fd = arg;

    struct pollfd wait = { .fd = *fd, .events = POLLIN };

    usleep(300000);
    /* The one that was in the way, ours, and whatever ours tried before. */
    while (poll(&wait, 1, 1500) > 0)
        close(accept(*fd, NULL, NULL));
    return NULL;
}

START_TEST(test_full_backlog)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = listen_mutely(0);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    struct client_answer answer;
    pthread_t thread;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(
        connect(other, (struct sockaddr *)&address, sizeof(address)), 0);
    pthread_create(&thread, NULL, make_room, &fd);
    ask(10000, false, &answer);
    pthread_join(thread, NULL);
    ck_assert_int_eq(answer.end, CLIENT_NO_ANSWER);
    ck_assert_msg(strstr(answer.message, "closed the connection"), "%s",
                  answer.message);
    client_answer_done(&answer);
    close(other);
    stop_listening(fd);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("tools");
    TCase *pure = tcase_create("pure");
    TCase *calls = tcase_create("calls");

    tcase_add_test(pure, test_resolve);
    tcase_add_test(pure, test_resolve_many);
    tcase_add_test(pure, test_is_domid);
    tcase_add_test(pure, test_table);
    tcase_add_test(calls, test_timeout);
    tcase_add_test(calls, test_interrupted_twice);
    tcase_add_test(calls, test_full_backlog);
    tcase_set_timeout(calls, 20);
    suite_add_tcase(suite, pure);
    suite_add_tcase(suite, calls);
    return run_suite(suite, CK_FORK_GETENV);
}
