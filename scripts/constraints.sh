#!/bin/sh
# Resolve constraints/ anew from pyproject.toml; each file pins one environment completely, for Python 3.11 and up.
set -eu

resolve() { # FILE AIRFLOW [OPTION…]
    file=$1 airflow=$2
    shift 2
    echo "== constraints/$file.txt"
    echo "apache-airflow$airflow" | .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
        --no-header --no-annotate --extra local --group test "$@" \
        --output-file "constraints/$file.txt" --upgrade pyproject.toml -
}

# The lowest versions that pyproject.toml allows; what these need themselves is of the time of the
# amazon provider's lowest version. The Airflows between come with what there was in their time.
resolve oldest ==2.11.0 --resolution lowest-direct --exclude-newer 2026-01-20
resolve 3.0 '==3.0.*' --exclude-newer 2026-01-20
resolve 3.1 '==3.1.*' --exclude-newer 2026-04-10
resolve 3.2 '==3.2.*' --exclude-newer 2026-06-15
resolve newest '<4' --group lint --group mutation --group system

echo "== constraints/awscli.txt"
echo awscli | .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
    --output-file constraints/awscli.txt --upgrade -
