/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a hook of libvirt's is told of a virtual machine: its XML. */
#ifndef TOOLS_LIBVIRT_H
#define TOOLS_LIBVIRT_H

#include "common/overhead.h"
#include "common/units.h"

#include <stdbool.h>
#include <stdio.h>

struct libvirt_machine {
    char uuid[UUID_TEXT];
    struct overhead_guest guest;
};

/* Reads all of it.  False with what is wrong in message.  What XML doesn't tell
 * is taken as what costs more: no hardware-assisted paging, and IOMMU tables
 * where devices are handed over. */
bool
libvirt_read(FILE *file, struct libvirt_machine *ret, char *message,
             size_t message_size);

#endif
