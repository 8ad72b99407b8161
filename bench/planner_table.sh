#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the planner reaches, beside what it must and what the guests' own rates
# allow: the scenarios tests/scenarios/table-* as a table in Markdown.  Virtual
# time: the same on every machine.
#
#     bench/planner_table.sh [SQUEEZESIM]
#
# Exit status 1 if something is not reached.
set -u

here=$(dirname "$0")
scenarios=$here/../tests/scenarios
sim=${1:-./squeezesim}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
missed=0

miss() {
    ok=' **missed**'
    missed=$((missed + 1))
}

# run SCENARIO: leaves $work/json and $work/trace; ok says whether it came true.
run() {
    ok=
    "$sim" --json --trace "$work/trace" "$scenarios/table-$1.scenario" \
        >"$work/json" 2>"$work/err" || {
        miss
        sed 's/^/    /' "$work/err" >&2
    }
}

# field NAME: all its numbers, a line each.
field() { grep -oE "\"$1\": -?[0-9.]+" "$work/json" | sed 's/.*: //'; }

# The longest time from a submission to its answer.
took() {
    field answered_s >"$work/answered"
    field submitted_s | paste - "$work/answered" |
        awk '{ if ($2 - $1 > most) most = $2 - $1 } END { print seconds(most) }
            function seconds(s) { return sprintf("%.4g s", s) }'
}

# The last time that anything changed, since $1 seconds.
settled() {
    tail -n 1 "$work/trace" |
        awk -F, -v at="$1" '{ printf "%.4g s\n", $1 - at }'
}

# The most target writes of one of the domains $1 to $2 up to the first answer.
writes() {
    awk -F, -v low="$1" -v high="$2" -v end="$(field answered_s | head -n 1)" '
        NR > 1 && $3 >= low && $3 <= high && (end == "" || $1 <= end) {
            if ($3 in target && target[$3] != $5 && ++n[$3] > most) most = n[$3]
            target[$3] = $5
        }
        END { print most + 0 }' "$work/trace"
}

# The shortest time between two target writes of domain 1.
apart() {
    awk -F, '$3 == 1 {
            if (seen && target != $5) {
                if (last != "" && (least == "" || $1 - last < least)) least = $1 - last
                last = $1
            }
            seen = 1; target = $5
        }
        END { printf "%.4g s apart\n", least }' "$work/trace"
}

# How far the sum of the domains fell below its start.
dip() {
    awk -F, 'NR > 1 {
            if ($1 != t && t != "") look()
            t = $1
            sum += $4 - held[$3]; held[$3] = $4
        }
        END { look(); printf "%.2g %%\n", 100 * dip / start }
        function look() {
            if (start == "") start = sum
            if (start - sum > dip) dip = start - sum
        }' "$work/trace"
}

total() { field target_writes; }

# CASE MUST REACHED LIMIT XAPI.  (limit_s asks the slow and the stuck for their
# share, too: what the others need at least is said here.)
row() { echo "| $1 | $2 | $3$ok | $4 | $5 |"; }

echo '| case | must | reached | physical limit | XAPI'"'"'s squeezed |'
echo '|---|---|---|---|---|'
run 8g
row '8 GiB' '≤ 0.1375 s' "$(took)" '0.125 s' '1 s'
row 'its writes per donor' '1' "$(writes 1 64)" '1' '3'
run 8g-fast
row '8 GiB, 10 GiB/s a guest' '≤ 0.01875 s' "$(took)" '0.0125 s' '1 s'
run 8g-slow
row '8 GiB, 10 MiB/s a guest' '≤ 14.09 s' "$(took)" '12.8 s' '13 s'
run 8g-one-stuck
row '8 GiB, one of 64 stuck' '≤ 0.390 s' "$(took)" '0.127 s' '7 s'
run 8g-eight-stuck
row '8 GiB, eight of 64 stuck' '≤ 0.407 s' "$(took)" '0.143 s' '7 s'
row 'its writes per donor' '≤ 3' "$(writes 1 64)" '1' '–'
run 8g-one-slow
row '8 GiB, one at 1 MiB/s' '≤ 0.390 s' "$(took)" '0.127 s' '129 s'
run 8g-one-drips
row '8 GiB, one drips 4 KiB per 4.9 s' '≤ 0.390 s' "$(took)" '0.127 s' '44.6 h'
run impossible-193g
row '193 GiB: impossible' 'refused at once, 0 writes' \
    "$(took), $(total) writes" '0 s' '3 s, after squeezing 192 GiB'
run impossible-1000g
row '1,000 GiB: impossible' 'refused at once, 0 writes' \
    "$(took), $(total) writes" '0 s' '3 s, after squeezing 192 GiB'
run all-that-is-possible
row '192 GiB: exactly all that is possible' 'granted' "granted, $(took)" \
    '3 s' 'livelock'
run all-but-inaccuracy
row '192 GiB less 64 pages, guests a page inaccurate; a page more' \
    'granted; refused once nobody can give more' \
    "granted; refused; $(took) at most" '3 s' 'livelock'
run storm
row '32 requests of 1 GiB at once' '≤ 0.55 s' "$(took)" '0.5 s' '32 s'
run storm-one-stuck
row 'the same, one guest stuck' '≤ 0.809 s' "$(took)" '0.508 s' '224 s'
run 8g-come-free
row '8 GiB come free' '≤ 0.1425 s' "$(settled 1)" '0.125 s' '11 s'
run swap
row 'swap: half at 1 GiB, half at 4 GiB' '≤ 1.875 s' "$(settled 0)" '1.5 s' '4 s'
row 'its dip of what the guests hold' '≤ 5 %' "$(dip)" '0 %' '30 %'
row 'its writes per acceptor' '≤ 12' "$(writes 1 32)" '1' '–'
run left-over
row 'left over after a balance of 1,000 domains' '< 512 KiB' \
    "$(($(field free_kib | tail -n 1) - 73728)) KiB" '0 KiB' '8.5 MiB'
run range
row 'range [150, 400] GiB' '173.756 GiB' \
    "$(field amount_kib | awk '{ printf "%.3f GiB\n", $1 / 1048576 }')" '–' '192 GiB'
run refusal
row '150 GiB, 40 of 64 stuck' 'refused after 5 s, who owes is named' \
    "$(took), $(grep -oE '"domids": \[[^]]*' "$work/json" | grep -oE '[0-9]+' | wc -l) named" '–' '–'
for guest in stuck-then-awake flapping dripping; do
    run $guest
    [ -n "$(apart | awk '$1 >= 1')" ] || miss
    row "target writes of a guest: $guest" '≥ 1 s apart' "$(apart)" '–' '–'
done
# But where memory is stolen, the cushion is granted, or it begins so.
least=$(for file in "$scenarios"/*.scenario; do
    case $file in */theft.* | */takes-it-all.* | */cushion.* | \
        */crowd-of-crawlers.*) continue ;; esac
    "$sim" --json "$file" 2>/dev/null
done | grep -oE '"min_headroom_kib": -?[0-9]+' | sed 's/.*: //' | sort -n | head -n 1)
ok=
[ "$least" -ge 0 ] || miss
row 'free memory below reserve + reservations, in all scenarios' 'never' \
    "$least KiB at least" '–' 'by 0.5 GiB'
[ "$missed" = 0 ]
