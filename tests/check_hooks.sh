#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezectl exec, and the hook for libvirt, in front of a simulated host.  Runs
# where it was built.
set -u

. "${srcdir:-.}/tests/shell.sh"
PATH="$build:$PATH"

cat >"$dir/host.scenario" <<'END'
[host]
memory = 4G
[domain 0]
name = Domain-0
actual = 1G
[domain 1]
name = web
dynamic-min = 512M
dynamic-max = 3G
actual = 3000M
[domain 9]
name = new
actual = 4K
guest = late 1h
END
"$build/squeezed/squeezed" --simulate "$dir/host.scenario" \
    --socket "$dir/socket" >"$dir/log" 2>&1 &
broker=$!
clean_up() {
    kill "$broker" 2>/dev/null
    wait "$broker"
    rm -rf "$dir"
}
trap clean_up EXIT

what=squeezed
await answers

# run STATUS ARGUMENT...: the status it has to end with.
run() {
    expected=$1
    shift
    what="squeezectl $*"
    ends "$expected" ctl "$@"
}
# All reservations as they are, one a line.
reservations() {
    ctl --json status | sed 's/.*"reservations": \[\([^]]*\)\].*/\1/; s/}, /}\n/g'
}
none_left() { [ -z "$(reservations)" ] || fail "$what: $(reservations)"; }
one_of() { # one_of TEXT: a reservation says that
    reservations | grep -qF -e "$1" || fail "$what: no '$1' in $(reservations)"
}

### exec
cat >"$dir/look" <<END
#!/bin/sh
echo "\$SQUEEZED_AMOUNT_KIB"
"$build/squeezectl" --socket "$dir/socket" --json status |
    grep -qF "\"reservation\": \"\$SQUEEZED_RESERVATION\", \"client\": \"nightly\"" &&
    echo "it is there for \$*"
exit 7
END
chmod +x "$dir/look"
run 7 exec 512M --client nightly --timeout 5 -- "$dir/look" --one 'two three'
has out '524288'
has out 'it is there for --one two three'
none_left
run 7 exec 256M 512M --client nightly -- "$dir/look"
none_left
run 127 exec 64M -- "$dir/nothing"
has err 'exec: '
none_left
run 126 exec 64M -- "$dir"
none_left
run 1 exec 100G -- touch "$dir/ran"
has err '(cannot-free)'
[ ! -e "$dir/ran" ] || fail "$what: it was run all the same"
run 2 exec 1G
has err 'exec: no command behind --'
run 2 exec 1G --
run 2 exec 1G true
what='exec without a broker'
squeezectl --socket "$dir/nobody" exec 1G -- touch "$dir/ran" 2>"$dir/err"
[ $? = 3 ] || fail "$what: not exit status 3"
[ ! -e "$dir/ran" ] || fail "$what: it was run all the same"

# What a domain has got is its own.
cat >"$dir/hand-over" <<END
#!/bin/sh
"$build/squeezectl" --socket "$dir/socket" transfer "\$SQUEEZED_RESERVATION" 9
END
chmod +x "$dir/hand-over"
run 0 exec 64M -- "$dir/hand-over"
one_of '"in_transfer": 9'
ctl release "$(reservations | sed 's/.*"reservation": "\([^"]*\)".*/\1/')"
none_left

# Whoever started it didn't want to hear of children.
what='exec, SIGCHLD ignored'
env --ignore-signal=CHLD timeout 60 "$build/squeezectl" \
    --socket "$dir/socket" exec 64M -- true >"$dir/out" 2>"$dir/err" ||
    fail "$what: exit status $?"
none_left

# A signal is handed on, and nothing stays.
what='exec and SIGTERM'
ctl exec 64M -- sleep 60 >"$dir/out" 2>"$dir/err" &
job=$!
held() { [ -n "$(reservations)" ]; }
await held
# The function runs in a shell of its own, which waits for squeezectl.
pid=$(cat "/proc/$job/task/$job/children")
kill -TERM "${pid%% *}"
wait $job
status=$?
[ $status = 143 ] || fail "$what: exit status $status"
none_left

### the hook for libvirt, as libvirt calls it
uuid=6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a07
cat >"$dir/machine.xml" <<END
<?xml version='1.0'?>
<domain type='xen' id='-1'>
  <name>new &amp; old</name>
  <uuid>$uuid</uuid>
  <metadata><x:uuid xmlns:x="urn:x">none of ours</x:uuid></metadata>
  <memory unit='KiB'>1048576</memory>
  <currentMemory unit='MiB'>512</currentMemory>
  <vcpu placement='static' current='1'>2</vcpu>
  <os><type arch='x86_64' machine='xenfv'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu</emulator></devices>
</domain>
END
# hook STATUS OPERATION SUBOPERATION [FILE]
hook() {
    expected=$1 file=${4:-machine.xml}
    what="libvirt: $2 $3 with $file"
    "$dir/libxl" 'new & old' "$2" "$3" - \
        <"$dir/$file" >"$dir/out" 2>"$dir/err"
    status=$?
    [ "$status" = "$expected" ] ||
        fail "$what: exit status $status instead of $expected"
    [ ! -s "$dir/out" ] || fail "$what: prints what libvirt would take for XML"
}
# The script as it is, but for the socket.
sed "s|exec squeezectl|& --socket $dir/socket|" "$source/tools/libvirt-hook" \
    >"$dir/libxl"
chmod +x "$dir/libxl"

hook 0 prepare begin
# 512 MiB + (512 + 2 x 1024) pages + 2 MiB
one_of '"client": "libvirt", "amount_kib": 536576, '
one_of "\"uuid\": \"$uuid\""
hook 0 prepare begin # it starts once more: nothing new is needed
[ "$(reservations | wc -l)" = 1 ] || fail "$what: more than one"
for operation in 'start begin' 'started begin' 'reconnect begin' \
    'migrate begin' 'stopped end'; do
    # shellcheck disable=SC2086
    hook 0 $operation
    one_of '"amount_kib": 536576'
done
hook 0 release end
none_left
hook 0 release end

amount() { # amount KIB SED: with that change of the XML
    sed "$2" "$dir/machine.xml" >"$dir/changed.xml"
    hook 0 prepare begin changed.xml
    one_of "\"amount_kib\": $1, "
    hook 0 release end changed.xml
    none_left
}
amount 532480 "s|<devices>|<features><hap state='on'/></features>&|" # 520
amount 530432 "s|machine='xenfv'>hvm|machine='xenpv'>linux|;s|>2</v|>1</v|" # 518
amount 540672 "s|</devices>|<hostdev mode='subsystem'/>&|;
    s|'KiB'>1048576|'GiB'>1|" # 526.01
amount 1060864 '/currentMemory/d' # 1036
amount 36864 "s|'KiB'>1048576|'KB'>32000|;s|unit='MiB'>512|>31250|" # 34.75

: >"$dir/nothing.xml"
hook 1 prepare begin nothing.xml
has err 'nothing is reserved'
for change in 's|<uuid>.*</uuid>||' 's|<uuid>|&x|' "s|'MiB'|'stone'|" \
    's|>512<|>-512<|' 's|>hvm<|>exe<|' 's|</domain>||' \
    's|<domain|<!DOCTYPE domain [<!ENTITY a "b">]>&|' '/<memory/d'; do
    sed "$change" "$dir/machine.xml" >"$dir/wrong.xml"
    hook 1 prepare begin wrong.xml
    has err 'nothing is reserved'
done
# A name longer than any path, of an element that ends where it begins.
printf '<%0300d/>' 0 | tr 0 x >"$dir/wrong.xml"
hook 1 prepare begin wrong.xml
has err 'nested too deeply'
none_left
sed "s|'MiB'>512|'GiB'>512|" "$dir/machine.xml" >"$dir/large.xml"
hook 1 prepare begin large.xml
has err '(cannot-free)'
none_left

# Without a broker libvirt goes its way.
sed -i "s|$dir/socket|$dir/nobody|" "$dir/libxl"
hook 0 prepare begin
has err 'no broker answers'
hook 0 release end
run 2 hook vmware new prepare
has err "TOOLSTACK 'vmware' is none that is known here"

[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
