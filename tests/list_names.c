/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints the names that people and clients depend on, for the check that the
 * manual has them all: `key NAME DEFAULT FLAG...`, `method NAME`, `error CODE
 * NAME`, `event NAME`, `metric NAME`. */
#include "common/err.h"
#include "squeezed/config.h"
#include "squeezed/metrics.h"
#include "squeezed/rpc.h"

#include <stdio.h>

/* Values without blanks: they stand between others. */
static void
list_keys(void)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);

    for (size_t i = 0; i < count; i++)
        printf("key %s %s%s%s%s\n", keys[i].name,
               *keys[i].value ? keys[i].value : "none",
               keys[i].type ? "" : " foreign", keys[i].idle ? " idle" : "",
               keys[i].fixed ? " fixed" : "");
}

static void
list_methods(void)
{
    for (size_t i = 0; rpc_method_name(i); i++)
        printf("method %s\n", rpc_method_name(i));
}

static void
list_errors(void)
{
    for (enum err e = ERR_NONE + 1; e < ERR_COUNT; e++)
        if (err_rpc_code(e) != err_rpc_code(ERR_IO))
            printf("error %d %s\n", err_rpc_code(e), err_name(e));
}

static void
list_events(void)
{
    for (enum news_kind kind = 0; kind < NEWS_KINDS; kind++)
        printf("event %s\n", news_name(kind));
}

static void
list_metrics(void)
{
    for (size_t i = 0; metrics_name(i); i++)
        printf("metric %s\n", metrics_name(i));
}

int
main(void)
{
    list_keys();
    list_methods();
    list_errors();
    list_events();
    list_metrics();
    return 0;
}
