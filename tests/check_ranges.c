/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ranges that are kept for domains: the files, which domain a rule is for,
 * and when it is applied (on a simulated host). */
#include "common/floor.h"
#include "common/log.h"
#include "common/range_rules.h"
#include "squeezed/platform/sim.h"
#include "squeezed/ranges.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB  KIB_PER_MIB
#define GIB  KIB_PER_GIB
#define UUID "11111111-2222-3333-4444-555555555555"

static char folder[40], log_path[64];
static struct range_rules rules;

/* ------------------------------------------------------------------ files */

static void
set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/check_ranges.XXXXXX")));
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    ck_assert(log_open(log_path));
    rules = (struct range_rules){ 0 };
}

static void
tear_down(void)
{
    char command[80];

    range_rules_done(&rules);
    log_open("stderr");
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void
write_file(const char *name, const char *text)
{
    char path[80];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void
remove_file(const char *name)
{
    char path[80];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_int_eq(unlink(path), 0);
}

static bool
was_logged(const char *text)
{
    char line[600];
    FILE *file = fopen(log_path, "r");
    bool found = false;

    while (!found && fgets(line, sizeof line, file))
        found = strstr(line, text) != NULL;
    fclose(file);
    return found;
}

static const struct range_rule *
find(const char *uuid, const char *name)
{
    uint8_t bytes[UUID_BYTES] = { 0 };

    if (uuid)
        ck_assert(parse_uuid(uuid, bytes));
    return range_rules_find(&rules, bytes, name);
}

START_TEST(uuid_goes_before_name)
{
    write_file("a.conf", "[web]\ndynamic-min = 256M\ndynamic-max = 2G\n"
                         "shares = 2000\n"
                         "[" UUID "]\ndynamic-min = 1G # at least\n");
    write_file("b.conf", "[db]\nshares = 10\n[mail]\ndynamic-min = 2G\n");
    write_file("b.conf~", "nonsense");
    write_file(".c.conf", "nonsense");
    range_rules_read(&rules, folder);
    ck_assert_uint_eq(rules.count, 4);
    ck_assert_uint_eq(find(UUID, "mail")->min_kib, GIB); /* in any order */
    ck_assert_uint_eq(find(NULL, "web")->min_kib, 256 * MIB);
    ck_assert_uint_eq(find(NULL, "web")->max_kib, 2 * GIB);
    ck_assert_uint_eq(find(NULL, "web")->shares, 2000);
    ck_assert_uint_eq(find(UUID, "web")->min_kib, GIB);
    ck_assert_uint_eq(find(UUID, "other")->min_kib, GIB);
    ck_assert(!find(NULL, "db")->has_range);
    ck_assert_ptr_null(find(NULL, "webs"));
    ck_assert_ptr_null(find(NULL, ""));
}
END_TEST

START_TEST(the_last_counts)
{
    write_file("1.conf", "[web]\ndynamic-min = 1G\n");
    write_file("2.conf", "[web]\ndynamic-min = 2G\n");
    range_rules_read(&rules, folder);
    ck_assert_uint_eq(find(NULL, "web")->min_kib, 2 * GIB);
}
END_TEST

static const struct bad {
    const char *text, *message;
} bads[] = {
    { "dynamic-min = 1G\n", "bad.conf:1: " },
    { "[web]\n\ndynamic-mix = 1G\n",
      "bad.conf:3: unknown key \"dynamic-mix\"" },
    { "[web]\ndynamic-min = much\n", "bad.conf:2: dynamic-min: \"much\"" },
    { "[web]\ndynamic-max = 0\n", "bad.conf:2: dynamic-max" },
    { "[web]\nshares = 0\n", "bad.conf:2: shares: \"0\"" },
    { "[web]\ndynamic-max = 1G\n[b]\n", "bad.conf:3: dynamic-max without" },
    { "[web]\ndynamic-max = 1G\n", "bad.conf:1: dynamic-max without" },
    { "[web]\ndynamic-min = 2G\ndynamic-max = 1G\n",
      "bad.conf:1: dynamic-min is above" },
    { "[]\n", "bad.conf:1: " },
    { "web\n", "bad.conf:1: " },
};

START_TEST(a_bad_file_is_told_and_ignored)
{
    write_file("a.conf", "[a]\ndynamic-min = 1G\n");
    write_file("bad.conf", bads[_i].text);
    write_file("c.conf", "[c]\ndynamic-min = 1G\n");
    range_rules_read(&rules, folder);
    ck_assert_msg(was_logged(bads[_i].message), "%s", bads[_i].message);
    ck_assert(was_logged("this file is ignored"));
    ck_assert_uint_eq(rules.count, 2);
    ck_assert_ptr_nonnull(find(NULL, "a"));
    ck_assert_ptr_nonnull(find(NULL, "c"));
    ck_assert_ptr_null(find(NULL, "web"));
}
END_TEST

START_TEST(what_a_file_said_stays_until_it_is_good)
{
    write_file("a.conf", "[a]\ndynamic-min = 1G\n[b]\nshares = 3\n");
    write_file("c.conf", "[c]\ndynamic-min = 1G\n");
    range_rules_read(&rules, folder);
    for (int i = 0; i < 2; i++) {
        write_file("a.conf", "[a]\ndynamic-min = 2G\n[b]\nshares = x\n");
        range_rules_read(&rules, folder);
        ck_assert(was_logged("a.conf:4: "));
        ck_assert(was_logged("what this file said before stays in force"));
        ck_assert_uint_eq(rules.count, 3);
        ck_assert_uint_eq(find(NULL, "a")->min_kib, GIB);
        ck_assert_uint_eq(find(NULL, "b")->shares, 3);
    }
    write_file("a.conf", "[a]\ndynamic-min = 2G\n");
    range_rules_read(&rules, folder);
    ck_assert_uint_eq(rules.count, 2);
    ck_assert_uint_eq(find(NULL, "a")->min_kib, 2 * GIB);
    remove_file("a.conf");
    range_rules_read(&rules, folder);
    ck_assert_uint_eq(rules.count, 1);
}
END_TEST

START_TEST(many_rules)
{
    char *text = malloc(5000 * 40), *at = text;
    char name[16];

    for (unsigned i = 0; i < 5000; i++)
        at += sprintf(at, "[vm%u]\ndynamic-min = %uM\n", i, i + 1);
    write_file("many.conf", text);
    free(text);
    range_rules_read(&rules, folder);
    ck_assert_uint_eq(rules.count, 5000);
    for (unsigned i = 0; i < 5000; i += 7) {
        snprintf(name, sizeof name, "vm%u", i);
        ck_assert_uint_eq(find(NULL, name)->min_kib, (i + 1) * MIB);
    }
}
END_TEST

START_TEST(changes_are_seen)
{
    range_rules_read(&rules, "/nonexistent/folder");
    ck_assert_uint_eq(rules.count, 0);
    write_file("a.conf", "[a]\n");
    range_rules_read(&rules, folder);
    ck_assert(!range_rules_changed(&rules, folder));
    write_file("a.conf", "[ab]\n");
    ck_assert(range_rules_changed(&rules, folder));
    range_rules_read(&rules, folder);
    write_file("b.conf", "");
    ck_assert(range_rules_changed(&rules, folder));
}
END_TEST

START_TEST(names_while_migrating)
{
    char name[RANGE_NAME];

    ck_assert(!range_base_name("web", name));
    ck_assert_str_eq(name, "web");
    ck_assert(range_base_name("web--incoming", name));
    ck_assert_str_eq(name, "web");
    ck_assert(!range_base_name("web--migratedaway", name));
    ck_assert_str_eq(name, "web");
    ck_assert(!range_base_name("--incoming", name));
}
END_TEST

START_TEST(floors)
{
    static const uint64_t known[][2] = {
        { 0, 0 },        { 16, 16 },       { 24, 20 },      { 32, 24 },
        { 128, 72 },     { 512, 168 },     { 2048, 360 },   { 8192, 552 },
        { 32768, 1320 }, { 131072, 4392 }, { 262144, 8488 }
    };
    char text[FLOOR_TEXT];

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        ck_assert_uint_eq(floor_of_guest_kib(known[i][0] * MIB),
                          known[i][1] * MIB);
    ck_assert_str_eq(floor_warning(512 * MIB, 2 * GIB, text), "");
    ck_assert_ptr_nonnull(
        strstr(floor_warning(200 * MIB, 2 * GIB, text), "360"));
    ck_assert_ptr_nonnull(
        strstr(floor_warning(400 * MIB, 2 * GIB, text), "quarter"));
    ck_assert_str_eq(floor_warning(0, 0, text), "");
}
END_TEST

/* ------------------------------------------------------ on a simulated host */

static struct scenario *scenario;
static struct platform *platform;
static struct broker *broker;
static struct ranges *ranges;
static struct ranges_options options;
static int64_t now;

static void
run_for(int64_t us)
{
    int64_t end = now + us;

    while (now < end) {
        now += 10 * US_PER_MS;
        sim_advance(platform, now);
        sim_deliver(platform);
        if (broker_next_us(broker) <= now)
            broker_run(broker, now);
        ranges_run(ranges, now);
    }
}

static void
start_host(const char *domains, unsigned percent)
{
    char text[800], message[200];
    const struct broker_options settings = {
        .planner = { .host_reserve_kib = 72 * MIB,
                     .tolerance_kib = 512,
                     .policy = policy_find("proportional"),
                     .interval_us = US_PER_S }
    };

    snprintf(text, sizeof text, "[host]\nmemory = 16G\n%s", domains);
    write_file("host.scenario", text);
    snprintf(text, sizeof text, "%s/host.scenario", folder);
    scenario = scenario_read(text, NULL, message, sizeof message);
    ck_assert_msg(scenario != NULL, "%s", message);
    now = US_PER_S;
    platform = sim_platform_new(scenario, now);
    broker = broker_new(&settings, platform, now);
    options =
        (struct ranges_options){ .folder = folder, .default_percent = percent };
    ranges = ranges_new(broker, platform, &options);
    run_for(US_PER_S);
}

static void
end_host(void)
{
    broker_free(broker);
    ranges_free(ranges);
    platform->ops->free(platform);
    scenario_free(scenario);
}

static const struct domain *
domain_of(const char *name)
{
    const struct host *host = &broker_planner(broker)->host;

    for (size_t i = 0; i < host->count; i++) {
        struct domain_text text = { .name = "" };

        platform->ops->describe(platform, host->domains[i].facts.domid, &text);
        if (strcmp(text.name, name) == 0)
            return &host->domains[i];
    }
    ck_abort_msg("no domain %s", name);
    return NULL;
}

static void
check_range(const char *name, uint64_t min_kib, uint64_t max_kib)
{
    const struct domain *d = domain_of(name);

    ck_assert(d->facts.flags & DOMAIN_MANAGED);
    ck_assert_uint_eq(d->facts.dynamic_min_kib, min_kib);
    ck_assert_uint_eq(d->facts.dynamic_max_kib, max_kib);
}

#define DOMAINS                                                                \
    "[domain 1]\nname = web\nstatic-max = 2G\nactual = 2G\n"                   \
    "[domain 2]\nname = db\nstatic-max = 4G\nactual = 4G\n"                    \
    "[domain 3]\nname = own\nstatic-max = 2G\ndynamic-min = 1G\n"              \
    "dynamic-max = 2G\n"

START_TEST(applied_when_it_appears)
{
    write_file("a.conf", "[web]\ndynamic-min = 64M\ndynamic-max = 8G\n"
                         "[own]\ndynamic-min = 1M\nshares = 7\n");
    start_host(DOMAINS, 0);
    check_range("web", 64 * MIB, 2 * GIB); /* not above static-max */
    ck_assert(was_logged("(web): dynamic-min 64.0 MiB is below 360.0 MiB"));
    ck_assert(!(domain_of("db")->facts.flags & DOMAIN_MANAGED));
    check_range("own", GIB, 2 * GIB); /* somebody has set that */
    ck_assert_uint_eq(domain_of("own")->shares, 7);
    end_host();
}
END_TEST

START_TEST(default_range)
{
    write_file("a.conf", "[web]\ndynamic-min = 1G\n");
    start_host(DOMAINS, 25);
    check_range("web", GIB, 2 * GIB);
    check_range("db", GIB, 4 * GIB);
    check_range("own", GIB, 2 * GIB);
    end_host();
}
END_TEST

static const struct platform_ops *real_ops;
static struct platform_ops counting_ops;
static unsigned looks;

static enum err
counted_look(struct platform *p, int64_t now_us, struct snapshot *ret)
{
    looks++;
    return real_ops->look(p, now_us, ret);
}

/* A look at all of them for each of them would take seconds. */
START_TEST(many_at_once)
{
    start_host("[domain 1]\ncount = 300\nstatic-max = 32M\nactual = 32M\n", 0);
    real_ops = platform->ops;
    counting_ops = *real_ops;
    counting_ops.look = counted_look;
    platform->ops = &counting_ops;
    options.default_percent = 50;
    ranges_reload(ranges, &options);
    looks = 0;
    ranges_run(ranges, now);
    ck_assert_uint_le(looks, 2);
    platform->ops = real_ops;
    run_for(US_PER_S);
    check_range("dom1-300", 16 * MIB, 32 * MIB);
    end_host();
}
END_TEST

START_TEST(changed_rules)
{
    uint64_t min_kib = 512 * MIB, max_kib = GIB;

    write_file("a.conf", "[web]\ndynamic-min = 1G\n");
    start_host(DOMAINS "[domain 4]\nname = bare\nstatic-max = 1G\n"
                       "actual = 1G\n",
               0);
    check_range("web", GIB, 2 * GIB);
    /* What somebody writes stays, also when the files are read anew. */
    ck_assert(sim_write_range(platform, domain_of("web")->facts.domid, &min_kib,
                              &max_kib));
    ranges_reload(ranges, &options);
    run_for(US_PER_S);
    check_range("web", min_kib, max_kib);
    /* Until the rule is another one. */
    write_file("a.conf", "[web]\ndynamic-min = 768M\n[db]\ndynamic-min=2G\n");
    ranges_reload(ranges, &options);
    run_for(US_PER_S);
    check_range("web", 768 * MIB, 2 * GIB);
    check_range("db", 2 * GIB, 4 * GIB);
    /* A bad file is none that has changed. */
    write_file("a.conf", "[web]\ndynamic-min = 7 stones\n");
    options.default_percent = 75;
    ranges_reload(ranges, &options);
    run_for(US_PER_S);
    check_range("web", 768 * MIB, 2 * GIB);
    check_range("db", 2 * GIB, 4 * GIB);
    /* A default replaces nothing that somebody wrote, but a default. */
    check_range("own", GIB, 2 * GIB);
    check_range("bare", 768 * MIB, GIB);
    options.default_percent = 50;
    ranges_reload(ranges, &options);
    run_for(US_PER_S);
    check_range("bare", 512 * MIB, GIB);
    min_kib = 640 * MIB;
    ck_assert(sim_write_range(platform, domain_of("bare")->facts.domid,
                              &min_kib, &max_kib));
    options.default_percent = 25;
    ranges_reload(ranges, &options);
    run_for(US_PER_S);
    check_range("bare", 640 * MIB, GIB);
    check_range("web", 768 * MIB, 2 * GIB);
    check_range("own", GIB, 2 * GIB);
    end_host();
}
END_TEST

START_TEST(migrating_domains)
{
    write_file("a.conf", "[web]\ndynamic-min = 1G\n");
    start_host("[domain 4]\nname = web--incoming\nstatic-max = 2G\n"
               "actual = 2G\n"
               "[domain 5]\nname = web--migratedaway\nstatic-max = 2G\n"
               "actual = 2G\n",
               0);
    ck_assert(!(domain_of("web--incoming")->facts.flags & DOMAIN_MANAGED));
    check_range("web--migratedaway", GIB, 2 * GIB);
    end_host();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("ranges");
    TCase *files = tcase_create("files");
    TCase *hosts = tcase_create("hosts");

    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_checked_fixture(hosts, set_up, tear_down);
    tcase_set_timeout(hosts, 60);
    tcase_add_test(files, uuid_goes_before_name);
    tcase_add_test(files, the_last_counts);
    tcase_add_loop_test(files, a_bad_file_is_told_and_ignored, 0,
                        sizeof bads / sizeof *bads);
    tcase_add_test(files, what_a_file_said_stays_until_it_is_good);
    tcase_add_test(files, many_rules);
    tcase_add_test(files, changes_are_seen);
    tcase_add_test(files, names_while_migrating);
    tcase_add_test(files, floors);
    tcase_add_test(hosts, applied_when_it_appears);
    tcase_add_test(hosts, default_range);
    tcase_add_test(hosts, many_at_once);
    tcase_add_test(hosts, changed_rules);
    tcase_add_test(hosts, migrating_domains);
    suite_add_tcase(suite, files);
    suite_add_tcase(suite, hosts);
    return run_suite(suite, CK_FORK_GETENV);
}
