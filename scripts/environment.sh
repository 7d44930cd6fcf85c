# Sourced by scripts/train and scripts/test, which set $root.
# `find_python [MODULE ...]` sets $python to an interpreter that has tftrain (and the modules named):
# that of the active environment where it serves, else that of .venv, made or brought up to date first.

venv="$root/.venv"
stamp="$venv/tftrain.stamp"           # present: .venv is complete, and this is what it was made from
unfinished="$venv/tftrain.unfinished" # present: .venv is ours, and an installation began but did not end
constraints="$root/scripts/constraints.txt"
interpreters=(python3 python3.13 python3.12 python3.11 python3.10)

say() { printf 'tftrain: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

version_of() {
    local answer
    answer="$("$1" -V 2>/dev/null)" || answer=""
    answer="${answer#Python }"
    printf '%s' "${answer:-missing}"
}

find_python() {
    python="$venv/bin/python"
    if serves_active "$@"; then
        python="$VIRTUAL_ENV/bin/python"
    elif ! is_ready; then
        exec 9<"$root/setup.cfg"
        take_turn
        is_ready || make_ready "$@"
        exec 9<&-
    fi
}

serves_active() {
    [[ -z ${PYTHON:-} && -n ${VIRTUAL_ENV:-} && ! $VIRTUAL_ENV -ef $venv ]] || return 1
    has_modules "$VIRTUAL_ENV/bin/python" || return 1
    has_modules "$VIRTUAL_ENV/bin/python" "$@" && return
    say "the active environment has tftrain but not all of: $*; using .venv"
    return 1
}

# Whether interpreter $1 has tftrain installed from this repository, and every other module named.
has_modules() {
    "$1" -I - "$root" "${@:2}" 2>/dev/null <<'PYTHON_ENDS'
import sys
from importlib.util import find_spec
from pathlib import Path
root, *others = sys.argv[1:]
package = find_spec("tftrain")
here = package and Path(package.origin).resolve().parent.parent == Path(root)
sys.exit(not (here and all(map(find_spec, others))))
PYTHON_ENDS
}

is_ready() {
    [[ -f $stamp && "$(<"$stamp")" == "$(origin; inputs)" ]]
}

# Where .venv stands and its Python: a change of either means making it anew.
origin() { printf '%s\nPython %s\n' "$root" "$(version_of "${PYTHON:-$python}")"; }

# What is installed in it: a change means installing again on top.
inputs() { (cd "$root" && cksum setup.cfg pyproject.toml scripts/constraints.txt); }

# One call at a time: a second one waits until the first has finished .venv, and then uses it.
take_turn() {
    command -v flock >/dev/null || return 0
    flock -n 9 && return
    say "another call is making .venv; waiting for it"
    flock 9
}

make_ready() {
    local began=$SECONDS
    if [[ -f $stamp && "$(head -n 2 "$stamp")" == "$(origin)" ]]; then
        say "setup.cfg, pyproject.toml or scripts/constraints.txt changed: bringing .venv up to date"
        mv "$stamp" "$unfinished"
    elif [[ -d $venv && ! -f $stamp && ! -f $unfinished && -n "$(ls -A "$venv")" ]]; then
        has_modules "$python" "$@" && return
        fail "$venv was not made by these scripts, and does not have all of: ${*:-tftrain}." \
            "Install into it (pip install --editable '.[test]'), or move it away and call again."
    else
        make_venv
        say "installing TensorFlow and the rest (0.8 GB to download, 2.6 GB on disk; some minutes)"
    fi
    install_packages || fail "the installation did not succeed; the reason is above. The next call starts it again."
    write_schema
    { origin; inputs; } >"$unfinished"
    mv "$unfinished" "$stamp"
    say ".venv is ready after $((SECONDS - began)) s"
}

make_venv() {
    choose_interpreter
    say "making ${venv#"$root/"} with Python $(version_of "$interpreter")"
    mkdir -p "$venv"
    : >"$unfinished"
    find "$venv/" -mindepth 1 ! -name "${unfinished##*/}" -delete
    if "$interpreter" -c 'import ensurepip' 2>/dev/null; then
        "$interpreter" -m venv "$venv"
    else
        # Debian and its kin keep ensurepip in a package of its own.
        say "this Python cannot make an environment by itself: fetching virtualenv"
        pip_install "$interpreter" --target "$venv/tftrain.virtualenv" virtualenv
        PYTHONPATH="$venv/tftrain.virtualenv" "$interpreter" -m virtualenv --quiet "$venv"
        rm -rf "$venv/tftrain.virtualenv"
    fi
}

choose_interpreter() {
    local name tried=""
    for name in "${PYTHON:-}" "${interpreters[@]}"; do
        [[ -n $name ]] || continue
        interpreter="$name"
        [[ "$(version_of "$name")" =~ ^3\.1[0-3]\. ]] && return
        tried+=", $name is $(version_of "$name")"
        [[ -z ${PYTHON:-} ]] || break
    done
    fail "tftrain needs Python 3.10 to 3.13: ${tried#, }. Set PYTHON to the one to use: PYTHON=/path/to/python3 $0"
}

install_packages() {
    pip_install "$python" setuptools && pip_install "$python" --no-build-isolation --editable '.[test]'
}

# The JSON Schema that the example configs name, for completion in editors; its components are those of the installed Keras.
write_schema() {
    [[ -d $root/configs ]] || return 0
    "$python" -m tftrain schema >"$root/configs/schema.json" || fail "configs/schema.json could not be written"
}

pip_install() {
    (cd "$root" && PYTHONWARNINGS=ignore "$1" -m pip install --disable-pip-version-check --progress-bar off \
        --constraint "$constraints" "${@:2}" 2>&1 >&3 | show_errors) 3>&1 | show_progress
}

# Of the many things pip says, those a person waits for.
show_progress() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ Downloading\ ([^-]+)-.*\ \(([0-9]{2,})(\.[0-9])?\ MB\) ]]; then
            say "  downloading ${BASH_REMATCH[1]}, ${BASH_REMATCH[2]} MB"
        elif [[ $line == "Installing collected packages:"*tensorflow* ]]; then
            say "  unpacking, about a minute"
        fi
    done
}

# All that pip complains of, without warnings that change nothing; a network that does not answer is worth a line.
show_errors() {
    local line
    while IFS= read -r line; do
        case $line in
            *WARNING:*Retrying*) say "  ${line#*WARNING: }" ;;
            *WARNING:* | *DEPRECATION:*) ;;
            *) printf '%s\n' "$line" >&2 ;;
        esac
    done
}
