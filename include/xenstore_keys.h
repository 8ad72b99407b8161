/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The xenstore keys that squeezed reads and writes, as printf templates.
 * Amounts in them are decimal KiB. */
#ifndef XENSTORE_KEYS_H
#define XENSTORE_KEYS_H

#define KEY_DOMAIN           "/local/domain/%u"
#define KEY_MEMORY           KEY_DOMAIN "/memory"
#define KEY_FEATURE_BALLOON  KEY_DOMAIN "/control/feature-balloon"
#define KEY_FEATURE_POWEROFF KEY_DOMAIN "/control/feature-poweroff"
#define KEY_NAME             KEY_DOMAIN "/name"
#define KEY_DOMAIN_TYPE      KEY_DOMAIN "/domain-type"
#define KEY_LIBXL_TYPE       "/libxl/%u/type"

/* below KEY_MEMORY */
#define LEAF_STATIC_MIN          "static-min"
#define LEAF_STATIC_MAX          "static-max"
#define LEAF_DYNAMIC_MIN         "dynamic-min"
#define LEAF_DYNAMIC_MAX         "dynamic-max"
#define LEAF_TARGET              "target"
#define LEAF_SQUEEZED_TARGET     "squeezed-target"
#define LEAF_SQUEEZED_CEILING    "squeezed-ceiling" /* the manual target */
#define LEAF_SQUEEZED_FROZEN     "squeezed-frozen"  /* empty: leave it alone */
#define LEAF_OFFSET              "memory-offset"
#define LEAF_VIDEORAM            "videoram"
#define LEAF_UNCOOPERATIVE       "uncooperative"
#define LEAF_INITIAL_RESERVATION "initial-reservation"
#define LEAF_RESERVATION_ID      "reservation-id"

/* The ledger: its form is that of XAPI's squeezed, so that either can read
 * what the other left. */
#define KEY_LEDGER        "/squeezed/state"
#define KEY_LEDGER_CLIENT KEY_LEDGER "/%s"
#define KEY_RESERVATION   KEY_LEDGER "/%s/%s"
#define LEAF_IN_TRANSFER  "in-transfer"
#define LEAF_OWNER_UUID   "owner-uuid" /* beside in-transfer */
#define LEAF_HOLD_UNTIL   "hold-until"
#define LEAF_UUID         "uuid"
#define LEAF_LIMIT_SET    "limit-set" /* beside in-transfer */
#define LEAF_OVER         "over"      /* the promise is: its domain is built */

/* Requests by xenstore writes: a folder each. */
#define KEY_REQUESTS "/squeezed/request"

#define WATCH_INTRODUCE "@introduceDomain"
#define WATCH_RELEASE   "@releaseDomain"
/* libxl's own: it writes there as soon as it has made a domain, long before
 * that is introduced. */
#define WATCH_LIBXL "/libxl"

#endif
