/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/options.h"

#include "squeezed/config.h"

#include <getopt.h>
#include <stddef.h>
#include <string.h>

/* Returns NULL, or what the value should have been. */
typedef const char *
option_taker(struct options *options, const char *value);

static const char *
take_config(struct options *options, const char *value)
{
    options->config = value;
    return NULL;
}

static const char *
take_scenario(struct options *options, const char *value)
{
    options->scenario = value;
    return NULL;
}

static const char *
take_socket(struct options *options, const char *value)
{
    if (*value == '\0' || strlen(value) >= CONFIG_SOCKET_CHARS)
        return "the path of a socket, at most 107 characters";
    options->socket = value;
    return NULL;
}

static const char *
take_level(struct options *options, const char *value)
{
    options->has_level = log_parse_level(value, &options->level);
    return options->has_level ? NULL : "error, warning, info or debug";
}

#define FLAG(member) .flag = offsetof(struct options, member)

/* clang-format off */
static const struct {
    const char *name;
    const char *argument; /* its name; NULL: there is none, but a flag */
    option_taker *take;
    size_t flag;
    const char *help;
} entries[] = {
    { "config", "FILE", take_config,
      .help = "read FILE instead of " CONFIG_FILE },
    { "check-config", FLAG(check_config),
      .help = "say whether the configuration is good, and end" },
    { "simulate", "SCENARIO", take_scenario,
      .help = "broker for the simulated host of that file" },
    { "socket", "PATH", take_socket,
      .help = "listen there, and nowhere else" },
    { "dry-run", FLAG(dry_run),
      .help = "decide and log, but set no target and no limit" },
    { "log-level", "L", take_level,
      .help = "error, warning, info or debug" },
    { "version", FLAG(version),
      .help = "print the version, and end" },
    { "help", FLAG(help),
      .help = "print this, and end" },
};
/* clang-format on */

#define ENTRIES (sizeof entries / sizeof *entries)

/* Returns what its argument should have been, or NULL. */
static const char *
take_option(struct options *options, size_t i)
{
    if (entries[i].argument != NULL)
        return entries[i].take(options, optarg);
    *(bool *)((char *)options + entries[i].flag) = true;
    return NULL;
}

bool
options_parse(int argc, char *argv[], struct options *ret)
{
    struct option table[ENTRIES + 1] = { 0 };
    int i;

    *ret = (struct options){ .config = CONFIG_FILE };
    for (i = 0; i < (int)ENTRIES; i++) {
        table[i].name = entries[i].name;
        table[i].has_arg =
            entries[i].argument == NULL ? no_argument : required_argument;
        table[i].val = i;
    }
    optind = 0; /* anew, also when it was here before */
    while ((i = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (i == '?')
            return false;
        const char *expected = take_option(ret, (size_t)i);
        if (expected != NULL) {
            fprintf(stderr, "squeezed: --%s: \"%s\" is not %s\n",
                    entries[i].name, optarg, expected);
            return false;
        }
    }
    if (optind < argc) {
        fprintf(stderr,
                "squeezed: what is \"%s\"? --help tells what it "
                "takes\n",
                argv[optind]);
        return false;
    }
    return true;
}

void
options_print_help(FILE *file)
{
    fputs("Usage: squeezed [OPTION]...\n"
          "Squeezes the guests of a Xen host, so that others can start.\n\n",
          file);
    for (size_t i = 0; i < ENTRIES; i++) {
        const char *argument = entries[i].argument;
        char left[64];

        snprintf(left, sizeof left, "--%s%s%s", entries[i].name,
                 argument == NULL ? "" : " ", argument == NULL ? "" : argument);
        fprintf(file, "  %-22s %s\n", left, entries[i].help);
    }
    fputs("\nIt stays in the foreground.  SIGHUP: reads the configuration "
          "anew.\nSIGTERM, SIGINT: ends.\n",
          file);
}
