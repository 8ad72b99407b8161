/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/sim_trace.h"

#include <inttypes.h>
#include <stdlib.h>

/* What was written of a domain. */
struct traced {
    uint32_t domid;
    uint64_t actual_kib, target_kib, limit_kib;
};

struct sim_trace {
    FILE *out;
    struct traced *domains; /* ascending domids */
    struct traced *spare;
    size_t count;
    size_t room;
};

struct sim_trace *
sim_trace_new(FILE *out)
{
    struct sim_trace *t = calloc(1, sizeof *t);

    if (t) {
        t->out = out;
        fputs("t_s,free_kib,domid,actual_kib,target_kib,limit_kib\n", out);
    }
    return t;
}

void
sim_trace_free(struct sim_trace *t)
{
    if (!t)
        return;
    free(t->domains);
    free(t->spare);
    free(t);
}

static bool
make_room(struct sim_trace *t, size_t count)
{
    struct traced *domains, *spare;

    if (count <= t->room)
        return true;
    count += count / 2 + 16;
    domains = reallocarray(t->domains, count, sizeof *domains);
    if (domains)
        t->domains = domains;
    spare = reallocarray(t->spare, count, sizeof *spare);
    if (spare)
        t->spare = spare;
    if (!domains || !spare)
        return false;
    t->room = count;
    return true;
}

static void
write_line(const struct sim_trace *t, const struct simulation_now *now,
           const struct traced *d)
{
    fprintf(t->out,
            "%.6f,%" PRIu64 ",%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
            "\n",
            (double)now->t_us / US_PER_S, sim_free_kib(now->sim), d->domid,
            d->actual_kib, d->target_kib, d->limit_kib);
}

static bool
same(const struct traced *a, const struct traced *b)
{
    return a->domid == b->domid && a->actual_kib == b->actual_kib &&
           a->target_kib == b->target_kib && a->limit_kib == b->limit_kib;
}

/* Those that have gone hold nothing any more: one last line. */
static void
write_gone(const struct sim_trace *t, const struct simulation_now *now,
           uint32_t domid)
{
    const struct traced gone = { .domid = domid };

    write_line(t, now, &gone);
}

void
sim_trace_look(struct sim_trace *t, const struct simulation_now *now)
{
    size_t count, old = 0;
    const struct sim_domain *d = sim_domains(now->sim, &count);
    struct traced *kept;

    if (!make_room(t, count))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct traced seen = { d[i].domid, d[i].actual_kib,
                                     d[i].target_kib, d[i].limit_kib };

        while (old < t->count && t->domains[old].domid < seen.domid)
            write_gone(t, now, t->domains[old++].domid);
        if (old < t->count && t->domains[old].domid == seen.domid) {
            if (!same(&t->domains[old++], &seen))
                write_line(t, now, &seen);
        } else {
            write_line(t, now, &seen);
        }
        t->spare[i] = seen;
    }
    while (old < t->count)
        write_gone(t, now, t->domains[old++].domid);
    kept = t->domains;
    t->domains = t->spare;
    t->spare = kept;
    t->count = count;
}
