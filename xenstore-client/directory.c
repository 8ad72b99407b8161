/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listing a directory.  Up to 4096 bytes of names come in one reply; for more
 * xenstored says E2BIG, and they are fetched in parts.  (oxenstored knows no
 * parts, and sends a reply that is longer than is allowed.) */
#include "xenstore-client/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A directory that changes between its parts is read anew so often. */
enum { MAX_RESTARTS = 20 };

struct directory {
    struct operation operation; /* first */
    uint32_t transaction;
    unsigned restarts;
    char generation[24]; /* all parts must be of the same */
    char *names;         /* so far */
    size_t length;
    char path[];
};

static void
directory_free(struct operation *operation)
{
    struct directory *directory = (struct directory *)operation;

    free(directory->names);
    free(directory);
}

static void
ask(struct xsc *xsc, struct directory *directory, uint32_t type)
{
    struct request request = { .type = type,
                               .operation = &directory->operation };
    char offset[24];
    int length = snprintf(offset, sizeof(offset), "%zu", directory->length);
    struct iovec parts[2] = {
        { .iov_base = directory->path, .iov_len = strlen(directory->path) + 1 },
        { .iov_base = offset, .iov_len = (size_t)length + 1 },
    };

    connection_send(xsc, &request, directory->transaction, parts,
                    type == XS_DIRECTORY_PART ? 2 : 1);
}

/* 0, or errno. */
static int
append(struct directory *directory, const char *names, size_t length)
{
    char *longer;

    if (directory->length + length > LIMIT_XENSTORE_REPLY)
        return ENOSPC;
    longer = realloc(directory->names, directory->length + length + 1);
    if (!longer)
        return ENOMEM;
    memcpy(longer + directory->length, names, length);
    directory->names = longer;
    directory->length += length;
    longer[directory->length] = '\0';
    return 0;
}

/* False: the directory has changed since the part before. */
static bool
same_generation(struct directory *directory, const char *generation)
{
    if (directory->length)
        return !strcmp(directory->generation, generation);
    snprintf(directory->generation, sizeof(directory->generation), "%s",
             generation);
    return true;
}

/* A part is the generation, then whole names; behind the last of all there is
 * an empty one.  Returns 0, or errno; *ret_last is set if it was the last. */
static int
take_part(struct directory *directory, const struct answer *answer,
          bool *ret_last)
{
    const char *end = answer->value + answer->length;
    const char *names = memchr(answer->value, '\0', answer->length);
    size_t length;

    if (!names || strlen(answer->value) >= sizeof(directory->generation))
        return EPROTO;
    names++;
    length = (size_t)(end - names);
    if (!length || names[length - 1])
        return EPROTO;
    if (!same_generation(directory, answer->value)) {
        directory->length = 0;
        return ++directory->restarts > MAX_RESTARTS ? EAGAIN : 0;
    }
    *ret_last = length == 1 || !names[length - 2];
    return append(directory, names, *ret_last ? length - 1 : length);
}

static void
step(struct xsc *xsc, struct operation *operation, const struct answer *answer)
{
    struct directory *directory = (struct directory *)operation;
    bool last = false;
    int error = answer->error;

    if (answer->type == XS_DIRECTORY && error == E2BIG) {
        ask(xsc, directory, XS_DIRECTORY_PART);
        return;
    }
    if (!error && answer->type == XS_DIRECTORY) {
        last = true;
        error = append(directory, answer->value, answer->length);
        /* The last name's NUL, should it be missing. */
        if (!error && directory->length &&
            directory->names[directory->length - 1])
            error = append(directory, "", 1);
    } else if (!error) {
        error = take_part(directory, answer, &last);
    }
    if (!error && !last)
        ask(xsc, directory, XS_DIRECTORY_PART);
    else if (error)
        operation_finish(xsc, operation, error, "", 0);
    else
        operation_finish(xsc, operation, 0, directory->names,
                         directory->length);
}

void
xsc_directory(struct xsc *xsc, uint32_t transaction, const char *path,
              xsc_reply *reply, void *arg)
{
    struct request request = { .reply = reply, .arg = arg };
    struct directory *directory;
    int error = request_check(xsc, path, 1);

    directory = error ? NULL : calloc(1, sizeof(*directory) + strlen(path) + 1);
    if (!directory) {
        connection_end(xsc, &request, error ? error : ENOMEM);
        return;
    }
    directory->operation = (struct operation){
        .step = step, .free = directory_free, .reply = reply, .arg = arg
    };
    directory->transaction = transaction;
    memcpy(directory->path, path, strlen(path) + 1);
    operation_start(xsc, &directory->operation);
    ask(xsc, directory, XS_DIRECTORY);
}
