/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/core/ledger.h"

#include <assert.h>
#include <string.h>

/* Every change of the sum goes through here, with its sign. */
static void
count_entry(struct ledger *ledger, const struct ledger_entry *entry, int sign)
{
    if (entry->transferred)
        return; /* its domain carries it */
    if (sign > 0) {
        ledger->reserved_kib += entry->amount_kib;
    } else {
        assert(ledger->reserved_kib >= entry->amount_kib);
        ledger->reserved_kib -= entry->amount_kib;
    }
}

void
ledger_init(struct ledger *ledger, struct ledger_entry *memory, size_t capacity)
{
    *ledger = (struct ledger){ .entries = memory, .capacity = capacity };
}

struct ledger_entry *
ledger_find(struct ledger *ledger, const char *id)
{
    for (size_t i = 0; i < ledger->count; i++)
        if (strcmp(ledger->entries[i].id, id) == 0)
            return &ledger->entries[i];
    return NULL;
}

enum err
ledger_add(struct ledger *ledger, const struct ledger_entry *entry)
{
    if (ledger_find(ledger, entry->id))
        return ERR_EXISTS;
    if (ledger->count == ledger->capacity)
        return ERR_BUSY;
    ledger->entries[ledger->count++] = *entry;
    count_entry(ledger, entry, +1);
    return ERR_NONE;
}

void
ledger_commit(struct ledger *ledger, struct ledger_entry *entry)
{
    (void)ledger;
    assert(entry->state == ENTRY_STAGED);
    entry->state = ENTRY_GRANTED;
}

void
ledger_enlarge(struct ledger *ledger, struct ledger_entry *entry, uint64_t kib)
{
    assert(!entry->transferred && kib % KIB_PER_PAGE == 0);
    count_entry(ledger, entry, -1);
    entry->amount_kib += kib;
    count_entry(ledger, entry, +1);
}

void
ledger_transfer(struct ledger *ledger, struct ledger_entry *entry,
                uint32_t domid)
{
    assert(entry->state == ENTRY_GRANTED && !entry->transferred);
    count_entry(ledger, entry, -1);
    entry->state = ENTRY_OWNED;
    entry->transferred = true;
    entry->storing = true;
    entry->domid = domid;
}

void
ledger_confirm(struct ledger *ledger, struct ledger_entry *entry)
{
    (void)ledger;
    assert(entry->transferred);
    entry->storing = false;
}

void
ledger_untransfer(struct ledger *ledger, struct ledger_entry *entry)
{
    assert(entry->state == ENTRY_OWNED && entry->transferred);
    entry->state = ENTRY_GRANTED;
    entry->transferred = false;
    entry->storing = false;
    entry->over = false;
    entry->over_stored = false;
    count_entry(ledger, entry, +1);
}

void
ledger_leave(struct ledger *ledger, struct ledger_entry *entry)
{
    (void)ledger;
    assert(entry->state == ENTRY_GRANTED || entry->state == ENTRY_OWNED);
    entry->state = ENTRY_LEAVING;
}

void
ledger_stay(struct ledger *ledger, struct ledger_entry *entry)
{
    (void)ledger;
    assert(entry->state == ENTRY_LEAVING);
    entry->state = entry->transferred ? ENTRY_OWNED : ENTRY_GRANTED;
}

void
ledger_remove(struct ledger *ledger, struct ledger_entry *entry)
{
    assert(entry >= ledger->entries && entry < ledger->entries + ledger->count);
    count_entry(ledger, entry, -1);
    *entry = ledger->entries[--ledger->count];
}

void
ledger_audit(const struct ledger *ledger)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_entry *e = &ledger->entries[i];

        assert(e->id[0] != '\0' && e->amount_kib % KIB_PER_PAGE == 0);
        assert(e->state != ENTRY_OWNED || e->transferred);
        assert(e->state == ENTRY_OWNED || e->state == ENTRY_LEAVING ||
               !e->transferred);
        if (!e->transferred)
            sum += e->amount_kib;
    }
    assert(sum == ledger->reserved_kib);
}
