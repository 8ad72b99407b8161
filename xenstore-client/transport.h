/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What bytes to and from xenstored go through: its socket, or the kernel's
 * device, which serves where xenstored runs in a domain of its own.
 *
 * The device (drivers/xen/xenbus/xenbus_dev_frontend.c of Linux) speaks the
 * same protocol with habits of its own:
 * - One write, one message: what stands behind the first in a write is lost.
 *   16 + 4080 bytes are the longest.
 * - A watch is set by the kernel itself, within the write, which waits for
 *   xenstored.  Its errors are those of the write; then no reply comes.
 * - A watch that is written while a reply to the same file is due locks up the
 *   kernel's side for good (its reader waits for the writer, who waits for the
 *   reader).  So one request at a time, as libxenstore does it.
 * - It is never reported as writable, and needs not be: it takes all.
 * - Its end is never seen: a xenstored that has died just doesn't answer.
 * For the xenstore client only. */
#ifndef XSC_TRANSPORT_H
#define XSC_TRANSPORT_H

#include <event2/buffer.h>
#include <stdbool.h>
#include <sys/types.h>

struct transport {
    /* A non-blocking descriptor, or -1: not now. */
    int (*open)(const char *path);
    /* As read(2). */
    ssize_t (*read)(int fd, void *bytes, size_t length);
    /* Takes some of the bytes off output and sends them; -1: errno says
     * why. */
    ssize_t (*write)(int fd, struct evbuffer *output);
    /* So many requests may be on their way at a time. */
    size_t window;
    /* A write that fails is the answer to its message, which is off output. */
    bool refuses;
};

/* By what is there now; what isn't there is a socket. */
const struct transport *
transport_of(const char *path);

#endif
