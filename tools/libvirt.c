/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/libvirt.h"

#include "sq_limits.h"

#include <expat.h>
#include <string.h>

#define DEPTH_MAX  64
#define TEXT_CHARS 64

struct reader {
    struct libvirt_machine *machine;
    XML_Parser parser;
    char path[256];            /* "/domain/os/type" */
    size_t lengths[DEPTH_MAX]; /* of the path, at each depth */
    size_t depth;
    char text[TEXT_CHARS]; /* of the element, as far as it fits */
    size_t text_length;
    char unit[8];
    bool has_memory;
    bool has_type;
    const char *wrong; /* NULL: nothing yet */
};

/* As libvirt has them; KiB without any. */
static const struct {
    const char *name;
    uint64_t bytes;
} units[] = {
    { "", 1024 },
    { "b", 1 },
    { "bytes", 1 },
    { "KB", 1000 },
    { "k", 1024 },
    { "KiB", 1024 },
    { "MB", 1000000 },
    { "M", 1 << 20 },
    { "MiB", 1 << 20 },
    { "GB", 1000000000 },
    { "G", 1 << 30 },
    { "GiB", 1 << 30 },
    { "TB", UINT64_C(1000000000000) },
    { "T", UINT64_C(1) << 40 },
    { "TiB", UINT64_C(1) << 40 },
};

static bool
take_size(struct reader *r, uint64_t *ret_kib)
{
    uint64_t number;

    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        uint64_t kib;

        if (strcmp(units[i].name, r->unit) != 0)
            continue;
        if (!parse_u64(r->text, &number))
            return false;
        kib = mul_div(number, units[i].bytes, 1024);
        if (number * units[i].bytes % 1024 != 0)
            kib++;
        *ret_kib = kib;
        return kib <= LIMIT_SIZE_KIB;
    }
    return false;
}

/* ----------------------------------------------------------------- elements */

typedef bool
take_element(struct reader *r);

static bool
take_uuid(struct reader *r)
{
    uint8_t uuid[UUID_BYTES];

    if (!parse_uuid(r->text, uuid))
        return false;
    format_uuid(uuid, r->machine->uuid);
    return true;
}

static bool
take_memory(struct reader *r)
{
    r->has_memory = true;
    return take_size(r, &r->machine->guest.max_kib);
}

static bool
take_current(struct reader *r)
{
    return take_size(r, &r->machine->guest.target_kib);
}

static bool
take_vcpus(struct reader *r)
{
    uint64_t number;

    if (!parse_u64(r->text, &number) || number == 0 || number > UINT16_MAX)
        return false;
    r->machine->guest.vcpus = (uint32_t)number;
    return true;
}

static bool
take_type(struct reader *r)
{
    static const struct {
        const char *name;
        enum overhead_type type;
    } types[] = { { "linux", OVERHEAD_PV },
                  { "xen", OVERHEAD_PV },
                  { "xenpvh", OVERHEAD_PVH },
                  { "hvm", OVERHEAD_HVM } };

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(r->text, types[i].name) != 0)
            continue;
        r->machine->guest.type = types[i].type;
        r->has_type = true;
    }
    return r->has_type;
}

static bool
take_hostdev(struct reader *r)
{
    r->machine->guest.own_iommu_tables = true;
    return true;
}

static const struct {
    const char *path;
    take_element *take;
    const char *wrong;
} elements[] = {
    { "/domain/uuid", take_uuid, "its <uuid> is none" },
    { "/domain/memory", take_memory, "its <memory> is no size" },
    { "/domain/currentMemory", take_current, "its <currentMemory> is no size" },
    { "/domain/vcpu", take_vcpus, "its <vcpu> is no number" },
    { "/domain/os/type", take_type, "its <os><type> is none of Xen's" },
    { "/domain/devices/hostdev", take_hostdev, "" },
};

/* --------------------------------------------------------------- what expat
 * calls */

static void
fail(struct reader *r, const char *wrong)
{
    if (!r->wrong)
        r->wrong = wrong;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL
on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *r = arg;
    size_t length = strlen(r->path);

    if (r->depth == DEPTH_MAX || length + strlen(name) + 2 > sizeof(r->path)) {
        fail(r, "it is nested too deeply");
        return;
    }
    r->lengths[r->depth++] = length;
    snprintf(r->path + length, sizeof(r->path) - length, "/%s", name);
    r->text_length = 0;
    r->text[0] = '\0';
    r->unit[0] = '\0';
    for (; *attributes; attributes += 2) {
        if (strcmp(attributes[0], "unit") == 0)
            snprintf(r->unit, sizeof(r->unit), "%s", attributes[1]);
        if (strcmp(r->path, "/domain/features/hap") == 0 &&
            strcmp(attributes[0], "state") == 0)
            r->machine->guest.hap = strcmp(attributes[1], "on") == 0;
    }
}

static void XMLCALL
on_text(void *arg, const XML_Char *text, int length)
{
    struct reader *r = arg;

    for (int i = 0; i < length; i++) {
        if (strchr(" \t\r\n", text[i]) || r->text_length + 1 == sizeof(r->text))
            continue;
        r->text[r->text_length++] = text[i];
        r->text[r->text_length] = '\0';
    }
}

static void XMLCALL
on_end(void *arg, const XML_Char *name)
{
    struct reader *r = arg;

    (void)name;
    /* expat tells of the end of an empty element, be it stopped at its start */
    if (r->wrong)
        return;
    for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
        if (strcmp(r->path, elements[i].path) == 0 && !elements[i].take(r))
            fail(r, elements[i].wrong);
    r->path[r->lengths[--r->depth]] = '\0';
}

/* Nobody who means well defines entities for us. */
static void XMLCALL
on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
           const XML_Char *public, int internal)
{
    (void)name, (void)system, (void)public, (void)internal;
    fail(arg, "it has a document type");
}

/* ---------------------------------------------------------------- the whole */

static void
read_all(struct reader *r, FILE *file)
{
    size_t total = 0;
    bool last = false;

    while (!last && !r->wrong) {
        char buffer[4096];
        size_t got = fread(buffer, 1, sizeof(buffer), file);

        total += got;
        last = got < sizeof(buffer);
        if (total > LIMIT_BODY_BYTES)
            r->wrong = "it is longer than 1 MiB";
        else if (XML_Parse(r->parser, buffer, (int)got, last) !=
                     XML_STATUS_OK &&
                 !r->wrong)
            r->wrong = XML_ErrorString(XML_GetErrorCode(r->parser));
    }
}

static const char *
what_is_missing(const struct reader *r)
{
    if (!*r->machine->uuid)
        return "it has no <uuid>";
    if (!r->has_memory)
        return "it has no <memory>";
    return r->has_type ? NULL : "it has no <os><type>";
}

bool
libvirt_read(FILE *file, struct libvirt_machine *ret, char *message,
             size_t message_size)
{
    struct libvirt_machine machine = { .guest = overhead_defaults };
    struct reader r = { .machine = &machine };

    machine.guest.hap = false;
    r.parser = XML_ParserCreate(NULL);
    if (!r.parser) {
        snprintf(message, message_size, "out of memory");
        return false;
    }
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    read_all(&r, file);
    if (!r.wrong)
        r.wrong = what_is_missing(&r);
    if (r.wrong)
        snprintf(message, message_size, "%s", r.wrong);
    else
        *ret = machine;
    XML_ParserFree(r.parser);
    return !r.wrong;
}
