# SPDX-License-Identifier: LGPL-2.1-or-later
# xenstored by way of the kernel, /dev/xen/xenbus, as where it is in a domain of
# its own.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

# CHOWN, DAC_OVERRIDE, FOWNER, SYS_ADMIN: bits 0, 1, 3 and 21.
capabilities() {
    sed -n 's/^CapEff:[[:space:]]*//p' /proc/$squeezed_pid/status
}

case_device() {
    local ms
    phase boot 0
    say "starting a and b"
    start-guest a 128 700 || exit 1
    write_range 1 $a_min $a_max
    start-guest b 128 590 || exit 1
    write_range 2 $b_min $b_max
    phase device $reserve_kib
    check "squeezed starts on /dev/xen/xenbus" start_squeezed || return
    check "… and says so" \
        grep -q 'xenstore (/dev/xen/xenbus)' /out/squeezed.log
    check "… with the capabilities of its unit alone ($(capabilities))" \
        [ "$(capabilities)" = 000000000020000b ]
    ms=$(at_maximum 60000)
    check "the guests grow to their maxima ($ms ms)" [ -n "$ms" ]
    settle
    check "… and take part ($(of a state), $(of b state))" \
        [ "$(of a state) $(of b state)" = "ok ok" ]
    check "… and status adds up" adds_up
}
