/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/ranges.h"

#include "common/floor.h"
#include "common/log.h"
#include "common/range_rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* While a domain hasn't got all that is needed to find its rule (its name and
 * static-max come some time after it). */
#define AGAIN_US       (200 * US_PER_MS)
#define AGAIN_LATER_US (5 * US_PER_S)
#define EARLY_US       (60 * US_PER_S)
/* Passes come in crowds; domains don't. */
#define REST_US (50 * US_PER_MS)

/* What a rule comes to for a domain. */
struct wish {
    bool has_range;
    uint64_t min_kib, max_kib;
    unsigned shares;
    bool by_default;
    const char *from; /* for people */
};

struct known {
    uint32_t domid;
    uint8_t uuid[UUID_BYTES];
    int64_t since_us;
    bool settled;    /* its rule was found, and applied if it had to be */
    bool is_applied; /* ... and this is what it was: */
    struct wish applied;
    bool wrote;   /* the range that it has is ours */
    bool pending; /* it is being written */
    bool gone;    /* its domain has; it goes with what is pending */
    struct ranges *ranges;
};

struct ranges {
    struct broker *broker;
    struct platform *platform;
    struct ranges_options options;
    struct range_rules rules;
    struct known **known; /* ascending domids */
    struct known **spare;
    size_t count;
    size_t capacity;
    int64_t now_us; /* of the last run */
    int64_t next_us;
};

/* ------------------------------------------------------- who is there */

static void
forget(struct known *k)
{
    k->gone = true;
    if (!k->pending)
        free(k);
}

static bool
make_room(struct ranges *r, size_t count)
{
    void *known, *spare;

    if (count <= r->capacity)
        return true;
    known = reallocarray(r->known, 2 * count, sizeof *r->known);
    if (known)
        r->known = known;
    spare = reallocarray(r->spare, 2 * count, sizeof *r->spare);
    if (spare)
        r->spare = spare;
    if (!known || !spare)
        return false;
    r->capacity = 2 * count;
    return true;
}

static struct known *
add(struct ranges *r, const struct domain_facts *f)
{
    struct known *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->ranges = r;
    k->domid = f->domid;
    k->since_us = r->now_us;
    memcpy(k->uuid, f->uuid, UUID_BYTES);
    return k;
}

/* True if somebody came. */
static bool
follow(struct ranges *r, const struct host *host)
{
    size_t old = 0, kept = 0;
    bool came = false;
    struct known **list;

    if (!make_room(r, host->count))
        return false;
    for (size_t i = 0; i < host->count; i++) {
        const struct domain_facts *f = &host->domains[i].facts;
        struct known *k = NULL;

        while (old < r->count && r->known[old]->domid <= f->domid && !k) {
            k = r->known[old++];
            if (k->domid != f->domid ||
                memcmp(k->uuid, f->uuid, UUID_BYTES) != 0) {
                forget(k);
                k = NULL;
            }
        }
        if (!k) {
            k = add(r, f);
            came = true;
        }
        if (k)
            r->spare[kept++] = k;
    }
    while (old < r->count)
        forget(r->known[old++]);
    list = r->known;
    r->known = r->spare;
    r->spare = list;
    r->count = kept;
    return came;
}

/* -------------------------------------------------------- what it gets */

static struct wish
default_wish(const struct ranges *r, const struct domain_facts *f)
{
    unsigned percent = r->options.default_percent;

    return (struct wish){
        .has_range = percent > 0,
        .min_kib = page_up(mul_div(f->static_max_kib, percent, 100)),
        .max_kib = f->static_max_kib,
        .shares = RANGE_SHARES_DEFAULT,
        .by_default = true,
        .from = "default-dynamic-min",
    };
}

static struct wish
wish_of(const struct ranges *r, const struct domain_facts *f, const char *name)
{
    const struct range_rule *rule = range_rules_find(&r->rules, f->uuid, name);
    struct wish wish = default_wish(r, f);

    if (rule && rule->shares)
        wish.shares = rule->shares;
    if (!rule || !rule->has_range)
        return wish;
    wish.has_range = true;
    wish.by_default = false;
    wish.from = r->options.folder;
    wish.max_kib = min_u64(rule->max_kib, f->static_max_kib);
    wish.min_kib = min_u64(rule->min_kib, wish.max_kib);
    wish.min_kib = max_u64(wish.min_kib, page_up(f->static_min_kib));
    return wish;
}

static bool
same_range(const struct wish *a, const struct wish *b)
{
    return a->has_range == b->has_range &&
           (!a->has_range ||
            (a->min_kib == b->min_kib && a->max_kib == b->max_kib));
}

/* Its range is what we gave it. */
static bool
still_ours(const struct known *k, const struct domain_facts *f)
{
    return k->wrote && f->dynamic_min_kib == k->applied.min_kib &&
           f->dynamic_max_kib == k->applied.max_kib;
}

static void
was_applied(void *arg, const struct result *result)
{
    struct known *k = arg;

    k->pending = false;
    if (k->gone) {
        free(k);
        return;
    }
    k->wrote = !result->error;
    if (k->wrote)
        return;
    log_warning("domain %u can't be given its range: %s", k->domid,
                result->message);
    /* What makes no sense today won't tomorrow. */
    k->settled = result->error == ERR_INVALID;
    k->is_applied = k->settled;
}

static void
apply(struct known *k, const struct wish *wish, const struct domain *d,
      const char *name)
{
    const struct domain_order order = { .kind = ORDER_RANGE,
                                        .min_kib = wish->min_kib,
                                        .max_kib = wish->max_kib };
    char min[SIZE_TEXT], max[SIZE_TEXT], warning[FLOOR_TEXT];

    log_info("domain %u (%s) gets the range %s to %s, by %s", k->domid, name,
             format_size((int64_t)wish->min_kib, min),
             format_size((int64_t)wish->max_kib, max), wish->from);
    if (*floor_warning(wish->min_kib, d->facts.static_max_kib, warning))
        log_warning("domain %u (%s): dynamic-min %s", k->domid, name, warning);
    k->pending = true;
    broker_order_seen(k->ranges->broker, d, &order, k->ranges->now_us,
                      was_applied, k);
}

/* Without its name no rule can be found, without static-max none applied. */
static bool
complete(const struct domain_facts *f, const char *name)
{
    bool building = f->flags & DOMAIN_BUILDING;

    return f->static_max_kib > 0 && (*name || !building);
}

static void
consider(struct known *k, const struct domain *d)
{
    const struct domain_facts *f = &d->facts;
    struct ranges *r = k->ranges;
    struct domain_text text = { .name = "" };
    char name[RANGE_NAME];
    struct wish wish;
    bool differs;

    if (k->pending || f->flags & (DOMAIN_SHUTDOWN | DOMAIN_DYING))
        return;
    r->platform->ops->describe(r->platform, f->domid, &text);
    if (range_base_name(text.name, name) || !complete(f, name))
        return;
    wish = wish_of(r, f, name);
    broker_set_shares(r->broker, f->domid, wish.shares);
    /* At first a range that is there is somebody's, and the default never
     * replaces one; later on, what differs is a rule that was changed. */
    if (!k->is_applied || (wish.by_default && !still_ours(k, f)))
        differs = !(f->flags & DOMAIN_MANAGED);
    else
        differs = !same_range(&wish, &k->applied);
    k->settled = k->is_applied = true;
    k->applied = wish;
    if (differs && wish.has_range)
        apply(k, &wish, d, name);
}

/* ------------------------------------------------------------------ life */

int64_t
ranges_run(struct ranges *r, int64_t now_us)
{
    struct planner *planner;
    int64_t next_us = TIME_NEVER_US;

    if (now_us < r->next_us && now_us - r->now_us < REST_US)
        return min_i64(r->next_us, r->now_us + REST_US);
    planner = broker_planner(r->broker);
    r->now_us = now_us;
    r->next_us = next_us;
    if (!planner)
        return next_us;
    if (follow(r, &planner->host) &&
        range_rules_changed(&r->rules, r->options.folder)) {
        log_info("%s has changed", r->options.folder);
        ranges_reload(r, &r->options);
    }
    for (size_t i = 0; i < r->count; i++) {
        struct known *k = r->known[i];
        const struct domain *d;

        if (k->settled || k->domid == 0)
            continue;
        d = host_find(&planner->host, k->domid);
        if (d)
            consider(k, d);
        if (!k->settled)
            next_us = min_i64(next_us, now_us + (now_us - k->since_us < EARLY_US
                                                     ? AGAIN_US
                                                     : AGAIN_LATER_US));
    }
    r->next_us = next_us;
    return next_us;
}

void
ranges_reload(struct ranges *r, const struct ranges_options *options)
{
    r->options = *options;
    range_rules_read(&r->rules, r->options.folder);
    for (size_t i = 0; i < r->count; i++)
        r->known[i]->settled = false;
    r->next_us = 0;
}

struct ranges *
ranges_new(struct broker *broker, struct platform *platform,
           const struct ranges_options *options)
{
    struct ranges *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->broker = broker;
    r->platform = platform;
    ranges_reload(r, options);
    return r;
}

void
ranges_free(struct ranges *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->known[i]);
    free(r->known);
    free(r->spare);
    range_rules_done(&r->rules);
    free(r);
}
