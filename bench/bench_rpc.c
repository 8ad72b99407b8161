/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls of the memory interface, as a client in C sees them: how many a second,
 * and how long one takes.  The whole daemon on a fake host (tests/fakexen) with
 * a real xenstored.  Run by `make bench`. */
#include "tests/fakexen/rig.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    CLIENTS = 50,
    OFFERED = 2000, /* calls a second */
    OFFERED_S = 10,
    SERIAL_S = 3,
    PAIRS = 2000,
    SAMPLES_MAX = 1 << 18,
    RESERVE_KIB = 1024
};

#define QUESTION                                                               \
    "{\"method\":\"get_host_reserved_memory\",\"params\":[\"x\"],\"id\":1}"
#define QUESTION_XML                                                           \
    "<?xml version=\"1.0\"?><methodCall><methodName>get_host_reserved_memory"  \
    "</methodName><params><param><value>x</value></param></params>"            \
    "</methodCall>"

struct connection {
    int fd;
    char text[8192];
    size_t length;
    int64_t due_us; /* when its open call was to be sent; 0: none is open */
};

static struct rig rig = { .level = "warning", .rate_mib_s = 4096 };
static double samples[SAMPLES_MAX];
static size_t count;

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "bench_rpc: %s\n", what);
    rig_print_log(&rig);
    exit(1);
}

/* ------------------------------------------------------------------ numbers */

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void
add(int64_t us)
{
    if (count < SAMPLES_MAX)
        samples[count++] = (double)us / 1000;
}

static double
percentile(size_t percent)
{
    return samples[(count * percent + 99) / 100 - 1];
}

static void
print(const char *what, double a_second)
{
    qsort(samples, count, sizeof samples[0], by_size);
    printf("%-40s %9.0f %9.3f %9.3f %9.3f\n", what, a_second, percentile(50),
           percentile(99), samples[count - 1]);
    fflush(stdout);
    count = 0;
}

/* -------------------------------------------------------------- connections */

static void
open_connection(struct connection *c)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%s", rig.socket);
    c->length = 0;
    c->due_us = 0;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 ||
        connect(c->fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die("can't connect");
}

static void
send_call(struct connection *c, const char *body)
{
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "POST / HTTP/1.1\r\ncontent-length: %zu\r\n\r\n%s",
                     strlen(body), body);

    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        die("can't send");
}

/* Reads once; the body if it is whole now, else NULL. */
static const char *
receive_some(struct connection *c)
{
    const char *head, *body;
    size_t length;
    ssize_t n =
        recv(c->fd, c->text + c->length, sizeof c->text - c->length - 1, 0);

    if (n <= 0)
        die("the connection was closed");
    c->length += (size_t)n;
    c->text[c->length] = '\0';
    body = strstr(c->text, "\r\n\r\n");
    head = body ? strcasestr(c->text, "content-length:") : NULL;
    if (!head)
        return NULL;
    length = strtoul(head + strlen("content-length:"), NULL, 10);
    if (strlen(body + 4) < length)
        return NULL;
    c->length = 0;
    return body + 4;
}

static const char *
call(struct connection *c, const char *body)
{
    const char *answer;

    send_call(c, body);
    while (!(answer = receive_some(c)))
        ;
    return answer;
}

/* ------------------------------------------------------------------ benches */

static void
bench_serial(const char *what, const char *body)
{
    struct connection c;
    int64_t start_us = rig_now_us(), now_us = start_us, next_us;
    size_t calls = 0;

    open_connection(&c);
    while (now_us - start_us < SERIAL_S * US_PER_S) {
        if (!strstr(call(&c, body), "73728"))
            die(c.text);
        next_us = rig_now_us();
        add(next_us - now_us);
        now_us = next_us;
        calls++;
    }
    close(c.fd);
    print(what, (double)calls * US_PER_S / (double)(now_us - start_us));
}

/* Sleeps, so that the broker has a processor also where there is but one. */
static void
wait_until(struct pollfd *fds, int64_t us)
{
    const int64_t wait_us = max_i64(us - rig_now_us(), 0);
    const struct timespec wait = { .tv_sec = (time_t)(wait_us / US_PER_S),
                                   .tv_nsec = wait_us % US_PER_S * 1000 };

    if (ppoll(fds, CLIENTS, &wait, NULL) < 0)
        die(strerror(errno));
}

static void
take_answer(struct connection *c)
{
    if (!receive_some(c))
        return;
    add(rig_now_us() - c->due_us);
    c->due_us = 0;
}

static struct connection *
find_idle(struct connection *all, size_t from)
{
    for (size_t i = 0; i < CLIENTS; i++)
        if (all[(from + i) % CLIENTS].due_us == 0)
            return &all[(from + i) % CLIENTS];
    return NULL;
}

/* Calls come when they come, whether others have been answered or not. */
static void
bench_offered(void)
{
    static struct connection all[CLIENTS];
    struct pollfd fds[CLIENTS];
    int64_t start_us, due_us;
    size_t sent = 0;

    for (size_t i = 0; i < CLIENTS; i++) {
        open_connection(&all[i]);
        fds[i] = (struct pollfd){ .fd = all[i].fd, .events = POLLIN };
    }
    start_us = rig_now_us();
    while (sent < (size_t)OFFERED * OFFERED_S) {
        struct connection *idle = find_idle(all, sent);

        due_us = start_us + (int64_t)sent * US_PER_S / OFFERED;
        if (idle && rig_now_us() >= due_us) {
            idle->due_us = due_us;
            send_call(idle, QUESTION);
            sent++;
            continue;
        }
        wait_until(fds, idle ? due_us : due_us + US_PER_S);
        for (size_t i = 0; i < CLIENTS; i++)
            if (fds[i].revents)
                take_answer(&all[i]);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        close(all[i].fd);
    print("2,000 a second offered by 50 clients",
          (double)sent * US_PER_S / (double)(rig_now_us() - start_us));
}

static void
reserve_one(struct connection *c, char id[64])
{
    char body[200];
    const char *answer;

    snprintf(body, sizeof body,
             "{\"method\":\"reserve_memory\",\"params\":[\"x\",\"bench\",%d],"
             "\"id\":1}",
             RESERVE_KIB);
    answer = call(c, body);
    if (sscanf(answer, "{\"result\":\"%63[^\"]", id) != 1)
        die(answer);
}

/* Out of free memory: nobody has to be squeezed for it. */
static void
bench_reservations(void)
{
    struct connection c;
    double *all = calloc(2 * (size_t)PAIRS, sizeof *all);
    char id[64], body[300];
    int64_t start_us, middle_us, begin_us = rig_now_us();

    open_connection(&c);
    for (size_t i = 0; all && i < PAIRS; i++) {
        start_us = rig_now_us();
        reserve_one(&c, id);
        middle_us = rig_now_us();
        snprintf(body, sizeof body,
                 "{\"method\":\"delete_reservation\",\"params\":[\"x\","
                 "\"bench\",\"%s\"],\"id\":1}",
                 id);
        call(&c, body);
        all[i] = (double)(middle_us - start_us);
        all[PAIRS + i] = (double)(rig_now_us() - middle_us);
    }
    begin_us = rig_now_us() - begin_us;
    for (size_t i = 0; all && i < PAIRS; i++)
        add((int64_t)all[i]);
    print("reserve_memory of what is free",
          (double)PAIRS * US_PER_S / (double)begin_us);
    for (size_t i = 0; all && i < PAIRS; i++)
        add((int64_t)all[PAIRS + i]);
    print("its delete_reservation",
          (double)PAIRS * US_PER_S / (double)begin_us);
    free(all);
    close(c.fd);
}

int
main(void)
{
    if (!store_possible())
        return 77;
    rig_start(&rig);
    assert(rig.hv);
    fakehv_lock(rig.hv); /* room that no guest may have */
    rig.hv->total_pages += 64 * KIB_PER_MIB / KIB_PER_PAGE;
    rig.hv->free_pages += 64 * KIB_PER_MIB / KIB_PER_PAGE;
    fakehv_unlock(rig.hv);
    rig_run(&rig);
    rig_ready(&rig);
    printf("%-40s %9s %9s %9s %9s\n", "calls (ms)", "a second", "p50", "p99",
           "most");
    bench_serial("get_host_reserved_memory, JSON-RPC", QUESTION);
    bench_serial("the same, XML-RPC", QUESTION_XML);
    bench_offered();
    bench_reservations();
    rig_stop(&rig);
    return 0;
}
