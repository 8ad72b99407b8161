#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs harnesses, two at a time.  Usage: run.sh SOURCES BUILT SECONDS NAME...
# (the folders fuzz/ of the sources and of the build).  Each starts with its
# kept corpus and what earlier runs have found; a crash fails.
set -uo pipefail
sources=$(cd "$1" && pwd) built=$2 seconds=$3
shift 3

# one NAME: prints how it went
one() {
    local name=$1 found=found/$1 log=found/$1.log status
    mkdir -p "$found"
    ./fuzz_"$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -dict="$sources/$name.dict" -artifact_prefix=found/"$name"- \
        -print_final_stats=1 "$found" "$sources/corpus/$name" \
        > "$log" 2>&1
    status=$?
    if [ $status = 0 ]; then
        awk -v name="$name" '
            /^Done / { runs = $2; time = $5 }
            / cov: / { for (i = 1; i < NF; i++)
                           if ($i == "cov:") edges = $(i + 1) }
            END { printf "ok: %s: %d inputs in %d s, %d edges\n",
                         name, runs, time, edges }' "$log"
    else
        tail -n 60 "$log"
        echo "FAILED: $name: all of it is in $PWD/$log"
    fi
    return $status
}

cd "$built" || exit 1
failed=0
while [ $# -gt 0 ]; do
    one "$1" & first=$!
    second=
    if [ $# -gt 1 ]; then
        one "$2" & second=$!
        shift
    fi
    shift
    wait "$first" || failed=1
    [ -z "$second" ] || wait "$second" || failed=1
done
exit $failed
