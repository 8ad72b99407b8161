/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The xenstore client against a fake xenstored in the same loop, which can be
 * told to answer wrongly, in pieces, late, or not at all. */
#include "common/units.h"
#include "sq_limits.h"
#include "xenstore-client/wire.h"
#include "xenstore-client/xsc.h"

#include <check.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The fake xenstored. */

struct fake {
    struct event_base *base;
    char directory[32];
    char path[64];
    int listener;
    struct event *accept_event;
    struct bufferevent *connection; /* the newest */
    unsigned accepted;
    bool mute_probe; /* leave the first request of each connection alone */
    bool probed;
    /* Called for each request, its body terminated. */
    void (*serve)(struct fake *fake, const struct xsd_sockmsg *header,
                  const char *body);
    /* For the handlers. */
    struct xsd_sockmsg last;
    unsigned served;
    unsigned conflicts;    /* EAGAIN for so many ends of transactions */
    bool all_conflict;     /* one that ended meanwhile is a conflict */
    unsigned ended[16384]; /* by transaction: how many had ended before it */
    unsigned ends;
    unsigned serve_at_most; /* then hang up */
    unsigned running;       /* transactions now, and at most at once */
    unsigned most_running;
    char log[4096]; /* what was asked, in short */
};

/* What the client told. */
struct seen {
    struct xsc *xsc;
    unsigned ups, losts, events;
    char why[160];
    char event_path[64], event_token[64];
    bool free_in_up, free_in_lost, free_in_watch, free_in_reply;
    /* replies */
    unsigned replies;
    enum err error;
    size_t length;
    char value[8192];
};

static struct fake fake;
static struct seen seen;

static void
raw(const void *bytes, size_t length)
{
    ck_assert(fake.connection);
    bufferevent_write(fake.connection, bytes, length);
}

static void
message(uint32_t type, uint32_t req_id, uint32_t tx_id, const void *body,
        size_t length)
{
    struct xsd_sockmsg header = {
        .type = type, .req_id = req_id, .tx_id = tx_id, .len = (uint32_t)length
    };

    raw(&header, sizeof(header));
    raw(body, length);
}

static void
answer(const struct xsd_sockmsg *header, const void *body, size_t length)
{
    message(header->type, header->req_id, header->tx_id, body, length);
}

static void
refuse(const struct xsd_sockmsg *header, const char *text)
{
    message(XS_ERROR, header->req_id, header->tx_id, text, strlen(text) + 1);
}

static void
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
static void
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

static void
on_accept(evutil_socket_t listener, short what, void *arg)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    (void)arg;
    if (fd < 0)
        return;
    hang_up();
    fake.accepted++;
    fake.probed = false;
    fake.connection =
        bufferevent_socket_new(fake.base, fd, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(fake.connection, on_request, NULL, on_hang_up, NULL);
    bufferevent_enable(fake.connection, EV_READ | EV_WRITE);
}

static void
listen_now(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake.path);
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(
        bind(fake.listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fake.listener, 0), 0);
}

static void
accept_now(void)
{
    fake.accept_event = event_new(fake.base, fake.listener,
                                  EV_READ | EV_PERSIST, on_accept, NULL);
    event_add(fake.accept_event, NULL);
}

static void
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

static void
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

static void
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

static int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* Runs the loop until *count reaches value, for 5 s at most. */
static void
run_until(const unsigned *count, unsigned value)
{
    int64_t end = now_us() + 5 * US_PER_S;

    while (*count < value && now_us() < end) {
        const struct timeval tick = { .tv_usec = 1000 };

        event_base_loopexit(fake.base, &tick);
        event_base_loop(fake.base, EVLOOP_ONCE);
    }
    ck_assert_uint_eq(*count, value);
}

static void
run_for(int64_t us)
{
    const struct timeval time = { .tv_sec = us / US_PER_S,
                                  .tv_usec = us % US_PER_S };

    event_base_loopexit(fake.base, &time);
    event_base_dispatch(fake.base);
}

static void
start_client(int64_t deadline_us)
{
    const struct xsc_options options = { .deadline_us = deadline_us,
                                         .reconnect_us = 1000 };
    const struct xsc_hooks hooks = {
        .context = &seen, .up = on_up, .lost = on_lost, .watch = on_watch
    };

    seen.xsc = xsc_new(fake.base, fake.path, &options, &hooks);
    ck_assert_ptr_nonnull(seen.xsc);
}

static void
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

static void
setup(void)
{
    setup_nothing();
    listen_now();
    accept_now();
    start_client(5 * US_PER_S);
    run_until(&seen.ups, 1);
}

static void
teardown(void)
{
    xsc_free(seen.xsc);
    hang_up();
    stop_listening();
    rmdir(fake.directory);
    event_base_free(fake.base);
}

/* Handlers */

static void
serve_path(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    (void)f;
    answer(header, body, strlen(body));
}

static void
serve_ok(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    (void)f;
    (void)body;
    answer(header, "OK", 3);
}

static void
serve_nothing(struct fake *f, const struct xsd_sockmsg *header,
              const char *body)
{
    (void)f;
    (void)header;
    (void)body;
}

static void
read_key(const char *path)
{
    xsc_read(seen.xsc, 0, path, on_reply, &seen);
}

/* One request */

START_TEST(reads_any_bytes)
{
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    ck_assert_uint_eq(fake.last.type, XS_READ);
    ck_assert_uint_eq(fake.last.len, 3);
    ck_assert_uint_ne(fake.last.req_id, 0);
    answer(&fake.last, "x\0y\n", 4);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 4);
    ck_assert_mem_eq(seen.value, "x\0y\n", 4);
}
END_TEST

static void
serve_form(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    char line[128];
    size_t used = (size_t)snprintf(line, sizeof(line), "%u:", header->type);

    for (uint32_t i = 0; i < header->len; i++)
        line[used++] = body[i] ? body[i] : '|';
    line[used] = '\0';
    note("", line);
    serve_ok(f, header, body);
}

START_TEST(sends_each_kind)
{
    fake.serve = serve_form;
    xsc_write(seen.xsc, 0, "/w", "va\0l", 4, on_reply, &seen);
    xsc_write(seen.xsc, 0, "/e", "", 0, on_reply, &seen);
    xsc_remove(seen.xsc, 0, "/r", on_reply, &seen);
    xsc_watch(seen.xsc, "@releaseDomain", "tok", on_reply, &seen);
    xsc_unwatch(seen.xsc, "/p", "", on_reply, &seen);
    run_until(&seen.replies, 5);
    ck_assert_str_eq(fake.log, "11:/w|va|l 11:/e| 13:/r| "
                               "4:@releaseDomain|tok| 5:/p|| ");
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

START_TEST(takes_no_reply_function)
{
    fake.serve = serve_ok;
    xsc_write(seen.xsc, 0, "/w", "v", 1, NULL, NULL);
    xsc_write(seen.xsc, 0, "w w", "v", 1, NULL, NULL);
    read_key("/a");
    run_until(&seen.replies, 1);
}
END_TEST

static const struct {
    const char *text;
    size_t length;
    enum err error;
} error_texts[] = {
    { "ENOENT", 7, ERR_NOT_FOUND },
    { "EACCES", 7, ERR_PERMISSION },
    { "EINVAL", 7, ERR_INVALID },
    { "EEXIST", 7, ERR_EXISTS },
    { "EAGAIN", 7, ERR_AGAIN },
    { "EIO", 4, ERR_IO },
    { "ENOENT", 6, ERR_NOT_FOUND },
    { "ENOENTX", 8, ERR_IO },
    { "", 0, ERR_IO },
    { "\0ENOENT", 8, ERR_IO },
    { "\xff\xfe\n", 3, ERR_IO },
    { "ENO", 3, ERR_IO },
};

START_TEST(translates_errors)
{
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    message(XS_ERROR, fake.last.req_id, 0, error_texts[_i].text,
            error_texts[_i].length);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, error_texts[_i].error);
    ck_assert_uint_eq(seen.length, 0);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(refuses_what_cannot_be_sent)
{
    static char longest[WIRE_PATH_MAX + 1], too_long[WIRE_PATH_MAX + 2];
    static char value[XENSTORE_PAYLOAD_MAX], token[WIRE_TOKEN_MAX + 2];
    const struct xsc_change bad = { "/a b", "v" };

    memset(longest, 'a', sizeof(longest) - 1);
    memset(too_long, 'a', sizeof(too_long) - 1);
    memset(token, 't', sizeof(token) - 1);
    fake.serve = serve_ok;
    read_key("");
    read_key("/a b");
    read_key("/a\n");
    read_key("/\xc3\xa4");
    read_key("/a:b");
    read_key(too_long);
    xsc_write(seen.xsc, 0, "/a", value, sizeof(value) - 2, on_reply, &seen);
    xsc_watch(seen.xsc, "/a", token, on_reply, &seen);
    xsc_directory(seen.xsc, 0, "/a ", on_reply, &seen);
    xsc_commit(seen.xsc, &bad, 1, on_reply, &seen);
    ck_assert_uint_eq(seen.replies, 0);
    for (unsigned i = 1; i <= 10; i++) {
        run_until(&seen.replies, 10);
        ck_assert_int_eq(seen.error, ERR_INVALID);
    }
    ck_assert_uint_eq(fake.served, 0);
    read_key(longest);
    run_until(&seen.replies, 11);
    ck_assert_int_eq(seen.error, ERR_NONE);
    xsc_write(seen.xsc, 0, "/a", value, sizeof(value) - 3, on_reply, &seen);
    run_until(&seen.replies, 12);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* The stream */

START_TEST(takes_single_bytes)
{
    struct xsd_sockmsg event = { .type = XS_WATCH_EVENT, .len = 5 };
    struct xsd_sockmsg reply;
    char stream[64];
    size_t length = 0;

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    reply = fake.last;
    reply.len = 3;
    memcpy(stream, &event, sizeof(event));
    memcpy(stream + 16, "/w\0t", 5);
    memcpy(stream + 21, &reply, sizeof(reply));
    memcpy(stream + 37, "abc", 3);
    memcpy(stream + 40, &event, sizeof(event));
    memcpy(stream + 56, "/v\0u", 5);
    for (length = 0; length < 61; length++) {
        ck_assert_uint_eq(seen.events, length >= 21);
        ck_assert_uint_eq(seen.replies, length >= 40);
        raw(stream + length, 1);
        run_for(500);
    }
    run_until(&seen.events, 2);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_mem_eq(seen.value, "abc", 3);
    ck_assert_str_eq(seen.event_path, "/v");
    ck_assert_str_eq(seen.event_token, "u");
}
END_TEST

static unsigned ordered;

static void
on_ordered(void *arg, enum err error, const char *value, size_t length)
{
    char expected[32];

    ck_assert_int_eq(error, ERR_NONE);
    snprintf(expected, sizeof(expected), "/key/%u", (unsigned)(uintptr_t)arg);
    ck_assert_str_eq(value, expected);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_uint_eq((unsigned)(uintptr_t)arg, ordered);
    ordered++;
}

START_TEST(pipelines_ten_thousand)
{
    char path[32];

    fake.serve = serve_path;
    ordered = 0;
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(path, sizeof(path), "/key/%u", i);
        xsc_read(seen.xsc, 0, path, on_ordered, (void *)(uintptr_t)i);
    }
    run_until(&ordered, 10000);
    ck_assert_uint_eq(fake.served, 10000);
}
END_TEST

static void
serve_with_events(struct fake *f, const struct xsd_sockmsg *header,
                  const char *body)
{
    message(XS_WATCH_EVENT, 0, 0, "/some/path\0token", 17);
    serve_path(f, header, body);
}

START_TEST(tells_events_from_replies)
{
    char path[32];

    fake.serve = serve_with_events;
    ordered = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "/key/%u", i);
        xsc_read(seen.xsc, 0, path, on_ordered, (void *)(uintptr_t)i);
    }
    run_until(&ordered, 100);
    ck_assert_uint_eq(seen.events, 100);
    ck_assert_str_eq(seen.event_path, "/some/path");
    ck_assert_str_eq(seen.event_token, "token");
}
END_TEST

START_TEST(limits_what_is_pending)
{
    fake.serve = serve_nothing;
    for (unsigned i = 0; i < LIMIT_XENSTORE_PENDING; i++)
        xsc_read(seen.xsc, 0, "/a", NULL, NULL);
    read_key("/a");
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_BUSY);
}
END_TEST

static unsigned chained;

static void
on_chain(void *arg, enum err error, const char *value, size_t length)
{
    (void)value;
    (void)length;
    ck_assert_int_eq(error, ERR_NONE);
    if (++chained < 1000)
        xsc_read(seen.xsc, 0, "/a", on_chain, arg);
}

START_TEST(callbacks_may_ask_more)
{
    fake.serve = serve_path;
    chained = 0;
    xsc_read(seen.xsc, 0, "/a", on_chain, NULL);
    run_until(&chained, 1000);
}
END_TEST

START_TEST(takes_replies_of_one_mib)
{
    char *big = calloc(1, LIMIT_XENSTORE_REPLY + 1);

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    answer(&fake.last, big, LIMIT_XENSTORE_REPLY);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, LIMIT_XENSTORE_REPLY);
    read_key("/a");
    run_until(&fake.served, 2);
    answer(&fake.last, big, LIMIT_XENSTORE_REPLY + 1);
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    free(big);
}
END_TEST

/* What makes no sense */

static const struct {
    uint32_t type;
    uint32_t id_offset; /* added to the request's */
    uint32_t length;
    const char *body;
    size_t body_length;
    const char *why; /* part of it; NULL: not lost */
} garbage[] = {
    { XS_READ, 1, 1, "x", 1, "another request" },
    { XS_READ, UINT32_MAX, 1, "x", 1, "another request" },
    { XS_WRITE, 0, 1, "x", 1, "another type" },
    { XS_ERROR, 7, 7, "ENOENT", 7, "another request" },
    { 4711, 0, 1, "x", 1, "another type" },
    { XS_INVALID, 0, 0, "", 0, "another type" },
    { UINT32_MAX, 0, 0, "", 0, "another type" },
    { XS_READ, 0, UINT32_MAX, "", 0, "1 MiB" },
    { XS_READ, 0, 1u << 31, "", 0, "1 MiB" },
    { XS_WATCH_EVENT, 0, 0, "", 0, "watch event" },
    { XS_WATCH_EVENT, 0, 4, "path", 4, "watch event" },
    { XS_WATCH_EVENT, 0, 5, "path", 5, "watch event" },
    { XS_WATCH_EVENT, 0, 7, "path\0to", 7, "watch event" },
    { XS_WATCH_EVENT, 0, 8, "path\0to", 8, NULL },
    { XS_WATCH_EVENT, 0, 2, "\0", 2, NULL },
    { XS_WATCH_EVENT, 0, 9, "p\0t\0extra", 9, NULL },
};

START_TEST(drops_garbage)
{
    struct xsd_sockmsg header;

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    header = (struct xsd_sockmsg){
        .type = garbage[_i].type,
        .req_id = fake.last.req_id + garbage[_i].id_offset,
        .len = garbage[_i].length,
    };
    raw(&header, sizeof(header));
    raw(garbage[_i].body, garbage[_i].body_length);
    if (!garbage[_i].why) {
        run_until(&seen.events, 1);
        ck_assert_uint_eq(seen.replies, 0);
        return;
    }
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_msg(strstr(seen.why, garbage[_i].why), "%s", seen.why);
    /* and it comes back */
    run_until(&seen.ups, 2);
    fake.serve = serve_ok;
    read_key("/a");
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

START_TEST(drops_what_nobody_asked)
{
    message(XS_READ, 12345, 0, "x", 1);
    run_until(&seen.losts, 1);
    ck_assert_ptr_nonnull(strstr(seen.why, "nobody"));
    run_until(&seen.ups, 2);
}
END_TEST

START_TEST(survives_random_bytes)
{
    unsigned state = (unsigned)_i * 2654435761u + 1;
    char bytes[300];

    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&fake.served, 1);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        state = state * 1103515245u + 12345u;
        bytes[i] = (char)(state >> 16);
        /* Small numbers get further. */
        if (_i % 2 && i % 4)
            bytes[i] = 0;
    }
    raw(bytes, sizeof(bytes));
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    run_until(&seen.ups, 2);
}
END_TEST

/* Losing the connection */

START_TEST(sees_the_end_at_every_byte)
{
    struct xsd_sockmsg header;
    char stream[20];

    fake.serve = serve_nothing;
    read_key("/a");
    read_key("/b");
    run_until(&fake.served, 2);
    header = fake.last;
    header.req_id--;
    header.len = 4;
    memcpy(stream, &header, sizeof(header));
    memcpy(stream + 16, "abcd", 4);
    ck_assert_int_eq(
        write(bufferevent_getfd(fake.connection), stream, (size_t)_i), _i);
    hang_up();
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_str_eq(seen.why, "xenstored closed the connection");
    ck_assert_uint_eq(seen.length, 0);
    ck_assert_mem_eq(seen.value, "abcd", _i == 20 ? 4 : 0);
    run_until(&seen.ups, 2);
    fake.serve = serve_ok;
    read_key("/a");
    run_until(&seen.replies, 3);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* What wasn't sent must not open the next connection. */
START_TEST(forgets_what_was_not_sent)
{
    static char value[4000];

    bufferevent_disable(fake.connection, EV_READ);
    for (int i = 0; i < 1000; i++)
        xsc_write(seen.xsc, 0, "/a", value, sizeof(value), on_reply, &seen);
    run_for(5 * US_PER_MS);
    hang_up();
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1000);
    run_until(&seen.ups, 2);
    fake.serve = serve_ok;
    read_key("/a");
    run_until(&seen.replies, 1001);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.served, 1);
}
END_TEST

START_TEST(is_not_ready_without_a_connection)
{
    const struct xsc_change changes[] = { { "/a", "1" }, { "/b", NULL } };

    stop_listening();
    hang_up();
    run_until(&seen.losts, 1);
    read_key("/a");
    xsc_directory(seen.xsc, 0, "/a", on_reply, &seen);
    xsc_commit(seen.xsc, changes, 2, on_reply, &seen);
    ck_assert_uint_eq(seen.replies, 0);
    run_until(&seen.replies, 3);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_uint_eq(seen.losts, 1);
}
END_TEST

START_TEST(comes_back_when_xenstored_does)
{
    int64_t start;

    stop_listening();
    hang_up();
    run_until(&seen.losts, 1);
    run_for(300 * US_PER_MS);
    ck_assert(!xsc_is_up(seen.xsc));
    listen_now();
    accept_now();
    start = now_us();
    run_until(&seen.ups, 2);
    ck_assert_int_lt(now_us() - start, US_PER_S);
    ck_assert_uint_eq(seen.losts, 1);
}
END_TEST

START_TEST(waits_for_xenstored_to_start)
{
    start_client(US_PER_S);
    run_for(20 * US_PER_MS);
    listen_now();
    run_for(20 * US_PER_MS);
    ck_assert_uint_eq(seen.ups, 0);
    accept_now();
    run_until(&seen.ups, 1);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

/* Not accepted, a connection fills the backlog: connect says EAGAIN. */
START_TEST(retries_a_full_backlog)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fds[4];

    listen_now();
    strcpy(address.sun_path, fake.path);
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fds[i], (struct sockaddr *)&address, sizeof(address)))
            ck_assert_int_eq(errno, EAGAIN);
    }
    ck_assert_int_eq(errno, EAGAIN);
    start_client(US_PER_S);
    run_for(50 * US_PER_MS);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    accept_now();
    run_until(&seen.ups, 1);
}
END_TEST

START_TEST(isnt_up_before_an_answer)
{
    fake.mute_probe = true;
    listen_now();
    accept_now();
    start_client(20 * US_PER_MS);
    run_until(&fake.accepted, 3);
    ck_assert_uint_eq(seen.ups, 0);
    ck_assert_uint_eq(seen.losts, 0);
    read_key("/a");
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    fake.mute_probe = false;
    run_until(&seen.ups, 1);
}
END_TEST

START_TEST(keeps_the_deadline)
{
    int64_t start;

    listen_now();
    accept_now();
    start_client(100 * US_PER_MS);
    run_until(&seen.ups, 1);
    run_for(150 * US_PER_MS); /* idle is no fault */
    ck_assert_uint_eq(seen.losts, 0);
    start = now_us();
    fake.serve = serve_nothing;
    read_key("/a");
    run_until(&seen.losts, 1);
    ck_assert_int_ge(now_us() - start, 100 * US_PER_MS);
    ck_assert_int_lt(now_us() - start, 300 * US_PER_MS);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    ck_assert_str_eq(seen.why, "xenstored hasn't answered for 0.1 s");
    run_until(&seen.ups, 2);
}
END_TEST

/* A long queue is no reason to give up while it moves. */
START_TEST(slow_answers_keep_the_connection)
{
    uint32_t first;

    listen_now();
    accept_now();
    start_client(100 * US_PER_MS);
    run_until(&seen.ups, 1);
    fake.serve = serve_nothing;
    for (int i = 0; i < 5; i++)
        read_key("/a");
    run_until(&fake.served, 5);
    first = fake.last.req_id - 4;
    for (uint32_t i = 0; i < 4; i++) {
        run_for(60 * US_PER_MS);
        message(XS_READ, first + i, 0, "x", 1);
    }
    run_until(&seen.replies, 4);
    ck_assert_uint_eq(seen.losts, 0);
    run_until(&seen.losts, 1);
}
END_TEST

/* Watch events don't prove that requests are answered. */
START_TEST(events_do_not_move_the_deadline)
{
    listen_now();
    accept_now();
    start_client(100 * US_PER_MS);
    run_until(&seen.ups, 1);
    fake.serve = serve_nothing;
    read_key("/a");
    for (int i = 0; i < 4 && !seen.losts; i++) {
        run_for(40 * US_PER_MS);
        if (fake.connection && fake.probed)
            message(XS_WATCH_EVENT, 0, 0, "p\0t", 4);
    }
    run_until(&seen.losts, 1);
}
END_TEST

/* Transactions */

static void
serve_start(const struct xsd_sockmsg *header)
{
    unsigned number = 100 + fake.served;
    char id[16];

    snprintf(id, sizeof(id), "%u", number);
    note("", "start");
    if (++fake.running > fake.most_running)
        fake.most_running = fake.running;
    fake.ended[number] = fake.ends;
    answer(header, id, strlen(id) + 1);
}

static void
serve_end(const struct xsd_sockmsg *header, const char *body)
{
    bool conflict = fake.conflicts || (fake.all_conflict &&
                                       fake.ended[header->tx_id] != fake.ends);

    note("", body);
    fake.running--;
    if (*body == 'T' && conflict) {
        if (fake.conflicts)
            fake.conflicts--;
        refuse(header, "EAGAIN");
        return;
    }
    fake.ends++;
    answer(header, "OK", 3);
}

static void
serve_transactions(struct fake *f, const struct xsd_sockmsg *header,
                   const char *body)
{
    (void)f;
    if (header->type == XS_TRANSACTION_START) {
        serve_start(header);
        return;
    }
    if (header->type == XS_TRANSACTION_END) {
        serve_end(header, body);
        return;
    }
    note(header->tx_id ? "+" : "", body);
    if (strstr(body, "missing"))
        refuse(header, "ENOENT");
    else if (strstr(body, "forbidden"))
        refuse(header, "EACCES");
    else
        answer(header, "OK", 3);
}

static void
commit(const struct xsc_change *changes, size_t count)
{
    fake.serve = serve_transactions;
    xsc_commit(seen.xsc, changes, count, on_reply, &seen);
}

static const struct xsc_change two[] = { { "/a", "1" }, { "/b", NULL } };

START_TEST(commits_several)
{
    commit(two, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start +/a +/b T ");
}
END_TEST

START_TEST(commits_one_without_transaction)
{
    commit(two, 1);
    run_until(&seen.replies, 1);
    ck_assert_str_eq(fake.log, "/a ");
    commit(two, 0);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.served, 1);
}
END_TEST

START_TEST(removing_what_is_missing_is_fine)
{
    const struct xsc_change changes[] = { { "/missing", NULL }, { "/b", "2" } };

    commit(changes, 2);
    commit(changes, 1);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start /missing +/missing +/b T ");
}
END_TEST

START_TEST(writing_into_what_is_missing_is_not)
{
    const struct xsc_change changes[] = { { "/missing", "1" },
                                          { "/forbidden", "2" } };

    commit(changes, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_FOUND);
    ck_assert_str_eq(fake.log, "start +/missing +/forbidden F ");
}
END_TEST

START_TEST(tries_again_after_a_conflict)
{
    fake.conflicts = 2;
    commit(two, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start +/a +/b T start +/a +/b T "
                               "start +/a +/b T ");
}
END_TEST

START_TEST(gives_up_after_twenty_conflicts)
{
    fake.conflicts = 1000;
    commit(two, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_AGAIN);
    ck_assert_uint_eq(1000 - fake.conflicts, 21);
    /* and the next one isn't blocked */
    fake.conflicts = 0;
    commit(two, 2);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* Half of them meet a conflict, and end all the same, one by one. */
START_TEST(many_commits_end)
{
    fake.conflicts = 50;
    for (int i = 0; i < 100; i++)
        commit(two, 2);
    run_until(&seen.replies, 100);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.most_running, 100);
    ck_assert_uint_eq(fake.running, 0);
    ck_assert_uint_eq(fake.served, 150 * 4);
}
END_TEST

/* Each conflicts with each: those that lost are tried again one by one. */
START_TEST(a_crowd_of_commits_ends)
{
    fake.all_conflict = true;
    for (int i = 0; i < 100; i++)
        commit(two, 2);
    run_until(&seen.replies, 100);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.ends, 100);
    ck_assert_uint_eq(fake.served, (100 + 99) * 4);
}
END_TEST

static void
serve_change_late(struct fake *f, const struct xsd_sockmsg *header,
                  const char *body)
{
    if (header->type == XS_WRITE && f->served < 4) {
        note("-", body);
        refuse(header, "EAGAIN");
    } else {
        serve_transactions(f, header, body);
    }
}

START_TEST(a_conflict_may_show_early)
{
    commit(two, 2);
    fake.serve = serve_change_late;
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start -/a +/b F start +/a +/b T ");
}
END_TEST

static void
serve_until(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    if (f->served > f->serve_at_most)
        hang_up();
    else
        serve_transactions(f, header, body);
}

START_TEST(a_lost_commit_is_told)
{
    commit(two, 2);
    fake.serve = serve_until;
    fake.serve_at_most = (unsigned)_i;
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    run_until(&seen.ups, 2);
    commit(two, 2);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* Those that wait for their turn too. */
START_TEST(lost_commits_are_told)
{
    fake.all_conflict = true;
    for (int i = 0; i < 10; i++)
        commit(two, 2);
    fake.serve = serve_until;
    fake.serve_at_most = 47; /* 40 together, then 4 for each */
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 10);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
}
END_TEST

static void
serve_start_badly(struct fake *f, const struct xsd_sockmsg *header,
                  const char *body)
{
    static const char *const ids[] = { "", "0", "x", "4294967296", "-1" };

    (void)body;
    answer(header, ids[f->conflicts], strlen(ids[f->conflicts]));
}

START_TEST(a_strange_transaction_is_an_error)
{
    commit(two, 2);
    fake.conflicts = (unsigned)_i;
    fake.serve = serve_start_badly;
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_PROTOCOL);
}
END_TEST

/* Directories */

static void
serve_directory(struct fake *f, const struct xsd_sockmsg *header,
                const char *body)
{
    (void)f;
    (void)body;
    answer(header, "a\0bc", 5);
}

static void
list(void)
{
    xsc_directory(seen.xsc, 0, "/d", on_reply, &seen);
}

START_TEST(lists_a_directory)
{
    fake.serve = serve_directory;
    list();
    run_until(&seen.replies, 1);
    ck_assert_uint_eq(seen.length, 5);
    ck_assert_mem_eq(seen.value, "a\0bc", 5);
    fake.serve = serve_nothing;
    list();
    run_until(&fake.served, 2);
    answer(&fake.last, "a\0bc", 4); /* without the last NUL */
    run_until(&seen.replies, 2);
    ck_assert_uint_eq(seen.length, 5);
    ck_assert_mem_eq(seen.value, "a\0bc", 5);
    list();
    run_until(&fake.served, 3);
    answer(&fake.last, "", 0);
    run_until(&seen.replies, 3);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

/* Parts by offset, as a list that each test sets. */
static struct {
    unsigned offset;
    const char *body;
    size_t length;
} parts[8];

static void
serve_parts(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    const char *offset = body + strlen(body) + 1;
    unsigned i = f->conflicts;

    ck_assert_str_eq(body, "/d");
    if (header->type == XS_DIRECTORY) {
        refuse(header, "E2BIG");
        return;
    }
    ck_assert_uint_eq(header->type, XS_DIRECTORY_PART);
    ck_assert_uint_eq((unsigned)atoi(offset), parts[i].offset);
    f->conflicts++;
    if (parts[i].body)
        answer(header, parts[i].body, parts[i].length);
    else
        refuse(header, "ENOENT");
}

static void
part(unsigned i, unsigned offset, const char *body, size_t length)
{
    parts[i].offset = offset;
    parts[i].body = body;
    parts[i].length = length;
}

static void
list_parts(void)
{
    fake.serve = serve_parts;
    list();
    run_until(&seen.replies, 1);
}

START_TEST(lists_in_parts)
{
    part(0, 0, "7\0aa\0b", 7);
    part(1, 5, "7\0ccc", 6);
    part(2, 9, "7\0d\0", 5);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 11);
    ck_assert_mem_eq(seen.value, "aa\0b\0ccc\0d", 11);
}
END_TEST

START_TEST(restarts_when_the_directory_changes)
{
    part(0, 0, "7\0aa\0b", 7);
    part(1, 5, "8\0x\0", 5);
    part(2, 0, "8\0aa", 5);
    part(3, 3, "8\0", 3);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 3);
    ck_assert_mem_eq(seen.value, "aa", 3);
}
END_TEST

START_TEST(an_empty_part_ends_an_empty_directory)
{
    part(0, 0, "7\0", 3);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

START_TEST(a_directory_may_vanish)
{
    part(0, 0, "7\0aa", 5);
    part(1, 3, NULL, 0);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NOT_FOUND);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

static const struct {
    const char *body;
    size_t length;
} bad_parts[] = {
    { "", 0 },        { "7", 1 },
    { "7", 2 },       { "7\0aa", 4 },
    { "\0\0\0a", 4 }, { "1111111111111111111111111111111111\0a", 37 },
};

START_TEST(refuses_bad_parts)
{
    part(0, 0, bad_parts[_i].body, bad_parts[_i].length);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_PROTOCOL);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

static void
serve_endless(struct fake *f, const struct xsd_sockmsg *header,
              const char *body)
{
    static char names[4000];

    (void)body;
    if (header->type == XS_DIRECTORY) {
        refuse(header, "E2BIG");
        return;
    }
    memset(names, 'n', sizeof(names) - 1);
    names[0] = f->conflicts ? (char)('1' + f->served % 2) : '1';
    names[1] = '\0';
    answer(header, names, sizeof(names));
}

START_TEST(an_endless_directory_ends)
{
    fake.serve = serve_endless;
    list();
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_BUSY);
}
END_TEST

START_TEST(an_ever_changing_directory_ends)
{
    fake.serve = serve_endless;
    fake.conflicts = 1;
    list();
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_AGAIN);
}
END_TEST

/* Freeing */

static void
fill_with_requests(void)
{
    fake.serve = serve_nothing;
    for (int i = 0; i < 100; i++)
        read_key("/a");
    list();
    commit(two, 2);
    commit(two, 1);
    read_key("not a path");
    fake.serve = serve_nothing;
}

START_TEST(frees_with_requests_pending)
{
    fill_with_requests();
    if (_i)
        run_until(&fake.served, 103);
    seen.replies = 0;
    free_client();
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 0);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(frees_in_up)
{
    hang_up();
    seen.free_in_up = true;
    run_until(&seen.ups, 2);
    run_for(5 * US_PER_MS);
    ck_assert_ptr_null(seen.xsc);
}
END_TEST

START_TEST(frees_in_lost)
{
    fill_with_requests();
    run_until(&fake.served, 103);
    seen.free_in_lost = true;
    hang_up();
    run_until(&seen.losts, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 104);
}
END_TEST

START_TEST(frees_in_watch)
{
    fill_with_requests();
    run_until(&fake.served, 103);
    seen.free_in_watch = true;
    for (int i = 0; i < 3; i++)
        message(XS_WATCH_EVENT, 0, 0, "p\0t", 4);
    run_until(&seen.events, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.events, 1);
}
END_TEST

/* With others behind it in the stream. */
START_TEST(frees_in_a_reply)
{
    fake.serve = serve_nothing;
    for (int i = 0; i < 10; i++)
        read_key("/a");
    list();
    run_until(&fake.served, 11);
    seen.free_in_reply = true;
    for (uint32_t i = 10; i > 0; i--)
        message(XS_READ, fake.last.req_id - i, 0, "value", 5);
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_mem_eq(seen.value, "value", 5);
}
END_TEST

START_TEST(frees_in_the_reply_of_an_operation)
{
    seen.free_in_reply = true;
    if (_i == 0) {
        fake.serve = serve_directory;
        list();
        list();
    } else {
        commit(two, (size_t)_i);
        commit(two, (size_t)_i);
    }
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
}
END_TEST

START_TEST(frees_in_a_lost_reply)
{
    fill_with_requests();
    run_until(&fake.served, 103);
    seen.replies = 0;
    seen.free_in_reply = true;
    hang_up();
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(frees_in_a_local_reply)
{
    seen.free_in_reply = true;
    read_key("not a path");
    read_key("not a path");
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("xsc");
    TCase *t = tcase_create("connected");
    TCase *n = tcase_create("not connected");

#define TABLE(test, table)                                                     \
    tcase_add_loop_test(t, test, 0, (int)(sizeof(table) / sizeof(table[0])))

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 20);
    tcase_add_test(t, reads_any_bytes);
    tcase_add_test(t, sends_each_kind);
    tcase_add_test(t, takes_no_reply_function);
    TABLE(translates_errors, error_texts);
    tcase_add_test(t, refuses_what_cannot_be_sent);
    tcase_add_test(t, takes_single_bytes);
    tcase_add_test(t, pipelines_ten_thousand);
    tcase_add_test(t, tells_events_from_replies);
    tcase_add_test(t, limits_what_is_pending);
    tcase_add_test(t, callbacks_may_ask_more);
    tcase_add_test(t, takes_replies_of_one_mib);
    TABLE(drops_garbage, garbage);
    tcase_add_test(t, drops_what_nobody_asked);
    tcase_add_loop_test(t, survives_random_bytes, 0, 40);
    tcase_add_loop_test(t, sees_the_end_at_every_byte, 0, 20);
    tcase_add_test(t, forgets_what_was_not_sent);
    tcase_add_test(t, is_not_ready_without_a_connection);
    tcase_add_test(t, comes_back_when_xenstored_does);
    tcase_add_test(t, commits_several);
    tcase_add_test(t, commits_one_without_transaction);
    tcase_add_test(t, removing_what_is_missing_is_fine);
    tcase_add_test(t, writing_into_what_is_missing_is_not);
    tcase_add_test(t, tries_again_after_a_conflict);
    tcase_add_test(t, gives_up_after_twenty_conflicts);
    tcase_add_test(t, many_commits_end);
    tcase_add_test(t, a_crowd_of_commits_ends);
    tcase_add_test(t, a_conflict_may_show_early);
    tcase_add_loop_test(t, a_lost_commit_is_told, 0, 4);
    tcase_add_test(t, lost_commits_are_told);
    tcase_add_loop_test(t, a_strange_transaction_is_an_error, 0, 5);
    tcase_add_test(t, lists_a_directory);
    tcase_add_test(t, lists_in_parts);
    tcase_add_test(t, restarts_when_the_directory_changes);
    tcase_add_test(t, an_empty_part_ends_an_empty_directory);
    tcase_add_test(t, a_directory_may_vanish);
    TABLE(refuses_bad_parts, bad_parts);
    tcase_add_test(t, an_endless_directory_ends);
    tcase_add_test(t, an_ever_changing_directory_ends);
    tcase_add_loop_test(t, frees_with_requests_pending, 0, 2);
    tcase_add_test(t, frees_in_up);
    tcase_add_test(t, frees_in_lost);
    tcase_add_test(t, frees_in_watch);
    tcase_add_test(t, frees_in_a_reply);
    tcase_add_loop_test(t, frees_in_the_reply_of_an_operation, 0, 3);
    tcase_add_test(t, frees_in_a_lost_reply);
    tcase_add_test(t, frees_in_a_local_reply);

    suite_add_tcase(s, n);
    tcase_add_checked_fixture(n, setup_nothing, teardown);
    tcase_set_timeout(n, 20);
    tcase_add_test(n, waits_for_xenstored_to_start);
    tcase_add_test(n, retries_a_full_backlog);
    tcase_add_test(n, isnt_up_before_an_answer);
    tcase_add_test(n, keeps_the_deadline);
    tcase_add_test(n, slow_answers_keep_the_connection);
    tcase_add_test(n, events_do_not_move_the_deadline);
    return s;
}

int
main(void)
{
    SRunner *runner = srunner_create(suite());
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
