/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bodies of calls, in every notation, over a simulated host: the input is one
 * body after the other, a NUL between them.  Between two calls 5 ms go by; a
 * body that begins with the byte 0x01 lets its client leave while it waits,
 * with 0x02 it isn't there when the answer comes. */
#include "common/units.h"
#include "fuzz/fuzz.h"
#include "sq_limits.h"
#include "squeezed/platform/sim.h"
#include "squeezed/rpc.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define START_US INT64_C(1000000000)
#define STEP_US  INT64_C(5000)
/* Then the clients that still wait give up. */
#define LONG_US INT64_C(1000000)

enum { CALLS = 64, ROUNDS = 20000 };

enum client { CLIENT_STAYS, CLIENT_LEAVES, CLIENT_IS_GONE };

static const char host[] =
    "[host]\nmemory = 8G\n"
    "[domain 0]\nactual = 512M\n"
    "[domain 1]\ndynamic-min = 512M\ndynamic-max = 3G\nactual = 2G\n"
    "rate = 1G\n"
    "[domain 2]\ndynamic-min = 512M\ndynamic-max = 3G\nactual = 2G\n"
    "guest = stuck\n"
    "[domain 3]\ndynamic-min = 256M\ndynamic-max = 1G\nactual = 1G\n";

static struct scenario *scenario;

struct open_call {
    enum client client;
    struct rpc_call *call; /* NULL: answered */
    unsigned answers;
};

static struct session {
    struct platform *sim;
    struct broker *broker;
    struct rpc *rpc;
    int64_t now_us;
    uint64_t ids;
    struct open_call calls[CALLS];
    unsigned call_count;
} s;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char message[512];

    (void)argc, (void)argv;
    scenario = scenario_read_text("host", host, sizeof host - 1, NULL, message,
                                  sizeof message);
    if (!scenario)
        fprintf(stderr, "%s\n", message);
    MUST(scenario);
    return 0;
}

static int64_t
now_us(void)
{
    return s.now_us;
}

static int64_t
hook_now_us(void *context)
{
    (void)context;
    return s.now_us;
}

static int64_t
hook_wall_ms(void *context)
{
    (void)context;
    return INT64_C(1700000000000) + s.now_us / US_PER_MS;
}

/* Ids that a dictionary can know. */
static void
new_id(void *context, char id[UUID_TEXT])
{
    (void)context;
    snprintf(id, UUID_TEXT, "00000000-0000-4000-8000-%012" PRIx64, ++s.ids);
}

static void
check_text(const struct rpc_answer *a)
{
    json_t *json;

    MUST((a->text != NULL) == (a->type != NULL));
    MUST(a->status == 200 || a->status == 204 || a->status == 400);
    if (!a->text)
        return;
    MUST(strlen(a->text) == a->length);
    if (strcmp(a->type, "application/json") != 0)
        return;
    json = json_loadb(a->text, a->length, 0, NULL);
    /* An id may be a number that jansson can't read. */
    if (json)
        MUST(json_is_object(json));
    json_decref(json);
}

static bool
on_answered(void *arg, const struct rpc_answer *a)
{
    struct open_call *open = arg;

    open->call = NULL;
    MUST(open->answers++ == 0);
    check_text(a);
    return open->client != CLIENT_IS_GONE;
}

static int64_t
next_us(void)
{
    return min_i64(broker_next_us(s.broker), sim_next_us(s.sim));
}

/* All that is due up to then. */
static void
go_to(int64_t end_us)
{
    for (int round = 0; round < ROUNDS && next_us() <= end_us; round++) {
        s.now_us = max_i64(s.now_us, next_us());
        sim_advance(s.sim, s.now_us);
        sim_deliver(s.sim);
        if (broker_next_us(s.broker) <= s.now_us)
            broker_run(s.broker, s.now_us);
    }
    s.now_us = max_i64(s.now_us, end_us);
    sim_advance(s.sim, s.now_us);
    MUST(sim_adds_up(s.sim));
}

static void
start(void)
{
    const struct broker_options options = {
        .planner = { .host_reserve_kib = scenario->reserve_kib,
                     .cushion_kib = scenario->cushion_kib,
                     .tolerance_kib = scenario->tolerance_kib,
                     .policy = scenario->policy,
                     .interval_us = 10 * US_PER_S },
        .new_id = new_id,
        .now_us = hook_now_us,
        .wall_ms = hook_wall_ms,
    };
    struct rpc_options rpc = { .now_us = now_us };

    s = (struct session){ .now_us = START_US };
    s.sim = sim_platform_new(scenario, s.now_us);
    MUST(s.sim);
    s.broker = broker_new(&options, s.sim, s.now_us);
    rpc.broker = s.broker;
    rpc.platform = s.sim;
    s.rpc = rpc_new(&rpc);
    MUST(s.broker && s.rpc);
    go_to(s.now_us + STEP_US);
}

static void
stop(void)
{
    broker_free(s.broker);
    rpc_free(s.rpc);
    sim_settle_store(s.sim, true);
    s.sim->ops->free(s.sim);
}

/* One body, in memory that ends where it does. */
static void
send_body(const uint8_t *data, size_t length)
{
    struct open_call *open = &s.calls[s.call_count++];
    struct rpc_call *call;
    char *body;

    if (length > 0 && (data[0] == CLIENT_LEAVES || data[0] == CLIENT_IS_GONE)) {
        open->client = data[0];
        data++, length--;
    }
    body = malloc(length + !length);
    MUST(body);
    if (length > 0)
        memcpy(body, data, length);
    call = rpc_handle(s.rpc, body, length, on_answered, open);
    free(body);
    MUST((call == NULL) == (open->answers == 1));
    open->call = call;
    go_to(s.now_us + STEP_US);
    if (open->call && open->client == CLIENT_LEAVES) {
        rpc_forget(open->call);
        open->call = NULL;
    }
}

static bool
any_open(void)
{
    for (unsigned i = 0; i < s.call_count; i++)
        if (s.calls[i].call)
            return true;
    return false;
}

static void
wait_for_answers(void)
{
    int64_t end_us = s.now_us + LONG_US;

    while (any_open() && s.now_us < end_us)
        go_to(s.now_us + 100 * STEP_US);
    for (unsigned i = 0; i < s.call_count; i++)
        if (s.calls[i].call && rpc_cancel(s.calls[i].call))
            MUST(s.calls[i].answers == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    start();
    while (length > 0 && s.call_count < CALLS) {
        const uint8_t *nul = memchr(data, '\0', length);
        size_t n = nul ? (size_t)(nul - data) : length;

        send_body(data, n);
        data += n + (nul != NULL);
        length -= n + (nul != NULL);
    }
    wait_for_answers();
    go_to(s.now_us + STEP_US);
    stop();
    return 0;
}
