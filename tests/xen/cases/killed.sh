# SPDX-License-Identifier: LGPL-2.1-or-later
# kill -9 of squeezed: nothing is lost, and nobody stays squeezed.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

# Killed between the grant and the transfer.
case_killed() {
    local ms
    phase squeeze2 $reserve_kib
    check "258 MiB are reserved again" reserve "the second time" 258M || return
    phase killed $((reserve_kib + amount))
    kill_squeezed -9
    check "squeezed starts after kill -9" start_squeezed || return
    look
    check "the reservation is there, once" [ "$(get reservations.# \
        "reservations.reservation=$granted.amount_kib" host.reserved_kib |
        xargs)" = "1 $amount $amount" ]
    check_even "after kill -9"

    phase build2 $building_kib
    xl create -q -p /tmp/d.cfg
    check "it can be transferred" squeezectl transfer "$granted" d
    squeezectl balance
    look
    check "… and is counted once, as the domain's" \
        [ "$(get host.reserved_kib)" = 0 ]
    check_even "the guest is still paused"
    xl destroy d
    phase destroy2 $reserve_kib
    ms=$(at_maximum 30000)
    check "xl destroy: back at the maxima in $ms ms" returns_in "$ms"
}

# Killed in the middle of a squeeze: nobody stays squeezed.
case_killed_squeezing() {
    local ms
    phase squeeze4 $reserve_kib
    squeezectl reserve 258M 2> /dev/null 3>&- &
    usleep 200000
    kill_squeezed -9
    wait $!
    check "squeezed starts after kill -9 in the middle of a squeeze" \
        start_squeezed || return
    squeezectl login anonymous # if it was granted after all
    ms=$(at_maximum 30000)
    check "… and the guests are back at their maxima in $ms ms" \
        [ -n "$ms" ]
    squeezectl balance
    look
    check "… no reservation is left" \
        [ "$(get reservations.# host.reserved_kib | xargs)" = "0 0" ]
    check "… status adds up" adds_up
}
