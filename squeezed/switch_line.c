/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/switch_line.h"

#include "common/units.h"
#include "squeezed/switch_curl.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct switch_line {
    struct event_base *base;
    char *path;
    size_t limit;
    switch_line_done *done;
    void *arg;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct event *timer;   /* what libcurl wants to be called for in time */
    struct evbuffer *body; /* of the reply */
    bool opened;           /* the one connection was made */
    bool closed;           /* and is gone */
    bool busy;
    bool too_long;
    bool inside; /* libcurl is on the stack */
    bool freed;  /* and the line was freed there */
    char error[CURL_ERROR_SIZE];
};

/* Set before there is a line. */
static const struct switch_curl *curl;

/* ------------------------------------------------------- libcurl's questions
 */

/* Only once: a second connection would not be logged in. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct switch_line *line = arg;

    (void)purpose;
    line->closed = line->opened;
    if (line->closed)
        return CURL_SOCKET_BAD;
    line->opened = true;
    return socket(address->family, address->socktype | SOCK_CLOEXEC,
                  address->protocol);
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
    struct switch_line *line = arg;
    size_t length = size * count;

    if (evbuffer_get_length(line->body) + length > line->limit) {
        line->too_long = true;
        return 0;
    }
    return evbuffer_add(line->body, data, length) == 0 ? length : 0;
}

static void
on_time(evutil_socket_t fd, short what, void *arg);

static void
on_socket(evutil_socket_t fd, short what, void *arg);

/* libcurl wants to be called after so many milliseconds. */
static int
set_timer(CURLM *multi, long ms, void *arg)
{
    struct switch_line *line = arg;
    const struct timeval delay = { ms / 1000, ms % 1000 * 1000 };

    (void)multi;
    if (ms < 0)
        evtimer_del(line->timer);
    else
        evtimer_add(line->timer, &delay);
    return 0;
}

/* libcurl wants to be told what happens to fd.  own: what was assigned to it,
 * the event. */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *own)
{
    struct switch_line *line = arg;
    struct event *event = own;
    short wanted = EV_PERSIST;

    (void)easy;
    if (event)
        event_free(event);
    event = NULL;
    if (what & CURL_POLL_IN)
        wanted |= EV_READ;
    if (what & CURL_POLL_OUT)
        wanted |= EV_WRITE;
    if (what != CURL_POLL_REMOVE) {
        event = event_new(line->base, fd, wanted, on_socket, line);
        if (!event || event_add(event, NULL) < 0)
            return -1;
    }
    curl->multi_assign(line->multi, fd, event);
    return 0;
}

/* ----------------------------------------------------------------- the end */

static const char *
reason(struct switch_line *line, CURLcode code)
{
    long error = 0;

    if (line->too_long)
        return "its reply is over the limit";
    if (line->closed)
        return "it closed the connection";
    if (code != CURLE_COULDNT_CONNECT)
        return line->error[0] ? line->error : curl->easy_strerror(code);
    /* libcurl would tell of a port. */
    curl->easy_getinfo(line->easy, CURLINFO_OS_ERRNO, &error);
    snprintf(line->error, sizeof line->error, "nobody listens: %s",
             strerror((int)error));
    return line->error;
}

/* The request is over: tells of it.  May end with the line freed. */
static void
finish(struct switch_line *line, CURLcode code)
{
    struct switch_reply reply = { .status = 0 };
    long status = 0;

    curl->easy_getinfo(line->easy, CURLINFO_RESPONSE_CODE, &status);
    curl->multi_remove_handle(line->multi, line->easy);
    line->busy = false;
    if (code == CURLE_OK && evbuffer_add(line->body, "", 1) == 0) {
        reply.status = (int)status;
        reply.length = evbuffer_get_length(line->body) - 1;
        reply.text = (const char *)evbuffer_pullup(line->body, -1);
    } else {
        reply.why = reason(line, code);
    }
    line->done(line->arg, &reply);
}

static void
destroy(struct switch_line *line);

static void
act(struct switch_line *line, curl_socket_t fd, int what)
{
    int left;
    const CURLMsg *message;

    line->inside = true;
    curl->multi_socket_action(line->multi, fd, what, &left);
    message = curl->multi_info_read(line->multi, &left);
    if (message && message->msg == CURLMSG_DONE)
        finish(line, message->data.result);
    line->inside = false;
    if (line->freed)
        destroy(line);
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
    act(arg, fd,
        ((what & EV_READ) ? CURL_CSELECT_IN : 0) |
            ((what & EV_WRITE) ? CURL_CSELECT_OUT : 0));
}

/* ---------------------------------------------------------------- requests */

bool
switch_line_busy(const struct switch_line *line)
{
    return line->busy;
}

static void
set_body(CURL *easy, const struct switch_request *request)
{
    if (request->body) {
        curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                          (curl_off_t)request->length);
        curl->easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
    } else {
        curl->easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
}

bool
switch_line_ask(struct switch_line *line, const struct switch_request *request)
{
    char url[4096];
    int length = snprintf(url, sizeof url, "http://localhost%s", request->path);

    assert(!line->busy && length > 0 && (size_t)length < sizeof url);
    (void)length;
    evbuffer_drain(line->body, evbuffer_get_length(line->body));
    line->error[0] = '\0';
    line->too_long = false;
    set_body(line->easy, request);
    curl->easy_setopt(line->easy, CURLOPT_TIMEOUT_MS,
                      (long)(request->timeout_us / US_PER_MS));
    if (curl->easy_setopt(line->easy, CURLOPT_URL, url) != CURLE_OK ||
        curl->multi_add_handle(line->multi, line->easy) != CURLM_OK)
        return false;
    line->busy = true;
    return true;
}

/* -------------------------------------------------------------------- life */

static void
set_options(struct switch_line *line)
{
    CURL *easy = line->easy;

    curl->easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, line->path);
    curl->easy_setopt(easy, CURLOPT_PROXY, "");
    curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl->easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl->easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl->easy_setopt(easy, CURLOPT_HTTPHEADER, line->headers);
    curl->easy_setopt(easy, CURLOPT_USERAGENT, "squeezed");
    /* It may be quiet for a day. */
    curl->easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)INT32_MAX);
    curl->easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl->easy_setopt(easy, CURLOPT_OPENSOCKETDATA, line);
    curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl->easy_setopt(easy, CURLOPT_WRITEDATA, line);
    curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, line->error);
    curl->multi_setopt(line->multi, CURLMOPT_MAXCONNECTS, 1L);
    curl->multi_setopt(line->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl->multi_setopt(line->multi, CURLMOPT_SOCKETDATA, line);
    curl->multi_setopt(line->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl->multi_setopt(line->multi, CURLMOPT_TIMERDATA, line);
}

/* No wait for a "100 Continue". */
static bool
make_headers(struct switch_line *line)
{
    struct curl_slist *list =
        curl->slist_append(NULL, "Content-Type: application/json");

    line->headers = list;
    return list && curl->slist_append(list, "Expect:");
}

struct switch_line *
switch_line_new(struct event_base *base, const char *path, size_t limit,
                switch_line_done *done, void *arg)
{
    struct switch_line *line;

    curl = switch_curl_load();
    line = curl ? calloc(1, sizeof *line) : NULL;
    if (!line)
        return NULL;
    line->base = base;
    line->path = strdup(path);
    line->limit = limit;
    line->done = done;
    line->arg = arg;
    line->multi = curl->multi_init();
    line->easy = curl->easy_init();
    line->timer = evtimer_new(base, on_time, line);
    line->body = evbuffer_new();
    if (make_headers(line) && line->path && line->multi && line->easy &&
        line->timer && line->body) {
        set_options(line);
        return line;
    }
    switch_line_free(line);
    return NULL;
}

static void
destroy(struct switch_line *line)
{
    if (line->busy)
        curl->multi_remove_handle(line->multi, line->easy);
    curl->easy_cleanup(line->easy);
    /* Closes the connection, and unwatches it. */
    curl->multi_cleanup(line->multi);
    curl->slist_free_all(line->headers);
    if (line->timer)
        event_free(line->timer);
    if (line->body)
        evbuffer_free(line->body);
    free(line->path);
    free(line);
}

void
switch_line_free(struct switch_line *line)
{
    if (!line)
        return;
    line->freed = true;
    if (!line->inside)
        destroy(line);
}
