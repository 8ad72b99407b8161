/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/range_rules.h"

#include "common/ini.h"
#include "common/log.h"
#include "sq_limits.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUFFIX ".conf"

enum { FILE_BYTES = 1 << 20, FILES_MAX = 4096, SHARES_MAX = 1000000 };

#define MIX_START UINT64_C(14695981039346656037)

static uint64_t
mix(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;

    while (count-- > 0)
        hash = (hash ^ *byte++) * UINT64_C(1099511628211);
    return hash;
}

/* ----------------------------------------------------------------- one file */

struct file {
    struct range_rules *rules;
    uint64_t number;
    size_t first; /* its own begin here */
    unsigned section_line;
    char wrong[256];
};

static struct range_rule *
last_rule(struct file *file)
{
    return &file->rules->rules[file->rules->count - 1];
}

static const char *
complain(struct file *file, const char *key, const char *value,
         const char *expects)
{
    snprintf(file->wrong, sizeof file->wrong, "%s: \"%.80s\" is not %s", key,
             value, expects);
    return file->wrong;
}

static const char *
check_section(struct file *file)
{
    const struct range_rule *rule;

    if (file->rules->count == file->first)
        return NULL;
    rule = last_rule(file);
    if (!rule->has_range && rule->max_kib != UINT64_MAX)
        return "dynamic-max without a dynamic-min";
    if (rule->has_range && rule->min_kib > rule->max_kib)
        return "dynamic-min is above dynamic-max";
    return NULL;
}

/* False without memory. */
static bool
make_room(struct range_rules *rules)
{
    struct range_rule *more;

    if (rules->count & (rules->count + 1) && rules->rules)
        return true;
    more = reallocarray(rules->rules, 2 * (rules->count + 1), sizeof *more);
    if (!more)
        return false;
    rules->rules = more;
    return true;
}

static const char *
begin_section(struct file *file, const char *section, unsigned line)
{
    struct range_rule rule = { .max_kib = UINT64_MAX, .file = file->number };

    if (*section == '\0' || strlen(section) >= RANGE_NAME)
        return "a section is the name or the UUID of a domain, at most 127 "
               "characters";
    if (file->rules->count >= LIMIT_DOMAINS || !make_room(file->rules))
        return "too many sections";
    rule.by_uuid = parse_uuid(section, rule.uuid);
    snprintf(rule.name, sizeof rule.name, "%s", section);
    file->rules->rules[file->rules->count++] = rule;
    file->section_line = line;
    return NULL;
}

static const char *
take_min(struct file *file, struct range_rule *rule, const char *value)
{
    rule->has_range = parse_size(value, false, &rule->min_kib);
    return rule->has_range ? NULL
                           : complain(file, "dynamic-min", value,
                                      "a size such as 256M (a bare number is "
                                      "KiB)");
}

static const char *
take_max(struct file *file, struct range_rule *rule, const char *value)
{
    if (parse_size(value, false, &rule->max_kib) && rule->max_kib > 0)
        return NULL;
    return complain(file, "dynamic-max", value,
                    "a size such as 2G (a bare number is KiB)");
}

static const char *
take_shares(struct file *file, struct range_rule *rule, const char *value)
{
    uint64_t shares;

    if (!parse_u64(value, &shares) || shares == 0 || shares > SHARES_MAX)
        return complain(file, "shares", value,
                        "a whole number from 1 to 1000000");
    rule->shares = (unsigned)shares;
    return NULL;
}

static const struct range_key {
    const char *name;
    const char *(*take)(struct file *file, struct range_rule *rule,
                        const char *value);
} keys[] = {
    { "dynamic-min", take_min },
    { "dynamic-max", take_max },
    { "shares", take_shares },
};

static const char *
take_line(void *arg, const char *section, const char *key, const char *value,
          unsigned line)
{
    struct file *file = arg;

    if (!key) {
        const char *wrong = check_section(file);

        return wrong ? wrong : begin_section(file, section, line);
    }
    if (file->rules->count == file->first)
        return "a section comes first: [NAME] or [UUID]";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].name, key) == 0)
            return keys[i].take(file, last_rule(file), value);
    snprintf(file->wrong, sizeof file->wrong,
             "unknown key \"%.80s\": dynamic-min, dynamic-max and shares are "
             "known",
             key);
    return file->wrong;
}

/* What that file said when it was read before.  True if that is anything. */
static bool
keep(struct range_rules *rules, const struct range_rules *before,
     uint64_t number)
{
    size_t first = rules->count;

    for (size_t i = 0; i < before->count; i++)
        if (before->rules[i].file == number && rules->count < LIMIT_DOMAINS &&
            make_room(rules))
            rules->rules[rules->count++] = before->rules[i];
    return rules->count > first;
}

static void
read_file(struct range_rules *rules, const struct range_rules *before,
          const char *path)
{
    const struct ini_options options = { .max_bytes = FILE_BYTES };
    struct file file = { .rules = rules,
                         .number = mix(MIX_START, path, strlen(path)),
                         .first = rules->count };
    char message[2048]; /* a path, and what is wrong */
    const char *wrong;
    int result =
        ini_read(path, &options, take_line, &file, message, sizeof message);

    if (result == 0 && (wrong = check_section(&file)) != NULL) {
        snprintf(message, sizeof message, "%s:%u: %s", path, file.section_line,
                 wrong);
        result = -1;
    }
    if (result == 0)
        return;
    rules->count = file.first;
    log_error("%s; %s", message,
              keep(rules, before, file.number)
                  ? "what this file said before stays in force"
                  : "this file is ignored");
}

/* --------------------------------------------------------------- the folder */

static int
is_rule_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > sizeof SUFFIX - 1 &&
           strcmp(entry->d_name + length - (sizeof SUFFIX - 1), SUFFIX) == 0;
}

/* What a file is like, without reading it. */
static uint64_t
mix_file(uint64_t hash, const char *path)
{
    struct stat s;

    hash = mix(hash, path, strlen(path));
    if (stat(path, &s) < 0)
        return hash;
    hash = mix(hash, &s.st_mtim, sizeof s.st_mtim);
    hash = mix(hash, &s.st_size, sizeof s.st_size);
    return mix(hash, &s.st_ino, sizeof s.st_ino);
}

/* rules NULL: only looks. */
static uint64_t
go_through(const char *folder, struct range_rules *rules,
           const struct range_rules *before)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_rule_file, alphasort);
    uint64_t hash = MIX_START;

    if (count < 0) {
        if (rules && errno != ENOENT)
            log_error("%s: %s; no ranges are read from there", folder,
                      strerror(errno));
        return hash;
    }
    if (rules && count > FILES_MAX)
        log_error("%s: %d files; those after the first %d are ignored", folder,
                  count, FILES_MAX);
    for (int i = 0; i < count; i++) {
        char path[1400];

        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (i < FILES_MAX) {
            hash = mix_file(hash, path);
            if (rules)
                read_file(rules, before, path);
        }
        free(entries[i]);
    }
    free(entries);
    return hash;
}

void
range_rules_read(struct range_rules *rules, const char *folder)
{
    struct range_rules before = *rules;

    /* First: what changes while it is read is seen as a change then. */
    *rules = (struct range_rules){ .seen = go_through(folder, NULL, NULL) };
    go_through(folder, rules, &before);
    range_rules_done(&before);
}

void
range_rules_done(struct range_rules *rules)
{
    free(rules->rules);
    *rules = (struct range_rules){ 0 };
}

bool
range_rules_changed(const struct range_rules *rules, const char *folder)
{
    return go_through(folder, NULL, NULL) != rules->seen;
}

/* ------------------------------------------------------------------ finding */

const struct range_rule *
range_rules_find(const struct range_rules *rules,
                 const uint8_t uuid[UUID_BYTES], const char *name)
{
    const struct range_rule *named = NULL;

    for (size_t i = rules->count; i-- > 0;) {
        const struct range_rule *rule = &rules->rules[i];

        if (rule->by_uuid && memcmp(rule->uuid, uuid, UUID_BYTES) == 0)
            return rule;
        if (!named && *name && strcmp(rule->name, name) == 0)
            named = rule;
    }
    return named;
}

static bool
cut_suffix(char *name, const char *suffix)
{
    size_t length = strlen(name), cut = strlen(suffix);

    if (length <= cut || strcmp(name + length - cut, suffix) != 0)
        return false;
    name[length - cut] = '\0';
    return true;
}

bool
range_base_name(const char *name, char ret[RANGE_NAME])
{
    bool incoming;

    snprintf(ret, RANGE_NAME, "%s", name);
    incoming = cut_suffix(ret, "--incoming");
    if (!incoming)
        cut_suffix(ret, "--migratedaway");
    return incoming;
}
