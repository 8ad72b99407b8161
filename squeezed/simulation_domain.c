/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains that are built: from a reservation, or again after a reboot. */
#include "squeezed/simulation_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a reboot under xl: a domain that has shut down is destroyed so much later,
 * and built again after xl's pause. */
#define REBOOT_END_US   (10 * (int64_t)US_PER_MS)
#define REBOOT_PAUSE_US (2 * (int64_t)US_PER_S)

/* The highest domid in use, and one; LIMIT_DOMAINS or more: none left. */
static uint32_t
next_domid(const struct simulation *s)
{
    size_t count;
    const struct sim_domain *d = sim_domains(s->sim, &count);

    return count > 0 ? d[count - 1].domid + 1 : 1;
}

static void
drop_transfer(struct transfer *t)
{
    struct transfer **at = &t->simulation->transfers;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    free(t);
}

/* Without its memory there is no domain. */
static void
give_up_building(const struct transfer *t, const char *why)
{
    simulation_note(t->simulation, true, "domain %" PRIu32 ": not built: %s",
                    t->domid, why);
    sim_destroy(t->simulation->sim, t->domid);
}

static void
on_transferred(void *arg, const struct result *result)
{
    struct transfer *t = arg;

    if (result->error)
        give_up_building(t, result->message);
    drop_transfer(t);
}

static void
start_transfer(struct simulation *s, struct simulated_request *r,
               uint32_t domid, int64_t now_us)
{
    struct transfer *t = malloc(sizeof *t);

    if (!t) {
        simulation_note(s, true, "out of memory");
        sim_destroy(s->sim, domid);
        return;
    }
    *t = (struct transfer){ s->transfers, s, r, domid };
    s->transfers = t;
    r->held = false;
    broker_transfer(s->broker, r->reservation, domid, true, now_us,
                    on_transferred, t);
}

static const char *
start_building(struct simulation *s, struct scenario_domain *domain,
               uint64_t amount_kib, bool limited, char *buffer)
{
    const char *error = scenario_domain_complete(domain, amount_kib, buffer);
    enum err refused;

    if (error)
        return error;
    if (domain->domid >= LIMIT_DOMAINS)
        return "no domid is left";
    refused = sim_build(s->sim, domain, min_u64(domain->actual_kib, amount_kib),
                        limited);
    return refused == ERR_EXISTS ? "the domid is in use"
           : refused             ? "out of memory"
                                 : NULL;
}

/* The domain is there first, and empty; then the reservation becomes its own,
 * which sets its limit; then it takes its memory. */
static void
build_one(struct simulation *s, const struct scenario_event *e,
          struct simulated_request *r, uint32_t index, int64_t now_us)
{
    struct scenario_domain domain = e->domain;
    char buffer[SCENARIO_ERROR_CHARS], size[SIZE_TEXT];
    const char *error;

    domain.domid = e->domid_given ? e->domid + index : next_domid(s);
    /* As with those that are there from the start: name, name-2, ... */
    if (index > 0 && (domain.given & GIVEN_NAME))
        snprintf(domain.name, sizeof domain.name, "%.85s-%" PRIu32,
                 e->domain.name, index + 1);
    error = start_building(s, &domain, r->amount_kib, false, buffer);
    if (error) {
        simulation_note(s, true,
                        "event %" PRIu32 ": domain %" PRIu32 " not built: %s",
                        e->number, domain.domid, error);
        return;
    }
    simulation_note(s, false,
                    "event %" PRIu32 ": building domain %" PRIu32 " (%s, %s)",
                    e->number, domain.domid, domain.name,
                    format_size((int64_t)r->amount_kib, size));
    start_transfer(s, r, domain.domid, now_us);
}

bool
simulation_build(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    uint32_t built = 0;

    for (size_t i = 0; i < s->request_count && built < e->count; i++) {
        struct simulated_request *r = &s->requests[i]->request;

        if (r->event == e->of_index && r->held)
            build_one(s, e, r, built++, now_us);
    }
    if (built == 0)
        simulation_note(s, true,
                        "event %" PRIu32
                        ": nothing to build: no reservation of event "
                        "%" PRIu32 " is held",
                        e->number, e->of);
    return true;
}

/* ------------------------------------------------------------------ reboots */

/* What would be needed to build the same domain again. */
static void
describe_domain(const struct sim_domain *d, struct scenario_domain *ret)
{
    scenario_domain_init(ret);
    ret->given = GIVEN_UUID | GIVEN_NAME | GIVEN_STATIC_MAX;
    if (d->managed)
        ret->given |= GIVEN_DYNAMIC_MIN | GIVEN_DYNAMIC_MAX;
    snprintf(ret->name, sizeof ret->name, "%.99s", d->name);
    memcpy(ret->uuid, d->uuid, UUID_BYTES);
    ret->type = d->type;
    ret->static_min_kib = d->static_min_kib;
    ret->static_max_kib = d->static_max_kib;
    ret->dynamic_min_kib = d->dynamic_min_kib;
    ret->dynamic_max_kib = d->dynamic_max_kib;
    ret->used_kib = d->used_kib;
    ret->rate_kib = d->rate_kib;
    ret->inaccuracy_kib = d->inaccuracy_kib;
    ret->shares = d->shares;
    ret->delay_us = d->delay_us;
    ret->guest = d->guest;
}

/* As xl does it: the domain shuts down and is destroyed, and 2 s later it is
 * built from what is free then, with the target that it had. */
bool
simulation_reboot(struct simulation *s, size_t index, int64_t now_us)
{
    const struct scenario_event *e = &s->scenario->events[index];
    const struct sim_domain *d = sim_find(s->sim, e->domid);
    struct rebuild *r;

    if (d && d->reboots)
        return true;
    r = d ? calloc(1, sizeof *r) : NULL;
    if (!r)
        return false;
    r->due_us = now_us + REBOOT_END_US;
    r->old_domid = e->domid;
    r->amount_kib = d->target_kib;
    describe_domain(d, &r->domain);
    r->next = s->rebuilds;
    s->rebuilds = r;
    return sim_reboot(s->sim, e->domid);
}

/* libxl builds no second domain of a name; here the UUID stands for it. */
static bool
is_there(const struct simulation *s, const uint8_t uuid[UUID_BYTES])
{
    size_t count;
    const struct sim_domain *d = sim_domains(s->sim, &count);

    for (size_t i = 0; i < count; i++)
        if (memcmp(d[i].uuid, uuid, UUID_BYTES) == 0)
            return true;
    return false;
}

static void
rebuild_one(struct simulation *s, struct rebuild *r)
{
    char buffer[SCENARIO_ERROR_CHARS], size[SIZE_TEXT];
    const char *error = NULL;

    r->domain.domid = next_domid(s);
    if (is_there(s, r->domain.uuid))
        error = "there is a domain of its name already";
    else if (sim_free_kib(s->sim) < r->amount_kib)
        error = "there is not enough free memory";
    if (!error)
        error = start_building(s, &r->domain, r->amount_kib, true, buffer);
    simulation_tell_taken(s);
    if (error)
        simulation_note(s, true, "%s did not come back from its reboot: %s",
                        r->domain.name, error);
    else
        simulation_note(s, false,
                        "%s is built again as domain %" PRIu32 " with %s",
                        r->domain.name, r->domain.domid,
                        format_size((int64_t)r->amount_kib, size));
}

/* Of those that have shut down; true if it is to be built again.  One that
 * somebody else has destroyed in between is not. */
static bool
end_old(const struct simulation *s, struct rebuild *r)
{
    const struct sim_domain *d = sim_find(s->sim, r->old_domid);

    if (!d || !d->reboots || memcmp(d->uuid, r->domain.uuid, UUID_BYTES) != 0)
        return false;
    sim_destroy(s->sim, r->old_domid);
    r->destroyed = true;
    r->due_us += REBOOT_PAUSE_US;
    return true;
}

void
simulation_rebuild(struct simulation *s, int64_t now_us)
{
    struct rebuild **at = &s->rebuilds;

    while (*at) {
        struct rebuild *r = *at;

        if (r->due_us > now_us || (!r->destroyed && end_old(s, r))) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        if (r->destroyed)
            rebuild_one(s, r);
        s->last_us = now_us;
        free(r);
    }
}

void
simulation_give_up_buildings(struct simulation *s)
{
    while (s->transfers) {
        s->transfers->request->held = true;
        give_up_building(s->transfers, "the broker has gone");
        drop_transfer(s->transfers);
    }
}

void
simulation_free_buildings(struct simulation *s)
{
    while (s->transfers)
        drop_transfer(s->transfers); /* NOLINT: it unlinks what it frees */
    while (s->rebuilds) {
        struct rebuild *next = s->rebuilds->next;

        free(s->rebuilds);
        s->rebuilds = next;
    }
}
