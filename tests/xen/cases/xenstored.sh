# SPDX-License-Identifier: LGPL-2.1-or-later
# xenstored is killed and started again, without its content.  Guests and dom0's
# kernel are deaf from then on: nothing can come after this.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

store_says() { # store_says CONNECTED
    peek
    [ "$(get store.connected)" = "$1" ]
}

case_xenstored() {
    local reservation
    [ "$(cat /etc/xenstored)" = xenstored ] || return 0
    say "xenstored is killed"
    check "a reservation is held" reserve "before xenstored's death" 40M ||
        return
    reservation=/squeezed/state/anonymous/$granted
    kill -9 "$(cat /run/xenstored.pid)"
    check "without xenstored, status says so" await 10000 store_says false
    check "… with a reason ($(get store.why))" [ -n "$(get store.why)" ]
    rm -f /run/xenstored.pid
    xenstored --pid-file /run/xenstored.pid
    check "when it is back, squeezed is" await 10000 store_says true
    check "… and says what was lost ($(get store.why))" \
        contains "$(get store.why)" "lost their ranges"
    check "the reservation is there" \
        [ "$(get "reservations.reservation=$granted.amount_kib")" = $amount ]
    check "… and in xenstore again" \
        await 10000 quietly xenstore-read $reservation
    look
    check "domains without ranges are left alone" \
        [ "$(get domains.domid=1.state)" = unmanaged ]
    check "… and status adds up" adds_up
    check "the log says so once" \
        [ "$(grep -c 'no xenstore at .*: xenstored closed' \
            /out/squeezed.log)" = 1 ]
}
