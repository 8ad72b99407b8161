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

MIB=1024
reserve_kib=$((72 * MIB))
building_kib=$((64 * MIB)) # building a domain may take 8 MiB of the reserve

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
    printf '%8s ms  %s\n' "$(round "$1")" "$2" >> $timings
}

# at_most VALUE LIMIT: false also for what is no number (fractions allowed).
at_most() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a ~ /^-?[0-9.]+$/ && a+0 <= b+0) }'
}

round() { # to one decimal; what is no number stays
    awk -v x="$1" 'BEGIN { if (x ~ /^[0-9.]+$/) printf "%.1f", x; else print x }'
}

now_ms() {
    awk '{ printf "%d", $1 * 1000 }' /proc/uptime
}

# await TIMEOUT_MS COMMAND…: until it is true.
await() {
    local until_ms=$(($(now_ms) + $1))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt $until_ms ] || return 1
        usleep 100000
    done
}

is_not() {
    ! "$@"
}

contains() { # contains TEXT PART
    case $1 in *"$2"*) ;; *) return 1 ;; esac
}

quietly() { # quietly COMMAND…: what it prints matters if it fails only
    "$@" > /tmp/quietly 2>&1 || {
        sed 's/^/#   /' /tmp/quietly
        return 1
    }
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

# What squeezed may set of domains, as Xen and xenstore have it.
settings() { # settings DOMID…
    domain-probe show | awk -v ids=" $* " '
        $1 == "domain" && index(ids, " " $2 " ") { print $2, $4, $NF }' | xargs
}

# create_guest NAME MIB [KERNEL_ARGUMENTS]: as an admin would on a full host.
create_guest() {
    local uuid
    uuid=$(cat /proc/sys/kernel/random/uuid)
    say "starting $1"
    reserve "for $1" $(($2 + 2))M --uuid "$uuid" || return
    GUEST_CONFIG_ONLY=1 start-guest "$1" "$2" "$2" "$3"
    quietly xl create -q "/tmp/$1.cfg" "uuid=\"$uuid\""
    say "created $1"
}

add_guest() { # the same, until it has booted
    create_guest "$@" && check "$1 boots" boots "$1"
}

boots() { # boots NAME: that xl create has started
    GUEST_WAIT_ONLY=1 start-guest "$1"
}

# QEMU 7.2 emulates SVM with faults: a PVH guest may go on at an address of
# Xen's, or get an exception that nothing has raised, and dies of that.  What
# squeezed could do to it by a wrong target is another end: Xen calls
# domain_crash then.
was_lost_by_qemu() { # was_lost_by_qemu DOMID
    xl dmesg | grep -q "d$1v0 Triple fault"
}

# boots_at_last NAME: that xl-squeeze has started; again if QEMU has lost it
boots_at_last() {
    local tries=3 domid
    while domid=$(xl domid "$1") && ! boots "$1"; do
        tries=$((tries - 1))
        [ $tries != 0 ] && was_lost_by_qemu "$domid" || return 1
        say "QEMU has lost $1; again"
        xl destroy "$1" 2> /dev/null
        quietly xl-squeeze create -q "/tmp/$1.cfg" || return 1
    done
    [ -n "$domid" ]
}

# --- the sampler -------------------------------------------------------------

start_sampler() {
    mkfifo /tmp/phases
    memory-sampler 3 /out/free-memory.trace < /tmp/phases > /out/phases.txt &
    sampler_pid=$!
    exec 3> /tmp/phases
}

# prompt MS TEXT: this took MS, until just now, and should take 50 at most:
# judged at the end, when it is known how long dom0 stood still meanwhile
# (case_prompt).
prompt() {
    echo "$(now_ms) $1 $2" >> $prompts
    timing "$1" "$2"
}

# held DOMID PHASE: the least and the most that it held in that phase.
held() {
    awk -v key="$1:" -v phase="$2" '$2 == phase && $3 != "gap" {
        for (i = 4; i <= NF; i++)
            if (index($i, key) == 1) {
                kib = substr($i, length(key) + 1) + 0
                if (!n++ || kib < low)
                    low = kib
                if (kib > high)
                    high = kib
            }
    }
    END { print low + 0, high + 0 }' /out/free-memory.trace
}

phase() { # phase NAME FLOOR: from now on, free memory must not be below that
    echo "$1 $2" >&3
    say "phase $1, free memory at least $2 KiB"
}

stop_sampler() {
    echo end >&3
    wait $sampler_pid
    exec 3>&-
}

# --- squeezed ----------------------------------------------------------------

config=squeezed.conf

# As the unit has it: CAP_CHOWN CAP_… becomes +chown,+….
bounds() {
    printf -- -all
    for capability in $(cat capabilities); do
        printf ',+%s' "${capability#CAP_}" | tr A-Z a-z
    done
}

start_squeezed() {
    ./setpriv --bounding-set "$(bounds)" --inh-caps=-all --no-new-privs \
        squeezed --config "$config" >> /out/squeezed.log 2>&1 3>&- &
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

peek() { # the status of this moment, for `get`
    squeezectl --json status > $status
}

look() { # the same; a copy stays for the reader
    looks=$((looks + 1))
    peek
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
    granted=$1 amount=$2
    prompt "$4" "$what: of that, from enough free memory to the reply"
    took_ms=$(round "$3")
    timing "$took_ms" "$what: from the request to the grant"
}

is_refused() { # is_refused WHAT ARGUMENTS…
    ! reserve "$@"
}

# The end of a boot; the exit status is its own.
finish() {
    say "timings"
    sed 's/^/# /' $timings
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}
