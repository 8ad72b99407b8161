/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xenstore-client/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include <xen/io/xs_wire.h>

/* xenstored never waits for us to send more, and answers the last of them
 * within 1 or 2 ms. */
enum { WRITE_PARTS = 16, SOCKET_WINDOW = 64 };

/* EAGAIN says that the backlog is full, which passes. */
static int
socket_open(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
        close(fd);
        return -1;
    }
    return fd;
}

static ssize_t
socket_read(int fd, void *bytes, size_t length)
{
    return recv(fd, bytes, length, 0);
}

static ssize_t
socket_write(int fd, struct evbuffer *output)
{
    struct evbuffer_iovec parts[WRITE_PARTS];
    int count = evbuffer_peek(output, -1, NULL, parts, WRITE_PARTS);
    struct msghdr message = {
        .msg_iov = parts,
        .msg_iovlen = count < WRITE_PARTS ? (size_t)count : WRITE_PARTS,
    };
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

    if (n > 0)
        evbuffer_drain(output, (size_t)n);
    return n;
}

static int
device_open(const char *path)
{
    return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static ssize_t
device_read(int fd, void *bytes, size_t length)
{
    return read(fd, bytes, length);
}

/* It takes a message as a whole, or refuses it. */
static ssize_t
device_write(int fd, struct evbuffer *output)
{
    struct xsd_sockmsg header;
    char message[sizeof(header) + XENSTORE_PAYLOAD_MAX];
    size_t length;
    ssize_t n;

    evbuffer_copyout(output, &header, sizeof(header));
    length = sizeof(header) + header.len;
    evbuffer_copyout(output, message, length);
    n = write(fd, message, length);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    evbuffer_drain(output, length);
    if (n < 0 || (size_t)n == length)
        return n;
    errno = EIO;
    return -1;
}

static const struct transport socket_transport = {
    .open = socket_open,
    .read = socket_read,
    .write = socket_write,
    .window = SOCKET_WINDOW,
};

static const struct transport device_transport = {
    .open = device_open,
    .read = device_read,
    .write = device_write,
    .window = 1,
    .refuses = true,
};

const struct transport *
transport_of(const char *path)
{
    struct stat there;

    if (!stat(path, &there) && S_ISCHR(there.st_mode))
        return &device_transport;
    return &socket_transport;
}
