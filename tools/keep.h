/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezectl range, once the range is set: says what the guest can't live with,
 * and with --keep writes it down for all later starts. */
#ifndef TOOLS_KEEP_H
#define TOOLS_KEEP_H

#include "tools/arguments.h"

#define KEEP_OPTION  "--keep"
#define KEEP_FOLDER  "--domains-dir"
#define KEEP_DEFAULT "/etc/squeezed/domains.d"

/* params: those of squeezed.set_range.  The exit status. */
int
keep_range(const struct arguments *arguments, const json_t *params);

#endif
