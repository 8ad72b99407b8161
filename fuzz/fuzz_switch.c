/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replies of the message switch: the input is one after the other, a NUL
 * between them; each is read as the reply to a transfer and as that to a
 * response.  The messages go through the memory of those that are known. */
#include "fuzz/fuzz.h"
#include "squeezed/switch_call.h"

#include <string.h>

static struct switch_calls calls;

static void
check_path(const char *path)
{
    MUST(path[0] == '/' && strlen(path) < SWITCH_PATH);
    /* Nothing that would end a path, or a request. */
    MUST(path[strcspn(path, " ?#%\r\n\t")] == '\0' ||
         path[strcspn(path, " ?#\r\n\t")] == '\0');
    for (const char *at = path; *at; at++)
        MUST(*at > ' ' && *at < 0x7f);
}

static void
check_paths(const struct switch_message *m)
{
    char path[SWITCH_PATH];

    check_path(switch_path_ack(path, &m->id));
    check_path(switch_path_response(path, m->reply_queue, &m->id));
    check_path(switch_path_name(path, "login", m->id.queue));
}

/* As switch.c does, with an answer at once for every other call. */
static void
remember(const struct switch_message *m, uint64_t session)
{
    struct switch_call *call = switch_calls_find(&calls, m, session);

    if (call) {
        MUST(call->session == session);
        if (call->step == SWITCH_OPEN && call->id.number % 2 == 0)
            switch_call_answer(call, m->payload, m->length, m->reply_queue);
        else if (call->step == SWITCH_ANSWERED)
            switch_call_push(call, m->length % 2);
        return;
    }
    call = switch_calls_add(&calls, m, session);
    MUST(call);
    MUST(switch_calls_find(&calls, m, session) == call);
}

static void
send_some(void)
{
    struct switch_call *call = switch_calls_pop(&calls);

    if (!call)
        return;
    MUST(!call->queued);
    call->step = SWITCH_DONE;
    call->acked = call->id.number % 3 == 0;
}

static void
read_transfer(const char *text, size_t length, uint64_t session)
{
    struct switch_transfer transfer;
    struct switch_message m;
    char why[120] = "", *body;

    if (!switch_transfer_read(text, length, &transfer, why, sizeof why)) {
        MUST(why[0]);
        return;
    }
    for (size_t i = 0; i < json_array_size(transfer.messages); i++) {
        if (!switch_transfer_message(&transfer, i, &m))
            continue;
        MUST(!m.payload == !m.reply_queue[0]);
        MUST(m.id.queue[0]);
        check_paths(&m);
        remember(&m, session);
        send_some();
    }
    body = switch_transfer_body("q", 30000000, transfer.next);
    MUST(body && strstr(body, "\"from\""));
    free(body);
    switch_transfer_done(&transfer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    uint64_t session = 1;

    switch_calls_init(&calls);
    while (length > 0) {
        const uint8_t *nul = memchr(data, '\0', length);
        size_t n = nul ? (size_t)(nul - data) : length;
        char *text = malloc(n + !n);

        MUST(text);
        memcpy(text, data, n);
        read_transfer(text, n, session);
        (void)switch_response_read(text, n);
        free(text);
        data += n + (nul != NULL);
        length -= n + (nul != NULL);
        /* "" stands for a connection that goes. */
        if (n == 0) {
            switch_calls_lost(&calls);
            session++;
        }
    }
    switch_calls_done(&calls);
    MUST(calls.count == 0 && calls.bytes == 0);
    return 0;
}
