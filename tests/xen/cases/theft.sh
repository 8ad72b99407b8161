# SPDX-License-Identifier: LGPL-2.1-or-later
# Somebody else builds a domain while a reservation is held.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

made_good() { # made_good RESERVED_KIB HEADROOM_KIB
    [ "$(get host.reserved_kib)" = "$1" ] &&
        [ "$(get host.headroom_kib)" -ge "$2" ]
}

case_theft() {
    local builder told thief
    told=$(grep -c 'promised was taken by others' /out/squeezed.log)
    phase theft $building_kib
    GUEST_CONFIG_ONLY=1 start-guest thief 96 96
    xl create -q -p /tmp/thief.cfg &
    builder=$!
    while kill -0 $builder 2> /dev/null; do
        squeezectl --json status >> /out/theft.json
    done
    wait $builder
    check "a neighbour builds a domain in what is reserved" [ $? = 0 ]
    squeezectl balance
    look
    check "status says so while it lasts" \
        grep -q '"state": "overloaded"' /out/theft.json
    check "… the log, too" [ "$(grep -c 'promised was taken by others' \
        /out/squeezed.log)" -gt "$told" ]
    # The neighbour is built, but has never run: until then, 8 MiB of the
    # reserve may be missing.
    phase made-good $((building_kib + held_kib))
    check "… and the others make it good: $(get host.reserved_kib) KiB \
reserved, headroom $(get host.headroom_kib)" \
        made_good $held_kib $((building_kib - reserve_kib))
    thief=$(of thief domid)
    phase thief-starts $((building_kib + held_kib))
    xl unpause thief
    check "it starts" boots thief
    squeezectl balance
    look
    phase thief-runs $((reserve_kib + held_kib))
    check "… all of it when the neighbour runs (headroom \
$(get host.headroom_kib))" made_good $held_kib 0
    check_even "after the theft"
    check "the neighbour is unmanaged" [ "$(of thief state)" = unmanaged ]
    check "… and untouched" [ "$(settings $thief)" = \
        "$thief max=$((97 * MIB)) memory/target=$((96 * MIB))" ]
    check "… without keys of ours" is_not \
        xenstore-exists "$(key $thief squeezed-target)"
    xl destroy thief
    squeezectl balance
}
