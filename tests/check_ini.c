/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/ini.h"
#include "sq_limits.h"
#include "tests/suite.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the handler was told, a line each. */
static char seen[4096];
static char message[512];

static const char *
note(void *arg, const char *section, const char *key, const char *value,
     unsigned line)
{
    size_t length = strlen(seen);

    ck_assert_ptr_null(arg);
    if (key == NULL)
        snprintf(seen + length, sizeof seen - length, "%u[%s]\n", line,
                 section);
    else
        snprintf(seen + length, sizeof seen - length, "%u[%s]%s=%s\n", line,
                 section, key, value);
    return key != NULL && strcmp(key, "bad") == 0 ? "this key is bad" : NULL;
}

static int
read_bytes(const char *text, size_t length)
{
    seen[0] = message[0] = '\0';
    return ini_read_text("f.conf", text, length, note, NULL, message,
                         sizeof message);
}

static const struct {
    const char *text;
    const char *seen;
} good[] = {
    { "", "" },
    { "\n\n \t\n# c\n; c\n  # c\n", "" },
    { "a=1", "1[]a=1\n" },
    { "a=1\n", "1[]a=1\n" },
    { "a =  1 2  \n", "1[]a=1 2\n" },
    { "\ta\t=\t1\t\n", "1[]a=1\n" },
    { "a=\nb = # nothing\n", "1[]a=\n2[]b=\n" },
    { "a=1 # c\nb=2;c\n", "1[]a=1\n2[]b=2\n" },
    { "a=b=c\n", "1[]a=b=c\n" },
    { "a=[x]\n", "1[]a=[x]\n" },
    { "a=1\r\nb=2\r\n[s]\r\n\r\n", "1[]a=1\n2[]b=2\n3[s]\n" },
    { "[s]\na=1\n[t] # c\na=2\n", "1[s]\n2[s]a=1\n3[t]\n4[t]a=2\n" },
    { " [ domain 1 ] \nname = a b\n", "1[domain 1]\n2[domain 1]name=a b\n" },
    { "\xef\xbb\xbf[s]\na=\xc3\xa4\n", "1[s]\n2[s]a=\xc3\xa4\n" },
};

START_TEST(what_is_read)
{
    ck_assert_msg(read_bytes(good[_i].text, strlen(good[_i].text)) == 0, "%s",
                  message);
    ck_assert_str_eq(seen, good[_i].seen);
}
END_TEST

static const struct {
    const char *text;
    const char *message;
} bad[] = {
    { "a", "f.conf:1: neither 'key = value' nor '[section]': \"a\"" },
    { "\n# c\r\n  a b\nc=1\n",
      "f.conf:3: neither 'key = value' nor '[section]': \"a b\"" },
    { "a # = 1", "f.conf:1: neither 'key = value' nor '[section]': \"a\"" },
    { "=1", "f.conf:1: no key in front of '='" },
    { " = ", "f.conf:1: no key in front of '='" },
    { "[s", "f.conf:1: a section must end with ']': \"[s\"" },
    { "[", "f.conf:1: a section must end with ']': \"[\"" },
    { "[s] a=1", "f.conf:1: a section must end with ']': \"[s] a=1\"" },
    { "[]", "f.conf:1: a section without a name" },
    { "[ ]", "f.conf:1: a section without a name" },
    { "[a][b]", "f.conf:1: a bracket in the name of a section: \"a][b\"" },
    { "a=1\nbad=1\nc=1\n", "f.conf:2: this key is bad" },
    { "a\x1b[2J\x7f",
      "f.conf:1: neither 'key = value' nor '[section]': \"a?[2J?\"" },
};

START_TEST(what_is_refused)
{
    ck_assert_int_eq(read_bytes(bad[_i].text, strlen(bad[_i].text)), -1);
    ck_assert_str_eq(message, bad[_i].message);
    ck_assert_ptr_null(strstr(seen, "c=1"));
}
END_TEST

START_TEST(nul_bytes_are_refused)
{
    ck_assert_int_eq(read_bytes("a=1\nb=\0002\n", 9), -1);
    ck_assert_str_eq(message, "f.conf:2: a NUL byte: not a text file");
    ck_assert_str_eq(seen, "1[]a=1\n");
    ck_assert_int_eq(read_bytes("a=1\0", 4), -1);
    ck_assert_int_eq(read_bytes("\0", 1), -1);
    ck_assert_int_eq(read_bytes("# \0\n", 4), -1);
    /* Only length bytes are looked at. */
    ck_assert_int_eq(read_bytes("a=12", 3), 0);
    ck_assert_str_eq(seen, "1[]a=1\n");
}
END_TEST

START_TEST(messages_are_cut_to_their_room)
{
    char room[8] = "xxxxxxx";

    ck_assert_int_eq(ini_read_text("f", "a", 1, note, NULL, room, 5), -1);
    ck_assert_str_eq(room, "f:1:");
    ck_assert_int_eq(room[5], 'x');
}
END_TEST

static char folder[] = "/tmp/check_ini.XXXXXX";
static char path[64];

static void
make_file(const char *text, size_t length)
{
    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/check_ini.XXXXXX")));
    snprintf(path, sizeof path, "%s/f", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
    seen[0] = message[0] = '\0';
}

static void
remove_file(void)
{
    unlink(path);
    rmdir(folder);
}

static int
read_path(const char *name, size_t max, int *ret_missing)
{
    const struct ini_options options = { .max_bytes = max,
                                         .ret_missing = ret_missing };

    return ini_read(name, &options, note, NULL, message, sizeof message);
}

START_TEST(files_are_read)
{
    int missing = 7;

    make_file("[s]\na=1", 7);
    ck_assert_int_eq(read_path(path, 7, &missing), 0);
    ck_assert_int_eq(missing, 0);
    ck_assert_str_eq(seen, "1[s]\n2[s]a=1\n");
    ck_assert_int_eq(read_path(path, 6, &missing), -1);
    ck_assert_ptr_nonnull(strstr(message, "larger than 6 bytes"));
    ck_assert_int_eq(missing, 0);
    remove_file();
}
END_TEST

START_TEST(a_missing_file_is_told)
{
    int missing = 7;

    make_file("", 0);
    ck_assert_int_eq(read_path(path, 10, &missing), 0);
    remove_file();
    ck_assert_int_eq(read_path(path, 10, &missing), -1);
    ck_assert_int_eq(missing, 1);
    ck_assert_ptr_nonnull(strstr(message, "/f: No such file"));
    ck_assert_int_eq(read_path(path, 10, NULL), -1);
    ck_assert_int_eq(read_path("/tmp", 10, &missing), -1);
    ck_assert_int_eq(missing, 0);
    ck_assert_ptr_nonnull(strstr(message, "/tmp: Is a directory"));
}
END_TEST

static const char *
count(void *arg, const char *section, const char *key, const char *value,
      unsigned line)
{
    size_t *lengths = arg;

    (void)section, (void)key, (void)line;
    *lengths += strlen(value);
    return NULL;
}

/* The largest file that is taken: one line of it, or nearly all newlines. */
START_TEST(sixteen_mebibytes)
{
    const size_t max = LIMIT_SCENARIO_BYTES;
    const struct ini_options options = { .max_bytes = max };
    char *text = malloc(max + 1);
    size_t lengths = 0;

    memset(text, 'v', max + 1);
    memcpy(text, "a=", 2);
    make_file(text, max);
    ck_assert_int_eq(
        ini_read(path, &options, count, &lengths, message, sizeof message), 0);
    ck_assert_uint_eq(lengths, max - 2);
    remove_file();
    make_file(text, max + 1);
    ck_assert_int_eq(
        ini_read(path, &options, count, &lengths, message, sizeof message), -1);
    remove_file();
    memset(text, '\n', max);
    text[max - 1] = 'x';
    ck_assert_int_eq(read_bytes(text, max), -1);
    ck_assert_ptr_nonnull(strstr(message, "f.conf:16777216: neither"));
    free(text);
}
END_TEST

#define COUNT(array) ((int)(sizeof array / sizeof *array))

int
main(void)
{
    Suite *suite = suite_create("ini");
    TCase *tcase = tcase_create("ini");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_is_read, 0, COUNT(good));
    tcase_add_loop_test(tcase, what_is_refused, 0, COUNT(bad));
    tcase_add_test(tcase, nul_bytes_are_refused);
    tcase_add_test(tcase, messages_are_cut_to_their_room);
    tcase_add_test(tcase, files_are_read);
    tcase_add_test(tcase, a_missing_file_is_told);
    tcase_add_test(tcase, sixteen_mebibytes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
