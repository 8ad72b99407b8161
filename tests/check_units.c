/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/err.h"
#include "common/units.h"
#include "sq_limits.h"
#include "tests/suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNTOUCHED 77

static const struct {
    const char *text;
    uint64_t kib;       /* with a bare number in KiB */
    uint64_t bytes_kib; /* with a bare number in bytes */
} good_sizes[] = {
    { "0", 0, 0 },
    { "1", 4, 4 },
    { "4", 4, 4 },
    { "5", 8, 4 },
    { "4096", 4096, 4 },
    { "4097", 4100, 8 },
    { "1073741824", 1073741824, 1048576 },
    { "0.5", 4, 4 },
    { "4.0001", 8, 4 },
    { "0.3K", 4, 4 },
    { "4K", 4, 4 },
    { "4.000000000000000000000000000000000000000000001K", 8, 8 },
    { "4.000000000000000000000000000000000000000000000K", 4, 4 },
    { "72M", 73728, 73728 },
    { "512 MiB", 524288, 524288 },
    { "512\tMB", 524288, 524288 },
    { "8G", 8388608, 8388608 },
    { "1.5G", 1572864, 1572864 },
    { "1.5 GiB", 1572864, 1572864 },
    { "0.1G", 104860, 104860 }, /* 104857.6 */
    { "2T", 2147483648, 2147483648 },
    /* A page is 2^-28 TiB, which has 28 decimals. */
    { "0.0000000037252902984619140625T", 4, 4 },
    { "0.00000000372529029846191406250000001T", 8, 8 },
    { "0.0000000037252902984619140624T", 4, 4 },
    { "00000000000000000000000000000000007", 8, 4 },
    { "1048576T", LIMIT_SIZE_KIB, LIMIT_SIZE_KIB },
    { "0.000000000000000000000000000000000000000000000000001T", 4, 4 },
};

START_TEST(sizes_are_read_exactly)
{
    uint64_t kib = UNTOUCHED;

    ck_assert_msg(parse_size(good_sizes[_i].text, false, &kib), "%s",
                  good_sizes[_i].text);
    ck_assert_msg(kib == good_sizes[_i].kib, "%s: %llu", good_sizes[_i].text,
                  (unsigned long long)kib);
    ck_assert_msg(parse_size(good_sizes[_i].text, true, &kib), "%s",
                  good_sizes[_i].text);
    ck_assert_msg(kib == good_sizes[_i].bytes_kib, "%s in bytes: %llu",
                  good_sizes[_i].text, (unsigned long long)kib);
}
END_TEST

static const char *const bad_sizes[] = {
    "",
    " ",
    "-1",
    "-0",
    "+1",
    "1e9",
    "1e9K",
    "0x10",
    "K",
    ".5G",
    "5.G",
    "1..5G",
    "1.5.5G",
    "1,5G",
    "8 ",
    " 8",
    "8G ",
    "8GG",
    "8Gi",
    "8g",
    "8B",
    "8iB",
    "8 G x",
    "8P",
    "1 2",
    "inf",
    "nan",
    "1\nG",
    "G8",
    "\xd9\xa3G",
    "1.",
    "1. 5G",
    "1.K",
    "1048576.1T",
    "1048577T",
    "1125899906842628K",
    "1152921504606846980",
    "18446744073709551616",
    "18446744073709551615T",
    "99999999999999999999999999999999999999999999999",
};

START_TEST(anything_else_is_no_size)
{
    uint64_t kib = UNTOUCHED;

    ck_assert_msg(!parse_size(bad_sizes[_i], false, &kib), "\"%s\": %llu",
                  bad_sizes[_i], (unsigned long long)kib);
    ck_assert_uint_eq(kib, UNTOUCHED);
}
END_TEST

START_TEST(the_largest_sizes)
{
    uint64_t kib = UNTOUCHED;

    ck_assert(parse_size("1125899906842624", false, &kib));
    ck_assert(kib == LIMIT_SIZE_KIB);
    ck_assert(!parse_size("1125899906842625", false, &kib));
    ck_assert(parse_size("1152921504606846976", true, &kib));
    ck_assert(kib == LIMIT_SIZE_KIB);
    ck_assert(!parse_size("1152921504606846977", true, &kib));
    ck_assert(!parse_size("-1", true, &kib));
}
END_TEST

static const struct {
    const char *text;
    int64_t us;
} good_times[] = {
    { "0", 0 },
    { "10", 10000000 },
    { "10.0", 10000000 },
    { "1.5 s", 1500000 },
    { "25ms", 25000 },
    { "25 ms", 25000 },
    { "0.5ms", 500 },
    { "7us", 7 },
    { "0.3us", 1 },
    { "0.1us", 1 },
    { "2m", 120000000 },
    { "0.5m", 30000000 },
    { "1h", INT64_C(3600000000) },
    { "1000h", INT64_C(3600000000000) },
    { "0.000001", 1 },
    { "0.1234567", 123457 },
};

START_TEST(times_are_read_exactly)
{
    int64_t us = UNTOUCHED;

    ck_assert_msg(parse_time(good_times[_i].text, &us), "%s",
                  good_times[_i].text);
    ck_assert_msg(us == good_times[_i].us, "%s: %lld", good_times[_i].text,
                  (long long)us);
}
END_TEST

static const char *const bad_times[] = {
    "",   "-1",  "-1s",     "1e3",     "s",       "ms",  "1 0",
    "1d", "1S",  "1000.1h", "1001h",   "3600001", "1 ",  " 1",
    ".5", "1.s", "1ms2",    "1ms 2us", "60001m",  "inf", "99999999999999999999",
};

START_TEST(anything_else_is_no_time)
{
    int64_t us = UNTOUCHED;

    ck_assert_msg(!parse_time(bad_times[_i], &us), "\"%s\"", bad_times[_i]);
    ck_assert_int_eq(us, UNTOUCHED);
}
END_TEST

START_TEST(whole_numbers)
{
    static const char *const bad[] = { "",
                                       "-1",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "1a",
                                       "0x1",
                                       "1.0",
                                       "18446744073709551616",
                                       "184467440737095516150" };
    uint64_t value = UNTOUCHED;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!parse_u64(bad[i], &value), "\"%s\"", bad[i]);
    ck_assert_uint_eq(value, UNTOUCHED);
    ck_assert(parse_u64("0", &value) && value == 0);
    ck_assert(parse_u64("007", &value) && value == 7);
    ck_assert(parse_u64("18446744073709551615", &value));
    ck_assert(value == UINT64_MAX);
}
END_TEST

START_TEST(booleans)
{
    static const char *const yes[] = { "yes", "true", "on", "1" };
    static const char *const no[] = { "no", "false", "off", "0" };
    static const char *const neither[] = { "",   "y",  "2",   "YES ",
                                           "01", "-1", "nope" };
    bool value;

    for (size_t i = 0; i < 4; i++) {
        value = false;
        ck_assert(parse_bool(yes[i], &value) && value);
        value = true;
        ck_assert(parse_bool(no[i], &value) && !value);
    }
    value = true;
    for (size_t i = 0; i < sizeof neither / sizeof *neither; i++)
        ck_assert_msg(!parse_bool(neither[i], &value), "%s", neither[i]);
    ck_assert(value);
}
END_TEST

static const struct {
    int64_t kib;
    const char *text;
} formats[] = {
    { 0, "0 KiB" },
    { 96, "96 KiB" },
    { -96, "-96 KiB" },
    { 1023, "1023 KiB" },
    { 1024, "1.0 MiB" },
    { 422400, "412.5 MiB" },
    { 2097152, "2.0 GiB" },
    { -2097152, "-2.0 GiB" },
    { 1048575, "1.0 GiB" }, /* not 1024.0 MiB */
    { 1048524, "1023.9 MiB" },
    { 1073741824, "1.0 TiB" },
    { INT64_C(1) << 50, "1048576.0 TiB" },
    { INT64_MAX, "8589934592.0 TiB" },
    { INT64_MIN, "-8589934592.0 TiB" },
};

START_TEST(sizes_for_people)
{
    char text[SIZE_TEXT];

    ck_assert_ptr_eq(format_size(formats[_i].kib, text), text);
    ck_assert_str_eq(text, formats[_i].text);
}
END_TEST

START_TEST(sums_do_not_wrap)
{
    ck_assert(sub_or_0(3, 5) == 0 && sub_or_0(5, 3) == 2);
    ck_assert(add_sat(UINT64_MAX, 1) == UINT64_MAX);
    ck_assert(add_sat(UINT64_MAX - 1, 1) == UINT64_MAX);
    ck_assert(mul_div(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_MAX);
    ck_assert(mul_div(UINT64_MAX, 2, 1) == UINT64_MAX);
    ck_assert(mul_div(10, 7, 3) == 23);
    ck_assert(page_up(0) == 0 && page_up(1) == 4 && page_up(4) == 4);
    ck_assert(page_down(7) == 4 && page_down(8) == 8);
}
END_TEST

START_TEST(uuids)
{
    static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
    static const char *const bad[] = {
        "",
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "0123456789ab-cdef-0123-456789abcdef--",
        "01234567_89ab-cdef-0123-456789abcdef",
        "{1234567-89ab-cdef-0123-456789abcdef",
    };
    uint8_t uuid[UUID_BYTES] = { UNTOUCHED };
    char buffer[UUID_TEXT];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!parse_uuid(bad[i], uuid), "%s", bad[i]);
    ck_assert_uint_eq(uuid[0], UNTOUCHED);
    ck_assert(parse_uuid(text, uuid));
    ck_assert_uint_eq(uuid[0], 0x01);
    ck_assert_uint_eq(uuid[15], 0xef);
    ck_assert_str_eq(format_uuid(uuid, buffer), text);
    ck_assert(parse_uuid("01234567-89AB-CDEF-0123-456789ABCDEF", uuid));
    ck_assert_str_eq(format_uuid(uuid, buffer), text);
}
END_TEST

START_TEST(errors_have_names_and_codes)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        ck_assert_ptr_nonnull(err_name((enum err)i));
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(err_name((enum err)i), err_name((enum err)j));
    }
    ck_assert_str_eq(err_name(ERR_CANNOT_FREE), "cannot-free");
    ck_assert_str_eq(err_name((enum err)999), "unknown");
    ck_assert_int_eq(err_rpc_code(ERR_CANNOT_FREE), -32000);
    ck_assert_int_eq(err_rpc_code(ERR_BUSY), -32008);
    ck_assert_int_eq(err_rpc_code(ERR_PROTOCOL), -32603);
    ck_assert_int_eq(err_rpc_code((enum err) - 1), -32603);
    ck_assert_int_eq(err_from_errno(0), ERR_NONE);
    ck_assert_int_eq(err_from_errno(ENOENT), ERR_NOT_FOUND);
    ck_assert_int_eq(err_from_errno(EAGAIN), ERR_AGAIN);
    ck_assert_int_eq(err_from_errno(EXDEV), ERR_IO);
}
END_TEST

#define COUNT(array) ((int)(sizeof array / sizeof *array))

int
main(void)
{
    Suite *suite = suite_create("units");
    TCase *tcase = tcase_create("units");

    tcase_add_loop_test(tcase, sizes_are_read_exactly, 0, COUNT(good_sizes));
    tcase_add_loop_test(tcase, anything_else_is_no_size, 0, COUNT(bad_sizes));
    tcase_add_test(tcase, the_largest_sizes);
    tcase_add_loop_test(tcase, times_are_read_exactly, 0, COUNT(good_times));
    tcase_add_loop_test(tcase, anything_else_is_no_time, 0, COUNT(bad_times));
    tcase_add_test(tcase, whole_numbers);
    tcase_add_test(tcase, booleans);
    tcase_add_loop_test(tcase, sizes_for_people, 0, COUNT(formats));
    tcase_add_test(tcase, sums_do_not_wrap);
    tcase_add_test(tcase, uuids);
    tcase_add_test(tcase, errors_have_names_and_codes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
