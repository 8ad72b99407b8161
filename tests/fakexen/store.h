/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A real xenstored for a test: in a new folder in $TMPDIR, beside an empty
 * fake host (fakehv.h), with the environment set so that all that the test
 * opens finds both.  It ends with the process that started it.
 *
 * What can't be done ends the test with a message: nothing here returns an
 * error. */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct xs_handle;

struct store {
    char dir[80];
    pid_t pid;            /* of xenstored; 0: none */
    struct xs_handle *xs; /* libxenstore's, which blocks */
};

/* False, with a line on stderr, where xenstored or its preload isn't there.
 * XENSTORED_KIND is c or ocaml, XENSTORED_BIN the folder of both daemons,
 * FAKEXEN_SO the path of the preload. */
bool
store_possible(void);

/* The fake host has 64 GiB. */
void
store_start(struct store *store);

void
store_stop(struct store *store);

/* At once, as a crash would; the socket stays. */
void
store_kill(struct store *store);

/* Another one in its place, empty. */
void
store_restart(struct store *store);

/* A connection of its own, for a process that was forked. */
void
store_reopen(struct store *store);

void
store_write(struct store *store, const char *value, const char *path, ...)
    __attribute__((format(printf, 3, 4)));

/* The value; "" if there is none.  Lives until the next read. */
const char *
store_read(struct store *store, const char *path, ...)
    __attribute__((format(printf, 2, 3)));

void
store_remove(struct store *store, const char *path);

/* A domain of the fake host gets its connection: @introduceDomain. */
void
store_introduce(struct store *store, uint32_t domid);

/* VIRQ_DOM_EXC: xenstored looks which domains are left: @releaseDomain. */
void
store_raise_exception(struct store *store);

#endif
