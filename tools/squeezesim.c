/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezesim: runs scenarios through the broker's core with simulated guests,
 * in virtual time. */
#include "common/log.h"
#include "squeezed/platform/scenario.h"
#include "squeezed/simulation_run.h"
#include "tools/sim_from_status.h"
#include "tools/sim_plot.h"
#include "tools/sim_report.h"
#include "tools/sim_trace.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum exit_status { EXIT_GOOD = 0, EXIT_BROKEN = 1, EXIT_USAGE = 2 };

struct settings {
    bool json;
    bool timing;
    bool verbose;
    int64_t until_us; /* -1 */
    uint64_t seed;
    const char *trace;       /* NULL */
    const char *plot;        /* NULL */
    const char *from_status; /* NULL */
    const char **sets;       /* room for each argument */
    size_t set_count;
    char policy[80]; /* "host.policy=NAME" */
};

/* ----------------------------------------------------------------- options */

enum option_code {
    OPTION_JSON = 256,
    OPTION_UNTIL,
    OPTION_SEED,
    OPTION_POLICY,
    OPTION_SET,
    OPTION_TRACE,
    OPTION_PLOT,
    OPTION_TIMING,
    OPTION_FROM_STATUS,
    OPTION_VERBOSE,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct {
    const char *name;
    const char *value; /* NULL: takes none */
    const char *help;
    enum option_code code;
} option_table[] = {
    { "json", NULL, "one JSON object per scenario on one line", OPTION_JSON },
    { "until", "TIME", "end there (when all is at rest, 10 min at most)",
      OPTION_UNTIL },
    { "seed", "N", "order what happens in the same instant (0: as in the file)",
      OPTION_SEED },
    { "policy", "NAME", "use this policy", OPTION_POLICY },
    { "set", "SECTION.KEY=VALUE", "stands over what the file says; repeatable",
      OPTION_SET },
    { "trace", "FILE", "write every change as CSV", OPTION_TRACE },
    { "plot", "FILE", "draw it, as .svg or .png (needs gnuplot)", OPTION_PLOT },
    { "timing", NULL, "tell the processor time, too", OPTION_TIMING },
    { "from-status", "FILE",
      "write a scenario of the host that squeezectl status --json shows",
      OPTION_FROM_STATUS },
    { "verbose", NULL, "tell on standard error what happens when",
      OPTION_VERBOSE },
    { "help", NULL, "print this", OPTION_HELP },
    { "version", NULL, "print the version", OPTION_VERSION },
};

enum { OPTION_COUNT = sizeof option_table / sizeof *option_table };

static void
print_help(FILE *out)
{
    fputs("usage: squeezesim [options] SCENARIO ...\n\noptions:\n", out);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char left[48];

        snprintf(left, sizeof left, "--%s %s", option_table[i].name,
                 option_table[i].value ? option_table[i].value : "");
        fprintf(out, "  %-26s %s\n", left, option_table[i].help);
    }
}

static bool
complain(const char *option, const char *value, const char *want)
{
    fprintf(stderr, "squeezesim: --%s %s: it must be %s\n", option, value,
            want);
    return false;
}

/* False if it was a bad one; said. */
static bool
take_option(struct settings *s, int code, const char *value)
{
    switch (code) {
    case OPTION_JSON:
        s->json = true;
        return true;
    case OPTION_TIMING:
        s->timing = true;
        return true;
    case OPTION_VERBOSE:
        s->verbose = true;
        return true;
    case OPTION_UNTIL:
        return parse_time(value, &s->until_us) ||
               complain("until", value, "a time such as 30s");
    case OPTION_SEED:
        return parse_u64(value, &s->seed) ||
               complain("seed", value, "a whole number");
    case OPTION_POLICY:
        snprintf(s->policy, sizeof s->policy, "host.policy=%s", value);
        return policy_find(value) ||
               complain("policy", value, "a policy such as proportional");
    case OPTION_SET:
        s->sets[s->set_count++] = value;
        return true;
    case OPTION_TRACE:
        s->trace = value;
        return true;
    case OPTION_PLOT:
        s->plot = value;
        return sim_plot_terminal(value) ||
               complain("plot", value, "a file that ends in .svg or .png");
    case OPTION_FROM_STATUS:
        s->from_status = value;
        return true;
    default: /* getopt has said what is wrong */
        return false;
    }
}

static void
fill_long_options(struct option options[OPTION_COUNT + 1])
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        options[i] = (struct option){
            .name = option_table[i].name,
            .has_arg = option_table[i].value ? required_argument : no_argument,
            .val = (int)option_table[i].code,
        };
    options[OPTION_COUNT] = (struct option){ 0 };
}

static enum exit_status
file_failed(const char *path)
{
    fprintf(stderr, "squeezesim: %s: %s\n", path, strerror(errno));
    return EXIT_USAGE;
}

/* The status, unless something that was printed is lost. */
static enum exit_status
end_output(enum exit_status status)
{
    bool lost = ferror(stdout) != 0;

    if (fclose(stdout) == 0 && !lost)
        return status;
    if (lost)
        errno = EIO;
    return file_failed("standard output");
}

/* --help and --version end the process. */
static bool
parse_options(struct settings *s, int argc, char *argv[])
{
    struct option options[OPTION_COUNT + 1];
    int code;

    fill_long_options(options);
    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (code == OPTION_HELP || code == 'h') {
            print_help(stdout);
            exit((int)end_output(EXIT_GOOD));
        }
        if (code == OPTION_VERSION) {
            puts("squeezesim " PACKAGE_VERSION);
            exit((int)end_output(EXIT_GOOD));
        }
        if (!take_option(s, code, optarg))
            return false;
    }
    if (s->from_status || optind < argc)
        return true;
    fputs("squeezesim: no SCENARIO; --help tells more\n", stderr);
    return false;
}

/* ------------------------------------------------------------------- a run */

struct watcher {
    const struct settings *settings;
    const struct scenario *scenario;
    struct sim_trace *trace; /* NULL */
};

static void
on_change(void *context, const struct simulation_now *now)
{
    struct watcher *w = context;

    if (w->trace)
        sim_trace_look(w->trace, now);
}

static void
on_note(void *context, int64_t t_us, bool trouble, const char *text)
{
    const struct watcher *w = context;

    if (trouble || w->settings->verbose)
        fprintf(stderr, "%s: %.6f s: %s\n", w->scenario->name,
                (double)t_us / US_PER_S, text);
}

static unsigned
terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return 0;
    return size.ws_col;
}

/* EXIT_BROKEN if a promise or an expectation is. */
static enum exit_status
report(const struct settings *s, const struct scenario *scenario,
       const struct simulation_results *results)
{
    const struct sim_report what = { scenario, results, s->seed, s->timing };

    if (!s->json)
        sim_report_table(&what, stdout, terminal_width());
    else if (!sim_report_json(&what, stdout))
        return EXIT_BROKEN;
    fflush(stdout);
    return sim_report_failures(&what, stderr) ? EXIT_BROKEN : EXIT_GOOD;
}

static enum exit_status
run_traced(const struct settings *s, const struct scenario *scenario,
           FILE *trace, struct simulation_results *results)
{
    struct watcher watcher = { s, scenario,
                               trace ? sim_trace_new(trace) : NULL };
    const struct simulation_run_options options = { .seed = s->seed,
                                                    .until_us = s->until_us,
                                                    .changed = on_change,
                                                    .note = on_note,
                                                    .context = &watcher };
    bool good = simulation_run(scenario, &options, results);

    sim_trace_free(watcher.trace);
    if (!good)
        fprintf(stderr, "%s: the simulation could not be carried out\n",
                scenario->name);
    return good ? report(s, scenario, results) : EXIT_BROKEN;
}

/* The trace goes to its file, or for a picture alone to one that nobody
 * sees. */
static enum exit_status
run_one(const struct settings *s, const struct scenario *scenario)
{
    struct simulation_results results = { 0 };
    char hidden[] = "/tmp/squeezesim-XXXXXX", message[300];
    const char *path = s->trace;
    FILE *trace = NULL;
    enum exit_status status;

    if (s->plot && !path) {
        int fd = mkstemp(hidden);

        path = hidden;
        trace = fd < 0 ? NULL : fdopen(fd, "w");
    } else if (path) {
        trace = fopen(path, "w");
    }
    if (path && !trace)
        return file_failed(path);
    status = run_traced(s, scenario, trace, &results);
    if (trace && fclose(trace) != 0)
        status = file_failed(path);
    if (s->plot && status != EXIT_USAGE &&
        !sim_plot(path, s->plot, scenario, &results, message, sizeof message)) {
        fprintf(stderr, "squeezesim: %s\n", message);
        status = EXIT_USAGE;
    }
    if (path == hidden)
        unlink(hidden);
    simulation_results_done(&results);
    return status;
}

/* All are read before any is run.  NULL with a bad one. */
static struct scenario **
read_scenarios(const struct settings *s, char *const *paths, size_t count)
{
    struct scenario **scenarios = calloc(count + 1, sizeof *scenarios);
    const struct scenario_settings settings = { s->sets, s->set_count };
    char message[600];

    for (size_t i = 0; scenarios && i < count; i++) {
        scenarios[i] =
            scenario_read(paths[i], &settings, message, sizeof message);
        if (scenarios[i])
            continue;
        fprintf(stderr, "%s\n", message);
        while (i-- > 0)
            scenario_free(scenarios[i]);
        free(scenarios);
        return NULL;
    }
    return scenarios;
}

static enum exit_status
run_all(struct settings *s, char *const *paths, size_t count)
{
    enum exit_status worst = EXIT_GOOD;
    struct scenario **scenarios;

    if (*s->policy != '\0')
        s->sets[s->set_count++] = s->policy;
    scenarios = read_scenarios(s, paths, count);
    if (!scenarios)
        return EXIT_USAGE;
    for (size_t i = 0; i < count; i++) {
        enum exit_status status = run_one(s, scenarios[i]);

        if (status > worst)
            worst = status;
        if (!s->json && i + 1 < count)
            putchar('\n');
        scenario_free(scenarios[i]);
    }
    free(scenarios);
    return worst;
}

static enum exit_status
convert(const char *path)
{
    char message[300];

    if (sim_from_status(path, stdout, message, sizeof message))
        return EXIT_GOOD;
    fprintf(stderr, "squeezesim: %s\n", message);
    return EXIT_USAGE;
}

int
main(int argc, char *argv[])
{
    struct settings s = { .until_us = -1 };
    enum exit_status status = EXIT_USAGE;

    s.sets = calloc((size_t)argc + 1, sizeof *s.sets);
    if (!s.sets)
        return EXIT_BROKEN;
    log_set_level(LEVEL_ERROR); /* the broker's own: the report says it all */
    if (parse_options(&s, argc, argv)) {
        if (s.from_status)
            status = convert(s.from_status);
        else
            status = run_all(&s, argv + optind, (size_t)(argc - optind));
    }
    free(s.sets);
    return (int)end_output(status);
}
