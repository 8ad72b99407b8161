/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of changes, as transactions: start; all changes at once; and, when all
 * of them were good, the end.
 *
 * Commits run at the same time, since most don't touch each other.  One that
 * met a conflict is tried again alone: then it can only lose to others, and a
 * crowd of our own can't keep each other from ending. */
#include "xenstore-client/internal.h"

#include "common/units.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CONFLICTS = 20 };

struct change {
    uint32_t type; /* XS_WRITE or XS_RM; XS_READ: the guard */
    char *payload;
    size_t length;
    size_t expected; /* of a guard: so many bytes behind it are the value */
};

struct commit {
    struct operation operation;  /* first */
    TAILQ_ENTRY(commit) waiting; /* while it doesn't run */
    uint32_t transaction;        /* 0: none, or not yet */
    unsigned conflicts;
    bool alone;  /* runs without others */
    bool urgent; /* ... or before them: others don't write what it writes */
    size_t unanswered; /* changes on their way */
    int error;         /* the first of this try */
    size_t count;
    struct change changes[]; /* their payloads lie behind */
};

void
commits_init(struct commits *commits)
{
    TAILQ_INIT(&commits->waiting);
}

static void
commit_free(struct operation *operation)
{
    free(operation);
}

static void
ask(struct xsc *xsc, struct commit *commit, uint32_t type, char *payload,
    size_t length)
{
    struct request request = { .type = type,
                               .urgent = commit->urgent,
                               .operation = &commit->operation };
    struct iovec part = { .iov_base = payload, .iov_len = length };

    connection_send(xsc, &request, commit->transaction, &part, 1);
}

static void
send_changes(struct xsc *xsc, struct commit *commit)
{
    commit->unanswered = commit->count;
    for (size_t i = 0; i < commit->count; i++)
        ask(xsc, commit, commit->changes[i].type, commit->changes[i].payload,
            commit->changes[i].length);
}

static void
send_end(struct xsc *xsc, struct commit *commit)
{
    char good[] = "T", bad[] = "F";

    ask(xsc, commit, XS_TRANSACTION_END, commit->error ? bad : good,
        sizeof(good));
}

static void
run(struct xsc *xsc, struct commit *commit)
{
    xsc->commits.running++;
    commit->alone = commit->conflicts > 0;
    xsc->commits.alone |= commit->alone;
    commit->transaction = 0;
    commit->error = 0;
    if (commit->count == 1) {
        send_changes(xsc, commit);
    } else {
        char nothing[] = "";

        ask(xsc, commit, XS_TRANSACTION_START, nothing, sizeof(nothing));
    }
}

/* Runs what may run now. */
static void
run_waiting(struct xsc *xsc)
{
    struct commits *commits = &xsc->commits;
    struct commit *commit;

    while (xsc->state == CONNECTION_UP && !commits->alone &&
           (commit = TAILQ_FIRST(&commits->waiting))) {
        if (commit->conflicts && commits->running)
            return;
        TAILQ_REMOVE(&commits->waiting, commit, waiting);
        run(xsc, commit);
    }
}

/* This try is over.  May end with the client freed. */
static void
end_try(struct xsc *xsc, struct commit *commit, int error)
{
    struct commits *commits = &xsc->commits;
    bool again = error == EAGAIN && commit->conflicts < MAX_CONFLICTS;

    commits->running--;
    commits->alone &= !commit->alone;
    if (again) {
        commit->conflicts++;
        TAILQ_INSERT_TAIL(&commits->waiting, commit, waiting);
    }
    run_waiting(xsc);
    if (!again)
        operation_finish(xsc, &commit->operation, error, "", 0);
}

static void
started(struct xsc *xsc, struct commit *commit, const struct answer *answer)
{
    uint64_t id;

    if (answer->error)
        end_try(xsc, commit, answer->error);
    else if (!parse_u64(answer->value, &id) || !id || id > UINT32_MAX)
        end_try(xsc, commit, EPROTO);
    else {
        commit->transaction = (uint32_t)id;
        send_changes(xsc, commit);
    }
}

static void
changed(struct xsc *xsc, struct commit *commit, const struct answer *answer)
{
    /* Answers come in order. */
    const struct change *change =
        &commit->changes[commit->count - commit->unanswered];
    /* Removing what isn't there is fine. */
    bool gone = answer->type == XS_RM && answer->error == ENOENT;

    /* Without a connection nothing is tried again, conflict or not. */
    if (answer->error == ENOTCONN || (!commit->error && !gone))
        commit->error = answer->error;
    if (!commit->error && answer->type == XS_READ &&
        (change->expected != answer->length ||
         memcmp(change->payload + change->length, answer->value,
                answer->length)))
        commit->error = ENOENT;
    if (--commit->unanswered)
        return;
    if (!commit->transaction || commit->error == ENOTCONN)
        end_try(xsc, commit, commit->error);
    else
        send_end(xsc, commit);
}

static void
step(struct xsc *xsc, struct operation *operation, const struct answer *answer)
{
    struct commit *commit = (struct commit *)operation;

    if (answer->type == XS_TRANSACTION_START)
        started(xsc, commit, answer);
    else if (answer->type == XS_TRANSACTION_END)
        end_try(xsc, commit, commit->error ? commit->error : answer->error);
    else
        changed(xsc, commit, answer);
}

void
commits_lost(struct xsc *xsc)
{
    struct commit *commit;

    while (!xsc->freed && (commit = TAILQ_FIRST(&xsc->commits.waiting))) {
        TAILQ_REMOVE(&xsc->commits.waiting, commit, waiting);
        operation_finish(xsc, &commit->operation, ENOTCONN, "", 0);
    }
}

/* Path with its NUL, and the value without one. */
static size_t
payload_length(const struct xsc_change *change)
{
    return strlen(change->path) + 1 +
           (change->value ? strlen(change->value) : 0);
}

/* 0, or errno; *size grows by the size of all payloads. */
static int
check(const struct xsc *xsc, const struct xsc_change *changes, size_t count,
      size_t *size)
{
    int error = 0;

    for (size_t i = 0; i < count && !error; i++) {
        error = request_check(xsc, changes[i].path, count + 2);
        if (!error && payload_length(&changes[i]) > XENSTORE_PAYLOAD_MAX)
            error = EINVAL;
        *size += payload_length(&changes[i]);
    }
    return error;
}

/* Where the next one's payload may lie. */
static char *
add(struct commit *commit, const struct xsc_change *from, bool guard, char *at)
{
    size_t path = strlen(from->path) + 1;
    size_t value = from->value ? strlen(from->value) : 0;

    commit->changes[commit->count++] = (struct change){
        .type = guard         ? XS_READ
                : from->value ? XS_WRITE
                              : XS_RM,
        .payload = at,
        .length = guard ? path : path + value,
        .expected = guard ? value : 0,
    };
    memcpy(at, from->path, path);
    if (value)
        memcpy(at + path, from->value, value);
    return at + path + value;
}

static void
commit_list(struct xsc *xsc, struct xsc_guards guards,
            const struct xsc_change *changes, size_t count, bool urgent,
            xsc_reply *reply, void *arg)
{
    struct request request = { .reply = reply, .arg = arg };
    struct commit *commit = NULL;
    size_t all = guards.count + count, size = 0;
    char *at;
    int error = check(xsc, guards.list, guards.count, &size);

    if (!error)
        error = check(xsc, changes, count, &size);
    if (!error && xsc->state != CONNECTION_UP)
        error = ENOTCONN;
    if (!error && count)
        commit =
            calloc(1, sizeof(*commit) + all * sizeof(struct change) + size);
    if (!commit) {
        connection_end(xsc, &request, error || !count ? error : ENOMEM);
        return;
    }
    commit->operation = (struct operation){
        .step = step, .free = commit_free, .reply = reply, .arg = arg
    };
    at = (char *)&commit->changes[all];
    for (size_t i = 0; i < guards.count; i++)
        at = add(commit, &guards.list[i], true, at);
    for (size_t i = 0; i < count; i++)
        at = add(commit, &changes[i], false, at);
    operation_start(xsc, &commit->operation);
    commit->urgent = urgent;
    if (commit->urgent) {
        run(xsc, commit);
        return;
    }
    TAILQ_INSERT_TAIL(&xsc->commits.waiting, commit, waiting);
    run_waiting(xsc);
}

void
xsc_commit(struct xsc *xsc, const struct xsc_change *changes, size_t count,
           xsc_reply *reply, void *arg)
{
    commit_list(xsc, (struct xsc_guards){ 0 }, changes, count, false, reply,
                arg);
}

void
xsc_commit_urgent(struct xsc *xsc, const struct xsc_change *changes,
                  size_t count, xsc_reply *reply, void *arg)
{
    commit_list(xsc, (struct xsc_guards){ 0 }, changes, count, true, reply,
                arg);
}

void
xsc_commit_if(struct xsc *xsc, struct xsc_guards guards,
              const struct xsc_change *changes, size_t count, xsc_reply *reply,
              void *arg)
{
    commit_list(xsc, guards, changes, count, false, reply, arg);
}
