/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* key-writer: in a guest, write into xenstore as much and as badly as one can.
 *
 * Below its own data/ and control/: garbage of all lengths as fast as xenstored
 * takes it, flags that flap, and data/count, so that dom0 sees how fast that
 * is.  First it tries to make a request of its own, which must fail: data/tried
 * says with which error.  Ends with the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

enum { BIGGEST = 2000, REPORT_EVERY = 100 };

static bool
write_value(struct xs_handle *xs, const char *path, const char *value,
            size_t length)
{
    return xs_write(xs, XBT_NULL, path, value, (unsigned)length);
}

static void
write_text(struct xs_handle *xs, const char *path, const char *value)
{
    write_value(xs, path, value, strlen(value));
}

static void
try_request(struct xs_handle *xs)
{
    bool done = write_value(xs, "/squeezed/request/mine/min", "4096", 4) ||
                write_value(xs, "/squeezed/state/mine/x", "4096", 4);

    write_text(xs, "data/tried", done ? "done" : strerror(errno));
}

int
main(void)
{
    struct xs_handle *xs = xs_open(0);
    static char garbage[BIGGEST];
    int random = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    unsigned long count = 0;

    if (!xs || random < 0 ||
        read(random, garbage, sizeof(garbage)) != (ssize_t)sizeof(garbage)) {
        perror("key-writer");
        return 1;
    }
    try_request(xs);
    for (;;) {
        char path[64];
        char text[32];
        size_t length = count * 37 % sizeof(garbage);

        snprintf(path, sizeof(path), "data/key-%lu", count % 16);
        write_value(xs, path, garbage, length);
        write_text(xs, "control/feature-balloon", count % 2 ? "1" : "0");
        write_value(xs, "control/feature-poweroff", garbage, length % 40);
        count += 3;
        if (count % REPORT_EVERY < 3) {
            snprintf(text, sizeof(text), "%lu", ++count);
            write_text(xs, "data/count", text);
        }
    }
}
