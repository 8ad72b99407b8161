/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What xl-squeeze wants to know of a virtual machine, out of libxl's JSON: as
 * `xl create -n` prints it, and as `xl save` puts it in front of its file. */
#ifndef TOOLS_XL_CONFIG_H
#define TOOLS_XL_CONFIG_H

#include "common/overhead.h"
#include "common/units.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define XL_NAME_CHARS 256

struct xl_machine {
    char name[XL_NAME_CHARS];
    char uuid[UUID_TEXT]; /* "": it has none */
    struct overhead_guest guest;
    bool hap_given;   /* by the configuration: guest.hap holds */
    bool passthrough; /* devices of the host are handed to it */
    bool vnuma;
};

/* False with what is wrong in message.  guest.own_iommu_tables is set for PV
 * only, guest.hap as given or true: what the host can do is not in there. */
bool
xl_config_parse(const char *json, size_t length, struct xl_machine *ret,
                char *message, size_t message_size);

/* Of what `xl save` wrote, from its begin. */
bool
xl_config_of_save(FILE *file, struct xl_machine *ret, char *message,
                  size_t message_size);

#endif
