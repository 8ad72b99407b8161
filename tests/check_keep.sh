#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# squeezectl range --keep: the file that it writes, and that squeezed gives the
# range to the domain when it starts anew.  Runs where it was built.
set -u

build=$PWD
dir=$(mktemp -d) || exit 99
failed=0
broker=
uuid=6f0d8a52-51a5-4f6e-8d43-7c2d9b1c0a07

stop() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null
    wait
    broker=
}
clean_up() {
    stop
    rm -rf "$dir"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $*"
    sed 's/^/    stderr: /' "$dir/err"
    ls -la "$dir/etc/domains.d" 2>/dev/null
    failed=$((failed + 1))
}
await() { # await COMMAND...: until it succeeds
    for _ in $(seq 1000); do
        "$@" && return
        sleep 0.02
    done
    fail "$what: never came true: $*"
}
answers() { "$build/squeezectl" --socket "$dir/socket" available >/dev/null 2>&1; }
start() {
    what='starting squeezed'
    printf '[host]\nmemory = 8G\n
[domain 1]\nname = web\nuuid = %s\nactual = 1G\nstatic-max = 2G\n
[domain 2]\nname = of many; words\nactual = 1G\nstatic-max = 2G\n' \
        "$uuid" >"$dir/host"
    printf 'domains-dir = %s/etc/domains.d\n' "$dir" >"$dir/conf"
    "$build/squeezed/squeezed" --config "$dir/conf" --simulate "$dir/host" \
        --socket "$dir/socket" >"$dir/log" 2>&1 &
    broker=$!
    await answers
}
# keep STATUS ARGUMENT...
keep() {
    expected=$1
    shift
    what="range $*"
    "$build/squeezectl" --socket "$dir/socket" range \
        --domains-dir "$dir/etc/domains.d" "$@" >"$dir/out" 2>"$dir/err"
    status=$?
    [ "$status" = "$expected" ] ||
        fail "$what: exit status $status instead of $expected"
    [ ! -s "$dir/out" ] || fail "$what: prints something"
}
says() { grep -qF -e "$1" "$dir/err" || fail "$what: doesn't say '$1'"; }
holds() { # holds FILE LINE...
    file=$dir/etc/domains.d/$1
    shift
    for line; do
        grep -qxF -e "$line" "$file" || fail "$what: no '$line' in $file"
    done
}
only() { # only FILE...: nothing else is there
    found=$(cd "$dir/etc/domains.d" && ls -A)
    [ "$found" = "$(printf '%s\n' "$@")" ] || fail "$what: there is $found"
}
range_of() { # range_of DOMID MIN MAX: it has that
    "$build/squeezectl" --socket "$dir/socket" --json status |
        grep -qE "\"domid\": $1, .*\"dynamic_min_kib\": $2,[^}]*\"dynamic_max_kib\": $3,"
}

start
keep 0 web 1G 2G
[ ! -s "$dir/err" ] || fail "$what: says something"
[ ! -e "$dir/etc" ] || fail "$what: nobody wanted it kept"
keep 0 web 100M 2G
says 'warning: dynamic-min 100.0 MiB is below 360.0 MiB'
keep 1 web 1G 3G --keep
says 'static-max 2097152'
[ ! -e "$dir/etc" ] || fail "$what: kept what was refused"

keep 0 web 512M 1.5G --keep
[ ! -s "$dir/err" ] || fail "$what: says something"
holds web.conf '[web]' 'dynamic-min = 512M' 'dynamic-max = 1536M'
[ "$(stat -c %a "$dir/etc/domains.d/web.conf")" = 644 ] || fail "$what: its mode"
keep 0 1 600M 614404K --keep # by its domid: its name is meant
holds web.conf '[web]' 'dynamic-min = 600M' 'dynamic-max = 614404K'
only web.conf
keep 0 2 1G 2G --keep # a name that is none for a file
other=$("$build/squeezectl" --socket "$dir/socket" --json status |
    sed 's/.*"domid": 2, "uuid": "\([^"]*\)".*/\1/')
holds "$other.conf" "[$other]" 'dynamic-min = 1024M'

# Over a restart of the broker, which knows nothing of them but the files.
stop
start
await range_of 1 614400 614404
await range_of 2 1048576 2097152

# A UUID has the last word, and that is said.
keep 0 "$uuid" 700M 800M --keep
holds "$uuid.conf" "[$uuid]" 'dynamic-min = 700M'
keep 1 web 1G 2G --keep
says 'another section in that folder is about this domain too'
says 'the range is set for now, and not kept'
rm "$dir/etc/domains.d/$uuid.conf"

# What somebody has written by hand is left to him, a folder that isn't one is
# told, and nothing half-written stays.
printf '[web]\ndynamic-min = 1G # by hand\n' >"$dir/etc/domains.d/web.conf"
keep 1 web 1G 2G --keep
says 'was not written by squeezectl'
holds web.conf 'dynamic-min = 1G # by hand'
rm "$dir/etc/domains.d/web.conf"
mkdir "$dir/etc/domains.d/web.conf"
keep 1 web 1G 2G --keep
says 'web.conf'
rmdir "$dir/etc/domains.d/web.conf"
only "$other.conf"
rm -r "${dir:?}/etc"
: >"$dir/etc"
keep 1 web 1G 2G --keep
says "Not a directory"
rm "$dir/etc"

# On a disk that is full.
if [ -x /usr/bin/prlimit ] && mkdir -p "$dir/etc/domains.d"; then
    keep 0 web 1G 2G --keep
    what='a full disk'
    # A limit of 40 bytes a file stands for it: the write fails.
    {
        (
            trap '' XFSZ
            exec prlimit --fsize=40 "$build/squeezectl" --socket "$dir/socket" \
                range --domains-dir "$dir/etc/domains.d" web 1G 1.5G --keep
        )
        echo "status $?"
    } 2>&1 | cat >"$dir/err"
    says 'status 1'
    says "web.conf can't be written: File too large"
    holds web.conf 'dynamic-max = 2048M'
    only web.conf
fi

[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
