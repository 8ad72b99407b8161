#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezesim as a program: its options, its output, its exit status.  The
# scenarios of tests/scenarios are check_scenarios' business.
# Runs where it was built; srcdir is where the sources are.
set -u

src=${srcdir:-.}
sim=${SQUEEZESIM:-./squeezesim}
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $*"
    sed 's/^/    /' "$dir/out" "$dir/err"
    failed=$((failed + 1))
}

# exits STATUS ARGUMENT...
exits() {
    want=$1
    shift
    "$sim" "$@" >"$dir/out" 2>"$dir/err"
    got=$?
    [ "$got" = "$want" ] || fail "squeezesim $*: exit $got, not $want"
}

prints() { grep -qF -- "$1" "$dir/out" || fail "not printed: $1"; }
says() { grep -qF -- "$1" "$dir/err" || fail "not said: $1"; }
silent() { [ ! -s "$dir/out" ] || fail "something was printed"; }

cat >"$dir/good.one.ini" <<'END'
[host]
memory = 4168M
[domain 1]
name = a "b"
count = 2
rate = 1000M
dynamic-min = 1G
dynamic-max = 2G
[event 1]
at = 1
action = reserve
min = 1000M
expect = granted
END

### scenarios of the tree
exits 0 --seed 3 "$src"/squeezed/*.scenario "$src"/tests/scenarios/table-8g*

### the table
exits 0 "$dir/good.one.ini"
prints 'good.one: policy proportional, seed 0'
prints 'granted'
exits 0 --verbose "$dir/good.one.ini"
says 'event 1: 1 x reserve 1000.0 MiB'

### output that is lost
for option in --help --json --verbose; do
    "$sim" $option "$dir/good.one.ini" >/dev/full 2>"$dir/err"
    got=$?
    [ $got = 2 ] || fail "squeezesim $option >/dev/full: exit $got"
    says 'standard output'
done

### JSON: one line each
exits 0 --json "$dir/good.one.ini" "$dir/good.one.ini"
[ "$(wc -l <"$dir/out")" = 2 ] || fail "--json: not one line each"
prints '{"scenario": "good.one", "policy": "proportional", "seed": 0, "simulated_s": '
prints '"requests": [{"event": 1, "client": "sim", "min_kib": 1024000, "max_kib": 1024000, "submitted_s": 1.0, "answered_s": 1.5'
prints '"outcome": "granted", "amount_kib": 1024000, "error": null, "needed_kib": null, "free_kib": null, "domids": [], "limit_s": 0.5}]'
prints '"host": {"total_kib": 4268032, "free_kib": '
prints '"reserved_kib": 1024000, "min_headroom_kib": '
prints '{"domid": 1, "name": "a \"b\"", "state": "ok", "dynamic_min_kib": 1048576, "target_kib": 1585152, "actual_kib": 1585152, "limit_kib": 1585152, "dynamic_max_kib": 2097152}'
prints '"violations": []}'
mv "$dir/out" "$dir/before"
exits 0 --json "$dir/good.one.ini" "$dir/good.one.ini"
cmp -s "$dir/before" "$dir/out" || fail "the second time it is not the same"
exits 0 --json --timing "$dir/good.one.ini"
prints '"cpu_s": '

### options
exits 0 --json --set 'event 1.min=1M' --set host.reserve=64M "$dir/good.one.ini"
prints '"min_kib": 1024,'
exits 0 --json --until 250ms "$dir/good.one.ini" --set 'event 1.expect=refused' \
    --set 'event 1.at=0' --set 'event 1.min=9G'
prints '"simulated_s": 0.25,'
prints '"error": "cannot-free", "needed_kib": 9437184, "free_kib": 2097152'
prints '"limit_s": null'
exits 0 --policy proportional --seed 7 "$dir/good.one.ini"
prints 'seed 7'

### an expectation that doesn't come true
exits 1 --set 'event 1.expect=refused' "$dir/good.one.ini"
says 'good.one: event 1: granted, expected refused'
exits 1 --set expect.max-dip=1 "$dir/good.one.ini" "$dir/good.one.ini"
says 'max-dip'

### bad files and options: nothing is run
printf '[host]\nmemory = 1G\nswap = 2G\n' >"$dir/bad"
exits 2 "$dir/good.one.ini" "$dir/bad"
says "$dir/bad:3: unknown key \"swap\""
silent
exits 2 "$dir/nowhere"
says "$dir/nowhere: No such file or directory"
truncate -s 100M "$dir/big"
exits 2 "$dir/big"
says 'larger than'
head -c 100000 /dev/urandom >"$dir/garbage"
exits 2 "$dir/garbage"
silent
exits 2 "$dir"
says 'Is a directory'
exits 2
says 'no SCENARIO'
exits 2 --seed x "$dir/good.one.ini"
silent
exits 2 --until soon "$dir/good.one.ini"
exits 2 --policy fair "$dir/good.one.ini"
exits 2 --plot out.jpg "$dir/good.one.ini"
exits 2 --frobnicate "$dir/good.one.ini"
exits 2 --set nonsense "$dir/good.one.ini"
exits 2 --set 'domain 9.rate=1M' "$dir/good.one.ini"
silent
exits 2 --trace "$dir/no/folder" "$dir/good.one.ini"
exits 0 --help
prints '--from-status FILE'
exits 0 --version

### the manual has the options of the program, and no others
"$sim" --help | grep -oE -e '--[a-z][a-z-]+' | sort -u >"$dir/options"
sed -n 's/^\.It Fl -\([a-z-]*\).*/--\1/p' "$src/man/squeezesim.1" |
    sort -u >"$dir/manual"
cmp -s "$dir/options" "$dir/manual" || fail "the manual's options"
if command -v mandoc >/dev/null; then
    mandoc -Tlint -Wwarning "$src/man/squeezesim.1" || fail "mandoc complains"
fi

### the trace
exits 0 --trace "$dir/trace" "$dir/good.one.ini"
[ "$(head -n 1 "$dir/trace")" = \
    "t_s,free_kib,domid,actual_kib,target_kib,limit_kib" ] ||
    fail "the trace's titles"
head -n 2 "$dir/trace" | grep -q '^0\.000000,73728,1,2097152,2097152,2097152$' ||
    fail "the trace's beginning: $(head -n 2 "$dir/trace")"
awk -F, 'NF != 6 || (NR > 2 && $1 + 0 < before) { exit 1 } { before = $1 }' \
    "$dir/trace" || fail "the trace's lines"
tail -n 1 "$dir/trace" | grep -q ',1585152,1585152,1585152$' ||
    fail "the trace's end: $(tail -n 1 "$dir/trace")"

### a picture
if command -v gnuplot >/dev/null; then
    exits 0 --plot "$dir/it's.svg" "$dir/good.one.ini"
    grep -q '<svg' "$dir/it's.svg" || fail "no picture"
else
    exits 2 --plot "$dir/x.svg" "$dir/good.one.ini"
    says 'gnuplot is not installed'
fi

### a scenario of a host as it is
cat >"$dir/status" <<'END'
{"version": "0.1", "platform": "xen", "policy": "proportional",
 "host": {"total_kib": 9437184, "free_kib": 73728, "scrub_kib": 4,
          "host_reserve_kib": 73728, "cushion_kib": 0, "xen_kib": 8},
 "domains": [
  {"domid": 0, "name": "Domain-0", "type": "pv", "state": "unmanaged",
   "static_min_kib": 0, "dynamic_min_kib": 0, "target_kib": 1048576,
   "dynamic_max_kib": 0, "static_max_kib": 0, "actual_kib": 1048576,
   "limit_kib": 1048576, "rate_kib_s": null, "used_kib": null, "shares": 1000},
  {"domid": 7, "uuid": "6c929173-8094-87e1-b521-7b525e399cea",
   "name": "a;b\n[host]", "type": "pvh", "state": "stuck",
   "static_min_kib": 0, "dynamic_min_kib": 1048576, "target_kib": 2097152,
   "dynamic_max_kib": 4194304, "static_max_kib": 4194304,
   "actual_kib": 2097150, "limit_kib": 2097152, "rate_kib_s": 51200,
   "used_kib": null, "shares": 500, "ceiling_kib": 1048576,
   "promise_kib": 2097160}],
 "reservations": [
  {"reservation": "a", "client": "owned", "amount_kib": 2097160,
   "hold_ms": null, "in_transfer": 7},
  {"reservation": "b", "client": "held", "amount_kib": 4, "hold_ms": 7000,
   "in_transfer": null}],
 "queue": [{"client": "waits", "min_kib": 4096, "max_kib": 8192}]}
END
exits 0 --from-status "$dir/status"
prints 'name = a_b__host_'
prints 'guest = stuck'
prints 'rate = 51200'
prints 'memory = 3219460'
prints 'limit = 2097160'
prints 'client = held'
prints 'client = waits'
prints 'max = 8192'
prints 'action = target'
prints 'size = 1048576'
! grep -q owned "$dir/out" || fail "what is a domain's is reserved again"
cp "$dir/out" "$dir/host.scenario"
exits 0 --json "$dir/host.scenario"
prints '"domid": 7'
exits 0 --from-status - <"$dir/status"

### of a live one: what it holds, keeps and has promised is in it again
cat >"$dir/live" <<'END'
[host]
memory = 12360M
[domain 0]
actual = 1G
[domain 1]
name = web
dynamic-min = 1G
dynamic-max = 4G
rate = 50G
[domain 2]
count = 2
dynamic-min = 1G
dynamic-max = 4G
actual = 3G
rate = 50G
[event 1]
action = pause
domid = 3
END
"${SQUEEZED:-squeezed/squeezed}" --simulate "$dir/live" --socket "$dir/socket" \
    2>"$dir/log" &
daemon=$!
ctl="${SQUEEZECTL:-./squeezectl} --socket $dir/socket"
for try in 1 2 3 4 5 6 7 8 9 10; do
    $ctl status >"$dir/out" 2>"$dir/err" && break
    sleep 0.5
done
$ctl reserve 3G --client toolstack >"$dir/out" 2>"$dir/err" ||
    fail "squeezectl reserve, try $try"
$ctl target 2 2G >"$dir/out" 2>"$dir/err" || fail "squeezectl target"
sleep 1
$ctl --json status >"$dir/status" 2>"$dir/err" || fail "squeezectl status"
kill "$daemon"
wait "$daemon"
exits 0 --from-status "$dir/status"
cp "$dir/out" "$dir/host.scenario"
exits 0 --json --until 0 "$dir/host.scenario"
prints '"reserved_kib": 3145728'
prints '"client": "toolstack"'
prints '"state": "paused"'
grep -q 'size = 2097152' "$dir/host.scenario" || fail "the manual target"
# KEY of all domains, in the order of both outputs
numbers() { grep -oE "\"$1\": [0-9]+" "$2"; }
for key in domid actual_kib target_kib limit_kib; do
    numbers $key "$dir/status" >"$dir/before"
    numbers $key "$dir/out" | cmp -s - "$dir/before" || fail "live: $key"
done

### what is no status
exits 2 --from-status "$dir/good.one.ini"
echo '{}' >"$dir/status"
exits 2 --from-status "$dir/status"
says 'not what squeezectl status --json prints'

[ "$failed" = 0 ] && echo "all fine" || echo "$failed failed"
[ "$failed" = 0 ]
