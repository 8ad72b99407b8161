#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# xl-squeeze with a fake xl, against a simulated host (what is reserved, and
# that nothing leaks) and a broker whose answers are written down (failures of
# each step).  Runs where it was built.
set -u

. "${srcdir:-.}/tests/shell.sh"
broker=

mkdir "$dir/bin"
ln -s "$source/tests/fake_xl.sh" "$dir/bin/xl"
export PATH="$dir/bin:$PATH"
export FAKE_XL_DIR=$dir/xl
mkdir "$FAKE_XL_DIR"

stop_broker() {
    [ -n "$broker" ] || return
    exec 9>&-
    kill "$broker" 2>/dev/null
    wait "$broker"
    broker=
}
clean_up() {
    stop_broker
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# A host of 4 GiB that is full.  xl's domains are played by 9 and those above:
# they have no balloon, and there is room for what they may have.
cat >"$dir/host.scenario" <<'END'
[host]
memory = 4G
[domain 0]
name = Domain-0
actual = 1G
[domain 1]
name = web
dynamic-min = 512M
dynamic-max = 2G
actual = 1500M
[domain 2]
name = db
dynamic-min = 512M
dynamic-max = 2G
actual = 1420M
[domain 3]
name = sleeper
uuid = 6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03
actual = 4K
static-max = 1G
guest = late 1h
[domain 9]
name = new
count = 60
actual = 4K
static-max = 8G
guest = late 1h
END

start_host() {
    stop_broker
    rm -f "$FAKE_XL_DIR"/*
    "$build/squeezed/squeezed" --simulate "$dir/host.scenario" \
        --socket "$dir/socket" >"$dir/log" 2>&1 &
    broker=$!
    what=squeezed
    await answers
}

start_fake() {
    stop_broker
    rm -f "$FAKE_XL_DIR"/* "$dir/socket"
    [ -p "$dir/stdin" ] || mkfifo "$dir/stdin"
    "$build/tests/fake_broker" "$dir/socket" "$dir/asked" <"$dir/stdin" &
    broker=$!
    exec 9>"$dir/stdin"
    what=fake_broker
    await test -S "$dir/socket"
}

# run STATUS ARGUMENT...: the status it has to end with.
run() {
    expected=$1
    shift
    what="xl-squeeze $*"
    rm -f "$FAKE_XL_DIR/calls"
    ends "$expected" "$build/xl-squeeze" --socket "$dir/socket" "$@"
}
called() { # called LINE: xl was, in that very way
    grep -qxF -e "$1" "$FAKE_XL_DIR/calls" || fail "$what: xl not called: $1"
}
not_called() { # not_called COMMAND
    ! grep -q "^$1 " "$FAKE_XL_DIR/calls" 2>/dev/null ||
        fail "$what: xl $1 was called"
}
was_asked() { # was_asked LINE: the fake broker
    grep -qxF -e "$1" "$dir/asked" || fail "$what: not asked: $1
$(cat "$dir/asked")"
}
state() { # state DOMID STATE
    grep -q " $2\$" "$FAKE_XL_DIR/dom.$1" 2>/dev/null ||
        fail "$what: domain $1 isn't in state $2"
}
# What status says of the reservations that no domain owns.
open_reservations() {
    ctl --json status | grep -o '"client": "xl-squeeze"[^}]*"in_transfer": null'
}
nothing_leaks() {
    ! ls "$FAKE_XL_DIR"/dom.* >"$dir/leaked" 2>/dev/null ||
        fail "$what: $(cat "$dir/leaked") is still there"
    [ -z "$(open_reservations)" ] ||
        fail "$what: reserved is still $(open_reservations)"
}
config() { # config NAME LINE...
    local file=$dir/$1
    shift
    printf '%s\n' "$@" >"$file"
}

# Another one each time: this test may run elsewhere at the same time.
uuid=$(cat /proc/sys/kernel/random/uuid)
config pv.cfg 'name="new"' "uuid=\"$uuid\"" memory=256 maxmem=512
config fixed.cfg 'name="fixed"' "uuid=\"$uuid\"" memory=300
config small.cfg 'name="small"' "uuid=\"$uuid\""
config anonymous.cfg 'name="anonymous"' memory=64
config pvh.cfg 'name="pvh"' 'type="pvh"' "uuid=\"$uuid\"" memory=256 maxmem=1024
config pci.cfg 'name="pci"' 'type="hvm"' "uuid=\"$uuid\"" memory=256 \
    maxmem=1024 pci=1
config vnuma.cfg 'name="vnuma"' 'type="pvh"' "uuid=\"$uuid\"" memory=256 \
    maxmem=1024 vnuma=1
config bad.cfg 'name="bad"' memory=64 bad=1
config large.cfg 'name="large"' "uuid=\"$uuid\"" memory=8192
config big.cfg 'name="big"' "uuid=\"$uuid\"" memory=1024

### usage
what=usage
: >"$dir/out"
: >"$dir/err"
run 0 --help
has out 'create FILE [SETTING=VALUE ...]'
has out '--require'
run 0 --version
has out 'xl-squeeze 0.1'
run 2
has err 'no verb given'
run 2 explode
has err "no verb 'explode'"
run 2 create
has err 'usage: xl-squeeze create FILE'
run 2 create "$dir/pv.cfg" --min lots
has err "--min 'lots' is no size"
run 2 create "$dir/pv.cfg" -Z
has err 'unknown option -Z'
run 2 create "$dir/pv.cfg" --nonsense
has err 'unknown option --nonsense'
run 2 create -F "$dir/pv.cfg"
has err "-F can't be had"
run 2 save --min 1G sleeper "$dir/file"
has err '--min has no meaning for save'
run 2 --socket '' create "$dir/pv.cfg"
[ ! -e "$FAKE_XL_DIR/calls" ] || fail "xl was called for bad usage"

### without a broker
run 0 create "$dir/pv.cfg" -q 'extra="x y"'
has err "no broker answers on $dir/socket"
has err 'running plain xl'
called "create $dir/pv.cfg -q extra=\"x y\""
state 9 r-----
run 3 create --require "$dir/pv.cfg"
has err "no broker answers on $dir/socket"
not_called create
FAKE_FAIL=half run 1 create "$dir/pv.cfg"
run 0 save sleeper "$dir/saved"
called "save sleeper $dir/saved"

### create, with the right reservations (a simulated host)
start_host
run 0 create "$dir/pv.cfg" 'extra="x y"' -e
called "create -q -n $dir/pv.cfg extra=\"x y\""
has out 'new has '
has out 'squeezed 2 domains by '
called 'unpause 9'
state 9 r-----
# The most that it may have is given, as there is enough.
grep -qE "^create -p -e .*/pv.cfg extra=\"x y\" uuid=\"$uuid\" \
memory=38[0-9] maxmem=512\$" "$FAKE_XL_DIR/calls" || fail "$what: xl create"
ctl --json status | grep -q '"domid": 9[^}]*"dynamic_min_kib": 262144[^}]*"dynamic_max_kib": 524288' ||
    fail "$what: no range"
[ -z "$(open_reservations)" ] || fail "$what: not transferred"
run 1 create "$dir/pv.cfg"
has err "domain 9 is that machine already ($uuid)"

start_host
run 0 create -f "$dir/fixed.cfg" -p
called "create -p -f $dir/fixed.cfg uuid=\"$uuid\""
state 9 --p---
not_called unpause
ctl --json status | grep -q '"domid": 9[^}]*"dynamic_max_kib": 0' ||
    fail "$what: a range that nobody wanted"

start_host
run 0 create "$dir/small.cfg" -q
called "create -p -q $dir/small.cfg uuid=\"$uuid\""
[ ! -s "$dir/out" ] || fail "$what: -q isn't quiet"
run 0 create "$dir/anonymous.cfg"
grep -qE '^create -p .*/anonymous.cfg uuid="[0-9a-f-]{36}"$' \
    "$FAKE_XL_DIR/calls" || fail "$what: no UUID for it"
given=$(sed -n 's/^create -p .* uuid="\(.*\)"$/\1/p' "$FAKE_XL_DIR/calls")
grep -q "^$given " "$FAKE_XL_DIR/dom.10" || fail "$what: another UUID"

start_host
run 0 create "$dir/fixed.cfg" --min 128M --max=200M
grep -qE "uuid=\"$uuid\" memory=(1[3-9]|200)[0-9]* maxmem=300$" \
    "$FAKE_XL_DIR/calls" || fail "$what: not in the range that was asked for"
run 2 create "$dir/anonymous.cfg" --min 100M
has err 'the range 100.0 MiB to 64.0 MiB is none within its maxmem, 64.0 MiB'

# a range that is kept for it
mkdir "$dir/domains.d"
printf '[pvh]\ndynamic-min = 100M\n[%s]\ndynamic-min = 120M\n%s\n' \
    "$uuid" 'dynamic-max = 9G' >"$dir/domains.d/a.conf"
start_fake
run 0 create "$dir/fixed.cfg" --domains-dir "$dir/domains.d"
grep '^squeezed.set_range' "$dir/asked" | grep -qF \
    '{"domid": 9, "dynamic_max": 307200, "dynamic_min": 122880}' ||
    fail "$what: not the range that is kept: $(cat "$dir/asked")"
grep '^squeezed.reserve' "$dir/asked" | grep -qF \
    '"max": 311296, "min": 126976' || fail "$what: $(cat "$dir/asked")"
start_fake
run 0 create "$dir/fixed.cfg" --domains-dir "$dir/domains.d" --min 64M
grep -q '"dynamic_min": 65536' "$dir/asked" || fail "$what: --min isn't first"

# -c and -V: paused they would wait for ever.
start_host
run 0 create -cV "$dir/fixed.cfg"
called "create -p $dir/fixed.cfg uuid=\"$uuid\""
called 'console 9'
await grep -qx 'vncviewer 9' "$FAKE_XL_DIR/calls"

### PVH and HVM start with all of it unless they are known to balloon
amount() { # amount TEXT: what the fake broker was asked for
    grep '^squeezed.reserve' "$dir/asked" | grep -qF "$1" ||
        fail "$what: not $1 in $(grep '^squeezed.reserve' "$dir/asked")"
}
# 1024 MiB + (256 + 1024) pages + 2 MiB
start_fake
run 0 create "$dir/pvh.cfg"
amount '"max": 1056768, "min": 1056768'
called "create -p $dir/pvh.cfg uuid=\"$uuid\" memory=1024 maxmem=1024"
was_asked 'squeezed.set_range {"domid": 9, "dynamic_max": 1048576, '\
'"dynamic_min": 262144}'
amount "\"uuid\": \"$uuid\""
amount '"hold_ms": 300000'
amount '"client": "xl-squeeze"'
was_asked 'squeezed.transfer {"domid": 9, "reservation": '\
'"0b7e1d1e-7a7c-4d0b-9a31-52f6a0f4c002"}'
start_fake
run 0 create "$dir/pvh.cfg" --balloon
amount '"max": 1056768, "min": 270336'
called "create -p $dir/pvh.cfg uuid=\"$uuid\" memory=1024 maxmem=1024"
# without HAP a page more for each MiB
start_fake
FAKE_CAPS='pv hvm shadow' run 0 create "$dir/pvh.cfg"
amount '"max": 1060864, "min": 1060864'
for name in pci vnuma; do
    start_fake
    run 0 create "$dir/$name.cfg" --balloon
    called "create -p $dir/$name.cfg uuid=\"$uuid\" memory=1024 maxmem=1024"
    # pci: (512 + 1 + 1 + 1) pages for an IOMMU with tables of its own
    if [ $name = pci ]; then
        amount '"max": 1058816, "min": 1058816'
    else
        amount '"max": 1056768, "min": 1056768'
    fi
done
start_fake
FAKE_CAPS='pv hvm hap iommu_hap_pt_share' run 0 create "$dir/pci.cfg"
amount '"max": 1056768, "min": 1056768'
run 1 create "$dir/pvh.cfg"
has err 'is that machine already'

### what is refused, and what fails
start_host
run 1 create "$dir/bad.cfg"
has err 'bad = 1'
has err "xl doesn't accept that"
nothing_leaks
run 1 create "$dir/large.cfg"
has err 'xl-squeeze: create: 8.0 GiB asked for'
has err '(cannot-free)'
not_called 'create -p'
nothing_leaks
FAKE_FAIL=create run 1 create "$dir/pv.cfg"
has err 'xl could not build it (its exit status is 1)'
nothing_leaks
FAKE_FAIL=half FAKE_DYING=0.3 run 1 create "$dir/pv.cfg"
called 'destroy 10'
nothing_leaks
FAKE_FAIL=unpause run 1 create "$dir/pv.cfg"
has err 'fails'
! ls "$FAKE_XL_DIR"/dom.* 2>/dev/null || fail "$what: it is still there"
FAKE_FAIL=vm-list run 1 create "$dir/pv.cfg"
has err "which domains there are can't be told"
nothing_leaks

start_fake
FAKE_DOMID=66 run 1 create "$dir/pv.cfg"
has err 'xl-squeeze: create: no such range (invalid)'
called 'destroy 66'
was_asked 'squeezed.release {"reservation": '\
'"0b7e1d1e-7a7c-4d0b-9a31-52f6a0f4c002"}'
! ls "$FAKE_XL_DIR"/dom.* 2>/dev/null || fail "$what: it is still there"
start_fake
FAKE_DOMID=67 run 1 create "$dir/pv.cfg"
has err '(busy)'
called 'destroy 67'
! ls "$FAKE_XL_DIR"/dom.* 2>/dev/null || fail "$what: it is still there"

# Somebody else was faster, and runs it: not ours to destroy.
start_host
echo "$uuid new r-----" >"$dir/other"
(
    await grep -qs -- ' -p ' "$FAKE_XL_DIR/calls"
    cp "$dir/other" "$FAKE_XL_DIR/dom.30"
    : >"$FAKE_XL_DIR/go"
) 2>/dev/null &
other=$!
FAKE_FAIL=create FAKE_HELD=2 FAKE_DOMID=31 run 1 create "$dir/pv.cfg"
wait $other
has err 'domain 30 is not paused, so it is left alone'
not_called destroy

### the broker goes while it is built, and comes back
start_host
(
    await grep -qs -- ' -p ' "$FAKE_XL_DIR/calls"
    kill "$broker"
    : >"$FAKE_XL_DIR/go"
    sleep 0.5
    exec "$build/squeezed/squeezed" --simulate "$dir/host.scenario" \
        --socket "$dir/socket" >"$dir/log" 2>&1
) 2>/dev/null &
second=$!
FAKE_HELD=2 run 0 create "$dir/pv.cfg"
state 9 r-----
wait "$broker"
broker=$second
ctl --json status | grep -q '"domid": 9[^}]*"dynamic_max_kib": 524288' ||
    fail "$what: no range after the restart"
# for good: the machine has its memory, and starts
start_host
(
    await grep -qs -- ' -p ' "$FAKE_XL_DIR/calls"
    kill "$broker"
    : >"$FAKE_XL_DIR/go"
) 2>/dev/null &
killer=$!
FAKE_HELD=2 run 0 create "$dir/pv.cfg"
wait $killer
has err 'the broker has gone: when it is back, squeezectl range 9 256M 512M'
state 9 r-----

# and where a broker is required, everything is taken back, as far as it goes
start_host
(
    await grep -qs -- ' -p ' "$FAKE_XL_DIR/calls"
    kill "$broker"
    : >"$FAKE_XL_DIR/go"
) 2>/dev/null &
killer=$!
FAKE_HELD=2 run 1 create --require "$dir/pv.cfg"
wait $killer
called 'destroy 9'
has err 'could not be released; it ends by itself in 5 minutes'

### two at the same time, of the same machine: one of them
start_host
FAKE_HELD=2 "$build/xl-squeeze" --socket "$dir/socket" create \
    "$dir/pv.cfg" >"$dir/out1" 2>&1 &
first=$!
await grep -qs -- ' -p ' "$FAKE_XL_DIR/calls"
mv "$FAKE_XL_DIR/calls" "$dir/calls" # run begins a list of its own
run 1 create "$dir/pv.cfg"
has err "another xl-squeeze is starting new (UUID $uuid)"
: >"$FAKE_XL_DIR/go"
wait $first || fail "$what: the first failed: $(cat "$dir/out1")"
state 9 r-----

### signals, at any moment
calls() { # calls COUNT: xl has been called so often
    [ "$(wc -l 2>/dev/null <"$FAKE_XL_DIR/calls")" -ge "$1" ] 2>/dev/null
}
# Starts xl-squeeze with signals as a terminal gives them.
launch() { # launch ARGUMENT...
    env --default-signal=INT,TERM,HUP "$build/xl-squeeze" --socket "$dir/socket" \
        "$@" >"$dir/out" 2>"$dir/err" &
    pid=$!
    await grep -qx xl-squeeze "/proc/$pid/comm"
}
# stop SIGNAL...: sends them, lets xl go on, and waits.
stop() {
    local signal
    for signal in "$@"; do
        kill -"$signal" "$pid"
    done
    : >"$FAKE_XL_DIR/go"
    wait "$pid" 2>/dev/null
    status=$?
}
taken_back() { # taken_back STATUS
    [ "$status" = "$1" ] || fail "$what: exit status $status"
    nothing_leaks
    not_called unpause
}
# xl is called for: the sizes, who there is, the machine, its domid, unpausing.
# It is held in each of these calls while the signal comes, or (0) not even
# called; 2.5: a squeeze waits for the others; 3.5: the domain is half-built.
export FAKE_DYING=0.1
for moment in 0 1 2 2.5 3 3.5 4; do
    for signal in INT TERM HUP; do
        start_host
        what="SIG$signal at moment $moment"
        unset FAKE_BUILD FAKE_HELD
        case $moment in
            2.5) export FAKE_HELD=2 ;;
            3.5) export FAKE_BUILD=60 ;;
            [1-4]) export FAKE_HELD=$((moment - 1)) ;;
        esac
        launch create "$dir/big.cfg"
        case $moment in
            0) ;;
            2.5) await grep -qs 'request of xl-squeeze' "$dir/log" ;;
            3.5) await test -e "$FAKE_XL_DIR/dom.9" ;;
            *) await calls "$moment" ;;
        esac
        stop $signal
        taken_back $((128 + $(kill -l $signal)))
        case $moment in
            2.5 | [34]*) has err 'interrupted' ;; # there was something
        esac
    done
done
# While the broker takes its time.
start_host
what='SIGTERM before the broker answers'
unset FAKE_BUILD FAKE_HELD
kill -STOP "$broker"
launch create "$dir/pv.cfg"
connected() { readlink "/proc/$pid"/fd/* 2>/dev/null | grep -q '^socket:'; }
await connected
stop TERM
kill -CONT "$broker"
taken_back 143
# A second one, and a third, while everything is being taken back.
start_host
what='three signals'
unset FAKE_BUILD
export FAKE_HELD=3 FAKE_DYING=0.5
launch create "$dir/big.cfg"
await calls 4
kill -INT "$pid"
: >"$FAKE_XL_DIR/go"
await grep -qs ^destroy "$FAKE_XL_DIR/calls"
stop TERM HUP
taken_back 130
# Ignored from the start, as under nohup: that is no signal.
start_host
what='under nohup'
export FAKE_HELD=2
env --ignore-signal=HUP "$build/xl-squeeze" --socket "$dir/socket" create \
    "$dir/big.cfg" >"$dir/out" 2>"$dir/err" &
pid=$!
await calls 3
stop HUP
[ "$status" = 0 ] || fail "$what: exit status $status"
state 9 r-----
# It is being unpaused: too late.
start_host
what='SIGINT while it is unpaused'
export FAKE_HELD=4
launch create "$dir/big.cfg"
await calls 5
stop INT
[ "$status" = 0 ] || fail "$what: exit status $status"
state 9 r-----
has out 'big has '
unset FAKE_HELD FAKE_DYING

### xl is killed, or isn't there
start_host
what='kill -9 of xl'
FAKE_BUILD=60 launch create "$dir/big.cfg"
await test -e "$FAKE_XL_DIR/dom.9"
pkill -KILL -P "$pid"
wait "$pid"
status=$?
taken_back 1
has err 'xl could not build it (it was killed by signal 9)'
start_host
what='without xl'
PATH=$dir/nothing "$build/xl-squeeze" --socket "$dir/socket" create \
    "$dir/pv.cfg" >"$dir/out" 2>"$dir/err"
[ $? = 127 ] || fail "$what: exit status"
has err "can't run xl: No such file or directory"
! grep -q 'accept' "$dir/err" || fail "$what: xl isn't there to accept it"
run 1 create "$dir/no.cfg"
has err 'no.cfg'
has err "xl doesn't accept that"

### xl-squeeze itself is killed: xl is left alone, and so is what it builds
start_host
what='kill -9 of xl-squeeze'
FAKE_HELD=2 launch create "$dir/big.cfg"
await calls 3
stop KILL
await test -e "$FAKE_XL_DIR/dom.9"
ctl --json status | grep -q '"hold_ms": [0-9]' ||
    fail "$what: the reservation has no end"
what='and again'
await answers
rm "$FAKE_XL_DIR"/dom.*
run 0 create "$dir/big.cfg"

### every option of xl
start_fake
run 0 create -i -d "$dir/fixed.cfg"
called "create -p -i -d $dir/fixed.cfg uuid=\"$uuid\""
start_fake
run 0 create --ignore-global-affinity-masks "$dir/fixed.cfg"
called "create -p -i $dir/fixed.cfg uuid=\"$uuid\""
start_fake
run 0 create --quiet --defconfig "$dir/fixed.cfg" --vncviewer-autopass
called "create -p -q -f $dir/fixed.cfg uuid=\"$uuid\""
await grep -qx 'vncviewer 9 --autopass' "$FAKE_XL_DIR/calls"
start_fake
run 0 create --defconfig="$dir/fixed.cfg" --dryrun # plain xl, as it came
called "create --defconfig=$dir/fixed.cfg --dryrun"
run 2 create --defconfig
has err '--defconfig needs a value'

### restore
le32() { # a number as four bytes
    printf "\\$(printf %o $(($1 & 255)))\\$(printf %o $(($1 >> 8 & 255)))"
    printf "\\$(printf %o $(($1 >> 16 & 255)))\\$(printf %o $(($1 >> 24)))"
}
save_file() { # save_file FILE JSON
    {
        printf 'Xen saved domain, xl format\n \0 \r'
        le32 16909060
        le32 3
        le32 0
        le32 $((${#2} + 5))
        le32 $((${#2} + 1))
        printf '%s\0' "$2"
        echo 'and what the domain held'
    } >"$1"
}
save_file "$dir/saved" "{\"c_info\": {\"type\": \"pv\", \"name\": \"new\", \
\"uuid\": \"$uuid\"}, \"b_info\": {\"max_vcpus\": 1, \"target_memkb\": 300000, \
\"max_memkb\": 524288, \"shadow_memkb\": 3072}}"
start_fake
run 0 restore "$dir/saved"
amount '"max": 305152, "min": 305152'
called "restore -p $dir/saved"
called 'unpause 9'
! grep -q set_range "$dir/asked" || fail "$what: a range that nobody wanted"
start_fake
run 0 restore -p -e --min 128M --max 512M "$dir/saved"
called "restore -p -e $dir/saved"
was_asked 'squeezed.set_range {"domid": 9, "dynamic_max": 524288, '\
'"dynamic_min": 131072}'
not_called unpause
start_fake
run 1 restore "$dir/pv.cfg"
has err 'it is no file that `xl save` wrote'
head -c 100 "$dir/saved" >"$dir/short"
run 1 restore "$dir/short"
has err 'it is cut short'
run 1 restore "$dir/nothing"
has err 'No such file'
not_called restore

### save and migrate
start_fake
echo '6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03 web r-----' >"$FAKE_XL_DIR/dom.3"
run 0 save web "$dir/saved2"
was_asked 'squeezed.freeze {"domid": 3}'
called "save web $dir/saved2"
! grep -q thaw "$dir/asked" || fail "$what: thawed although it is gone"
echo '6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03 web r-----' >"$FAKE_XL_DIR/dom.3"
run 0 save -c 3 "$dir/saved2"
called "save -c 3 $dir/saved2"
run 0 save -D -p 3 "$dir/saved2"
called "save -D -p 3 $dir/saved2"
was_asked 'squeezed.thaw {"domid": 3}'
start_fake
echo '6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a03 web r-----' >"$FAKE_XL_DIR/dom.3"
FAKE_FAIL=migrate run 1 migrate -s 'ssh -p 22' web elsewhere
called 'migrate -s ssh -p 22 web elsewhere'
was_asked 'squeezed.freeze {"domid": 3}'
was_asked 'squeezed.thaw {"domid": 3}'
run 1 migrate --live --debug nobody elsewhere
has err "no domain has the domid, name or UUID 'nobody'"
not_called migrate

[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
