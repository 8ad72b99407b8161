/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/sim_store.h"

#include <stdlib.h>
#include <string.h>

struct sim_change {
    enum ledger_op op;
    bool set_limit;
    struct ledger_entry entry;
};

/* One call that hasn't been completed: done or loaded is set. */
struct sim_pending {
    struct sim_pending *next;
    int64_t due_us;
    enum err error;
    platform_done *done;
    platform_loaded *loaded;
    void *arg;
    size_t count;
    struct sim_change changes[];
};

void
sim_store_init(struct sim_store *store,
               void (*set_limit)(void *context, uint32_t domid,
                                 uint64_t limit_kib),
               void *context)
{
    *store = (struct sim_store){ .set_limit = set_limit, .context = context };
    store->last = &store->first;
}

void
sim_store_done(struct sim_store *store)
{
    while (store->first) {
        struct sim_pending *next = store->first->next;

        free(store->first);
        store->first = next;
    }
    free(store->entries);
    *store = (struct sim_store){ 0 };
}

/* A simulator without memory can't go on, nor keep its promise to complete. */
static struct sim_pending *
add_pending(struct sim_store *store, size_t count, int64_t now_us, void *arg)
{
    struct sim_pending *p = calloc(1, sizeof *p + count * sizeof p->changes[0]);

    if (!p)
        abort();
    p->due_us = now_us + store->latency_us;
    p->arg = arg;
    p->count = count;
    *store->last = p;
    store->last = &p->next;
    return p;
}

void
sim_store_change(struct sim_store *store, const struct ledger_change *changes,
                 size_t count, int64_t now_us, platform_done *done, void *arg)
{
    struct sim_pending *p = add_pending(store, count, now_us, arg);

    p->done = done;
    if (store->fail_nth > 0 && --store->fail_nth == 0)
        p->error = store->fail_error;
    for (size_t i = 0; i < count; i++)
        p->changes[i] = (struct sim_change){
            .op = changes[i].op,
            .set_limit = changes[i].set_limit,
            .entry = *changes[i].entry,
        };
}

void
sim_store_load(struct sim_store *store, int64_t now_us, platform_loaded *done,
               void *arg)
{
    add_pending(store, 0, now_us, arg)->loaded = done;
}

void
sim_store_complete(struct sim_store *store, enum err error, int64_t now_us,
                   platform_done *done, void *arg)
{
    struct sim_pending *p = add_pending(store, 0, now_us, arg);

    p->done = done;
    p->error = error;
}

int64_t
sim_store_next_us(const struct sim_store *store)
{
    return store->first ? store->first->due_us : TIME_NEVER_US;
}

/* ------------------------------------------------------------- the entries */

static size_t
find_entry(const struct sim_store *store, const char *id)
{
    size_t i = 0;

    while (i < store->count && strcmp(store->entries[i].id, id) != 0)
        i++;
    return i;
}

static void
put_entry(struct sim_store *store, const struct ledger_entry *entry)
{
    size_t at = find_entry(store, entry->id);

    if (at == store->room) {
        size_t room = store->room * 2 + 16;
        struct ledger_entry *grown =
            reallocarray(store->entries, room, sizeof *grown);

        if (!grown)
            abort();
        store->entries = grown;
        store->room = room;
    }
    store->entries[at] = *entry;
    if (at == store->count)
        store->count++;
}

/* A real store knows the id, the client, the amount, and the owner. */
static void
carry_out(struct sim_store *store, const struct sim_change *change)
{
    size_t at = find_entry(store, change->entry.id);

    switch (change->op) {
    case LEDGER_PUT:
        put_entry(store, &change->entry);
        break;
    case LEDGER_DELETE:
        if (at < store->count)
            store->entries[at] = store->entries[--store->count];
        break;
    case LEDGER_TRANSFER:
        if (at < store->count) {
            store->entries[at].transferred = true;
            store->entries[at].domid = change->entry.domid;
            store->entries[at].has_owner_uuid = change->entry.has_owner_uuid;
            memcpy(store->entries[at].owner_uuid, change->entry.owner_uuid,
                   UUID_BYTES);
        }
        if (change->set_limit)
            store->set_limit(store->context, change->entry.domid,
                             change->entry.amount_kib);
        break;
    }
}

/* Takes the first off the list, stores it and tells. */
static void
complete_first(struct sim_store *store)
{
    struct sim_pending *p = store->first;

    store->first = p->next;
    if (!store->first)
        store->last = &store->first;
    if (p->error == ERR_NONE)
        for (size_t i = 0; i < p->count; i++)
            carry_out(store, &p->changes[i]);
    if (p->loaded)
        p->loaded(p->arg, p->error, store->entries, store->count);
    else
        p->done(p->arg, p->error);
    free(p);
}

/* Those that were there when we began; completions may add more. */
void
sim_store_deliver(struct sim_store *store, int64_t now_us)
{
    size_t due = 0;

    for (const struct sim_pending *p = store->first; p; p = p->next)
        due++;
    while (due-- > 0 && store->first && store->first->due_us <= now_us)
        complete_first(store);
}

void
sim_store_settle(struct sim_store *store, bool lost)
{
    while (store->first) {
        if (lost)
            store->first->error = ERR_IO;
        complete_first(store);
    }
}
