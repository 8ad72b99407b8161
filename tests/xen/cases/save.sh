# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest that couldn't give is saved and restored: it holds no more than its
# target says, or xl could not restore it.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

# Now and then it is asked again: then its target is below that for 5 s.
hog_rests() {
    peek
    [ "$(of hog target_kib)" = "$(of hog actual_kib)" ]
}

case_save() {
    mkdir -p /save
    mount -t tmpfs -o size=100% tmpfs /save
    phase save $building_kib
    check "its target is what it holds" await 30000 hog_rests
    check "xl save of a guest that can't give" \
        quietly xl save hog /save/hog
    squeezectl balance
    check "116 MiB are reserved for its return" \
        reserve "for a restored guest" 116M || return
    check "xl restore" quietly xl restore /save/hog
    check "the reservation is transferred" squeezectl transfer "$granted" hog
    umount /save
    check "it runs again" is_running hog
    look
    hog=$(of hog domid)
    check "… unmanaged, as it has no range ($(of hog state))" \
        [ "$(of hog state)" = unmanaged ]
    check "… and status adds up" adds_up
    squeezectl release "$held_id"
    squeezectl range hog 72M 112M
    xl sysrq hog c
    check "it is alive: it crashes when told to, and is preserved" \
        await 30000 hog_is dying
}
