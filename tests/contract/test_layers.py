"""Modules import in one direction, in short chains, and no more than a task needs; layers: pyproject.toml."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tasks.core.errors import ABSENT
from tests.facts.docker_info import LINUX

ROOT = Path(__file__).parents[2]
LONGEST = 12
"""Modules, one importing the next; imports inside functions count, those for types alone do not."""
LOADED = 60
"""Modules of this project that `invoke secrets` loads: without a cluster here, on one in tests/real."""


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


def loaded(stderr: str) -> set[str]:
    """Modules of this project, by what `python -X importtime` writes, but for packages."""
    names = {line.rpartition("|")[2].strip() for line in stderr.splitlines() if line.startswith("import time:")}
    return {name for name in names if name.startswith("tasks.") and (ROOT / f"{name.replace('.', '/')}.py").exists()}


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


def test_a_part_of_a_launch_loads_only_what_it_needs(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (tmp_path / "info").write_text(json.dumps(LINUX))
    answers = {
        "docker": f'if [ "$1" = info ]; then cat "{tmp_path}/info"; fi',
        "k3d": "echo 'k3d version v99.0.0'",
        "kubectl": """echo '{"clientVersion": {"gitVersion": "v1.99.0"}}'""",
        "helm": "echo v4.99.0",
    }
    for name, script in answers.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    environ = {"HOME": str(tmp_path), "PATH": f"{folder}:/usr/bin:/bin", "DEPLOY_LOG_DIR": str(tmp_path / "logs")}
    command = (sys.executable, "-X", "importtime", "-m", "invoke", "secrets")
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == ABSENT, done.stderr
    modules = loaded(done.stderr)
    assert 40 < len(modules) <= LOADED, sorted(modules)
