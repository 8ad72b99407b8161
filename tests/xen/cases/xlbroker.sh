# SPDX-License-Identifier: LGPL-2.1-or-later
# xl-squeeze, and a squeezed that is off, starts meanwhile, or is killed.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

has_reservation() {
    peek
    [ "$(get reservations.#)" != 0 ]
}

clean_after() { # clean_after NAME: it runs, and nothing is left over
    check "… it boots" boots "$1"
    settle
    check "… no reservation is left over" [ "$(get host.reserved_kib)" = 0 ]
    check "… and status adds up" adds_up
    xl destroy "$1"
}

case_broker() {
    local pid
    phase broker-off $building_kib
    GUEST_CONFIG_ONLY=1 start-guest brief 100 100
    # What plain xl can have.
    squeezectl range a $a_min $((a_max / MIB - 160))M
    settle
    kill_squeezed -TERM
    check "without a squeezed xl-squeeze --require refuses" \
        is_not xl-squeeze create --require -q /tmp/brief.cfg 2> /tmp/brief.out
    check "… and else is plain xl" \
        xl-squeeze create -q /tmp/brief.cfg 2>> /tmp/brief.out
    check "… and says so" grep -q 'running plain xl' /tmp/brief.out
    check "… it boots" boots brief
    xl destroy brief

    xl-squeeze create -q /tmp/brief.cfg 2> /tmp/brief.out 3>&- &
    pid=$!
    check "squeezed starts while it creates" start_squeezed
    check "… it is created" wait $pid
    clean_after brief

    phase broker-killed $building_kib
    xl-squeeze create -q /tmp/brief.cfg 2> /tmp/brief.out 3>&- &
    pid=$!
    await 30000 has_reservation
    kill_squeezed -9
    check "squeezed is killed while it creates, and starts again" \
        start_squeezed
    check "… it is created" wait $pid
    sed 's/^/#   /' /tmp/brief.out
    clean_after brief

    squeezectl range a $a_min $a_max
    phase broker-back $reserve_kib
    check "the guests are back at their maxima" quietly at_maximum 60000
}
