# SPDX-License-Identifier: LGPL-2.1-or-later
# Requests written into xenstore: /squeezed/request.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

folder=/squeezed/request

# ask ID MIN_KIB [LEAF VALUE]…: writes a request
ask() {
    local at=$folder/$1
    xenstore-write $at/min "$2"
    shift 2
    while [ $# -gt 1 ]; do
        xenstore-write $at/"$1" "$2"
        shift 2
    done
    xenstore-write $at/state new
}

in_folder() { # in_folder ID LEAF
    xenstore-read $folder/"$1"/"$2" 2> /dev/null
}

state_is() { # state_is ID STATE
    [ "$(in_folder "$1" state)" = "$2" ]
}

reserved_is() { # reserved_is KIB
    peek
    [ "$(get host.reserved_kib)" = "$1" ]
}

case_folder() {
    phase folder $reserve_kib
    ask one $((200 * MIB)) client scripts timeout 30
    check "a request in xenstore is granted" await 30000 state_is one granted
    check "… whole ($(in_folder one amount) KiB)" \
        [ "$(in_folder one amount)" = $((200 * MIB)) ]
    phase folder-held $((reserve_kib + 200 * MIB))
    look
    check "… as a reservation of its client" [ "$(get \
        "reservations.reservation=$(in_folder one reservation).client")" \
        = scripts ]
    ask two $((4096 * MIB)) timeout 5
    check "one that can't be is refused" await 30000 state_is two refused
    check "… with a reason ($(in_folder two error))" \
        contains "$(in_folder two error)" cannot-free
    ask three not-a-number
    check "so is a broken one" await 30000 state_is three refused
    phase folder-released $reserve_kib
    xenstore-rm $folder/one
    check "its removal releases the reservation" await 30000 reserved_is 0
    xenstore-rm $folder/two
    xenstore-rm $folder/three
    check "the guests are back at their maxima" \
        quietly at_maximum 60000
}
