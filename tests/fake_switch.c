/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fake_switch.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUE "org.xen.xapi.memory"

struct fake_switch fake;

__attribute__((format(printf, 1, 2))) static void
wrong(const char *format, ...)
{
    va_list arguments;

    if (fake.wrong[0])
        return;
    va_start(arguments, format);
    vsnprintf(fake.wrong, sizeof fake.wrong, format, arguments);
    va_end(arguments);
}

/* One of its faults, if it is to have it now. */
static bool
has_fault(enum fake_fault fault)
{
    if (fake.fault != fault || fake.faults == 0)
        return false;
    if (fake.faults > 0)
        fake.faults--;
    return true;
}

static void
reply(struct evhttp_request *request, int status, const char *text)
{
    struct evbuffer *body = evbuffer_new();

    evbuffer_add(body, text, strlen(text));
    evhttp_send_reply(request, status, "whatever", body);
    evbuffer_free(body);
}

/* -------------------------------------------------------------- connections */

static void
on_close(struct evhttp_connection *http, void *arg)
{
    struct fake_connection *c = arg;

    if (c->http != http)
        return;
    if (fake.waiting && evhttp_request_get_connection(fake.waiting) == http)
        fake.waiting = NULL;
    memset(c, 0, sizeof *c);
    fake.connected--;
}

static struct fake_connection *
connection_of(struct evhttp_request *request)
{
    struct evhttp_connection *http = evhttp_request_get_connection(request);
    struct fake_connection *place = NULL;

    for (int i = 0; i < FAKE_CONNECTIONS; i++) {
        if (fake.connections[i].http == http)
            return &fake.connections[i];
        if (!fake.connections[i].http)
            place = &fake.connections[i];
    }
    if (!place)
        abort();
    place->http = http;
    fake.connected++;
    evhttp_connection_set_closecb(http, on_close, place);
    return place;
}

static void
drop(struct evhttp_request *request)
{
    struct evhttp_connection *http = evhttp_request_get_connection(request);
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(http));

    shutdown(fd, SHUT_RDWR);
}

void
fake_hang_up(bool transferring)
{
    for (int i = 0; i < FAKE_CONNECTIONS; i++) {
        const struct fake_connection *c = &fake.connections[i];

        if (c->http && c->transfers == transferring)
            shutdown(
                bufferevent_getfd(evhttp_connection_get_bufferevent(c->http)),
                SHUT_RDWR);
    }
}

/* ---------------------------------------------------------------- messages */

static json_t *
message_json(int n)
{
    const struct fake_message *m = &fake.messages[n];

    if (m->broken)
        return json_pack("[[si]{s:[ss]}]", QUEUE, n, "kind", m->kind,
                         m->reply_queue);
    return json_pack("[[si]{s:s,s:[ss]}]", QUEUE, n, "payload", m->payload,
                     "kind", m->kind, m->reply_queue);
}

/* Those after from that wait; *ret_last: the last of them. */
static json_t *
list_messages(int64_t from, int64_t *ret_last)
{
    json_t *list = json_array();

    *ret_last = from;
    for (int n = 0; n < fake.count; n++) {
        bool wanted = n > from && !fake.messages[n].acked;

        if (fake.deliver_most &&
            (int)json_array_size(list) >= fake.deliver_most)
            break;
        if (!wanted && !fake.deliver_all)
            continue;
        json_array_append_new(list, message_json(n));
        fake.messages[n].delivered++;
        *ret_last = n;
    }
    return list;
}

/* JSON has to be UTF-8, what was put in need not be: 0x01 stands for a byte
 * that is none. */
static void
spoil(char *text)
{
    char *at = strstr(text, "\\u0001");

    if (at)
        memcpy(at, "\xff?????", 6);
}

static void
serve_waiting(bool late)
{
    struct evhttp_request *request = fake.waiting;
    int64_t last;
    json_t *list, *body;
    char next[32], *text;

    if (!request)
        return;
    list = list_messages(fake.waiting_from, &last);
    if (json_array_size(list) == 0 && !late) {
        json_decref(list);
        return;
    }
    fake.waiting = NULL;
    event_del(fake.timeout);
    snprintf(next, sizeof next, "%lld", (long long)last);
    body = json_pack("{s:o,s:s}", "messages", list, "next", next);
    if (has_fault(FAKE_NO_NEXT))
        json_object_del(body, "next");
    text = json_dumps(body, JSON_COMPACT | JSON_ENSURE_ASCII);
    spoil(text);
    reply(request, 200, text);
    free(text);
    json_decref(body);
}

static void
on_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    serve_waiting(true);
}

static void
send_endless(struct evhttp_request *request)
{
    size_t size = 17 << 20;
    char *text = malloc(size + 1);

    memset(text, ' ', size);
    text[size] = '\0';
    reply(request, 200, text);
    free(text);
}

static bool
has_transfer_fault(struct evhttp_request *request)
{
    if (has_fault(FAKE_NO_JSON))
        reply(request, 200, "<html>");
    else if (has_fault(FAKE_STATUS))
        reply(request, 500, "no");
    else if (has_fault(FAKE_HANGS_UP))
        drop(request);
    else if (has_fault(FAKE_ENDLESS))
        send_endless(request);
    else
        return false;
    return true;
}

static void
serve_transfer(struct evhttp_request *request, struct fake_connection *c)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    json_t *body = json_loadb((const char *)evbuffer_pullup(input, -1),
                              evbuffer_get_length(input), 0, NULL);
    const json_t *from = json_object_get(body, "from");
    double timeout = json_number_value(json_object_get(body, "timeout"));
    struct timeval delay = { 0, (suseconds_t)(timeout * 1e6) % 1000000 };
    const char *queue =
        json_string_value(json_array_get(json_object_get(body, "queues"), 0));

    delay.tv_sec = (time_t)timeout;
    fake.transfers++;
    fake.firsts += from == NULL;
    c->transfers = true;
    if (!json_is_real(json_object_get(body, "timeout")))
        wrong("no timeout in a transfer");
    if (!queue || strcmp(queue, QUEUE) != 0)
        wrong("no queue in a transfer");
    if (from && !json_is_string(from))
        wrong("from is no string");
    if (!fake.has_queue)
        wrong("a transfer before there was a queue");
    if (c->talks)
        wrong("a transfer on the connection for everything else");
    if (!has_transfer_fault(request)) {
        fake.waiting = request;
        fake.waiting_from = from ? atoll(json_string_value(from)) : -1;
        evtimer_add(fake.timeout, &delay);
        serve_waiting(false);
    }
    json_decref(body);
}

/* ---------------------------------------------------------------- responses */

static char *
name_of(const char *encoded)
{
    return evhttp_uridecode(encoded, 0, NULL);
}

static bool
has_reply_queue(const char *name)
{
    for (int i = 0; i < FAKE_REPLY_QUEUES; i++)
        if (strcmp(fake.reply_queues[i], name) == 0)
            return true;
    return false;
}

struct late {
    struct evhttp_request *request;
    struct event *timer;
    char text[100];
};

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
    struct late *late = arg;

    (void)fd, (void)what;
    if (late->request)
        reply(late->request, 200, late->text);
    event_free(late->timer);
    free(late);
}

static void
reply_later(struct evhttp_request *request, const char *text)
{
    struct late *late = calloc(1, sizeof *late);
    const struct timeval delay = { 0, fake.answer_ms * 1000 };

    late->request = request;
    snprintf(late->text, sizeof late->text, "%s", text);
    late->timer = evtimer_new(fake.base, on_late, late);
    evtimer_add(late->timer, &delay);
}

static void
note_answer(int n, struct evhttp_request *request)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    struct fake_message *m = &fake.messages[n];

    free(m->answer);
    m->answer = strndup((const char *)evbuffer_pullup(input, -1), length);
    m->answers++;
}

static void
serve_response(struct evhttp_request *request, const char *queue,
               const char *id)
{
    char *name = name_of(queue), text[100];
    int n = atoi(id);

    fake.responses++;
    snprintf(text, sizeof text, "[[\"%s\",%d]]", QUEUE, n + 1000);
    if (n < 0 || n >= fake.count)
        wrong("an answer to message %d, which is none", n);
    else if (strcmp(fake.messages[n].reply_queue, name) != 0)
        wrong("the answer to %d went to %s", n, name);
    if (has_fault(FAKE_MUTE_RESPONSE)) {
        ; /* it was lost */
    } else if (has_fault(FAKE_DROPS)) {
        drop(request);
    } else if (has_fault(FAKE_RIDDLES)) {
        reply(request, 500, "what?");
    } else if (!has_reply_queue(name)) {
        reply(request, 200, "[]");
    } else {
        note_answer(n, request);
        if (has_fault(FAKE_TAKES))
            drop(request);
        else if (fake.answer_ms)
            reply_later(request, text);
        else
            reply(request, 200, text);
    }
    free(name);
}

static void
serve_ack(struct evhttp_request *request, const char *id)
{
    int n = atoi(id);

    fake.acks++;
    if (n < 0 || n >= fake.count)
        wrong("an acknowledgement of message %d, which is none", n);
    else {
        const struct fake_message *m = &fake.messages[n];

        if (m->answers == 0 && has_reply_queue(m->reply_queue) && !m->broken &&
            strcmp(m->kind, "Request") == 0 && fake.fault != FAKE_RIDDLES)
            wrong("message %d was acknowledged without an answer", n);
        fake.messages[n].acked = true;
    }
    reply(request, 200, "");
}

/* ---------------------------------------------------------------- requests */

static void
serve_login(struct evhttp_request *request, struct fake_connection *c,
            const char *token)
{
    long pid = fake.pid ? fake.pid : getpid();

    fake.logins++;
    if (strncmp(token, "squeezed:", 9) != 0 || atol(token + 9) != pid)
        wrong("the token %s", token);
    if (has_fault(FAKE_MUTE_LOGIN))
        return;
    if (has_fault(FAKE_BAD_LOGIN)) {
        reply(request, 500, "");
        return;
    }
    snprintf(c->token, sizeof c->token, "%s", token);
    reply(request, 200, "");
}

static bool
is(struct evhttp_request *request, enum evhttp_cmd_type method,
   const char *const words[], int count, const char *verb, int wanted)
{
    return evhttp_request_get_command(request) == method && count == wanted &&
           strcmp(words[0], verb) == 0;
}

static void
serve(struct evhttp_request *request, void *arg)
{
    struct fake_connection *c = connection_of(request);
    char path[2000], *rest = path;
    const char *words[8] = { "" };
    int count = 0;

    (void)arg;
    snprintf(path, sizeof path, "%s", evhttp_request_get_uri(request) + 1);
    while (rest && count < 8)
        words[count++] = strsep(&rest, "/");
    if (is(request, EVHTTP_REQ_GET, words, count, "login", 2)) {
        serve_login(request, c, words[1]);
        return;
    }
    if (!c->token[0])
        wrong("/%s without a login", path);
    if (is(request, EVHTTP_REQ_POST, words, count, "transfer", 1)) {
        serve_transfer(request, c);
        return;
    }
    c->talks = true;
    if (is(request, EVHTTP_REQ_GET, words, count, "persistent", 2)) {
        fake.has_queue = strcmp(words[1], QUEUE) == 0;
        reply(request, 200, words[1]);
    } else if (is(request, EVHTTP_REQ_POST, words, count, "response", 4)) {
        serve_response(request, words[1], words[3]);
    } else if (is(request, EVHTTP_REQ_GET, words, count, "ack", 3)) {
        serve_ack(request, words[2]);
    } else {
        wrong("nobody serves /%s", path);
        reply(request, 404, "");
    }
}

/* -------------------------------------------------------------------- life */

void
fake_start(struct event_base *base, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct evconnlistener *listener;

    fake.base = base;
    snprintf(fake.path, sizeof fake.path, "%s", path);
    memcpy(address.sun_path, path, strlen(path));
    listener = evconnlistener_new_bind(
        base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16,
        (struct sockaddr *)&address, sizeof address);
    fake.http = evhttp_new(base);
    if (!listener || !evhttp_bind_listener(fake.http, listener))
        abort();
    evhttp_set_gencb(fake.http, serve, NULL);
    if (!fake.timeout)
        fake.timeout = evtimer_new(base, on_timeout, NULL);
}

void
fake_stop(void)
{
    if (!fake.http)
        return;
    unlink(fake.path);
    fake.waiting = NULL;
    evhttp_free(fake.http);
    fake.http = NULL;
    memset(fake.connections, 0, sizeof fake.connections);
    fake.connected = 0;
    event_del(fake.timeout);
}

void
fake_forget(void)
{
    for (int n = 0; n < fake.count; n++) {
        free(fake.messages[n].payload);
        free(fake.messages[n].answer);
    }
    memset(fake.messages, 0, sizeof fake.messages);
    fake.count = 0;
    fake.has_queue = false;
}

void
fake_reset(void)
{
    fake_stop();
    fake_forget();
    if (fake.timeout)
        event_free(fake.timeout);
    memset(&fake, 0, sizeof fake);
}

int
fake_call(const char *reply_queue, const char *payload)
{
    struct fake_message *m = &fake.messages[fake.count];

    m->payload = strdup(payload);
    m->kind = "Request";
    snprintf(m->reply_queue, sizeof m->reply_queue, "%s", reply_queue);
    fake.count++;
    serve_waiting(false);
    return fake.count - 1;
}

void
fake_add_reply_queue(const char *name)
{
    for (int i = 0; i < FAKE_REPLY_QUEUES; i++)
        if (!fake.reply_queues[i][0]) {
            snprintf(fake.reply_queues[i], sizeof fake.reply_queues[i], "%s",
                     name);
            return;
        }
    abort();
}

void
fake_remove_reply_queue(const char *name)
{
    for (int i = 0; i < FAKE_REPLY_QUEUES; i++)
        if (strcmp(fake.reply_queues[i], name) == 0)
            fake.reply_queues[i][0] = '\0';
}
