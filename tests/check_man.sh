#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The manual says what the programs have: verbs, options, configuration keys
# with their defaults, methods and errors; nothing less and nothing else.
# Runs where it was built; srcdir is where the sources are.
set -u

man=${srcdir:-.}/man
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

# same WHAT: the program's names (expected) and the page's (found) are equal.
same() {
    sort -u "$dir/expected" >"$dir/1"
    sort -u "$dir/found" >"$dir/2"
    [ -s "$dir/1" ] || fail "$1: the program has none"
    missing=$(comm -23 "$dir/1" "$dir/2" | tr '\n' ' ')
    beyond=$(comm -13 "$dir/1" "$dir/2" | tr '\n' ' ')
    [ -z "$missing" ] || fail "$1: not in the manual: $missing"
    [ -z "$beyond" ] || fail "$1: in the manual alone: $beyond"
}

# The long options that a text from a program has, and those that a page
# explains.
options_of_help() {
    grep -oE -e '--[a-z][a-z-]+' "$dir/help"
}
options_of_page() {
    sed -n 's/^\.It Fl -\([a-z-]*\).*/--\1/p' "$1"
}

# item PAGE NAME: what the page says below `.It Ic NAME`.
item() {
    awk -v name="$2" '
        /^\.(It Ic|Ss|Sh) / { inside = 0 }
        $1 == ".It" && $2 == "Ic" && $3 == name { inside = 1 }
        inside' "$1"
}

### all pages
for page in "$man"/*.[1-8]; do
    if command -v mandoc >/dev/null; then
        mandoc -Tlint -Wwarning "$page" || fail "$page: mandoc complains"
    fi
done
command -v mandoc >/dev/null || echo "no mandoc: the pages' form is unchecked"

### squeezectl(1)
./squeezectl --help >"$dir/help" || fail "squeezectl --help"
sed -n '/^verbs:/,/^options:/s/^  \([a-z]*\).*/\1/p' "$dir/help" |
    sed '/^$/d' >"$dir/expected"
sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man/squeezectl.1" >"$dir/found"
same "squeezectl's verbs"
options_of_help >"$dir/expected"
options_of_page "$man/squeezectl.1" >"$dir/found"
same "squeezectl's options"

### xl-squeeze(1)
./xl-squeeze --help >"$dir/help" || fail "xl-squeeze --help"
sed -n '/^verbs:/,/^options:/s/^  \([a-z][a-z]*\).*/\1/p' "$dir/help" \
    >"$dir/expected"
sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man/xl-squeeze.1" >"$dir/found"
same "xl-squeeze's verbs"
sed -n '/^options:/,$p' "$dir/help" >"$dir/help2"
mv "$dir/help2" "$dir/help"
options_of_help >"$dir/expected"
options_of_page "$man/xl-squeeze.1" >"$dir/found"
same "xl-squeeze's options"

### squeezed(8)
squeezed/squeezed --help >"$dir/help" || fail "squeezed --help"
options_of_help >"$dir/expected"
options_of_page "$man/squeezed.8" >"$dir/found"
same "squeezed's options"

### squeezed.conf(5)
tests/list_names >"$dir/names" || fail "tests/list_names"
sed -n 's/^key \([^ ]*\).*/\1/p' "$dir/names" >"$dir/expected"
sed -n 's/^\.It Ic \([^ ]*\).*/\1/p' "$man/squeezed.conf.5" >"$dir/found"
same "the keys of squeezed.conf"

# says KEY FLAGS FLAG TEXT: the page has TEXT below KEY if, and only if, FLAG is
# among the key's flags.
says() {
    case " $2 " in
        *" $3 "*) grep -qF "$4" "$dir/item" || fail "$1: no '$4'" ;;
        *) ! grep -qF "$4" "$dir/item" || fail "$1: '$4' isn't true" ;;
    esac
}
grep '^key ' "$dir/names" >"$dir/keys"
while read -r _ key value flags; do
    item "$man/squeezed.conf.5" "$key" >"$dir/item"
    case " $flags " in
        *' foreign '*) continue ;; # these have no text of their own
    esac
    grep -qxF ".It Ic $key Pq Li $value" "$dir/item" ||
        fail "squeezed.conf(5): $key's default is $value"
    says "$key" "$flags" idle 'Without effect yet.'
    says "$key" "$flags" fixed 'Read at start only.'
done <"$dir/keys"

# The example has each key at its default.
sed -n 's/^#\([a-z-]*\) = \(.*\)/\1 \2/p' "${srcdir:-.}/squeezed.conf" \
    >"$dir/found"
grep -v ' foreign' "$dir/names" | sed -n 's/^key \([^ ]* [^ ]*\).*/\1/p' \
    >"$dir/expected"
same "the keys and defaults of the example squeezed.conf"

### squeezed-api(7)
sed -n 's/^method //p' "$dir/names" >"$dir/expected"
sed -n 's/^\.It Ic \([^ ]*\).*/\1/p' "$man/squeezed-api.7" >"$dir/found"
same "the methods"
sed -n 's/^event //p' "$dir/names" >"$dir/expected"
sed -n 's/^\.It Em \([^ ]*\).*/\1/p' "$man/squeezed-api.7" >"$dir/found"
same "the events"
sed -n 's/^metric //p' "$dir/names" >"$dir/expected"
sed -n 's/^\.It Cm \([^ ]*\).*/\1/p' "$man/squeezed-api.7" >"$dir/found"
same "the metrics"
sed -n 's/^error //p' "$dir/names" >"$dir/expected"
sed -n 's/^\.It \(-[0-9]*\) Ta \([^ ]*\).*/\1 \2/p' "$man/squeezed-api.7" \
    >"$dir/found"
same "the errors"

[ $failed = 0 ] || { echo "$failed checks failed"; exit 1; }
