#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The memory interface of a simulated host, called by Python's own clients.
# Runs where it was built; srcdir is where the sources are.
set -u

clients=${srcdir:-.}/tests/clients
command -v python3 >/dev/null || { echo "no python3"; exit 77; }
. "$clients/start.sh"
sleep 0.2
timeout 120 python3 "$clients/memory.py" "$dir/socket" simulated || {
    tail -n 50 "$dir/log"
    exit 1
}
kill $pid && wait $pid || { echo "squeezed ended badly"; tail "$dir/log"; exit 1; }
pid=
