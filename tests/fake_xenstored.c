/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fake_xenstored.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct fake fake;
struct seen seen;

void
raw(const void *bytes, size_t length)
{
    ck_assert(fake.connection);
    bufferevent_write(fake.connection, bytes, length);
}

void
message(uint32_t type, uint32_t req_id, uint32_t tx_id, const void *body,
        size_t length)
{
    struct xsd_sockmsg header = {
        .type = type, .req_id = req_id, .tx_id = tx_id, .len = (uint32_t)length
    };

    fake.answered += type != XS_WATCH_EVENT;
    raw(&header, sizeof(header));
    raw(body, length);
}

void
answer(const struct xsd_sockmsg *header, const void *body, size_t length)
{
    message(header->type, header->req_id, header->tx_id, body, length);
}

void
refuse(const struct xsd_sockmsg *header, const char *text)
{
    message(XS_ERROR, header->req_id, header->tx_id, text, strlen(text) + 1);
}

void
note(const char *before, const char *text)
{
    size_t used = strlen(fake.log);

    snprintf(fake.log + used, sizeof(fake.log) - used, "%s%s ", before, text);
}

static void
on_request(struct bufferevent *connection, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(connection);
    struct xsd_sockmsg header;
    char body[XENSTORE_PAYLOAD_MAX + 1];

    (void)arg;
    while (connection == fake.connection &&
           evbuffer_copyout(input, &header, sizeof(header)) == sizeof(header)) {
        ck_assert_uint_le(header.len, XENSTORE_PAYLOAD_MAX);
        if (evbuffer_get_length(input) < sizeof(header) + header.len)
            return;
        evbuffer_drain(input, sizeof(header));
        evbuffer_remove(input, body, header.len);
        body[header.len] = '\0';
        fake.last = header;
        if (fake.probed) {
            fake.served++;
            if (fake.serve)
                fake.serve(&fake, &header, body);
        } else if (!fake.mute_probe) {
            fake.probed = true;
            answer(&header, "", 0);
        }
    }
}

/* Not at once where the answers so far are to be sent. */
void
hang_up(void)
{
    if (fake.connection)
        bufferevent_free(fake.connection);
    fake.connection = NULL;
}

static void
on_hang_up(struct bufferevent *connection, short what, void *arg)
{
    (void)what;
    (void)arg;
    if (connection == fake.connection)
        hang_up();
    else
        bufferevent_free(connection);
}

void
connect_fake(int fd)
{
    hang_up();
    fake.accepted++;
    fake.probed = false;
    fake.connection =
        bufferevent_socket_new(fake.base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(fake.connection, on_request, NULL, on_hang_up, NULL);
    bufferevent_enable(fake.connection, EV_READ | EV_WRITE);
}

static void
on_accept(evutil_socket_t listener, short what, void *arg)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    (void)arg;
    if (fd >= 0)
        connect_fake(fd);
}

void
listen_now(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake.path);
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(
        bind(fake.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fake.listener, 0), 0);
}

void
accept_now(void)
{
    fake.accept_event = event_new(fake.base, fake.listener,
                                  EV_READ | EV_PERSIST, on_accept, NULL);
    event_add(fake.accept_event, NULL);
}

void
stop_listening(void)
{
    if (fake.accept_event)
        event_free(fake.accept_event);
    fake.accept_event = NULL;
    if (fake.listener >= 0)
        close(fake.listener);
    fake.listener = -1;
    unlink(fake.path);
}

/* The client's side. */

void
free_client(void)
{
    xsc_free(seen.xsc);
    seen.xsc = NULL;
}

static void
on_up(void *context)
{
    ck_assert_ptr_eq(context, &seen);
    ck_assert(xsc_is_up(seen.xsc));
    seen.ups++;
    if (seen.free_in_up)
        free_client();
}

static void
on_lost(void *context, const char *why)
{
    ck_assert_ptr_eq(context, &seen);
    ck_assert(!xsc_is_up(seen.xsc));
    seen.losts++;
    snprintf(seen.why, sizeof(seen.why), "%s", why);
    if (seen.free_in_lost)
        free_client();
}

static void
on_watch(void *context, const char *path, const char *token)
{
    ck_assert_ptr_eq(context, &seen);
    seen.events++;
    snprintf(seen.event_path, sizeof(seen.event_path), "%s", path);
    snprintf(seen.event_token, sizeof(seen.event_token), "%s", token);
    if (seen.free_in_watch)
        free_client();
}

void
on_reply(void *arg, enum err error, const char *value, size_t length)
{
    ck_assert_ptr_eq(arg, &seen);
    ck_assert_ptr_nonnull(value);
    ck_assert_int_eq(value[length], '\0');
    seen.replies++;
    seen.error = error;
    seen.length = length;
    memcpy(seen.value, value, min_u64(length, sizeof(seen.value)));
    if (seen.free_in_reply)
        free_client();
    /* It must live until here. */
    ck_assert_int_eq(value[length], '\0');
}

int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

void
run_until(const unsigned *count, unsigned value)
{
    int64_t end = now_us() + 20 * US_PER_S;

    while (*count < value && now_us() < end) {
        const struct timeval tick = { .tv_usec = 1000 };

        event_base_loopexit(fake.base, &tick);
        event_base_loop(fake.base, EVLOOP_ONCE);
    }
    ck_assert_uint_eq(*count, value);
}

void
run_for(int64_t us)
{
    const struct timeval time = { .tv_sec = us / US_PER_S,
                                  .tv_usec = us % US_PER_S };

    event_base_loopexit(fake.base, &time);
    event_base_dispatch(fake.base);
}

void
start_client(int64_t deadline_us)
{
    const struct xsc_options options = { .deadline_us = deadline_us,
                                         .reconnect_us = 1000,
                                         .fallback = fake.fallback };
    const struct xsc_hooks hooks = {
        .context = &seen, .up = on_up, .lost = on_lost, .watch = on_watch
    };

    seen.xsc = xsc_new(fake.base, fake.path, &options, &hooks);
    ck_assert_ptr_nonnull(seen.xsc);
}

void
setup_nothing(void)
{
    memset(&fake, 0, sizeof(fake));
    memset(&seen, 0, sizeof(seen));
    fake.base = event_base_new();
    fake.listener = -1;
    strcpy(fake.directory, "/tmp/check_xsc.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fake.directory));
    snprintf(fake.path, sizeof(fake.path), "%s/socket", fake.directory);
}

void
setup(void)
{
    setup_nothing();
    listen_now();
    accept_now();
    start_client(5 * US_PER_S);
    run_until(&seen.ups, 1);
}

void
teardown(void)
{
    xsc_free(seen.xsc);
    hang_up();
    stop_listening();
    rmdir(fake.directory);
    event_base_free(fake.base);
}

/* Handlers */

void
serve_path(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    (void)f;
    answer(header, body, strlen(body));
}

void
serve_ok(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    (void)f;
    (void)body;
    answer(header, "OK", 3);
}

void
serve_nothing(struct fake *f, const struct xsd_sockmsg *header,
              const char *body)
{
    (void)f;
    (void)header;
    (void)body;
}

void
read_key(const char *path)
{
    xsc_read(seen.xsc, 0, path, on_reply, &seen);
}
