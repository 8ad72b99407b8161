/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What came out of a simulation, as a table for people or as JSON. */
#ifndef TOOLS_SIM_REPORT_H
#define TOOLS_SIM_REPORT_H

#include "squeezed/simulation_run.h"

#include <stdio.h>

struct sim_report {
    const struct scenario *scenario;
    const struct simulation_results *results;
    uint64_t seed;
    bool timing; /* cpu_s, too */
};

/* width: of the terminal; 0: none. */
void
sim_report_table(const struct sim_report *report, FILE *out, unsigned width);

/* One object on one line; false without memory. */
bool
sim_report_json(const struct sim_report *report, FILE *out);

/* Broken promises and expectations, a line each; returns how many. */
size_t
sim_report_failures(const struct sim_report *report, FILE *out);

#endif
