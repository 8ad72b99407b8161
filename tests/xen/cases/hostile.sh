# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest that writes into xenstore as much and as badly as it can (key-writer),
# while others start.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

# sample NAME: what a grant takes that needs no squeeze, and a bare write, by a
# program that is running already.
sample() {
    squeezectl --json reserve 2M > /tmp/small.json 2>&1 || return
    set -- "$1" $(json-get reservation answer_ms < /tmp/small.json)
    squeezectl release "$2"
    echo "$1 $3 $(domain-probe writes 20 /bare-write)" >> /tmp/samples
}

best() { # best NAME: grants in bare writes, ms of a grant, ms of a write
    awk -v name="$1" '$1 == name {
        if (!n++ || $2 + 0 < grant) grant = $2 + 0
        if (n == 1 || $3 + 0 < bare) bare = $3 + 0
    }
    END { printf "%.1f %.1f %.1f\n", grant / bare, grant, bare }' /tmp/samples
}

at_most_twice() { # at_most_twice LOUD … QUIET …: the first of three of each
    at_most "$1" "$(awk -v q="$4" 'BEGIN { print 2 * q }')"
}

# With the guest and without it in turn, so that whatever else slows the host
# down slows both down; and the best of each, as that only ever adds.  On a busy
# machine it takes some tries until a grant meets no delay.
take_samples() { # take_samples NAME
    local tries=12
    rm -f /tmp/samples
    while [ $tries != 0 ]; do
        sample loud
        xl pause "$1"
        sample quiet
        xl unpause "$1"
        ! at_most_twice $(best loud) $(best quiet) || return 0
        tries=$((tries - 1))
    done
}

count_of() { # count_of DOMID: what key-writer has written
    xenstore-read "/local/domain/$1/data/count" 2> /dev/null || echo 0
}

writes_of() { # writes_of DOMID: that it writes
    [ "$(count_of "$1")" -gt 100 ]
}

case_hostile() {
    local w from count lines
    phase hostile $building_kib
    # Something to grant small ones from, so that nobody is squeezed for them,
    # also when the writer is there.
    squeezectl range a $a_min $((a_max / MIB - 160))M
    settle
    add_guest writer 96 key-writer
    w=$(xl domid writer)
    check "a guest writes without end" await 30000 writes_of "$w"
    from=$(now_ms) count=$(count_of "$w") lines=$(wc -l < /out/squeezed.log)
    check "it can't make requests ($(xenstore-read \
        "/local/domain/$w/data/tried"))" [ "$(xenstore-read \
        "/local/domain/$w/data/tried")" = "Permission denied" ]
    take_samples writer
    set -- $(best loud) $(best quiet)
    check "a grant takes $2 ms then, and a bare write $3 ($5 and $6 without): \
no more than twice as many of them" at_most_twice "$@"
    check "160 MiB are reserved meanwhile" reserve "beside a hostile guest" 160M
    squeezectl release "$granted"
    check "… and a guest is created" create_guest e 96
    set -- $((($(count_of "$w") - count) * 1000 / ($(now_ms) - from)))
    timing "$1" "writes a second of the hostile guest (not ms)"
    lines=$(($(wc -l < /out/squeezed.log) - lines))
    xl pause writer # the emulation is too slow for both
    check "… which boots" boots e
    xl unpause writer
    settle
    check "the log has no flood of it ($lines lines, $1 writes a second)" \
        at_most $lines 40
    check "status adds up" adds_up
    check "the domains' states: $(get domains.name=a.state \
        domains.name=b.state | xargs)" [ "$(get domains.name=a.state \
        domains.name=b.state | xargs)" = "ok ok" ]
    xl destroy writer
    xl destroy e
    squeezectl range a $a_min $a_max
    phase after-hostile $reserve_kib
    check "the guests are back at their maxima" \
        quietly at_maximum 60000
}
