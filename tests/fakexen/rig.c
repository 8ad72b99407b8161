/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fakexen/rig.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <xenstore.h>

enum { ANSWER_S = 60 };

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "rig: %s: %s\n", what, strerror(errno));
    abort();
}

uint64_t
rig_free_kib(const struct rig *rig)
{
    uint64_t kib;

    fakehv_lock(rig->hv);
    kib = rig->hv->free_pages * KIB_PER_PAGE;
    fakehv_unlock(rig->hv);
    return kib;
}

int64_t
rig_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

void
rig_sleep_ms(int ms)
{
    struct timespec time = { .tv_sec = ms / 1000,
                             .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&time, NULL);
}

/* ---------------------------------------------------------------- the host */

static const char *
program(const char *variable, const char *otherwise)
{
    const char *path = getenv(variable);

    return path ? path : otherwise;
}

static void
add_guest(struct rig *rig, uint32_t domid)
{
    struct fakehv_domain *domain;

    rig_write_memory(rig, domid, "static-max", RIG_MAX_KIB);
    rig_write_memory(rig, domid, "target", RIG_MAX_KIB);
    rig_write_memory(rig, domid, "dynamic-min", RIG_MIN_KIB);
    rig_write_memory(rig, domid, "dynamic-max", RIG_MAX_KIB);
    fakehv_lock(rig->hv);
    domain = fakehv_add_domain(rig->hv, domid, XEN_DOMINF_running,
                               RIG_MAX_KIB / KIB_PER_PAGE,
                               RIG_MAX_KIB / KIB_PER_PAGE);
    domain->cpu_time = 1;
    domain->handle[0] = rig->generation;
    domain->handle[15] = (uint8_t)domid;
    fakehv_unlock(rig->hv);
}

static void
fill_host(struct rig *rig)
{
    struct fakehv *hv = rig->hv;
    uint64_t kib = RIG_RESERVE_KIB + RIG_SPARE_KIB + KIB_PER_GIB +
                   (uint64_t)RIG_GUESTS * RIG_MAX_KIB;

    rig->generation++;
    fakehv_lock(hv);
    for (uint32_t i = 0; i < hv->end; i++)
        if (hv->domains[i].present)
            fakehv_remove_domain(hv, i);
    hv->total_pages = hv->free_pages = kib / KIB_PER_PAGE;
    hv->fail_in = hv->die_in = hv->fail_always = 0;
    memset(hv->calls, 0, sizeof(hv->calls));
    fakehv_add_domain(hv, 0, XEN_DOMINF_running, KIB_PER_GIB / KIB_PER_PAGE,
                      UINT32_MAX)
        ->cpu_time = 1;
    fakehv_unlock(hv);
    for (uint32_t domid = 1; domid <= RIG_GUESTS; domid++)
        add_guest(rig, domid);
}

static void
run_guests(struct rig *rig)
{
    const char *path = program("FAKEGUESTS", "tests/fakexen/fakeguests");
    pid_t parent = getpid();
    char rate[16];

    snprintf(rate, sizeof(rate), "%u", rig->rate_mib_s);
    rig->guests = fork();
    if (rig->guests < 0)
        die("fork");
    if (rig->guests > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        execl(path, path, "-r", rate, NULL);
    perror(path);
    _exit(1);
}

static void
write_config(struct rig *rig)
{
    FILE *file;

    file = fopen(rig->config, "w");
    if (!file)
        die(rig->config);
    fprintf(file,
            "socket = %s\nmemory-socket =\nxenstore = %s/%s\n"
            "balloon = %s\nlog = stderr\nlog-level = %s\n%s\n",
            rig->socket, rig->store.dir, rig->proxied ? "proxy" : "socket",
            rig->balloon ? rig->balloon : "always",
            rig->level ? rig->level : "info", rig->extra ? rig->extra : "");
    fclose(file);
}

void
rig_start(struct rig *rig)
{
    char proxy[100], socket_path[100];
    const char *dir;

    store_start(&rig->store);
    dir = rig->store.dir;
    rig->hv = fakehv_map(getenv(FAKEHV_ENV));
    if (!rig->hv)
        die("the fake host");
    if (!rig->rate_mib_s)
        rig->rate_mib_s = 4096;
    snprintf(rig->socket, sizeof(rig->socket), "%s/squeezed", dir);
    snprintf(rig->config, sizeof(rig->config), "%s/squeezed.conf", dir);
    snprintf(rig->log, sizeof(rig->log), "%s/squeezed.log", dir);
    snprintf(proxy, sizeof(proxy), "%s/proxy", dir);
    snprintf(socket_path, sizeof(socket_path), "%s/socket", dir);
    write_config(rig);
    fill_host(rig);
    run_guests(rig);
    if (rig->proxied)
        proxy_start(&rig->proxy, proxy, socket_path);
}

static void
end_child(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

void
rig_restart_guests(struct rig *rig)
{
    end_child(&rig->guests);
    run_guests(rig);
}

void
rig_stop(struct rig *rig)
{
    end_child(&rig->squeezed);
    end_child(&rig->guests);
    proxy_stop(&rig->proxy);
    fakehv_unmap(rig->hv);
    store_stop(&rig->store);
}

void
rig_reset(struct rig *rig)
{
    end_child(&rig->squeezed);
    store_remove(&rig->store, "/local/domain");
    store_write(&rig->store, "", "/local/domain");
    store_write(&rig->store, "", "/squeezed");
    store_remove(&rig->store, "/squeezed");
    if (rig->proxied)
        proxy_reset(&rig->proxy);
    unlink(rig->log);
    fill_host(rig);
}

void
rig_create(struct rig *rig, uint32_t domid)
{
    struct fakehv_domain *domain;

    fakehv_lock(rig->hv);
    domain = fakehv_add_domain(rig->hv, domid, XEN_DOMINF_paused, 0, 0);
    domain->handle[0] = rig->generation;
    domain->handle[15] = (uint8_t)domid;
    fakehv_unlock(rig->hv);
}

void
rig_build(struct rig *rig, uint32_t domid, uint64_t kib)
{
    struct fakehv_domain *domain = &rig->hv->domains[domid];
    uint64_t pages = kib / KIB_PER_PAGE;

    fakehv_lock(rig->hv);
    domain->max_pages = pages;
    fakehv_balloon(rig->hv, domid, pages, pages);
    domain->flags = XEN_DOMINF_running;
    domain->cpu_time = 1;
    fakehv_unlock(rig->hv);
    store_introduce(&rig->store, domid);
}

void
rig_destroy(struct rig *rig, uint32_t domid)
{
    fakehv_lock(rig->hv);
    fakehv_remove_domain(rig->hv, domid);
    fakehv_unlock(rig->hv);
    store_raise_exception(&rig->store);
}

void
rig_write_memory(struct rig *rig, uint32_t domid, const char *leaf,
                 uint64_t kib)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, kib);
    store_write(&rig->store, text, "/local/domain/%u/memory/%s", domid, leaf);
}

uint64_t
rig_read_memory(struct rig *rig, uint32_t domid, const char *leaf)
{
    return strtoull(
        store_read(&rig->store, "/local/domain/%u/memory/%s", domid, leaf),
        NULL, 10);
}

/* ---------------------------------------------------------------- squeezed */

static void __attribute__((noreturn))
become_squeezed(const struct rig *rig, pid_t parent)
{
    const char *path = program("SQUEEZED", "squeezed/squeezed");
    char *so = realpath(program("FAKEHV_SO", "tests/fakexen/fakehv.so"), NULL);
    char boot_memory[100];
    int log = open(rig->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || !so || log < 0)
        _exit(1);
    dup2(log, 1);
    dup2(log, 2);
    setenv("LD_PRELOAD", so, 1);
#ifdef __SANITIZE_ADDRESS__
    /* It has none of it: it may come first. */
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
#endif
    /* Not that of this machine. */
    snprintf(boot_memory, sizeof(boot_memory), "%s/boot_memory",
             rig->store.dir);
    setenv("SQUEEZED_BOOT_MEMORY", boot_memory, 1);
    /* That of xenstored is in FAKEXEN_EVTCHN. */
    unsetenv("FAKEXEN_EVTCHN");
    execl(path, path, "--config", rig->config, NULL);
    perror(path);
    _exit(1);
}

void
rig_run(struct rig *rig)
{
    pid_t parent = getpid();

    rig->squeezed = fork();
    if (rig->squeezed < 0)
        die("fork");
    if (rig->squeezed == 0)
        become_squeezed(rig, parent);
}

void
rig_ready(struct rig *rig)
{
    int64_t end_us = rig_now_us() + (int64_t)RIG_READY_MS * US_PER_MS;
    json_t *status;

    while (!(status = rig_status(rig))) {
        if (rig_died(rig))
            return;
        if (rig_now_us() > end_us) {
            rig_print_log(rig);
            die("squeezed does not serve");
        }
        rig_sleep_ms(1);
    }
    json_decref(status);
}

void
rig_kill(struct rig *rig)
{
    end_child(&rig->squeezed);
}

bool
rig_died(struct rig *rig)
{
    if (rig->squeezed > 0 && waitpid(rig->squeezed, NULL, WNOHANG) == 0)
        return false;
    rig->squeezed = 0;
    return true;
}

static unsigned
walk_log(const struct rig *rig, const char *what, bool print)
{
    FILE *file = fopen(rig->log, "r");
    char line[1024];
    unsigned count = 0;

    while (file && fgets(line, sizeof(line), file)) {
        count += !what || strstr(line, what);
        if (print)
            fputs(line, stderr);
    }
    if (file)
        fclose(file);
    return count;
}

unsigned
rig_log_lines(const struct rig *rig, const char *what)
{
    return walk_log(rig, what, false);
}

void
rig_print_log(const struct rig *rig)
{
    walk_log(rig, NULL, true);
}

/* -------------------------------------------------------------- its client */

static int
send_request(const struct rig *rig, const char *method, const char *path,
             const char *body)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = ANSWER_S };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char head[256];

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig->socket);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    snprintf(head, sizeof(head),
             "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n"
             "Connection: close\r\n\r\n",
             method, path, strlen(body));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
        send(fd, head, strlen(head), MSG_NOSIGNAL) < 0 ||
        send(fd, body, strlen(body), MSG_NOSIGNAL) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void *
need(void *memory)
{
    if (!memory)
        die("malloc");
    return memory;
}

/* To the end of the connection, which is closed.  NULL: nothing came. */
static char *
receive_all(int fd)
{
    size_t size = 1 << 16, length = 0;
    char *text = need(malloc(size));
    ssize_t n = 0;

    while ((n = recv(fd, text + length, size - length - 1, 0)) > 0) {
        length += (size_t)n;
        if (size - length < 4096)
            text = need(realloc(text, size *= 2));
    }
    if (n < 0 && errno == EAGAIN)
        die("squeezed has not answered for a minute");
    close(fd);
    text[length] = '\0';
    if (length > 0 && n >= 0)
        return text;
    free(text);
    return NULL;
}

/* The body, the caller's; NULL if it isn't there, or not all of it. */
static char *
receive_body(int fd, int *ret_status)
{
    char *text = receive_all(fd);
    char *body = text ? strstr(text, "\r\n\r\n") : NULL;
    char *length = text ? strstr(text, "Content-Length: ") : NULL;

    if (!body || !length ||
        strtoul(length + 16, NULL, 10) != strlen(body + 4)) {
        free(text);
        return NULL;
    }
    *ret_status = atoi(text + strlen("HTTP/1.1 "));
    body = strdup(body + 4);
    free(text);
    return body;
}

char *
rig_get(struct rig *rig, const char *path, int *ret_status)
{
    int fd = send_request(rig, "GET", path, "");

    return fd < 0 ? NULL : receive_body(fd, ret_status);
}

static int __attribute__((format(printf, 3, 0)))
send_call(struct rig *rig, const char *method, const char *params, va_list args)
{
    char text[512], body[700];

    vsnprintf(text, sizeof(text), params, args);
    snprintf(body, sizeof(body),
             "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"squeezed.%s\", "
             "\"params\": {%s}}",
             method, text);
    return send_request(rig, "POST", "/", body);
}

int
rig_send(struct rig *rig, const char *method, const char *params, ...)
{
    va_list args;
    int fd;

    va_start(args, params);
    fd = send_call(rig, method, params, args);
    va_end(args);
    return fd;
}

json_t *
rig_receive(int fd)
{
    int status;
    char *body = fd < 0 ? NULL : receive_body(fd, &status);
    json_t *answer = body ? json_loads(body, 0, NULL) : NULL;

    free(body);
    return answer;
}

json_t *
rig_call(struct rig *rig, const char *method, const char *params, ...)
{
    va_list args;
    int fd;

    va_start(args, params);
    fd = send_call(rig, method, params, args);
    va_end(args);
    return rig_receive(fd);
}

json_t *
rig_status(struct rig *rig)
{
    json_t *answer = rig_call(rig, "status", "%s", "");
    json_t *result = json_incref(json_object_get(answer, "result"));

    json_decref(answer);
    return result;
}

int64_t
rig_number(const json_t *object, const char *path)
{
    char part[64];
    const char *dot;

    while ((dot = strchr(path, '.'))) {
        snprintf(part, sizeof(part), "%.*s", (int)(dot - path), path);
        object = json_object_get(object, part);
        path = dot + 1;
    }
    return json_integer_value(json_object_get(object, path));
}

const json_t *
rig_domain(const json_t *status, uint32_t domid)
{
    const json_t *list = json_object_get(status, "domains");

    for (size_t i = 0; i < json_array_size(list); i++)
        if (rig_number(json_array_get(list, i), "domid") == domid)
            return json_array_get(list, i);
    return NULL;
}
