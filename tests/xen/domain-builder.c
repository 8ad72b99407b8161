/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* domain-builder: the steps of a toolstack that hands its reservation over
 * between creating a domain and building it, as XAPI's does (xl does both in
 * one go).
 *
 *   domain-builder create UUID [hvm]     an empty domain; prints its domid
 *   domain-builder populate DOMID KIB    gives it pages, 2 MiB at a time, or
 *                                        one by one where no 2 MiB are whole
 *   domain-builder destroy DOMID
 *
 * The domain has no processor and never runs.  The limit of its pages is 0
 * until somebody sets it.  Exit status 1: Xen refused.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenctrl.h>

enum {
    PAGE_KIB = 4,
    CHUNK_ORDER = 9, /* 2 MiB */
    CHUNK_PAGES = 1 << CHUNK_ORDER,
    /* What the page tables of a small guest take at most. */
    PAGING_BYTES = 4 << 20
};

static xc_interface *xc;

static void
parse_uuid(const char *text, xen_domain_handle_t ret)
{
    for (size_t i = 0; i < sizeof(xen_domain_handle_t); i++) {
        char digits[3] = { 0 };

        if (*text == '-')
            text++;
        memcpy(digits, text, strnlen(text, 2));
        ret[i] = (uint8_t)strtoul(digits, NULL, 16);
        text += strlen(digits);
    }
}

static int
create(char **args, int count)
{
    struct xen_domctl_createdomain config = {
        .max_vcpus = 1,
        .max_evtchn_port = 1023,
        .max_grant_frames = -1,
        .max_maptrack_frames = -1,
        .grant_opts = XEN_DOMCTL_GRANT_version(1),
    };
    uint32_t domid = 0;
    int result;

    parse_uuid(args[0], config.handle);
    if (count > 1 && strcmp(args[1], "hvm") == 0) {
        config.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
        config.arch.emulation_flags = XEN_X86_EMU_LAPIC; /* PVH */
    }
    result = xc_domain_create(xc, &domid, &config);
    if (result == 0 && (config.flags & XEN_DOMCTL_CDF_hvm))
        result = xc_domain_max_vcpus(xc, domid, 1) ||
                 xc_set_paging_mempool_size(xc, domid, PAGING_BYTES);
    if (result == 0)
        printf("%u\n", (unsigned)domid);
    return result;
}

static int
populate_chunk(uint32_t domid, unsigned long at)
{
    xen_pfn_t pages[CHUNK_PAGES];

    for (unsigned long i = 0; i < CHUNK_PAGES; i++)
        pages[i] = at + i;
    return xc_domain_populate_physmap_exact(xc, domid, 1, CHUNK_ORDER, 0,
                                            pages) &&
           xc_domain_populate_physmap_exact(xc, domid, CHUNK_PAGES, 0, 0,
                                            pages);
}

static int
populate(char **args, int count)
{
    uint32_t domid = (uint32_t)atoi(args[0]);
    unsigned long pages = strtoul(args[1], NULL, 10) / PAGE_KIB;

    (void)count;
    for (unsigned long at = 0; at < pages; at += CHUNK_PAGES) {
        if (populate_chunk(domid, at)) {
            fprintf(stderr, "domain-builder: refused after %lu KiB\n",
                    at * PAGE_KIB);
            return 1;
        }
    }
    return 0;
}

static int
limit(char **args, int count)
{
    (void)count;
    return xc_domain_setmaxmem(xc, (uint32_t)atoi(args[0]),
                               strtoull(args[1], NULL, 10));
}

static int
destroy(char **args, int count)
{
    (void)count;
    return xc_domain_destroy(xc, (uint32_t)atoi(args[0]));
}

static const struct verb {
    const char *name;
    int (*run)(char **args, int count);
    int min_args;
} verbs[] = {
    { "create", create, 1 },
    { "limit", limit, 2 },
    { "populate", populate, 2 },
    { "destroy", destroy, 1 },
};

int
main(int argc, char **argv)
{
    xc = xc_interface_open(NULL, NULL, 0);
    if (!xc) {
        perror("domain-builder: no Xen");
        return 2;
    }
    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i].name) == 0 &&
            argc - 2 >= verbs[i].min_args)
            return verbs[i].run(argv + 2, argc - 2) ? 1 : 0;
    fputs("usage: domain-builder create|limit|populate|destroy …\n", stderr);
    return 2;
}
