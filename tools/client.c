/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/client.h"

#include "tools/stop_signals.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A status of 32,752 domains is some 20 MiB. */
#define ANSWER_BYTES_MAX ((size_t)64 << 20)
/* How long a full backlog may keep us from connecting. */
#define CONNECT_TIMEOUT_S 5
#define CONNECT_RETRY_MS  50
/* How long a cancelled call is given to say how it ended. */
#define CANCEL_TIMEOUT_MS 2000
#define POLL_MS           1000

struct transfer {
    const struct client_call *call;
    struct client_answer *answer;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char *request;
    /* The body of the answer so far. */
    char *body;
    size_t length;
    bool too_long;
    int socket;         /* curl's; -1 before it is open */
    int connect_errno;  /* why connecting failed; 0 */
    int signal_fd;      /* -1: signals have their usual effect */
    int64_t give_up_ms; /* after a signal; 0: no signal came */
};

static int64_t
clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Lets curl connect, but knows the socket. */
static curl_socket_t
on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = arg;

    (void)purpose;
    transfer->socket = socket(address->family, address->socktype | SOCK_CLOEXEC,
                              address->protocol);
    return transfer->socket < 0 ? CURL_SOCKET_BAD : transfer->socket;
}

static int
on_close(void *arg, curl_socket_t fd)
{
    struct transfer *transfer = arg;

    transfer->socket = -1;
    return close(fd);
}

static long
http_status(const struct transfer *transfer)
{
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t length = size * count; /* size is 1 */
    char *body;

    if (transfer->call->page && http_status(transfer) == 200)
        return transfer->call->take(transfer->call->context, data, length)
                   ? length
                   : 0;
    if (length > ANSWER_BYTES_MAX - transfer->length) {
        transfer->too_long = true;
        return 0;
    }
    body = realloc(transfer->body, transfer->length + length);
    if (!body)
        return 0;
    memcpy(body + transfer->length, data, length);
    transfer->body = body;
    transfer->length += length;
    return length;
}

static bool
encode_call(struct transfer *transfer)
{
    json_t *request = json_pack("{s:s, s:s, s:O, s:i}", "jsonrpc", "2.0",
                                "method", transfer->call->method, "params",
                                transfer->call->params, "id", 1);

    if (!request)
        return false;
    transfer->request = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (transfer->request)
        curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, transfer->request);
    return transfer->request != NULL;
}

/* What is asked for. */
static bool
encode(struct transfer *transfer)
{
    const char *page = transfer->call->page;
    char url[100];

    snprintf(url, sizeof(url), "http://localhost%s", page ? page : "/");
    curl_easy_setopt(transfer->easy, CURLOPT_URL, url); /* copies it */
    return page || encode_call(transfer);
}

static bool
set_up(struct transfer *transfer)
{
    CURL *easy = transfer->easy = curl_easy_init();

    transfer->multi = curl_multi_init();
    transfer->headers =
        curl_slist_append(NULL, "Content-Type: application/json");
    if (!easy || !transfer->multi || !transfer->headers || !encode(transfer))
        return false;
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH,
                     transfer->call->socket_path);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long)transfer->call->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    return true;
}

static void
tear_down(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    if (transfer->multi)
        curl_multi_cleanup(transfer->multi);
    curl_slist_free_all(transfer->headers);
    free(transfer->request);
    free(transfer->body);
}

/* Cancels without a race: we only say that nothing more will come from us,
 * which the broker takes for having gone, and go on listening.  An answer that
 * was on its way already is heard, so no reservation gets lost.  A second
 * signal ends it at once. */
static void
take_signal(struct transfer *transfer)
{
    struct signalfd_siginfo info;

    if (read(transfer->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    transfer->answer->interrupted = true;
    transfer->answer->signal = (int)info.ssi_signo;
    if (transfer->give_up_ms || transfer->socket < 0)
        transfer->give_up_ms = clock_ms();
    else
        transfer->give_up_ms = clock_ms() + CANCEL_TIMEOUT_MS;
    if (transfer->socket >= 0)
        shutdown(transfer->socket, SHUT_WR);
}

static int
poll_ms(const struct transfer *transfer)
{
    int64_t left_ms = transfer->give_up_ms - clock_ms();

    if (!transfer->give_up_ms || left_ms > POLL_MS)
        return POLL_MS;
    return left_ms > 0 ? (int)left_ms : 0;
}

/* Until the answer is there or the call was given up. */
static void
run(struct transfer *transfer)
{
    struct curl_waitfd waitfd = { .fd = transfer->signal_fd,
                                  .events = CURL_WAIT_POLLIN };
    unsigned watched = transfer->signal_fd >= 0 ? 1 : 0;

    for (;;) {
        int running = 0;

        if (curl_multi_perform(transfer->multi, &running) != CURLM_OK ||
            !running)
            return;
        if (transfer->give_up_ms && clock_ms() >= transfer->give_up_ms)
            return;
        waitfd.revents = 0;
        curl_multi_poll(transfer->multi, &waitfd, watched, poll_ms(transfer),
                        NULL);
        if (waitfd.revents)
            take_signal(transfer);
    }
}

/* CURLE_ABORTED_BY_CALLBACK if it was given up. */
static CURLcode
attempt(struct transfer *transfer)
{
    CURLcode code = CURLE_ABORTED_BY_CALLBACK;
    CURLMsg *message;
    int left;

    if (curl_multi_add_handle(transfer->multi, transfer->easy) != CURLM_OK)
        return CURLE_OUT_OF_MEMORY;
    run(transfer);
    message = curl_multi_info_read(transfer->multi, &left);
    if (message && message->msg == CURLMSG_DONE)
        code = message->data.result;
    curl_multi_remove_handle(transfer->multi, transfer->easy);
    return code;
}

static int
connect_errno(const struct transfer *transfer)
{
    long error = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error);
    /* A full backlog gives EAGAIN, which curl takes for "it goes on" and then
     * fails without a reason. */
    return error ? (int)error : EAGAIN;
}

/* Nothing has been sent where connecting failed, so it may be tried again. */
static CURLcode
attempt_until_connected(struct transfer *transfer)
{
    int64_t end_ms = clock_ms() + (int64_t)CONNECT_TIMEOUT_S * 1000;
    struct pollfd signals = { .fd = transfer->signal_fd, .events = POLLIN };

    for (;;) {
        CURLcode code = attempt(transfer);

        if (code != CURLE_COULDNT_CONNECT ||
            connect_errno(transfer) != EAGAIN || clock_ms() >= end_ms)
            return code;
        if (poll(&signals, 1, CONNECT_RETRY_MS) > 0) {
            transfer->answer->interrupted = true;
            return code;
        }
    }
}

static void __attribute__((format(printf, 2, 3)))
say(struct client_answer *answer, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(answer->message, sizeof(answer->message), format, args);
    va_end(args);
}

static void
say_why_not_connected(struct client_answer *answer, const char *path, int error)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        say(answer,
            "no broker answers on %s: is squeezed running? "
            "(systemctl status squeezed)",
            path);
        return;
    case EACCES:
    case EPERM:
        say(answer,
            "permission denied on %s: only root may connect, and the group "
            "that socket-group in squeezed.conf names",
            path);
        return;
    case EAGAIN:
        say(answer,
            "no broker answers on %s: it has not taken our connection for "
            "%d s",
            path, CONNECT_TIMEOUT_S);
        return;
    default:
        say(answer, "no broker answers on %s: %s", path, strerror(error));
    }
}

static void
say_why_no_answer(struct transfer *transfer, CURLcode code)
{
    struct client_answer *answer = transfer->answer;
    const char *path = transfer->call->socket_path;

    if (code == CURLE_COULDNT_CONNECT)
        say_why_not_connected(answer, path, connect_errno(transfer));
    else if (transfer->too_long)
        say(answer, "the answer on %s is longer than %zu MiB", path,
            ANSWER_BYTES_MAX >> 20);
    else if (code == CURLE_OPERATION_TIMEDOUT)
        say(answer, "the broker on %s has not answered within %lld s", path,
            (long long)transfer->call->timeout_ms / 1000);
    else if (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
             code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE)
        say(answer,
            "the broker on %s closed the connection without an answer "
            "(journalctl -u squeezed may say why)",
            path);
    else
        say(answer, "no broker answers on %s: %s", path,
            curl_easy_strerror(code));
}

static void
take_body(struct transfer *transfer)
{
    struct client_answer *answer = transfer->answer;
    json_t *body = json_loadb(transfer->body ? transfer->body : "",
                              transfer->length, JSON_ALLOW_NUL, NULL);
    json_t *error = json_object_get(body, "error");
    json_t *result = json_object_get(body, "result");

    if (json_is_object(error)) {
        answer->end = CLIENT_ERROR;
        answer->error = json_incref(error);
    } else if (result) {
        answer->end = CLIENT_RESULT;
        answer->result = json_incref(result);
    } else {
        say(answer,
            "what answers on %s is no squeezed: HTTP status %ld without a "
            "JSON-RPC answer",
            transfer->call->socket_path, http_status(transfer));
    }
    json_decref(body);
}

static bool
took_page(const struct transfer *transfer)
{
    return transfer->call->page && http_status(transfer) == 200;
}

static void
perform(struct transfer *transfer)
{
    CURLcode code;

    if (!set_up(transfer)) {
        say(transfer->answer, "out of memory");
        return;
    }
    code = attempt_until_connected(transfer);
    if (took_page(transfer) &&
        (code == CURLE_OK || code == CURLE_WRITE_ERROR)) {
        transfer->answer->end = CLIENT_RESULT;
        transfer->answer->result = json_null();
    } else if (code == CURLE_OK)
        take_body(transfer);
    else if (transfer->answer->interrupted)
        transfer->answer->end = CLIENT_INTERRUPTED;
    else
        say_why_no_answer(transfer, code);
}

void
client_call(const struct client_call *call, struct client_answer *ret)
{
    struct transfer transfer = {
        .call = call, .answer = ret, .socket = -1, .signal_fd = -1
    };
    sigset_t caught;

    *ret = (struct client_answer){ .end = CLIENT_NO_ANSWER };
    if (call->cancellable) {
        stop_signals_fill(&caught);
        sigprocmask(SIG_BLOCK, &caught, NULL);
        transfer.signal_fd = signalfd(-1, &caught, SFD_NONBLOCK | SFD_CLOEXEC);
    }
    perform(&transfer);
    tear_down(&transfer);
    if (transfer.signal_fd >= 0)
        close(transfer.signal_fd);
}

void
client_ask(const char *socket_path, const char *method, json_t *params,
           int64_t timeout_ms, struct client_answer *ret)
{
    struct client_call call = { .socket_path = socket_path,
                                .method = method,
                                .params = params,
                                .timeout_ms = timeout_ms };

    client_call(&call, ret);
    json_decref(params);
}

void
client_answer_done(struct client_answer *answer)
{
    json_decref(answer->result);
    json_decref(answer->error);
    *answer = (struct client_answer){ .end = CLIENT_NO_ANSWER };
}
