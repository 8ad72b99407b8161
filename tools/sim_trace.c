/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/sim_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What was written of a domain. */
struct traced {
    uint32_t domid;
    uint64_t actual_kib, target_kib, limit_kib;
};

struct sim_trace {
    FILE *out;
    struct traced *domains; /* ascending domids */
    struct traced *spare;
    size_t count;
    size_t room;
};

struct sim_trace *
sim_trace_new(FILE *out)
{
    struct sim_trace *t = calloc(1, sizeof *t);

    if (t) {
        t->out = out;
        fputs("t_s,free_kib,domid,actual_kib,target_kib,limit_kib\n", out);
    }
    return t;
}

void
sim_trace_free(struct sim_trace *t)
{
    if (!t)
        return;
    free(t->domains);
    free(t->spare);
    free(t);
}

static bool
make_room(struct sim_trace *t, size_t count)
{
    struct traced *domains, *spare;

    if (count <= t->room)
        return true;
    count += count / 2 + 16;
    domains = reallocarray(t->domains, count, sizeof *domains);
    if (domains)
        t->domains = domains;
    spare = reallocarray(t->spare, count, sizeof *spare);
    if (spare)
        t->spare = spare;
    if (!domains || !spare)
        return false;
    t->room = count;
    return true;
}

static void
write_line(const struct sim_trace *t, const struct simulation_now *now,
           const struct traced *d)
{
    fprintf(t->out,
            "%.6f,%" PRIu64 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
            "\n",
            (double)now->t_us / US_PER_S, sim_free_kib(now->sim), d->domid,
            d->actual_kib, d->target_kib, d->limit_kib);
}

static bool
same(const struct traced *a, const struct traced *b)
{
    return a->domid == b->domid && a->actual_kib == b->actual_kib &&
           a->target_kib == b->target_kib && a->limit_kib == b->limit_kib;
}

/* Those that have gone hold nothing any more: one last line. */
static void
write_gone(const struct sim_trace *t, const struct simulation_now *now,
           uint32_t domid)
{
    const struct traced gone = { .domid = domid };

    write_line(t, now, &gone);
}

void
sim_trace_look(struct sim_trace *t, const struct simulation_now *now)
{
    size_t count, old = 0;
    const struct sim_domain *d = sim_domains(now->sim, &count);
    struct traced *kept;

    if (!make_room(t, count))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct traced seen = { d[i].domid, d[i].actual_kib,
                                     d[i].target_kib, d[i].limit_kib };

        while (old < t->count && t->domains[old].domid < seen.domid)
            write_gone(t, now, t->domains[old++].domid);
        if (old < t->count && t->domains[old].domid == seen.domid) {
            if (!same(&t->domains[old++], &seen))
                write_line(t, now, &seen);
        } else {
            write_line(t, now, &seen);
        }
        t->spare[i] = seen;
    }
    while (old < t->count)
        write_gone(t, now, t->domains[old++].domid);
    kept = t->domains;
    t->domains = t->spare;
    t->spare = kept;
    t->count = count;
}

/* --------------------------------------------------------------- the picture
 */

const char *
sim_trace_terminal(const char *picture)
{
    const char *dot = strrchr(picture, '.');

    if (dot && (strcmp(dot, ".svg") == 0 || strcmp(dot, ".png") == 0))
        return dot + 1;
    return NULL;
}

/* In gnuplot's single quotes only they themselves are special. */
static void
put_quoted(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputc('\'', out);
        if ((unsigned char)*text >= ' ')
            fputc(*text, out);
    }
    fputc('\'', out);
}

/* Names are no markup. */
static void
put_script(FILE *out, const char *path, const char *picture,
           const struct simulation_results *results)
{
    fprintf(out, "set terminal %s size 1200,700\nset output ",
            sim_trace_terminal(picture));
    put_quoted(out, picture);
    fputs("\nset datafile separator ','\nset key outside noenhanced\n"
          "set xlabel 'seconds'\nset ylabel 'MiB held'\nset grid\nfile = ",
          out);
    put_quoted(out, path);
    fputs("\nplot file using 1:($2/1024) every ::1 with steps lw 2 "
          "dt 2 lc 'black' title 'free'",
          out);
    for (size_t i = 0; i < results->domain_count; i++) {
        const struct simulated_domain *d = &results->domains[i];

        fprintf(out,
                ", file using ($3==%" PRIu32 " ? $1 : 1/0):($4/1024) "
                "every ::1 with lines lw 2 title ",
                d->domid);
        put_quoted(out, d->name);
    }
    fputc('\n', out);
}

/* The end of a pipe that gnuplot reads its script from; -1 with errno. */
static int
start_gnuplot(pid_t *ret_pid)
{
    int ends[2];

    if (pipe(ends) < 0)
        return -1;
    *ret_pid = fork();
    if (*ret_pid == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("gnuplot", "gnuplot", "-", (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    if (*ret_pid < 0) {
        close(ends[1]);
        return -1;
    }
    return ends[1];
}

bool
sim_trace_plot(const char *path, const char *picture,
               const struct simulation_results *results, char *message,
               size_t size)
{
    pid_t pid;
    int fd = start_gnuplot(&pid), status = 0;
    FILE *script = fd < 0 ? NULL : fdopen(fd, "w");

    if (!script) {
        snprintf(message, size, "%s: can't start gnuplot: %s", picture,
                 strerror(errno));
        return false;
    }
    signal(SIGPIPE, SIG_IGN);
    put_script(script, path, picture, results);
    fclose(script);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        snprintf(message, size, "%s: gnuplot is not installed, which draws it",
                 picture);
    else
        snprintf(message, size, "%s: gnuplot could not draw it", picture);
    return false;
}
