# SPDX-License-Identifier: LGPL-2.1-or-later
# All guests at their maxima, and ranges as anybody writes them into xenstore.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

case_full() {
    local ms
    phase grow $reserve_kib
    ms=$(at_maximum 60000)
    check "the guests grow to their maxima ($ms ms)" [ -n "$ms" ]
    squeezectl balance
    look
    check "at rest: status adds up" adds_up
}

# A range written into xenstore moves the target.
case_range() {
    local when
    for when in lowered:500 raised:540; do
        set -- $(domain-probe change 2000 "$(key 1 dynamic-max)" \
            $((${when#*:} * MIB)) "$(key 1 target)" | sed 's/[a-z_]*=//g')
        check "range ${when%:*} in xenstore: the target follows, to $3 KiB \
(a bare write takes $1 ms)" [ "$3" = $((${when#*:} * MIB)) ]
        prompt "$2" \
            "range ${when%:*}: from the end of the write to the target"
        squeezectl balance
    done
    look
    check "the target is back at the new maximum" \
        [ "$(of a target_kib)" = $a_max ]
}
