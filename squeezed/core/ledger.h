/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger: every reservation that is, is about to be, or was just promised.
 *
 * An entry goes  staged -> granted -> owned -> leaving -> gone.  Whatever is
 * in the ledger counts, from the decision on: staged entries while they are
 * being stored, leaving ones until their removal is stored.  So whatever a
 * crash leaves behind in the store, the memory for it is there.
 *
 * The ledger keeps nothing itself: its memory is the caller's. */
#ifndef CORE_LEDGER_H
#define CORE_LEDGER_H

#include "common/err.h"
#include "common/units.h"
#include "sq_limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum entry_state {
    ENTRY_STAGED,  /* decided; being stored; not answered yet */
    ENTRY_GRANTED, /* stored: kept free for its client */
    ENTRY_OWNED,   /* transferred: the promise of a domain */
    ENTRY_LEAVING  /* released; its removal is being stored */
};

struct ledger_entry {
    char id[LIMIT_ID_CHARS + 1];
    char client[LIMIT_CLIENT_CHARS + 1];
    uint64_t amount_kib;
    enum entry_state state;
    uint32_t domid;   /* its owner, once it was transferred */
    bool transferred; /* domid is set; stays true while leaving */
    bool storing; /* its transfer is not stored yet, and may come to nothing */
    bool over;    /* the domain is built: its promise has ended, */
    bool over_stored; /* and that is stored, or on its way */
    bool has_uuid;    /* waits for a domain of this UUID */
    uint8_t uuid[UUID_BYTES];
    /* The domain that it was transferred to is one of this UUID: domids come
     * back. */
    bool has_owner_uuid;
    uint8_t owner_uuid[UUID_BYTES];
    bool owner_unmet;     /* read at the start: not compared yet, */
    bool owner_gone;      /*   and another domain has its domid now */
    uint64_t leaving_seq; /* leaves with this login, or with the grant of this
                           * request; 0: by itself */
    /* A domain that had this UUID before: not the one it waits for. */
    bool has_elder;
    uint32_t elder_domid;
    /* What a domain that reboots leaves for the next one of its UUID: as long
     * as the old one is there, that carries it. */
    bool reboots;
    bool replaces;  /* stands for what was kept so, as somebody reserved it */
    bool limit_set; /* transferred with a limit: by a toolstack that
                     * reserves anew for a reboot */
    bool unwanted;  /* nobody has it: to leave as soon as it can */
    int64_t rewrite_us;         /* it may be missing in the store: written
                                 * there anew then; 0: no */
    int64_t retry_us;           /* what failed is tried again then; 0: no */
    int64_t created_us;         /* monotonic; 0 for what was read at start */
    int64_t hold_until_us;      /* monotonic; TIME_NEVER_US without a hold */
    int64_t hold_until_wall_ms; /* the same by the wall clock, as stored; 0 */
};

struct ledger {
    struct ledger_entry *entries; /* the caller's memory */
    size_t count;
    size_t capacity;
    /* Sum of what no domain owns: kept current by every change. */
    uint64_t reserved_kib;
};

/* memory: room for capacity entries, the caller's; must live as long. */
void
ledger_init(struct ledger *ledger, struct ledger_entry *memory,
            size_t capacity);

/* NULL if there is none.  Entries move when one is removed: use the pointer at
 * once, keep the id. */
struct ledger_entry *
ledger_find(struct ledger *ledger, const char *id);

/* Adds a copy of entry in its state (staged, or as it was read at start).
 * ERR_BUSY when full, ERR_EXISTS when there is one of that id. */
enum err
ledger_add(struct ledger *ledger, const struct ledger_entry *entry);

/* staged -> granted: it is stored. */
void
ledger_commit(struct ledger *ledger, struct ledger_entry *entry);

/* What no domain owns yet is kib more from now on. */
void
ledger_enlarge(struct ledger *ledger, struct ledger_entry *entry, uint64_t kib);

/* granted -> owned by domid. */
void
ledger_transfer(struct ledger *ledger, struct ledger_entry *entry,
                uint32_t domid);

/* The transfer is stored: from now on its promise may end. */
void
ledger_confirm(struct ledger *ledger, struct ledger_entry *entry);

/* owned -> granted again: the transfer could not be stored. */
void
ledger_untransfer(struct ledger *ledger, struct ledger_entry *entry);

/* granted or owned -> leaving.  It counts until ledger_remove. */
void
ledger_leave(struct ledger *ledger, struct ledger_entry *entry);

/* leaving -> granted or owned again: the removal could not be stored. */
void
ledger_stay(struct ledger *ledger, struct ledger_entry *entry);

/* Takes it out (the last entry takes its place). */
void
ledger_remove(struct ledger *ledger, struct ledger_entry *entry);

/* Asserts that the sums are what a recount gives. */
void
ledger_audit(const struct ledger *ledger);

#endif
