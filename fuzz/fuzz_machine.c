/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tools read of a machine: xl's JSON, the head of what `xl save`
 * wrote, libvirt's XML. */
#include "fuzz/fuzz.h"
#include "sq_limits.h"
#include "tools/libvirt.h"
#include "tools/xl_config.h"

#include <string.h>

static void
check_guest(const struct overhead_guest *guest)
{
    uint64_t max_kib = overhead_max_kib(guest);
    uint64_t need_kib = overhead_need_kib(guest, max_kib);

    MUST(max_kib <= LIMIT_SIZE_KIB);
    MUST(overhead_target_kib(guest) <= LIMIT_SIZE_KIB);
    MUST(need_kib > max_kib);
    MUST(overhead_fitting_kib(guest, need_kib) <= need_kib);
}

static void
check_uuid(const char *text, bool may_lack)
{
    uint8_t uuid[UUID_BYTES];

    MUST((may_lack && !*text) || parse_uuid(text, uuid));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct libvirt_machine libvirt;
    struct xl_machine xl;
    char message[200] = "";
    FILE *file;

    if (xl_config_parse((const char *)data, length, &xl, message,
                        sizeof message)) {
        check_guest(&xl.guest);
        check_uuid(xl.uuid, true);
    } else {
        MUST(*message);
    }
    file = length ? fmemopen((void *)(uintptr_t)data, length, "r") : NULL;
    if (!file)
        return 0;
    *message = '\0';
    if (xl_config_of_save(file, &xl, message, sizeof message))
        check_guest(&xl.guest);
    else
        MUST(*message);
    rewind(file);
    *message = '\0';
    if (libvirt_read(file, &libvirt, message, sizeof message)) {
        check_guest(&libvirt.guest);
        check_uuid(libvirt.uuid, false);
    } else {
        MUST(*message);
    }
    fclose(file);
    return 0;
}
