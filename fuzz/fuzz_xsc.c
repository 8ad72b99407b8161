/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What xenstored sends: the whole client, with one of each request under way,
 * against a socket that says anything.  The bytes are cut where the input has
 * the byte 0xfe, so that messages come in pieces. */
#include "common/units.h"
#include "fuzz/fuzz.h"
#include "sq_limits.h"
#include "xenstore-client/xsc.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xen/io/xs_wire.h>

enum { CUT = 0xfe, REQUESTS = 8 };

static char folder[32], path[48];
static int listener;

static struct session {
    struct xsc *xsc;
    unsigned asked, replies, losts;
} s;

static void
tidy_up(void)
{
    unlink(path);
    rmdir(folder);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    (void)argc, (void)argv;
    MUST(mkdtemp(strcpy(folder, "/tmp/fuzz_xsc.XXXXXX")));
    snprintf(path, sizeof path, "%s/socket", folder);
    memcpy(address.sun_path, path, strlen(path));
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    MUST(listen(listener, 8) == 0);
    atexit(tidy_up);
    return 0;
}

static void
on_reply(void *arg, enum err error, const char *value, size_t length)
{
    (void)arg;
    s.replies++;
    MUST(s.replies <= s.asked);
    MUST(value != NULL && value[length] == '\0');
    MUST(error == ERR_NONE || length == 0);
}

static void
on_up(void *context)
{
    static const struct xsc_change changes[] = { { "/a", "1" },
                                                 { "/b", NULL } };

    (void)context;
    s.asked += REQUESTS;
    xsc_read(s.xsc, 0, "/local/domain/1/name", on_reply, NULL);
    xsc_write(s.xsc, 0, "/a", "1", 1, on_reply, NULL);
    xsc_directory(s.xsc, 0, "/squeezed/state", on_reply, NULL);
    xsc_watch(s.xsc, "/a", "token", on_reply, NULL);
    xsc_commit(s.xsc, changes, 2, on_reply, NULL);
    xsc_remove(s.xsc, 0, "/a", on_reply, NULL);
    xsc_unwatch(s.xsc, "/a", "token", on_reply, NULL);
    xsc_directory(s.xsc, 0, "/local", on_reply, NULL);
}

static void
on_lost(void *context, const char *why)
{
    (void)context;
    MUST(*why != '\0');
    s.losts++;
}

static void
on_watch(void *context, const char *at, const char *token)
{
    (void)context;
    MUST(strlen(at) + strlen(token) < LIMIT_XENSTORE_REPLY);
}

static void
spin(struct event_base *base)
{
    for (int i = 0; i < 4; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

/* A reply to the probe, so that everything else gets its turn. */
static void
answer_probe(int fd)
{
    struct xsd_sockmsg header = { .type = XS_READ, .req_id = 1 };

    MUST(write(fd, &header, sizeof header) == sizeof header);
}

static void
send_pieces(struct event_base *base, int fd, const uint8_t *data, size_t length)
{
    while (length > 0) {
        const uint8_t *cut = memchr(data, CUT, length);
        size_t n = cut ? (size_t)(cut - data) : length;

        if (n > 0 && send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            return; /* it has hung up */
        spin(base);
        data += n + (cut != NULL);
        length -= n + (cut != NULL);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const struct xsc_options options = { .deadline_us = 10 * US_PER_S,
                                         .reconnect_us = 10 * US_PER_S };
    const struct xsc_hooks hooks = { .up = on_up,
                                     .lost = on_lost,
                                     .watch = on_watch };
    struct event_base *base = event_base_new();
    bool probed = length > 0 && data[0] == CUT;
    int fd;

    s = (struct session){ 0 };
    s.xsc = xsc_new(base, path, &options, &hooks);
    MUST(s.xsc != NULL);
    spin(base);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    MUST(fd >= 0);
    /* Most inputs begin behind the probe. */
    if (!probed)
        answer_probe(fd);
    spin(base);
    MUST(probed || s.asked == REQUESTS);
    send_pieces(base, fd, data, length);
    close(fd);
    spin(base);
    MUST(s.asked == 0 || s.losts == 1);
    MUST(s.replies == s.asked);
    xsc_free(s.xsc);
    event_base_free(base);
    return 0;
}
