# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2059,SC2034
# What the cases in dom0 are written with; to be sourced.  It runs in busybox's
# ash: no arrays, no fractions.  All sizes are KiB.

memory=/local/domain/%d/memory
timings=/out/timings.txt
prompts=/out/prompts.txt
status=/tmp/status.json
cases=0 passed=0 failed=0
squeezed_pid=

say() {
    read -r up _ < /proc/uptime
    echo "# $up s: $*"
}

# check TEXT COMMAND…: one case; its numbers belong into TEXT.
check() {
    local text="$1"
    shift
    cases=$((cases + 1))
    if "$@"; then
        passed=$((passed + 1))
        echo "ok $cases - $text"
    else
        failed=$((failed + 1))
        echo "not ok $cases - $text"
        echo "#   failed: $*"
    fi
}

# timing MS TEXT: a row of the table at the end.
timing() {
    printf '%8s ms  %s\n' "$1" "$2" >> $timings
}

# at_most VALUE LIMIT: false also for what is no number (fractions allowed).
at_most() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a ~ /^-?[0-9.]+$/ && a+0 <= b+0) }'
}

round() { # to one decimal; what is no number stays
    awk -v x="$1" 'BEGIN { if (x ~ /^[0-9.]+$/) printf "%.1f", x; else print x }'
}

between() { # between VALUE LOW HIGH
    at_most "$2" "$1" && at_most "$1" "$3"
}

# --- the guests --------------------------------------------------------------

key() { # key DOMID LEAF
    printf "$memory/%s" "$1" "$2"
}

write_range() { # write_range DOMID MIN MAX: as an admin would
    xenstore-write "$(key "$1" dynamic-min)" "$2"
    xenstore-write "$(key "$1" dynamic-max)" "$3"
}

targets() { # targets DOMID…: on one line
    for domid; do
        printf '%s=%s ' "$domid" "$(xenstore-read "$(key "$domid" target)")"
    done
}

is_running() { # is_running NAME: there, not paused, not shut down
    xl list "$1" 2>/dev/null | awk 'NR == 2 { found = $5 !~ /[pscd]/ }
        END { exit !found }'
}

moved() { # moved BEFORE AFTER: by how much two lists of targets differ, in all
    echo "$1 $2" | tr '= ' '\n\n' | awk 'NF' | awk '{ v[NR] = $1 } END {
        for (i = 2; i <= NR / 2; i += 2) {
            d = v[i] - v[NR / 2 + i]
            sum += d < 0 ? -d : d
        }
        print sum + 0 }'
}

boots() { # boots NAME: that xl create has started
    GUEST_WAIT_ONLY=1 start-guest "$1"
}

# --- the sampler -------------------------------------------------------------

start_sampler() {
    mkfifo /tmp/phases
    memory-sampler 3 /out/free-memory.trace < /tmp/phases > /out/phases.txt &
    sampler_pid=$!
    exec 3> /tmp/phases
}

# prompt MS TEXT: this took MS in the current phase, and should take 50 at most:
# judged at the end, when it is known how long dom0 stood still meanwhile.
prompt() {
    echo "$current_phase $1 $2" >> $prompts
    timing "$1" "$2"
}

phase() { # phase NAME FLOOR: from now on, free memory must not be below that
    current_phase=$1
    echo "$1 $2" >&3
    say "phase $1, free memory at least $2 KiB"
}

stop_sampler() {
    echo end >&3
    wait $sampler_pid
    exec 3>&-
}

# --- squeezed ----------------------------------------------------------------

start_squeezed() {
    squeezed --config squeezed.conf >> /out/squeezed.log 2>&1 3>&- &
    squeezed_pid=$!
    local tries=100
    until squeezectl --json status > $status 2>/dev/null; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 $squeezed_pid 2>/dev/null; then
            say "squeezed does not answer; the end of its log:"
            tail -n 20 /out/squeezed.log
            return 1
        fi
        usleep 50000
    done
}

kill_squeezed() { # with a signal
    kill "$1" $squeezed_pid
    wait $squeezed_pid 2>/dev/null
    true
}

# look: the status of this moment, for `get`; a copy stays for the reader.
look() {
    looks=$((looks + 1))
    squeezectl --json status > $status
    cp $status "/out/status-$looks.json"
}

get() { # get PATH…: values of the last look, one a line
    json-get "$@" < $status
}

of() { # of NAME FIELD: the same, of a domain
    get "domains.name=$1.$2"
}

# True if every KiB of the last look has an owner, once.
adds_up() {
    get host.free_kib host.scrub_kib host.host_reserve_kib host.cushion_kib \
        host.reserved_kib host.growth_allowed_kib host.promised_kib \
        host.headroom_kib host.total_kib host.domains_kib host.xen_kib |
        awk '{ v[NR] = $1 } END {
            there = v[1] + v[2]
            owned = v[3] + v[4] + v[5] + v[6] + v[7] + v[8]
            whole = there + v[10] + v[11]
            if (NR != 11 || there != owned || v[9] != whole) {
                print "#   free + scrub " there ", owned " owned
                print "#   total " v[9] ", free + scrub + domains + xen " whole
                exit 1
            }
        }'
}

# how_even NAME…: by how many KiB the worst target misses the ratio
# (target − min) / (max − min) that all of them together have; then the ratio
# in thousandths, then the most that a guest is away from its target.
how_even() {
    for name; do
        printf '%s ' $(of "$name" target_kib) $(of "$name" dynamic_min_kib) \
            $(of "$name" dynamic_max_kib) $(of "$name" actual_kib)
        echo
    done | awk '
        function abs(x) { return x < 0 ? -x : x }
        { t[NR] = $1; min[NR] = $2; range[NR] = $3 - $2
          given += $1 - $2; all += $3 - $2
          if (abs($4 - $1) > away) away = abs($4 - $1) }
        END {
            for (i = 1; i <= NR; i++) {
                miss = abs(t[i] - min[i] - given * range[i] / all)
                if (miss > worst) worst = miss
            }
            printf "%.1f %.0f %d\n", worst, 1000 * given / all, away
        }'
}

# reserve WHAT ARGUMENTS…: sets granted (the id), amount and the times.
reserve() {
    local what="$1"
    shift
    if ! squeezectl --json reserve "$@" > /tmp/grant.json 2> /tmp/refusal; then
        granted='' amount=0 answer_ms=- took_ms=-
        say "refused: $(cat /tmp/refusal /tmp/grant.json)"
        return 1
    fi
    set -- $(json-get reservation amount_kib took_ms answer_ms < /tmp/grant.json)
    granted=$1 amount=$2 took_ms=$(round "$3") answer_ms=$(round "$4")
    timing "$took_ms" "$what: from the request to the grant"
    prompt "$answer_ms" "$what: of that, from enough free memory to the reply"
}

is_refused() { # is_refused WHAT ARGUMENTS…
    ! reserve "$@"
}
