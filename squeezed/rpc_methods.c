/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/rpc_internal.h"
#include "squeezed/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The broker's limit on domids. */
#define DOMID_MAX (LIMIT_DOMAINS - 1)

/* ---------------------------------------------------------------- refusals */

/* The value that was sent for the parameter of that type, or of that name. */
static const json_t *
sent_value(const struct rpc_call *call, const char *name, enum param_type type)
{
    for (size_t i = 0; call->method->params[i].name; i++) {
        const struct rpc_param *p = &call->method->params[i];

        if (name ? strcmp(p->name, name) == 0 : p->type == type)
            return call->values[i].json;
    }
    return NULL;
}

static void
put_sent(json_t *data, const struct rpc_call *call, const char *key,
         enum param_type type)
{
    json_t *value = (json_t *)sent_value(call, NULL, type);

    if (value && json_string_length(value) <= LIMIT_ID_CHARS)
        json_object_set(data, key, value);
}

/* What the error data of each kind has beside the reason. */
static json_t *
refusal_data(const struct rpc_call *call, const struct result *result)
{
    json_t *data = json_object();

    switch (result->error) {
    case ERR_UNCOOPERATIVE:
    case ERR_TIMEOUT:
        json_object_set_new(data, "domids", status_domids(result));
        /* fall through */
    case ERR_CANNOT_FREE:
        json_object_set_new(data, "needed_kib",
                            status_number(result->needed_kib));
        json_object_set_new(data, "free_kib", status_number(result->free_kib));
        json_object_set_new(data, "short_kib",
                            status_number(result->short_kib));
        break;
    case ERR_UNKNOWN_RESERVATION:
        put_sent(data, call, "reservation", PARAM_ID);
        break;
    case ERR_UNKNOWN_DOMAIN:
        put_sent(data, call, "domid", PARAM_DOMID);
        break;
    case ERR_BUSY:
        json_object_set_new(
            data, "limit",
            json_string(result->parameter ? result->parameter : "unknown"));
        break;
    default:
        break;
    }
    return data;
}

/* "8.0 GiB asked for, 3.2 GiB could be had at best: 4.8 GiB short" */
static void
write_amounts(uint64_t needed_kib, uint64_t free_kib, uint64_t short_kib,
              char *text, size_t size)
{
    char needed[SIZE_TEXT], had[SIZE_TEXT], lacking[SIZE_TEXT];

    snprintf(text, size, "%s asked for, %s could be had at best: %s short",
             format_size((int64_t)min_u64(needed_kib, INT64_MAX), needed),
             format_size((int64_t)min_u64(free_kib, INT64_MAX), had),
             format_size((int64_t)min_u64(short_kib, INT64_MAX), lacking));
}

/* Where the broker has said nothing itself. */
static void
write_message(const struct rpc_call *call, const struct result *result,
              char *text, size_t size)
{
    const char *id = json_string_value(sent_value(call, NULL, PARAM_ID));
    json_int_t domid = json_integer_value(sent_value(call, NULL, PARAM_DOMID));

    switch (result->error) {
    case ERR_CANNOT_FREE:
    case ERR_UNCOOPERATIVE:
    case ERR_TIMEOUT:
        write_amounts(result->needed_kib, result->free_kib, result->short_kib,
                      text, size);
        break;
    case ERR_UNKNOWN_RESERVATION:
        snprintf(text, size,
                 "there is no reservation '%.64s' (any more): it may have been "
                 "released, or its hold has ended",
                 id ? id : "");
        break;
    case ERR_UNKNOWN_DOMAIN:
        snprintf(text, size, "there is no domain %" JSON_INTEGER_FORMAT, domid);
        break;
    case ERR_NOT_READY:
        snprintf(text, size,
                 "the host can't be seen yet: is xenstored running, and is "
                 "this dom0 of a Xen host?");
        break;
    case ERR_BUSY:
        snprintf(text, size,
                 "too many at once (%s): try again when some have ended",
                 result->parameter ? result->parameter : "a limit");
        break;
    default:
        snprintf(text, size, "%s", err_name(result->error));
        break;
    }
}

static void
refuse(struct rpc_call *call, const struct result *result)
{
    char text[sizeof result->message];
    const char *message = result->message;

    if (!message[0]) {
        write_message(call, result, text, sizeof text);
        message = text;
    }
    if (result->error == ERR_INVALID && result->parameter)
        rpc_fail_invalid(call, result->parameter,
                         sent_value(call, result->parameter, PARAM_SIZE),
                         message);
    else
        rpc_fail_err(call, result->error, message, refusal_data(call, result));
}

static void
refuse_plainly(struct rpc_call *call, enum err error)
{
    struct result result = { .error = error };

    refuse(call, &result);
}

/* For calls whose result is null. */
static void
reply_null(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    if (result->error)
        refuse(call, result);
    else
        rpc_succeed(call, json_null());
}

static int64_t
now(const struct rpc_call *call)
{
    return call->rpc->options.now_us();
}

static struct broker *
broker_of(const struct rpc_call *call)
{
    return call->rpc->options.broker;
}

/* --------------------------------------------------------------- questions */

static void
refuse_unready(struct rpc_call *call)
{
    struct platform *platform = call->rpc->options.platform;
    struct result result = { .error = ERR_NOT_READY };
    struct platform_health health = { .connected = false };

    platform->ops->health(platform, &health);
    if (health.why[0])
        snprintf(result.message, sizeof result.message,
                 "the host can't be seen: %s", health.why);
    refuse(call, &result);
}

static void
run_status(struct rpc_call *call, const struct rpc_value *v)
{
    json_t *object =
        status_build(broker_of(call), call->rpc->options.platform, now(call));

    (void)v;
    if (object)
        rpc_succeed(call, object);
    else
        refuse_unready(call);
}

static void
run_available(struct rpc_call *call, const struct rpc_value *v)
{
    const struct planner *planner = broker_planner(broker_of(call));
    uint64_t now_kib, squeezed_kib;

    (void)v;
    if (!planner) {
        refuse_unready(call);
        return;
    }
    planner_available(planner, now(call), &now_kib, &squeezed_kib);
    rpc_succeed(call,
                json_pack("{s:o,s:o}", "now_kib", status_number(now_kib),
                          "after_squeeze_kib", status_number(squeezed_kib)));
}

/* Who would give how much, as planner_what_if() left it. */
static json_t *
donor_list(const struct rpc_call *call, const struct host *host)
{
    struct platform *platform = call->rpc->options.platform;
    json_t *list = json_array();

    for (size_t i = 0; i < host->count; i++) {
        const struct domain *d = &host->domains[i];
        struct domain_text text = { .name = "" };

        if (!d->movable || d->share_kib >= d->held_kib)
            continue;
        platform->ops->describe(platform, d->facts.domid, &text);
        json_array_append_new(
            list, json_pack("{s:i,s:o,s:o}", "domid", (int)d->facts.domid,
                            "name", status_text(text.name), "gives_kib",
                            status_number(d->held_kib - d->share_kib)));
    }
    return list;
}

static json_t *
plan_object(const struct rpc_call *call, const struct host *host,
            const struct what_if *w, uint64_t min_kib)
{
    static const char *const names[] = {
        [VERDICT_NOW] = "now",
        [VERDICT_AFTER_SQUEEZE] = "after-squeeze",
        [VERDICT_IMPOSSIBLE] = "impossible",
    };
    bool impossible = w->verdict == VERDICT_IMPOSSIBLE;
    bool squeezes = w->verdict == VERDICT_AFTER_SQUEEZE;
    char message[160] = "";

    if (impossible)
        write_amounts(min_kib, w->free_kib, w->short_kib, message,
                      sizeof message);
    return json_pack(
        "{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:s}", "verdict", names[w->verdict],
        "amount_kib", status_number(impossible ? 0 : w->amount_kib),
        "short_kib", status_number(impossible ? w->short_kib : 0), "free_kib",
        status_number(w->free_kib), "eta_ms",
        w->eta_us < 0 || impossible ? json_null() : status_ms(w->eta_us),
        "donors", squeezes ? donor_list(call, host) : json_array(), "reason",
        impossible ? json_string(err_name(w->error)) : json_null(), "message",
        message);
}

/* Gives max its default, min.  False if they are the wrong way round. */
static bool
take_range(struct rpc_call *call, size_t min, size_t max, uint64_t *ret_max)
{
    const struct rpc_value *v = call->values;
    char message[160];

    *ret_max = v[max].given ? v[max].number : v[min].number;
    if (v[min].number <= *ret_max)
        return true;
    snprintf(message, sizeof message,
             "%s (%" PRIu64 " KiB) is below %s (%" PRIu64 " KiB)",
             call->method->params[max].name, *ret_max,
             call->method->params[min].name, v[min].number);
    rpc_fail_invalid(call, call->method->params[max].name, v[max].json,
                     message);
    return false;
}

enum { PLAN_MIN, PLAN_MAX };

static void
run_plan(struct rpc_call *call, const struct rpc_value *v)
{
    struct planner *planner = broker_planner(broker_of(call));
    struct what_if what_if;
    uint64_t max_kib;

    if (!take_range(call, PLAN_MIN, PLAN_MAX, &max_kib))
        return;
    if (!planner) {
        refuse_unready(call);
        return;
    }
    planner_what_if(planner, v[PLAN_MIN].number, max_kib, now(call), &what_if);
    rpc_succeed(
        call, plan_object(call, &planner->host, &what_if, v[PLAN_MIN].number));
}

/* ------------------------------------------------------------ reservations */

static void
reply_reserve(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    call->request = 0; /* too late to cancel */
    if (result->error)
        refuse(call, result);
    else
        rpc_grant(call,
                  json_pack("{s:s,s:o,s:o,s:f}", "reservation",
                            result->reservation, "amount_kib",
                            status_number(result->amount_kib), "took_ms",
                            status_ms(result->took_us), "answer_ms",
                            (double)max_i64(result->answer_us, 0) / US_PER_MS),
                  result->reservation);
}

enum {
    RESERVE_CLIENT,
    RESERVE_MIN,
    RESERVE_MAX,
    RESERVE_TIMEOUT,
    RESERVE_WAIT,
    RESERVE_HOLD,
    RESERVE_UUID
};

static void
run_reserve(struct rpc_call *call, const struct rpc_value *v)
{
    const struct rpc_value *hold = &v[RESERVE_HOLD];
    struct reserve_call r = {
        .client = v[RESERVE_CLIENT].text,
        .min_kib = v[RESERVE_MIN].number,
        .timeout_us = (int64_t)v[RESERVE_TIMEOUT].number * US_PER_MS,
        .wait = v[RESERVE_WAIT].flag,
        .hold_us = hold->given ? (int64_t)hold->number * US_PER_MS : -1,
        .uuid = v[RESERVE_UUID].given ? v[RESERVE_UUID].uuid : NULL,
    };

    if (take_range(call, RESERVE_MIN, RESERVE_MAX, &r.max_kib))
        call->request =
            broker_reserve(broker_of(call), &r, now(call), reply_reserve, call);
}

static bool
could_be_id(const char *text)
{
    return text[0] != '\0' && strlen(text) <= LIMIT_ID_CHARS;
}

static void
run_release(struct rpc_call *call, const struct rpc_value *v)
{
    if (could_be_id(v[0].text))
        broker_release(broker_of(call), v[0].text, now(call), reply_null, call);
    else
        refuse_plainly(call, ERR_UNKNOWN_RESERVATION);
}

static void
run_transfer(struct rpc_call *call, const struct rpc_value *v)
{
    if (!could_be_id(v[0].text))
        refuse_plainly(call, ERR_UNKNOWN_RESERVATION);
    else if (v[1].number > DOMID_MAX)
        refuse_plainly(call, ERR_UNKNOWN_DOMAIN);
    else
        broker_transfer(broker_of(call), v[0].text, (uint32_t)v[1].number,
                        false, now(call), reply_null, call);
}

static void
run_login(struct rpc_call *call, const struct rpc_value *v)
{
    broker_login(broker_of(call), v[0].text, now(call), reply_null, call);
}

/* ----------------------------------------------------------------- domains */

static void
order(struct rpc_call *call, uint64_t domid, const struct domain_order *wanted)
{
    if (domid > DOMID_MAX)
        refuse_plainly(call, ERR_UNKNOWN_DOMAIN);
    else
        broker_order(broker_of(call), (uint32_t)domid, wanted, now(call),
                     reply_null, call);
}

enum { RANGE_DOMID, RANGE_MIN, RANGE_MAX };

static void
run_set_range(struct rpc_call *call, const struct rpc_value *v)
{
    uint64_t max_kib;

    if (!take_range(call, RANGE_MIN, RANGE_MAX, &max_kib))
        return;
    order(call, v[RANGE_DOMID].number,
          &(struct domain_order){ .kind = ORDER_RANGE,
                                  .min_kib = v[RANGE_MIN].number,
                                  .max_kib = max_kib });
}

enum { TARGET_DOMID, TARGET_KIB };

static void
run_set_target(struct rpc_call *call, const struct rpc_value *v)
{
    order(call, v[TARGET_DOMID].number,
          &(struct domain_order){ .kind = ORDER_CEILING,
                                  .target_kib = v[TARGET_KIB].number });
}

static void
run_set_auto(struct rpc_call *call, const struct rpc_value *v)
{
    order(call, v[0].number, &(struct domain_order){ .kind = ORDER_AUTO });
}

static void
run_freeze(struct rpc_call *call, const struct rpc_value *v)
{
    order(call, v[0].number, &(struct domain_order){ .kind = ORDER_FREEZE });
}

static void
run_thaw(struct rpc_call *call, const struct rpc_value *v)
{
    order(call, v[0].number, &(struct domain_order){ .kind = ORDER_THAW });
}

static void
reply_balance(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    call->balances = false;
    reply_null(arg, result);
}

static void
run_balance(struct rpc_call *call, const struct rpc_value *v)
{
    (void)v;
    call->balances = true;
    broker_balance(broker_of(call), now(call), reply_balance, call);
}

/* ------------------------------------------------------------------- table */

/* clang-format off */
static const struct rpc_method methods[] = {
    { "squeezed.status", run_status, { { 0 } } },
    { "squeezed.reserve", run_reserve, {
        [RESERVE_CLIENT] = { "client", PARAM_CLIENT, PARAM_OPTIONAL,
                             .text = "anonymous" },
        [RESERVE_MIN] = { "min", .type = PARAM_SIZE },
        [RESERVE_MAX] = { "max", PARAM_SIZE, .need = PARAM_OPTIONAL },
        [RESERVE_TIMEOUT] = { "timeout_ms", PARAM_MS, PARAM_OPTIONAL,
                              .number = 60000 },
        [RESERVE_WAIT] = { "wait", PARAM_FLAG, .need = PARAM_OPTIONAL },
        [RESERVE_HOLD] = { "hold_ms", PARAM_MS, .need = PARAM_NULLABLE },
        [RESERVE_UUID] = { "uuid", PARAM_UUID, .need = PARAM_NULLABLE } } },
    { "squeezed.release", run_release, {
        { "reservation", .type = PARAM_ID } } },
    { "squeezed.transfer", run_transfer, {
        { "reservation", .type = PARAM_ID },
        { "domid", .type = PARAM_DOMID } } },
    { "squeezed.plan", run_plan, {
        [PLAN_MIN] = { "min", .type = PARAM_SIZE },
        [PLAN_MAX] = { "max", PARAM_SIZE, .need = PARAM_OPTIONAL } } },
    { "squeezed.available", run_available, { { 0 } } },
    { "squeezed.set_range", run_set_range, {
        [RANGE_DOMID] = { "domid", .type = PARAM_DOMID },
        [RANGE_MIN] = { "dynamic_min", .type = PARAM_SIZE },
        [RANGE_MAX] = { "dynamic_max", .type = PARAM_SIZE } } },
    { "squeezed.set_target", run_set_target, {
        [TARGET_DOMID] = { "domid", .type = PARAM_DOMID },
        [TARGET_KIB] = { "target", .type = PARAM_SIZE } } },
    { "squeezed.set_auto", run_set_auto, {
        { "domid", .type = PARAM_DOMID } } },
    { "squeezed.freeze", run_freeze, { { "domid", .type = PARAM_DOMID } } },
    { "squeezed.thaw", run_thaw, { { "domid", .type = PARAM_DOMID } } },
    { "squeezed.balance", run_balance, { { 0 } } },
    { "squeezed.login", run_login, { { "client", .type = PARAM_CLIENT } } },
};
/* clang-format on */

const struct rpc_method *
rpc_table_find(const struct rpc_method *table, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const struct rpc_method *
rpc_method_find(const char *name)
{
    return rpc_table_find(methods, sizeof methods / sizeof *methods, name);
}

const char *
rpc_method_name(size_t i)
{
    size_t count = sizeof methods / sizeof *methods;

    return i < count ? methods[i].name : rpc_memory_method_name(i - count);
}
