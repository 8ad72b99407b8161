/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/news.h"

static const char *const names[NEWS_KINDS] = {
    [NEWS_REQUEST] = "request",   [NEWS_GRANT] = "grant",
    [NEWS_REFUSAL] = "refusal",   [NEWS_RELEASE] = "release",
    [NEWS_TRANSFER] = "transfer", [NEWS_TARGET] = "target",
    [NEWS_STATE] = "state",       [NEWS_RANGE_ERROR] = "range-error",
    [NEWS_THEFT] = "theft",       [NEWS_OVERLOAD] = "overload",
    [NEWS_STORE] = "store",
};

const char *
news_name(enum news_kind kind)
{
    return names[kind];
}
