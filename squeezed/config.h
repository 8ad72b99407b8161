/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: squeezed.conf, one `key = value` a line.  Defaults, checks
 * and help of all keys are one table.  Reads a file, applies nothing. */
#ifndef CONFIG_H
#define CONFIG_H

#include "common/log.h"
#include "squeezed/core/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_FILE "/etc/squeezed.conf"

/* The room that the address of a Unix socket has, terminator included. */
#define CONFIG_SOCKET_CHARS 108
#define CONFIG_PATH_CHARS   1024
#define CONFIG_GROUP_CHARS  64

/* domain_zero_max_kib: what it has at first start. */
#define CONFIG_AUTO_KIB UINT64_MAX

enum use_switch { SWITCH_AUTO, SWITCH_YES, SWITCH_NO };

enum balloon_rule { BALLOON_AUTO, BALLOON_FEATURE, BALLOON_ALWAYS };

struct config {
    char socket[CONFIG_SOCKET_CHARS];
    char memory_socket[CONFIG_SOCKET_CHARS]; /* empty: none */
    char socket_group[CONFIG_GROUP_CHARS];   /* empty: root only */
    enum use_switch use_switch;
    char switch_path[CONFIG_SOCKET_CHARS];
    char xenstore[CONFIG_SOCKET_CHARS]; /* empty: find it */
    uint64_t host_reserve_kib;
    uint64_t cushion_kib;
    const struct policy *policy;
    int64_t balance_interval_us;
    uint64_t tolerance_kib;
    enum balloon_rule balloon;
    bool manage_domain_zero;
    uint64_t domain_zero_min_kib;
    uint64_t domain_zero_max_kib; /* or CONFIG_AUTO_KIB */
    unsigned default_dynamic_min; /* percent of static-max; 0: none */
    char domains_dir[CONFIG_PATH_CHARS];
    int64_t reboot_hold_us;
    unsigned boot_count;
    int64_t boot_interval_us;
    char log[CONFIG_PATH_CHARS]; /* as log_open takes it */
    enum log_level log_level;
    char pidfile[CONFIG_PATH_CHARS]; /* empty: none */
    uint64_t seen;                   /* bit i: key i was in the file */
};

struct config_type;

struct config_key {
    const char *name;
    const struct config_type *type; /* NULL: XAPI's, taken and not used */
    size_t offset;                  /* of its field in struct config */
    size_t size;
    const char *value; /* the default, as it would stand in the file */
    const char *help;
    bool idle;  /* nothing looks at it yet */
    bool fixed; /* read at start only: a reload can't change it */
};

/* All keys, in the order of the manual. */
const struct config_key *
config_keys(size_t *ret_count);

/* Every key at its default. */
void
config_defaults(struct config *ret);

/* Defaults, and what path says.  0; -1 with "FILE:LINE: what is wrong, with
 * the value" in message, and *ret untouched.  A file that isn't there is fine:
 * *ret_missing tells. */
int
config_load(const char *path, struct config *ret, bool *ret_missing,
            char *message, size_t message_size);

/* The same for text in memory (fuzzers); name stands for the file. */
int
config_load_text(const char *name, const char *text, size_t length,
                 struct config *ret, char *message, size_t message_size);

/* For a reload: sets what is read at start only back to what it is now.
 * Returns the name of the next such key that differs, NULL after the last;
 * start with *position = 0. */
const char *
config_keep_fixed(const struct config *now, struct config *next,
                  size_t *position);

/* Says at debug level which keys of the file have no effect. */
void
config_log_idle(const struct config *config);

#endif
