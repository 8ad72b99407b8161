/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of the message switch in front of the real calls, the real broker
 * and a simulated host, against a small switch of our own. */
#include "squeezed/switch.h"

#include "common/log.h"
#include "squeezed/loop.h"
#include "squeezed/platform/sim.h"
#include "tests/fake_switch.h"
#include "tests/suite.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Domain 1 gives 1 GiB a second; the stuck one never. */
static const char host[] =
    "[host]\nmemory = 8G\n"
    "[domain 0]\nactual = 512M\n"
    "[domain 1]\ndynamic-min = 512M\ndynamic-max = 5G\nactual = 4G\nrate = 1G\n"
    "[domain 2]\ndynamic-min = 256M\ndynamic-max = 3G\nactual = 2G\n"
    "guest = stuck\n";

static struct rig {
    char folder[40], path[64], log[64];
    struct loop *loop;
    struct event_base *base;
    struct event *tick;
    struct scenario *scenario;
    struct platform *sim;
    struct broker *broker;
    struct rpc *rpc;
    struct switch_client *client;
} rig;

/* -------------------------------------------------------------------- the rig
 */

static int64_t
broker_next(void *context)
{
    (void)context;
    return broker_next_us(rig.broker);
}

static void
run_broker(void *context, int64_t now_us)
{
    (void)context;
    broker_run(rig.broker, now_us);
}

static int64_t
sim_next(void *context)
{
    (void)context;
    return sim_next_us(rig.sim);
}

static void
run_sim(void *context, int64_t now_us)
{
    (void)context;
    sim_advance(rig.sim, now_us);
    sim_deliver(rig.sim);
}

static void
wake(void *context)
{
    (void)context;
    loop_wake(rig.loop);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

static void
start_broker(void)
{
    const struct broker_options options = {
        .planner = { .host_reserve_kib = rig.scenario->reserve_kib,
                     .tolerance_kib = rig.scenario->tolerance_kib,
                     .policy = rig.scenario->policy,
                     .interval_us = 10 * US_PER_S },
        .wake = wake,
    };
    struct rpc_options rpc = { .platform = rig.sim, .now_us = loop_now_us };

    rig.broker = broker_new(&options, rig.sim, loop_now_us());
    rpc.broker = rig.broker;
    rig.rpc = rpc_new(&rpc);
}

static void
setup(void)
{
    const struct loop_work works[] = { { NULL, sim_next, run_sim },
                                       { NULL, broker_next, run_broker } };
    const struct timeval often = { 0, 1000 };
    char message[300];

    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    strcpy(rig.folder, "/tmp/check_switch.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(rig.folder));
    snprintf(rig.path, sizeof rig.path, "%s/sock", rig.folder);
    snprintf(rig.log, sizeof rig.log, "%s/log", rig.folder);
    ck_assert(log_open(rig.log));
    rig.loop = loop_new();
    rig.base = loop_base(rig.loop);
    rig.scenario = scenario_read_text("host", host, strlen(host), NULL, message,
                                      sizeof message);
    ck_assert_msg(rig.scenario != NULL, "%s", message);
    rig.sim = sim_platform_new(rig.scenario, loop_now_us());
    sim_set_wake(rig.sim, wake, NULL);
    start_broker();
    loop_add_work(rig.loop, &works[0]);
    loop_add_work(rig.loop, &works[1]);
    loop_wake(rig.loop);
    rig.tick = event_new(rig.base, -1, EV_PERSIST, on_tick, NULL);
    event_add(rig.tick, &often);
    fake_add_reply_queue("caller");
}

static void
stop_squeezed(void)
{
    broker_free(rig.broker);
    switch_free(rig.client);
    rpc_free(rig.rpc);
    rig.broker = NULL;
    rig.client = NULL;
    rig.rpc = NULL;
}

static void
teardown(void)
{
    char wrong[sizeof fake.wrong];

    memcpy(wrong, fake.wrong, sizeof wrong);
    if (rig.broker)
        stop_squeezed();
    fake_reset();
    event_free(rig.tick);
    rig.sim->ops->free(rig.sim);
    scenario_free(rig.scenario);
    loop_free(rig.loop);
    log_open("stderr");
    unlink(rig.log);
    rmdir(rig.folder);
    ck_assert_str_eq(wrong, "");
}

static void
start_client_with(const struct switch_options *more)
{
    struct switch_options options = *more;

    options.path = rig.path;
    options.rpc = rig.rpc;
    options.now_us = loop_now_us;
    options.look_us = 20 * US_PER_MS;
    options.retry_us = 5 * US_PER_MS;
    rig.client = switch_new(rig.base, &options);
    ck_assert_ptr_nonnull(rig.client);
}

static void
start_client(void)
{
    start_client_with(&(struct switch_options){ .transfer_us = US_PER_S });
}

/* Both, and the client has asked for calls. */
static void
start(void)
{
    fake_start(rig.base, rig.path);
    start_client();
}

#define WAIT(condition)                                                        \
    do {                                                                       \
        int64_t end_ = loop_now_us() + 100 * (int64_t)US_PER_S;                \
        while (!(condition) && loop_now_us() < end_)                           \
            event_base_loop(rig.base, EVLOOP_ONCE);                            \
        ck_assert_msg((condition), "in vain: " #condition);                    \
    } while (0)

static void
spin_ms(int ms)
{
    int64_t end = loop_now_us() + ms * (int64_t)US_PER_MS;

    while (loop_now_us() < end)
        event_base_loop(rig.base, EVLOOP_ONCE);
}

static size_t
reservations(void)
{
    size_t count;

    sim_ledger(rig.sim, &count);
    return count;
}

/* A request is waiting for memory: its call has come through. */
static bool
is_asked(void)
{
    const char *client;

    return broker_queued(rig.broker, 0, &client) != NULL;
}

/* Lines of the log that have the text. */
static int
logged(const char *text)
{
    FILE *file = fopen(rig.log, "r");
    char line[1000];
    int count = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

static int
call_from(const char *reply_queue, const char *method, const char *params)
{
    char text[500];

    snprintf(text, sizeof text, "{\"method\":\"%s\",\"params\":%s,\"id\":%d}",
             method, params, fake.count);
    return fake_call(reply_queue, text);
}

static int
call(const char *method, const char *params)
{
    return call_from("caller", method, params);
}

/* Takes a second, as domain 1 has to give 1 GiB. */
static int
call_slowly(void)
{
    return call("reserve_memory", "[\"d\",\"me\",2500000]");
}

static int
call_quickly(void)
{
    return call("reserve_memory", "[\"d\",\"me\",4096]");
}

static bool
is_over(int n)
{
    return fake.messages[n].acked;
}

/* The result, as JSON text in a static buffer. */
static const char *
result(int n)
{
    static char text[500];
    json_t *root = json_loads(fake.messages[n].answer, 0, NULL);
    char *dump;

    ck_assert_msg(root != NULL, "%s", fake.messages[n].answer);
    ck_assert_msg(json_is_null(json_object_get(root, "error")), "%s",
                  fake.messages[n].answer);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "id")), n);
    dump = json_dumps(json_object_get(root, "result"), JSON_ENCODE_ANY);
    snprintf(text, sizeof text, "%s", dump);
    free(dump);
    json_decref(root);
    return text;
}

static void
stop_switch(void)
{
    fake_stop();
    WAIT(!switch_is_up(rig.client));
}

/* -------------------------------------------------------------- what is right
 */

START_TEST(a_call_is_answered)
{
    int n = call("get_host_reserved_memory", "[\"dbg\"]");

    start();
    WAIT(is_over(n));
    ck_assert_str_eq(result(n), "73728");
    ck_assert_int_eq(fake.logins, 2);
    ck_assert_int_eq(fake.connected, 2);
    ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_int_eq(fake.acks, 1);
    WAIT(fake.transfers >= 2);
    ck_assert_int_eq(fake.firsts, 1);
    ck_assert_int_eq(logged("serving the message switch"), 1);
}
END_TEST

START_TEST(transfers_follow_each_other)
{
    fake_start(rig.base, rig.path);
    start_client_with(
        &(struct switch_options){ .transfer_us = 50 * US_PER_MS });
    WAIT(fake.transfers >= 4);
    int n = call_quickly();
    WAIT(is_over(n));
    ck_assert_int_eq(fake.firsts, 1);
    ck_assert_int_eq(fake.logins, 2);
}
END_TEST

/* A slow call stands in nobody's way. */
START_TEST(calls_are_open_side_by_side)
{
    int slow = call_slowly(), quick;

    start();
    WAIT(is_asked());
    quick = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(is_over(quick));
    ck_assert_int_eq(fake.messages[slow].answers, 0);
    WAIT(is_over(slow));
    ck_assert_int_eq(fake.messages[slow].answers, 1);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

START_TEST(a_hundred_at_once)
{
    start();
    WAIT(switch_is_up(rig.client));
    for (int i = 0; i < 50; i++) {
        call("get_host_reserved_memory", "[\"dbg\"]");
        call_quickly();
    }
    WAIT(fake.acks == 100);
    for (int n = 0; n < 100; n++)
        ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_uint_eq(reservations(), 50);
    ck_assert_int_eq(fake.logins, 2);
}
END_TEST

/* All that xenopsd calls, by its hand. */
START_TEST(the_life_of_a_reservation)
{
    char params[200];
    int n = call("login", "[\"dbg\",\"xenopsd\"]");

    start();
    WAIT(is_over(n));
    ck_assert_str_eq(result(n), "\"xenopsd\"");
    n = call("reserve_memory_range", "[\"dbg\",\"xenopsd\",4096,8192]");
    WAIT(is_over(n));
    snprintf(params, sizeof params, "[\"dbg\",\"xenopsd\",%.38s]",
             result(n) + 1);
    ck_assert_uint_eq(reservations(), 1);
    n = call("delete_reservation", params);
    WAIT(is_over(n));
    ck_assert_str_eq(result(n), "null");
    ck_assert_uint_eq(reservations(), 0);
    n = call("no_such_method", "[\"dbg\"]");
    WAIT(is_over(n));
    ck_assert_ptr_nonnull(strstr(fake.messages[n].answer, "Internal_error"));
}
END_TEST

START_TEST(names_are_encoded)
{
    static const char *const names[] = { "a b/c%d?e#\xc3\xa4+", "..",
                                         "xenopsd:12" };

    start();
    for (size_t i = 0; i < 3; i++) {
        int n;

        fake_add_reply_queue(names[i]);
        n = call_from(names[i], "get_host_reserved_memory", "[\"dbg\"]");
        WAIT(is_over(n));
        ck_assert_int_eq(fake.messages[n].answers, 1);
    }
}
END_TEST

START_TEST(slow_replies_are_waited_for)
{
    fake.answer_ms = 100;
    start();
    for (int i = 0; i < 5; i++)
        call_quickly();
    WAIT(fake.acks == 5);
    ck_assert_int_eq(fake.logins, 2);
    ck_assert_int_eq(fake.responses, 5);
}
END_TEST

/* ---------------------------------------------------- messages that come again
 */

START_TEST(an_open_call_is_not_done_again)
{
    int n = call_slowly(), m;

    start();
    WAIT(is_asked());
    fake.deliver_all = true;
    m = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(fake.messages[n].delivered >= 2 && is_over(m));
    ck_assert_int_eq(fake.messages[n].answers, 0);
    fake.deliver_all = false;
    WAIT(is_over(n));
    spin_ms(50);
    ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

START_TEST(an_answered_call_is_answered_again)
{
    int n = call_quickly(), m;
    char first[300];

    start();
    WAIT(is_over(n));
    snprintf(first, sizeof first, "%s", fake.messages[n].answer);
    fake.messages[n].acked = false;
    fake.deliver_all = true;
    m = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(fake.messages[n].answers >= 2 && is_over(n) && is_over(m));
    fake.deliver_all = false;
    ck_assert_str_eq(fake.messages[n].answer, first);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

/* The caller that has died since is not the one that died before it was
 * answered. */
START_TEST(what_was_delivered_is_not_released)
{
    int n = call_quickly(), m;

    start();
    WAIT(is_over(n));
    fake_remove_reply_queue("caller");
    fake_add_reply_queue("other");
    fake.messages[n].acked = false;
    fake.deliver_all = true;
    m = call_from("other", "get_host_reserved_memory", "[\"dbg\"]");
    WAIT(is_over(n) && is_over(m));
    fake.deliver_all = false;
    spin_ms(20);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

/* A new life of the switch, a new message with an old number, word for word
 * the same. */
START_TEST(numbers_may_begin_anew)
{
    const char *same = "{\"method\":\"reserve_memory\","
                       "\"params\":[\"d\",\"me\",4096],\"id\":0}";
    int n = fake_call("caller", same);

    start();
    WAIT(is_over(n));
    /* The next one is answered when the acknowledgement has its reply. */
    n = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(fake.messages[n].answers == 1);
    ck_assert_uint_eq(reservations(), 1);
    stop_switch();
    fake_forget();
    n = fake_call("caller", same);
    ck_assert_int_eq(n, 0);
    fake_start(rig.base, rig.path);
    WAIT(is_over(n));
    ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_uint_eq(reservations(), 2);
}
END_TEST

START_TEST(another_text_is_another_call)
{
    int n = call_quickly();

    start();
    WAIT(is_over(n));
    stop_switch();
    fake_forget();
    n = call("get_host_reserved_memory", "[\"dbg\"]");
    fake_start(rig.base, rig.path);
    WAIT(is_over(n));
    ck_assert_str_eq(result(n), "73728");
}
END_TEST

/* ------------------------------------------------------------------ the dead
 */

START_TEST(a_dead_caller_keeps_nothing)
{
    int n = call_from("dead", "reserve_memory", "[\"d\",\"me\",4096]"), m;

    start();
    WAIT(is_over(n));
    WAIT(reservations() == 0);
    ck_assert_int_eq(logged("the caller dead died"), 1);
    m = call_from("dead", "get_host_reserved_memory", "[\"d\"]");
    WAIT(is_over(m));
    m = call_quickly();
    WAIT(is_over(m));
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

START_TEST(a_caller_may_die_while_it_waits)
{
    int n = call_slowly();

    start();
    WAIT(is_asked());
    fake_remove_reply_queue("caller");
    WAIT(is_over(n));
    WAIT(reservations() == 0);
}
END_TEST

/* ------------------------------------------------------- broken connections */

START_TEST(a_restart_in_the_middle)
{
    int n = call_slowly(), m;

    start();
    WAIT(is_asked());
    stop_switch();
    spin_ms(50);
    fake_start(rig.base, rig.path);
    WAIT(fake.logins == 4);
    m = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(is_over(m));
    ck_assert_int_eq(fake.firsts, 2);
    WAIT(is_over(n));
    ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

/* The reservation is made while nobody can be told. */
START_TEST(answers_are_delivered_later)
{
    int n = call_slowly();

    start();
    WAIT(is_asked());
    stop_switch();
    WAIT(reservations() == 1);
    fake_start(rig.base, rig.path);
    WAIT(is_over(n));
    ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

START_TEST(many_restarts)
{
    start();
    for (int i = 0; i < 5; i++) {
        for (int k = 0; k < 5; k++)
            call_quickly();
        WAIT(fake.acks > i * 5);
        fake_stop();
        fake_start(rig.base, rig.path);
    }
    for (int n = 0; n < 25; n++)
        WAIT(is_over(n));
    ck_assert_uint_eq(reservations(), 25);
}
END_TEST

START_TEST(either_connection_may_go)
{
    bool transferring = _i == 0;
    int n = call_quickly();

    start();
    WAIT(is_over(n));
    fake_hang_up(transferring);
    n = call_quickly();
    WAIT(is_over(n));
    WAIT(switch_is_up(rig.client) && fake.waiting);
    WAIT(fake.logins == 4);
    n = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(is_over(n));
    ck_assert_uint_eq(reservations(), 2);
}
END_TEST

/* Before it was taken, or before its reply. */
START_TEST(the_connection_goes_with_an_answer)
{
    int n = call_quickly();

    fake.fault = _i == 0 ? FAKE_DROPS : FAKE_TAKES;
    fake.faults = 1;
    start();
    WAIT(is_over(n));
    ck_assert_int_eq(fake.messages[n].answers, _i == 0 ? 1 : 2);
    ck_assert_int_eq(fake.logins, 4);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

static const enum fake_fault faults[] = { FAKE_NO_JSON,   FAKE_NO_NEXT,
                                          FAKE_STATUS,    FAKE_HANGS_UP,
                                          FAKE_BAD_LOGIN, FAKE_ENDLESS };

START_TEST(a_faulty_switch_is_left_and_tried_again)
{
    int n = call_quickly();

    fake.fault = faults[_i];
    fake.faults = 3;
    start();
    WAIT(is_over(n));
    ck_assert_uint_eq(reservations(), 1);
    ck_assert_int_eq(logged("trying again"), 1);
    ck_assert_int_le(logged("serving the message switch"), 2);
}
END_TEST

/* One that takes what is said and never replies is left, too. */
START_TEST(a_mute_switch_is_left_and_tried_again)
{
    int n = call_quickly();

    fake.fault = _i == 0 ? FAKE_MUTE_LOGIN : FAKE_MUTE_RESPONSE;
    fake.faults = 1;
    fake_start(rig.base, rig.path);
    start_client_with(
        &(struct switch_options){ .request_us = 200 * US_PER_MS });
    WAIT(is_over(n));
    ck_assert_int_ge(fake.messages[n].answers, 1);
    ck_assert_uint_eq(reservations(), 1);
    ck_assert_int_ge(logged("trying again"), 1);
}
END_TEST

/* It is tried no faster than the back-off says. */
START_TEST(pauses_grow)
{
    fake.fault = FAKE_BAD_LOGIN;
    fake.faults = -1;
    start();
    spin_ms(600);
    ck_assert_int_le(fake.logins, 8);
    WAIT(fake.logins >= 4);
    ck_assert_int_eq(logged("trying again"), 1);
}
END_TEST

START_TEST(an_answer_that_is_not_understood)
{
    int n = call_quickly(), m;

    fake.fault = FAKE_RIDDLES;
    fake.faults = -1;
    start();
    WAIT(is_over(n));
    ck_assert_int_eq(fake.responses, 3);
    ck_assert_int_eq(logged("giving up an answer"), 1);
    /* Perhaps it did arrive. */
    ck_assert_uint_eq(reservations(), 1);
    fake.fault = FAKE_FINE;
    m = call("get_host_reserved_memory", "[\"dbg\"]");
    WAIT(is_over(m));
}
END_TEST

/* The switch lost the message, but knows who waits. */
START_TEST(what_does_not_come_again_is_answered_all_the_same)
{
    int n = call_slowly();

    fake_start(rig.base, rig.path);
    start_client_with(&(struct switch_options){
        .transfer_us = 50 * US_PER_MS, .patience_us = 300 * US_PER_MS });
    WAIT(is_asked());
    stop_switch();
    WAIT(reservations() == 1);
    fake.messages[n].acked = true;
    fake_start(rig.base, rig.path);
    WAIT(fake.messages[n].answers == 1);
    spin_ms(200);
    ck_assert_int_eq(fake.messages[n].answers, 1);
    ck_assert_int_eq(fake.acks, 0);
    ck_assert_uint_eq(reservations(), 1);
}
END_TEST

/* ---------------------------------------------------------- odd and too many
 */

START_TEST(what_is_no_call_is_acknowledged)
{
    int n = fake_call("caller", "x"), m = fake_call("caller", "{}"), k, l;

    fake.messages[n].kind = "Response";
    k = fake_call("caller", "hello");
    l = fake_call("caller", "");
    fake.messages[m].broken = true;
    start();
    WAIT(is_over(n) && is_over(m) && is_over(k) && is_over(l));
    ck_assert_int_eq(fake.messages[n].answers, 0);
    ck_assert_int_eq(fake.messages[m].answers, 0);
    ck_assert_ptr_nonnull(strstr(fake.messages[k].answer, "error"));
    ck_assert_ptr_nonnull(strstr(fake.messages[l].answer, "error"));
    ck_assert_int_eq(logged("is no call"), 2);
}
END_TEST

START_TEST(a_call_over_the_limit_is_refused)
{
    char *text = malloc((1 << 20) + 100);
    int n, m;

    memset(text, ' ', (1 << 20) + 99);
    memcpy(text, "{\"method\":\"x\",\"id\":1,", 21);
    text[(1 << 20) + 99] = '\0';
    n = fake_call("caller", text);
    free(text);
    start();
    WAIT(is_over(n));
    ck_assert_ptr_nonnull(strstr(fake.messages[n].answer, "1 MiB"));
    m = call_quickly();
    WAIT(is_over(m));
}
END_TEST

/* OCaml's strings are bytes: one that is no UTF-8 hides no other message. */
START_TEST(bytes_are_no_obstacle)
{
    int n = fake_call("caller", "{\"method\":\"login\",\"id\":0,\"params\":"
                                "[\"M\x01ller\",\"a\"]}");
    int m = call_quickly();

    start();
    WAIT(is_over(n) && is_over(m));
    ck_assert_str_eq(result(n), "\"a\"");
}
END_TEST

/* More than are kept: the rest is taken when there is place. */
START_TEST(more_than_are_kept)
{
    enum { MANY = LIMIT_SWITCH_CALLS + 200 };

    for (int i = 0; i < MANY; i++)
        call("get_host_reserved_memory", "[\"dbg\"]");
    start();
    for (int n = 0; n < MANY; n++)
        WAIT(is_over(n) && fake.messages[n].answers > 0);
    ck_assert_int_eq(fake.logins, 2);
}
END_TEST

/* ------------------------------------------------------- there, and not there
 */

START_TEST(a_switch_that_comes_later)
{
    int n = call_quickly();

    start_client();
    spin_ms(60);
    ck_assert(!switch_is_up(rig.client));
    ck_assert_int_eq(logged("message switch"), 0);
    fake_start(rig.base, rig.path);
    WAIT(is_over(n));
}
END_TEST

START_TEST(one_that_is_wanted_is_missed)
{
    start_client_with(&(struct switch_options){ .wanted = true });
    WAIT(logged("there is none") == 1);
    spin_ms(100);
    ck_assert_int_eq(logged("there is none"), 1);
    fake_start(rig.base, rig.path);
    WAIT(switch_is_up(rig.client));
    WAIT(logged("serving the message switch") == 1);
}
END_TEST

/* A file where nobody listens any more. */
START_TEST(a_dead_socket)
{
    int n = call_quickly();

    ck_assert_int_eq(mknod(rig.path, S_IFSOCK | 0600, 0), 0);
    start_client();
    WAIT(logged("trying again") == 1);
    spin_ms(100);
    ck_assert_int_eq(logged("trying again"), 1);
    unlink(rig.path);
    fake_start(rig.base, rig.path);
    WAIT(is_over(n));
}
END_TEST

/* Taken down in the middle of everything; started again, it finds both the
 * message and what was stored. */
START_TEST(squeezed_may_stop_at_any_time)
{
    int n = call_slowly(), m = call_quickly();

    fake_start(rig.base, rig.path);
    start_client();
    if (_i == 1)
        WAIT(fake.connected == 2);
    if (_i == 2)
        WAIT(fake.responses == 1);
    if (_i == 3)
        WAIT(is_over(m));
    stop_squeezed();
    sim_settle_store(rig.sim, false);
    start_broker();
    start_client();
    WAIT(is_over(n) && is_over(m));
}
END_TEST

/* --------------------------------------------------------------- the program
 */

/* squeezed itself, on the simulated host; use_switch as in its configuration.
 */
static void
start_program(const char *use_switch)
{
    const char *program = getenv("SQUEEZED");
    char scenario[64], config[64];
    FILE *file;

    snprintf(scenario, sizeof scenario, "%s/host.scenario", rig.folder);
    snprintf(config, sizeof config, "%s/conf", rig.folder);
    file = fopen(scenario, "w");
    fputs(host, file);
    fclose(file);
    file = fopen(config, "w");
    fprintf(file,
            "socket = %s/socket\nmemory-socket =\nlog = %s\n"
            "use-switch = %s\nswitch-path = %s\n",
            rig.folder, rig.log, use_switch, rig.path);
    fclose(file);
    fake.pid = fork();
    if (fake.pid == 0) {
        execl(program ? program : "./squeezed/squeezed", "squeezed", "--config",
              config, "--simulate", scenario, NULL);
        _exit(99);
    }
}

static void
stop_program(void)
{
    static const char *const files[] = { "host.scenario", "conf", "socket" };
    int status;
    char path[80];

    kill((pid_t)fake.pid, SIGTERM);
    ck_assert_int_eq(waitpid((pid_t)fake.pid, &status, 0), fake.pid);
    ck_assert_msg(status == 0, "status %d", status);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", rig.folder, files[i]);
        unlink(path);
    }
}

START_TEST(the_program_serves_it)
{
    int n = call_quickly(), m = call_slowly(), k;

    fake_start(rig.base, rig.path);
    start_program("true");
    WAIT(is_over(n) && is_over(m));
    fake_stop();
    spin_ms(50);
    fake_start(rig.base, rig.path);
    k = call("get_diagnostics", "[\"dbg\"]");
    WAIT(is_over(k));
    ck_assert_ptr_nonnull(strstr(fake.messages[k].answer, "reservation"));
    /* A call may be open at the end. */
    call("reserve_memory", "[\"d\",\"me\",1500000]");
    spin_ms(50);
    stop_program();
}
END_TEST

/* A simulated host has no business with the calls of a real one. */
START_TEST(a_simulated_host_does_not_serve_it_by_itself)
{
    fake_start(rig.base, rig.path);
    start_program("auto");
    WAIT(logged("listening on") == 1);
    spin_ms(300);
    ck_assert_int_eq(fake.logins, 0);
    stop_program();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("switch");
    TCase *t = tcase_create("client");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_call_is_answered);
    tcase_add_test(t, transfers_follow_each_other);
    tcase_add_test(t, calls_are_open_side_by_side);
    tcase_add_test(t, a_hundred_at_once);
    tcase_add_test(t, the_life_of_a_reservation);
    tcase_add_test(t, names_are_encoded);
    tcase_add_test(t, slow_replies_are_waited_for);
    tcase_add_test(t, an_open_call_is_not_done_again);
    tcase_add_test(t, an_answered_call_is_answered_again);
    tcase_add_test(t, what_was_delivered_is_not_released);
    tcase_add_test(t, numbers_may_begin_anew);
    tcase_add_test(t, another_text_is_another_call);
    tcase_add_test(t, a_dead_caller_keeps_nothing);
    tcase_add_test(t, a_caller_may_die_while_it_waits);
    tcase_add_test(t, a_restart_in_the_middle);
    tcase_add_test(t, answers_are_delivered_later);
    tcase_add_test(t, many_restarts);
    tcase_add_loop_test(t, either_connection_may_go, 0, 2);
    tcase_add_loop_test(t, the_connection_goes_with_an_answer, 0, 2);
    tcase_add_loop_test(t, a_faulty_switch_is_left_and_tried_again, 0,
                        sizeof faults / sizeof *faults);
    tcase_add_loop_test(t, a_mute_switch_is_left_and_tried_again, 0, 2);
    tcase_add_test(t, pauses_grow);
    tcase_add_test(t, an_answer_that_is_not_understood);
    tcase_add_test(t, what_does_not_come_again_is_answered_all_the_same);
    tcase_add_test(t, what_is_no_call_is_acknowledged);
    tcase_add_test(t, a_call_over_the_limit_is_refused);
    tcase_add_test(t, bytes_are_no_obstacle);
    tcase_add_test(t, more_than_are_kept);
    tcase_add_test(t, a_switch_that_comes_later);
    tcase_add_test(t, one_that_is_wanted_is_missed);
    tcase_add_test(t, a_dead_socket);
    tcase_add_loop_test(t, squeezed_may_stop_at_any_time, 0, 4);
    tcase_add_test(t, the_program_serves_it);
    tcase_add_test(t, a_simulated_host_does_not_serve_it_by_itself);
    suite_add_tcase(suite, t);
    return run_suite(suite, CK_FORK_GETENV);
}
