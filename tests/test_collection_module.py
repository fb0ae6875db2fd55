"""All tasks as invoke sees them, in processes of their own where the process is what counts."""

import json
import os
import shutil
import signal
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


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        ([], set(ns.task_names)),
        (["docker-tune", "--undo"], {"docker-tune"}),
        (["secrets", "--set", "silent=true", "health"], {"secrets", "health"}),
        (["--help", "up"], {"up"}),
        (["nonsense"], set(ns.task_names)),
        (["--complete", "--", "invoke", "up", "he"], set(ns.task_names)),
    ],
)
def test_only_tasks_that_are_named_are_loaded(arguments: list[str], loaded: set[str]) -> None:
    assert set(collection(arguments).task_names) == loaded


# -- processes ----------------------------------------------------------------------------------------------


def process(*argv: str, cwd: Path = given.ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **environ}
    return subprocess.run(
        [sys.executable, *argv], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
    )


LIST = ("tasks.core.", "tasks.engine.", "tasks.run.task", "tasks.settings.")
"""What a list of tasks may load, beside the task files and packages themselves."""


def test_a_list_of_tasks_imports_nothing_heavy() -> None:
    """`invoke --list` runs on every press of the tab key. What invoke itself has loaded does not count."""
    code = "import sys, json; before = set(sys.modules); import invoke.program; own = set(sys.modules)\n"
    code += "from tasks.collection import collection; collection(); print(json.dumps(sorted(set(sys.modules) - own)))"
    done = process("-c", code)
    assert done.returncode == 0, done.stderr
    new = set(json.loads(done.stdout))
    assert "tasks.run.task" in new
    assert new.isdisjoint(HEAVY), new & set(HEAVY)
    inner = {name for name in new if name.count(".") > 1}
    assert not {name for name in inner if not name.startswith(LIST)}


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
    ("text", "argv", "reported"),
    [
        ("openframe: [a,\n", ["--list"], "invoke.yaml"),
        ("openframe:\n  cluster:\n    agnets: 3\n", ["config"], "agents"),
    ],
    ids=["it cannot be read", "a name that nobody knows"],
)
def test_a_broken_invoke_yaml_is_one_message(copied: Path, text: str, argv: list[str], reported: str) -> None:
    (copied / "invoke.yaml").write_text(text)
    done = process("-m", "invoke", *argv, cwd=copied)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert reported in done.stderr
    assert done.stderr.count("do:") == 1
    assert done.stdout == ""


def test_a_completion_is_silent_about_a_broken_invoke_yaml(copied: Path) -> None:
    (copied / "invoke.yaml").write_text("openframe: [a,\n")
    done = process("-m", "invoke", "--complete", "--", "invoke up --set ", cwd=copied)
    assert (done.stdout, done.stderr) == ("", "")


def test_output_may_be_closed(copied: Path) -> None:
    run = f"exec >&-; exec {sys.executable} -m invoke config"
    done = subprocess.run(["sh", "-c", run], cwd=copied, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["--list"], ["--help", "up"], []])
def test_a_reader_may_stop_early(copied: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "invoke", *arguments]
    done = subprocess.run(argv, cwd=copied, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_without_an_invoke_yaml_the_defaults_are_in_force(copied: Path) -> None:
    done = process("-m", "invoke", "config", "--format", "json", "--only", "cluster.name", cwd=copied)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["settings"]["cluster.name"]["value"] == "openframe-dev"


@pytest.mark.parametrize(("unwanted", "remaining"), [("", True), ("1", False)])
def test_bytecode_is_kept_as_python_itself_would(copied: Path, unwanted: str, remaining: bool) -> None:
    """invoke turns it off, and every call would compile all that it imports."""
    for found in copied.rglob("__pycache__"):
        shutil.rmtree(found)
    done = process("-m", "invoke", "--list", cwd=copied, PYTHONDONTWRITEBYTECODE=unwanted)
    assert done.returncode == 0, done.stderr
    assert any((copied / "tasks" / "__pycache__").glob("collection.*.pyc")) is remaining
