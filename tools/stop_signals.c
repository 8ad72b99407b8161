/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/stop_signals.h"

#include <stdbool.h>
#include <stddef.h>

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };

#define STOP_SIGNALS (sizeof stop_signals / sizeof *stop_signals)

static bool
is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 &&
           !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN;
}

void
stop_signals_fill(sigset_t *ret)
{
    sigemptyset(ret);
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        if (!is_ignored(stop_signals[i]))
            sigaddset(ret, stop_signals[i]);
}

void
stop_signals_ignore(void)
{
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        signal(stop_signals[i], SIG_IGN);
}
