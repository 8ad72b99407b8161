/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_internal.h"

#include "common/log.h"
#include "squeezed/platform/xen_autoballoon.h"
#include "squeezed/platform/xen_brake.h"
#include "xenstore_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_US    (200 * US_PER_MS)
#define DEADLINE_US  (5 * US_PER_S)
#define RECONNECT_US (10 * US_PER_MS)
/* Where xenstored lives in a domain of its own, it has no socket here. */
#define XENSTORE_DEVICE "/dev/xen/xenbus"
#define XL_CONF         "/etc/xen/xl.conf"
/* Between attempts to see the hypervisor. */
#define RETRY_S 1

/* What is the matter */

bool
xen_usable(const struct xen_platform *xen)
{
    return !xen_hypervisor_why(xen->hypervisor)[0] && xsc_is_up(xen->xsc) &&
           xen_cache_ready(xen->cache);
}

static enum trouble
find_trouble(const struct xen_platform *xen)
{
    if (xen_hypervisor_why(xen->hypervisor)[0])
        return TROUBLE_XEN;
    if (!xsc_is_up(xen->xsc))
        return TROUBLE_XENSTORE;
    if (!xen_cache_ready(xen->cache))
        return TROUBLE_READING;
    return xen_cache_lost_ranges(xen->cache) ? TROUBLE_RANGES : TROUBLE_NONE;
}

static enum trouble
describe_trouble(const struct xen_platform *xen, char *text, size_t size)
{
    enum trouble trouble = find_trouble(xen);

    text[0] = '\0';
    switch (trouble) {
    case TROUBLE_XEN:
        snprintf(text, size, "%s", xen_hypervisor_why(xen->hypervisor));
        break;
    case TROUBLE_XENSTORE:
        snprintf(text, size, "no xenstore at %.72s%s%.40s; connecting again",
                 xen->path, xen->lost_why[0] ? ": " : "", xen->lost_why);
        break;
    case TROUBLE_READING:
        snprintf(text, size, "reading the domains' keys from xenstore");
        break;
    case TROUBLE_RANGES:
        snprintf(text, size,
                 "xenstored was restarted without its content: %zu domains "
                 "have lost their ranges, and their kernels hear of no "
                 "target until they are started anew",
                 xen_cache_lost_ranges(xen->cache));
        break;
    case TROUBLE_NONE:
        break;
    }
    return trouble;
}

/* Logs what is the matter, once. */
static void
say(struct xen_platform *xen)
{
    char text[PLATFORM_WHY];
    enum trouble trouble = describe_trouble(xen, text, sizeof(text));

    if (xen->said_any && trouble == xen->said)
        return;
    xen->said = trouble;
    xen->said_any = true;
    if (trouble)
        log_at(trouble == TROUBLE_READING ? LEVEL_INFO : LEVEL_WARNING, "%s",
               text);
    else
        log_info("Xen and xenstore (%s) are there: %zu domains",
                 xsc_way(xen->xsc), xen->count);
}

/* Once, as soon as there is a Xen to be asked. */
static void
check_autoballoon(struct xen_platform *xen)
{
    char line[1024];
    bool known;

    if (xen->autoballoon_checked || xen_hypervisor_why(xen->hypervisor)[0])
        return;
    xen->autoballoon_checked = true;
    known = xen_hypervisor_command_line(xen->hypervisor, line, sizeof(line));
    if (xen_autoballoon_look(xen->xl_conf, known ? line : NULL))
        log_warning("%s: autoballoon is on, so that xl shrinks domain 0 for "
                    "its guests, behind squeezed's back: set "
                    "autoballoon=\"off\" there",
                    xen->xl_conf);
}

static void
tell(struct xen_platform *xen)
{
    if (xen->platform.hooks.changed)
        xen->platform.hooks.changed(xen->platform.hooks.context);
}

void
xen_retry_soon(struct xen_platform *xen)
{
    static const struct timeval delay = { .tv_sec = RETRY_S };

    if (!evtimer_pending(xen->retry, NULL))
        evtimer_add(xen->retry, &delay);
}

static enum err
xen_see_free(struct platform *platform, int64_t now_us, uint64_t *ret_kib)
{
    struct xen_platform *xen = to_xen(platform);

    (void)now_us;
    return xen_usable(xen) ? xen_hypervisor_see_free(xen->hypervisor, ret_kib)
                           : ERR_NOT_READY;
}

/* Acting */

static void
xen_apply(struct platform *platform, const struct setting *settings,
          size_t count)
{
    xen_writer_apply(to_xen(platform)->writer, settings, count);
}

static void
xen_persist(struct platform *platform, const struct ledger_change *changes,
            size_t count, platform_done *done, void *arg)
{
    struct xen_platform *xen = to_xen(platform);

    xen_ledger_persist(
        &xen->writes, xen->xsc, xen->view.read_only ? NULL : xen->hypervisor,
        changes, count,
        xen_operation_new(&xen->operations, xen->base, done, arg));
}

static void
xen_load(struct platform *platform, platform_loaded *done, void *arg)
{
    struct xen_platform *xen = to_xen(platform);

    xen_ledger_load(&xen->loads, xen->xsc, done, arg);
}

static void
xen_order(struct platform *platform, uint32_t domid,
          const struct domain_order *order, platform_done *done, void *arg)
{
    struct xen_platform *xen = to_xen(platform);

    xen_order_send(&xen->orders, xen->xsc, domid, order,
                   xen_operation_new(&xen->operations, xen->base, done, arg));
}

/* Telling */

static bool
xen_describe(struct platform *platform, uint32_t domid, struct domain_text *ret)
{
    struct xen_platform *xen = to_xen(platform);
    const struct xen_domain *domain = xen_cache_find(xen->cache, domid);
    const struct xen_hypervisor_domain *seen = xen_find_listed(xen, domid);
    const char *type = domain ? xen_cache_type(domain) : NULL;

    if (!domain)
        return false;
    if (!type)
        type = seen && seen->hvm ? "hvm" : "pv";
    snprintf(ret->name, sizeof(ret->name), "%s", domain->name);
    snprintf(ret->type, sizeof(ret->type), "%s", type);
    snprintf(ret->range_error, sizeof(ret->range_error), "%s",
             domain->range_error);
    return true;
}

static void
xen_health(struct platform *platform, struct platform_health *ret)
{
    struct xen_platform *xen = to_xen(platform);

    ret->connected = xen_usable(xen);
    ret->reconnects = xen->connections > 0 ? xen->connections - 1 : 0;
    describe_trouble(xen, ret->why, sizeof(ret->why));
}

/* Life */

static void
watch_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct xen_platform *xen = arg;

    (void)value;
    (void)length;
    if (!error && !xen->deaf)
        xen->deaf_said = false;
    if (!error || error == ERR_NOT_READY || error == ERR_EXISTS)
        return;
    if (!xen->deaf_said)
        log_warning("xenstore: domains that come and go can't be watched: %s; "
                    "trying again",
                    err_name(error));
    xen->deaf = xen->deaf_said = true;
    xen_retry_soon(xen);
}

/* Twice the same is an error, which does no harm. */
static void
watch_domains(struct xen_platform *xen)
{
    xsc_watch(xen->xsc, WATCH_INTRODUCE, WATCH_INTRODUCE, watch_reply, xen);
    xsc_watch(xen->xsc, WATCH_RELEASE, WATCH_RELEASE, watch_reply, xen);
    xsc_watch(xen->xsc, WATCH_LIBXL, WATCH_LIBXL, watch_reply, xen);
}

static void
retry_due(evutil_socket_t fd, short events, void *arg)
{
    struct xen_platform *xen = arg;

    (void)fd;
    (void)events;
    if (xen->deaf && xsc_is_up(xen->xsc)) {
        xen->deaf = false;
        watch_domains(xen);
    }
    xen_list_domains(xen);
    say(xen);
    if (xen_usable(xen))
        tell(xen);
    else
        xen_retry_soon(xen);
}

static void
wish_noted(void *context)
{
    struct xen_platform *xen = context;

    if (xen_usable(xen))
        tell(xen);
}

static void
brake_pulled(void *context)
{
    struct xen_platform *xen = context;

    if (xen_usable(xen))
        tell(xen);
}

static void
connection_up(void *context)
{
    struct xen_platform *xen = context;

    xen->connections++;
    if (!xen->brake)
        xen->brake = xen_brake_new(xen->base, brake_pulled, xen);
    xen->zero.written = false;
    xen->lost_why[0] = '\0';
    watch_domains(xen);
    xen_cache_up(xen->cache, xen->xsc);
    xen_list_domains(xen);
    check_autoballoon(xen);
    xen_retry_soon(xen);
}

static void
connection_lost(void *context, const char *why)
{
    struct xen_platform *xen = context;

    snprintf(xen->lost_why, sizeof(xen->lost_why), "%s", why);
    xen_cache_lost(xen->cache);
    say(xen);
    xen_retry_soon(xen);
    tell(xen);
}

/* libxl writes about a domain that no look has shown yet. */
static bool
is_newcomer(const struct xen_platform *xen, const char *path)
{
    unsigned domid;

    return sscanf(path, WATCH_LIBXL "/%u", &domid) == 1 &&
           !xen_cache_find(xen->cache, domid);
}

static void
watch_fired(void *context, const char *path, const char *token)
{
    struct xen_platform *xen = context;

    if (xen_cache_event(xen->cache, path, token))
        return;
    if (!strcmp(token, WATCH_LIBXL) && !is_newcomer(xen, path))
        return;
    if (!strcmp(token, WATCH_INTRODUCE))
        xen_cache_introduced(xen->cache);
    if (xen_usable(xen))
        tell(xen);
}

/* Called only when all is ready. */
static void
keys_changed(void *context)
{
    struct xen_platform *xen = context;

    say(xen);
    tell(xen);
}

static void
xen_free(struct platform *platform)
{
    struct xen_platform *xen = to_xen(platform);

    /* First: nothing comes back from then on. */
    if (xen->xsc)
        xsc_free(xen->xsc);
    xen_operations_free(&xen->operations);
    xen_orders_free(&xen->orders);
    xen_notes_free(&xen->notes);
    xen_writes_free(&xen->writes);
    xen_loads_free(&xen->loads);
    xen_writer_free(xen->writer);
    xen_cache_free(xen->cache);
    xen_hypervisor_free(xen->hypervisor);
    xen_brake_free(xen->brake);
    if (xen->retry)
        event_free(xen->retry);
    free(xen->facts);
    free(xen);
}

static const struct platform_ops xen_ops = {
    .name = "xen",
    .look = xen_look,
    .see_free = xen_see_free,
    .apply = xen_apply,
    .persist = xen_persist,
    .load = xen_load,
    .order = xen_order,
    .describe = xen_describe,
    .health = xen_health,
    .free = xen_free,
};

static bool
is_auto(const char *wanted)
{
    return !wanted || !strcmp(wanted, "auto");
}

const char *
xen_find_socket(const char *wanted, char *path, size_t size)
{
    const char *variable = getenv("XENSTORED_PATH");
    const char *folder = getenv("XENSTORED_RUNDIR");

    if (!is_auto(wanted))
        snprintf(path, size, "%s", wanted);
    else if (variable && variable[0])
        snprintf(path, size, "%s", variable);
    else
        snprintf(path, size, "%s/socket",
                 folder && folder[0] ? folder : "/run/xenstored");
    return is_auto(wanted) ? XENSTORE_DEVICE : NULL;
}

static bool
make_parts(struct xen_platform *xen, const struct xen_options *options)
{
    const struct xsc_options client = {
        .deadline_us =
            options->deadline_us > 0 ? options->deadline_us : DEADLINE_US,
        .reconnect_us = RECONNECT_US,
        .fallback = is_auto(options->xenstore) ? XENSTORE_DEVICE : NULL,
    };
    const struct xsc_hooks client_hooks = { xen, connection_up, connection_lost,
                                            watch_fired };
    const struct xen_cache_hooks cache_hooks = { xen, keys_changed };
    int64_t settle_us =
        options->range_settle_us > 0 ? options->range_settle_us : SETTLE_US;

    xen->hypervisor = xen_hypervisor_new();
    xen->cache = xen_cache_new(xen->base, settle_us, &cache_hooks);
    xen->retry = evtimer_new(xen->base, retry_due, xen);
    if (!xen->hypervisor || !xen->cache || !xen->retry)
        return false;
    xen->xsc = xsc_new(xen->base, xen->path, &client, &client_hooks);
    if (!xen->xsc)
        return false;
    xen->orders.cache = xen->cache;
    xen->view.hypervisor = xen->hypervisor;
    xen->view.xsc = xen->xsc;
    xen->notes.xsc = xen->xsc;
    xen->notes.cache = xen->cache;
    xen->notes.noted = wish_noted;
    xen->notes.context = xen;
    xen->writer = xen_writer_new(xen->xsc, xen->hypervisor, xen->cache);
    return xen->writer;
}

struct platform *
xen_platform_new(struct event_base *base, const struct xen_options *options)
{
    struct xen_platform *xen = calloc(1, sizeof(*xen));

    if (!xen)
        return NULL;
    xen->platform.ops = &xen_ops;
    xen->base = base;
    xen->zero = (struct xen_zero){
        .managed = options->manage_zero,
        .min_kib = page_up(options->zero_min_kib),
        .max_kib = options->zero_max_kib == XEN_ZERO_AUTO
                       ? XEN_ZERO_AUTO
                       : page_down(options->zero_max_kib),
    };
    xen->view.balloon = options->balloon;
    xen->view.zero_managed = options->manage_zero;
    xen->view.read_only = options->read_only;
    LIST_INIT(&xen->operations);
    LIST_INIT(&xen->orders.list);
    LIST_INIT(&xen->notes.list);
    TAILQ_INIT(&xen->writes);
    LIST_INIT(&xen->loads);
    snprintf(xen->xl_conf, sizeof(xen->xl_conf), "%s",
             options->xl_conf ? options->xl_conf : XL_CONF);
    xen_find_socket(options->xenstore, xen->path, sizeof(xen->path));
    if (!make_parts(xen, options)) {
        xen_free(&xen->platform);
        return NULL;
    }
    if (xen_list_domains(xen))
        say(xen);
    xen_retry_soon(xen);
    return &xen->platform;
}
