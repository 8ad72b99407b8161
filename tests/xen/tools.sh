#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# In dom0: squeezed as toolstacks and administrators use it, on a host that two
# PV guests, a and b, fill.  squeezed speaks to xenstored over the kernel's
# device.
#
# The sizes: 2048 MiB less dom0's 640, Xen's own 33 and the reserve of 72 leave
# 1303.  The ranges end at 1290 together, and begin at 240.
# shellcheck source=tests/xen/dom0-lib.sh disable=SC3043,SC2046,SC2154,SC2034
. ./dom0-lib.sh

a_boot=$((128 * MIB)) a_min=$((128 * MIB)) a_max=$((700 * MIB))
b_boot=$((128 * MIB)) b_min=$((112 * MIB)) b_max=$((590 * MIB))

at_maximum() { # at_maximum TIMEOUT_MS: prints how long it took
    domain-probe wait "$1" 1=$a_max 2=$b_max
}

settle() { # all that is on its way has arrived
    squeezectl balance
    look
}

for topic in device folder handover limits memory brake manual xlsqueeze xlbroker \
    reboot hostile promptness; do
    # shellcheck source=/dev/null
    . "./cases/$topic.sh"
done

config=device.conf
{
    cat squeezed.conf
    echo "xenstore = /dev/xen/xenbus"
} > $config

start_sampler
case_device
if at_maximum 60000 > /dev/null; then
    case_folder
    case_handover
    case_manual
    case_target
    case_freeze
    case_memory
    case_brake
    case_xl_squeeze
    case_broker
    case_reboot
    case_hostile
fi
stop_sampler
case_floors
case_prompt
xenstore-ls -f > /out/xenstore.txt
kill_squeezed -TERM
finish
