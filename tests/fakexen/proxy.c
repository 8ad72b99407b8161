/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fakexen/proxy.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

enum { PAIRS = 16, BODY_MAX = 1 << 20, HELD_MS = 2 };

struct message {
    struct xsd_sockmsg header;
    char *body;
};

struct pair {
    int client; /* -1: unused */
    int server;
    bool waits;  /* a request is on its way: the next one has to wait */
    bool stalls; /* nothing is answered any more */
    uint32_t id; /* of that request */
    uint64_t requests;
    bool faulty; /* its answer brings the fault */
    bool held;   /* it hasn't gone on yet; that is this one: */
    struct message request;
};

static struct proxy_plan *plan;
static struct pair pairs[PAIRS];
static struct sockaddr_un upstream = { .sun_family = AF_UNIX };

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static bool
receive_all(int fd, void *to, size_t length)
{
    char *at = to;

    while (length > 0) {
        ssize_t n = recv(fd, at, length, 0);

        if (n <= 0)
            return false;
        at += n;
        length -= (size_t)n;
    }
    return true;
}

static bool
send_all(int fd, const void *from, size_t length)
{
    const char *at = from;

    while (length > 0) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        length -= (size_t)n;
    }
    return true;
}

static bool
receive_message(int fd, struct message *ret)
{
    static char body[BODY_MAX + 1];

    ret->body = body;
    if (!receive_all(fd, &ret->header, sizeof(ret->header)) ||
        ret->header.len > BODY_MAX || !receive_all(fd, body, ret->header.len))
        return false;
    body[ret->header.len] = '\0';
    return true;
}

static bool
send_message(int fd, const struct xsd_sockmsg *header, const void *body)
{
    return send_all(fd, header, sizeof(*header)) &&
           send_all(fd, body, header->len);
}

static void
cut(struct pair *pair)
{
    close(pair->client);
    close(pair->server);
    if (pair->held)
        free(pair->request.body);
    *pair = (struct pair){ .client = -1, .server = -1 };
}

static bool
answer(struct pair *pair, const struct xsd_sockmsg *request, uint32_t type,
       const char *body, size_t length)
{
    struct xsd_sockmsg header = { .type = type,
                                  .req_id = request->req_id,
                                  .tx_id = request->tx_id,
                                  .len = (uint32_t)length };

    return send_message(pair->client, &header, body);
}

/* A transaction is over in either case, as it is when a real one refuses. */
static void
refuse(struct pair *pair, const struct message *request)
{
    struct xsd_sockmsg abort = request->header;
    struct message ignored;

    if (abort.type == XS_TRANSACTION_END) {
        abort.len = 2;
        send_message(pair->server, &abort, "F");
        do {
            if (!receive_message(pair->server, &ignored))
                break;
        } while (ignored.header.req_id != abort.req_id);
    }
    answer(pair, &request->header, XS_ERROR, plan->error,
           strlen(plan->error) + 1);
}

static void
send_garbage(struct pair *pair, const struct xsd_sockmsg *request)
{
    struct xsd_sockmsg other = *request;
    char noise[64];

    switch (plan->garbage) {
    case GARBAGE_NOISE:
        memset(noise, 0xa5, sizeof(noise));
        send_all(pair->client, noise, sizeof(noise));
        break;
    case GARBAGE_HUGE:
        other.len = UINT32_MAX;
        send_all(pair->client, &other, sizeof(other));
        break;
    case GARBAGE_OTHER_TYPE:
        answer(pair, request, request->type == XS_READ ? XS_RM : XS_READ, "OK",
               3);
        break;
    case GARBAGE_OTHER_ID:
        other.req_id += 7;
        answer(pair, &other, request->type, "OK", 3);
        break;
    case GARBAGE_NO_ERROR:
        answer(pair, request, XS_ERROR, "", 0);
        break;
    case GARBAGE_ODD_ERROR:
        answer(pair, request, XS_ERROR, "EWHATEVER", 10);
        break;
    case GARBAGE_EVENT:
        other = (struct xsd_sockmsg){ .type = XS_WATCH_EVENT, .len = 8 };
        send_message(pair->client, &other, "nonsense");
        break;
    case GARBAGE_OTHER_EVENTS:
        other = (struct xsd_sockmsg){ .type = XS_WATCH_EVENT, .len = 14 };
        for (int i = 0; i < 100; i++)
            send_message(pair->client, &other, "/a/b\0domain-1");
        cut(pair);
        break;
    case GARBAGE_HALF:
        other.len = 100;
        send_all(pair->client, &other, sizeof(other));
        send_all(pair->client, "half", 4);
        cut(pair);
        break;
    case GARBAGE_KINDS:
        break;
    }
}

/* Whoever sent this. */
static void
kill_client(const struct pair *pair)
{
    struct ucred peer = { .pid = -1 };
    socklen_t length = sizeof(peer);

    getsockopt(pair->client, SOL_SOCKET, SO_PEERCRED, &peer, &length);
    if (peer.pid <= 0)
        die("whom to kill");
    kill(peer.pid, SIGKILL);
    /* Not before it is dead: it would see the connection closed. */
    while (kill(peer.pid, 0) == 0) {
        char path[40], state = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)peer.pid);
        file = fopen(path, "r");
        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
            state = 0;
        if (file)
            fclose(file);
        if (state == 'Z' || state == 0)
            return;
        usleep(100);
    }
}

/* For people, and for plan->only. */
static void
describe(const struct message *request, char what[sizeof(plan->what)])
{
    static const char *const names[] = {
        [XS_DIRECTORY] = "directory",
        [XS_READ] = "read",
        [XS_WATCH] = "watch",
        [XS_UNWATCH] = "unwatch",
        [XS_WRITE] = "write",
        [XS_RM] = "rm",
        [XS_TRANSACTION_START] = "start",
        [XS_TRANSACTION_END] = "end",
    };
    uint32_t type = request->header.type;
    const char *name =
        type < sizeof(names) / sizeof(names[0]) ? names[type] : NULL;

    snprintf(what, sizeof(plan->what), "%s %.100s", name ? name : "?",
             request->body);
}

/* The fault comes, instead of the request; false if it comes afterwards. */
static bool
break_before(struct pair *pair, const struct message *request)
{
    switch (plan->fault) {
    case PROXY_KILL_BEFORE:
        kill_client(pair);
        cut(pair);
        return true;
    case PROXY_CUT_BEFORE:
        cut(pair);
        return true;
    case PROXY_FAIL:
        refuse(pair, request);
        return true;
    case PROXY_GARBAGE:
        send_garbage(pair, &request->header);
        return true;
    case PROXY_STALL:
        pair->stalls = true;
        return true;
    case PROXY_KILL_AFTER:
    case PROXY_CUT_AFTER:
    case PROXY_NOTHING:
        break;
    }
    return false;
}

/* What isn't there is no fault for who reads or removes it. */
static bool
is_harmless(const struct message *request)
{
    return plan->fault == PROXY_FAIL && !strcmp(plan->error, "ENOENT") &&
           (request->header.type == XS_READ || request->header.type == XS_RM ||
            request->header.type == XS_UNWATCH);
}

static bool
is_meant(const struct message *request)
{
    char what[sizeof(plan->what)];

    describe(request, what);
    return !is_harmless(request) &&
           strncmp(what, plan->only, strlen(plan->only)) == 0;
}

static bool
is_due(const struct pair *pair)
{
    if (plan->again)
        return plan->at && pair->requests >= plan->at;
    return plan->at && plan->requests >= plan->at && !plan->done;
}

static void
hold(struct pair *pair, const struct message *request)
{
    pair->request = *request;
    pair->request.body = malloc(request->header.len + 1);
    if (!pair->request.body)
        die("malloc");
    memcpy(pair->request.body, request->body, request->header.len + 1);
    pair->held = true;
}

static void
pass_on(struct pair *pair, const struct message *request, bool faulty)
{
    if (faulty && break_before(pair, request))
        return;
    pair->faulty = faulty && plan->fault != PROXY_NOTHING;
    pair->waits = true;
    pair->id = request->header.req_id;
    if (!send_message(pair->server, &request->header, request->body))
        cut(pair);
}

static void
let_go(struct pair *pair)
{
    struct message request = pair->request;

    pair->held = false;
    pass_on(pair, &request, true);
    free(request.body);
}

static void
take_request(struct pair *pair)
{
    struct message request;
    bool faulty;

    if (!receive_message(pair->client, &request)) {
        cut(pair);
        return;
    }
    plan->requests++;
    pair->requests++;
    faulty = is_due(pair) && is_meant(&request);
    if (faulty) {
        describe(&request, plan->what);
        plan->done = true;
    }
    if (faulty && plan->hold)
        hold(pair, &request);
    else
        pass_on(pair, &request, faulty);
}

static void
take_answer(struct pair *pair)
{
    struct message message;
    bool answers;

    if (!receive_message(pair->server, &message)) {
        cut(pair);
        return;
    }
    answers = message.header.type != XS_WATCH_EVENT &&
              message.header.req_id == pair->id;
    if (answers && pair->faulty) {
        if (plan->fault == PROXY_KILL_AFTER)
            kill_client(pair);
        cut(pair);
        return;
    }
    if (answers) {
        pair->waits = false;
        if (plan->delay_us)
            usleep(plan->delay_us);
    }
    if (!send_message(pair->client, &message.header, message.body))
        cut(pair);
}

static void
take_connection(int listener)
{
    int client = accept(listener, NULL, NULL);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    for (int i = 0; i < PAIRS; i++) {
        if (pairs[i].client >= 0)
            continue;
        pairs[i] = (struct pair){ .client = client, .server = server };
        if (connect(server, (struct sockaddr *)&upstream, sizeof(upstream)))
            cut(&pairs[i]);
        return;
    }
    die("too many connections");
}

/* A watched descriptor of each pair: while a request is on its way, only the
 * client's end is of interest. */
static void
run_once(int listener)
{
    struct pollfd fds[1 + 2 * PAIRS];
    bool holds = false;

    fds[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
    for (int i = 0; i < PAIRS; i++) {
        struct pair *pair = &pairs[i];
        bool reads =
            pair->client >= 0 && !pair->waits && !pair->stalls && !pair->held;

        holds |= pair->held;
        fds[1 + 2 * i] = (struct pollfd){
            .fd = pair->client,
            .events = reads ? POLLIN : 0,
        };
        fds[2 + 2 * i] =
            (struct pollfd){ .fd = pair->server, .events = POLLIN };
    }
    if (poll(fds, 1 + 2 * PAIRS, holds ? HELD_MS : -1) < 0)
        return;
    for (int i = 0; i < PAIRS; i++) {
        struct pair *pair = &pairs[i];

        if (pair->client >= 0 && fds[2 + 2 * i].revents)
            take_answer(pair);
        if (pair->held && !plan->hold)
            let_go(pair);
        if (pair->client < 0)
            continue;
        if (fds[1 + 2 * i].revents & POLLIN)
            take_request(pair);
        else if (fds[1 + 2 * i].revents & (POLLHUP | POLLERR))
            cut(pair);
    }
    if (fds[0].revents & POLLIN)
        take_connection(listener);
}

static int
listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
        listen(fd, 8))
        die(path);
    return fd;
}

void
proxy_start(struct proxy *proxy, const char *path, const char *to)
{
    pid_t parent = getpid();
    int listener = listen_at(path);

    plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (plan == MAP_FAILED)
        die("mmap");
    snprintf(upstream.sun_path, sizeof(upstream.sun_path), "%s", to);
    for (int i = 0; i < PAIRS; i++)
        pairs[i].client = pairs[i].server = -1;
    proxy->plan = plan;
    proxy->pid = fork();
    if (proxy->pid < 0)
        die("fork");
    if (proxy->pid > 0) {
        close(listener);
        return;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (;;)
        run_once(listener);
}

void
proxy_stop(struct proxy *proxy)
{
    if (proxy->pid <= 0)
        return;
    kill(proxy->pid, SIGKILL);
    waitpid(proxy->pid, NULL, 0);
    munmap((void *)(uintptr_t)proxy->plan, sizeof(*plan));
    proxy->pid = 0;
}

void
proxy_reset(struct proxy *proxy)
{
    volatile struct proxy_plan *shared = proxy->plan;

    shared->at = 0;
    shared->again = false;
    shared->only[0] = '\0';
    shared->hold = false;
    shared->delay_us = 0;
    shared->done = false;
    shared->requests = 0;
}
