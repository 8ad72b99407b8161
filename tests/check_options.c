/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/options.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct options options;

/* arguments ends with NULL. */
static bool
parse(const char *const arguments[])
{
    char *argv[16] = { (char *)(uintptr_t) "squeezed" };
    int argc = 1;

    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    return options_parse(argc, argv, &options);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(nothing_is_needed)
{
    ck_assert(parse((const char *const[]){ NULL }));
    ck_assert_str_eq(options.config, "/etc/squeezed.conf");
    ck_assert_ptr_null(options.scenario);
    ck_assert_ptr_null(options.socket);
    ck_assert(!options.has_level && !options.check_config && !options.dry_run &&
              !options.version && !options.help);
}
END_TEST

START_TEST(everything_is_read)
{
    ck_assert(PARSE("--config", "/c", "--simulate=s.ini", "--socket", "/s",
                    "--dry-run", "--log-level", "debug", "--check-config"));
    ck_assert_str_eq(options.config, "/c");
    ck_assert_str_eq(options.scenario, "s.ini");
    ck_assert_str_eq(options.socket, "/s");
    ck_assert(options.dry_run && options.check_config);
    ck_assert(options.has_level && options.level == LEVEL_DEBUG);
    ck_assert(!options.version && !options.help);
    ck_assert(PARSE("--version") && options.version);
    ck_assert(PARSE("--help") && options.help);
}
END_TEST

START_TEST(anything_else_is_refused)
{
    char longer[110];

    memset(longer, 'x', sizeof longer);
    longer[108] = '\0';
    ck_assert(!PARSE("--nonsense"));
    ck_assert(!PARSE("--config"));
    ck_assert(!PARSE("--dry-run=yes"));
    ck_assert(!PARSE("-d"));
    ck_assert(!PARSE("file"));
    ck_assert(!PARSE("--log-level", "loud"));
    ck_assert(!PARSE("--socket", ""));
    ck_assert(!PARSE("--socket", longer));
    longer[107] = '\0';
    ck_assert(PARSE("--socket", longer));
}
END_TEST

START_TEST(the_help_names_every_option)
{
    static const char *const names[] = {
        "--config FILE", "--check-config", "--simulate SCENARIO",
        "--socket PATH", "--dry-run",      "--log-level L",
        "--version",     "--help"
    };
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);

    options_print_help(file);
    fclose(file);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(strstr(text, names[i]) != NULL, "%s", names[i]);
    free(text);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");

    tcase_add_test(tcase, nothing_is_needed);
    tcase_add_test(tcase, everything_is_read);
    tcase_add_test(tcase, anything_else_is_refused);
    tcase_add_test(tcase, the_help_names_every_option);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
