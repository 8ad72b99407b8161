/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much memory was free when the host had started: what is free, being
 * scrubbed or domain 0's, once that has become constant.  Measured once in the
 * host's life and kept in a file, as guests make it unknowable.
 *
 * Driven like the broker: next_us() says when run() is due. */
#ifndef BOOT_MEMORY_H
#define BOOT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the sampler; pure */

struct boot_sampler {
    unsigned needed; /* as many alike in a row */
    unsigned alike;
    uint64_t last;
};

/* True if it is constant now: less than a tolerance of 1 MiB between each and
 * the next. */
bool
boot_sampler_add(struct boot_sampler *sampler, uint64_t bytes);

/* ---- the module */

struct boot_memory;

struct boot_memory_options {
    const char *path; /* where it is kept; NULL: nowhere */
    unsigned count;
    int64_t interval_us;
    /* What there is now; false while that can't be seen. */
    bool (*measure)(void *context, uint64_t *ret_bytes);
    void *context;
};

typedef void
boot_memory_reply(void *arg, uint64_t bytes);

/* NULL without memory.  What the file has is known at once. */
struct boot_memory *
boot_memory_new(const struct boot_memory_options *options, int64_t now_us);

/* Nobody who waits is told. */
void
boot_memory_free(struct boot_memory *boot);

/* Replies once it is known, which may be before this returns.  Without memory
 * for the wait it replies with the last sample. */
void
boot_memory_wait(struct boot_memory *boot, boot_memory_reply *reply, void *arg);

/* Takes a wait back; arg NULL: all. */
void
boot_memory_forget(struct boot_memory *boot, const void *arg);

int64_t
boot_memory_next_us(const struct boot_memory *boot);

void
boot_memory_run(struct boot_memory *boot, int64_t now_us);

#endif
