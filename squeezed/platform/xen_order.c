/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_order.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct xen_order {
    LIST_ENTRY(xen_order) link;
    struct xen_orders *orders;
    struct xen_operation *operation;
    uint32_t domid;
    uint32_t serial; /* 0: nobody whom the cache knows */
    enum xen_key key;
    struct xen_value value;
};

/* Of the orders that are one key: which, and whether it is made or removed. */
static const struct {
    enum xen_key key;
    bool there;
} single_keys[] = {
    [ORDER_CEILING] = { XEN_KEY_CEILING, true },
    [ORDER_AUTO] = { XEN_KEY_CEILING, false },
    [ORDER_FREEZE] = { XEN_KEY_FROZEN, true },
    [ORDER_THAW] = { XEN_KEY_FROZEN, false },
};

static void
order_free(struct xen_order *order)
{
    LIST_REMOVE(order, link);
    free(order);
}

void
xen_orders_free(struct xen_orders *orders)
{
    while (!LIST_EMPTY(&orders->list))
        order_free(LIST_FIRST(&orders->list)); /* NOLINT: it unlinks it */
}

static void
send_range(struct xsc *xsc, uint32_t domid, const struct domain_order *order,
           struct xen_operation *operation)
{
    char paths[2][XEN_KEY_PATH], values[2][24];
    const struct xsc_change changes[2] = {
        { xen_key_path(XEN_KEY_DYNAMIC_MIN, domid, paths[0]), values[0] },
        { xen_key_path(XEN_KEY_DYNAMIC_MAX, domid, paths[1]), values[1] },
    };

    snprintf(values[0], sizeof(values[0]), "%" PRIu64, order->min_kib);
    snprintf(values[1], sizeof(values[1]), "%" PRIu64, order->max_kib);
    if (operation)
        xen_operation_commit(operation, xsc, changes, 2);
    else
        xsc_commit(xsc, changes, 2, NULL, NULL);
}

static void
order_stored(void *arg, enum err error, const char *value, size_t length)
{
    struct xen_order *order = arg;
    struct xen_operation *operation = order->operation;
    struct xen_domain *domain =
        xen_cache_find(order->orders->cache, order->domid);

    (void)value;
    (void)length;
    if (!error && domain && domain->serial == order->serial)
        xen_cache_wrote(domain, order->key, order->value);
    order_free(order);
    if (operation)
        xen_operation_end(operation, error);
}

static struct xen_value
value_of(const struct domain_order *order)
{
    if (!single_keys[order->kind].there)
        return (struct xen_value){ .state = XEN_VALUE_ABSENT };
    return order->kind == ORDER_CEILING ? xen_value_of(order->target_kib)
                                        : xen_value_empty();
}

static void
send_key(struct xen_orders *orders, struct xsc *xsc, uint32_t domid,
         const struct domain_order *wanted, struct xen_operation *operation)
{
    const struct xen_domain *domain = xen_cache_find(orders->cache, domid);
    struct xen_order *order = calloc(1, sizeof(*order));
    char path[XEN_KEY_PATH];
    struct xsc_change change;

    if (!order) {
        if (operation)
            xen_operation_fail(operation, ERR_NO_MEMORY);
        return;
    }
    *order = (struct xen_order){
        .orders = orders,
        .operation = operation,
        .domid = domid,
        .serial = domain ? domain->serial : 0,
        .key = single_keys[wanted->kind].key,
        .value = value_of(wanted),
    };
    LIST_INSERT_HEAD(&orders->list, order, link);
    change.path = xen_key_path(order->key, domid, path);
    change.value =
        order->value.state == XEN_VALUE_ABSENT ? NULL : order->value.text;
    xsc_commit(xsc, &change, 1, order_stored, order);
}

void
xen_order_send(struct xen_orders *orders, struct xsc *xsc, uint32_t domid,
               const struct domain_order *order,
               struct xen_operation *operation)
{
    if (order->kind == ORDER_RANGE)
        send_range(xsc, domid, order, operation);
    else
        send_key(orders, xsc, domid, order, operation);
}
