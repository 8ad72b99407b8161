/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes over the message switch's wire, and the messages that are known. */
#include "squeezed/switch_call.h"

#include "common/units.h"
#include "tests/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(paths)
{
    char path[SWITCH_PATH], name[SWITCH_NAME];
    struct switch_id id = { "a/b", -5 };

    ck_assert_str_eq(switch_path_name(path, "login", "squeezed:12"),
                     "/login/squeezed:12");
    ck_assert_str_eq(switch_path_ack(path, &id), "/ack/a%2Fb/-5");
    ck_assert_str_eq(switch_path_response(path, "\xff .", &id),
                     "/response/%FF%20./a%2Fb/-5");
    ck_assert_str_eq(switch_path_name(path, "x", ".."), "/x/%2E%2E");
    /* the longest */
    memset(name, '/', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    memcpy(id.queue, name, sizeof name);
    id.number = INT64_MIN;
    ck_assert_uint_lt(strlen(switch_path_response(path, name, &id)),
                      SWITCH_PATH);
}
END_TEST

START_TEST(the_body_of_a_transfer)
{
    json_t *from = json_string("7");
    char *first = switch_transfer_body("q", 30 * US_PER_S, NULL);
    char *next = switch_transfer_body("q", 1500 * US_PER_MS, from);

    ck_assert_str_eq(first, "{\"timeout\":30.0,\"queues\":[\"q\"]}");
    ck_assert_str_eq(next,
                     "{\"timeout\":1.5,\"queues\":[\"q\"],\"from\":\"7\"}");
    free(first);
    free(next);
    json_decref(from);
}
END_TEST

static bool
reads(const char *text, struct switch_transfer *ret)
{
    char why[100] = "";
    bool good = switch_transfer_read(text, strlen(text), ret, why, sizeof why);

    ck_assert_int_eq(good, why[0] == '\0');
    return good;
}

START_TEST(replies_to_transfers)
{
    static const char *const bad[] = {
        "",
        "[]",
        "x",
        "{}",
        "{\"messages\":{},\"next\":\"1\"}",
        "{\"messages\":[]}",
        "{\"messages\":[],\"next\":null}",
        "{\"messages\":[],\"next\":[]}",
        "{\"messages\":[],\"next\":\"1\"} x",
    };
    struct switch_transfer t;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!reads(bad[i], &t), "%s", bad[i]);
    ck_assert(reads("{\"messages\":[],\"next\":\"1\",\"more\":0}", &t));
    switch_transfer_done(&t);
    ck_assert(reads("{\"messages\":[],\"next\":5}", &t));
    switch_transfer_done(&t);
}
END_TEST

START_TEST(messages_of_a_transfer)
{
    static const struct {
        const char *text;
        bool good, is_call;
    } cases[] = {
        { "[[\"q\",1],{\"payload\":\"p\",\"kind\":[\"Request\",\"r\"]}]", true,
          true },
        { "[[\"q\",1],{\"payload\":\"\",\"kind\":[\"Request\",\"r\"]}]", true,
          true },
        { "[[\"q\",1],{\"payload\":\"p\",\"kind\":[\"Response\",[\"q\",1]]}]",
          true, false },
        { "[[\"q\",1],{\"payload\":5,\"kind\":[\"Request\",\"r\"]}]", true,
          false },
        { "[[\"q\",1],{\"payload\":\"p\",\"kind\":[\"Request\",\"\"]}]", true,
          false },
        { "[[\"q\",1],{\"payload\":\"p\",\"kind\":[\"Request\"]}]", true,
          false },
        { "[[\"q\",1],{}]", true, false },
        { "[[\"q\",1]]", true, false },
        { "[[\"q\\u0000\",1],{}]", false, false },
        { "[[\"\",1],{}]", false, false },
        { "[[\"q\",1.5],{}]", false, false },
        { "[[\"q\"],{}]", false, false },
        { "[[1,\"q\"],{}]", false, false },
        { "{}", false, false },
        { "null", false, false },
    };
    struct switch_transfer t;
    struct switch_message m;
    char text[300];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"messages\":[%s],\"next\":\"1\"}",
                 cases[i].text);
        ck_assert(reads(text, &t));
        ck_assert_msg(switch_transfer_message(&t, 0, &m) == cases[i].good, "%s",
                      text);
        ck_assert_msg((m.payload != NULL) == cases[i].is_call, "%s", text);
        ck_assert_msg((m.reply_queue[0] != '\0') == cases[i].is_call, "%s",
                      text);
        switch_transfer_done(&t);
    }
}
END_TEST

/* What is no UTF-8 becomes '?', and nothing else does. */
START_TEST(bytes_become_question_marks)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "a\xff", "a?" },
        { "\xc3\xa4\xc3", "\xc3\xa4?" },
        { "\xc0\x80", "??" },
        { "\xe2\x82\xac\xe2\x82", "\xe2\x82\xac??" },
        { "\xed\xa0\x80", "???" },
        { "\xf0\x9f\x98\x80\xf0\x80\x80\x80", "\xf0\x9f\x98\x80????" },
        { "\xf4\x90\x80\x80\xf5", "?????" },
        { "\xe0\x80\x80", "???" },
    };
    struct switch_transfer t;
    struct switch_message m;
    char text[300];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text,
                 "{\"messages\":[[[\"q\",1],{\"payload\":\"%s\",\"kind\":"
                 "[\"Request\",\"r\"]}]],\"next\":\"1\"}",
                 cases[i].in);
        ck_assert(reads(text, &t));
        ck_assert(switch_transfer_message(&t, 0, &m));
        ck_assert_str_eq(m.payload, cases[i].out);
        switch_transfer_done(&t);
    }
}
END_TEST

START_TEST(replies_to_responses)
{
    ck_assert_int_eq(switch_response_read("[]", 2), SWITCH_GONE);
    ck_assert_int_eq(switch_response_read(" [ ] ", 5), SWITCH_GONE);
    ck_assert_int_eq(switch_response_read("[[\"q\",1]]", 9), SWITCH_DELIVERED);
    ck_assert_int_eq(switch_response_read("", 0), SWITCH_UNCLEAR);
    ck_assert_int_eq(switch_response_read("null", 4), SWITCH_UNCLEAR);
    ck_assert_int_eq(switch_response_read("[", 1), SWITCH_UNCLEAR);
}
END_TEST

/* What is done with makes place, what is open never does. */
START_TEST(the_memory_has_a_limit)
{
    struct switch_calls calls;
    struct switch_message m = {
        .id = { "q", 0 }, .reply_queue = "r", .payload = "p", .length = 1
    };
    struct switch_call *first, *c;

    switch_calls_init(&calls);
    first = switch_calls_add(&calls, &m, 1);
    for (m.id.number = 1; m.id.number < LIMIT_SWITCH_CALLS; m.id.number++)
        ck_assert_ptr_nonnull(switch_calls_add(&calls, &m, 1));
    ck_assert_ptr_null(switch_calls_add(&calls, &m, 1));
    first->step = SWITCH_DONE;
    c = switch_calls_add(&calls, &m, 1);
    ck_assert_ptr_nonnull(c);
    ck_assert_uint_eq(calls.count, LIMIT_SWITCH_CALLS);
    m.id.number = 0;
    ck_assert_ptr_null(switch_calls_find(&calls, &m, 1));
    m.id.number = 1;
    ck_assert_ptr_nonnull(switch_calls_find(&calls, &m, 1));
    switch_calls_done(&calls);
}
END_TEST

START_TEST(answers_kept_have_a_limit)
{
    struct switch_calls calls;
    struct switch_message m = { .id = { "q", 0 }, .reply_queue = "r" };
    char *text = calloc(1, 1 << 20);

    switch_calls_init(&calls);
    for (; m.id.number < 20; m.id.number++) {
        struct switch_call *c = switch_calls_add(&calls, &m, 1);

        switch_call_answer(c, text, 1 << 20, "id");
        c->step = SWITCH_DONE;
    }
    ck_assert_uint_le(calls.bytes, LIMIT_SWITCH_BYTES + (2 << 20));
    switch_calls_done(&calls);
    ck_assert_uint_eq(calls.bytes, 0);
    free(text);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("switch_wire");
    TCase *wire = tcase_create("wire");

    tcase_add_test(wire, paths);
    tcase_add_test(wire, the_body_of_a_transfer);
    tcase_add_test(wire, replies_to_transfers);
    tcase_add_test(wire, messages_of_a_transfer);
    tcase_add_test(wire, bytes_become_question_marks);
    tcase_add_test(wire, replies_to_responses);
    tcase_add_test(wire, the_memory_has_a_limit);
    tcase_add_test(wire, answers_kept_have_a_limit);
    suite_add_tcase(suite, wire);
    return run_suite(suite, CK_FORK_GETENV);
}
