#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The memory interface of a simulated host, called by Python's own clients.
# Runs where it was built; srcdir is where the sources are.
set -u

clients=${srcdir:-.}/tests/clients
command -v python3 >/dev/null || { echo "no python3"; exit 77; }
dir=$(mktemp -d) || exit 99
pid=
trap 'kill $pid 2>/dev/null; rm -rf "$dir"' EXIT

cat >"$dir/conf" <<END
boot-time-host-free-memory-minimal-constant-count = 1
END
squeezed/squeezed --config "$dir/conf" --simulate "$clients/host.scenario" \
    --socket "$dir/socket" 2>"$dir/log" &
pid=$!
tries=0
until [ -S "$dir/socket" ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "squeezed did not start"; cat "$dir/log"; exit 1; }
    sleep 0.05
done
sleep 0.2
timeout 120 python3 "$clients/memory.py" "$dir/socket" simulated || {
    tail -n 50 "$dir/log"
    exit 1
}
kill $pid && wait $pid || { echo "squeezed ended badly"; tail "$dir/log"; exit 1; }
pid=
