/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A fake Xen beneath a real xenstored (the C one or oxenstored), preloaded
 * with fakeevtchn.c in it: the few calls into libxenctrl and libxengnttab, and
 * the files of /proc/xen.
 *
 *   FAKEHV          the fake host (fakehv.h): which domains there are.  Without
 *                   it only dom0.
 *   FAKEXEN_DIR     ring.N there is the page shared with guest N's kernel; for
 *                   oxenstored (which has no option for it) the socket too
 *   FAKEXEN_EVTCHN  see fakeevtchn.c; VIRQ_DOM_EXC makes xenstored look at the
 *                   domains again and fire @releaseDomain
 *
 * Compile without _FILE_OFFSET_BITS=64: open and open64 are both faked. */
#define XC_WANT_COMPAT_MAP_FOREIGN_API
#include "tests/fakexen/fakehv.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <xenctrl.h>
#include <xengnttab.h>

enum { PAGE_BYTES = 4096 };

static int handle;
static struct fakehv *host;

/* The name in FAKEXEN_DIR; in a buffer that the next call uses again. */
static const char *
in_dir(const char *name)
{
    static char path[256];
    const char *dir = getenv("FAKEXEN_DIR");

    snprintf(path, sizeof(path), "%s/%s", dir ? dir : ".", name);
    return path;
}

/* A domain's ring: a file of one page, made when it is asked for. */
static int
open_ring(uint32_t domid)
{
    char name[32];
    int fd;

    snprintf(name, sizeof(name), "ring.%u", domid);
    fd = openat(AT_FDCWD, in_dir(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && ftruncate(fd, PAGE_BYTES)) {
        close(fd);
        return -1;
    }
    return fd;
}

static void *
map_ring(uint32_t domid, int protection)
{
    int fd = open_ring(domid);
    void *at;

    if (fd < 0)
        return NULL;
    at = mmap(NULL, PAGE_BYTES, protection, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

/* libxenctrl */

xc_interface *
xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild_logger,
                  unsigned open_flags)
{
    (void)logger;
    (void)dombuild_logger;
    (void)open_flags;
    if (!host)
        host = fakehv_map(getenv(FAKEHV_ENV));
    return (xc_interface *)&handle;
}

int
xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

/* The flags of the first domain at or above *domid, which is moved on to it;
 * false if there is none. */
static bool
next_domain(uint32_t *domid, uint32_t *ret_flags)
{
    bool found;

    if (!host) {
        *ret_flags = XEN_DOMINF_running;
        return *domid == 0;
    }
    fakehv_lock(host);
    while (*domid < host->end && !host->domains[*domid].present)
        (*domid)++;
    found = *domid < host->end;
    if (found)
        *ret_flags = host->domains[*domid].flags;
    fakehv_unlock(host);
    return found;
}

static void
fill_info(xc_dominfo_t *info, uint32_t domid, uint32_t flags)
{
    uint32_t reason =
        flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask;
    bool down = flags & XEN_DOMINF_shutdown;

    *info = (xc_dominfo_t){ .domid = domid };
    info->dying = !!(flags & XEN_DOMINF_dying);
    info->crashed = down && reason == SHUTDOWN_crash;
    info->shutdown = down && reason != SHUTDOWN_crash;
    info->running = !!(flags & XEN_DOMINF_running);
}

int
xc_domain_getinfo(xc_interface *xch, uint32_t first_domid,
                  unsigned int max_doms, xc_dominfo_t *info)
{
    uint32_t domid = first_domid, flags;
    unsigned n;

    (void)xch;
    for (n = 0; n < max_doms && next_domain(&domid, &flags); n++)
        fill_info(&info[n], domid++, flags);
    return (int)n;
}

int
xc_domain_getinfolist(xc_interface *xch, uint32_t first_domain,
                      unsigned int max_domains, xc_domaininfo_t *info)
{
    uint32_t domid = first_domain, flags;
    unsigned n;

    (void)xch;
    for (n = 0; n < max_domains && next_domain(&domid, &flags); n++) {
        info[n] = (xc_domaininfo_t){ .flags = flags };
        info[n].domain = (domid_t)domid++;
    }
    return (int)n;
}

void *
xc_map_foreign_range(xc_interface *xch, uint32_t dom, int size, int prot,
                     unsigned long mfn)
{
    (void)xch;
    (void)size;
    (void)mfn;
    return map_ring(dom, prot);
}

/* libxengnttab */

xengnttab_handle *
xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger;
    (void)open_flags;
    return (xengnttab_handle *)&handle;
}

int
xengnttab_close(xengnttab_handle *xgt)
{
    (void)xgt;
    return 0;
}

int
xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
    (void)xgt;
    (void)nr_grants;
    return 0;
}

void *
xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref,
                        int prot)
{
    (void)xgt;
    (void)ref;
    return map_ring(domid, prot);
}

int
xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
    (void)xgt;
    return munmap(start_address, (size_t)count * PAGE_BYTES);
}

/* libc */

/* dom0's event channel for xenstore, as text. */
static int
open_port(void)
{
    int fd = memfd_create("xsd_port", MFD_CLOEXEC);

    if (fd >= 0 && (write(fd, "2", 1) != 1 || lseek(fd, 0, SEEK_SET))) {
        close(fd);
        return -1;
    }
    return fd;
}

static int
open_file(const char *path, int flags, mode_t mode)
{
    if (!strcmp(path, "/proc/xen/xsd_kva"))
        return open_ring(0);
    if (!strcmp(path, "/proc/xen/xsd_port"))
        return open_port();
    return openat(AT_FDCWD, path, flags, mode);
}

int
open(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_file(path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_file(path, flags, mode);
}

/* oxenstored raises its limits, which not everybody may. */
int
setrlimit(__rlimit_resource_t resource, const struct rlimit *limits)
{
    (void)resource;
    (void)limits;
    return 0;
}

/* What lies in /var/run/xenstored lies in FAKEXEN_DIR. */
static const char *
moved(const char *path)
{
    static const char there[] = "/var/run/xenstored/";
    size_t length = sizeof(there) - 1;

    return strncmp(path, there, length) ? path : in_dir(path + length);
}

int
unlink(const char *path)
{
    return unlinkat(AT_FDCWD, moved(path), 0);
}

int
bind(int fd, const struct sockaddr *address, socklen_t length)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    const struct sockaddr_un *local = (const struct sockaddr_un *)address;
    struct sockaddr_un other = { .sun_family = AF_UNIX };
    const char *path;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "bind");
    if (address->sa_family != AF_UNIX)
        return real(fd, address, length);
    path = moved(local->sun_path);
    if (strlen(path) >= sizeof(other.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(other.sun_path, path, strlen(path));
    return real(fd, (const struct sockaddr *)&other, sizeof(other));
}
