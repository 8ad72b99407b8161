#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Random clients against a simulated host for a while; `make check-soak`.
#
#   check-soak.sh SOURCES BUILD SECONDS SEED
set -u

clients=$(cd "$1" && pwd)/tests/clients
cd "$2" || exit 99
log_level=warning
. "$clients/start.sh"
sleep 0.5
timeout $(($3 + 120)) python3 "$clients/soak.py" "$dir/socket" $pid "$3" "$4" || {
    tail -n 50 "$dir/log"
    echo "check-soak: FAILED (SEED=$4)"
    exit 1
}
kill $pid && wait $pid || { echo "squeezed ended badly"; tail "$dir/log"; exit 1; }
pid=
echo "check-soak: passed"
