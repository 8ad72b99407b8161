/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libcurl, loaded when there is a switch to talk to: most hosts have none, and
 * with the libraries that it needs itself it is more than half of what squeezed
 * would hold of memory. */
#ifndef SQUEEZED_SWITCH_CURL_H
#define SQUEEZED_SWITCH_CURL_H

#include <curl/curl.h>

/* What of it is used, without its curl_. */
#define SWITCH_CURL_FUNCTIONS(X)                                               \
    X(global_init)                                                             \
    X(easy_init)                                                               \
    X(easy_cleanup)                                                            \
    X(easy_setopt)                                                             \
    X(easy_getinfo)                                                            \
    X(easy_strerror)                                                           \
    X(multi_init)                                                              \
    X(multi_cleanup)                                                           \
    X(multi_setopt)                                                            \
    X(multi_assign)                                                            \
    X(multi_add_handle)                                                        \
    X(multi_remove_handle)                                                     \
    X(multi_info_read)                                                         \
    X(multi_socket_action)                                                     \
    X(slist_append)                                                            \
    X(slist_free_all)

#define SWITCH_CURL_MEMBER(name) __typeof__(&curl_##name) name;

struct switch_curl {
    SWITCH_CURL_FUNCTIONS(SWITCH_CURL_MEMBER)
};

#undef SWITCH_CURL_MEMBER

/* Loads it, once; NULL if it isn't there, which is logged.  It stays loaded. */
const struct switch_curl *
switch_curl_load(void);

#endif
