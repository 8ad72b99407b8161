#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# That the tests named in docs/rules.md, faults.md and memory.md (`file`: `name`,
# `name`) exist, and what ARCHITECTURE.md calls by name.  Usage: check_rules.sh [SOURCE_DIR]
set -eu
top=${1:-${srcdir:-.}}
list=$(mktemp)
trap 'rm -f "$list"' EXIT

# One line per name: FILE NAME.  A name belongs to the last file before it.
for page in rules faults memory; do
    grep -o '`\(check_[a-z_]*\|memory\.py\)`: \(`[a-z_0-9]*`\(, \)\?\)*' "$top/docs/$page.md" |
        sed 's/`//g; s/[:,]//g' |
        awk '{ for (i = 2; i <= NF; i++) print $1, $i }'
done >"$list"

[ "$(wc -l <"$list")" -gt 100 ] || {
    echo "check_rules: hardly any test is named: has their form changed?" >&2
    exit 1
}
bad=0
while read -r file name; do
    case $file in
    *.py) file=clients/$file line="def $name(" ;;
    *) file=$file.c line="START_TEST($name)" ;;
    esac
    grep -q "^$line" "$top/tests/$file" 2>/dev/null || {
        echo "check_rules: there is no test $name in tests/$file" >&2
        bad=1
    }
done <"$list"

# Functions, structs and files: whatever has an underscore within.
for name in $(grep -o '`[a-z][a-z]*_[a-z_]*`' "$top/ARCHITECTURE.md" |
    tr -d '`' | sort -u); do
    grep -rqw "$name" "$top/squeezed" "$top/common" "$top/tools" \
        "$top/tests/local.am" "$top/squeezed/local.am" || {
        echo "check_rules: ARCHITECTURE.md speaks of $name, which isn't there" >&2
        bad=1
    }
done
exit $bad
