/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory interface on a fake Xen host with a real xenstored, called by
 * Python's own clients (tests/clients/memory.py): sets the host up, runs the
 * script, and changes the host as it is told to. */
#include "tests/fakexen/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static struct rig rig = {
    .level = "info",
    .extra = "boot-time-host-free-memory-minimal-constant-count = 10\n"
             "boot-time-host-free-memory-check-interval = 100ms\n",
};

static uint64_t
limit_kib(uint32_t domid)
{
    uint64_t pages;

    fakehv_lock(rig.hv);
    pages = rig.hv->domains[domid].max_pages;
    fakehv_unlock(rig.hv);
    return pages * KIB_PER_PAGE;
}

#define MIB_KIB 1024

/* What a builder does: as much as Xen lets the domain have.  What it holds
 * then. */
static uint64_t
populate(uint32_t domid)
{
    struct fakehv_domain *domain = &rig.hv->domains[domid];
    uint64_t pages;

    fakehv_lock(rig.hv);
    pages = fakehv_balloon(rig.hv, domid, domain->max_pages, UINT64_MAX);
    fakehv_unlock(rig.hv);
    store_introduce(&rig.store, domid);
    return pages * KIB_PER_PAGE;
}

static void
unpause(uint32_t domid)
{
    struct fakehv_domain *domain = &rig.hv->domains[domid];

    fakehv_lock(rig.hv);
    domain->flags &= ~(uint32_t)XEN_DOMINF_paused;
    domain->flags |= XEN_DOMINF_running;
    domain->cpu_time = 1;
    fakehv_unlock(rig.hv);
}

static void
create(uint32_t domid, const char *kind)
{
    rig_create(&rig, domid);
    fakehv_lock(rig.hv);
    if (strcmp(kind, "hvm") == 0)
        rig.hv->domains[domid].flags |= XEN_DOMINF_hvm_guest;
    fakehv_unlock(rig.hv);
}

/* Xen frees more and more for a while, as when it has just started. */
static void
settle(uint64_t kib)
{
    for (uint64_t freed = 0; freed < kib; freed += MIB_KIB) {
        const struct timespec pause = { 0, 20000000 };

        fakehv_lock(rig.hv);
        rig.hv->free_pages += MIB_KIB / KIB_PER_PAGE;
        fakehv_unlock(rig.hv);
        nanosleep(&pause, NULL);
    }
}

/* False: there is no such command. */
static bool
obey(const char *verb, uint32_t domid, const char *kind, FILE *out)
{
    uint64_t kib = 0;

    if (strcmp(verb, "limit") == 0)
        kib = limit_kib(domid);
    else if (strcmp(verb, "populate") == 0)
        kib = populate(domid);
    else if (strcmp(verb, "unpause") == 0)
        unpause(domid);
    else if (strcmp(verb, "create") == 0)
        create(domid, kind);
    else if (strcmp(verb, "destroy") == 0)
        rig_destroy(&rig, domid);
    else if (strcmp(verb, "kill") == 0)
        rig_kill(&rig);
    else if (strcmp(verb, "start") == 0)
        rig_run(&rig), rig_ready(&rig);
    else if (strcmp(verb, "boot") == 0)
        rig_run(&rig), settle(domid), rig_ready(&rig);
    else
        return false;
    fprintf(out, "ok %" PRIu64 "\n", kib);
    fflush(out);
    return true;
}

static pid_t
run_script(const char *script, FILE **ret_from, FILE **ret_to)
{
    int from[2], to[2];
    pid_t pid;

    if (pipe(from) || pipe(to))
        return -1;
    pid = fork();
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        execlp("python3", "python3", script, rig.socket, "xen", NULL);
        perror("python3");
        _exit(77);
    }
    close(to[0]);
    close(from[1]);
    *ret_from = fdopen(from[0], "r");
    *ret_to = fdopen(to[1], "w");
    return pid;
}

int
main(void)
{
    const char *sources = getenv("SOURCES");
    char script[500], line[200], verb[20], kind[20];
    FILE *from = NULL, *to = NULL;
    int status = 0;
    pid_t pid;

    if (!store_possible())
        return 77;
    snprintf(script, sizeof script, "%s/tests/clients/memory.py",
             sources ? sources : ".");
    rig_start(&rig);
    rig_run(&rig);
    rig_ready(&rig);
    pid = run_script(script, &from, &to);
    while (pid > 0 && fgets(line, sizeof line, from)) {
        uint32_t domid = 0;

        *kind = '\0';
        if (sscanf(line, "%19s %u %19s", verb, &domid, kind) < 1 ||
            !obey(verb, domid, kind, to))
            fprintf(stderr, "check_clients_xen: %s", line);
    }
    if (pid <= 0 || waitpid(pid, &status, 0) != pid)
        status = 1;
    if (status)
        rig_print_log(&rig);
    rig_stop(&rig);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
