/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_hypervisor.h"

#include "common/log.h"
#include "sq_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenctrl.h>

enum { FIRST_ROOM = 64, SPARE_ROOM = 16 };

struct xen_hypervisor {
    xentoollog_logger logger;
    xc_interface *xc; /* NULL: closed */
    char why[160];
    xc_domaininfo_t *infos; /* as Xen gives them */
    struct xen_hypervisor_domain *domains;
    size_t capacity; /* of both */
    size_t count;
    uint64_t pool_kib; /* free memory and what the domains hold, together */
};

/* libxenctrl would print to stderr without a logger.  What it says is for
 * those who debug: our own errors say what failed. */
static void
log_message(xentoollog_logger *logger, xentoollog_level level, int error,
            const char *context, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));

static void
log_message(xentoollog_logger *logger, xentoollog_level level, int error,
            const char *context, const char *format, va_list args)
{
    char text[200];

    (void)logger;
    (void)level;
    vsnprintf(text, sizeof(text), format, args);
    log_debug("libxenctrl: %s%s%s%s%s", context ? context : "",
              context ? ": " : "", text, error > 0 ? ": " : "",
              error > 0 ? strerror(error) : "");
}

struct xen_hypervisor *
xen_hypervisor_new(void)
{
    struct xen_hypervisor *hypervisor = calloc(1, sizeof(*hypervisor));

    if (hypervisor)
        hypervisor->logger.vmessage = log_message;
    return hypervisor;
}

void
xen_hypervisor_free(struct xen_hypervisor *hypervisor)
{
    if (!hypervisor)
        return;
    if (hypervisor->xc)
        xc_interface_close(hypervisor->xc);
    free(hypervisor->infos);
    free(hypervisor->domains);
    free(hypervisor);
}

/* Opens libxenctrl if it isn't open.  ERR_NOT_READY where there is no Xen. */
static enum err
open_hypervisor(struct xen_hypervisor *hypervisor)
{
    xentoollog_logger *logger = &hypervisor->logger;

    if (hypervisor->xc)
        return ERR_NONE;
    errno = 0;
    hypervisor->xc =
        xc_interface_open(logger, logger, XC_OPENFLAG_NON_REENTRANT);
    if (hypervisor->xc) {
        hypervisor->why[0] = '\0';
        return ERR_NONE;
    }
    snprintf(hypervisor->why, sizeof(hypervisor->why),
             "no Xen hypervisor (xc_interface_open: %s); is this domain 0? "
             "Trying again every second",
             errno ? strerror(errno) : "failed");
    return ERR_NOT_READY;
}

bool
xen_hypervisor_command_line(struct xen_hypervisor *hypervisor, char *text,
                            size_t size)
{
    xen_commandline_t line = "";

    if (!hypervisor->xc ||
        xc_version(hypervisor->xc, XENVER_commandline, &line) < 0)
        return false;
    line[sizeof(line) - 1] = '\0';
    snprintf(text, size, "%s", line);
    return true;
}

const char *
xen_hypervisor_why(const struct xen_hypervisor *hypervisor)
{
    return hypervisor->why;
}

static enum err
call_failed(struct xen_hypervisor *hypervisor, const char *call)
{
    snprintf(hypervisor->why, sizeof(hypervisor->why),
             "%s: %s; squeezed has to run in domain 0, as root, and to be "
             "built for this version of Xen",
             call, strerror(errno));
    return ERR_NOT_READY;
}

static uint64_t
pages_to_kib(uint64_t pages)
{
    return min_u64(pages, LIMIT_SIZE_KIB / KIB_PER_PAGE) * KIB_PER_PAGE;
}

static void
translate(const xc_domaininfo_t *info, struct xen_hypervisor_domain *ret)
{
    *ret = (struct xen_hypervisor_domain){
        .domid = info->domain,
        .held_kib = pages_to_kib(info->tot_pages),
        .max_kib = pages_to_kib(info->max_pages),
        .claim_kib = pages_to_kib(info->outstanding_pages),
        .hvm = info->flags & XEN_DOMINF_hvm_guest,
        .paused = info->flags & XEN_DOMINF_paused,
        .shutdown = info->flags & XEN_DOMINF_shutdown,
        .reboots = (info->flags & XEN_DOMINF_shutdown) &&
                   (info->flags >> XEN_DOMINF_shutdownshift &
                    XEN_DOMINF_shutdownmask) == SHUTDOWN_reboot,
        .dying = info->flags & XEN_DOMINF_dying,
        .ran = info->cpu_time > 0,
    };
    memcpy(ret->uuid, info->handle, sizeof(ret->uuid));
}

static bool
grow_room(struct xen_hypervisor *hypervisor, size_t capacity)
{
    void *infos, *domains;

    infos = realloc(hypervisor->infos, capacity * sizeof(xc_domaininfo_t));
    if (infos)
        hypervisor->infos = infos;
    domains = realloc(hypervisor->domains,
                      capacity * sizeof(struct xen_hypervisor_domain));
    if (domains)
        hypervisor->domains = domains;
    if (!infos || !domains)
        return false;
    hypervisor->capacity = capacity;
    return true;
}

/* How many to ask for: what there was and some, since libxenctrl allocates
 * (and locks) as much for each call. */
static size_t
room_wanted(const struct xen_hypervisor *hypervisor)
{
    return hypervisor->count + SPARE_ROOM > FIRST_ROOM
               ? hypervisor->count + SPARE_ROOM
               : FIRST_ROOM;
}

/* All of them in one call: what filled the buffer to its end may be cut, and
 * is asked for anew with twice the room. */
static enum err
list_domains(struct xen_hypervisor *hypervisor, size_t *ret_count)
{
    size_t room = room_wanted(hypervisor);
    int got;

    for (;; room *= 2) {
        if (room > hypervisor->capacity && !grow_room(hypervisor, room))
            return ERR_NO_MEMORY;
        got = xc_domain_getinfolist(hypervisor->xc, 0, (unsigned)room,
                                    hypervisor->infos);
        if (got < 0)
            return call_failed(hypervisor, "xc_domain_getinfolist");
        if ((size_t)got < room || room > LIMIT_DOMAINS)
            break;
    }
    *ret_count = (size_t)got;
    return ERR_NONE;
}

/* Xen lists in ascending order; the core relies on it, so what doesn't fit is
 * left out. */
static size_t
translate_all(struct xen_hypervisor *hypervisor, size_t count)
{
    const xc_domaininfo_t *info;
    size_t kept = 0;
    int64_t last = -1;

    for (size_t i = 0; i < count; i++) {
        info = &hypervisor->infos[i];
        if (info->domain <= last || info->domain >= LIMIT_DOMAINS)
            continue;
        last = info->domain;
        translate(info, &hypervisor->domains[kept++]);
    }
    return kept;
}

static enum err
ask_memory(struct xen_hypervisor *hypervisor, struct xen_hypervisor_memory *ret)
{
    xc_physinfo_t info;

    memset(&info, 0, sizeof(info));
    if (xc_physinfo(hypervisor->xc, &info))
        return call_failed(hypervisor, "xc_physinfo");
    ret->total_kib = pages_to_kib(info.total_pages);
    ret->free_kib = pages_to_kib(info.free_pages);
    ret->scrub_kib = pages_to_kib(info.scrub_pages);
    return ERR_NONE;
}

enum err
xen_hypervisor_see_free(struct xen_hypervisor *hypervisor, uint64_t *ret_kib)
{
    struct xen_hypervisor_memory memory = { 0 };
    enum err error = open_hypervisor(hypervisor);

    if (!error)
        error = ask_memory(hypervisor, &memory);
    if (!error)
        *ret_kib = memory.free_kib + memory.scrub_kib;
    return error;
}

/* The free memory of the instant at which the domains were listed, out of what
 * it was before and after.  Guests move meanwhile, by a MiB where calls are
 * slow; a sum that is wrong by that would change every share at every look.
 * The pool, free memory and what the domains hold, seldom changes: as long as
 * it can be what it was at the last look, it is. */
static void
match_memory(struct xen_hypervisor *hypervisor,
             const struct xen_hypervisor_memory *before,
             struct xen_hypervisor_memory *after)
{
    uint64_t sooner = before->free_kib + before->scrub_kib;
    uint64_t later = after->free_kib + after->scrub_kib;
    uint64_t held = 0, pool = hypervisor->pool_kib;

    for (size_t i = 0; i < hypervisor->count; i++)
        held += hypervisor->domains[i].held_kib;
    pool = max_u64(pool, held + min_u64(sooner, later));
    pool = min_u64(pool, held + max_u64(sooner, later));
    hypervisor->pool_kib = pool;
    after->free_kib = sub_or_0(pool - held, after->scrub_kib);
}

enum err
xen_hypervisor_look(struct xen_hypervisor *hypervisor,
                    const struct xen_hypervisor_domain **ret, size_t *ret_count,
                    struct xen_hypervisor_memory *ret_memory)
{
    struct xen_hypervisor_memory before;
    size_t count = 0;
    enum err error = open_hypervisor(hypervisor);

    if (!error)
        error = ask_memory(hypervisor, &before);
    if (!error)
        error = list_domains(hypervisor, &count);
    if (!error)
        error = ask_memory(hypervisor, ret_memory);
    if (error)
        return error;
    hypervisor->why[0] = '\0';
    hypervisor->count = translate_all(hypervisor, count);
    match_memory(hypervisor, &before, ret_memory);
    *ret = hypervisor->domains;
    *ret_count = hypervisor->count;
    return ERR_NONE;
}

enum err
xen_hypervisor_domain(struct xen_hypervisor *hypervisor, uint32_t domid,
                      struct xen_hypervisor_domain *ret)
{
    xc_domaininfo_t info;
    int got;

    if (open_hypervisor(hypervisor))
        return ERR_NOT_READY;
    got = xc_domain_getinfolist(hypervisor->xc, domid, 1, &info);
    if (got < 0)
        return call_failed(hypervisor, "xc_domain_getinfolist");
    /* It lists from domid on: the first may be another. */
    if (got == 0 || info.domain != domid)
        return ERR_UNKNOWN_DOMAIN;
    translate(&info, ret);
    return ERR_NONE;
}

enum err
xen_hypervisor_set_limit(struct xen_hypervisor *hypervisor, uint32_t domid,
                         uint64_t kib)
{
    if (!hypervisor->xc)
        return ERR_NOT_READY;
    if (!xc_domain_setmaxmem(hypervisor->xc, domid, kib))
        return ERR_NONE;
    return errno == ESRCH ? ERR_UNKNOWN_DOMAIN : err_from_errno(errno);
}

/* A Xen that is built without populate on demand is none to complain of. */
static enum err
pod_failed(void)
{
    if (errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL)
        return ERR_NONE;
    return errno == ESRCH ? ERR_UNKNOWN_DOMAIN : err_from_errno(errno);
}

enum err
xen_hypervisor_pod(struct xen_hypervisor *hypervisor, uint32_t domid,
                   uint64_t *ret_entries_kib, uint64_t *ret_cache_kib)
{
    uint64_t held = 0, cache = 0, entries = 0;
    enum err error = ERR_NONE;

    if (!hypervisor->xc)
        return ERR_NOT_READY;
    if (xc_domain_get_pod_target(hypervisor->xc, domid, &held, &cache,
                                 &entries)) {
        error = pod_failed();
        cache = entries = 0;
    }
    if (error)
        return error;
    *ret_entries_kib = pages_to_kib(entries);
    *ret_cache_kib = pages_to_kib(cache);
    return ERR_NONE;
}

enum err
xen_hypervisor_set_pod(struct xen_hypervisor *hypervisor, uint32_t domid,
                       uint64_t kib)
{
    if (!hypervisor->xc)
        return ERR_NOT_READY;
    if (!xc_domain_set_pod_target(hypervisor->xc, domid, kib / KIB_PER_PAGE,
                                  NULL, NULL, NULL))
        return ERR_NONE;
    return pod_failed();
}

uint64_t
xen_hypervisor_paging_kib(struct xen_hypervisor *hypervisor, uint32_t domid)
{
    uint64_t bytes;

    if (!hypervisor->xc ||
        xc_get_paging_mempool_size(hypervisor->xc, domid, &bytes))
        return 0;
    return page_up(min_u64(bytes / 1024, LIMIT_SIZE_KIB));
}
