#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Instructions of one pass of the planner, counted by valgrind:
#
#   instructions.sh BENCH_PLANNER
#
# Two runs that differ by ten passes: what both do falls out.
set -eu

bench=$1

count() { # ARGUMENTS…
    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --toggle-collect=planner_pass "$bench" "$@" 2>&1 |
        sed -n 's/.*Collected : //p'
}

printf '%8s %12s %12s %18s\n' domains 'at rest' moving 'moving, a domain'
for domains in 10 100 1000 10000; do
    rest=$((($(count $domains rest 20) - $(count $domains rest 10)) / 10))
    moving=$((($(count $domains moving 20) - $(count $domains moving 10)) / 10))
    printf '%8d %12d %12d %18d\n' $domains $rest $moving $((moving / domains))
done
