# SPDX-License-Identifier: LGPL-2.1-or-later
# A PVH guest with populate on demand.  From then on it is one of the three:
# what is checked of them all is checked of it.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

# Each different pair of state and target while it boots.
follow_boot() { # follow_boot NAME
    local tries=25 pair last=
    until grep -q '^guest up' "/var/log/xen/console/guest-$1.log"; do
        peek
        pair=$(get "domains.name=$1.state" "domains.name=$1.target_kib" | xargs)
        [ "$pair" = "$last" ] || echo "$pair"
        last=$pair
        tries=$((tries - 1))
        [ $tries != 0 ] && [ "$pair" != "- -" ] || return
        usleep 1500000 # looking costs what the guest needs
    done
}

start_pvh() {
    say "starting c"
    GUEST_TYPE=pvh GUEST_CONFIG_ONLY=1 start-guest c 160 320
    xl create -q -p /tmp/c.cfg || exit 1
    c_id=$(xl domid c)
    squeezectl range c $c_min $c_max || return
    look
    c_built="$(of c state)"
    xl unpause c
    follow_boot c >> /out/pvh-boot.txt
    ! was_lost_by_qemu "$c_id"
}

# It starts with memory < maxmem: as long as its balloon hasn't taken the rest,
# raising its target would kill it.
case_pvh_boots() {
    local tries=3 moved
    phase pvh $building_kib
    until start_pvh; do
        say "QEMU has lost c; again"
        tries=$((tries - 1))
        [ $tries != 0 ] || break
    done
    check "a PVH guest with holes has a range, and is booting ($c_built)" \
        [ "$c_built" = booting ]
    sed 's/^/# c: /' /out/pvh-boot.txt
    moved=$(awk '$1 == "booting" && $2 != '$c_boot /out/pvh-boot.txt | wc -l)
    check "… and its target is left alone as long" [ "$moved" = 0 ]
    check "… which was seen" grep -q '^booting' /out/pvh-boot.txt
    check "it boots" boots c
    check "it is raised, and lives" is_running c
}

# A PVH guest rests 64 KiB above its target.  It has been squeezed and raised a
# few times by now.
case_offset() {
    check "the PVH guest's memory-offset was measured" \
        [ "$(xenstore-read "$(key "$c_id" memory-offset)")" = 64 ]
    look
    check "… and status has it ($(of c offset_kib) KiB)" \
        [ "$(of c offset_kib)" = 64 ]
    check "… exactly: it holds what its target says" \
        [ "$(of c actual_kib)" = "$(of c target_kib)" ]
    check "… and status adds up" adds_up
}
