#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion: each verb and option that a tool has is offered, and the
# names of domains.  Runs where it was built.
set -u

source=$(cd "${srcdir:-.}" && pwd)
dir=$(mktemp -d) || exit 99
failed=0
export PATH="$PWD:$PWD/squeezed:$PATH"
printf '[host]\nmemory = 4G\n[domain 1]\nname = web\nactual = 1G\n%s' \
    '[domain 2]
name = webmail
actual = 1G
' >"$dir/host"
squeezed/squeezed --simulate "$dir/host" --socket "$dir/socket" \
    >"$dir/log" 2>&1 &
broker=$!
trap 'kill $broker 2>/dev/null; wait $broker; rm -rf "$dir"' EXIT
for _ in $(seq 200); do
    squeezectl --socket "$dir/socket" available >"$dir/out" 2>&1 && break
    sleep 0.02
done

# shellcheck disable=SC1091
. "$source/tools/completion.bash"

# offers WORD... = EXPECTED...: what is offered for the last word.
offers() {
    local expected
    COMP_WORDS=()
    while [ "$1" != = ]; do
        COMP_WORDS+=("$1")
        shift
    done
    shift
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    local given="${COMP_WORDS[*]}"
    _squeezed_complete "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" \
        "${COMP_WORDS[COMP_CWORD - 1]}"
    expected=$(printf '%s\n' "$@" | sort)
    if [ "$(printf '%s\n' "${COMPREPLY[@]}" | sort)" != "$expected" ]; then
        echo "FAILED: '$given' offers '${COMPREPLY[*]}', not '$*'"
        failed=$((failed + 1))
    fi
}

offers squeezectl tr = transfer
offers squeezectl --json st = status
offers squeezectl reserve 1G --h = --help --hold
offers squeezectl reserve --client --w =  '' # a name
offers squeezectl exec 1G --wait --cl = --client
offers squeezectl --socket "$dir/socket" range w = web webmail
offers squeezectl --socket "$dir/socket" range web 1 = ''
offers squeezectl --socket "$dir/socket" transfer 0b7e webm = webmail
offers squeezectl exec 1G -- --h = ''
pushd "$dir" >/dev/null || exit 99
offers squeezesim '/touch ran/e;#' '' = ''
popd >/dev/null || exit 99
[ ! -e "$dir/ran" ] || { echo "FAILED: a word was run"; failed=1; }
offers xl-squeeze sa = save
offers xl-squeeze create --ba = --balloon
offers xl-squeeze --socket "$dir/socket" save web = web webmail
offers xl-squeeze --socket "$dir/socket" save web '' = ''
offers squeezesim --pl = --plot
offers squeezed --ch = --check-config

# All that there is.
for tool in squeezectl xl-squeeze squeezesim squeezed; do
    mapfile -t all < <("$tool" --help | grep -oE '^  --[a-z-]+' | tr -d ' ')
    [ "${#all[@]}" -gt 2 ] || { echo "FAILED: $tool has no options"; failed=9; }
    offers "$tool" -- = "${all[@]}"
done
for tool in squeezectl xl-squeeze; do
    mapfile -t all < <("$tool" --help |
        sed -n '/^verbs:/,/^options:/s/^  \([a-z]\+\).*/\1/p')
    [ "${#all[@]}" -gt 3 ] || { echo "FAILED: $tool has no verbs"; failed=9; }
    offers "$tool" '' = "${all[@]}"
done
[ "$(complete -p xl-squeeze squeezectl | wc -l)" = 2 ] || failed=9

[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
