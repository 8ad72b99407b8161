/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/scenario.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB UINT64_C(1024)
#define GIB (1024 * MIB)

static char message[400];

static struct scenario *
read_set(const char *text, const struct scenario_settings *settings)
{
    message[0] = '\0';
    return scenario_read_text("dir/some.scenario", text, strlen(text), settings,
                              message, sizeof message);
}

static struct scenario *
read_good(const char *text)
{
    struct scenario *s = read_set(text, NULL);

    ck_assert_msg(s != NULL, "%s", message);
    return s;
}

/* ------------------------------------------------------------ what is good */

START_TEST(defaults)
{
    struct scenario *s = read_good("[host]\nmemory = 8G\n");

    ck_assert_str_eq(s->name, "some");
    ck_assert_uint_eq(s->memory_kib, 8 * GIB);
    ck_assert_uint_eq(s->reserve_kib, 72 * MIB);
    ck_assert_uint_eq(s->cushion_kib, 0);
    ck_assert_uint_eq(s->tolerance_kib, 512);
    ck_assert_str_eq(s->policy->name, "proportional");
    ck_assert_uint_eq(s->domain_count, 0);
    ck_assert_uint_eq(s->event_count, 0);
    ck_assert_uint_eq(s->expect.max_writes, UINT64_MAX);
    ck_assert_int_eq(s->expect.settled_within_us, -1);
    scenario_free(s);
}
END_TEST

START_TEST(a_whole_domain)
{
    struct scenario *s = read_good(
        "[domain 7] # sections may come in any order\n"
        "name = web\ncount = 3\ntype = pvh\ndynamic-min = 1G\n"
        "dynamic-max = 2 GiB\nstatic-min = 512M\nstatic-max = 3G\n"
        "actual = 1.5G\ntarget = 1G\nlimit = 1G\nshares = 2000\nused = 700M\n"
        "rate = 100M\ninaccuracy = 5\nguest = crawl 4 MiB 1 s\n"
        "delay = 25ms\n[host]\nmemory=16G\nreserve=1G\ncushion=64M\n");
    const struct scenario_domain *d = &s->domains[0];
    char name[128];
    uint8_t first[UUID_BYTES], second[UUID_BYTES];

    ck_assert_uint_eq(s->cushion_kib, 64 * MIB);
    ck_assert_uint_eq(d->domid, 7);
    ck_assert_uint_eq(d->count, 3);
    ck_assert_int_eq(d->type, GUEST_TYPE_PVH);
    ck_assert_uint_eq(d->dynamic_min_kib, GIB);
    ck_assert_uint_eq(d->dynamic_max_kib, 2 * GIB);
    ck_assert_uint_eq(d->static_min_kib, 512 * MIB);
    ck_assert_uint_eq(d->static_max_kib, 3 * GIB);
    ck_assert_uint_eq(d->actual_kib, 1536 * MIB);
    ck_assert_uint_eq(d->target_kib, GIB);
    ck_assert_uint_eq(d->limit_kib, GIB);
    ck_assert_uint_eq(d->shares, 2000);
    ck_assert_uint_eq(d->used_kib, 700 * MIB);
    ck_assert_uint_eq(d->rate_kib, 100 * MIB);
    ck_assert_uint_eq(d->inaccuracy_kib, 8);
    ck_assert_int_eq(d->guest.kind, GUEST_CRAWL);
    ck_assert_uint_eq(d->guest.size_kib, 4 * MIB);
    ck_assert_int_eq(d->guest.time_us, US_PER_S);
    ck_assert_int_eq(d->delay_us, 25000);
    scenario_domain_name(d, 0, name, first);
    ck_assert_str_eq(name, "web");
    scenario_domain_name(d, 2, name, second);
    ck_assert_str_eq(name, "web-3");
    ck_assert_mem_ne(first, second, UUID_BYTES);
    scenario_domain_name(d, 2, name, first);
    ck_assert_mem_eq(first, second, UUID_BYTES);
    scenario_free(s);
}
END_TEST

START_TEST(domain_defaults)
{
    struct scenario *s = read_good("[host]\nmemory = 8G\n"
                                   "[domain 0]\nactual = 1G\n"
                                   "[domain 1]\ndynamic-min = 1G\n"
                                   "dynamic-max = 2G\n"
                                   "[domain 2]\nactual = 1G\ntarget = 2G\n");
    const struct scenario_domain *d = s->domains;

    ck_assert_str_eq(d[0].name, "dom0");
    ck_assert_uint_eq(d[0].given & GIVEN_DYNAMIC_MIN, 0);
    ck_assert_uint_eq(d[0].static_max_kib, GIB);
    ck_assert_uint_eq(d[0].target_kib, GIB);
    ck_assert_uint_eq(d[0].limit_kib, GIB);
    ck_assert_uint_eq(d[0].used_kib, USED_UNKNOWN);
    ck_assert_uint_eq(d[0].shares, 1000);
    ck_assert_uint_eq(d[0].rate_kib, GIB);
    ck_assert_int_eq(d[0].guest.kind, GUEST_OBEDIENT);
    ck_assert_str_eq(d[1].name, "dom1");
    ck_assert_uint_eq(d[1].actual_kib, 2 * GIB);
    ck_assert_uint_eq(d[1].static_max_kib, 2 * GIB);
    ck_assert_uint_eq(d[2].limit_kib, 2 * GIB);
    scenario_free(s);
}
END_TEST

START_TEST(all_guest_kinds)
{
    static const struct {
        const char *text;
        struct guest_behaviour guest;
    } good[] = {
        { "obedient", { GUEST_OBEDIENT, 0, 0 } },
        { "stuck", { GUEST_STUCK, 0, 0 } },
        { "floor 512M", { GUEST_FLOOR, 512 * MIB, 0 } },
        { "floor  1.5 GiB", { GUEST_FLOOR, 1536 * MIB, 0 } },
        { "ceiling 1G", { GUEST_CEILING, GIB, 0 } },
        { "sticky 5", { GUEST_STICKY, 0, 5 * US_PER_S } },
        { "crawl 4M 100ms", { GUEST_CRAWL, 4 * MIB, 100 * US_PER_MS } },
        { "crawl 8 2", { GUEST_CRAWL, 8, 2 * US_PER_S } },
        { "crawl 8 MiB 2 m", { GUEST_CRAWL, 8 * MIB, 120 * US_PER_S } },
        { "late 1m", { GUEST_LATE, 0, 60 * US_PER_S } },
        { "vanish 2 s", { GUEST_VANISH, 0, 2 * US_PER_S } },
        { "backoff", { GUEST_BACKOFF, 0, 0 } },
    };
    static const char *const bad[] = {
        "",           "lazy",      "obedient 1",  "floor",     "floor x",
        "floor 1G 2", "sticky",    "sticky 0",    "crawl 4M",  "crawl 1s 4M",
        "late -1",    "vanish 0s", "obedientish", "crawl 4M 0"
    };
    struct guest_behaviour guest;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(guest_behaviour_parse(good[i].text, &guest), "%s",
                      good[i].text);
        ck_assert_int_eq(guest.kind, good[i].guest.kind);
        ck_assert_uint_eq(guest.size_kib, good[i].guest.size_kib);
        ck_assert_int_eq(guest.time_us, good[i].guest.time_us);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!guest_behaviour_parse(bad[i], &guest), "%s", bad[i]);
}
END_TEST

START_TEST(events)
{
    struct scenario *s = read_good(
        "[host]\nmemory = 8G\n"
        "[event 10]\nat = 2\naction = reserve\nmin = 1G\nmax = 2G\n"
        "client = xl\ncount = 4\ntimeout = 5\nwait = yes\nhold = 30s\n"
        "repeat = 2\nevery = 10\nexpect = refused\n"
        "expect-error = cannot-free\nexpect-within = 1ms\n"
        "expect-amount = 1G\n"
        "[event 2]\nat = after 10 + 500ms\naction = build\nof = 10\n"
        "dynamic-min = 512M\ndynamic-max = 1G\nrate = 2G\nguest = late 5\n"
        "[event 3]\nat=after 2\naction=demand\ndomid=1\nused=none\n"
        "[event 4]\naction=guest\ndomid=1\nguest=stuck\n"
        "[event 5]\naction=consume\nsize=-1G\n"
        "[event 6]\naction=range\ndomid=1\nmin=2G\nmax=1G\n"
        "[event 7]\naction=target\ndomid=1\nsize=1G\n"
        "[event 8]\naction=balance\n[event 9]\naction=restart\n"
        "[event 11]\naction=reserve\nmin=1G\n"
        "[event 12]\naction=cancel\nof=11\n");
    const struct scenario_event *e = s->events;

    ck_assert_uint_eq(s->event_count, 11);
    ck_assert_uint_eq(e[0].number, 10);
    ck_assert_int_eq(e[0].at_us, 2 * US_PER_S);
    ck_assert_uint_eq(e[0].after_index, EVENT_NONE);
    ck_assert_str_eq(e[0].client, "xl");
    ck_assert_uint_eq(e[0].count, 4);
    ck_assert_int_eq(e[0].timeout_us, 5 * US_PER_S);
    ck_assert(e[0].wait);
    ck_assert_int_eq(e[0].hold_us, 30 * US_PER_S);
    ck_assert_uint_eq(e[0].repeat, 2);
    ck_assert_int_eq(e[0].every_us, 10 * US_PER_S);
    ck_assert_int_eq(e[0].expect, OUTCOME_REFUSED);
    ck_assert_int_eq(e[0].expect_error, ERR_CANNOT_FREE);
    ck_assert_int_eq(e[0].expect_within_us, 1000);
    ck_assert_uint_eq(e[0].expect_amount_kib, GIB);
    ck_assert_uint_eq(e[1].after_index, 0);
    ck_assert_int_eq(e[1].at_us, 500000);
    ck_assert_uint_eq(e[1].of_index, 0);
    ck_assert(!e[1].domid_given);
    ck_assert_uint_eq(e[1].domain.rate_kib, 2 * GIB);
    ck_assert_uint_eq(e[2].after_index, 1);
    ck_assert_uint_eq(e[2].domain.used_kib, USED_UNKNOWN);
    ck_assert_int_eq(e[3].domain.guest.kind, GUEST_STUCK);
    ck_assert_int_eq(e[4].consume_kib, -(int64_t)GIB);
    ck_assert_uint_eq(e[5].min_kib, 2 * GIB);
    ck_assert_uint_eq(e[6].size_kib, GIB);
    ck_assert_str_eq(e[9].client, "sim");
    ck_assert_uint_eq(e[9].max_kib, GIB);
    ck_assert_int_eq(e[9].timeout_us, 60 * US_PER_S);
    ck_assert_int_eq(e[9].hold_us, -1);
    ck_assert_uint_eq(e[10].of_index, 9);
    scenario_free(s);
}
END_TEST

START_TEST(expectations)
{
    struct scenario *s =
        read_good("[host]\nmemory = 8G\n[expect]\nmax-writes-per-domain = 30\n"
                  "settled-within = 5\nmax-dip = 12.5\nleft-over = 1M\n"
                  "domain-3-target = 1G\ndomain-32751-target = 4\n");

    ck_assert_uint_eq(s->expect.max_writes, 30);
    ck_assert_int_eq(s->expect.settled_within_us, 5 * US_PER_S);
    ck_assert_int_eq(s->expect.max_dip_ppm, 125000);
    ck_assert_uint_eq(s->expect.left_over_kib, MIB);
    ck_assert_uint_eq(s->expect.target_count, 2);
    ck_assert_uint_eq(s->expect.targets[1].domid, 32751);
    ck_assert_uint_eq(s->expect.targets[0].target_kib, GIB);
    scenario_free(s);
}
END_TEST

START_TEST(settings_stand_over_the_file)
{
    const char *const texts[] = { "host.reserve=1G", "domain 1.rate=5M",
                                  "event 1.at=3", "expect.left-over=4" };
    const struct scenario_settings settings = { texts, 4 };
    const char *text = "[host]\nmemory = 8G\nreserve = 4M\n"
                       "[domain 1]\nactual = 1G\nrate = 1M\n"
                       "[event 1]\nat = after 2\naction = balance\n"
                       "[event 2]\naction = balance\n";
    struct scenario *s = read_set(text, &settings);

    ck_assert_msg(s != NULL, "%s", message);
    ck_assert_uint_eq(s->reserve_kib, GIB);
    ck_assert_uint_eq(s->domains[0].rate_kib, 5 * MIB);
    ck_assert_uint_eq(s->events[0].after_index, EVENT_NONE);
    ck_assert_int_eq(s->events[0].at_us, 3 * US_PER_S);
    ck_assert_uint_eq(s->expect.left_over_kib, 4);
    scenario_free(s);
}
END_TEST

START_TEST(bad_settings)
{
    static const char *const bad[][2] = {
        { "nonsense", "nonsense: it must be SECTION.KEY=VALUE" },
        { "host.foo=1", "host.foo=1: unknown key \"foo\" in [host]" },
        { "domain 5.rate=1M", "domain 5.rate=1M: there is no [domain 5]" },
        { "room.x=1", "room.x=1: unknown section [room]" },
        { "host.reserve=much", "\"much\": it must be a size" },
        { "host.memory=512M",
          "memory = 512.0 MiB: the domains hold more (1.0 GiB)" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct scenario_settings settings = { &bad[i][0], 1 };

        ck_assert(!read_set("[host]\nmemory = 8G\n[domain 1]\nactual = 1G\n",
                            &settings));
        ck_assert_msg(strstr(message, bad[i][1]) != NULL, "%s", message);
    }
}
END_TEST

/* ------------------------------------------------------------- what is bad */

#define HOST_8G "[host]\nmemory = 8G\n"

static const struct {
    const char *text;
    unsigned line;
    const char *wrong; /* is in the message */
} bad_files[] = {
    { "", 1, "[host] with its memory is missing" },
    { "[domain 1]\nactual = 1G\n", 1, "[host] with its memory is missing" },
    { "[host]\nreserve = 1G\n", 1, "'memory' is missing" },
    { "memory = 8G\n", 1, "before the first section" },
    { "[host]\nmemory = lots\n", 2, "memory = \"lots\"" },
    { "[host]\nmemory = -1G\n", 2, "memory = \"-1G\"" },
    { "[host]\nmemory = \n", 2, "memory = \"\"" },
    { "[host]\nmemory = 8G\nswap = 1G\n", 3, "unknown key \"swap\" in [host]" },
    { "[host]\nmemory = 8G\nmemory = 9G\n", 3, "memory comes twice" },
    { HOST_8G "policy = fair\n", 3, "policy = \"fair\"" },
    { HOST_8G "\n[host]\n", 4, "[host] comes twice: first in line 1" },
    { HOST_8G "[room]\n", 3, "unknown section [room]" },
    { HOST_8G "[domain]\n", 3, "unknown section [domain]" },
    { HOST_8G "[domain x]\n", 3, "unknown section [domain x]" },
    { HOST_8G "[host 1]\n", 3, "unknown section [host 1]" },
    { HOST_8G "[domain 32752]\n", 3, "the highest domid is 32751" },
    { HOST_8G "[domain 99999999999]\n", 3, "the highest domid is 32751" },
    { HOST_8G "[domain 1]\nactual=1G\n[domain 1]\nactual=1G\n", 5,
      "[domain 1] comes twice: first in line 3" },
    { HOST_8G "[domain 1]\nactual=4\ncount=3\n[domain 3]\nactual=4\n", 6,
      "domid 3 comes twice" },
    { HOST_8G "[domain 3]\nactual=4\n[domain 1]\nactual=4\ncount=3\n", 5,
      "domid 3 comes twice" },
    { HOST_8G "[domain 32750]\nactual=4\ncount=3\n", 3,
      "count = 3 needs domids up to 32752" },
    { HOST_8G "[domain 1]\ncount = 0\n", 4, "count = \"0\"" },
    { HOST_8G "[domain 1]\ncount = 32753\n", 4, "count = \"32753\"" },
    { HOST_8G "[domain 1]\n", 3, "'actual' is missing" },
    { HOST_8G "[domain 1]\nactual=1G\nmemory=1G\n", 5,
      "unknown key \"memory\" in [domain N]" },
    { HOST_8G "[domain 1]\nactual=1G\ndynamic-min=1G\n", 3,
      "give both, or neither" },
    { HOST_8G "[domain 1]\ndynamic-max=1G\n", 3, "give both, or neither" },
    { HOST_8G "[domain 1]\ndynamic-min=2G\ndynamic-max=1G\n", 3,
      "dynamic-min = 2.0 GiB is above dynamic-max = 1.0 GiB" },
    { HOST_8G "[domain 1]\ndynamic-min=1G\ndynamic-max=2G\nstatic-min=1.5G\n",
      3, "below static-min" },
    { HOST_8G "[domain 1]\ndynamic-min=1G\ndynamic-max=2G\nstatic-max=1.5G\n",
      3, "above static-max" },
    { HOST_8G "[domain 1]\nactual=1G\nshares=0\n", 5, "shares = \"0\"" },
    { HOST_8G "[domain 1]\nactual=1G\nshares=100001\n", 5, "shares" },
    { HOST_8G "[domain 1]\nactual=1G\nrate=0\n", 5, "rate = \"0\"" },
    { HOST_8G "[domain 1]\nactual=1G\ntype=lxc\n", 5, "type = \"lxc\"" },
    { HOST_8G "[domain 1]\nactual=1G\nguest=lazy\n", 5, "guest = \"lazy\"" },
    { HOST_8G "[domain 1]\nactual=1G\nguest=floor\n", 5, "guest = \"floor\"" },
    { HOST_8G "[domain 1]\nactual=1G\nuuid=12\n", 5, "uuid = \"12\"" },
    { HOST_8G "[domain 1]\nactual=1G\ndelay=soon\n", 5, "delay = \"soon\"" },
    { HOST_8G "[domain 1]\nactual=4\ncount=2\n"
              "uuid=00000000-0000-0000-0000-000000000001\n",
      3, "uuid: only one domain" },
    { HOST_8G "[domain 1]\nactual=9G\n", 2,
      "memory = 8.0 GiB: the domains hold more (9.0 GiB)" },
    { HOST_8G "[domain 1]\nactual=1G\ncount=9\n", 2, "hold more (9.0 GiB)" },
    { HOST_8G "[domain 1]\nactual=1048577T\ncount=32000\n", 4, "actual" },
    { HOST_8G "[domain 1]\nactual=1024T\ncount=32751\n", 2, "hold more" },
    { HOST_8G "[domain 1]\nactual=1G\nactual\n", 5, "" },
    { HOST_8G "[event 1]\nat=1\n", 3, "'action' is missing" },
    { HOST_8G "[event 1]\naction=explode\n", 4, "action = \"explode\"" },
    { HOST_8G "[event 1]\naction=none\n", 4, "action = \"none\"" },
    { HOST_8G "[event 1]\naction=balance\nat=-1\n", 5, "at = \"-1\"" },
    { HOST_8G "[event 1]\naction=balance\nat=after\n", 5, "at = \"after\"" },
    { HOST_8G "[event 1]\naction=balance\nat=after 1 +\n", 5, "at = " },
    { HOST_8G "[event 1]\naction=balance\nat=after 2\n", 5,
      "at = after 2: there is no such event" },
    { HOST_8G "[event 1]\naction=balance\nat=after 1\n", 3,
      "wait for each other" },
    { HOST_8G "[event 1]\naction=balance\nat=after 2\n"
              "[event 2]\naction=balance\nat=after 1\n",
      3, "wait for each other" },
    { HOST_8G "[event 1]\naction=balance\n[event 1]\naction=balance\n", 5,
      "[event 1] comes twice" },
    { HOST_8G "[event 1]\naction=balance\nrepeat=3\n", 3, "needs 'every'" },
    { HOST_8G "[event 1]\naction=balance\nrepeat=0\nevery=1\n", 5, "repeat" },
    { HOST_8G "[event 1]\naction=reserve\n", 3, "'min' is missing" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nmax=1G\n", 6, "below min" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nwait=maybe\n", 6, "wait" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nwait=true\n", 6, "wait" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nclient=a b\n", 6, "client" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nexpect=pending\n", 6,
      "expect = \"pending\"" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nexpect-error=io\n", 6,
      "expect-error = \"io\"" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\ndomid=1\n", 6,
      "\"domid\" is no key of action = reserve" },
    { HOST_8G "[event 1]\naction=reserve\nmin=2G\nrate=1G\n", 6,
      "\"rate\" is no key of action = reserve" },
    { HOST_8G "[event 1]\nflavour=1\naction=reserve\nmin=2G\n", 4,
      "unknown key \"flavour\" in [event N]" },
    { HOST_8G "[event 1]\naction=release\n", 3, "'of' is missing" },
    { HOST_8G "[event 1]\naction=build\nof=2\n", 5, "no such reserve event" },
    { HOST_8G "[event 1]\naction=balance\n[event 2]\naction=cancel\nof=1\n", 7,
      "of = 1: there is no such reserve event" },
    { HOST_8G "[event 1]\naction=reserve\nmin=1G\n"
              "[event 2]\naction=build\nof=1\ndynamic-min=1G\n",
      6, "give both, or neither" },
    { HOST_8G "[event 1]\naction=destroy\n", 3, "'domid' is missing" },
    { HOST_8G "[event 1]\naction=destroy\ndomid=32752\n", 5, "domid" },
    { HOST_8G "[event 1]\naction=range\ndomid=1\nmin=1G\n", 3,
      "'max' is missing" },
    { HOST_8G "[event 1]\naction=target\ndomid=1\nsize=-1G\n", 6, "negative" },
    { HOST_8G "[event 1]\naction=guest\ndomid=1\n", 3, "'guest' is missing" },
    { HOST_8G "[event 1]\naction=demand\ndomid=1\n", 3, "'used' is missing" },
    { HOST_8G "[expect]\nmax-dip = 101\n", 4, "max-dip = \"101\"" },
    { HOST_8G "[expect]\nmax-writes-per-domain = few\n", 4, "\"few\"" },
    { HOST_8G "[expect]\ndomain-32752-target = 1G\n", 4, "unknown key" },
    { HOST_8G "[expect]\ndomain-1-targets = 1G\n", 4, "unknown key" },
    { HOST_8G "[expect]\ndomain-1-target = x\n", 4, "\"x\"" },
    { HOST_8G "[expect]\ndomain-1-target = 1G\ndomain-1-target = 1G\n", 5,
      "comes twice" },
    { HOST_8G "[expect]\n[expect]\n", 4, "[expect] comes twice" },
};

START_TEST(bad_file)
{
    char place[64];

    ck_assert_msg(!read_set(bad_files[_i].text, NULL), "accepted:\n%s",
                  bad_files[_i].text);
    snprintf(place, sizeof place, "dir/some.scenario:%u: ", bad_files[_i].line);
    ck_assert_msg(strncmp(message, place, strlen(place)) == 0 &&
                      strstr(message, bad_files[_i].wrong) != NULL,
                  "%s\nof:\n%s", message, bad_files[_i].text);
}
END_TEST

START_TEST(no_such_file)
{
    ck_assert(!scenario_read("/nowhere/at/all", NULL, message, sizeof message));
    ck_assert_str_eq(message, "/nowhere/at/all: No such file or directory");
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("scenario");
    TCase *good = tcase_create("good"), *bad = tcase_create("bad");

    tcase_add_test(good, defaults);
    tcase_add_test(good, a_whole_domain);
    tcase_add_test(good, domain_defaults);
    tcase_add_test(good, all_guest_kinds);
    tcase_add_test(good, events);
    tcase_add_test(good, expectations);
    tcase_add_test(good, settings_stand_over_the_file);
    tcase_add_test(bad, bad_settings);
    tcase_add_loop_test(bad, bad_file, 0,
                        (int)(sizeof bad_files / sizeof *bad_files));
    tcase_add_test(bad, no_such_file);
    suite_add_tcase(s, good);
    suite_add_tcase(s, bad);
    return s;
}

int
main(void)
{
    return run_suite(suite(), CK_FORK_GETENV);
}
