#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A shell in dom0 of a fresh Xen host inside QEMU, to look around by hand:
#
#   shell.sh [BUILD_DIR]            (default: the current one)
#
# It is in /job, with what BUILD_DIR has of squeezed and the tests' programs.
# To begin with: `start-guest a 256 512`, `squeezed --config squeezed.conf &`,
# `squeezectl status`.
# End it with `exit`; what it leaves in /out is then in BUILD_DIR/xen-shell.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:-.}" && pwd)

job=$(mktemp -d)
trap 'rm -rf "$job"' EXIT
for p in squeezed/squeezed squeezectl xl-squeeze tests/xen/{memory-sampler,json-get,domain-probe,domain-builder,post}; do
    [ ! -x "$build/$p" ] || cp "$build/$p" "$job/"
done
cp "$(command -v setpriv)" "$job/"
sed -n 's/^CapabilityBoundingSet=//p' \
    "$here/../../squeezed/squeezed.service.in" > "$job/capabilities"
cp -R "$here"/{cases.sh,tools.sh,cases,dom0-lib.sh,squeezed.conf} "$job/"
"$here/run-in-xen.sh" --files "$job" --out "$build/xen-shell" --shell
