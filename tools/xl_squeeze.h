/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of xl-squeeze share. */
#ifndef TOOLS_XL_SQUEEZE_H
#define TOOLS_XL_SQUEEZE_H

#include "tools/client.h"
#include "tools/xl_options.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_BROKER = 3
};

/* One call; params is given away.  A call that is cancellable hears signals,
 * others let them wait. */
void
xl_call(const struct xl_options *options, const char *method, json_t *params,
        bool cancellable, struct client_answer *ret);

/* The reason of an error of the broker's, such as "unknown-domain"; "" if that
 * isn't how it ended. */
const char *
xl_reason(const struct client_answer *answer);

/* "xl-squeeze: create: message" */
void __attribute__((format(printf, 2, 3)))
xl_say(const struct xl_options *options, const char *format, ...);

/* Says why a call failed. */
void
xl_say_why(const struct xl_options *options,
           const struct client_answer *answer);

/* No broker answers: says so, and becomes plain xl, or refuses.  Returns only
 * where that is the exit status. */
int
xl_without_broker(const struct xl_options *options, const char *why);

/* create and restore */
int
xl_start(const struct xl_options *options);

/* save and migrate */
int
xl_send_away(const struct xl_options *options);

#endif
