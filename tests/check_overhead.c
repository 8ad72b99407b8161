/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/overhead.h"
#include "common/units.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>

#define MIB  KIB_PER_MIB
#define NONE OVERHEAD_DEFAULT

/* Worked out by hand from libxl's sources of Xen 4.17. */
static const struct {
    struct overhead_guest guest;
    uint64_t need_kib; /* with its own memory */
} guests[] = {
    /* nothing is set: 32 MiB, paging 256 + 32 pages, 1 MiB: 34.125 MiB */
    { { .target_kib = NONE,
        .max_kib = NONE,
        .shadow_kib = NONE,
        .iommu_kib = NONE },
      36 * MIB },
    /* PV, 1 GiB of 2 GiB, 2 vCPUs: 1024 + (512 + 2048) x 4 KiB + 1 = 1035 */
    { { .vcpus = 2,
        .target_kib = 1024 * MIB,
        .max_kib = 2048 * MIB,
        .shadow_kib = NONE,
        .iommu_kib = NONE },
      1036 * MIB },
    /* the same with shadow_memory = 0: 1025 */
    { { .vcpus = 2,
        .target_kib = 1024 * MIB,
        .max_kib = 2048 * MIB,
        .shadow_kib = 0,
        .iommu_kib = NONE },
      1026 * MIB },
    /* PVH with HAP, 256 of 512, 1 vCPU: 256 + (256 + 512) x 4 KiB + 2 = 261 */
    { { .type = OVERHEAD_PVH,
        .vcpus = 1,
        .hap = true,
        .target_kib = 256 * MIB,
        .max_kib = 512 * MIB,
        .shadow_kib = NONE,
        .iommu_kib = NONE },
      262 * MIB },
    /* without HAP: 256 + (256 + 2 x 512) x 4 KiB + 2 = 263 */
    { { .type = OVERHEAD_PVH,
        .vcpus = 1,
        .target_kib = 256 * MIB,
        .max_kib = 512 * MIB,
        .shadow_kib = NONE,
        .iommu_kib = NONE },
      264 * MIB },
    /* HVM, exactly full 2 MiB: 1024 + (256 + 1024) x 4 KiB + 2 - 1 */
    { { .type = OVERHEAD_HVM,
        .vcpus = 1,
        .hap = true,
        .target_kib = 1023 * MIB,
        .max_kib = 1024 * MIB,
        .shadow_kib = NONE,
        .iommu_kib = NONE },
      1030 * MIB },
    /* and 4 KiB more than that */
    { { .type = OVERHEAD_HVM,
        .vcpus = 1,
        .hap = true,
        .target_kib = 1023 * MIB + 4,
        .max_kib = 1024 * MIB,
        .shadow_kib = NONE,
        .iommu_kib = NONE },
      1032 * MIB },
    /* IOMMU tables for 4 GiB: 2048 + 4 + 1 + 1 pages = 8216 KiB; shadow 8 MiB:
     * 4096 + 8 + 8.02 + 2 = 4114.02 */
    { { .type = OVERHEAD_HVM,
        .hap = true,
        .own_iommu_tables = true,
        .target_kib = 4096 * MIB,
        .max_kib = 4096 * MIB,
        .shadow_kib = 8 * MIB,
        .iommu_kib = NONE },
      4116 * MIB },
    /* a stub domain on qemu-xen-traditional: 28 + 4 of video: 512 + 4 + 2 + 32
     */
    { { .type = OVERHEAD_HVM,
        .stubdomain = true,
        .old_qemu = true,
        .target_kib = 512 * MIB,
        .max_kib = 512 * MIB,
        .shadow_kib = 4 * MIB,
        .iommu_kib = NONE,
        .video_kib = NONE,
        .stubdomain_kib = NONE },
      550 * MIB },
    /* on Linux with VGA: 128 + 16 */
    { { .type = OVERHEAD_HVM,
        .vga = OVERHEAD_VGA_STD,
        .stubdomain = true,
        .target_kib = 512 * MIB,
        .max_kib = 512 * MIB,
        .shadow_kib = 4 * MIB,
        .iommu_kib = NONE,
        .video_kib = NONE,
        .stubdomain_kib = NONE },
      662 * MIB },
    /* video memory without a stub domain is a part of the memory */
    { { .type = OVERHEAD_HVM,
        .target_kib = 512 * MIB,
        .max_kib = 512 * MIB,
        .shadow_kib = 4 * MIB,
        .iommu_kib = 0,
        .video_kib = 16 * MIB,
        .stubdomain_kib = 99 * MIB },
      518 * MIB },
};

START_TEST(needs_as_libxl_counts_them)
{
    const struct overhead_guest *g = &guests[_i].guest;

    ck_assert_uint_eq(overhead_need_kib(g, overhead_target_kib(g)),
                      guests[_i].need_kib);
}
END_TEST

START_TEST(what_fits_is_the_most_that_fits)
{
    const struct overhead_guest *g = &guests[_i].guest;

    for (uint64_t need = 0; need < 8192 * MIB; need += 777 * KIB_PER_PAGE) {
        uint64_t fitting = overhead_fitting_kib(g, need);

        ck_assert_uint_eq(fitting % MIB, 0);
        if (fitting > 0)
            ck_assert_uint_le(overhead_need_kib(g, fitting), need);
        ck_assert_uint_gt(overhead_need_kib(g, fitting + MIB), need);
    }
}
END_TEST

START_TEST(memory_defaults_to_its_maximum)
{
    struct overhead_guest g = overhead_defaults;

    ck_assert_uint_eq(overhead_max_kib(&g), 32 * MIB);
    ck_assert_uint_eq(overhead_target_kib(&g), 32 * MIB);
    g.max_kib = 64 * MIB;
    ck_assert_uint_eq(overhead_target_kib(&g), 64 * MIB);
    g.target_kib = 48 * MIB;
    ck_assert_uint_eq(overhead_target_kib(&g), 48 * MIB);
}
END_TEST

START_TEST(enormous_sizes_do_not_wrap)
{
    struct overhead_guest g = overhead_defaults;

    g.shadow_kib = UINT64_MAX - 1;
    ck_assert_uint_gt(overhead_need_kib(&g, UINT64_MAX - 1), UINT64_MAX / 2);
    ck_assert_uint_eq(overhead_fitting_kib(&g, 1024 * MIB), 0);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("overhead");
    TCase *tcase = tcase_create("overhead");
    int count = (int)(sizeof guests / sizeof *guests);

    tcase_add_loop_test(tcase, needs_as_libxl_counts_them, 0, count);
    tcase_add_loop_test(tcase, what_fits_is_the_most_that_fits, 0, count);
    tcase_add_test(tcase, memory_defaults_to_its_maximum);
    tcase_add_test(tcase, enormous_sizes_do_not_wrap);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, CK_FORK_GETENV);
}
