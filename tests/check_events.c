/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events for those who follow, and the metrics. */
#include "tests/server_stage.h"

#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ------------------------------------------------------------------- events */

#define FOLLOW "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"

/* What a listener has got so far. */
struct listener {
    int fd;
    char *text;
    size_t length;
    bool at_end;
};

static void
hear(struct listener *l)
{
    char bytes[65536];
    ssize_t n;

    pump();
    while ((n = recv(l->fd, bytes, sizeof bytes, 0)) > 0) {
        l->text = realloc(l->text, l->length + (size_t)n + 1);
        memcpy(l->text + l->length, bytes, (size_t)n);
        l->length += (size_t)n;
        l->text[l->length] = '\0';
    }
    l->at_end = n == 0;
}

static struct listener
follow(const char *request)
{
    struct listener l = { .fd = new_client() };

    send_text(l.fd, request);
    hear(&l);
    ck_assert_ptr_ne(l.text, NULL);
    ck_assert_msg(strncmp(l.text, "HTTP/1.1 200", 12) == 0 ||
                      strncmp(l.text, "HTTP/1.0 200", 12) == 0,
                  "%s", l.text);
    return l;
}

static void
hang_up(struct listener *l)
{
    close(l->fd);
    free(l->text);
    pump();
}

static bool
has_heard(struct listener *l, const char *text)
{
    hear(l);
    return l->text && strstr(l->text, text) != NULL;
}

static void
tell_transfer(uint32_t domid)
{
    toy.told(toy.told_context, &(struct news){ .kind = NEWS_TRANSFER,
                                               .client = "xenopsd",
                                               .reservation = ID1,
                                               .amount_kib = 8,
                                               .domid = domid });
}

START_TEST(listeners_hear_of_it)
{
    struct listener a = follow(FOLLOW), b = follow(FOLLOW);
    const char *data;
    json_t *event;

    ck_assert_ptr_ne(strstr(a.text, "Content-Type: text/event-stream\r\n"),
                     NULL);
    ck_assert(has_heard(&a, ": squeezed "));
    tell_transfer(7);
    ck_assert(has_heard(&a, "event: transfer\ndata: {") &&
              has_heard(&b, "event: transfer\ndata: {"));
    data = strstr(a.text, "data: ") + 6;
    event = json_loads(data, JSON_DISABLE_EOF_CHECK, NULL);
    ck_assert_ptr_ne(event, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(event, "reservation")),
                     ID1);
    ck_assert_int_eq(json_integer_value(json_object_get(event, "domid")), 7);
    ck_assert_int_eq(json_integer_value(json_object_get(event, "t_ms")),
                     toy_now_us() / 1000);
    json_decref(event);
    hang_up(&a);
    tell_transfer(8);
    ck_assert(has_heard(&b, "\"domid\":8"));
    still_serves();
    hang_up(&b);
    ck_assert_uint_eq(server_connections(server), 0);
    tell_transfer(9); /* to nobody */
    pump();
}
END_TEST

START_TEST(listeners_of_all_kinds)
{
    struct listener old = follow("GET /v1/events HTTP/1.0\r\n\r\n");
    /* What is sent meanwhile is not heard. */
    struct listener eager = follow(FOLLOW FOLLOW "rubbish");
    struct listener half = follow(FOLLOW);

    ck_assert_ptr_eq(strstr(old.text, "chunked"), NULL);
    tell_transfer(7);
    ck_assert(has_heard(&old, "\"domid\":7"));
    ck_assert(has_heard(&eager, "\"domid\":7"));
    ck_assert_uint_eq(server_connections(server), 3);
    shutdown(half.fd, SHUT_WR); /* counts as gone */
    pump();
    hear(&half);
    ck_assert(half.at_end);
    ck_assert_uint_eq(server_connections(server), 2);
    hang_up(&half);
    hang_up(&old);
    hang_up(&eager);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

/* The bound is in sq_limits.h, and a socket holds some as well. */
START_TEST(who_does_not_read_is_dropped)
{
    struct listener slow = follow(FOLLOW), fast = follow(FOLLOW);

    for (uint32_t i = 0; i < 8000; i++) {
        tell_transfer(i);
        if (i % 100 == 0)
            hear(&fast);
    }
    ck_assert(has_heard(&fast, "\"domid\":7999"));
    ck_assert_ptr_eq(strstr(fast.text, "dropped"), NULL);
    ck_assert_ptr_eq(strstr(fast.text, "rubbish"), NULL);
    for (int i = 0; i < 100 && !slow.at_end; i++)
        hear(&slow);
    ck_assert(slow.at_end);
    ck_assert_ptr_eq(strstr(slow.text, "\"domid\":7999"), NULL);
    ck_assert_str_eq(strstr(slow.text, ": dropped"),
                     ": dropped: what happens was not read as fast as it "
                     "happened\n\n\r\n0\r\n\r\n");
    ck_assert_uint_lt(slow.length, 2 * LIMIT_LISTENER_BYTES + MIB);
    hang_up(&slow);
    hang_up(&fast);
    ck_assert_uint_eq(server_connections(server), 0);
}
END_TEST

START_TEST(not_too_many_follow)
{
    struct listener all[LIMIT_LISTENERS];
    int fd;

    for (size_t i = 0; i < LIMIT_LISTENERS; i++)
        all[i] = follow(FOLLOW);
    fd = new_client();
    send_text(fd, FOLLOW);
    receive(fd);
    expect_error(503, -32008);
    hang_up(&all[3]);
    send_text(fd, FOLLOW); /* on the same connection: it was not closed */
    receive(fd);
    ck_assert_int_eq(got.status, 200);
    close(fd);
    for (size_t i = 0; i < LIMIT_LISTENERS; i++)
        if (i != 3)
            hang_up(&all[i]);
    still_serves();
}
END_TEST

/* Its idle time is 50 ms here. */
START_TEST(a_listener_is_not_idle)
{
    struct listener l = follow(FOLLOW);

    pump_for(200);
    toy_set_now_us(toy_now_us() + 10 * (int64_t)US_PER_S);
    pump_for(100);
    ck_assert(has_heard(&l, ": still here\n\n"));
    ck_assert(!l.at_end);
    tell_transfer(7);
    ck_assert(has_heard(&l, "\"domid\":7"));
    hang_up(&l);
}
END_TEST

START_TEST(ends_with_listeners)
{
    struct listener l = follow(FOLLOW);

    server_free(server);
    server = NULL;
    hear(&l);
    ck_assert(l.at_end);
    hang_up(&l);
}
END_TEST

static void
tell(struct news news)
{
    toy.told(toy.told_context, &news);
}

/* Each kind of news, as it is sent. */
START_TEST(events_have_their_fields)
{
    const struct request asked = { .min_kib = 4,
                                   .max_kib = 8,
                                   .submitted_us = 5,
                                   .deadline_us = 5 + US_PER_S };
    const uint32_t domids[] = { 3, 7 };
    const struct result granted = { .reservation = ID1,
                                    .amount_kib = 8,
                                    .took_us = 12345 };
    const struct result refused = { .error = ERR_UNCOOPERATIVE,
                                    .message = "no",
                                    .needed_kib = 8,
                                    .free_kib = 4,
                                    .short_kib = 4,
                                    .domids = domids,
                                    .domid_count = 2 };
    const struct setting setting = { .domid = 1,
                                     .target_kib = 4,
                                     .limit_kib = 8 };
    const struct platform_health health = { .reconnects = 2, .why = "x" };
    static const char *const wanted[] = {
        "event: request\ndata: {\"request\":9,\"client\":\"c\",\"min_kib\":4,"
        "\"max_kib\":8,\"wait\":false,\"timeout_ms\":1000,\"t_ms\":",
        "event: grant\ndata: {\"request\":9,\"client\":\"c\","
        "\"reservation\":\"" ID1 "\",\"amount_kib\":8,\"took_ms\":12,",
        "event: refusal\ndata: {\"request\":9,\"client\":\"c\",\"reason\":"
        "\"uncooperative\",\"message\":\"no\",\"took_ms\":0,\"needed_kib\":8,"
        "\"free_kib\":4,\"short_kib\":4,\"domids\":[3,7],",
        "event: release\ndata: {\"reservation\":\"r\",\"client\":\"c\","
        "\"amount_kib\":8,\"why\":\"login\",",
        "event: target\ndata: {\"domid\":1,\"name\":\"web\",\"target_kib\":4,"
        "\"limit_kib\":8,\"why\":\"balance\",",
        "event: state\ndata: {\"domid\":1,\"name\":\"web\",\"state\":\"ok\",",
        "event: state\ndata: {\"state\":\"tight\",",
        "event: range-error\ndata: {\"domid\":7,\"name\":\"b?s\\\"e\","
        "\"range_error\":\"dynamic-min 9 is above dynamic-max 8\",",
        "event: theft\ndata: {\"missing_kib\":8,",
        "event: overload\ndata: {\"overloaded\":true,\"missing_kib\":8,",
        "event: store\ndata: {\"connected\":false,\"reconnects\":2,\"why\":"
        "\"x\",",
    };
    struct listener l = follow(FOLLOW);

    tell((struct news){ NEWS_REQUEST, 9, "c", .asked = &asked });
    tell((struct news){ NEWS_GRANT, 9, "c", .result = &granted });
    tell((struct news){ NEWS_REFUSAL, 9, "c", .result = &refused });
    tell((struct news){ .kind = NEWS_RELEASE,
                        .client = "c",
                        .reservation = "r",
                        .amount_kib = 8,
                        .why = "login" });
    tell((struct news){ .kind = NEWS_TARGET,
                        .domid = 1,
                        .setting = &setting,
                        .why = "balance" });
    tell((struct news){ .kind = NEWS_STATE, .domid = 1, .state = "ok" });
    tell(
        (struct news){ .kind = NEWS_STATE, .of_host = true, .state = "tight" });
    tell((struct news){ .kind = NEWS_RANGE_ERROR, .domid = 7, .begins = true });
    tell((struct news){ .kind = NEWS_THEFT, .missing_kib = 8 });
    tell((struct news){
        .kind = NEWS_OVERLOAD, .begins = true, .missing_kib = 8 });
    tell((struct news){ .kind = NEWS_STORE, .health = &health });
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        ck_assert_msg(has_heard(&l, wanted[i]), "no\n%s in\n%s", wanted[i],
                      l.text);
    hang_up(&l);
}
END_TEST

/* ------------------------------------------------------------------ metrics */

static const char *
metrics(const char *header)
{
    char text[200];
    int fd = new_client();

    snprintf(text, sizeof text, "GET /metrics HTTP/1.1\r\n%s\r\n", header);
    send_text(fd, text);
    receive(fd);
    close(fd);
    pump();
    expect_status(200);
    return got.body;
}

static void
expect_metric(const char *line)
{
    ck_assert_msg(strstr(got.body, line) != NULL, "no %s in\n%s", line,
                  got.body);
}

START_TEST(metrics_count_and_measure)
{
    const struct result granted = { .reservation = ID1,
                                    .amount_kib = 8,
                                    .took_us = 12345 };
    const struct result refused = { .error = ERR_TIMEOUT };
    const char *page = metrics("");

    ck_assert_ptr_ne(
        strstr(got.head, "Content-Type: text/plain; version=0.0.4"), NULL);
    ck_assert_str_eq(page + got.length - 6, "# EOF\n");
    expect_metric("# TYPE squeezed_grants_total counter\n"
                  "squeezed_grants_total 0\n");
    expect_metric("\nsqueezed_host_free_bytes 1024000000\n");
    expect_metric("\nsqueezed_domain_actual_bytes{domid=\"7\",name=\"b?s"
                  "\\\"e\"} 1073741824\n");
    tell((struct news){ NEWS_GRANT, 9, "c", .result = &granted });
    tell((struct news){ NEWS_GRANT, 9, "c", .result = &granted });
    tell((struct news){ NEWS_REFUSAL, 9, "c", .result = &refused });
    metrics("");
    expect_metric("\nsqueezed_grants_total 2\n");
    expect_metric("\nsqueezed_granted_bytes_total 16384\n");
    expect_metric("\nsqueezed_refusals_total{reason=\"timeout\"} 1\n");
    expect_metric("\nsqueezed_grant_seconds_bucket{le=\"0.01\"} 0\n");
    expect_metric("\nsqueezed_grant_seconds_bucket{le=\"0.025\"} 2\n");
    expect_metric("\nsqueezed_grant_seconds_bucket{le=\"+Inf\"} 2\n");
    expect_metric("\nsqueezed_grant_seconds_sum 0.024690\n");
    metrics("Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n");
    ck_assert_ptr_ne(strstr(got.head, "application/openmetrics-text"), NULL);
    expect_metric("# TYPE squeezed_grants counter\n"
                  "squeezed_grants_total 2\n");
    expect_metric("# UNIT squeezed_granted_bytes bytes\n");
    toy.invisible = true; /* the counters are there all the same */
    metrics("");
    expect_metric("\nsqueezed_grants_total 2\n");
    ck_assert_ptr_eq(strstr(got.body, "\nsqueezed_host_free_bytes"), NULL);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("events");
    TCase *tc = server_case(suite, "events", setup);
    TCase *small = server_case(suite, "limits", setup_small);

    tcase_add_test(tc, listeners_hear_of_it);
    tcase_add_test(tc, listeners_of_all_kinds);
    tcase_add_test(tc, who_does_not_read_is_dropped);
    tcase_add_test(tc, not_too_many_follow);
    tcase_add_test(tc, ends_with_listeners);
    tcase_add_test(tc, events_have_their_fields);
    tcase_add_test(tc, metrics_count_and_measure);
    tcase_add_test(small, a_listener_is_not_idle);
    return run_suite(suite, CK_FORK_GETENV);
}
