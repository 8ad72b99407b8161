/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xl-squeeze's command line: our options, and xl's own, which are handed on. */
#ifndef TOOLS_XL_OPTIONS_H
#define TOOLS_XL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define XL_WORDS_MAX 256

struct xl_options;

/* What xl-squeeze does. */
struct xl_verb {
    const char *name;
    const char *usage;
    const char *help;
    /* xl's options of it: letters, with ':' behind those that want a value
     * (as for getopt), and the letters of its long ones. */
    const char *letters;
    const struct xl_long_option {
        const char *name; /* ends with NULL */
        char letter;      /* 0: a flag without one */
    } * long_options;
    size_t words_min; /* plain words that it needs */
    bool starts;      /* a machine: our options for that are allowed */
    int (*run)(const struct xl_options *options); /* the exit status */
};

struct xl_options {
    const struct xl_verb *verb; /* NULL: none was given */
    /* ours */
    const char *socket_path;
    const char *domains_dir;
    bool help;
    bool version;
    bool require;
    bool balloon;
    bool wait;
    uint64_t min_kib; /* 0: not given */
    uint64_t max_kib;
    int64_t timeout_ms;
    /* xl's: all of it for xl as it came, from "xl" on; ends with NULL */
    const char *plain[XL_WORDS_MAX + 1];
    /* its options, and their values, without those below */
    const char *kept[XL_WORDS_MAX];
    size_t kept_count;
    const char *words[XL_WORDS_MAX]; /* the file, settings, domains */
    size_t word_count;
    const char *config_option;     /* -f FILE */
    bool paused;                   /* -p */
    bool console;                  /* -c */
    bool viewer;                   /* -V, -A */
    bool viewer_password;          /* -A */
    bool quiet;                    /* -q */
    bool dry_run;                  /* -n */
    bool foreground;               /* -F */
    char letters[XL_WORDS_MAX][3]; /* where `kept` points to */
};

/* verbs ends with an empty name.  False with what is wrong in message. */
bool
xl_options_parse(struct xl_options *options, const struct xl_verb *verbs,
                 int argc, const char *const *argv, char *message,
                 size_t message_size);

void
xl_options_help(FILE *out, const struct xl_verb *verbs);

#endif
