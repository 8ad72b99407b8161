/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* create and restore: step after step, and all of it undone where one fails or
 * a signal comes before the machine runs. */
#include "tools/xl_start.h"

#include "common/units.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

/* How long a destroyed domain may take to give its pages back. */
#define GONE_MS       (INT64_C(120) * 1000)
#define SETTING_CHARS 64

bool
start_is_restore(const struct start *s)
{
    return strcmp(s->options->verb->name, "restore") == 0;
}

bool
start_fail(struct start *s, int status)
{
    s->status = status;
    return false;
}

void
start_pause_ms(long ms)
{
    struct timespec time = { .tv_sec = ms / 1000,
                             .tv_nsec = ms % 1000 * 1000000 };

    nanosleep(&time, NULL);
}

/* For people. */
static const char *
name_of(const struct start *s)
{
    return *s->machine.name ? s->machine.name : "the machine";
}

/* What xl says itself stands above it. */
bool
start_fail_with_xl(struct start *s, const char *what, const struct xl_run *run)
{
    char end[XL_END_TEXT];

    s->signal = run->signal;
    if (run->signal)
        return start_fail(s, EXIT_FAILED);
    if (xl_exit_status(run->wait_status) == XL_NOT_STARTED)
        return start_fail(s, XL_NOT_STARTED);
    xl_say(s->options, "%s (%s)", what, xl_describe_end(run->wait_status, end));
    return start_fail(s, EXIT_FAILED);
}

/* ------------------------------------------------------------ is it unique? */

/* An address without a file, which goes with us: two that start the same
 * machine would each take the other's domain for their own. */
static bool
lock_uuid(struct start *s)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
                          CLIENT_NAME "/%s", s->machine.uuid);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                 (size_t)length);

    s->lock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->lock >= 0 && bind(s->lock, (struct sockaddr *)&address, size) == 0)
        return true;
    xl_say(s->options, "another xl-squeeze is starting %s (UUID %s)",
           name_of(s), s->machine.uuid);
    return start_fail(s, EXIT_FAILED);
}

static void
make_uuid(char text[UUID_TEXT])
{
    uint8_t uuid[UUID_BYTES];

    if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
        abort();
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* version 4: random */
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    format_uuid(uuid, text);
}

static bool
check_unique(struct start *s)
{
    uint32_t domid = 0;

    if (!*s->machine.uuid && !start_is_restore(s))
        make_uuid(s->machine.uuid);
    if (*s->machine.uuid && !lock_uuid(s))
        return false;
    switch (xl_find_domain(s->machine.uuid, s->machine.name, &domid)) {
    case XL_NOT_THERE:
        return true;
    case XL_FOUND:
        xl_say(s->options, "domain %" PRIu32 " is that machine already (%s)",
               domid, *s->machine.uuid ? s->machine.uuid : s->machine.name);
        return start_fail(s, EXIT_FAILED);
    case XL_UNKNOWN:
        break;
    }
    xl_say(s->options, "`xl vm-list` fails: which domains there are can't be "
                       "told");
    return start_fail(s, EXIT_FAILED);
}

/* -------------------------------------------------------------------- build */

static uint64_t
memory_to_start_with(const struct start *s)
{
    const struct amounts *a = &s->amounts;
    uint64_t kib = overhead_fitting_kib(&s->machine.guest, s->granted_kib);

    return max_u64(a->low_kib, min_u64(a->high_kib, kib));
}

static bool
build(struct start *s)
{
    const struct xl_options *o = s->options;
    const struct overhead_guest *g = &s->machine.guest;
    const char *argv[ARGV_MAX] = { "xl", o->verb->name };
    struct xl_run run = { .argv = argv };
    char uuid[SETTING_CHARS], memory[SETTING_CHARS], maxmem[SETTING_CHARS];
    size_t n = 2;

    s->memory_kib = memory_to_start_with(s);
    argv[n++] = "-p";
    for (size_t i = 0; i < o->kept_count; i++)
        argv[n++] = o->kept[i];
    n = start_add_words(s, argv, n);
    if (!start_is_restore(s)) {
        snprintf(uuid, sizeof(uuid), "uuid=\"%s\"", s->machine.uuid);
        argv[n++] = uuid;
    }
    if (!start_is_restore(s) && s->memory_kib != overhead_target_kib(g)) {
        snprintf(memory, sizeof(memory), "memory=%" PRIu64,
                 s->memory_kib / KIB_PER_MIB);
        snprintf(maxmem, sizeof(maxmem), "maxmem=%" PRIu64,
                 overhead_max_kib(g) / KIB_PER_MIB);
        argv[n++] = memory;
        argv[n] = maxmem;
    }
    s->xl_ran = true;
    return xl_run(&run) || start_fail_with_xl(s, "xl could not build it", &run);
}

static bool
find_built(struct start *s)
{
    s->has_domid =
        xl_find_domain(s->machine.uuid, s->machine.name, &s->domid) == XL_FOUND;
    if (s->has_domid)
        return true;
    xl_say(s->options,
           "xl built it, and `xl vm-list` doesn't know it (UUID "
           "%s)",
           s->machine.uuid);
    return start_fail(s, EXIT_FAILED);
}

static bool
unpause(struct start *s)
{
    char domid[16];
    const char *const argv[] = { "xl", "unpause", domid, NULL };
    struct xl_run run = { .argv = argv, .manner = XL_IN_PEACE };

    snprintf(domid, sizeof(domid), "%" PRIu32, s->domid);
    s->started = s->options->paused || xl_run(&run);
    if (s->started)
        return true;
    xl_say(s->options, "`xl unpause %s` fails", domid);
    return start_fail(s, EXIT_FAILED);
}

/* ------------------------------------------------------------------ the way */

static bool
report(struct start *s)
{
    char memory[SIZE_TEXT], given[SIZE_TEXT];

    if (s->options->quiet)
        return true;
    printf("%s has %s: ", name_of(s),
           format_size((int64_t)s->memory_kib, memory));
    if (s->squeezed_count == 0)
        puts("nobody had to give anything");
    else
        printf("squeezed %zu %s by %s in %.1f s\n", s->squeezed_count,
               s->squeezed_count == 1 ? "domain" : "domains",
               format_size(s->squeezed_kib, given), s->took_ms / 1000);
    fflush(stdout);
    return true;
}

static bool (*const steps[])(struct start *) = {
    check_unique,    start_release_left_over,
    start_reserve,   start_compare,
    build,           find_built,
    start_set_range, start_transfer,
    unpause,         report,
};

static bool
go(struct start *s)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool good = steps[i](s);

        if (!s->started && !s->signal)
            s->signal = xl_take_signal();
        if (!good || s->signal)
            return false;
    }
    return true;
}

/* --------------------------------------------------------------------- undo */

/* Ours is paused: a running one is somebody else's, who was faster. */
static bool
destroy(const struct start *s, uint32_t domid)
{
    char number[16];
    const char *const argv[] = { "xl", "destroy", number, NULL };
    struct xl_run run = { .argv = argv, .manner = XL_IN_PEACE };

    snprintf(number, sizeof(number), "%" PRIu32, domid);
    if (!xl_is_paused(domid)) {
        xl_say(s->options, "domain %s is not paused, so it is left alone",
               number);
        return false;
    }
    xl_run(&run);
    return true;
}

/* True when no domain of ours is there any more. */
static bool
remove_domain(const struct start *s)
{
    int64_t end_ms = xl_clock_ms() + GONE_MS;
    bool destroyed = false;
    enum xl_found found;
    uint32_t domid = 0;

    for (;;) {
        found = xl_find_domain(s->machine.uuid, s->machine.name, &domid);
        if (found == XL_NOT_THERE)
            return true;
        if (found == XL_FOUND && !destroyed) {
            if (!destroy(s, domid))
                return false;
            destroyed = true;
        }
        if (xl_clock_ms() >= end_ms)
            break;
        start_pause_ms(POLL_MS);
    }
    if (found == XL_UNKNOWN)
        xl_say(s->options,
               "`xl vm-list` fails: whether %s is still there, "
               "half-built, can't be told",
               name_of(s));
    else
        xl_say(s->options,
               "the half-built domain %" PRIu32 " is still there: see xl list, "
               "xl destroy %" PRIu32,
               domid, domid);
    return false;
}

static void
undo(struct start *s)
{
    bool gone = true;

    if (s->signal)
        xl_say(s->options, "interrupted: taking everything back");
    if (s->xl_ran)
        gone = remove_domain(s);
    if (*s->reservation && gone)
        start_release(s);
}

/* ----------------------------------------------------------------- the ends */

/* What -c and -V are for, once it runs. */
static int
attach(const struct start *s)
{
    char domid[16];
    const char *const console[] = { "xl", "console", domid, NULL };
    const char *const viewer[] = { "xl", "vncviewer", domid,
                                   s->options->viewer_password ? "--autopass"
                                                               : NULL,
                                   NULL };
    const char *argv[] = { "sh",        "-c",  "\"$@\" & ", "sh", "xl",
                           "vncviewer", domid, viewer[3],   NULL };
    struct xl_run run = { .argv = argv, .manner = XL_FOREGROUND };

    snprintf(domid, sizeof(domid), "%" PRIu32, s->domid);
    if (s->options->console && s->options->viewer)
        xl_run(&run);
    if (s->options->console)
        return xl_become(console);
    return s->options->viewer ? xl_become(viewer) : EXIT_DONE;
}

static int
run_steps(struct start *s)
{
    if (go(s))
        return attach(s);
    undo(s);
    if (s->signal)
        xl_end_by_signal(s->signal);
    return s->status;
}

static int
with_broker(struct start *s)
{
    if (!s->signal && start_read_sizes(s) && !s->signal &&
        start_choose_amounts(s))
        return run_steps(s);
    if (s->signal)
        xl_end_by_signal(s->signal);
    return s->status;
}

int
xl_start(const struct xl_options *options)
{
    struct start s = { .options = options, .lock = -1, .status = EXIT_FAILED };
    struct client_answer answer;
    int status = EXIT_FAILED;

    if (options->dry_run)
        return xl_become(options->plain);
    start_ask_status(&s, &answer);
    if (s.signal)
        xl_end_by_signal(s.signal);
    if (answer.end == CLIENT_NO_ANSWER) {
        status = xl_without_broker(options, answer.message);
    } else if (answer.end != CLIENT_RESULT) {
        xl_say_why(options, &answer);
    } else {
        s.before = answer.result;
        status = with_broker(&s);
    }
    client_answer_done(&answer);
    return status;
}
