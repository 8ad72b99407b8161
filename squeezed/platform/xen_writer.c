/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_writer.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Domains in one transaction, and what is written of each at most: its target,
 * twice, and its mark. */
enum { BATCH_DOMAINS = 32, LINES_PER_DOMAIN = 3 };

/* The targets and marks of one transaction, until it is answered. */
struct batch {
    struct xen_writer *writer;
    LIST_ENTRY(batch) link;
    size_t count;
    struct batch_item {
        uint32_t domid;
        uint32_t serial;
        bool has_target;
        bool has_mark;
        bool mark;
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
        batch_free(LIST_FIRST(&writer->batches)); /* NOLINT: it unlinks it */
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

static bool
is_stored(const struct xen_domain *domain, uint64_t target_kib)
{
    const struct xen_value *value = &domain->values[XEN_KEY_TARGET];

    return value->state == XEN_VALUE_GOOD &&
           value->number == (int64_t)target_kib;
}

/* What is wanted of the domain and isn't in the store. */
static struct batch_item
item_of(const struct xen_domain *domain)
{
    bool marked = domain->values[XEN_KEY_MARK].state != XEN_VALUE_ABSENT;

    return (struct batch_item){
        .domid = domain->domid,
        .serial = domain->serial,
        .has_target = !is_stored(domain, domain->written_kib),
        .has_mark = marked != domain->written_mark,
        .mark = domain->written_mark,
        .target_kib = domain->written_kib,
    };
}

static void
batch_add(struct batch *batch, struct xen_domain *domain,
          const struct batch_item *item)
{
    batch->items[batch->count++] = *item;
    domain->writes++;
    domain->sent_kib = item->target_kib;
}

static void
batch_reply(void *arg, enum err error, const char *value, size_t length);

struct script {
    size_t count, guards;
    struct xsc_change guard[BATCH_DOMAINS]; /* targets as they are known */
    char guard_paths[BATCH_DOMAINS][XEN_KEY_PATH];
    struct xsc_change changes[LINES_PER_DOMAIN * BATCH_DOMAINS];
    char paths[LINES_PER_DOMAIN * BATCH_DOMAINS][XEN_KEY_PATH];
};

/* value: NULL removes; lives until the script is sent. */
static void
add_line(struct script *script, uint32_t domid, const char *leaf,
         const char *value)
{
    char *path = script->paths[script->count];

    snprintf(path, XEN_KEY_PATH, KEY_MEMORY "/%s", domid, leaf);
    script->changes[script->count++] = (struct xsc_change){ path, value };
}

/* A target that somebody else has written, and that nobody has heard yet, is a
 * wish that must not be lost: only the last one that counts is replaced. */
static void
add_guard(struct script *script, const struct xen_domain *domain)
{
    const struct xen_value *target = &domain->values[XEN_KEY_TARGET];
    const struct xen_value *squeezed = &domain->values[XEN_KEY_SQUEEZED_TARGET];
    /* Where it is our number, it may be written in another way than ours. */
    const struct xen_value *last =
        squeezed->state == XEN_VALUE_GOOD && squeezed->number != target->number
            ? squeezed
            : target;
    size_t i = script->guards;

    /* As it stands there; longer ones are known by their beginning only. */
    if (target->state != XEN_VALUE_GOOD ||
        strlen(last->text) >= sizeof(last->text) - 1)
        return;
    script->guard[script->guards++] =
        (struct xsc_change){ xen_key_path(XEN_KEY_TARGET, domain->domid,
                                          script->guard_paths[i]),
                             last->text };
}

static void
batch_send(struct batch *batch)
{
    struct script script;
    char values[BATCH_DOMAINS][24];
    const struct batch_item *item;

    script.count = script.guards = 0;
    for (size_t i = 0; i < batch->count; i++) {
        item = &batch->items[i];
        snprintf(values[i], sizeof(values[i]), "%" PRIu64, item->target_kib);
        if (item->has_target) {
            add_guard(&script,
                      xen_cache_find(batch->writer->cache, item->domid));
            add_line(&script, item->domid, LEAF_SQUEEZED_TARGET, values[i]);
            add_line(&script, item->domid, LEAF_TARGET, values[i]);
        }
        if (item->has_mark)
            add_line(&script, item->domid, LEAF_UNCOOPERATIVE,
                     item->mark ? "" : NULL);
    }
    xsc_commit_if(batch->writer->xsc,
                  (struct xsc_guards){ script.guard, script.guards },
                  script.changes, script.count, batch_reply, batch);
}

static void
complain(struct xen_domain *domain, enum xen_trouble trouble, enum err error)
{
    static const char *const what[XEN_TROUBLES] = {
        [XEN_TROUBLE_TARGET] = "target",
        [XEN_TROUBLE_LIMIT] = "limit",
        [XEN_TROUBLE_POD] = "populate-on-demand target",
    };

    if (xen_cache_trouble(domain, trouble))
        log_warning("domain %u (%s): its %s can't be set: %s", domain->domid,
                    domain->name, what[trouble], err_name(error));
    xen_cache_reread(domain, XEN_KEY_TARGET);
}

/* One domain of a batch that failed: alone, so that it can't spoil the others
 * (a guest may cause conflicts all the time). */
static bool
send_alone(struct xen_writer *writer, struct xen_domain *domain)
{
    struct batch *batch = batch_new(writer);
    struct batch_item item = item_of(domain);

    if (!batch)
        return false;
    batch_add(batch, domain, &item);
    batch_send(batch);
    return true;
}

/* What is wanted of the domain goes into *batch, which is made when it is
 * first needed.  While earlier wishes are on their way, these wait for the
 * answer: a store that is slower than our plans gets the newest of them, and
 * no backlog. */
static bool
add_domain(struct xen_writer *writer, struct batch **batch,
           struct xen_domain *domain)
{
    struct batch_item item = item_of(domain);

    if (domain->writes || (!item.has_target && !item.has_mark))
        return true;
    if (!*batch)
        *batch = batch_new(writer);
    if (!*batch)
        return false;
    batch_add(*batch, domain, &item);
    if ((*batch)->count == BATCH_DOMAINS) {
        batch_send(*batch);
        *batch = NULL;
    }
    return true;
}

static void
item_is_stored(struct xen_domain *domain, const struct batch_item *item)
{
    const struct xen_value absent = { .state = XEN_VALUE_ABSENT };

    xen_cache_no_trouble(domain, XEN_TROUBLE_TARGET);
    if (item->has_target) {
        xen_cache_wrote(domain, XEN_KEY_TARGET, xen_value_of(item->target_kib));
        xen_cache_wrote(domain, XEN_KEY_SQUEEZED_TARGET,
                        xen_value_of(item->target_kib));
    }
    if (item->has_mark)
        xen_cache_wrote(domain, XEN_KEY_MARK,
                        item->mark ? xen_value_empty() : absent);
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
    if (error == ERR_NOT_FOUND && batch->count == 1) {
        /* Not the target that we knew: it is seen, heard, and planned with. */
        xen_cache_reread(domain, XEN_KEY_TARGET);
        return;
    }
    if (!error)
        item_is_stored(domain, item);
    if (!error || domain->written_kib != item->target_kib ||
        domain->written_mark != item->mark)
        good = add_domain(batch->writer, next, domain);
    else
        good = batch->count > 1 && send_alone(batch->writer, domain);
    if (!good)
        complain(domain, XEN_TROUBLE_TARGET, error ? error : ERR_NO_MEMORY);
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

/* In Xen's frame. */
static uint64_t
raw_kib(const struct xen_domain *domain, uint64_t kib)
{
    return (uint64_t)max_i64(
        (int64_t)(kib + domain->extra_kib) + domain->offset_kib, 0);
}

/* False if it could not be set.  A domain that is gone is no error. */
static bool
set_limit(struct xen_writer *writer, struct xen_domain *domain,
          uint64_t limit_kib)
{
    enum err error;

    if (limit_kib == domain->limit_kib)
        return true;
    error = xen_hypervisor_set_limit(writer->hypervisor, domain->domid,
                                     raw_kib(domain, limit_kib));
    if (!error) {
        domain->limit_kib = limit_kib;
        xen_cache_no_trouble(domain, XEN_TROUBLE_LIMIT);
    } else if (error != ERR_UNKNOWN_DOMAIN) {
        complain(domain, XEN_TROUBLE_LIMIT, error);
    }
    return !error;
}

/* As far as the guest may grow, its holes have to be filled. */
static bool
set_pod(struct xen_writer *writer, struct xen_domain *domain,
        uint64_t target_kib)
{
    uint64_t raw = raw_kib(domain, target_kib);
    enum err error;

    if (!domain->hvm || raw == domain->pod_kib)
        return true;
    error = xen_hypervisor_set_pod(writer->hypervisor, domain->domid, raw);
    if (!error) {
        domain->pod_kib = raw;
        xen_cache_no_trouble(domain, XEN_TROUBLE_POD);
    } else if (error != ERR_UNKNOWN_DOMAIN) {
        complain(domain, XEN_TROUBLE_POD, error);
    }
    return !error;
}

static uint64_t
target_now(const struct xen_domain *domain)
{
    const struct xen_value *value = &domain->values[XEN_KEY_TARGET];

    if (domain->writes)
        return domain->written_kib;
    return value->state == XEN_VALUE_GOOD ? (uint64_t)value->number : 0;
}

/* What has to be there before the guest sees its new target: never a target
 * above the limit, and none that a guest with holes would die of. */
static bool
make_way(struct xen_writer *writer, struct xen_domain *domain,
         const struct setting *setting)
{
    if (setting->grows && !set_limit(writer, domain, setting->limit_kib))
        return false;
    return setting->target_kib <= target_now(domain) ||
           set_pod(writer, domain, setting->target_kib);
}

static void
note_wishes(struct xen_domain *domain, const struct setting *setting)
{
    domain->written_mark = setting->mark == MARK_AS_IT_IS
                               ? xen_cache_is_marked(domain)
                               : setting->mark == MARK_UNCOOPERATIVE;
    domain->written_kib = setting->target_kib;
}

/* All but what comes after its target. */
static void
write_target(struct xen_writer *writer, const struct setting *setting,
             struct batch **batch)
{
    struct xen_domain *domain = xen_cache_find(writer->cache, setting->domid);

    if (!domain || !make_way(writer, domain, setting))
        return;
    note_wishes(domain, setting);
    if (!add_domain(writer, batch, domain))
        complain(domain, XEN_TROUBLE_TARGET, ERR_NO_MEMORY);
}

void
xen_writer_apply(struct xen_writer *writer, const struct setting *settings,
                 size_t count)
{
    struct batch *batch = NULL;
    struct xen_domain *domain;

    if (!xsc_is_up(writer->xsc))
        return;
    for (size_t i = 0; i < count; i++)
        write_target(writer, &settings[i], &batch);
    if (batch)
        batch_send(batch);
    /* The targets are on their way.  A limit that comes a little earlier does
     * no harm: who is above it can only shrink. */
    for (size_t i = 0; i < count; i++) {
        domain = xen_cache_find(writer->cache, settings[i].domid);
        if (!domain || settings[i].grows)
            continue;
        set_pod(writer, domain, settings[i].target_kib);
        set_limit(writer, domain, settings[i].limit_kib);
    }
}

void
xen_writer_restore(struct xen_writer *writer, struct xen_domain *domain,
                   uint64_t target_kib)
{
    if (!xsc_is_up(writer->xsc) || domain->writes)
        return;
    domain->written_mark = xen_cache_is_marked(domain);
    domain->written_kib = target_kib;
    if (!send_alone(writer, domain))
        complain(domain, XEN_TROUBLE_TARGET, ERR_NO_MEMORY);
}
