# SPDX-License-Identifier: LGPL-2.1-or-later
# What the sampler saw all the time: free memory, and how long dom0 stood still.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

case_floors() {
    local name floor min below samples gap
    while read -r name floor min below samples gap; do
        check "free memory in phase $name: never below ${floor#*=} KiB \
(${min#*=}; ${samples#*=} looks, $gap)" [ "${below#*=}" = 0 ]
    done < /out/phases.txt
}

# How long dom0 stood still in what was told at END_MS and had taken MS: the sum
# of the times in which the sampler, which sleeps for 3 ms, did not wake up for
# 5.  An answer takes several processes to wake up one after the other, and any
# of them may be late.  It was told a little after it was there.
still_ms() { # still_ms END_MS MS
    awk -v end="$1" -v ms="$2" '
        $3 == "gap" && $1 >= end - ms - 300 && $1 - $4 <= end { sum += $4 }
        END { printf "%.1f", sum }' /out/free-memory.trace
}

# As promised: 50 ms, more only by what the emulation took from all of dom0 in
# that very moment: once from squeezed, and once from who asked.
case_prompt() {
    local end ms text still
    while read -r end ms text; do
        still=$(still_ms "$end" "$ms")
        check "$text: $(round "$ms") ms (dom0 stood still for $still)" \
            at_most "$ms" "$(awk -v s="$still" 'BEGIN { print 50 + 2 * s }')"
    done < $prompts
}
