/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix stream sockets to listen on: made safely, removed again; and who is on
 * the other side of a connection. */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A socket file that is ours. */
struct listen_socket {
    int fd; /* non-blocking; -1: none */
    char path[108];
    dev_t device; /* of the file as we made it */
    ino_t inode;
};

/* Binds and listens, mode 0660.  Makes the parent folder (one level) if it is
 * missing, replaces a socket file that nobody listens on.  group: (gid_t)-1
 * leaves it alone.  False with what is wrong in message; then there is nothing
 * to close. */
bool
listen_open(struct listen_socket *ret, const char *path, gid_t group,
            char *message, size_t size);

/* Closes it, and removes the file if it is still the one that we made. */
void
listen_close(struct listen_socket *socket);

/* Root, our own user, and members of the group (unless (gid_t)-1) may talk to
 * us. */
bool
listen_peer_allowed(int fd, gid_t group);

#endif
