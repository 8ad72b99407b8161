/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fake event channels, in place of libxenevtchn: part of both preloads.
 *
 * The process listens on a datagram socket at $FAKEXEN_EVTCHN; whoever sends a
 * port number (uint32_t) there raises that event.  Port 1 is the VIRQ that was
 * bound; 1000 + domid is a guest's channel. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenevtchn.h>

enum { PORT_VIRQ = 1, PORT_GUEST = 1000 };

static int channel_fd = -1;
static int handle;

/* Somebody listens there: xenstored, where a test's program has its
 * environment. */
static bool
is_taken(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool taken =
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

    close(fd);
    return taken;
}

static int
listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (!path || strlen(path) >= sizeof(address.sun_path)) {
        errno = ENOENT;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    if (is_taken(&address)) {
        errno = EEXIST; /* as where another has bound the VIRQ */
        return -1;
    }
    unlink(path);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address))) {
        close(fd);
        return -1;
    }
    return fd;
}

xenevtchn_handle *
xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    (void)logger;
    (void)flags;
    channel_fd = listen_at(getenv("FAKEXEN_EVTCHN"));
    return channel_fd < 0 ? NULL : (xenevtchn_handle *)&handle;
}

xenevtchn_handle *
xenevtchn_fdopen(struct xentoollog_logger *logger, int fd,
                 unsigned int open_flags)
{
    (void)logger;
    (void)open_flags;
    channel_fd = fd;
    return (xenevtchn_handle *)&handle;
}

int
xenevtchn_close(xenevtchn_handle *xce)
{
    (void)xce;
    return channel_fd < 0 ? 0 : close(channel_fd);
}

int
xenevtchn_fd(xenevtchn_handle *xce)
{
    (void)xce;
    return channel_fd;
}

xenevtchn_port_or_error_t
xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    (void)xce;
    (void)virq;
    return PORT_VIRQ;
}

xenevtchn_port_or_error_t
xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                           evtchn_port_t remote_port)
{
    (void)xce;
    (void)remote_port;
    return PORT_GUEST + (int)domid;
}

int
xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    (void)port;
    return 0;
}

int
xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    (void)port;
    return 0;
}

/* Fake guests look at their ring by themselves. */
int
xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce;
    (void)port;
    return 0;
}

xenevtchn_port_or_error_t
xenevtchn_pending(xenevtchn_handle *xce)
{
    uint32_t port;

    (void)xce;
    if (recv(channel_fd, &port, sizeof(port), 0) != sizeof(port))
        return -1;
    return (int)port;
}
