/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/boot_memory.h"

#include "common/log.h"
#include "common/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two samples are alike up to this difference. */
#define TOLERANCE_BYTES (UINT64_C(1) << 20)
/* A host on which it never is constant was not found at its start: whoever
 * asks gets an answer all the same. */
#define PATIENCE 6
/* Owner only, as it is where XAPI's broker makes it. */
#define FOLDER_MODE 0700

struct waiter {
    struct waiter *next;
    boot_memory_reply *reply;
    void *arg;
};

struct boot_memory {
    struct boot_memory_options options;
    struct boot_sampler sampler;
    struct waiter *waiters;
    int64_t next_us;
    unsigned samples;
    bool known;
    uint64_t bytes;
};

bool
boot_sampler_add(struct boot_sampler *s, uint64_t bytes)
{
    uint64_t apart = bytes > s->last ? bytes - s->last : s->last - bytes;

    s->alike = s->alike > 0 && apart <= TOLERANCE_BYTES ? s->alike + 1 : 1;
    s->last = bytes;
    return s->alike >= s->needed;
}

/* -------------------------------------------------------------------- file */

static bool
read_file(const char *path, uint64_t *ret_bytes)
{
    char text[32];
    FILE *file = fopen(path, "re");
    bool good;

    if (!file)
        return false;
    good = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    if (good)
        text[strcspn(text, " \r\n")] = '\0';
    if (good && parse_u64(text, ret_bytes) && *ret_bytes <= INT64_MAX)
        return true;
    log_warning("%s holds no number of bytes: measuring anew", path);
    return false;
}

/* All folders above path. */
static bool
make_folders(const char *path)
{
    char *copy = strdup(path);
    bool good = copy != NULL;

    for (char *slash = copy; good && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        good = mkdir(copy, FOLDER_MODE) == 0 || errno == EEXIST;
        *slash = '/';
    }
    free(copy);
    return good;
}

/* Whole or not at all. */
static bool
write_file(const char *path, uint64_t bytes)
{
    char *draft = NULL;
    FILE *file = NULL;
    bool good = make_folders(path) && asprintf(&draft, "%s.new", path) >= 0;

    if (good)
        file = fopen(draft, "we");
    good = file && fprintf(file, "%" PRIu64, bytes) > 0;
    if (file)
        good = fclose(file) == 0 && good;
    good = good && rename(draft, path) == 0;
    free(draft);
    return good;
}

/* ----------------------------------------------------------------- waiters */

void
boot_memory_wait(struct boot_memory *b, boot_memory_reply *reply, void *arg)
{
    struct waiter *w = b->known ? NULL : calloc(1, sizeof *w);

    if (!w) {
        reply(arg, b->known ? b->bytes : b->sampler.last);
        return;
    }
    *w = (struct waiter){ b->waiters, reply, arg };
    b->waiters = w;
}

void
boot_memory_forget(struct boot_memory *b, const void *arg)
{
    struct waiter **at = &b->waiters;

    while (*at) {
        struct waiter *w = *at;

        if (arg && w->arg != arg) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        free(w);
    }
}

static void
answer_waiters(struct boot_memory *b)
{
    struct waiter *w;

    while ((w = b->waiters) != NULL) {
        b->waiters = w->next;
        w->reply(w->arg, b->bytes);
        free(w);
    }
}

/* --------------------------------------------------------------- measuring */

static void
settle(struct boot_memory *b, uint64_t bytes)
{
    const char *path = b->options.path;

    b->known = true;
    b->bytes = bytes;
    b->next_us = TIME_NEVER_US;
    log_info("free at the host's start: %" PRIu64 " bytes", bytes);
    if (path && !write_file(path, bytes))
        log_warning("%s can't be written: %s; after a restart it will be "
                    "measured anew",
                    path, strerror(errno));
    answer_waiters(b);
}

void
boot_memory_run(struct boot_memory *b, int64_t now_us)
{
    uint64_t bytes;

    if (b->known || now_us < b->next_us)
        return;
    b->next_us = now_us + b->options.interval_us;
    if (!b->options.measure(b->options.context, &bytes))
        return;
    b->samples++;
    if (boot_sampler_add(&b->sampler, bytes)) {
        settle(b, bytes);
    } else if (b->samples / PATIENCE >= b->options.count) {
        log_warning("the free memory never was constant: the last value is "
                    "taken for that at the host's start");
        settle(b, bytes);
    }
}

int64_t
boot_memory_next_us(const struct boot_memory *b)
{
    return b->next_us;
}

/* ----------------------------------------------------------------- life */

struct boot_memory *
boot_memory_new(const struct boot_memory_options *options, int64_t now_us)
{
    struct boot_memory *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->options = *options;
    b->sampler.needed = options->count;
    b->next_us = now_us;
    if (options->path && read_file(options->path, &b->bytes)) {
        b->known = true;
        b->next_us = TIME_NEVER_US;
    }
    return b;
}

void
boot_memory_free(struct boot_memory *b)
{
    if (!b)
        return;
    while (b->waiters) {
        struct waiter *next = b->waiters->next;

        free(b->waiters);
        b->waiters = next;
    }
    free(b);
}
