/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/scenario_reader.h"

#include <inttypes.h>
#include <stdlib.h>

/* The keys that an action can't do without; `build` also wants `of`. */
static const struct {
    const char *name;
    uint32_t actions;
} required_keys[] = {
    { "of", OF_REQUEST },
    { "domid", OF_DOMAIN & ~A(BUILD) },
    { "min", A(RESERVE) | A(RANGE) },
    { "max", A(RANGE) },
    { "size", A(TARGET) | A(CONSUME) },
    { "used", A(DEMAND) },
    { "guest", A(GUEST) },
};

static bool
complete_domain(struct reader *r, const struct section *section,
                unsigned *domid_lines)
{
    struct scenario_domain *d = &r->scenario->domains[section->index];
    char buffer[SCENARIO_ERROR_CHARS];
    const char *error = scenario_domain_complete(d, 0, buffer);

    if (error)
        return scenario_fail_at(r, section->line, "[domain %" PRIu32 "]: %s",
                                d->domid, error);
    if (d->domid + d->count > LIMIT_DOMAINS)
        return scenario_fail_at(
            r, section->line,
            "[domain %" PRIu32 "]: count = %" PRIu32
            " needs domids up to %" PRIu32 ", the highest is %d",
            d->domid, d->count, d->domid + d->count - 1, LIMIT_DOMAINS - 1);
    for (uint32_t i = 0; i < d->count; i++) {
        unsigned *line = &domid_lines[d->domid + i];

        if (*line != 0)
            return scenario_fail_at(
                r, section->line,
                "domid %" PRIu32
                " comes twice: it is also one of those in line %u",
                d->domid + i, *line);
        *line = section->line;
    }
    return true;
}

static bool
complete_domains(struct reader *r)
{
    unsigned *lines = calloc(LIMIT_DOMAINS, sizeof *lines);
    bool good = lines != NULL;

    if (!good)
        scenario_fail_at(r, 1, "out of memory");
    for (size_t i = 0; good && i < r->section_count; i++)
        if (r->sections[i].kind == SECTION_DOMAIN)
            good = complete_domain(r, &r->sections[i], lines);
    free(lines);
    return good;
}

static bool
complete_host(struct reader *r)
{
    const struct section *host = scenario_find_section(r, SECTION_HOST, 0);
    const struct scenario *s = r->scenario;
    char held_text[SIZE_TEXT], memory_text[SIZE_TEXT];
    uint64_t held = 0;
    unsigned line;

    if (!host)
        return scenario_fail_at(r, 1, "[host] with its memory is missing");
    line = scenario_key_line(host, "memory");
    if (line == 0)
        return scenario_fail_at(r, host->line, "[host]: 'memory' is missing");
    for (size_t i = 0; i < s->domain_count; i++)
        held = add_sat(
            held, mul_div(s->domains[i].actual_kib, s->domains[i].count, 1));
    if (held > s->memory_kib)
        return scenario_fail_at(
            r, line, "memory = %s: the domains hold more (%s)",
            format_size((int64_t)s->memory_kib, memory_text),
            format_size((int64_t)min_u64(held, INT64_MAX), held_text));
    return true;
}

static size_t
event_index(const struct scenario *s, uint32_t number)
{
    for (size_t i = 0; i < s->event_count; i++)
        if (s->events[i].number == number)
            return i;
    return EVENT_NONE;
}

static bool
check_event_keys(struct reader *r, const struct section *section,
                 const struct scenario_event *e)
{
    const uint32_t bit = UINT32_C(1) << e->action;
    const char *name;

    if (e->action == ACTION_NONE)
        return scenario_fail_at(r, section->line,
                                "[event %" PRIu32 "]: 'action' is missing",
                                e->number);
    for (int i = 0; i < KEYS_MAX; i++)
        if (section->key_lines[i] != 0 &&
            !(scenario_key_actions(i, &name) & bit))
            return scenario_fail_at(r, section->key_lines[i],
                                    "\"%s\" is no key of action = %s", name,
                                    scenario_action_name(e->action));
    for (size_t i = 0; i < sizeof required_keys / sizeof *required_keys; i++)
        if ((required_keys[i].actions & bit) &&
            scenario_key_line(section, required_keys[i].name) == 0)
            return scenario_fail_at(r, section->line,
                                    "[event %" PRIu32 "]: '%s' is missing for "
                                    "action = %s",
                                    e->number, required_keys[i].name,
                                    scenario_action_name(e->action));
    if (e->repeat > 1 && scenario_key_line(section, "every") == 0)
        return scenario_fail_at(r, section->line,
                                "[event %" PRIu32 "]: repeat = %" PRIu32
                                " needs 'every'",
                                e->number, e->repeat);
    return true;
}

/* Which event it waits for, and whose requests it is about. */
static bool
link_event(struct reader *r, const struct section *section,
           struct scenario_event *e)
{
    struct scenario *s = r->scenario;

    if (e->after_index != EVENT_NONE) {
        e->after_index = event_index(s, e->after);
        if (e->after_index == EVENT_NONE)
            return scenario_fail_at(
                r, scenario_key_line(section, "at"),
                "at = after %" PRIu32 ": there is no such event", e->after);
    }
    if (scenario_key_line(section, "of") == 0)
        return true;
    e->of_index = event_index(s, e->of);
    if (e->of_index == EVENT_NONE ||
        s->events[e->of_index].action != ACTION_RESERVE)
        return scenario_fail_at(
            r, scenario_key_line(section, "of"),
            "of = %" PRIu32 ": there is no such reserve event", e->of);
    return true;
}

static bool
check_reserve(struct reader *r, const struct section *section,
              struct scenario_event *e)
{
    if (scenario_key_line(section, "max") == 0)
        e->max_kib = e->min_kib;
    if (e->max_kib < e->min_kib)
        return scenario_fail_at(r, scenario_key_line(section, "max"),
                                "max = %" PRIu64 " KiB is below min = %" PRIu64
                                " KiB",
                                e->max_kib, e->min_kib);
    return true;
}

/* With a made-up amount: what is wrong with it is wrong with any. */
static bool
check_build(struct reader *r, const struct section *section,
            const struct scenario_event *e)
{
    struct scenario_domain built = e->domain;
    char buffer[SCENARIO_ERROR_CHARS];
    const char *error;

    error = scenario_domain_complete(&built, KIB_PER_PAGE, buffer);
    if (error)
        return scenario_fail_at(r, section->line, "[event %" PRIu32 "]: %s",
                                e->number, error);
    return true;
}

static bool
check_target(struct reader *r, const struct section *section,
             struct scenario_event *e)
{
    if (e->consume_kib < 0)
        return scenario_fail_at(
            r, scenario_key_line(section, "size"),
            "size = %" PRId64 " KiB: a target is not negative", e->consume_kib);
    e->size_kib = (uint64_t)e->consume_kib;
    return true;
}

static bool
complete_event(struct reader *r, const struct section *section)
{
    struct scenario_event *e = &r->scenario->events[section->index];

    e->domid_given = scenario_key_line(section, "domid") != 0;
    if (e->action == ACTION_BUILD && scenario_key_line(section, "count") == 0)
        e->count = LIMIT_DOMAINS;
    if (!check_event_keys(r, section, e) || !link_event(r, section, e))
        return false;
    if (e->action == ACTION_RESERVE)
        return check_reserve(r, section, e);
    if (e->action == ACTION_BUILD)
        return check_build(r, section, e);
    if (e->action == ACTION_TARGET)
        return check_target(r, section, e);
    return true;
}

/* No event may wait for itself, by whatever way round.  An event waits for
 * one other at most: after as many steps as there are events, it is a ring. */
static bool
check_rings(struct reader *r)
{
    const struct scenario *s = r->scenario;
    size_t *depth = calloc(s->event_count + 1, sizeof *depth);
    bool good = depth != NULL;

    for (size_t i = 0; good && i < s->event_count; i++) {
        size_t steps = 0, at = i;

        while (at != EVENT_NONE && depth[at] == 0 && steps <= s->event_count) {
            at = s->events[at].after_index;
            steps++;
        }
        depth[i] = 1; /* it comes to an end: no need to go there again */
        if (steps > s->event_count)
            good = scenario_fail_at(r, s->events[i].line,
                                    "[event %" PRIu32 "]: at = after %" PRIu32
                                    ": these events wait for each other",
                                    s->events[i].number, s->events[i].after);
    }
    if (!depth)
        scenario_fail_at(r, 1, "out of memory");
    free(depth);
    return good;
}

static bool
complete_events(struct reader *r)
{
    for (size_t i = 0; i < r->section_count; i++)
        if (r->sections[i].kind == SECTION_EVENT &&
            !complete_event(r, &r->sections[i]))
            return false;
    return check_rings(r);
}

bool
scenario_check(struct reader *r)
{
    return complete_domains(r) && complete_host(r) && complete_events(r);
}
