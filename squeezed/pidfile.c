/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A predecessor that ends removes the file: then fd is of a file that has no
 * name any more. */
static bool
is_at(int fd, const char *path)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 &&
           opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

static int
tell_holder(int fd, const char *path, char *message, size_t size)
{
    char pid[32];
    ssize_t length = pread(fd, pid, sizeof pid - 1, 0);

    pid[length > 0 ? length : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    snprintf(message, size,
             "%s: squeezed runs already, as process %s; stop that one first",
             path, *pid == '\0' ? "(unknown)" : pid);
    close(fd);
    return -1;
}

static int
tell_errno(int fd, const char *path, char *message, size_t size)
{
    snprintf(message, size, "can't write the pidfile %s: %s", path,
             strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* One write, and only then the rest of a longer one cut off: no reader ever
 * sees less than a whole number. */
static bool
write_pid(int fd)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%d\n", (int)getpid());

    return pwrite(fd, text, (size_t)length, 0) == length &&
           ftruncate(fd, length) == 0;
}

int
pidfile_make(const char *path, char *message, size_t message_size)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

        if (fd < 0)
            return tell_errno(fd, path, message, message_size);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                return tell_holder(fd, path, message, message_size);
            return tell_errno(fd, path, message, message_size);
        }
        if (is_at(fd, path)) {
            if (!write_pid(fd))
                return tell_errno(fd, path, message, message_size);
            return fd;
        }
        close(fd);
    }
}

void
pidfile_remove(const char *path, int fd)
{
    if (is_at(fd, path))
        unlink(path);
    close(fd);
}
