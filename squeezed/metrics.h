/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a monitoring system wants to know, as OpenMetrics text, or in the older
 * form of Prometheus.  The counters begin with the broker. */
#ifndef METRICS_H
#define METRICS_H

#include "squeezed/broker.h"

/* Upper bounds of what grants took; the last bucket has none. */
enum { METRICS_BUCKETS = 13 };

struct metrics {
    uint64_t counts[NEWS_KINDS];
    uint64_t granted_kib;
    uint64_t refusals[ERR_COUNT];
    uint64_t range_errors, overloads; /* begun */
    uint64_t took[METRICS_BUCKETS];   /* each grant in one of them */
    int64_t took_us;
};

struct metrics_sources {
    struct broker *broker;
    struct platform *platform;
    int64_t now_us;
    size_t connections, listeners;
    uint64_t listeners_dropped;
};

void
metrics_count(struct metrics *metrics, const struct news *news);

#define METRICS_TYPE_OPEN                                                      \
    "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define METRICS_TYPE_PLAIN "text/plain; version=0.0.4; charset=utf-8"

/* The whole page; the caller frees it.  open: OpenMetrics; else as Prometheus
 * has always read it (counters differ in their comments alone).  NULL without
 * memory. */
char *
metrics_text(const struct metrics *metrics,
             const struct metrics_sources *sources, bool open);

/* Name and help of metric i; NULL past the end. */
const char *
metrics_name(size_t i);

#endif
