/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/scenario_reader.h"

#include "common/ini.h"
#include "squeezed/platform/scenario_values.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- the keys */

struct key {
    const char *name;
    enum value_type type;
    size_t offset;
    uint32_t mark; /* a domain: its bit in given; an event: the actions that
                    * have it, one bit each */
};

#define HOST(field)   offsetof(struct scenario, field)
#define DOMAIN(field) offsetof(struct scenario_domain, field)
#define EVENT(field)  offsetof(struct scenario_event, field)
#define EXPECT(field) offsetof(struct scenario_expect, field)

static const struct key host_keys[] = {
    { "memory", VALUE_SIZE, HOST(memory_kib), 0 },
    { "reserve", VALUE_SIZE, HOST(reserve_kib), 0 },
    { "cushion", VALUE_SIZE, HOST(cushion_kib), 0 },
    { "policy", VALUE_POLICY, HOST(policy), 0 },
    { "tolerance", VALUE_SIZE, HOST(tolerance_kib), 0 },
    { NULL, 0, 0, 0 },
};

static const struct key domain_keys[] = {
    { "name", VALUE_NAME, DOMAIN(name), GIVEN_NAME },
    { "count", VALUE_COUNT, DOMAIN(count), GIVEN_COUNT },
    { "uuid", VALUE_UUID, DOMAIN(uuid), GIVEN_UUID },
    { "type", VALUE_GUEST_TYPE, DOMAIN(type), GIVEN_OTHER },
    { "dynamic-min", VALUE_SIZE, DOMAIN(dynamic_min_kib), GIVEN_DYNAMIC_MIN },
    { "dynamic-max", VALUE_SIZE, DOMAIN(dynamic_max_kib), GIVEN_DYNAMIC_MAX },
    { "static-min", VALUE_SIZE, DOMAIN(static_min_kib), GIVEN_OTHER },
    { "static-max", VALUE_SIZE, DOMAIN(static_max_kib), GIVEN_STATIC_MAX },
    { "actual", VALUE_SIZE, DOMAIN(actual_kib), GIVEN_ACTUAL },
    { "target", VALUE_SIZE, DOMAIN(target_kib), GIVEN_TARGET },
    { "limit", VALUE_SIZE, DOMAIN(limit_kib), GIVEN_LIMIT },
    { "shares", VALUE_SHARES, DOMAIN(shares), GIVEN_OTHER },
    { "used", VALUE_SIZE_OR_NONE, DOMAIN(used_kib), GIVEN_USED },
    { "rate", VALUE_SIZE_ABOVE_0, DOMAIN(rate_kib), GIVEN_OTHER },
    { "inaccuracy", VALUE_SIZE, DOMAIN(inaccuracy_kib), GIVEN_OTHER },
    { "guest", VALUE_GUEST, DOMAIN(guest), GIVEN_GUEST },
    { "delay", VALUE_TIME, DOMAIN(delay_us), GIVEN_OTHER },
    { NULL, 0, 0, 0 },
};

#define ANY UINT32_MAX

static const struct key event_keys[] = {
    { "at", VALUE_AT, 0, ANY },
    { "action", VALUE_ACTION, EVENT(action), ANY },
    { "repeat", VALUE_REPEAT, EVENT(repeat), ANY },
    { "every", VALUE_TIME, EVENT(every_us), ANY },
    { "of", VALUE_EVENT_NUMBER, EVENT(of), OF_REQUEST },
    { "domid", VALUE_DOMID, EVENT(domid), OF_DOMAIN },
    { "client", VALUE_CLIENT, EVENT(client), A(RESERVE) },
    { "min", VALUE_SIZE, EVENT(min_kib), A(RESERVE) | A(RANGE) },
    { "max", VALUE_SIZE, EVENT(max_kib), A(RESERVE) | A(RANGE) },
    { "count", VALUE_COUNT, EVENT(count), A(RESERVE) | A(BUILD) },
    { "timeout", VALUE_TIME, EVENT(timeout_us), A(RESERVE) },
    { "wait", VALUE_YES_NO, EVENT(wait), A(RESERVE) },
    { "hold", VALUE_TIME_OR_NONE, EVENT(hold_us), A(RESERVE) },
    { "expect", VALUE_OUTCOME, EVENT(expect), A(RESERVE) },
    { "expect-error", VALUE_EXPECTED_ERROR, EVENT(expect_error), A(RESERVE) },
    { "expect-within", VALUE_TIME, EVENT(expect_within_us), A(RESERVE) },
    { "expect-amount", VALUE_SIZE, EVENT(expect_amount_kib), A(RESERVE) },
    { "size", VALUE_SIGNED_SIZE, EVENT(consume_kib), A(TARGET) | A(CONSUME) },
    { NULL, 0, 0, 0 },
};

static const struct key expect_keys[] = {
    { "max-writes-per-domain", VALUE_WHOLE, EXPECT(max_writes), 0 },
    { "settled-within", VALUE_TIME, EXPECT(settled_within_us), 0 },
    { "max-dip", VALUE_PERCENT, EXPECT(max_dip_ppm), 0 },
    { "left-over", VALUE_SIZE, EXPECT(left_over_kib), 0 },
    { NULL, 0, 0, 0 },
};

static int
find_key(const struct key *keys, const char *name)
{
    for (int i = 0; keys[i].name; i++)
        if (strcmp(keys[i].name, name) == 0)
            return i;
    return -1;
}

/* The keys of an event: first its own, then those of a domain. */
enum {
    EVENT_KEYS = sizeof event_keys / sizeof *event_keys - 1,
    DOMAIN_KEYS = sizeof domain_keys / sizeof *domain_keys - 1
};

static_assert(EVENT_KEYS + DOMAIN_KEYS <= KEYS_MAX, "KEYS_MAX is too small");

/* The actions that may have this key of a domain. */
static uint32_t
domain_key_actions(const struct key *key)
{
    switch (key->mark) {
    case GIVEN_COUNT: /* an event has one of its own */
        return 0;
    case GIVEN_USED:
        return A(BUILD) | A(DEMAND);
    case GIVEN_GUEST:
        return A(BUILD) | A(GUEST);
    default:
        return A(BUILD);
    }
}

uint32_t
scenario_key_actions(int mark, const char **ret_name)
{
    if (mark < EVENT_KEYS) {
        *ret_name = event_keys[mark].name;
        return event_keys[mark].mark;
    }
    *ret_name = mark < EVENT_KEYS + DOMAIN_KEYS
                    ? domain_keys[mark - EVENT_KEYS].name
                    : NULL;
    return *ret_name ? domain_key_actions(&domain_keys[mark - EVENT_KEYS]) : 0;
}

unsigned
scenario_key_line(const struct section *section, const char *name)
{
    const struct key *keys = section->kind == SECTION_HOST     ? host_keys
                             : section->kind == SECTION_DOMAIN ? domain_keys
                             : section->kind == SECTION_EVENT  ? event_keys
                                                               : expect_keys;
    int k = find_key(keys, name);

    if (k >= 0)
        return section->key_lines[k];
    k = section->kind == SECTION_EVENT ? find_key(domain_keys, name) : -1;
    return k < 0 ? 0 : section->key_lines[EVENT_KEYS + k];
}

/* ------------------------------------------------------------- the reader */

static const struct {
    const char *name;
    bool numbered;
    uint64_t highest;
} sections[SECTION_COUNT] = {
    [SECTION_HOST] = { "host", false, 0 },
    [SECTION_DOMAIN] = { "domain", true, LIMIT_DOMAINS - 1 },
    [SECTION_EVENT] = { "event", true, UINT32_MAX },
    [SECTION_EXPECT] = { "expect", false, 0 },
};

static const char *__attribute__((format(printf, 2, 3)))
wrong(struct reader *r, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->wrong, sizeof r->wrong, format, args);
    va_end(args);
    return r->wrong;
}

bool
scenario_fail_at(struct reader *r, unsigned line, const char *format, ...)
{
    va_list args;
    int at = snprintf(r->message, r->message_size, "%s:%u: ", r->file, line);

    va_start(args, format);
    if (at > 0 && (size_t)at < r->message_size)
        vsnprintf(r->message + at, r->message_size - (size_t)at, format, args);
    va_end(args);
    return false;
}

/* Room for one more; NULL without memory. */
static void *
grow_array(void *array, size_t *room, size_t count, size_t size)
{
    void *larger;

    if (count < *room)
        return array;
    larger = reallocarray(array, *room * 2 + 16, size);
    if (larger)
        *room = *room * 2 + 16;
    return larger;
}

/* "domain 7" as a kind and a number. */
static bool
parse_section(const char *text, enum section_kind *ret_kind,
              uint32_t *ret_number)
{
    for (int i = 0; i < SECTION_COUNT; i++) {
        size_t length = strlen(sections[i].name);
        size_t blanks = strspn(text + min_u64(length, strlen(text)), " \t");
        uint64_t number = 0;

        if (strncmp(text, sections[i].name, length) != 0)
            continue;
        if (!sections[i].numbered && text[length] != '\0')
            continue;
        if (sections[i].numbered &&
            (blanks == 0 || !parse_u64(text + length + blanks, &number) ||
             number > sections[i].highest))
            continue;
        *ret_kind = (enum section_kind)i;
        *ret_number = (uint32_t)number;
        return true;
    }
    return false;
}

struct section *
scenario_find_section(const struct reader *r, enum section_kind kind,
                      uint32_t number)
{
    for (size_t i = 0; i < r->section_count; i++)
        if (r->sections[i].kind == kind && r->sections[i].number == number)
            return &r->sections[i];
    return NULL;
}

static struct section *
add_section(struct reader *r, enum section_kind kind, uint32_t number,
            unsigned line)
{
    struct section *grown = grow_array(r->sections, &r->section_room,
                                       r->section_count, sizeof *grown);

    if (!grown)
        return NULL;
    r->sections = grown;
    grown[r->section_count] =
        (struct section){ .kind = kind, .number = number, .line = line };
    return &grown[r->section_count++];
}

/* The arrays grow by one at a time: realloc is quick where it can stay. */
static bool
add_domain(struct scenario *s, struct section *section)
{
    struct scenario_domain *grown =
        reallocarray(s->domains, s->domain_count + 1, sizeof *grown);

    if (!grown)
        return false;
    s->domains = grown;
    scenario_domain_init(&grown[s->domain_count]);
    grown[s->domain_count].domid = section->number;
    section->index = s->domain_count++;
    return true;
}

static bool
add_event(struct scenario *s, struct section *section)
{
    struct scenario_event *grown =
        reallocarray(s->events, s->event_count + 1, sizeof *grown);
    struct scenario_event *e;

    if (!grown)
        return false;
    s->events = grown;
    e = &grown[s->event_count];
    *e = (struct scenario_event){
        .line = section->line,
        .number = section->number,
        .after_index = EVENT_NONE,
        .of_index = EVENT_NONE,
        .repeat = 1,
        .client = "sim",
        .count = 1,
        .timeout_us = INT64_C(60) * US_PER_S,
        .hold_us = -1,
        .expect_within_us = -1,
        .expect_amount_kib = UINT64_MAX,
    };
    scenario_domain_init(&e->domain);
    section->index = s->event_count++;
    return true;
}

static const char *
unknown_section(struct reader *r, const char *text)
{
    uint64_t number;

    if (strncmp(text, "domain", 6) == 0 &&
        parse_u64(text + 6 + strspn(text + 6, " \t"), &number))
        return wrong(r, "[%.60s]: the highest domid is %d", text,
                     LIMIT_DOMAINS - 1);
    return wrong(r,
                 "unknown section [%.60s]: there are [host], [domain N], "
                 "[event N] and [expect]",
                 text);
}

static const char *
open_section(struct reader *r, const char *text, unsigned line)
{
    enum section_kind kind;
    uint32_t number;
    struct section *old;
    bool added = true;

    if (!parse_section(text, &kind, &number))
        return unknown_section(r, text);
    old = scenario_find_section(r, kind, number);
    if (old)
        return wrong(r, "[%.60s] comes twice: first in line %u", text,
                     old->line);
    r->current = add_section(r, kind, number, line);
    if (!r->current)
        return "out of memory";
    if (kind == SECTION_DOMAIN)
        added = add_domain(r->scenario, r->current);
    else if (kind == SECTION_EVENT)
        added = add_event(r->scenario, r->current);
    return added ? NULL : "out of memory";
}

/* ------------------------------------------------------------- key = value */

/* Reads the value into its place and notes where it was said. */
static const char *
set_value(struct reader *r, const struct key *key, int mark, void *base,
          const char *value, unsigned line)
{
    unsigned *seen = &r->current->key_lines[mark];
    const char *want;

    assert(mark < KEYS_MAX);
    if (*seen != 0 && !r->overriding)
        return wrong(r, "%s comes twice: first in line %u", key->name, *seen);
    want = scenario_value(key->type, value, (char *)base + key->offset);
    if (want)
        return wrong(r, "%s = \"%.60s\": it must be %s", key->name, value,
                     want);
    *seen = line;
    return NULL;
}

static const char *
unknown_key(struct reader *r, const char *name)
{
    return wrong(r, "unknown key \"%.60s\" in [%s%s]", name,
                 sections[r->current->kind].name,
                 sections[r->current->kind].numbered ? " N" : "");
}

static const char *
set_domain_key(struct reader *r, struct scenario_domain *domain, int first_mark,
               const char *name, const char *value, unsigned line)
{
    int k = find_key(domain_keys, name);
    const char *error;

    if (k < 0)
        return unknown_key(r, name);
    error = set_value(r, &domain_keys[k], first_mark + k, domain, value, line);
    if (!error)
        domain->given |= domain_keys[k].mark;
    return error;
}

/* Its own keys come first, then those of a domain. */
static const char *
set_event_key(struct reader *r, struct scenario_event *event, const char *name,
              const char *value, unsigned line)
{
    int k = find_key(event_keys, name);

    if (k < 0)
        return set_domain_key(r, &event->domain, EVENT_KEYS, name, value, line);
    return set_value(r, &event_keys[k], k, event, value, line);
}

/* `domain-N-target = SIZE`. */
static const char *
set_expected_target(struct reader *r, const char *name, const char *value)
{
    struct scenario_expect *x = &r->scenario->expect;
    struct expected_target t, *grown;
    unsigned domid;
    int end = 0;

    if (sscanf(name, "domain-%5u-target%n", &domid, &end) != 1 || end == 0 ||
        name[end] != '\0' || domid >= LIMIT_DOMAINS)
        return unknown_key(r, name);
    t.domid = domid;
    const char *want = scenario_value(VALUE_SIZE, value, &t.target_kib);
    if (want)
        return wrong(r, "%s = \"%.60s\": it must be %s", name, value, want);
    for (size_t i = 0; i < x->target_count; i++)
        if (x->targets[i].domid == domid) {
            x->targets[i] = t;
            return r->overriding ? NULL : wrong(r, "%s comes twice", name);
        }
    grown = reallocarray(x->targets, x->target_count + 1, sizeof *grown);
    if (!grown)
        return "out of memory";
    x->targets = grown;
    grown[x->target_count++] = t;
    return NULL;
}

static const char *
set_plain_key(struct reader *r, const struct key *keys, void *base,
              const char *name, const char *value, unsigned line)
{
    int k = find_key(keys, name);

    if (k < 0)
        return unknown_key(r, name);
    return set_value(r, &keys[k], k, base, value, line);
}

static const char *
set_key(struct reader *r, const char *name, const char *value, unsigned line)
{
    struct scenario *s = r->scenario;

    if (!r->current)
        return wrong(r, "\"%.60s\" stands before the first section", name);
    switch (r->current->kind) {
    case SECTION_HOST:
        return set_plain_key(r, host_keys, s, name, value, line);
    case SECTION_DOMAIN:
        return set_domain_key(r, &s->domains[r->current->index], 0, name, value,
                              line);
    case SECTION_EVENT:
        return set_event_key(r, &s->events[r->current->index], name, value,
                             line);
    case SECTION_EXPECT:
        if (find_key(expect_keys, name) < 0)
            return set_expected_target(r, name, value);
        return set_plain_key(r, expect_keys, &s->expect, name, value, line);
    case SECTION_COUNT:
        break;
    }
    return NULL;
}

static const char *
take_line(void *arg, const char *section, const char *key, const char *value,
          unsigned line)
{
    struct reader *r = arg;

    if (!key)
        return open_section(r, section, line);
    return set_key(r, key, value, line);
}

/* "SECTION.KEY=VALUE" over what the file says. */
static const char *
override(struct reader *r, char *text)
{
    char *dot = strchr(text, '.'), *equals = dot ? strchr(dot, '=') : NULL;
    enum section_kind kind;
    uint32_t number;

    if (!equals)
        return "it must be SECTION.KEY=VALUE, such as host.policy=proportional";
    *dot = *equals = '\0';
    if (!parse_section(text, &kind, &number))
        return unknown_section(r, text);
    r->current = scenario_find_section(r, kind, number);
    if (!r->current && (kind == SECTION_HOST || kind == SECTION_EXPECT))
        r->current = add_section(r, kind, number, 1);
    if (!r->current)
        return wrong(r, "there is no [%.60s] in the file", text);
    return set_key(r, dot + 1, equals + 1, r->current->line);
}

static bool
apply_settings(struct reader *r)
{
    r->overriding = true;
    for (size_t i = 0; r->settings && i < r->settings->count; i++) {
        char *copy = strdup(r->settings->texts[i]);
        const char *error = copy ? override(r, copy) : "out of memory";

        if (error)
            snprintf(r->message, r->message_size, "%s: %s",
                     r->settings->texts[i], error);
        free(copy);
        if (error)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ public */

static void
name_after_file(struct scenario *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dot;

    snprintf(s->name, sizeof s->name, "%s", slash ? slash + 1 : path);
    dot = strrchr(s->name, '.');
    if (dot && dot != s->name)
        *dot = '\0';
}

static struct scenario *
scenario_new(const char *name)
{
    struct scenario *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    name_after_file(s, name);
    s->reserve_kib = 72 * KIB_PER_MIB;
    s->tolerance_kib = 512;
    s->policy = policy_find("proportional");
    s->expect.max_writes = s->expect.left_over_kib = UINT64_MAX;
    s->expect.settled_within_us = s->expect.max_dip_ppm = -1;
    return s;
}

void
scenario_free(struct scenario *s)
{
    if (!s)
        return;
    free(s->domains);
    free(s->events);
    free(s->expect.targets);
    free(s);
}

/* From the file, or where text is given, from that. */
static struct scenario *
read_scenario(struct reader *r, const char *text, size_t length)
{
    const struct ini_options options = { .max_bytes = LIMIT_SCENARIO_BYTES };
    int result;

    r->scenario = scenario_new(r->file);
    if (!r->scenario) {
        scenario_fail_at(r, 1, "out of memory");
        return NULL;
    }
    if (text)
        result = ini_read_text(r->file, text, length, take_line, r, r->message,
                               r->message_size);
    else
        result = ini_read(r->file, &options, take_line, r, r->message,
                          r->message_size);
    if (result < 0 || !apply_settings(r) || !scenario_check(r)) {
        scenario_free(r->scenario);
        r->scenario = NULL;
    }
    free(r->sections);
    return r->scenario;
}

struct scenario *
scenario_read(const char *path, const struct scenario_settings *settings,
              char *message, size_t message_size)
{
    struct reader reader = { .file = path,
                             .settings = settings,
                             .message = message,
                             .message_size = message_size };

    return read_scenario(&reader, NULL, 0);
}

struct scenario *
scenario_read_text(const char *name, const char *text, size_t length,
                   const struct scenario_settings *settings, char *message,
                   size_t message_size)
{
    struct reader reader = { .file = name,
                             .settings = settings,
                             .message = message,
                             .message_size = message_size };

    return read_scenario(&reader, text, length);
}
