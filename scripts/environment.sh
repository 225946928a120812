#!/bin/sh
# Make a virtual environment that holds exactly what a file of constraints/ pins, and nothing outside the checkout.
#   scripts/environment.sh DIRECTORY CONSTRAINTS [editable]
set -eu

directory=$1 constraints=$2 editable=${3:-}
python=${PYTHON:-python3}
uv=uv==0.13.9

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed, and $python is $("$python" -V 2>&1): run make PYTHON=python3.11 …" >&2
    exit 1
fi

echo "== $directory: installing $constraints ($("$python" -V))"
rm -rf "$directory"
"$python" -m venv "$directory"

# uv takes seconds where pip takes minutes; where it cannot be had, or fails, pip does the same.
if "$directory/bin/pip" install --quiet "$uv" &&
    "$directory/bin/uv" pip install --quiet --compile-bytecode --python "$directory/bin/python" --requirement "$constraints"
then
    install="$directory/bin/uv pip install --quiet --python $directory/bin/python"
else
    echo "== $directory: uv failed, going on with pip"
    install="$directory/bin/pip install --quiet"
    $install --requirement "$constraints"
fi
if [ -n "$editable" ]; then
    # With its requirements: this fails when pyproject.toml asks for what the constraints do not give.
    $install --constraint "$constraints" --no-build-isolation --editable '.[local]'
fi
