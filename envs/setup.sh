#!/bin/sh
# Makes .venv at the root of the clone from the locked dependency set.
#
# Needs a Python 3 with pip, and Python 3.12 itself: the one on PATH, one of pyenv's,
# or one that uv downloads. FOLDMILL_PYTHON names another. With --dev first, what tests
# and documents the project comes along. Extra arguments go to `uv sync` (for example:
# --extra cuda12).
set -eu
cd "$(dirname "$0")/.."

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    # Debian's Python refuses a plain `pip install`; a folder of our own never clashes.
    [ -x .uv/bin/uv ] || python3 -m pip install --quiet --target .uv uv==0.13.9
    uv=.uv/bin/uv
fi

find_python() {
    for candidate in "${FOLDMILL_PYTHON:-}" python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo 3.12
}

# Every cluster job starts Python four times, and may not write beside its modules.
export UV_COMPILE_BYTECODE=1
quiet=--quiet
[ -t 2 ] && quiet=
if [ "${1:-}" != --dev ]; then
    echo "Setting up .venv: what runs campaigns, 1.7 GB"
    # What is there already stays: development tools, a GPU's libraries.
    exec "$uv" sync $quiet --locked --no-default-groups --inexact \
        --python "$(find_python)" "$@"
fi
shift
echo "Setting up .venv: what runs campaigns, tests and documents, 4 GB"
"$uv" sync $quiet --locked --inexact --python "$(find_python)" "$@"
# XLA's compiler for GPUs, in a folder of its own: the tests compile for cards that are
# not here. Inside .venv it would complain of a missing driver at every start.
exec "$uv" pip install --quiet --no-deps --python .venv/bin/python \
    --target .venv/lowering --requirement tests/kernels/lowering.txt
