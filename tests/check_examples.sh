#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The curl examples of squeezed-api(7), carried out as they stand there, but
# for the socket's path, an id and a domain: each has to get what it asks for.
# The broker runs with a configuration as XAPI's.
set -u

source=${srcdir:-.}
command -v curl >/dev/null || { echo "no curl"; exit 77; }
dir=$(mktemp -d) || exit 99
pid=
failed=0
trap 'kill $pid 2>/dev/null; rm -rf "$dir"' EXIT

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

cat >"$dir/conf" <<END
# Configuration file for squeezed
log=syslog:squeezed
disable-logging-for=http tracing
loglevel = debug
pidfile=$dir/pid
inventory = /etc/xensource-inventory
search-path=/opt/xensource/bin
use-switch=false
manage-domain-zero=false
domain-zero-dynamic-min=1073741824
domain-zero-dynamic-max=auto
balance-check-interval=10
boot-time-host-free-memory-minimal-constant-count=10
boot-time-host-free-memory-check-interval=1
END
squeezed/squeezed --config "$dir/conf" --check-config >/dev/null ||
    fail "XAPI's configuration is not taken"
squeezed/squeezed --config "$dir/conf" --socket "$dir/socket" \
    --simulate "$source/tests/clients/host.scenario" &
pid=$!
tries=0
until [ -S "$dir/socket" ]; do
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { echo "squeezed did not start"; exit 1; }
    sleep 0.05
done
sleep 0.5
grep -qx $pid "$dir/pid" || fail "the process id is not in XAPI's pidfile"

# The commands of the page: what stands in its displays and curl's.
awk '/^\.Bd -literal/ { inside = 1; next }
     /^\.Ed/ { inside = 0; print "" }
     /^\.Dl curl/ { sub(/^\.Dl /, ""); print; print "" }
     inside' "$source/man/squeezed-api.7" |
    sed -e 's/\\e/\\/g' -e 's/^\\&//' -e "s|/run/squeezed/socket|$dir/socket|" \
        -e 's|curl |curl -sS |' >"$dir/page"

# run FILE: carries it out, and looks at what comes.
run() {
    count=$((count + 1))
    timeout 30 sh "$1" >"$dir/answer" 2>&1 || fail "$(cat "$1" "$dir/answer")"
    if grep -q '"error":[^n]\|Failure\|DOCTYPE' "$dir/answer" ||
        ! grep -q '"result":\|Success\|^ok$' "$dir/answer"; then
        fail "$(cat "$1" "$dir/answer")"
    fi
}

# One command ends with its quotes, or where its line does.
count=0
awk -v dir="$dir" '
    /^curl / { n++; inside = 1 }
    inside { print > (dir "/example-" n) }
    inside && !/\\$/ {
        text = text $0
        if (gsub(/\047/, "&", text) % 2 == 0) { inside = 0; text = "" }
    }' "$dir/page"
for file in "$dir"/example-*; do
    [ -e "$file" ] && run "$file"
done
[ $count -ge 5 ] || fail "only $count examples were found"

# The function, and its two calls.
awk '/^call\(\)/ { inside = 1 } inside; /^}/ { inside = 0 }' "$dir/page" \
    >"$dir/function"
grep '^call ' "$dir/page" >"$dir/calls"
[ "$(wc -l <"$dir/calls")" = 2 ] || fail "the page has no two calls"
id=
while read -r line; do
    { cat "$dir/function"; echo "$line"; } |
        sed "s/ID from the answer/$id/; s/\"domid\": [0-9]*/\"domid\": 4/" \
            >"$dir/example"
    run "$dir/example"
    id=$(sed -n 's/.*"reservation":"\([^"]*\)".*/\1/p' "$dir/answer")
done <"$dir/calls"

kill $pid && wait $pid || fail "squeezed ended badly"
pid=
[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
