/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The xenstore client's longer calls: transactions and directories; and
 * freeing it in the middle of everything. */
#include "tests/fake_xenstored.h"
#include "tests/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Transactions */

static void
serve_start(const struct xsd_sockmsg *header)
{
    unsigned number = 100 + fake.served;
    char id[16];

    snprintf(id, sizeof(id), "%u", number);
    note("", "start");
    if (++fake.running > fake.most_running)
        fake.most_running = fake.running;
    fake.ended[number] = fake.ends;
    answer(header, id, strlen(id) + 1);
}

static void
serve_end(const struct xsd_sockmsg *header, const char *body)
{
    bool conflict = fake.conflicts || (fake.all_conflict &&
                                       fake.ended[header->tx_id] != fake.ends);

    note("", body);
    fake.running--;
    if (*body == 'T' && conflict) {
        if (fake.conflicts)
            fake.conflicts--;
        refuse(header, "EAGAIN");
        return;
    }
    fake.ends++;
    answer(header, "OK", 3);
}

static void
serve_transactions(struct fake *f, const struct xsd_sockmsg *header,
                   const char *body)
{
    (void)f;
    if (header->type == XS_TRANSACTION_START) {
        serve_start(header);
        return;
    }
    if (header->type == XS_TRANSACTION_END) {
        serve_end(header, body);
        return;
    }
    note(header->tx_id ? "+" : "", body);
    if (strstr(body, "missing"))
        refuse(header, "ENOENT");
    else if (strstr(body, "forbidden"))
        refuse(header, "EACCES");
    else
        answer(header, "OK", 3);
}

static void
commit(const struct xsc_change *changes, size_t count)
{
    fake.serve = serve_transactions;
    xsc_commit(seen.xsc, changes, count, on_reply, &seen);
}

/* So many requests at a time; what comes later waits for the answers. */
enum { ON_THE_WIRE = 64 };

static const struct xsc_change two[] = { { "/a", "1" }, { "/b", NULL } };

START_TEST(commits_several)
{
    commit(two, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start +/a +/b T ");
}
END_TEST

START_TEST(commits_one_without_transaction)
{
    commit(two, 1);
    run_until(&seen.replies, 1);
    ck_assert_str_eq(fake.log, "/a ");
    commit(two, 0);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.served, 1);
}
END_TEST

START_TEST(removing_what_is_missing_is_fine)
{
    const struct xsc_change changes[] = { { "/missing", NULL }, { "/b", "2" } };

    commit(changes, 2);
    commit(changes, 1);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start /missing +/missing +/b T ");
}
END_TEST

START_TEST(writing_into_what_is_missing_is_not)
{
    const struct xsc_change changes[] = { { "/missing", "1" },
                                          { "/forbidden", "2" } };

    commit(changes, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_FOUND);
    ck_assert_str_eq(fake.log, "start +/missing +/forbidden F ");
}
END_TEST

START_TEST(tries_again_after_a_conflict)
{
    fake.conflicts = 2;
    commit(two, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start +/a +/b T start +/a +/b T "
                               "start +/a +/b T ");
}
END_TEST

START_TEST(gives_up_after_twenty_conflicts)
{
    fake.conflicts = 1000;
    commit(two, 2);
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_AGAIN);
    ck_assert_uint_eq(1000 - fake.conflicts, 21);
    /* and the next one isn't blocked */
    fake.conflicts = 0;
    commit(two, 2);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* Half of them meet a conflict, and end all the same, one by one. */
START_TEST(many_commits_end)
{
    fake.conflicts = 50;
    for (int i = 0; i < 100; i++)
        commit(two, 2);
    run_until(&seen.replies, 100);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.most_running, 100);
    ck_assert_uint_eq(fake.running, 0);
    ck_assert_uint_eq(fake.served, 150 * 4);
}
END_TEST

/* Each conflicts with each: those that lost are tried again one by one. */
START_TEST(a_crowd_of_commits_ends)
{
    fake.all_conflict = true;
    for (int i = 0; i < 100; i++)
        commit(two, 2);
    run_until(&seen.replies, 100);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(fake.ends, 100);
    ck_assert_uint_eq(fake.served, (100 + 99) * 4);
}
END_TEST

static void
serve_change_late(struct fake *f, const struct xsd_sockmsg *header,
                  const char *body)
{
    if (header->type == XS_WRITE && f->served < 4) {
        note("-", body);
        refuse(header, "EAGAIN");
    } else {
        serve_transactions(f, header, body);
    }
}

START_TEST(a_conflict_may_show_early)
{
    commit(two, 2);
    fake.serve = serve_change_late;
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_str_eq(fake.log, "start -/a +/b F start +/a +/b T ");
}
END_TEST

static void
serve_until(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    if (f->served > f->serve_at_most)
        hang_up();
    else
        serve_transactions(f, header, body);
}

START_TEST(a_lost_commit_is_told)
{
    commit(two, 2);
    fake.serve = serve_until;
    fake.serve_at_most = (unsigned)_i;
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
    run_until(&seen.ups, 2);
    commit(two, 2);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

/* A conflict was seen, and before the transaction could be ended the connection
 * went: it is not tried again (found by fuzz_xsc). */
static void
serve_conflict_and_leave(struct fake *f, const struct xsd_sockmsg *header,
                         const char *body)
{
    if (header->type == XS_WRITE)
        refuse(header, "EAGAIN");
    else if (header->type == XS_RM)
        message(XS_RM, header->req_id + 100, 0, "OK", 3); /* nonsense */
    else
        serve_transactions(f, header, body);
}

START_TEST(a_lost_conflict_is_told)
{
    commit(two, 2);
    fake.serve = serve_conflict_and_leave;
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
}
END_TEST

/* Those that wait for their turn too. */
START_TEST(lost_commits_are_told)
{
    fake.all_conflict = true;
    for (int i = 0; i < 10; i++)
        commit(two, 2);
    fake.serve = serve_until;
    fake.serve_at_most = 47; /* 40 together, then 4 for each */
    run_until(&seen.losts, 1);
    ck_assert_uint_eq(seen.replies, 10);
    ck_assert_int_eq(seen.error, ERR_NOT_READY);
}
END_TEST

static void
serve_start_badly(struct fake *f, const struct xsd_sockmsg *header,
                  const char *body)
{
    static const char *const ids[] = { "", "0", "x", "4294967296", "-1" };

    (void)body;
    answer(header, ids[f->conflicts], strlen(ids[f->conflicts]));
}

static void
serve_and_note(struct fake *f, const struct xsd_sockmsg *header,
               const char *body)
{
    (void)f;
    if (header->type == XS_TRANSACTION_START) {
        note("", "start");
        answer(header, "9", 2);
        return;
    }
    if (strcmp(body, "/slow"))
        note("", body);
    answer(header, "OK", 3);
}

/* Behind what is on its way, before what waits. */
START_TEST(urgent_commits_go_first)
{
    fake.serve = serve_nothing;
    for (int i = 0; i < 200; i++)
        xsc_read(seen.xsc, 0, "/slow", NULL, NULL);
    xsc_commit(seen.xsc, two, 2, NULL, NULL);
    read_key("/late");
    run_until(&fake.served, ON_THE_WIRE);
    run_for(5000);
    ck_assert_uint_eq(fake.served,
                      ON_THE_WIRE); /* no more than those at a time */
    xsc_commit_urgent(seen.xsc, two, 1, on_reply, &seen);
    fake.serve = serve_and_note;
    for (uint32_t i = 0; i < ON_THE_WIRE; i++)
        message(XS_READ, fake.last.req_id - (ON_THE_WIRE - 1) + i, 0, "", 0);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(strncmp(fake.log, "/a start /late", 14), 0);
}
END_TEST

/* A commit that is tried again alone holds up other commits, not these. */
START_TEST(urgent_commits_wait_for_no_conflict)
{
    fake.serve = serve_transactions;
    fake.conflicts = 5;
    xsc_commit(seen.xsc, two, 2, on_reply, &seen);
    run_until(&fake.served, 5);
    xsc_commit_urgent(seen.xsc, two, 1, on_reply, &seen);
    run_until(&seen.replies, 1);
    ck_assert_uint_gt(fake.conflicts, 0);
    run_until(&seen.replies, 2);
    ck_assert_int_eq(seen.error, ERR_NONE);
}
END_TEST

START_TEST(a_strange_transaction_is_an_error)
{
    commit(two, 2);
    fake.conflicts = (unsigned)_i;
    fake.serve = serve_start_badly;
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_PROTOCOL);
}
END_TEST

/* Directories */

static void
serve_directory(struct fake *f, const struct xsd_sockmsg *header,
                const char *body)
{
    (void)f;
    (void)body;
    answer(header, "a\0bc", 5);
}

static void
list(void)
{
    xsc_directory(seen.xsc, 0, "/d", on_reply, &seen);
}

START_TEST(lists_a_directory)
{
    fake.serve = serve_directory;
    list();
    run_until(&seen.replies, 1);
    ck_assert_uint_eq(seen.length, 5);
    ck_assert_mem_eq(seen.value, "a\0bc", 5);
    fake.serve = serve_nothing;
    list();
    run_until(&fake.served, 2);
    answer(&fake.last, "a\0bc", 4); /* without the last NUL */
    run_until(&seen.replies, 2);
    ck_assert_uint_eq(seen.length, 5);
    ck_assert_mem_eq(seen.value, "a\0bc", 5);
    list();
    run_until(&fake.served, 3);
    answer(&fake.last, "", 0);
    run_until(&seen.replies, 3);
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

/* Parts by offset, as a list that each test sets. */
static struct {
    unsigned offset;
    const char *body;
    size_t length;
} parts[8];

static void
serve_parts(struct fake *f, const struct xsd_sockmsg *header, const char *body)
{
    const char *offset = body + strlen(body) + 1;
    unsigned i = f->conflicts;

    ck_assert_str_eq(body, "/d");
    if (header->type == XS_DIRECTORY) {
        refuse(header, "E2BIG");
        return;
    }
    ck_assert_uint_eq(header->type, XS_DIRECTORY_PART);
    ck_assert_uint_eq((unsigned)atoi(offset), parts[i].offset);
    f->conflicts++;
    if (parts[i].body)
        answer(header, parts[i].body, parts[i].length);
    else
        refuse(header, "ENOENT");
}

static void
part(unsigned i, unsigned offset, const char *body, size_t length)
{
    parts[i].offset = offset;
    parts[i].body = body;
    parts[i].length = length;
}

static void
list_parts(void)
{
    fake.serve = serve_parts;
    list();
    run_until(&seen.replies, 1);
}

START_TEST(lists_in_parts)
{
    part(0, 0, "7\0aa\0b", 7);
    part(1, 5, "7\0ccc", 6);
    part(2, 9, "7\0d\0", 5);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 11);
    ck_assert_mem_eq(seen.value, "aa\0b\0ccc\0d", 11);
}
END_TEST

START_TEST(restarts_when_the_directory_changes)
{
    part(0, 0, "7\0aa\0b", 7);
    part(1, 5, "8\0x\0", 5);
    part(2, 0, "8\0aa", 5);
    part(3, 3, "8\0", 3);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 3);
    ck_assert_mem_eq(seen.value, "aa", 3);
}
END_TEST

START_TEST(an_empty_part_ends_an_empty_directory)
{
    part(0, 0, "7\0", 3);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NONE);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

START_TEST(a_directory_may_vanish)
{
    part(0, 0, "7\0aa", 5);
    part(1, 3, NULL, 0);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_NOT_FOUND);
    ck_assert_uint_eq(seen.length, 0);
}
END_TEST

static const struct {
    const char *body;
    size_t length;
} bad_parts[] = {
    { "", 0 },        { "7", 1 },
    { "7", 2 },       { "7\0aa", 4 },
    { "\0\0\0a", 4 }, { "1111111111111111111111111111111111\0a", 37 },
};

START_TEST(refuses_bad_parts)
{
    part(0, 0, bad_parts[_i].body, bad_parts[_i].length);
    list_parts();
    ck_assert_int_eq(seen.error, ERR_PROTOCOL);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

static void
serve_endless(struct fake *f, const struct xsd_sockmsg *header,
              const char *body)
{
    static char names[4000];

    (void)body;
    if (header->type == XS_DIRECTORY) {
        refuse(header, "E2BIG");
        return;
    }
    memset(names, 'n', sizeof(names) - 1);
    names[0] = f->conflicts ? (char)('1' + f->served % 2) : '1';
    names[1] = '\0';
    answer(header, names, sizeof(names));
}

START_TEST(an_endless_directory_ends)
{
    fake.serve = serve_endless;
    list();
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_BUSY);
}
END_TEST

START_TEST(an_ever_changing_directory_ends)
{
    fake.serve = serve_endless;
    fake.conflicts = 1;
    list();
    run_until(&seen.replies, 1);
    ck_assert_int_eq(seen.error, ERR_AGAIN);
}
END_TEST

/* Freeing */

static void
fill_with_requests(void)
{
    fake.serve = serve_nothing;
    for (int i = 0; i < 100; i++)
        read_key("/a");
    list();
    commit(two, 2);
    commit(two, 1);
    read_key("not a path");
    fake.serve = serve_nothing;
}

START_TEST(frees_with_requests_pending)
{
    fill_with_requests();
    if (_i)
        run_until(&fake.served, ON_THE_WIRE);
    seen.replies = 0;
    free_client();
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 0);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(frees_in_up)
{
    hang_up();
    seen.free_in_up = true;
    run_until(&seen.ups, 2);
    run_for(5 * US_PER_MS);
    ck_assert_ptr_null(seen.xsc);
}
END_TEST

START_TEST(frees_in_lost)
{
    fill_with_requests();
    run_until(&fake.served, ON_THE_WIRE);
    seen.free_in_lost = true;
    hang_up();
    run_until(&seen.losts, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 104);
}
END_TEST

START_TEST(frees_in_watch)
{
    fill_with_requests();
    run_until(&fake.served, ON_THE_WIRE);
    seen.free_in_watch = true;
    for (int i = 0; i < 3; i++)
        message(XS_WATCH_EVENT, 0, 0, "p\0t", 4);
    run_until(&seen.events, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.events, 1);
}
END_TEST

/* With others behind it in the stream. */
START_TEST(frees_in_a_reply)
{
    fake.serve = serve_nothing;
    for (int i = 0; i < 10; i++)
        read_key("/a");
    list();
    run_until(&fake.served, 11);
    seen.free_in_reply = true;
    for (uint32_t i = 10; i > 0; i--)
        message(XS_READ, fake.last.req_id - i, 0, "value", 5);
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_mem_eq(seen.value, "value", 5);
}
END_TEST

START_TEST(frees_in_the_reply_of_an_operation)
{
    seen.free_in_reply = true;
    if (_i == 0) {
        fake.serve = serve_directory;
        list();
        list();
    } else {
        commit(two, (size_t)_i);
        commit(two, (size_t)_i);
    }
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
}
END_TEST

START_TEST(frees_in_a_lost_reply)
{
    fill_with_requests();
    run_until(&fake.served, ON_THE_WIRE);
    seen.replies = 0;
    seen.free_in_reply = true;
    hang_up();
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
    ck_assert_uint_eq(seen.losts, 0);
}
END_TEST

START_TEST(frees_in_a_local_reply)
{
    seen.free_in_reply = true;
    read_key("not a path");
    read_key("not a path");
    run_until(&seen.replies, 1);
    run_for(5 * US_PER_MS);
    ck_assert_uint_eq(seen.replies, 1);
}
END_TEST

#define TABLE(test, table)                                                     \
    tcase_add_loop_test(t, test, 0, (int)(sizeof(table) / sizeof(table[0])))

static Suite *
suite(void)
{
    Suite *s = suite_create("xsc calls");
    TCase *t = tcase_create("connected");

    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, commits_several);
    tcase_add_test(t, commits_one_without_transaction);
    tcase_add_test(t, removing_what_is_missing_is_fine);
    tcase_add_test(t, writing_into_what_is_missing_is_not);
    tcase_add_test(t, tries_again_after_a_conflict);
    tcase_add_test(t, gives_up_after_twenty_conflicts);
    tcase_add_test(t, many_commits_end);
    tcase_add_test(t, a_crowd_of_commits_ends);
    tcase_add_test(t, a_conflict_may_show_early);
    tcase_add_loop_test(t, a_lost_commit_is_told, 0, 4);
    tcase_add_test(t, a_lost_conflict_is_told);
    tcase_add_test(t, lost_commits_are_told);
    tcase_add_test(t, urgent_commits_go_first);
    tcase_add_test(t, urgent_commits_wait_for_no_conflict);
    tcase_add_loop_test(t, a_strange_transaction_is_an_error, 0, 5);
    tcase_add_test(t, lists_a_directory);
    tcase_add_test(t, lists_in_parts);
    tcase_add_test(t, restarts_when_the_directory_changes);
    tcase_add_test(t, an_empty_part_ends_an_empty_directory);
    tcase_add_test(t, a_directory_may_vanish);
    TABLE(refuses_bad_parts, bad_parts);
    tcase_add_test(t, an_endless_directory_ends);
    tcase_add_test(t, an_ever_changing_directory_ends);
    tcase_add_loop_test(t, frees_with_requests_pending, 0, 2);
    tcase_add_test(t, frees_in_up);
    tcase_add_test(t, frees_in_lost);
    tcase_add_test(t, frees_in_watch);
    tcase_add_test(t, frees_in_a_reply);
    tcase_add_loop_test(t, frees_in_the_reply_of_an_operation, 0, 3);
    tcase_add_test(t, frees_in_a_lost_reply);
    tcase_add_test(t, frees_in_a_local_reply);
    return s;
}

int
main(void)
{
    return run_suite(suite(), CK_FORK_GETENV);
}
