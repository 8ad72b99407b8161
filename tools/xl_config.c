/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/xl_config.h"

#include "sq_limits.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* In front of a saved domain, in the byte order of the host: this, and then
 * "optional data": the length of the configuration, 4 bytes, and itself, which
 * ends with a 0.  (xl's save_file_header.) */
#define SAVE_MAGIC      "Xen saved domain, xl format\n \0 \r"
#define SAVE_BYTE_ORDER UINT32_C(0x01020304)
#define SAVE_FLAG_JSON  UINT32_C(0x1)

struct save_header {
    char magic[32];
    uint32_t byte_order;
    uint32_t mandatory_flags;
    uint32_t optional_flags;
    uint32_t data_bytes;
};

/* ------------------------------------------------------------------- values */

/* libxl writes its booleans as text. */
static bool
get_bool(const json_t *object, const char *key, bool *ret)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);

    if (json_is_boolean(value)) {
        *ret = json_is_true(value);
        return true;
    }
    if (!text || (strcasecmp(text, "true") && strcasecmp(text, "false")))
        return false;
    *ret = strcasecmp(text, "true") == 0;
    return true;
}

static const char *
get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const struct {
    const char *key;
    size_t offset;
} sizes[] = {
    { "target_memkb", offsetof(struct overhead_guest, target_kib) },
    { "max_memkb", offsetof(struct overhead_guest, max_kib) },
    { "shadow_memkb", offsetof(struct overhead_guest, shadow_kib) },
    { "iommu_memkb", offsetof(struct overhead_guest, iommu_kib) },
    { "video_memkb", offsetof(struct overhead_guest, video_kib) },
    { "stubdomain_memkb", offsetof(struct overhead_guest, stubdomain_kib) },
};

/* Those that aren't there stay at libxl's defaults. */
static bool
get_sizes(const json_t *build, struct overhead_guest *guest, char *message,
          size_t message_size)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const json_t *value = json_object_get(build, sizes[i].key);
        json_int_t kib = json_integer_value(value);

        if (!value)
            continue;
        if (!json_is_integer(value) || kib < 0 ||
            (uint64_t)kib > LIMIT_SIZE_KIB) {
            snprintf(message, message_size,
                     "its %s is no size that a machine can have", sizes[i].key);
            return false;
        }
        *(uint64_t *)(void *)((char *)guest + sizes[i].offset) = (uint64_t)kib;
    }
    return true;
}

static bool
get_type(const char *text, enum overhead_type *ret)
{
    static const char *const names[] = {
        [OVERHEAD_PV] = "pv", [OVERHEAD_PVH] = "pvh", [OVERHEAD_HVM] = "hvm"
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum overhead_type)i;
            return true;
        }
    }
    return false;
}

static enum overhead_vga
get_vga(const json_t *build)
{
    const json_t *hvm = json_object_get(build, "type.hvm");
    const char *kind = get_text(json_object_get(hvm, "vga"), "kind");

    if (strcmp(kind, "std") == 0)
        return OVERHEAD_VGA_STD;
    if (strcmp(kind, "qxl") == 0)
        return OVERHEAD_VGA_QXL;
    return strcmp(kind, "none") == 0 ? OVERHEAD_VGA_NONE : OVERHEAD_VGA_CIRRUS;
}

/* libxl takes the traditional qemu where a stub domain names none. */
static bool
has_old_qemu(const json_t *build, bool stubdomain)
{
    const char *version = get_text(build, "device_model_version");

    return *version ? strcmp(version, "qemu_xen_traditional") == 0 : stubdomain;
}

/* ------------------------------------------------------------ configuration */

/* Devices now, or the wish to have some later. */
static bool
has_passthrough(const json_t *config, const json_t *create)
{
    const char *wish = get_text(create, "passthrough");

    return json_array_size(json_object_get(config, "pcidevs")) > 0 ||
           json_array_size(json_object_get(config, "dtdevs")) > 0 ||
           strcmp(wish, "enabled") == 0 || strcmp(wish, "sync_pt") == 0 ||
           strcmp(wish, "share_pt") == 0;
}

static bool
take_config(const json_t *config, struct xl_machine *machine, char *message,
            size_t message_size)
{
    const json_t *create = json_object_get(config, "c_info");
    const json_t *build = json_object_get(config, "b_info");
    struct overhead_guest *guest = &machine->guest;
    json_int_t vcpus = json_integer_value(json_object_get(build, "max_vcpus"));
    uint8_t uuid[UUID_BYTES];

    if (!json_is_object(create) || !json_is_object(build) ||
        !get_type(get_text(create, "type"), &guest->type)) {
        snprintf(message, message_size,
                 "it is no configuration of a PV, PVH or HVM machine");
        return false;
    }
    snprintf(machine->name, sizeof(machine->name), "%s",
             get_text(create, "name"));
    if (parse_uuid(get_text(create, "uuid"), uuid))
        format_uuid(uuid, machine->uuid);
    guest->vcpus = vcpus > 0 && vcpus <= UINT16_MAX ? (uint32_t)vcpus : 1;
    machine->hap_given = get_bool(create, "hap", &guest->hap);
    if (!get_bool(build, "device_model_stubdomain", &guest->stubdomain))
        guest->stubdomain = false;
    guest->old_qemu = has_old_qemu(build, guest->stubdomain);
    guest->vga = get_vga(build);
    machine->passthrough = has_passthrough(config, create);
    guest->own_iommu_tables =
        machine->passthrough && guest->type == OVERHEAD_PV;
    machine->vnuma = json_array_size(json_object_get(build, "vnuma_nodes")) > 0;
    return get_sizes(build, guest, message, message_size);
}

bool
xl_config_parse(const char *json, size_t length, struct xl_machine *ret,
                char *message, size_t message_size)
{
    struct xl_machine machine = { .guest = overhead_defaults };
    json_error_t error;
    json_t *config = json_loadb(json, length, 0, &error);
    bool good;

    if (!config) {
        snprintf(message, message_size, "line %d: %s", error.line, error.text);
        return false;
    }
    good = take_config(config, &machine, message, message_size);
    json_decref(config);
    if (good)
        *ret = machine;
    return good;
}

/* ------------------------------------------------------------- saved domain */

static const char *
read_save(FILE *file, char **ret_json, size_t *ret_length)
{
    struct save_header header;
    uint32_t length;
    char *json;

    if (fread(&header, sizeof(header), 1, file) != 1 ||
        memcmp(header.magic, SAVE_MAGIC, sizeof(header.magic)) != 0)
        return "it is no file that `xl save` wrote";
    if (header.byte_order != SAVE_BYTE_ORDER)
        return "it was saved on a machine of another byte order";
    if (!(header.mandatory_flags & SAVE_FLAG_JSON) ||
        header.data_bytes <= sizeof(length))
        return "it has no configuration that could be read";
    if (fread(&length, sizeof(length), 1, file) != 1 ||
        length > header.data_bytes - sizeof(length) ||
        length > LIMIT_BODY_BYTES)
        return "its header is damaged";
    json = malloc(length + 1u);
    if (!json)
        return "out of memory";
    if (fread(json, 1, length, file) != length) {
        free(json);
        return "it is cut short";
    }
    json[length] = '\0';
    *ret_json = json;
    *ret_length = strlen(json);
    return NULL;
}

bool
xl_config_of_save(FILE *file, struct xl_machine *ret, char *message,
                  size_t message_size)
{
    char *json = NULL;
    size_t length = 0;
    const char *wrong = read_save(file, &json, &length);
    bool good = false;

    if (wrong)
        snprintf(message, message_size, "%s", wrong);
    else
        good = xl_config_parse(json, length, ret, message, message_size);
    free(json);
    return good;
}
