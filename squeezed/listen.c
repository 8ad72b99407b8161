/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/listen.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SOCKET_MODE 0660
#define FOLDER_MODE 0755
/* Supplementary groups that are looked at. */
#define GROUPS_MAX 1024

static void
set_address(struct sockaddr_un *address, const char *path)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
}

static bool __attribute__((format(printf, 3, 4)))
fail(char *message, size_t size, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, size, format, arguments);
    va_end(arguments);
    return false;
}

/* ------------------------------------------------------------------ folder */

/* Whoever holds the lock does so for a moment only. */
static bool
lock(int fd)
{
    const struct timespec pause = { .tv_nsec = 20000000 };

    for (int tries = 0; tries < 100; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* The parent folder, made if it is missing, and locked: of two brokers that
 * start at once, the second one finds the first one's socket live.  -1 with a
 * message. */
static int
lock_folder(const char *path, char *message, size_t size)
{
    char folder[sizeof((struct sockaddr_un *)0)->sun_path];
    char *slash;
    int fd;

    snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (!slash)
        snprintf(folder, sizeof folder, ".");
    else if (slash == folder)
        slash[1] = '\0';
    else
        *slash = '\0';
    if (mkdir(folder, FOLDER_MODE) != 0 && errno != EEXIST) {
        fail(message, size, "%s: can't make the folder %s: %s", path, folder,
             strerror(errno));
        return -1;
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || !lock(fd)) {
        fail(message, size, "%s: can't use the folder %s: %s", path, folder,
             strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* ------------------------------------------------------------------ making */

/* True if somebody listens there. */
static bool
is_live(const struct sockaddr_un *address, pid_t *ret_pid)
{
    struct ucred peer = { .pid = 0 };
    socklen_t length = sizeof peer;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool live;

    if (fd < 0)
        return true; /* nothing is known: don't remove it */
    live =
        connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
        errno != ECONNREFUSED;
    if (live && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
        *ret_pid = peer.pid;
    close(fd);
    return live;
}

static bool
remove_stale(const char *path, const struct sockaddr_un *address, char *message,
             size_t size)
{
    struct stat st;
    pid_t pid = 0;

    if (lstat(path, &st) != 0)
        return errno == ENOENT
                   ? true
                   : fail(message, size, "%s: %s", path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fail(message, size,
                    "%s is there and is no socket: remove it, or choose "
                    "another path",
                    path);
    if (is_live(address, &pid))
        return fail(message, size,
                    "%s: process %ld listens there already: is another "
                    "broker running?",
                    path, (long)pid);
    if (unlink(path) != 0)
        return fail(message, size, "%s: can't remove the stale socket: %s",
                    path, strerror(errno));
    log_info("%s: removed a stale socket", path);
    return true;
}

/* The file never has a wider mode than it is to have. */
static bool
bind_here(int fd, const struct sockaddr_un *address)
{
    mode_t before = umask(0777 & ~SOCKET_MODE);
    int bound = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int error = errno;

    umask(before);
    errno = error;
    return bound == 0;
}

static bool
make_socket(struct listen_socket *s, const struct sockaddr_un *address,
            gid_t group, char *message, size_t size)
{
    struct stat st;

    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || !bind_here(s->fd, address))
        return fail(message, size, "%s: can't make the socket: %s", s->path,
                    strerror(errno));
    if (lstat(s->path, &st) != 0)
        return fail(message, size, "%s: %s", s->path, strerror(errno));
    s->device = st.st_dev;
    s->inode = st.st_ino;
    if (group != (gid_t)-1 && chown(s->path, (uid_t)-1, group) != 0)
        return fail(message, size, "%s: can't give it to group %ld: %s",
                    s->path, (long)group, strerror(errno));
    if (listen(s->fd, 128) != 0)
        return fail(message, size, "%s: can't listen: %s", s->path,
                    strerror(errno));
    return true;
}

bool
listen_open(struct listen_socket *ret, const char *path, gid_t group,
            char *message, size_t size)
{
    struct listen_socket s = { .fd = -1 };
    struct sockaddr_un address;
    int folder;
    bool good;

    if (strlen(path) == 0 || strlen(path) >= sizeof address.sun_path)
        return fail(message, size,
                    "'%s' can't be the path of a socket: it has to have 1 to "
                    "%zu characters",
                    path, sizeof address.sun_path - 1);
    snprintf(s.path, sizeof s.path, "%s", path);
    set_address(&address, path);
    folder = lock_folder(path, message, size);
    if (folder < 0)
        return false;
    good = remove_stale(path, &address, message, size) &&
           make_socket(&s, &address, group, message, size);
    if (good)
        *ret = s;
    else
        listen_close(&s);
    close(folder);
    return good;
}

void
listen_close(struct listen_socket *s)
{
    struct stat st;

    if (s->fd < 0)
        return;
    if (s->inode != 0 && lstat(s->path, &st) == 0 && st.st_dev == s->device &&
        st.st_ino == s->inode)
        unlink(s->path);
    close(s->fd);
    s->fd = -1;
}

/* -------------------------------------------------------------------- peer */

static bool
peer_in_group(int fd, gid_t group)
{
    gid_t groups[GROUPS_MAX];
    socklen_t length = sizeof groups;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) != 0)
        return false;
    for (size_t i = 0; i < length / sizeof groups[0]; i++)
        if (groups[i] == group)
            return true;
    return false;
}

bool
listen_peer_allowed(int fd, gid_t group)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    return group != (gid_t)-1 &&
           (peer.gid == group || peer_in_group(fd, group));
}
