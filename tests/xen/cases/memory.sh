# SPDX-License-Identifier: LGPL-2.1-or-later
# The `memory` interface, as XAPI's xenopsd calls it: XML-RPC, one call a
# connection, on real domains.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

answer=/tmp/answer.xml

# memory METHOD PARAMETER…: true if it succeeds; the answer is in $answer.
memory() {
    {
        printf '<?xml version="1.0"?><methodCall><methodName>%s</methodName>' \
            "$1"
        shift
        printf '<params><param><value>debug</value></param>'
        [ $# = 0 ] || printf '<param><value>%s</value></param>' "$@"
        printf '</params></methodCall>'
    } > /tmp/call.xml
    post /var/xapi/memory < /tmp/call.xml > $answer || return
    grep -q 'Success' $answer
}

values() { # the values in the answer's Value or ErrorDescription, on a line
    sed 's/.*<name>\(Value\|ErrorDescription\)<\/name>//; s/<[^>]*>/ /g' \
        $answer | xargs
}

says() { # says WORD NUMBER: that the answer begins so, and how many words
    set -- "$1" "$2" $(values)
    [ "$3" = "$1" ] && [ $(($# - 2)) = "$2" ]
}

# As xenopsd does after each build, good or bad.
clean_up_after() { # clean_up_after DOMID ID
    memory query_reservation_of_domain xenopsd "$1" &&
        [ "$(values)" = "$2" ] && memory delete_reservation xenopsd "$2"
}

# create, transfer, build; an HVM domain may exceed its limit by 1 MiB.
xenopsd_builds() { # xenopsd_builds WHAT UUID EXTRA_KIB [hvm]
    local id kib d
    phase "memory-$1" $reserve_kib
    check "$1: between 150 and 200 MiB are reserved" memory \
        reserve_memory_range xenopsd $((150 * MIB)) $((200 * MIB)) || return
    id=$(values | cut -d' ' -f1) kib=$(values | cut -d' ' -f2)
    check "$1: … $kib KiB" between "$kib" $((150 * MIB)) $((200 * MIB))
    phase "memory-$1-held" $((building_kib + kib))
    d=$(domain-builder create "$2" $4)
    check "$1: they are transferred to an empty domain ($d)" memory \
        transfer_reservation_to_domain xenopsd "$id" "$d"
    check "$1: … whose limit is that, and $3 KiB" limit_is "$d" $((kib + $3))
    check "$1: … and which has the keys" [ "$(xenstore-read \
        "$(key "$d" initial-reservation)" "$(key "$d" reservation-id)" |
        xargs)" = "$kib $id" ]
    look
    check "$1: status adds up, and promises it ($(get \
        "domains.domid=$d.promise_kib") KiB)" adds_up
    phase "memory-$1-built" $building_kib
    check "$1: it is built" domain-builder populate "$d" $((kib / 2048 * 2048))
    squeezectl balance
    look
    check "$1: … and nothing is counted twice (headroom $(get \
        host.headroom_kib))" at_most $((building_kib - reserve_kib)) \
        "$(get host.headroom_kib)"
    check "$1: the reservation is found and deleted" clean_up_after "$d" "$id"
    domain-builder destroy "$d"
    check "$1: after its end, balance_memory returns" memory balance_memory
    check "$1: … and the guests are back at their maxima" \
        quietly at_maximum 60000
}

case_memory() {
    local id
    check "xenopsd logs in ($(memory login xenopsd && values))" \
        [ "$(values)" = xenopsd ]
    check "get_host_reserved_memory: 72 MiB" memory get_host_reserved_memory
    check "… in KiB ($(values))" [ "$(values)" = $reserve_kib ]
    xenopsd_builds pv 6f2d1c1e-8f5b-4b0e-9d5a-0123456789b1 0
    xenopsd_builds pvh 6f2d1c1e-8f5b-4b0e-9d5a-0123456789b2 $MIB hvm

    check "what can't be had is refused" is_not memory \
        reserve_memory xenopsd $((4096 * MIB))
    check "… with both numbers ($(values))" \
        says Cannot_free_this_much_memory 3
    case_retry
    check "a domain without a reservation has none" is_not memory \
        query_reservation_of_domain xenopsd 1
    check "… and that is said ($(values))" says No_reservation 1
    check "a failure before the transfer: 100 MiB are reserved" \
        memory reserve_memory xenopsd $((100 * MIB))
    id=$(values)
    check "… and deleted" memory delete_reservation xenopsd "$id"
    check "… again, which is no error" memory delete_reservation xenopsd "$id"
    check "a client that died left 100 MiB" \
        memory reserve_memory xenopsd $((100 * MIB))
    check "… and logs in again" memory login xenopsd
    look
    check "… nothing is left" [ "$(get host.reserved_kib)" = 0 ]
    check "status adds up" adds_up
}

# The client sleeps and tries again when it is refused: here, until somebody
# else's reservation has gone.
case_retry() {
    local best tries=60
    best=$(squeezectl --json available | json-get after_squeeze_kib)
    check "somebody has most of the memory" \
        reserve "beside xenopsd" $((best - 64 * MIB))
    check "xenopsd is refused" is_not memory \
        reserve_memory xenopsd $((256 * MIB))
    (
        sleep 2
        squeezectl release "$granted"
    ) &
    until memory reserve_memory xenopsd $((256 * MIB)); do
        tries=$((tries - 1))
        [ $tries != 0 ] || break
        sleep 1
    done
    check "… and has it at last, after $((60 - tries)) more tries" \
        grep -q Success $answer
    wait $!
    memory delete_reservation xenopsd "$(values)"
}
