/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xenstore-client/queue.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

static void
grow(struct queue *queue)
{
    size_t capacity = queue->capacity ? 2 * queue->capacity : FIRST_CAPACITY;
    struct request *ring = calloc(capacity, sizeof(*ring));

    if (!ring)
        abort();
    for (size_t i = 0; i < queue->count; i++)
        ring[i] = queue->ring[(queue->head + i) & (queue->capacity - 1)];
    free(queue->ring);
    queue->ring = ring;
    queue->capacity = capacity;
    queue->head = 0;
}

void
queue_push(struct queue *queue, const struct request *request)
{
    if (queue->count == queue->capacity)
        grow(queue);
    queue->ring[(queue->head + queue->count) & (queue->capacity - 1)] =
        *request;
    queue->count++;
}

const struct request *
queue_first(const struct queue *queue)
{
    assert(queue->count);
    return &queue->ring[queue->head];
}

struct request
queue_pop(struct queue *queue)
{
    struct request request = *queue_first(queue);

    queue->head = (queue->head + 1) & (queue->capacity - 1);
    queue->count--;
    return request;
}

void
queue_done(struct queue *queue)
{
    free(queue->ring);
    *queue = (struct queue){ .ring = NULL };
}
