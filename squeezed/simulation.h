/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries the events of a scenario out, against a broker and its simulated
 * host, and writes down what became of every request.  The daemon drives it in
 * real time (--simulate), simulation_run.h in virtual time.
 *
 * Where several things happen in the same instant, the driver first advances
 * the host, then steps the simulation, then runs the broker. */
#ifndef SIMULATION_H
#define SIMULATION_H

#include "squeezed/broker.h"
#include "squeezed/platform/sim.h"

struct simulation;

struct simulation_options {
    void *context;
    /* The driver's clock; the one that all now_us are from. */
    int64_t (*now_us)(void *context);
    /* Something worth telling: what was carried out, or could not be (then
     * trouble is set).  May be NULL. */
    void (*note)(void *context, int64_t now_us, bool trouble, const char *text);
    /* A request is about to be made.  May be NULL. */
    void (*submit)(void *context, size_t request);
    /* Somebody has just taken free memory behind the broker's back.  May be
     * NULL. */
    void (*taken)(void *context);
    /* simulation_next_us() has become earlier.  May be NULL. */
    void (*wake)(void *context);
    uint64_t seed; /* orders events of the same instant; 0: as in the file */
};

/* One request of a reserve event. */
struct simulated_request {
    size_t event; /* index in the scenario */
    uint64_t seq; /* the broker's number */
    int64_t submitted_us;
    int64_t answered_us; /* -1: not yet */
    enum outcome outcome;
    enum err error;
    uint64_t amount_kib;                      /* granted */
    uint64_t needed_kib, free_kib, short_kib; /* refused, or timed out */
    uint32_t *domids;                         /* the guests that owe */
    size_t domid_count;
    char reservation[LIMIT_ID_CHARS + 1];
    bool held; /* granted, and not released or built yet */
    /* For whoever watches the simulation. */
    int64_t limit_us; /* the physical limit; -1: none */
    bool hopeless;    /* it has to be refused at once */
};

/* All of the arguments must outlive it.  NULL without memory. */
struct simulation *
simulation_new(const struct scenario *scenario, struct platform *sim,
               struct broker *broker, const struct simulation_options *options,
               int64_t now_us);

/* After the broker was freed. */
void
simulation_free(struct simulation *simulation);

/* When the next event is due; TIME_NEVER_US. */
int64_t
simulation_next_us(const struct simulation *simulation);

/* Carries out what is due. */
void
simulation_step(struct simulation *simulation, int64_t now_us);

/* No event is due, now or later, and every request was answered. */
bool
simulation_is_over(const struct simulation *simulation);

/* A `restart` was carried out: the driver has to free the broker, make another
 * one and hand it over here.  Requests that wait lose their connection: they
 * count as cancelled. */
bool
simulation_wants_restart(const struct simulation *simulation);

void
simulation_restarted(struct simulation *simulation, struct broker *broker,
                     int64_t now_us);

size_t
simulation_request_count(const struct simulation *simulation);

/* In the order of submission. */
struct simulated_request *
simulation_request(const struct simulation *simulation, size_t i);

/* When the last event was carried out, or the last request answered. */
int64_t
simulation_last_us(const struct simulation *simulation);

#endif
