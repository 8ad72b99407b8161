/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/config.h"

#include "common/ini.h"
#include "common/units.h"
#include "sq_limits.h"

#include <assert.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* A kind of value: false leaves the field untouched or half written (it is
 * thrown away then). */
struct config_type {
    bool (*parse)(const char *value, void *field, size_t size);
    const char *expects;
};

static bool
parse_text(const char *value, void *field, size_t size)
{
    if (strlen(value) >= size)
        return false;
    /* Filled up with zeros, so that two fields can be compared. */
    memset(field, 0, size);
    memcpy(field, value, strlen(value));
    return true;
}

static bool
parse_path(const char *value, void *field, size_t size)
{
    return *value != '\0' && parse_text(value, field, size);
}

static bool
parse_path_or_auto(const char *value, void *field, size_t size)
{
    return strcmp(value, "auto") == 0 ? parse_text("", field, size)
                                      : parse_path(value, field, size);
}

static bool
parse_path_or_none(const char *value, void *field, size_t size)
{
    return strcmp(value, "none") == 0 ? parse_text("", field, size)
                                      : parse_text(value, field, size);
}

/* A relative path, or a misspelt word, would make a file in whatever folder
 * the daemon was started in. */
static bool
parse_log(const char *value, void *field, size_t size)
{
    bool word = strcmp(value, "auto") == 0 || strcmp(value, "stderr") == 0 ||
                strcmp(value, "journal") == 0;
    bool syslog = strncmp(value, "syslog:", 7) == 0 && value[7] != '\0';

    return (word || syslog || *value == '/') && parse_text(value, field, size);
}

static bool
parse_dir(const char *value, void *field, size_t size)
{
    return *value == '/' && parse_text(value, field, size);
}

static bool
parse_level(const char *value, void *field, size_t size)
{
    assert(size == sizeof(enum log_level));
    return log_parse_level(value, field);
}

static bool
parse_group(const char *value, void *field, size_t size)
{
    if (strcmp(value, "none") == 0)
        value = "";
    return (*value == '\0' || getgrnam(value) != NULL) &&
           parse_text(value, field, size);
}

static bool
parse_kib(const char *value, void *field, size_t size)
{
    assert(size == sizeof(uint64_t));
    return parse_size(value, false, field);
}

static bool
parse_bytes(const char *value, void *field, size_t size)
{
    assert(size == sizeof(uint64_t));
    return parse_size(value, true, field);
}

static bool
parse_bytes_or_auto(const char *value, void *field, size_t size)
{
    if (strcmp(value, "auto") != 0)
        return parse_bytes(value, field, size);
    *(uint64_t *)field = CONFIG_AUTO_KIB;
    return true;
}

static bool
parse_duration(const char *value, void *field, size_t size)
{
    assert(size == sizeof(int64_t));
    return parse_time(value, field);
}

/* Shorter, and looking would be all that the daemon does. */
#define INTERVAL_MIN_US (10 * US_PER_MS)

/* XAPI's are of OCaml, which writes ten seconds "10.". */
static bool
parse_interval(const char *value, void *field, size_t size)
{
    size_t digits = strspn(value, "0123456789");
    char whole[24] = "";
    int64_t us;

    assert(size == sizeof us);
    if (digits < sizeof whole && strcmp(value + digits, ".") == 0) {
        memcpy(whole, value, digits);
        value = whole;
    }
    if (!parse_time(value, &us) || us < INTERVAL_MIN_US)
        return false;
    *(int64_t *)field = us;
    return true;
}

static bool
parse_flag(const char *value, void *field, size_t size)
{
    assert(size == sizeof(bool));
    return parse_bool(value, field);
}

static bool
parse_count(const char *value, void *field, size_t size)
{
    uint64_t count;

    assert(size == sizeof(unsigned));
    if (!parse_u64(value, &count) || count == 0 || count > UINT_MAX)
        return false;
    *(unsigned *)field = (unsigned)count;
    return true;
}

static bool
parse_percent(const char *value, void *field, size_t size)
{
    char digits[8];
    size_t length = strlen(value);
    unsigned *percent = field;

    if (strcmp(value, "none") == 0) {
        *percent = 0;
        return true;
    }
    if (length > 0 && value[length - 1] == '%')
        length--;
    if (length >= sizeof digits)
        return false;
    memcpy(digits, value, length);
    digits[length] = '\0';
    return parse_count(digits, field, size) && *percent <= 100;
}

static bool
parse_policy(const char *value, void *field, size_t size)
{
    const struct policy *policy = policy_find(value);

    assert(size == sizeof policy);
    if (policy == NULL)
        return false;
    *(const struct policy **)field = policy;
    return true;
}

static bool
parse_use_switch(const char *value, void *field, size_t size)
{
    enum use_switch *use = field;
    bool flag;

    assert(size == sizeof *use);
    if (strcmp(value, "auto") == 0)
        *use = SWITCH_AUTO;
    else if (parse_bool(value, &flag))
        *use = flag ? SWITCH_YES : SWITCH_NO;
    else
        return false;
    return true;
}

static bool
parse_balloon(const char *value, void *field, size_t size)
{
    static const char *const names[] = { [BALLOON_AUTO] = "auto",
                                         [BALLOON_FEATURE] = "feature",
                                         [BALLOON_ALWAYS] = "always" };

    assert(size == sizeof(enum balloon_rule));
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], value) == 0) {
            *(enum balloon_rule *)field = (enum balloon_rule)i;
            return true;
        }
    }
    return false;
}

#define TYPE(name, function, text)                                             \
    static const struct config_type name = { .parse = function,                \
                                             .expects = text }

TYPE(type_socket, parse_path, "the path of a socket, at most 107 characters");
TYPE(type_socket_or_none, parse_path_or_none,
     "the path of a socket, at most 107 characters, or empty");
TYPE(type_socket_or_auto, parse_path_or_auto,
     "auto, or the path of a socket, at most 107 characters");
TYPE(type_file_or_none, parse_path_or_none, "none, or the path of a file");
TYPE(type_dir, parse_dir, "the path of a folder, beginning with /");
TYPE(type_log, parse_log,
     "auto, stderr, journal, syslog:NAME, or a path that begins with /");
TYPE(type_level, parse_level, "error, warning, info or debug");
TYPE(type_group, parse_group, "none, or a group that exists");
TYPE(type_kib, parse_kib, "a size such as 72M or 1.5G (a bare number is KiB)");
TYPE(type_bytes, parse_bytes,
     "a size such as 1073741824 or 1G (a bare number is bytes)");
TYPE(type_bytes_or_auto, parse_bytes_or_auto,
     "auto, or a size such as 1073741824 or 1G (a bare number is bytes)");
TYPE(type_time, parse_duration,
     "a time such as 30s or 1.5m (a bare number is seconds)");
TYPE(type_interval, parse_interval,
     "a time of at least 10ms, such as 10 or 500ms (a bare number is seconds)");
TYPE(type_flag, parse_flag, "true or false");
TYPE(type_count, parse_count, "a whole number from 1 up");
TYPE(type_percent, parse_percent, "none, or a percentage from 1 to 100");
TYPE(type_policy, parse_policy, "the name of a policy, such as proportional");
TYPE(type_switch, parse_use_switch, "auto, true or false");
TYPE(type_balloon, parse_balloon, "auto, feature or always");

#define FIELD(member)                                                          \
    .offset = offsetof(struct config, member),                                 \
    .size = sizeof(((struct config *)NULL)->member)

/* clang-format off */
static const struct config_key keys[] = {
    { "socket", &type_socket, FIELD(socket),
      .value = "/run/squeezed/socket", .fixed = true,
      .help = "where the native interface listens" },
    { "memory-socket", &type_socket_or_none, FIELD(memory_socket),
      .value = "/var/xapi/memory", .fixed = true,
      .help = "where XAPI's toolstack finds the broker; empty: nowhere" },
    { "socket-group", &type_group, FIELD(socket_group),
      .value = "none", .fixed = true,
      .help = "group that may connect beside root" },
    { "use-switch", &type_switch, FIELD(use_switch),
      .value = "auto", .fixed = true,
      .help = "serve XAPI's message switch; auto: when it is there" },
    { "switch-path", &type_socket, FIELD(switch_path),
      .value = "/var/run/message-switch/sock", .fixed = true,
      .help = "where the message switch listens" },
    { "xenstore", &type_socket_or_auto, FIELD(xenstore),
      .value = "auto", .fixed = true,
      .help = "xenstored's socket; auto: where Xen's tools look for it" },
    { "host-reserved-memory", &type_kib, FIELD(host_reserve_kib),
      .value = "72M",
      .help = "memory that stays free always" },
    { "cushion", &type_kib, FIELD(cushion_kib),
      .value = "0",
      .help = "kept free beyond that, for quick starts" },
    { "policy", &type_policy, FIELD(policy),
      .value = "proportional",
      .help = "how memory is shared between guests" },
    { "balance-check-interval", &type_interval, FIELD(balance_interval_us),
      .value = "10",
      .help = "time between looks when nothing moves" },
    { "tolerance", &type_kib, FIELD(tolerance_kib),
      .value = "512K",
      .help = "unassigned memory that isn't worth moving a guest for" },
    { "balloon", &type_balloon, FIELD(balloon),
      .value = "auto", .fixed = true,
      .help = "which guests are taken to have a balloon driver: auto, "
              "feature or always" },
    { "manage-domain-zero", &type_flag, FIELD(manage_domain_zero),
      .value = "false", .fixed = true,
      .help = "let domain 0 take part" },
    { "domain-zero-dynamic-min", &type_bytes, FIELD(domain_zero_min_kib),
      .value = "1073741824", .fixed = true,
      .help = "its least memory, in bytes" },
    { "domain-zero-dynamic-max", &type_bytes_or_auto,
      FIELD(domain_zero_max_kib),
      .value = "auto", .fixed = true,
      .help = "its most memory, in bytes; auto: what it has at first start" },
    { "default-dynamic-min", &type_percent, FIELD(default_dynamic_min),
      .value = "none",
      .help = "range for domains without one: from this percentage of "
              "static-max" },
    { "domains-dir", &type_dir, FIELD(domains_dir),
      .value = "/etc/squeezed/domains.d",
      .help = "folder of the ranges that are kept for domains" },
    { "reboot-hold", &type_time, FIELD(reboot_hold_us),
      .value = "30s",
      .help = "how long a rebooting guest's memory is kept for it" },
    { "boot-time-host-free-memory-minimal-constant-count", &type_count,
      FIELD(boot_count),
      .value = "10", .fixed = true,
      .help = "looks in a row with the same free memory that make it the "
              "initial one" },
    { "boot-time-host-free-memory-check-interval", &type_interval,
      FIELD(boot_interval_us),
      .value = "1", .fixed = true,
      .help = "time between these looks" },
    { "log", &type_log, FIELD(log),
      .value = "auto",
      .help = "stderr, syslog:NAME, journal or a file; auto: the journal under "
              "systemd, else stderr" },
    { "log-level", &type_level, FIELD(log_level),
      .value = "info",
      .help = "error, warning, info or debug" },
    { "pidfile", &type_file_or_none, FIELD(pidfile),
      .value = "none", .fixed = true,
      .help = "file for the process id" },
    { .name = "disable-logging-for", .value = "", .idle = true,
      .help = "XAPI's; without effect" },
    { .name = "search-path", .value = "", .idle = true,
      .help = "XAPI's; without effect" },
    { .name = "daemon", .value = "false", .idle = true,
      .help = "XAPI's; without effect: squeezed stays in the foreground" },
    { .name = "loglevel", .value = "debug", .idle = true,
      .help = "XAPI's; without effect: see log-level" },
    { .name = "inventory", .value = "", .idle = true,
      .help = "XAPI's; without effect" },
    { .name = "config", .value = "", .idle = true,
      .help = "XAPI's; without effect" },
    { .name = "config-dir", .value = "", .idle = true,
      .help = "XAPI's; without effect" },
};
/* clang-format on */

#define KEY_COUNT (sizeof keys / sizeof *keys)
static_assert(KEY_COUNT <= 64, "struct config's seen has a bit for each key");

const struct config_key *
config_keys(size_t *ret_count)
{
    *ret_count = KEY_COUNT;
    return keys;
}

static bool
set_key(struct config *config, const struct config_key *key, const char *value)
{
    return key->type == NULL ||
           key->type->parse(value, (char *)config + key->offset, key->size);
}

void
config_defaults(struct config *ret)
{
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        bool good = set_key(ret, &keys[i], keys[i].value);

        assert(good);
        (void)good;
    }
}

struct loading {
    struct config config;
    unsigned lines[KEY_COUNT]; /* where each key stands */
    char wrong[256];
};

/* XAPI's reader takes 'value' and "value" for value. */
static const char *
strip_quotes(const char *value, char *room, size_t size)
{
    size_t length = strlen(value);
    bool quoted = length >= 2 && value[0] == value[length - 1] &&
                  (value[0] == '"' || value[0] == '\'');

    if (!quoted || length - 2 >= size)
        return value;
    memcpy(room, value + 1, length - 2);
    room[length - 2] = '\0';
    return room;
}

static const char *
take_key(void *arg, const char *section, const char *key, const char *value,
         unsigned line)
{
    struct loading *loading = arg;
    char room[CONFIG_PATH_CHARS + 1];
    size_t i = 0;

    if (key == NULL) {
        snprintf(loading->wrong, sizeof loading->wrong,
                 "no sections here: [%.100s]", section);
        return loading->wrong;
    }
    while (i < KEY_COUNT && strcmp(keys[i].name, key) != 0)
        i++;
    if (i == KEY_COUNT) {
        snprintf(loading->wrong, sizeof loading->wrong,
                 "unknown key \"%.100s\" (squeezed.conf(5) lists all)", key);
        return loading->wrong;
    }
    if (!set_key(&loading->config, &keys[i],
                 strip_quotes(value, room, sizeof room))) {
        snprintf(loading->wrong, sizeof loading->wrong,
                 "%s: \"%.100s\" is not %s", key, value, keys[i].type->expects);
        return loading->wrong;
    }
    loading->config.seen |= UINT64_C(1) << i;
    loading->lines[i] = line;
    return NULL;
}

static size_t
key_index(size_t offset)
{
    size_t i = 0;

    while (keys[i].offset != offset)
        i++;
    return i;
}

/* What no key can tell alone. */
static int
check_together(const char *path, const struct loading *loading, char *message,
               size_t message_size)
{
    const struct config *config = &loading->config;
    size_t min = key_index(offsetof(struct config, domain_zero_min_kib));
    size_t max = key_index(offsetof(struct config, domain_zero_max_kib));
    unsigned line = loading->lines[max];
    char least[SIZE_TEXT], most[SIZE_TEXT];

    if (config->domain_zero_max_kib == CONFIG_AUTO_KIB ||
        config->domain_zero_min_kib <= config->domain_zero_max_kib)
        return 0;
    if (loading->lines[min] > line)
        line = loading->lines[min];
    snprintf(message, message_size, "%s:%u: %s (%s) is above %s (%s)", path,
             line, keys[min].name,
             format_size((int64_t)config->domain_zero_min_kib, least),
             keys[max].name,
             format_size((int64_t)config->domain_zero_max_kib, most));
    return -1;
}

int
config_load(const char *path, struct config *ret, bool *ret_missing,
            char *message, size_t message_size)
{
    struct loading loading = { 0 };
    int missing = 0;
    struct ini_options options = { .max_bytes = LIMIT_SCENARIO_BYTES };

    options.ret_missing = &missing;
    config_defaults(&loading.config);
    int result =
        ini_read(path, &options, take_key, &loading, message, message_size);
    *ret_missing = missing;
    if (missing)
        result = 0;
    else if (result == 0)
        result = check_together(path, &loading, message, message_size);
    if (result < 0)
        return -1;
    *ret = loading.config;
    return 0;
}

int
config_load_text(const char *name, const char *text, size_t length,
                 struct config *ret, char *message, size_t message_size)
{
    struct loading loading = { 0 };

    config_defaults(&loading.config);
    if (ini_read_text(name, text, length, take_key, &loading, message,
                      message_size) < 0 ||
        check_together(name, &loading, message, message_size) < 0)
        return -1;
    *ret = loading.config;
    return 0;
}

const char *
config_keep_fixed(const struct config *now, struct config *next,
                  size_t *position)
{
    while (*position < KEY_COUNT) {
        const struct config_key *key = &keys[(*position)++];
        const char *from = (const char *)now + key->offset;
        char *to = (char *)next + key->offset;

        if (key->fixed && memcmp(from, to, key->size) != 0) {
            memcpy(to, from, key->size);
            return key->name;
        }
    }
    return NULL;
}

void
config_log_idle(const struct config *config)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (keys[i].idle && (config->seen >> i & 1) != 0)
            log_debug("the key %s is known, and without effect", keys[i].name);
}
