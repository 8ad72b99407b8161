/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a machine needs, and may have. */
#include "tools/xl_start.h"

#include "common/range_rules.h"
#include "common/units.h"

#include <errno.h>
#include <string.h>

/* -------------------------------------------------------------------- sizes */

size_t
start_add_words(const struct start *s, const char **argv, size_t n)
{
    const struct xl_options *o = s->options;

    if (o->config_option) {
        argv[n++] = "-f";
        argv[n++] = o->config_option;
    }
    for (size_t i = 0; i < o->word_count; i++)
        argv[n++] = o->words[i];
    return n;
}

/* Runs xl with the words of our caller, or of `config` alone. */
static bool
read_config(struct start *s, const char *config)
{
    const struct xl_options *o = s->options;
    const char *argv[ARGV_MAX] = { "xl", "create", "-q", "-n", config };
    struct xl_run run = { .argv = argv, .capture = true };
    char message[200];
    bool good;

    if (!config)
        start_add_words(s, argv, 4);
    good = xl_run(&run);
    if (!good) {
        start_fail_with_xl(s, "xl doesn't accept that", &run);
    } else if (!xl_config_parse(run.output ? run.output : "", run.length,
                                &s->machine, message, sizeof(message))) {
        xl_say(o, "what `xl create -n` prints can't be used: %s", message);
        good = start_fail(s, EXIT_FAILED);
    }
    xl_run_done(&run);
    return good;
}

/* A configuration without a UUID gets another one each time that xl reads it;
 * a restored machine can't be told which one to take. */
static bool
read_config_of_restore(struct start *s)
{
    char uuid[UUID_TEXT];

    if (!read_config(s, s->options->words[0]))
        return false;
    memcpy(uuid, s->machine.uuid, sizeof(uuid));
    if (!read_config(s, s->options->words[0]))
        return false;
    if (strcmp(uuid, s->machine.uuid) != 0)
        s->machine.uuid[0] = '\0';
    return true;
}

static bool
read_save(struct start *s)
{
    const struct xl_options *o = s->options;
    char message[200];
    bool good = false;
    FILE *file;

    if (o->word_count == 2)
        return read_config_of_restore(s);
    file = fopen(o->words[0], "re");
    if (file) {
        good = xl_config_of_save(file, &s->machine, message, sizeof(message));
        fclose(file);
    } else {
        snprintf(message, sizeof(message), "%s", strerror(errno));
    }
    if (good)
        return true;
    xl_say(o, "%s: %s", o->words[0], message);
    return start_fail(s, EXIT_FAILED);
}

static bool
has_word(const char *line, const char *word)
{
    size_t length = strlen(word);
    const char *found = line;

    while ((found = strstr(found, word))) {
        if ((found == line || found[-1] == ' ') &&
            (found[length] == ' ' || found[length] == '\0'))
            return true;
        found += length;
    }
    return false;
}

/* What `xl info` says of the processor's abilities; NULL: nothing. */
static const char *
find_abilities(char *output)
{
    char *line = output ? strstr(output, "virt_caps") : NULL;
    char *end = line ? strchr(line, '\n') : NULL;

    if (end)
        *end = '\0';
    return line;
}

/* Where they can't be told, what costs more is assumed. */
static void
ask_host(struct start *s)
{
    static const char *const argv[] = { "xl", "info", NULL };
    struct xl_run run = { .argv = argv, .capture = true };
    struct xl_machine *m = &s->machine;
    const char *abilities = xl_run(&run) ? find_abilities(run.output) : NULL;

    if (!m->hap_given)
        m->guest.hap = abilities && has_word(abilities, "hap");
    if (m->passthrough)
        m->guest.own_iommu_tables =
            !abilities || !has_word(abilities, "iommu_hap_pt_share");
    s->signal = run.signal;
    xl_run_done(&run);
}

bool
start_read_sizes(struct start *s)
{
    struct xl_machine *m = &s->machine;

    if (!(start_is_restore(s) ? read_save(s) : read_config(s, NULL)))
        return false;
    if (m->guest.type != OVERHEAD_PV && (!m->hap_given || m->passthrough))
        ask_host(s);
    return true;
}

/* ------------------------------------------------------------------ amounts */

static uint64_t
mib_up(uint64_t kib)
{
    return (kib + KIB_PER_MIB - 1) / KIB_PER_MIB * KIB_PER_MIB;
}

static uint64_t
mib_down(uint64_t kib)
{
    return kib / KIB_PER_MIB * KIB_PER_MIB;
}

bool
start_may_be_small(const struct start *s)
{
    const struct xl_machine *m = &s->machine;

    return m->guest.type == OVERHEAD_PV ||
           (s->options->balloon && !m->passthrough && !m->vnuma);
}

static bool
check_range(struct start *s, uint64_t max_kib)
{
    const struct amounts *a = &s->amounts;
    char low[SIZE_TEXT], high[SIZE_TEXT], most[SIZE_TEXT];

    if (a->range_min_kib <= a->range_max_kib && a->range_max_kib <= max_kib)
        return true;
    xl_say(s->options, "the range %s to %s is none within its maxmem, %s",
           format_size((int64_t)a->range_min_kib, low),
           format_size((int64_t)a->range_max_kib, high),
           format_size((int64_t)max_kib, most));
    return start_fail(s, EXIT_USAGE);
}

/* What the administrator keeps for it, as far as it fits; the command line
 * comes first. */
static void
take_rule(struct start *s, uint64_t max_kib)
{
    const struct xl_options *o = s->options;
    struct range_rules rules = { 0 };
    const struct range_rule *rule;
    struct amounts *a = &s->amounts;
    uint8_t uuid[UUID_BYTES] = { 0 };
    char name[RANGE_NAME];

    if (o->min_kib || o->max_kib)
        return;
    parse_uuid(s->machine.uuid, uuid);
    range_base_name(s->machine.name, name);
    range_rules_read(&rules, o->domains_dir);
    rule = range_rules_find(&rules, uuid, name);
    if (rule && rule->has_range && mib_up(rule->min_kib) <= max_kib) {
        a->has_range = true;
        a->range_min_kib = mib_up(rule->min_kib);
        a->range_max_kib = max_u64(a->range_min_kib,
                                   mib_down(min_u64(rule->max_kib, max_kib)));
    }
    range_rules_done(&rules);
}

bool
start_choose_amounts(struct start *s)
{
    const struct xl_options *o = s->options;
    const struct overhead_guest *g = &s->machine.guest;
    uint64_t target_kib = overhead_target_kib(g);
    uint64_t max_kib = overhead_max_kib(g);
    struct amounts *a = &s->amounts;

    a->has_range = o->min_kib || o->max_kib ||
                   (!start_is_restore(s) && target_kib < max_kib);
    a->range_min_kib = mib_up(o->min_kib ? o->min_kib : target_kib);
    a->range_max_kib = mib_down(o->max_kib ? o->max_kib : max_kib);
    take_rule(s, max_kib);
    if (a->has_range && !check_range(s, max_kib))
        return false;
    a->low_kib = a->high_kib = target_kib;
    if (!start_is_restore(s) && !start_may_be_small(s))
        a->low_kib = a->high_kib = max_kib;
    else if (!start_is_restore(s) && a->has_range) {
        a->low_kib = a->range_min_kib;
        a->high_kib = a->range_max_kib;
    }
    return true;
}
