#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezed on a whole Xen host, inside QEMU: one boot, all cases (cases.sh).
#
#   check-xen.sh [BUILD_DIR]        (default: the current one; `make check-xen`)
#
# Logs stay in BUILD_DIR/xen-logs.  Exit status: 0 all passed; 77 this machine
# can't run it (1 if SQUEEZED_REQUIRE_XEN is set and not empty); else failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:-.}" && pwd)
logs=$build/xen-logs

job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT

fail() {
    echo "check-xen: $*" >&2
    exit 1
}

# add_installed PROGRAM…: as `make install` installs them
add_installed() {
    local p found
    MAKEFLAGS='' make -s -C "$build" install DESTDIR="$job.install" > /dev/null
    trap 'rm -rf "$job" "$job.install"' EXIT
    for p in "$@"; do
        found=$(find "$job.install" -type f -name "$p" -perm /111)
        [ -n "$found" ] || fail "make install installs no $p"
        cp "$found" "$job/"
    done
}

add_installed squeezed squeezectl
for p in memory-sampler json-get domain-probe; do
    cp "$build/tests/xen/$p" "$job/" || fail "no $p: use make check-xen"
done
cp "$here"/{cases.sh,dom0-lib.sh,squeezed.conf} "$job/"

rm -rf "$logs"
status=0
"$here/run-in-xen.sh" --files "$job" --out "$logs" --timeout 240 -- \
    'sh ./cases.sh' || status=$?

case $status in
    0) ;;
    77)
        echo "SKIPPED: check-xen: $(cat "$logs/skipped")"
        [ -z "${SQUEEZED_REQUIRE_XEN:-}" ] ||
            fail "SQUEEZED_REQUIRE_XEN is set: a skip is a failure"
        ;;
    124) echo "check-xen: took too long; logs: $logs" ;;
    125) echo "check-xen: the test host failed; logs: $logs" ;;
    *) echo "check-xen: failed; logs: $logs" ;;
esac
exit $status
