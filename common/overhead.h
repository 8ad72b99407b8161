/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a virtual machine costs beyond its memory, as libxl (Xen 4.17) counts it
 * (libxl__domain_need_memory_calculate, libxl__get_required_paging_memory and
 * the defaults of libxl__domain_build_info_setdefault).  Pure. */
#ifndef COMMON_OVERHEAD_H
#define COMMON_OVERHEAD_H

#include <stdbool.h>
#include <stdint.h>

enum overhead_type { OVERHEAD_PV, OVERHEAD_PVH, OVERHEAD_HVM };

/* What decides about video memory; other adapters count as CIRRUS. */
enum overhead_vga {
    OVERHEAD_VGA_CIRRUS,
    OVERHEAD_VGA_STD,
    OVERHEAD_VGA_QXL,
    OVERHEAD_VGA_NONE
};

/* A size that the configuration doesn't give: libxl's default. */
#define OVERHEAD_DEFAULT UINT64_MAX

struct overhead_guest {
    enum overhead_type type;
    enum overhead_vga vga;
    uint32_t vcpus; /* 0: 1 */
    bool hap;       /* hardware-assisted paging; without a meaning for PV */
    /* The IOMMU has page tables of its own: PV guests with passed-through
     * devices, and others where it can't share those of the processor. */
    bool own_iommu_tables;
    bool stubdomain;
    bool old_qemu; /* qemu-xen-traditional */
    /* KiB, or OVERHEAD_DEFAULT */
    uint64_t target_kib;
    uint64_t max_kib;
    uint64_t shadow_kib;
    uint64_t iommu_kib;
    uint64_t video_kib;
    uint64_t stubdomain_kib;
};

/* Everything at libxl's defaults. */
extern const struct overhead_guest overhead_defaults;

/* maxmem (32 MiB), and memory (maxmem). */
uint64_t
overhead_max_kib(const struct overhead_guest *guest);
uint64_t
overhead_target_kib(const struct overhead_guest *guest);

/* What must be free to start it with that much memory: that, what paging, the
 * IOMMU and a stub domain take, and a little more, in whole 2 MiB. */
uint64_t
overhead_need_kib(const struct overhead_guest *guest, uint64_t target_kib);

/* The other way round: the most memory, in whole MiB as the key `memory` wants
 * it, with which it needs no more than need_kib.  0 if there is none. */
uint64_t
overhead_fitting_kib(const struct overhead_guest *guest, uint64_t need_kib);

#endif
