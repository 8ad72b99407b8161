/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_manual.h"

static bool
is_young(const struct xen_manual *manual, int64_t now_us)
{
    return manual->young_us && now_us - manual->young_us < XEN_MANUAL_YOUNG_US;
}

enum xen_manual_verdict
xen_manual_look(struct xen_manual *manual, const struct xen_manual_sight *sight,
                int64_t now_us)
{
    if (sight->building || sight->going)
        return XEN_MANUAL_NOTHING;
    if (!manual->seen && sight->new)
        manual->young_us = now_us;
    manual->seen = true;
    if (!sight->managed || !sight->certain ||
        sight->target->state != XEN_VALUE_GOOD)
        return XEN_MANUAL_NOTHING;
    if (sight->squeezed->state != XEN_VALUE_GOOD)
        return XEN_MANUAL_BASE;
    if (sight->target->number == sight->squeezed->number)
        return XEN_MANUAL_NOTHING;
    return is_young(manual, now_us) ? XEN_MANUAL_BASE : XEN_MANUAL_WISH;
}
