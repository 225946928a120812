# Everything these targets make stays inside the checkout: make clean removes it.

PYTHON ?= python3
export PYTHON

# Airflow, AWS and Python settings of whoever calls make have no say in tests and demo …
unexport $(filter AWS_% AIRFLOW_% PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV,$(.VARIABLES))
# … nor have ~/.aws, an instance's own role, or a proxy between us and the loopback.
export AWS_CONFIG_FILE := /dev/null
export AWS_SHARED_CREDENTIALS_FILE := /dev/null
export AWS_EC2_METADATA_DISABLED := true
comma := ,
export NO_PROXY := $(if $(NO_PROXY),$(NO_PROXY)$(comma))localhost,127.0.0.1
export no_proxy := $(NO_PROXY)
export AIRFLOW__CORE__LOAD_EXAMPLES := False
export AIRFLOW_HOME = $(CURDIR)/.airflow/test
export KENDRA_TEST_AWS_CLI := $(CURDIR)/.venv-awscli/bin/aws
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS := never

# Environments for the tests, one for each file of constraints/, except the newest: every other target uses that one.
AIRFLOWS := $(patsubst %,test-%,oldest 2.11 3.0-lowest 3.0 3.1-lowest 3.1 3.2-lowest 3.2 3.3-lowest 3.4-pre)
# The newest of them on other Pythons.
PYTHONS := $(patsubst %,test-py%,3.12 3.13)
MATRIX := $(AIRFLOWS) $(PYTHONS)

# Several processes, each with a database and a local Kendra of its own; a file stays together, its fixtures are costly.
PYTEST := $(if $(COVERAGE),-m coverage run) -m pytest -n auto --dist loadfile --no-loadscope-reorder

report_coverage = $(1)/bin/coverage combine --quiet && $(1)/bin/coverage report

# Where make test-system runs: .venv-3.4-pre has what it needs too.
VENV := .venv

.DEFAULT_GOAL := help
.PHONY: help demo airflow check test $(MATRIX) test-matrix test-system test-system-quick test-clients test-moto-form lint package docs mutation bench constraints clean

help: ## What there is
	@echo "airflow-provider-kendra: make TARGET [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  %-17s %s\n", $$1, $$2 }'

# One environment for each file of constraints/, made again when what it is made from changes.
.venv/.ready: constraints/newest.txt pyproject.toml scripts/environment.sh
	@scripts/environment.sh .venv $< editable
	@touch $@

.venv-awscli/.ready: constraints/awscli.txt scripts/environment.sh
	@scripts/environment.sh .venv-awscli $<
	@touch $@

.venv-py%/.ready: constraints/newest.txt pyproject.toml scripts/environment.sh scripts/python.sh .venv/.ready
	@scripts/environment.sh .venv-py$* $< editable $*
	@touch $@

.venv-%/.ready: constraints/%.txt pyproject.toml scripts/environment.sh
	@scripts/environment.sh .venv-$* $< editable
	@touch $@

demo: .venv/.ready ## Run an example DAG in Airflow against the local Kendra: no AWS account needed
	@rm -rf .airflow/demo/dags
	@.venv/bin/python -m airflow_provider_kendra demo --directory .airflow/demo

airflow: .venv/.ready ## Airflow's UI with the example DAGs and the local Kendra, on PORT (8080)
	@rm -rf .airflow/ui/dags
	@.venv/bin/python -m airflow_provider_kendra demo --ui --port $(or $(PORT),8080) --directory .airflow/ui

check: lint ## lint, and the unit tests that need no server
	@echo "== check: the unit tests that need no server"
	@.venv/bin/python $(PYTEST) -q -m 'not slow and not http' tests/unit $(PYTEST_ARGS)

test: .venv/.ready .venv-awscli/.ready ## All tests on the newest Airflow (PYTEST_ARGS=…, COVERAGE=1)
	@echo "== test: $$(.venv/bin/python -c 'from importlib.metadata import version as v; print("Airflow", v("apache-airflow"))')"
	@$(if $(COVERAGE),rm -f .coverage .coverage.*)
	@.venv/bin/python $(PYTEST) $(PYTEST_ARGS)
	@$(if $(COVERAGE),$(call report_coverage,.venv))

test-oldest: ## All tests on the oldest Airflow and the lowest requirements
$(MATRIX): test-%: .venv-%/.ready .venv-awscli/.ready
	@echo "== $@: $$(.venv-$*/bin/python -c 'import platform; from importlib.metadata import version as v; print("Airflow", v("apache-airflow"), "on Python", platform.python_version())')"
	@$(if $(COVERAGE),rm -f .coverage .coverage.*)
	@AIRFLOW_HOME=$(AIRFLOW_HOME)-$* .venv-$*/bin/python $(PYTEST) $(PYTEST_ARGS)
	@$(if $(COVERAGE),$(call report_coverage,.venv-$*))

test-matrix: $(MATRIX) test ## All tests on Airflow 2.11 to 3.4, with the lowest and the newest requirements, and on each Python

test-system: $(VENV)/.ready ## A real Airflow on PostgreSQL: kills, chaos, load, Celery (PYTEST_ARGS='-k chaos'); installs what it needs
	@$(VENV)/bin/python -m pytest tests/system $(PYTEST_ARGS)

test-system-quick: PYTEST_ARGS = -m system_quick
test-system-quick: test-system

test-clients: .venv/.ready .venv-awscli/.ready ## The AWS CLI and the JavaScript SDK against the local Kendra
	@scripts/javascript.sh .venv-clients tests/clients
	@.venv/bin/python -m tests.clients

test-moto-form: .venv/.ready ## The local Kendra in a copy of moto's source: moto's lint, types and tests
	@.venv/bin/python scripts/check_moto_form.py

lint: .venv/.ready ## ruff and mypy
	@echo "== lint: ruff check, ruff format, mypy"
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

package: .venv/.ready ## The sdist and the wheel, in dist/, and whether a package page can show them
	@echo "== package: build, twine check"
	@rm -rf dist
	@.venv/bin/python -m build --no-isolation --outdir dist .
	@.venv/bin/python -m twine --no-color check --strict dist/*

docs: export AIRFLOW_HOME = $(CURDIR)/.airflow/docs
docs: .venv/.ready ## The documentation site, in docs/_build/html; what it shows as code is run
	@echo "== docs: sphinx, warnings are errors"
	@.venv/bin/python -m sphinx --builder html --nitpicky --fail-on-warning --keep-going --quiet --doctree-dir docs/_build/doctrees docs docs/_build/html
	@.venv/bin/python docs/links.py docs/_build/html
	@.venv/bin/python -m sphinx --builder doctest --fail-on-warning --quiet --doctree-dir docs/_build/doctrees docs docs/_build/doctest

mutation: .venv/.ready ## Mutate the modules that decide, and see whether the unit tests notice (takes long)
	@.venv/bin/python -m tests.mutation

bench: .venv-bench/.ready ## The measurements of tests/benchmarks (BENCH_ARGS=…)
	@.venv-bench/bin/python -m tests.benchmarks $(BENCH_ARGS)

constraints: .venv/.ready ## Resolve constraints/ anew
	@scripts/constraints.sh

clean: ## Remove everything that these targets have made
	rm -rf .airflow .cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .venv .venv-*
	rm -rf build dist docs/_build htmlcov mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
