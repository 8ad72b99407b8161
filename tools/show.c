/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/show.h"

#include "common/units.h"
#include "tools/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BAR_WIDTH    72u

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "-";
}

/* 0 if there is none. */
static int64_t
number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool
has_number(const json_t *object, const char *key)
{
    return json_is_integer(json_object_get(object, key));
}

static void
size_cell(struct table *table, const json_t *object, const char *key)
{
    char size[SIZE_TEXT];

    if (has_number(object, key))
        table_cell(table, "%s", format_size(number_of(object, key), size));
    else
        table_cell(table, "-");
}

#define SPAN_TEXT 32

/* "350 ms", "12.5 s", "4.0 min", "3.5 h". */
static const char *
format_span(int64_t ms, char buffer[SPAN_TEXT])
{
    if (ms < 1000)
        snprintf(buffer, SPAN_TEXT, "%" PRId64 " ms", ms);
    else if (ms < 120000)
        snprintf(buffer, SPAN_TEXT, "%.1f s", (double)ms / 1000);
    else if (ms < 7200000)
        snprintf(buffer, SPAN_TEXT, "%.1f min", (double)ms / 60000);
    else
        snprintf(buffer, SPAN_TEXT, "%.1f h", (double)ms / 3600000);
    return buffer;
}

static void
span_cell(struct table *table, const json_t *object, const char *key)
{
    char span[SPAN_TEXT];

    if (has_number(object, key))
        table_cell(table, "%s", format_span(number_of(object, key), span));
    else
        table_cell(table, "-");
}

/* "3, 7". */
static void
list_cell(struct table *table, const json_t *numbers)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    const json_t *number;
    size_t i;

    if (!out)
        return table_cell(table, "?");
    json_array_foreach(numbers, i, number)
        fprintf(out, "%s%" JSON_INTEGER_FORMAT, i ? ", " : "",
                json_integer_value(number));
    fclose(out);
    table_cell(table, "%s", length ? text : "-");
    free(text);
}

struct part {
    const char *key; /* in "host" */
    const char *label;
};

/* total = the first ones; free + scrub = the others. */
static const struct part memory_parts[] = {
    { "domains_kib", "domains" },
    { "free_kib", "free" },
    { "scrub_kib", "being cleaned" },
    { "xen_kib", "Xen itself" },
};
static const struct part free_parts[] = {
    { "host_reserve_kib", "host reserve" },
    { "cushion_kib", "cushion" },
    { "reserved_kib", "reserved" },
    { "growth_allowed_kib", "growth allowed" },
    { "promised_kib", "promised" },
    { "headroom_kib", "headroom" },
};

static int64_t
sum_parts(const json_t *host, const struct part *parts, size_t count)
{
    int64_t sum = 0;
    size_t i;

    for (i = 0; i < count; i++)
        sum += number_of(host, parts[i].key);
    return sum;
}

static void
amount_cells(struct table *table, const char *label, int64_t kib)
{
    char size[SIZE_TEXT];

    table_cell(table, "%s", label);
    table_cell(table, "%" PRId64, kib);
    table_cell(table, "%s", format_size(kib, size));
}

static void
part_cells(struct table *table, const json_t *host, const struct part *parts,
           size_t count, size_t i)
{
    if (i < count)
        return amount_cells(table, parts[i].label,
                            number_of(host, parts[i].key));
    table_cell(table, "%s", "");
    table_cell(table, "%s", "");
    table_cell(table, "%s", "");
}

/* Both sums side by side, to the KiB, so that anybody can add them up. */
static void
show_accounts(const struct screen *screen, const json_t *host)
{
    static const struct table_column columns[] = {
        { "MEMORY", 0 },       { "KIB", TABLE_RIGHT }, { "", TABLE_RIGHT },
        { "FREE", TABLE_GAP }, { "KIB", TABLE_RIGHT }, { "", TABLE_RIGHT },
    };
    struct table *table = table_new(columns, COUNT(columns));
    size_t i;

    for (i = 0; i < COUNT(free_parts); i++) {
        part_cells(table, host, memory_parts, COUNT(memory_parts), i);
        part_cells(table, host, free_parts, COUNT(free_parts), i);
    }
    amount_cells(table, "in all", number_of(host, "total_kib"));
    amount_cells(table, "in all",
                 number_of(host, "free_kib") + number_of(host, "scrub_kib"));
    table_print(table, screen->out, screen->width);
    table_free(table);
}

static void
show_difference(const struct screen *screen, const char *what, int64_t kib)
{
    if (kib)
        fprintf(screen->out,
                "  %s does not add up: %" PRId64 " KiB unaccounted for\n", what,
                kib);
}

static void
put_bar_part(FILE *out, char mark, int64_t kib, int64_t total_kib)
{
    int64_t count = 0;

    if (kib > 0 && kib <= total_kib)
        count = (int64_t)mul_div((uint64_t)kib, BAR_WIDTH, (uint64_t)total_kib);
    while (count-- > 0)
        fputc(mark, out);
}

/* In proportion, each part rounded down, the rest of the line left blank. */
static void
show_bar(const struct screen *screen, const json_t *host)
{
    int64_t total = number_of(host, "total_kib");
    int64_t headroom = max_i64(number_of(host, "headroom_kib"), 0);
    int64_t kept = sum_parts(host, free_parts, COUNT(free_parts) - 1);

    if (total <= 0)
        return;
    fputs("  [", screen->out);
    put_bar_part(screen->out, '#', number_of(host, "domains_kib"), total);
    put_bar_part(screen->out, '=', kept, total);
    put_bar_part(screen->out, '.', headroom, total);
    put_bar_part(screen->out, 'x', number_of(host, "xen_kib"), total);
    fputs("]\n  # domains, = kept free, . headroom, x Xen itself\n",
          screen->out);
}

static void
show_host(const struct screen *screen, const json_t *host)
{
    int64_t available =
        number_of(host, "free_kib") + number_of(host, "scrub_kib");

    show_bar(screen, host);
    show_accounts(screen, host);
    show_difference(screen, "the memory",
                    number_of(host, "total_kib") -
                        sum_parts(host, memory_parts, COUNT(memory_parts)));
    show_difference(screen, "what is free",
                    available - sum_parts(host, free_parts, COUNT(free_parts)));
}

static void
domain_cells(struct table *table, const json_t *domain)
{
    bool managed = strcmp(text_of(domain, "state"), "unmanaged") != 0;
    bool bad = json_is_string(json_object_get(domain, "range_error"));

    table_cell(table, "%" PRId64, number_of(domain, "domid"));
    table_cell(table, "%s", text_of(domain, "name"));
    table_cell(table, "%s%s", text_of(domain, "state"), bad ? " !" : "");
    size_cell(table, managed ? domain : NULL, "dynamic_min_kib");
    size_cell(table, domain, "target_kib");
    size_cell(table, managed ? domain : NULL, "dynamic_max_kib");
    size_cell(table, domain, "actual_kib");
}

/* What is wrong with its range, or may be. */
static const char *
range_complaint(const json_t *domain)
{
    const json_t *error = json_object_get(domain, "range_error");
    const json_t *warning = json_object_get(domain, "range_warning");

    return json_string_value(json_is_string(error) ? error : warning);
}

static void
show_range_errors(const struct screen *screen, const json_t *domains)
{
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain)
    {
        if (!range_complaint(domain))
            continue;
        fprintf(screen->out, "  ! domain %" PRId64 ": ",
                number_of(domain, "domid"));
        put_clean(screen->out, range_complaint(domain));
        fputc('\n', screen->out);
    }
}

static void
show_domains(const struct screen *screen, const json_t *domains)
{
    static const struct table_column columns[] = {
        { "DOMID", TABLE_RIGHT },
        { "NAME", TABLE_YIELDS },
        { "STATE", 0 },
        { "MIN", TABLE_RIGHT },
        { "TARGET", TABLE_RIGHT },
        { "MAX", TABLE_RIGHT },
        { "ACTUAL", TABLE_RIGHT },
    };
    struct table *table = table_new(columns, COUNT(columns));
    const json_t *domain;
    size_t i;

    json_array_foreach(domains, i, domain) domain_cells(table, domain);
    fputc('\n', screen->out);
    if (table_rows(table) > 0)
        table_print(table, screen->out, screen->width);
    else
        fputs("  no domains\n", screen->out);
    table_free(table);
    show_range_errors(screen, domains);
}

/* Whose it will be, as far as that is known. */
static void
owner_cell(struct table *table, const json_t *reservation)
{
    if (has_number(reservation, "in_transfer"))
        table_cell(table, "domain %" PRId64,
                   number_of(reservation, "in_transfer"));
    else
        table_cell(table, "%s", text_of(reservation, "uuid"));
}

static void
show_reservations(const struct screen *screen, const json_t *reservations)
{
    static const struct table_column columns[] = {
        { "RESERVATION", 0 },      { "CLIENT", TABLE_YIELDS },
        { "AMOUNT", TABLE_RIGHT }, { "AGE", TABLE_RIGHT },
        { "HOLD", TABLE_RIGHT },   { "FOR", 0 },
    };
    struct table *table = table_new(columns, COUNT(columns));
    const json_t *reservation;
    size_t i;

    json_array_foreach(reservations, i, reservation)
    {
        table_cell(table, "%s", text_of(reservation, "reservation"));
        table_cell(table, "%s", text_of(reservation, "client"));
        size_cell(table, reservation, "amount_kib");
        span_cell(table, reservation, "age_ms");
        span_cell(table, reservation, "hold_ms");
        owner_cell(table, reservation);
    }
    if (table_rows(table) > 0) {
        fputc('\n', screen->out);
        table_print(table, screen->out, screen->width);
    }
    table_free(table);
}

static void
show_queue(const struct screen *screen, const json_t *queue)
{
    static const struct table_column columns[] = {
        { "WAITING CLIENT", TABLE_YIELDS },
        { "MIN", TABLE_RIGHT },
        { "MAX", TABLE_RIGHT },
        { "AGE", TABLE_RIGHT },
        { "FOR DOMAINS", 0 },
    };
    struct table *table = table_new(columns, COUNT(columns));
    const json_t *request;
    size_t i;

    json_array_foreach(queue, i, request)
    {
        table_cell(table, "%s", text_of(request, "client"));
        size_cell(table, request, "min_kib");
        size_cell(table, request, "max_kib");
        span_cell(table, request, "age_ms");
        list_cell(table, json_object_get(request, "waiting_for"));
    }
    if (table_rows(table) > 0) {
        fputc('\n', screen->out);
        table_print(table, screen->out, screen->width);
    }
    table_free(table);
}

static void
show_last_plan(const struct screen *screen, const json_t *plan)
{
    char span[SPAN_TEXT];

    if (!has_number(plan, "age_ms"))
        return;
    fprintf(screen->out, "\nlast plan: %s ago, ",
            format_span(number_of(plan, "age_ms"), span));
    put_clean(screen->out, text_of(plan, "why"));
    fprintf(screen->out, ", %" PRId64 " write%s\n", number_of(plan, "writes"),
            number_of(plan, "writes") == 1 ? "" : "s");
}

static void
show_store(const struct screen *screen, const json_t *store)
{
    const char *why = json_string_value(json_object_get(store, "why"));

    if (json_is_false(json_object_get(store, "connected"))) {
        fputs("xenstore: NOT CONNECTED: ", screen->out);
        put_clean(screen->out, why ? why : "only what is known is shown");
        fputc('\n', screen->out);
    } else if (why) {
        fputs("xenstore: connected, but: ", screen->out);
        put_clean(screen->out, why);
        fputc('\n', screen->out);
    } else if (number_of(store, "reconnects") > 0) {
        fprintf(screen->out, "xenstore: connected, %" PRId64 " reconnects\n",
                number_of(store, "reconnects"));
    }
}

void
show_status(const struct screen *screen, const json_t *result)
{
    FILE *out = screen->out;

    fputs("squeezed ", out);
    put_clean(out, text_of(result, "version"));
    fputs(" on ", out);
    put_clean(out, text_of(result, "platform"));
    fputs(", policy ", out);
    put_clean(out, text_of(result, "policy"));
    fputs(": ", out);
    put_clean(out, text_of(result, "state"));
    fputs("\n\n", out);
    show_host(screen, json_object_get(result, "host"));
    show_domains(screen, json_object_get(result, "domains"));
    show_reservations(screen, json_object_get(result, "reservations"));
    show_queue(screen, json_object_get(result, "queue"));
    show_last_plan(screen, json_object_get(result, "last_plan"));
    show_store(screen, json_object_get(result, "store"));
}

void
show_available(const struct screen *screen, const json_t *result)
{
    static const struct table_column columns[] = { { NULL, 0 },
                                                   { NULL, TABLE_RIGHT },
                                                   { NULL, TABLE_RIGHT } };
    struct table *table = table_new(columns, COUNT(columns));

    amount_cells(table, "now", number_of(result, "now_kib"));
    amount_cells(table, "after a squeeze",
                 number_of(result, "after_squeeze_kib"));
    table_print(table, screen->out, screen->width);
    table_free(table);
}

static void
show_donors(const struct screen *screen, const json_t *donors)
{
    static const struct table_column columns[] = {
        { "DOMID", TABLE_RIGHT },
        { "NAME", TABLE_YIELDS },
        { "GIVES", TABLE_RIGHT },
    };
    struct table *table = table_new(columns, COUNT(columns));
    const json_t *donor;
    size_t i;

    json_array_foreach(donors, i, donor)
    {
        table_cell(table, "%" PRId64, number_of(donor, "domid"));
        table_cell(table, "%s", text_of(donor, "name"));
        size_cell(table, donor, "gives_kib");
    }
    if (table_rows(table) > 0)
        table_print(table, screen->out, screen->width);
    table_free(table);
}

void
show_plan(const struct screen *screen, const json_t *result)
{
    const char *verdict = text_of(result, "verdict");
    char size[SIZE_TEXT], span[SPAN_TEXT];

    put_clean(screen->out, verdict);
    if (strcmp(verdict, "impossible") == 0) {
        fprintf(screen->out, ": %s short\n",
                format_size(number_of(result, "short_kib"), size));
        return;
    }
    fprintf(screen->out, ": %s",
            format_size(number_of(result, "amount_kib"), size));
    if (has_number(result, "eta_ms") && strcmp(verdict, "now") != 0)
        fprintf(screen->out, " in about %s",
                format_span(number_of(result, "eta_ms"), span));
    else if (strcmp(verdict, "now") != 0)
        fputs(", nobody knows yet how soon", screen->out);
    fputc('\n', screen->out);
    show_donors(screen, json_object_get(result, "donors"));
}

void
show_reservation(const struct screen *screen, const json_t *result)
{
    put_clean(screen->out, text_of(result, "reservation"));
    fprintf(screen->out, " %" PRId64 "\n", number_of(result, "amount_kib"));
}

static void
put_amount(FILE *out, const char *label, const json_t *data, const char *key)
{
    char size[SIZE_TEXT];

    if (has_number(data, key))
        fprintf(out, "  %-13s %" PRId64 " KiB (%s)\n", label,
                number_of(data, key), format_size(number_of(data, key), size));
}

static void
put_debtors(FILE *out, const json_t *domids)
{
    const json_t *domid;
    size_t i;

    if (json_array_size(domids) == 0)
        return;
    fputs("  owed by       domain", out);
    json_array_foreach(domids, i, domid)
        fprintf(out, "%s %" JSON_INTEGER_FORMAT, i ? "," : "",
                json_integer_value(domid));
    fputc('\n', out);
}

/* "squeezectl: reserve: message (reason)", or another of our tools. */
static void
put_complaint(FILE *out, const char *what, const char *message,
              const json_t *reason)
{
    fprintf(out, "%s: %s: ", program_invocation_short_name, what);
    put_clean(out, message);
    if (json_is_string(reason)) {
        fputs(" (", out);
        put_clean(out, json_string_value(reason));
        fputs(")", out);
    }
    fputc('\n', out);
}

void
show_impossible(FILE *out, const json_t *plan)
{
    const char *message = json_string_value(json_object_get(plan, "message"));

    put_complaint(out, "plan", message && *message ? message : "impossible",
                  json_object_get(plan, "reason"));
}

void
show_refusal(FILE *out, const char *what, const json_t *error)
{
    const json_t *data = json_object_get(error, "data");

    put_complaint(out, what, text_of(error, "message"),
                  json_object_get(data, "reason"));
    put_amount(out, "needed", data, "needed_kib");
    put_amount(out, "to be had", data, "free_kib");
    put_amount(out, "short", data, "short_kib");
    put_debtors(out, json_object_get(data, "domids"));
}
