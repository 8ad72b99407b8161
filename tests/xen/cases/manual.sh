# SPDX-License-Identifier: LGPL-2.1-or-later
# The manual method: xl mem-set on a managed domain, and squeezectl's words for
# it; a frozen domain.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

target_is() { # target_is DOMID KIB: in xenstore
    [ "$(xenstore-read "$(key "$1" target)")" = "$2" ]
}

case_target() {
    phase target $reserve_kib
    check "squeezectl target: a shrinks to 400 MiB" squeezectl target a 400M
    check "… and does so" quietly domain-probe wait 60000 1=$((400 * MIB))
    settle
    check "… that is its ceiling now ($(of a ceiling_kib) KiB)" [ "$(get \
        domains.name=a.ceiling_kib domains.name=a.target_kib | xargs)" \
        = "$((400 * MIB)) $((400 * MIB))" ]
    check "… status adds up" adds_up
    check "… which is told to xenstore" [ "$(xenstore-read \
        "$(key 1 squeezed-ceiling)")" = $((400 * MIB)) ]
    squeezectl auto a
    check "squeezectl auto: it is at its maximum again" \
        quietly at_maximum 60000
}

case_freeze() {
    local before
    phase freeze $reserve_kib
    check "squeezectl freeze" squeezectl freeze b
    before=$(settings 2)
    check "200 MiB are reserved" reserve "beside a frozen guest" 200M
    peek
    check "… and the frozen one is left alone ($(of b state))" \
        [ "$(settings 2) $(of b state)" = "$before frozen" ]
    squeezectl release "$granted"
    check "squeezectl thaw" squeezectl thaw b
    check "… the guests are at their maxima again" quietly at_maximum 60000
    settle
    check "… and take part ($(of b state))" [ "$(of b state)" = ok ]
}

case_manual() {
    local hundred=$((100 * MIB))
    phase manual $reserve_kib
    xl mem-set a 400
    check "xl mem-set inside the range: it shrinks to that" \
        quietly domain-probe wait 60000 1=$((400 * MIB))
    settle
    check "… and stays so ($(of a ceiling_kib) KiB is its ceiling)" [ "$(get \
        domains.name=a.ceiling_kib domains.name=a.target_kib | xargs)" \
        = "$((400 * MIB)) $((400 * MIB))" ]
    check "… status adds up" adds_up
    xl mem-set a 100
    check "below the range: it gets its minimum" \
        quietly domain-probe wait 60000 1=$a_min
    check "… which is written back" await 30000 target_is 1 $a_min
    squeezectl range a $a_min $((a_max - hundred))
    xl mem-set a 650
    check "above the range: it gets its maximum" \
        quietly domain-probe wait 60000 1=$((a_max - hundred))
    check "… which is written back" \
        await 30000 target_is 1 $((a_max - hundred))
    squeezectl range a $a_min $a_max
    squeezectl auto a
    check "squeezectl auto: it is squeezed and grows as before" \
        quietly at_maximum 60000
    settle
    check "… and status adds up" adds_up
}
