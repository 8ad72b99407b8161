#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs the tests that need a real xenstored, on a machine without Xen:
#
#   check-xenstored.sh SOURCES BUILD PROGRAM...
#
# Programs are relative to BUILD, and run with both xenstoreds: the kind is in
# XENSTORED_KIND.  One that ends with 77 was skipped, which counts as failed
# where SQUEEZED_REQUIRE_XEN is set.
set -u

sources=$(cd "$1" && pwd)
build=$(cd "$2" && pwd)
shift 2
start=$sources/tests/fakexen/start-xenstored.sh
export SOURCES="$sources"
# check's own 4 s for a test are little on a busy machine.
export CK_DEFAULT_TIMEOUT="${CK_DEFAULT_TIMEOUT:-60}"
export FAKEXEN_SO="$build/tests/fakexen/fakexen.so"
export FAKEHV_SO="$build/tests/fakexen/fakehv.so"
# Where the tests were built with sanitizers: libcheck's own leaks, in what it
# forks.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
TMPDIR=$(mktemp -d /tmp/check-xenstored.XXXXXX) || exit 1
export TMPDIR

# Daemons whose test was killed.
clean_up() {
    for file in "$TMPDIR"/*/pid; do
        [ -s "$file" ] && kill -9 "$(cat "$file")" 2>/dev/null
    done
    rm -rf "$TMPDIR"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

failed=
run() {
    echo "check-xenstored: $*"
    (cd "$build" && "$@")
    case $? in
    0) ;;
    77)
        echo "check-xenstored: SKIPPED: $*"
        [ -z "${SQUEEZED_REQUIRE_XEN:-}" ] || failed="$failed $1"
        ;;
    *) failed="$failed $1" ;;
    esac
}

# With both xenstoreds, one after the other; or at once, for programs that
# wait most of the time.
with_each() {
    for kind in c ocaml; do
        XENSTORED_KIND=$kind
        export XENSTORED_KIND
        run "$@"
    done
}

at_once() {
    echo "check-xenstored: $* (c and ocaml)"
    (cd "$build" && XENSTORED_KIND=ocaml "$@") >"$TMPDIR/output" 2>&1 &
    other=$!
    XENSTORED_KIND=c
    export XENSTORED_KIND
    run "$@"
    wait $other
    status=$?
    cat "$TMPDIR/output"
    [ $status != 77 ] || [ -n "${SQUEEZED_REQUIRE_XEN:-}" ] || return
    [ $status = 0 ] || failed="$failed $1"
}

for program; do
    case $program in
    */check_xsc_real)
        for kind in c ocaml; do
            run "$program" "$start" $kind
        done
        ;;
    */check_xen_platform | */check_xen_rules | */check_faults)
        with_each "$program"
        ;;
    */check_xenstore_faults | */check_hostile | */check_store_requests | */check_manual | \
        */check_clients_xen)
        at_once "$program"
        ;;
    *) run "$program" ;;
    esac
done

if [ -n "$failed" ]; then
    echo "check-xenstored: FAILED:$failed" >&2
    exit 1
fi
echo "check-xenstored: all passed"
