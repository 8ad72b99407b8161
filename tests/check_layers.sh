#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who includes whom (ARCHITECTURE.md), that the core needs nothing but libc, and
# the daemon few libraries.  Usage: check_layers.sh [SOURCE_DIR [LIBCORE]]
set -eu
top=${1:-${srcdir:-.}}
core_library=${2:-libcore.a}
bad=0

# room: which of our headers the files of that room may include (a pattern on
# the path as it stands in the #include).
rooms='
include          sq_limits.h|xenstore_keys.h
common           common/.*|sq_limits.h
xenstore-client  xenstore-client/.*|common/.*|sq_limits.h
squeezed/core    squeezed/core/.*|common/(units|err)\.h|sq_limits.h
squeezed/platform squeezed/core/.*|squeezed/platform/.*|xenstore-client/xsc\.h|common/.*|sq_limits\.h|xenstore_keys\.h
squeezed         squeezed/.*|xenstore-client/xsc\.h|common/.*|sq_limits\.h|xenstore_keys\.h
tools            tools/.*|squeezed/(simulation.*|platform/.*|core/.*)\.h|common/.*|sq_limits\.h|xenstore_keys\.h
'

complain() {
    echo "check_layers: $*" >&2
    bad=1
}

check_room() { # ROOM PATTERN
    for file in "$top/$1"/*.[ch]; do
        [ -e "$file" ] || continue
        for name in $(sed -n 's/^#include "\(.*\)"/\1/p' "$file"); do
            [ "$name" = config.h ] ||
                echo "$name" | grep -qEx "$2" ||
                complain "${file#"$top"/} may not include $name"
        done
    done
}

while read -r room pattern; do
    [ -z "$room" ] || check_room "$room" "$pattern"
done <<EOT
$rooms
EOT

# The broker knows no loop, no JSON, no HTTP, no platform of its own.
for file in "$top"/squeezed/broker*.[ch]; do
    if grep -nE '#include [<"](event2|jansson|curl|.*(sim|xen|scenario|server|rpc|loop)\.h)' "$file"; then
        complain "${file#"$top"/}: the broker is below all that"
    fi
done
# The seam between broker and platform knows neither xenstore nor Xen.
if grep -nE '#include .*(xen|event2)' "$top/squeezed/platform/platform.h"; then
    complain "platform.h may not know of Xen or the loop"
fi

# libc's pure functions are all that the core may call.
allowed='memcpy|memmove|memset|memcmp|strcmp|strlen|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__(udivti3|umodti3|divti3)|__(asan|ubsan|lsan)_.*|__tls_get_addr'
if [ -e "$core_library" ]; then
    own=$(nm -g --defined-only "$core_library" | awk 'NF == 3 { print $3 }')
    for symbol in $(nm -u "$core_library" | awk 'NF == 2 { print $2 }' |
        sort -u); do
        echo "$own" | grep -qx "$symbol" ||
            echo "$symbol" | grep -qEx "$allowed" ||
            complain "the core calls $symbol"
    done
else
    complain "there is no $core_library"
fi

# What the daemon is linked to is in its memory from the start: libcurl, which
# brings 30 others, is loaded where there is a switch.
daemon=squeezed/squeezed
linked='libc|libxen[a-z]*|libevent-2\.1|libjansson|libexpat|libsystemd|libasan|libubsan|ld-linux-.*|libm|libgcc_s'
for library in $(objdump -p "$daemon" | awk '$1 == "NEEDED" { print $2 }'); do
    echo "$library" | grep -qEx "($linked)(-[0-9.]*)?\.so.*" ||
        complain "the daemon is linked to $library"
done

[ $bad = 0 ] && echo "check_layers: every include and every call of the core is allowed"
exit $bad
