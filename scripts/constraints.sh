#!/bin/sh
# Resolve constraints/ anew from pyproject.toml; each file pins one environment completely, for Python 3.11 and up.
set -eu

resolve() { # FILE REQUIREMENTS [OPTION…]
    file=$1 requirements=$2
    shift 2
    echo "== constraints/$file.txt"
    printf '%s\n' $requirements | .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
        --no-header --no-annotate --extra local --group test "$@" \
        --output-file "constraints/$file.txt" --upgrade pyproject.toml -
}

# The lowest versions that pyproject.toml allows; what these need themselves is of the time of the amazon provider's
# lowest version, or of the Airflow's if that is later. The Flask of Airflow 2.11 breaks with a newer Werkzeug, which
# Airflow 3 does not hold back. 3.0.3 is the first whose triggerer does not hang when triggers look up connections; in
# the early releases of 3.1 dag.test() does not work.
lowest='--resolution lowest-direct --exclude-newer'
resolve oldest apache-airflow==2.11.0 $lowest 2026-01-20
resolve 3.0-lowest 'apache-airflow==3.0.3 fastapi<0.117 flask>=3' $lowest 2026-01-20
resolve 3.1-lowest 'apache-airflow==3.1.3 flask>=3' $lowest 2026-01-20
resolve 3.2-lowest 'apache-airflow==3.2.0 flask>=3' $lowest 2026-04-10
resolve 3.3-lowest 'apache-airflow==3.3.0 flask>=3' $lowest 2026-09-01

# The newest. The APIs of Airflow 3.0 and 3.2 refuse their own tasks' requests with what is newer than their time.
resolve 2.11 'apache-airflow==2.11.*'
resolve 3.0 'apache-airflow==3.0.* fastapi<0.117' --exclude-newer 2026-01-20
resolve 3.1 'apache-airflow==3.1.*'
resolve 3.2 'apache-airflow==3.2.*' --exclude-newer 2026-06-15
resolve 3.4-pre 'apache-airflow==3.4.0b2 apache-airflow-providers-openlineage' --group system
resolve newest 'apache-airflow<4 apache-airflow-providers-openlineage' --group lint --group mutation --group system --group docs
resolve bench 'apache-airflow<4' --group bench

echo "== constraints/awscli.txt"
echo awscli | .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
    --output-file constraints/awscli.txt --upgrade -
