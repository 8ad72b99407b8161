# SPDX-License-Identifier: LGPL-2.1-or-later
# VIRQ_ENOMEM: Xen's warning that memory is low.  A neighbour of whom nothing
# else tells takes what is free, and more than half of the reserve.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

neighbour_uuid=6f2d1c1e-8f5b-4b0e-9d5a-0123456789b3
neighbour_kib=$((48 * MIB))

log_level() { # log_level LEVEL: from now on
    echo "log-level = $1" >> $config
    kill -HUP $squeezed_pid
}

warnings() {
    grep -c 'Xen is low on memory' /out/squeezed.log
}

warned_since() { # warned_since COUNT
    [ "$(warnings)" -gt "$1" ]
}

case_brake() {
    local d told
    phase brake 0
    log_level debug
    told=$(warnings)
    d=$(domain-builder create $neighbour_uuid)
    domain-builder limit "$d" $neighbour_kib
    check "a neighbour takes 48 MiB of the reserve" \
        domain-builder populate "$d" $neighbour_kib
    check "Xen's warning is heard" await 8000 warned_since "$told"
    squeezectl balance
    look
    log_level info
    check "… and the others make it good (headroom $(get host.headroom_kib))" \
        at_most $((building_kib - reserve_kib)) "$(get host.headroom_kib)"
    check "… status adds up" adds_up
    domain-builder destroy "$d"
    squeezectl balance # nothing else tells that it has gone
    phase brake-over $reserve_kib
    check "when it is gone the others are back at their maxima" \
        quietly at_maximum 60000
}
