"""The wheel, the sdist, and the installed provider as Airflow and pytest see it."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import airflow_provider_kendra

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
VERSION = airflow_provider_kendra.__version__
SHIPPED = {
    "airflow_provider_kendra": "airflow_provider_kendra",
    "docs/tutorial": "airflow_provider_kendra/tutorial",
    "example_dags": "airflow_provider_kendra/example_dags",
}


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
        f"{place}/{file.relative_to(ROOT / source)}"
        for source, place in SHIPPED.items()
        for file in (ROOT / source).rglob("*")
        if file.is_file() and not re.search(r"/(__pycache__|\.\w+)/", str(file.relative_to(ROOT)))
    }

    assert {name for name in names if ".dist-info/" not in name} == package
    assert {name.split("/")[0] for name in names} == {
        "airflow_provider_kendra",
        f"airflow_provider_kendra-{VERSION}.dist-info",
    }
    assert "airflow_provider_kendra/py.typed" in names
    assert "airflow_provider_kendra/example_dags/example_kendra_sync.py" in names
    assert "airflow_provider_kendra/tutorial/setup_search.py" in names


def test_the_metadata_lead_to_the_documentation(wheel: Path):
    (name,) = (name for name in contents(wheel) if name.endswith("/METADATA"))
    metadata = message_from_bytes(contents(wheel)[name])
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL"))

    assert {"Documentation", "Source", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith("https://") for url in urls.values())
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text()


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


def someones_environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose settings would break the demo, or lead it to AWS, with empty directories."""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "nonsense",
        "AWS_PROFILE": "nobody",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }


def test_the_demo_runs_from_the_installed_wheel_and_leaves_nothing_behind(installed: Path, tmp_path: Path):
    environment = someones_environment(tmp_path)
    output = run(installed, "-m", "airflow_provider_kendra", "demo", cwd=tmp_path / "work", env=environment)

    assert "SUCCEEDED         3 added" in output
    assert "Answer:   Everybody has thirty days of holiday a year." in output
    assert [path for path in tmp_path.rglob("*") if path.parent != tmp_path] == []


def test_ctrl_c_ends_the_demo_and_all_that_it_has_started(installed: Path, tmp_path: Path):
    environment = someones_environment(tmp_path)
    demo = subprocess.Popen(
        [installed, "-m", "airflow_provider_kendra", "demo"], cwd=tmp_path / "work", env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert demo.stdout is not None
    with demo.stdout as output:
        while "http://127.0.0.1" not in (line := output.readline()):
            assert line
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
        rest = output.read()

    assert demo.wait() == 130, rest
    assert rest == "Interrupted: Airflow and the local Kendra have ended.\n"
    assert list((tmp_path / "tmp").iterdir()) == []


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
