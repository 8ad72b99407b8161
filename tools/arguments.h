/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezectl's command line: what a verb takes, as a table that also prints the
 * help.  Knows nothing of the broker. */
#ifndef TOOLS_ARGUMENTS_H
#define TOOLS_ARGUMENTS_H

#include "tools/show.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum param_kind {
    PARAM_TEXT,
    PARAM_UUID,
    PARAM_SIZE,   /* goes out as KiB */
    PARAM_TIME,   /* goes out as milliseconds */
    PARAM_DOMAIN, /* a domid, or a name or UUID that the caller looks up */
    PARAM_FLAG    /* an option without a value */
};

struct param {
    const char *option; /* "--client"; NULL: positional */
    const char *label;  /* "MIN", "NAME" */
    const char *key;    /* the RPC's parameter */
    const char *help;   /* options only */
    enum param_kind kind;
    bool optional; /* positional ones; options always are */
    bool ours;     /* the broker isn't told */
};

#define VERB_PARAMS_MAX 8

struct arguments;

struct verb {
    const char *name;
    const char *method;
    const char *help;
    struct param params[VERB_PARAMS_MAX]; /* ends with an empty label */
    int64_t timeout_ms;                   /* 0: as long as it takes */
    show_result *show;                    /* NULL: no news is good news */
    const char *page; /* of act, where it reads one instead of calling */
    /* What a result that came is worth as exit status, said on standard error
     * if it isn't 0; NULL: 0. */
    int (*judge)(const json_t *result);
    /* The method and its parameters (a new object) that take a result back
     * when it can't be handed on; NULL: nothing to take back.  Such a call is
     * cancelled by Ctrl-C. */
    const char *undo_method;
    json_t *(*undo)(const json_t *result);
    /* It runs the words behind `--`, with that result: the exit status. */
    int (*run)(const struct arguments *arguments, const json_t *result);
    /* What is left to do after that call: the exit status. */
    int (*then)(const struct arguments *arguments, const json_t *params);
    /* Does it all instead of a call of `method`: the exit status. */
    int (*act)(const struct arguments *arguments);
};

struct arguments {
    const char *socket_path;
    bool json;
    bool help;
    bool version;
    const struct verb *verb;             /* NULL: none was given */
    const char *values[VERB_PARAMS_MAX]; /* of verb->params; NULL: not given */
    char *const *command;                /* of verb->run; ends with NULL */
};

/* verbs ends with an empty name.  False with what is wrong in message; help
 * and version excuse what is missing. */
bool
arguments_parse(struct arguments *arguments, const struct verb *verbs, int argc,
                char **argv, char *message, size_t message_size);

/* The parameter's value as it goes out, except PARAM_DOMAIN.  NULL with what
 * is wrong in message. */
json_t *
arguments_value(const struct param *param, const char *text, char *message,
                size_t message_size);

/* All verbs and the global options. */
void
arguments_help(FILE *out, const struct verb *verbs);

/* One verb with its options. */
void
arguments_verb_help(FILE *out, const struct verb *verb);

#endif
