/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fakexen/store.h"

#include "tests/fakexen/fakehv.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <xenstore.h>

enum { PATH_SIZE = 256, HOST_PAGES = 16 << 20, PORT_VIRQ = 1 };

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "store: %s: %s\n", what, strerror(errno));
    abort();
}

static const char *
preload(void)
{
    const char *path = getenv("FAKEXEN_SO");

    return path ? path : "tests/fakexen/fakexen.so";
}

/* Debian has two of them, and its hosts run either. */
static bool
is_ocaml(void)
{
    const char *kind = getenv("XENSTORED_KIND");

    return kind && !strcmp(kind, "ocaml");
}

static const char *
daemon_path(char buffer[PATH_SIZE])
{
    const char *dir = getenv("XENSTORED_BIN");

    snprintf(buffer, PATH_SIZE, "%s/%s", dir ? dir : "/usr/lib/xen-4.17/bin",
             is_ocaml() ? "oxenstored" : "xenstored");
    return buffer;
}

bool
store_possible(void)
{
    char path[PATH_SIZE];

    if (access(daemon_path(path), X_OK))
        fprintf(stderr, "%s isn't there (Debian: xen-utils-4.17)\n", path);
    else if (access(preload(), R_OK))
        fprintf(stderr, "%s isn't there: make check-xenstored\n", preload());
    else
        return true;
    return false;
}

static void
in_dir(const struct store *store, const char *name, char buffer[PATH_SIZE])
{
    snprintf(buffer, PATH_SIZE, "%s/%s", store->dir, name);
}

/* Sets a variable to a path in the folder. */
static void
set_path(const struct store *store, const char *variable, const char *name)
{
    char path[PATH_SIZE];

    in_dir(store, name, path);
    setenv(variable, path, 1);
}

static void
write_configuration(const struct store *store, const char *path)
{
    FILE *file = fopen(path, "w");

    if (!file)
        _exit(1);
    fprintf(file,
            "pid-file = %s/pid\nquota-activate = false\n"
            "merge-activate = true\nperms-activate = true\n"
            "xenstored-kva = /proc/xen/xsd_kva\n"
            "xenstored-port = /proc/xen/xsd_port\n"
            "xenstored-log-file = %s/log\naccess-log-file = %s/access-log\n",
            store->dir, store->dir, store->dir);
    fclose(file);
}

static void __attribute__((noreturn))
run_daemon(const struct store *store, pid_t parent)
{
    char path[PATH_SIZE], log[PATH_SIZE], configuration[PATH_SIZE];
    char *so = realpath(preload(), NULL);
    int fd;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || !so)
        _exit(1);
    in_dir(store, "xenstored.log", log);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    in_dir(store, "oxenstored.conf", configuration);
    write_configuration(store, configuration);
    setenv("LD_PRELOAD", so, 1);
    daemon_path(path);
    if (is_ocaml())
        execl(path, path, "--no-fork", "--config-file", configuration, NULL);
    else
        execl(path, path, "-N", NULL);
    _exit(1);
}

static void
launch(struct store *store)
{
    char socket_path[PATH_SIZE];
    pid_t parent = getpid();

    in_dir(store, "socket", socket_path);
    unlink(socket_path);
    store->pid = fork();
    if (store->pid < 0)
        die("fork");
    if (store->pid == 0)
        run_daemon(store, parent);
    for (int i = 0; i < 2500 && !store->xs; i++) {
        usleep(2000);
        store->xs = xs_open(0);
    }
    if (!store->xs)
        die("xenstored did not start");
}

void
store_start(struct store *store)
{
    const char *tmp = getenv("TMPDIR");
    struct fakehv *hv;

    memset(store, 0, sizeof(*store));
    snprintf(store->dir, sizeof(store->dir), "%s/store-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(store->dir))
        die(store->dir);
    set_path(store, FAKEHV_ENV, "host");
    set_path(store, "XENSTORED_PATH", "socket");
    set_path(store, "FAKEXEN_EVTCHN", "evtchn");
    setenv("XENSTORED_RUNDIR", store->dir, 1);
    setenv("FAKEXEN_DIR", store->dir, 1);
    signal(SIGPIPE, SIG_IGN);
    hv = fakehv_create(getenv(FAKEHV_ENV), HOST_PAGES);
    if (!hv)
        die("the fake host");
    fakehv_unmap(hv);
    launch(store);
}

void
store_kill(struct store *store)
{
    if (store->xs)
        xs_close(store->xs);
    store->xs = NULL;
    if (store->pid <= 0)
        return;
    kill(store->pid, SIGKILL);
    waitpid(store->pid, NULL, 0);
    store->pid = 0;
}

void
store_restart(struct store *store)
{
    store_kill(store);
    launch(store);
}

void
store_stop(struct store *store)
{
    DIR *dir = opendir(store->dir);
    struct dirent *entry;
    char path[PATH_SIZE];

    store_kill(store);
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof(path), "%s/%.128s", store->dir, entry->d_name);
        unlink(path); /* . and .. stay */
    }
    if (dir)
        closedir(dir);
    rmdir(store->dir);
}

void
store_reopen(struct store *store)
{
    store->xs = xs_open(0);
    if (!store->xs)
        die("xs_open");
}

void
store_write(struct store *store, const char *value, const char *path, ...)
{
    char text[PATH_SIZE];
    va_list args;

    va_start(args, path);
    vsnprintf(text, sizeof(text), path, args);
    va_end(args);
    if (!xs_write(store->xs, XBT_NULL, text, value, (unsigned)strlen(value)))
        die(text);
}

const char *
store_read(struct store *store, const char *path, ...)
{
    static char value[4097];
    char text[PATH_SIZE];
    char *read;
    va_list args;

    va_start(args, path);
    vsnprintf(text, sizeof(text), path, args);
    va_end(args);
    read = xs_read(store->xs, XBT_NULL, text, NULL);
    snprintf(value, sizeof(value), "%s", read ? read : "");
    free(read);
    return value;
}

void
store_remove(struct store *store, const char *path)
{
    if (!xs_rm(store->xs, XBT_NULL, path))
        die(path);
}

void
store_introduce(struct store *store, uint32_t domid)
{
    if (!xs_introduce_domain(store->xs, domid, 0, 1))
        die("xs_introduce_domain");
}

void
store_raise_exception(struct store *store)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    uint32_t port = PORT_VIRQ;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/evtchn",
             store->dir);
    if (fd < 0 || sendto(fd, &port, sizeof(port), 0,
                         (struct sockaddr *)&address, sizeof(address)) < 0)
        die(address.sun_path);
    close(fd);
}
