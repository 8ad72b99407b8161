# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completion for squeezectl, xl-squeeze, squeezesim and squeezed.  What
# there is comes from the tools' --help, which they print from their tables;
# where files are wanted, or nothing is known, bash completes files.

# Lines "OPTION LABEL" of a help text; flags have no label.
_squeezed_options() {
    sed -n -E 's/^  (--[a-z][a-z-]*)( ([A-Z][A-Z.=]*))?( .*)?$/\1 \3/p'
}

# Lines "VERB LABEL LABEL ...": those that stand for words, without options.
_squeezed_verbs() {
    sed -n '/^verbs:/,/^options:/s/^  \([a-z][a-z]*\)/\1/p' |
        sed -E 's/\[--[^]]*\]//g; s/--.*//; s/[][]//g'
}

_squeezed_domains() { # _squeezed_domains [SOCKET]
    squeezectl ${1:+--socket "$1"} --json status 2>/dev/null |
        grep -oE '"name": "[A-Za-z0-9_.+-]+"' | cut -d '"' -f 4
}

# The label of what comes after that option.
_squeezed_label_of() { # _squeezed_label_of OPTION < lines
    local option label
    while read -r option label; do
        [ "$option" != "$1" ] || echo "$label"
    done
}

_squeezed_complete() {
    local tool=$1 word=$2 previous=$3
    local help options verbs verb='' label='' socket='' i wanted=0
    local labels

    COMPREPLY=()
    help=$("$tool" --help 2>/dev/null) || return 0
    options=$(_squeezed_options <<<"$help")
    verbs=$(_squeezed_verbs <<<"$help")
    for ((i = 1; i < COMP_CWORD; i++)); do
        [ "${COMP_WORDS[i]}" != -- ] || return 0
        if [ "${COMP_WORDS[i]}" = --socket ]; then
            socket=${COMP_WORDS[i + 1]}
        fi
        if [[ ${COMP_WORDS[i]} == -* ]]; then
            [ -z "$(_squeezed_label_of "${COMP_WORDS[i]}" <<<"$options")" ] ||
                i=$((i + 1))
        elif [ -z "$verb" ]; then
            verb=${COMP_WORDS[i]}
            if [ "${tool##*/}" = squeezectl ]; then
                options+=$'\n'$("$tool" "$verb" --help 2>/dev/null |
                    _squeezed_options)
            fi
        else
            wanted=$((wanted + 1))
        fi
    done
    [[ $previous != -* ]] ||
        label=$(_squeezed_label_of "$previous" <<<"$options")
    if [ -z "$label" ] && [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(cut -d ' ' -f 1 <<<"$options")" \
            -- "$word")
        return 0
    fi
    if [ -z "$label" ] && [ -z "$verb" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(cut -d ' ' -f 1 <<<"$verbs")" \
            -- "$word")
        return 0
    fi
    if [ -z "$label" ]; then
        read -r -a labels < <(awk -v verb="$verb" \
            '$1 == verb { sub(/^[^ ]+ ?/, ""); print }' <<<"$verbs")
        label=${labels[wanted]-}
    fi
    case $label in
        DOMAIN)
            mapfile -t COMPREPLY < <(compgen -W "$(_squeezed_domains "$socket")" \
                -- "$word")
            ;;
    esac
}

complete -o default -F _squeezed_complete squeezectl xl-squeeze squeezesim \
    squeezed
