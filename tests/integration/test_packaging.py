"""The wheel, the sdist, and the installed provider as Airflow and pytest see it."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import airflow_provider_kendra

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
VERSION = airflow_provider_kendra.__version__


def run(*command: str | Path, **kwargs) -> str:
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **kwargs)
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(directory: Path, source: Path, kind: str) -> Path:
    run(sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", directory, source)
    (built,) = directory.iterdir()
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"), ROOT, "wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment: the package from the wheel, everything else from this environment."""
    directory = tmp_path_factory.mktemp("installed")
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site_packages,) = directory.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    names = set(contents(wheel))
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "airflow_provider_kendra").rglob("*")
        if file.is_file() and not re.search(r"/(__pycache__|\.\w+)/", str(file.relative_to(ROOT)))
    }

    assert {name for name in names if ".dist-info/" not in name} == package
    assert {name.split("/")[0] for name in names} == {
        "airflow_provider_kendra",
        f"airflow_provider_kendra-{VERSION}.dist-info",
    }
    assert "airflow_provider_kendra/py.typed" in names


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path):
    sdist = build(tmp_path / "sdist", ROOT, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()

    assert contents(build(tmp_path / "wheel", source, "wheel")) == contents(wheel)


def test_every_module_of_the_installed_wheel_imports(installed: Path, tmp_path: Path):
    names = run(
        installed,
        "-c",
        """
import importlib, pkgutil, airflow_provider_kendra as package
# The local Kendra's backend is a part of moto: moto imports it, as moto.kendra.
modules = pkgutil.walk_packages(package.__path__, "airflow_provider_kendra.")
names = [module.name for module in modules if "moto_backends" not in module.name]
for name in names:
    importlib.import_module(name)
print(package.__file__, *names, sep="\\n")
""",
        cwd=tmp_path,
    ).splitlines()

    assert str(installed.parent.parent / "lib") in "\n".join(names)
    assert "airflow_provider_kendra.operators.kendra" in names
    assert "airflow_provider_kendra.testing.pytest_plugin" in names


def test_airflow_shows_the_provider_of_the_installed_wheel(installed: Path, tmp_path: Path):
    output = run(
        installed, "-m", "airflow", "providers", "get", "airflow-provider-kendra", "--full", "--output", "json",
        cwd=tmp_path, env=os.environ | {"AIRFLOW_HOME": str(tmp_path)},
    )  # fmt: skip
    (shown,) = json.loads(next(line for line in output.splitlines() if line.startswith("[{")))

    assert shown["package-name"] == "airflow-provider-kendra"
    assert shown["name"] == "Amazon Kendra"


def test_pytest_loads_the_plugin_of_the_installed_wheel(installed: Path, tmp_path: Path):
    (tmp_path / "test_plugin.py").write_text(
        """
def test_plugin(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("airflow_provider_kendra")
"""
    )

    run(installed, "-m", "pytest", cwd=tmp_path)


def test_no_file_names_a_package_index_or_a_path_of_one_machine():
    try:
        listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    except (FileNotFoundError, AssertionError):
        pytest.skip("not a git checkout")
    foreign = re.compile(r"/(?:work|root|opt/\w+)/|(?:index-url|find-links)[ =]|\bpypi\.org|\bpythonhosted\.")
    found = [
        f"{name}:{number}: {line}"
        for name in listed.splitlines()
        if (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        if foreign.search(line)
    ]

    assert found == []
