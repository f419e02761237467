#!/bin/sh
# Makes .uv/bin/uv, in the version and with the hash of requirements/uv.txt, and an empty .venv, on a machine that has
# nothing but Python 3.11 or newer. What is there already and fits is left as it is. Says in a sentence what is missing.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf 'sluiceway: %s\n' "$1" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# PYTHON if it is set, else python3, else a newer one that is installed beside an old python3.
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

uv_fits() {
    [ "$("$1" --version 2>/dev/null | cut -d ' ' -f 2)" = "$uv_version" ]
}

# In a venv of its own, or, where Debian has no python3-venv, with a pip of the system into a folder.
install_uv() {
    rm -rf .uv
    if "$python" -m venv .uv >/dev/null 2>&1; then
        .uv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
            --require-hashes -r requirements/uv.txt && return
        fail "installing uv failed (see above). Is a package index reachable, and is there a wheel of uv for this machine?"
    fi
    rm -rf .uv
    "$python" -m pip --version >/dev/null 2>&1 ||
        fail "$python has neither venv with ensurepip nor pip. On Debian and Ubuntu: apt-get install python3-venv"
    "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        --target .uv --require-hashes -r requirements/uv.txt ||
        fail "installing uv failed (see above). Is a package index reachable, and is there a wheel of uv for this machine?"
}

python=$(find_python)
[ -n "$python" ] ||
    fail "Python 3.11 or newer is needed; ${PYTHON:-python3} is $(${PYTHON:-python3} --version 2>&1 || true). PYTHON=/path/to/python3.12 names another one."

uv_version=$(sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements/uv.txt)
if ! uv_fits .uv/bin/uv; then
    if uv_fits uv; then
        rm -rf .uv && mkdir -p .uv/bin && ln -s "$(command -v uv)" .uv/bin/uv
    else
        install_uv
    fi
fi

# A venv whose Python has gone (an upgrade of the system) is made anew.
new_enough .venv/bin/python ||
    UV_PYTHON_DOWNLOADS=never .uv/bin/uv venv --quiet --clear --no-project --python "$python" .venv
