# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the tests of the tools, in the build folder.  They say in $what
# what they have just done, and end with $failed.
build=$PWD
source=$(cd "${srcdir:-.}" && pwd)
dir=$(mktemp -d) || exit 99
failed=0
what=

fail() {
    echo "FAILED: $*"
    sed 's/^/    stdout: /' "$dir/out"
    sed 's/^/    stderr: /' "$dir/err"
    [ ! -e "$dir/xl/calls" ] || sed 's/^/    xl: /' "$dir/xl/calls"
    failed=$((failed + 1))
}

ctl() { "$build/squeezectl" --socket "$dir/socket" "$@"; }

# ends STATUS COMMAND...: with that; what it prints is in out and err.
ends() {
    expected=$1
    shift
    "$@" >"$dir/out" 2>"$dir/err"
    status=$?
    [ "$status" = "$expected" ] ||
        fail "$what: exit status $status instead of $expected"
}

# has FILE TEXT: out or err holds that text; has_line: that very line.
has() {
    grep -qF -e "$2" "$dir/$1" || fail "$what: no '$2' in std$1"
}
has_line() {
    grep -qxF -e "$2" "$dir/$1" || fail "$what: no line '$2' in std$1"
}
is_empty() {
    [ ! -s "$dir/$1" ] || fail "$what: something in std$1"
}

# await COMMAND...: until it succeeds; a busy machine takes its time.
await() {
    for _ in $(seq 3000); do
        "$@" && return
        sleep 0.02
    done
    fail "$what: never came true: $*"
}
answers() { ctl available >"$dir/available" 2>&1; }
