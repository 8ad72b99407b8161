/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/hook.h"

#include "tools/client.h"
#include "tools/libvirt.h"
#include "tools/show.h"
#include "tools/table.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CLIENT_NAME "libvirt"
/* libvirt waits for us, with the machine locked. */
#define RESERVE_TIMEOUT_MS 30000
#define ANSWER_TIMEOUT_MS  60000
/* From the hook to the domain that libxl makes: at most so long. */
#define HOLD_MS (5 * 60 * 1000)

struct hook {
    const char *socket_path;
    const char *name;
    struct libvirt_machine machine;
};

static void
say(const struct hook *hook, const char *text)
{
    fputs("squeezectl: hook: ", stderr);
    put_clean(stderr, hook->name);
    fputs(": ", stderr);
    put_clean(stderr, text);
    fputc('\n', stderr);
}

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* Is it a reservation that waits for this machine? */
static bool
is_for(const struct hook *hook, const json_t *entry)
{
    return json_is_null(json_object_get(entry, "in_transfer")) &&
           strcasecmp(text_of(entry, "uuid"), hook->machine.uuid) == 0;
}

static void
release(const struct hook *hook, const char *id)
{
    struct client_answer answer;

    client_ask(hook->socket_path, "squeezed.release",
               json_pack("{s:s}", "reservation", id), ANSWER_TIMEOUT_MS,
               &answer);
    if (answer.end == CLIENT_ERROR)
        show_refusal(stderr, "hook", answer.error);
    else if (answer.end != CLIENT_RESULT)
        say(hook, answer.message);
    client_answer_done(&answer);
}

/* What we have reserved for it, and nobody has got. */
static void
release_left(const struct hook *hook, const json_t *status)
{
    const json_t *list = json_object_get(status, "reservations");
    const json_t *entry;
    size_t i;

    json_array_foreach(
        list, i, entry) if (is_for(hook, entry) &&
                            strcmp(text_of(entry, "client"), CLIENT_NAME) == 0)
        release(hook, text_of(entry, "reservation"));
}

/* A machine that reboots: the broker has kept its memory. */
static bool
is_kept(const struct hook *hook, const json_t *status, json_int_t kib)
{
    const json_t *list = json_object_get(status, "reservations");
    const json_t *entry;
    size_t i;

    json_array_foreach(list, i,
                       entry) if (is_for(hook, entry) &&
                                  json_integer_value(json_object_get(
                                      entry, "amount_kib")) >= kib) return true;
    return false;
}

static int
reserve(const struct hook *hook, json_int_t kib)
{
    struct client_answer answer;
    int status = 0;

    client_ask(hook->socket_path, "squeezed.reserve",
               json_pack("{s:s, s:I, s:i, s:i, s:s}", "client", CLIENT_NAME,
                         "min", kib, "timeout_ms", RESERVE_TIMEOUT_MS,
                         "hold_ms", HOLD_MS, "uuid", hook->machine.uuid),
               ANSWER_TIMEOUT_MS, &answer);
    if (answer.end == CLIENT_ERROR) {
        show_refusal(stderr, "hook", answer.error);
        status = 1;
    } else if (answer.end != CLIENT_RESULT) {
        say(hook, answer.message);
    }
    client_answer_done(&answer);
    return status;
}

static int
prepare(const struct hook *hook, const json_t *status)
{
    const struct overhead_guest *guest = &hook->machine.guest;
    json_int_t kib =
        (json_int_t)overhead_need_kib(guest, overhead_target_kib(guest));

    if (is_kept(hook, status, kib))
        return 0;
    release_left(hook, status);
    return reserve(hook, kib);
}

static int
end(const struct hook *hook, const json_t *status)
{
    release_left(hook, status);
    return 0;
}

/* The others are no business of ours. */
static const struct {
    const char *name;
    int (*run)(const struct hook *hook, const json_t *status);
} operations[] = {
    { "prepare", prepare },
    { "release", end },
};

/* Without a broker libvirt goes on as it would without this hook. */
static int
run(const struct hook *hook,
    int (*operation)(const struct hook *hook, const json_t *status))
{
    struct client_answer answer;
    int status = 0;

    client_ask(hook->socket_path, "squeezed.status", json_object(),
               ANSWER_TIMEOUT_MS, &answer);
    if (answer.end == CLIENT_RESULT)
        status = operation(hook, answer.result);
    else if (answer.end == CLIENT_ERROR)
        show_refusal(stderr, "hook", answer.error);
    else
        say(hook, answer.message);
    client_answer_done(&answer);
    return status;
}

int
hook_libvirt(const char *socket_path, const char *machine,
             const char *operation)
{
    struct hook hook = { .socket_path = socket_path, .name = machine };
    char message[200];

    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (strcmp(operation, operations[i].name) != 0)
            continue;
        if (libvirt_read(stdin, &hook.machine, message, sizeof(message)))
            return run(&hook, operations[i].run);
        say(&hook, message);
        say(&hook, "this is no XML of a Xen machine: nothing is reserved");
        return 1;
    }
    return 0;
}
