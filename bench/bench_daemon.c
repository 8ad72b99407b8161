/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole daemon on a fake host (tests/fakexen) of 100 guests, with a real
 * xenstored: how long grants take as a client sees it, and what it costs when
 * nothing happens.  Run by `make bench`. */
#include "tests/fakexen/rig.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GUESTS = 100,
    GRANTS = 1000,
    SQUEEZES = 50,
    BESIDE = 10,
    GUEST_MIB_S = 1024,
    GRANT_KIB = 64 * KIB_PER_MIB,
    FREE_KIB = 512 * KIB_PER_MIB,
    SQUEEZE_KIB = 8 * KIB_PER_GIB,
    SETTLE_MS = 12000,
    IDLE_MS = 30000
};

struct series {
    double ms[GRANTS];
    size_t count;
};

static struct rig rig = { .rate_mib_s = GUEST_MIB_S, .level = "warning" };

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "bench_daemon: %s\n", what);
    rig_print_log(&rig);
    exit(1);
}

/* ------------------------------------------------------------------- numbers
 */

static void
add(struct series *series, double ms)
{
    series->ms[series->count++] = ms;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double
percentile(const struct series *series, size_t percent)
{
    return series->ms[(series->count * percent + 99) / 100 - 1];
}

static void
print_series(const char *what, struct series *series)
{
    qsort(series->ms, series->count, sizeof(series->ms[0]), by_size);
    printf("%-36s %6zu %9.2f %9.2f %9.2f\n", what, series->count,
           percentile(series, 50), percentile(series, 99),
           series->ms[series->count - 1]);
}

/* A line `name: N` of a file of /proc/PID. */
static uint64_t
proc_number(const char *name)
{
    char path[64], line[256];
    uint64_t value = 0;
    size_t length = strlen(name);
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)rig.squeezed);
    file = fopen(path, "r");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            value = strtoull(line + length + 1, NULL, 10);
    if (file)
        fclose(file);
    return value;
}

/* CPU time that it has used so far. */
static double
cpu_ms(void)
{
    char path[64], text[64] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)rig.squeezed);
    file = fopen(path, "r");
    if (!file || !fgets(text, sizeof(text), file))
        die("no /proc/PID/schedstat");
    fclose(file);
    return (double)strtoull(text, NULL, 10) / 1e6;
}

/* ---------------------------------------------------------------------- host
 */

static void
add_guest(uint32_t domid)
{
    struct fakehv_domain *domain;

    rig_write_memory(&rig, domid, "static-max", RIG_MAX_KIB);
    rig_write_memory(&rig, domid, "target", RIG_MAX_KIB);
    rig_write_memory(&rig, domid, "dynamic-min", RIG_MIN_KIB);
    rig_write_memory(&rig, domid, "dynamic-max", RIG_MAX_KIB);
    fakehv_lock(rig.hv);
    rig.hv->total_pages += RIG_MAX_KIB / KIB_PER_PAGE;
    rig.hv->free_pages += RIG_MAX_KIB / KIB_PER_PAGE;
    domain = fakehv_add_domain(rig.hv, domid, XEN_DOMINF_running,
                               RIG_MAX_KIB / KIB_PER_PAGE,
                               RIG_MAX_KIB / KIB_PER_PAGE);
    domain->cpu_time = 1;
    domain->handle[0] = rig.generation;
    domain->handle[15] = (uint8_t)domid;
    fakehv_unlock(rig.hv);
}

static void
set_up(void)
{
    rig_start(&rig);
    assert(rig.hv);
    for (uint32_t domid = RIG_GUESTS + 1; domid <= GUESTS; domid++)
        add_guest(domid);
    fakehv_lock(rig.hv);
    rig.hv->total_pages += FREE_KIB / KIB_PER_PAGE;
    rig.hv->free_pages += FREE_KIB / KIB_PER_PAGE;
    fakehv_unlock(rig.hv);
    rig_run(&rig);
    rig_ready(&rig);
}

/* --------------------------------------------------------------------- calls
 */

/* A reservation's answer, the caller's; *ret_ms is what the client waited. */
static json_t *
reserve(int kib, double *ret_ms)
{
    int64_t start_us = rig_now_us();
    json_t *answer = rig_call(
        &rig, "reserve",
        "\"client\": \"bench\", \"min\": %d, \"timeout_ms\": 20000", kib);
    json_t *result = json_incref(json_object_get(answer, "result"));

    *ret_ms = (double)(rig_now_us() - start_us) / US_PER_MS;
    if (!result) {
        json_dumpf(answer, stderr, 0);
        die(": not granted");
    }
    json_decref(answer);
    return result;
}

static double
release(json_t *reservation)
{
    int64_t start_us = rig_now_us();
    const char *id =
        json_string_value(json_object_get(reservation, "reservation"));
    json_t *answer =
        rig_call(&rig, "release", "\"reservation\": \"%s\"", id ? id : "");

    if (!json_object_get(answer, "result"))
        die("not released");
    json_decref(answer);
    json_decref(reservation);
    return (double)(rig_now_us() - start_us) / US_PER_MS;
}

static double
number(const json_t *result, const char *name)
{
    return json_number_value(json_object_get(result, name));
}

/* ---------------------------------------------------------------- benchmarks
 */

static void
bench_grants(void)
{
    static struct series granted, released;
    json_t *result;
    double ms;

    for (int i = 0; i < GRANTS; i++) {
        result = reserve(GRANT_KIB, &ms);
        add(&granted, ms);
        add(&released, release(result));
    }
    print_series("64 MiB that are free: grant", &granted);
    print_series("  its release", &released);
}

/* Until the guests have taken it back. */
static void
wait_until_grown(uint64_t rest_kib)
{
    int64_t end_us = rig_now_us() + 30 * US_PER_S;

    while (rig_free_kib(&rig) > rest_kib + KIB_PER_MIB) {
        if (rig_now_us() > end_us)
            die("the guests don't grow again");
        rig_sleep_ms(10);
    }
}

static void
bench_squeezes(void)
{
    static struct series granted, after_free, beside;
    uint64_t rest_kib = rig_free_kib(&rig);
    json_t *result;
    double ms;

    for (int i = 0; i < SQUEEZES; i++) {
        result = reserve(SQUEEZE_KIB, &ms);
        add(&granted, ms);
        add(&after_free, number(result, "answer_ms"));
        release(result);
        /* All guests get their new targets now. */
        for (int k = 0; k < BESIDE; k++) {
            result = reserve(GRANT_KIB, &ms);
            add(&beside, ms);
            release(result);
        }
        wait_until_grown(rest_kib);
    }
    print_series("8 GiB squeezed out of all: grant", &granted);
    print_series("  after enough was seen free", &after_free);
    print_series("64 MiB beside 100 new targets: grant", &beside);
}

static void
bench_rest(void)
{
    uint64_t wakes, forced;
    double ms;

    rig_sleep_ms(SETTLE_MS);
    wakes = proc_number("voluntary_ctxt_switches");
    forced = proc_number("nonvoluntary_ctxt_switches");
    ms = cpu_ms();
    rig_sleep_ms(IDLE_MS);
    printf("\nat rest, %d domains: %.2f wake-ups a second, %.2f ms CPU a "
           "second\n",
           GUESTS + 1,
           (double)(proc_number("voluntary_ctxt_switches") - wakes +
                    proc_number("nonvoluntary_ctxt_switches") - forced) *
               1000 / IDLE_MS,
           (cpu_ms() - ms) * 1000 / IDLE_MS);
    printf("resident %.1f MiB, at most %.1f MiB; anonymous %.1f MiB\n",
           (double)proc_number("VmRSS") / 1024,
           (double)proc_number("VmHWM") / 1024,
           (double)proc_number("RssAnon") / 1024);
}

int
main(void)
{
    if (!store_possible())
        return 77;
    set_up();
    printf("%-36s %6s %9s %9s %9s\n", "ms", "times", "p50", "p99", "most");
    bench_grants();
    bench_squeezes();
    bench_rest();
    rig_stop(&rig);
    return 0;
}
