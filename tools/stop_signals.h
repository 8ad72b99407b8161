/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stops a tool that has something to take back: SIGINT, SIGTERM and
 * SIGHUP. */
#ifndef TOOLS_STOP_SIGNALS_H
#define TOOLS_STOP_SIGNALS_H

#include <signal.h>

/* *ret: all of them, but for those that whoever started us had ignored
 * (nohup). */
void
stop_signals_fill(sigset_t *ret);

/* From now on none is heard; those that wait are dropped. */
void
stop_signals_ignore(void);

#endif
