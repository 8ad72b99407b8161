/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_offset.h"

static bool
at_rest(struct xen_offset *o, const struct xen_offset_sight *sight,
        int64_t now_us)
{
    if (o->seen && o->target_kib == sight->target_kib &&
        o->held_kib == sight->held_kib)
        return now_us - o->changed_us >= XEN_OFFSET_STILL_US;
    o->seen = true;
    o->target_kib = sight->target_kib;
    o->held_kib = sight->held_kib;
    o->changed_us = now_us;
    return false;
}

/* It grew until its limit stopped it: where its balloon wanted to go isn't
 * known. */
static bool
was_cut_short(const struct xen_offset *o, const struct xen_offset_sight *sight)
{
    return o->rested && sight->held_kib > o->rest_held_kib &&
           sight->held_kib >= sight->max_kib;
}

/* Since it last rested it has moved just as its target has. */
static bool
has_followed(const struct xen_offset *o, const struct xen_offset_sight *sight)
{
    return o->rested && sight->target_kib != o->rest_target_kib &&
           sight->target_kib - o->rest_target_kib ==
               sight->held_kib - o->rest_held_kib;
}

/* A correction shifts what is seen of a domain: not in the middle of a
 * squeeze, and not often. */
static bool
may_correct(const struct xen_offset *o, const struct xen_offset_sight *sight,
            int64_t now_us)
{
    return !o->measured || (!sight->host_moves &&
                            now_us - o->measured_us >= XEN_OFFSET_PAUSE_US);
}

bool
xen_offset_look(struct xen_offset *o, const struct xen_offset_sight *sight,
                int64_t now_us, int64_t *ret_kib)
{
    int64_t kib = (int64_t)sight->held_kib - (int64_t)sight->target_kib;
    bool followed;

    if (!at_rest(o, sight, now_us) || was_cut_short(o, sight))
        return false;
    followed = has_followed(o, sight);
    /* What it shows now is kept for when it may be said. */
    if (followed && !may_correct(o, sight, now_us))
        return false;
    o->rested = true;
    o->rest_target_kib = sight->target_kib;
    o->rest_held_kib = sight->held_kib;
    if (!followed || kib > XEN_OFFSET_MAX_KIB || kib < -XEN_OFFSET_MAX_KIB)
        return false;
    o->measured = true;
    o->measured_us = now_us;
    *ret_kib = kib;
    return true;
}
