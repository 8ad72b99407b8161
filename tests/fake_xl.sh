#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Plays xl for xl-squeeze, off Xen.  In FAKE_XL_DIR: a file for each domain
# (dom.DOMID: UUID, name, state as `xl list` has it), and in `calls` each call.
# A configuration is a piece of shell: name="x" type="pv" memory=256.
#   FAKE_BUILD    seconds that building takes (0)
#   FAKE_FAIL     a command that fails; `half`: create fails and leaves a domain
#   FAKE_DOMID    the next domid (one more than the last, from 9 on)
#   FAKE_HELD     that many calls are free; the one after them waits for a file
#                 `go`, before it does anything
#   FAKE_DYING    seconds that a destroyed domain lingers (0)
#   FAKE_CAPS     what the host can do
set -u
dir=$FAKE_XL_DIR
command=$1
shift
echo "$command $*" >>"$dir/calls"
if [ "$(wc -l <"$dir/calls")" = "$((${FAKE_HELD:--9} + 1))" ]; then
    while [ ! -e "$dir/go" ]; do
        sleep 0.02
    done
fi
fails=${FAKE_FAIL:-}

fail() {
    echo "xl: $command fails" >&2
    exit 1
}
[ "$fails" != "$command" ] || [ "$command" = create ] || fail

number() { # of a memory size in MiB
    [ -z "$2" ] || echo "\"$1\": $(($2 * 1024)),"
}

print_json() {
    [ -z "${pci:-}" ] || pci_part=', "pcidevs": [{"dev": 0}]'
    [ -z "${vnuma:-}" ] || vnuma_part=', "vnuma_nodes": [{"memkb": 1}]'
    cat <<END
{"c_info": {"type": "${type:-pv}", "name": "${name:-}",
  "uuid": "${uuid:-$(cat /proc/sys/kernel/random/uuid)}"
  ${hap:+, "hap": "$hap"}},
 "b_info": {"max_vcpus": ${vcpus:-1}, $(number target_memkb "${memory:-}")
  $(number max_memkb "${maxmem:-${memory:-}}")
  $(number shadow_memkb "${shadow_memory:-}")
  "sched_params": {}${vnuma_part:-}}${pci_part:-}}
END
}

# As xl does: behind the first word that is no option there are no more, but
# for a file that comes first of all.
check_order() { # check_order ARGUMENTS...
    words=
    case ${1:-} in
        -* | *=*) ;;
        *) shift ;;
    esac
    while [ $# -gt 0 ]; do
        case $1 in
            -f) shift ;;
            -*) [ -z "$words" ] || fail ;;
            *) words=1 ;;
        esac
        shift
    done
}

new_domid() {
    last=$(cat "$dir/last" 2>/dev/null || echo 8)
    echo "${FAKE_DOMID:-$((last + 1))}" | tee "$dir/last"
}

build() {
    id=$(new_domid)
    echo "$uuid ${name:-} --p---" >"$dir/dom.$id"
    sleep "${FAKE_BUILD:-0}"
    [ "$fails" != half ] || fail
    if [ "$fails" = create ]; then
        rm "$dir/dom.$id"
        fail
    fi
    [ -n "$paused" ] || sed -i 's/--p---/r-----/' "$dir/dom.$id"
}

create() {
    check_order "$@"
    file="" paused="" dry=""
    settings=""
    while [ $# -gt 0 ]; do
        case $1 in
            -p) paused=1 ;;
            -n | --dryrun) dry=1 ;;
            --defconfig=*) file=${1#*=} ;;
            -f) file=$2; shift ;;
            -*) ;;
            *=*) settings="$settings
$1" ;;
            *) file=$1 ;;
        esac
        shift
    done
    # shellcheck disable=SC1090
    . "$file" || exit 1
    eval "$settings"
    [ -z "${bad:-}" ] || { echo "xl: $file: bad = $bad" >&2; exit 1; }
    if [ -n "$dry" ]; then
        print_json
    else
        : "${uuid:=$(cat /proc/sys/kernel/random/uuid)}"
        build
    fi
}

restore() {
    check_order -- "$@"
    paused=""
    while [ $# -gt 0 ]; do
        case $1 in
            -p) paused=1 ;;
            -*) ;;
            *) file=$1 ;;
        esac
        shift
    done
    uuid=$(LC_ALL=C sed -n 's/.*"uuid": "\([^"]*\)".*/\1/p' "$file")
    name=$(LC_ALL=C sed -n 's/.*"name": "\([^"]*\)".*/\1/p' "$file")
    build
}

case $command in
    create) create "$@" ;;
    restore) restore "$@" ;;
    vm-list)
        echo 'UUID                                  ID    name'
        echo '00000000-0000-0000-0000-000000000000  0    Domain-0'
        for file in "$dir"/dom.*; do
            [ -e "$file" ] || continue
            read -r uuid name _ <"$file"
            echo "$uuid  ${file##*.}    $name"
        done
        ;;
    list)
        [ -e "$dir/dom.$1" ] || fail
        read -r _ name state <"$dir/dom.$1"
        echo 'Name                                        ID   Mem VCPUs	State	Time(s)'
        echo "$name    $1   256     1     $state       0.0"
        ;;
    unpause) sed -i 's/--p---/r-----/' "$dir/dom.$1" || fail ;;
    destroy)
        sleep "${FAKE_DYING:-0}"
        rm "$dir/dom.$1" || fail
        ;;
    info) echo "virt_caps              : ${FAKE_CAPS-pv hvm hap shadow}" ;;
    save)
        [ "$fails" != half ] || exit 1
        case " $* " in
            *' -c '*) ;;
            *) rm -f "$dir/dom.${FAKE_DOMID:-3}" ;;
        esac
        ;;
    migrate) rm "$dir/dom.${FAKE_DOMID:-3}" ;;
    console | vncviewer) ;;
    *) echo "fake xl: no $command" >&2; exit 1 ;;
esac
