#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# In dom0: squeezed on a real Xen host, seen as its administrator sees it.  One
# boot, in this order; what a topic needs is in its file below cases/.
#
# Three guests fill the host: a and b are PV, c is PVH.  Others get their memory
# from them.
#
# The sizes: 2048 MiB less dom0's 640 and Xen's own 33 leave 1375.  The ranges
# end at 1280 together: with the reserve of 72 the host is full.  They begin at
# 400 together.  The fourth guest takes 258; while it is built before the
# transfer, its memory and the reservation are two things (squeezed can't know
# better), so that 516 + 72 + 400 must fit.
# shellcheck source=tests/xen/dom0-lib.sh disable=SC3043,SC2046,SC2154,SC2034
. ./dom0-lib.sh

a_boot=$((128 * MIB)) a_min=$((128 * MIB)) a_max=$((540 * MIB))
b_boot=$((128 * MIB)) b_min=$((112 * MIB)) b_max=$((420 * MIB))
c_boot=$((160 * MIB)) c_min=$((160 * MIB)) c_max=$((320 * MIB))

at_maximum() { # at_maximum TIMEOUT_MS: prints how long it took
    domain-probe wait "$1" 1=$a_max 2=$b_max "$c_id"=$c_max
}

# What 258 MiB took to be freed, they may take to be taken again: four times
# that, and 2 s for the way of a domain that dies.
returns_in() { # returns_in MS
    at_most "$1" "$(awk -v s="$squeeze_ms" 'BEGIN { print 2000 + 4 * s }')"
}

# The state after grants and builds: even shares, everything counted.
check_even() { # check_even WHEN
    squeezectl balance
    look
    set -- "$1" $(how_even a b c)
    # What squeezed leaves alone at rest: half the tolerance (what one is short
    # of others have).
    check "$1: same ratio for all ($3/1000; the worst is $2 KiB off)" \
        at_most "$2" 256
    check "$1: the guests hold their targets (within $4 KiB)" at_most "$4" 72
    check "$1: status adds up" adds_up
}

for topic in auto range requests killed limits pvh deaf hog theft save zero \
    promptness xenstored; do
    # shellcheck source=/dev/null
    . "./cases/$topic.sh"
done

start_sampler
case_can
case_late
case_pvh_boots
if at_maximum 60000 > /dev/null; then
    case_full
    case_range
    case_limit
    case_impossible
    case_fourth_guest
    case_killed
    case_uuid
    case_killed_squeezing
    case_offset
    case_hog
    case_theft
    case_deaf
    case_shut_down
    case_uncooperative
    case_save
    case_zero
fi
stop_sampler
case_floors
case_prompt
xenstore-ls -f > /out/xenstore.txt
case_xenstored
kill_squeezed -TERM
finish
