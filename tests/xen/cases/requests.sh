# SPDX-License-Identifier: LGPL-2.1-or-later
# Requests on a full host: refused, granted, built in, owned by a UUID.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

case_impossible() {
    local before
    before=$(targets 1 2 "$c_id")
    check "an impossible request is refused" \
        is_refused impossible 4G --timeout 30s
    set -- $(json-get error.data.reason error.data.needed_kib \
        error.data.free_kib error.data.short_kib < /tmp/grant.json)
    check "… as cannot-free ($1)" [ "$1" = cannot-free ]
    check "… with numbers: $2 KiB needed, $3 to be had, $4 short" \
        [ "$2 $4" = "4194304 $((4194304 - $3))" ]
    check "… and no target moved" [ "$(targets 1 2 "$c_id")" = "$before" ]
}

# The way of an admin whose tool knows no UUID beforehand.
case_fourth_guest() {
    local ms
    phase squeeze $reserve_kib
    check "258 MiB are reserved" reserve "258 MiB on a full host" 258M || return
    phase held $((reserve_kib + amount))
    squeeze_ms=$took_ms
    check "… all of it ($amount KiB in $took_ms ms)" [ "$amount" = 264192 ]
    check_even "squeezed"
    check "the reservation is counted once" \
        [ "$(get reservations.# host.reserved_kib | xargs)" = "1 $amount" ]

    GUEST_CONFIG_ONLY=1 start-guest d 256 256
    phase build $building_kib
    check "xl create builds a guest in it" xl create -q -p /tmp/d.cfg
    check "the reservation is transferred" squeezectl transfer "$granted" d
    xl unpause d
    check "the guest boots" boots d
    check "the guest runs" is_running d
    phase run $reserve_kib
    check_even "with the fourth guest"

    phase destroy $reserve_kib
    xl destroy d
    ms=$(at_maximum 30000)
    check "xl destroy: the others are back at their maxima in $ms ms" \
        returns_in "$ms"
    timing "$ms" "after xl destroy: the others back at their maxima"
    squeezectl balance
    look
    check "no reservation is left" \
        [ "$(get reservations.# host.reserved_kib | xargs)" = "0 0" ]
    check "at rest again: status adds up" adds_up
}

# With a UUID the domain under construction owns the reservation at once.
case_uuid() {
    local uuid=6f2d1c1e-8f5b-4b0e-9d5a-0123456789ab before after
    phase squeeze3 $reserve_kib
    check "258 MiB are reserved for a UUID" \
        reserve "for a UUID" 258M --uuid $uuid || return
    squeezectl balance
    before=$(targets 1 2 "$c_id")
    phase build3 $building_kib
    xl create -q -p /tmp/d.cfg "uuid=\"$uuid\""
    look
    check "the domain with that UUID owns it" [ "$(get reservations.# \
        host.reserved_kib | xargs)" != "1 $amount" ]
    after=$(targets 1 2 "$c_id")
    # 88 KiB more are needed than was asked for.
    check "nobody was squeezed for it twice ($(moved "$before" "$after") KiB)" \
        at_most "$(moved "$before" "$after")" 512
    check "with the UUID: status adds up" adds_up
    xl destroy d
    phase destroy3 $reserve_kib
    at_maximum 30000 > /dev/null
}
