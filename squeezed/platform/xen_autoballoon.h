/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xl's autoballoon: where it is on, `xl create` takes what a guest needs from
 * domain 0, whatever squeezed had in mind for that memory. */
#ifndef XEN_AUTOBALLOON_H
#define XEN_AUTOBALLOON_H

#include <stdbool.h>

/* xl_conf: the text of xl.conf.  command_line: Xen's own; NULL: unknown, in
 * which case only a setting that says "on" counts.  Pure. */
bool
xen_autoballoon_is_on(const char *xl_conf, const char *command_line);

/* The same with the file at path; false if there is none. */
bool
xen_autoballoon_look(const char *path, const char *command_line);

#endif
