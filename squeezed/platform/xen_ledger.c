/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/xen_ledger.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Storing */

/* What one change of the ledger writes at most. */
enum { LINES_PER_CHANGE = 7 };

struct line {
    char path[sizeof(KEY_LEDGER) + LIMIT_CLIENT_CHARS + LIMIT_ID_CHARS + 32];
    char value[LIMIT_ID_CHARS + 1];
};

struct script {
    struct line *lines;
    struct xsc_change *changes;
    size_t count;
};

/* Changes on their way to the store, or waiting for their turn: a transaction
 * takes longer than a single write, which must not overtake it where both are
 * about the same entry. */
struct xen_write {
    struct xen_writes *list;
    TAILQ_ENTRY(xen_write) link; /* in the order of the calls */
    struct xsc *xsc;
    struct xen_operation *operation;
    struct script script;
    char (*ids)[LIMIT_ID_CHARS + 1]; /* of the entries that it changes */
    size_t count;
    bool sent;
};

static struct line *
add_line(struct script *script, const char *value)
{
    struct line *line = &script->lines[script->count];

    if (value)
        snprintf(line->value, sizeof(line->value), "%s", value);
    script->changes[script->count++] =
        (struct xsc_change){ line->path, value ? line->value : NULL };
    return line;
}

/* The entry's node (leaf NULL), or a leaf of it; value NULL removes. */
static void
add_entry(struct script *script, const struct ledger_entry *entry,
          const char *leaf, const char *value)
{
    struct line *line = add_line(script, value);

    snprintf(line->path, sizeof(line->path), KEY_RESERVATION "%s%s",
             entry->client, entry->id, leaf ? "/" : "", leaf ? leaf : "");
}

static void
add_memory(struct script *script, const struct ledger_entry *entry,
           const char *leaf, const char *value)
{
    struct line *line = add_line(script, value);

    snprintf(line->path, sizeof(line->path), KEY_MEMORY "/%s", entry->domid,
             leaf);
}

static const char *
decimal(uint64_t number, char buffer[24])
{
    snprintf(buffer, 24, "%" PRIu64, number);
    return buffer;
}

static void
add_owner(struct script *script, const struct ledger_entry *entry)
{
    char number[24], uuid[UUID_TEXT];

    add_entry(script, entry, LEAF_IN_TRANSFER, decimal(entry->domid, number));
    if (entry->limit_set)
        add_entry(script, entry, LEAF_LIMIT_SET, "1");
    if (entry->has_owner_uuid)
        add_entry(script, entry, LEAF_OWNER_UUID,
                  format_uuid(entry->owner_uuid, uuid));
}

static void
put(struct script *script, const struct ledger_entry *entry)
{
    char number[24], uuid[UUID_TEXT];

    add_entry(script, entry, NULL, decimal(entry->amount_kib, number));
    /* Written back after a restart of xenstored. */
    if (entry->transferred)
        add_owner(script, entry);
    if (entry->hold_until_wall_ms > 0)
        add_entry(script, entry, LEAF_HOLD_UNTIL,
                  decimal((uint64_t)entry->hold_until_wall_ms, number));
    if (entry->has_uuid)
        add_entry(script, entry, LEAF_UUID, format_uuid(entry->uuid, uuid));
    if (entry->over)
        add_entry(script, entry, LEAF_OVER, "1");
}

static void
transfer(struct script *script, const struct ledger_entry *entry)
{
    char number[24];

    add_owner(script, entry);
    add_memory(script, entry, LEAF_INITIAL_RESERVATION,
               decimal(entry->amount_kib, number));
    add_memory(script, entry, LEAF_RESERVATION_ID, entry->id);
}

static void
write_script(struct script *script, const struct ledger_change *changes,
             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        switch (changes[i].op) {
        case LEDGER_PUT:
            put(script, changes[i].entry);
            break;
        case LEDGER_DELETE:
            add_entry(script, changes[i].entry, NULL, NULL);
            break;
        case LEDGER_TRANSFER:
            transfer(script, changes[i].entry);
            break;
        }
    }
}

/* The domain's limit is its reservation.  It was created a moment ago: asked
 * for now, not looked up. */
static enum err
set_limits(struct xen_hypervisor *hypervisor,
           const struct ledger_change *changes, size_t count)
{
    struct xen_hypervisor_domain domain;
    enum err error = ERR_NONE;
    uint64_t limit;

    for (size_t i = 0; i < count && !error; i++) {
        if (changes[i].op != LEDGER_TRANSFER || !changes[i].set_limit)
            continue;
        error =
            xen_hypervisor_domain(hypervisor, changes[i].entry->domid, &domain);
        if (error)
            break;
        limit = changes[i].entry->amount_kib + (domain.hvm ? XEN_EXTRA_KIB : 0);
        error = xen_hypervisor_set_limit(hypervisor, domain.domid, limit);
    }
    return error;
}

static void
write_free(struct xen_write *write)
{
    free(write->script.changes);
    free(write->script.lines);
    free(write->ids);
    free(write);
}

static bool
about_the_same(const struct xen_write *a, const struct xen_write *b)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < b->count; k++)
            if (!strcmp(a->ids[i], b->ids[k]))
                return true;
    return false;
}

static bool
has_to_wait(const struct xen_write *write)
{
    const struct xen_write *before;

    TAILQ_FOREACH(before, write->list, link)
    {
        if (before == write)
            break;
        if (about_the_same(before, write))
            return true;
    }
    return false;
}

static void
write_reply(void *arg, enum err error, const char *value, size_t length);

static void
write_send(struct xen_write *write)
{
    write->sent = true;
    xsc_commit_urgent(write->xsc, write->script.changes, write->script.count,
                      write_reply, write);
}

static void
write_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct xen_write *write = arg, *next;
    struct xen_operation *operation = write->operation;

    (void)value;
    (void)length;
    next = TAILQ_NEXT(write, link);
    TAILQ_REMOVE(write->list, write, link);
    for (; next; next = TAILQ_NEXT(next, link))
        if (!next->sent && !has_to_wait(next))
            write_send(next);
    write_free(write);
    xen_operation_end(operation, error);
}

/* NULL without memory. */
static struct xen_write *
write_new(const struct ledger_change *changes, size_t count)
{
    struct xen_write *write = calloc(1, sizeof(*write));
    size_t room = count * LINES_PER_CHANGE + 1;

    if (!write)
        return NULL;
    write->script.lines = calloc(room, sizeof(*write->script.lines));
    write->script.changes = calloc(room, sizeof(*write->script.changes));
    write->ids = calloc(count + 1, sizeof(*write->ids));
    if (!write->script.lines || !write->script.changes || !write->ids) {
        write_free(write);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (i == 0 || changes[i].entry != changes[i - 1].entry)
            memcpy(write->ids[write->count++], changes[i].entry->id,
                   sizeof(*write->ids));
    write_script(&write->script, changes, count);
    assert(write->script.count > 0);
    return write;
}

void
xen_ledger_persist(struct xen_writes *list, struct xsc *xsc,
                   struct xen_hypervisor *hypervisor,
                   const struct ledger_change *changes, size_t count,
                   struct xen_operation *operation)
{
    struct xen_write *write = NULL;
    enum err error = xsc_is_up(xsc) ? ERR_NONE : ERR_NOT_READY;

    if (!error && hypervisor)
        error = set_limits(hypervisor, changes, count);

    if (!error) {
        write = write_new(changes, count);
        error = write ? ERR_NONE : ERR_NO_MEMORY;
    }
    if (error) {
        xen_operation_fail(operation, error);
        return;
    }
    write->list = list;
    write->xsc = xsc;
    write->operation = operation;
    TAILQ_INSERT_TAIL(list, write, link);
    if (!has_to_wait(write))
        write_send(write);
}

void
xen_writes_free(struct xen_writes *list)
{
    struct xen_write *write;

    while ((write = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, write, link);
        write_free(write);
    }
}

/* Reading: clients, then their entries, then the values of those, all sent as
 * soon as they are known; the last reply completes. */

enum { FIELDS = 7 };

struct load_item;

struct load_field {
    struct load_item *item;
    const struct field *field;
};

struct load_item {
    struct xen_load *load;
    SIMPLEQ_ENTRY(load_item) link;
    struct ledger_entry entry;
    struct load_field fields[FIELDS];
    bool unfit;
};

struct load_client {
    struct xen_load *load;
    SIMPLEQ_ENTRY(load_client) link;
    char name[LIMIT_CLIENT_CHARS + 1];
};

struct xen_load {
    LIST_ENTRY(xen_load) link;
    struct xsc *xsc;
    platform_loaded *done;
    void *arg;
    enum err error;
    size_t pending; /* replies that are still to come */
    SIMPLEQ_HEAD(, load_client) clients;
    SIMPLEQ_HEAD(, load_item) items;
    size_t count; /* of items */
};

static bool
read_amount(struct ledger_entry *entry, const char *text)
{
    uint64_t kib;

    if (!parse_u64(text, &kib) || kib > LIMIT_SIZE_KIB)
        return false;
    entry->amount_kib = page_up(kib);
    return true;
}

static bool
read_in_transfer(struct ledger_entry *entry, const char *text)
{
    uint64_t domid;

    if (!parse_u64(text, &domid) || domid >= LIMIT_DOMAINS)
        return false;
    entry->domid = (uint32_t)domid;
    entry->transferred = true;
    entry->state = ENTRY_OWNED;
    return true;
}

static bool
read_limit_set(struct ledger_entry *entry, const char *text)
{
    entry->limit_set = true;
    return text != NULL;
}

static bool
read_hold_until(struct ledger_entry *entry, const char *text)
{
    uint64_t wall_ms;

    if (!parse_u64(text, &wall_ms) || wall_ms > INT64_MAX / 2000)
        return false;
    entry->hold_until_wall_ms = (int64_t)wall_ms;
    return true;
}

static bool
read_uuid(struct ledger_entry *entry, const char *text)
{
    entry->has_uuid = parse_uuid(text, entry->uuid);
    return entry->has_uuid;
}

static bool
read_owner_uuid(struct ledger_entry *entry, const char *text)
{
    entry->has_owner_uuid = parse_uuid(text, entry->owner_uuid);
    return entry->has_owner_uuid;
}

/* Anything else: it counts on, which harms nobody. */
static bool
read_over(struct ledger_entry *entry, const char *text)
{
    entry->over = strcmp(text, "1") == 0;
    return true;
}

static const struct field {
    const char *leaf;
    bool (*read)(struct ledger_entry *entry, const char *text);
    const char *wrong;
} fields[FIELDS] = {
    { "", read_amount, "not a number of KiB" },
    { "/" LEAF_IN_TRANSFER, read_in_transfer, "not a domid" },
    { "/" LEAF_OWNER_UUID, read_owner_uuid, "not a UUID" },
    { "/" LEAF_HOLD_UNTIL, read_hold_until, "not a time in milliseconds" },
    { "/" LEAF_UUID, read_uuid, "not a UUID" },
    { "/" LEAF_OVER, read_over, NULL },
    { "/" LEAF_LIMIT_SET, read_limit_set, NULL },
};

static void
load_free(struct xen_load *load)
{
    struct load_client *client;
    struct load_item *item;

    while ((client = SIMPLEQ_FIRST(&load->clients))) {
        SIMPLEQ_REMOVE_HEAD(&load->clients, link);
        free(client);
    }
    while ((item = SIMPLEQ_FIRST(&load->items))) {
        SIMPLEQ_REMOVE_HEAD(&load->items, link);
        free(item);
    }
    LIST_REMOVE(load, link);
    free(load);
}

static void
load_complete(struct xen_load *load)
{
    struct ledger_entry *entries = calloc(load->count + 1, sizeof(*entries));
    struct load_item *item;
    size_t count = 0;

    if (!entries && !load->error)
        load->error = ERR_NO_MEMORY;
    if (!load->error) {
        SIMPLEQ_FOREACH(item, &load->items, link)
        if (!item->unfit)
            entries[count++] = item->entry;
    }
    load->done(load->arg, load->error, entries, count);
    free(entries);
    load_free(load);
}

/* A reply came, and was dealt with. */
static void
load_step(struct xen_load *load, enum err error)
{
    if (error && error != ERR_NOT_FOUND && !load->error)
        load->error = error;
    if (--load->pending == 0)
        load_complete(load);
}

static void
entry_path(const struct load_item *item, const char *leaf, char *path,
           size_t size)
{
    snprintf(path, size, KEY_RESERVATION "%s", item->entry.client,
             item->entry.id, leaf);
}

static void
log_unfit(const struct load_item *item, const struct field *field,
          const char *value)
{
    char path[sizeof(((struct line *)0)->path)];

    entry_path(item, field->leaf, path, sizeof(path));
    log_warning("%s: \"%.40s\" is %s; this reservation is ignored, and left "
                "there: correct or remove it, and restart squeezed",
                path, value, field->wrong);
}

static void
field_reply(void *arg, enum err error, const char *value, size_t length)
{
    struct load_field *field = arg;
    struct load_item *item = field->item;

    if (!error &&
        (strlen(value) != length || !field->field->read(&item->entry, value))) {
        log_unfit(item, field->field, value);
        item->unfit = true;
    }
    /* Without its amount it has gone meanwhile. */
    if (error && field->field == &fields[0])
        item->unfit = true;
    load_step(item->load, error);
}

static void
load_item(struct load_client *client, const char *id)
{
    struct xen_load *load = client->load;
    struct load_item *item = calloc(1, sizeof(*item));
    char path[sizeof(((struct line *)0)->path)];

    if (!item) {
        load->error = ERR_NO_MEMORY;
        return;
    }
    item->load = load;
    item->entry.state = ENTRY_GRANTED;
    item->entry.hold_until_us = TIME_NEVER_US;
    snprintf(item->entry.client, sizeof(item->entry.client), "%s",
             client->name);
    snprintf(item->entry.id, sizeof(item->entry.id), "%s", id);
    SIMPLEQ_INSERT_TAIL(&load->items, item, link);
    load->count++;
    load->pending += FIELDS;
    for (size_t i = 0; i < FIELDS; i++) {
        item->fields[i] = (struct load_field){ item, &fields[i] };
        entry_path(item, fields[i].leaf, path, sizeof(path));
        xsc_read(load->xsc, 0, path, field_reply, &item->fields[i]);
    }
}

/* A name below KEY_LEDGER (client NULL) or below a client of it. */
static bool
name_fits(const char *client, const char *name, size_t max)
{
    size_t length = strlen(name);

    if (length > 0 && length <= max)
        return true;
    log_warning(KEY_LEDGER "/%s%s%.80s: a name has 1 to %zu characters; it is "
                           "ignored, and left there",
                client ? client : "", client ? "/" : "", name, max);
    return false;
}

static void
ids_reply(void *arg, enum err error, const char *names, size_t length)
{
    struct load_client *client = arg;
    struct xen_load *load = client->load;
    const char *end = error ? names : names + length;

    for (; !error && names < end; names += strlen(names) + 1) {
        if (!name_fits(client->name, names, LIMIT_ID_CHARS))
            continue;
        if (load->count >= LIMIT_RESERVATIONS) {
            log_error(KEY_LEDGER "/%s holds more than %d reservations: the "
                                 "rest is ignored, and left there",
                      client->name, LIMIT_RESERVATIONS);
            break;
        }
        load_item(client, names);
    }
    load_step(load, error);
}

static void
load_client(struct xen_load *load, const char *name)
{
    struct load_client *client = calloc(1, sizeof(*client));
    char path[sizeof(((struct line *)0)->path)];

    if (!client) {
        load->error = ERR_NO_MEMORY;
        return;
    }
    client->load = load;
    snprintf(client->name, sizeof(client->name), "%s", name);
    SIMPLEQ_INSERT_TAIL(&load->clients, client, link);
    load->pending++;
    snprintf(path, sizeof(path), KEY_LEDGER_CLIENT, name);
    xsc_directory(load->xsc, 0, path, ids_reply, client);
}

static void
clients_reply(void *arg, enum err error, const char *names, size_t length)
{
    struct xen_load *load = arg;
    const char *end = error ? names : names + length;

    for (; !error && names < end; names += strlen(names) + 1)
        if (name_fits(NULL, names, LIMIT_CLIENT_CHARS))
            load_client(load, names);
    load_step(load, error);
}

void
xen_ledger_load(struct xen_loads *list, struct xsc *xsc, platform_loaded *done,
                void *arg)
{
    struct xen_load *load = calloc(1, sizeof(*load));

    if (!load) {
        log_error("out of memory");
        abort();
    }
    load->xsc = xsc;
    load->done = done;
    load->arg = arg;
    load->pending = 1;
    SIMPLEQ_INIT(&load->clients);
    SIMPLEQ_INIT(&load->items);
    LIST_INSERT_HEAD(list, load, link);
    xsc_directory(xsc, 0, KEY_LEDGER, clients_reply, load);
}

void
xen_loads_free(struct xen_loads *list)
{
    while (!LIST_EMPTY(list))
        load_free(LIST_FIRST(list)); /* NOLINT: it unlinks what it frees */
}
