/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The simulation's own, for simulation.c (events, one after the other),
 * simulation_request.c (what clients ask) and simulation_domain.c (domains that
 * are built).  An action returns false where there is no such domain. */
#ifndef SIMULATION_INTERNAL_H
#define SIMULATION_INTERNAL_H

#include "squeezed/simulation.h"

/* How far an event has come. */
struct event_state {
    int64_t due_us;   /* its next time; TIME_NEVER_US: none (yet) */
    uint32_t carried; /* out so often */
    size_t open;      /* its requests without an answer */
    uint64_t rank;    /* among those of the same instant */
    bool over;        /* carried out, all of it, and answered */
};

/* A domain that was shut down to be built again. */
struct rebuild {
    struct rebuild *next;
    int64_t due_us;
    uint32_t old_domid;
    bool destroyed;
    struct scenario_domain domain;
    uint64_t amount_kib;
};

/* A reservation on its way to a domain. */
struct transfer {
    struct transfer *next;
    struct simulation *simulation;
    struct simulated_request *request;
    uint32_t domid;
};

struct simulation {
    const struct scenario *scenario;
    struct platform *sim;
    struct broker *broker;
    struct simulation_options options;
    struct event_state *events;
    struct request_slot **requests; /* each at a place of its own: the broker
                                     * holds on to it */
    size_t request_count;
    size_t request_room;
    struct rebuild *rebuilds;
    struct transfer *transfers;
    int64_t last_us;
    bool wants_restart;
};

struct request_slot {
    struct simulation *simulation;
    struct simulated_request request;
};

/* simulation.c */

int64_t
simulation_now(const struct simulation *s);
void
simulation_note(const struct simulation *s, bool trouble, const char *format,
                ...) __attribute__((format(printf, 3, 4)));
/* Where its time has come to an end: those that wait for it are due from
 * now. */
void
simulation_end_event(struct simulation *s, size_t index, int64_t now_us);
/* Others took memory. */
void
simulation_tell_taken(const struct simulation *s);
/* A reply that is worth a note if it is an error. */
void
simulation_on_done(void *arg, const struct result *result);

/* simulation_request.c */

bool
simulation_reserve(struct simulation *s, size_t index, int64_t now_us);
bool
simulation_release(struct simulation *s, size_t index, int64_t now_us);
bool
simulation_cancel(struct simulation *s, size_t index, int64_t now_us);
void
simulation_end_request(struct simulation *s, struct simulated_request *r,
                       enum err error, int64_t now_us);

/* simulation_domain.c */

bool
simulation_build(struct simulation *s, size_t index, int64_t now_us);
bool
simulation_reboot(struct simulation *s, size_t index, int64_t now_us);
/* Those whose pause is over. */
void
simulation_rebuild(struct simulation *s, int64_t now_us);
/* Who had asked for a transfer doesn't know what became of it when the broker
 * goes, and gives the domain up. */
void
simulation_give_up_buildings(struct simulation *s);
void
simulation_free_buildings(struct simulation *s);

#endif
