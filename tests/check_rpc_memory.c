/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The toolstack interface, `memory`: each of its rows, in each notation. */
#include "squeezed/boot_memory.h"
#include "squeezed/rpc.h"
#include "tests/suite.h"
#include "tests/toy_broker.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID1 "11111111-2222-3333-4444-555555555555"
#define NEW "99999999-2222-3333-4444-555555555555"

static struct broker toy;
static struct rpc *rpc;
static struct rpc_call *call;
static struct rpc_options options;
static struct boot_memory *boot;

static struct {
    int count;
    int status;
    char type[40];
    char *text;
    char granted[LIMIT_ID_CHARS + 1];
} got;

static bool
on_answered(void *arg, const struct rpc_answer *answer)
{
    ck_assert_ptr_eq(arg, &got);
    got.count++;
    got.status = answer->status;
    free(got.text);
    got.text = strndup(answer->text ? answer->text : "", answer->length);
    snprintf(got.type, sizeof got.type, "%s", answer->type ? answer->type : "");
    snprintf(got.granted, sizeof got.granted, "%s",
             answer->granted ? answer->granted : "");
    return true;
}

static void
send_bytes(const char *text, size_t length)
{
    got.count = 0;
    toy.asked[0] = '\0';
    call = rpc_handle(rpc, text, length, on_answered, &got);
    ck_assert_int_eq(got.count, call ? 0 : 1);
}

static void
send_text(const char *text)
{
    send_bytes(text, strlen(text));
}

/* A host whose start was so long ago that the memory then is unknown. */
static bool
measure(void *context, uint64_t *ret_bytes)
{
    (void)context;
    *ret_bytes = UINT64_C(16777216) << 10;
    return true;
}

static void
setup(void)
{
    const struct boot_memory_options b = { .count = 2,
                                           .interval_us = US_PER_S,
                                           .measure = measure };

    toy_init(&toy);
    boot = boot_memory_new(&b, 0);
    options = (struct rpc_options){ .broker = &toy,
                                    .platform = &toy.platform,
                                    .boot = boot,
                                    .zero = { .min_kib = 1048576,
                                              .max_kib = UINT64_MAX },
                                    .now_us = toy_now_us };
    rpc = rpc_new(&options);
    call = NULL;
    memset(&got, 0, sizeof got);
}

static void
teardown(void)
{
    rpc_free(rpc);
    boot_memory_free(boot);
    free(got.text);
}

/* --------------------------------------------------------------- notations */

enum notation { XML_BARE, XML_TYPED, JSON_1, JSON_2, NOTATIONS };

static void
add(char *to, const char *text)
{
    strcat(to, text);
}

/* One parameter: 's' and its text, or 'i' and its digits. */
static void
add_param(char *to, enum notation notation, char kind, const char *text)
{
    static const char *const marks[NOTATIONS][2][2] = {
        [XML_BARE] = { { "", "" }, { "", "" } },
        [XML_TYPED] = { { "<string>", "</string>" }, { "<i8>", "</i8>" } },
        [JSON_1] = { { "\"", "\"" }, { "", "" } },
        [JSON_2] = { { "\"", "\"" }, { "", "" } },
    };
    bool xml = notation == XML_BARE || notation == XML_TYPED;

    add(to, xml ? "<param><value>" : "");
    add(to, marks[notation][kind == 'i'][0]);
    add(to, text);
    add(to, marks[notation][kind == 'i'][1]);
    add(to, xml ? "</value></param>" : "");
}

/* params: "s:text", "i:number", separated by blanks. */
static void
write_call(char *to, size_t size, enum notation notation, const char *method,
           const char *params)
{
    char copy[600];
    char *rest = NULL;
    bool xml = notation == XML_BARE || notation == XML_TYPED;
    int n = 0;

    if (xml)
        snprintf(to, size,
                 "<?xml version='1.0'?>\n<methodCall><methodName>%s"
                 "</methodName><params>",
                 method);
    else
        snprintf(to, size, "{%s\"method\":\"%s\",\"id\":7,\"params\":[",
                 notation == JSON_2 ? "\"jsonrpc\":\"2.0\"," : "", method);
    snprintf(copy, sizeof copy, "%s", params);
    for (char *p = strtok_r(copy, " ", &rest); p;
         p = strtok_r(NULL, " ", &rest)) {
        if (n++ > 0 && !xml)
            add(to, ",");
        add_param(to, notation, p[0], p + 2);
    }
    add(to, xml ? "</params></methodCall>" : "]}");
}

static void
ask_in(enum notation notation, const char *method, const char *params)
{
    char text[2000];

    write_call(text, sizeof text, notation, method, params);
    send_text(text);
}

static const char *
is_answer(const char *expected)
{
    ck_assert_int_eq(got.count, 1);
    ck_assert_int_eq(got.status, 200);
    ck_assert_str_eq(got.text, expected);
    return got.text;
}

#define XML_HEAD                                                               \
    "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct>"    \
    "<member><name>Status</name><value>"
#define XML_TAIL                                                               \
    "</value></member></struct></value></param></params></methodResponse>"

/* The result, as it is in XML and in JSON. */
static void
is_result(enum notation notation, const char *xml, const char *json)
{
    char text[1000];

    if (notation == XML_BARE || notation == XML_TYPED) {
        snprintf(text, sizeof text,
                 XML_HEAD "Success</value></member><member><name>Value</name>"
                          "<value>%s" XML_TAIL,
                 xml);
        ck_assert_str_eq(got.type, "text/xml");
    } else {
        snprintf(text, sizeof text,
                 notation == JSON_2
                     ? "{\"jsonrpc\":\"2.0\",\"result\":%s,\"id\":7}"
                     : "{\"result\":%s,\"error\":null,\"id\":7}",
                 json);
        ck_assert_str_eq(got.type, "application/json");
    }
    is_answer(text);
}

/* The variant, as it is in XML and in JSON; name: without what goes with it. */
static void
is_error(enum notation notation, const char *name, const char *xml,
         const char *json)
{
    char text[1000];

    if (notation == XML_BARE || notation == XML_TYPED)
        snprintf(text, sizeof text,
                 XML_HEAD "Failure</value></member><member>"
                          "<name>ErrorDescription</name><value>%s" XML_TAIL,
                 xml);
    else if (notation == JSON_1)
        snprintf(text, sizeof text, "{\"result\":null,\"error\":%s,\"id\":7}",
                 json);
    else
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,"
                 "\"message\":\"%s\",\"data\":%s},\"id\":7}",
                 name, json);
    is_answer(text);
}

/* An Internal_error whose text has `part` in it. */
static void
is_internal(enum notation notation, const char *part)
{
    static const char *const marks[NOTATIONS] = {
        [XML_BARE] = "<value>Internal_error</value>",
        [XML_TYPED] = "<value>Internal_error</value>",
        [JSON_1] = "{\"result\":null,\"error\":[\"Internal_error\",\"",
        [JSON_2] = "\"data\":[\"Internal_error\",\"",
    };

    ck_assert_int_eq(got.count, 1);
    ck_assert_int_eq(got.status, 200);
    ck_assert_msg(strstr(got.text, marks[notation]) != NULL, "%s", got.text);
    ck_assert_msg(strstr(got.text, part) != NULL, "no '%s' in %s", part,
                  got.text);
}

/* ----------------------------------------------------------------- requests */

static const struct question {
    const char *method, *params, *asked;
} questions[] = {
    { "login", "s:dbg s:xenopsd", "login xenopsd" },
    { "reserve_memory", "s:dbg s:xenopsd i:4096",
      "reserve xenopsd 4096 4096 60000000 0 -1 -" },
    /* never logged in: the session is the name */
    { "reserve_memory", "s:d s:somebody i:0",
      "reserve somebody 0 0 60000000 0 -1 -" },
    { "reserve_memory", "s:7 s:9 i:1", "reserve 9 4 4 60000000 0 -1 -" },
    { "reserve_memory", "s: s:x i:1125899906842624",
      "reserve x 1125899906842624 1125899906842624 60000000 0 -1 -" },
    { "reserve_memory_range", "s:d s:x i:4 i:16",
      "reserve x 4 16 60000000 0 -1 -" },
    { "reserve_memory_range", "s:d s:x i:5 i:18",
      "reserve x 8 16 60000000 0 -1 -" },
    { "reserve_memory_range", "s:d s:x i:5 i:7",
      "reserve x 8 8 60000000 0 -1 -" },
    { "delete_reservation", "s:d s:xenopsd s:" ID1, "release " ID1 },
    { "transfer_reservation_to_domain", "s:d s:xenopsd s:" ID1 " i:7",
      "transfer " ID1 " 7 1" },
    { "balance_memory", "s:d", "balance" },
};
enum { QUESTIONS = sizeof questions / sizeof *questions };

START_TEST(asks_the_broker)
{
    const struct question *q = &questions[_i / NOTATIONS];

    ask_in((enum notation)(_i % NOTATIONS), q->method, q->params);
    ck_assert_str_eq(toy.asked, q->asked);
    ck_assert_ptr_ne(call, NULL);
    ck_assert(toy_answer(&toy, &(struct result){ .error = ERR_CANNOT_FREE }));
    ck_assert_int_eq(got.count, 1);
}
END_TEST

/* --------------------------------------------------------------- results */

START_TEST(results)
{
    enum notation n = (enum notation)_i;
    const struct result good = { .error = ERR_NONE };

    ask_in(n, "login", "s:d s:xenopsd");
    toy_answer(&toy, &good);
    is_result(n, "xenopsd", "\"xenopsd\"");

    ask_in(n, "reserve_memory", "s:d s:xenopsd i:8");
    toy_grant(&toy, NEW, 8);
    is_result(n, NEW, "\"" NEW "\"");
    ck_assert_str_eq(got.granted, NEW);

    ask_in(n, "reserve_memory_range", "s:d s:xenopsd i:8 i:12345678");
    toy_grant(&toy, NEW, 12345676);
    is_result(n,
              "<array><data><value>" NEW "</value><value>12345676</value>"
              "</data></array>",
              "[\"" NEW "\",12345676]");
    ck_assert_str_eq(got.granted, NEW);

    /* a page more than was asked for */
    ask_in(n, "reserve_memory_range", "s:d s:xenopsd i:5 i:6");
    toy_grant(&toy, NEW, 8);
    is_result(n,
              "<array><data><value>" NEW "</value><value>6</value>"
              "</data></array>",
              "[\"" NEW "\",6]");

    ask_in(n, "delete_reservation", "s:d s:xenopsd s:" ID1);
    toy_answer(&toy, &good);
    is_result(n, "<nil/>", "null");

    ask_in(n, "transfer_reservation_to_domain", "s:d s:xenopsd s:" ID1 " i:1");
    toy_answer(&toy, &good);
    is_result(n, "<nil/>", "null");

    ask_in(n, "balance_memory", "s:d");
    toy_answer(&toy, &good);
    is_result(n, "<nil/>", "null");

    ask_in(n, "get_host_reserved_memory", "s:d");
    is_result(n, "73728", "73728");
}
END_TEST

START_TEST(diagnostics)
{
    ask_in((enum notation)_i, "get_diagnostics", "s:d");
    ck_assert_int_eq(got.status, 200);
    ck_assert(strstr(got.text, "xenopsd") != NULL);
    ck_assert(strstr(got.text, "host_reserve_kib") != NULL);
}
END_TEST

/* Whatever became of it, and as often as it is asked for. */
START_TEST(balance_never_fails)
{
    enum notation n = (enum notation)_i;

    ask_in(n, "balance_memory", "s:d");
    toy_answer(&toy, &(struct result){ .error = ERR_NO_MEMORY });
    is_result(n, "<nil/>", "null");
}
END_TEST

START_TEST(deleting_what_is_not_there)
{
    enum notation n = (enum notation)_i;

    ask_in(n, "delete_reservation", "s:d s:xenopsd s:" NEW);
    is_result(n, "<nil/>", "null");
    ck_assert_str_eq(toy.asked, "");
    /* another session's is left alone */
    ask_in(n, "delete_reservation", "s:d s:other s:" ID1);
    is_result(n, "<nil/>", "null");
    ck_assert_str_eq(toy.asked, "");
    /* gone in between */
    ask_in(n, "delete_reservation", "s:d s:xenopsd s:" ID1);
    toy_answer(&toy, &(struct result){ .error = ERR_UNKNOWN_RESERVATION });
    is_result(n, "<nil/>", "null");
}
END_TEST

START_TEST(query)
{
    enum notation n = (enum notation)_i;
    struct ledger *ledger = &toy.planner.ledger;

    ask_in(n, "query_reservation_of_domain", "s:d s:xenopsd i:1");
    is_error(n, "No_reservation", "No_reservation", "\"No_reservation\"");
    ledger_transfer(ledger, ledger_find(ledger, ID1), 1);
    ask_in(n, "query_reservation_of_domain", "s:d s:xenopsd i:1");
    is_result(n, ID1, "\"" ID1 "\"");
    ask_in(n, "query_reservation_of_domain", "s:d s:xenopsd i:7");
    is_error(n, "No_reservation", "No_reservation", "\"No_reservation\"");
    ask_in(n, "query_reservation_of_domain", "s:d s:xenopsd i:3");
    is_internal(n, "there is no domain 3");
    ask_in(n, "query_reservation_of_domain", "s:d s:xenopsd i:4294967297");
    is_internal(n, "there is no domain 4294967297");
    ask_in(n, "query_reservation_of_domain", "s:d s:xenopsd i:-1");
    is_internal(n, "domid");
}
END_TEST

START_TEST(zero_policy)
{
    enum notation n = (enum notation)_i;
    struct domain *zero = &toy.domains[0];

    ask_in(n, "get_domain_zero_policy", "s:d"); /* it isn't seen */
    is_internal(n, "can't be seen");
    zero->facts.domid = 0;
    zero->facts.flags = 0;
    ask_in(n, "get_domain_zero_policy", "s:d");
    is_result(n,
              "<array><data><value>Fixed_size</value><value>1073741824</value>"
              "</data></array>",
              "[\"Fixed_size\",1073741824]");
    /* all that it holds, also what is beyond its target at rest */
    zero->facts.actual_kib -= 4096;
    zero->facts.offset_kib = 4096;
    ask_in(n, "get_domain_zero_policy", "s:d");
    is_result(n,
              "<array><data><value>Fixed_size</value><value>1073741824</value>"
              "</data></array>",
              "[\"Fixed_size\",1073741824]");
    zero->facts.flags = DOMAIN_MANAGED;
    ask_in(n, "get_domain_zero_policy", "s:d");
    is_result(n,
              "<array><data><value>Auto_balloon</value><value><array><data>"
              "<value>536870912</value><value>2147483648</value>"
              "</data></array></value></data></array>",
              "[\"Auto_balloon\",[536870912,2147483648]]");
}
END_TEST

/* As it was configured, where domain 0 doesn't have it yet. */
START_TEST(zero_policy_of_the_configuration)
{
    rpc_free(rpc);
    options.zero.managed = true;
    options.zero.max_kib = 4194304;
    rpc = rpc_new(&options);
    ask_in(JSON_1, "get_domain_zero_policy", "s:d");
    is_answer("{\"result\":[\"Auto_balloon\",[1073741824,4294967296]],"
              "\"error\":null,\"id\":7}");
    rpc_free(rpc);
    options.zero.max_kib = 4;
    rpc = rpc_new(&options);
    ask_in(JSON_1, "get_domain_zero_policy", "s:d");
    is_answer("{\"result\":[\"Auto_balloon\",[4096,4096]],"
              "\"error\":null,\"id\":7}");
}
END_TEST

START_TEST(initial_memory)
{
    enum notation n = (enum notation)_i;

    ask_in(n, "get_host_initial_free_memory", "s:d");
    ck_assert_ptr_ne(call, NULL);
    boot_memory_run(boot, 0);
    ck_assert_int_eq(got.count, 0); /* it waits */
    boot_memory_run(boot, US_PER_S);
    is_result(n, "17179869184", "17179869184");
    ask_in(n, "get_host_initial_free_memory", "s:d");
    is_result(n, "17179869184", "17179869184");
}
END_TEST

START_TEST(leaving_while_it_is_measured)
{
    ask_in(JSON_1, "get_host_initial_free_memory", "s:d");
    rpc_forget(call);
    boot_memory_run(boot, 0);
    boot_memory_run(boot, US_PER_S);
    ck_assert_int_eq(got.count, 0);
    ask_in(JSON_1, "get_host_initial_free_memory", "s:d");
    ck_assert_int_eq(got.count, 1);
}
END_TEST

/* ------------------------------------------------------------------- errors */

START_TEST(refusals)
{
    static const uint32_t domids[] = { 3, 7 };
    enum notation n = (enum notation)_i;
    struct result result = { .error = ERR_CANNOT_FREE,
                             .needed_kib = 1048576,
                             .free_kib = 524288,
                             .domids = domids,
                             .domid_count = 2 };

    ask_in(n, "reserve_memory", "s:d s:x i:1048576");
    toy_answer(&toy, &result);
    is_error(n, "Cannot_free_this_much_memory",
             "<array><data><value>Cannot_free_this_much_memory</value><value>"
             "<array><data><value>1048576</value><value>524288</value></data>"
             "</array></value></data></array>",
             "[\"Cannot_free_this_much_memory\",[1048576,524288]]");

    /* what was asked for, and not the whole pages of it */
    ask_in(n, "reserve_memory_range", "s:d s:x i:1048573 i:1048580");
    toy_answer(&toy, &result);
    is_error(n, "Cannot_free_this_much_memory",
             "<array><data><value>Cannot_free_this_much_memory</value><value>"
             "<array><data><value>1048573</value><value>524288</value></data>"
             "</array></value></data></array>",
             "[\"Cannot_free_this_much_memory\",[1048573,524288]]");

    result.error = ERR_UNCOOPERATIVE;
    ask_in(n, "reserve_memory_range", "s:d s:x i:1048576 i:1048576");
    toy_answer(&toy, &result);
    is_error(n, "Domains_refused_to_cooperate",
             "<array><data><value>Domains_refused_to_cooperate</value><value>"
             "<array><data><value>3</value><value>7</value></data>"
             "</array></value></data></array>",
             "[\"Domains_refused_to_cooperate\",[3,7]]");

    /* the deadline, and nobody in particular owes */
    result.error = ERR_TIMEOUT;
    result.domid_count = 0;
    ask_in(n, "reserve_memory", "s:d s:x i:1048576");
    toy_answer(&toy, &result);
    is_error(n, "Domains_refused_to_cooperate",
             "<array><data><value>Domains_refused_to_cooperate</value><value>"
             "<array><data></data></array></value></data></array>",
             "[\"Domains_refused_to_cooperate\",[]]");

    result.error = ERR_BUSY;
    snprintf(result.message, sizeof result.message, "too many");
    ask_in(n, "reserve_memory", "s:d s:x i:1048576");
    toy_answer(&toy, &result);
    is_error(n, "Internal_error",
             "<array><data><value>Internal_error</value><value>too many"
             "</value></data></array>",
             "[\"Internal_error\",\"too many\"]");
}
END_TEST

START_TEST(unknown_reservation)
{
    static const char xml[] =
        "<array><data><value>Unknown_reservation</value><value>" NEW
        "</value></data></array>";
    static const char json[] = "[\"Unknown_reservation\",\"" NEW "\"]";
    enum notation n = (enum notation)_i;

    ask_in(n, "transfer_reservation_to_domain", "s:d s:xenopsd s:" NEW " i:1");
    is_error(n, "Unknown_reservation", xml, json);
    ck_assert_str_eq(toy.asked, "");
    /* another session's */
    ask_in(n, "transfer_reservation_to_domain", "s:d s:other s:" ID1 " i:1");
    ck_assert(strstr(got.text, "Unknown_reservation") != NULL);
    ck_assert_str_eq(toy.asked, "");
    /* gone in between */
    ask_in(n, "transfer_reservation_to_domain", "s:d s:xenopsd s:" ID1 " i:1");
    toy_answer(&toy, &(struct result){ .error = ERR_UNKNOWN_RESERVATION });
    ck_assert(strstr(got.text, "Unknown_reservation") != NULL);
    ck_assert(strstr(got.text, ID1) != NULL);
}
END_TEST

START_TEST(transfer_to_no_domain)
{
    enum notation n = (enum notation)_i;
    struct result result = { .error = ERR_UNKNOWN_DOMAIN,
                             .message = "there is no domain 9" };

    ask_in(n, "transfer_reservation_to_domain", "s:d s:xenopsd s:" ID1 " i:9");
    toy_answer(&toy, &result);
    is_internal(n, "there is no domain 9");
    ask_in(n, "transfer_reservation_to_domain",
           "s:d s:xenopsd s:" ID1 " i:4294967297");
    is_internal(n, "there is no domain 4294967297");
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

START_TEST(amounts_that_are_none)
{
    static const struct {
        const char *method, *params, *value;
    } cases[] = {
        { "reserve_memory", "s:d s:x i:-1", "-1" },
        { "reserve_memory", "s:d s:x i:1125899906842625", "1125899906842625" },
        { "reserve_memory", "s:d s:x i:9223372036854775807",
          "9223372036854775807" },
        { "reserve_memory_range", "s:d s:x i:-4096 i:4096", "-4096" },
        { "reserve_memory_range", "s:d s:x i:4096 i:-5", "-5" },
        { "reserve_memory_range", "s:d s:x i:4 i:9223372036854775807",
          "9223372036854775807" },
        { "reserve_memory_range", "s:d s:x i:8192 i:4096", "8192" },
    };
    enum notation n = (enum notation)(_i % NOTATIONS);
    const char *value = cases[_i / NOTATIONS].value;
    char xml[200], json[100];

    ask_in(n, cases[_i / NOTATIONS].method, cases[_i / NOTATIONS].params);
    snprintf(xml, sizeof xml,
             "<array><data><value>Invalid_memory_value</value><value>%s"
             "</value></data></array>",
             value);
    snprintf(json, sizeof json, "[\"Invalid_memory_value\",%s]", value);
    is_error(n, "Invalid_memory_value", xml, json);
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

START_TEST(wrong_calls)
{
    static const struct {
        const char *method, *params, *part;
    } cases[] = {
        { "no_such_method", "s:d", "no_such_method" },
        { "status", "s:d", "status" },
        { "Squeezed.status", "", "Squeezed.status" },
        { "", "", "there is no method" },
        { "get_diagnostics", "", "dbg" },
        { "login", "s:d", "service" },
        { "login", "s:d s:x s:y", "2 parameters" },
        { "login", "s:d s:a/b", "service is" },
        { "login", "s:d s:", "service is" },
        { "reserve_memory", "s:d s:x", "kib" },
        { "reserve_memory", "s:d s:x s:abc", "kib is" },
        { "reserve_memory", "s:d s:a.b i:5", "session is" },
        { "reserve_memory", "s:d s:x i:99999999999999999999", "kib is" },
        { "reserve_memory", "s:d s:x i:5 i:6", "3 parameters" },
        { "reserve_memory_range", "s:d s:x i:5", "max" },
        { "delete_reservation", "s:d s:x", "id" },
        { "transfer_reservation_to_domain", "s:d s:x s:y", "domid" },
        { "transfer_reservation_to_domain", "s:d s:x s:y s:z", "domid is" },
        { "query_reservation_of_domain", "s:d s:x s:", "domid is" },
        { "balance_memory", "s:d s:x", "1 parameter" },
        { "get_host_reserved_memory", "", "dbg" },
    };
    enum notation n = (enum notation)(_i % NOTATIONS);

    ask_in(n, cases[_i / NOTATIONS].method, cases[_i / NOTATIONS].params);
    is_internal(n, cases[_i / NOTATIONS].part);
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

START_TEST(before_the_host_is_seen)
{
    static const char *const calls[][2] = {
        { "delete_reservation", "s:d s:x s:y" },
        { "transfer_reservation_to_domain", "s:d s:x s:y i:1" },
        { "query_reservation_of_domain", "s:d s:x i:1" },
        { "get_domain_zero_policy", "s:d" },
    };
    enum notation n = (enum notation)(_i % NOTATIONS);

    toy.invisible = true;
    ask_in(n, calls[_i / NOTATIONS][0], calls[_i / NOTATIONS][1]);
    is_internal(n, "can't be seen");
    ask_in(n, "get_host_reserved_memory", "s:d");
    is_result(n, "73728", "73728");
    ask_in(n, "get_diagnostics", "s:d");
    ck_assert_int_eq(got.status, 200);
}
END_TEST

/* --------------------------------------------------------------------- JSON */

START_TEST(json_forms)
{
    static const struct {
        const char *text, *answer;
    } cases[] = {
        /* the id comes back as it came, where there is none, too */
        { "{\"method\":\"get_host_reserved_memory\",\"params\":[\"\"],"
          "\"id\":\"\\u00e4/\\\"\"}",
          "{\"result\":73728,\"error\":null,\"id\":\"\xc3\xa4/\\\"\"}" },
        { "{\"params\":[\"\"],\"id\":-5,\"method\":"
          "\"get_host_reserved_memory\"}",
          "{\"result\":73728,\"error\":null,\"id\":-5}" },
        { "{\"params\":[\"\"],\"id\":123456789012345678901234,\"method\":"
          "\"get_host_reserved_memory\"}",
          "{\"result\":73728,\"error\":null,\"id\":123456789012345678901234}" },
        { "{\"method\":\"get_host_reserved_memory\",\"params\":[\"\"]}",
          "{\"result\":73728,\"error\":null,\"id\":null}" },
        { "{\"method\":\"get_host_reserved_memory\",\"params\":[\"\"],"
          "\"id\":null}",
          "{\"result\":73728,\"error\":null,\"id\":null}" },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"get_host_reserved_memory\","
          "\"params\":[\"\"]}",
          "{\"jsonrpc\":\"2.0\",\"result\":73728,\"id\":null}" },
        { "{\"jsonrpc\":\"2.0\",\"method\":\"get_host_reserved_memory\","
          "\"params\":[\"\",null],\"id\":\"a\\\\b\"}",
          "{\"jsonrpc\":\"2.0\",\"result\":73728,\"id\":\"a\\\\b\"}" },
        { "{\"id\":-9007199254740993,\"params\":[\"\"],\"jsonrpc\":\"2.0\","
          "\"method\":\"get_host_reserved_memory\"}",
          "{\"jsonrpc\":\"2.0\",\"result\":73728,"
          "\"id\":-9007199254740993}" },
        /* any other version is 1 */
        { "{\"jsonrpc\":\"1.0\",\"method\":\"get_host_reserved_memory\","
          "\"params\":[\"\"],\"id\":1}",
          "{\"result\":73728,\"error\":null,\"id\":1}" },
        /* a unit too many is none */
        { " \t\r\n{\"method\":\"get_host_reserved_memory\",\"params\":"
          "[\"\",null],\"id\":1}",
          "{\"result\":73728,\"error\":null,\"id\":1}" },
    };

    send_text(cases[_i].text);
    is_answer(cases[_i].answer);
}
END_TEST

/* In JSON a number is a number, and a text a text. */
START_TEST(json_types)
{
    static const struct {
        const char *params, *part;
    } cases[] = {
        { "[\"d\",\"x\",\"4096\"]", "kib is" },
        { "[\"d\",\"x\",4096.0]", "kib is" },
        { "[\"d\",\"x\",4e3]", "kib is" },
        { "[\"d\",\"x\",null]", "kib is" },
        { "[\"d\",\"x\",[4]]", "kib is" },
        { "[\"d\",\"x\",true]", "kib is" },
        { "[5,\"x\",4096]", "dbg is" },
        { "[null,\"x\",4096]", "dbg is" },
        { "[\"d\",5,4096]", "session is" },
        { "{\"dbg\":\"d\",\"session\":\"x\",\"kib\":4096}", "array" },
        { "5", "array" },
        { "null", "dbg" },
    };
    char text[200];

    snprintf(text, sizeof text,
             "{\"method\":\"reserve_memory\",\"id\":7,\"params\":%s}",
             cases[_i].params);
    send_text(text);
    is_internal(JSON_1, cases[_i].part);
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

/* ---------------------------------------------------------------------- XML */

#define RESERVED "<methodCall><methodName>get_host_reserved_memory</methodName>"
#define RESERVE                                                                \
    "<methodCall><methodName>reserve_memory</methodName><params>"              \
    "<param><value>d</value></param><param><value>x</value></param>"

START_TEST(xml_forms)
{
    static const char *const cases[] = {
        RESERVED "<params><param><value>d</value></param></params>"
                 "</methodCall>",
        " \r\n\t<?xml version=\"1.0\" encoding=\"utf-8\"?>" RESERVED
        "<params><param><value/></param></params></methodCall>",
        RESERVED "<params><param><value><string/></value></param></params>"
                 "</methodCall>",
        "<methodCall>\n <methodName>\n  get_host_reserved_memory\n "
        "</methodName>\n <params>\n  <param>\n   <value>\n"
        "    <string>d</string>\n   </value>\n  </param>\n </params>\n"
        "</methodCall>\n",
        RESERVED "<params><param><value>a&lt;&amp;&#228;<![CDATA[<x>]]>"
                 "</value></param></params></methodCall>",
        RESERVED "<!-- a comment --><params><param><value>d</value></param>"
                 "<param><value><nil/></value></param></params></methodCall>",
        RESERVED "<params><param><value>d</value></param>"
                 "<param><value></value></param></params></methodCall>",
        RESERVED "<params><param><value>d</value></param><param/></params>"
                 "</methodCall>",
        ("<methodCall a=\"b\"><params><param><value>d</value></param></params>"
         "<methodName>get_host_reserved_memory</methodName></methodCall>"),
    };

    send_text(cases[_i]);
    is_result(XML_BARE, "73728", NULL);
}
END_TEST

START_TEST(xml_integers)
{
    static const struct {
        const char *value, *asked; /* NULL: it is none */
    } cases[] = {
        { "4096", "4096 4096" },
        { " \n4096\t ", "4096 4096" },
        { "<int>4096</int>", "4096 4096" },
        { "<i4>4096</i4>", "4096 4096" },
        { "<i8>4096</i8>", "4096 4096" },
        { "<i8>+4096</i8>", "4096 4096" },
        { "<int> 4096 </int>", "4096 4096" },
        { "<i8>1099511627776</i8>", "1099511627776 1099511627776" },
        { "<i4>1099511627776</i4>", "1099511627776 1099511627776" },
        { "1099511627776", "1099511627776 1099511627776" },
        { "", NULL },
        { "4096x", NULL },
        { "4096.0", NULL },
        { "4e3", NULL },
        { "0x10", NULL },
        { "<double>4096</double>", NULL },
        { "<boolean>1</boolean>", NULL },
        { "<nil/>", NULL },
        { "<array><data><value>4</value></data></array>", NULL },
        { "<struct><member><name>a</name><value>4</value></member></struct>",
          NULL },
        { "<base64>NDA5Ng==</base64>", NULL },
        { "<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>", NULL },
        { "<i8>99999999999999999999</i8>", NULL },
        { "99999999999999999999", NULL },
    };
    char text[500], asked[100];

    snprintf(text, sizeof text,
             RESERVE "<param><value>%s</value></param></params></methodCall>",
             cases[_i].value);
    send_text(text);
    if (!cases[_i].asked) {
        is_internal(XML_BARE, "kib");
        return;
    }
    snprintf(asked, sizeof asked, "reserve x %s 60000000 0 -1 -",
             cases[_i].asked);
    ck_assert_str_eq(toy.asked, asked);
}
END_TEST

/* A number is no name, however it is written. */
START_TEST(xml_texts)
{
    send_text("<methodCall><methodName>login</methodName><params><param>"
              "<value>d</value></param><param><value><int>5</int></value>"
              "</param></params></methodCall>");
    is_internal(XML_BARE, "service is 5");
    send_text("<methodCall><methodName>login</methodName><params><param>"
              "<value>d</value></param><param><value>5</value>"
              "</param></params></methodCall>");
    ck_assert_str_eq(toy.asked, "login 5");
}
END_TEST

START_TEST(xml_that_is_no_call)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        { "<", -32700 },
        { "<methodCall>", -32700 },
        { "<methodCall></methodName>", -32700 },
        { "<methodCall/>x", -32700 },
        { "<methodCall/><methodCall/>", -32700 },
        { RESERVED "</methodCall>\x01", -32700 },
        { RESERVED "<params><param><value>\xff</value></param></params>"
                   "</methodCall>",
          -32700 },
        { RESERVED "&none;</methodCall>", -32700 },
        { "<methodCall/>", -32600 },
        { "<methodResponse/>", -32600 },
        { "<html><body>x</body></html>", -32600 },
        { "<methodCall>x" RESERVED "</methodCall></methodCall>", -32600 },
        { "<methodCall><params/></methodCall>", -32600 },
        { RESERVED "<methodName>login</methodName></methodCall>", -32600 },
        { RESERVED "<params/><params/></methodCall>", -32600 },
        { RESERVED "<params><value>d</value></params></methodCall>", -32600 },
        { RESERVED "<params><param><value>d<int>5</int></value></param>"
                   "</params></methodCall>",
          -32600 },
        { RESERVED "<params><param><value><int>5</int>d</value></param>"
                   "</params></methodCall>",
          -32600 },
        { RESERVED "<params><param><value><int>5</int><int>5</int></value>"
                   "</param></params></methodCall>",
          -32600 },
        { RESERVED "<params><param><value>d</value><value>d</value></param>"
                   "</params></methodCall>",
          -32600 },
        { RESERVED "<params><param><value><int>five</int></value></param>"
                   "</params></methodCall>",
          -32600 },
        { RESERVED "<params><param><value><int/></value></param></params>"
                   "</methodCall>",
          -32600 },
        { RESERVED "<params><param><value><boolean>2</boolean></value>"
                   "</param></params></methodCall>",
          -32600 },
        { RESERVED "<params><param><value><struct><member><name>a</name>"
                   "</member></struct></value></param></params></methodCall>",
          -32600 },
        /* document types, with entities that grow or that fetch a file */
        { "<!DOCTYPE methodCall>" RESERVED "</methodCall>", -32600 },
        { "<!DOCTYPE m [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>" RESERVED
          "<params><param><value>&b;</value></param></params></methodCall>",
          -32600 },
        { "<!DOCTYPE m [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>" RESERVED
          "<params><param><value>&a;</value></param></params></methodCall>",
          -32600 },
    };
    char code[30];

    send_text(cases[_i].text);
    ck_assert_int_eq(got.status, 400);
    snprintf(code, sizeof code, "\"code\":%d,", cases[_i].code);
    ck_assert_msg(strstr(got.text, code) != NULL, "%s", got.text);
    ck_assert_str_eq(got.type, "application/json");
    ck_assert_str_eq(toy.asked, "");
}
END_TEST

START_TEST(xml_nested_deeply)
{
    static const char open[] = "<value><array><data>";
    static const char close[] = "</data></array></value>";

    for (size_t depth = 1; depth < 2000; depth = depth * 2 + 1) {
        char *text = calloc(1, 300 + depth * 50);

        strcat(text, RESERVED "<params><param>");
        for (size_t i = 0; i < depth; i++)
            strcat(text, open);
        for (size_t i = 0; i < depth; i++)
            strcat(text, close);
        strcat(text, "</param></params></methodCall>");
        send_text(text);
        if (3 + 3 * depth < LIMIT_XML_DEPTH)
            is_internal(XML_BARE, "dbg is");
        else
            ck_assert_int_eq(got.status, 400);
        free(text);
    }
}
END_TEST

START_TEST(xml_of_many_values)
{
    static const char one[] = "<param><value/></param>";
    size_t count = 40000;
    char *text = malloc(300 + count * sizeof one), *to;

    to = stpcpy(text, RESERVED "<params>");
    for (size_t i = 0; i < count; i++)
        to = stpcpy(to, one);
    strcpy(to, "</params></methodCall>");
    send_text(text);
    is_internal(XML_BARE, "1 parameter");
    free(text);
}
END_TEST

/* As UTF-8 it is twice as long. */
START_TEST(xml_of_another_encoding)
{
    char text[3000] = "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>" RESERVED
                      "<params><param><value>";
    size_t n = strlen(text);

    memset(text + n, '\xe4', 2000);
    strcpy(text + n + 2000, "</value></param></params></methodCall>");
    send_text(text);
    is_result(XML_BARE, "73728", NULL);
}
END_TEST

START_TEST(cut_at_each_byte)
{
    static const char text[] =
        RESERVE "<param><value><struct><member><name>a</name><value><array>"
                "<data><value><nil/></value></data></array></value></member>"
                "</struct></value></param></params></methodCall>";

    for (size_t n = 1; n < sizeof text - 1; n++) {
        send_bytes(text, n);
        ck_assert_int_eq(got.status, 400);
    }
    send_bytes(text, sizeof text - 1);
    is_internal(XML_BARE, "kib is");
}
END_TEST

START_TEST(damaged_at_each_byte)
{
    static const char text[] =
        RESERVE "<param><value><i8>-5</i8></value></param></params>"
                "</methodCall>";
    char copy[sizeof text];

    for (size_t n = 1; n < sizeof text - 1; n++)
        for (int c = 0; c < 256; c++) {
            memcpy(copy, text, sizeof text);
            copy[n] = (char)c;
            send_bytes(copy, sizeof text - 1);
            ck_assert(got.count == 1 || call);
            if (call)
                rpc_forget(call);
        }
}
END_TEST

START_TEST(texts_are_escaped)
{
    send_text("<methodCall><methodName>a&lt;b&gt;&amp;&#13;]]</methodName>"
              "</methodCall>");
    ck_assert_msg(strstr(got.text, "'a&lt;b&gt;&amp;&#13;]]'") != NULL, "%s",
                  got.text);
}
END_TEST

/* Ours are served in XML as well, in its manner. */
START_TEST(native_methods_in_xml)
{
    send_text("<methodCall><methodName>squeezed.available</methodName>"
              "</methodCall>");
    is_result(XML_BARE,
              "<struct><member><name>now_kib</name><value>100</value></member>"
              "<member><name>after_squeeze_kib</name><value>2000</value>"
              "</member></struct>",
              NULL);
    send_text("<methodCall><methodName>squeezed.plan</methodName><params>"
              "<param><value>-4</value></param></params></methodCall>");
    ck_assert_int_eq(got.status, 200);
    ck_assert(strstr(got.text, "<name>code</name><value>-32004</value>"));
}
END_TEST

/* ------------------------------------------------------- clients that leave */

START_TEST(leaving_cancels)
{
    ask_in(XML_BARE, "reserve_memory", "s:d s:x i:4096");
    rpc_forget(call);
    ck_assert_uint_eq(toy.cancelled, 1);
    ask_in(XML_BARE, "reserve_memory", "s:d s:x i:4096");
    ck_assert(rpc_cancel(call));
    is_internal(XML_BARE, "cancelled");
    ask_in(XML_BARE, "balance_memory", "s:d");
    rpc_forget(call);
    ck_assert_uint_eq(toy.forgotten, 1);
}
END_TEST

START_TEST(errors_that_are_no_calls)
{
    const char *type;
    char *text =
        rpc_error_text(" <x", 3, RPC_INVALID_REQUEST, "a<b", NULL, &type);

    ck_assert(strstr(text, "<value>a&lt;b</value>") != NULL);
    ck_assert_str_eq(type, "text/xml");
    free(text);
    text = rpc_error_text(NULL, 0, RPC_INVALID_REQUEST, "a<b", "x", &type);
    ck_assert(strstr(text, "\"message\":\"a<b\"") != NULL);
    ck_assert(strstr(text, "\"limit\":\"x\"") != NULL);
    ck_assert_str_eq(type, "application/json");
    free(text);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("rpc_memory");
    TCase *tc = tcase_create("rpc_memory");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, asks_the_broker, 0, QUESTIONS * NOTATIONS);
    tcase_add_loop_test(tc, results, 0, NOTATIONS);
    tcase_add_loop_test(tc, diagnostics, 0, NOTATIONS);
    tcase_add_loop_test(tc, balance_never_fails, 0, NOTATIONS);
    tcase_add_loop_test(tc, deleting_what_is_not_there, 0, NOTATIONS);
    tcase_add_loop_test(tc, query, 0, NOTATIONS);
    tcase_add_loop_test(tc, zero_policy, 0, NOTATIONS);
    tcase_add_test(tc, zero_policy_of_the_configuration);
    tcase_add_loop_test(tc, initial_memory, 0, NOTATIONS);
    tcase_add_test(tc, leaving_while_it_is_measured);
    tcase_add_loop_test(tc, refusals, 0, NOTATIONS);
    tcase_add_loop_test(tc, unknown_reservation, 0, NOTATIONS);
    tcase_add_loop_test(tc, transfer_to_no_domain, 0, NOTATIONS);
    tcase_add_loop_test(tc, amounts_that_are_none, 0, 7 * NOTATIONS);
    tcase_add_loop_test(tc, wrong_calls, 0, 21 * NOTATIONS);
    tcase_add_loop_test(tc, before_the_host_is_seen, 0, 4 * NOTATIONS);
    tcase_add_loop_test(tc, json_forms, 0, 10);
    tcase_add_loop_test(tc, json_types, 0, 12);
    tcase_add_loop_test(tc, xml_forms, 0, 9);
    tcase_add_loop_test(tc, xml_integers, 0, 24);
    tcase_add_test(tc, xml_texts);
    tcase_add_loop_test(tc, xml_that_is_no_call, 0, 27);
    tcase_add_test(tc, xml_nested_deeply);
    tcase_add_test(tc, xml_of_many_values);
    tcase_add_test(tc, xml_of_another_encoding);
    tcase_add_test(tc, cut_at_each_byte);
    tcase_add_test(tc, damaged_at_each_byte);
    tcase_add_test(tc, texts_are_escaped);
    tcase_add_test(tc, native_methods_in_xml);
    tcase_add_test(tc, leaving_cancels);
    tcase_add_test(tc, errors_that_are_no_calls);
    suite_add_tcase(suite, tc);
    return run_suite(suite, CK_FORK_GETENV);
}
