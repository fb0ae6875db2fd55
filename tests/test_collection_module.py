"""All tasks as invoke sees them, in processes of their own where the process is what counts."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.collection import collection
from tests import given

ns = collection()

HEAVY = (
    "pydantic",
    "pydantic_core",
    "rich",
    "jinja2",
    "psutil",
    "sh",
    "http.client",
    "tenacity",
    "platformdirs",
    "concurrent.futures",
)
TASKS = {
    "up": {"recreate", "rollback", "clear_pending", "bundle", "snapshot"},
    "down": {"pause", "stop", "purge", "yes"},
    "plan": {
        *("format", "recreate", "line", "cores", "no_cache", "timing", "clear_pending", "diff", "exit_code"),
        "snapshot",
    },
    "status": {"format", "diff", "exit_code"},
    "doctor": {"fix", "format"},
    "prepull": set(),
    "registry": {"purge", "status"},
    "build": {"only"},
    "cluster": {"recreate"},
    "namespaces": set(),
    "secrets": set(),
    "manifests": set(),
    "helm": {"clear_pending"},
    "steps": {"only", "force"},
    "health": set(),
    "docker-tune": {"undo"},
    "rehearse": {"time_scale", "line", "cores", "no_cache", "timing", "fault", "learn", "recreate", "rollback"},
    "report": {"run", "against", "html", "trace", "history", "format"},
    "logs": {"export", "run"},
    "bench": {
        *("modes", "state", "runs", "warmups", "against", "against_set", "before", "rest", "cluster", "out"),
        *("compare", "baseline", "fail_over", "script", "purge", "cores", "line", "timing", "time_scale"),
    },
    "config": {"format", "only"},
    "snapshot": {"save", "delete", "export", "import_", "replace", "file", "name", "format"},
    "bundle": {"action", "file", "images", "exclude", "platform", "format", "settings"},
}
COMMON = {"profile", "set", "engine", "context", "keep_going", "wait_lock"}
INSIDE = ("up", "down", "namespaces", "secrets", "manifests", "helm", "steps", "health", "status", "plan", "logs")


@functools.cache
def arguments(name: str) -> dict[str, str]:
    """Its options with their help; asked once, since invoke gives each help away but once."""
    return {str(argument.name): argument.help or "" for argument in ns[name].get_arguments()}


def options(name: str) -> set[str]:
    return set(arguments(name))


@pytest.mark.parametrize("name", TASKS)
def test_each_task_has_its_options_and_help_for_each(name: str) -> None:
    task = ns[name]
    assert options(name) - COMMON == TASKS[name]
    assert {"profile", "set"} <= options(name)
    assert (task.__doc__ or "").split("\n")[0].endswith(".")
    assert all(arguments(name).values())


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        ([], set(TASKS)),
        (["docker-tune", "--undo"], {"docker-tune"}),
        (["secrets", "--set", "silent=true", "health"], {"secrets", "health"}),
        (["--help", "up"], {"up"}),
        (["nonsense"], set(TASKS)),
        (["--complete", "--", "invoke", "up", "he"], set(TASKS)),
    ],
)
def test_only_tasks_that_are_named_are_loaded(arguments: list[str], loaded: set[str]) -> None:
    assert set(collection(arguments).task_names) == loaded


def test_there_are_no_tasks_without_a_test() -> None:
    assert TASKS.keys() <= set(ns.task_names)


@pytest.mark.parametrize("name", TASKS)
def test_what_works_inside_a_cluster_works_on_any(name: str) -> None:
    assert ({"engine", "context"} <= options(name)) is (name in INSIDE or name == "doctor")


@pytest.mark.parametrize("name", ["prepull", "registry", "cluster"])
def test_what_makes_a_cluster_can_be_rehearsed(name: str) -> None:
    assert "engine" in options(name)
    assert "context" not in options(name)


# -- processes ----------------------------------------------------------------------------------------------


def process(*argv: str, cwd: Path = given.ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **environ}
    return subprocess.run(
        [sys.executable, *argv], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
    )


LIST = ("tasks.core.", "tasks.engine.", "tasks.run.task", "tasks.settings.")
"""What a list of tasks may load, beside the task files and packages themselves."""
MOST = 115
"""Modules of this project that a single task may load, those of the embedded engine apart."""


def test_a_list_of_tasks_imports_nothing_heavy() -> None:
    """`invoke --list` is asked for on every press of the tab key. What invoke itself has loaded does not count."""
    code = "import sys, json; before = set(sys.modules); import invoke.program; own = set(sys.modules)\n"
    code += "from tasks.collection import collection; collection(); print(json.dumps(sorted(set(sys.modules) - own)))"
    done = process("-c", code)
    assert done.returncode == 0, done.stderr
    new = set(json.loads(done.stdout))
    assert "tasks.run.task" in new
    assert new.isdisjoint(HEAVY), new & set(HEAVY)
    inner = {name for name in new if name.count(".") > 1}
    assert not {name for name in inner if not name.startswith(LIST)}


@pytest.mark.parametrize("task", ["secrets"])
def test_a_single_task_loads_what_it_needs(tmp_path: Path, task: str) -> None:
    """Reading modules is a fifth of the time that a task takes which finds everything as configured."""
    logs = str(tmp_path / "openframe-logs")
    options = ["--engine", "rehearsal", "--set", "silent=true"]
    assert process("-m", "invoke", "rehearse", "--time-scale", "0", *options[2:], DEPLOY_LOG_DIR=logs).returncode == 0
    code = f"import sys, invoke.main; sys.argv = ['invoke', {task!r}, *{options!r}]\n"
    code += "try: invoke.main.program.run()\n"
    code += "finally: print(*sorted(name for name in sys.modules if name.startswith('tasks.')))"
    done = process("-c", code, DEPLOY_LOG_DIR=logs)
    loaded = [name for name in done.stdout.split() if not name.startswith("tasks.rehearsal")]
    assert f"tasks.{task}" in loaded, done.stderr
    assert len(loaded) <= MOST, loaded


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The project elsewhere, with what invoke needs of it."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("tasks", "config", "files"):
        shutil.copytree(given.ROOT / name, root / name)
    shutil.copy(given.ROOT / "tasks.py", root)
    return root


@pytest.mark.parametrize(
    ("text", "argv", "told"),
    [
        ("openframe: [a,\n", ["--list"], "invoke.yaml"),
        ("openframe:\n  cluster:\n    agnets: 3\n", ["config"], "agents"),
    ],
    ids=["it cannot be read", "a name that nobody knows"],
)
def test_a_broken_invoke_yaml_is_one_message(copied: Path, text: str, argv: list[str], told: str) -> None:
    (copied / "invoke.yaml").write_text(text)
    done = process("-m", "invoke", *argv, cwd=copied)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert told in done.stderr
    assert done.stderr.count("do:") == 1
    assert done.stdout == ""


def test_without_an_invoke_yaml_the_defaults_are_in_force(copied: Path) -> None:
    done = process("-m", "invoke", "config", "--format", "json", "--only", "cluster.name", cwd=copied)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["cluster.name"]["value"] == "openframe-dev"


@pytest.mark.parametrize(("unwanted", "kept"), [("", True), ("1", False)])
def test_bytecode_is_kept_as_python_itself_would(copied: Path, unwanted: str, kept: bool) -> None:
    """invoke turns it off, and every call would compile all that it imports."""
    for found in copied.rglob("__pycache__"):
        shutil.rmtree(found)
    done = process("-m", "invoke", "--list", cwd=copied, PYTHONDONTWRITEBYTECODE=unwanted)
    assert done.returncode == 0, done.stderr
    assert any((copied / "tasks" / "__pycache__").glob("collection.*.pyc")) is kept
