"""The package is built in layers: each module imports only from those below it, lazily or not."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import airflow_provider_kendra

NAME = "airflow_provider_kendra"
ROOT = Path(airflow_provider_kendra.__file__).parent
AT_MOST = 6
PAGE = ROOT.parent / "docs" / "explanation" / "architecture.md"


def module_of(path: Path) -> str:
    parts = [NAME, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path.read_text() for path in ROOT.rglob("*.py") if "testing" not in path.parts}
MODULES = {module: ast.parse(source) for module, source in SOURCES.items()}


def imports(module: str, tree: ast.AST) -> set[str]:
    """The modules of the package that one imports anywhere, also for types alone."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{each.name}" for each in node.names}
            names |= inside & MODULES.keys() or {node.module}
    return (names & MODULES.keys()) - {module, NAME}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


class WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if is_for_types(node) else self.generic_visit(node)


def test_no_import_leads_back_to_its_module_not_even_one_for_types():
    graph = {module: imports(module, tree) for module, tree in MODULES.items()}
    while leaves := [module for module, targets in graph.items() if not targets & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph, "these import each other"


@cache
def layers() -> dict[str, int]:
    """The layer of each module: one above the highest of those that it imports when it runs."""
    graph = {m: imports(m, WithoutTypes().visit(ast.parse(source))) for m, source in SOURCES.items()}
    found: dict[str, int] = {}
    while graph:
        leaves = [module for module, targets in graph.items() if not targets & graph.keys()]
        found |= {leaf: 1 + max((found[target] for target in graph[leaf]), default=-1) for leaf in leaves}
        for leaf in leaves:
            del graph[leaf]
    return found


def test_the_package_has_no_more_layers_than_it_needs():
    assert max(layers().values()) < AT_MOST


def test_the_architecture_page_shows_each_module_in_its_layer():
    rows = re.findall(r"^\| (\d) \| .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    shown = {name: int(layer) for layer, names in rows for name in re.findall(r"`([^`]+)`", names)}
    empty = {module for module, tree in MODULES.items() if len(tree.body) <= 1} | {NAME}
    assert shown == {module.removeprefix(f"{NAME}."): n for module, n in layers().items() if module not in empty}


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("hooks", "operators"),
        ("hooks", "sensors"),
        ("hooks", "triggers"),
        ("triggers", "operators"),
        ("triggers", "sensors"),
        ("sync_job", "hooks"),
    ],
)
def test_what_is_below_does_not_import_what_is_above(below, above):
    for module, tree in MODULES.items():
        if module.startswith(f"{NAME}.{below}"):
            assert not [each for each in imports(module, tree) if each.startswith(f"{NAME}.{above}")], module


def test_only_the_demo_imports_the_local_kendra():
    for module, tree in MODULES.items():
        text = ast.unparse(tree)
        assert f"{NAME}.testing" not in text or module.startswith(f"{NAME}._demo."), module
