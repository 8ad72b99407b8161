/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
scenario_domain_init(struct scenario_domain *domain)
{
    *domain = (struct scenario_domain){
        .count = 1,
        .shares = 1000,
        .used_kib = USED_UNKNOWN,
        .rate_kib = KIB_PER_GIB,
    };
}

/* FNV-1a over the name, twice from different beginnings; version 8 (our own
 * making) of RFC 9562. */
static void
uuid_of_name(const char *name, uint8_t uuid[UUID_BYTES])
{
    uint64_t halves[2] = { UINT64_C(0xcbf29ce484222325),
                           UINT64_C(0x84222325cbf29ce4) };

    for (int half = 0; half < 2; half++) {
        for (const char *p = name; *p != '\0'; p++)
            halves[half] =
                (halves[half] ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
        for (int i = 0; i < 8; i++)
            uuid[half * 8 + i] = (uint8_t)(halves[half] >> (8 * i));
    }
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x80);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

void
scenario_domain_name(const struct scenario_domain *domain, uint32_t index,
                     char name[128], uint8_t uuid[UUID_BYTES])
{
    if (index == 0)
        snprintf(name, 128, "%s", domain->name);
    else
        snprintf(name, 128, "%s-%" PRIu32, domain->name, index + 1);
    if (domain->given & GIVEN_UUID)
        memcpy(uuid, domain->uuid, UUID_BYTES);
    else
        uuid_of_name(name, uuid);
}

static const char *
check_range(const struct scenario_domain *d, char *buffer)
{
    char low[SIZE_TEXT], high[SIZE_TEXT];

    if (d->dynamic_min_kib > d->dynamic_max_kib)
        snprintf(buffer, SCENARIO_ERROR_CHARS,
                 "dynamic-min = %s is above dynamic-max = %s",
                 format_size((int64_t)d->dynamic_min_kib, low),
                 format_size((int64_t)d->dynamic_max_kib, high));
    else if (d->dynamic_min_kib < d->static_min_kib)
        snprintf(buffer, SCENARIO_ERROR_CHARS,
                 "dynamic-min = %s is below static-min = %s",
                 format_size((int64_t)d->dynamic_min_kib, low),
                 format_size((int64_t)d->static_min_kib, high));
    else if (d->dynamic_max_kib > d->static_max_kib)
        snprintf(buffer, SCENARIO_ERROR_CHARS,
                 "dynamic-max = %s is above static-max = %s",
                 format_size((int64_t)d->dynamic_max_kib, low),
                 format_size((int64_t)d->static_max_kib, high));
    else
        return NULL;
    return buffer;
}

const char *
scenario_domain_complete(struct scenario_domain *d, uint64_t amount_kib,
                         char buffer[SCENARIO_ERROR_CHARS])
{
    const uint32_t both = GIVEN_DYNAMIC_MIN | GIVEN_DYNAMIC_MAX;
    bool managed = (d->given & both) == both;

    if ((d->given & both) != 0 && !managed)
        return "dynamic-min and dynamic-max: give both, or neither";
    if (!(d->given & GIVEN_ACTUAL) && !managed && amount_kib == 0)
        return "'actual' is missing: it is required without dynamic-max";
    if ((d->given & GIVEN_UUID) && d->count > 1)
        return "uuid: only one domain can have it, and count is above 1";
    if (!(d->given & GIVEN_NAME))
        snprintf(d->name, sizeof d->name, "dom%" PRIu32, d->domid);
    if (!(d->given & GIVEN_ACTUAL))
        d->actual_kib = amount_kib > 0 ? amount_kib : d->dynamic_max_kib;
    if (!(d->given & GIVEN_STATIC_MAX))
        d->static_max_kib = managed ? d->dynamic_max_kib : d->actual_kib;
    if (!(d->given & GIVEN_TARGET))
        d->target_kib = d->actual_kib;
    if (!(d->given & GIVEN_LIMIT))
        d->limit_kib = max_u64(d->target_kib, d->actual_kib);
    return managed ? check_range(d, buffer) : NULL;
}
