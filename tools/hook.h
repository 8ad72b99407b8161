/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* squeezectl hook: what other toolstacks' hooks call. */
#ifndef TOOLS_HOOK_H
#define TOOLS_HOOK_H

/* libvirt's libxl hook, with the words that libvirt gives it and the machine's
 * XML on standard input.  Its exit status: 0, or 1 to stop libvirt. */
int
hook_libvirt(const char *socket_path, const char *machine,
             const char *operation);

#endif
