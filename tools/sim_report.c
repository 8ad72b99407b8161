/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/sim_report.h"

#include "tools/table.h"

#include <inttypes.h>
#include <jansson.h>

/* Microseconds have at most 13 digits here. */
#define REAL_DIGITS 15

static double
seconds(int64_t us)
{
    return (double)us / US_PER_S;
}

static const struct scenario_event *
event_of(const struct sim_report *report, const struct simulated_request *r)
{
    return &report->scenario->events[r->event];
}

/* -------------------------------------------------------------------- tables
 */

static const struct table_column request_columns[] = {
    { "EVENT", TABLE_RIGHT }, { "CLIENT", TABLE_YIELDS },
    { "MIN", TABLE_RIGHT },   { "MAX", TABLE_RIGHT },
    { "AT", TABLE_RIGHT },    { "TOOK", TABLE_RIGHT },
    { "LIMIT", TABLE_RIGHT }, { "OUTCOME", 0 },
    { "GOT", TABLE_RIGHT },   { "ERROR", 0 },
};

static void
cell_size(struct table *table, uint64_t kib)
{
    char text[SIZE_TEXT];

    table_cell(table, "%s",
               format_size((int64_t)min_u64(kib, INT64_MAX), text));
}

static void
cell_time(struct table *table, int64_t us)
{
    if (us < 0)
        table_cell(table, "-");
    else
        table_cell(table, "%.3f s", seconds(us));
}

static void
add_request_row(struct table *table, const struct sim_report *report,
                const struct simulated_request *r)
{
    const struct scenario_event *e = event_of(report, r);

    table_cell(table, "%" PRIu32, e->number);
    table_cell(table, "%s", e->client);
    cell_size(table, e->min_kib);
    cell_size(table, e->max_kib);
    cell_time(table, r->submitted_us);
    cell_time(table,
              r->answered_us < 0 ? -1 : r->answered_us - r->submitted_us);
    cell_time(table, r->limit_us);
    table_cell(table, "%s", outcome_name(r->outcome));
    if (r->outcome == OUTCOME_GRANTED)
        cell_size(table, r->amount_kib);
    else
        table_cell(table, "-");
    table_cell(table, "%s", r->error == ERR_NONE ? "" : err_name(r->error));
}

static void
print_requests(const struct sim_report *report, FILE *out, unsigned width)
{
    const struct simulation_results *r = report->results;
    struct table *table = table_new(
        request_columns, sizeof request_columns / sizeof *request_columns);

    for (size_t i = 0; i < r->request_count; i++)
        add_request_row(table, report, &r->requests[i]);
    table_print(table, out, width);
    table_free(table);
}

static const struct table_column domain_columns[] = {
    { "DOMAIN", TABLE_RIGHT },
    { "NAME", TABLE_YIELDS },
    { "STATE", 0 },
    { "MIN", TABLE_RIGHT },
    { "TARGET", TABLE_RIGHT },
    { "ACTUAL", TABLE_RIGHT },
    { "LIMIT", TABLE_RIGHT },
    { "MAX", TABLE_RIGHT },
};

static void
add_domain_row(struct table *table, const struct simulated_domain *d)
{
    table_cell(table, "%" PRIu32, d->domid);
    table_cell(table, "%s", d->name);
    table_cell(table, "%s", domain_state_name(d->state));
    if (d->managed)
        cell_size(table, d->dynamic_min_kib);
    else
        table_cell(table, "-");
    cell_size(table, d->target_kib);
    cell_size(table, d->actual_kib);
    cell_size(table, d->limit_kib);
    if (d->managed)
        cell_size(table, d->dynamic_max_kib);
    else
        table_cell(table, "-");
}

static void
print_domains(const struct sim_report *report, FILE *out, unsigned width)
{
    const struct simulation_results *r = report->results;
    struct table *table = table_new(domain_columns, sizeof domain_columns /
                                                        sizeof *domain_columns);

    for (size_t i = 0; i < r->domain_count; i++)
        add_domain_row(table, &r->domains[i]);
    table_print(table, out, width);
    table_free(table);
}

static void
print_host(const struct sim_report *report, FILE *out)
{
    const struct simulation_results *r = report->results;
    char total[SIZE_TEXT], free_text[SIZE_TEXT], reserved[SIZE_TEXT],
        least[SIZE_TEXT];

    fprintf(out,
            "%.3f s simulated; memory %s, free %s, reserved %s, "
            "least headroom %s, %" PRIu64 " target write%s\n",
            seconds(r->simulated_us), format_size((int64_t)r->total_kib, total),
            format_size((int64_t)r->free_kib, free_text),
            format_size((int64_t)r->reserved_kib, reserved),
            format_size(r->min_headroom_kib, least), r->target_writes,
            r->target_writes == 1 ? "" : "s");
    if (report->timing)
        fprintf(out, "%.3f s of processor time\n", r->cpu_s);
}

void
sim_report_table(const struct sim_report *report, FILE *out, unsigned width)
{
    fprintf(out, "%s: policy %s, seed %" PRIu64 "\n", report->scenario->name,
            report->scenario->policy->name, report->seed);
    if (report->results->request_count > 0) {
        fputc('\n', out);
        print_requests(report, out, width);
    }
    if (report->results->domain_count > 0) {
        fputc('\n', out);
        print_domains(report, out, width);
    }
    fputc('\n', out);
    print_host(report, out);
}

size_t
sim_report_failures(const struct sim_report *report, FILE *out)
{
    const struct simulation_results *r = report->results;

    for (size_t i = 0; i < r->violation_count; i++)
        fprintf(out, "%s: %.6f s: promise %d is broken: %s\n",
                report->scenario->name, seconds(r->violations[i].t_us),
                r->violations[i].promise, r->violations[i].text);
    for (size_t i = 0; i < r->failure_count; i++)
        fprintf(out, "%s: %s\n", report->scenario->name, r->failures[i]);
    return r->violation_count + r->failure_count;
}

/* ---------------------------------------------------------------------- JSON
 */

static json_t *
integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *
time_or_null(int64_t us)
{
    return us < 0 ? json_null() : json_real(seconds(us));
}

/* What a refusal says, and nobody else. */
static json_t *
size_or_null(const struct simulated_request *r, uint64_t kib)
{
    bool said = r->error == ERR_CANNOT_FREE || r->error == ERR_UNCOOPERATIVE ||
                r->error == ERR_TIMEOUT;

    return said ? integer(kib) : json_null();
}

static json_t *
json_of_request(const struct sim_report *report,
                const struct simulated_request *r)
{
    const struct scenario_event *e = event_of(report, r);
    json_t *domids = json_array();

    for (size_t i = 0; i < r->domid_count; i++)
        json_array_append_new(domids, integer(r->domids[i]));
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:f, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}",
        "event", integer(e->number), "client", e->client, "min_kib",
        integer(e->min_kib), "max_kib", integer(e->max_kib), "submitted_s",
        seconds(r->submitted_us), "answered_s", time_or_null(r->answered_us),
        "outcome", outcome_name(r->outcome), "amount_kib",
        integer(r->amount_kib), "error",
        r->error == ERR_NONE ? json_null() : json_string(err_name(r->error)),
        "needed_kib", size_or_null(r, r->needed_kib), "free_kib",
        size_or_null(r, r->free_kib), "domids", domids, "limit_s",
        time_or_null(r->limit_us));
}

static json_t *
json_of_domain(const struct simulated_domain *d)
{
    return json_pack(
        "{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "domid", integer(d->domid),
        "name", d->name, "state", domain_state_name(d->state),
        "dynamic_min_kib", integer(d->managed ? d->dynamic_min_kib : 0),
        "target_kib", integer(d->target_kib), "actual_kib",
        integer(d->actual_kib), "limit_kib", integer(d->limit_kib),
        "dynamic_max_kib", integer(d->managed ? d->dynamic_max_kib : 0));
}

static json_t *
json_of_host(const struct simulation_results *r)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "total_kib", integer(r->total_kib),
                     "free_kib", integer(r->free_kib), "reserved_kib",
                     integer(r->reserved_kib), "min_headroom_kib",
                     json_integer((json_int_t)r->min_headroom_kib));
}

static json_t *
json_of_violation(const struct violation *v)
{
    return json_pack("{s:f, s:i, s:s}", "t_s", seconds(v->t_us), "promise",
                     v->promise, "text", v->text);
}

bool
sim_report_json(const struct sim_report *report, FILE *out)
{
    const struct simulation_results *r = report->results;
    json_t *requests = json_array(), *domains = json_array(),
           *violations = json_array(), *all;
    bool good;

    for (size_t i = 0; i < r->request_count; i++)
        json_array_append_new(requests,
                              json_of_request(report, &r->requests[i]));
    for (size_t i = 0; i < r->domain_count; i++)
        json_array_append_new(domains, json_of_domain(&r->domains[i]));
    for (size_t i = 0; i < r->violation_count; i++)
        json_array_append_new(violations, json_of_violation(&r->violations[i]));
    all = json_pack(
        "{s:s, s:s, s:o, s:f, s:o, s:o, s:o, s:o, s:o}", "scenario",
        report->scenario->name, "policy", report->scenario->policy->name,
        "seed", integer(report->seed), "simulated_s", seconds(r->simulated_us),
        "requests", requests, "host", json_of_host(r), "domains", domains,
        "target_writes", integer(r->target_writes), "violations", violations);
    if (all && report->timing)
        json_object_set_new(all, "cpu_s", json_real(r->cpu_s));
    good = all && json_dumpf(all, out, JSON_REAL_PRECISION(REAL_DIGITS)) == 0;
    json_decref(all);
    fputc('\n', out);
    return good;
}
