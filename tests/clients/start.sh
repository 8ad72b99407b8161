# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced in the build folder: starts squeezed on the simulated host of $clients,
# as $pid on the socket in $dir, which go with the shell.
dir=$(mktemp -d) || exit 99
pid=
trap 'kill $pid 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP

echo "boot-time-host-free-memory-minimal-constant-count = 1" >"$dir/conf"
squeezed/squeezed --config "$dir/conf" --simulate "$clients/host.scenario" \
    --socket "$dir/socket" --log-level "${log_level:-info}" 2>"$dir/log" &
pid=$!
tries=0
until [ -S "$dir/socket" ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "squeezed did not start"; cat "$dir/log"; exit 1; }
    sleep 0.05
done
