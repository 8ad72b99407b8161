/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs xl, and knows what to do when a signal comes meanwhile: xl has no
 * handler for any, and would leave a half-built domain behind. */
#ifndef TOOLS_XL_RUN_H
#define TOOLS_XL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum xl_manner {
    XL_STOPPABLE, /* a signal stops it, and is told */
    XL_IN_PEACE,  /* signals wait until it has ended */
    XL_FOREGROUND /* it may use the terminal; a signal is handed on to it */
};

struct xl_run {
    const char *const *argv; /* argv[0] is the program; ends with NULL */
    enum xl_manner manner;
    bool capture; /* its standard output goes into `output` */
    /* what came of it */
    char *output; /* ends with a 0; freed by xl_run_done() */
    size_t length;
    int wait_status; /* as waitpid() tells it */
    int signal;      /* that has come meanwhile; 0: none */
};

/* From now on SIGINT, SIGTERM and SIGHUP wait until somebody asks, except those
 * that were ignored already. */
void
xl_block_signals(void);

/* A signal that waits, which is taken off; 0: none. */
int
xl_take_signal(void);

/* Ends the process by that signal, as if it had never been blocked. */
void __attribute__((noreturn)) xl_end_by_signal(int number);

/* Monotonic. */
int64_t
xl_clock_ms(void);

/* Runs it to its end.  True if it ended with status 0 and no signal came. */
bool
xl_run(struct xl_run *run);

void
xl_run_done(struct xl_run *run);

/* The status of what can't be run. */
#define XL_NOT_STARTED 127
#define XL_END_TEXT    48

/* "its exit status is 1" */
const char *
xl_describe_end(int wait_status, char text[XL_END_TEXT]);

/* The status as a shell has it in `$?`. */
int
xl_exit_status(int wait_status);

/* Becomes that program.  Returns only if that fails: the exit status then. */
int
xl_become(const char *const *argv);

enum xl_found { XL_FOUND, XL_NOT_THERE, XL_UNKNOWN };

/* The domain of that UUID, or of that name where uuid is "". */
enum xl_found
xl_find_domain(const char *uuid, const char *name, uint32_t *ret_domid);

/* False if it isn't paused, or that can't be told. */
bool
xl_is_paused(uint32_t domid);

#endif
