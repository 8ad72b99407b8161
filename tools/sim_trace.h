/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The course of a simulation as CSV, one line per change of a domain. */
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

#endif
