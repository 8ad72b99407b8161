/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domain-probe: what Xen and xenstore say of the domains' memory, and when.
 *
 *   domain-probe show
 *       the host and its domains
 *   domain-probe wait TIMEOUT_MS DOMID=KIB…
 *       until each domain holds that much; prints the milliseconds it took
 *   domain-probe change TIMEOUT_MS KEY VALUE WATCHED
 *       writes VALUE into KEY, and waits until the value of WATCHED is another
 *       one: prints how long the write took and, counted from its end, the
 *       change, and the new value
 *   domain-probe writes COUNT KEY
 *       that many writes, one after the other: prints how long the middle one
 *       of them took, in milliseconds
 *
 * Exit status 1: not within that time.
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
#include <xenstore.h>

#define MAX_DOMAINS   16
#define KIB_OF(pages) ((uint64_t)(pages)*4)
#define LOOK_EVERY_US 5000
#define MAX_WRITES    100
/* A PV guest ends on its target, a PVH guest 64 KiB above it. */
#define SLACK_KIB 64

static xc_interface *xc;
static struct xs_handle *xs;

static double
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int
show(char **args, int count)
{
    static xc_domaininfo_t info[MAX_DOMAINS];
    xc_physinfo_t host = { 0 };
    int n = xc_domain_getinfolist(xc, 0, MAX_DOMAINS, info);

    (void)args;
    (void)count;
    xc_physinfo(xc, &host);
    printf("host total=%" PRIu64 " free=%" PRIu64 " scrub=%" PRIu64
           " outstanding=%" PRIu64 " KiB\n",
           KIB_OF(host.total_pages), KIB_OF(host.free_pages),
           KIB_OF(host.scrub_pages), KIB_OF(host.outstanding_pages));
    for (int i = 0; i < n; i++) {
        char path[64];
        char *target;

        snprintf(path, sizeof(path), "/local/domain/%u/memory/target",
                 (unsigned)info[i].domain);
        target = xs_read(xs, XBT_NULL, path, NULL);
        printf("domain %u held=%" PRIu64 " max=%" PRIu64 " claim=%" PRIu64
               " KiB, memory/target=%s\n",
               (unsigned)info[i].domain, KIB_OF(info[i].tot_pages),
               KIB_OF(info[i].max_pages), KIB_OF(info[i].outstanding_pages),
               target != NULL ? target : "none");
        free(target);
    }
    return 0;
}

static bool
is_there(const char *arg, bool tell)
{
    char *end;
    uint32_t domid = (uint32_t)strtoul(arg, &end, 10);
    uint64_t wanted = strtoull(*end == '=' ? end + 1 : end, NULL, 10);
    xc_domaininfo_t info;
    uint64_t held;

    if (xc_domain_getinfolist(xc, domid, 1, &info) != 1 || info.domain != domid)
        held = 0;
    else
        held = KIB_OF(info.tot_pages);
    if (tell)
        fprintf(stderr, "domain %u holds %" PRIu64 " of %" PRIu64 " KiB\n",
                (unsigned)domid, held, wanted);
    return held + SLACK_KIB >= wanted && held <= wanted + SLACK_KIB;
}

static int
wait_pages(char **args, int count)
{
    double start = now_ms();
    double limit_ms = atof(args[0]);

    for (;;) {
        bool all = true;

        for (int i = 1; i < count; i++)
            all = is_there(args[i], false) && all;
        if (all)
            break;
        if (now_ms() - start > limit_ms) {
            for (int i = 1; i < count; i++)
                is_there(args[i], true);
            printf("%.0f\n", now_ms() - start);
            return 1;
        }
        usleep(LOOK_EVERY_US);
    }
    printf("%.0f\n", now_ms() - start);
    return 0;
}

static char *
value_of(const char *key)
{
    char *value = xs_read(xs, XBT_NULL, key, NULL);

    return value != NULL ? value : strdup("");
}

static bool
await_event(double until_ms)
{
    struct pollfd events = { .fd = xs_fileno(xs), .events = POLLIN };
    double left = until_ms - now_ms();

    if (left <= 0 || poll(&events, 1, (int)left + 1) <= 0)
        return false;
    free(xs_check_watch(xs));
    return true;
}

static int
change(char **args, int count)
{
    const char *watched = args[3];
    double limit_ms = atof(args[0]);
    char *before = value_of(watched);
    char *after = NULL;
    double start, written, changed;
    int result = 2;

    (void)count;
    xs_watch(xs, watched, "t");
    await_event(now_ms() + 1000); /* the one that a new watch gives at once */
    start = now_ms();
    if (!xs_write(xs, XBT_NULL, args[1], args[2], (unsigned)strlen(args[2]))) {
        perror(args[1]);
        goto out;
    }
    written = now_ms();
    do {
        free(after);
        after = value_of(watched);
        changed = now_ms();
    } while (strcmp(before, after) == 0 && await_event(written + limit_ms));
    printf("write_ms=%.1f change_ms=%.1f value=%s\n", written - start,
           changed - written, after);
    result = strcmp(before, after) == 0;
out:
    free(before);
    free(after);
    return result;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static int
time_writes(char **args, int count)
{
    static double took_ms[MAX_WRITES];
    int n = atoi(args[0]);

    (void)count;
    if (n < 1 || n > MAX_WRITES)
        return 2;
    for (int i = 0; i < n; i++) {
        double start = now_ms();

        if (!xs_write(xs, XBT_NULL, args[1], "0", 1)) {
            perror(args[1]);
            return 2;
        }
        took_ms[i] = now_ms() - start;
    }
    qsort(took_ms, (size_t)n, sizeof(took_ms[0]), by_size);
    printf("%.3f\n", took_ms[n / 2]);
    return 0;
}

static const struct verb {
    const char *name;
    int (*run)(char **args, int count);
    int min_args;
} verbs[] = {
    { "show", show, 0 },
    { "wait", wait_pages, 2 },
    { "change", change, 4 },
    { "writes", time_writes, 2 },
};

int
main(int argc, char **argv)
{
    xc = xc_interface_open(NULL, NULL, 0);
    xs = xs_open(0);
    if (xc == NULL || xs == NULL) {
        perror("domain-probe: no Xen");
        return 2;
    }
    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(argv[1], verbs[i].name) == 0 &&
            argc - 2 >= verbs[i].min_args)
            return verbs[i].run(argv + 2, argc - 2);
    }
    fputs("usage: domain-probe show|wait|change|writes …\n", stderr);
    return 2;
}
