#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezed on a whole Xen host, inside QEMU, in four boots: xenstored and
# oxenstored, named after what they run with (cases.sh), tools (tools.sh), and
# readme, which does what README says (readme.sh).
#
#   check-xen.sh [BUILD_DIR [BOOT…]]
#       (default: the current one, and all four; `make check-xen`)
#
# Logs stay in BUILD_DIR/xen-logs/BOOT.  Exit status: 0 all passed; 77 this
# machine can't run it (1 if SQUEEZED_REQUIRE_XEN is set and not empty); else
# failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:-.}" && pwd)
boots=("${@:2}")
[ ${#boots[@]} -gt 0 ] || boots=(xenstored oxenstored tools readme)

job=$(mktemp -d)
guest=$(mktemp -d)
trap 'rm -rf "$job" "$job.install" "$job.readme" "$guest"' EXIT

fail() {
    echo "check-xen: $*" >&2
    exit 1
}

# add_installed PROGRAM…: as `make install` installs them
add_installed() {
    local p found
    MAKEFLAGS='' make -s -C "$build" install DESTDIR="$job.install" > /dev/null
    for p in "$@"; do
        found=$(find "$job.install" -type f -name "$p" -perm /111)
        [ -n "$found" ] || fail "make install installs no $p"
        cp "$found" "$job/"
    done
}

add_installed squeezed squeezectl xl-squeeze
for p in memory-sampler json-get domain-probe domain-builder post; do
    cp "$build/tests/xen/$p" "$job/" || fail "no $p: use make check-xen"
done
cp -R "$here"/{cases.sh,tools.sh,cases,dom0-lib.sh,squeezed.conf} "$job/"
# squeezed has what its unit leaves it of root's capabilities, and no more.
cp "$(command -v setpriv)" "$job/" || fail "no setpriv: install util-linux"
sed -n 's/^CapabilityBoundingSet=//p' \
    "$here/../../squeezed/squeezed.service.in" > "$job/capabilities"
# The tree that is installed, and the commands that README gives after that.
mkdir "$job.readme"
cp -R "$job.install" "$job.readme/root"
cp -R "$here"/{readme.sh,dom0-lib.sh,stubs} "$job.readme/"
for p in json-get domain-probe; do
    cp "$build/tests/xen/$p" "$job.readme/"
done
awk '/^## /{ on = $0 == "## On a Xen host with xl: five minutes" } on' \
    "$here/../../README.md" | sed -n 's/^ *\$ //p' > "$job.readme/all.txt"
printf '%s\n' ./bootstrap 'sudo make -C build install' |
    cmp -s - <(head -n 2 "$job.readme/all.txt") ||
    fail "README begins otherwise than with building and installing"
tail -n +3 "$job.readme/all.txt" > "$job.readme/readme.txt"
cp "$build/tests/xen/key-writer" "$guest/" ||
    fail "no key-writer: use make check-xen"
install -m 755 "$here/guest-start" "$guest/start"

# One boot; its exit status is the harness's.
boot_once() { # boot_once BOOT LOGS
    local xenstored=$1 script=cases.sh files=$job
    case $1 in
        tools) xenstored=xenstored script=tools.sh ;;
        readme) xenstored=xenstored script=readme.sh files=$job.readme ;;
    esac
    rm -rf "$2"
    "$here/run-in-xen.sh" --files "$files" --guest "$guest" --out "$2" \
        --timeout 1200 --memory 2048 --xenstored "$xenstored" \
        -- "sh ./$script"
}

# QEMU's emulation of SVM has its faults: now and then it loses a PVH guest (which
# then "reboots"; what squeezed could do to it would end otherwise), or the whole
# host.  What failed in such a boot may be of that.
was_lost_by_qemu() { # was_lost_by_qemu STATUS LOGS
    [ "$1" = 125 ] ||
        grep -qs 'Triple fault - invoking HVM shutdown' "$2/xen-console.log"
}

# One boot, and two more chances for what QEMU spoils.
boot() { # boot BOOT LOGS
    local status chances=3
    rm -rf "$2".lost-*
    while :; do
        status=0
        boot_once "$1" "$2" || status=$?
        chances=$((chances - 1))
        case $status in 0 | 77) break ;; esac
        if [ $chances = 0 ] || ! was_lost_by_qemu $status "$2"; then break; fi
        echo "check-xen: QEMU lost a guest or the host in $1 (status $status);" \
            "logs: $2.lost-$chances; once more"
        mv "$2" "$2.lost-$chances"
        lost=$((lost + 1))
    done
    case $status in
        0) ;;
        77)
            echo "SKIPPED: check-xen: $(cat "$2/skipped")"
            [ -z "${SQUEEZED_REQUIRE_XEN:-}" ] ||
                fail "SQUEEZED_REQUIRE_XEN is set: a skip is a failure"
            ;;
        124) echo "check-xen: $1 took too long; logs: $2" ;;
        125) echo "check-xen: the test host failed; logs: $2" ;;
        *) echo "check-xen: $1 failed; logs: $2" ;;
    esac
    return $status
}

result=0 lost=0
for x in "${boots[@]}"; do
    status=0
    boot "$x" "$build/xen-logs/$x" || status=$?
    [ $status != 77 ] || exit 77
    [ $status = 0 ] || result=$status
done
[ $lost = 0 ] || echo "check-xen: $lost boots were lost, and made again: if that" \
    "is often, look at the logs in $build/xen-logs/*.lost-*"
exit $result
