/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake hypervisor: stands in for libxencall beneath the real libxenctrl,
 * and answers the hypercalls that a memory broker makes from the host in
 * $FAKEHV (fakehv.h).
 *
 * Preloaded (fakehv.so, with fakeevtchn.c in it) under a program, or linked
 * into it: the functions of an executable go before those of libraries.
 * Without $FAKEHV nothing can be opened, as on a machine without Xen. */
#include "tests/fakexen/fakehv.h"

#include <signal.h>
#include <stdio.h>
#include <xencall.h>
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenforeignmemory.h>

#include <xen/memory.h>
#include <xen/version.h>

static int handle;
static struct fakehv *host;
static unsigned opened; /* a program may hold several handles */
static bool dying;      /* at the end of this call */

static int
fail(int error)
{
    errno = error;
    return -1;
}

/* Counts the call; true if the test wants it to fail. */
static bool
count_call(enum fakehv_call call)
{
    host->calls[call]++;
    if (host->die_in && --host->die_in == 0)
        dying = true;
    if (host->fail_always & UINT32_C(1) << call)
        return true;
    return host->fail_in && --host->fail_in == 0;
}

/* NULL if there is none. */
static struct fakehv_domain *
find(uint32_t domid)
{
    if (domid >= host->end || !host->domains[domid].present)
        return NULL;
    return &host->domains[domid];
}

static uint64_t
all_claims(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < host->end; i++)
        if (host->domains[i].present)
            sum += host->domains[i].outstanding_pages;
    return sum;
}

static void
fill_info(uint32_t domid, xc_domaininfo_t *ret)
{
    const struct fakehv_domain *domain = &host->domains[domid];

    *ret = (xc_domaininfo_t){
        .domain = (domid_t)domid,
        .flags = domain->flags,
        .tot_pages = domain->tot_pages,
        .max_pages = domain->max_pages,
        .outstanding_pages = domain->outstanding_pages,
        .cpu_time = domain->cpu_time,
        .nr_online_vcpus = domain->vcpus,
        .max_vcpu_id = domain->vcpus ? domain->vcpus - 1 : 0,
        .ssidref = domain->ssidref,
    };
    memcpy(ret->handle, domain->handle, sizeof(ret->handle));
}

static int
physinfo(struct xen_sysctl_physinfo *ret)
{
    if (count_call(FAKEHV_PHYSINFO))
        return fail(host->fail_errno);
    *ret = (struct xen_sysctl_physinfo){
        .threads_per_core = 1,
        .cores_per_socket = 8,
        .nr_cpus = 8,
        .max_cpu_id = 7,
        .nr_nodes = 1,
        .total_pages = host->total_pages,
        .free_pages = host->free_pages,
        .scrub_pages = host->scrub_pages,
        .outstanding_pages = all_claims(),
        .capabilities = XEN_SYSCTL_PHYSCAP_hvm | XEN_SYSCTL_PHYSCAP_pv |
                        XEN_SYSCTL_PHYSCAP_hap,
    };
    return 0;
}

static int
list_domains(struct xen_sysctl_getdomaininfolist *list)
{
    xc_domaininfo_t *out = list->buffer.p;
    uint32_t n = 0;

    if (count_call(FAKEHV_DOMAININFO))
        return fail(host->fail_errno);
    for (uint32_t i = list->first_domain;
         i < host->end && n < list->max_domains; i++)
        if (host->domains[i].present)
            fill_info(i, &out[n++]);
    list->num_domains = n;
    return 0;
}

static int
sysctl(struct xen_sysctl *op)
{
    if (op->interface_version != XEN_SYSCTL_INTERFACE_VERSION)
        return fail(EACCES);
    if (op->cmd == XEN_SYSCTL_physinfo)
        return physinfo(&op->u.physinfo);
    if (op->cmd == XEN_SYSCTL_getdomaininfolist)
        return list_domains(&op->u.getdomaininfolist);
    count_call(FAKEHV_OTHER);
    return fail(ENOSYS);
}

/* As Xen does: this domain, or the next one there is. */
static int
domain_info(struct xen_domctl *op)
{
    uint32_t domid = op->domain;

    if (count_call(FAKEHV_DOMAININFO))
        return fail(host->fail_errno);
    while (domid < host->end && !host->domains[domid].present)
        domid++;
    if (domid >= host->end)
        return fail(ESRCH);
    fill_info(domid, &op->u.getdomaininfo);
    op->domain = (domid_t)domid;
    return 0;
}

static int
max_mem(struct xen_domctl *op)
{
    struct fakehv_domain *domain = find(op->domain);

    if (count_call(FAKEHV_MAX_MEM))
        return fail(host->fail_errno);
    if (!domain)
        return fail(ESRCH);
    domain->max_pages = op->u.max_mem.max_memkb / 4;
    return 0;
}

static int
paging(struct xen_domctl *op)
{
    const struct fakehv_domain *domain = find(op->domain);

    if (count_call(FAKEHV_PAGING))
        return fail(host->fail_errno);
    if (!domain)
        return fail(ESRCH);
    if (op->cmd == XEN_DOMCTL_get_paging_mempool_size) {
        op->u.paging_mempool.size = domain->paging_bytes;
        return 0;
    }
    if (op->u.shadow_op.op != XEN_DOMCTL_SHADOW_OP_GET_ALLOCATION)
        return fail(ENOSYS);
    /* Rounded up, as Xen does. */
    op->u.shadow_op.mb = (uint32_t)((domain->paging_bytes + 0xfffff) >> 20);
    return 0;
}

static int
domctl(struct xen_domctl *op)
{
    if (op->interface_version != XEN_DOMCTL_INTERFACE_VERSION)
        return fail(EACCES);
    switch (op->cmd) {
    case XEN_DOMCTL_getdomaininfo:
        return domain_info(op);
    case XEN_DOMCTL_max_mem:
        return max_mem(op);
    case XEN_DOMCTL_get_paging_mempool_size:
    case XEN_DOMCTL_shadow_op:
        return paging(op);
    default:
        count_call(FAKEHV_OTHER);
        return fail(ENOSYS);
    }
}

/* One claim per domain; 0 drops it; what it holds already is taken off. */
static int
claim_pages(const struct xen_memory_reservation *claim)
{
    struct fakehv_domain *domain = find(claim->domid);
    uint64_t pages = claim->nr_extents;

    if (count_call(FAKEHV_CLAIM))
        return fail(host->fail_errno);
    if (!domain)
        return fail(ESRCH);
    if (!pages) {
        domain->outstanding_pages = 0;
        return 0;
    }
    if (domain->outstanding_pages || pages <= domain->tot_pages ||
        pages > domain->max_pages)
        return fail(EINVAL);
    pages -= domain->tot_pages;
    if (pages + all_claims() > host->free_pages)
        return fail(ENOMEM);
    domain->outstanding_pages = pages;
    return 0;
}

/* Xen's p2m_pod_set_mem_target: the cache grows to what the target asks for,
 * at most to the holes that there are. */
static void
grow_pod_cache(struct fakehv_domain *domain, uint64_t target_pages)
{
    uint64_t populated = domain->tot_pages - domain->pod_cache_pages;
    uint64_t cache, more;

    if (!domain->pod_entries || target_pages < domain->tot_pages)
        return;
    cache = target_pages - populated;
    if (cache > domain->pod_entries)
        cache = domain->pod_entries;
    more =
        cache > domain->pod_cache_pages ? cache - domain->pod_cache_pages : 0;
    more = more < host->free_pages ? more : host->free_pages;
    domain->pod_cache_pages += more;
    domain->tot_pages += more;
    host->free_pages -= more;
}

static int
pod_target(struct xen_pod_target *op, bool set)
{
    struct fakehv_domain *domain = find(op->domid);

    if (count_call(FAKEHV_POD_TARGET))
        return fail(host->fail_errno);
    if (!domain)
        return fail(ESRCH);
    if (!(domain->flags & XEN_DOMINF_hvm_guest))
        return fail(EINVAL);
    if (set)
        grow_pod_cache(domain, op->target_pages);
    op->tot_pages = domain->tot_pages;
    op->pod_cache_pages = domain->pod_cache_pages;
    op->pod_entries = domain->pod_entries;
    return 0;
}

static int
memory_op(uint64_t command, uint64_t arg)
{
    switch (command) {
    case XENMEM_claim_pages:
        return claim_pages((void *)(uintptr_t)arg);
    case XENMEM_set_pod_target:
        return pod_target((void *)(uintptr_t)arg, true);
    case XENMEM_get_pod_target:
        return pod_target((void *)(uintptr_t)arg, false);
    default:
        count_call(FAKEHV_OTHER);
        return fail(ENOSYS);
    }
}

static long
hypercall(unsigned op, uint64_t arg1, uint64_t arg2);

/* libxenctrl wraps each memory_op into one of these, for its long result. */
static long
multicall(multicall_entry_t *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        long rc = hypercall((unsigned)entries[i].op, entries[i].args[0],
                            entries[i].args[1]);

        entries[i].result = (unsigned long)(rc < 0 ? -errno : rc);
    }
    return 0;
}

static long
hypercall(unsigned op, uint64_t arg1, uint64_t arg2)
{
    switch (op) {
    case __HYPERVISOR_sysctl:
        return sysctl((void *)(uintptr_t)arg1);
    case __HYPERVISOR_domctl:
        return domctl((void *)(uintptr_t)arg1);
    case __HYPERVISOR_memory_op:
        return memory_op(arg1, arg2);
    case __HYPERVISOR_multicall:
        return multicall((void *)(uintptr_t)arg1, arg2);
    case __HYPERVISOR_xen_version:
        return arg1 == XENVER_version ? 4 << 16 | 17 : fail(ENOSYS);
    default:
        count_call(FAKEHV_OTHER);
        return fail(ENOSYS);
    }
}

static long
locked_hypercall(unsigned op, uint64_t arg1, uint64_t arg2)
{
    long rc;
    int error;

    fakehv_lock(host);
    rc = hypercall(op, arg1, arg2);
    error = errno;
    if (dying)
        raise(SIGKILL);
    fakehv_unlock(host);
    errno = error;
    return rc;
}

/* libxencall */

xencall_handle *
xencall_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger;
    (void)open_flags;
    if (!host)
        host = fakehv_map(getenv(FAKEHV_ENV));
    if (!host) {
        errno = ENOENT;
        return NULL;
    }
    opened++;
    return (xencall_handle *)&handle;
}

int
xencall_close(xencall_handle *xcall)
{
    (void)xcall;
    if (--opened == 0) {
        fakehv_unmap(host);
        host = NULL;
    }
    return 0;
}

int
xencall_fd(xencall_handle *xcall)
{
    (void)xcall;
    return -1;
}

int
xencall1(xencall_handle *xcall, unsigned int op, uint64_t arg1)
{
    (void)xcall;
    return (int)locked_hypercall(op, arg1, 0);
}

int
xencall2(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2)
{
    (void)xcall;
    return (int)locked_hypercall(op, arg1, arg2);
}

long
xencall2L(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2)
{
    (void)xcall;
    return locked_hypercall(op, arg1, arg2);
}

int
xencall3(xencall_handle *xcall, unsigned int op, uint64_t arg1, uint64_t arg2,
         uint64_t arg3)
{
    (void)xcall;
    (void)arg3;
    return (int)locked_hypercall(op, arg1, arg2);
}

void *
xencall_alloc_buffer_pages(xencall_handle *xcall, size_t nr_pages)
{
    (void)xcall;
    return aligned_alloc(4096, nr_pages * 4096);
}

void
xencall_free_buffer_pages(xencall_handle *xcall, void *p, size_t nr_pages)
{
    (void)xcall;
    (void)nr_pages;
    free(p);
}

void *
xencall_alloc_buffer(xencall_handle *xcall, size_t size)
{
    (void)xcall;
    return malloc(size);
}

void
xencall_free_buffer(xencall_handle *xcall, void *p)
{
    (void)xcall;
    free(p);
}

int
xencall_buffers_never_fault(xencall_handle *xcall)
{
    (void)xcall;
    return 1;
}

/* xc_interface_open opens these as well. */

xenforeignmemory_handle *
xenforeignmemory_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger;
    (void)open_flags;
    return (xenforeignmemory_handle *)&handle;
}

int
xenforeignmemory_close(xenforeignmemory_handle *fmem)
{
    (void)fmem;
    return 0;
}

xendevicemodel_handle *
xendevicemodel_open(struct xentoollog_logger *logger, unsigned int open_flags)
{
    (void)logger;
    (void)open_flags;
    return (xendevicemodel_handle *)&handle;
}

int
xendevicemodel_close(xendevicemodel_handle *dmod)
{
    (void)dmod;
    return 0;
}
