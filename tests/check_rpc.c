/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls as text: what is asked of the broker, and what comes back. */
#include "squeezed/core/condition.h"
#include "squeezed/rpc.h"
#include "squeezed/status.h"
#include "tests/suite.h"
#include "tests/toy_broker.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID1 "11111111-2222-3333-4444-555555555555"

static struct broker toy;
static struct rpc *rpc;
static struct rpc_call *call;

/* The last answer. */
static struct {
    int count;
    int status;
    char *text;
    json_t *json;
    char granted[LIMIT_ID_CHARS + 1];
    bool refuse_it; /* as if the client had gone */
    bool big_id;    /* jansson can't read the answer back */
} got;

static void
forget_answer(void)
{
    free(got.text);
    json_decref(got.json);
    memset(&got, 0, sizeof got);
}

static bool
on_answered(void *arg, const struct rpc_answer *answer)
{
    bool refuse_it = got.refuse_it, big_id = got.big_id;
    int count = got.count;

    ck_assert_ptr_eq(arg, &got);
    forget_answer();
    got.count = count + 1;
    got.status = answer->status;
    if (answer->text) {
        got.text = strndup(answer->text, answer->length);
        got.json = json_loads(got.text, JSON_DECODE_ANY, NULL);
        ck_assert_msg(got.json || big_id, "no JSON: %s", got.text);
    }
    snprintf(got.granted, sizeof got.granted, "%s",
             answer->granted ? answer->granted : "");
    return !refuse_it;
}

static void
send_bytes(const char *text, size_t length)
{
    forget_answer();
    toy.asked[0] = '\0';
    call = rpc_handle(rpc, text, length, on_answered, &got);
    ck_assert_int_eq(got.count, call ? 0 : 1);
}

static void
send_text(const char *text)
{
    send_bytes(text, strlen(text));
}

/* A call of method (without its prefix) with these params and id 1. */
static void
ask(const char *method, const char *params)
{
    char text[2000];

    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"squeezed.%s\","
             "\"params\":%s}",
             method, params);
    send_text(text);
}

static json_t *
result_of(void)
{
    ck_assert_int_eq(got.status, 200);
    ck_assert_msg(json_object_get(got.json, "result") != NULL, "%s", got.text);
    ck_assert_ptr_eq(json_object_get(got.json, "error"), NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(got.json, "id")), 1);
    return json_object_get(got.json, "result");
}

static json_t *
error_of(int status, int code)
{
    json_t *error = json_object_get(got.json, "error");

    ck_assert_msg(got.status == status, "status %d: %s", got.status, got.text);
    ck_assert_msg(error != NULL, "%s", got.text);
    ck_assert_msg(json_integer_value(json_object_get(error, "code")) == code,
                  "not %d: %s", code, got.text);
    ck_assert_uint_gt(json_string_length(json_object_get(error, "message")), 0);
    return error;
}

static const char *
text_at(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    ck_assert_msg(text != NULL, "no %s in %s", key, got.text);
    return text;
}

static json_int_t
number_at(json_t *object, const char *key)
{
    json_t *number = json_object_get(object, key);

    ck_assert_msg(json_is_integer(number), "no %s in %s", key, got.text);
    return json_integer_value(number);
}

static json_t *
invalid(const char *parameter)
{
    json_t *data = json_object_get(error_of(200, -32004), "data");

    ck_assert_str_eq(text_at(data, "reason"), "invalid");
    ck_assert_str_eq(text_at(data, "parameter"), parameter);
    ck_assert_ptr_ne(json_object_get(data, "value"), NULL);
    ck_assert_str_eq(toy.asked, "");
    return json_object_get(data, "value");
}

static void
setup(void)
{
    static struct rpc_options options = { .broker = &toy,
                                          .platform = &toy.platform,
                                          .now_us = toy_now_us };

    toy_init(&toy);
    rpc = rpc_new(&options);
    call = NULL;
}

static void
teardown(void)
{
    rpc_free(rpc);
    forget_answer();
}

/* ----------------------------------------------------------------- methods */

START_TEST(asks_the_broker)
{
    static const struct {
        const char *method, *params, *asked;
    } cases[] = {
        { "reserve", "{\"min\":1}", "reserve anonymous 4 4 60000000 0 -1 -" },
        { "reserve", "{\"min\":0}", "reserve anonymous 0 0 60000000 0 -1 -" },
        { "reserve",
          "{\"client\":\"x_-9\",\"min\":5,\"max\":9,\"timeout_ms\":0,"
          "\"wait\":true,\"hold_ms\":0,"
          "\"uuid\":\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"}",
          "reserve x_-9 8 12 0 1 0 6ba7b810-9dad-11d1-80b4-00c04fd430c8" },
        { "reserve",
          "[\"c\",4,8,7,false,9,\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\"]",
          "reserve c 4 8 7000 0 9000 6ba7b810-9dad-11d1-80b4-00c04fd430c8" },
        { "reserve", "[\"c\",4]", "reserve c 4 4 60000000 0 -1 -" },
        { "reserve", "{\"min\":4,\"hold_ms\":null,\"uuid\":null}",
          "reserve anonymous 4 4 60000000 0 -1 -" },
        { "reserve", "{\"min\":1125899906842624}",
          "reserve anonymous 1125899906842624 1125899906842624 60000000 0 -1 "
          "-" },
        { "reserve", "{\"min\":4,\"timeout_ms\":1125899906842624}",
          "reserve anonymous 4 4 1125899906842624000 0 -1 -" },
        { "release", "{\"reservation\":\"abc\"}", "release abc" },
        { "release", "[\"abc\"]", "release abc" },
        { "transfer", "{\"domid\":7,\"reservation\":\"abc\"}",
          "transfer abc 7 0" },
        { "transfer", "[\"abc\",32751]", "transfer abc 32751 0" },
        { "set_range", "{\"domid\":0,\"dynamic_min\":1,\"dynamic_max\":5}",
          "set_range 0 4 8" },
        { "set_range", "[3,8,8]", "set_range 3 8 8" },
        { "set_target", "{\"domid\":7,\"target\":5}", "set_target 7 8" },
        { "set_auto", "[7]", "set_auto 7" },
        { "freeze", "{\"domid\":32751}", "freeze 32751" },
        { "thaw", "[0]", "thaw 0" },
        { "login", "{\"client\":\"xenopsd\"}", "login xenopsd" },
        { "balance", "{}", "balance" },
        { "balance", "[]", "balance" },
        { "balance", "null", "balance" },
    };

    ck_assert_str_eq(toy.asked, "");
    ask(cases[_i].method, cases[_i].params);
    ck_assert_str_eq(toy.asked, cases[_i].asked);
    ck_assert_ptr_ne(call, NULL);
    if (strcmp(cases[_i].method, "reserve") == 0)
        ck_assert(toy_grant(&toy, ID1, 8));
    else
        ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    ck_assert_int_eq(got.count, 1);
    if (strcmp(cases[_i].method, "reserve") != 0)
        ck_assert(json_is_null(result_of()));
}
END_TEST

START_TEST(grant)
{
    json_t *result;

    ask("reserve", "{\"min\":4}");
    ck_assert(toy_grant(&toy, ID1, 8));
    result = result_of();
    ck_assert_str_eq(text_at(result, "reservation"), ID1);
    ck_assert_int_eq(number_at(result, "amount_kib"), 8);
    ck_assert_int_eq(number_at(result, "took_ms"), 12);
    ck_assert(strstr(got.text, "\"answer_ms\":1.234") != NULL);
    ck_assert_str_eq(got.granted, ID1);
    ck_assert_uint_eq(toy.undelivered, 0);
}
END_TEST

START_TEST(grant_that_nobody_takes)
{
    ask("reserve", "{\"min\":4}");
    got.refuse_it = true;
    ck_assert(toy_grant(&toy, ID1, 8));
    ck_assert_uint_eq(toy.undelivered, 1);
    ck_assert_str_eq(toy.undelivered_id, ID1);
}
END_TEST

START_TEST(answered_at_once)
{
    toy.at_once = true;
    ask("release", "[\"abc\"]");
    ck_assert_ptr_eq(call, NULL);
    ck_assert(json_is_null(result_of()));
}
END_TEST

START_TEST(available)
{
    ask("available", "{}");
    ck_assert_int_eq(number_at(result_of(), "now_kib"), 100);
    ck_assert_int_eq(number_at(result_of(), "after_squeeze_kib"), 2000);
}
END_TEST

START_TEST(plan)
{
    json_t *donor;

    toy.what_if = (struct what_if){ .verdict = VERDICT_AFTER_SQUEEZE,
                                    .amount_kib = 4096,
                                    .free_kib = 99,
                                    .eta_us = 2500 };
    ask("plan", "{\"min\":5,\"max\":4096}");
    ck_assert_str_eq(toy.asked, "plan 8 4096");
    ck_assert_str_eq(text_at(result_of(), "verdict"), "after-squeeze");
    ck_assert_int_eq(number_at(result_of(), "amount_kib"), 4096);
    ck_assert_int_eq(number_at(result_of(), "short_kib"), 0);
    ck_assert_int_eq(number_at(result_of(), "eta_ms"), 2);
    ck_assert(json_is_null(json_object_get(result_of(), "reason")));
    ck_assert_uint_eq(json_array_size(json_object_get(result_of(), "donors")),
                      1);
    donor = json_array_get(json_object_get(result_of(), "donors"), 0);
    ck_assert_int_eq(number_at(donor, "domid"), 1);
    ck_assert_int_eq(number_at(donor, "gives_kib"), 4096);
    ck_assert_str_eq(text_at(donor, "name"), "web");

    toy.what_if = (struct what_if){ .verdict = VERDICT_NOW, .eta_us = 0 };
    ask("plan", "[4]");
    ck_assert_str_eq(toy.asked, "plan 4 4");
    ck_assert_str_eq(text_at(result_of(), "verdict"), "now");
    ck_assert_uint_eq(json_array_size(json_object_get(result_of(), "donors")),
                      0);

    toy.what_if = (struct what_if){ .verdict = VERDICT_IMPOSSIBLE,
                                    .error = ERR_CANNOT_FREE,
                                    .free_kib = 3355444,
                                    .short_kib = 5033164,
                                    .eta_us = -1 };
    ask("plan", "{\"min\":8388608}");
    ck_assert_str_eq(text_at(result_of(), "verdict"), "impossible");
    ck_assert_str_eq(text_at(result_of(), "reason"), "cannot-free");
    ck_assert_int_eq(number_at(result_of(), "amount_kib"), 0);
    ck_assert_int_eq(number_at(result_of(), "short_kib"), 5033164);
    ck_assert(json_is_null(json_object_get(result_of(), "eta_ms")));
    ck_assert_str_eq(text_at(result_of(), "message"),
                     "8.0 GiB asked for, 3.2 GiB could be had at best: 4.8 "
                     "GiB short");
}
END_TEST

/* ------------------------------------------------------------------- status */

static void
check_sums(json_t *host)
{
    ck_assert_int_eq(
        number_at(host, "free_kib") + number_at(host, "scrub_kib"),
        number_at(host, "host_reserve_kib") + number_at(host, "cushion_kib") +
            number_at(host, "reserved_kib") +
            number_at(host, "growth_allowed_kib") +
            number_at(host, "promised_kib") + number_at(host, "headroom_kib"));
    ck_assert_int_eq(
        number_at(host, "total_kib"),
        number_at(host, "free_kib") + number_at(host, "scrub_kib") +
            number_at(host, "domains_kib") + number_at(host, "xen_kib"));
}

START_TEST(status)
{
    static const char *const numbers[] = {
        "domid",           "static_min_kib", "dynamic_min_kib", "target_kib",
        "dynamic_max_kib", "static_max_kib", "actual_kib",      "limit_kib",
        "offset_kib",      "promise_kib",    "floor_kib",       "shares",
    };
    static const char *const nulls[] = { "ceiling_kib", "rate_kib_s",
                                         "used_kib", "range_error" };
    json_t *s, *d, *r, *q;

    ask("status", "{}");
    s = result_of();
    ck_assert_str_eq(text_at(s, "version"), PACKAGE_VERSION);
    ck_assert_str_eq(text_at(s, "platform"), "toy");
    ck_assert_str_eq(text_at(s, "policy"), "proportional");
    ck_assert_str_eq(text_at(s, "state"), "squeezed");
    check_sums(json_object_get(s, "host"));
    ck_assert_int_eq(number_at(json_object_get(s, "host"), "reserved_kib"),
                     4096);

    d = json_array_get(json_object_get(s, "domains"), 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        number_at(d, numbers[i]);
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        ck_assert(json_is_null(json_object_get(d, nulls[i])));
    ck_assert_int_eq(number_at(d, "dynamic_max_kib"), 2097152);
    ck_assert_int_eq(number_at(d, "floor_kib"), 524288);
    ck_assert_str_eq(text_at(d, "uuid"),
                     "00000000-0000-0000-0000-000000000000");
    ck_assert_str_eq(text_at(d, "name"), "web");
    ck_assert_str_eq(text_at(d, "type"), "pv");
    ck_assert_str_eq(text_at(d, "state"), "ok");
    d = json_array_get(json_object_get(s, "domains"), 1);
    ck_assert_str_eq(text_at(d, "name"), "b?s\"e");
    text_at(d, "range_error");
    ck_assert_int_eq(number_at(d, "ceiling_kib"), 1572864);

    r = json_array_get(json_object_get(s, "reservations"), 0);
    ck_assert_str_eq(text_at(r, "reservation"), ID1);
    ck_assert_str_eq(text_at(r, "client"), "xenopsd");
    ck_assert_int_eq(number_at(r, "amount_kib"), 4096);
    ck_assert_int_eq(number_at(r, "age_ms"), 2000);
    ck_assert(json_is_null(json_object_get(r, "hold_ms")));
    ck_assert(json_is_null(json_object_get(r, "uuid")));
    ck_assert(json_is_null(json_object_get(r, "in_transfer")));

    q = json_array_get(json_object_get(s, "queue"), 0);
    ck_assert_str_eq(text_at(q, "client"), "x");
    ck_assert_int_eq(number_at(q, "min_kib"), 4);
    ck_assert_int_eq(number_at(q, "max_kib"), 8);
    ck_assert_int_eq(number_at(q, "age_ms"), 1000);
    ck_assert_uint_eq(json_array_size(json_object_get(q, "waiting_for")), 2);
    ck_assert_int_eq(number_at(json_object_get(s, "last_plan"), "age_ms"),
                     1000);
    ck_assert_str_eq(text_at(json_object_get(s, "last_plan"), "why"),
                     "request of x for 2.0 GiB");
    ck_assert_int_eq(number_at(json_object_get(s, "last_plan"), "writes"), 3);
    ck_assert(json_is_true(
        json_object_get(json_object_get(s, "store"), "connected")));
    ck_assert_int_eq(number_at(json_object_get(s, "store"), "reconnects"), 0);
}
END_TEST

static const char *
state_with_targets(uint64_t target0, uint64_t target1)
{
    toy.domains[0].facts.target_kib = target0;
    toy.domains[1].facts.target_kib = target1;
    return host_condition_name(host_condition(&toy.planner));
}

START_TEST(states)
{
    const uint64_t min = 524288, max = 2097152;

    ck_assert_str_eq(state_with_targets(max, max), "relaxed");
    ck_assert_str_eq(state_with_targets(max, max - 256), "relaxed");
    ck_assert_str_eq(state_with_targets(max, max - 1024), "squeezed");
    ck_assert_str_eq(state_with_targets(min, max), "squeezed");
    ck_assert_str_eq(state_with_targets(min, min), "tight");
    ck_assert_str_eq(state_with_targets(min, min - 4), "overloaded");
    toy.domains[1].movable = false; /* it doesn't count then */
    ck_assert_str_eq(state_with_targets(max, min), "relaxed");
    toy.planner.host.free_kib = 77824 - 400; /* within the tolerance */
    ck_assert_str_eq(state_with_targets(min, min), "tight");
    toy.planner.host.free_kib = 77824 - 1000;
    ck_assert_str_eq(state_with_targets(min, min), "overloaded");
    toy.planner.host.count = 0;
    toy.planner.host.free_kib = 1000000;
    ck_assert_str_eq(host_condition_name(host_condition(&toy.planner)),
                     "relaxed");
}
END_TEST

START_TEST(health)
{
    char why[STATUS_WHY];
    int64_t now = toy_now_us();

    ck_assert(status_healthy(&toy, &toy.platform, now, why));
    ck_assert(status_healthy(&toy, &toy.platform, now + 34 * US_PER_S, why));
    ck_assert(!status_healthy(&toy, &toy.platform, now + 36 * US_PER_S, why));
    ck_assert(strstr(why, "36 s ago") != NULL);
    toy.health.connected = false;
    snprintf(toy.health.why, sizeof toy.health.why, "no socket");
    ck_assert(!status_healthy(&toy, &toy.platform, now, why));
    ck_assert(strstr(why, "no socket") != NULL);
    toy.health.connected = true;
    toy.view.ready = false;
    ck_assert(!status_healthy(&toy, &toy.platform, now, why));
}
END_TEST

START_TEST(not_ready)
{
    static const char *const calls[][2] = { { "status", "{}" },
                                            { "available", "{}" },
                                            { "plan", "[4]" } };

    toy.invisible = true;
    snprintf(toy.health.why, sizeof toy.health.why, "xenstored is not there");
    for (size_t i = 0; i < 3; i++) {
        json_t *error;

        ask(calls[i][0], calls[i][1]);
        error = error_of(200, -32007);
        ck_assert_str_eq(text_at(json_object_get(error, "data"), "reason"),
                         "not-ready");
        ck_assert(strstr(text_at(error, "message"), "xenstored is not there"));
    }
}
END_TEST

/* ------------------------------------------------------------------- errors */

START_TEST(refusals)
{
    static const uint32_t domids[] = { 3, 7 };
    static const struct {
        enum err error;
        int code;
        const char *reason;
        bool amounts, domids;
    } cases[] = {
        { ERR_CANNOT_FREE, -32000, "cannot-free", true, false },
        { ERR_UNCOOPERATIVE, -32001, "uncooperative", true, true },
        { ERR_TIMEOUT, -32002, "timeout", true, true },
        { ERR_CANCELLED, -32003, "cancelled", false, false },
        { ERR_NOT_READY, -32007, "not-ready", false, false },
        { ERR_BUSY, -32008, "busy", false, false },
        { ERR_IO, -32603, "io", false, false },
    };
    struct result result = { .error = cases[_i].error,
                             .parameter = "reservations",
                             .needed_kib = 8388608,
                             .free_kib = 3355444,
                             .short_kib = 5033164,
                             .domids = domids,
                             .domid_count = 2 };
    json_t *error, *data;

    ask("reserve", "{\"min\":8388608}");
    ck_assert(toy_answer(&toy, &result));
    error = error_of(200, cases[_i].code);
    data = json_object_get(error, "data");
    ck_assert_str_eq(text_at(data, "reason"), cases[_i].reason);
    if (cases[_i].amounts) {
        ck_assert_int_eq(number_at(data, "needed_kib"), 8388608);
        ck_assert_int_eq(number_at(data, "free_kib"), 3355444);
        ck_assert_int_eq(number_at(data, "short_kib"), 5033164);
        ck_assert_str_eq(text_at(error, "message"),
                         "8.0 GiB asked for, 3.2 GiB could be had at best: "
                         "4.8 GiB short");
    }
    ck_assert_uint_eq(json_array_size(json_object_get(data, "domids")),
                      cases[_i].domids ? 2 : 0);
    if (cases[_i].error == ERR_BUSY)
        ck_assert_str_eq(text_at(data, "limit"), "reservations");
    ck_assert_str_eq(got.granted, "");
}
END_TEST

START_TEST(unknown_things)
{
    json_t *data;

    toy.at_once = true;
    toy.result.error = ERR_UNKNOWN_RESERVATION;
    ask("release", "[\"abc\"]");
    data = json_object_get(error_of(200, -32005), "data");
    ck_assert_str_eq(text_at(data, "reason"), "unknown-reservation");
    ck_assert_str_eq(text_at(data, "reservation"), "abc");

    toy.result.error = ERR_UNKNOWN_DOMAIN;
    ask("set_range", "[9,4,4]");
    data = json_object_get(error_of(200, -32006), "data");
    ck_assert_str_eq(text_at(data, "reason"), "unknown-domain");
    ck_assert_int_eq(number_at(data, "domid"), 9);

    /* What can't be an id or a domid isn't even asked for. */
    ask("release", "[\"\"]");
    error_of(200, -32005);
    ck_assert_str_eq(toy.asked, "");
    ask("transfer",
        "[\"0123456789012345678901234567890123456789012345678901234567890123"
        "4\",1]");
    error_of(200, -32005);
    ck_assert_str_eq(toy.asked, "");
    ask("transfer", "[\"abc\",32752]");
    error_of(200, -32006);
    ck_assert_str_eq(toy.asked, "");
    ask("set_range", "[1125899906842624,4,4]");
    error_of(200, -32006);
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

START_TEST(broker_finds_it_invalid)
{
    toy.at_once = true;
    toy.result = (struct result){ .error = ERR_INVALID,
                                  .parameter = "dynamic_max",
                                  .message = "above static-max" };
    ask("set_range", "[9,4,8]");
    toy.asked[0] = '\0';
    ck_assert_int_eq(json_integer_value(invalid("dynamic_max")), 8);
    ck_assert_str_eq(text_at(json_object_get(got.json, "error"), "message"),
                     "above static-max");
}
END_TEST

/* --------------------------------------------------------------- parameters */

#define NOT_A_SIZE                                                             \
    "-1", "-4", "1125899906842625", "9223372036854775807",                     \
        "9223372036854775808", "-9223372036854775809",                         \
        "99999999999999999999999999", "1.5", "4.0", "1e3", "1e30", "1e999",    \
        "-0.0", "\"5\"", "\"\"", "true", "false", "null", "[]", "{}", "[4]"

static const char *const not_a_size[] = { NOT_A_SIZE };
#define NOT_A_SIZE_COUNT (sizeof not_a_size / sizeof *not_a_size)

START_TEST(wrong_numbers)
{
    static const struct {
        const char *method, *parameter, *params;
    } cases[] = {
        { "reserve", "min", "{\"min\":%s}" },
        { "reserve", "max", "{\"min\":4,\"max\":%s}" },
        { "reserve", "timeout_ms", "{\"min\":4,\"timeout_ms\":%s}" },
        { "plan", "min", "{\"min\":%s}" },
        { "plan", "max", "{\"min\":4,\"max\":%s}" },
        { "transfer", "domid", "{\"reservation\":\"a\",\"domid\":%s}" },
        { "set_range", "domid",
          "{\"domid\":%s,\"dynamic_min\":4,\"dynamic_max\":4}" },
        { "set_range", "dynamic_min",
          "{\"domid\":1,\"dynamic_min\":%s,\"dynamic_max\":4}" },
        { "set_range", "dynamic_max",
          "{\"domid\":1,\"dynamic_min\":4,\"dynamic_max\":%s}" },
    };
    const char *hole = strstr(cases[_i].params, "%s");
    char params[200];

    for (size_t i = 0; i < NOT_A_SIZE_COUNT; i++) {
        snprintf(params, sizeof params, "%.*s%s%s",
                 (int)(hole - cases[_i].params), cases[_i].params,
                 not_a_size[i], hole + 2);
        ask(cases[_i].method, params);
        invalid(cases[_i].parameter);
    }
}
END_TEST

START_TEST(hold_may_be_null_only)
{
    char params[100];

    for (size_t i = 0; i < NOT_A_SIZE_COUNT; i++) {
        if (strcmp(not_a_size[i], "null") == 0)
            continue;
        snprintf(params, sizeof params, "{\"min\":4,\"hold_ms\":%s}",
                 not_a_size[i]);
        ask("reserve", params);
        invalid("hold_ms");
    }
}
END_TEST

START_TEST(values_come_back)
{
    ask("reserve", "{\"min\":1.5}");
    ck_assert(json_real_value(invalid("min")) == 1.5);
    ask("reserve", "{\"min\":\"5\"}");
    ck_assert_str_eq(json_string_value(invalid("min")), "5");
    ask("reserve", "{\"min\":true}");
    ck_assert(json_is_true(invalid("min")));
    ask("reserve", "{\"min\":1125899906842625}");
    ck_assert_int_eq(json_integer_value(invalid("min")), 1125899906842625);
    ask("reserve", "{\"min\":9223372036854775808}");
    ck_assert_str_eq(json_string_value(invalid("min")), "9223372036854775808");
    ask("reserve", "{\"min\":[[[1]]]}");
    ck_assert_str_eq(json_string_value(invalid("min")), "(an array)");
    ask("reserve", "{\"min\":8,\"max\":4}");
    ck_assert_int_eq(json_integer_value(invalid("max")), 4);
}
END_TEST

START_TEST(ranges_the_wrong_way_round)
{
    ask("reserve", "{\"min\":8,\"max\":4}");
    invalid("max");
    ask("plan", "[8,4]");
    invalid("max");
    ask("set_range", "[1,8,4]");
    invalid("dynamic_max");
    ask("reserve", "{\"min\":8,\"max\":0}");
    invalid("max");
    ask("reserve", "{\"min\":8,\"max\":5}"); /* the same page */
    ck_assert_str_eq(toy.asked, "reserve anonymous 8 8 60000000 0 -1 -");
}
END_TEST

START_TEST(wrong_texts)
{
    static const char *const clients[] = {
        "\"\"",
        "\"a b\"",
        "\"a/b\"",
        "\"../x\"",
        "\"\xc3\xa4\"",
        "\"a\\u0000b\"",
        "\"\\u00019223372036854775808\"",
        "\"01234567890123456789012345678901234567890123456789012345678901234\"",
        "5",
        "null",
        "[]",
    };
    static const char *const uuids[] = {
        "\"\"",
        "\"x\"",
        "\"6ba7b810-9dad-11d1-80b4-00c04fd430c\"",
        "\"6ba7b810-9dad-11d1-80b4-00c04fd430cg\"",
        "5",
        "true",
        "{}",
    };
    static const char *const ids[] = { "5", "null", "{}", "\"a\\u0000\"" };
    static const char *const flags[] = { "0", "1", "\"true\"", "null" };
    char params[200];

    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        snprintf(params, sizeof params, "{\"client\":%s}", clients[i]);
        ask("login", params);
        invalid("client");
        snprintf(params, sizeof params, "{\"min\":4,\"client\":%s}",
                 clients[i]);
        ask("reserve", params);
        invalid("client");
    }
    for (size_t i = 0; i < sizeof uuids / sizeof *uuids; i++) {
        snprintf(params, sizeof params, "{\"min\":4,\"uuid\":%s}", uuids[i]);
        ask("reserve", params);
        invalid("uuid");
    }
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        snprintf(params, sizeof params, "[%s]", ids[i]);
        ask("release", params);
        invalid("reservation");
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        snprintf(params, sizeof params, "{\"min\":4,\"wait\":%s}", flags[i]);
        ask("reserve", params);
        invalid("wait");
    }
}
END_TEST

START_TEST(wrong_parameter_lists)
{
    static const struct {
        const char *method, *params, *named;
    } cases[] = {
        { "status", "{\"verbose\":true}", "verbose" },
        { "status", "[1]", NULL },
        { "reserve", "{}", "min" },
        { "reserve", "[]", "min" },
        { "reserve", "null", "min" },
        { "reserve", "{\"min\":4,\"Max\":8}", "Max" },
        { "reserve", "[\"c\",4,8,7,false,9,null,1]", NULL },
        { "release", "{}", "reservation" },
        { "transfer", "[\"a\"]", "domid" },
        { "plan", "{\"max\":4}", "min" },
        { "available", "{\"x\":1}", "x" },
        { "set_range", "[1,4]", "dynamic_max" },
        { "balance", "[null]", NULL },
        { "login", "{}", "client" },
        { "login", "{\"client\":\"a\",\"\":1}", "" },
    };
    json_t *error;

    ask(cases[_i].method, cases[_i].params);
    error = error_of(200, -32602);
    ck_assert_str_eq(toy.asked, "");
    if (cases[_i].named) {
        ck_assert(strstr(text_at(error, "message"), cases[_i].named));
        ck_assert_str_eq(text_at(json_object_get(error, "data"), "parameter"),
                         cases[_i].named);
    }
}
END_TEST

/* ----------------------------------------------------------------- envelope */

START_TEST(no_such_method)
{
    static const char *const names[] = {
        "squeezed.",
        "squeezed.login_memory",
        "squeezed.squeezed.status",
        "squeezed..status",
        "squeezed.get_diagnostics",
        "squeezed.Status",
        "squeezed.status ",
        "squeezed.\xc3\xa4",
    };
    char text[200];

    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", names[_i]);
    send_text(text);
    error_of(200, -32601);
}
END_TEST

START_TEST(a_long_name_is_cut)
{
    char text[2000], name[1500];

    /* 64 bytes end within a letter */
    for (size_t i = 0; i < sizeof name - 1; i++)
        name[i] = (i % 2) ? '\xc3' : '\xa4';
    memcpy(name, "squeezed.", 9);
    name[sizeof name - 1] = '\0';
    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", name);
    send_text(text);
    error_of(200, -32601);
}
END_TEST

START_TEST(no_calls)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        { "", -32700 },
        { " \r\n\t", -32700 },
        { "nonsense", -32700 },
        { "<methodCall/>", -32600 },
        { "<methodCall>", -32700 },
        { "{", -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":1}x",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":1,}",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":1,"
          "\"id\":2}",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\",\"id\":1,"
          "\"params\":{\"min\":4,\"min\":8}}",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\",\"id\":1,"
          "\"params\":[04]}",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\",\"id\":1,"
          "\"params\":[99999999999999999999,]}",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\",\"id\":1,"
          "\"params\":[0099999999999999999999]}",
          -32700 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"\xff\",\"id\":1}", -32700 },
        { "[]", -32600 },
        { "[{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":1}]",
          -32600 },
        { "5", -32600 },
        { "null", -32600 },
        { "\"squeezed.status\"", -32600 },
        { "{}", -32600 },
        { "{\"jsonrpc\":\"2.0\",\"id\":1}", -32600 },
        { "{\"jsonrpc\":\"2.0\"}", -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":5,\"id\":1}", -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\\u0000\","
          "\"id\":1}",
          -32600 },
        { "{\"jsonrpc\":\"1.0\",\"method\":\"squeezed.status\",\"id\":1}",
          -32600 },
        { "{\"jsonrpc\":2.0,\"method\":\"squeezed.status\",\"id\":1}", -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":[]}",
          -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":true}",
          -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.status\",\"id\":{}}",
          -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\",\"id\":1,"
          "\"params\":5}",
          -32600 },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\",\"id\":1,"
          "\"params\":\"4\"}",
          -32600 },
    };

    send_text(cases[_i].text);
    error_of(400, cases[_i].code);
    ck_assert_ptr_ne(json_object_get(got.json, "id"), NULL);
    ck_assert_str_eq(text_at(got.json, "jsonrpc"), "2.0");
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

START_TEST(ids_come_back)
{
    static const char *const ids[] = {
        "0",
        "1",
        "-7",
        "9223372036854775807",
        "18446744073709551615",
        "123456789012345678901234567890",
        "\"\"",
        "\"a\\\"b\\u0001\"",
        "\"\xc3\xa4\"",
        "null",
        "0.5",
        "1e400",
    };
    char text[200], expected[100];

    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.available\","
             "\"id\":%s}",
             ids[_i]);
    got.big_id = true;
    call = rpc_handle(rpc, text, strlen(text), on_answered, &got);
    ck_assert_int_eq(got.status, 200);
    snprintf(expected, sizeof expected, "\"id\":%s}", ids[_i]);
    ck_assert_msg(strlen(got.text) > strlen(expected) &&
                      strcmp(got.text + strlen(got.text) - strlen(expected),
                             expected) == 0,
                  "%s in %s", expected, got.text);
}
END_TEST

START_TEST(notification)
{
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.login\","
              "\"params\":[\"x\"]}");
    ck_assert_str_eq(toy.asked, "login x");
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    ck_assert_int_eq(got.status, 204);
    ck_assert_ptr_eq(got.text, NULL);

    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.reserve\","
              "\"params\":{\"min\":4}}");
    ck_assert(toy_grant(&toy, ID1, 4));
    ck_assert_int_eq(got.status, 204);
    ck_assert_str_eq(got.granted, ID1);

    /* Not even errors are told. */
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.x\"}");
    ck_assert_int_eq(got.status, 204);
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.reserve\"}");
    ck_assert_int_eq(got.status, 204);
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.plan\","
              "\"params\":[-1]}");
    ck_assert_int_eq(got.status, 204);
}
END_TEST

START_TEST(version_1)
{
    send_text("{\"method\":\"squeezed.available\",\"id\":\"x\"}");
    ck_assert_int_eq(got.status, 200);
    ck_assert_ptr_eq(json_object_get(got.json, "jsonrpc"), NULL);
    ck_assert(json_is_null(json_object_get(got.json, "error")));
    ck_assert_int_eq(number_at(json_object_get(got.json, "result"), "now_kib"),
                     100);
    ck_assert_str_eq(text_at(got.json, "id"), "x");
    send_text("{\"method\":\"squeezed.nonsense\",\"id\":1,\"params\":[]}");
    error_of(200, -32601);
    ck_assert(json_is_null(json_object_get(got.json, "result")));
    /* There, a null id is none. */
    send_text("{\"method\":\"squeezed.available\",\"id\":null}");
    ck_assert_int_eq(got.status, 204);
}
END_TEST

START_TEST(unknown_members_are_ignored)
{
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"squeezed.available\","
              "\"id\":1,\"trace\":{\"a\":[1,2]}}");
    number_at(result_of(), "now_kib");
}
END_TEST

START_TEST(truncated_at_each_byte)
{
    const char *whole = "{\"jsonrpc\":\"2.0\",\"id\":\"\\u00e4\",\"method\":"
                        "\"squeezed.reserve\",\"params\":{\"client\":\"a\","
                        "\"min\":99999999999999999999,\"wait\":true}}";

    for (size_t n = 0; n < strlen(whole); n++) {
        char *cut = malloc(n + 1); /* of its size, for the sanitizer */

        memcpy(cut, whole, n);
        send_bytes(cut, n);
        error_of(400, -32700);
        free(cut);
    }
    send_text(whole);
    invalid("min");
}
END_TEST

START_TEST(damaged_at_each_byte)
{
    const char *whole = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                        "\"squeezed.plan\",\"params\":{\"min\":1e999}}";
    const char *bytes = "\"\\{}[],:0-e\xff";
    char damaged[200];

    for (size_t n = 0; n < strlen(whole); n++)
        for (size_t i = 0; i <= strlen(bytes); i++) {
            memcpy(damaged, whole, strlen(whole));
            damaged[n] = bytes[i];
            send_bytes(damaged, strlen(whole));
            ck_assert(got.status == 200 || got.status == 204 ||
                      got.status == 400);
        }
}
END_TEST

/* depth opening brackets as the value of min, and the closing ones. */
static char *
deep(size_t depth)
{
    const char *head = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                       "\"squeezed.plan\",\"params\":{\"min\":";
    char *text = malloc(strlen(head) + 2 * depth + 3);
    size_t n = strlen(head);

    memcpy(text, head, n);
    memset(text + n, '[', depth);
    memset(text + n + depth, ']', depth);
    memcpy(text + n + 2 * depth, "}}", 3);
    return text;
}

START_TEST(nested_deeply)
{
    char *text = deep(1000);

    send_text(text);
    invalid("min");
    free(text);
    text = deep(500000);
    send_text(text);
    error_of(400, -32700);
    free(text);
}
END_TEST

START_TEST(many_values)
{
    size_t size = LIMIT_BODY_BYTES;
    char *text = malloc(size + 1);
    size_t n = (size_t)sprintf(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                                     "\"squeezed.plan\",\"params\":[1e999");

    while (n + 7 < size)
        n += (size_t)sprintf(text + n, ",1e309");
    strcpy(text + n, "]}");
    send_text(text);
    error_of(200, -32602);
    free(text);
}
END_TEST

/* --------------------------------------------------------- clients that leave
 */

START_TEST(cancel)
{
    json_t *error;

    ask("reserve", "{\"min\":4}");
    ck_assert(rpc_cancel(call));
    ck_assert_uint_eq(toy.cancelled, 1);
    error = error_of(200, -32003);
    ck_assert_str_eq(text_at(json_object_get(error, "data"), "reason"),
                     "cancelled");
    ck_assert(!toy_grant(&toy, ID1, 4));

    ask("balance", "[]");
    ck_assert(rpc_cancel(call));
    ck_assert_uint_eq(toy.forgotten, 1);
    error_of(200, -32003);

    ask("release", "[\"a\"]");
    ck_assert(!rpc_cancel(call)); /* it goes on */
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    ck_assert(json_is_null(result_of()));
}
END_TEST

START_TEST(forget)
{
    ask("reserve", "{\"min\":4}");
    rpc_forget(call);
    ck_assert_uint_eq(toy.cancelled, 1);
    ck_assert(!toy_grant(&toy, ID1, 4));
    ask("balance", "[]");
    rpc_forget(call);
    ck_assert_uint_eq(toy.forgotten, 1);
    ask("release", "[\"a\"]");
    rpc_forget(call);
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_NONE }));
    ck_assert_int_eq(got.count, 0);
}
END_TEST

START_TEST(calls_left_open)
{
    /* Freed with the rpc: the sanitizer looks at this. */
    for (int i = 0; i < 10; i++) {
        ask("reserve", "{\"min\":4}");
        ask("release", "[\"a\"]");
        if (i % 2)
            rpc_forget(call);
    }
}
END_TEST

START_TEST(all_methods_have_names)
{
    size_t own = 0, toolstack = 0;

    for (size_t n = 0; rpc_method_name(n); n++)
        if (strncmp(rpc_method_name(n), "squeezed.", 9) == 0)
            own++;
        else
            toolstack++;
    ck_assert_uint_ge(own, 9);
    ck_assert_uint_eq(toolstack, 11);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("rpc");
    TCase *tc = tcase_create("rpc");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, asks_the_broker, 0, 22);
    tcase_add_test(tc, grant);
    tcase_add_test(tc, grant_that_nobody_takes);
    tcase_add_test(tc, answered_at_once);
    tcase_add_test(tc, available);
    tcase_add_test(tc, plan);
    tcase_add_test(tc, status);
    tcase_add_test(tc, states);
    tcase_add_test(tc, health);
    tcase_add_test(tc, not_ready);
    tcase_add_loop_test(tc, refusals, 0, 7);
    tcase_add_test(tc, unknown_things);
    tcase_add_test(tc, broker_finds_it_invalid);
    tcase_add_loop_test(tc, wrong_numbers, 0, 9);
    tcase_add_test(tc, hold_may_be_null_only);
    tcase_add_test(tc, values_come_back);
    tcase_add_test(tc, ranges_the_wrong_way_round);
    tcase_add_test(tc, wrong_texts);
    tcase_add_loop_test(tc, wrong_parameter_lists, 0, 15);
    tcase_add_loop_test(tc, no_such_method, 0, 8);
    tcase_add_test(tc, a_long_name_is_cut);
    tcase_add_loop_test(tc, no_calls, 0, 31);
    tcase_add_loop_test(tc, ids_come_back, 0, 12);
    tcase_add_test(tc, notification);
    tcase_add_test(tc, version_1);
    tcase_add_test(tc, unknown_members_are_ignored);
    tcase_add_test(tc, truncated_at_each_byte);
    tcase_add_test(tc, damaged_at_each_byte);
    tcase_add_test(tc, nested_deeply);
    tcase_add_test(tc, many_values);
    tcase_add_test(tc, cancel);
    tcase_add_test(tc, forget);
    tcase_add_test(tc, calls_left_open);
    tcase_add_test(tc, all_methods_have_names);
    suite_add_tcase(suite, tc);
    return run_suite(suite, CK_FORK_GETENV);
}
