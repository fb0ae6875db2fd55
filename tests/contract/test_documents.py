"""Commands and settings in README and docs are ones that there are."""

import copy
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.parser import Parser

from tasks.collection import collection
from tasks.core import yaml
from tasks.settings.resolve import resolve
from tasks.settings.schema import Settings

ns = collection()

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md"))))
_COMMAND = re.compile(r"^    ((?:make|invoke) [^\n#]*?)(?: +#.*)?$|`((?:make|invoke) [^`\n]+)`", re.MULTILINE)
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_TASKS = set(ns.task_names)
_BLOCK = re.compile(r"(?:^    [^\n]*\n|^\n)+", re.MULTILINE)


def commands(page: str) -> list[str]:
    """Every command of a page that is written out; one with a placeholder (`TASK`, `…`) is not."""
    found = [first or second for first, second in _COMMAND.findall((ROOT / page).read_text())]
    return [text for text in dict.fromkeys(found) if not re.search(r"…|\b[A-Z]{3,}\b(?!=)(?<!ARGS)", text)]


def words(command: str) -> list[str]:
    """As `invoke` gets it: `make TASK ARGS="…"` hands its options on."""
    program, *rest = shlex.split(command)
    if program == "invoke":
        return rest
    targets = [each for each in rest if "=" not in each]
    options = [each.removeprefix("ARGS=") for each in rest if each.startswith("ARGS=")]
    return [*targets, *shlex.split(" ".join(options))]


@pytest.mark.parametrize("command", sorted({text for page in PAGES for text in commands(page)}))
def test_a_command_is_one_that_there_is(command: str) -> None:
    given = words(command)
    if command.startswith("make ") and given[0] not in _TASKS:
        assert set(given) <= _TARGETS
        return
    if given[0].startswith("-"):
        assert given[0] in ("--list", "--help", "--print-completion-script")
        return
    (first, *_) = parsed = Parser(contexts=copy.deepcopy(ns).to_contexts()).parse_argv(given)
    assert {each.name for each in parsed} <= _TASKS, first


def settings_of(page: str) -> list[str]:
    """Blocks that are settings: YAML with top-level names of settings."""
    found = []
    for block in _BLOCK.findall((ROOT / page).read_text()):
        text = re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n")
        try:
            data = yaml.load(text)
        except yaml.YamlError:
            continue
        if isinstance(data, dict) and data and set(data) <= set(Settings.model_fields):
            found.append(text)
    return found


@pytest.mark.parametrize("text", settings_of("docs/how-to.md"))
def test_settings_are_ones_that_there_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shown.yaml").write_text(text)
    assert resolve(tmp_path, {}, "shown", ()).settings is not None


@pytest.mark.whole
def test_the_readme_runs_on_the_embedded_engine(tmp_path: Path) -> None:
    blocks = [first for first, _ in _COMMAND.findall((ROOT / "README.md").read_text()) if first]
    given = [words(text) for text in blocks]
    tasks = [each for each in given if each[0] in _TASKS and each[0] != "rehearse"]
    assert [each[0] for each in tasks] == ["up", "up", "plan", "plan", "status", "report", "down", "down", "registry"]
    places = {name: str(tmp_path / name) for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "DEPLOY_LOG_DIR")}
    environ = {**os.environ, **places, "KUBECONFIG": str(tmp_path / "kubeconfig")}
    for each in [["rehearse", "--time-scale", "0"], *tasks]:
        engine = [] if each[0] in ("rehearse", "report") else ["--engine", "rehearsal"]
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *each, *engine],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        # what is deleted first is not there for the commands after it, as in the README
        expected = {0, 4} if each[0] == "down" else {0}
        assert done.returncode in expected, (each, done.stdout[-2000:], done.stderr[-2000:])
