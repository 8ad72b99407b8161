#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boot a real Xen host inside QEMU and run one shell command line in its dom0.
#
#   run-in-xen.sh [options] -- 'shell commands'
#   run-in-xen.sh [options] --shell
#
#   --files DIR     copy DIR into dom0 as /job (the commands start there); the
#                   programs in it get the libraries that they are linked to
#   --guest DIR     copy DIR into every guest as /job, likewise; a guest runs
#                   /job/start, if there is one, when it has booted
#   --out DIR       fill DIR with what the commands leave in dom0's /out, and
#                   with the logs of Xen, of dom0 and of the guests
#   --timeout SEC   give up after SEC seconds (default 600)
#   --memory MIB    memory of the Xen host (default 3072)
#   --dom0 MIB      memory of dom0 (default 640)
#   --cpus N        processors of the Xen host (default 2)
#   --accel NAME    auto (default: KVM if Xen runs under it, or TCG), kvm, tcg
#   --xenstored P   xenstored (default) or oxenstored
#   --shell         no commands: an interactive shell (default time-out 8 h)
#   --verbose       show the console of Xen and dom0 on stderr
#
# Standard output is the commands' stdout and stderr; the exit status is
# theirs.  124: they took too long.  125: the harness failed; stderr says how.
# 77: it can't run on this machine; stderr says why.
#
# In dom0 there are xenstored, xenconsoled, xl, the xenstore-* tools, busybox's
# commands, and `start-guest` (which see).  Nothing in it needs a disk or a
# network.  It needs Debian 12, for Xen 4.17, and root or sudo if packages are
# missing.  Do not start guests at the same time: under TCG that is far slower
# than one after another.
#
# Xen and the kernel are fetched once, by apt, into $SQUEEZED_XEN_CACHE
# (default /var/tmp/squeezed-xen-UID).  Remove the folder to renew them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${SQUEEZED_XEN_CACHE:-/var/tmp/squeezed-xen-$(id -u)}
xen=4.17

files='' guest_files='' out='' limit='' memory=3072 dom0=640 cpus=2
accel=auto xenstored=xenstored shell='' verbose=''

say() { echo "run-in-xen: $*" >&2; }
die() { say "$*"; exit 125; }
skip() {
    say "can't run here: $*"
    [ -z "$out" ] || { mkdir -p "$out" && echo "$*" > "$out/skipped"; }
    exit 77
}

while [ $# -gt 0 ]; do
    case $1 in
        --files)     files=$2; shift ;;
        --guest)     guest_files=$2; shift ;;
        --out)       out=$2; shift ;;
        --timeout)   limit=$2; shift ;;
        --memory)    memory=$2; shift ;;
        --dom0)      dom0=$2; shift ;;
        --cpus)      cpus=$2; shift ;;
        --accel)     accel=$2; shift ;;
        --xenstored) xenstored=$2; shift ;;
        --shell)     shell=1 ;;
        --verbose)   verbose=1 ;;
        --help)      sed -n '3,/^set -/s/^# \{0,1\}//p' "$0"; exit ;;
        --)          shift; break ;;
        *)           die "unknown option: $1" ;;
    esac
    shift
done
if [ -n "$shell" ]; then
    [ $# -eq 0 ] || die "--shell takes no commands"
    limit=${limit:-28800}
    commands='stty -F /dev/ttyS1 sane
exec setsid sh -c "exec sh -i < /dev/ttyS1 > /dev/ttyS1 2>&1"'
else
    [ $# -eq 1 ] || die "give the commands as one argument after --"
    limit=${limit:-600}
    commands=$1
fi

# --- the work directory, and how it goes away --------------------------------

work=$(mktemp -d)
new_cache='' qemu_pid='' tail_pids=()
cleanup() {
    local pid
    for pid in $qemu_pid "${tail_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$work" ${new_cache:+"$new_cache"}
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- what this machine must have ---------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$'
}

need_packages() { # install those of the named packages that are missing
    local p missing=()
    for p in "$@"; do
        is_installed "$p" || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    { as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
            --no-install-recommends "${missing[@]}"; } >&2 ||
        skip "these packages are missing: ${missing[*]} (apt-get install them)"
}

download() { # download PACKAGE: into the current directory
    apt-get download -qq "$1" > log 2>&1 && return
    # The lists may be too old, or not there at all.
    as_root apt-get update -qq >> log 2>&1
    apt-get download -qq "$1" >> log 2>&1
}

unpack() { # unpack ROOT PACKAGE PATTERN...: those files of a package
    local root=$1 package=$2
    shift 2
    mkdir -p "$root/deb"
    (cd "$root/deb" && download "$package") || {
        cat "$root/deb/log" >&2
        skip "apt can't download $package"
    }
    dpkg-deb --fsys-tarfile "$root"/deb/*.deb |
        tar -x -C "$root" --wildcards "$@"
    rm -r "$root/deb"
}

# Take the ELF file out of the kernel's bzImage, once; Xen and xl would do so
# slowly for dom0 and for each guest.  The boot header says where it is; it
# ends in four bytes that are not xz's.
extract_vmlinux() { # extract_vmlinux BZIMAGE > ELF
    local setup_sectors offset length
    setup_sectors=$(od -An -tu1 -j $((0x1f1)) -N1 "$1")
    read -r offset length < <(od -An -tu4 -j $((0x248)) -N8 "$1")
    dd if="$1" status=none bs=1M iflag=skip_bytes,count_bytes \
        skip=$(((setup_sectors + 1) * 512 + offset)) count=$((length - 4)) |
        xz -dc
}

kernel_package() {
    apt-cache depends linux-image-amd64 2>/dev/null |
        sed -n 's/.*Depends: \(linux-image-.*\)/\1/p'
}

# Xen and the kernel are unpacked, not installed: this machine does not boot
# them.  The kernel, for dom0 and for the guests, is Debian's plain one: its
# "cloud" kernel has no CONFIG_XEN_DOM0.  The folder gets its name only when it
# is complete.
fill_cache() {
    local kernel
    [ ! -e "$cache/ready" ] || return 0
    say "fetching Xen and a kernel into $cache"
    kernel=$(kernel_package)
    if [ -z "$kernel" ]; then
        as_root apt-get update -qq >&2 || true
        kernel=$(kernel_package)
    fi
    [ -n "$kernel" ] || skip "apt knows no linux-image-amd64"
    mkdir -p "$(dirname "$cache")"
    new_cache=$(mktemp -d "$cache.new-XXXXXX")
    unpack "$new_cache" "xen-hypervisor-$xen-amd64" "./boot/xen-$xen-amd64.gz"
    unpack "$new_cache" "$kernel" './boot/vmlinuz-*' \
        './lib/modules/*/kernel/drivers/xen/*'
    gzip -dc "$new_cache/boot/xen-$xen-amd64.gz" > "$new_cache/xen"
    extract_vmlinux "$new_cache"/boot/vmlinuz-* > "$new_cache/vmlinux"
    rm -r "${new_cache:?}/boot"
    touch "$new_cache/ready"
    rm -rf "$cache"
    mv -T "$new_cache" "$cache"
}

[ "$(uname -sm)" = 'Linux x86_64' ] || skip "this is $(uname -sm), not x86_64"
command -v dpkg-query apt-get > /dev/null || skip "no dpkg and apt"
need_packages qemu-system-x86 busybox-static cpio xz-utils "xen-utils-$xen" \
    xenstore-utils
fill_cache

# --- the initial file systems of dom0 and of a guest -------------------------

add_busybox() { # add_busybox ROOT: it, and the names of its commands
    local name
    cp "$(command -v busybox)" "$1/bin/busybox"
    for name in $(busybox --list); do
        [ "$name" = busybox ] || ln -s busybox "$1/bin/$name"
    done
    ln -s bin "$1/sbin"
}

add_libraries() { # add_libraries ROOT FILE: those that FILE is linked to
    local list lib
    list=$(ldd "$2" 2>/dev/null) || return 0 # no program, or a static one
    case $list in *'not found'*) die "$2 lacks a library: $list" ;; esac
    while read -r lib; do
        case $lib in '' | "$1"/*) continue ;; esac
        mkdir -p "$1$(dirname "$lib")"
        cp -Lu "$lib" "$1$lib"
    done < <(grep -o '/[^ ]*' <<< "$list")
}

add_programs() { # add_programs ROOT FILE...: into its /bin
    local root=$1 f
    shift
    for f in "$@"; do
        cp -L "$f" "$root/bin/"
        add_libraries "$root" "$f"
    done
}

add_job() { # add_job ROOT DIR: DIR, if one was given, as its /job
    local f
    mkdir "$1/job"
    [ -n "$2" ] || return 0
    cp -RL "$2/." "$1/job/"
    while IFS= read -r -d '' f; do
        add_libraries "$1" "$f"
    done < <(find "$1/job" -type f \( -perm /111 -o -name '*.so*' \) -print0)
}

pack() { # pack ROOT: as an archive for the kernel, on stdout
    (cd "$1" && find . -mindepth 1 -print0 |
        cpio --null --quiet --create --format=newc --owner=0:0)
}

make_guest() { # make_guest ROOT
    mkdir -p "$1"/{bin,proc,dev,tmp}
    add_busybox "$1"
    add_programs "$1" /usr/bin/xenstore-{read,write,list,watch}
    install -m 755 "$here/guest-init" "$1/init"
    # what the kernel runs on `xl shutdown` and `xl reboot`
    ln -sf ../init "$1/bin/poweroff"
    ln -sf ../init "$1/bin/reboot"
    add_job "$1" "$guest_files"
}

add_xen_tools() { # add_xen_tools ROOT
    local bin=/usr/lib/xen-$xen/bin
    add_programs "$1" "$bin"/{xl,xenstored,xenconsoled,xen-init-dom0} \
        /usr/bin/xenstore-{chmod,exists,list,ls,read,rm,watch,write}
    # xl save and restore start this one by its path
    mkdir -p "$1$bin"
    cp -L "$bin/libxl-save-helper" "$1$bin/"
    add_libraries "$1" "$bin/libxl-save-helper"
    if [ "$xenstored" != xenstored ]; then
        add_programs "$1" "$bin/$xenstored"
        printf 'xenstored-%s\n' 'kva = /proc/xen/xsd_kva' \
            'port = /proc/xen/xsd_port' > "$1/etc/xen/oxenstored.conf"
    fi
    echo "$xenstored" > "$1/etc/xenstored"
    # glibc looks for this one when a thread is cancelled, as xl does.
    cp -L /lib/x86_64-linux-gnu/libgcc_s.so.1 "$1/lib/x86_64-linux-gnu/"
}

make_dom0() { # make_dom0 ROOT GUEST
    mkdir -p "$1"/{bin,boot,proc,sys,dev,tmp,out,modules,etc/xen,run/xen} \
        "$1"/run/xenstored \
        "$1"/var/{lib/xen,lib/xenstored,lock,log/xen/console}
    ln -s ../run "$1/var/run"
    add_busybox "$1"
    add_xen_tools "$1"
    find "$cache/lib/modules" \( -name 'xen-evtchn.ko' -o -name 'xenfs.ko' \
        -o -name 'xen-privcmd.ko' -o -name 'xen-gntdev.ko' \
        -o -name 'xen-gntalloc.ko' \) -exec cp {} "$1/modules/" \;
    cp "$cache/vmlinux" "$1/boot/vmlinux"
    pack "$2" > "$1/boot/guest.cpio"
    install -m 755 "$here/dom0-init" "$1/init"
    install -m 755 "$here/start-guest" "$1/bin/start-guest"
    add_job "$1" "$files"
    printf '%s\n' "$commands" > "$1/commands"
    # Dom0 gives up first, so that the logs come back.
    echo $((limit > 60 ? limit - 30 : limit)) > "$1/limit"
}

make_guest "$work/guest"
make_dom0 "$work/root" "$work/guest"
pack "$work/root" > "$work/dom0.cpio"
rm -r "$work/root" "$work/guest"
ln -s "$cache/xen" "$cache/vmlinux" "$work/"

# --- boot --------------------------------------------------------------------

# What both leave out, they leave out for speed: TCG is slow.
xen_args="console=com1 com1=115200,8n1 loglvl=info guest_loglvl=warning \
bootscrub=0 dom0=pv dom0_mem=${dom0}M,max:${dom0}M dom0_max_vcpus=1 \
spec-ctrl=no xpti=0 pcid=0 smep=0 smap=0"
linux_args="console=hvc0 quiet panic=1 mitigations=off nokaslr"

# com1: the console of Xen and of dom0.  ttyS1: what the commands print, or the
# shell.  ttyS3: a tar archive of their exit status, of /out and of the logs.
# ttyS2 would need the interrupt of com1, which Xen does not give away.
start_qemu() { # start_qemu ACCEL
    local machine output=(-serial file:stdout)
    case $1 in
        kvm) machine=(-accel kvm -cpu host) ;;
        # rdrand: xl waits for random numbers.  npt: for PVH guests.
        tcg) machine=(-accel "tcg,thread=multi"
            -cpu "qemu64,+rdrand,+svm,+npt") ;;
        *) die "no such accelerator: $1" ;;
    esac
    [ -z "$shell" ] ||
        output=(-chardev "stdio,id=shell,signal=off" -serial chardev:shell)
    for f in console stdout out.tar; do : > "$work/$f"; done
    (cd "$work" && exec qemu-system-x86_64 "${machine[@]}" -m "$memory" \
        -smp "$cpus" -nodefaults -no-user-config -display none -nic none \
        -no-reboot -serial file:console "${output[@]}" -serial none \
        -serial file:out.tar -kernel xen -append "$xen_args" \
        -initrd "vmlinux $linux_args,dom0.cpio" <&3 2> qemu.log) &
    qemu_pid=$!
}

stop_qemu() {
    kill "$qemu_pid" 2>/dev/null || true
    wait "$qemu_pid" 2>/dev/null || true
    qemu_pid=''
}

# KVM is good enough if dom0 comes up under it.  That /dev/kvm can be opened,
# or even that a virtual machine starts, does not prove as much.
kvm_works() {
    [ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
    start_qemu kvm
    for _ in $(seq 150); do
        if grep -q '^dom0 is up' "$work/console"; then return 0; fi
        if grep -q 'KVM internal error' "$work/qemu.log"; then break; fi
        kill -0 "$qemu_pid" 2>/dev/null || break
        sleep 0.2
    done
    stop_qemu
    return 1
}

follow() { # follow FILE: print it as it grows, until QEMU ends
    tail -n +1 -s 0.2 -f --pid="$qemu_pid" "$1" &
    tail_pids+=($!)
}

if [ -n "$shell" ]; then exec 3<&0; else exec 3< /dev/null; fi
SECONDS=0
if [ "$accel" != auto ]; then
    start_qemu "$accel"
elif kvm_works; then
    accel=kvm
else
    accel=tcg
    start_qemu tcg
fi
exec 3<&-

[ -n "$shell" ] || follow "$work/stdout"
[ -z "$verbose" ] || follow "$work/console" >&2
while kill -0 "$qemu_pid" 2>/dev/null; do
    if [ "$SECONDS" -ge "$limit" ]; then
        stop_qemu
        break
    fi
    sleep 0.2
done
wait "${tail_pids[@]}" || true # they end when QEMU has
tail_pids=() qemu_pid=''
say "$SECONDS s with $accel"

# --- what came back ----------------------------------------------------------

mkdir "$work/back"
tar -xzf "$work/out.tar" -C "$work/back" 2>/dev/null || true
if [ -n "$out" ]; then
    mkdir -p "$out"
    cp -R "$work/back/." "$out/"
    cp "$work/console" "$out/xen-console.log"
    cp "$work/stdout" "$out/commands.log"
    cp "$work/qemu.log" "$out/"
fi
if [ ! -s "$work/back/status" ]; then
    cat "$work/qemu.log" >&2
    tail -n 40 "$work/console" >&2
    [ "$SECONDS" -lt "$limit" ] || { say "no end after $limit s"; exit 124; }
    die "dom0 went away without an exit status"
fi
exit "$(cat "$work/back/status")"
