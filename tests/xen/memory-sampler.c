/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* memory-sampler: how low did the host's free memory get?
 *
 *   memory-sampler INTERVAL_MS TRACE < phases
 *
 * Looks at the host every INTERVAL_MS until "end" or the end of its standard
 * input.  Each line there, "NAME FLOOR_KIB", opens a phase; when a phase ends,
 * one line about it is printed:
 *
 *   NAME floor_kib=N min_kib=N below=N samples=N gap_ms=N
 *
 * below: samples under the floor; gap_ms: the longest time between two looks.
 * TRACE gets one line for each change and for the first look of a phase, "t_ms
 * NAME free_kib domid:held_kib …", one for each look that saw less than the
 * floor, marked "BELOW", and one, "t_ms NAME gap ms", for each that came late.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xenctrl.h>

#define MAX_DOMAINS   16
#define KIB_OF(pages) ((uint64_t)(pages)*4)
/* A gap between two looks that is worth a line. */
#define GAP_MS 5

struct look {
    uint64_t free_kib;
    int count;
    uint32_t domid[MAX_DOMAINS];
    uint64_t held_kib[MAX_DOMAINS];
};

struct phase {
    char name[32];
    uint64_t floor_kib;
    uint64_t min_kib;
    unsigned long samples;
    unsigned long below;
    double gap_ms;
};

static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
take(xc_interface *xc, struct look *ret)
{
    static xc_domaininfo_t info[MAX_DOMAINS];
    xc_physinfo_t host = { 0 };

    memset(ret, 0, sizeof(*ret));
    if (xc_physinfo(xc, &host)) {
        perror("memory-sampler: xc_physinfo");
        exit(2);
    }
    ret->free_kib = KIB_OF(host.free_pages) + KIB_OF(host.scrub_pages);
    ret->count = xc_domain_getinfolist(xc, 0, MAX_DOMAINS, info);
    for (int i = 0; i < ret->count; i++) {
        ret->domid[i] = info[i].domain;
        ret->held_kib[i] = KIB_OF(info[i].tot_pages);
    }
}

static void
print_look(FILE *trace, const struct phase *phase, double t_ms,
           const struct look *look)
{
    fprintf(trace, "%.1f %s %" PRIu64, t_ms, phase->name, look->free_kib);
    for (int i = 0; i < look->count; i++)
        fprintf(trace, " %u:%" PRIu64, look->domid[i], look->held_kib[i]);
    if (look->free_kib < phase->floor_kib)
        fputs(" BELOW", trace);
    fputc('\n', trace);
}

static bool
same_look(const struct look *a, const struct look *b)
{
    return a->free_kib == b->free_kib && a->count == b->count &&
           memcmp(a->domid, b->domid, sizeof(a->domid)) == 0 &&
           memcmp(a->held_kib, b->held_kib, sizeof(a->held_kib)) == 0;
}

static void
sample(xc_interface *xc, struct phase *phase, FILE *trace)
{
    static struct look last;
    static double last_ms;
    struct look look;
    double t_ms = now_ms();
    double gap_ms = last_ms > 0 ? t_ms - last_ms : 0;

    take(xc, &look);
    if (phase->samples > 0 && gap_ms > phase->gap_ms)
        phase->gap_ms = gap_ms;
    if (gap_ms > GAP_MS)
        fprintf(trace, "%.1f %s gap %.1f\n", t_ms, phase->name, gap_ms);
    last_ms = t_ms;
    phase->samples++;
    if (look.free_kib < phase->min_kib)
        phase->min_kib = look.free_kib;
    if (look.free_kib < phase->floor_kib)
        phase->below++;
    if (phase->samples == 1 || !same_look(&look, &last) ||
        look.free_kib < phase->floor_kib)
        print_look(trace, phase, t_ms, &look);
    last = look;
}

static void
finish(const struct phase *phase)
{
    if (phase->samples == 0)
        return;
    printf("%s floor_kib=%" PRIu64 " min_kib=%" PRIu64
           " below=%lu samples=%lu gap_ms=%.1f\n",
           phase->name, phase->floor_kib, phase->min_kib, phase->below,
           phase->samples, phase->gap_ms);
    fflush(stdout);
}

/* False when there are no more phases.  A phase is one write of the script:
 * it comes whole. */
static bool
next_phase(struct phase *ret)
{
    char line[128];
    ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

    finish(ret);
    memset(ret, 0, sizeof(*ret));
    ret->min_kib = UINT64_MAX;
    if (n <= 0)
        return false;
    line[n] = '\0';
    return sscanf(line, "%31s %" SCNu64, ret->name, &ret->floor_kib) == 2;
}

int
main(int argc, char **argv)
{
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    struct phase phase = { .name = "start", .min_kib = UINT64_MAX };
    int interval_ms = argc == 3 ? atoi(argv[1]) : 0;
    FILE *trace = argc == 3 ? fopen(argv[2], "w") : NULL;

    if (xc == NULL || trace == NULL || interval_ms <= 0) {
        fputs("usage: memory-sampler INTERVAL_MS TRACE < phases\n", stderr);
        return 2;
    }
    setvbuf(trace, NULL, _IOLBF, 0); /* others read it meanwhile */
    for (;;) {
        if (poll(&input, 1, interval_ms) > 0 && !next_phase(&phase))
            break;
        sample(xc, &phase, trace);
    }
    fclose(trace);
    xc_interface_close(xc);
    return 0;
}
