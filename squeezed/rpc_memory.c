/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The methods of the toolstack interface, `memory`: what XAPI's xenopsd calls.
 * Their errors are variants: a name, or a name and what goes with it. */
#include "squeezed/boot_memory.h"
#include "squeezed/rpc_internal.h"
#include "squeezed/status.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A reservation that isn't granted by then never is. */
#define DEADLINE_US (60 * US_PER_S)
#define KIB_BYTES   1024

/* Every method's first parameter; it goes to the log alone. */
enum { DBG };

/* ------------------------------------------------------------------ errors */

static void
fail_text(struct rpc_call *call, const char *text)
{
    rpc_fail_variant(call, "Internal_error", status_text(text));
}

static void
fail_domids(struct rpc_call *call, const struct result *result)
{
    json_t *list = json_array();

    for (size_t i = 0; i < result->domid_count; i++)
        json_array_append_new(list, json_integer(result->domids[i]));
    rpc_fail_variant(call, "Domains_refused_to_cooperate", list);
}

static void
refuse(struct rpc_call *call, const struct result *result)
{
    switch (result->error) {
    case ERR_CANNOT_FREE:
        rpc_fail_variant(call, "Cannot_free_this_much_memory",
                         json_pack("[o,o]", status_number(result->needed_kib),
                                   status_number(result->free_kib)));
        break;
    case ERR_UNCOOPERATIVE:
    case ERR_TIMEOUT:
        fail_domids(call, result);
        break;
    default:
        fail_text(call, result->message[0] ? result->message
                                           : err_name(result->error));
        break;
    }
}

static void
fail_no_domain(struct rpc_call *call, uint64_t domid)
{
    char text[64];

    snprintf(text, sizeof text, "there is no domain %" PRIu64, domid);
    fail_text(call, text);
}

static void
fail_unready(struct rpc_call *call)
{
    fail_text(call, "the host can't be seen yet: is xenstored running, and is "
                    "this dom0 of a Xen host?");
}

static void
fail_unknown_reservation(struct rpc_call *call, const char *id)
{
    rpc_fail_variant(call, "Unknown_reservation", json_string(id));
}

static struct broker *
broker_of(const struct rpc_call *call)
{
    return call->rpc->options.broker;
}

static int64_t
now(const struct rpc_call *call)
{
    return call->rpc->options.now_us();
}

/* --------------------------------------------------------------- questions */

static void
run_diagnostics(struct rpc_call *call, const struct rpc_value *v)
{
    json_t *status =
        status_build(broker_of(call), call->rpc->options.platform, now(call));
    char *text =
        status ? json_dumps(status, JSON_INDENT(1) | JSON_REAL_PRECISION(12))
               : NULL;

    (void)v;
    rpc_succeed(call, json_string(text ? text : "the host can't be seen yet"));
    free(text);
    json_decref(status);
}

static void
run_reserved_memory(struct rpc_call *call, const struct rpc_value *v)
{
    (void)v;
    rpc_succeed(call, status_number(
                          broker_settings(broker_of(call))->host_reserve_kib));
}

static void
reply_initial(void *arg, uint64_t bytes)
{
    struct rpc_call *call = arg;

    call->awaits_boot = false;
    rpc_succeed(call, status_number(bytes));
}

static void
run_initial_memory(struct rpc_call *call, const struct rpc_value *v)
{
    struct boot_memory *boot = call->rpc->options.boot;

    (void)v;
    if (!boot) {
        fail_text(call, "nobody has measured the memory at the host's start");
        return;
    }
    call->awaits_boot = true;
    boot_memory_wait(boot, reply_initial, call);
}

static json_t *
fixed_size(uint64_t kib)
{
    return json_pack("[s,o]", "Fixed_size", status_number(kib * KIB_BYTES));
}

static json_t *
auto_balloon(uint64_t min_kib, uint64_t max_kib)
{
    return json_pack("[s,[o,o]]", "Auto_balloon",
                     status_number(min_kib * KIB_BYTES),
                     status_number(max_kib * KIB_BYTES));
}

static uint64_t
held_kib(const struct domain_facts *f)
{
    return (uint64_t)max_i64((int64_t)f->actual_kib + f->offset_kib, 0);
}

/* What is in force, as far as that can be seen; else what was configured. */
static json_t *
zero_policy(const struct rpc_zero *zero, const struct planner *planner)
{
    const struct domain *d = planner ? host_find(&planner->host, 0) : NULL;
    const struct domain_facts *f = d ? &d->facts : NULL;
    uint64_t max_kib = zero->max_kib;

    if (f && f->flags & DOMAIN_MANAGED)
        return auto_balloon(f->dynamic_min_kib, f->dynamic_max_kib);
    if (f && (!zero->managed || max_kib == UINT64_MAX))
        max_kib = held_kib(f);
    if (max_kib == UINT64_MAX)
        return NULL;
    if (!zero->managed)
        return f ? fixed_size(max_kib) : NULL;
    return auto_balloon(min_u64(zero->min_kib, max_kib), max_kib);
}

static void
run_zero_policy(struct rpc_call *call, const struct rpc_value *v)
{
    json_t *policy =
        zero_policy(&call->rpc->options.zero, broker_planner(broker_of(call)));

    (void)v;
    if (policy)
        rpc_succeed(call, policy);
    else
        fail_unready(call);
}

/* ------------------------------------------------------------------- login */

enum { LOGIN_SERVICE = 1 };

static void
reply_login(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    if (result->error)
        refuse(call, result);
    else /* the session is the service's name */
        rpc_succeed(call, json_incref(call->values[LOGIN_SERVICE].json));
}

static void
run_login(struct rpc_call *call, const struct rpc_value *v)
{
    broker_login(broker_of(call), v[LOGIN_SERVICE].text, now(call), reply_login,
                 call);
}

/* ---------------------------------------------------------------- reserving */

enum { RESERVE_SESSION = 1, RESERVE_MIN, RESERVE_MAX };

static bool
is_range(const struct rpc_call *call)
{
    return call->method->params[RESERVE_MAX].name != NULL;
}

/* Pages are whole: a little more may have been reserved than was asked for. */
static json_t *
granted_range(const struct rpc_call *call, const struct result *result)
{
    uint64_t max_kib = (uint64_t)call->values[RESERVE_MAX].integer;

    return json_pack("[s,o]", result->reservation,
                     status_number(min_u64(result->amount_kib, max_kib)));
}

static void
reply_reserve(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;
    struct result refusal = *result;

    call->request = 0; /* too late to cancel */
    /* What was asked for, not the whole pages of it. */
    refusal.needed_kib = (uint64_t)call->values[RESERVE_MIN].integer;
    if (result->error)
        refuse(call, &refusal);
    else
        rpc_grant(call,
                  is_range(call) ? granted_range(call, result)
                                 : json_string(result->reservation),
                  result->reservation);
}

/* False if it can't be an amount: the call has then been ended. */
static bool
check_amount(struct rpc_call *call, int64_t kib)
{
    bool good = kib >= 0 && (uint64_t)kib <= LIMIT_SIZE_KIB;

    if (!good)
        rpc_fail_variant(call, "Invalid_memory_value", json_integer(kib));
    return good;
}

static void
reserve(struct rpc_call *call, int64_t min_kib, int64_t max_kib)
{
    struct reserve_call r = {
        .client = call->values[RESERVE_SESSION].text,
        .min_kib = page_up((uint64_t)min_kib),
        .timeout_us = DEADLINE_US,
        .hold_us = -1,
    };

    r.max_kib = max_u64(r.min_kib, page_down((uint64_t)max_kib));
    call->request =
        broker_reserve(broker_of(call), &r, now(call), reply_reserve, call);
}

static void
run_reserve(struct rpc_call *call, const struct rpc_value *v)
{
    if (check_amount(call, v[RESERVE_MIN].integer))
        reserve(call, v[RESERVE_MIN].integer, v[RESERVE_MIN].integer);
}

static void
run_reserve_range(struct rpc_call *call, const struct rpc_value *v)
{
    int64_t min_kib = v[RESERVE_MIN].integer, max_kib = v[RESERVE_MAX].integer;

    if (!check_amount(call, min_kib) || !check_amount(call, max_kib))
        return;
    if (min_kib > max_kib)
        rpc_fail_variant(call, "Invalid_memory_value", json_integer(min_kib));
    else
        reserve(call, min_kib, max_kib);
}

/* ------------------------------------------------------------- reservations */

enum { RESERVATION_SESSION = 1, RESERVATION_ID, RESERVATION_DOMID };

/* Another session's is none of this one's. */
static struct ledger_entry *
find_own(const struct rpc_call *call, const struct rpc_value *v)
{
    struct planner *planner = broker_planner(broker_of(call));
    struct ledger_entry *e =
        planner ? ledger_find(&planner->ledger, v[RESERVATION_ID].text) : NULL;

    return e && strcmp(e->client, v[RESERVATION_SESSION].text) == 0 ? e : NULL;
}

static void
succeed_without(struct rpc_call *call)
{
    log_info("%s asked to delete reservation %.64s, which it doesn't have",
             call->values[RESERVATION_SESSION].text,
             call->values[RESERVATION_ID].text);
    rpc_succeed(call, json_null());
}

static void
reply_delete(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    if (result->error == ERR_UNKNOWN_RESERVATION)
        succeed_without(call);
    else if (result->error)
        refuse(call, result);
    else
        rpc_succeed(call, json_null());
}

/* Toolstacks delete after every build, whatever came of it: what isn't there
 * is deleted. */
static void
run_delete(struct rpc_call *call, const struct rpc_value *v)
{
    if (!broker_planner(broker_of(call)))
        fail_unready(call);
    else if (find_own(call, v))
        broker_release(broker_of(call), v[RESERVATION_ID].text, now(call),
                       reply_delete, call);
    else
        succeed_without(call);
}

static void
reply_transfer(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    if (result->error == ERR_UNKNOWN_RESERVATION)
        fail_unknown_reservation(call, call->values[RESERVATION_ID].text);
    else if (result->error)
        refuse(call, result);
    else
        rpc_succeed(call, json_null());
}

static void
run_transfer(struct rpc_call *call, const struct rpc_value *v)
{
    if (!broker_planner(broker_of(call)))
        fail_unready(call);
    else if (!find_own(call, v))
        fail_unknown_reservation(call, v[RESERVATION_ID].text);
    else if (v[RESERVATION_DOMID].number >= LIMIT_DOMAINS)
        fail_no_domain(call, v[RESERVATION_DOMID].number);
    else
        broker_transfer(broker_of(call), v[RESERVATION_ID].text,
                        (uint32_t)v[RESERVATION_DOMID].number, true, now(call),
                        reply_transfer, call);
}

enum { QUERY_DOMID = 2 };

/* The latest one, if a domain got several. */
static const struct ledger_entry *
find_of_domain(const struct ledger *ledger, uint32_t domid)
{
    const struct ledger_entry *found = NULL;

    for (size_t i = 0; i < ledger->count; i++) {
        const struct ledger_entry *e = &ledger->entries[i];

        if (e->state == ENTRY_OWNED && e->domid == domid &&
            (!found || e->created_us >= found->created_us))
            found = e;
    }
    return found;
}

static void
run_query(struct rpc_call *call, const struct rpc_value *v)
{
    const struct planner *planner = broker_planner(broker_of(call));
    uint64_t domid = v[QUERY_DOMID].number;
    const struct ledger_entry *e;

    if (!planner) {
        fail_unready(call);
        return;
    }
    if (domid >= LIMIT_DOMAINS ||
        !broker_has_domain(broker_of(call), (uint32_t)domid, now(call))) {
        fail_no_domain(call, domid);
        return;
    }
    e = find_of_domain(&planner->ledger, (uint32_t)domid);
    if (e)
        rpc_succeed(call, json_string(e->id));
    else
        rpc_fail_variant(call, "No_reservation", NULL);
}

/* ------------------------------------------------------------------ balance */

static void
reply_balance(void *arg, const struct result *result)
{
    struct rpc_call *call = arg;

    (void)result; /* never fails */
    call->balances = false;
    rpc_succeed(call, json_null());
}

static void
run_balance(struct rpc_call *call, const struct rpc_value *v)
{
    (void)v;
    call->balances = true;
    broker_balance(broker_of(call), now(call), reply_balance, call);
}

/* ------------------------------------------------------------------- table */

#define DBG_PARAM [DBG] = { "dbg", .type = PARAM_TEXT }
#define SESSION_PARAM                                                          \
    DBG_PARAM,                                                                 \
    {                                                                          \
        "session", .type = PARAM_CLIENT                                        \
    }

/* clang-format off */
static const struct rpc_method methods[] = {
    { "get_diagnostics", run_diagnostics, { DBG_PARAM } },
    { "login", run_login, { DBG_PARAM,
        [LOGIN_SERVICE] = { "service", .type = PARAM_CLIENT } } },
    { "reserve_memory", run_reserve, { SESSION_PARAM,
        [RESERVE_MIN] = { "kib", .type = PARAM_INT64 } } },
    { "reserve_memory_range", run_reserve_range, { SESSION_PARAM,
        [RESERVE_MIN] = { "min", .type = PARAM_INT64 },
        [RESERVE_MAX] = { "max", .type = PARAM_INT64 } } },
    { "delete_reservation", run_delete, { SESSION_PARAM,
        [RESERVATION_ID] = { "id", .type = PARAM_ID } } },
    { "transfer_reservation_to_domain", run_transfer, { SESSION_PARAM,
        [RESERVATION_ID] = { "id", .type = PARAM_ID },
        [RESERVATION_DOMID] = { "domid", .type = PARAM_DOMID } } },
    { "query_reservation_of_domain", run_query, { SESSION_PARAM,
        [QUERY_DOMID] = { "domid", .type = PARAM_DOMID } } },
    { "balance_memory", run_balance, { DBG_PARAM } },
    { "get_host_reserved_memory", run_reserved_memory, { DBG_PARAM } },
    { "get_host_initial_free_memory", run_initial_memory, { DBG_PARAM } },
    { "get_domain_zero_policy", run_zero_policy, { DBG_PARAM } },
};
/* clang-format on */

const struct rpc_method *
rpc_memory_method_find(const char *name)
{
    return rpc_table_find(methods, sizeof methods / sizeof *methods, name);
}

const char *
rpc_memory_method_name(size_t i)
{
    return i < sizeof methods / sizeof *methods ? methods[i].name : NULL;
}
