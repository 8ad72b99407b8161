/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What has just happened, as the broker tells it to whoever follows: plain
 * facts, for events and for counting.  What a field isn't said for is 0. */
#ifndef NEWS_H
#define NEWS_H

#include "squeezed/platform/platform.h"

enum news_kind {
    NEWS_REQUEST,     /* somebody asks for memory */
    NEWS_GRANT,       /* ... and has got it */
    NEWS_REFUSAL,     /* ... or hasn't */
    NEWS_RELEASE,     /* a reservation has gone */
    NEWS_TRANSFER,    /* a reservation belongs to a domain */
    NEWS_TARGET,      /* a target was set */
    NEWS_STATE,       /* of a domain, or of the host, has changed */
    NEWS_RANGE_ERROR, /* a domain's range is no good; or is again */
    NEWS_THEFT,       /* memory that was promised was taken by others */
    NEWS_OVERLOAD,    /* what was promised is not there; or is again */
    NEWS_STORE,       /* the store has come or gone */
    NEWS_KINDS
};

/* As in the events: "request", ..., "range-error", ... */
const char *
news_name(enum news_kind kind);

struct result;

/* All pointers live during the call only. */
struct news {
    enum news_kind kind;
    uint64_t request;              /* REQUEST, GRANT, REFUSAL: its number */
    const char *client;            /* the same, RELEASE, TRANSFER */
    const struct request *asked;   /* REQUEST */
    const struct result *result;   /* GRANT, REFUSAL */
    const char *reservation;       /* RELEASE, TRANSFER */
    const char *why;               /* RELEASE, TARGET */
    const char *state;             /* STATE; "gone": there is none any more */
    bool of_host;                  /* STATE: of the host, else of domid */
    uint32_t domid;                /* TRANSFER, TARGET, STATE, RANGE_ERROR */
    uint64_t amount_kib;           /* RELEASE, TRANSFER */
    const struct setting *setting; /* TARGET */
    uint64_t missing_kib;          /* THEFT, OVERLOAD */
    bool begins;                   /* OVERLOAD, RANGE_ERROR */
    const struct platform_health *health; /* STORE */
};

typedef void
news_told(void *context, const struct news *news);

#endif
