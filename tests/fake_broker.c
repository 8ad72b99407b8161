/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plays the broker for tests of its clients: answers one connection after
 * another with what is written down here, and notes each call.
 *
 *     fake_broker SOCKET LOG
 *
 * ends with its standard input.  How a reservation goes is in the client's
 * name, a transfer in the id: see the tables. */
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_BYTES_MAX 65536

static const char status_json[] =
    "{\"version\": \"0.1\", \"platform\": \"xen\", \"policy\": "
    "\"proportional\", \"state\": \"squeezed\", \"host\": {"
    "\"total_kib\": 16777216, \"free_kib\": 2095104, \"scrub_kib\": 2048, "
    "\"host_reserve_kib\": 73728, \"cushion_kib\": 0, "
    "\"reserved_kib\": 1048576, \"domains_kib\": 14575212, "
    "\"growth_allowed_kib\": 1024, \"promised_kib\": 524288, "
    "\"headroom_kib\": 449536, \"xen_kib\": 104852}, \"domains\": ["
    "{\"domid\": 0, \"uuid\": \"00000000-0000-0000-0000-000000000000\", "
    "\"name\": \"Domain-0\", \"state\": \"unmanaged\", \"dynamic_min_kib\": "
    "0, \"target_kib\": 2097152, \"dynamic_max_kib\": 0, "
    "\"actual_kib\": 2097152, \"range_error\": null}, "
    "{\"domid\": 3, \"uuid\": \"6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03\", "
    "\"name\": \"web\", \"state\": \"ok\", \"dynamic_min_kib\": 1048576, "
    "\"target_kib\": 4194304, \"dynamic_max_kib\": 8388608, "
    "\"actual_kib\": 4194304, \"range_error\": \"dynamic-min 9437184 is above "
    "dynamic-max 8388608\"}, "
    "{\"domid\": 7, \"uuid\": \"6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a07\", "
    "\"name\": \"twin\", \"state\": \"stuck\", \"dynamic_min_kib\": 524288, "
    "\"target_kib\": 524288, \"dynamic_max_kib\": 1048576, "
    "\"actual_kib\": 786432, \"range_error\": null}, "
    "{\"domid\": 12, \"uuid\": \"6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a12\", "
    "\"name\": \"twin\", \"state\": \"ok\\u001b[31m\", "
    "\"dynamic_min_kib\": 524288, \"target_kib\": 524288, "
    "\"dynamic_max_kib\": 1048576, \"actual_kib\": 524288, "
    "\"range_error\": null}], \"reservations\": ["
    "{\"reservation\": \"0b7e1d1e-7a7c-4d0b-9a31-52f6a0f4c001\", "
    "\"client\": \"xenopsd\", \"amount_kib\": 1048576, \"age_ms\": 12500, "
    "\"hold_ms\": null, \"uuid\": null, \"in_transfer\": 7}], \"queue\": ["
    "{\"client\": \"nightly\", \"min_kib\": 2097152, \"max_kib\": 4194304, "
    "\"age_ms\": 350, \"waiting_for\": [3, 7]}], \"last_plan\": "
    "{\"age_ms\": 350, \"why\": \"request of nightly for 2.0 GiB\", "
    "\"writes\": 3}, \"store\": {\"connected\": true, \"reconnects\": 0}}";

#define GRANT                                                                  \
    "{\"reservation\": \"0b7e1d1e-7a7c-4d0b-9a31-52f6a0f4c002\", "             \
    "\"amount_kib\": 2097152, \"took_ms\": 131, \"answer_ms\": 2.5}"

enum manner {
    ANSWER,       /* at once */
    HANG,         /* never; says when the client has gone */
    ANSWER_LATE,  /* once the client has said that it sends no more */
    CLOSE,        /* without a word */
    SPEAK_RUBBISH /* some other server */
};

/* The first that fits is taken. */
static const struct reaction {
    const char *method;
    const char *key; /* a parameter that has to be this text or number */
    const char *text;
    json_int_t number;
    const char *result;
    const char *error;
    enum manner manner;
} reactions[] = {
    { .method = "squeezed.status", .result = status_json },
    { .method = "squeezed.available",
      .result = "{\"now_kib\": 449536, \"after_squeeze_kib\": 3595264}" },
    { .method = "squeezed.plan",
      .key = "min",
      .number = 262144,
      .result = "{\"verdict\": \"now\", \"amount_kib\": 262144, "
                "\"short_kib\": 0, \"eta_ms\": 0, \"donors\": [], "
                "\"reason\": \"\"}" },
    { .method = "squeezed.plan",
      .key = "min",
      .number = 1073741824,
      .result = "{\"verdict\": \"impossible\", \"amount_kib\": 0, "
                "\"short_kib\": 1070146560, \"free_kib\": 3595264, "
                "\"eta_ms\": null, \"donors\": [], \"reason\": "
                "\"cannot-free\", \"message\": \"1.0 TiB asked for, 3.4 GiB "
                "could be had at best\"}" },
    { .method = "squeezed.plan",
      .result = "{\"verdict\": \"after-squeeze\", \"amount_kib\": 2097152, "
                "\"short_kib\": 0, \"eta_ms\": 1250, \"donors\": [{\"domid\": "
                "3, \"name\": \"web\", \"gives_kib\": 1647616}], \"reason\": "
                "\"\"}" },
    { .method = "squeezed.reserve",
      .key = "client",
      .text = "greedy",
      .error = "{\"code\": -32000, \"message\": \"the guests can't give "
               "that much\", \"data\": {\"reason\": \"cannot-free\", "
               "\"needed_kib\": 1073741824, \"free_kib\": 3595264, "
               "\"short_kib\": 1070146560}}" },
    { .method = "squeezed.reserve",
      .key = "client",
      .text = "unlucky",
      .error = "{\"code\": -32001, \"message\": \"guests don't give\", "
               "\"data\": {\"reason\": \"uncooperative\", \"needed_kib\": "
               "2097152, \"free_kib\": 1048576, \"short_kib\": 1048576, "
               "\"domids\": [3, 7]}}" },
    { .method = "squeezed.reserve",
      .key = "client",
      .text = "patient",
      .manner = HANG },
    { .method = "squeezed.reserve",
      .key = "client",
      .text = "late",
      .result = GRANT,
      .manner = ANSWER_LATE },
    { .method = "squeezed.reserve",
      .key = "client",
      .text = "polite",
      .error = "{\"code\": -32003, \"message\": \"you left\", \"data\": "
               "{\"reason\": \"cancelled\"}}",
      .manner = ANSWER_LATE },
    { .method = "squeezed.reserve", .result = GRANT },
    { .method = "squeezed.release",
      .key = "reservation",
      .text = "unknown",
      .error = "{\"code\": -32005, \"message\": \"there is no reservation "
               "'unknown'\", \"data\": {\"reason\": "
               "\"unknown-reservation\"}}" },
    { .method = "squeezed.login",
      .key = "client",
      .text = "dropped",
      .manner = CLOSE },
    { .method = "squeezed.login",
      .key = "client",
      .text = "lost",
      .manner = SPEAK_RUBBISH },
    { .method = "squeezed.release", .result = "null" },
    { .method = "squeezed.transfer",
      .key = "domid",
      .number = 67,
      .error = "{\"code\": -32008, \"message\": \"too many at once\", "
               "\"data\": {\"reason\": \"busy\"}}" },
    { .method = "squeezed.transfer", .result = "null" },
    { .method = "squeezed.set_range",
      .key = "domid",
      .number = 66,
      .error = "{\"code\": -32004, \"message\": \"no such range\", "
               "\"data\": {\"reason\": \"invalid\"}}" },
    { .method = "squeezed.set_range", .result = "null" },
    { .method = "squeezed.set_target", .result = "null" },
    { .method = "squeezed.set_auto", .result = "null" },
    { .method = "squeezed.freeze",
      .key = "domid",
      .number = 99,
      .error = "{\"code\": -32006, \"message\": \"there is no domain 99\", "
               "\"data\": {\"reason\": \"unknown-domain\"}}" },
    { .method = "squeezed.freeze", .result = "null" },
    { .method = "squeezed.thaw", .result = "null" },
    { .method = "squeezed.balance", .result = "null" },
    { .method = "squeezed.login", .result = "null" },
};

/* What is got instead of asked for. */
static const struct page {
    const char *path, *status, *type, *body;
} pages[] = {
    { "/metrics", "200 OK", "text/plain", "# EOF\n" },
    { "/v1/events", "200 OK", "text/event-stream",
      ": squeezed 0.1\n\n"
      "event: grant\ndata: {\"request\":2,\"client\":\"x\",\"amount_kib\":"
      "1048576,\"took_ms\":505,\"t_ms\":1700000000123}\n\n"
      ": still here\n\n"
      "event: refusal\ndata: {\"request\":3,\"client\":\"y\",\"reason\":"
      "\"uncooperative\",\"domids\":[3,7],\"wait\":false,\"t_ms\":"
      "1700000001000}\n\n"
      "event: state\ndata: {\"domid\":4,\"name\":\"e\\u001b[31m\","
      "\"state\":\"ok\",\"why\":null,\"t_ms\":1700000001001}\n\n" },
};

static FILE *notes;

static void
note(const char *text)
{
    fprintf(notes, "%s\n", text);
    fflush(notes);
}

static bool
fits(const struct reaction *reaction, const char *method, const json_t *params)
{
    const json_t *value;

    if (!method || strcmp(reaction->method, method) != 0)
        return false;
    if (!reaction->key)
        return true;
    value = json_object_get(params, reaction->key);
    if (reaction->text)
        return json_is_string(value) &&
               strcmp(json_string_value(value), reaction->text) == 0;
    return json_integer_value(value) == reaction->number;
}

static const struct reaction *
find_reaction(const json_t *call)
{
    const char *method = json_string_value(json_object_get(call, "method"));
    const json_t *params = json_object_get(call, "params");
    size_t i;

    for (i = 0; i < sizeof(reactions) / sizeof(reactions[0]); i++)
        if (fits(&reactions[i], method, params))
            return &reactions[i];
    return NULL;
}

static void
send_all(int fd, const char *status, const char *type, const char *body)
{
    char head[200];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
             "Connection: close\r\n\r\n",
             status, type, strlen(body));
    if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0 ||
        send(fd, body, strlen(body), MSG_NOSIGNAL) < 0)
        note("client did not hear the answer");
}

static void
answer(int fd, const struct reaction *reaction)
{
    static char body[16384];

    if (reaction && reaction->result)
        snprintf(body, sizeof(body),
                 "{\"jsonrpc\": \"2.0\", \"result\": %s, \"id\": 1}",
                 reaction->result);
    else
        snprintf(body, sizeof(body),
                 "{\"jsonrpc\": \"2.0\", \"error\": %s, \"id\": 1}",
                 reaction ? reaction->error
                          : "{\"code\": -32601, \"message\": \"no such "
                            "method\"}");
    send_all(fd, "200 OK", "application/json", body);
}

/* False if the request is none for a page. */
static bool
serve_page(int fd, const char *request)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        const struct page *page = &pages[i];
        size_t length = strlen(page->path);

        if (strncmp(request, "GET ", 4) != 0 ||
            strncmp(request + 4, page->path, length) != 0 ||
            request[4 + length] != ' ')
            continue;
        fprintf(notes, "GET ");
        note(page->path);
        send_all(fd, page->status, page->type, page->body);
        return true;
    }
    return false;
}

/* Until it closes, or says that nothing more will come. */
static void
await_the_end(int fd)
{
    char byte;

    while (recv(fd, &byte, 1, 0) > 0)
        continue;
    note("client has gone");
}

static void
react(int fd, const json_t *call)
{
    const struct reaction *reaction = find_reaction(call);
    enum manner manner = reaction ? reaction->manner : ANSWER;

    if (manner == HANG || manner == ANSWER_LATE)
        await_the_end(fd);
    if (manner == SPEAK_RUBBISH)
        send_all(fd, "404 Not Found", "text/html", "<p>Lost?</p>");
    else if (manner == ANSWER || manner == ANSWER_LATE)
        answer(fd, reaction);
}

/* Where the body begins once all of it is there, else NULL. */
static const char *
whole_body(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n");
    const char *length = strcasestr(request, "content-length:");

    if (!end || !length)
        return NULL;
    end += 4;
    return strlen(end) >= strtoul(length + 15, NULL, 10) ? end : NULL;
}

static void
serve(int fd)
{
    static char request[REQUEST_BYTES_MAX];
    const char *body = NULL;
    size_t length = 0;
    json_t *call;
    char *line;

    while (!body && length < sizeof(request) - 1) {
        ssize_t got =
            recv(fd, request + length, sizeof(request) - 1 - length, 0);

        if (got <= 0)
            return;
        length += (size_t)got;
        request[length] = '\0';
        if (strstr(request, "\r\n\r\n") && serve_page(fd, request))
            return;
        body = whole_body(request);
    }
    call = json_loads(body ? body : "", 0, NULL);
    line = json_dumps(json_object_get(call, "params"), JSON_SORT_KEYS);
    fprintf(notes, "%s ", json_string_value(json_object_get(call, "method")));
    note(line ? line : "no params");
    free(line);
    react(fd, call);
    json_decref(call);
}

static int
listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 8) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

int
main(int argc, char **argv)
{
    struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                             { .events = POLLIN } };

    if (argc != 3 || !(notes = fopen(argv[2], "w"))) {
        fprintf(stderr, "usage: fake_broker SOCKET LOG\n");
        return 2;
    }
    fds[1].fd = listen_at(argv[1]);
    note("ready");
    while (poll(fds, 2, -1) > 0 && !fds[0].revents) {
        int fd = accept(fds[1].fd, NULL, NULL);

        if (fd < 0)
            return 1;
        serve(fd);
        close(fd);
    }
    return 0;
}
