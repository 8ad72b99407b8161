/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezectl exec: runs a command that has a reservation, which is released
 * afterwards unless a domain has got it. */
#ifndef TOOLS_EXEC_H
#define TOOLS_EXEC_H

#include "tools/arguments.h"

/* The command's exit status as a shell has it.  Signals that were blocked by a
 * cancellable call are handed on to the command. */
int
exec_command(const struct arguments *arguments, const json_t *grant);

#endif
