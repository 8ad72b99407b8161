/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The core's memory: arrays with room for each domain, enlarged here and
 * nowhere else, so that a pass never allocates. */
#include "squeezed/broker_internal.h"

#include <stdlib.h>

static bool
enlarge(void *array_of_pointer, size_t count, size_t size)
{
    void **array = array_of_pointer;
    void *larger = reallocarray(*array, count, size);

    if (!larger)
        return false;
    *array = larger;
    return true;
}

bool
broker_make_room(struct broker *b, size_t count)
{
    struct planner *p = &b->planner;
    /* A range request counts as one more member. */
    size_t capacity = 64;

    if (count <= p->host.capacity)
        return true;
    while (capacity < count)
        capacity *= 2;
    if (!enlarge(&p->host.domains, capacity, sizeof *p->host.domains) ||
        !enlarge(&p->members, capacity + 1, sizeof *p->members) ||
        !enlarge(&p->member_of, capacity + 1, sizeof *p->member_of) ||
        !enlarge(&b->plan.settings, capacity, sizeof *b->plan.settings) ||
        !enlarge(&b->plan.debtors, capacity, sizeof *b->plan.debtors))
        return false;
    p->host.capacity = capacity;
    return true;
}

void
broker_free_room(struct broker *b)
{
    free(b->planner.host.domains);
    free(b->planner.members);
    free(b->planner.member_of);
    free(b->plan.settings);
    free(b->plan.debtors);
}
