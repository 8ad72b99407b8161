/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_writer.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

/* Domains in one transaction: two writes each. */
enum { BATCH_DOMAINS = 32 };

/* The targets of one transaction, until it is answered. */
struct batch {
    struct xen_writer *writer;
    LIST_ENTRY(batch) link;
    size_t count;
    struct batch_item {
        uint32_t domid;
        uint32_t serial;
        uint64_t target_kib;
    } items[BATCH_DOMAINS];
};

struct xen_writer {
    struct xsc *xsc;
    struct xen_hypervisor *hypervisor;
    struct xen_cache *cache;
    LIST_HEAD(batches, batch) batches;
};

struct xen_writer *
xen_writer_new(struct xsc *xsc, struct xen_hypervisor *hypervisor,
               struct xen_cache *cache)
{
    struct xen_writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return NULL;
    writer->xsc = xsc;
    writer->hypervisor = hypervisor;
    writer->cache = cache;
    LIST_INIT(&writer->batches);
    return writer;
}

static void
batch_free(struct batch *batch)
{
    LIST_REMOVE(batch, link);
    free(batch);
}

void
xen_writer_free(struct xen_writer *writer)
{
    if (!writer)
        return;
    while (!LIST_EMPTY(&writer->batches))
        batch_free(LIST_FIRST(&writer->batches));
    free(writer);
}

static struct batch *
batch_new(struct xen_writer *writer)
{
    struct batch *batch = calloc(1, sizeof(*batch));

    if (!batch)
        return NULL;
    batch->writer = writer;
    LIST_INSERT_HEAD(&writer->batches, batch, link);
    return batch;
}

static void
batch_add(struct batch *batch, struct xen_domain *domain, uint64_t target_kib)
{
    batch->items[batch->count++] = (struct batch_item){
        .domid = domain->domid,
        .serial = domain->serial,
        .target_kib = target_kib,
    };
    domain->writes++;
    domain->sent_kib = domain->written_kib = target_kib;
}

static void
batch_reply(void *arg, enum err error, const char *value, size_t length);

static void
batch_send(struct batch *batch)
{
    struct xsc_change changes[2 * BATCH_DOMAINS];
    char paths[2 * BATCH_DOMAINS][XEN_KEY_PATH];
    char values[BATCH_DOMAINS][24];
    const struct batch_item *item;

    for (size_t i = 0; i < batch->count; i++) {
        item = &batch->items[i];
        snprintf(values[i], sizeof(values[i]), "%" PRIu64, item->target_kib);
        snprintf(paths[2 * i], XEN_KEY_PATH,
                 KEY_MEMORY "/" LEAF_SQUEEZED_TARGET, item->domid);
        snprintf(paths[2 * i + 1], XEN_KEY_PATH, KEY_MEMORY "/" LEAF_TARGET,
                 item->domid);
        changes[2 * i] = (struct xsc_change){ paths[2 * i], values[i] };
        changes[2 * i + 1] = (struct xsc_change){ paths[2 * i + 1], values[i] };
    }
    xsc_commit(batch->writer->xsc, changes, 2 * batch->count, batch_reply,
               batch);
}

static void
complain(struct xen_domain *domain, const char *what, enum err error)
{
    if (!domain->complained)
        log_warning("domain %u (%s): %s can't be set: %s", domain->domid,
                    domain->name, what, err_name(error));
    domain->complained = true;
    xen_cache_reread(domain, XEN_KEY_TARGET);
}

/* One domain of a batch that failed: alone, so that it can't spoil the others
 * (a guest may cause conflicts all the time). */
static bool
send_alone(struct xen_writer *writer, struct xen_domain *domain,
           uint64_t target_kib)
{
    struct batch *batch = batch_new(writer);

    if (!batch)
        return false;
    batch_add(batch, domain, target_kib);
    batch_send(batch);
    return true;
}

/* Into *batch, which is made when it is first needed.  While an earlier target
 * of the domain is on its way, this one waits for the answer: a store that is
 * slower than our plans gets the newest of them, and no backlog. */
static bool
add_target(struct xen_writer *writer, struct batch **batch,
           struct xen_domain *domain, uint64_t target_kib)
{
    if (domain->writes) {
        domain->written_kib = target_kib;
        return true;
    }
    if (!*batch)
        *batch = batch_new(writer);
    if (!*batch)
        return false;
    batch_add(*batch, domain, target_kib);
    if ((*batch)->count == BATCH_DOMAINS) {
        batch_send(*batch);
        *batch = NULL;
    }
    return true;
}

/* *next gets what has waited for this. */
static void
item_done(const struct batch *batch, const struct batch_item *item,
          enum err error, struct batch **next)
{
    struct xen_domain *domain =
        xen_cache_find(batch->writer->cache, item->domid);
    bool good;

    if (!domain || domain->serial != item->serial)
        return;
    domain->writes--;
    if (error == ERR_NOT_READY)
        return;
    if (!error)
        xen_cache_wrote(domain, XEN_KEY_TARGET, item->target_kib);
    if (domain->written_kib != item->target_kib)
        good = add_target(batch->writer, next, domain, domain->written_kib);
    else
        good = !error || (batch->count > 1 &&
                          send_alone(batch->writer, domain, item->target_kib));
    if (!good)
        complain(domain, "its target", error ? error : ERR_NO_MEMORY);
}

static void
batch_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct batch *batch = arg, *next = NULL;

    (void)value;
    (void)length;
    for (size_t i = 0; i < batch->count; i++)
        item_done(batch, &batch->items[i], error, &next);
    batch_free(batch);
    if (next)
        batch_send(next);
}

/* False if it could not be set.  A domain that is gone is no error. */
static bool
set_limit(struct xen_writer *writer, struct xen_domain *domain,
          uint64_t limit_kib)
{
    int64_t raw = (int64_t)(limit_kib + domain->extra_kib) + domain->offset_kib;
    enum err error = xen_hypervisor_set_limit(writer->hypervisor, domain->domid,
                                              (uint64_t)max_i64(raw, 0));

    if (error && error != ERR_UNKNOWN_DOMAIN)
        complain(domain, "its limit", error);
    return !error;
}

/* The limits of those that grow, and all targets. */
static void
write_targets(struct xen_writer *writer, const struct setting *settings,
              size_t count)
{
    struct batch *batch = NULL;
    struct xen_domain *domain;

    for (size_t i = 0; i < count; i++) {
        domain = xen_cache_find(writer->cache, settings[i].domid);
        if (!domain)
            continue;
        if (settings[i].grows &&
            !set_limit(writer, domain, settings[i].limit_kib))
            continue; /* never a target above the limit */
        if (!add_target(writer, &batch, domain, settings[i].target_kib))
            complain(domain, "its target", ERR_NO_MEMORY);
    }
    if (batch)
        batch_send(batch);
}

void
xen_writer_apply(struct xen_writer *writer, const struct setting *settings,
                 size_t count)
{
    struct xen_domain *domain;

    if (!xsc_is_up(writer->xsc))
        return;
    write_targets(writer, settings, count);
    /* The targets are on their way.  A limit that comes a little earlier does
     * no harm: who is above it can only shrink. */
    for (size_t i = 0; i < count; i++) {
        domain = xen_cache_find(writer->cache, settings[i].domid);
        if (domain && !settings[i].grows)
            set_limit(writer, domain, settings[i].limit_kib);
    }
}
