/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which domain somebody means: a domid, a name or a UUID. */
#ifndef TOOLS_RESOLVE_H
#define TOOLS_RESOLVE_H

#include "common/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A domid is one as it stands, even where a domain has it for a name. */
bool
resolve_is_domid(const char *text, uint32_t *ret_domid);

/* Looks text up as a UUID or a name in the domains of a `status`.
 * ERR_UNKNOWN_DOMAIN or ERR_INVALID (it fits several), with what is wrong in
 * message. */
enum err
resolve_domain(const json_t *status, const char *text, uint32_t *ret_domid,
               char *message, size_t message_size);

#endif
