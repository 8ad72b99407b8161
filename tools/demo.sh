#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezed on a simulated host, in about 16 seconds: a full host, the start of
# a virtual machine that needs 2 GiB, and its end.  Needs neither Xen nor root.
#
#   tools/demo.sh BUILD_DIR [SCENARIO]
#
# Everything that is shown comes from the running broker, through squeezectl
# and its log; nothing is computed here but differences.
set -u

build=${1:?usage: demo.sh BUILD_DIR [SCENARIO]}
here=$(dirname "$0")
scenario=${2:-$here/../squeezed/demo.scenario} # in the source tree
squeezed=$build/squeezed/squeezed
[ -x "$squeezed" ] || squeezed=$build/squeezed
squeezectl=$build/squeezectl
vm=new-vm

for file in "$squeezed" "$squeezectl"; do
    if [ ! -x "$file" ] || [ -d "$file" ]; then
        echo "demo.sh: $file: not there; is $build where it was built?" >&2
        exit 2
    fi
done

folder=$(mktemp -d) || exit 1
daemon=
finish() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null
    [ -z "$daemon" ] || wait "$daemon" 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

ctl() { "$squeezectl" --socket "$folder/socket" "$@"; }

title() { printf '\n\033[1m%s\033[0m\n\n' "$*"; }
[ -t 1 ] || title() { printf '\n== %s\n\n' "$*"; }

say() { printf '%s\n' "$*"; }

# shown COMMAND...: what is typed, then what it prints
shown() {
    printf '$ squeezectl %s\n' "$*"
    ctl "$@" 2>&1
    printf '\n'
}

failed() {
    echo "demo.sh: $1; the broker's log:" >&2
    cat "$folder/log" >&2
    exit 1
}

# wait_for WHAT COMMAND...: until it comes true, 15 s at most
wait_for() {
    what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || failed "$what did not happen"
        kill -0 "$daemon" 2>/dev/null || failed "squeezed has ended"
        sleep 0.1
    done
}

logged() { grep -q "$1" "$folder/log"; }

# domains FILE: for each domain a line, its name and what it holds in KiB
domains() {
    ctl --json status | tr '{' '\n' |
        sed -n 's/.*"domid":.*"name": "\([^"]*\)".*"actual_kib": \([0-9]*\).*/\1 \2/p' \
            >"$folder/$1"
}

holds() {
    domains look
    awk -v name="$1" -v kib="$2" '$1 == name && $2 == kib { found = 1 }
        END { exit !found }' "$folder/look"
}

gone() {
    domains look
    [ -s "$folder/look" ] && ! grep -q "^$1 " "$folder/look"
}

# compare BEFORE AFTER TITLE: what each domain held, holds, and the difference
compare() {
    awk -v title="$3" '
        function mib(kib) { return sprintf("%.1f MiB", kib / 1024) }
        BEGIN { printf "  %-12s%14s%14s%14s\n", "DOMAIN", "BEFORE", title, "GAVE" }
        FNR == NR { before[$1] = $2; next }
        { seen[$1] = 1
          if ($1 in before) { gave = before[$1] - $2; sum += gave }
          printf "  %-12s%14s%14s%14s\n", $1,
              $1 in before ? mib(before[$1]) : "-", mib($2),
              !($1 in before) || gave == 0 ? "-" : mib(gave) }
        END { printf "  %-12s%14s%14s%14s\n", "", "", "in all", mib(sum) }
    ' "$folder/$1" "$folder/$2"
}

"$squeezed" --config "$folder/none" --simulate "$scenario" \
    --socket "$folder/socket" 2>"$folder/log" &
daemon=$!
wait_for "the start" ctl available
ctl balance

title "1. A full host"
say "squeezed runs on a simulated host of 16 GiB.  Six domains hold all of it but"
say "the host reserve.  Four of them have a range (MIN to MAX) that squeezed may"
say "move them in; the others are never touched."
say ""
shown status
sleep 1

title "2. What would a new machine of 2 GiB get, and from whom?"
say "Asking changes nothing.  A request that can't be met is refused at once,"
say "before any guest is asked for anything."
say ""
shown plan 2G
shown reserve 20G
domains before

title "3. A toolstack starts a machine: it reserves 2 GiB"
wait_for "the reservation" logged "granted to toolstack"
sed -n 's/.*squeezed: \(reservation .* granted .*\)/squeezed says: \1/p' \
    "$folder/log"
ctl balance
domains reserved
say "Who gave how much, each in proportion to its range:"
say ""
compare before reserved NOW
say ""
say "The 2 GiB are free, and nobody but the toolstack may have them:"
say ""
ctl status | sed -n '/^ *RESERVATION/,/^$/p'

title "4. The machine is built from the reservation, and runs"
wait_for "the machine" holds "$vm" 2097152
domains running
compare before running NOW
sleep 1

title "5. The machine ends: the others relax into its memory"
wait_for "its end" gone "$vm"
ctl balance
domains after
compare before after NOW
say ""
say "Again nothing is left over, and as much could be had as before:"
say ""
shown available
say "That was squeezed.  The same host in virtual time, in milliseconds:"
say "    $build/squeezesim --verbose $scenario"
