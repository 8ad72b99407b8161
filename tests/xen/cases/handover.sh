# SPDX-License-Identifier: LGPL-2.1-or-later
# What XAPI's squeezed leaves in xenstore is taken over by one that starts; one
# is off for a while, and domains come meanwhile.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

state=/squeezed/state/xenopsd
waiting_id=0a3fa2bd-9c05-46b1-a4a9-0d0ed9b4c0a1
moved_id=0a3fa2bd-9c05-46b1-a4a9-0d0ed9b4c0a2

# A reservation that waits, and one whose domain is under construction: 96 MiB
# and 160 of which it has 96.
write_xapi_state() { # write_xapi_state DOMID
    xenstore-write $state/$waiting_id $((96 * MIB))
    xenstore-write $state/$moved_id $((160 * MIB))
    xenstore-write $state/$moved_id/in-transfer "$1"
    xenstore-write "$(key "$1" initial-reservation)" $((160 * MIB))
    xenstore-write "$(key "$1" reservation-id)" $moved_id
}

case_handover() {
    local d
    # There must be room for a domain that nobody makes room for.
    phase handover $building_kib
    check "240 MiB are reserved" reserve "before the hand-over" 240M || return
    kill_squeezed -TERM
    xenstore-rm /squeezed/state/anonymous
    GUEST_CONFIG_ONLY=1 start-guest d 96 96
    check "a domain is built while there is no squeezed" \
        xl create -q -p /tmp/d.cfg || return
    d=$(xl domid d)
    write_xapi_state "$d"
    check "squeezed starts on what XAPI's has left" start_squeezed || return
    settle
    check "a reservation of xenopsd is taken over" [ "$(get \
        "reservations.reservation=$waiting_id.amount_kib" \
        "reservations.reservation=$waiting_id.client" | xargs)" \
        = "$((96 * MIB)) xenopsd" ]
    check "… and counts ($(get host.reserved_kib) KiB)" \
        [ "$(get host.reserved_kib)" = $((96 * MIB)) ]
    check "the other one is domain $d's" [ "$(get \
        "reservations.reservation=$moved_id.in_transfer")" = "$d" ]
    check "… which is promised all of it ($(of d promise_kib) KiB)" \
        [ "$(of d promise_kib)" = $((160 * MIB)) ]
    check "… and status adds up" adds_up
    check "the memory for both is there (headroom $(get host.headroom_kib))" \
        at_most $((building_kib - reserve_kib)) "$(get host.headroom_kib)"
    xl destroy d
    check "domain $d goes, and so does its reservation" await 30000 is_not \
        quietly xenstore-exists $state/$moved_id
    squeezectl release $waiting_id
    check "the other one is released" is_not \
        quietly xenstore-exists $state/$waiting_id
    phase handed-over $reserve_kib
    check "the guests are back at their maxima" \
        quietly at_maximum 60000
    settle
    check "… and status adds up" adds_up
}
