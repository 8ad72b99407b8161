/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/exec.h"

#include "tools/client.h"
#include "tools/table.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 30000
/* As the shell has them. */
#define NOT_EXECUTABLE 126
#define NOT_FOUND      127

static const int handed_on[] = { SIGINT,  SIGTERM, SIGHUP,
                                 SIGQUIT, SIGUSR1, SIGUSR2 };

static void
fill_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++)
        sigaddset(set, handed_on[i]);
    sigaddset(set, SIGCHLD);
}

static void
complain(const char *what, const char *why)
{
    fputs("squeezectl: exec: ", stderr);
    put_clean(stderr, what);
    fputs(": ", stderr);
    put_clean(stderr, why);
    fputc('\n', stderr);
}

/* ------------------------------------------------------------------ the run */

static void __attribute__((noreturn))
begin(const struct arguments *arguments, const json_t *grant,
      const sigset_t *set)
{
    const char *id = json_string_value(json_object_get(grant, "reservation"));
    json_int_t kib = json_integer_value(json_object_get(grant, "amount_kib"));
    char amount[24];

    snprintf(amount, sizeof(amount), "%" JSON_INTEGER_FORMAT, kib);
    setenv("SQUEEZED_RESERVATION", id ? id : "", 1);
    setenv("SQUEEZED_AMOUNT_KIB", amount, 1);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, set, NULL);
    execvp(arguments->command[0], arguments->command);
    complain(arguments->command[0], strerror(errno));
    _exit(errno == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* What the terminal sends goes to the command as well; only what somebody sent
 * to us alone is handed on. */
static int
attend(pid_t pid, const sigset_t *set)
{
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) != pid) {
        siginfo_t info;
        int number = sigwaitinfo(set, &info);

        if (number > 0 && number != SIGCHLD && info.si_code <= 0)
            kill(pid, number);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
run(const struct arguments *arguments, const json_t *grant)
{
    sigset_t set;
    pid_t pid;

    fill_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        begin(arguments, grant, &set);
    if (pid < 0) {
        complain("can't start a process", strerror(errno));
        return NOT_EXECUTABLE;
    }
    return attend(pid, &set);
}

/* ---------------------------------------------------------------- the rest */

/* Is it still there, and no domain's? */
static bool
is_open(const json_t *status, const char *id)
{
    const json_t *reservations = json_object_get(status, "reservations");
    const json_t *entry;
    size_t i;

    json_array_foreach(reservations, i, entry)
    {
        const char *its =
            json_string_value(json_object_get(entry, "reservation"));

        if (its && strcmp(its, id) == 0)
            return json_is_null(json_object_get(entry, "in_transfer"));
    }
    return false;
}

static void
release(const struct arguments *arguments, const char *id)
{
    struct client_answer answer;

    client_ask(arguments->socket_path, "squeezed.release",
               json_pack("{s:s}", "reservation", id), ANSWER_TIMEOUT_MS,
               &answer);
    if (answer.end == CLIENT_ERROR)
        show_refusal(stderr, "exec", answer.error);
    else if (answer.end != CLIENT_RESULT)
        complain("what is left of the reservation can't be released",
                 answer.message);
    client_answer_done(&answer);
}

int
exec_command(const struct arguments *arguments, const json_t *grant)
{
    const char *id = json_string_value(json_object_get(grant, "reservation"));
    int exit_status = run(arguments, grant);
    struct client_answer answer;

    if (!id)
        return exit_status;
    client_ask(arguments->socket_path, "squeezed.status", json_object(),
               ANSWER_TIMEOUT_MS, &answer);
    if (answer.end != CLIENT_RESULT || is_open(answer.result, id))
        release(arguments, id);
    client_answer_done(&answer);
    return exit_status;
}
