/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/keep.h"

#include "common/floor.h"
#include "common/range_rules.h"
#include "common/units.h"
#include "tools/client.h"
#include "tools/table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 30000
/* What shows that a file is ours to replace. */
#define FIRST_LINE                                                             \
    "# Written by `squeezectl range --keep`, which replaces it.\n"

enum { PATH_ROOM = 1200 };

struct kept {
    const char *folder;
    const char *name; /* as xl's, without what it adds in a migration */
    uint8_t uuid[UUID_BYTES];
    const char *section;
    uint64_t min_kib;
    uint64_t max_kib;
    char path[PATH_ROOM];
};

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
    char text[PATH_ROOM + 300];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fputs("squeezectl: range: ", stderr);
    put_clean(stderr, text);
    fputc('\n', stderr);
}

static const char *
value_of(const struct arguments *arguments, const char *option)
{
    const struct param *params = arguments->verb->params;

    for (size_t i = 0; i < VERB_PARAMS_MAX && params[i].label; i++)
        if (params[i].option && strcmp(params[i].option, option) == 0)
            return arguments->values[i];
    return NULL;
}

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const json_t *
find_domain(const json_t *status, json_int_t domid)
{
    const json_t *domains = json_object_get(status, "domains");
    const json_t *domain;
    size_t i;

    json_array_foreach(
        domains, i,
        domain) if (json_integer_value(json_object_get(domain, "domid")) ==
                    domid) return domain;
    return NULL;
}

/* ----------------------------------------------------------------- the file */

/* Is it fit for a section, and for a file's name? */
static bool
is_plain(const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789_.+-";

    return *name && *name != '.' && strlen(name) < RANGE_NAME &&
           strspn(name, plain) == strlen(name);
}

static bool
is_ours(FILE *file)
{
    char line[sizeof FIRST_LINE];

    return fgets(line, sizeof line, file) && strcmp(line, FIRST_LINE) == 0;
}

static bool
may_replace(const struct kept *kept)
{
    FILE *file = fopen(kept->path, "re");
    bool ours;

    if (!file && errno == ENOENT)
        return true;
    ours = file && is_ours(file);
    if (!file)
        say("%s: %s", kept->path, strerror(errno));
    else if (!ours)
        say("%s was not written by squeezectl: change it by hand", kept->path);
    if (file)
        fclose(file);
    return ours;
}

/* The folder, and the one that it is in. */
static void
make_folders(const char *folder)
{
    char parent[PATH_ROOM];
    char *slash;

    snprintf(parent, sizeof parent, "%s", folder);
    slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        mkdir(parent, 0755);
    }
    mkdir(folder, 0755);
}

static void
put_size(FILE *file, const char *key, uint64_t kib)
{
    if (kib % KIB_PER_MIB == 0)
        fprintf(file, "%s = %" PRIu64 "M\n", key, kib / KIB_PER_MIB);
    else
        fprintf(file, "%s = %" PRIu64 "K\n", key, kib);
}

static bool
write_rule(const struct kept *kept, int fd)
{
    FILE *file = fdopen(fd, "w");
    bool good;

    if (!file) {
        close(fd);
        return false;
    }
    fprintf(file, FIRST_LINE "[%s]\n", kept->section);
    put_size(file, "dynamic-min", kept->min_kib);
    put_size(file, "dynamic-max", kept->max_kib);
    good = fflush(file) == 0 && fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    return fclose(file) == 0 && good;
}

/* So that the file's new name survives a crash as well. */
static bool
sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return good;
}

/* At any moment there is the old file or the new one, whole. */
static bool
replace_file(const struct kept *kept)
{
    char path[PATH_ROOM];
    int fd;

    /* squeezed reads no file whose name begins with a dot. */
    snprintf(path, sizeof path, "%s/.range.XXXXXX", kept->folder);
    make_folders(kept->folder);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0 && write_rule(kept, fd) && rename(path, kept->path) == 0 &&
        sync_folder(kept->folder))
        return true;
    say("%s can't be written: %s", kept->path, strerror(errno));
    if (fd >= 0)
        unlink(path);
    return false;
}

/* Another file may have the last word. */
static bool
check_rule(const struct kept *kept)
{
    struct range_rules rules = { 0 };
    const struct range_rule *rule;
    bool same;

    range_rules_read(&rules, kept->folder);
    rule = range_rules_find(&rules, kept->uuid, kept->name);
    same = rule && rule->has_range && rule->min_kib == kept->min_kib &&
           rule->max_kib == kept->max_kib;
    range_rules_done(&rules);
    if (!same)
        say("it stands in %s, but another section in that folder is about this "
            "domain too, and counts",
            kept->path);
    return same;
}

static bool
keep(const struct arguments *arguments, const json_t *params,
     const json_t *domain)
{
    const char *folder = value_of(arguments, KEEP_FOLDER);
    const char *uuid = text_of(domain, "uuid");
    char name[RANGE_NAME];
    struct kept kept = {
        .folder = folder ? folder : KEEP_DEFAULT,
        .name = name,
        .section = name,
        .min_kib = (uint64_t)json_integer_value(
            json_object_get(params, "dynamic_min")),
        .max_kib = (uint64_t)json_integer_value(
            json_object_get(params, "dynamic_max")),
    };

    range_base_name(text_of(domain, "name"), name);
    parse_uuid(uuid, kept.uuid);
    if (!is_plain(name) || strcasecmp(arguments->values[0], uuid) == 0)
        kept.section = uuid;
    if (snprintf(kept.path, sizeof kept.path, "%s/%s.conf", kept.folder,
                 kept.section) >= (int)sizeof kept.path) {
        say("%s: the path %s/%s.conf has more than %d bytes", KEEP_FOLDER,
            kept.folder, kept.section, PATH_ROOM - 1);
        return false;
    }
    kept.min_kib = page_up(kept.min_kib);
    kept.max_kib = page_up(kept.max_kib);
    return may_replace(&kept) && replace_file(&kept) && check_rule(&kept);
}

/* ---------------------------------------------------------------- the whole */

/* As status will, once the broker has looked again. */
static void
warn(const json_t *params, const json_t *domain)
{
    const json_t *min = json_object_get(params, "dynamic_min");
    const json_t *most = json_object_get(domain, "static_max_kib");
    char text[FLOOR_TEXT];

    if (*floor_warning((uint64_t)json_integer_value(min),
                       (uint64_t)json_integer_value(most), text))
        say("warning: dynamic-min %s", text);
}

int
keep_range(const struct arguments *arguments, const json_t *params)
{
    json_int_t domid = json_integer_value(json_object_get(params, "domid"));
    bool wanted = value_of(arguments, KEEP_OPTION) != NULL;
    struct client_answer answer;
    const json_t *domain = NULL;
    bool good = true;

    client_ask(arguments->socket_path, "squeezed.status", json_object(),
               ANSWER_TIMEOUT_MS, &answer);
    if (answer.end == CLIENT_RESULT)
        domain = find_domain(answer.result, domid);
    warn(params, domain);
    if (wanted && answer.end == CLIENT_NO_ANSWER)
        say("%s", answer.message);
    else if (wanted && !domain)
        say("domain %" JSON_INTEGER_FORMAT " has gone", domid);
    if (wanted)
        good = domain && keep(arguments, params, domain);
    if (!good)
        say("the range is set for now, and not kept");
    client_answer_done(&answer);
    return good ? 0 : 1;
}
