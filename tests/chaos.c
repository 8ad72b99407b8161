/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random hosts and events for as long as it is told; every promise is watched
 * at every step.  What breaks one is printed as a scenario, made smaller.
 *
 *     chaos [--seconds N] [--seed N] [--go-on]    from this seed on
 *     chaos FILE ...                              what it has printed, again
 *
 * Each run is a process of its own: one that dies, or doesn't end, is a
 * finding, too. */
#include "common/log.h"
#include "squeezed/simulation_run.h"
#include "tests/chaos_case.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    RUN_SECONDS = 30,    /* CPU time of a single one: the machine may be busy */
    SHRINK_SECONDS = 60, /* then what there is will do */
    MESSAGE = 300
};

/* ------------------------------------------------------------------ a run */

/* In the child: what is broken goes to out. */
static void
tell_broken(const struct simulation_results *r, FILE *out)
{
    if (r->violation_count > 0) {
        fprintf(out, "promise %d is broken at %.6f s: %s\n",
                r->violations[0].promise,
                (double)r->violations[0].t_us / US_PER_S,
                r->violations[0].text);
        return;
    }
    for (size_t i = 0; i < r->request_count; i++)
        if (r->requests[i].outcome == OUTCOME_PENDING) {
            fputs("no answer: a request waits for ever\n", out);
            return;
        }
}

static void
run_case(const struct chaos_case *c, FILE *out)
{
    const struct simulation_run_options options = {
        .seed = c->seed,
        .until_us = -1,
        .latency_us = c->latency_us,
    };
    struct simulation_results first, second;
    char message[600];
    struct scenario *s = scenario_read_text("chaos", c->text, strlen(c->text),
                                            NULL, message, sizeof message);

    if (!s) {
        fprintf(out, "unreadable: %s\n", message);
        return;
    }
    if (!simulation_run(s, &options, &first)) {
        fputs("endless: an instant without an end\n", out);
    } else {
        tell_broken(&first, out);
        if (simulation_run(s, &options, &second) &&
            (first.simulated_us != second.simulated_us ||
             first.target_writes != second.target_writes))
            fputs("different: the same seed gives another result\n", out);
        simulation_results_done(&second);
    }
    simulation_results_done(&first);
    scenario_free(s);
}

static void
read_all(int fd, char *text, size_t size)
{
    size_t at = 0;
    ssize_t got;

    while (at < size - 1 && ((got = read(fd, text + at, size - 1 - at)) > 0 ||
                             (got < 0 && errno == EINTR)))
        at += got > 0 ? (size_t)got : 0;
    text[at] = '\0';
}

/* Empty if all is well, else what is wrong; its first word or two say which
 * kind. */
static void
judge_case(const struct chaos_case *c, char message[MESSAGE])
{
    const struct itimerval limit = { .it_value.tv_sec = RUN_SECONDS };
    int ends[2], status = 0;
    pid_t pid;

    fflush(NULL);
    if (pipe(ends) < 0 || (pid = fork()) < 0) {
        perror("chaos");
        exit(2);
    }
    if (pid == 0) {
        FILE *out = fdopen(ends[1], "w");

        close(ends[0]);
        setitimer(ITIMER_PROF, &limit, NULL);
        run_case(c, out);
        fclose(out);
        _exit(0);
    }
    close(ends[1]);
    read_all(ends[0], message, MESSAGE);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        snprintf(message, MESSAGE, "killed: signal %d\n", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        snprintf(message, MESSAGE, "exit: status %d\n", WEXITSTATUS(status));
}

/* --------------------------------------------------------------- a finding */

static double
now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct finding {
    char message[MESSAGE]; /* of the smallest so far */
    double end_s;
};

/* "promise 3", "killed: signal". */
static size_t
kind_length(const char *message)
{
    size_t first = strcspn(message, " ");

    return first + (message[first] == ' ' ? 1 : 0) +
           strcspn(message + first + (message[first] == ' ' ? 1 : 0), " ");
}

static bool
breaks_the_same(void *context, const struct chaos_case *smaller)
{
    struct finding *f = context;
    char message[MESSAGE];
    size_t kind = kind_length(f->message);

    if (now_s() > f->end_s)
        return false;
    judge_case(smaller, message);
    if (kind_length(message) != kind || strncmp(message, f->message, kind) != 0)
        return false;
    memcpy(f->message, message, sizeof message);
    return true;
}

static void
print_case(const struct chaos_case *c, uint64_t number, const char *message)
{
    printf("# seed %" PRIu64 ": %s", number, message);
    printf("# again: squeezesim --seed %" PRIu64 " FILE, or tests/chaos FILE\n",
           c->seed);
    printf("#! seed %" PRIu64 " latency %" PRId64 "\n", c->seed, c->latency_us);
    printf("%s\n", c->text);
}

static void
report(struct chaos_case *c, uint64_t number, const char *message)
{
    struct finding f = { .end_s = now_s() + SHRINK_SECONDS };

    memcpy(f.message, message, sizeof f.message);
    fprintf(stderr, "seed %" PRIu64 ": %smaking it smaller\n", number, message);
    if (strncmp(message, "unreadable", 10) != 0)
        chaos_shrink(c, breaks_the_same, &f);
    print_case(c, number, f.message);
}

/* -------------------------------------------------------------------- main */

static struct chaos_case current;

static int
run_seeds(uint64_t seed, double seconds, bool go_on)
{
    double end = now_s() + seconds;
    uint64_t runs = 0, found = 0;
    char message[MESSAGE];

    do {
        chaos_write(&current, seed + runs);
        judge_case(&current, message);
        if (message[0] != '\0') {
            report(&current, seed + runs, message);
            found++;
        }
        runs++;
    } while (now_s() < end && (go_on || found == 0));
    printf("%" PRIu64 " random hosts from seed %" PRIu64 " on, %" PRIu64
           " broke a promise\n",
           runs, seed, found);
    return found > 0;
}

static int
run_file(const char *path)
{
    char message[MESSAGE];
    FILE *file = fopen(path, "r");
    const char *header;
    size_t length;

    if (!file) {
        perror(path);
        return 2;
    }
    length = fread(current.text, 1, sizeof current.text - 1, file);
    current.text[length] = '\0';
    fclose(file);
    current.seed = 0;
    current.latency_us = 0;
    header = strstr(current.text, "#! seed ");
    if (header)
        sscanf(header, "#! seed %" SCNu64 " latency %" SCNd64, &current.seed,
               &current.latency_us);
    judge_case(&current, message);
    printf("%s: %s", path, message[0] ? message : "no promise is broken\n");
    return message[0] != '\0';
}

int
main(int argc, char *argv[])
{
    uint64_t seed = 1;
    double seconds = 30;
    bool go_on = false;
    int status = 0, i = 1;

    log_set_level(LEVEL_ERROR);
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--go-on") == 0)
            go_on = true;
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[++i], NULL);
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else {
            fputs(
                "usage: chaos [--seconds N] [--seed N] [--go-on] [FILE ...]\n",
                stderr);
            return 2;
        }
    }
    if (i == argc)
        return run_seeds(seed, seconds, go_on);
    for (; i < argc; i++)
        status |= run_file(argv[i]);
    return status;
}
