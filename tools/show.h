/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker's answers as text for people.  Takes what a broker may send as it
 * comes: a field that is missing or of another type is shown as "-". */
#ifndef TOOLS_SHOW_H
#define TOOLS_SHOW_H

#include <jansson.h>
#include <stdio.h>

/* Where it goes.  width: of the terminal, in characters; 0: no terminal. */
struct screen {
    FILE *out;
    unsigned width;
};

typedef void
show_result(const struct screen *screen, const json_t *result);

show_result show_status, show_available, show_plan, show_reservation;

/* Why a plan is impossible. */
void
show_impossible(FILE *out, const json_t *plan);

/* Why it was refused: the message, the reason, the numbers.  what: the verb. */
void
show_refusal(FILE *out, const char *what, const json_t *error);

#endif
