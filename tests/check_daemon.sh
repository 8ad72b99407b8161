#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The daemon as a process: its command line, its start and its end.  On a
# simulated host, with its sockets and files in a temporary folder.
set -u

squeezed=${SQUEEZED:-./squeezed/squeezed}
work=$(mktemp -d)
pid=
checks=0 failed=0

finish() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

# check TEXT COMMAND…
check() {
    local text=$1
    shift
    checks=$((checks + 1))
    "$@" && return
    failed=$((failed + 1))
    echo "not ok: $text ($*)"
    sed 's/^/    /' "$work/out" "$work/err"
}

# exits STATUS ARGUMENT…: the daemon ends at once, with this status
exits() {
    local expected=$1 status
    shift
    timeout 20 "$squeezed" "$@" > "$work/out" 2> "$work/err"
    status=$?
    [ $status = "$expected" ]
}

says() { grep -qF -- "$1" "$work/err"; }

# soon COMMAND…: it comes true within some seconds
soon() {
    local i
    for ((i = 0; i < 200; i++)); do
        ! "$@" 2>/dev/null || return 0
        sleep 0.05
    done
    return 1
}

start() {
    : > "$work/err" # what the one before said is not what this one says
    "$squeezed" --config "$work/conf" --simulate "$work/host" \
        --socket "$work/run/socket" "$@" > "$work/out" 2> "$work/err" &
    pid=$!
    soon says listening
}

# stop SIGNAL: it ends cleanly
stop() {
    local status
    kill -"$1" "$pid"
    wait "$pid"
    status=$?
    pid=
    [ $status = 0 ]
}

cat > "$work/host" <<'EOT'
[host]
memory = 4G
[domain 1]
dynamic-min = 1G
dynamic-max = 3G
EOT
echo "pidfile = $work/pid" > "$work/conf"
echo "log = /dev/full" > "$work/full"
touch "$work/out" "$work/err"

# --- what ends at once -------------------------------------------------------

check "--help" exits 0 --help
check "--help names the options" grep -q -- '--simulate SCENARIO' "$work/out"
check "--version" exits 0 --version
check "--version says it" grep -qE '^squeezed [0-9.]+$' "$work/out"
check "an unknown option" exits 2 --nonsense
check "a stray word" exits 2 word
check "a good configuration" exits 0 --check-config --config "$work/conf"
check "no configuration" exits 0 --check-config --config "$work/none"

printf 'cushion = 1G\ncushion = 1X\n' > "$work/bad"
for more in --check-config "--simulate=$work/host"; do
    check "a bad configuration" exits 2 --config "$work/bad" "$more"
    check "... and where" says "$work/bad:2: cushion: \"1X\""
done
printf '[host]\nmemory = lots\n' > "$work/badhost"
check "a bad scenario" exits 2 --config "$work/conf" --simulate "$work/badhost"
check "... and where" says "$work/badhost:2: "

printf 'pidfile = %s/no/such/folder\n' "$work" > "$work/bad"
check "a pidfile that can't be" exits 1 --config "$work/bad" \
    --simulate "$work/host" --socket "$work/run/socket"
check "... and why" says "can't write the pidfile $work/no/such/folder"
check "... no socket is left" [ ! -e "$work/run/socket" ]

# --- a life ------------------------------------------------------------------

check "it starts" start
check "its socket is there" [ -S "$work/run/socket" ]
check "its pidfile holds its id" [ "$(cat "$work/pid")" = "$pid" ]
cp "$work/err" "$work/first"
check "no second one with the same pidfile" exits 1 --config "$work/conf" \
    --simulate "$work/host" --socket "$work/run/other"
check "... and who has it" says "process $pid"
check "no second one on the same socket" exits 1 --config "$work/none" \
    --simulate "$work/host" --socket "$work/run/socket"
check "... the first still has both" [ -S "$work/run/socket" ]
check "SIGTERM ends it" stop TERM
check "its socket is gone" [ ! -e "$work/run/socket" ]
check "its pidfile is gone" [ ! -e "$work/pid" ]

check "it starts again" start --log-level debug
check "SIGINT ends it" stop INT
check "its socket is gone again" [ ! -e "$work/run/socket" ]

check "it starts once more" start
kill -KILL "$pid"
wait "$pid" 2>/dev/null
check "killed, it leaves its socket" [ -S "$work/run/socket" ]
check "that is no obstacle" start

# --- a full disk -------------------------------------------------------------

check "it ends once more" stop TERM
"$squeezed" --config "$work/full" --simulate "$work/host" \
    --socket "$work/run/socket" > "$work/out" 2> "$work/err" &
pid=$!
check "with a log on a full disk it serves" soon [ -S "$work/run/socket" ]
check "... and ends cleanly" stop TERM
check "it is back" start

# --- limits ------------------------------------------------------------------

# Connections alone may take 256 descriptors.
check "it ends, to start with few files" stop TERM
files=$(ulimit -Sn)
ulimit -Sn 64
check "it starts with few files" start
ulimit -Sn "$files"
check "it has raised that limit" \
    awk '/^Max open files/ { exit !($4 >= 512) }' "/proc/$pid/limits"

# --- SIGHUP ------------------------------------------------------------------

echo "tolerance = much" >> "$work/conf"
kill -HUP "$pid"
check "a bad file changes nothing" soon says \
    "$work/conf:2: tolerance: \"much\""
printf 'log-level = debug\nloglevel = debug\n' > "$work/conf"
kill -HUP "$pid"
check "a good one is read" soon says "read $work/conf anew"
check "what needs a restart is named" says \
    "$work/conf: the new pidfile takes effect after a restart"
check "keys without effect are named" says \
    "debug: the key loglevel is known, and without effect"
printf 'log-level = error\nlog = %s/log\n' "$work" > "$work/conf"
kill -HUP "$pid"
check "the log can be moved" soon [ -e "$work/log" ]
check "it still ends cleanly" stop TERM
check "the old pidfile is removed" [ ! -e "$work/pid" ]

# --- ranges that are kept for domains ----------------------------------------

cp "$work/host" "$work/host.before"
printf '[domain 7]\nname = web\nstatic-max = 512M\nactual = 512M\n' >> "$work/host"
mkdir "$work/domains.d"
printf '[web]\ndynamic-min = 256M\n' > "$work/domains.d/web.conf"
printf 'domains-dir = %s\n' "$work/domains.d" > "$work/conf"
check "it starts with ranges" start
check "a domain gets its range" soon says \
    "domain 7 (web) gets the range 256.0 MiB to 512.0 MiB"
printf '[web]\ndynamic-min = 16M\n' > "$work/domains.d/web.conf"
printf '[web]\nbad\n' > "$work/domains.d/bad.conf"
kill -HUP "$pid"
check "another one on SIGHUP" soon says \
    "domain 7 (web) gets the range 16.0 MiB to 512.0 MiB"
check "what it can't live with is warned about" says \
    "domain 7 (web): dynamic-min 16.0 MiB is below 168.0 MiB"
check "a bad file is named, and ignored" says "$work/domains.d/bad.conf:2: "
check "it ends with ranges" stop TERM
mv "$work/host.before" "$work/host"
printf 'log-level = error\nlog = %s/log\n' "$work" > "$work/conf"

# --- the events of a scenario ------------------------------------------------

cat >> "$work/host" <<'EOT'
[event 1]
action = reserve
min = 2G
[event 2]
at = after 1
action = restart
[event 3]
at = after 2
action = build
of = 1
EOT
printf 'pidfile = %s/pid\n' "$work" > "$work/conf"
check "it starts" start --log-level debug
check "a request is granted" soon says "of 2.0 GiB granted to sim"
check "the broker is restarted" soon says "(2.0 GiB) is still there"
check "its socket is there again" [ -S "$work/run/socket" ]
check "a domain takes the memory" soon says "transferred to domain 2"
check "it ends cleanly" stop TERM
check "its socket is gone" [ ! -e "$work/run/socket" ]

echo "$checks checks, $failed failed"
[ $failed = 0 ]
