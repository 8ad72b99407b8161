/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fakexen/stage.h"

#include <check.h>
#include <time.h>

struct store store;
struct fakehv *hv;
struct event_base *base;
struct xen_options options;
struct platform *platform;
unsigned changes;
struct snapshot snapshot;
int64_t skipped_us;

int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000 + skipped_us;
}

void
run_ms(int ms)
{
    struct timeval wait = { .tv_sec = ms / 1000,
                            .tv_usec = ms % 1000 * US_PER_MS };

    event_base_loopexit(base, &wait);
    event_base_dispatch(base);
}

bool
wait_for(bool (*condition)(void), int limit_ms)
{
    int64_t end_us = now_us() + (int64_t)limit_ms * US_PER_MS;

    while (!condition()) {
        if (now_us() > end_us)
            return false;
        run_ms(1);
    }
    return true;
}

static void
on_changed(void *context)
{
    (void)context;
    changes++;
}

bool
is_ready(void)
{
    return platform->ops->look(platform, now_us(), &snapshot) == ERR_NONE;
}

bool
was_told(void)
{
    return changes > 0;
}

const struct domain_facts *
facts(uint32_t domid)
{
    ck_assert_int_eq(platform->ops->look(platform, now_us(), &snapshot), 0);
    for (size_t i = 0; i < snapshot.count; i++)
        if (snapshot.domains[i].domid == domid)
            return &snapshot.domains[i];
    ck_abort_msg("no domain %u", domid);
    return NULL;
}

bool
managed(uint32_t domid)
{
    return facts(domid)->flags & DOMAIN_MANAGED;
}

struct domain_text
text_of(uint32_t domid)
{
    struct domain_text text;

    ck_assert(platform->ops->describe(platform, domid, &text));
    return text;
}

struct platform_health
health(void)
{
    struct platform_health ret;

    platform->ops->health(platform, &ret);
    return ret;
}

void
write_memory(uint32_t domid, const char *leaf, const char *value)
{
    store_write(&store, value, "/local/domain/%u/memory/%s", domid, leaf);
}

void
write_range(uint32_t domid, const char *min, const char *max)
{
    write_memory(domid, "dynamic-min", min);
    write_memory(domid, "dynamic-max", max);
}

struct fakehv_domain *
add(uint32_t domid, uint32_t flags)
{
    struct fakehv_domain *domain;

    fakehv_lock(hv);
    domain = fakehv_add_domain(hv, domid, flags, PAGES_1G, PAGES_1G);
    domain->cpu_time = (flags & XEN_DOMINF_paused) ? 0 : 1;
    domain->handle[0] = (uint8_t)(domid + 1);
    fakehv_unlock(hv);
    return domain;
}

struct fakehv_domain *
add_managed(uint32_t domid, uint32_t flags)
{
    write_memory(domid, "static-max", "1048576");
    write_memory(domid, "target", "1048576");
    write_range(domid, "262144", "1048576");
    return add(domid, flags);
}

void
make_platform(enum xen_balloon balloon)
{
    options.balloon = balloon;
    options.deadline_us = 2 * US_PER_S;
    platform = xen_platform_new(base, &options);
    ck_assert_ptr_nonnull(platform);
    platform->hooks.changed = on_changed;
}

void
start(enum xen_balloon balloon)
{
    make_platform(balloon);
    ck_assert_msg(wait_for(is_ready, LATE_MS), "%s", health().why);
    changes = 0;
}

void
set_up(void)
{
    store_start(&store);
    hv = fakehv_map(getenv(FAKEHV_ENV));
    ck_assert_ptr_nonnull(hv);
    fakehv_add_domain(hv, 0, FLAGS_PV, PAGES_1G, UINT32_MAX)->cpu_time = 1;
    base = event_base_new();
}

void
tear_down(void)
{
    if (platform)
        platform->ops->free(platform);
    platform = NULL;
    event_base_free(base);
    store_stop(&store);
}

void
apply(uint32_t domid, uint64_t target_kib, uint64_t limit_kib, bool grows)
{
    const struct setting setting = { .domid = domid,
                                     .target_kib = target_kib,
                                     .limit_kib = limit_kib,
                                     .grows = grows };

    platform->ops->apply(platform, &setting, 1);
}

const char *
target_in_store(uint32_t domid, const char *leaf)
{
    return store_read(&store, "/local/domain/%u/memory/%s", domid, leaf);
}
