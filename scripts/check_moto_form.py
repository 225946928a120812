"""Check that the local Kendra's backend fits into moto: copy it into moto's source and apply moto's own settings there.

The copy is formatted and its imports are sorted first, as moto's `make format` does: moto's lines are shorter than
those of this project, and imports of moto are a group of their own there.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from importlib.metadata import version
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "moto"
BACKEND = ROOT / "airflow_provider_kendra" / "testing" / "moto_backends" / "kendra"
TESTS = ROOT / "tests" / "moto_form"
URL_PATTERN = '    ("kendra", re.compile("https?://kendra\\\\.(.+)\\\\.amazonaws\\\\.com")),\n'
#: The oldest Python that moto supports. moto's settings of mypy do not name one.
OLDEST_PYTHON = "3.10"
SERVER_SECONDS = 30


def main() -> int:
    """Run the checks and return 1 if one fails."""
    source = unpack(download(version("moto")))
    add_kendra(source)
    copies = ["moto/kendra", "tests/test_kendra"]
    checks = [
        ["ruff", "check", "--quiet", "--select", "I", "--fix", *copies],
        ["ruff", "format", "--quiet", *copies],
        ["ruff", "format", "--check", *copies],
        ["ruff", "check", *copies],
        ["mypy", "--python-version", OLDEST_PYTHON, "moto/kendra"],
        ["pytest", "-q", "tests/test_kendra"],
    ]
    failed = [each for each in checks if not run(source, each)]
    print("== pytest against moto_server", flush=True)
    with_server = run_against_server(source)
    return int(bool(failed) or not with_server)


def download(moto: str) -> Path:
    """Return moto's source distribution from the package index."""
    CACHE.mkdir(parents=True, exist_ok=True)
    archive = CACHE / f"moto-{moto}.tar.gz"
    if not archive.exists():
        options = ["--quiet", "--no-deps", "--no-binary", "moto", "--no-build-isolation", "--dest", str(CACHE)]
        command = [sys.executable, "-m", "pip", "download", *options, f"moto=={moto}"]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"The source distribution of moto {moto} could not be downloaded from the package index.")
    return archive


def unpack(archive: Path) -> Path:
    """Return moto's source, unpacked anew: an earlier run has changed the old copy."""
    source = CACHE / archive.name.removesuffix(".tar.gz")
    shutil.rmtree(source, ignore_errors=True)
    with tarfile.open(archive) as file:
        file.extractall(CACHE, filter="data")
    return source


def add_kendra(source: Path) -> None:
    """Copy the backend unchanged, and its tests, and register it as moto's own services are."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(BACKEND, source / "moto" / "kendra", ignore=ignored)
    shutil.copytree(TESTS, source / "tests" / "test_kendra", ignore=ignored)
    index = source / "moto" / "backend_index.py"
    text = index.read_text()
    start = "backend_url_patterns = [\n"
    if start not in text:
        sys.exit(f"{index} has no line {start.strip()!r}: register Kendra in another way.")
    index.write_text(text.replace(start, start + URL_PATTERN))


def run(source: Path, arguments: list[str], **environment: str) -> bool:
    """Run a tool in moto's source, with the settings that it finds there."""
    print(f"== {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=source, env=clean_environment(**environment), check=False).returncode == 0


def clean_environment(**environment: str) -> dict[str, str]:
    """Return the environment without AWS settings, Python settings and pytest plugins, and with dummy credentials."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    credentials = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    return kept | credentials | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment


def run_against_server(source: Path) -> bool:
    """Run the tests of moto's form in server mode."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=source, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/moto-api/data.json")
        tests = ["pytest", "-q", "tests/test_kendra"]
        return run(source, tests, TEST_SERVER_MODE="true", TEST_SERVER_MODE_ENDPOINT=url)
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < deadline:
        try:
            urlopen(url, timeout=SERVER_SECONDS).close()
            return
        except HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"moto_server does not listen after {SERVER_SECONDS} seconds.")


if __name__ == "__main__":
    sys.exit(main())
