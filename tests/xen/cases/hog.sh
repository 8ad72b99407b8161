# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest that uses what it has, and can't give; the others give instead.
# A paused domain is left alone meanwhile.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

hog_is() { # hog_is STATE
    peek
    [ "$(of hog state)" = "$1" ]
}

# Its reservation is kept: it is what the following topics squeeze for.
case_hog() {
    local alone
    phase hog $building_kib
    ON_CRASH=preserve add_guest hog 112 "hog=26 sysrq_always_enabled"
    squeezectl range hog 72M 112M
    check "a guest that uses most of its memory is found to balloon" \
        await 30000 hog_is ok
    hog=$(of hog domid)
    squeezectl balance
    xl pause b
    alone=$(settings 2)

    phase squeeze-hog $reserve_kib
    check "200 MiB are reserved though it can't give" \
        reserve "with a guest that can't give" 200M || return
    held_id=$granted held_kib=$amount
    phase held-hog $((reserve_kib + amount))
    check "it is found stuck" await 30000 hog_is stuck
    stuck_ms=$(now_ms)
    note_mark &
    peek
    set -- $(of hog target_kib) $(of hog limit_kib) $(of hog actual_kib)
    check "its target ($1 KiB) and its limit ($2) are what it holds ($3)" \
        [ "$1 $2" = "$3 $3" ]
    check "in all that, a paused guest is left alone" \
        [ "$(settings 2)" = "$alone" ]
    xl unpause b
    check_even "with a guest that can't give"
    peek
    [ $(($(now_ms) - stuck_ms)) -gt 18000 ] ||
        check "it is not marked yet ($(($(now_ms) - stuck_ms)) ms)" \
            is_not xenstore-exists "$(key $hog uncooperative)"
}

# When the mark came.
note_mark() {
    local path
    path=$(key $hog uncooperative)
    exec 3>&-
    xenstore-watch -n 2 "$path" > /dev/null # the first comes at once
    now_ms > /tmp/marked
}

case_uncooperative() {
    local ms
    check "a guest that has been stuck for long is marked" \
        await 80000 xenstore-exists "$(key $hog uncooperative)"
    ms=$(($(cat /tmp/marked) - stuck_ms))
    check "… 20 s after it was found stuck ($ms ms)" between $ms 17000 80000
    timing $ms "from stuck to marked"
}
