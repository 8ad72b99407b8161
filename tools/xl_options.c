/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/xl_options.h"

#include "common/units.h"
#include "tools/client.h"

#include <stdarg.h>
#include <string.h>

#define DEFAULT_DOMAINS    "/etc/squeezed/domains.d"
#define DEFAULT_TIMEOUT_MS 60000
#define OPTION_WIDTH       18

/* While it is being parsed. */
struct parser {
    struct xl_options *options;
    const struct xl_verb *verbs;
    const char *const *next; /* words yet to come; ends with NULL */
    size_t plain_count;
    bool only_words; /* "--" came */
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

/* ------------------------------------------------------------- our options */

enum kind { KIND_FLAG, KIND_SIZE, KIND_TIME, KIND_SOCKET, KIND_PATH };

static const struct own_option {
    const char *name;
    const char *label; /* of its value; NULL: a flag */
    const char *help;
    enum kind kind;
    size_t field;
    bool starts; /* only for verbs that start a machine */
} own_options[] = {
    { .name = "--min",
      .label = "SIZE",
      .help = "the least that squeezed may leave it (memory)",
      .kind = KIND_SIZE,
      .field = offsetof(struct xl_options, min_kib),
      .starts = true },
    { .name = "--max",
      .label = "SIZE",
      .help = "the most that squeezed may give it (maxmem)",
      .kind = KIND_SIZE,
      .field = offsetof(struct xl_options, max_kib),
      .starts = true },
    { .name = "--balloon",
      .help = "it has a balloon driver: a PVH or HVM machine may start with "
              "less than maxmem",
      .field = offsetof(struct xl_options, balloon),
      .starts = true },
    { .name = "--timeout",
      .label = "TIME",
      .help = "wait so long for the memory (60s)",
      .kind = KIND_TIME,
      .field = offsetof(struct xl_options, timeout_ms),
      .starts = true },
    { .name = "--wait",
      .help = "if it is impossible now, wait until it is possible",
      .field = offsetof(struct xl_options, wait),
      .starts = true },
    { .name = "--require",
      .help = "without a broker do nothing, instead of running plain xl",
      .field = offsetof(struct xl_options, require) },
    { .name = "--socket",
      .label = "PATH",
      .help = "the broker's socket (" CLIENT_SOCKET_DEFAULT ")",
      .kind = KIND_SOCKET,
      .field = offsetof(struct xl_options, socket_path) },
    { .name = "--domains-dir",
      .label = "DIR",
      .help = "ranges that are kept for machines (" DEFAULT_DOMAINS ")",
      .kind = KIND_PATH,
      .field = offsetof(struct xl_options, domains_dir),
      .starts = true },
    { .name = "--help",
      .help = "this help",
      .field = offsetof(struct xl_options, help) },
    { .name = "--version",
      .help = "the version",
      .field = offsetof(struct xl_options, version) },
};

#define OWN_OPTIONS (sizeof own_options / sizeof *own_options)

static void *
field_of(const struct parser *parser, const struct own_option *option)
{
    return (char *)parser->options + option->field;
}

static bool
set_size(const struct parser *parser, const struct own_option *option,
         const char *text)
{
    uint64_t kib;

    if (!parse_size(text, false, &kib) || kib == 0)
        return false;
    *(uint64_t *)field_of(parser, option) = kib;
    return true;
}

static bool
set_time(const struct parser *parser, const struct own_option *option,
         const char *text)
{
    int64_t us;

    if (!parse_time(text, &us) || us == 0)
        return false;
    *(int64_t *)field_of(parser, option) = (us + US_PER_MS - 1) / US_PER_MS;
    return true;
}

static bool
set_socket(const struct parser *parser, const struct own_option *option,
           const char *text)
{
    if (!*text || strlen(text) > CLIENT_SOCKET_PATH_MAX)
        return false;
    *(const char **)field_of(parser, option) = text;
    return true;
}

static bool
set_own(struct parser *parser, const struct own_option *option,
        const char *text)
{
    switch (option->kind) {
    case KIND_FLAG:
        *(bool *)field_of(parser, option) = true;
        break;
    case KIND_SIZE:
        return set_size(parser, option, text) ||
               fail(parser,
                    "%s '%s' is no size (such as 512M, or 4096 for KiB)",
                    option->name, text);
    case KIND_TIME:
        return set_time(parser, option, text) ||
               fail(parser,
                    "%s '%s' is no time (such as 2m, or 10 for seconds)",
                    option->name, text);
    case KIND_PATH:
        *(const char **)field_of(parser, option) = text;
        break;
    case KIND_SOCKET:
        return set_socket(parser, option, text) ||
               fail(parser, "%s '%s': a socket's path has 1 to %d bytes",
                    option->name, text, CLIENT_SOCKET_PATH_MAX);
    }
    return true;
}

static const struct own_option *
find_own(const char *word)
{
    size_t length = strcspn(word, "=");

    for (size_t i = 0; i < OWN_OPTIONS; i++)
        if (strlen(own_options[i].name) == length &&
            strncmp(own_options[i].name, word, length) == 0)
            return &own_options[i];
    return NULL;
}

static bool
take_own(struct parser *parser, const struct own_option *option,
         const char *word)
{
    const struct xl_verb *verb = parser->options->verb;
    const char *value = strchr(word, '=');

    if (option->starts && verb && !verb->starts)
        return fail(parser, "%s has no meaning for %s", option->name,
                    verb->name);
    if (!option->label)
        return value ? fail(parser, "%s takes no value", option->name)
                     : set_own(parser, option, "");
    if (value)
        value++;
    else if (*parser->next)
        value = *parser->next++;
    else
        return fail(parser, "%s needs a value", option->name);
    return set_own(parser, option, value);
}

/* ------------------------------------------------------------- xl's options */

static void
add_plain(struct parser *parser, const char *word)
{
    parser->options->plain[parser->plain_count++] = word;
    parser->options->plain[parser->plain_count] = NULL;
}

static bool
keep(struct parser *parser, const char *word)
{
    struct xl_options *options = parser->options;

    if (options->kept_count == XL_WORDS_MAX)
        return fail(parser, "more than %d options", XL_WORDS_MAX);
    options->kept[options->kept_count++] = word;
    return true;
}

/* Where we do ourselves what the option wants. */
static bool
take_known(struct xl_options *options, char letter, const char *value)
{
    if (!options->verb->starts)
        return false;
    switch (letter) {
    case 'p':
        options->paused = true;
        return true;
    case 'c':
        options->console = true;
        return true;
    case 'A':
        options->viewer_password = true;
        /* fall through */
    case 'V':
        options->viewer = true;
        return true;
    case 'n':
        options->dry_run = true;
        return true;
    case 'F':
        options->foreground = true;
        return true;
    case 'f':
        options->config_option = value;
        return true;
    case 'q':
        options->quiet = true;
        return false; /* and for xl */
    default:
        return false;
    }
}

static bool
take_letter(struct parser *parser, char letter, const char *value)
{
    struct xl_options *options = parser->options;
    size_t i = options->kept_count;

    if (take_known(options, letter, value))
        return true;
    if (!keep(parser, ""))
        return false;
    snprintf(options->letters[i], sizeof(options->letters[i]), "-%c", letter);
    options->kept[i] = options->letters[i];
    return !value || keep(parser, value);
}

/* The value of an option: what is left of its word, or the next one. */
static bool
take_value(struct parser *parser, const char *name, const char *left,
           const char **ret)
{
    if (*left) {
        *ret = left;
        return true;
    }
    if (!*parser->next)
        return fail(parser, "%s needs a value", name);
    add_plain(parser, *parser->next);
    *ret = *parser->next++;
    return true;
}

static bool
take_letters(struct parser *parser, const char *word)
{
    const struct xl_verb *verb = parser->options->verb;
    const char *letter;

    for (letter = word + 1; *letter; letter++) {
        const char *known =
            *letter == ':' ? NULL : strchr(verb->letters, *letter);
        const char *value = NULL;

        if (!known)
            return fail(parser,
                        "unknown option -%c (xl-squeeze --help, man xl)",
                        *letter);
        if (known[1] == ':' && !take_value(parser, word, letter + 1, &value))
            return false;
        if (!take_letter(parser, *letter, value))
            return false;
        if (value)
            break;
    }
    return true;
}

static bool
take_long(struct parser *parser, const char *word)
{
    const struct xl_verb *verb = parser->options->verb;
    const struct xl_long_option *option = verb->long_options;
    const char *name = word + 2; /* behind "--" */
    size_t length = strcspn(name, "=");
    const char *value = NULL;

    while (option->name && (strlen(option->name) != length ||
                            strncmp(option->name, name, length) != 0))
        option++;
    if (!option->name)
        return fail(parser, "unknown option %s (xl-squeeze --help, man xl)",
                    word);
    if (!option->letter)
        return keep(parser, word);
    if (strchr(verb->letters, option->letter)[1] == ':' &&
        !take_value(parser, word, name[length] ? name + length + 1 : "",
                    &value))
        return false;
    return take_letter(parser, option->letter, value);
}

static bool
take_word(struct parser *parser, const char *word)
{
    struct xl_options *options = parser->options;
    const struct xl_verb *verb;

    if (options->verb) {
        options->words[options->word_count++] = word;
        return true;
    }
    for (verb = parser->verbs; verb->name; verb++)
        if (strcmp(verb->name, word) == 0)
            options->verb = verb;
    return options->verb ||
           fail(parser, "no verb '%s' (xl-squeeze --help lists them)", word);
}

/* ------------------------------------------------------------ the whole line
 */

static bool
take(struct parser *parser, const char *word)
{
    const struct own_option *own = parser->only_words ? NULL : find_own(word);

    if (own)
        return take_own(parser, own, word);
    add_plain(parser, word);
    if (parser->only_words || word[0] != '-' || !word[1])
        return take_word(parser, word);
    if (strcmp(word, "--") == 0)
        return parser->only_words = true;
    if (strcmp(word, "-h") == 0)
        return parser->options->help = true;
    if (!parser->options->verb)
        return fail(parser, "unknown option %s (xl-squeeze --help)", word);
    return word[1] == '-' ? take_long(parser, word)
                          : take_letters(parser, word);
}

static bool
check_complete(struct parser *parser)
{
    const struct xl_options *options = parser->options;
    const struct xl_verb *verb = options->verb;

    if (options->help || options->version)
        return true;
    if (!verb)
        return fail(parser, "no verb given (xl-squeeze --help lists them)");
    if (options->word_count + (options->config_option ? 1 : 0) <
        verb->words_min)
        return fail(parser, "usage: xl-squeeze %s %s", verb->name, verb->usage);
    for (size_t i = 0; !verb->starts && i < OWN_OPTIONS; i++)
        if (own_options[i].kind == KIND_SIZE && own_options[i].starts &&
            *(uint64_t *)field_of(parser, &own_options[i]))
            return fail(parser, "%s has no meaning for %s", own_options[i].name,
                        verb->name);
    if (options->foreground && verb->starts)
        return fail(parser, "-F can't be had with squeezing: xl must come back "
                            "before the machine runs");
    return true;
}

bool
xl_options_parse(struct xl_options *options, const struct xl_verb *verbs,
                 int argc, const char *const *argv, char *message,
                 size_t message_size)
{
    struct parser parser = { .options = options,
                             .verbs = verbs,
                             .next = argv + (argc > 0 ? 1 : 0),
                             .message = message,
                             .message_size = message_size };

    *options = (struct xl_options){ .socket_path = CLIENT_SOCKET_DEFAULT,
                                    .domains_dir = DEFAULT_DOMAINS,
                                    .timeout_ms = DEFAULT_TIMEOUT_MS };
    if (argc > XL_WORDS_MAX / 2)
        return fail(&parser, "more than %d words", XL_WORDS_MAX / 2);
    add_plain(&parser, "xl");
    while (*parser.next)
        if (!take(&parser, *parser.next++))
            return false;
    return check_complete(&parser);
}

void
xl_options_help(FILE *out, const struct xl_verb *verbs)
{
    char usage[64];

    fputs("usage: xl-squeeze [options] VERB ... (with xl's own options for "
          "it)\n\nverbs:\n",
          out);
    for (const struct xl_verb *verb = verbs; verb->name; verb++)
        fprintf(out, "  %s %s\n      %s\n", verb->name, verb->usage,
                verb->help);
    fputs("\noptions:\n", out);
    for (size_t i = 0; i < OWN_OPTIONS; i++) {
        snprintf(usage, sizeof(usage), "%s %s", own_options[i].name,
                 own_options[i].label ? own_options[i].label : "");
        fprintf(out, "  %-*s%s\n", OPTION_WIDTH, usage, own_options[i].help);
    }
    fputs(
        "\nA size is a number with K, M, G or T behind it, or plain KiB.\n"
        "\nexit status: 0 done, 1 refused or failed, 2 bad usage, 3 no broker "
        "answers\n(with --require); where plain xl runs: xl's\n",
        out);
}
