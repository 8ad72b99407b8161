/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/http.h"

#include "sq_limits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A piece of text that nobody owns. */
struct span {
    const char *at;
    size_t length;
};

/* ------------------------------------------------------------------- lines */

/* Takes the next line off text, without its CR LF or LF.  False if there is
 * no whole one. */
static bool
take_line(struct span *text, struct span *ret)
{
    const char *end = memchr(text->at, '\n', text->length);
    size_t n;

    if (!end)
        return false;
    n = (size_t)(end - text->at);
    *ret = (struct span){ text->at, n };
    if (n > 0 && text->at[n - 1] == '\r')
        ret->length--;
    text->at += n + 1;
    text->length -= n + 1;
    return true;
}

/* Takes what stands before the separator, and it, off text. */
static struct span
take_until(struct span *text, char separator)
{
    const char *end = memchr(text->at, separator, text->length);
    struct span head = *text;

    if (!end) {
        *text = (struct span){ text->at + text->length, 0 };
        return head;
    }
    head.length = (size_t)(end - text->at);
    text->at = end + 1;
    text->length -= head.length + 1;
    return head;
}

static struct span
trim(struct span s)
{
    while (s.length > 0 && (*s.at == ' ' || *s.at == '\t')) {
        s.at++;
        s.length--;
    }
    while (s.length > 0 &&
           (s.at[s.length - 1] == ' ' || s.at[s.length - 1] == '\t'))
        s.length--;
    return s;
}

static bool
is(struct span s, const char *text)
{
    return s.length == strlen(text) && strncasecmp(s.at, text, s.length) == 0;
}

static bool
starts_with(struct span s, const char *text)
{
    return s.length >= strlen(text) &&
           strncasecmp(s.at, text, strlen(text)) == 0;
}

/* A text that doesn't fit is none of those that we know: empty. */
static void
copy(struct span s, char *ret, size_t size)
{
    ret[0] = '\0';
    if (s.length >= size)
        return;
    memcpy(ret, s.at, s.length);
    ret[s.length] = '\0';
}

/* No control characters: they only serve to confuse logs and proxies. */
static bool
is_clean(struct span s)
{
    for (size_t i = 0; i < s.length; i++)
        if (((unsigned char)s.at[i] < ' ' && s.at[i] != '\t') ||
            s.at[i] == 0x7f)
            return false;
    return true;
}

/* ------------------------------------------------------------ request line */

static int
read_version(struct span version, struct http_head *head)
{
    if (!starts_with(version, "HTTP/"))
        return 400;
    if (!starts_with(version, "HTTP/1.") || version.length != 8)
        return 505;
    head->http10 = version.at[7] == '0';
    head->keep_alive = !head->http10;
    return HTTP_DONE;
}

/* Also in its absolute form, as proxies get it. */
static void
read_target(struct span target, struct http_head *head)
{
    if (starts_with(target, "http://")) {
        const char *slash = memchr(target.at + 7, '/', target.length - 7);
        size_t skipped = slash ? (size_t)(slash - target.at) : target.length;

        target.at += skipped;
        target.length -= skipped;
    }
    copy(take_until(&target, '?'), head->path, sizeof head->path);
}

static int
read_request_line(struct span line, struct http_head *head)
{
    struct span method = take_until(&line, ' ');
    struct span target = take_until(&line, ' ');

    if (method.length == 0 || target.length == 0)
        return 400;
    copy(method, head->method, sizeof head->method);
    read_target(target, head);
    return read_version(line, head);
}

/* ----------------------------------------------------------------- headers */

static int
take_content_length(struct span value, struct http_head *head)
{
    uint64_t length = 0;

    if (value.length == 0 || value.length > 18)
        return 400;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return 400;
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    if (head->has_length && head->length != length)
        return 400;
    head->has_length = true;
    head->length = length;
    return HTTP_DONE;
}

static int
take_transfer_encoding(struct span value, struct http_head *head)
{
    if (!is(value, "chunked"))
        return 501;
    head->chunked = true;
    return HTTP_DONE;
}

static int
take_connection(struct span value, struct http_head *head)
{
    while (value.length > 0) {
        struct span word = trim(take_until(&value, ','));

        if (is(word, "close"))
            head->keep_alive = false;
        else if (is(word, "keep-alive") && head->http10)
            head->keep_alive = true;
    }
    return HTTP_DONE;
}

static int
take_expect(struct span value, struct http_head *head)
{
    if (!is(value, "100-continue"))
        return 417;
    head->expects_continue = true;
    return HTTP_DONE;
}

static const struct {
    const char *name;
    int (*take)(struct span value, struct http_head *head);
} headers[] = {
    { "Content-Length", take_content_length },
    { "Transfer-Encoding", take_transfer_encoding },
    { "Connection", take_connection },
    { "Expect", take_expect },
};

static int
read_header(struct span line, struct http_head *head)
{
    struct span name;

    if (!memchr(line.at, ':', line.length) || !is_clean(line))
        return 400;
    name = take_until(&line, ':');
    /* A blank in front continues the line before: long forbidden. */
    if (name.length == 0 || trim(name).length != name.length)
        return 400;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (is(name, headers[i].name))
            return headers[i].take(trim(line), head);
    return HTTP_DONE;
}

int
http_parse_head(const char *text, size_t length, struct http_head *ret)
{
    struct span rest = { text, length };
    struct span line;
    int status;

    *ret = (struct http_head){ 0 };
    do { /* blank lines in front are forgiven */
        if (!take_line(&rest, &line))
            return HTTP_MORE;
    } while (line.length == 0);
    if (!is_clean(line))
        return 400;
    status = read_request_line(line, ret);
    while (status == HTTP_DONE) {
        if (!take_line(&rest, &line))
            return HTTP_MORE;
        if (line.length == 0)
            break;
        status = read_header(line, ret);
    }
    if (status == HTTP_DONE && ret->chunked && ret->has_length)
        return 400; /* which of the two is right? */
    ret->bytes = length - rest.length;
    return status;
}

/* ------------------------------------------------------------------ chunks */

/* The next line; NULL with *ret_status set to HTTP_MORE or 400 if there is
 * none. */
static char *
next_line(struct evbuffer *input, size_t *ret_length, int *ret_status)
{
    const size_t longest = 1024;
    struct evbuffer_ptr end =
        evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_CRLF);

    *ret_status = HTTP_MORE;
    if ((end.pos < 0 && evbuffer_get_length(input) > longest) ||
        end.pos > (ev_ssize_t)longest)
        *ret_status = 400;
    else if (end.pos >= 0)
        return evbuffer_readln(input, ret_length, EVBUFFER_EOL_CRLF);
    return NULL;
}

/* Hexadecimal digits, and perhaps an extension. */
static bool
parse_chunk_size(const char *line, uint64_t *ret)
{
    size_t digits = strspn(line, "0123456789abcdefABCDEF");

    if (digits == 0 || digits > 15 ||
        strspn(line + digits, " \t") + digits < strcspn(line, ";"))
        return false;
    *ret = strtoull(line, NULL, 16);
    return true;
}

/* HTTP_DONE: it took a line, and the phase tells what comes next. */
static int
read_chunk_line(struct http_chunks *c, struct evbuffer *input)
{
    size_t length = 0;
    int status;
    char *line = next_line(input, &length, &status);

    if (!line)
        return status;
    status = HTTP_DONE;
    if (c->phase == CHUNK_SIZE) {
        if (!parse_chunk_size(line, &c->left))
            status = 400;
        c->phase = c->left ? CHUNK_DATA : CHUNK_TRAILER;
    } else if (c->phase == CHUNK_END) {
        if (length > 0)
            status = 400;
        c->phase = CHUNK_SIZE;
    } else if (length == 0) {
        c->phase = CHUNK_DONE;
    } else if ((c->trailer_bytes += length) > LIMIT_HEADER_BYTES) {
        status = 431;
    }
    free(line);
    return status;
}

static int
move_chunk(struct http_chunks *c, struct evbuffer *input, struct evbuffer *body)
{
    size_t n = evbuffer_get_length(input);

    if (n == 0)
        return HTTP_MORE;
    if (n > c->left)
        n = (size_t)c->left;
    evbuffer_remove_buffer(input, body, n);
    c->left -= n;
    if (c->left == 0)
        c->phase = CHUNK_END;
    return HTTP_DONE;
}

int
http_unchunk(struct http_chunks *c, struct evbuffer *input,
             struct evbuffer *body, size_t limit)
{
    while (c->phase != CHUNK_DONE) {
        int status = c->phase == CHUNK_DATA ? move_chunk(c, input, body)
                                            : read_chunk_line(c, input);

        if (status != HTTP_DONE)
            return status;
        if (c->left > limit || evbuffer_get_length(body) + c->left > limit)
            return 413;
    }
    return HTTP_DONE;
}

/* ----------------------------------------------------------------- answers */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 200, "OK" },
    { 204, "No Content" },
    { 400, "Bad Request" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 413, "Content Too Large" },
    { 417, "Expectation Failed" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 505, "HTTP Version Not Supported" },
};

static const char *
reason_of(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

void
http_write_answer(struct evbuffer *output, const struct http_answer *a)
{
    evbuffer_add_printf(output, "HTTP/1.%c %d %s\r\n", a->http10 ? '0' : '1',
                        a->status, reason_of(a->status));
    if (a->allow)
        evbuffer_add_printf(output, "Allow: %s\r\n", a->allow);
    if (a->type)
        evbuffer_add_printf(output, "Content-Type: %s\r\n", a->type);
    if (a->status != 204)
        evbuffer_add_printf(output, "Content-Length: %zu\r\n", a->length);
    if (a->close || a->http10)
        evbuffer_add_printf(output, "Connection: %s\r\n",
                            a->close ? "close" : "keep-alive");
    evbuffer_add(output, "\r\n", 2);
    if (!a->omit_text && a->length > 0)
        evbuffer_add(output, a->text, a->length);
}
