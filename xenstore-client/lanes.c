/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xenstore-client/lanes.h"

#include <stdlib.h>

bool
lanes_init(struct lanes *lanes)
{
    bool good = true;

    for (size_t i = 0; i < LANES; i++) {
        lanes->lanes[i] = (struct lane){ .bytes = evbuffer_new() };
        good = good && lanes->lanes[i].bytes;
    }
    return good;
}

void
lanes_done(struct lanes *lanes)
{
    for (size_t i = 0; i < LANES; i++) {
        if (lanes->lanes[i].bytes)
            evbuffer_free(lanes->lanes[i].bytes);
        queue_done(&lanes->lanes[i].requests);
        lanes->lanes[i] = (struct lane){ .bytes = NULL };
    }
}

size_t
lanes_count(const struct lanes *lanes)
{
    size_t count = 0;

    for (size_t i = 0; i < LANES; i++)
        count += lanes->lanes[i].requests.count;
    return count;
}

/* Without memory for a few bytes nobody could be answered. */
static void
put_bytes(struct lane *lane, const void *bytes, size_t length)
{
    if (evbuffer_add(lane->bytes, bytes, length))
        abort();
}

void
lanes_put(struct lanes *lanes, const struct request *request,
          const struct xsd_sockmsg *header, const struct iovec *parts,
          int count)
{
    struct lane *lane = &lanes->lanes[request->urgent ? 0 : 1];

    put_bytes(lane, header, sizeof(*header));
    for (int i = 0; i < count; i++)
        put_bytes(lane, parts[i].iov_base, parts[i].iov_len);
    queue_push(&lane->requests, request);
}

bool
lanes_take(struct lanes *lanes, struct evbuffer *output,
           struct request *ret_request)
{
    struct lane *lane = lanes->lanes;
    struct xsd_sockmsg header;
    size_t length;

    while (lane < lanes->lanes + LANES && !lane->requests.count)
        lane++;
    if (lane == lanes->lanes + LANES)
        return false;
    evbuffer_copyout(lane->bytes, &header, sizeof(header));
    length = sizeof(header) + header.len;
    if (evbuffer_remove_buffer(lane->bytes, output, length) != (int)length)
        abort();
    *ret_request = queue_pop(&lane->requests);
    return true;
}

void
lanes_drop(struct lanes *lanes, struct queue ret_requests[LANES])
{
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &lanes->lanes[i];

        evbuffer_drain(lane->bytes, evbuffer_get_length(lane->bytes));
        ret_requests[i] = lane->requests;
        lane->requests = (struct queue){ .ring = NULL };
    }
}
