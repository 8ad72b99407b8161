/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log: one sink per process, one line per event.  The only mutable global
 * of the house.  Core never logs; the shells do, once per event. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

/* `stderr`, `syslog:NAME`, `journal`, `auto` (the journal under systemd, else
 * stderr), or a file's path.  False if a file can't be opened (errno says
 * why); the sink stays as it was then.  Before the first call: stderr. */
bool
log_open(const char *sink);

void
log_set_level(enum log_level level);

/* "error", "warning", "info", "debug". */
bool
log_parse_level(const char *text, enum log_level *ret);

/* One line; control characters in it come out as '?', so that hostile text
 * can't forge a line. */
void
log_at(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_at(LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_at(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_at(LEVEL_DEBUG, __VA_ARGS__)

#endif
