# SPDX-License-Identifier: LGPL-2.1-or-later
# xl reboot on a full host: the guest finds its memory again.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

is_domid() { # is_domid NAME OTHER_DOMID: that it is there with a new domid
    local d stolen
    d=$(xl domid "$1" 2> /dev/null) && [ "$d" != "$2" ]
}

thefts_told() {
    grep -c 'promised was taken by others' /out/squeezed.log
}

case_reboot() {
    local d stolen
    phase reboot $building_kib
    ON_REBOOT=restart GUEST_CONFIG_ONLY=1 start-guest phoenix 256 256
    check "a guest of 256 MiB is started on a full host" \
        quietly xl-squeeze create /tmp/phoenix.cfg
    check "… it boots" boots phoenix
    squeezectl balance
    d=$(xl domid phoenix)
    stolen=$(thefts_told)
    rm -f /var/log/xen/console/guest-phoenix.log
    xl reboot phoenix > /dev/null
    check "xl reboot: it comes back with a new domid" \
        await 60000 is_domid phoenix "$d"
    check "… and boots" boots phoenix
    squeezectl balance
    look
    check "… its memory was kept for it meanwhile" \
        grep -q "domain $d reboots: .* are kept for it" /out/squeezed.log
    check "… status adds up" adds_up
    check "… and nobody is said to have taken anything" \
        [ "$(thefts_told)" = "$stolen" ]
    check "… nothing is held any more" [ "$(get host.reserved_kib)" = 0 ]
    xl destroy phoenix
    phase reboot-over $reserve_kib
    check "when it is gone the others are back at their maxima" \
        quietly at_maximum 60000
}
