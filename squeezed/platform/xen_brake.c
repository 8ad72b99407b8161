/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_brake.h"

#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xenevtchn.h>
#include <xentoollog.h>

struct xen_brake {
    xentoollog_logger logger;
    xenevtchn_handle *channels;
    struct event *event;
    void (*pulled)(void *context);
    void *context;
};

/* Without a logger the library prints to stderr; that there is no such warning
 * is no fault. */
static void
keep_quiet(xentoollog_logger *logger, xentoollog_level level, int error,
           const char *context, const char *format, va_list args)
{
    (void)logger, (void)level, (void)error;
    (void)context, (void)format, (void)args;
}

static void
on_event(evutil_socket_t fd, short events, void *arg)
{
    struct xen_brake *brake = arg;
    xenevtchn_port_or_error_t port = xenevtchn_pending(brake->channels);

    (void)fd;
    (void)events;
    if (port < 0)
        return;
    xenevtchn_unmask(brake->channels, (evtchn_port_t)port);
    log_debug("Xen is low on memory");
    brake->pulled(brake->context);
}

static bool
open_channel(struct xen_brake *brake, struct event_base *base)
{
    int fd;

    brake->channels = xenevtchn_open(&brake->logger, 0);
    if (!brake->channels ||
        xenevtchn_bind_virq(brake->channels, VIRQ_ENOMEM) < 0)
        return false;
    fd = xenevtchn_fd(brake->channels);
    evutil_make_socket_nonblocking(fd);
    brake->event = event_new(base, fd, EV_READ | EV_PERSIST, on_event, brake);
    return brake->event && event_add(brake->event, NULL) == 0;
}

struct xen_brake *
xen_brake_new(struct event_base *base, void (*pulled)(void *context),
              void *context)
{
    struct xen_brake *brake = calloc(1, sizeof(*brake));

    if (!brake)
        return NULL;
    brake->logger.vmessage = keep_quiet;
    brake->pulled = pulled;
    brake->context = context;
    if (open_channel(brake, base))
        return brake;
    log_debug("Xen's warning of low memory can't be had: %s", strerror(errno));
    xen_brake_free(brake);
    return NULL;
}

void
xen_brake_free(struct xen_brake *brake)
{
    if (!brake)
        return;
    if (brake->event)
        event_free(brake->event);
    if (brake->channels)
        xenevtchn_close(brake->channels);
    free(brake);
}
