# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest without a balloon driver, until it shuts down.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

deaf_target_is() { # deaf_target_is MIB
    [ "$(xenstore-read "$(key $deaf target)")" = $(($1 * MIB)) ]
}

case_deaf() {
    local from
    phase deaf $building_kib
    ON_POWEROFF=preserve add_guest deaf 96 initcall_blacklist=balloon_init
    peek
    deaf=$(of deaf domid)
    squeezectl range deaf 64M 96M
    check "a guest without a balloon driver is asked for 1 MiB" \
        await 30000 deaf_target_is 95
    from=$(now_ms)
    look
    check "… with its limit as it was ($(of deaf limit_kib) KiB)" \
        [ "$(of deaf limit_kib)" -ge $((96 * MIB)) ]
    check "… and gets its target back" await 30000 deaf_target_is 96
    check "… after 5 s ($(($(now_ms) - from)) ms)" \
        between $(($(now_ms) - from)) 3000 20000
    look
    check "it gave nothing, and is booting for good ($(of deaf state))" \
        [ "$(of deaf state) $(of deaf actual_kib)" = "booting $((96 * MIB))" ]
    check "… and status adds up" adds_up
    case_too_much
}

# A request that would fit only with what it holds waits for it for 3 s (longer,
# if the hog is tried just then), and is refused: nothing was ever owed by it.
case_too_much() {
    local best before after from tries=4
    before=$(targets 1 2 "$c_id")
    # Whether the hog counts may change between the question and the request:
    # then it was another request.
    while
        best=$(squeezectl --json available | json-get after_squeeze_kib)
        from=$(now_ms)
        is_refused "what the deaf guest has" $((best + 16 * MIB))
    do
        set -- $(($(now_ms) - from)) \
            "$(json-get error.data.domids < /tmp/grant.json)" \
            "$(json-get error.data.free_kib < /tmp/grant.json)"
        tries=$((tries - 1))
        [ $tries != 0 ] && ! between "$3" $((best - MIB)) $((best + MIB)) ||
            break
    done
    check "a request that would need it ($best KiB are there without) is refused" \
        [ -z "$granted" ]
    check "… after 3 s ($1 ms)" between "$1" 2900 30000
    check "… not in its name (but of $2)" is_not contains "$2" "$deaf"
    after=$(targets 1 2 "$c_id")
    check "… and the others are where they were ($(moved "$before" \
        "$after") KiB off)" at_most "$(moved "$before" "$after")" 512
}

deaf_is() { # deaf_is STATE
    peek
    [ "$(of deaf state)" = "$1" ]
}

case_shut_down() {
    xl shutdown deaf > /dev/null
    check "it shuts down, and is preserved" await 30000 deaf_is dying
}
