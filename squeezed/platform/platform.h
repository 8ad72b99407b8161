/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the broker needs of a host.  Two implementations: `xen` (libxenctrl and
 * the xenstore client) and `sim` (guests in software).  Nothing here knows of
 * xenstore or of Xen's types.
 *
 * Nothing here blocks.  Completions (`done`) come exactly once, later, from
 * the loop: never before the call has returned. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include "squeezed/core/planner.h"

struct platform;

/* What a platform tells its broker. */
struct platform_hooks {
    void *context;
    /* Something may have changed (a domain came or went, a range, the
     * connection): look again soon. */
    void (*changed)(void *context);
};

enum ledger_op {
    LEDGER_PUT,     /* store a granted entry */
    LEDGER_DELETE,  /* remove an entry, with all that belongs to it */
    LEDGER_TRANSFER /* note that entry->domid owns it, there too */
};

struct ledger_change {
    enum ledger_op op;
    const struct ledger_entry *entry; /* valid during the call only */
    bool set_limit; /* TRANSFER: the domain's limit is set to the amount before
                     * it completes (the builders of XAPI rely on it) */
};

typedef void
platform_done(void *arg, enum err error);

/* What an administrator wants of a domain; kept where it dies with the domain
 * and survives a restart of the broker.  The next look after the completion
 * shows it. */
enum order_kind {
    ORDER_RANGE,   /* both ends of its range, checked by the caller */
    ORDER_CEILING, /* the manual method: no target above target_kib */
    ORDER_AUTO,    /* no ceiling any more */
    ORDER_FREEZE,  /* its target and limit are left alone */
    ORDER_THAW
};

struct domain_order {
    enum order_kind kind;
    uint64_t min_kib; /* RANGE */
    uint64_t max_kib;
    uint64_t target_kib; /* CEILING, within the range */
};

/* entries live during the call only. */
typedef void
platform_loaded(void *arg, enum err error, const struct ledger_entry *entries,
                size_t count);

/* Texts of a domain, for people. */
struct domain_text {
    char name[128];        /* empty if it has none */
    char type[16];         /* pv, pvh, hvm, pv-in-pvh */
    char range_error[160]; /* what is wrong with its range; empty: nothing */
};

enum { PLATFORM_WHY = 192 };

struct platform_health {
    bool connected;
    unsigned reconnects;    /* since the start */
    char why[PLATFORM_WHY]; /* what is the matter; empty: nothing */
};

struct platform_ops {
    const char *name;
    /* Fills *ret with what is there now; its arrays belong to the platform
     * and live until the next look.  ERR_NOT_READY while the host can't be
     * seen (no hypervisor, no store, or not read yet). */
    enum err (*look)(struct platform *platform, int64_t now_us,
                     struct snapshot *ret);
    /* Free memory alone, what is being cleaned included: one cheap question,
     * where a look asks for every domain.  A ninth function, as a look that
     * may leave out all but this would be two in one.  NULL: there is no cheap
     * way. */
    enum err (*see_free)(struct platform *platform, int64_t now_us,
                         uint64_t *ret_kib);
    /* Carries settings out, each in the right order (growing: the limit first;
     * shrinking: the target first).  A domain that is gone is no error.  The
     * next look shows these targets. */
    void (*apply)(struct platform *platform, const struct setting *settings,
                  size_t count);
    /* Stores changes of the ledger, all or none of them. */
    void (*persist)(struct platform *platform,
                    const struct ledger_change *changes, size_t count,
                    platform_done *done, void *arg);
    /* Reads the stored ledger. */
    void (*load)(struct platform *platform, platform_loaded *done, void *arg);
    /* Carries an order out (or stores it, all or nothing). */
    void (*order)(struct platform *platform, uint32_t domid,
                  const struct domain_order *order, platform_done *done,
                  void *arg);
    /* False if there is no such domain. */
    bool (*describe)(struct platform *platform, uint32_t domid,
                     struct domain_text *ret);
    void (*health)(struct platform *platform, struct platform_health *ret);
    /* Drops what is pending without completing it, and frees all. */
    void (*free)(struct platform *platform);
};

/* Implementations embed this as their first member. */
struct platform {
    const struct platform_ops *ops;
    struct platform_hooks hooks; /* set by the broker */
};

#endif
