/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares: exact to the page, fair, within their bounds. */
#include "squeezed/core/policy.h"

#include "tests/random.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>

#define MAX 2000

static struct share_member members[MAX];

static uint64_t
share(size_t count, uint64_t budget)
{
    return policy_share(policy_find("proportional"), members, count, budget);
}

static struct share_member
member(uint64_t min, uint64_t max)
{
    return (struct share_member){
        .min_pages = min,
        .max_pages = max,
        .lower_pages = min,
        .upper_pages = max,
    };
}

static uint64_t
total(size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += members[i].share_pages;
    return sum;
}

START_TEST(finds_policies)
{
    ck_assert_ptr_nonnull(policy_find("proportional"));
    ck_assert_ptr_null(policy_find("no such"));
}
END_TEST

START_TEST(same_ratio_for_all)
{
    members[0] = member(100, 200);
    members[1] = member(0, 1000);
    members[2] = member(500, 500);
    share(3, 100 + 50 + 500 + 500);
    ck_assert_uint_eq(members[0].share_pages, 150);
    ck_assert_uint_eq(members[1].share_pages, 500);
    ck_assert_uint_eq(members[2].share_pages, 500);
}
END_TEST

START_TEST(ends_at_the_bounds)
{
    members[0] = member(100, 200);
    members[1] = member(10, 20);
    ck_assert_uint_eq(share(2, 5), 0);
    ck_assert_uint_eq(total(2), 110);
    ck_assert_uint_eq(share(2, 500), GAMMA_ONE);
    ck_assert_uint_eq(total(2), 220);
    ck_assert_uint_eq(share(0, 500), GAMMA_ONE);
}
END_TEST

START_TEST(remainders_go_to_the_largest)
{
    /* Ratio 1/2: 1.5, 2.5 and 0.5; of 4.5 the budget has 4: one page goes to
     * one of the equal fractions, the first. */
    members[0] = member(0, 3);
    members[1] = member(0, 5);
    members[2] = member(0, 10);
    share(3, 9); /* ratio 1/2: 1.5 + 2.5 + 5 */
    ck_assert_uint_eq(members[0].share_pages, 2);
    ck_assert_uint_eq(members[1].share_pages, 2);
    ck_assert_uint_eq(members[2].share_pages, 5);
}
END_TEST

START_TEST(others_take_what_a_bound_leaves)
{
    members[0] = member(0, 100);
    members[1] = member(0, 100);
    members[2] = member(0, 100);
    members[0].lower_pages = 90; /* a laggard */
    share(3, 150);
    ck_assert_uint_eq(members[0].share_pages, 90);
    ck_assert_uint_eq(members[1].share_pages, 30);
    ck_assert_uint_eq(members[2].share_pages, 30);
}
END_TEST

static uint64_t
random_pages(struct random *r)
{
    return random_below(r, UINT64_C(1) << (1 + random_below(r, 38)));
}

/* Random members: the sum is exact, the bounds hold, and two domains that are
 * at no bound have the same ratio, to a page. */
START_TEST(exact_and_fair)
{
    struct random r = random_seed("exact_and_fair", (uint64_t)_i);
    size_t count = 1 + (size_t)random_below(&r, _i % 10 ? 50 : MAX);
    uint64_t lowest = 0, highest = 0, budget, gamma;

    for (size_t i = 0; i < count; i++) {
        uint64_t min = random_pages(&r), span = random_pages(&r);

        members[i] = member(min, min + span);
        if (random_below(&r, 4) == 0)
            members[i].lower_pages += random_below(&r, span + 1);
        if (random_below(&r, 4) == 0)
            members[i].upper_pages -= random_below(
                &r, members[i].upper_pages - members[i].lower_pages + 1);
        lowest += members[i].lower_pages;
        highest += members[i].upper_pages;
    }
    budget = lowest + random_below(&r, highest - lowest + 1);
    gamma = share(count, budget);
    ck_assert_uint_eq(total(count), budget);
    for (size_t i = 0; i < count; i++) {
        const struct share_member *m = &members[i];
        unsigned __int128 fair =
            (unsigned __int128)(m->max_pages - m->min_pages) * gamma;
        uint64_t f = m->min_pages + (uint64_t)(fair >> GAMMA_BITS);

        ck_assert_uint_ge(m->share_pages, m->lower_pages);
        ck_assert_uint_le(m->share_pages, m->upper_pages);
        if (f > m->lower_pages && f + 2 < m->upper_pages) {
            ck_assert_uint_ge(m->share_pages + 1, f);
            ck_assert_uint_le(m->share_pages, f + 2);
        }
    }
}
END_TEST

/* A domain never gets less because there is more to share. */
START_TEST(grows_with_the_budget)
{
    struct random r = random_seed("grows_with_the_budget", (uint64_t)_i);
    size_t count = 1 + (size_t)random_below(&r, 20);
    uint64_t before[20], budget = 0;

    for (size_t i = 0; i < count; i++) {
        members[i] =
            member(random_below(&r, 1000), 1000 + random_below(&r, 100000));
        budget += members[i].max_pages;
    }
    budget = random_below(&r, budget);
    share(count, budget);
    for (size_t i = 0; i < count; i++)
        before[i] = members[i].share_pages;
    share(count, budget + 1000);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_ge(members[i].share_pages + 1, before[i]);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("policy");
    TCase *tcase = tcase_create("policy");
    int status;

    tcase_add_test(tcase, finds_policies);
    tcase_add_test(tcase, same_ratio_for_all);
    tcase_add_test(tcase, ends_at_the_bounds);
    tcase_add_test(tcase, remainders_go_to_the_largest);
    tcase_add_test(tcase, others_take_what_a_bound_leaves);
    tcase_add_loop_test(tcase, exact_and_fair, 0, random_runs(2000));
    tcase_add_loop_test(tcase, grows_with_the_budget, 0, random_runs(500));
    suite_add_tcase(suite, tcase);
    status = run_suite(suite, CK_NOFORK);
    if (status != EXIT_SUCCESS)
        random_report();
    return status;
}
