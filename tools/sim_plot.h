/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A picture of a simulation, which gnuplot draws out of its trace: a line for
 * each domain, the free memory, and the requests. */
#ifndef TOOLS_SIM_PLOT_H
#define TOOLS_SIM_PLOT_H

#include "squeezed/simulation_run.h"

/* Draws the trace (the CSV file at path) into an .svg or .png; false with what
 * is wrong in message. */
bool
sim_plot(const char *path, const char *picture, const struct scenario *scenario,
         const struct simulation_results *results, char *message, size_t size);

/* "png" or "svg" by its name's end; NULL for anything else. */
const char *
sim_plot_terminal(const char *picture);

#endif
