/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/resolve.h"

#include "common/units.h"
#include "sq_limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool
resolve_is_domid(const char *text, uint32_t *ret_domid)
{
    uint64_t number;

    if (!parse_u64(text, &number) || number >= LIMIT_DOMAINS)
        return false;
    *ret_domid = (uint32_t)number;
    return true;
}

static bool
is_meant(const json_t *domain, const char *text)
{
    const char *name = json_string_value(json_object_get(domain, "name"));
    const char *uuid = json_string_value(json_object_get(domain, "uuid"));

    return (name && strcmp(name, text) == 0) ||
           (uuid && strcasecmp(uuid, text) == 0);
}

/* message: "'web' fits the domains 3, 7, 12: give the domid". */
static void
say_which(const json_t *domains, const char *text, char *message, size_t size)
{
    FILE *out = fmemopen(message, size, "w");
    const char *separator = "";
    const json_t *domain;
    size_t i;

    if (!out)
        return;
    fprintf(out, "'%s' fits the domains ", text);
    json_array_foreach(domains, i, domain)
    {
        if (!is_meant(domain, text))
            continue;
        fprintf(out, "%s%" JSON_INTEGER_FORMAT, separator,
                json_integer_value(json_object_get(domain, "domid")));
        separator = ", ";
    }
    fputs(": give the domid", out);
    fclose(out);
    message[size - 1] = '\0';
}

enum err
resolve_domain(const json_t *status, const char *text, uint32_t *ret_domid,
               char *message, size_t message_size)
{
    const json_t *domains = json_object_get(status, "domains");
    json_int_t domid = -1;
    const json_t *domain;
    size_t found = 0;
    size_t i;

    json_array_foreach(domains, i, domain)
    {
        if (!is_meant(domain, text))
            continue;
        domid = json_integer_value(json_object_get(domain, "domid"));
        found++;
    }
    if (found > 1) {
        say_which(domains, text, message, message_size);
        return ERR_INVALID;
    }
    if (found == 0 || domid < 0 || domid >= LIMIT_DOMAINS) {
        snprintf(message, message_size,
                 "no domain has the domid, name or UUID '%s'", text);
        return ERR_UNKNOWN_DOMAIN;
    }
    *ret_domid = (uint32_t)domid;
    return ERR_NONE;
}
