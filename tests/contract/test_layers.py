"""Modules import in one direction, and not through many hands; which layers there are: pyproject.toml, importlinter."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 12
"""Modules, one importing the next; imports inside functions count, those for types alone do not."""


def typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of what a module imports from this project."""
    for node in ast.iter_child_nodes(tree):
        if typing_only(node):
            assert isinstance(node, ast.If)
            for each in node.orelse:
                yield from imported(each)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        else:
            yield from imported(node)


@pytest.fixture(scope="module")
def graph() -> Mapping[str, set[str]]:
    """The modules that each module imports."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in (ROOT / "tasks").rglob("*.py")
        if path.name != "__init__.py"
    }
    return {
        name: {each for each in imported(ast.parse(path.read_text())) if each in files} - {name}
        for name, path in files.items()
    }


def test_no_modules_import_each_other(graph: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_a_change_is_not_seen_through_many_modules(graph: Mapping[str, set[str]]) -> None:
    chains: dict[str, tuple[str, ...]] = {}
    for name in TopologicalSorter(graph).static_order():
        longest = max((chains[each] for each in graph[name]), key=len, default=())
        chains[name] = (name, *longest)
    chain = max(chains.values(), key=len)
    assert len(chain) <= LONGEST, " → ".join(chain)
