/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole daemon beside a guest that means ill: it writes thousands of keys a
 * second wherever a guest (or a careless toolstack) can write.  The others are
 * served all the same, nothing fills the log, and what it costs has a bound.
 *
 * Other programs are running too, so each request beside the attack is followed
 * by one while the attacker is stopped, and medians of many are compared; the
 * processor's time is squeezed's own. */
#include "tests/fakexen/rig.h"
#include "tests/suite.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <xenstore.h>

enum {
    HOSTILE = RIG_GUESTS, /* the guest */
    BURST = 8,            /* writes, then 1 ms of rest */
    SAMPLES = 31,
    GRAIN_US = 200,   /* what is shorter is the machine's */
    BIG_BYTES = 4000, /* with its path as much as xenstore takes */
    SAMPLE_KIB = 96 * KIB_PER_MIB,
    CPU_PERCENT_MAX = 30,
    LINES_MAX = 20
};

static struct rig rig;
static uint64_t rest_kib; /* free while nobody asks for anything */
/* Shared with the hostile guest.  It stops itself, between two requests: a
 * process that is stopped in the middle of one holds the C xenstored up, which
 * waits for the rest (that of a guest comes through a ring, where it doesn't).
 */
static struct shared {
    atomic_uint_fast64_t written;
    atomic_bool wanted, resting;
} * shared;

/* ---------------------------------------------------------- the attackers */

/* Keys that it writes in turn, and what. */
enum filling { FILL_ZERO_ONE, FILL_NUMBERS, FILL_BYTES, FILL_BIG };

static const struct attack {
    const char *name;
    const char *leaves[4];
    enum filling filling;
} attacks[] = {
    { "data", { "data/a", "data/updated", "data/b/c" }, FILL_BIG },
    { "memory/meminfo", { "memory/meminfo" }, FILL_NUMBERS },
    { "new keys in memory", { "memory/" }, FILL_BIG },
    { "feature-balloon", { "control/feature-balloon" }, FILL_ZERO_ONE },
    { "below its keys",
      { "control/feature-poweroff/x", "control/feature-balloon/x/y" },
      FILL_BIG },
    { "any bytes in control",
      { "control/feature-balloon", "control/feature-poweroff",
        "control/shutdown" },
      FILL_BYTES },
    { "all of it",
      { "control/feature-balloon", "memory/meminfo", "data/updated",
        "memory/" },
      FILL_BYTES },
};

static size_t
fill(enum filling filling, unsigned n, char value[BIG_BYTES])
{
    switch (filling) {
    case FILL_ZERO_ONE:
        value[0] = n % 2 ? '1' : '0';
        return 1;
    case FILL_NUMBERS:
        return (size_t)sprintf(value, "%u", n * 4096);
    case FILL_BYTES:
        for (unsigned i = 0; i < n % 200; i++)
            value[i] = (char)(n * 7 + i * 31);
        return n % 200;
    case FILL_BIG:
        memset(value, (int)(n % 256), BIG_BYTES / 2);
        return BIG_BYTES / 2;
    }
    return 0;
}

/* As long as nobody wants the attack. */
static void
rest(void)
{
    while (!shared->wanted) {
        shared->resting = true;
        rig_sleep_ms(1);
    }
    shared->resting = false;
}

static void
let_attack(bool wanted)
{
    shared->wanted = wanted;
    while (shared->resting == wanted)
        rig_sleep_ms(1);
}

static void __attribute__((noreturn)) attack(const struct attack *what)
{
    struct xs_handle *xs = xs_open(0);
    char path[100], value[BIG_BYTES];
    size_t leaves = 1;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (leaves < 4 && what->leaves[leaves])
        leaves++;
    for (unsigned n = 0;; n++) {
        size_t length;

        rest();
        length = fill(what->filling, n, value);

        /* A folder: many keys in it. */
        snprintf(path, sizeof(path), "/local/domain/%d/%s", HOSTILE,
                 what->leaves[n % leaves]);
        if (path[strlen(path) - 1] == '/')
            sprintf(path + strlen(path), "%u", n % 50);
        xs_write(xs, XBT_NULL, path, value, (unsigned)length);
        shared->written++;
        if (n % BURST == 0)
            rig_sleep_ms(1);
    }
}

/* --------------------------------------------------------- what is measured */

/* What the others ask for, again and again. */
enum kind {
    KIND_SQUEEZE, /* a reservation that the guests have to give */
    KIND_GRANT,   /* one that is free: a write of the ledger */
    KIND_STATUS,  /* nothing is written */
    KINDS
};

struct measure {
    int64_t median_us[KINDS];
    double cpu;      /* share of one processor */
    double looks_s;  /* looks at the hypervisor, a second */
    double writes_s; /* of the attacker */
    unsigned lines;
};

/* One side of a comparison, while it is measured. */
struct side {
    int64_t samples[KINDS][SAMPLES];
    int64_t us, cpu_us; /* sums */
    uint64_t looks, writes;
    unsigned lines;
};

/* User and system time of squeezed. */
static int64_t
cpu_us(void)
{
    unsigned long user = 0, system = 0;
    char path[40];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)rig.squeezed);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file,
                            "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u "
                            "%*u %*u %lu %lu",
                            &user, &system),
                     2);
    fclose(file);
    return (int64_t)(user + system) * US_PER_S / sysconf(_SC_CLK_TCK);
}

static void
release(const char *id)
{
    json_t *answer = rig_call(&rig, "release", "\"reservation\": \"%s\"", id);

    ck_assert_ptr_nonnull(json_object_get(answer, "result"));
    json_decref(answer);
}

static int64_t
reserve_us(int kib)
{
    int64_t start_us = rig_now_us(), took_us;
    json_t *answer =
        rig_call(&rig, "reserve", "\"client\": \"other\", \"min\": %d", kib);
    json_t *id =
        json_object_get(json_object_get(answer, "result"), "reservation");

    took_us = rig_now_us() - start_us;
    ck_assert_msg(id != NULL, "refused: %s", json_dumps(answer, 0));
    release(json_string_value(id));
    json_decref(answer);
    return took_us;
}

/* The next squeeze is to be one, too. */
static void
wait_until_grown(void)
{
    int64_t end_us = rig_now_us() + 100 * US_PER_MS;

    while (rig_free_kib(&rig) > rest_kib + KIB_PER_MIB && rig_now_us() < end_us)
        rig_sleep_ms(1);
}

static int64_t
sample_us(enum kind kind)
{
    int64_t took_us, start_us = rig_now_us();

    if (kind == KIND_GRANT)
        return reserve_us(4);
    if (kind == KIND_STATUS) {
        json_decref(rig_status(&rig));
        return rig_now_us() - start_us;
    }
    took_us = reserve_us(SAMPLE_KIB);
    wait_until_grown();
    return took_us;
}

static int
compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return left < right ? -1 : left > right;
}

static void
sample(struct side *side, int i)
{
    int64_t start_us = rig_now_us(), cpu = cpu_us();
    uint64_t looks = rig.hv->calls[FAKEHV_PHYSINFO], writes = shared->written;
    unsigned lines = rig_log_lines(&rig, NULL);

    for (enum kind kind = 0; kind < KINDS; kind++)
        side->samples[kind][i] = sample_us(kind);
    side->us += rig_now_us() - start_us;
    side->cpu_us += cpu_us() - cpu;
    side->looks += rig.hv->calls[FAKEHV_PHYSINFO] - looks;
    side->writes += shared->written - writes;
    side->lines += rig_log_lines(&rig, NULL) - lines;
}

static struct measure
measure_of(struct side *side)
{
    double seconds = (double)side->us / US_PER_S;
    struct measure ret = {
        .cpu = (double)side->cpu_us / (double)side->us,
        .looks_s = (double)side->looks / seconds,
        .writes_s = (double)side->writes / seconds,
        .lines = side->lines,
    };

    for (enum kind kind = 0; kind < KINDS; kind++) {
        qsort(side->samples[kind], SAMPLES, sizeof(int64_t), compare);
        ret.median_us[kind] = side->samples[kind][SAMPLES / 2];
    }
    return ret;
}

/* One sample beside the attacker, one while it is stopped. */
static void
measure(struct measure *ret_without, struct measure *ret_with)
{
    static struct side without, with;

    memset(&without, 0, sizeof(without));
    memset(&with, 0, sizeof(with));
    for (int i = 0; i < SAMPLES; i++) {
        let_attack(true);
        rig_sleep_ms(20);
        sample(&with, i);
        let_attack(false);
        rig_sleep_ms(20);
        sample(&without, i);
    }
    *ret_without = measure_of(&without);
    *ret_with = measure_of(&with);
}

static void
print(const char *name, const struct measure *m)
{
    printf("%-22s %7.0f writes/s, 96 MiB in %5.1f ms, 4 KiB in %.2f, status in "
           "%.2f; %4.1f %% of a processor, %6.0f looks/s, %u lines of log\n",
           name, m->writes_s, (double)m->median_us[KIND_SQUEEZE] / 1000,
           (double)m->median_us[KIND_GRANT] / 1000,
           (double)m->median_us[KIND_STATUS] / 1000, 100 * m->cpu, m->looks_s,
           m->lines);
}

/* -------------------------------------------------------------- the promises
 */

static void
check_sane(void)
{
    json_t *status = rig_status(&rig);

    ck_assert_ptr_nonnull(status);
    ck_assert_int_ge(rig_number(status, "host.headroom_kib"), 0);
    for (uint32_t i = 1; i <= RIG_GUESTS; i++) {
        const json_t *domain = rig_domain(status, i);

        ck_assert_int_ge(rig_number(domain, "target_kib"), RIG_MIN_KIB);
        ck_assert_int_le(rig_number(domain, "target_kib"), RIG_MAX_KIB);
    }
    json_decref(status);
}

static void
check_all_back(void)
{
    int64_t end_us = rig_now_us() + 3 * US_PER_S;
    bool all = false;

    while (!all && rig_now_us() < end_us) {
        rig_sleep_ms(10);
        all = true;
        for (uint32_t i = 1; i <= RIG_GUESTS; i++)
            all &= rig_read_memory(&rig, i, "target") == RIG_MAX_KIB;
    }
    ck_assert(all);
}

static void
set_up(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED);
    rig.balloon = "feature";
    rig_start(&rig);
    for (int i = 1; i <= RIG_GUESTS; i++)
        store_write(&rig.store, "1", "/local/domain/%d/control/feature-balloon",
                    i);
    rig_run(&rig);
    rig_ready(&rig);
    json_decref(rig_call(&rig, "balance", "%s", ""));
    rest_kib = rig_free_kib(&rig);
}

static void
tear_down(void)
{
    ck_assert(!rig_died(&rig));
    rig_stop(&rig);
}

START_TEST(a_hostile_guest)
{
    const struct attack *what = &attacks[_i];
    struct measure without, with;
    pid_t pid;

    shared->wanted = true;
    pid = fork();
    if (pid == 0)
        attack(what);
    rig_sleep_ms(100);
    measure(&without, &with);
    check_sane();
    print("(nobody)", &without);
    print(what->name, &with);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    store_write(&rig.store, "1", "/local/domain/%d/control/feature-balloon",
                HOSTILE);
    check_all_back();
    ck_assert(with.writes_s > 200);
    for (enum kind kind = 0; kind < KINDS; kind++)
        ck_assert_int_le(with.median_us[kind],
                         2 * without.median_us[kind] + GRAIN_US);
    ck_assert(with.cpu * 100 < CPU_PERCENT_MAX);
    ck_assert_uint_le(with.lines, without.lines + LINES_MAX);
}
END_TEST

/* What only domain 0 can write, as wrong as can be: 4,000 bytes where a number
 * is expected, 1,000 times a second. */
START_TEST(a_careless_toolstack)
{
    static const char *const leaves[] = { "dynamic-min",    "dynamic-max",
                                          "static-max",     "static-min",
                                          "memory-offset",  "target",
                                          "squeezed-target" };
    static char value[BIG_BYTES + 1];
    unsigned lines = rig_log_lines(&rig, NULL);
    int64_t cpu = cpu_us(), start_us = rig_now_us();
    bool oxenstored =
        getenv("XENSTORED_KIND") && !strcmp(getenv("XENSTORED_KIND"), "ocaml");

    for (unsigned n = 0; n < 1500; n++) {
        const char *leaf = leaves[n % (sizeof(leaves) / sizeof(leaves[0]))];

        memset(value, n % 3 ? '9' : 'x', BIG_BYTES);
        value[oxenstored ? 2000 : BIG_BYTES] = '\0';
        store_write(&rig.store, value, "/local/domain/%d/memory/%s", HOSTILE,
                    leaf);
        rig_sleep_ms(1);
    }
    check_sane();
    lines = rig_log_lines(&rig, NULL) - lines;
    printf("a careless toolstack: %.1f %% of a processor, %u lines of log\n",
           100.0 * (double)(cpu_us() - cpu) / (double)(rig_now_us() - start_us),
           lines);
    ck_assert_uint_le(lines, LINES_MAX);
    rig_write_memory(&rig, HOSTILE, "static-min", 0);
    rig_write_memory(&rig, HOSTILE, "static-max", RIG_MAX_KIB);
    rig_write_memory(&rig, HOSTILE, "dynamic-min", RIG_MIN_KIB);
    rig_write_memory(&rig, HOSTILE, "dynamic-max", RIG_MAX_KIB);
    check_all_back();
    sample_us(KIND_SQUEEZE);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("hostile");
    TCase *tcase = tcase_create("guest");

    if (!store_possible())
        return 77;
    setvbuf(stdout, NULL, _IOLBF, 0);
    tcase_set_timeout(tcase, 150);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, a_hostile_guest, 0,
                        (int)(sizeof(attacks) / sizeof(attacks[0])));
    tcase_add_test(tcase, a_careless_toolstack);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
