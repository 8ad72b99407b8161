# SPDX-License-Identifier: LGPL-2.1-or-later
# balloon = auto: who balloons is found out by asking for 1 MiB.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

# A Linux guest that has booted, and is there before squeezed is.  It is at its
# minimum, so that it is given 1 MiB to find out.
case_can() {
    phase boot 0
    say "starting a"
    start-guest a 128 540 || exit 1
    write_range 1 $a_min $a_max
    phase can $reserve_kib
    check "squeezed starts" start_squeezed || return
    check "a guest with a balloon driver is found out, and grows" \
        domain-probe wait 30000 1=$a_max
    phase late $building_kib
    peek
    check "… and takes part ($(of a state))" [ "$(of a state)" = ok ]
}

# A guest with a range from its first moment: built, paused, started, paused at
# once.  Nobody knows yet whether it has a balloon.
case_late() {
    local before
    say "starting b"
    GUEST_CONFIG_ONLY=1 start-guest b 128 420
    xl create -q -p /tmp/b.cfg || exit 1
    squeezectl range b $b_min $b_max
    before=$(settings 2)
    look
    check "a guest that is built has a range, and is booting ($(of b state))" \
        [ "$(of b state)" = booting ]
    xl unpause b
    usleep 300000
    xl pause b
    squeezectl balance
    look
    check "paused at once after its start ($(of b state))" \
        [ "$(of b state)" = paused ]
    usleep 1500000
    check "… its target and limit are left alone" [ "$(settings 2)" = "$before" ]
    phase unpaused $reserve_kib
    xl unpause b
    check "it boots" boots b
    check "… is found out, and grows" domain-probe wait 30000 2=$b_max
    phase found $reserve_kib
    set -- $(held 2 unpaused)
    check "… by a probe that takes 1 MiB ($((b_boot - $1)) KiB were given)" \
        between $((b_boot - $1)) $((MIB / 2)) $MIB
    peek
    check "… and takes part ($(of b state))" [ "$(of b state)" = ok ]
}
