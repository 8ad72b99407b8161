/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/status.h"

#include "common/floor.h"

#include "squeezed/core/condition.h"
#include "squeezed/core/judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ------------------------------------------------------------------ values */

json_t *
status_number(uint64_t number)
{
    return json_integer((json_int_t)min_u64(number, INT64_MAX));
}

json_t *
status_ms(int64_t duration_us)
{
    return json_integer(max_i64(duration_us, 0) / US_PER_MS);
}

json_t *
status_domids(const struct result *result)
{
    json_t *list = json_array();

    for (size_t i = 0; i < result->domid_count; i++)
        json_array_append_new(list, json_integer(result->domids[i]));
    return list;
}

json_t *
status_text(const char *text)
{
    json_t *string = json_string(text);
    char plain[256];
    size_t i;

    if (string)
        return string;
    for (i = 0; i < sizeof plain - 1 && text[i]; i++)
        plain[i] = (text[i] & 0x80) ? '?' : text[i];
    plain[i] = '\0';
    return json_string(plain);
}

static json_t *
text_or_null(const char *text)
{
    return text[0] ? status_text(text) : json_null();
}

static json_t *
uuid_text(const uint8_t uuid[UUID_BYTES])
{
    char text[UUID_TEXT];

    return json_string(format_uuid(uuid, text));
}

/* Without memory a field is missing; there is nothing better to do. */
static void
put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new_nocheck(object, key, value);
}

/* ------------------------------------------------------------------ fields */

/* A uint64_t somewhere in a struct. */
struct field {
    const char *key;
    size_t offset;
};

static void
put_fields(json_t *object, const void *from, const struct field *fields,
           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value;

        memcpy(&value, (const char *)from + fields[i].offset, sizeof value);
        put(object, fields[i].key, status_number(value));
    }
}

static const struct field host_fields[] = {
    { "total_kib", offsetof(struct host_sums, total_kib) },
    { "free_kib", offsetof(struct host_sums, free_kib) },
    { "scrub_kib", offsetof(struct host_sums, scrub_kib) },
    { "host_reserve_kib", offsetof(struct host_sums, host_reserve_kib) },
    { "cushion_kib", offsetof(struct host_sums, cushion_kib) },
    { "reserved_kib", offsetof(struct host_sums, reserved_kib) },
    { "domains_kib", offsetof(struct host_sums, domains_kib) },
    { "growth_allowed_kib", offsetof(struct host_sums, growth_allowed_kib) },
    { "promised_kib", offsetof(struct host_sums, promised_kib) },
    { "xen_kib", offsetof(struct host_sums, xen_kib) },
};

static const struct field domain_fields[] = {
    { "static_min_kib", offsetof(struct domain, facts.static_min_kib) },
    { "dynamic_min_kib", offsetof(struct domain, facts.dynamic_min_kib) },
    { "target_kib", offsetof(struct domain, facts.target_kib) },
    { "dynamic_max_kib", offsetof(struct domain, facts.dynamic_max_kib) },
    { "static_max_kib", offsetof(struct domain, facts.static_max_kib) },
    { "actual_kib", offsetof(struct domain, facts.actual_kib) },
    { "limit_kib", offsetof(struct domain, facts.limit_kib) },
    { "promise_kib", offsetof(struct domain, promise_kib) },
};

/* ------------------------------------------------------------------- parts */

static void
sum_host(const struct planner *p, struct host_sums *ret)
{
    host_sum(&p->host, &p->ledger, p->settings.host_reserve_kib,
             p->settings.cushion_kib, ret);
}

static json_t *
host_object(const struct planner *p, uint64_t missing_kib)
{
    json_t *object = json_object();
    struct host_sums sums;

    sum_host(p, &sums);
    put_fields(object, &sums, host_fields, COUNT(host_fields));
    put(object, "headroom_kib", json_integer(sums.headroom_kib));
    put(object, "missing_kib", status_number(missing_kib));
    return object;
}

/* Of a range that the guest can't live with. */
static json_t *
range_warning(const struct domain *d)
{
    char text[FLOOR_TEXT] = "";

    if (d->facts.flags & DOMAIN_MANAGED)
        floor_warning(d->facts.dynamic_min_kib, d->facts.static_max_kib, text);
    return text_or_null(text);
}

static json_t *
domain_object(const struct domain *d, struct platform *platform, int64_t now_us)
{
    json_t *object = json_object();
    uint64_t rate = d->judgement.rate_kib_s;
    struct domain_text text = { .name = "" };

    platform->ops->describe(platform, d->facts.domid, &text);
    put(object, "domid", json_integer(d->facts.domid));
    put(object, "uuid", uuid_text(d->facts.uuid));
    put(object, "name", status_text(text.name));
    put(object, "type", status_text(text.type));
    put(object, "state",
        json_string(domain_state_name(host_domain_state(d, now_us))));
    put_fields(object, d, domain_fields, COUNT(domain_fields));
    put(object, "floor_kib", status_number(judge_known_floor_kib(d, now_us)));
    put(object, "ceiling_kib",
        d->facts.ceiling_kib == CEILING_NONE
            ? json_null()
            : status_number(d->facts.ceiling_kib));
    put(object, "offset_kib", json_integer(d->facts.offset_kib));
    put(object, "rate_kib_s", rate ? status_number(rate) : json_null());
    put(object, "used_kib", json_null());
    put(object, "shares", json_integer(d->shares ? d->shares : 1000));
    put(object, "range_error", text_or_null(text.range_error));
    put(object, "range_warning", range_warning(d));
    return object;
}

static json_t *
domain_list(const struct host *host, struct platform *platform, int64_t now_us)
{
    json_t *list = json_array();

    for (size_t i = 0; i < host->count; i++)
        json_array_append_new(
            list, domain_object(&host->domains[i], platform, now_us));
    return list;
}

/* Of an entry that was there before the broker started, the age isn't
 * known. */
static json_t *
reservation_object(const struct ledger_entry *e, int64_t now_us)
{
    json_t *object = json_object();
    bool held = e->hold_until_us != TIME_NEVER_US;

    put(object, "reservation", status_text(e->id));
    put(object, "client", status_text(e->client));
    put(object, "amount_kib", status_number(e->amount_kib));
    put(object, "age_ms",
        e->created_us ? status_ms(now_us - e->created_us) : json_null());
    put(object, "hold_ms",
        held ? status_ms(e->hold_until_us - now_us) : json_null());
    put(object, "uuid", e->has_uuid ? uuid_text(e->uuid) : json_null());
    put(object, "in_transfer",
        e->transferred ? json_integer(e->domid) : json_null());
    return object;
}

static json_t *
reservation_list(const struct ledger *ledger, int64_t now_us)
{
    json_t *list = json_array();

    for (size_t i = 0; i < ledger->count; i++)
        json_array_append_new(list,
                              reservation_object(&ledger->entries[i], now_us));
    return list;
}

static json_t *
debtor_list(const struct broker *broker)
{
    json_t *list = json_array();
    size_t count;
    const uint32_t *domids = broker_debtors(broker, &count);

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(domids[i]));
    return list;
}

static json_t *
queue_list(const struct broker *broker, int64_t now_us)
{
    json_t *list = json_array();
    const struct request *r;
    const char *client;

    for (size_t i = 0; (r = broker_queued(broker, i, &client)) != NULL; i++) {
        json_t *object = json_object();

        put(object, "client", status_text(client));
        put(object, "min_kib", status_number(r->min_kib));
        put(object, "max_kib", status_number(r->max_kib));
        put(object, "age_ms", status_ms(now_us - r->submitted_us));
        put(object, "waiting_for", debtor_list(broker));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *
last_plan_object(const struct broker_view *view, int64_t now_us)
{
    json_t *object = json_object();
    bool any = view->last_plan_us != 0;

    put(object, "age_ms",
        any ? status_ms(now_us - view->last_plan_us) : json_null());
    put(object, "why", text_or_null(view->last_plan));
    put(object, "writes", status_number(view->last_writes));
    return object;
}

static json_t *
store_object(struct platform *platform)
{
    json_t *object = json_object();
    struct platform_health health = { .connected = false };

    platform->ops->health(platform, &health);
    put(object, "connected", json_boolean(health.connected));
    put(object, "reconnects", json_integer(health.reconnects));
    put(object, "why", text_or_null(health.why));
    return object;
}

/* ------------------------------------------------------------------- whole */

json_t *
status_build(struct broker *broker, struct platform *platform, int64_t now_us)
{
    const struct planner *p = broker_planner(broker);
    struct broker_view view;
    json_t *object;

    if (!p)
        return NULL;
    broker_view(broker, &view);
    object = json_object();
    put(object, "version", json_string(PACKAGE_VERSION));
    put(object, "platform", status_text(view.platform));
    put(object, "policy", status_text(p->settings.policy->name));
    put(object, "state", json_string(host_condition_name(host_condition(p))));
    put(object, "host", host_object(p, view.missing_kib));
    put(object, "domains", domain_list(&p->host, platform, now_us));
    put(object, "reservations", reservation_list(&p->ledger, now_us));
    put(object, "queue", queue_list(broker, now_us));
    put(object, "last_plan", last_plan_object(&view, now_us));
    put(object, "store", store_object(platform));
    return object;
}

bool
status_healthy(struct broker *broker, struct platform *platform, int64_t now_us,
               char why[STATUS_WHY])
{
    const struct planner *p = broker_planner(broker);
    struct platform_health health = { .connected = false };
    struct broker_view view;
    int64_t age_us;

    platform->ops->health(platform, &health);
    broker_view(broker, &view);
    if (!health.connected || !view.ready || !p) {
        snprintf(why, STATUS_WHY, "%s: %s",
                 health.connected ? "the host can't be seen"
                                  : "the store is not connected",
                 health.why[0] ? health.why : "no answer yet");
        return false;
    }
    /* A look is due every interval; three missed ones are a fault. */
    age_us = now_us - view.last_look_us;
    if (age_us > 3 * p->settings.interval_us + 5 * US_PER_S) {
        snprintf(why, STATUS_WHY,
                 "the last balance was %" PRId64
                 " s ago; one is due every %" PRId64 " s",
                 age_us / US_PER_S, p->settings.interval_us / US_PER_S);
        return false;
    }
    return true;
}
