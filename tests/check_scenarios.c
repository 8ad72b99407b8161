/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scenarios of tests/scenarios/: each has to come true, in whatever order
 * things happen within an instant; no promise may be broken wherever the broker
 * is killed.  Below that, what a scenario's own keys can't expect. */
#include "common/log.h"
#include "squeezed/simulation_run.h"
#include "tests/random.h"
#include "tests/suite.h"

#include <check.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB UINT64_C(1024)
#define GIB (1024 * MIB)
#define S   INT64_C(1000000)
#define MS  INT64_C(1000)

enum {
    SEEDS = 5,
    /* With more domains than this, one seed and no restarts will do. */
    MANY_DOMAINS = 500,
    SETTINGS_MAX = 8,
    TEXT_CHARS = 65536
};

/* ------------------------------------------------------------- the folder */

static struct dirent **files;
static int file_count;

static const char *
folder(void)
{
    static char path[1000];
    const char *source = getenv("srcdir");

    snprintf(path, sizeof path, "%s/tests/scenarios", source ? source : ".");
    return path;
}

static int
is_scenario(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot && strcmp(dot, ".scenario") == 0;
}

static void
read_text(const char *name, char text[TEXT_CHARS])
{
    char path[1300];
    size_t length;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder(), name);
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: can't be opened", path);
    length = fread(text, 1, TEXT_CHARS - 1, file);
    fclose(file);
    ck_assert_uint_lt(length, TEXT_CHARS - 1);
    text[length] = '\0';
}

/* ------------------------------------------------------------------ a run */

static struct simulation_results results;
static char running[300]; /* what, for messages */

static struct scenario *
read_scenario(const char *text, const struct scenario_settings *settings)
{
    char message[600] = "";
    struct scenario *s = scenario_read_text(running, text, strlen(text),
                                            settings, message, sizeof message);

    ck_assert_msg(s != NULL, "%s", message);
    return s;
}

static void
run(const struct scenario *s, struct simulation_run_options options)
{
    simulation_results_done(&results);
    if (options.until_us == 0)
        options.until_us = -1;
    ck_assert_msg(simulation_run(s, &options, &results), "%s: not carried out",
                  running);
}

/* The promises; a restart may cost a request its answer. */
static void
assert_promises(uint64_t seed)
{
    for (size_t i = 0; i < results.violation_count; i++)
        fprintf(stderr, "%s, seed %" PRIu64 ": %.6f s: promise %d: %s\n",
                running, seed, (double)results.violations[i].t_us / 1e6,
                results.violations[i].promise, results.violations[i].text);
    ck_assert_msg(results.violation_count == 0, "%s", running);
    for (size_t i = 0; i < results.request_count; i++)
        ck_assert_msg(results.requests[i].outcome != OUTCOME_PENDING,
                      "%s: no answer", running);
}

static void
assert_good(uint64_t seed)
{
    assert_promises(seed);
    for (size_t i = 0; i < results.failure_count; i++)
        fprintf(stderr, "%s, seed %" PRIu64 ": %s\n", running, seed,
                results.failures[i]);
    ck_assert_msg(results.failure_count == 0, "%s", running);
}

/* A file with settings over it, the last of them NULL, and a hook. */
static void
run_file(const char *name, struct simulation_run_options options, ...)
{
    static char text[TEXT_CHARS];
    const char *texts[SETTINGS_MAX];
    struct scenario_settings settings = { texts, 0 };
    struct scenario *s;
    va_list args;

    snprintf(running, sizeof running, "%s", name);
    va_start(args, options);
    while (settings.count < SETTINGS_MAX &&
           (texts[settings.count] = va_arg(args, const char *)))
        settings.count++;
    va_end(args);
    read_text(name, text);
    s = read_scenario(text, &settings);
    run(s, options);
    scenario_free(s);
}

/* As many as usual, or RUNS of the environment. */
static uint64_t
runs(void)
{
    int number = random_runs(1000);

    return number > 0 ? (uint64_t)number : 1;
}

static size_t
domains_of(const struct scenario *s)
{
    size_t sum = 0;

    for (size_t i = 0; i < s->domain_count; i++)
        sum += s->domains[i].count;
    return sum;
}

START_TEST(comes_true)
{
    static char text[TEXT_CHARS];
    struct scenario *s;
    uint64_t seeds;

    snprintf(running, sizeof running, "%s", files[_i]->d_name);
    read_text(running, text);
    s = read_scenario(text, NULL);
    seeds = domains_of(s) > MANY_DOMAINS ? 1 : min_u64(SEEDS, runs());
    for (uint64_t seed = 0; seed < seeds; seed++) {
        run(s, (struct simulation_run_options){ .seed = seed });
        assert_good(seed);
    }
    scenario_free(s);
}
END_TEST

/* -------------------------------------------------------------- restarts */

/* Killed at those times, in the file's own scenario. */
static void
run_with_restart(const char *text, const char *at, uint64_t seed)
{
    static char with[TEXT_CHARS + 200];
    struct scenario *s;

    snprintf(with, sizeof with,
             "%s\n[event 4000000000]\naction = restart\nat = %s\n", text, at);
    s = read_scenario(with, NULL);
    run(s, (struct simulation_run_options){ .seed = seed });
    assert_promises(seed);
    scenario_free(s);
}

/* After each event of the run, at once and a little later; and every now and
 * then.  An even seed stores what was on its way, an odd one loses it. */
START_TEST(may_be_killed_anywhere)
{
    static char text[TEXT_CHARS];
    struct scenario *s;
    char at[100];

    snprintf(running, sizeof running, "%s", files[_i]->d_name);
    read_text(running, text);
    s = read_scenario(text, NULL);
    for (size_t i = 0; i < s->event_count && domains_of(s) <= MANY_DOMAINS;
         i++) {
        for (unsigned later_ms = 0; later_ms <= 40; later_ms += 20) {
            snprintf(at, sizeof at, "after %" PRIu32 " + %ums",
                     s->events[i].number, later_ms);
            run_with_restart(text, at, i * 3 + later_ms / 20);
            if (s->events[i].after_index != EVENT_NONE)
                continue;
            snprintf(at, sizeof at, "%" PRId64 "us",
                     s->events[i].at_us + later_ms * 5 * MS);
            run_with_restart(text, at, i * 3 + later_ms / 20);
        }
    }
    if (domains_of(s) <= MANY_DOMAINS) {
        run_with_restart(text, "1030ms\nrepeat = 50\nevery = 370ms", 0);
        run_with_restart(text, "1ms\nrepeat = 50\nevery = 777ms", 1);
    }
    scenario_free(s);
}
END_TEST

/* ------------------------------------------------------- to the last page */

static void
all_but(const char *name, uint64_t less_kib, const char *setting)
{
    char min[60], amount[60];
    uint64_t kib = 192 * GIB - less_kib;

    snprintf(min, sizeof min, "event 1.min=%" PRIu64, kib);
    snprintf(amount, sizeof amount, "event 1.expect-amount=%" PRIu64, kib);
    run_file(name, (struct simulation_run_options){ 0 }, min, amount, setting,
             "expect.domain-1-target=0", NULL);
    assert_promises(0);
}

/* Exactly all that is possible, and up to 1 MiB less: granted. */
START_TEST(all_that_is_possible)
{
    uint64_t less = (uint64_t)_i * KIB_PER_PAGE;

    all_but("table-all-that-is-possible.scenario", less, NULL);
    ck_assert_msg(results.requests[0].outcome == OUTCOME_GRANTED,
                  "%" PRIu64 " KiB less", less);
    ck_assert_uint_eq(results.requests[0].amount_kib, 192 * GIB - less);
}
END_TEST

/* With 64 guests that stop a page above their targets the last 64 pages can't
 * be had: refused, once it is seen that nobody gives more. */
START_TEST(all_but_the_inaccuracy)
{
    uint64_t less = (uint64_t)_i * KIB_PER_PAGE;
    const struct simulated_request *r;

    all_but("table-all-that-is-possible.scenario", less,
            "domain 1.inaccuracy=4K");
    r = &results.requests[0];
    if (less >= 64 * KIB_PER_PAGE) {
        ck_assert_msg(r->outcome == OUTCOME_GRANTED, "%" PRIu64 " KiB less",
                      less);
        return;
    }
    ck_assert_msg(r->outcome == OUTCOME_REFUSED, "%" PRIu64 " KiB less", less);
    ck_assert_int_eq(r->error, ERR_UNCOOPERATIVE);
    ck_assert_uint_eq(r->domid_count, 64);
    /* The last page is there after 3 s; 100 ms later they are known to rest,
     * and once more if a part of them was not asked for all at first. */
    ck_assert_int_le(r->answered_us, 3250 * MS);
}
END_TEST

/* ----------------------------------------------------------- target writes */

enum { WATCHED = 64 };

/* The writes of the first domids, and how near they came to each other. */
struct watch {
    uint64_t writes[WATCHED + 1];
    int64_t last_us[WATCHED + 1];
    int64_t shortest_us; /* between two of domain 1 */
    int64_t give_back_us;
    uint64_t least_target_kib; /* of those above 40, from give_back_us on */
};

static void
watch_writes(void *context, const struct simulation_now *now)
{
    struct watch *w = context;
    size_t count;
    const struct sim_domain *d = sim_domains(now->sim, &count);

    for (size_t i = 0; i < count; i++) {
        uint32_t domid = d[i].domid;

        if (domid > WATCHED || d[i].target_writes == w->writes[domid])
            continue;
        if (domid == 1 && w->writes[1] > 0)
            w->shortest_us = min_i64(w->shortest_us, now->t_us - w->last_us[1]);
        w->writes[domid] = d[i].target_writes;
        w->last_us[domid] = now->t_us;
    }
    for (size_t i = 40; i < count && now->t_us >= w->give_back_us; i++)
        w->least_target_kib = min_u64(w->least_target_kib, d[i].target_kib);
}

static struct watch
watch_file(const char *name, int64_t give_back_us)
{
    struct watch w = { .shortest_us = INT64_MAX,
                       .give_back_us = give_back_us,
                       .least_target_kib = UINT64_MAX };

    run_file(name,
             (struct simulation_run_options){ .changed = watch_writes,
                                              .context = &w },
             NULL);
    assert_good(0);
    return w;
}

START_TEST(a_swap_takes_a_dozen_writes)
{
    struct watch w = watch_file("table-swap.scenario", INT64_MAX);

    for (uint32_t domid = 1; domid <= WATCHED; domid++)
        ck_assert_uint_le(w.writes[domid], domid <= 32 ? 12 : 1);
}
END_TEST

START_TEST(what_is_impossible_is_not_tried)
{
    static const char *const names[] = { "table-impossible-193g.scenario",
                                         "table-impossible-1000g.scenario" };

    for (size_t i = 0; i < 2; i++) {
        run_file(names[i], (struct simulation_run_options){ 0 }, NULL);
        ck_assert_uint_eq(results.target_writes, 0);
    }
}
END_TEST

/* "At most 1 target write a second per such guest." */
START_TEST(misbehaving_guests_are_not_pestered)
{
    static const char *const names[] = {
        "table-stuck-then-awake.scenario",
        "table-flapping.scenario",
        "table-dripping.scenario",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct watch w = watch_file(names[i], INT64_MAX);

        ck_assert_msg(w.shortest_us >= 1 * S, "%s: two within %.3f s", names[i],
                      (double)w.shortest_us / 1e6);
    }
}
END_TEST

START_TEST(a_refusal_names_who_owes)
{
    struct watch w;
    const struct simulated_request *r;

    run_file("table-refusal.scenario", (struct simulation_run_options){ 0 },
             NULL);
    r = &results.requests[0];
    ck_assert_uint_eq(r->domid_count, 40);
    for (uint32_t i = 0; i < 40; i++)
        ck_assert_uint_eq(r->domids[i], i + 1);
    /* The others' targets are back in that very pass. */
    w = watch_file("table-refusal.scenario", r->answered_us + 1);
    ck_assert_uint_eq(w.least_target_kib, 4 * GIB);
}
END_TEST

/* -------------------------------------------------------------------- main */

static void
add_table(TCase *c)
{
    tcase_add_loop_test(c, all_that_is_possible, 0, (int)min_u64(257, runs()));
    tcase_add_loop_test(c, all_but_the_inaccuracy, 0,
                        (int)min_u64(257, runs()));
    tcase_add_test(c, a_swap_takes_a_dozen_writes);
    tcase_add_test(c, what_is_impossible_is_not_tried);
    tcase_add_test(c, misbehaving_guests_are_not_pestered);
    tcase_add_test(c, a_refusal_names_who_owes);
}

int
main(void)
{
    Suite *s = suite_create("scenarios");
    TCase *folder_case = tcase_create("folder");
    TCase *restarts = tcase_create("restarts");
    TCase *table = tcase_create("table");
    int status;

    log_set_level(LEVEL_ERROR);
    file_count = scandir(folder(), &files, is_scenario, alphasort);
    if (file_count < 40) {
        fprintf(stderr, "%s: %d scenarios\n", folder(), file_count);
        return EXIT_FAILURE;
    }
    tcase_add_loop_test(folder_case, comes_true, 0, file_count);
    tcase_add_loop_test(restarts, may_be_killed_anywhere, 0,
                        (int)min_u64((uint64_t)file_count, runs()));
    tcase_set_timeout(folder_case, 60);
    tcase_set_timeout(restarts, 60);
    tcase_set_timeout(table, 60);
    add_table(table);
    suite_add_tcase(s, folder_case);
    suite_add_tcase(s, restarts);
    suite_add_tcase(s, table);
    status = run_suite(s, CK_FORK_GETENV);
    simulation_results_done(&results);
    for (int i = 0; i < file_count; i++)
        free(files[i]);
    free(files);
    return status;
}
