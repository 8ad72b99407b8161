/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A fake xenstored for tests of the xenstore client, in the same loop as the
 * client, so that a test decides about every byte; and a client that notes
 * what it is told.  One of each per process. */
#ifndef FAKE_XENSTORED_H
#define FAKE_XENSTORED_H

#include "common/units.h"
#include "xenstore-client/wire.h"
#include "xenstore-client/xsc.h"

#include <check.h>
#include <event2/bufferevent.h>

struct fake {
    struct event_base *base;
    char directory[32];
    char path[64];
    const char *fallback; /* of the client; NULL: none */
    int listener;
    struct event *accept_event;
    struct bufferevent *connection; /* the newest */
    unsigned accepted;
    bool mute_probe; /* leave the first request of each connection alone */
    bool probed;
    /* Called for each request, its body terminated. */
    void (*serve)(struct fake *fake, const struct xsd_sockmsg *header,
                  const char *body);
    /* For the handlers. */
    struct xsd_sockmsg last;
    unsigned served;
    unsigned answered;     /* those of probes, too */
    unsigned conflicts;    /* EAGAIN for so many ends of transactions */
    bool all_conflict;     /* one that ended meanwhile is a conflict */
    unsigned ended[16384]; /* by transaction: how many had ended before it */
    unsigned ends;
    unsigned serve_at_most; /* then hang up */
    unsigned running;       /* transactions now, and at most at once */
    unsigned most_running;
    char log[4096]; /* what was asked, in short */
};

/* What the client told. */
struct seen {
    struct xsc *xsc;
    unsigned ups, losts, events;
    char why[160];
    char event_path[64], event_token[64];
    bool free_in_up, free_in_lost, free_in_watch, free_in_reply;
    /* replies */
    unsigned replies;
    enum err error;
    size_t length;
    char value[8192];
};

extern struct fake fake;
extern struct seen seen;

/* Fixtures: a folder and a loop; with setup also a client that is up. */
void
setup_nothing(void);
void
setup(void);
void
teardown(void);

/* Bytes, a message, a good answer, an error, from xenstored. */
void
raw(const void *bytes, size_t length);
void
message(uint32_t type, uint32_t req_id, uint32_t tx_id, const void *body,
        size_t length);
void
answer(const struct xsd_sockmsg *header, const void *body, size_t length);
void
refuse(const struct xsd_sockmsg *header, const char *text);

/* Adds a word to the log. */
void
note(const char *before, const char *text);

/* Listening without accepting fills the backlog. */
void
listen_now(void);
void
accept_now(void);
void
stop_listening(void);
/* Serves this connection from now on. */
void
connect_fake(int fd);
/* Drops the connection, with what wasn't sent. */
void
hang_up(void);

/* For fake.serve: answers with the request's body, with OK, not at all. */
void
serve_path(struct fake *f, const struct xsd_sockmsg *header, const char *body);
void
serve_ok(struct fake *f, const struct xsd_sockmsg *header, const char *body);
void
serve_nothing(struct fake *f, const struct xsd_sockmsg *header,
              const char *body);

void
start_client(int64_t deadline_us);
void
free_client(void);
/* A reply that is noted in seen; its arg is &seen. */
void
on_reply(void *arg, enum err error, const char *value, size_t length);
void
read_key(const char *path);

int64_t
now_us(void);
/* Runs the loop until *count is value, for 5 s at most. */
void
run_until(const unsigned *count, unsigned value);
void
run_for(int64_t us);

#endif
