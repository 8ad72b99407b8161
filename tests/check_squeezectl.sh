#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezectl against a broker whose answers are written down: every verb, bad
# usage, refusals, no broker, --json, and Ctrl-C.  Runs where it was built.
set -u

. "${srcdir:-.}/tests/shell.sh"
squeezectl=$build/squeezectl
fake_broker=$build/tests/fake_broker
broker=

clean_up() {
    exec 9>&-
    [ -z "$broker" ] || wait "$broker"
    rm -rf "$dir"
}
trap clean_up EXIT

# run STATUS ARGUMENT...: the status it has to end with.
run() {
    expected=$1
    shift
    what="squeezectl $*"
    ends "$expected" ctl "$@"
}

# called LINE: what the broker heard last.
called() {
    [ "$(tail -n 1 "$dir/calls")" = "$1" ] ||
        fail "$what: asked for $(tail -n 1 "$dir/calls"), not for $1"
}
noted() { grep -qF "$1" "$dir/calls" 2>/dev/null; } # noted TEXT: by the broker

### without a broker
run 0 --help
has out 'reserve MIN [MAX] [--client NAME]'
is_empty err
run 0 reserve --help
has out '--hold TIME'
run 0 --version
has_line out "squeezectl 0.1"
run 3 status
has_line err "squeezectl: status: no broker answers on $dir/socket: is \
squeezed running? (systemctl status squeezed)"
is_empty out
run 3 --json transfer 0b7e web
is_empty out
: >"$dir/socket" # a file that is no socket, as good as a dead one
run 3 status
has err 'no broker answers'
rm "$dir/socket"

### bad usage, told without asking anybody
usage() {
    text=$1
    shift
    run 2 "$@"
    has err "$text"
    is_empty out
}
usage 'no verb given'
usage "no verb 'explode'" explode
usage "no verb 'event'" event
usage 'there is no JSON of it' metrics --json
usage "SIZE 'x' is no size" target web x
usage 'DOMAIN is missing' freeze
usage 'unknown option --wait' status --wait
usage 'unknown option --client' --client x reserve 1G
usage 'MIN is missing' reserve
usage 'DOMAIN is missing' transfer 0b7e
usage "'3' is too much" plan 1 2 3
usage "MIN '5Q' is no size" reserve 5Q
usage "MAX '' is no size" reserve 1G ''
usage "MIN '2048P' is no size" reserve 2048P
usage 'unknown option -1' reserve -1
usage "MIN '-1' is no size" reserve -- -1
usage "--timeout 'soon' is no time" reserve 1G --timeout soon
usage '--hold needs a value' reserve 1G --hold
usage "--uuid 'abc' is no UUID" reserve 1G --uuid abc
usage 'takes no value' reserve 1G --wait=yes
usage 'takes no value' --json=1 status
usage "MAX 'x' is no size" range web 1G x
usage "a socket's path has 1 to 107 bytes" --socket '' status
usage "a socket's path has 1 to 107 bytes" \
    --socket "/$(printf '%0110d' 0)" status

### with one
mkfifo "$dir/stdin"
"$fake_broker" "$dir/socket" "$dir/calls" <"$dir/stdin" &
broker=$!
exec 9>"$dir/stdin"
await noted ready

run 0 status
called 'squeezed.status {}'
has_line out 'squeezed 0.1 on xen, policy proportional: squeezed'
has out 'domains        14575212'
has out 'headroom         449536'
has out '16777216'
has out 'in all          2097152    2.0 GiB'
grep -q 'does not add up' "$dir/out" && fail "$what: finds a wrong sum"
has out '      3  web       ok !         1.0 GiB    4.0 GiB  8.0 GiB    4.0 GiB'
has out '      0  Domain-0  unmanaged          -    2.0 GiB        -    2.0 GiB'
has_line out '  ! domain 3: dynamic-min 9437184 is above dynamic-max 8388608'
has out 'ok?[31m'
has out '0b7e1d1e-7a7c-4d0b-9a31-52f6a0f4c001  xenopsd  1.0 GiB  12.5 s     -'
has out 'domain 7'
has out 'nightly         2.0 GiB  4.0 GiB  350 ms  3, 7'
has out 'last plan: 350 ms ago, request of nightly for 2.0 GiB, 3 writes'
LC_ALL=C grep -q '[^ -~]' "$dir/out" && fail "$what: not plain ASCII"
grep -q ' $' "$dir/out" && fail "$what: blanks at the end of a line"
run 0 status --json
has out '{"version": "0.1", "platform": "xen", "policy": "proportional", '
has out '"store": {"connected": true, "reconnects": 0}}'
[ "$(wc -l <"$dir/out")" = 1 ] || fail "$what: not one line"

run 0 available
has out 'now               449536  439.0 MiB'
has out 'after a squeeze  3595264    3.4 GiB'
run 0 --json available
has_line out '{"now_kib": 449536, "after_squeeze_kib": 3595264}'

run 0 plan 256M
called 'squeezed.plan {"min": 262144}'
has_line out 'now: 256.0 MiB'
run 0 plan 1G 2G
called 'squeezed.plan {"max": 2097152, "min": 1048576}'
has_line out 'after-squeeze: 2.0 GiB in about 1.2 s'
has_line out '      3  web   1.6 GiB'
run 1 plan 1T
has_line out 'impossible: 1020.6 GiB short'
has_line err 'squeezectl: plan: 1.0 TiB asked for, 3.4 GiB could be had at '\
'best (cannot-free)'
run 1 plan 1T --json
has out '{"verdict": "impossible", '
has err '3.4 GiB'

id=0b7e1d1e-7a7c-4d0b-9a31-52f6a0f4c002
run 0 reserve 2G
called 'squeezed.reserve {"min": 2097152}'
[ "$(cat "$dir/out")" = "$id 2097152" ] || fail "$what: wrong first line"
is_empty err
run 0 reserve 1G 2G --client nightly --timeout=1.5 --wait --hold 2m \
    --uuid 6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a07
called 'squeezed.reserve {"client": "nightly", "hold_ms": 120000, "max": '\
'2097152, "min": 1048576, "timeout_ms": 1500, "uuid": '\
'"6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a07", "wait": true}'
run 0 reserve 2G --json
has_line out "{\"reservation\": \"$id\", \"amount_kib\": 2097152, \
\"took_ms\": 131, \"answer_ms\": 2.5}"
run 1 reserve 1T --client greedy
is_empty out
has_line err "squeezectl: reserve: the guests can't give that much \
(cannot-free)"
has err '1073741824 KiB (1.0 TiB)'
has err '3595264 KiB (3.4 GiB)'
has err '1070146560 KiB (1020.6 GiB)'
run 1 reserve 2G --client unlucky
has err '(uncooperative)'
has err 'owed by       domain 3, 7'
run 1 --json reserve 2G --client unlucky
has_line out '{"error": {"code": -32001, "message": "guests don'"'"'t give", '\
'"data": {"reason": "uncooperative", "needed_kib": 2097152, "free_kib": '\
'1048576, "short_kib": 1048576, "domids": [3, 7]}}}'
has err '2097152 KiB'

run 0 release $id
called "squeezed.release {\"reservation\": \"$id\"}"
is_empty out
run 0 release $id --json
has_line out null
run 1 release unknown
has err "there is no reservation 'unknown' (unknown-reservation)"

run 0 transfer $id 7
called "squeezed.transfer {\"domid\": 7, \"reservation\": \"$id\"}"
run 0 transfer $id web
called "squeezed.transfer {\"domid\": 3, \"reservation\": \"$id\"}"
run 0 transfer $id 6F0D8A52-51a5-4f6e-8d43-7c2d9b1c0a12
called "squeezed.transfer {\"domid\": 12, \"reservation\": \"$id\"}"
run 1 transfer $id twin
called 'squeezed.status {}'
has err "'twin' fits the domains 7, 12: give the domid"
run 1 --json transfer $id nobody
has err "no domain has the domid, name or UUID 'nobody' (unknown-domain)"
has out '{"error": {"code": -32006, '

run 0 range web 1G 8G
grep -qxF 'squeezed.set_range {"domid": 3, "dynamic_max": 8388608, '\
'"dynamic_min": 1048576}' "$dir/calls" || fail "$what: not asked for"
run 0 target web 2G
called 'squeezed.set_target {"domid": 3, "target": 2097152}'
is_empty out
run 0 auto 7
called 'squeezed.set_auto {"domid": 7}'
run 0 freeze web
called 'squeezed.freeze {"domid": 3}'
run 1 freeze 99
has err 'there is no domain 99 (unknown-domain)'
run 0 thaw 7
called 'squeezed.thaw {"domid": 7}'
run 0 metrics
called 'GET /metrics'
has_line out '# EOF'
# The events of this broker end: as if it had been stopped.
export TZ=UTC
run 3 events
called 'GET /v1/events'
has_line out '22:13:20.123  grant        request 2, client x, amount 1.0 GiB, '\
'took 505 ms'
has_line out '22:13:21.000  refusal      request 3, client y, reason '\
'uncooperative, domids 3 7, not wait'
has_line out '22:13:21.001  state        domid 4, name e?[31m, state ok'
[ "$(wc -l <"$dir/out")" = 3 ] || fail "$what: not three lines"
has_line err "squeezectl: events: the broker on $dir/socket has ended"
run 3 --json events
has_line out '{"event":"grant","request":2,"client":"x","amount_kib":1048576,'\
'"took_ms":505,"t_ms":1700000000123}'
what='events to somebody who has left'
"$squeezectl" --socket "$dir/socket" events 2>"$dir/err" | true
is_empty err
what='events with nowhere to write'
"$squeezectl" --socket "$dir/socket" events >/dev/full 2>"$dir/err"
[ $? = 1 ] || fail "$what: not exit status 1"
has err "can't write the events"
run 0 balance
called 'squeezed.balance {}'
is_empty out
run 0 login xenopsd
called 'squeezed.login {"client": "xenopsd"}'

### brokers that fail
run 3 login dropped
has err 'closed the connection without an answer'
run 3 login lost
has err 'is no squeezed: HTTP status 404'

### an answer that nobody takes
what='reserve with nowhere to write'
"$squeezectl" --socket "$dir/socket" reserve 2G >/dev/full 2>"$dir/err"
[ $? = 1 ] || fail "$what: not exit status 1"
called "squeezed.release {\"reservation\": \"$id\"}"
has err 'it is taken back'
what='status with nowhere to write'
"$squeezectl" --socket "$dir/socket" status >/dev/full 2>"$dir/err"
[ $? = 1 ] || fail "$what: not exit status 1"

### Ctrl-C.  A shell's background jobs ignore SIGINT: TERM does the same.
# interrupt CLIENT: reserves in that name and interrupts it.
interrupt() {
    what="interrupted reserve of $1"
    "$squeezectl" --socket "$dir/socket" --json reserve 2G --client "$1" \
        >"$dir/out" 2>"$dir/err" &
    job=$!
    await noted "\"client\": \"$1\""
    sleep 0.1
    kill -TERM $job
    wait $job
    status=$?
    [ $status = 1 ] || fail "$what: exit status $status"
    has err 'interrupted: the request is withdrawn, nothing is reserved'
    has out '{"error": {"code": -32003, '
}
interrupt patient
await noted 'client has gone'
interrupt polite
has out '"message": "you left"'
# Ignored from the start, as under nohup: that withdraws nothing.
what='reserve under nohup'
env --ignore-signal=HUP "$squeezectl" --socket "$dir/socket" reserve 2G \
    --client patient >"$dir/out" 2>"$dir/err" &
job=$!
heard() { [ "$(grep -c '"client": "patient"' "$dir/calls")" -ge 2 ]; }
await heard
kill -HUP $job
sleep 0.2
kill -0 $job || fail "$what: it has ended"
kill -TERM $job
wait $job
has err 'interrupted: the request is withdrawn, nothing is reserved'
interrupt late # granted all the same: has to be given back
called "squeezed.release {\"reservation\": \"$id\"}"

### a socket that is forbidden; root may do everything
if [ "$(id -u)" != 0 ]; then
    chmod 0 "$dir/socket"
    run 3 status
    has err "permission denied on $dir/socket"
elif command -v setpriv >/dev/null && chmod 711 "$dir"; then
    chmod 700 "$dir/socket"
    what='status as nobody'
    # What runs has to be where nobody can read it.
    cp "$squeezectl" "$dir/squeezectl"
    chmod 755 "$dir/squeezectl"
    setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$dir/squeezectl" --socket "$dir/socket" status \
        >"$dir/out" 2>"$dir/err"
    status=$?
    [ $status = 3 ] || fail "$what: exit status $status"
    has err "permission denied on $dir/socket"
fi

[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
