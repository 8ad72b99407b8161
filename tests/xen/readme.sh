#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# In dom0: README's "On a Xen host with xl: five minutes", word by word, with
# what `make install` installs.  readme.txt has the commands, one a line; what
# builds and installs was done outside.  A line with "# fails" has to.
# shellcheck source=tests/xen/dom0-lib.sh disable=SC3043,SC2046,SC2154
. ./dom0-lib.sh

cp -R root/. /
export PATH="/usr/local/bin:/usr/local/sbin:$PATH"
cp stubs/* /bin/

case_before() {
    say "starting two guests"
    start-guest web 650 650 && start-guest db 600 600
    GUEST_CONFIG_ONLY=1 start-guest new 400 400
    cp /tmp/new.cfg /etc/xen/new.cfg
}

follow() { # follow LINE
    local status=0
    sh -c "$1" > /tmp/said 2>&1 || status=$?
    sed 's/^/#   /' /tmp/said
    case $1 in
        *'# fails'*) check "fails: $1" [ $status != 0 ] ;;
        *) check "$1" [ $status = 0 ] ;;
    esac
    case $1 in
        *xl-squeeze*)
            check "… says what happened" \
                grep -q '^new has 400.0 MiB: squeezed 2 domains by' /tmp/said
            check "… and it boots" env GUEST_WAIT_ONLY=1 start-guest new 400 400
            peek
            check "… status adds up" adds_up
            ;;
    esac
}

case_readme() {
    say "following README"
    local line
    while IFS= read -r line; do
        follow "$line"
    done < readme.txt
    check "web and db have their memory again" \
        [ "$(peek; of web actual_kib) $(of db actual_kib)" = \
        "$((650 * MIB)) $((600 * MIB))" ]
}

touch "$timings"
case_before
case_readme
kill "$(pidof squeezed)"
cp /var/log/squeezed.log /out/
finish
