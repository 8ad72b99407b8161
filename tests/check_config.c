/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/config.h"

#include "common/units.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[40], path[64];
static char message[512];
static struct config config;
static bool missing;

static void
setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(strcpy(folder, "/tmp/check_config.XXXXXX")));
    snprintf(path, sizeof path, "%s/f", folder);
}

static void
teardown(void)
{
    unlink(path);
    rmdir(folder);
}

static int
load(const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
    message[0] = '\0';
    return config_load(path, &config, &missing, message, sizeof message);
}

START_TEST(defaults_are_those_of_the_manual)
{
    config_defaults(&config);
    ck_assert_str_eq(config.socket, "/run/squeezed/socket");
    ck_assert_str_eq(config.memory_socket, "/var/xapi/memory");
    ck_assert_str_eq(config.socket_group, "");
    ck_assert_int_eq(config.use_switch, SWITCH_AUTO);
    ck_assert_str_eq(config.switch_path, "/var/run/message-switch/sock");
    ck_assert_str_eq(config.xenstore, "");
    ck_assert_uint_eq(config.host_reserve_kib, 73728);
    ck_assert_uint_eq(config.cushion_kib, 0);
    ck_assert_ptr_eq(config.policy, policy_find("proportional"));
    ck_assert_int_eq(config.balance_interval_us, 10 * US_PER_S);
    ck_assert_uint_eq(config.tolerance_kib, 512);
    ck_assert_int_eq(config.balloon, BALLOON_AUTO);
    ck_assert(!config.manage_domain_zero);
    ck_assert_uint_eq(config.domain_zero_min_kib, 1048576);
    ck_assert(config.domain_zero_max_kib == CONFIG_AUTO_KIB);
    ck_assert_uint_eq(config.default_dynamic_min, 0);
    ck_assert_int_eq(config.reboot_hold_us, 30 * US_PER_S);
    ck_assert_uint_eq(config.boot_count, 10);
    ck_assert_int_eq(config.boot_interval_us, US_PER_S);
    ck_assert_str_eq(config.log, "auto");
    ck_assert_int_eq(config.log_level, LEVEL_INFO);
    ck_assert_str_eq(config.pidfile, "");
    ck_assert_uint_eq(config.seen, 0);
}
END_TEST

START_TEST(every_key_is_read)
{
    ck_assert_msg(load("socket=/a\n"
                       "memory-socket =\n"
                       "socket-group = root\n"
                       "use-switch = false\n"
                       "switch-path = /b\n"
                       "xenstore = /c\n"
                       "host-reserved-memory = 96M # more\n"
                       "cushion = 1G\n"
                       "policy = proportional\n"
                       "balance-check-interval = 2.5\n"
                       "tolerance = 1M\n"
                       "balloon = always\n"
                       "manage-domain-zero = yes\n"
                       "domain-zero-dynamic-min = 536870912\n"
                       "domain-zero-dynamic-max = 1073741825\n"
                       "default-dynamic-min = 50%\n"
                       "reboot-hold = 1m\n"
                       "boot-time-host-free-memory-minimal-constant-count=3\n"
                       "boot-time-host-free-memory-check-interval=0.5\n"
                       "log = syslog:squeezed\n"
                       "log-level = debug\n"
                       "pidfile = /d\n") == 0,
                  "%s", message);
    ck_assert(!missing);
    ck_assert_str_eq(config.socket, "/a");
    ck_assert_str_eq(config.memory_socket, "");
    ck_assert_str_eq(config.socket_group, "root");
    ck_assert_int_eq(config.use_switch, SWITCH_NO);
    ck_assert_str_eq(config.switch_path, "/b");
    ck_assert_str_eq(config.xenstore, "/c");
    ck_assert_uint_eq(config.host_reserve_kib, 98304);
    ck_assert_uint_eq(config.cushion_kib, 1048576);
    ck_assert_int_eq(config.balance_interval_us, 2500000);
    ck_assert_uint_eq(config.tolerance_kib, 1024);
    ck_assert_int_eq(config.balloon, BALLOON_ALWAYS);
    ck_assert(config.manage_domain_zero);
    ck_assert_uint_eq(config.domain_zero_min_kib, 524288);
    ck_assert_uint_eq(config.domain_zero_max_kib, 1048580);
    ck_assert_uint_eq(config.default_dynamic_min, 50);
    ck_assert_int_eq(config.reboot_hold_us, 60 * US_PER_S);
    ck_assert_uint_eq(config.boot_count, 3);
    ck_assert_int_eq(config.boot_interval_us, 500000);
    ck_assert_str_eq(config.log, "syslog:squeezed");
    ck_assert_int_eq(config.log_level, LEVEL_DEBUG);
    ck_assert_str_eq(config.pidfile, "/d");
}
END_TEST

/* A file of XAPI's squeezed. */
START_TEST(the_file_of_xapi_is_taken)
{
    ck_assert_msg(load("# Configuration file for squeezed\n"
                       "log = syslog:squeezed\n"
                       "disable-logging-for = http tracing\n"
                       "loglevel=\"debug\"\n"
                       "pidfile = '/var/run/squeezed.pid'\n"
                       "daemon=true\n"
                       "search-path=/opt/xensource/bin\n"
                       "inventory = /etc/xensource-inventory\n"
                       "config-dir = /etc/squeezed.conf.d\n"
                       "config = /etc/squeezed.conf\n"
                       "use-switch=true\n"
                       "balance-check-interval = \"10.0\"\n"
                       /* as OCaml writes a whole number */
                       "boot-time-host-free-memory-check-interval = 2.\n"
                       "domain-zero-dynamic-min=1073741824\n"
                       "domain-zero-dynamic-max=auto\n") == 0,
                  "%s", message);
    ck_assert_str_eq(config.pidfile, "/var/run/squeezed.pid");
    ck_assert_int_eq(config.balance_interval_us, 10 * US_PER_S);
    ck_assert_int_eq(config.boot_interval_us, 2 * US_PER_S);
    ck_assert_uint_eq(config.domain_zero_min_kib, 1048576);
}
END_TEST

static const struct {
    const char *text;
    const char *message; /* what stands behind the file's name */
} bad[] = {
    { "\ncushio = 1", ":2: unknown key \"cushio\" (squeezed.conf(5) lists "
                      "all)" },
    { "[host]", ":1: no sections here: [host]" },
    { "cushion = 1X", ":1: cushion: \"1X\" is not a size such as 72M or 1.5G "
                      "(a bare number is KiB)" },
    { "cushion = -1", ":1: cushion: \"-1\" is not a size such as" },
    { "cushion =", ":1: cushion: \"\" is not a size" },
    { "cushion", ":1: neither" },
    { "socket =", ":1: socket: \"\" is not the path of a socket" },
    { "policy = idle", ":1: policy: \"idle\" is not the name of a policy" },
    { "balloon = never", ":1: balloon: \"never\" is not auto, feature or" },
    { "balance-check-interval = 0", ":1: balance-check-interval: \"0\" is" },
    { "balance-check-interval = 1us", ":1: balance-check-interval: \"1us\"" },
    { "balance-check-interval = .", ":1: balance-check-interval: \".\"" },
    { "balance-check-interval = 1..", ":1: balance-check-interval: \"1..\"" },
    { "balance-check-interval = 1s.", ":1: balance-check-interval: \"1s.\"" },
    { "manage-domain-zero = maybe", ":1: manage-domain-zero: \"maybe\" is" },
    { "domain-zero-dynamic-min = auto", ":1: domain-zero-dynamic-min: \"auto" },
    { "default-dynamic-min = 0", ":1: default-dynamic-min: \"0\" is not" },
    { "default-dynamic-min = 101%", ":1: default-dynamic-min: \"101%\" is" },
    { "default-dynamic-min = 1111111111", ":1: default-dynamic-min:" },
    { "reboot-hold = soon", ":1: reboot-hold: \"soon\" is not a time" },
    { "log = stdout", ":1: log: \"stdout\" is not auto, stderr, journal" },
    { "log = syslog:", ":1: log: \"syslog:\" is not" },
    { "log-level = loud", ":1: log-level: \"loud\" is not error, warning" },
    { "socket-group = no.such.group", ":1: socket-group: \"no.such.group\"" },
    { "use-switch = perhaps", ":1: use-switch: \"perhaps\" is not auto" },
    { "boot-time-host-free-memory-minimal-constant-count = 0",
      ":1: boot-time-host-free-memory-minimal-constant-count: \"0\"" },
    { "domain-zero-dynamic-max = 2G\ndomain-zero-dynamic-min = 3G\n",
      ":2: domain-zero-dynamic-min (3.0 GiB) is above "
      "domain-zero-dynamic-max (2.0 GiB)" },
};

START_TEST(bad_lines_are_refused_with_their_place)
{
    config_defaults(&config);
    config.cushion_kib = 77;
    ck_assert_int_eq(load(bad[_i].text), -1);
    ck_assert_msg(strncmp(message, path, strlen(path)) == 0, "%s", message);
    ck_assert_msg(strncmp(message + strlen(path), bad[_i].message,
                          strlen(bad[_i].message)) == 0,
                  "%s", message);
    ck_assert_uint_eq(config.cushion_kib, 77); /* untouched */
}
END_TEST

START_TEST(paths_of_sockets_have_an_end)
{
    char text[256], name[128];

    memset(name, 'x', sizeof name);
    name[107] = '\0';
    snprintf(text, sizeof text, "socket = %s", name);
    ck_assert_int_eq(load(text), 0);
    ck_assert_str_eq(config.socket, name);
    snprintf(text, sizeof text, "socket = %sx", name);
    ck_assert_int_eq(load(text), -1);
    snprintf(text, sizeof text, "memory-socket = %sx", name);
    ck_assert_int_eq(load(text), -1);
}
END_TEST

START_TEST(a_missing_file_is_fine)
{
    ck_assert_int_eq(config_load("/nonexistent/squeezed.conf", &config,
                                 &missing, message, sizeof message),
                     0);
    ck_assert(missing);
    ck_assert_uint_eq(config.host_reserve_kib, 73728);
    ck_assert_int_eq(
        config_load("/tmp", &config, &missing, message, sizeof message), -1);
    ck_assert(!missing);
    ck_assert_str_eq(message, "/tmp: Is a directory");
}
END_TEST

START_TEST(what_a_reload_cannot_change_is_named)
{
    struct config now;
    size_t position = 0;

    config_defaults(&now);
    ck_assert_int_eq(load("cushion=1G\nlog-level=debug\n"), 0);
    ck_assert_ptr_null(config_keep_fixed(&now, &config, &position));
    ck_assert_int_eq(load("socket=/s\npidfile=/p\ncushion=1G\n"), 0);
    position = 0;
    ck_assert_str_eq(config_keep_fixed(&now, &config, &position), "socket");
    ck_assert_str_eq(config_keep_fixed(&now, &config, &position), "pidfile");
    ck_assert_ptr_null(config_keep_fixed(&now, &config, &position));
    ck_assert_str_eq(config.socket, "/run/squeezed/socket");
    ck_assert_str_eq(config.pidfile, "");
    ck_assert_uint_eq(config.cushion_kib, 1048576);
    /* The same text, after a longer one, is no change. */
    position = 0;
    ck_assert_int_eq(load("socket=/longer/than/the/default/one/is\n"
                          "socket=/run/squeezed/socket\n"),
                     0);
    ck_assert_ptr_null(config_keep_fixed(&now, &config, &position));
}
END_TEST

/* The example that is installed: every key, commented out, at its default. */
START_TEST(the_example_is_complete)
{
    const char *source = getenv("srcdir");
    static char example[65536], line[256], name[256];
    size_t count;
    const struct config_key *keys = config_keys(&count);

    snprintf(name, sizeof name, "%s/squeezed.conf",
             source == NULL ? "." : source);
    FILE *file = fopen(name, "r");
    ck_assert_msg(file != NULL, "%s", name);
    example[fread(example, 1, sizeof example - 1, file)] = '\0';
    fclose(file);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].type == NULL)
            continue;
        snprintf(line, sizeof line, "\n#%s = %s\n", keys[i].name,
                 keys[i].value);
        ck_assert_msg(strstr(example, line) != NULL, "no line %s", line);
    }
    ck_assert_int_eq(load(example), 0);
    ck_assert_uint_eq(config.seen, 0);
}
END_TEST

#define COUNT(array) ((int)(sizeof array / sizeof *array))

int
main(void)
{
    Suite *suite = suite_create("config");
    TCase *tcase = tcase_create("config");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, defaults_are_those_of_the_manual);
    tcase_add_test(tcase, every_key_is_read);
    tcase_add_test(tcase, the_file_of_xapi_is_taken);
    tcase_add_loop_test(tcase, bad_lines_are_refused_with_their_place, 0,
                        COUNT(bad));
    tcase_add_test(tcase, paths_of_sockets_have_an_end);
    tcase_add_test(tcase, a_missing_file_is_fine);
    tcase_add_test(tcase, what_a_reload_cannot_change_is_named);
    tcase_add_test(tcase, the_example_is_complete);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
