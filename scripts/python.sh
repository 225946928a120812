#!/bin/sh
# Print where the Python of a version is: on the path, of pyenv, or of uv.
#   scripts/python.sh VERSION
set -eu

version=$1

for candidate in \
    "$(command -v "python$version" || :)" \
    "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python \
    "$(.venv/bin/uv python find --no-project "$version" 2>/dev/null || :)"
do
    # What pyenv puts on the path is there for versions too that are not selected, and fails.
    if [ -x "$candidate" ] && "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null
    then
        echo "$candidate"
        exit
    fi
done
echo "Python $version was not found: not as python$version on the path, nor by pyenv or uv. Install it, for example with" >&2
echo "pyenv install $version, or leave this target out." >&2
exit 1
