# SPDX-License-Identifier: LGPL-2.1-or-later
# The limit of a managed domain is squeezed's.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

limit_of() { # limit_of DOMID: in KiB, as Xen has it
    domain-probe show | sed -n "s/^domain $1 .* max=\([0-9]*\) .*/\1/p"
}

limit_is() { # limit_is DOMID KIB
    [ "$(limit_of "$1")" = "$2" ]
}

# xl sets the limit 1 MiB above what it was asked for, and static-max.
case_limit() {
    check "the limit of a guest at its maximum is that" limit_is 1 $a_max
    xl mem-max a 700
    check "after xl mem-max the limit goes back" await 10000 limit_is 1 $a_max
    check "… and static-max stays as xl set it" \
        [ "$(xenstore-read "$(key 1 static-max)")" = $((700 * MIB)) ]
    xl mem-max a 540
    check "… and again" await 10000 limit_is 1 $a_max
    squeezectl balance
    look
    check "… and status adds up" adds_up
}
