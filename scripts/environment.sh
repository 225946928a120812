#!/bin/sh
# Make a virtual environment that holds exactly what a file of constraints/ pins, and nothing outside the checkout.
#   scripts/environment.sh DIRECTORY CONSTRAINTS [editable [PYTHON-VERSION]]
set -eu

directory=$1 constraints=$2 editable=${3:-} version=${4:-}
uv=uv==0.13.9

python=${PYTHON:-python3}
if [ -n "$version" ]; then
    python=$(scripts/python.sh "$version")
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Python 3.11 or newer is needed, and $python is $("$python" -V 2>&1): run make PYTHON=python3.11 …" >&2
    exit 1
fi

# pip and uv trust what the system and SSL_CERT_FILE trust, as a company's proxy with certificates of its own needs.
certificates=$("$python" -c '
import os, ssl
paths = ssl.get_default_verify_paths()
print(paths.cafile or (paths.capath if paths.capath and os.listdir(paths.capath) else ""))')
if [ -n "$certificates" ]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" PIP_CERT="${PIP_CERT:-$certificates}"
fi

echo "== $directory: installing $constraints ($("$python" -V))"
rm -rf "$directory"
"$python" -m venv "$directory"

# uv takes seconds where pip takes minutes; where it cannot be had, or fails, pip does the same.
if "$directory/bin/pip" install --quiet "$uv" &&
    "$directory/bin/uv" pip install --quiet --python "$directory/bin/python" --requirement "$constraints"
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
