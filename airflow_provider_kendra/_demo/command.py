"""Runs the demo in a directory of its own. Airflow is not imported, since that would create ~/airflow."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_kendra import _streams
from airflow_provider_kendra._demo import dag, interrupts, ui
from airflow_provider_kendra._demo.options import DETAILS, HELP, OPTIONS

FAILED = 1
INTERRUPTED = 130
MARK = ".kendra-demo"
PACKAGE = Path(__file__).resolve().parent.parent
# The example DAGs and the files of the tutorial: their place in Airflow's home, in the wheel and in a checkout.
FILES = (
    ("dags", PACKAGE / "example_dags", PACKAGE.parent / "example_dags"),
    ("tutorial", PACKAGE / "tutorial", PACKAGE.parent / "docs" / "tutorial"),
)
_FOREIGN = ("AIRFLOW_", "_AIRFLOW_", "AWS_", "OPENLINEAGE_")


def main(arguments: Sequence[str]) -> int:
    """
    Run the demo; return the exit status.

    :param arguments: What follows ``demo`` on the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_kendra demo", description=f"{HELP}. {DETAILS}")
    for flag, keywords in OPTIONS:
        parser.add_argument(flag, **keywords)
    return _run(parser.parse_args(arguments))


def run_in_airflow(args: argparse.Namespace) -> None:
    """
    Run the demo as ``airflow kendra demo``.

    :param args: The parsed arguments.
    """
    raise SystemExit(_run(args))


def _run(args: argparse.Namespace) -> int:
    from airflow_provider_kendra.testing import _extra

    interrupts.catch()
    home, status = None, FAILED
    try:
        _extra.check()
        if args.ui:
            ui.free_port(args.port)
        directory = _make_home(args.directory)
        with _locked(directory):
            home = directory
            _copy_files(home)
            _isolate(home)
            status = ui.run(home, args.port) if args.ui else dag.run(home)
    except KeyboardInterrupt:
        status = INTERRUPTED
        print("Interrupted: Airflow and the local Kendra have ended.", file=sys.stderr)
    except BrokenPipeError:
        status = _streams.BROKEN_PIPE
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
    if home and not args.directory and status != FAILED:
        shutil.rmtree(home, ignore_errors=True)
    elif home:
        print(f"Airflow's home with its logs is kept: {home}", file=sys.stderr)
    return status


def _make_home(directory: str | None) -> Path:
    """Create the demo's directory, or reuse that of an earlier demo; never one with someone's airflow.cfg."""
    if not directory:
        return Path(tempfile.mkdtemp(prefix="kendra-demo-")).resolve()
    home = Path(directory).resolve()
    home.mkdir(parents=True, exist_ok=True)
    if any(home.iterdir()) and not (home / MARK).exists():
        raise ValueError(f"--directory is neither empty nor that of an earlier demo: {home}")
    return home


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Keep other demos out of a directory."""
    with (home / MARK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"another demo is running in {home}") from None
        yield


def _copy_files(home: Path) -> None:
    """Copy the example DAGs and the files of the tutorial, but not over those that are there: they may be edited."""
    for name, *places in FILES:
        (home / name).mkdir(exist_ok=True)
        source = next(place for place in places if place.is_dir())
        for file in source.glob("*.py"):
            needs_airflow_3 = "from airflow.sdk import" in file.read_text(encoding="utf-8")
            if not (home / name / file.name).exists() and not (needs_airflow_3 and ui.AIRFLOW_2):
                shutil.copyfile(file, home / name / file.name)


def _isolate(home: Path) -> None:
    """Remove the settings of Airflow and AWS from the environment of this process and its children."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "localhost,127.0.0.1"]))
    os.environ |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "NO_PROXY": direct,
        "no_proxy": direct,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
