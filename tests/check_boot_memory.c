/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was free at the host's start. */
#include "squeezed/boot_memory.h"

#include "common/units.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static char folder[] = "/tmp/check_boot_memory.XXXXXX";
static char path[100];
static uint64_t there;   /* what measuring gives; 0: nothing to be seen */
static uint64_t told[2]; /* to those who waited */
static struct boot_memory *boot;
static int64_t now_us;

static bool
measure(void *context, uint64_t *ret_bytes)
{
    ck_assert_ptr_eq(context, &there);
    *ret_bytes = there;
    return there > 0;
}

static void
on_reply(void *arg, uint64_t bytes)
{
    *(uint64_t *)arg = bytes;
}

static void
start(const char *file, unsigned count)
{
    const struct boot_memory_options options = { .path = file,
                                                 .count = count,
                                                 .interval_us = US_PER_S,
                                                 .measure = measure,
                                                 .context = &there };

    boot_memory_free(boot);
    boot = boot_memory_new(&options, now_us);
}

static void
sample(uint64_t bytes)
{
    there = bytes;
    now_us = boot_memory_next_us(boot);
    ck_assert_int_ne(now_us, TIME_NEVER_US);
    boot_memory_run(boot, now_us - 1); /* nothing: it isn't due */
    boot_memory_run(boot, now_us);
}

static bool
is_known(void)
{
    return boot_memory_next_us(boot) == TIME_NEVER_US;
}

static void
setup(void)
{
    strcpy(strrchr(folder, '.'), ".XXXXXX");
    ck_assert_ptr_ne(mkdtemp(folder), NULL);
    snprintf(path, sizeof path, "%s/a/b/memory", folder);
    memset(told, 0, sizeof told);
    boot = NULL;
    now_us = 1000;
}

static void
teardown(void)
{
    char command[200];

    boot_memory_free(boot);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(sampler)
{
    struct boot_sampler s = { .needed = 3 };

    ck_assert(!boot_sampler_add(&s, 100 * MIB));
    ck_assert(!boot_sampler_add(&s, 101 * MIB)); /* the tolerance itself */
    ck_assert(!boot_sampler_add(&s, 102 * MIB + 1));
    ck_assert(!boot_sampler_add(&s, 101 * MIB + 1)); /* downwards, too */
    ck_assert(boot_sampler_add(&s, 101 * MIB));
    s = (struct boot_sampler){ .needed = 1 };
    ck_assert(boot_sampler_add(&s, 0));
    s = (struct boot_sampler){ .needed = 2 };
    ck_assert(!boot_sampler_add(&s, 0)); /* the first has none before it */
    ck_assert(boot_sampler_add(&s, 5));
}
END_TEST

START_TEST(waits_until_it_is_constant)
{
    start(path, 3);
    boot_memory_wait(boot, on_reply, &told[0]);
    sample(50 * MIB);
    sample(100 * MIB);
    sample(100 * MIB);
    ck_assert(!is_known());
    ck_assert_uint_eq(told[0], 0);
    boot_memory_wait(boot, on_reply, &told[1]);
    sample(100 * MIB + 7);
    ck_assert(is_known());
    ck_assert_uint_eq(told[0], 100 * MIB + 7);
    ck_assert_uint_eq(told[1], 100 * MIB + 7);
    told[0] = 0;
    boot_memory_wait(boot, on_reply, &told[0]);
    ck_assert_uint_eq(told[0], 100 * MIB + 7);
}
END_TEST

START_TEST(times)
{
    start(NULL, 2);
    ck_assert_int_eq(boot_memory_next_us(boot), now_us);
    sample(MIB);
    ck_assert_int_eq(boot_memory_next_us(boot), now_us + US_PER_S);
    /* what can't be seen counts for nothing */
    for (int i = 0; i < 100; i++)
        sample(0);
    sample(MIB);
    ck_assert(is_known());
}
END_TEST

START_TEST(is_kept)
{
    char text[40] = "";
    struct stat st;
    FILE *file;

    start(path, 1);
    sample(16777216 * UINT64_C(1024));
    file = fopen(path, "r");
    ck_assert_ptr_ne(file, NULL);
    ck_assert_ptr_ne(fgets(text, sizeof text, file), NULL);
    fclose(file);
    ck_assert_str_eq(text, "17179869184");
    *strrchr(path, '/') = '\0';
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0700);
    path[strlen(path)] = '/';
    start(path, 1);
    ck_assert(is_known());
    boot_memory_wait(boot, on_reply, &told[0]);
    ck_assert_uint_eq(told[0], 17179869184);
}
END_TEST

START_TEST(files_that_say_nothing)
{
    static const char *const cases[] = {
        "", "x", "-5", "12x", " ", "1e9", "99999999999999999999"
    };
    FILE *file;

    snprintf(path, sizeof path, "%s/memory", folder);
    file = fopen(path, "w");
    fputs(cases[_i], file);
    fclose(file);
    start(path, 1);
    ck_assert(!is_known());
    sample(5 * MIB);
    start(path, 1);
    ck_assert(is_known());
}
END_TEST

/* XAPI's broker, or an admin with an editor, may have written it. */
START_TEST(a_file_with_a_line_feed)
{
    FILE *file;

    snprintf(path, sizeof path, "%s/memory", folder);
    file = fopen(path, "w");
    fputs("8589934592\n", file);
    fclose(file);
    start(path, 10);
    boot_memory_wait(boot, on_reply, &told[0]);
    ck_assert_uint_eq(told[0], 8589934592);
}
END_TEST

START_TEST(without_a_place_for_it)
{
    snprintf(path, sizeof path, "/proc/none/memory");
    start(path, 1);
    boot_memory_wait(boot, on_reply, &told[0]);
    sample(5 * MIB);
    ck_assert_uint_eq(told[0], 5 * MIB);
}
END_TEST

/* Guests come and go: somebody asks all the same. */
START_TEST(never_constant)
{
    unsigned n = 0;

    start(NULL, 4);
    boot_memory_wait(boot, on_reply, &told[0]);
    while (!is_known() && n < 100)
        sample((n++ % 2 ? 100 : 200) * MIB);
    ck_assert_uint_eq(n, 24);
    ck_assert_uint_eq(told[0], 100 * MIB);
}
END_TEST

START_TEST(forgetting)
{
    start(NULL, 1);
    boot_memory_wait(boot, on_reply, &told[0]);
    boot_memory_wait(boot, on_reply, &told[1]);
    boot_memory_forget(boot, &told[0]);
    sample(MIB);
    ck_assert_uint_eq(told[0], 0);
    ck_assert_uint_eq(told[1], MIB);
    start(NULL, 1);
    boot_memory_wait(boot, on_reply, &told[0]);
    boot_memory_forget(boot, NULL);
    sample(MIB);
    ck_assert_uint_eq(told[0], 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("boot_memory");
    TCase *tc = tcase_create("boot_memory");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, sampler);
    tcase_add_test(tc, waits_until_it_is_constant);
    tcase_add_test(tc, times);
    tcase_add_test(tc, is_kept);
    tcase_add_loop_test(tc, files_that_say_nothing, 0, 7);
    tcase_add_test(tc, a_file_with_a_line_feed);
    tcase_add_test(tc, without_a_place_for_it);
    tcase_add_test(tc, never_constant);
    tcase_add_test(tc, forgetting);
    suite_add_tcase(suite, tc);
    return run_suite(suite, CK_FORK_GETENV);
}
