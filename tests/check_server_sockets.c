/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that the server listens on, and who may connect. */
#include "tests/server_stage.h"

#include "tests/suite.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static mode_t
mode_of(const char *file)
{
    struct stat st;

    return lstat(file, &st) == 0 ? st.st_mode : 0;
}

static struct server *
another(const char *where, size_t count)
{
    struct server_options o = options;

    paths[0] = where;
    o.path_count = count;
    return server_new(base, &toy, &o, message, sizeof message);
}

START_TEST(file_mode)
{
    char run[100];

    snprintf(run, sizeof run, "%s/run", folder);
    ck_assert_uint_eq(mode_of(path), S_IFSOCK | 0660);
    ck_assert_uint_eq(mode_of(run), S_IFDIR | 0755);
    server_free(server);
    server = NULL;
    ck_assert_uint_eq(mode_of(path), 0);
    ck_assert_uint_eq(mode_of(run), S_IFDIR | 0755);
}
END_TEST

START_TEST(live_socket)
{
    ck_assert_ptr_eq(another(path, 1), NULL);
    ck_assert_msg(strstr(message, "listens there already") != NULL, "%s",
                  message);
    ck_assert(strstr(message, path) != NULL);
    still_serves();
}
END_TEST

START_TEST(stale_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct server *second;
    char stale[100];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(stale, sizeof stale, "%s/stale", folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", stale);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    close(fd); /* as after a kill: the file stays */
    ck_assert_uint_ne(mode_of(stale), 0);
    second = another(stale, 1);
    ck_assert_msg(second != NULL, "%s", message);
    fd = connect_to(stale);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    close(fd);
    server_free(second);
    ck_assert_uint_eq(mode_of(stale), 0);
}
END_TEST

START_TEST(bad_paths)
{
    char file[200], other[300];

    snprintf(file, sizeof file, "%s/file", folder);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_ptr_eq(another(file, 1), NULL);
    ck_assert_msg(strstr(message, "is no socket") != NULL, "%s", message);
    ck_assert_uint_eq(mode_of(file), S_IFREG | 0600);
    snprintf(other, sizeof other, "%s/file/socket", folder);
    ck_assert_ptr_eq(another(other, 1), NULL);
    snprintf(other, sizeof other, "%s/no/such/folder", folder);
    ck_assert_ptr_eq(another(other, 1), NULL);
    ck_assert_msg(strstr(message, "No such file") != NULL, "%s", message);
    ck_assert_ptr_eq(another("", 1), NULL);
    memset(other, 'x', 108);
    other[108] = '\0';
    ck_assert_ptr_eq(another(other, 1), NULL);
    ck_assert_msg(strstr(message, "107 characters") != NULL, "%s", message);
    options.group = "no-such-group-here";
    snprintf(other, sizeof other, "%s/socket", folder);
    ck_assert_ptr_eq(another(other, 1), NULL);
    ck_assert_msg(strstr(message, "no-such-group-here") != NULL, "%s", message);
    ck_assert_uint_eq(mode_of(other), 0);
}
END_TEST

START_TEST(two_sockets)
{
    char one[200], two[200];
    struct server *second;
    int fd;

    snprintf(one, sizeof one, "%s/one", folder);
    snprintf(two, sizeof two, "%s/xapi/two", folder);
    paths[1] = two;
    second = another(one, 2);
    ck_assert_msg(second != NULL, "%s", message);
    fd = connect_to(two);
    send_text(fd, post(CALL("available")));
    receive(fd);
    result_of(200);
    ck_assert_uint_eq(server_connections(second), 1);
    close(fd);
    server_free(second);
    ck_assert_uint_eq(mode_of(one) | mode_of(two), 0);

    paths[1] = path; /* live: then the first one must not stay either */
    ck_assert_ptr_eq(another(one, 2), NULL);
    ck_assert_uint_eq(mode_of(one), 0);
    ck_assert_uint_ne(mode_of(path), 0);
}
END_TEST

START_TEST(file_of_somebody_else_stays)
{
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    server_free(server);
    server = NULL;
    ck_assert_uint_eq(mode_of(path), S_IFREG | 0600);
}
END_TEST

/* In a child process as another user; 0: served, 1: refused. */
static int
ask_as(uid_t uid, gid_t gid)
{
    struct pollfd p;
    char answer[100] = "";
    pid_t child;
    int status;

    child = fork();
    if (child == 0) {
        if (setgroups(0, NULL) || setgid(gid) || setuid(uid))
            end_child(3);
        p.fd = connect_to(path);
        p.events = POLLIN;
        send(p.fd, "GET /healthz HTTP/1.1\r\n\r\n", 25, MSG_NOSIGNAL);
        if (poll(&p, 1, 5000) != 1 || recv(p.fd, answer, 99, 0) < 12)
            end_child(4);
        end_child(strncmp(answer, "HTTP/1.1 200", 12) == 0   ? 0
                  : strncmp(answer, "HTTP/1.1 403", 12) == 0 ? 1
                                                             : 5);
    }
    while (waitpid(child, &status, WNOHANG) == 0)
        pump();
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(other_users)
{
    if (geteuid() != 0)
        return; /* only root can be somebody else */
    chmod(folder, 0755);
    chmod(path, 0666); /* past the first bolt */
    ck_assert_int_eq(ask_as(0, 0), 0);
    ck_assert_int_eq(ask_as(65534, 65534), 1);
    server_free(server);
    options.group = "daemon";
    server = another(path, 1);
    ck_assert_msg(server != NULL, "%s", message);
    ck_assert_int_eq(ask_as(65534, 1), 0); /* daemon's number everywhere */
    chmod(path, 0666);
    ck_assert_int_eq(ask_as(65534, 65534), 1);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("server_sockets");
    TCase *tc = server_case(suite, "sockets", setup);

    tcase_add_test(tc, file_mode);
    tcase_add_test(tc, live_socket);
    tcase_add_test(tc, stale_socket);
    tcase_add_test(tc, bad_paths);
    tcase_add_test(tc, two_sockets);
    tcase_add_test(tc, file_of_somebody_else_stays);
    tcase_add_test(tc, other_users);
    return run_suite(suite, CK_FORK_GETENV);
}
