/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/xl_run.h"

#include "common/units.h"
#include "sq_limits.h"
#include "tools/stop_signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX ((size_t)16 << 20)
/* How long a stopped xl has until it is killed. */
#define STOP_TIMEOUT_MS 5000
#define STATE_COLUMN    4 /* of `xl list`: Name ID Mem VCPUs State Time(s) */

/* ------------------------------------------------------------------ signals */

void
xl_block_signals(void)
{
    sigset_t set;

    stop_signals_fill(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void
unblock_signals(void)
{
    sigset_t set;

    stop_signals_fill(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int
xl_take_signal(void)
{
    struct timespec at_once = { 0 };
    sigset_t set;
    int number;

    stop_signals_fill(&set);
    number = sigtimedwait(&set, NULL, &at_once);
    return number > 0 ? number : 0;
}

void
xl_end_by_signal(int number)
{
    stop_signals_ignore();
    signal(number, SIG_DFL);
    unblock_signals();
    kill(getpid(), number);
    exit(128 + number);
}

int64_t
xl_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------- processes */

/* While it runs. */
struct child {
    struct xl_run *run;
    pid_t pid;
    int output;      /* what it prints; -1: not captured, or all of it came */
    int signals;     /* a signalfd */
    int64_t kill_ms; /* when it is killed; 0: it wasn't stopped */
    bool ended;
};

int
xl_become(const char *const *argv)
{
    unblock_signals();
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "xl-squeeze: can't run %s: %s\n", argv[0], strerror(errno));
    return XL_NOT_STARTED;
}

/* In a process group of its own Ctrl-C doesn't reach it before us.  Then it is
 * in the terminal's background, and must be allowed to write. */
static void __attribute__((noreturn))
begin_child(const struct xl_run *run, int output)
{
    if (run->manner != XL_FOREGROUND) {
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
    }
    if (output >= 0)
        dup2(output, STDOUT_FILENO);
    signal(SIGPIPE, SIG_DFL);
    _exit(xl_become(run->argv));
}

static bool
start(struct child *child)
{
    struct xl_run *run = child->run;
    int ends[2] = { -1, -1 };

    if (run->capture && pipe2(ends, O_CLOEXEC) < 0)
        return false;
    fflush(NULL);
    child->pid = fork();
    if (child->pid == 0)
        begin_child(run, ends[1]);
    if (run->capture)
        close(ends[1]);
    child->output = ends[0];
    if (child->pid > 0 && run->manner != XL_FOREGROUND)
        setpgid(child->pid, child->pid); /* whoever comes first */
    return child->pid > 0;
}

static void
send_signal(const struct child *child, int number)
{
    if (child->ended)
        return;
    kill(child->run->manner == XL_FOREGROUND ? child->pid : -child->pid,
         number);
}

static void
take_output(struct child *child)
{
    struct xl_run *run = child->run;
    char buffer[4096];
    ssize_t got = read(child->output, buffer, sizeof(buffer));
    char *output;

    if (got < 0 && errno == EINTR)
        return;
    output = got > 0 && run->length < OUTPUT_BYTES_MAX
                 ? realloc(run->output, run->length + (size_t)got + 1)
                 : NULL;
    if (!output) {
        close(child->output);
        child->output = -1;
        return;
    }
    memcpy(output + run->length, buffer, (size_t)got);
    run->output = output;
    run->length += (size_t)got;
    output[run->length] = '\0';
}

static void
take_signals(struct child *child)
{
    struct signalfd_siginfo info;

    while (read(child->signals, &info, sizeof(info)) == sizeof(info)) {
        int number = (int)info.ssi_signo;

        if (number == SIGCHLD)
            continue;
        if (!child->run->signal)
            child->run->signal = number;
        if (child->run->manner == XL_FOREGROUND) {
            send_signal(child, number);
        } else if (!child->kill_ms) {
            child->kill_ms = xl_clock_ms() + STOP_TIMEOUT_MS;
            send_signal(child, SIGTERM);
        }
    }
    if (!child->ended &&
        waitpid(child->pid, &child->run->wait_status, WNOHANG) == child->pid)
        child->ended = true;
}

static int
patience_ms(struct child *child)
{
    int64_t left_ms = child->kill_ms - xl_clock_ms();

    if (!child->kill_ms || child->ended)
        return -1;
    if (left_ms > 0)
        return (int)left_ms;
    send_signal(child, SIGKILL);
    child->kill_ms = xl_clock_ms() + STOP_TIMEOUT_MS;
    return STOP_TIMEOUT_MS;
}

/* What it printed is taken as far as it goes when it has ended: a daemon that
 * it left behind may hold the pipe open. */
static void
attend(struct child *child)
{
    struct pollfd fds[2] = { { .fd = child->signals, .events = POLLIN } };

    while (!child->ended) {
        fds[1] = (struct pollfd){ .fd = child->output, .events = POLLIN };
        if (poll(fds, 2, patience_ms(child)) < 0 && errno != EINTR)
            return;
        if (child->output >= 0 && fds[1].revents)
            take_output(child);
        take_signals(child);
    }
    while (child->output >= 0 && poll(&fds[1], 1, 0) > 0 && fds[1].revents)
        take_output(child);
}

static int
open_signals(const struct xl_run *run)
{
    sigset_t set;

    sigemptyset(&set);
    if (run->manner != XL_IN_PEACE)
        stop_signals_fill(&set);
    sigaddset(&set, SIGCHLD);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

bool
xl_run(struct xl_run *run)
{
    struct child child = { .run = run, .pid = -1, .output = -1 };

    run->output = NULL;
    run->length = 0;
    run->signal = 0;
    run->wait_status = XL_NOT_STARTED << 8;
    child.signals = open_signals(run);
    if (child.signals >= 0 && start(&child))
        attend(&child);
    else
        fprintf(stderr, "xl-squeeze: can't start %s: %s\n", run->argv[0],
                strerror(errno));
    if (child.output >= 0)
        close(child.output);
    if (child.signals >= 0)
        close(child.signals);
    return run->wait_status == 0 && !run->signal;
}

void
xl_run_done(struct xl_run *run)
{
    free(run->output);
    run->output = NULL;
}

const char *
xl_describe_end(int wait_status, char text[XL_END_TEXT])
{
    if (WIFEXITED(wait_status))
        snprintf(text, XL_END_TEXT, "its exit status is %d",
                 WEXITSTATUS(wait_status));
    else
        snprintf(text, XL_END_TEXT, "it was killed by signal %d",
                 WTERMSIG(wait_status));
    return text;
}

int
xl_exit_status(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
                                  : 128 + WTERMSIG(wait_status);
}

/* ------------------------------------------------------------------ domains */

/* A line of `xl vm-list`: UUID, domid, name. */
static bool
is_meant(char *line, const char *uuid, const char *name, uint32_t *ret_domid)
{
    char *rest = NULL;
    const char *its_uuid = strtok_r(line, " \t", &rest);
    const char *its_domid = strtok_r(NULL, " \t", &rest);
    const char *its_name = strtok_r(NULL, " \t", &rest);
    uint64_t domid;

    if (!its_uuid || !its_domid || !parse_u64(its_domid, &domid) ||
        domid >= LIMIT_DOMAINS)
        return false;
    if (*uuid ? strcasecmp(its_uuid, uuid) != 0
              : !its_name || strcmp(its_name, name) != 0)
        return false;
    *ret_domid = (uint32_t)domid;
    return true;
}

enum xl_found
xl_find_domain(const char *uuid, const char *name, uint32_t *ret_domid)
{
    static const char *const argv[] = { "xl", "vm-list", NULL };
    struct xl_run run = { .argv = argv,
                          .manner = XL_IN_PEACE,
                          .capture = true };
    enum xl_found found =
        xl_run(&run) && run.output ? XL_NOT_THERE : XL_UNKNOWN;
    char *rest = run.output;

    while (found == XL_NOT_THERE && rest) {
        char *line = strsep(&rest, "\n");

        if (is_meant(line, uuid, name, ret_domid))
            found = XL_FOUND;
    }
    xl_run_done(&run);
    return found;
}

bool
xl_is_paused(uint32_t domid)
{
    char number[16];
    const char *argv[] = { "xl", "list", number, NULL };
    struct xl_run run = { .argv = argv,
                          .manner = XL_IN_PEACE,
                          .capture = true };
    const char *word = NULL;
    char *rest = NULL;

    snprintf(number, sizeof(number), "%" PRIu32, domid);
    if (xl_run(&run) && run.output && (rest = strchr(run.output, '\n')))
        word = strtok_r(NULL, " \t\n", &rest);
    for (int column = 0; word && column < STATE_COLUMN; column++)
        word = strtok_r(NULL, " \t\n", &rest);
    bool paused = word && strchr(word, 'p');
    xl_run_done(&run);
    return paused;
}
