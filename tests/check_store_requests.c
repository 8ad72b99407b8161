/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole daemon, asked by writes to xenstore: every folder gets its word,
 * whatever is in it, and nothing is lost or kept twice when squeezed, xenstored
 * or the folder goes in between. */
#include "tests/fakexen/rig.h"
#include "tests/random.h"
#include "tests/suite.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <xenstore.h>

#define ROOT "/squeezed/request"

enum {
    SOON_MS = 15000, /* on a busy machine */
    LATE_MS = 60000,
    SMALL_KIB = 1024,
    BIG_KIB = 600 * 1024, /* takes a squeeze */
    LIMIT = 1024,
    CROWD = 10000
};

static struct rig rig;

/* ------------------------------------------------------------ the client */

static void __attribute__((format(printf, 3, 4)))
put(const char *id, const char *leaf, const char *format, ...)
{
    char value[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    store_write(&rig.store, value, ROOT "/%s/%s", id, leaf);
}

static const char *
get(const char *id, const char *leaf)
{
    return store_read(&rig.store, ROOT "/%s/%s", id, leaf);
}

static void
request(const char *id, uint64_t kib)
{
    put(id, "min", "%" PRIu64, kib);
    put(id, "state", "new");
}

static bool
comes(const char *id, const char *leaf, const char *value, int limit_ms)
{
    int64_t end_us = rig_now_us() + limit_ms * US_PER_MS;

    while (strcmp(get(id, leaf), value) != 0) {
        if (rig_now_us() > end_us)
            return false;
        rig_sleep_ms(2);
    }
    return true;
}

static void
wait_state(const char *id, const char *state)
{
    if (comes(id, "state", state, SOON_MS))
        return;
    rig_print_log(&rig);
    fprintf(stderr, "state %s", get(id, "state"));
    fprintf(stderr, ", error %s\n", get(id, "error"));
    ck_abort_msg("%s is not %s", id, state);
}

static void
check_refused(const char *id, const char *how)
{
    wait_state(id, "refused");
    ck_assert_msg(strncmp(get(id, "error"), how, strlen(how)) == 0,
                  "%s: not %s but %s", id, how, get(id, "error"));
}

/* Of the ledger. */
static size_t
reservations(uint64_t *ret_reserved_kib)
{
    json_t *status = rig_status(&rig);
    size_t n;

    ck_assert_ptr_nonnull(status);
    n = json_array_size(json_object_get(status, "reservations"));
    if (ret_reserved_kib)
        *ret_reserved_kib = (uint64_t)rig_number(status, "host.reserved_kib");
    json_decref(status);
    return n;
}

static void
wait_reservations(size_t n)
{
    int64_t end_us = rig_now_us() + SOON_MS * US_PER_MS;
    size_t found;

    /* One look is enough: what is on its way may come after it. */
    while ((found = reservations(NULL)) != n && rig_now_us() < end_us)
        rig_sleep_ms(2);
    if (found != n)
        rig_print_log(&rig);
    ck_assert_uint_eq(found, n);
}

static void
restart(void)
{
    rig_kill(&rig);
    rig_run(&rig);
    rig_ready(&rig);
}

/* The folder is there, and domain 0's alone. */
static void
wait_folder(void)
{
    int64_t end_us = rig_now_us() + SOON_MS * US_PER_MS;
    struct xs_permissions *p = NULL;
    unsigned n = 0;

    do {
        free(p);
        rig_sleep_ms(2);
        p = xs_get_permissions(rig.store.xs, XBT_NULL, ROOT, &n);
    } while (!p && rig_now_us() < end_us);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(p[0].id, 0);
    ck_assert_uint_eq(p[0].perms, XS_PERM_NONE);
    free(p);
}

static void
set_up(void)
{
    rig_start(&rig);
    rig_run(&rig);
    rig_ready(&rig);
    wait_folder();
}

static void
set_up_proxied(void)
{
    rig.proxied = true;
    set_up();
}

static void
tear_down(void)
{
    ck_assert(!rig_died(&rig));
    rig_stop(&rig);
}

/* -------------------------------------------------------------- its lives */

START_TEST(granted_transferred_removed)
{
    char id[64];

    request("a", SMALL_KIB);
    wait_state("a", "granted");
    ck_assert_str_eq(get("a", "amount"), "1024");
    snprintf(id, sizeof id, "%s", get("a", "reservation"));
    ck_assert_str_eq(store_read(&rig.store, "/squeezed/state/anonymous/%s", id),
                     "1024");
    put("a", "transfer", "2");
    wait_state("a", "transferred");
    ck_assert_str_eq(
        store_read(&rig.store, "/squeezed/state/anonymous/%s/in-transfer", id),
        "2");
    /* It is the domain's: removing the folder takes nothing from it. */
    store_remove(&rig.store, ROOT "/a");
    rig_sleep_ms(100);
    ck_assert_uint_eq(reservations(NULL), 1);
}
END_TEST

START_TEST(squeezes_and_names)
{
    uint64_t reserved_kib;

    put("b", "client", "scripts");
    put("b", "max", "%d", BIG_KIB + 4096);
    put("b", "timeout", "30");
    put("b", "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    request("b", BIG_KIB);
    wait_state("b", "granted");
    ck_assert_uint_ge(strtoull(get("b", "amount"), NULL, 10), BIG_KIB);
    reservations(&reserved_kib);
    ck_assert_uint_eq(reserved_kib, strtoull(get("b", "amount"), NULL, 10));
    ck_assert_str_ne(store_read(&rig.store, "/squeezed/state/scripts/%s/uuid",
                                get("b", "reservation")),
                     "");
    store_remove(&rig.store, ROOT "/b");
    wait_reservations(0);
}
END_TEST

START_TEST(half_written)
{
    put("h", "min", "1024");
    rig_sleep_ms(50);
    ck_assert_str_eq(get("h", "state"), "");
    put("h", "state", "ne");
    rig_sleep_ms(50);
    ck_assert_str_eq(get("h", "state"), "ne");
    put("h", "state", "new");
    wait_state("h", "granted");
    wait_reservations(1);
}
END_TEST

static const struct wrong {
    const char *id, *min, *leaf, *value, *error;
} wrongs[] = {
    { "w", NULL, NULL, NULL, "invalid: min" },
    { "w", "", NULL, NULL, "invalid: min" },
    { "w", "12k", NULL, NULL, "invalid: min \"12k\"" },
    { "w", "-4", NULL, NULL, "invalid: min" },
    { "w", "1125899906842625", NULL, NULL, "invalid: min" },
    { "w", "99999999999999999999999", NULL, NULL, "invalid: min" },
    { "w", "4\n", NULL, NULL, "invalid: min \"4?\"" },
    { "w", "8", "max", "4", "invalid: max" },
    { "w", "8", "max", "x", "invalid: max" },
    { "w", "8", "client", "a/b", "invalid: client" },
    { "w", "8", "client", "", "invalid: client" },
    { "w", "8", "timeout", "soon", "invalid: timeout" },
    { "w", "8", "timeout", "-1", "invalid: timeout" },
    { "w", "8", "uuid", "6ba7b810", "invalid: uuid" },
    { "w@", "8", NULL, NULL, "invalid: the folder's name" },
    { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "8",
      NULL, NULL, "invalid: the folder's name" },
    { "w", "1125899906842624", NULL, NULL, "cannot-free: " },
};

START_TEST(wrong_values)
{
    const struct wrong *w = &wrongs[_i];

    if (w->min)
        put(w->id, "min", "%s", w->min);
    if (w->leaf)
        put(w->id, w->leaf, "%s", w->value);
    put(w->id, "state", "new");
    check_refused(w->id, w->error);
    ck_assert_uint_eq(reservations(NULL), 0);
    /* Corrected, and asked once more. */
    if (strcmp(w->id, "w") != 0)
        return;
    if (w->leaf)
        xs_rm(rig.store.xs, XBT_NULL, ROOT "/w/max");
    if (w->leaf && strcmp(w->leaf, "max") != 0) {
        char path[64];

        snprintf(path, sizeof path, ROOT "/w/%s", w->leaf);
        xs_rm(rig.store.xs, XBT_NULL, path);
    }
    request("w", SMALL_KIB);
    wait_state("w", "granted");
    ck_assert_str_eq(get("w", "error"), "");
}
END_TEST

START_TEST(huge_values)
{
    char value[1900];

    memset(value, '7', sizeof value);
    xs_write(rig.store.xs, XBT_NULL, ROOT "/x/min", value, sizeof value);
    put("x", "state", "new");
    check_refused("x", "invalid: min \"777");
    xs_write(rig.store.xs, XBT_NULL, ROOT "/y/min", "4\0004", 3);
    put("y", "state", "new");
    check_refused("y", "invalid: min");
    xs_write(rig.store.xs, XBT_NULL, ROOT "/z/state", value, sizeof value);
    request("ok", SMALL_KIB);
    wait_state("ok", "granted");
}
END_TEST

START_TEST(wrong_transfers)
{
    request("t", SMALL_KIB);
    wait_state("t", "granted");
    put("t", "transfer", "77");
    ck_assert(comes("t", "transfer", "", SOON_MS));
    ck_assert_str_eq(get("t", "state"), "granted");
    ck_assert_msg(strncmp(get("t", "error"), "unknown-domain", 14) == 0, "%s",
                  get("t", "error"));
    put("t", "transfer", "one");
    ck_assert(comes("t", "transfer", "", SOON_MS));
    ck_assert_msg(strncmp(get("t", "error"), "invalid", 7) == 0, "%s",
                  get("t", "error"));
    put("t", "transfer", "1");
    wait_state("t", "transferred");
}
END_TEST

/* The guests give nothing: it waits. */
static void
queue_one(const char *id)
{
    kill(rig.guests, SIGSTOP);
    put(id, "timeout", "600");
    request(id, BIG_KIB);
    wait_state(id, "queued");
}

START_TEST(removed_while_queued)
{
    queue_one("q");
    rig_sleep_ms(20);
    store_remove(&rig.store, ROOT "/q");
    rig_sleep_ms(50);
    kill(rig.guests, SIGCONT);
    /* The next one finds the memory. */
    request("r", BIG_KIB);
    wait_state("r", "granted");
    wait_reservations(1);
    ck_assert_str_eq(get("q", "state"), "");
}
END_TEST

START_TEST(restart_while_queued)
{
    queue_one("q");
    rig_kill(&rig);
    kill(rig.guests, SIGCONT);
    rig_run(&rig);
    rig_ready(&rig);
    wait_state("q", "granted");
    wait_reservations(1);
}
END_TEST

START_TEST(restart_while_granted)
{
    char id[64];

    request("g", SMALL_KIB);
    wait_state("g", "granted");
    snprintf(id, sizeof id, "%s", get("g", "reservation"));
    restart();
    wait_reservations(1);
    ck_assert_str_eq(get("g", "reservation"), id);
    put("g", "transfer", "3");
    wait_state("g", "transferred");
    request("g2", SMALL_KIB);
    wait_state("g2", "granted");
    rig_kill(&rig);
    store_remove(&rig.store, ROOT "/g2");
    rig_run(&rig);
    rig_ready(&rig);
    wait_reservations(1); /* domain 3's */
}
END_TEST

/* At any instant of any of them. */
START_TEST(killed_anywhere)
{
    struct random r = random_seed(__func__, 0);
    const unsigned runs = (unsigned)random_runs(25);
    uint64_t reserved_kib;
    char id[64];

    for (unsigned run = 0; run < runs; run++) {
        for (unsigned i = 0; i < 8; i++) {
            snprintf(id, sizeof id, "k%u", i);
            request(id, SMALL_KIB / 8);
        }
        nanosleep(
            &(struct timespec){ .tv_nsec = (long)random_below(&r, 4000000) },
            NULL);
        restart();
        for (unsigned i = 0; i < 8; i++) {
            snprintf(id, sizeof id, "k%u", i);
            wait_state(id, "granted");
        }
        wait_reservations(8);
        reservations(&reserved_kib);
        ck_assert_uint_eq(reserved_kib, SMALL_KIB);
        for (unsigned i = 0; i < 8; i++) {
            snprintf(id, sizeof id, ROOT "/k%u", i);
            store_remove(&rig.store, id);
        }
        wait_reservations(0);
    }
}
END_TEST

/* Made and removed at any pace: nothing stays. */
START_TEST(removed_anywhere)
{
    struct random r = random_seed(__func__, 0);
    const unsigned runs = (unsigned)random_runs(300);
    char path[64];

    for (unsigned run = 0; run < runs; run++) {
        request("m", SMALL_KIB);
        if (random_below(&r, 2))
            nanosleep(&(struct timespec){ .tv_nsec =
                                              (long)random_below(&r, 1000000) },
                      NULL);
        snprintf(path, sizeof path, ROOT "/m");
        store_remove(&rig.store, path);
    }
    wait_reservations(0);
    request("m", SMALL_KIB);
    wait_state("m", "granted");
    wait_reservations(1);
}
END_TEST

START_TEST(xenstored_restarts)
{
    char id[64];

    request("s", SMALL_KIB);
    wait_state("s", "granted");
    snprintf(id, sizeof id, "%s", get("s", "reservation"));
    store_kill(&rig.store);
    rig_sleep_ms(50);
    store_restart(&rig.store);
    wait_state("s", "granted");
    ck_assert_str_eq(get("s", "reservation"), id);
    wait_folder();
    request("s2", SMALL_KIB);
    wait_state("s2", "granted");
    put("s", "transfer", "1");
    wait_state("s", "transferred");
    wait_reservations(2);
}
END_TEST

START_TEST(released_by_others)
{
    json_t *answer;

    request("o", SMALL_KIB);
    wait_state("o", "granted");
    answer = rig_call(&rig, "release", "\"reservation\": \"%s\"",
                      get("o", "reservation"));
    json_decref(answer);
    check_refused("o", "unknown-reservation");
    request("p", SMALL_KIB);
    wait_state("p", "granted");
    answer = rig_call(&rig, "transfer", "\"reservation\": \"%s\", \"domid\": 2",
                      get("p", "reservation"));
    json_decref(answer);
    wait_state("p", "transferred");
}
END_TEST

START_TEST(the_folder_goes)
{
    request("f", SMALL_KIB);
    wait_state("f", "granted");
    store_remove(&rig.store, ROOT);
    wait_reservations(0);
    wait_folder();
    request("f", SMALL_KIB);
    wait_state("f", "granted");
}
END_TEST

/* ------------------------------------------------- with xenstored refusing */

/* At the next such request of squeezed's. */
static void
fault_at(enum proxy_fault fault, const char *only, bool hold)
{
    struct proxy_plan *plan = (struct proxy_plan *)(uintptr_t)rig.proxy.plan;

    proxy_reset(&rig.proxy);
    plan->fault = fault;
    plan->hold = hold;
    snprintf(plan->error, sizeof(plan->error), "EIO");
    snprintf(plan->only, sizeof(plan->only), "%s", only);
    plan->at = 1;
}

static void
wait_fault(void)
{
    int64_t end_us = rig_now_us() + SOON_MS * US_PER_MS;

    while (!rig.proxy.plan->done && rig_now_us() < end_us)
        rig_sleep_ms(1);
    ck_assert(rig.proxy.plan->done);
}

/* All that was written before has been read. */
static void
wait_read(const char *id)
{
    request(id, 4);
    wait_state(id, "queued");
}

/* Granted, and its transfer is on its way to xenstored, which fault awaits. */
static void
move_one(const char *id, enum proxy_fault fault)
{
    request(id, SMALL_KIB);
    wait_state(id, "granted");
    fault_at(fault, "write /squeezed/state/anonymous/", true);
    put(id, "transfer", "2");
    wait_fault();
}

START_TEST(removed_while_moving)
{
    move_one("m", _i ? PROXY_FAIL : PROXY_NOTHING);
    store_remove(&rig.store, ROOT "/m");
    wait_read("r1");
    rig.proxy.plan->hold = false;
    wait_state("r1", "granted");
    store_remove(&rig.store, ROOT "/r1");
    /* The domain has it, or nobody. */
    wait_reservations(_i ? 0 : 1);
    ck_assert_str_eq(get("m", "state"), "");
}
END_TEST

START_TEST(anew_while_moving)
{
    move_one("m", _i ? PROXY_FAIL : PROXY_NOTHING);
    store_remove(&rig.store, ROOT "/m");
    wait_read("r1");
    request("m", SMALL_KIB);
    wait_read("r2");
    ck_assert(!rig_died(&rig));
    rig.proxy.plan->hold = false;
    wait_state("m", "granted");
    wait_state("r2", "granted");
    wait_reservations(_i ? 3 : 4);
}
END_TEST

/* What squeezed can't read at its start isn't taken for removed. */
static const char *const unread[] = {
    "read " ROOT,
    "directory " ROOT,
    "read " ROOT "/u2/state",
};

START_TEST(unread_at_start)
{
    json_t *answer;

    request("u1", SMALL_KIB);
    wait_state("u1", "granted");
    request("u2", SMALL_KIB);
    wait_state("u2", "granted");
    request("u3", SMALL_KIB);
    wait_state("u3", "granted");
    rig_kill(&rig);
    store_remove(&rig.store, ROOT "/u3");
    fault_at(PROXY_FAIL, unread[_i], false);
    rig_run(&rig);
    rig_ready(&rig);
    wait_fault();
    put("u1", "transfer", "2");
    wait_state("u1", "transferred");
    /* The third goes, once all is read; the second was read without any event
     * of its own. */
    wait_reservations(2);
    rig_sleep_ms(100);
    ck_assert_str_eq(get("u2", "state"), "granted");
    answer = rig_call(&rig, "release", "\"reservation\": \"%s\"",
                      get("u2", "reservation"));
    ck_assert_ptr_nonnull(json_object_get(answer, "result"));
    json_decref(answer);
    check_refused("u2", "unknown-reservation");
}
END_TEST

START_TEST(watch_refused)
{
    rig_kill(&rig);
    fault_at(PROXY_FAIL, "watch " ROOT, false);
    rig_run(&rig);
    rig_ready(&rig);
    wait_fault();
    /* Before it is watched, and afterwards. */
    request("w1", SMALL_KIB);
    wait_state("w1", "granted");
    request("w2", SMALL_KIB);
    wait_state("w2", "granted");
    ck_assert_uint_eq(rig_log_lines(&rig, "can't be watched"), 1);
}
END_TEST

static void
sleep_up_to(struct random *r, uint64_t ns)
{
    nanosleep(&(struct timespec){ .tv_nsec = (long)random_below(r, ns) }, NULL);
}

/* Removed, and made anew, at any instant of a transfer. */
START_TEST(moved_anywhere)
{
    struct random r = random_seed(__func__, 0);
    const unsigned runs = (unsigned)random_runs(100);

    for (unsigned run = 0; run < runs; run++) {
        request("m", 4);
        wait_state("m", "granted");
        put("m", "transfer", "2");
        sleep_up_to(&r, 1000000);
        store_remove(&rig.store, ROOT "/m");
        sleep_up_to(&r, 1000000);
    }
    request("m", 4);
    wait_state("m", "granted");
}
END_TEST

/* ----------------------------------------------------------------- crowds */

static unsigned
count_states(const char *state)
{
    unsigned n = 0;
    char id[64];

    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(id, sizeof id, "c%u", i);
        n += strcmp(get(id, "state"), state) == 0;
    }
    return n;
}

START_TEST(ten_thousand)
{
    int64_t start_us = rig_now_us();
    char id[64];
    unsigned granted;

    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(id, sizeof id, "c%u", i);
        request(id, 4);
    }
    while (count_states("refused") < CROWD - LIMIT &&
           rig_now_us() - start_us < LATE_MS * US_PER_MS)
        rig_sleep_ms(100);
    granted = count_states("granted");
    printf("%u requests: %u granted, all answered after %" PRId64 " ms\n",
           CROWD, granted, (rig_now_us() - start_us) / US_PER_MS);
    ck_assert_uint_eq(granted, LIMIT);
    ck_assert_uint_eq(count_states("refused"), CROWD - LIMIT);
    ck_assert_uint_eq(reservations(NULL), LIMIT);
    /* Served all the same, also after a restart that finds them all. */
    restart();
    ck_assert_uint_eq(reservations(NULL), LIMIT);
    rig_sleep_ms(2000);
    ck_assert_uint_eq(count_states("granted"), LIMIT);
    store_remove(&rig.store, ROOT);
    wait_reservations(0);
    wait_folder();
    request("last", SMALL_KIB);
    wait_state("last", "granted");
}
END_TEST

static TCase *
add_case(Suite *suite, const char *name, void (*begin)(void), double timeout_s)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, timeout_s);
    tcase_add_checked_fixture(tcase, begin, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int
main(void)
{
    Suite *suite = suite_create("requests by xenstore");
    TCase *lives = add_case(suite, "lives", set_up, 60);
    TCase *faults = add_case(suite, "faults", set_up_proxied, 60);
    TCase *crowds = add_case(suite, "crowds", set_up, 180);

    if (!store_possible())
        return 77;
    setvbuf(stdout, NULL, _IOLBF, 0);
    tcase_add_test(lives, granted_transferred_removed);
    tcase_add_test(lives, squeezes_and_names);
    tcase_add_test(lives, half_written);
    tcase_add_loop_test(lives, wrong_values, 0, sizeof wrongs / sizeof *wrongs);
    tcase_add_test(lives, huge_values);
    tcase_add_test(lives, wrong_transfers);
    tcase_add_test(lives, removed_while_queued);
    tcase_add_test(lives, restart_while_queued);
    tcase_add_test(lives, restart_while_granted);
    tcase_add_test(lives, killed_anywhere);
    tcase_add_test(lives, removed_anywhere);
    tcase_add_test(lives, xenstored_restarts);
    tcase_add_test(lives, released_by_others);
    tcase_add_test(lives, the_folder_goes);
    tcase_add_test(lives, moved_anywhere);
    tcase_add_loop_test(faults, removed_while_moving, 0, 2);
    tcase_add_loop_test(faults, anew_while_moving, 0, 2);
    tcase_add_loop_test(faults, unread_at_start, 0,
                        sizeof unread / sizeof *unread);
    tcase_add_test(faults, watch_refused);
    tcase_add_test(crowds, ten_thousand);
    return run_suite(suite, CK_FORK_GETENV);
}
