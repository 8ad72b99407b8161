/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ranges that an administrator keeps in files: the input is two files, a NUL
 * between them. */
#include "common/log.h"
#include "common/range_rules.h"
#include "fuzz/fuzz.h"

#include <string.h>
#include <unistd.h>

static char folder[40], paths[2][60];

static void
tidy_up(void)
{
    unlink(paths[0]);
    unlink(paths[1]);
    rmdir(folder);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    MUST(mkdtemp(strcpy(folder, "/tmp/fuzz_ranges.XXXXXX")));
    snprintf(paths[0], sizeof paths[0], "%s/a.conf", folder);
    snprintf(paths[1], sizeof paths[1], "%s/b.conf", folder);
    atexit(tidy_up);
    MUST(log_open("/dev/null"));
    return 0;
}

static void
write_file(const char *path, const uint8_t *data, size_t length)
{
    FILE *file = fopen(path, "w");

    MUST(file && fwrite(data, 1, length, file) == length);
    MUST(fclose(file) == 0);
}

static void
check_rule(const struct range_rules *rules, const struct range_rule *r)
{
    char base[RANGE_NAME];
    const struct range_rule *found;

    MUST(r->name[0] && strlen(r->name) < RANGE_NAME);
    MUST(r->max_kib > 0 && r->shares <= 1000000);
    MUST(r->has_range ? r->min_kib <= r->max_kib : r->max_kib == UINT64_MAX);
    found = range_rules_find(rules, r->uuid, r->name);
    MUST(found && (r->by_uuid || !found->by_uuid || found != r));
    (void)range_base_name(r->name, base);
    MUST(strlen(base) < RANGE_NAME);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    const uint8_t *nul = length ? memchr(data, '\0', length) : NULL;
    size_t n = nul ? (size_t)(nul - data) : length;
    struct range_rules rules = { 0 };

    write_file(paths[0], data, n);
    write_file(paths[1], data + n + (nul != NULL), length - n - (nul != NULL));
    range_rules_read(&rules, folder);
    for (size_t i = 0; i < rules.count; i++)
        check_rule(&rules, &rules.rules[i]);
    MUST(!range_rules_changed(&rules, folder));
    range_rules_done(&rules);
    return 0;
}
