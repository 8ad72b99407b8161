/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/platform/scenario_values.h"

#include <ctype.h>
#include <string.h>

/* What the words of a guest kind are, behind its name. */
enum guest_words { WORDS_NONE, WORDS_SIZE, WORDS_TIME, WORDS_SIZE_TIME };

static const struct {
    const char *name;
    enum guest_words words;
} guest_kinds[] = {
    [GUEST_OBEDIENT] = { "obedient", WORDS_NONE },
    [GUEST_STUCK] = { "stuck", WORDS_NONE },
    [GUEST_FLOOR] = { "floor", WORDS_SIZE },
    [GUEST_CEILING] = { "ceiling", WORDS_SIZE },
    [GUEST_STICKY] = { "sticky", WORDS_TIME },
    [GUEST_CRAWL] = { "crawl", WORDS_SIZE_TIME },
    [GUEST_LATE] = { "late", WORDS_TIME },
    [GUEST_VANISH] = { "vanish", WORDS_TIME },
    [GUEST_BACKOFF] = { "backoff", WORDS_NONE },
};

static const char *const guest_type_names[] = {
    [GUEST_TYPE_PV] = "pv",
    [GUEST_TYPE_PVH] = "pvh",
    [GUEST_TYPE_HVM] = "hvm",
};

static const char *const action_names[ACTION_COUNT] = {
    [ACTION_NONE] = "none",       [ACTION_RESERVE] = "reserve",
    [ACTION_RELEASE] = "release", [ACTION_CANCEL] = "cancel",
    [ACTION_BUILD] = "build",     [ACTION_DESTROY] = "destroy",
    [ACTION_PAUSE] = "pause",     [ACTION_UNPAUSE] = "unpause",
    [ACTION_AUTO] = "auto",       [ACTION_FREEZE] = "freeze",
    [ACTION_THAW] = "thaw",       [ACTION_REBOOT] = "reboot",
    [ACTION_RANGE] = "range",     [ACTION_TARGET] = "target",
    [ACTION_DEMAND] = "demand",   [ACTION_GUEST] = "guest",
    [ACTION_CONSUME] = "consume", [ACTION_BALANCE] = "balance",
    [ACTION_RESTART] = "restart",
};

static const char *const outcome_names[OUTCOME_COUNT] = {
    [OUTCOME_PENDING] = "pending",     [OUTCOME_GRANTED] = "granted",
    [OUTCOME_REFUSED] = "refused",     [OUTCOME_TIMEOUT] = "timeout",
    [OUTCOME_CANCELLED] = "cancelled",
};

const char *
guest_type_name(enum guest_type type)
{
    return guest_type_names[type];
}

const char *
scenario_action_name(enum scenario_action action)
{
    return action_names[action];
}

const char *
outcome_name(enum outcome outcome)
{
    return outcome_names[outcome];
}

/* The index from `from` on, or -1. */
static int
find_name(const char *const *names, int from, int count, const char *text)
{
    for (int i = from; i < count; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

/* ------------------------------------------------------------- the guests */

static bool
parse_positive_time(const char *text, int64_t *ret)
{
    int64_t us;

    if (!parse_time(text, &us) || us == 0)
        return false;
    *ret = us;
    return true;
}

/* A SIZE and a TIME, which both may hold blanks: some blank parts them. */
static bool
parse_size_time(const char *text, struct guest_behaviour *ret)
{
    char first[64];

    for (const char *p = text; *p != '\0'; p++) {
        size_t length = (size_t)(p - text);

        if (!isblank((unsigned char)*p) || length == 0 ||
            length >= sizeof first)
            continue;
        memcpy(first, text, length);
        first[length] = '\0';
        if (parse_size(first, false, &ret->size_kib) &&
            parse_positive_time(p + strspn(p, " \t"), &ret->time_us))
            return true;
    }
    return false;
}

static bool
parse_words(enum guest_words words, const char *text,
            struct guest_behaviour *ret)
{
    switch (words) {
    case WORDS_NONE:
        return *text == '\0';
    case WORDS_SIZE:
        return parse_size(text, false, &ret->size_kib);
    case WORDS_TIME:
        return parse_positive_time(text, &ret->time_us);
    case WORDS_SIZE_TIME:
        return parse_size_time(text, ret);
    }
    return false;
}

bool
guest_behaviour_parse(const char *text, struct guest_behaviour *ret)
{
    size_t length = strcspn(text, " \t");
    const char *words = text + length + strspn(text + length, " \t");

    for (size_t i = 0; i < sizeof guest_kinds / sizeof *guest_kinds; i++) {
        struct guest_behaviour guest = { .kind = (enum guest_kind)i };

        if (strlen(guest_kinds[i].name) != length ||
            strncmp(guest_kinds[i].name, text, length) != 0)
            continue;
        if (!parse_words(guest_kinds[i].words, words, &guest))
            return false;
        *ret = guest;
        return true;
    }
    return false;
}

/* ------------------------------------------------------- one for each type */

static bool
read_name(const char *text, void *field)
{
    if (*text == '\0' || strlen(text) >= SCENARIO_NAME_CHARS)
        return false;
    memcpy(field, text, strlen(text) + 1);
    return true;
}

static bool
read_client(const char *text, void *field)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strspn(text, allowed);

    if (length == 0 || length > LIMIT_CLIENT_CHARS || text[length] != '\0')
        return false;
    memcpy(field, text, length + 1);
    return true;
}

static bool
read_uuid(const char *text, void *field)
{
    return parse_uuid(text, field);
}

static bool
read_guest_type(const char *text, void *field)
{
    int i = find_name(guest_type_names, 0, GUEST_TYPE_HVM + 1, text);

    if (i >= 0)
        *(enum guest_type *)field = (enum guest_type)i;
    return i >= 0;
}

static bool
read_guest(const char *text, void *field)
{
    return guest_behaviour_parse(text, field);
}

static bool
read_policy(const char *text, void *field)
{
    const struct policy *policy = policy_find(text);

    if (policy)
        *(const struct policy **)field = policy;
    return policy != NULL;
}

static bool
read_size(const char *text, void *field)
{
    return parse_size(text, false, field);
}

static bool
read_size_above_0(const char *text, void *field)
{
    uint64_t kib;

    if (!parse_size(text, false, &kib) || kib == 0)
        return false;
    *(uint64_t *)field = kib;
    return true;
}

static bool
read_signed_size(const char *text, void *field)
{
    bool negative = *text == '-';
    uint64_t kib;

    if (!parse_size(text + negative, false, &kib))
        return false;
    *(int64_t *)field = negative ? -(int64_t)kib : (int64_t)kib;
    return true;
}

static bool
read_size_or_none(const char *text, void *field)
{
    if (strcmp(text, "none") != 0)
        return parse_size(text, false, field);
    *(uint64_t *)field = UINT64_MAX;
    return true;
}

static bool
read_time(const char *text, void *field)
{
    return parse_time(text, field);
}

static bool
read_time_or_none(const char *text, void *field)
{
    if (strcmp(text, "none") != 0)
        return parse_time(text, field);
    *(int64_t *)field = -1;
    return true;
}

static bool
parse_number(const char *text, uint64_t low, uint64_t high, uint32_t *ret)
{
    uint64_t value;

    if (!parse_u64(text, &value) || value < low || value > high)
        return false;
    *ret = (uint32_t)value;
    return true;
}

/* A time, "after M", or "after M + TIME". */
static bool
read_at(const char *text, void *field)
{
    struct scenario_event *event = field;
    char number[16] = "";
    size_t digits;
    int64_t at = 0;

    if (strncmp(text, "after", 5) != 0 || !isblank((unsigned char)text[5])) {
        event->after_index = EVENT_NONE;
        return parse_time(text, &event->at_us);
    }
    text += 5 + strspn(text + 5, " \t");
    digits = strspn(text, "0123456789");
    if (digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    text += digits + strspn(text + digits, " \t");
    if (*text == '+' && !parse_time(text + 1 + strspn(text + 1, " \t"), &at))
        return false;
    if (*text != '+' && *text != '\0')
        return false;
    if (!parse_number(number, 0, UINT32_MAX, &event->after))
        return false;
    event->after_index = 0; /* found when all events are read */
    event->at_us = at;
    return true;
}

static bool
read_domid(const char *text, void *field)
{
    return parse_number(text, 0, LIMIT_DOMAINS - 1, field);
}

static bool
read_count(const char *text, void *field)
{
    return parse_number(text, 1, LIMIT_DOMAINS, field);
}

static bool
read_repeat(const char *text, void *field)
{
    return parse_number(text, 1, 1000000, field);
}

static bool
read_event_number(const char *text, void *field)
{
    return parse_number(text, 0, UINT32_MAX, field);
}

static bool
read_shares(const char *text, void *field)
{
    uint32_t shares;

    if (!parse_number(text, 1, 100000, &shares))
        return false;
    *(uint64_t *)field = shares;
    return true;
}

static bool
read_whole(const char *text, void *field)
{
    return parse_u64(text, field);
}

/* A number with at most four decimals counts; a % behind it may stand. */
static bool
read_percent(const char *text, void *field)
{
    uint64_t ppm = 0, unit = 10000;
    const char *p = text;

    for (; isdigit((unsigned char)*p) && ppm <= 1000000; p++)
        ppm = ppm * 10 + (uint64_t)(*p - '0') * unit;
    if (p == text || ppm > 1000000)
        return false;
    if (*p == '.' && isdigit((unsigned char)p[1]))
        for (p++; isdigit((unsigned char)*p); p++)
            ppm += (uint64_t)(*p - '0') * (unit /= 10);
    p += strspn(p, " \t");
    p += *p == '%';
    if (*p != '\0' || ppm > 1000000)
        return false;
    *(int64_t *)field = (int64_t)ppm;
    return true;
}

static bool
read_yes_no(const char *text, void *field)
{
    bool yes = strcmp(text, "yes") == 0;

    if (!yes && strcmp(text, "no") != 0)
        return false;
    *(bool *)field = yes;
    return true;
}

static bool
read_action(const char *text, void *field)
{
    int i = find_name(action_names, 1, ACTION_COUNT, text);

    if (i >= 0)
        *(enum scenario_action *)field = (enum scenario_action)i;
    return i >= 0;
}

static bool
read_outcome(const char *text, void *field)
{
    int i = find_name(outcome_names, 1, OUTCOME_COUNT, text);

    if (i >= 0)
        *(enum outcome *)field = (enum outcome)i;
    return i >= 0;
}

/* What a request can end with. */
static bool
read_expected_error(const char *text, void *field)
{
    static const enum err errors[] = { ERR_CANNOT_FREE, ERR_UNCOOPERATIVE,
                                       ERR_TIMEOUT,     ERR_CANCELLED,
                                       ERR_INVALID,     ERR_BUSY };

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(err_name(errors[i]), text) == 0) {
            *(enum err *)field = errors[i];
            return true;
        }
    return false;
}

static const struct {
    bool (*read)(const char *text, void *field);
    const char *want;
} types[] = {
    [VALUE_NAME] = { read_name, "a name of 1 to 99 characters" },
    [VALUE_CLIENT] = { read_client, "1 to 64 of A-Z a-z 0-9 _ -" },
    [VALUE_UUID] = { read_uuid, "a UUID" },
    [VALUE_GUEST_TYPE] = { read_guest_type, "pv, pvh or hvm" },
    [VALUE_GUEST] = { read_guest,
                      "obedient, stuck, floor SIZE, ceiling SIZE, "
                      "sticky TIME, crawl SIZE TIME, late TIME, vanish TIME "
                      "or backoff" },
    [VALUE_POLICY] = { read_policy, "a policy such as proportional" },
    [VALUE_SIZE] = { read_size, "a size such as 512M" },
    [VALUE_SIGNED_SIZE] = { read_signed_size, "a size such as 512M or -1G" },
    [VALUE_SIZE_ABOVE_0] = { read_size_above_0, "a size above 0" },
    [VALUE_SIZE_OR_NONE] = { read_size_or_none,
                             "a size such as 512M, or none" },
    [VALUE_TIME] = { read_time, "a time such as 25ms or 10" },
    [VALUE_TIME_OR_NONE] = { read_time_or_none, "a time such as 30s, or none" },
    [VALUE_AT] = { read_at, "a time such as 10s, 'after N' or "
                            "'after N + TIME'" },
    [VALUE_DOMID] = { read_domid, "a domid, 0 to 32751" },
    [VALUE_COUNT] = { read_count, "a number from 1 to 32752" },
    [VALUE_REPEAT] = { read_repeat, "a number from 1 to 1000000" },
    [VALUE_EVENT_NUMBER] = { read_event_number, "the number of an event" },
    [VALUE_SHARES] = { read_shares, "a number from 1 to 100000" },
    [VALUE_WHOLE] = { read_whole, "a number" },
    [VALUE_PERCENT] = { read_percent, "a percentage, 0 to 100" },
    [VALUE_YES_NO] = { read_yes_no, "yes or no" },
    [VALUE_ACTION] = { read_action, "an action such as reserve" },
    [VALUE_OUTCOME] = { read_outcome,
                        "granted, refused, timeout or cancelled" },
    [VALUE_EXPECTED_ERROR] = { read_expected_error,
                               "cannot-free, uncooperative, timeout, "
                               "cancelled, invalid or busy" },
};

const char *
scenario_value(enum value_type type, const char *text, void *field)
{
    return types[type].read(text, field) ? NULL : types[type].want;
}
