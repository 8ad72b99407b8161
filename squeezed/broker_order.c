/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Orders for a domain: its range, its ceiling, freezing. */
#include "squeezed/broker_store.h"

#include <inttypes.h>
#include <stdio.h>

static void
order_stored(struct pending *w, enum err error)
{
    if (error)
        broker_reply_not_stored(w, error);
    else
        broker_reply_done(w);
}

/* What is wrong with this range, as the parameter's name; NULL if it's fine. */
static const char *
bad_range(const struct domain_facts *f, const struct domain_order *order)
{
    if (order->min_kib < f->static_min_kib || order->min_kib > order->max_kib)
        return "dynamic_min";
    /* Without a static maximum (no toolstack leaves it out) there is none. */
    if (f->static_max_kib > 0 && order->max_kib > f->static_max_kib)
        return "dynamic_max";
    return NULL;
}

/* True if it was refused. */
static bool
refuse_range(const struct domain_facts *f, const struct domain_order *order,
             broker_reply *reply, void *arg)
{
    const char *bad = bad_range(f, order);

    if (!bad)
        return false;
    broker_reply_error(reply, arg, ERR_INVALID, bad,
                       "range %" PRIu64 " to %" PRIu64
                       " KiB: static-min %" PRIu64
                       " <= min <= max <= static-max %" PRIu64
                       " must hold for domain %" PRIu32,
                       order->min_kib, order->max_kib, f->static_min_kib,
                       f->static_max_kib, f->domid);
    return true;
}

static bool
refuse_ceiling(const struct domain_facts *f, broker_reply *reply, void *arg)
{
    if (f->flags & DOMAIN_MANAGED)
        return false;
    broker_reply_error(reply, arg, ERR_INVALID, "domid",
                       "domain %" PRIu32 " has no range, so that squeezed "
                       "leaves it alone: set one first",
                       f->domid);
    return true;
}

static bool
refuse_order(const struct domain_facts *f, const struct domain_order *order,
             broker_reply *reply, void *arg)
{
    if (order->kind == ORDER_RANGE)
        return refuse_range(f, order, reply, arg);
    return order->kind == ORDER_CEILING && refuse_ceiling(f, reply, arg);
}

/* The range that a ceiling is kept in, as its own keys give it. */
static uint64_t
clamp_ceiling(const struct domain_facts *f, uint64_t kib)
{
    uint64_t most = f->dynamic_max_kib;

    if (f->static_max_kib > 0)
        most = min_u64(most, f->static_max_kib);
    return max_u64(min_u64(page_down(kib), page_down(most)),
                   page_up(max_u64(f->static_min_kib, f->dynamic_min_kib)));
}

static void
order_of(struct broker *b, const struct domain *d, struct domain_order order,
         broker_reply *reply, void *arg)
{
    uint32_t domid = d->facts.domid;
    struct pending *w;
    char what[48];

    if (refuse_order(&d->facts, &order, reply, arg))
        return;
    order.target_kib = clamp_ceiling(&d->facts, order.target_kib);
    snprintf(what, sizeof what, "the order for domain %" PRIu32, domid);
    w = broker_pending_new(b, order_stored, what, reply, arg);
    if (w)
        b->platform->ops->order(b->platform, domid, &order, broker_stored, w);
}

void
broker_order(struct broker *b, uint32_t domid, const struct domain_order *order,
             int64_t now_us, broker_reply *reply, void *arg)
{
    const struct domain *d;

    b->now_us = max_i64(b->now_us, now_us);
    if (broker_refuse_unloaded(b, reply, arg))
        return;
    d = broker_find_domain(b, domid);
    if (d)
        order_of(b, d, *order, reply, arg);
    else
        broker_reply_error(reply, arg, ERR_UNKNOWN_DOMAIN, "domid",
                           "there is no domain %" PRIu32, domid);
}

void
broker_order_seen(struct broker *b, const struct domain *d,
                  const struct domain_order *order, int64_t now_us,
                  broker_reply *reply, void *arg)
{
    b->now_us = max_i64(b->now_us, now_us);
    if (!broker_refuse_unloaded(b, reply, arg))
        order_of(b, d, *order, reply, arg);
}
