/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stage of tests of the xen platform: the platform itself, the fake
 * hypervisor linked into the program, a real xenstored, and libxenstore as the
 * second opinion.  Each test has its own (set_up and tear_down are a checked
 * fixture), in a process of its own. */
#ifndef STAGE_H
#define STAGE_H

#include "squeezed/platform/xen.h"
#include "tests/fakexen/fakehv.h"
#include "tests/fakexen/store.h"

#include <xenctrl.h>

enum { KIB_1G = KIB_PER_GIB, PAGES_1G = KIB_1G / KIB_PER_PAGE };
/* A change of a key must be seen as soon as this. */
enum { SOON_MS = 50, LATE_MS = 20000 };

#define FLAGS_PV    XEN_DOMINF_running
#define FLAGS_HVM   (XEN_DOMINF_running | XEN_DOMINF_hvm_guest)
#define FLAGS_BUILD (XEN_DOMINF_paused | XEN_DOMINF_hvm_guest)

extern struct store store; /* xenstored, its folder, libxenstore */
extern struct fakehv *hv;
extern struct event_base *base;
extern struct xen_options options; /* for start() */
extern struct platform *platform;
extern unsigned changes; /* how often the hook was called */
extern struct snapshot snapshot;
extern int64_t skipped_us; /* the platform's clock is ahead by so much */

/* Dom0 is there, with 1 GiB. */
void
set_up(void);

void
tear_down(void);

void
make_platform(enum xen_balloon balloon);

/* ... and waits until it is ready. */
void
start(enum xen_balloon balloon);

int64_t
now_us(void);

/* The event loop, for so long. */
void
run_ms(int ms);

bool
wait_for(bool (*condition)(void), int limit_ms);

/* Conditions to wait for. */
bool
is_ready(void);

bool
was_told(void);

/* A domain of 1 GiB that runs and may hold so. */
struct fakehv_domain *
add(uint32_t domid, uint32_t flags);

/* The same with a range of 256 MiB to 1 GiB. */
struct fakehv_domain *
add_managed(uint32_t domid, uint32_t flags);

void
write_memory(uint32_t domid, const char *leaf, const char *value);

void
write_range(uint32_t domid, const char *min, const char *max);

/* Looks. */
const struct domain_facts *
facts(uint32_t domid);

bool
managed(uint32_t domid);

struct domain_text
text_of(uint32_t domid);

struct platform_health
health(void);

void
apply(uint32_t domid, uint64_t target_kib, uint64_t limit_kib, bool grows);

/* What stands in the domain's folder memory. */
const char *
target_in_store(uint32_t domid, const char *leaf);

#endif
