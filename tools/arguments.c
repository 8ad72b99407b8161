/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/arguments.h"

#include "common/units.h"
#include "tools/client.h"

#include <stdarg.h>
#include <string.h>

#define OPTION_WIDTH 20

static const struct {
    const char *usage;
    const char *help;
} global_options[] = {
    { "--socket PATH", "the broker's socket (" CLIENT_SOCKET_DEFAULT ")" },
    { "--json", "print the answer as the broker's JSON" },
    { "--help", "this help; behind a verb: that verb's" },
    { "--version", "the version" },
};

/* While it is being parsed. */
struct parser {
    struct arguments *arguments;
    const struct verb *verbs;
    char **next;       /* arguments yet to come; ends with NULL */
    size_t positional; /* the parameter that the next plain word is for */
    bool only_words;   /* "--" came */
    char *message;
    size_t message_size;
};

static bool __attribute__((format(printf, 2, 3)))
fail(struct parser *parser, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(parser->message, parser->message_size, format, args);
    va_end(args);
    return false;
}

static bool
is_last(const struct verb *verb, size_t i)
{
    return i == VERB_PARAMS_MAX || !verb->params[i].key;
}

/* True if word is the option name, perhaps with "=value" behind it. */
static bool
is_option(const char *word, const char *name)
{
    size_t length = strlen(name);

    return strncmp(word, name, length) == 0 &&
           (word[length] == '\0' || word[length] == '=');
}

/* The option's value: behind its "=", or the next word. */
static bool
take_value(struct parser *parser, const char *word, const char **ret)
{
    const char *equals = strchr(word, '=');

    if (equals) {
        *ret = equals + 1;
        return true;
    }
    if (!*parser->next)
        return fail(parser, "%s needs a value", word);
    *ret = *parser->next++;
    return true;
}

static bool
take_flag(struct parser *parser, const char *word, bool *flag)
{
    if (strchr(word, '='))
        return fail(parser, "%s: this option takes no value", word);
    *flag = true;
    return true;
}

static bool
take_socket(struct parser *parser, const char *word)
{
    const char *path = "";

    if (!take_value(parser, word, &path))
        return false;
    if (!*path || strlen(path) > CLIENT_SOCKET_PATH_MAX)
        return fail(parser, "--socket '%s': a socket's path has 1 to %d bytes",
                    path, CLIENT_SOCKET_PATH_MAX);
    parser->arguments->socket_path = path;
    return true;
}

static bool
take_verb_option(struct parser *parser, const char *word)
{
    struct arguments *arguments = parser->arguments;
    const struct verb *verb = arguments->verb;
    bool flag = false;
    size_t i;

    for (i = 0; verb && !is_last(verb, i); i++) {
        const struct param *param = &verb->params[i];

        if (!param->option || !is_option(word, param->option))
            continue;
        if (param->kind != PARAM_FLAG)
            return take_value(parser, word, &arguments->values[i]);
        arguments->values[i] = "";
        return take_flag(parser, word, &flag);
    }
    if (verb)
        return fail(parser, "unknown option %s (squeezectl %s --help)", word,
                    verb->name);
    return fail(parser,
                "unknown option %s (a verb's options stand behind the verb; "
                "squeezectl --help)",
                word);
}

static bool
take_option(struct parser *parser, const char *word)
{
    struct arguments *arguments = parser->arguments;

    if (is_option(word, "--socket"))
        return take_socket(parser, word);
    if (is_option(word, "--json"))
        return take_flag(parser, word, &arguments->json);
    if (is_option(word, "--help") || strcmp(word, "-h") == 0)
        return take_flag(parser, word, &arguments->help);
    if (is_option(word, "--version"))
        return take_flag(parser, word, &arguments->version);
    return take_verb_option(parser, word);
}

static bool
take_verb(struct parser *parser, const char *word)
{
    const struct verb *verb;

    for (verb = parser->verbs; verb->name; verb++) {
        if (strcmp(verb->name, word) == 0) {
            parser->arguments->verb = verb;
            return true;
        }
    }
    return fail(parser, "no verb '%s' (squeezectl --help lists them)", word);
}

static bool
take_word(struct parser *parser, const char *word)
{
    const struct verb *verb = parser->arguments->verb;
    size_t *i = &parser->positional;

    if (!verb)
        return take_verb(parser, word);
    while (!is_last(verb, *i) && verb->params[*i].option)
        (*i)++;
    if (is_last(verb, *i))
        return fail(parser, "%s: '%s' is too much (squeezectl %s --help)",
                    verb->name, word, verb->name);
    parser->arguments->values[(*i)++] = word;
    return true;
}

static bool
check_complete(struct parser *parser)
{
    const struct arguments *arguments = parser->arguments;
    const struct verb *verb = arguments->verb;
    size_t i;

    if (arguments->help || arguments->version)
        return true;
    if (!verb)
        return fail(parser, "no verb given (squeezectl --help lists them)");
    if (verb->run && (!arguments->command || !*arguments->command))
        return fail(parser, "%s: no command behind -- (squeezectl %s --help)",
                    verb->name, verb->name);
    for (i = 0; !is_last(verb, i); i++) {
        const struct param *param = &verb->params[i];

        if (!param->option && !param->optional && !arguments->values[i])
            return fail(parser, "%s: %s is missing (squeezectl %s --help)",
                        verb->name, param->label, verb->name);
    }
    return true;
}

bool
arguments_parse(struct arguments *arguments, const struct verb *verbs, int argc,
                char **argv, char *message, size_t message_size)
{
    struct parser parser = { .arguments = arguments,
                             .verbs = verbs,
                             .next = argv + (argc > 0 ? 1 : 0),
                             .message = message,
                             .message_size = message_size };

    *arguments = (struct arguments){ .socket_path = CLIENT_SOCKET_DEFAULT };
    while (*parser.next) {
        const char *word = *parser.next++;
        bool option = word[0] == '-' && word[1] && !parser.only_words;

        if (option && strcmp(word, "--") == 0) {
            parser.only_words = true;
            if (!arguments->verb || !arguments->verb->run)
                continue;
            arguments->command = parser.next;
            break;
        }
        if (!(option ? take_option : take_word)(&parser, word))
            return false;
    }
    return check_complete(&parser);
}

static json_t *
size_value(const struct param *param, const char *text, char *message,
           size_t message_size)
{
    uint64_t kib;

    if (parse_size(text, false, &kib))
        return json_integer((json_int_t)kib);
    snprintf(message, message_size,
             "%s '%s' is no size (such as 512M, 1.5G, or 4096 for KiB)",
             param->label, text);
    return NULL;
}

static json_t *
time_value(const struct param *param, const char *text, char *message,
           size_t message_size)
{
    int64_t us;

    if (parse_time(text, &us))
        return json_integer((us + US_PER_MS - 1) / US_PER_MS);
    snprintf(message, message_size,
             "%s '%s' is no time (such as 500ms, 2m, or 10 for seconds)",
             param->option ? param->option : param->label, text);
    return NULL;
}

static json_t *
text_value(const struct param *param, const char *text, char *message,
           size_t message_size)
{
    uint8_t uuid[UUID_BYTES];
    json_t *value = json_string(text);

    if (param->kind == PARAM_UUID && !parse_uuid(text, uuid)) {
        snprintf(message, message_size,
                 "%s '%s' is no UUID (32 hexadecimal digits in groups of 8, "
                 "4, 4, 4 and 12)",
                 param->option ? param->option : param->label, text);
        json_decref(value);
        return NULL;
    }
    if (!value)
        snprintf(message, message_size, "%s '%s' is no UTF-8", param->label,
                 text);
    return value;
}

json_t *
arguments_value(const struct param *param, const char *text, char *message,
                size_t message_size)
{
    switch (param->kind) {
    case PARAM_SIZE:
        return size_value(param, text, message, message_size);
    case PARAM_TIME:
        return time_value(param, text, message, message_size);
    case PARAM_FLAG:
        return json_true();
    case PARAM_TEXT:
    case PARAM_UUID:
    case PARAM_DOMAIN:
        break;
    }
    return text_value(param, text, message, message_size);
}

static void
put_usage(FILE *out, const struct verb *verb)
{
    size_t i;

    fputs(verb->name, out);
    for (i = 0; !is_last(verb, i); i++) {
        const struct param *param = &verb->params[i];

        if (param->kind == PARAM_FLAG)
            fprintf(out, " [%s]", param->option);
        else if (param->option)
            fprintf(out, " [%s %s]", param->option, param->label);
        else
            fprintf(out, param->optional ? " [%s]" : " %s", param->label);
    }
    fputs(verb->run ? " -- COMMAND ...\n" : "\n", out);
}

static const char sizes_and_times[] =
    "\nA size is a number with K, M, G or T behind it, or plain KiB; a time "
    "one "
    "with\nus, ms, s, m or h, or plain seconds.  DOMAIN is a domid, a name or "
    "a UUID.\n";

void
arguments_help(FILE *out, const struct verb *verbs)
{
    const struct verb *verb;
    size_t i;

    fputs("usage: squeezectl [--socket PATH] [--json] VERB ...\n\nverbs:\n",
          out);
    for (verb = verbs; verb->name; verb++) {
        fputs("  ", out);
        put_usage(out, verb);
        fprintf(out, "      %s\n", verb->help);
    }
    fputs("\noptions:\n", out);
    for (i = 0; i < sizeof(global_options) / sizeof(global_options[0]); i++)
        fprintf(out, "  %-*s%s\n", OPTION_WIDTH, global_options[i].usage,
                global_options[i].help);
    fputs(sizes_and_times, out);
    fputs("\nexit status: 0 done (plan: possible), 1 refused or failed, "
          "2 bad usage,\n3 no broker answers\n",
          out);
}

void
arguments_verb_help(FILE *out, const struct verb *verb)
{
    char usage[64];
    bool any = false;
    size_t i;

    fputs("usage: squeezectl [--socket PATH] [--json] ", out);
    put_usage(out, verb);
    fprintf(out, "\n%s\n", verb->help);
    for (i = 0; !is_last(verb, i); i++) {
        const struct param *param = &verb->params[i];

        if (!param->option)
            continue;
        if (!any)
            fputc('\n', out);
        any = true;
        snprintf(usage, sizeof(usage), "%s %s", param->option,
                 param->kind == PARAM_FLAG ? "" : param->label);
        fprintf(out, "  %-*s%s\n", OPTION_WIDTH, usage, param->help);
    }
    if (!is_last(verb, 0))
        fputs(sizes_and_times, out);
}
