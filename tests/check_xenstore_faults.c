/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole daemon, when xenstored is stopped, killed, restarted, slow or out
 * of its mind, and where there is no xenstored or no Xen yet: squeezed goes on,
 * says what is the matter, once, and is back soon after they are.
 * Reservations stay. */
#include "tests/fakexen/rig.h"
#include "tests/suite.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    KEPT_KIB = 500 * KIB_PER_MIB,
    DEADLINE_MS = 5000, /* of a request to xenstored: squeezed's own */
    BACK_MS = 1000,     /* after xenstored is back */
    PROMPT_MS = 200,    /* what needs no xenstore, on a busy machine */
    LATE_MS = 20000
};

static struct rig rig;
static char kept[64]; /* the id of a reservation */

static int64_t
ms_since(int64_t us)
{
    return (rig_now_us() - us) / US_PER_MS;
}

/* Where others keep the processors busy, all takes as much longer. */
static int64_t
patient_ms(int64_t ms)
{
    double load = 0, processors = (double)sysconf(_SC_NPROCESSORS_ONLN);

    getloadavg(&load, 1);
    return (int64_t)((double)ms * (1 + load / processors));
}

/* The status of /healthz; *ret_why: what it says. */
static int
health(char ret_why[300])
{
    int status = 0;
    char *body = rig_get(&rig, "/healthz", &status);

    snprintf(ret_why, 300, "%s", body ? body : "");
    free(body);
    return status;
}

static void
wait_health(int wanted, char ret_why[300], int fast_ms)
{
    int64_t start_us = rig_now_us();
    int64_t limit_ms = patient_ms(fast_ms);

    while (health(ret_why) != wanted) {
        if (ms_since(start_us) > limit_ms)
            rig_print_log(&rig);
        ck_assert_msg(ms_since(start_us) <= limit_ms, "not %d: %s", wanted,
                      ret_why);
        rig_sleep_ms(5);
    }
}

static bool
store_connected(void)
{
    json_t *status = rig_status(&rig);
    bool connected = json_is_true(
        json_object_get(json_object_get(status, "store"), "connected"));

    json_decref(status);
    return connected;
}

static void
reserve_kept(void)
{
    json_t *answer = rig_call(&rig, "reserve",
                              "\"client\": \"keeper\", \"min\": %d", KEPT_KIB);
    const char *id = json_string_value(
        json_object_get(json_object_get(answer, "result"), "reservation"));

    ck_assert_ptr_nonnull(id);
    snprintf(kept, sizeof(kept), "%s", id);
    json_decref(answer);
}

static uint64_t
stored_kib(const char *id)
{
    return strtoull(store_read(&rig.store, "/squeezed/state/keeper/%s", id),
                    NULL, 10);
}

/* It is the only one, in squeezed and in the store. */
static void
check_kept(void)
{
    json_t *status = rig_status(&rig);
    json_t *list = json_object_get(status, "reservations");
    int64_t start_us = rig_now_us();

    ck_assert_uint_eq(json_array_size(list), 1);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(list, 0),
                                                       "reservation")),
                     kept);
    ck_assert_int_eq(rig_number(status, "host.reserved_kib"), KEPT_KIB);
    json_decref(status);
    while (stored_kib(kept) != KEPT_KIB && ms_since(start_us) < BACK_MS)
        rig_sleep_ms(2);
    ck_assert_uint_eq(stored_kib(kept), KEPT_KIB);
}

/* What is there without xenstore comes at once: it never waits for a deadline.
 * On a busy machine one answer or another may be late all the same. */
static void
check_prompt(void)
{
    int64_t best_ms = INT64_MAX;

    for (int i = 0; i < 5 && best_ms > PROMPT_MS; i++) {
        int64_t start_us = rig_now_us();
        json_t *status = rig_status(&rig);

        ck_assert_ptr_nonnull(status);
        json_decref(status);
        best_ms = min_i64(best_ms, ms_since(start_us));
        ck_assert_int_lt(ms_since(start_us), DEADLINE_MS / 2);
    }
    ck_assert_int_le(best_ms, PROMPT_MS);
}

static void
check_served(void)
{
    json_t *answer = rig_call(&rig, "reserve",
                              "\"client\": \"keeper\", \"min\": %d", 8 * 1024);
    char *id = strdup(json_string_value(
        json_object_get(json_object_get(answer, "result"), "reservation")));

    json_decref(answer);
    answer = rig_call(&rig, "release", "\"reservation\": \"%s\"", id);
    ck_assert_ptr_nonnull(json_object_get(answer, "result"));
    json_decref(answer);
    free(id);
}

static const char *
kind(void)
{
    const char *name = getenv("XENSTORED_KIND");

    return name ? name : "c";
}

static void
measured(const char *what, int64_t ms, unsigned lines)
{
    printf("%s (%s): back after %" PRId64 " ms, %u lines of log\n", what,
           kind(), ms, lines);
}

static void
set_up(void)
{
    rig_start(&rig);
    rig_run(&rig);
    rig_ready(&rig);
    reserve_kept();
}

static void
set_up_proxied(void)
{
    rig.proxied = true;
    /* Some memory that is had without squeezing. */
    rig.extra = "cushion = 64M";
    set_up();
}

static void
tear_down(void)
{
    ck_assert(!rig_died(&rig));
    rig_stop(&rig);
}

/* ------------------------------------------------- stopped, killed, restarted
 */

#define SET_RANGE                                                              \
    "\"domid\": 1, \"dynamic_min\": 262144, \"dynamic_max\": 1048576"

/* A call that has to write, and one that waits for guests who hear nothing:
 * both are answered. */
static void
check_answers_without_store(void)
{
    int64_t start_us = rig_now_us();
    int range = rig_send(&rig, "set_range", SET_RANGE);
    int big = rig_send(&rig, "reserve",
                       "\"client\": \"keeper\", \"min\": %d, "
                       "\"timeout_ms\": %d",
                       300 * 1024, DEADLINE_MS + 1000);
    json_t *answer;

    rig_sleep_ms(100);
    check_prompt();
    answer = rig_receive(range);
    ck_assert_int_le(ms_since(start_us), DEADLINE_MS + patient_ms(500));
    ck_assert_int_eq(rig_number(answer, "error.code"), -32007);
    json_decref(answer);
    answer = rig_receive(big);
    ck_assert_int_le(ms_since(start_us), DEADLINE_MS + patient_ms(1500));
    ck_assert_int_eq(rig_number(answer, "error.code"), -32002);
    json_decref(answer);
}

START_TEST(stopped)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    int64_t start_us;
    char why[300];

    kill(rig.store.pid, SIGSTOP);
    check_answers_without_store();
    ck_assert(!store_connected());
    check_prompt();
    ck_assert_int_eq(health(why), 503);
    ck_assert_msg(strstr(why, "xenstore") != NULL, "%s", why);
    /* And it tries again meanwhile. */
    rig_sleep_ms(getenv("FAULTS_ALL") ? 25000 : DEADLINE_MS + 500);
    check_prompt();
    start_us = rig_now_us();
    kill(rig.store.pid, SIGCONT);
    wait_health(200, why, BACK_MS);
    measured("stopped for 11 s or more", ms_since(start_us),
             rig_log_lines(&rig, NULL) - lines);
    ck_assert_uint_le(rig_log_lines(&rig, NULL) - lines, 12);
    ck_assert_uint_eq(rig_log_lines(&rig, "no xenstore"), 1);
    rig_sleep_ms(300);
    check_kept();
    check_served();
}
END_TEST

START_TEST(killed_and_restarted)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    int64_t start_us;
    char why[300];
    json_t *status, *answer;

    store_kill(&rig.store);
    wait_health(503, why, PROMPT_MS);
    ck_assert_msg(strstr(why, "xenstore") != NULL, "%s", why);
    ck_assert(!store_connected());
    rig_sleep_ms(2500);
    check_prompt();
    answer = rig_call(&rig, "reserve", "\"client\": \"keeper\", \"min\": 4096");
    ck_assert_int_eq(rig_number(answer, "error.code"), -32007);
    json_decref(answer);
    store_restart(&rig.store);
    start_us = rig_now_us();
    wait_health(200, why, BACK_MS + PROMPT_MS);
    measured("killed and restarted", ms_since(start_us),
             rig_log_lines(&rig, NULL) - lines);
    ck_assert_uint_le(rig_log_lines(&rig, NULL) - lines, 12);
    ck_assert_uint_eq(rig_log_lines(&rig, "no xenstore"), 1);
    check_kept();
    /* The tree is gone: nobody is managed until somebody writes ranges. */
    status = rig_status(&rig);
    ck_assert_str_eq(
        json_string_value(json_object_get(rig_domain(status, 1), "state")),
        "unmanaged");
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(
                                     json_object_get(status, "store"), "why")),
                                 "ranges"));
    json_decref(status);
}
END_TEST

START_TEST(restarted_often)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    char why[300];

    for (int i = 0; i < 5; i++) {
        store_restart(&rig.store);
        rig_sleep_ms(20 * i);
    }
    wait_health(200, why, BACK_MS + PROMPT_MS);
    check_kept();
    measured("restarted five times", 0, rig_log_lines(&rig, NULL) - lines);
}
END_TEST

/* squeezed dies while xenstored is stopped: what was stored before is there. */
START_TEST(both_die)
{
    kill(rig.store.pid, SIGSTOP);
    rig_kill(&rig);
    rig_run(&rig);
    rig_sleep_ms(200);
    kill(rig.store.pid, SIGCONT);
    rig_ready(&rig);
    check_kept();
}
END_TEST

/* ------------------------------------------------------- slow, cutting, mad */

START_TEST(slow)
{
    int64_t start_us;
    json_t *answer;

    rig.proxy.plan->delay_us = 20000;
    start_us = rig_now_us();
    answer = rig_call(&rig, "reserve",
                      "\"client\": \"keeper\", \"min\": %d, "
                      "\"timeout_ms\": 10000",
                      300 * 1024);
    ck_assert_ptr_nonnull(json_object_get(answer, "result"));
    json_decref(answer);
    printf("20 ms an answer (%s): 300 MiB in %" PRId64 " ms\n", kind(),
           ms_since(start_us));
    check_prompt();
    rig_kill(&rig);
    start_us = rig_now_us();
    rig_run(&rig);
    rig_ready(&rig);
    printf("20 ms an answer (%s): started in %" PRId64 " ms\n", kind(),
           ms_since(start_us));
}
END_TEST

/* It answers some requests, and hangs up: for seconds. */
static const unsigned cut_at[] = { 1, 10, 64 };

START_TEST(hangs_up)
{
    unsigned at = cut_at[_i];
    unsigned lines = rig_log_lines(&rig, NULL);
    int64_t start_us = rig_now_us(), connections, most;
    char why[300];
    json_t *status;

    rig.proxy.plan->fault = PROXY_CUT_BEFORE;
    rig.proxy.plan->again = true;
    rig.proxy.plan->at = at;
    /* Some request, so that it begins. */
    json_decref(rig_call(&rig, "set_range", SET_RANGE));
    for (int i = 0; i < 30; i++) {
        rig_sleep_ms(100);
        check_prompt();
    }
    lines = rig_log_lines(&rig, NULL) - lines;
    most = 17 + ms_since(start_us) / 1000; /* 10, 20, 40 ms, ... 1 s apart */
    start_us = rig_now_us();
    rig.proxy.plan->at = 0;
    wait_health(200, why, BACK_MS + PROMPT_MS);
    status = rig_status(&rig);
    connections = rig_number(status, "store.reconnects");
    json_decref(status);
    printf("hangs up at request %u for 3 s: %" PRId64 " connections; ", at,
           connections);
    measured("", ms_since(start_us), lines);
    ck_assert_uint_le(lines, 10);
    ck_assert_int_le(connections, most);
    check_kept();
    check_served();
}
END_TEST

START_TEST(garbage)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    int64_t start_us = rig_now_us();
    char why[300];

    rig.proxy.plan->fault = PROXY_GARBAGE;
    rig.proxy.plan->garbage = (enum proxy_garbage)_i;
    rig.proxy.plan->at = 1;
    json_decref(rig_call(&rig, "set_range", SET_RANGE));
    ck_assert_int_le(ms_since(start_us), DEADLINE_MS + patient_ms(500));
    start_us = rig_now_us();
    wait_health(200, why, BACK_MS);
    printf("garbage %d: ", _i);
    measured("", ms_since(start_us), rig_log_lines(&rig, NULL) - lines);
    ck_assert_uint_le(rig_log_lines(&rig, NULL) - lines, 8);
    check_kept();
    check_served();
}
END_TEST

/* Nothing but noise, on every connection, for seconds. */
START_TEST(nothing_but_garbage)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    int64_t start_us;
    char why[300];

    rig.proxy.plan->fault = PROXY_GARBAGE;
    rig.proxy.plan->garbage = GARBAGE_NOISE;
    rig.proxy.plan->again = true;
    rig.proxy.plan->at = 1;
    json_decref(rig_call(&rig, "set_range", SET_RANGE));
    rig_sleep_ms(2000);
    check_prompt();
    ck_assert_int_eq(health(why), 503);
    start_us = rig_now_us();
    rig.proxy.plan->at = 0;
    wait_health(200, why, BACK_MS + PROMPT_MS);
    measured("nothing but garbage for 2 s", ms_since(start_us),
             rig_log_lines(&rig, NULL) - lines);
    ck_assert_uint_le(rig_log_lines(&rig, NULL) - lines, 8);
    check_kept();
    check_served();
}
END_TEST

/* A request that is never answered: the grant's own. */
START_TEST(a_grant_is_never_stored)
{
    int64_t start_us = 0;
    json_t *answer = NULL, *id;
    char why[300];

    rig.proxy.plan->fault = PROXY_STALL;
    /* Something else may have been on its way, and have met the fault. */
    for (int i = 0; i < 5; i++) {
        json_decref(rig_call(&rig, "balance", "%s", ""));
        start_us = rig_now_us();
        rig.proxy.plan->at = 1;
        answer =
            rig_call(&rig, "reserve", "\"client\": \"keeper\", \"min\": 4096");
        id = json_object_get(json_object_get(answer, "result"), "reservation");
        if (!id)
            break;
        json_decref(rig_call(&rig, "release", "\"reservation\": \"%s\"",
                             json_string_value(id)));
        json_decref(answer);
        wait_health(200, why, BACK_MS + DEADLINE_MS);
    }
    ck_assert_int_eq(rig_number(answer, "error.code"), -32007);
    json_decref(answer);
    ck_assert_int_le(ms_since(start_us), DEADLINE_MS + patient_ms(500));
    wait_health(200, why, BACK_MS);
    rig_sleep_ms(200);
    check_kept();
    check_served();
}
END_TEST

/* Xen refuses all limits, for seconds, while there is much to do. */
START_TEST(no_limit_can_be_set)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    json_t *status;

    rig.hv->fail_errno = EPERM;
    rig.hv->fail_always = UINT32_C(1) << FAKEHV_MAX_MEM;
    json_decref(rig_call(&rig, "release", "\"reservation\": \"%s\"", kept));
    rig_sleep_ms(3000);
    lines = rig_log_lines(&rig, NULL) - lines;
    if (getenv("FAULTS_LOG"))
        rig_print_log(&rig);
    printf("no limit can be set for 3 s: %u lines of log\n", lines);
    rig.hv->fail_always = 0;
    rig_sleep_ms(1500);
    status = rig_status(&rig);
    ck_assert_int_eq(rig_number(rig_domain(status, 1), "target_kib"),
                     RIG_MAX_KIB);
    json_decref(status);
    ck_assert_uint_le(lines, 20);
}
END_TEST

/* xenstored refuses all writes, for seconds: with at = 1, any request. */
START_TEST(nothing_can_be_stored)
{
    unsigned lines = rig_log_lines(&rig, NULL);
    json_t *answer;
    char why[300];

    rig.proxy.plan->fault = PROXY_FAIL;
    snprintf((char *)(uintptr_t)rig.proxy.plan->error, 16, "EACCES");
    rig.proxy.plan->again = true;
    rig.proxy.plan->at = 1;
    answer = rig_call(&rig, "reserve",
                      "\"client\": \"keeper\", \"min\": 102400, "
                      "\"timeout_ms\": 2000");
    ck_assert_int_eq(rig_number(answer, "error.code"), -32002);
    json_decref(answer);
    rig_sleep_ms(1000);
    lines = rig_log_lines(&rig, NULL) - lines;
    if (getenv("FAULTS_LOG"))
        rig_print_log(&rig);
    printf("nothing can be stored for 3 s: %u lines of log\n", lines);
    rig.proxy.plan->at = 0;
    wait_health(200, why, BACK_MS);
    rig_sleep_ms(1500);
    check_kept();
    check_served();
    ck_assert_uint_le(lines, 20);
}
END_TEST

/* ------------------------------------------------------------ not there yet */

static void
set_up_host(void)
{
    rig_start(&rig);
    rig_sleep_ms(50); /* the guests have begun */
}

/* Waits for 503, and that it says why. */
static void
check_waits(const char *what)
{
    unsigned lines;
    char why[300];

    rig_run(&rig);
    wait_health(503, why, LATE_MS);
    ck_assert_msg(strstr(why, what) != NULL, "%s", why);
    rig_sleep_ms(1500);
    lines = rig_log_lines(&rig, NULL);
    rig_sleep_ms(2000);
    if (rig_log_lines(&rig, NULL) > lines)
        rig_print_log(&rig);
    ck_assert_uint_eq(rig_log_lines(&rig, NULL), lines);
    ck_assert_int_eq(health(why), 503);
    ck_assert_uint_ge(rig_log_lines(&rig, what), 1);
}

static void
check_comes(const char *what, int limit_ms)
{
    int64_t start_us = rig_now_us();
    char why[300];

    rig_restart_guests(&rig);
    wait_health(200, why, limit_ms);
    measured(what, ms_since(start_us), rig_log_lines(&rig, NULL));
    reserve_kept();
    check_kept();
}

START_TEST(no_xenstore_at_start)
{
    store_kill(&rig.store);
    check_waits("no xenstore");
    store_restart(&rig.store);
    for (uint32_t i = 1; i <= RIG_GUESTS; i++) {
        rig_write_memory(&rig, i, "target", RIG_MAX_KIB);
        rig_write_memory(&rig, i, "dynamic-min", RIG_MIN_KIB);
        rig_write_memory(&rig, i, "dynamic-max", RIG_MAX_KIB);
    }
    check_comes("no xenstore at the start", BACK_MS + PROMPT_MS);
}
END_TEST

START_TEST(no_xen_at_start)
{
    char away[120];

    snprintf(away, sizeof(away), "%s/away", rig.store.dir);
    ck_assert_int_eq(rename(getenv(FAKEHV_ENV), away), 0);
    check_waits("Xen");
    ck_assert_int_eq(rename(away, getenv(FAKEHV_ENV)), 0);
    check_comes("no Xen at the start", BACK_MS + PROMPT_MS);
}
END_TEST

START_TEST(neither_at_start)
{
    char away[120];

    snprintf(away, sizeof(away), "%s/away", rig.store.dir);
    kill(rig.store.pid, SIGSTOP);
    ck_assert_int_eq(rename(getenv(FAKEHV_ENV), away), 0);
    check_waits("Xen");
    kill(rig.store.pid, SIGCONT);
    ck_assert_int_eq(rename(away, getenv(FAKEHV_ENV)), 0);
    check_comes("neither at the start", BACK_MS + PROMPT_MS);
}
END_TEST

/* The host has been up for long: everybody is there when squeezed starts. */
enum { CROWD = 1000, CROWD_KIB = 4 * KIB_PER_MIB, CROWD_MS = 500 };

static void
add_to_crowd(uint32_t domid)
{
    struct fakehv_domain *domain;

    fakehv_lock(rig.hv);
    rig.hv->total_pages += CROWD_KIB / KIB_PER_PAGE;
    rig.hv->free_pages += CROWD_KIB / KIB_PER_PAGE;
    domain =
        fakehv_add_domain(rig.hv, domid, XEN_DOMINF_running,
                          CROWD_KIB / KIB_PER_PAGE, CROWD_KIB / KIB_PER_PAGE);
    domain->cpu_time = 1;
    domain->handle[14] = (uint8_t)(domid / 256);
    domain->handle[15] = (uint8_t)domid;
    fakehv_unlock(rig.hv);
    rig_write_memory(&rig, domid, "static-max", CROWD_KIB);
    rig_write_memory(&rig, domid, "target", CROWD_KIB);
    rig_write_memory(&rig, domid, "dynamic-min", CROWD_KIB);
    rig_write_memory(&rig, domid, "dynamic-max", CROWD_KIB);
    store_write(&rig.store, "crowd", "/local/domain/%u/name", domid);
}

static bool
crowd_is_managed(void)
{
    json_t *status = rig_status(&rig);
    const json_t *last = status ? rig_domain(status, CROWD) : NULL;
    bool managed =
        last && strcmp("unmanaged",
                       json_string_value(json_object_get(last, "state"))) != 0;

    json_decref(status);
    return managed;
}

START_TEST(a_thousand_domains_at_start)
{
    int64_t best_ms = INT64_MAX;

    for (uint32_t domid = RIG_GUESTS + 1; domid <= CROWD; domid++)
        add_to_crowd(domid);
    for (int i = 0; i < 5 && best_ms > CROWD_MS; i++) {
        int64_t start_us = rig_now_us();

        rig_run(&rig);
        rig_ready(&rig);
        best_ms = min_i64(best_ms, ms_since(start_us));
        ck_assert(crowd_is_managed());
        rig_kill(&rig);
    }
    printf("%d domains at the start (%s): ready after %" PRId64 " ms\n", CROWD,
           kind(), best_ms);
    ck_assert_int_le(best_ms, patient_ms(CROWD_MS));
    rig_run(&rig);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

static TCase *
add_case(Suite *suite, const char *name, void (*begin)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, begin, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int
main(void)
{
    Suite *suite = suite_create("xenstore faults");
    TCase *ended = add_case(suite, "ended", set_up);
    TCase *absent = add_case(suite, "absent", set_up_host);
    TCase *mad = tcase_create("mad");

    if (!store_possible())
        return 77;
    /* It is the proxy that is mad, whatever xenstored is behind it. */
    if (!strcmp(kind(), "c"))
        mad = add_case(suite, "mad", set_up_proxied);
    setvbuf(stdout, NULL, _IOLBF, 0);
    tcase_add_test(ended, stopped);
    tcase_add_test(ended, killed_and_restarted);
    tcase_add_test(ended, restarted_often);
    tcase_add_test(ended, both_die);
    tcase_add_test(ended, no_limit_can_be_set);
    tcase_add_test(mad, slow);
    tcase_add_loop_test(mad, hangs_up, 0, COUNT(cut_at));
    tcase_add_loop_test(mad, garbage, 0, GARBAGE_KINDS);
    tcase_add_test(mad, nothing_but_garbage);
    tcase_add_test(mad, a_grant_is_never_stored);
    tcase_add_test(mad, nothing_can_be_stored);
    tcase_add_test(absent, a_thousand_domains_at_start);
    tcase_add_test(absent, no_xenstore_at_start);
    tcase_add_test(absent, no_xen_at_start);
    tcase_add_test(absent, neither_at_start);
    return run_suite(suite, CK_FORK_GETENV);
}
