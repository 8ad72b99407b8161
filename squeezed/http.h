/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of HTTP/1.1 that the server needs: the head of a request, bodies in
 * chunks, the head of an answer.  Pure text work: no sockets, no state beyond
 * what the caller holds.
 *
 * Why not libevent's evhttp (2.1.12): it ends the process on some of the input
 * that it finds unexpected, sends HTML for what it refuses itself, shows a
 * connection only once a whole request has come, and says nothing when a
 * client leaves. */
#ifndef HTTP_H
#define HTTP_H

#include <event2/buffer.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_head {
    char method[12]; /* empty if longer: none that we know */
    char path[64];   /* without the query; empty if longer */
    bool http10;
    bool keep_alive;
    bool expects_continue;
    bool chunked;
    bool has_length;
    uint64_t length; /* of the body; 0 without Content-Length */
    size_t bytes;    /* of the head itself, its blank line included */
};

/* What the functions below return beside an HTTP error status. */
enum { HTTP_MORE = 0, HTTP_DONE = 200 };

/* Reads the head of a request from the beginning of text.  HTTP_MORE while it
 * is not complete; HTTP_DONE with *ret set; else the status to refuse it with
 * (*ret is then of no use). */
int
http_parse_head(const char *text, size_t length, struct http_head *ret);

/* Where the reader of a body in chunks is; all zero at the start. */
struct http_chunks {
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER, CHUNK_DONE } phase;
    uint64_t left; /* of this chunk */
    size_t trailer_bytes;
};

/* Moves what has come from input to body.  HTTP_MORE, HTTP_DONE, or 400, or
 * 413 past limit bytes. */
int
http_unchunk(struct http_chunks *chunks, struct evbuffer *input,
             struct evbuffer *body, size_t limit);

struct http_answer {
    int status;
    const char *type;  /* of the content; NULL: there is none */
    const char *allow; /* 405: the methods; else NULL */
    const char *text;
    size_t length;
    bool omit_text; /* an answer to HEAD */
    bool http10;
    bool close; /* no further request is served on this connection */
};

void
http_write_answer(struct evbuffer *output, const struct http_answer *answer);

#endif
