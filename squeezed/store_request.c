/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/store_requests_internal.h"

#include "common/log.h"
#include "xenstore_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TIMEOUT_US (60 * US_PER_S)
#define NO_CLIENT  "anonymous"

/* Room for any path that xenstored takes of us. */
enum { PATH_ROOM = 2100, LINES = 9 };

/* ---------------------------------------------------------------- writing */

/* Some keys of its folder, written together, if it is still the same. */
struct lines {
    size_t count;
    struct xsc_change changes[LINES];
    char paths[LINES + 1][PATH_ROOM];
    char numbers[LINES][24];
};

static const char *
path_of(const struct store_request *r, const char *leaf, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, KEY_REQUESTS "/%s/%s", r->id, leaf);
    return path;
}

/* value: NULL removes; has to live until the lines are sent. */
static void
add_line(struct lines *lines, const struct store_request *r, const char *leaf,
         const char *value)
{
    size_t i = lines->count++;

    assert(i < LINES);
    lines->changes[i] =
        (struct xsc_change){ path_of(r, leaf, lines->paths[i]), value };
}

static void
add_number(struct lines *lines, const struct store_request *r, const char *leaf,
           uint64_t number)
{
    char *text = lines->numbers[lines->count];

    snprintf(text, sizeof lines->numbers[0], "%" PRIu64, number);
    add_line(lines, r, leaf, text);
}

static void
was_written(void *arg, enum err error, const char *value, size_t length);
static void
submit(struct store_requests *all);

/* Only where leaf says value still. */
static void
send_if(struct store_request *r, struct lines *lines, const char *leaf,
        const char *value)
{
    const struct xsc_change guard = { path_of(r, leaf, lines->paths[LINES]),
                                      value };

    r->busy = true;
    xsc_commit_if(r->all->xsc, (struct xsc_guards){ &guard, 1 }, lines->changes,
                  lines->count, was_written, r);
}

/* The word on a request: for those that have a ticket. */
static void
announce(struct store_request *r)
{
    static const char *const states[] = {
        [OUTCOME_GRANTED] = "granted",
        [OUTCOME_REFUSED] = "refused",
        [OUTCOME_TRANSFERRED] = "transferred",
        [OUTCOME_NOT_TRANSFERRED] = "granted",
    };
    struct lines *lines;

    if (r->busy || r->phase != PHASE_DECIDED)
        return;
    lines = calloc(1, sizeof *lines);
    if (!lines) {
        r->retry = true;
        store_requests_tick_soon(r->all);
        return;
    }
    if (r->outcome == OUTCOME_GRANTED) {
        add_number(lines, r, "amount", r->amount_kib);
        add_line(lines, r, "reservation", r->ticket);
    }
    add_line(lines, r, "error",
             r->outcome == OUTCOME_GRANTED || r->outcome == OUTCOME_TRANSFERRED
                 ? NULL
                 : r->error);
    if (r->outcome == OUTCOME_NOT_TRANSFERRED)
        add_line(lines, r, request_leaves[FIELD_TRANSFER], NULL);
    add_line(lines, r, request_leaves[FIELD_STATE], states[r->outcome]);
    send_if(r, lines, request_leaves[FIELD_TICKET], r->ticket);
    free(lines);
}

static void
decide(struct store_request *r, enum request_outcome outcome)
{
    r->phase = PHASE_DECIDED;
    r->outcome = outcome;
    if (r->busy)
        r->dirty = true; /* announced after that */
    else
        announce(r);
}

static void __attribute__((format(printf, 3, 4)))
set_error(struct store_request *r, enum err error, const char *format, ...)
{
    va_list arguments;
    int n = snprintf(r->error, sizeof r->error, "%s: ", err_name(error));

    va_start(arguments, format);
    vsnprintf(r->error + n, sizeof r->error - (size_t)n, format, arguments);
    va_end(arguments);
    for (char *c = r->error; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

/* Before it was accepted: there is no ticket yet. */
static void
refuse(struct store_request *r, const char *state)
{
    struct lines *lines = calloc(1, sizeof *lines);

    if (!lines)
        return;
    log_info("xenstore request %.80s refused (%s)", r->id, r->error);
    add_line(lines, r, "error", r->error);
    add_line(lines, r, request_leaves[FIELD_STATE], "refused");
    send_if(r, lines, request_leaves[FIELD_STATE], state);
    free(lines);
}

static void
enqueue(struct store_request *r)
{
    r->phase = PHASE_HELD;
    TAILQ_INSERT_TAIL(&r->all->held, r, queue);
    submit(r->all);
}

static void
outcome_is_written(struct store_request *r)
{
    bool granted =
        r->outcome == OUTCOME_GRANTED || r->outcome == OUTCOME_NOT_TRANSFERRED;

    r->phase = granted ? PHASE_GRANTED : PHASE_DONE;
    r->dirty |= granted; /* `transfer` may be there already */
    if (granted)
        store_requests_tick_soon(r->all);
}

static void
was_written(void *arg, enum err error, const char *value, size_t length)
{
    struct store_request *r = arg;
    bool to_queue = r->to_queue, forgotten = r->forgotten;

    (void)value;
    (void)length;
    r->busy = r->to_queue = r->forgotten = false;
    if (error == ERR_NOT_READY)
        return; /* read anew when there is a connection */
    if (error && error != ERR_NOT_FOUND) {
        log_warning(KEY_REQUESTS "/%.80s can't be written: %s; trying again",
                    r->id, err_name(error));
        r->retry = true;
        store_requests_tick_soon(r->all);
        return;
    }
    if (error) /* somebody changed or removed it meanwhile */
        r->dirty = true;
    else if (to_queue)
        enqueue(r);
    else if (r->phase == PHASE_DECIDED)
        outcome_is_written(r);
    else if (r->phase == PHASE_IDLE)
        r->phase = PHASE_DONE;
    if (!error && forgotten && !r->dirty)
        store_request_forget(r);
    else if (r->dirty)
        store_request_touch(r);
}

/* ----------------------------------------------------------- what it says */

/* "" where it isn't there, or is nothing that makes sense. */
static const char *
text_of(const struct request_value *value)
{
    return value->there && !value->unfit ? value->text : "";
}

static bool
is(const struct request_value *value, const char *text)
{
    return value->there && strcmp(text_of(value), text) == 0;
}

static bool
take_size(struct store_request *r, const struct request_value *value,
          const char *name, uint64_t *ret)
{
    uint64_t kib;

    if (!value->there || !parse_u64(text_of(value), &kib) ||
        kib > LIMIT_SIZE_KIB) {
        set_error(r, ERR_INVALID,
                  "%s \"%.40s\" has to be a whole number of KiB from 0 to 2^50",
                  name, value->text);
        return false;
    }
    *ret = page_up(kib);
    return true;
}

static bool
take_timeout(struct store_request *r, const struct request_value *value)
{
    r->timeout_us = TIMEOUT_US;
    if (!value->there || parse_time(text_of(value), &r->timeout_us))
        return true;
    set_error(r, ERR_INVALID, "timeout \"%.40s\" has to be a number of seconds",
              value->text);
    return false;
}

static bool
is_name(const char *text)
{
    size_t n = strlen(text);

    return n >= 1 && n <= LIMIT_CLIENT_CHARS &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

static bool
take_client(struct store_request *r, const struct request_value *value)
{
    if (!value->there || is_name(text_of(value)))
        return true;
    set_error(r, ERR_INVALID,
              "client \"%.40s\" has to be 1 to 64 characters of A-Z a-z 0-9 _ "
              "-",
              value->text);
    return false;
}

static bool
take_uuid(struct store_request *r, const struct request_value *value)
{
    r->has_uuid = value->there;
    if (!value->there || parse_uuid(text_of(value), r->uuid))
        return true;
    set_error(r, ERR_INVALID, "uuid \"%.40s\" is no UUID", value->text);
    return false;
}

static const char *
client_of(const struct store_request *r)
{
    const struct request_value *value = &r->asked[FIELD_CLIENT];

    return value->there ? value->text : NO_CLIENT;
}

/* False, with what is wrong in r->error. */
static bool
take_values(struct store_request *r, const struct request_value v[FIELDS])
{
    if (!is_name(r->id)) {
        set_error(r, ERR_INVALID,
                  "the folder's name has to be 1 to 64 characters of A-Z a-z "
                  "0-9 _ -");
        return false;
    }
    if (!take_size(r, &v[FIELD_MIN], "min", &r->min_kib) ||
        !take_client(r, &v[FIELD_CLIENT]) ||
        !take_timeout(r, &v[FIELD_TIMEOUT]) || !take_uuid(r, &v[FIELD_UUID]))
        return false;
    r->max_kib = r->min_kib;
    if (v[FIELD_MAX].there && !take_size(r, &v[FIELD_MAX], "max", &r->max_kib))
        return false;
    if (r->max_kib < r->min_kib) {
        set_error(r, ERR_INVALID,
                  "max %" PRIu64 " KiB is below min %" PRIu64 " KiB",
                  r->max_kib, r->min_kib);
        return false;
    }
    memcpy(r->asked, v, sizeof r->asked);
    return true;
}

/* ------------------------------------------------------------ its way down */

bool
store_request_is_ticket(const char *id)
{
    uint8_t bytes[UUID_BYTES];

    return parse_uuid(id, bytes) && bytes[6] >> 4 == 8;
}

static void
count(struct store_request *r, bool on)
{
    if (on && !r->counted)
        r->all->counted++;
    else if (!on && r->counted)
        r->all->counted--;
    r->counted = on;
}

/* A UUID of version 8, which is for private use: so a reservation of ours is
 * known as such when its folder has gone while we were not there. */
static void
make_ticket(char ticket[UUID_TEXT])
{
    uint8_t bytes[UUID_BYTES];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        abort();
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x80);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    format_uuid(bytes, ticket);
}

/* state: `new`; or `queued`, by a broker before us, which may have granted
 * it. */
static void
accept_request(struct store_request *r, const char *state, const char *ticket)
{
    uint8_t bytes[UUID_BYTES];
    struct lines *lines = calloc(1, sizeof *lines);

    if (!lines)
        return;
    if (store_request_is_ticket(ticket) && parse_uuid(ticket, bytes))
        format_uuid(bytes, r->ticket);
    else
        make_ticket(r->ticket);
    r->accepted_us = r->all->now_us();
    add_line(lines, r, "error", NULL);
    add_line(lines, r, "amount", NULL);
    add_line(lines, r, "reservation", NULL);
    add_line(lines, r, request_leaves[FIELD_TRANSFER], NULL);
    add_line(lines, r, request_leaves[FIELD_TICKET], r->ticket);
    add_line(lines, r, request_leaves[FIELD_STATE], "queued");
    r->to_queue = true;
    send_if(r, lines, request_leaves[FIELD_STATE], state);
    free(lines);
}

static void
judge_new(struct store_request *r, const struct request_value v[FIELDS])
{
    bool again = is(&v[FIELD_STATE], "queued");
    const char *state = again ? "queued" : "new";

    if (!r->counted && r->all->counted >= LIMIT_STORE_REQUESTS && !again) {
        set_error(r, ERR_BUSY,
                  "there are %d requests already: remove some that are over",
                  LIMIT_STORE_REQUESTS);
        r->forgotten = true;
        refuse(r, state);
        return;
    }
    count(r, true);
    if (take_values(r, v))
        accept_request(r, state, again ? text_of(&v[FIELD_TICKET]) : "");
    else
        refuse(r, state);
}

/* As a broker before us has left it. */
static void
judge_granted(struct store_request *r, const struct request_value v[FIELDS])
{
    const struct ledger_entry *e;
    uint8_t bytes[UUID_BYTES];

    if (!store_request_is_ticket(text_of(&v[FIELD_TICKET])) ||
        !parse_uuid(text_of(&v[FIELD_TICKET]), bytes))
        return; /* not a broker's word */
    format_uuid(bytes, r->ticket);
    count(r, true);
    if (!take_values(r, v))
        memset(r->asked, 0, sizeof r->asked);
    e = broker_reservation(r->all->broker, r->ticket);
    r->phase = PHASE_GRANTED;
    r->amount_kib = e ? e->amount_kib : 0;
    store_request_check(r);
    store_requests_tick_soon(r->all);
}

static void
judge_idle(struct store_request *r, const struct request_value v[FIELDS])
{
    const struct request_value *state = &v[FIELD_STATE];

    if (is(state, "new") || is(state, "queued")) {
        judge_new(r, v);
        return;
    }
    if (is(state, "granted"))
        judge_granted(r, v);
    else if (is(state, "refused") || is(state, "transferred"))
        r->phase = PHASE_DONE;
}

void
store_request_check(struct store_request *r)
{
    const struct ledger_entry *e;

    if (r->phase != PHASE_GRANTED)
        return;
    e = broker_reservation(r->all->broker, r->ticket);
    if (e && e->transferred) {
        decide(r, OUTCOME_TRANSFERRED);
    } else if (!e || e->state == ENTRY_LEAVING) {
        set_error(r, ERR_UNKNOWN_RESERVATION,
                  "its reservation was released by somebody else");
        decide(r, OUTCOME_REFUSED);
    }
}

/* ----------------------------------------------------------------- transfer */

static void
was_transferred(void *arg, const struct result *result)
{
    struct store_request *r = arg;

    if (result->error)
        set_error(r, result->error, "%s", result->message);
    /* If its folder has gone, or is another one: that can't be announced then,
     * so it is read and judged anew. */
    decide(r, result->error ? OUTCOME_NOT_TRANSFERRED : OUTCOME_TRANSFERRED);
}

static void
start_transfer(struct store_request *r, const struct request_value *value)
{
    uint64_t domid;

    if (!parse_u64(text_of(value), &domid) || domid >= LIMIT_DOMAINS) {
        set_error(r, ERR_INVALID, "transfer \"%.40s\" has to be a domid",
                  value->text);
        decide(r, OUTCOME_NOT_TRANSFERRED);
        return;
    }
    r->phase = PHASE_MOVING;
    broker_transfer(r->all->broker, r->ticket, (uint32_t)domid, false,
                    r->all->now_us(), was_transferred, r);
}

/* --------------------------------------------------------------- the broker */

static void
was_answered(void *arg, const struct result *result)
{
    struct store_request *r = arg;

    r->all->asked--;
    if (result->error)
        set_error(r, result->error, "%s", result->message);
    else
        r->amount_kib = result->amount_kib;
    decide(r, result->error ? OUTCOME_REFUSED : OUTCOME_GRANTED);
    submit(r->all);
}

static void
ask(struct store_request *r)
{
    int64_t now_us = r->all->now_us();
    int64_t left_us = r->accepted_us + r->timeout_us - now_us;
    const struct ledger_entry *e =
        broker_reservation(r->all->broker, r->ticket);
    const struct reserve_call call = {
        .client = client_of(r),
        .min_kib = r->min_kib,
        .max_kib = r->max_kib,
        .timeout_us = max_i64(left_us, 0),
        .hold_us = -1,
        .uuid = r->has_uuid ? r->uuid : NULL,
        .id = r->ticket,
    };

    if (e && e->state != ENTRY_LEAVING) {
        r->amount_kib = e->amount_kib;
        decide(r, OUTCOME_GRANTED);
        return;
    }
    r->phase = PHASE_QUEUED;
    r->all->asked++;
    r->seq = broker_reserve(r->all->broker, &call, now_us, was_answered, r);
}

/* A client may have so many in the queue: the others wait here for their
 * turn. */
static void
submit(struct store_requests *all)
{
    struct store_request *r;

    while (all->asked < LIMIT_QUEUE_CLIENT && (r = TAILQ_FIRST(&all->held))) {
        TAILQ_REMOVE(&all->held, r, queue);
        ask(r);
    }
}

/* Back to the beginning. */
static void
withdraw(struct store_request *r)
{
    struct broker *broker = r->all->broker;

    if (r->phase == PHASE_HELD) {
        TAILQ_REMOVE(&r->all->held, r, queue);
    } else if (r->phase == PHASE_QUEUED) {
        r->all->asked--;
        broker_cancel(broker, r->seq, r->all->now_us());
    } else if (r->phase == PHASE_DECIDED || r->phase == PHASE_GRANTED) {
        broker_undelivered(broker, r->ticket, r->all->now_us());
    }
    r->phase = PHASE_IDLE;
    r->ticket[0] = '\0';
    submit(r->all);
}

/* Nobody asks any more. */
static void
drop(struct store_request *r)
{
    withdraw(r);
    count(r, false);
    store_request_forget(r);
}

void
store_request_judge(struct store_request *r,
                    const struct request_value v[FIELDS])
{
    bool over = is(&v[FIELD_STATE], "new") ||
                (r->phase != PHASE_DONE && r->phase != PHASE_IDLE &&
                 strcmp(text_of(&v[FIELD_TICKET]), r->ticket) != 0);

    if (r->phase == PHASE_MOVING)
        return; /* what becomes of it is the broker's until that is answered */
    if (!v[FIELD_NODE].there) {
        drop(r);
        return;
    }
    if (over)
        withdraw(r);
    if (r->phase == PHASE_IDLE)
        judge_idle(r, v);
    if (r->phase == PHASE_DECIDED)
        announce(r);
    else if (r->phase == PHASE_GRANTED && v[FIELD_TRANSFER].there)
        start_transfer(r, &v[FIELD_TRANSFER]);
    if (!r->counted && !r->busy && r->phase == PHASE_DONE &&
        r->all->counted >= LIMIT_STORE_REQUESTS)
        store_request_forget(r);
}

static void
was_rewritten(void *arg, enum err error, const char *value, size_t length)
{
    struct store_request *r = arg;

    (void)value;
    (void)length;
    r->busy = false;
    if (error && error != ERR_NOT_READY)
        log_warning(KEY_REQUESTS "/%.80s can't be written back: %s", r->id,
                    err_name(error));
    if (!error)
        store_request_touch(r);
}

void
store_request_rewrite(struct store_request *r)
{
    static const enum request_field kept[] = { FIELD_MIN, FIELD_MAX,
                                               FIELD_CLIENT, FIELD_TIMEOUT,
                                               FIELD_UUID };
    bool granted = r->phase == PHASE_GRANTED || r->phase == PHASE_MOVING;
    struct lines *lines;

    if (r->phase == PHASE_IDLE || r->phase == PHASE_DONE) {
        drop(r);
        return;
    }
    lines = calloc(1, sizeof *lines);
    if (!lines)
        return;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (r->asked[kept[i]].there)
            add_line(lines, r, request_leaves[kept[i]], r->asked[kept[i]].text);
    if (granted) {
        add_number(lines, r, "amount", r->amount_kib);
        add_line(lines, r, "reservation", r->ticket);
    }
    add_line(lines, r, request_leaves[FIELD_TICKET], r->ticket);
    add_line(lines, r, request_leaves[FIELD_STATE],
             granted ? "granted" : "queued");
    r->busy = true;
    xsc_commit(r->all->xsc, lines->changes, lines->count, was_rewritten, r);
    free(lines);
}
