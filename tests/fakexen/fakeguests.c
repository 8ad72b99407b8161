/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The balloon drivers of all guests of a fake host (fakehv.h): follows each
 * domain's memory/target in xenstore, as a Linux guest does, and moves its
 * pages there at a given rate, never above its limit.
 *
 *   fakeguests [-r MIB_PER_S] [-o OFFSET_KIB] [-f] [-s DOMID]... [HOST]
 *
 * HOST is the host's file (default: $FAKEHV).  -r: each guest's rate, 4096 if
 * not given.  -o: they hold so much more than their target.  -f: each writes
 * its control/feature-balloon.  -s: this one is stuck: it never moves.
 *
 * A guest that runs uses CPU time.  When xenstored is started anew the guests
 * are deaf, as real ones are: they stay at their last targets.  Ends with its
 * parent, or by a signal. */
#include "tests/fakexen/fakehv.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <xenctrl.h>
#include <xenstore.h>

enum { TICK_MS = 2, PAGES_PER_MIB = 256, KIB_PER_PAGE = 4 };

#define DOMAINS_PATH "/local/domain"

struct guest {
    bool seen;    /* it was there at the last tick */
    bool known;   /* it has a target */
    bool stuck;   /* by -s */
    uint8_t uuid; /* the first byte: another domain of the same domid */
    uint64_t target_pages;
};

struct options {
    const char *host;
    uint64_t rate_mib_s;
    int64_t offset_kib;
    bool feature;
};

/* What a guest may do in one tick. */
struct step {
    uint64_t pages;
    uint64_t cpu_ns;
};

static struct guest guests[FAKEHV_DOMAINS];
static struct options options = { .rate_mib_s = 4096 };

static int64_t
now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* All pages that a guest could have moved by then: differences of it lose
 * nothing to rounding. */
static uint64_t
pages_by(int64_t time_us)
{
    return options.rate_mib_s * PAGES_PER_MIB * (uint64_t)time_us / 1000000;
}

static void
read_target(struct xs_handle *xs, uint32_t domid)
{
    char path[64];
    char *text;
    long long kib;

    snprintf(path, sizeof(path), DOMAINS_PATH "/%u/memory/target", domid);
    text = xs_read(xs, XBT_NULL, path, NULL);
    guests[domid].known = text != NULL;
    if (text) {
        kib = atoll(text) + options.offset_kib;
        guests[domid].target_pages = kib > 0 ? (uint64_t)kib / KIB_PER_PAGE : 0;
    }
    free(text);
}

/* Something below /local/domain changed: a target, perhaps. */
static void
on_event(struct xs_handle *xs, const char *path)
{
    unsigned domid;
    int end = 0;

    if (sscanf(path, DOMAINS_PATH "/%u/memory/target%n", &domid, &end) == 1 &&
        end && !path[end] && domid < FAKEHV_DOMAINS)
        read_target(xs, domid);
}

static void
take_events(struct xs_handle *xs, int timeout_ms)
{
    struct pollfd fd = { .fd = xs_fileno(xs), .events = POLLIN };
    char **event;

    poll(&fd, 1, timeout_ms);
    while ((event = xs_check_watch(xs))) {
        on_event(xs, event[XS_WATCH_PATH]);
        free(event);
    }
}

static bool
runs(const struct fakehv_domain *domain)
{
    return domain->present &&
           !(domain->flags &
             (XEN_DOMINF_paused | XEN_DOMINF_shutdown | XEN_DOMINF_dying));
}

/* Its target may have been written before it came. */
static void
greet(struct xs_handle *xs, uint32_t domid, uint8_t uuid)
{
    char path[64];

    guests[domid].seen = true;
    guests[domid].uuid = uuid;
    read_target(xs, domid);
    if (!options.feature)
        return;
    snprintf(path, sizeof(path), DOMAINS_PATH "/%u/control/feature-balloon",
             domid);
    xs_write(xs, XBT_NULL, path, "1", 1);
}

/* Moves one guest; true if it is new, and is to be greeted without the lock. */
static bool
move_guest(struct fakehv *hv, uint32_t domid, const struct step *step)
{
    struct fakehv_domain *domain = &hv->domains[domid];
    struct guest *guest = &guests[domid];

    if (!runs(domain)) {
        guest->seen = guest->seen && domain->present;
        return false;
    }
    domain->cpu_time += step->cpu_ns;
    if (!guest->seen || guest->uuid != domain->handle[0])
        return true;
    if (guest->known && !guest->stuck)
        fakehv_balloon(hv, domid, guest->target_pages, step->pages);
    return false;
}

static void
tick(struct fakehv *hv, struct xs_handle *xs, const struct step *step)
{
    static uint32_t fresh[FAKEHV_DOMAINS];
    static uint8_t uuids[FAKEHV_DOMAINS];
    uint32_t count = 0;

    fakehv_lock(hv);
    for (uint32_t domid = 1; domid < hv->end; domid++) {
        if (move_guest(hv, domid, step)) {
            uuids[count] = hv->domains[domid].handle[0];
            fresh[count++] = domid;
        }
    }
    fakehv_unlock(hv);
    for (uint32_t i = 0; i < count; i++)
        greet(xs, fresh[i], uuids[i]);
}

static bool
read_options(int argc, char **argv)
{
    int option;

    options.host = getenv(FAKEHV_ENV);
    while ((option = getopt(argc, argv, "r:o:fs:")) != -1) {
        switch (option) {
        case 'r':
            options.rate_mib_s = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            options.offset_kib = strtoll(optarg, NULL, 10);
            break;
        case 'f':
            options.feature = true;
            break;
        case 's':
            guests[strtoul(optarg, NULL, 10) % FAKEHV_DOMAINS].stuck = true;
            break;
        default:
            return false;
        }
    }
    if (optind < argc)
        options.host = argv[optind];
    return options.host != NULL;
}

int
main(int argc, char **argv)
{
    struct fakehv *hv;
    struct xs_handle *xs;
    struct step step;
    int64_t start_us, before_us, at_us;

    if (!read_options(argc, argv)) {
        fprintf(stderr, "usage: fakeguests [-r MIB_PER_S] [-o OFFSET_KIB] [-f] "
                        "[-s DOMID]... [HOST]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    hv = fakehv_map(options.host);
    xs = xs_open(0);
    if (!hv || !xs || !xs_watch(xs, DOMAINS_PATH, "targets")) {
        fprintf(stderr, "fakeguests: %s: %s\n", hv ? "xenstore" : options.host,
                strerror(errno));
        return 1;
    }
    start_us = now_us();
    for (before_us = 0;; before_us = at_us) {
        take_events(xs, TICK_MS);
        at_us = now_us() - start_us;
        step.pages = pages_by(at_us) - pages_by(before_us);
        step.cpu_ns = (uint64_t)(at_us - before_us) * 1000;
        tick(hv, xs, &step);
    }
}
