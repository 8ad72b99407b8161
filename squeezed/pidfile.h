/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file with the daemon's process id.  It is locked for as long as the
 * daemon lives, so that what a dead one left behind is no obstacle, and a
 * living one is. */
#ifndef PIDFILE_H
#define PIDFILE_H

#include <stddef.h>

/* Returns a descriptor to be given to pidfile_remove; -1 with what is wrong in
 * message. */
int
pidfile_make(const char *path, char *message, size_t message_size);

/* Removes the file and lets go of it. */
void
pidfile_remove(const char *path, int fd);

#endif
