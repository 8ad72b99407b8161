# SPDX-License-Identifier: LGPL-2.1-or-later
# xl-squeeze on a full host.
# shellcheck shell=dash disable=SC3043,SC2046,SC2086,SC2154

nothing_left() { # nothing_left NAME: no domain of it, and no reservation
    peek
    ! xl domid "$1" > /dev/null 2>&1 &&
        [ "$(get host.reserved_kib host.promised_kib | xargs)" = "0 0" ]
}

# Looks at status while process PID lives.  Writes into /tmp/watched how many
# looks there were, how many of them did not add up, and what a and b had given
# at most, together, while the new domain was there.  (Before that the one
# helps out for a moment where the other is late.)
watch_status() { # watch_status PID
    local pid=$1 looks=0 bad=0 given=0 now count
    peek
    count=$(get domains.#)
    while kill -0 $pid 2> /dev/null; do
        peek
        quietly adds_up || bad=$((bad + 1))
        looks=$((looks + 1))
        now=$((a_max + b_max - $(of a target_kib) - $(of b target_kib)))
        [ "$(get domains.#)" -le "$count" ] || [ $now -le $given ] ||
            given=$now
    done
    echo "$looks $bad $given" > /tmp/watched
}

create_watched() { # create_watched ARGUMENTS…: xl-squeeze, watched
    local pid
    xl-squeeze create "$@" > /tmp/xl-squeeze.out 2>&1 &
    pid=$!
    watch_status $pid
    wait $pid && return
    sed 's/^/#   /' /tmp/xl-squeeze.out
    return 1
}

# A machine that does not fit, PV or PVH.
squeeze_in() { # squeeze_in TYPE NAME MIB
    phase "xl-squeeze-$1" $building_kib
    GUEST_TYPE=$1 GUEST_CONFIG_ONLY=1 start-guest "$2" "$3" "$3"
    squeezectl balance
    check "xl-squeeze creates a $1 guest of $3 MiB on a full host" \
        create_watched "/tmp/$2.cfg" || return
    check "… and says what happened ($(cat /tmp/xl-squeeze.out))" \
        grep -q "^$2 has $3.0 MiB: squeezed 2 domains by" /tmp/xl-squeeze.out
    set -- "$1" "$2" "$3" $(cat /tmp/watched)
    check "… status always added up ($4 looks)" [ "$5" = 0 ]
    # What it needs, the overhead, and what building costs.
    check "… nobody is squeezed for it twice ($6 KiB in all)" \
        at_most "$6" $((($3 + 16) * MIB))
    check "… it boots" boots_at_last "$2"
    squeezectl balance
    look
    check "… and status adds up" adds_up
}

case_xl_squeeze() {
    squeeze_in pv web 200
    case_exec
    case_two_at_once
    case_restored
    case_rejected
    case_interrupted
    xl destroy web
    xl destroy one
    xl destroy two
    phase xl-squeeze-gone $reserve_kib
    check "when they are gone the others are back at their maxima" \
        quietly at_maximum 60000
    squeeze_in pvh micro 160
    xl destroy micro
    phase micro-gone $reserve_kib
    check "when it is gone the others are back at their maxima" \
        quietly at_maximum 60000
}

case_two_at_once() {
    local first second
    phase two-at-once $building_kib
    mkdir -p /etc/squeezed/domains.d
    printf '[one]\ndynamic-min = 80M\n' > /etc/squeezed/domains.d/one.conf
    GUEST_CONFIG_ONLY=1 start-guest one 100 100
    GUEST_CONFIG_ONLY=1 start-guest two 110 110
    xl-squeeze create -q /tmp/one.cfg > /tmp/one.out 2>&1 &
    first=$!
    xl-squeeze create -q /tmp/two.cfg > /tmp/two.out 2>&1 &
    second=$!
    check "two at once: the one" wait $first
    check "… and the other" wait $second
    sed 's/^/#   /' /tmp/one.out /tmp/two.out
    check "… boot" boots one
    check "… both" boots two
    squeezectl balance
    look
    check "… the one with the range that is kept for it" [ "$(get \
        domains.name=one.dynamic_min_kib domains.name=one.dynamic_max_kib |
        xargs)" = "$((80 * MIB)) $((100 * MIB))" ]
    check "… no reservation is left over" \
        [ "$(get host.reserved_kib)" = 0 ]
    check "… and status adds up" adds_up
}

# Saved, and restored when others have its memory.
case_restored() {
    mkdir -p /save
    mount -t tmpfs -o size=100% tmpfs /save
    phase saved $building_kib
    check "xl-squeeze save" quietly xl-squeeze save two /save/two
    check "… and it is gone" is_not quietly xl domid two
    squeezectl balance
    check "xl-squeeze restore" quietly xl-squeeze restore /save/two
    umount /save
    check "… it runs" is_running two
    squeezectl balance
    look
    check "… no reservation is left over" \
        [ "$(get host.reserved_kib)" = 0 ]
    check "… and status adds up" adds_up
}

case_rejected() {
    phase rejected $building_kib
    GUEST_CONFIG_ONLY=1 start-guest wrong 100 100
    echo 'vcpus = = [' >> /tmp/wrong.cfg
    check "a configuration that xl rejects ends so" \
        is_not xl-squeeze create -q /tmp/wrong.cfg 2> /tmp/wrong.out
    check "… and nothing is left of it" await 30000 nothing_left wrong
    GUEST_CONFIG_ONLY=1 start-guest wrong 100 100
    sed -i 's/^kernel.*/kernel = "\/no\/kernel"/' /tmp/wrong.cfg
    check "so does one that can't be built" \
        is_not xl-squeeze create -q /tmp/wrong.cfg 2>> /tmp/wrong.out
    check "… and nothing is left of it" await 30000 nothing_left wrong
    sed 's/^/#   /' /tmp/wrong.out
}

# Any command that needs memory, with what it asked for.
case_exec() {
    phase exec $reserve_kib
    check "squeezectl exec runs a command that has 100 MiB" [ "$(squeezectl \
        exec 100M -- env 2> /dev/null | grep '^SQUEEZED_AMOUNT_KIB=')" \
        = SQUEEZED_AMOUNT_KIB=$((100 * MIB)) ]
    peek
    check "… which are released at its end" [ "$(get host.reserved_kib)" = 0 ]
}

# Ctrl-C at ten moments of what the shortest create so far has taken (the first
# one, with nothing in any cache, takes longest).
case_interrupted() {
    local i=1 ended='' left='' status create_ms start_ms took_ms
    phase interrupted $building_kib
    GUEST_CONFIG_ONLY=1 start-guest brief 100 100
    create_ms=$(now_ms)
    check "undisturbed, it is created" xl-squeeze create -q /tmp/brief.cfg
    create_ms=$(($(now_ms) - create_ms))
    timing $create_ms "xl-squeeze create of a PV guest of 100 MiB"
    xl destroy brief
    while [ $i -le 10 ]; do
        start_ms=$(now_ms)
        (
            usleep $((create_ms * 1000 * i / 11))
            kill -INT $(pidof xl-squeeze)
        ) 2> /dev/null &
        xl-squeeze create -q /tmp/brief.cfg >> /tmp/brief.out 2>&1
        status=$?
        took_ms=$(($(now_ms) - start_ms))
        wait $!
        # It may have been done already.
        if [ $status = 0 ]; then
            [ $took_ms -ge $create_ms ] || create_ms=$took_ms
            xl destroy brief
        fi
        ended="$ended $status"
        await 30000 nothing_left brief || left="$left $i"
        i=$((i + 1))
    done
    check "Ctrl-C at ten moments (exit statuses$ended): nothing is left" \
        [ -z "$left" ]
    check "… and it took everything back at five of them or more" \
        [ "$(echo "$ended" | tr ' ' '\n' | grep -c 130)" -ge 5 ]
    look
    check "… and status adds up" adds_up
    ! grep -v 'taking everything back' /tmp/brief.out | sed 's/^/#   /' ||
        true
}
