/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "common/log.h"

#include <stdbool.h>
#include <stdio.h>

struct options {
    const char *config;   /* the file */
    const char *scenario; /* NULL: a real host */
    const char *socket;   /* NULL: as the configuration says */
    bool has_level;
    enum log_level level;
    bool check_config;
    bool dry_run;
    bool version;
    bool help;
};

/* False if something is wrong with them; that is then on standard error.
 * What they point to belongs to argv. */
bool
options_parse(int argc, char *argv[], struct options *ret);

void
options_print_help(FILE *file);

#endif
