/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/overhead.h"

#include "common/units.h"

#define ROUND_KIB              (2 * KIB_PER_MIB)
#define MAX_DEFAULT_KIB        (32 * KIB_PER_MIB)
#define PV_EXTRA_KIB           (1 * KIB_PER_MIB)
#define HVM_EXTRA_KIB          (2 * KIB_PER_MIB) /* PVH, too */
#define MINIOS_STUBDOMAIN_KIB  (28 * KIB_PER_MIB)
#define LINUX_STUBDOMAIN_KIB   (128 * KIB_PER_MIB)
#define PAGING_PAGES_PER_VCPU  UINT64_C(256)
#define IOMMU_LEVELS           4
#define IOMMU_ENTRIES_PER_PAGE 512

const struct overhead_guest overhead_defaults = {
    .type = OVERHEAD_PV,
    .hap = true,
    .target_kib = OVERHEAD_DEFAULT,
    .max_kib = OVERHEAD_DEFAULT,
    .shadow_kib = OVERHEAD_DEFAULT,
    .iommu_kib = OVERHEAD_DEFAULT,
    .video_kib = OVERHEAD_DEFAULT,
    .stubdomain_kib = OVERHEAD_DEFAULT,
};

static uint64_t
or_default(uint64_t kib, uint64_t default_kib)
{
    return kib == OVERHEAD_DEFAULT ? default_kib : kib;
}

uint64_t
overhead_max_kib(const struct overhead_guest *guest)
{
    return or_default(guest->max_kib, MAX_DEFAULT_KIB);
}

uint64_t
overhead_target_kib(const struct overhead_guest *guest)
{
    return or_default(guest->target_kib, overhead_max_kib(guest));
}

/* A page for each MiB to map it (not for PV), and one to shadow it (not with
 * hardware-assisted paging, which PV never has). */
static uint64_t
paging_kib(const struct overhead_guest *guest)
{
    uint64_t vcpus = guest->vcpus ? guest->vcpus : 1;
    uint64_t maps = guest->type != OVERHEAD_PV ? 1 : 0;
    uint64_t shadows = guest->type == OVERHEAD_PV || !guest->hap ? 1 : 0;
    uint64_t mib = overhead_max_kib(guest) / KIB_PER_MIB;

    return KIB_PER_PAGE *
           (PAGING_PAGES_PER_VCPU * vcpus + (maps + shadows) * mib);
}

static uint64_t
iommu_kib(const struct overhead_guest *guest)
{
    uint64_t pages = overhead_max_kib(guest) / KIB_PER_PAGE;
    uint64_t sum = 0;

    if (!guest->own_iommu_tables)
        return 0;
    for (int level = 0; level < IOMMU_LEVELS; level++) {
        pages = (pages + IOMMU_ENTRIES_PER_PAGE - 1) / IOMMU_ENTRIES_PER_PAGE;
        sum += pages;
    }
    return sum * KIB_PER_PAGE;
}

static uint64_t
video_kib(const struct overhead_guest *guest)
{
    static const uint64_t mib[][2] = {
        /* today's qemu, the traditional one */
        [OVERHEAD_VGA_CIRRUS] = { 8, 4 },
        [OVERHEAD_VGA_STD] = { 16, 8 },
        [OVERHEAD_VGA_QXL] = { 128, 128 },
        [OVERHEAD_VGA_NONE] = { 0, 0 },
    };

    return KIB_PER_MIB * mib[guest->vga][guest->old_qemu ? 1 : 0];
}

static uint64_t
stubdomain_kib(const struct overhead_guest *guest)
{
    if (guest->type == OVERHEAD_PV || !guest->stubdomain)
        return 0;
    return add_sat(or_default(guest->stubdomain_kib,
                              guest->old_qemu ? MINIOS_STUBDOMAIN_KIB
                                              : LINUX_STUBDOMAIN_KIB),
                   or_default(guest->video_kib, video_kib(guest)));
}

/* All but the memory itself. */
static uint64_t
beside_kib(const struct overhead_guest *guest)
{
    uint64_t kib = guest->type == OVERHEAD_PV ? PV_EXTRA_KIB : HVM_EXTRA_KIB;

    kib = add_sat(kib, or_default(guest->shadow_kib, paging_kib(guest)));
    kib = add_sat(kib, or_default(guest->iommu_kib, iommu_kib(guest)));
    return add_sat(kib, stubdomain_kib(guest));
}

uint64_t
overhead_need_kib(const struct overhead_guest *guest, uint64_t target_kib)
{
    uint64_t kib = add_sat(target_kib, beside_kib(guest));

    return add_sat(kib, ROUND_KIB - 1) / ROUND_KIB * ROUND_KIB;
}

uint64_t
overhead_fitting_kib(const struct overhead_guest *guest, uint64_t need_kib)
{
    uint64_t kib =
        sub_or_0(need_kib / ROUND_KIB * ROUND_KIB, beside_kib(guest));

    return kib / KIB_PER_MIB * KIB_PER_MIB;
}
