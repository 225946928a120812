"""What README and the documentation show as code is code that works."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import botocore.session
import pytest

from airflow_provider_kendra.operators.kendra import KendraSyncJobMetricsOperator
from airflow_provider_kendra.testing import LocalKendra

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_my_gate_refuses_a_sync_that_failed(local_kendra):
    index_id = local_kendra.create_index()
    local_kendra.client("s3").create_bucket(Bucket="documents")
    data_source_id = local_kendra.create_s3_data_source(index_id, "documents")
    local_kendra.start_scheduled_sync(index_id, data_source_id)
    why = "The role may not read the bucket"
    local_kendra.finish_sync_job(index_id, data_source_id, "FAILED", error_message=why)

    gate = KendraSyncJobMetricsOperator(
        task_id="gate",
        index_id=index_id,
        data_source_id=data_source_id,
        max_documents_failed=0,
        do_xcom_push=False,
    )

    with pytest.raises(Exception, match=why):
        gate.execute(context={})


def test_the_dag_in_the_readme_makes_two_tasks():
    (source,) = (code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "with DAG(" in code)
    namespace: dict[str, object] = {}
    exec(source, namespace)
    assert namespace["sync"].downstream_task_ids == {"check"}


def test_readme_and_guide_show_the_same_policy():
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert json.loads(shown) == json.loads((ROOT / "docs/howto/iam-policy.json").read_text())


def test_what_the_changelog_links_in_the_repository_is_there():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "CHANGELOG.md").read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


def in_the_repository(url: str) -> str:
    """The file that a link of the README leads to, if it is one of this project."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    places = {
        urls["Documentation"]: "docs/",
        f"{urls['Source']}/blob/main/": "",
        f"{urls['Source'].replace('//github.com', '//raw.githubusercontent.com')}/main/": "",
    }
    for place, directory in places.items():
        if url.startswith(place):
            return directory + url.removeprefix(place).replace(".html", ".md")
    return ""


def test_the_readme_works_on_a_package_page_where_relative_links_lead_nowhere():
    inline = re.findall(r"\]\(([^)]+)\)", README)
    defined = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", README, re.MULTILINE))
    text = re.sub(r"```.*?```|^\[[^\n]*\]: [^\n]*$", "", README, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    used = {label or name for name, label in re.findall(r"\[([^\[\]]+)\](?:\[([^\]]*)\])?(?!\()", text)}

    assert {name.lower() for name in used} == defined.keys()
    links = [*inline, *defined.values()]
    assert [link for link in links if not link.startswith("https://")] == []
    ours = list(filter(None, map(in_the_repository, links)))
    assert len(ours) > 15
    assert [file for file in ours if not (ROOT / file).exists()] == []


def named_tests(text: str) -> list[tuple[Path, list[str]]]:
    """The tests in a row of a table: a path with a name, and names alone that belong to the path before them."""
    named, path = [], ROOT
    for quoted in re.findall(r"`((?:tests/[\w/]+\.py)?(?:::\w+)*)`", text):
        head, *names = quoted.split("::")
        path = ROOT / head if head else path
        named.append((path, names))
    return named


@cache
def is_in_file(path: Path, names: tuple[str, ...]) -> bool:
    """Whether a file has a class or function with the first name, which has one with the second name, and so on."""
    scope: ast.AST | None = parsed(path)
    for name in names:
        scope = next((each for each in ast.walk(scope) if getattr(each, "name", None) == name), None) if scope else None
    return scope is not None


@cache
def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


def test_each_threat_in_security_md_names_tests_that_exist():
    table = (ROOT / "SECURITY.md").read_text().partition("## Threats")[2]
    rows = [line.rsplit("|", 2)[1] for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for row in rows:
        assert named_tests(row), row
        for path, names in named_tests(row):
            assert is_in_file(path, tuple(names)), (path, names)


def messages() -> list[str]:
    """All texts in the package's code; what is put into them stands as a gap."""
    texts = []
    for file in (ROOT / "airflow_provider_kendra").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_troubleshooting_quotes_messages_that_the_package_gives():
    page = (ROOT / "docs/howto/troubleshoot.md").read_text()
    quoted = {
        span for span in re.findall(r"`([^`]+)`", page) if " " in span and not span.startswith(("python -m", "["))
    }
    assert len(quoted) > 30
    known = messages()
    gap = r"…|\bFAILED\b|\bABORTED\b|\bINCOMPLETE\b|\bSYNCING\b|\b[XYZN]\b|\b\d+\b|'X'|\"X\""
    fragments = {part.strip(" ;:().,'\"") for span in quoted for part in re.split(gap, span)}
    unknown = {part for part in fragments if len(part) > 3 and not any(part in text for text in known)}
    assert unknown == set()


def test_the_scripts_of_the_tutorial_make_a_search_whose_next_sync_goes_badly(
    local_kendra: LocalKendra, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def run(script: str) -> None:
        source = (ROOT / "docs/tutorial" / script).read_text()
        assert "http://127.0.0.1:5005" in source
        exec(source.replace("http://127.0.0.1:5005", local_kendra.url), {})

    run("setup_search.py")
    for name, value in re.findall(r"export (\w+)=(\S+)", capsys.readouterr().out):
        monkeypatch.setenv(name, value)
    ids = [os.environ[f"AIRFLOW_VAR_KENDRA_{name}_ID"] for name in ("INDEX", "DATA_SOURCE")]
    run("next_sync_goes_badly.py")
    local_kendra.set_sync_duration(0)
    local_kendra.client().start_data_source_sync_job(IndexId=ids[0], Id=ids[1])

    (job,) = local_kendra.client().list_data_source_sync_jobs(IndexId=ids[0], Id=ids[1])["History"]
    assert (job["Status"], job["Metrics"]["DocumentsFailed"]) == ("INCOMPLETE", "30")


def test_what_the_benchmarks_measured_is_written_as_far_as_it_is_there(tmp_path: Path):
    measured = json.loads((ROOT / "docs/benchmarks.json").read_text())
    load = {"waits": 400, "data_sources": 20, "mb_in_all": 12.5, "latency_s": {"median": 5.1, "p99": 10.2}}

    def tables(numbers: dict[str, object]) -> list[str]:
        (tmp_path / "numbers.json").write_text(json.dumps(numbers))
        command = [sys.executable, ROOT / "docs/measured.py", tmp_path / "numbers.json", tmp_path / "tables.md"]
        subprocess.run(command, check=True)
        return (tmp_path / "tables.md").read_text().split("\n\n")[:-1]

    assert tables({}) == []
    (waits,) = tables({"waits": measured["waits"]})
    assert waits.count("\n") == 1 + len(measured["waits"])
    _, ours = tables({"waits": measured["waits"], "load": {"interval_s": 10, "ours": load, "peer": load}})
    assert "| 400 waits on 20 data sources, polled every 10 s | measured |" in ours
    assert "| the same, 99th percentile | 10.2 s |" in ours


def test_the_controls_over_http_respond_as_the_guide_shows(local_kendra: LocalKendra):
    from urllib.request import urlopen

    def post(name: str, **arguments: object) -> object:
        with urlopen(f"{local_kendra.url}/kendra-local/{name}", json.dumps(arguments).encode()) as answer:
            return json.loads(answer.read())

    assert post("inject", operation="*", error="ThrottlingException", times=5) == {"result": None}
    assert post("call_count", operation="ListDataSourceSyncJobs") == {"result": 0}
    assert post("clear_faults") == {"result": None}
    ids = (index_id := local_kendra.create_index(), local_kendra.create_custom_data_source(index_id))
    assert post("set_history", args=[*ids, []]) == {"result": None}


def test_the_page_about_the_local_kendra_has_each_operation_that_it_supports():
    from airflow_provider_kendra.testing.traffic import is_operation  # imports moto

    page = (ROOT / "docs" / "reference" / "local-kendra-operations.md").read_text("utf-8")
    table = page.partition("## Operations")[2].partition("\nAny other")[0]
    shown = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    operations = botocore.session.get_session().get_service_model("kendra").operation_names
    assert shown == {name for name in operations if is_operation(name)}


def public_names() -> dict[str, set[str]]:
    """Each public module with its public classes; those of its ``__all__`` if it has one."""
    package, found = ROOT / "airflow_provider_kendra", {}
    for file in package.rglob("*.py"):
        parts = [part for part in file.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
        code = file.read_text()
        if "class " in code and "testing" not in parts and not any(part.startswith("_") for part in parts):
            classes = set(re.findall(r"^class ([A-Z]\w+)", code, re.MULTILINE))
            exported = re.search(r"^__all__ = (\[.*?\])", code, re.MULTILINE | re.DOTALL)
            found[".".join(parts)] = classes & set(ast.literal_eval(exported[1])) if exported else classes
    return found


def test_the_reference_has_every_public_class():
    shown: set[str] = set()
    for page in (ROOT / "docs/reference").glob("*.md"):
        module = ""
        for directive, name in re.findall(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)", page.read_text(), re.MULTILINE):
            if directive == "automodule":
                shown |= {f"{name}.{each}" for each in public_names()[name]}
            elif directive == "currentmodule":
                module = name
            else:
                shown.add(f"{module}.{name}")
    classes = {f"{module}.{name}" for module, names in public_names().items() for name in names}
    assert len(classes) > 25
    assert classes - shown == set()
