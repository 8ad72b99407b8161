/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/sim_plot.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    /* What can be told apart, and what a picture has room for. */
    NAMES_MAX = 20,
    LABELS_MAX = 16,
    STEPS_MAX = 1500 /* across: points that are nearer than that are one */
};

/* One line of the picture: the free memory, or a domain. */
struct line {
    uint32_t domid;
    double *t_s;
    double *mib;
    size_t count, room;
};

struct picture {
    struct line free_memory;
    struct line *lines; /* ascending domids */
    size_t line_count, line_room;
    double end_s, step_s;
};

/* ------------------------------------------------------------- the trace */

static bool
add_point(const struct picture *p, struct line *line, double t_s, double mib)
{
    size_t n = line->count;

    /* The last of those that fall together. */
    if (n >= 2 && t_s - line->t_s[n - 2] < p->step_s) {
        line->t_s[n - 1] = t_s;
        line->mib[n - 1] = mib;
        return true;
    }
    if (n == line->room) {
        size_t room = n * 2 + 64;
        double *t = reallocarray(line->t_s, room, sizeof *t), *m;

        if (t)
            line->t_s = t;
        m = reallocarray(line->mib, room, sizeof *m);
        if (m)
            line->mib = m;
        if (!t || !m)
            return false;
        line->room = room;
    }
    line->t_s[line->count] = t_s;
    line->mib[line->count++] = mib;
    return true;
}

static struct line *
find_line(struct picture *p, uint32_t domid)
{
    size_t at = 0;

    while (at < p->line_count && p->lines[at].domid < domid)
        at++;
    if (at < p->line_count && p->lines[at].domid == domid)
        return &p->lines[at];
    if (p->line_count == p->line_room) {
        size_t room = p->line_room * 2 + 16;
        struct line *grown = reallocarray(p->lines, room, sizeof *grown);

        if (!grown)
            return NULL;
        p->lines = grown;
        p->line_room = room;
    }
    memmove(&p->lines[at + 1], &p->lines[at],
            (p->line_count - at) * sizeof *p->lines);
    p->line_count++;
    p->lines[at] = (struct line){ .domid = domid };
    return &p->lines[at];
}

static bool
read_trace(struct picture *p, FILE *in)
{
    uint64_t free_kib, actual_kib;
    uint32_t domid;
    char text[200];
    double t_s;

    while (fgets(text, sizeof text, in)) {
        struct line *line;

        if (sscanf(text, "%lf,%" SCNu64 ",%" SCNu32 ",%" SCNu64, &t_s,
                   &free_kib, &domid, &actual_kib) != 4)
            continue; /* the titles */
        line = find_line(p, domid);
        if (!line ||
            !add_point(p, line, t_s, (double)actual_kib / KIB_PER_MIB) ||
            !add_point(p, &p->free_memory, t_s, (double)free_kib / KIB_PER_MIB))
            return false;
    }
    return !ferror(in);
}

static void
free_line(struct line *line)
{
    free(line->t_s);
    free(line->mib);
}

static void
free_picture(struct picture *p)
{
    free_line(&p->free_memory);
    for (size_t i = 0; i < p->line_count; i++)
        free_line(&p->lines[i]);
    free(p->lines);
}

/* ------------------------------------------------------------ the script */

const char *
sim_plot_terminal(const char *picture)
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

/* Each stays where it is until the end, but for those that have gone. */
static void
put_data(FILE *out, const char *name, uint32_t number, const struct line *line,
         double end_s)
{
    fprintf(out, "$%s%" PRIu32 " << END\n", name, number);
    for (size_t i = 0; i < line->count; i++)
        fprintf(out, "%.6g %.6g\n", line->t_s[i], line->mib[i]);
    if (line->count > 0 && line->mib[line->count - 1] > 0)
        fprintf(out, "%.6g %.6g\n", end_s, line->mib[line->count - 1]);
    fputs("END\n", out);
}

static const char *const colours[] = { "1f77b4", "ff7f0e", "2ca02c", "d62728",
                                       "9467bd", "8c564b", "e377c2", "17becf" };
enum { COLOURS = sizeof colours / sizeof *colours };

static void
put_head(FILE *out, const char *picture, const struct scenario *scenario,
         const struct picture *p)
{
    fprintf(out, "set terminal %s size 1200,700 background '#ffffff'\n",
            sim_plot_terminal(picture));
    fputs("set output ", out);
    put_quoted(out, picture);
    fputs("\nset title ", out);
    put_quoted(out, scenario->name);
    fputs(" noenhanced offset 0,2\nset tmargin 6\nset key outside noenhanced\n"
          "set xlabel 'seconds'\nset ylabel 'MiB held'\n"
          "set grid lc '#dddddd'\nset border lc '#888888'\nset yrange [0:*]\n",
          out);
    fprintf(out, "set xrange [0:%.6g]\n", p->end_s > 0 ? p->end_s : 1);
    for (size_t i = 0; i < COLOURS; i++)
        fprintf(out, "set linetype %zu lc '#%s'\n", i + 1, colours[i]);
    fprintf(out, "set linetype cycle %d\n", COLOURS);
}

/* A line where a request was answered, dashed where it was made; what it was
 * as long as there is room. */
static void
put_requests(FILE *out, const struct scenario *scenario,
             const struct simulation_results *results)
{
    const char *outcomes[OUTCOME_COUNT] = { [OUTCOME_GRANTED] = "#2ca02c" };
    size_t labels = 0;
    size_t last_event = SIZE_MAX;

    for (size_t i = 0; i < results->request_count; i++) {
        const struct simulated_request *r = &results->requests[i];
        const struct scenario_event *e = &scenario->events[r->event];
        double at = (double)r->submitted_us / US_PER_S;
        char size[SIZE_TEXT];

        fprintf(out,
                "set arrow from first %.6g, graph 0 to first %.6g, graph 1 "
                "nohead dt 3 lc '#555555'\n",
                at, at);
        if (r->answered_us >= 0)
            fprintf(out,
                    "set arrow from first %.6g, graph 0 to first %.6g, graph 1 "
                    "nohead lc '%s'\n",
                    (double)r->answered_us / US_PER_S,
                    (double)r->answered_us / US_PER_S,
                    outcomes[r->outcome] ? outcomes[r->outcome] : "#d62728");
        if (r->event == last_event || labels == LABELS_MAX)
            continue;
        last_event = r->event;
        format_size((int64_t)min_u64(e->min_kib, INT64_MAX), size);
        fprintf(out,
                "set label '%s %s' at first %.6g, graph 1.01 rotate by 20 "
                "font ',9' noenhanced\n",
                size, outcome_name(r->outcome), at);
        labels++;
    }
}

static const char *
name_of(const struct simulation_results *results, uint32_t domid,
        char buffer[32])
{
    for (size_t i = 0; i < results->domain_count; i++)
        if (results->domains[i].domid == domid)
            return results->domains[i].name;
    snprintf(buffer, 32, "domain %" PRIu32 ", gone", domid);
    return buffer;
}

static void
put_lines(FILE *out, const struct picture *p,
          const struct simulation_results *results)
{
    bool named = p->line_count <= NAMES_MAX;
    char buffer[32];

    put_data(out, "free", 0, &p->free_memory, p->end_s);
    for (size_t i = 0; i < p->line_count; i++)
        put_data(out, "d", p->lines[i].domid, &p->lines[i], p->end_s);
    fputs("plot $free0 with steps lw 2 dt 2 lc 'black' title 'free'", out);
    for (size_t i = 0; i < p->line_count; i++) {
        /* The second time round the colours the lines are wider, and so on. */
        fprintf(out, ", $d%" PRIu32 " with steps lw %zu lt %zu ",
                p->lines[i].domid, named ? 2 + 2 * (i / COLOURS) : 1, i + 1);
        if (named) {
            fputs("title ", out);
            put_quoted(out, name_of(results, p->lines[i].domid, buffer));
        } else if (i == 0) {
            fprintf(out, "title '%zu domains'", p->line_count);
        } else {
            fputs("notitle", out);
        }
    }
    fputc('\n', out);
}

/* ------------------------------------------------------------------ gnuplot
 */

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

static bool
draw(const struct picture *p, const char *picture,
     const struct scenario *scenario, const struct simulation_results *results,
     char *message, size_t size)
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
    put_head(script, picture, scenario, p);
    put_requests(script, scenario, results);
    put_lines(script, p, results);
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

bool
sim_plot(const char *path, const char *picture, const struct scenario *scenario,
         const struct simulation_results *results, char *message, size_t size)
{
    struct picture p = { .end_s = (double)results->simulated_us / US_PER_S };
    FILE *in = fopen(path, "r");
    bool good = false;

    p.step_s = p.end_s / STEPS_MAX;
    if (!in)
        snprintf(message, size, "%s: %s", path, strerror(errno));
    else if (!read_trace(&p, in))
        snprintf(message, size, "%s: can't be read, or out of memory", path);
    else
        good = draw(&p, picture, scenario, results, message, size);
    if (in)
        fclose(in);
    free_picture(&p);
    return good;
}
