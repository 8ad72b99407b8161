/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole daemon, as it is installed: over the real libxenctrl, whose
 * hypercalls are faked, and a real xenstored.  It goes through one story, and
 * something goes wrong at each of its operations in turn: squeezed is killed,
 * a hypercall or a request to xenstored fails, or the connection is lost.  The
 * story has to come to the same end each time, and the promises to hold all the
 * way; the test knows from outside what was promised to whom.
 *
 * FAULTS_ALL in the environment: every error at every operation; FAULTS_LOG:
 * squeezed's log of the first run that fails in each worker. */
#include "tests/fakexen/rig.h"
#include "tests/suite.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <xenstore.h>

enum {
    BIG_KIB = 900 * KIB_PER_MIB,   /* the first reservation */
    SMALL_KIB = 100 * KIB_PER_MIB, /* the second */
    LOWERED_KIB = 512 * KIB_PER_MIB,
    NEWCOMER = RIG_GUESTS + 1,
    REST_MS = 4000,  /* by when all is at rest */
    RETRY_MS = 5000, /* by when a call that failed is to succeed */
    PROMISES = 8,
    FAULTS_MAX = 2000
};

#define CLIENT "story"

/* What squeezed has promised us and we have not given back. */
struct promise {
    char id[64];
    uint64_t kib;
    uint32_t domid; /* 0: it is not transferred */
};

static struct story {
    struct rig rig;
    struct promise promises[PROMISES];
    size_t count;
    uint64_t max_kib[RIG_GUESTS + 1]; /* of the ranges, by domid */
    bool built;                       /* the newcomer runs */
    bool exact;                       /* nothing goes wrong: to the page */
    unsigned deaths;
    unsigned orphans;   /* granted, and killed before it was answered */
    unsigned refusals;  /* calls that failed, and were made again */
    int64_t reserve_us; /* how long the big one took */
    const char *step;
    char wrong[400]; /* empty: nothing */
} story;

static bool __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
    va_list args;
    int n = snprintf(story.wrong, sizeof(story.wrong), "%s: ", story.step);

    va_start(args, format);
    vsnprintf(story.wrong + n, sizeof(story.wrong) - (size_t)n, format, args);
    va_end(args);
    return false;
}

/* ----------------------------------------------------------- the promises */

static uint64_t
promised_to(uint32_t domid)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < story.count; i++)
        if (story.promises[i].domid == domid)
            sum += story.promises[i].kib;
    return sum;
}

/* Headroom, by our own sums, from the hypervisor's side: what is free, less
 * what the guests may take and what was promised. */
static int64_t
true_headroom(void)
{
    struct fakehv *hv = story.rig.hv;
    int64_t kib = -(int64_t)RIG_RESERVE_KIB - (int64_t)promised_to(0);

    fakehv_lock(hv);
    kib += (int64_t)(hv->free_pages * KIB_PER_PAGE);
    for (uint32_t i = 1; i < hv->end; i++) {
        const struct fakehv_domain *d = &hv->domains[i];
        uint64_t may = max_u64(d->tot_pages, d->max_pages) * KIB_PER_PAGE;

        if (!d->present)
            continue;
        if (i == NEWCOMER && !story.built)
            may = max_u64(may, promised_to(i));
        kib -= (int64_t)(may - d->tot_pages * KIB_PER_PAGE);
    }
    fakehv_unlock(hv);
    return kib;
}

static bool
check_theft(void)
{
    int64_t kib = true_headroom();

    return kib >= 0 || wrong("headroom of %" PRId64 " KiB", kib);
}

static const struct promise *
find_promise(const char *id)
{
    for (size_t i = 0; i < story.count; i++)
        if (!strcmp(story.promises[i].id, id))
            return &story.promises[i];
    return NULL;
}

static bool
check_sums(const json_t *status)
{
    const json_t *h = json_object_get(status, "host");
    int64_t there = rig_number(h, "free_kib") + rig_number(h, "scrub_kib");
    int64_t parts =
        rig_number(h, "host_reserve_kib") + rig_number(h, "cushion_kib") +
        rig_number(h, "reserved_kib") + rig_number(h, "growth_allowed_kib") +
        rig_number(h, "promised_kib") + rig_number(h, "headroom_kib");
    int64_t all =
        there + rig_number(h, "domains_kib") + rig_number(h, "xen_kib");

    if (there != parts)
        return wrong("free and scrub are %" PRId64 ", their parts %" PRId64
                     " KiB",
                     there, parts);
    return all == rig_number(h, "total_kib") ||
           wrong("the parts of the host add up to %" PRId64 " KiB", all);
}

/* Each promise is there, once, with its amount.  Whatever else there is was
 * never answered: *ret_other, if that isn't NULL, is one of them. */
static bool
check_reservations(const json_t *status, char ret_other[64])
{
    const json_t *list = json_object_get(status, "reservations");
    size_t seen = 0, others = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *id =
            json_string_value(json_object_get(entry, "reservation"));
        const struct promise *promise = find_promise(id);

        if (!promise) {
            others++;
            if (ret_other)
                snprintf(ret_other, 64, "%s", id);
            continue;
        }
        seen++;
        if ((uint64_t)rig_number(entry, "amount_kib") != promise->kib)
            return wrong("%s has another amount", id);
        if (promise->domid &&
            (uint32_t)rig_number(entry, "in_transfer") != promise->domid)
            return wrong("%s is not domain %u's", id, promise->domid);
    }
    if (seen != story.count)
        return wrong("%zu of %zu reservations are there", seen, story.count);
    if (others > (ret_other ? 1 : 0))
        return wrong("%zu reservations that nobody knows", others);
    return true;
}

/* Right after a start: what was answered before counts again. */
static bool
check_after_death(void)
{
    json_t *status = rig_status(&story.rig);
    char other[64] = "";
    bool good;

    if (!status)
        return wrong("dead again");
    good = check_sums(status) && check_reservations(status, other) &&
           check_theft();
    json_decref(status);
    if (!good || !other[0])
        return good;
    /* We never got its id: it is nobody's, and would be for ever. */
    story.orphans++;
    json_decref(
        rig_call(&story.rig, "release", "\"reservation\": \"%s\"", other));
    return true;
}

/* Death may have come: starts it again and looks that all is well. */
static bool
revive(void)
{
    if (!rig_died(&story.rig))
        return true;
    story.deaths++;
    if (!check_theft())
        return false;
    rig_run(&story.rig);
    rig_ready(&story.rig);
    return check_after_death();
}

/* --------------------------------------------------------------- at rest */

/* What is stored is what was promised. */
static bool
check_store(void)
{
    struct xs_handle *xs = story.rig.store.xs;
    unsigned count = 0;
    char **ids = xs_directory(xs, XBT_NULL, "/squeezed/state/" CLIENT, &count);
    bool good = true;

    for (unsigned i = 0; i < count && good; i++) {
        const struct promise *p = find_promise(ids[i]);
        const char *in_transfer =
            store_read(&story.rig.store,
                       "/squeezed/state/" CLIENT "/%s/in-transfer", ids[i]);

        if (!p)
            good = wrong("%s is stored, and nobody's", ids[i]);
        else if (strtoul(in_transfer, NULL, 10) != p->domid)
            good = wrong("%s is stored as domain '%s's", ids[i], in_transfer);
    }
    free(ids);
    if (good && count != story.count)
        return wrong("%u of %zu reservations are stored", count, story.count);
    return good;
}

static uint64_t
share_ppm(uint32_t domid, uint64_t target_kib)
{
    return (target_kib - RIG_MIN_KIB) * 1000000 /
           (story.max_kib[domid] - RIG_MIN_KIB);
}

/* The guest is where it should be: in its range, all three numbers the same,
 * and the same share as guest 1. */
static bool
check_guest(const json_t *status, uint32_t domid)
{
    const json_t *domain = rig_domain(status, domid);
    const json_t *first = rig_domain(status, 1);
    uint64_t slack_kib = story.exact ? 0 : RIG_TOLERANCE_KIB;
    uint64_t target, stored, limit, actual, share, other;

    if (!domain || !first)
        return wrong("domain %u is not there", domid);
    target = (uint64_t)rig_number(domain, "target_kib");
    limit = (uint64_t)rig_number(domain, "limit_kib");
    actual = (uint64_t)rig_number(domain, "actual_kib");
    stored = rig_read_memory(&story.rig, domid, "target");
    if (target < RIG_MIN_KIB || target > story.max_kib[domid])
        return wrong("target %" PRIu64 " of %u is out of range", target, domid);
    if (stored != target)
        return wrong("target of %u is %" PRIu64 ", stored %" PRIu64, domid,
                     target, stored);
    if (limit > target + slack_kib || limit + slack_kib < target)
        return wrong("target of %u is %" PRIu64 ", limit %" PRIu64, domid,
                     target, limit);
    if (actual > target + slack_kib || actual + slack_kib < target)
        return wrong("target of %u is %" PRIu64 ", it holds %" PRIu64, domid,
                     target, actual);
    share = share_ppm(domid, target);
    other = share_ppm(1, (uint64_t)rig_number(first, "target_kib"));
    slack_kib = story.exact ? KIB_PER_PAGE : 2 * RIG_TOLERANCE_KIB;
    slack_kib = slack_kib * 1000000 / (LOWERED_KIB - RIG_MIN_KIB) + 1;
    return (share <= other + slack_kib && other <= share + slack_kib) ||
           wrong("shares of 1 and %u: %" PRIu64 " and %" PRIu64 " ppm", domid,
                 other, share);
}

static bool
check_waste(const json_t *status)
{
    int64_t headroom = rig_number(status, "host.headroom_kib");
    bool full = true;

    for (uint32_t i = 1; i <= RIG_GUESTS; i++)
        full &= (uint64_t)rig_number(rig_domain(status, i), "target_kib") ==
                story.max_kib[i];
    if (headroom < 0 || (headroom >= RIG_TOLERANCE_KIB && !full))
        return wrong("headroom of %" PRId64 " KiB at rest", headroom);
    return true;
}

static bool
check_rest(const json_t *status)
{
    bool good = check_sums(status) && check_reservations(status, NULL) &&
                check_theft() && check_store() && check_waste(status);

    for (uint32_t i = 1; i <= RIG_GUESTS && good; i++)
        good = check_guest(status, i);
    return good;
}

/* A call to balance makes it look at once, which it would do after 100 ms by
 * itself: there are a thousand runs. */
static void
poke(void)
{
    int fd = story.exact ? -1 : rig_send(&story.rig, "balance", "%s", "");

    if (fd >= 0)
        close(fd);
}

/* Waits until all is at rest, and as it should be. */
static bool
comes_to_rest(void)
{
    int64_t end_us = rig_now_us() + (int64_t)REST_MS * US_PER_MS;
    bool good = false;

    while (!good && rig_now_us() < end_us) {
        json_t *status;

        if (!revive() || !check_theft())
            return false;
        status = rig_status(&story.rig);
        good = status && check_rest(status);
        json_decref(status);
        if (good)
            break;
        rig_sleep_ms(5);
        poke();
    }
    if (good)
        story.wrong[0] = '\0';
    else if (!story.wrong[0])
        return wrong("no status");
    return good;
}

/* -------------------------------------------------------------- the steps */

/* Until it is answered well.  A refusal says that nothing has changed; a death
 * says nothing: done says whether it has happened after all (NULL: making the
 * call again does no harm). */
static json_t *
insist(const char *method, const char *params, bool (*done)(void))
{
    int64_t end_us = rig_now_us() + (int64_t)RETRY_MS * US_PER_MS;
    json_t *answer;

    for (;;) {
        if (!revive() || !check_theft())
            return NULL;
        if (done && done())
            return json_object();
        answer = rig_call(&story.rig, method, "%s", params);
        if (json_object_get(answer, "result"))
            return answer;
        if (rig_now_us() > end_us) {
            wrong("%s", answer
                            ? json_string_value(json_object_get(
                                  json_object_get(answer, "error"), "message"))
                            : "no answer");
            json_decref(answer);
            return NULL;
        }
        story.refusals += answer != NULL;
        json_decref(answer);
        rig_sleep_ms(2);
    }
}

static bool
insist_done(const char *method, const char *params, bool (*done)(void))
{
    json_t *answer = insist(method, params, done);

    json_decref(answer);
    return answer != NULL;
}

static bool
reserve(uint64_t kib)
{
    struct promise *p = &story.promises[story.count];
    char params[100];
    json_t *answer;

    snprintf(params, sizeof(params),
             "\"client\": \"" CLIENT "\", \"min\": %" PRIu64, kib);
    answer = insist("reserve", params, NULL);
    if (!answer)
        return false;
    snprintf(p->id, sizeof(p->id), "%s",
             json_string_value(json_object_get(
                 json_object_get(answer, "result"), "reservation")));
    p->kib = (uint64_t)rig_number(answer, "result.amount_kib");
    p->domid = 0;
    story.count++;
    json_decref(answer);
    if (p->kib != kib)
        return wrong("%" PRIu64 " KiB for %" PRIu64, p->kib, kib);
    return check_theft();
}

static bool
last_is_gone(void)
{
    json_t *status = rig_status(&story.rig);
    json_t *list = json_object_get(status, "reservations");
    bool gone = status != NULL;

    for (size_t i = 0; i < json_array_size(list); i++)
        gone &= strcmp(json_string_value(json_object_get(
                           json_array_get(list, i), "reservation")),
                       story.promises[story.count].id) != 0;
    json_decref(status);
    return gone;
}

/* From the call on it isn't ours any more. */
static bool
release(void)
{
    char params[120];

    story.count--;
    snprintf(params, sizeof(params), "\"reservation\": \"%s\"",
             story.promises[story.count].id);
    /* While nobody knows whether it is gone, it may be there. */
    for (;;) {
        json_t *answer;

        if (rig_died(&story.rig)) {
            story.deaths++;
            rig_run(&story.rig);
            rig_ready(&story.rig);
        }
        answer = rig_call(&story.rig, "release", "%s", params);
        if (json_object_get(answer, "result") || last_is_gone()) {
            json_decref(answer);
            return true;
        }
        json_decref(answer);
        rig_sleep_ms(2);
    }
}

static bool
step_reserve(void)
{
    int64_t start_us = rig_now_us();
    bool good = reserve(BIG_KIB);

    story.reserve_us = rig_now_us() - start_us;
    return good && comes_to_rest();
}

static bool
step_transfer(void)
{
    char params[140];

    rig_create(&story.rig, NEWCOMER);
    snprintf(params, sizeof(params), "\"reservation\": \"%s\", \"domid\": %d",
             story.promises[0].id, NEWCOMER);
    if (!insist_done("transfer", params, NULL))
        return false;
    story.promises[0].domid = NEWCOMER;
    return comes_to_rest();
}

/* The builder takes what was promised, half and half. */
static bool
step_build(void)
{
    struct fakehv_domain *domain = &story.rig.hv->domains[NEWCOMER];

    fakehv_lock(story.rig.hv);
    domain->max_pages = BIG_KIB / KIB_PER_PAGE;
    fakehv_balloon(story.rig.hv, NEWCOMER, domain->max_pages,
                   domain->max_pages / 2);
    fakehv_unlock(story.rig.hv);
    if (!check_theft() || !comes_to_rest())
        return false;
    rig_build(&story.rig, NEWCOMER, BIG_KIB);
    story.built = true;
    if (story.rig.hv->domains[NEWCOMER].tot_pages != BIG_KIB / KIB_PER_PAGE)
        return wrong("what was promised was not there");
    return comes_to_rest();
}

static bool
step_range(void)
{
    char params[140];

    snprintf(params, sizeof(params),
             "\"domid\": 1, \"dynamic_min\": %d, \"dynamic_max\": %d",
             RIG_MIN_KIB, LOWERED_KIB);
    if (!insist_done("set_range", params, NULL))
        return false;
    story.max_kib[1] = LOWERED_KIB;
    return comes_to_rest();
}

static bool
step_second(void)
{
    return reserve(SMALL_KIB) && comes_to_rest() && release() &&
           comes_to_rest();
}

/* Its reservation goes with it. */
static bool
step_destroy(void)
{
    rig_destroy(&story.rig, NEWCOMER);
    story.count = 0;
    story.built = false;
    return comes_to_rest();
}

static const struct {
    const char *name;
    bool (*run)(void);
} steps[] = {
    { "start", comes_to_rest },    { "reserve", step_reserve },
    { "transfer", step_transfer }, { "build", step_build },
    { "range", step_range },       { "reserve again", step_second },
    { "destroy", step_destroy },
};

/* The host is as at first; the fault is to be set after this. */
static void
begin(void)
{
    struct rig rig = story.rig;

    story = (struct story){ .rig = rig, .step = "begin" };
    for (uint32_t i = 1; i <= RIG_GUESTS; i++)
        story.max_kib[i] = RIG_MAX_KIB;
    rig_reset(&story.rig);
}

/* False: story.wrong says why. */
static bool
tell(void)
{
    rig_run(&story.rig);
    rig_ready(&story.rig);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        story.step = steps[i].name;
        if (!steps[i].run())
            return false;
    }
    for (uint32_t i = 1; i <= RIG_GUESTS; i++)
        if (rig_read_memory(&story.rig, i, "target") != story.max_kib[i])
            return wrong("%u did not get all back", i);
    return true;
}

static uint64_t
hypercalls(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < FAKEHV_CALLS; i++)
        sum += story.rig.hv->calls[i];
    return sum;
}

/* ------------------------------------------------------------- the faults */

/* Runs wait most of the time: some go at once, each with a host of its own. */
enum { WORKERS = 8 };

static struct tally {
    unsigned runs, failures, faults, orphans, refusals;
} * tallies; /* shared with the workers */

struct sweep {
    const char *name;
    void (*set)(unsigned i, uint64_t n); /* the fault, at operation n */
    unsigned i;
    bool (*came)(void);
};

static void
note_run(const struct sweep *sweep, struct tally *tally, uint64_t n, bool good)
{
    tally->runs++;
    tally->orphans += story.orphans;
    tally->refusals += story.refusals;
    tally->faults += sweep->came();
    if (good)
        return;
    if (tally->failures++ == 0 && getenv("FAULTS_LOG"))
        rig_print_log(&story.rig);
    fprintf(stderr, "%s %" PRIu64 " (%s): %s\n", sweep->name, n,
            (char *)(uintptr_t)story.rig.proxy.plan->what, story.wrong);
}

/* Until the story ends before the fault comes. */
static void
work(const struct sweep *sweep, unsigned worker)
{
    struct tally *tally = &tallies[worker];

    rig_start(&story.rig);
    for (uint64_t n = worker + 1; n < FAULTS_MAX; n += WORKERS) {
        bool good;

        begin();
        sweep->set(sweep->i, n);
        good = tell();
        note_run(sweep, tally, n, good);
        if ((good && !sweep->came()) || tally->failures > 5)
            break;
    }
    rig_stop(&story.rig);
}

static pid_t
start_worker(const struct sweep *sweep, unsigned worker)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work(sweep, worker);
    _exit(0);
}

static void
run_sweep(const struct sweep *sweep)
{
    int64_t start_us = rig_now_us();
    struct tally sum = { 0 };
    pid_t pids[WORKERS];
    int status = 0, failed = 0;

    tallies = mmap(NULL, sizeof(*tallies) * WORKERS, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(tallies != MAP_FAILED);
    for (unsigned i = 0; i < WORKERS; i++)
        pids[i] = start_worker(sweep, i);
    for (unsigned i = 0; i < WORKERS; i++) {
        waitpid(pids[i], &status, 0);
        failed |= status;
        sum.runs += tallies[i].runs;
        sum.failures += tallies[i].failures;
        sum.faults += tallies[i].faults;
        sum.orphans += tallies[i].orphans;
        sum.refusals += tallies[i].refusals;
    }
    printf("%s: %u of %u runs with the fault, %u failed; %u reservations that "
           "nobody was told of, %u calls refused; %.1f s\n",
           sweep->name, sum.faults, sum.runs, sum.failures, sum.orphans,
           sum.refusals, (double)(rig_now_us() - start_us) / US_PER_S);
    ck_assert_int_eq(failed, 0);
    ck_assert_uint_eq(sum.failures, 0);
    ck_assert_uint_gt(sum.faults, 50);
    ck_assert_uint_lt(sum.faults, FAULTS_MAX - WORKERS);
}

static void
set_up_story(void)
{
    story.rig.proxied = true;
    story.rig.rate_mib_s = 16384;
}

START_TEST(nothing_goes_wrong)
{
    rig_start(&story.rig);
    begin();
    story.exact = true;
    ck_assert_msg(tell(), "%s", story.wrong);
    ck_assert_uint_eq(story.deaths, 0);
    printf("the story: %" PRIu64 " hypercalls, %" PRIu64
           " requests, %u lines of log, big reservation in %.1f ms\n",
           hypercalls(), story.rig.proxy.plan->requests,
           rig_log_lines(&story.rig, NULL), (double)story.reserve_us / 1000);
    ck_assert_uint_eq(rig_log_lines(&story.rig, "warning"), 0);
    ck_assert_uint_eq(rig_log_lines(&story.rig, "error"), 0);
    rig_stop(&story.rig);
}
END_TEST

static void
set_death(unsigned i, uint64_t n)
{
    (void)i;
    story.rig.hv->die_in = n;
}

static bool
has_died(void)
{
    return story.deaths > 0;
}

START_TEST(killed_after_each_hypercall)
{
    const struct sweep sweep = { "killed after each hypercall", set_death, 0,
                                 has_died };

    run_sweep(&sweep);
}
END_TEST

/* Errors that Xen gives, and what a program without rights gets: in turn, and
 * each sweep begins with another one. */
static const int hypercall_errors[] = { ESRCH,  EPERM,  EBUSY,
                                        ENOMEM, EINVAL, EFAULT };

static void
set_hypercall_error(unsigned i, uint64_t n)
{
    story.rig.hv->fail_in = n;
    story.rig.hv->fail_errno = hypercall_errors[(n + i) % 6];
}

static bool
hypercall_failed(void)
{
    return story.rig.hv->fail_in == 0;
}

START_TEST(each_hypercall_fails)
{
    const struct sweep sweep = { "each hypercall fails", set_hypercall_error,
                                 (unsigned)_i, hypercall_failed };

    run_sweep(&sweep);
}
END_TEST

static const struct {
    enum proxy_fault fault;
    const char *error;
    const char *name;
} request_faults[] = {
    { PROXY_KILL_BEFORE, "", "killed before each request" },
    { PROXY_KILL_AFTER, "", "killed after each request" },
    { PROXY_CUT_BEFORE, "", "connection lost before each request" },
    { PROXY_CUT_AFTER, "", "connection lost after each request" },
    { PROXY_FAIL, "EAGAIN", "each request fails: EAGAIN" },
    { PROXY_FAIL, "ENOENT", "each request fails: ENOENT" },
    { PROXY_FAIL, "EIO", "each request fails: EIO" },
    { PROXY_FAIL, "ENOSPC", "each request fails: ENOSPC" }, /* a quota */
    { PROXY_FAIL, "E2BIG", "each request fails: E2BIG" },
    { PROXY_FAIL, "EACCES", "each request fails: EACCES" },
};

/* How many of the sweeps are made.  The rest takes the same ways through
 * squeezed; so do errors, whatever xenstored it is. */
enum {
    FEW_HYPERCALL_SWEEPS = 2,
    HYPERCALL_SWEEPS = 6,
    FEW_REQUEST_SWEEPS = 4,
    MANY_REQUEST_SWEEPS = 8,
};

static void
set_request_fault(unsigned i, uint64_t n)
{
    volatile struct proxy_plan *plan = story.rig.proxy.plan;

    plan->fault = request_faults[i].fault;
    snprintf((char *)(uintptr_t)plan->error, sizeof(plan->error), "%s",
             request_faults[i].error);
    plan->at = n;
}

static bool
request_had_fault(void)
{
    return story.rig.proxy.plan->done;
}

START_TEST(each_request_has_a_fault)
{
    const struct sweep sweep = { request_faults[_i].name, set_request_fault,
                                 (unsigned)_i, request_had_fault };

    run_sweep(&sweep);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

int
main(void)
{
    Suite *suite = suite_create("faults");
    const char *kind = getenv("XENSTORED_KIND");
    bool few = kind && !strcmp(kind, "ocaml"), all = getenv("FAULTS_ALL");
    TCase *calm = tcase_create("calm"),
          *hypervisor = tcase_create("hypervisor"),
          *requests = tcase_create("requests");

    if (!store_possible())
        return 77;
    setvbuf(stdout, NULL, _IOLBF, 0);
    tcase_add_test(calm, nothing_goes_wrong);
    tcase_add_test(hypervisor, killed_after_each_hypercall);
    tcase_add_loop_test(hypervisor, each_hypercall_fails, 0,
                        all   ? HYPERCALL_SWEEPS
                        : few ? 0
                              : FEW_HYPERCALL_SWEEPS);
    tcase_add_loop_test(requests, each_request_has_a_fault, 0,
                        all   ? COUNT(request_faults)
                        : few ? FEW_REQUEST_SWEEPS
                              : MANY_REQUEST_SWEEPS);
    for (int i = 0; i < 3; i++) {
        TCase *tcase = (TCase *[]){ calm, hypervisor, requests }[i];

        tcase_set_timeout(tcase, 600);
        tcase_add_checked_fixture(tcase, set_up_story, NULL);
        suite_add_tcase(suite, tcase);
    }
    return run_suite(suite, CK_FORK_GETENV);
}
