#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Starts a real xenstored on a machine without Xen, and prints its pid once it
# answers.  Its socket is DIRECTORY/socket; its tree is empty.
#
#   start-xenstored.sh DIRECTORY [c|ocaml] [PATH OF fakexen.so]
#
# FAKEHV names the fake host (fakehv.h), if there is one.  Events are raised at
# DIRECTORY/evtchn.  What it prints goes to DIRECTORY/xenstored.log.
set -eu

dir=$1
kind=${2:-c}
preload=${3:-tests/fakexen/fakexen.so}
bin=${XENSTORED_BIN:-/usr/lib/xen-4.17/bin}

case $preload in
/*) ;;
*) preload=$PWD/$preload ;;
esac
# A Unix socket's path holds 107 characters.
if [ ${#dir} -gt 95 ]; then
    echo "start-xenstored.sh: $dir: too long for a socket's path" >&2
    exit 1
fi
rm -f "$dir"/socket "$dir"/ring.* "$dir"/evtchn
export FAKEXEN_DIR="$dir" FAKEXEN_EVTCHN="$dir/evtchn"
export XENSTORED_RUNDIR="$dir" XENSTORED_PATH="$dir/socket"

case $kind in
c)
    set -- "$bin/xenstored" -N
    ;;
ocaml)
    cat >"$dir/oxenstored.conf" <<END
pid-file = $dir/oxenstored.pid
merge-activate = true
perms-activate = true
quota-activate = false
xenstored-kva = /proc/xen/xsd_kva
xenstored-port = /proc/xen/xsd_port
xenstored-log-file = $dir/oxenstored.log
access-log-file = $dir/oxenstored-access.log
END
    set -- "$bin/oxenstored" --no-fork --config-file "$dir/oxenstored.conf"
    ;;
*)
    echo "start-xenstored.sh: $kind: neither c nor ocaml" >&2
    exit 1
    ;;
esac
if [ ! -x "$1" ]; then
    echo "start-xenstored.sh: $1: not there (Debian: xen-utils-4.17)" >&2
    exit 77
fi

# In a session of its own: a test's process group is killed at its end.
LD_PRELOAD=$preload setsid "$@" >"$dir/xenstored.log" 2>&1 </dev/null &
pid=$!
tries=0
until [ -S "$dir/socket" ] && timeout 1 xenstore-exists / 2>/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $pid 2>/dev/null; then
        echo "start-xenstored.sh: $1 did not start:" >&2
        cat "$dir/xenstored.log" >&2
        kill $pid 2>/dev/null || :
        exit 1
    fi
    sleep 0.05
done
echo $pid
