/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reader of scenarios, between its two files: scenario.c reads sections
 * and keys one by one, scenario_check.c fills in defaults and checks the whole
 * once all are there.  For these two only. */
#ifndef SCENARIO_READER_H
#define SCENARIO_READER_H

#include "squeezed/platform/scenario.h"

/* An action's bit in a set of them. */
#define A(name) (UINT32_C(1) << ACTION_##name)
/* Those about a domain, and those about the requests of another event. */
#define OF_DOMAIN                                                              \
    (A(BUILD) | A(DESTROY) | A(PAUSE) | A(UNPAUSE) | A(AUTO) | A(FREEZE) |     \
     A(THAW) | A(REBOOT) | A(RANGE) | A(TARGET) | A(DEMAND) | A(GUEST))
#define OF_REQUEST (A(RELEASE) | A(CANCEL) | A(BUILD))

enum section_kind {
    SECTION_HOST,
    SECTION_DOMAIN,
    SECTION_EVENT,
    SECTION_EXPECT,
    SECTION_COUNT
};

enum { KEYS_MAX = 48 }; /* of an event: its own and those of a domain */

/* What was read of one section. */
struct section {
    enum section_kind kind;
    uint32_t number;
    size_t index; /* in the scenario's array */
    unsigned line;
    unsigned key_lines[KEYS_MAX]; /* 0: the key is not there */
};

struct reader {
    struct scenario *scenario;
    const char *file;
    const struct scenario_settings *settings;
    struct section *sections; /* in the order of the file */
    size_t section_count;
    size_t section_room;
    struct section *current;
    bool overriding;
    char *message; /* of the whole */
    size_t message_size;
    char wrong[320]; /* what is wrong with a line */
};

/* Always false, with "FILE:LINE: " and the rest in the reader's message. */
bool
scenario_fail_at(struct reader *reader, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* NULL if there is none; number is 0 for [host] and [expect]. */
struct section *
scenario_find_section(const struct reader *reader, enum section_kind kind,
                      uint32_t number);

/* Where the key of this section was said; 0: nowhere. */
unsigned
scenario_key_line(const struct section *section, const char *name);

/* The actions that may have the key at key_lines[mark] of an event, and the
 * key's name (NULL: there is none). */
uint32_t
scenario_key_actions(int mark, const char **ret_name);

/* Once everything was read: false with a message. */
bool
scenario_check(struct reader *reader);

#endif
