/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xl-squeeze: xl with the broker's help.  create and restore get the memory
 * first, from those who can give it; save and migrate let the broker leave the
 * machine alone meanwhile. */
#include "tools/xl_squeeze.h"

#include "common/err.h"
#include "tools/show.h"
#include "tools/table.h"
#include "tools/xl_run.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_TIMEOUT_MS 30000

static const struct xl_long_option create_options[] = { { "dryrun", 'n' },
                                                        { "quiet", 'q' },
                                                        { "defconfig", 'f' },
                                                        { "vncviewer", 'V' },
                                                        { "vncviewer-autopass",
                                                          'A' },
                                                        { "ignore-global-"
                                                          "affinity-masks",
                                                          'i' },
                                                        { NULL, 0 } };

static const struct xl_long_option restore_options[] = {
    { "vncviewer", 'V' }, { "vncviewer-autopass", 'A' }, { NULL, 0 }
};

static const struct xl_long_option migrate_options[] = { { "debug", 0 },
                                                         { "live", 0 },
                                                         { NULL, 0 } };

static const struct xl_long_option no_options[] = { { NULL, 0 } };

static const struct xl_verb verbs[] = {
    { .name = "create",
      .usage = "FILE [SETTING=VALUE ...]",
      .help = "start a machine, with memory that others give",
      .letters = "Fnqf:pcdeVAi",
      .long_options = create_options,
      .words_min = 1,
      .starts = true,
      .run = xl_start },
    { .name = "restore",
      .usage = "[CONFIG] FILE",
      .help = "the same for a machine that was saved",
      .letters = "FcpdeVA",
      .long_options = restore_options,
      .words_min = 1,
      .starts = true,
      .run = xl_start },
    { .name = "save",
      .usage = "DOMAIN FILE [CONFIG]",
      .help = "save a machine that squeezed lets alone meanwhile",
      .letters = "cpD",
      .long_options = no_options,
      .words_min = 2,
      .run = xl_send_away },
    { .name = "migrate",
      .usage = "DOMAIN HOST",
      .help = "send a machine, which squeezed lets alone meanwhile, elsewhere",
      .letters = "FC:s:epD",
      .long_options = migrate_options,
      .words_min = 2,
      .run = xl_send_away },
    { .name = NULL }
};

void
xl_say(const struct xl_options *options, const char *format, ...)
{
    char text[800];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "xl-squeeze: %s: ", options->verb->name);
    put_clean(stderr, text);
    fputc('\n', stderr);
}

void
xl_call(const struct xl_options *options, const char *method, json_t *params,
        bool cancellable, struct client_answer *ret)
{
    struct client_call call = { .socket_path = options->socket_path,
                                .method = method,
                                .params = params,
                                .timeout_ms =
                                    cancellable ? 0 : ANSWER_TIMEOUT_MS,
                                .cancellable = cancellable };

    client_call(&call, ret);
    json_decref(params);
}

const char *
xl_reason(const struct client_answer *answer)
{
    const json_t *data = json_object_get(answer->error, "data");
    const char *reason = json_string_value(json_object_get(data, "reason"));

    return answer->end == CLIENT_ERROR && reason ? reason : "";
}

void
xl_say_why(const struct xl_options *options, const struct client_answer *answer)
{
    if (answer->end == CLIENT_ERROR)
        show_refusal(stderr, options->verb->name, answer->error);
    else if (answer->end == CLIENT_NO_ANSWER)
        xl_say(options, "%s", answer->message);
}

int
xl_without_broker(const struct xl_options *options, const char *why)
{
    xl_say(options, "%s", why);
    if (options->require)
        return EXIT_NO_BROKER;
    xl_say(options, "running plain xl");
    return xl_become(options->plain);
}

static int
carry_out(const struct xl_options *options)
{
    xl_block_signals();
    return options->verb->run(options);
}

int
main(int argc, char **argv)
{
    static struct xl_options options;
    char message[300];

    signal(SIGPIPE, SIG_IGN);
    /* Ignored by who started us, no child would ever be seen to end. */
    signal(SIGCHLD, SIG_DFL);
    if (!xl_options_parse(&options, verbs, argc, (const char *const *)argv,
                          message, sizeof(message))) {
        fputs("xl-squeeze: ", stderr);
        put_clean(stderr, message);
        fputc('\n', stderr);
        return EXIT_USAGE;
    }
    if (options.help)
        xl_options_help(stdout, verbs);
    else if (options.version)
        puts("xl-squeeze " PACKAGE_VERSION);
    else
        return carry_out(&options);
    return fclose(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}
