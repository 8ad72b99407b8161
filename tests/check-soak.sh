#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Random clients against a simulated host for a while; `make check-soak`.
#
#   check-soak.sh SOURCES BUILD SECONDS SEED
set -u

clients=$(cd "$1" && pwd)/tests/clients
cd "$2" || exit 99
dir=$(mktemp -d) || exit 99
pid=
trap 'kill $pid 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP

echo "boot-time-host-free-memory-minimal-constant-count = 1" >"$dir/conf"
squeezed/squeezed --config "$dir/conf" --simulate "$clients/host.scenario" \
    --socket "$dir/socket" --log-level warning 2>"$dir/log" &
pid=$!
tries=0
until [ -S "$dir/socket" ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "squeezed did not start"; cat "$dir/log"; exit 1; }
    sleep 0.05
done
sleep 0.5
timeout $(($3 + 120)) python3 "$clients/soak.py" "$dir/socket" $pid "$3" "$4" || {
    tail -n 50 "$dir/log"
    echo "check-soak: FAILED (SEED=$4)"
    exit 1
}
kill $pid && wait $pid || { echo "squeezed ended badly"; tail "$dir/log"; exit 1; }
pid=
echo "check-soak: passed"
