/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezectl: asks the broker one thing over its native interface and prints
 * the answer. */
#include "common/err.h"
#include "common/units.h"
#include "tools/arguments.h"
#include "tools/client.h"
#include "tools/exec.h"
#include "tools/follow.h"
#include "tools/hook.h"
#include "tools/keep.h"
#include "tools/resolve.h"
#include "tools/show.h"
#include "tools/table.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 30000
/* Nobody reads a wider table. */
#define WIDTH_MIN 40u

enum exit_status {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_BROKER = 3
};

static int
judge_plan(const json_t *result);
static json_t *
undo_reserve(const json_t *result);

static int
act_hook(const struct arguments *arguments);
static int
act_page(const struct arguments *arguments);

/* What a reservation is asked for with. */
/* clang-format off */
#define RESERVE_PARAMS                                                        \
    { .label = "MIN", .key = "min", .kind = PARAM_SIZE },                     \
    { .label = "MAX", .key = "max", .kind = PARAM_SIZE, .optional = true },   \
    { .option = "--client", .label = "NAME", .key = "client",                 \
      .help = "in whose name (anonymous)", .kind = PARAM_TEXT },              \
    { .option = "--timeout", .label = "TIME", .key = "timeout_ms",            \
      .help = "give up after that long (60s)", .kind = PARAM_TIME },          \
    { .option = "--wait", .label = "", .key = "wait",                         \
      .help = "if impossible now, wait until it is possible",                 \
      .kind = PARAM_FLAG },                                                   \
    { .option = "--hold", .label = "TIME", .key = "hold_ms",                  \
      .help = "release it if not transferred by then", .kind = PARAM_TIME },  \
    { .option = "--uuid", .label = "UUID", .key = "uuid",                     \
      .help = "the first new domain with that UUID owns it",                  \
      .kind = PARAM_UUID }
/* clang-format on */

static const struct verb verbs[] = {
    { .name = "status",
      .method = "squeezed.status",
      .help = "the host's memory, its domains, reservations and requests",
      .timeout_ms = ANSWER_TIMEOUT_MS,
      .show = show_status },
    { .name = "available",
      .method = "squeezed.available",
      .help = "how much could be reserved, now and after a squeeze",
      .timeout_ms = ANSWER_TIMEOUT_MS,
      .show = show_available },
    { .name = "balance",
      .method = "squeezed.balance",
      .help = "wait until the host is balanced or nothing more can be done" },
    { .name = "events",
      .page = "/v1/events",
      .act = act_page,
      .help = "follow what happens, one line each, until Ctrl-C" },
    { .name = "metrics",
      .page = "/metrics",
      .act = act_page,
      .help = "the counters and gauges that a monitoring system reads" },
    { .name = "plan",
      .method = "squeezed.plan",
      .help = "what a reservation would get, from whom; changes nothing",
      .params = { { .label = "MIN", .key = "min", .kind = PARAM_SIZE },
                  { .label = "MAX",
                    .key = "max",
                    .kind = PARAM_SIZE,
                    .optional = true } },
      .timeout_ms = ANSWER_TIMEOUT_MS,
      .show = show_plan,
      .judge = judge_plan },
    { .name = "reserve",
      .method = "squeezed.reserve",
      .help = "get memory and keep it free; prints the id and the KiB",
      .params = { RESERVE_PARAMS },
      .show = show_reservation,
      .undo_method = "squeezed.release",
      .undo = undo_reserve },
    { .name = "exec",
      .method = "squeezed.reserve",
      .help = "run a command that has a reservation; release what is left",
      .params = { RESERVE_PARAMS },
      .undo_method = "squeezed.release",
      .undo = undo_reserve,
      .show = show_reservation,
      .run = exec_command },
    { .name = "release",
      .method = "squeezed.release",
      .help = "give a reservation back",
      .params = { { .label = "ID", .key = "reservation" } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "transfer",
      .method = "squeezed.transfer",
      .help = "hand a reservation over to a domain that was created",
      .params = { { .label = "ID", .key = "reservation" },
                  { .label = "DOMAIN", .key = "domid", .kind = PARAM_DOMAIN } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "range",
      .method = "squeezed.set_range",
      .help = "set what the broker may move a domain's memory between",
      .params = { { .label = "DOMAIN", .key = "domid", .kind = PARAM_DOMAIN },
                  { .label = "MIN", .key = "dynamic_min", .kind = PARAM_SIZE },
                  { .label = "MAX", .key = "dynamic_max", .kind = PARAM_SIZE },
                  { .option = KEEP_OPTION,
                    .label = "",
                    .key = "keep",
                    .help = "for every start of it, in a file",
                    .kind = PARAM_FLAG,
                    .ours = true },
                  { .option = KEEP_FOLDER,
                    .label = "DIR",
                    .key = "folder",
                    .help = "where that file is (" KEEP_DEFAULT ")",
                    .ours = true } },
      .then = keep_range,
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "hook",
      .help = "for hooks of other toolstacks (libvirt): see its manual",
      .params = { { .label = "TOOLSTACK", .key = "toolstack" },
                  { .label = "MACHINE", .key = "machine" },
                  { .label = "OPERATION", .key = "operation" },
                  { .label = "SUBOPERATION",
                    .key = "suboperation",
                    .optional = true },
                  { .label = "EXTRA", .key = "extra", .optional = true } },
      .act = act_hook },
    { .name = "target",
      .method = "squeezed.set_target",
      .help = "give a domain at most this much of its range",
      .params = { { .label = "DOMAIN", .key = "domid", .kind = PARAM_DOMAIN },
                  { .label = "SIZE", .key = "target", .kind = PARAM_SIZE } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "auto",
      .method = "squeezed.set_auto",
      .help = "let the broker use a domain's whole range again",
      .params = { { .label = "DOMAIN", .key = "domid", .kind = PARAM_DOMAIN } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "freeze",
      .method = "squeezed.freeze",
      .help = "leave a domain's memory alone: for saving and migrating it",
      .params = { { .label = "DOMAIN", .key = "domid", .kind = PARAM_DOMAIN } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "thaw",
      .method = "squeezed.thaw",
      .help = "the end of freeze",
      .params = { { .label = "DOMAIN", .key = "domid", .kind = PARAM_DOMAIN } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = "login",
      .method = "squeezed.login",
      .help = "drop a client's reservations that no domain owns",
      .params = { { .label = "CLIENT", .key = "client" } },
      .timeout_ms = ANSWER_TIMEOUT_MS },
    { .name = NULL }
};

static int
judge_plan(const json_t *result)
{
    const char *verdict = json_string_value(json_object_get(result, "verdict"));

    if (!verdict || strcmp(verdict, "impossible") != 0)
        return EXIT_DONE;
    show_impossible(stderr, result);
    return EXIT_REFUSED;
}

static json_t *
undo_reserve(const json_t *result)
{
    return json_pack("{s:O}", "reservation",
                     json_object_get(result, "reservation"));
}

static void
complain(const struct arguments *arguments, const char *message)
{
    fprintf(stderr, "squeezectl: %s: ", arguments->verb->name);
    put_clean(stderr, message);
    fputc('\n', stderr);
}

static void
put_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_ENCODE_ANY);
    putchar('\n');
}

static void
put_json_error(const struct arguments *arguments, const json_t *error)
{
    json_t *whole;

    if (!arguments->json)
        return;
    whole = json_pack("{s:O}", "error", error);
    put_json(whole);
    json_decref(whole);
}

/* Says an error of the broker's, or one of ours in the same form. */
static int
refuse(const struct arguments *arguments, const json_t *error)
{
    show_refusal(stderr, arguments->verb->name, error);
    put_json_error(arguments, error);
    return EXIT_REFUSED;
}

static json_t *
error_object(enum err error, const char *message)
{
    return json_pack("{s:i, s:s, s:{s:s}}", "code", err_rpc_code(error),
                     "message", message, "data", "reason", err_name(error));
}

/* Looks the domain up in a status.  EXIT_DONE with *ret set, else said why. */
static int
look_up(const struct arguments *arguments, const char *text,
        uint32_t *ret_domid)
{
    struct client_call call = { .socket_path = arguments->socket_path,
                                .method = "squeezed.status",
                                .params = json_object(),
                                .timeout_ms = ANSWER_TIMEOUT_MS };
    struct client_answer answer;
    char message[200];
    int status = EXIT_DONE;
    json_t *object;
    enum err error;

    client_call(&call, &answer);
    json_decref(call.params);
    if (answer.end == CLIENT_ERROR) {
        status = refuse(arguments, answer.error);
    } else if (answer.end != CLIENT_RESULT) {
        complain(arguments, answer.message);
        status = EXIT_NO_BROKER;
    } else {
        error = resolve_domain(answer.result, text, ret_domid, message,
                               sizeof(message));
        if (error) {
            object = error_object(error, message);
            status = refuse(arguments, object);
            json_decref(object);
        }
    }
    client_answer_done(&answer);
    return status;
}

static int
add_domain(const struct arguments *arguments, const struct param *param,
           const char *text, json_t *params)
{
    uint32_t domid;
    int status = EXIT_DONE;

    if (!resolve_is_domid(text, &domid))
        status = look_up(arguments, text, &domid);
    if (status == EXIT_DONE)
        json_object_set_new(params, param->key, json_integer(domid));
    return status;
}

/* Adds what the command line gave.  Domains come last, so that bad usage is
 * told before anybody is asked. */
static int
add_params(const struct arguments *arguments, bool domains, json_t *params)
{
    const struct param *param = arguments->verb->params;
    char message[200];
    json_t *value;
    size_t i;

    for (i = 0; i < VERB_PARAMS_MAX && param[i].key; i++) {
        const char *text = arguments->values[i];
        int status;

        if (!text || param[i].ours ||
            (param[i].kind == PARAM_DOMAIN) != domains)
            continue;
        if (domains) {
            status = add_domain(arguments, &param[i], text, params);
            if (status != EXIT_DONE)
                return status;
            continue;
        }
        value = arguments_value(&param[i], text, message, sizeof(message));
        if (!value) {
            complain(arguments, message);
            return EXIT_USAGE;
        }
        json_object_set_new(params, param[i].key, value);
    }
    return EXIT_DONE;
}

static unsigned
terminal_width(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return 0;
    return size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col;
}

/* Takes back what can't be handed on.  True if that worked; else says what is
 * left behind. */
static bool
take_back(const struct arguments *arguments, const json_t *result)
{
    struct client_call call = { .socket_path = arguments->socket_path,
                                .method = arguments->verb->undo_method,
                                .timeout_ms = ANSWER_TIMEOUT_MS };
    struct screen screen = { .out = stderr };
    struct client_answer answer;
    bool done;

    assert(arguments->verb->undo && arguments->verb->show);
    call.params = arguments->verb->undo(result);
    client_call(&call, &answer);
    json_decref(call.params);
    done = answer.end == CLIENT_RESULT;
    if (!done) {
        complain(arguments, "this was granted and could not be released:");
        arguments->verb->show(&screen, result);
    }
    client_answer_done(&answer);
    return done;
}

/* For a person who looks on; scripts have line 1 of standard output. */
static void
tell_how_long(const json_t *result)
{
    const json_t *took = json_object_get(result, "took_ms");
    const json_t *answer = json_object_get(result, "answer_ms");
    json_int_t kib = json_integer_value(json_object_get(result, "amount_kib"));
    char size[SIZE_TEXT];

    if (!isatty(STDERR_FILENO) || !json_is_number(took))
        return;
    fprintf(stderr, "%s are yours after %.0f ms", format_size(kib, size),
            json_number_value(took));
    if (json_is_number(answer))
        fprintf(stderr, ", %.1f ms after enough was seen free",
                json_number_value(answer));
    fputc('\n', stderr);
}

static int
hand_on(const struct arguments *arguments, const json_t *result)
{
    const struct verb *verb = arguments->verb;
    struct screen screen = { .out = stdout, .width = terminal_width() };
    char message[200];

    if (arguments->json)
        put_json(result);
    else if (verb->show)
        verb->show(&screen, result);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        snprintf(message, sizeof(message), "can't write the answer: %s%s",
                 strerror(errno), verb->undo ? "; it is taken back" : "");
        complain(arguments, message);
        if (verb->undo)
            take_back(arguments, result);
        return EXIT_REFUSED;
    }
    if (verb->undo)
        tell_how_long(result);
    return verb->judge ? verb->judge(result) : EXIT_DONE;
}

/* A signal came: whatever the call ended with, nothing is left of it. */
static int
cancelled(const struct arguments *arguments, const struct client_answer *answer)
{
    static const char message[] =
        "interrupted: the request is withdrawn, nothing is reserved";
    json_t *error;

    if (answer->result && !take_back(arguments, answer->result))
        return EXIT_REFUSED;
    error = answer->error ? json_incref(answer->error)
                          : error_object(ERR_CANCELLED, message);
    complain(arguments, message);
    put_json_error(arguments, error);
    json_decref(error);
    return EXIT_REFUSED;
}

static int
finish(const struct arguments *arguments, const struct client_answer *answer)
{
    if (answer->interrupted)
        return cancelled(arguments, answer);
    switch (answer->end) {
    case CLIENT_RESULT:
        if (arguments->verb->run)
            return arguments->verb->run(arguments, answer->result);
        return hand_on(arguments, answer->result);
    case CLIENT_ERROR:
        return refuse(arguments, answer->error);
    case CLIENT_NO_ANSWER:
    case CLIENT_INTERRUPTED:
        break;
    }
    complain(arguments, answer->message);
    return EXIT_NO_BROKER;
}

/* toolstack, machine, operation */
static int
act_hook(const struct arguments *arguments)
{
    char message[200];

    if (strcmp(arguments->values[0], "libvirt") == 0)
        return hook_libvirt(arguments->socket_path, arguments->values[1],
                            arguments->values[2]);
    snprintf(message, sizeof(message),
             "TOOLSTACK '%s' is none that is known here: libvirt",
             arguments->values[0]);
    complain(arguments, message);
    return EXIT_USAGE;
}

static bool
take_page(void *context, const char *bytes, size_t length)
{
    (void)context;
    return fwrite(bytes, 1, length, stdout) == length;
}

static bool
take_events(void *context, const char *bytes, size_t length)
{
    return follow_feed(context, bytes, length);
}

/* Events end with the broker; or by us, if nobody reads what we write. */
static int
end_events(const struct arguments *arguments, const struct follow *follow)
{
    char message[300];

    if (follow->error == EPIPE)
        return EXIT_DONE; /* `| head`, say */
    if (follow->error) {
        snprintf(message, sizeof(message), "can't write the events: %s",
                 strerror(follow->error));
        complain(arguments, message);
        return EXIT_REFUSED;
    }
    if (strncmp(follow->last_word, "dropped", 7) == 0) {
        complain(arguments, follow->last_word);
        return EXIT_REFUSED;
    }
    snprintf(message, sizeof(message), "the broker on %s has ended",
             arguments->socket_path);
    complain(arguments, message);
    return EXIT_NO_BROKER;
}

/* Pages are for the eyes, or for programs, as they are. */
static int
act_page(const struct arguments *arguments)
{
    struct follow follow;
    bool events = strcmp(arguments->verb->name, "events") == 0;
    struct client_call call = { .socket_path = arguments->socket_path,
                                .page = arguments->verb->page,
                                .take = events ? take_events : take_page,
                                .context = &follow,
                                .timeout_ms = events ? 0 : ANSWER_TIMEOUT_MS };
    struct client_answer answer;
    int status = EXIT_DONE;

    if (arguments->json && !events) {
        complain(arguments, "there is no JSON of it: leave --json out");
        return EXIT_USAGE;
    }
    follow_init(&follow, stdout, arguments->json);
    client_call(&call, &answer);
    if (answer.end == CLIENT_ERROR) {
        status = refuse(arguments, answer.error);
    } else if (answer.end != CLIENT_RESULT) {
        complain(arguments, answer.message);
        status = EXIT_NO_BROKER;
    } else if (events) {
        status = end_events(arguments, &follow);
    } else if (ferror(stdout)) {
        status = EXIT_REFUSED;
    }
    client_answer_done(&answer);
    follow_done(&follow);
    return status;
}

static int
carry_out(const struct arguments *arguments)
{
    struct client_call call = { .socket_path = arguments->socket_path,
                                .method = arguments->verb->method,
                                .timeout_ms = arguments->verb->timeout_ms,
                                .cancellable = arguments->verb->undo != NULL };
    struct client_answer answer;
    int status;

    if (arguments->verb->act)
        return arguments->verb->act(arguments);
    call.params = json_object();
    status = add_params(arguments, false, call.params);
    if (status == EXIT_DONE)
        status = add_params(arguments, true, call.params);
    if (status == EXIT_DONE) {
        client_call(&call, &answer);
        status = finish(arguments, &answer);
        if (status == EXIT_DONE && arguments->verb->then)
            status = arguments->verb->then(arguments, call.params);
        client_answer_done(&answer);
    }
    json_decref(call.params);
    return status;
}

/* What was printed must have arrived. */
static int
end_output(int status)
{
    if (fclose(stdout) == 0 || status != EXIT_DONE)
        return status;
    fprintf(stderr, "squeezectl: can't write to standard output: %s\n",
            strerror(errno));
    return EXIT_REFUSED;
}

int
main(int argc, char **argv)
{
    struct arguments arguments;
    char message[300];
    int status = EXIT_DONE;

    signal(SIGPIPE, SIG_IGN);
    /* Ignored by who started us, no child would ever be seen to end. */
    signal(SIGCHLD, SIG_DFL);
    if (!arguments_parse(&arguments, verbs, argc, argv, message,
                         sizeof(message))) {
        fputs("squeezectl: ", stderr);
        put_clean(stderr, message);
        fputc('\n', stderr);
        return EXIT_USAGE;
    }
    if (arguments.help && arguments.verb)
        arguments_verb_help(stdout, arguments.verb);
    else if (arguments.help)
        arguments_help(stdout, verbs);
    else if (arguments.version)
        puts("squeezectl " PACKAGE_VERSION);
    else
        status = carry_out(&arguments);
    return end_output(status);
}
