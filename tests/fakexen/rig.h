/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole host for a test: a real xenstored, the fake hypervisor, guests that
 * balloon, the real squeezed, and a proxy between squeezed and xenstored if
 * the test wants one.  And a client of squeezed.
 *
 * Set up: domain 0 with 1 GiB, guests 1 to 3 with 1 GiB each (range 256 MiB to
 * 1 GiB), and RIG_SPARE_KIB free beyond the host reserve.
 *
 * What can't be set up ends the test with a message.  Everything ends with the
 * process that started it. */
#ifndef RIG_H
#define RIG_H

#include "common/units.h"
#include "tests/fakexen/fakehv.h"
#include "tests/fakexen/proxy.h"
#include "tests/fakexen/store.h"

#include <jansson.h>
#include <xenctrl.h>

enum {
    RIG_GUESTS = 3,
    RIG_MIN_KIB = 256 * KIB_PER_MIB,
    RIG_MAX_KIB = 1024 * KIB_PER_MIB,
    RIG_RESERVE_KIB = 72 * KIB_PER_MIB,
    RIG_SPARE_KIB = 4 * KIB_PER_MIB,
    RIG_TOLERANCE_KIB = 512,
    RIG_READY_MS = 10000
};

struct rig {
    struct store store;
    struct fakehv *hv;
    struct proxy proxy;
    bool proxied;
    unsigned rate_mib_s; /* of each guest; 0: 4096 */
    const char *level;   /* of the log; NULL: info */
    const char *balloon; /* squeezed's rule; NULL: always */
    const char *extra;   /* more lines of the configuration; NULL: none */
    pid_t guests;        /* the process that plays them */
    pid_t squeezed;      /* 0: not started */
    uint8_t generation;  /* of the guests' UUIDs */
    char socket[100];
    char config[100];
    char log[100];
};

/* All but squeezed. */
void
rig_start(struct rig *rig);

void
rig_stop(struct rig *rig);

/* The host as at first, without squeezed: its ledger and its log are gone, too.
 * xenstored stays. */
void
rig_reset(struct rig *rig);

/* The guests hear nothing of a xenstored that was started anew: these do. */
void
rig_restart_guests(struct rig *rig);

/* Starts squeezed.  _ready waits until it serves. */
void
rig_run(struct rig *rig);
void
rig_ready(struct rig *rig);

/* kill -9, and the end of it. */
void
rig_kill(struct rig *rig);

/* It has died by itself; it is buried then. */
bool
rig_died(struct rig *rig);

/* A call: its whole answer (result or error), the caller's; NULL if squeezed
 * isn't there or died before it answered. */
json_t *
rig_call(struct rig *rig, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4)));

/* The same in two steps: a descriptor (-1: nobody there), and what comes. */
int
rig_send(struct rig *rig, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4)));
json_t *
rig_receive(int fd);

/* A page; its body, the caller's.  NULL as above. */
char *
rig_get(struct rig *rig, const char *path, int *ret_status);

/* result of squeezed.status; NULL as above, or if that is an error. */
json_t *
rig_status(struct rig *rig);

/* A number of it (or of any object): "host.free_kib". */
int64_t
rig_number(const json_t *object, const char *path);

/* That domain of a status; borrowed; NULL if it isn't there. */
const json_t *
rig_domain(const json_t *status, uint32_t domid);

/* Lines of squeezed's log; with what in them, if that isn't NULL. */
unsigned
rig_log_lines(const struct rig *rig, const char *what);

void
rig_print_log(const struct rig *rig);

void
rig_write_memory(struct rig *rig, uint32_t domid, const char *leaf,
                 uint64_t kib);
uint64_t
rig_read_memory(struct rig *rig, uint32_t domid, const char *leaf);

/* A domain that nobody has given any memory yet, being built. */
void
rig_create(struct rig *rig, uint32_t domid);

/* It holds so much, as its limit, and runs. */
void
rig_build(struct rig *rig, uint32_t domid, uint64_t kib);

void
rig_destroy(struct rig *rig, uint32_t domid);

/* Of the faked host. */
uint64_t
rig_free_kib(const struct rig *rig);

int64_t
rig_now_us(void);

void
rig_sleep_ms(int ms);

#endif
