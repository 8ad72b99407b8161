/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The course of a simulation as CSV, one line per change of a domain, and as a
 * picture that gnuplot draws of it. */
#ifndef TOOLS_SIM_TRACE_H
#define TOOLS_SIM_TRACE_H

#include "squeezed/simulation_run.h"

#include <stdio.h>

struct sim_trace;

/* Writes the line of titles.  out stays the caller's.  NULL without memory. */
struct sim_trace *
sim_trace_new(FILE *out);

/* Whatever has changed since the last time. */
void
sim_trace_look(struct sim_trace *trace, const struct simulation_now *now);

void
sim_trace_free(struct sim_trace *trace);

/* Draws the CSV file at path into an .svg or .png; false with what is wrong in
 * message. */
bool
sim_trace_plot(const char *path, const char *picture,
               const struct simulation_results *results, char *message,
               size_t size);

/* "png" or "svg" by its name's end; NULL for anything else. */
const char *
sim_trace_terminal(const char *picture);

#endif
