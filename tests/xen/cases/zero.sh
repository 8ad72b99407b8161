# SPDX-License-Identifier: LGPL-2.1-or-later
# Domain 0 takes part, where the configuration says so.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

zero_max=$((640 * MIB))
zero_min=$((576 * MIB))

case_zero() {
    local best alone
    phase zero $reserve_kib
    # Room for all at their maxima, beside two guests that keep what they hold.
    squeezectl range a $a_min $((320 * MIB))
    alone=$(settings $hog $deaf)
    kill_squeezed -TERM
    cat squeezed.conf - > zero.conf << END
manage-domain-zero = true
domain-zero-dynamic-min = $((zero_min * 1024))
END
    config=zero.conf
    check "squeezed starts, and manages domain 0" start_squeezed || return
    squeezectl balance
    look
    check "its range ends at what it has ($(of Domain-0 dynamic_max_kib) KiB)" \
        [ "$(of Domain-0 dynamic_max_kib)" = $zero_max ]
    check "it is in no hurry ($(of Domain-0 state))" \
        [ "$(of Domain-0 state)" = ok ]
    best=$(squeezectl --json available | json-get after_squeeze_kib)
    # Xen takes a page for itself now and then: not quite all.
    check "all that there is ($best KiB) is reserved, but for 256 KiB" \
        reserve "all that there is, domain 0's too" $((best - 256))
    check "domain 0 is at its minimum" domain-probe wait 30000 0=$zero_min
    squeezectl balance
    look
    check "… and status adds up ($(get state))" adds_up
    check "domains that have crashed or shut down are left alone" \
        [ "$(settings $hog $deaf)" = "$alone" ]
    squeezectl release "$granted"
    check "domain 0 is back at its maximum" \
        domain-probe wait 30000 0=$zero_max
    squeezectl balance
    look
    check "… and status adds up" adds_up
    kill_squeezed -TERM
    config=squeezed.conf
    check "squeezed starts without it" start_squeezed || return
    look
    check "domain 0 is unmanaged again" [ "$(of Domain-0 state)" = unmanaged ]
}
