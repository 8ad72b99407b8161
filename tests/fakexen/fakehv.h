/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake host of the tests: what the fake hypervisor (fakehv.c, beneath the
 * real libxenctrl) and the fake Xen beneath xenstored (fakexen.c) know of
 * domains and memory.
 *
 * It is a file, mapped by all who take part; its path stands in the
 * environment variable FAKEHV.  The test program creates it, and changes it
 * while the daemons run: guests come, go, and balloon.  Everybody holds the
 * lock while reading or changing (a process killed inside doesn't matter).
 *
 * All in this header, so that a preload and a test need nothing else. */
#ifndef FAKEHV_H
#define FAKEHV_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKEHV_ENV     "FAKEHV"
#define FAKEHV_MAGIC   0x66616b6568763031 /* "fakehv01" */
#define FAKEHV_DOMAINS 32752

struct fakehv_domain {
    bool present;
    uint32_t flags; /* XEN_DOMINF_*, the reason of a shutdown among them */
    uint64_t tot_pages;
    uint64_t max_pages;
    uint64_t outstanding_pages; /* its claim, as far as it isn't met */
    uint64_t cpu_time;          /* ns */
    uint32_t ssidref;
    uint32_t vcpus;
    uint8_t handle[16]; /* its UUID */
    /* Populate on demand: holes that were promised, and the pages kept (inside
     * tot_pages) to fill them. */
    uint64_t pod_entries;
    uint64_t pod_cache_pages;
    uint64_t paging_bytes; /* shadow or HAP memory */
};

/* What was asked of the hypervisor, for tests that count. */
enum fakehv_call {
    FAKEHV_PHYSINFO,
    FAKEHV_DOMAININFO,
    FAKEHV_MAX_MEM,
    FAKEHV_CLAIM,
    FAKEHV_POD_TARGET,
    FAKEHV_PAGING,
    FAKEHV_OTHER, /* answered with ENOSYS */
    FAKEHV_CALLS
};

struct fakehv {
    uint64_t magic;
    pthread_mutex_t mutex;
    uint64_t total_pages;
    uint64_t free_pages; /* claims are not taken off, as in Xen */
    uint64_t scrub_pages;
    uint64_t calls[FAKEHV_CALLS];
    /* The fail_in-th call from now fails with fail_errno; 0: none does. */
    uint64_t fail_in;
    int fail_errno;
    uint32_t fail_always; /* these (bits by enum fakehv_call) do all the time */
    /* The die_in-th call from now is carried out, and its caller is killed
     * before it learns that; 0: nobody is. */
    uint64_t die_in;
    uint32_t end; /* no domain at or above this index was ever present */
    struct fakehv_domain domains[FAKEHV_DOMAINS]; /* by domid */
};

static inline void
fakehv_lock(struct fakehv *hv)
{
    if (pthread_mutex_lock(&hv->mutex) == EOWNERDEAD)
        pthread_mutex_consistent(&hv->mutex);
}

static inline void
fakehv_unlock(struct fakehv *hv)
{
    pthread_mutex_unlock(&hv->mutex);
}

static inline struct fakehv *
fakehv_map_fd(int fd)
{
    void *at = mmap(NULL, sizeof(struct fakehv), PROT_READ | PROT_WRITE,
                    MAP_SHARED, fd, 0);

    close(fd);
    return at == MAP_FAILED ? NULL : (struct fakehv *)at;
}

/* Maps the host at path; NULL if there is none. */
static inline struct fakehv *
fakehv_map(const char *path)
{
    struct stat st;
    struct fakehv *hv;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) || (size_t)st.st_size < sizeof(*hv)) {
        close(fd);
        return NULL;
    }
    hv = fakehv_map_fd(fd);
    return hv && hv->magic == FAKEHV_MAGIC ? hv : NULL;
}

static inline void
fakehv_unmap(struct fakehv *hv)
{
    munmap(hv, sizeof(*hv));
}

/* A new host at path, all of its memory free.  NULL: errno says why. */
static inline struct fakehv *
fakehv_create(const char *path, uint64_t total_pages)
{
    struct fakehv *hv;
    pthread_mutexattr_t attr;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, sizeof(*hv))) {
        close(fd);
        return NULL;
    }
    hv = fakehv_map_fd(fd);
    if (!hv)
        return NULL;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&hv->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    hv->total_pages = total_pages;
    hv->free_pages = total_pages;
    hv->magic = FAKEHV_MAGIC;
    return hv;
}

/* The functions below are called with the lock held. */

/* A domain of so many pages, taken from the free ones as far as they go; the
 * rest of the record is zero, to be filled in. */
static inline struct fakehv_domain *
fakehv_add_domain(struct fakehv *hv, uint32_t domid, uint32_t flags,
                  uint64_t pages, uint64_t max_pages)
{
    struct fakehv_domain *domain = &hv->domains[domid];

    memset(domain, 0, sizeof(*domain));
    domain->present = true;
    domain->flags = flags;
    domain->tot_pages = pages < hv->free_pages ? pages : hv->free_pages;
    domain->max_pages = max_pages;
    domain->vcpus = 1;
    hv->free_pages -= domain->tot_pages;
    if (hv->end <= domid)
        hv->end = domid + 1;
    return domain;
}

/* It goes, and all that it held is free. */
static inline void
fakehv_remove_domain(struct fakehv *hv, uint32_t domid)
{
    struct fakehv_domain *domain = &hv->domains[domid];

    hv->free_pages += domain->tot_pages;
    memset(domain, 0, sizeof(*domain));
}

/* The domain's balloon: towards target_pages by at most step_pages, up to its
 * limit and to what is free.  Returns what it holds now. */
static inline uint64_t
fakehv_balloon(struct fakehv *hv, uint32_t domid, uint64_t target_pages,
               uint64_t step_pages)
{
    struct fakehv_domain *domain = &hv->domains[domid];
    uint64_t aim = target_pages;
    uint64_t step;

    if (aim <= domain->tot_pages) {
        step = domain->tot_pages - aim;
        step = step < step_pages ? step : step_pages;
        domain->tot_pages -= step;
        hv->free_pages += step;
        return domain->tot_pages;
    }
    if (aim > domain->max_pages)
        aim = domain->max_pages;
    step = aim > domain->tot_pages ? aim - domain->tot_pages : 0;
    step = step < step_pages ? step : step_pages;
    step = step < hv->free_pages ? step : hv->free_pages;
    domain->tot_pages += step;
    hv->free_pages -= step;
    return domain->tot_pages;
}

#endif
