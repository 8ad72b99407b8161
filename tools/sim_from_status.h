/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A scenario of the host that `squeezectl status --json` shows. */
#ifndef TOOLS_SIM_FROM_STATUS_H
#define TOOLS_SIM_FROM_STATUS_H

#include <stdbool.h>
#include <stdio.h>

/* Reads the file ("-": standard input), writes the scenario to out.  False
 * with what is wrong in message. */
bool
sim_from_status(const char *path, FILE *out, char *message, size_t size);

#endif
