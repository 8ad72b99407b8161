/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "squeezed/switch_curl.h"

#include "common/log.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

/* Debian's flavours, by their TLS, which isn't used here. */
static const char *const names[] = {
    "libcurl.so.4",
    "libcurl-gnutls.so.4",
    "libcurl-nss.so.4",
};

#define NAMES (sizeof names / sizeof *names)

static struct switch_curl functions;
static bool loaded;
static bool complained;

static void *
open_library(void)
{
    void *library = NULL;

    for (size_t i = 0; !library && i < NAMES; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* POSIX: a function's address fits into what dlsym() returns. */
static bool
find(void *library, const char *name, void *ret_function)
{
    void *address = dlsym(library, name);

    *(void **)ret_function = address;
    return address != NULL;
}

static bool
find_all(void *library)
{
    bool found = true;

#define FIND(name) found &= find(library, "curl_" #name, &functions.name);
    SWITCH_CURL_FUNCTIONS(FIND)
#undef FIND
    return found;
}

const struct switch_curl *
switch_curl_load(void)
{
    void *library;

    if (loaded)
        return &functions;
    library = open_library();
    if (library && find_all(library) &&
        functions.global_init(CURL_GLOBAL_NOTHING) == CURLE_OK) {
        loaded = true;
        return &functions;
    }
    if (!complained)
        log_error("the message switch can't be reached without libcurl, which "
                  "is missing (%s): install libcurl4",
                  names[0]);
    complained = true;
    if (library)
        dlclose(library);
    return NULL;
}
