# SPDX-License-Identifier: LGPL-2.1-or-later
# Somebody else builds a domain while a reservation is held.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

case_theft() {
    local builder told thief
    told=$(grep -c 'overload: memory was taken' /out/squeezed.log)
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
    check "… the log, too" [ "$(grep -c 'overload: memory was taken' \
        /out/squeezed.log)" -gt "$told" ]
    phase made-good $((reserve_kib + held_kib))
    check "… and the others make it good: $(get host.reserved_kib) KiB \
reserved, headroom $(get host.headroom_kib)" \
        [ "$(get host.reserved_kib)" = $held_kib ]
    check_even "after the theft"
    thief=$(of thief domid)
    check "the neighbour is unmanaged" [ "$(of thief state)" = unmanaged ]
    check "… and untouched" [ "$(settings $thief)" = \
        "$thief max=$((97 * MIB)) memory/target=$((96 * MIB))" ]
    check "… without keys of ours" is_not \
        xenstore-exists "$(key $thief squeezed-target)"
    xl destroy thief
    squeezectl balance
}
