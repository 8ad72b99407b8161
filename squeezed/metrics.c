/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/metrics.h"

#include "squeezed/core/condition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum metric_type { GAUGE, COUNTER, INFO, HISTOGRAM };

static const struct {
    const char *open, *plain; /* in the two forms */
    const char *suffix;       /* OpenMetrics: not part of the family's name */
} types[] = {
    [GAUGE] = { "gauge", "gauge", "" },
    [COUNTER] = { "counter", "counter", "_total" },
    [INFO] = { "info", "gauge", "_info" },
    [HISTOGRAM] = { "histogram", "histogram", "" },
};

/* What is known while the page is written. */
struct page {
    FILE *out;
    bool open;
    const struct metrics *metrics;
    const struct metrics_sources *sources;
    const struct planner *planner; /* NULL: the host was never seen */
    struct host_sums sums;
    struct broker_view view;
    struct platform_health health;
    uint64_t available_kib, squeezed_kib;
};

struct metric {
    const char *name;
    enum metric_type type;
    const char *unit; /* the name ends with it; NULL: none */
    void (*write)(const struct page *page, const struct metric *metric);
    size_t offset; /* for some of them: of what is written */
    const char *help;
};

/* ----------------------------------------------------------------- samples */

static void
write_value(const struct page *page, const struct metric *m, int64_t value)
{
    fprintf(page->out, "%s %" PRId64 "\n", m->name, value);
}

static int64_t
bytes(uint64_t kib)
{
    return (int64_t)(min_u64(kib, LIMIT_SIZE_KIB) * 1024);
}

/* A label's value: what may come from a guest's owner is any bytes. */
static void
write_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            putc('\\', out);
        putc(*text >= ' ' && *text < 0x7f ? *text : '?', out);
    }
}

static uint64_t
number_at(const void *from, size_t offset)
{
    uint64_t value;

    memcpy(&value, (const char *)from + offset, sizeof value);
    return value;
}

/* -------------------------------------------------------------------- host */

static void
write_sum(const struct page *page, const struct metric *m)
{
    if (page->planner)
        write_value(page, m, bytes(number_at(&page->sums, m->offset)));
}

static void
write_headroom(const struct page *page, const struct metric *m)
{
    if (page->planner)
        write_value(page, m, page->sums.headroom_kib * 1024);
}

static void
write_missing(const struct page *page, const struct metric *m)
{
    write_value(page, m, bytes(page->view.missing_kib));
}

static void
write_available(const struct page *page, const struct metric *m)
{
    if (page->planner)
        write_value(page, m, bytes(page->available_kib));
}

static void
write_squeezed(const struct page *page, const struct metric *m)
{
    if (page->planner)
        write_value(page, m, bytes(page->squeezed_kib));
}

static void
write_condition(const struct page *page, const struct metric *m)
{
    enum host_condition now;

    if (!page->planner)
        return;
    now = host_condition(page->planner);
    for (enum host_condition c = HOST_RELAXED; c <= HOST_OVERLOADED; c++)
        fprintf(page->out, "%s{state=\"%s\"} %d\n", m->name,
                host_condition_name(c), c == now);
}

/* ----------------------------------------------------------------- domains */

static void
write_domain(const struct page *page, const struct metric *m,
             const struct domain *d, uint64_t value)
{
    struct platform *platform = page->sources->platform;
    struct domain_text text = { .name = "" };

    platform->ops->describe(platform, d->facts.domid, &text);
    fprintf(page->out, "%s{domid=\"%" PRIu32 "\",name=\"", m->name,
            d->facts.domid);
    write_text(page->out, text.name);
    fprintf(page->out, "\"} %" PRIu64 "\n", value);
}

static void
write_domains(const struct page *page, const struct metric *m)
{
    for (size_t i = 0; page->planner && i < page->planner->host.count; i++) {
        const struct domain *d = &page->planner->host.domains[i];

        write_domain(page, m, d, (uint64_t)bytes(number_at(d, m->offset)));
    }
}

static void
write_marks(const struct page *page, const struct metric *m)
{
    for (size_t i = 0; page->planner && i < page->planner->host.count; i++) {
        const struct domain *d = &page->planner->host.domains[i];

        write_domain(page, m, d, (d->facts.flags & DOMAIN_MARKED) != 0);
    }
}

static void
write_states(const struct page *page, const struct metric *m)
{
    size_t counts[DOMAIN_STATE_DYING + 1] = { 0 };

    if (!page->planner)
        return;
    for (size_t i = 0; i < page->planner->host.count; i++)
        counts[host_domain_state(&page->planner->host.domains[i],
                                 page->sources->now_us)]++;
    for (enum domain_state s = DOMAIN_STATE_OK; s <= DOMAIN_STATE_DYING; s++)
        fprintf(page->out, "%s{state=\"%s\"} %zu\n", m->name,
                domain_state_name(s), counts[s]);
}

/* --------------------------------------------- reservations and the requests
 */

static void
write_reservations(const struct page *page, const struct metric *m)
{
    if (page->planner)
        write_value(page, m, (int64_t)page->planner->ledger.count);
}

static void
write_queue(const struct page *page, const struct metric *m)
{
    const char *client;
    int64_t count = 0;

    while (broker_queued(page->sources->broker, (size_t)count, &client))
        count++;
    write_value(page, m, count);
}

static void
write_counted(const struct page *page, const struct metric *m)
{
    write_value(page, m, (int64_t)number_at(page->metrics, m->offset));
}

static void
write_counted_kib(const struct page *page, const struct metric *m)
{
    write_value(page, m, (int64_t)(number_at(page->metrics, m->offset) * 1024));
}

static void
write_seen(const struct page *page, const struct metric *m)
{
    write_value(page, m, (int64_t)number_at(&page->view, m->offset));
}

/* All reasons that a request may be refused for, also before the first. */
static const enum err reasons[] = {
    ERR_CANNOT_FREE, ERR_UNCOOPERATIVE, ERR_TIMEOUT, ERR_CANCELLED,
    ERR_INVALID,     ERR_NOT_READY,     ERR_BUSY,
};

static void
write_refusals(const struct page *page, const struct metric *m)
{
    for (size_t i = 0; i < COUNT(reasons); i++)
        fprintf(page->out, "%s{reason=\"%s\"} %" PRIu64 "\n", m->name,
                err_name(reasons[i]), page->metrics->refusals[reasons[i]]);
}

static const struct {
    int64_t us;
    const char *label;
} buckets[METRICS_BUCKETS] = {
    { 5000, "0.005" },           { 10000, "0.01" },
    { 25000, "0.025" },          { 50000, "0.05" },
    { 100000, "0.1" },           { 250000, "0.25" },
    { 500000, "0.5" },           { US_PER_S, "1.0" },
    { 5 * US_PER_S / 2, "2.5" }, { 5 * US_PER_S, "5.0" },
    { 15 * US_PER_S, "15.0" },   { 60 * US_PER_S, "60.0" },
    { INT64_MAX, "+Inf" },
};

static void
write_took(const struct page *page, const struct metric *m)
{
    const struct metrics *metrics = page->metrics;
    uint64_t sum = 0;

    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        sum += metrics->took[i];
        fprintf(page->out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", m->name,
                buckets[i].label, sum);
    }
    fprintf(page->out, "%s_sum %.6f\n%s_count %" PRIu64 "\n", m->name,
            (double)metrics->took_us / US_PER_S, m->name, sum);
}

/* ---------------------------------------------------------------- ourselves */

static void
write_build(const struct page *page, const struct metric *m)
{
    fprintf(page->out, "%s{version=\"%s\",platform=\"%s\",policy=\"%s\"} 1\n",
            m->name, PACKAGE_VERSION, page->view.platform,
            page->planner ? page->planner->settings.policy->name : "");
}

static void
write_connected(const struct page *page, const struct metric *m)
{
    write_value(page, m, page->health.connected);
}

static void
write_reconnects(const struct page *page, const struct metric *m)
{
    write_value(page, m, page->health.reconnects);
}

static void
write_age(const struct page *page, const struct metric *m)
{
    int64_t age_us = page->sources->now_us - page->view.last_look_us;

    if (page->planner)
        fprintf(page->out, "%s %.6f\n", m->name,
                (double)max_i64(age_us, 0) / US_PER_S);
}

static void
write_connections(const struct page *page, const struct metric *m)
{
    write_value(page, m, (int64_t)page->sources->connections);
}

static void
write_listeners(const struct page *page, const struct metric *m)
{
    write_value(page, m, (int64_t)page->sources->listeners);
}

static void
write_dropped(const struct page *page, const struct metric *m)
{
    write_value(page, m, (int64_t)page->sources->listeners_dropped);
}

/* ------------------------------------------------------------------- table */

#define SUM(field)    "bytes", write_sum, offsetof(struct host_sums, field)
#define DOMAIN(field) "bytes", write_domains, offsetof(struct domain, field)
#define EVENTS(kind)                                                           \
    NULL, write_counted, offsetof(struct metrics, counts[NEWS_##kind])
#define COUNTED(field) NULL, write_counted, offsetof(struct metrics, field)
#define SEEN(field)    NULL, write_seen, offsetof(struct broker_view, field)

/* clang-format off */
static const struct metric table[] = {
    { "squeezed_build_info", INFO, NULL, write_build, 0,
      "Version, platform and policy of the broker." },
    { "squeezed_store_connected", GAUGE, NULL, write_connected, 0,
      "1 while Xen and xenstore answer." },
    { "squeezed_store_reconnects_total", COUNTER, NULL, write_reconnects, 0,
      "How often xenstore had to be connected to again." },
    { "squeezed_look_age_seconds", GAUGE, "seconds", write_age, 0,
      "Time since the host was last looked at." },
    { "squeezed_passes_total", COUNTER, SEEN(passes),
      "Looks at the host with their decisions." },
    { "squeezed_host_memory_bytes", GAUGE, SUM(total_kib),
      "All memory that domains and Xen share." },
    { "squeezed_host_free_bytes", GAUGE, SUM(free_kib),
      "Free memory." },
    { "squeezed_host_scrub_bytes", GAUGE, SUM(scrub_kib),
      "Free memory that Xen still has to clean." },
    { "squeezed_host_reserve_bytes", GAUGE, SUM(host_reserve_kib),
      "Memory that stays free always." },
    { "squeezed_host_cushion_bytes", GAUGE, SUM(cushion_kib),
      "Memory that is kept free for the next request." },
    { "squeezed_host_reserved_bytes", GAUGE, SUM(reserved_kib),
      "Reservations that no domain owns." },
    { "squeezed_host_domains_bytes", GAUGE, SUM(domains_kib),
      "What the domains hold." },
    { "squeezed_host_growth_allowed_bytes", GAUGE, SUM(growth_allowed_kib),
      "What the domains may take without asking." },
    { "squeezed_host_promised_bytes", GAUGE, SUM(promised_kib),
      "What was promised to domains beyond that." },
    { "squeezed_host_headroom_bytes", GAUGE, "bytes", write_headroom, 0,
      "What is left of the free memory; negative after a theft." },
    { "squeezed_host_xen_bytes", GAUGE, SUM(xen_kib),
      "What Xen itself holds." },
    { "squeezed_host_missing_bytes", GAUGE, "bytes", write_missing, 0,
      "What others took of the memory that was promised." },
    { "squeezed_host_state", GAUGE, NULL, write_condition, 0,
      "1 for the state that the host is in." },
    { "squeezed_available_now_bytes", GAUGE, "bytes", write_available, 0,
      "What could be reserved at once." },
    { "squeezed_available_after_squeeze_bytes", GAUGE, "bytes", write_squeezed,
      0, "What could be reserved if every guest gave what it may." },
    { "squeezed_domains", GAUGE, NULL, write_states, 0,
      "How many domains are in each state." },
    { "squeezed_domain_actual_bytes", GAUGE, DOMAIN(facts.actual_kib),
      "What the domain holds, without its constant offset." },
    { "squeezed_domain_target_bytes", GAUGE, DOMAIN(facts.target_kib),
      "What the domain is to hold." },
    { "squeezed_domain_limit_bytes", GAUGE, DOMAIN(facts.limit_kib),
      "What Xen lets the domain grow to." },
    { "squeezed_domain_min_bytes", GAUGE, DOMAIN(lower_kib),
      "The lower end of the range that its target is kept in." },
    { "squeezed_domain_max_bytes", GAUGE, DOMAIN(upper_kib),
      "The upper end of that range, a ceiling considered." },
    { "squeezed_domain_promise_bytes", GAUGE, DOMAIN(promise_kib),
      "The reservations that the domain owns." },
    { "squeezed_domain_uncooperative", GAUGE, NULL, write_marks, 0,
      "1 while the domain has been asked for memory in vain for long." },
    { "squeezed_reservations", GAUGE, NULL, write_reservations, 0,
      "How many reservations there are." },
    { "squeezed_queued_requests", GAUGE, NULL, write_queue, 0,
      "How many requests wait for memory." },
    { "squeezed_requests_total", COUNTER, EVENTS(REQUEST),
      "Requests for memory." },
    { "squeezed_grants_total", COUNTER, EVENTS(GRANT),
      "Requests that were granted." },
    { "squeezed_granted_bytes_total", COUNTER, "bytes", write_counted_kib,
      offsetof(struct metrics, granted_kib),
      "Memory that was granted." },
    { "squeezed_refusals_total", COUNTER, NULL, write_refusals, 0,
      "Requests that were not granted, by reason." },
    { "squeezed_grant_seconds", HISTOGRAM, "seconds", write_took, 0,
      "How long granted requests took." },
    { "squeezed_releases_total", COUNTER, EVENTS(RELEASE),
      "Reservations that ended." },
    { "squeezed_transfers_total", COUNTER, EVENTS(TRANSFER),
      "Reservations that a domain got." },
    { "squeezed_targets_total", COUNTER, EVENTS(TARGET),
      "Targets that were set." },
    { "squeezed_range_errors_total", COUNTER, COUNTED(range_errors),
      "Ranges of domains that were no good." },
    { "squeezed_thefts_total", COUNTER, SEEN(thefts),
      "How often others took memory that was promised." },
    { "squeezed_overloads_total", COUNTER, COUNTED(overloads),
      "How often the host became overloaded." },
    { "squeezed_connections", GAUGE, NULL, write_connections, 0,
      "Open connections of clients." },
    { "squeezed_listeners", GAUGE, NULL, write_listeners, 0,
      "Clients that follow the events." },
    { "squeezed_listeners_dropped_total", COUNTER, NULL, write_dropped, 0,
      "Such clients that were dropped since they didn't read." },
};
/* clang-format on */

const char *
metrics_name(size_t i)
{
    return i < COUNT(table) ? table[i].name : NULL;
}

/* -------------------------------------------------------------------- page */

static void
write_head(const struct page *page, const struct metric *m)
{
    int length = (int)strlen(m->name);
    const char *type = types[m->type].plain;

    if (page->open) {
        length -= (int)strlen(types[m->type].suffix);
        type = types[m->type].open;
    }
    fprintf(page->out, "# HELP %.*s %s\n# TYPE %.*s %s\n", length, m->name,
            m->help, length, m->name, type);
    if (page->open && m->unit)
        fprintf(page->out, "# UNIT %.*s %s\n", length, m->name, m->unit);
}

static void
look(struct page *page)
{
    const struct metrics_sources *s = page->sources;

    page->planner = broker_planner(s->broker);
    broker_view(s->broker, &page->view);
    s->platform->ops->health(s->platform, &page->health);
    if (!page->planner)
        return;
    host_sum(&page->planner->host, &page->planner->ledger,
             page->planner->settings.host_reserve_kib,
             page->planner->settings.cushion_kib, &page->sums);
    planner_available(page->planner, s->now_us, &page->available_kib,
                      &page->squeezed_kib);
}

char *
metrics_text(const struct metrics *metrics,
             const struct metrics_sources *sources, bool open)
{
    struct page page = { .open = open, .metrics = metrics, .sources = sources };
    char *text = NULL;
    size_t length;

    page.out = open_memstream(&text, &length);
    if (!page.out)
        return NULL;
    look(&page);
    for (size_t i = 0; i < COUNT(table); i++) {
        write_head(&page, &table[i]);
        table[i].write(&page, &table[i]);
    }
    fputs("# EOF\n", page.out);
    if (fclose(page.out) == 0)
        return text;
    free(text);
    return NULL;
}

/* ---------------------------------------------------------------- counting */

static void
count_grant(struct metrics *m, const struct result *result)
{
    int64_t us = max_i64(result->took_us, 0);
    size_t i = 0;

    while (us > buckets[i].us)
        i++;
    m->took[i]++;
    m->took_us += us;
    m->granted_kib += result->amount_kib;
}

void
metrics_count(struct metrics *m, const struct news *news)
{
    m->counts[news->kind]++;
    switch (news->kind) {
    case NEWS_GRANT:
        count_grant(m, news->result);
        break;
    case NEWS_REFUSAL:
        m->refusals[news->result->error]++;
        break;
    case NEWS_RANGE_ERROR:
        m->range_errors += news->begins;
        break;
    case NEWS_OVERLOAD:
        m->overloads += news->begins;
        break;
    default:
        break;
    }
}
