#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The native interface from end to end: squeezectl and a daemon on a simulated
# host.  Targets by hand, freezing, events, metrics (through promtool, where
# there is one: PROMTOOL or in the path; SQUEEZED_REQUIRE_PROMTOOL: a must).
set -u

squeezed=${SQUEEZED:-./squeezed/squeezed}
squeezectl=${SQUEEZECTL:-./squeezectl}
promtool=${PROMTOOL:-promtool}
work=$(mktemp -d)
pid='' events=''
checks=0 failed=0

finish() {
    [ -z "$events" ] || kill "$events" 2>/dev/null
    [ -z "$pid" ] || kill "$pid" 2>/dev/null
    wait
    rm -rf "$work"
}
trap finish EXIT

check() {
    local text=$1
    shift
    checks=$((checks + 1))
    "$@" && return
    failed=$((failed + 1))
    echo "not ok: $text ($*)"
    tail -n 20 "$work/err" "$work/events" | sed 's/^/    /'
}

# soon COMMAND...: it comes true within some seconds
soon() {
    local i
    for ((i = 0; i < 200; i++)); do
        ! "$@" 2>/dev/null || return 0
        sleep 0.05
    done
    return 1
}

ctl() { "$squeezectl" --socket "$work/socket" "$@"; }
says() { grep -qF -- "$1" "$work/err"; }
told() { grep -qE -- "$1" "$work/events"; }

# domain NAME FIELD: what status says of it
domain() {
    ctl --json status | python3 -c '
import json, sys
name, field = sys.argv[1:]
for d in json.load(sys.stdin)["domains"]:
    if d["name"] == name:
        print(json.dumps(d[field]))' "$1" "$2"
}
is() { [ "$(domain "$1" "$2")" = "$3" ]; }

cat > "$work/host" <<'EOF'
[host]
memory = 9G
[domain 1]
name = web
dynamic-min = 1G
dynamic-max = 4G
rate = 2G
[domain 2]
name = mail
dynamic-min = 1G
dynamic-max = 4G
rate = 2G
EOF
: > "$work/events"
"$squeezed" --config /dev/null --simulate "$work/host" --socket "$work/socket" \
    > "$work/out" 2> "$work/err" &
pid=$!
check 'the daemon starts' soon says listening
check 'both are large' soon is web actual_kib 4194304
# Line by line: head's end is the test of a reader that leaves.
ctl --json events > "$work/events" 2> "$work/events.err" &
events=$!
sleep 0.3

### the manual method
check 'no ceiling' is web ceiling_kib null
check 'target' ctl target web 2G
check 'a ceiling' is web ceiling_kib 2097152
check 'it shrinks' soon is web actual_kib 2097152
check 'the range stays' is web dynamic_max_kib 4194304
check 'auto' ctl auto web
check 'no ceiling any more' is web ceiling_kib null
check 'it grows' soon is web actual_kib 4194304
check 'target below the range' ctl target 2 1M
check 'is its minimum' is mail ceiling_kib 1048576
check 'auto again' ctl auto mail
check 'a target is told of' soon told '"event":"target","domid":1,"name":"web","target_kib":2097152'

### freezing
check 'freeze' ctl freeze web
check 'frozen' is web state '"frozen"'
check 'the change is told of' soon told '"event":"state","domid":1,"name":"web","state":"frozen"'
check 'mail grows again' soon is mail actual_kib 4194304
ctl reserve 3G --client tester > "$work/id"
check 'only the other one gave' is web actual_kib 4194304
check 'all it could' is mail target_kib "$(domain mail actual_kib)"
check 'what the frozen hold is not counted' eval '! ctl reserve 2G 2> "$work/ctl.err"'
check 'it is no donor' grep -q cannot-free "$work/ctl.err"
check 'thaw' ctl thaw web
check 'thawed' soon is web state '"ok"'
check 'now it gives' eval 'ctl reserve 1G --hold 1s > "$work/second"'
check 'status adds up' eval '! ctl status | grep "does not add up"'

### events
read -r id _ < "$work/id"
check 'release' ctl release "$id"
for name in request grant refusal release target state; do
    check "$name is told of" soon told "\"event\":\"$name\""
done
check 'whose' told '"client":"tester"'
check 'why it was refused' told '"reason":"cannot-free".*"short_kib":'
check 'a hold ends' soon told '"event":"release".*"why":"its hold has ended"'
check 'each line is JSON' python3 -c '
import json, sys
for line in open(sys.argv[1]):
    assert json.loads(line)["t_ms"] > 1600000000000' "$work/events"
check 'no word of trouble' [ ! -s "$work/events.err" ]

### metrics
ctl metrics > "$work/metrics"
check 'grants are counted' grep -qx 'squeezed_grants_total 2' "$work/metrics"
check 'refusals, too' grep -qx 'squeezed_refusals_total{reason="cannot-free"} 1' \
    "$work/metrics"
check 'a listener' grep -qx 'squeezed_listeners 1' "$work/metrics"
check 'bytes' grep -qx 'squeezed_host_memory_bytes 9663676416' "$work/metrics"
ctl reserve 100M --client tester >"$work/id"
check 'each sum is that of status, in bytes' python3 -c '
import json, sys
host = json.loads(sys.argv[1])["host"]
page = dict(line.rsplit(" ", 1) for line in sys.argv[2].splitlines()
            if not line.startswith("#"))
for name in ("free", "scrub", "cushion", "reserved", "domains", "xen",
             "growth_allowed", "promised", "headroom", "missing"):
    seen = int(page["squeezed_host_%s_bytes" % name])
    assert seen == 1024 * host[name + "_kib"], (name, seen)
assert int(page["squeezed_host_reserve_bytes"]) == 1024 * host["host_reserve_kib"]
assert int(page["squeezed_host_memory_bytes"]) == 1024 * host["total_kib"]
assert host["reserved_kib"] == 102400 and host["headroom_kib"] != 0, host
free = json.loads(sys.argv[3])
assert int(page["squeezed_available_now_bytes"]) == 1024 * free["now_kib"] > 0
assert int(page["squeezed_available_after_squeeze_bytes"]) == \
    1024 * free["after_squeeze_kib"] > 0' \
    "$(ctl --json status)" "$(ctl metrics)" "$(ctl --json available)"
if command -v "$promtool" > /dev/null; then
    check 'promtool' eval '"$promtool" check metrics < "$work/metrics"'
elif [ -n "${SQUEEZED_REQUIRE_PROMTOOL:-}" ]; then
    check 'there is a promtool' false
else
    echo "SKIPPED: promtool check metrics: it isn't here (Debian's prometheus)"
fi

### the end
kill "$pid"
wait "$pid"
pid=
wait "$events"
check 'events end with the broker' [ $? = 3 ]
events=

echo "$checks checks, $failed failed"
[ $failed = 0 ]
