"""How a command of the user's runs: where, with what, and how its end is reported."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.engine.step import Report
from tasks.facts.facts import Facts
from tasks.process.command import CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.programs import Programs
from tasks.process.runner import CannotStart
from tasks.run.own_command import run_own
from tests import given
from tests.programs import PATH, context

CANARY = "canary-of-a-secret"
WITHOUT = "invoke down --set steps.own.enabled=false"


def alone(folder: Path, **step: Any) -> Facts:
    chosen = given.settings(steps=[{"name": "own", "shell": isinstance(step["command"], str), **step}])
    env = {"PATH": PATH, "TOKEN": CANARY}
    programs = Programs(folder=folder / "bin", env=env, log_dir=folder / "logs")
    (folder / "logs").mkdir(exist_ok=True)
    return replace(given.facts(folder, programs, settings=chosen, environ=env), root=folder)


def run(folder: Path, output: list[str] | None = None, **step: Any) -> Report | None:
    result = alone(folder, **step)
    step_context = context("steps: own")
    step_context.say = (output if output is not None else []).append
    return run_own(result, result.settings.steps[0], step_context)


def log(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / "logs").iterdir())


def test_it_is_led_to_its_cluster_and_runs_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "bin").mkdir()
    names = '"$KUBECONFIG" "$CONTEXT" "$IP" "$DOMAIN" "$LEVEL" "$S"'
    output: list[str] = []
    report = run(
        tmp_path,
        output,
        command=f'for each in {names}; do echo "$each"; done; pwd; case $PATH in {tmp_path}/bin:*) echo first;; esac',
        dir="sub",
        env={"LEVEL": 3},
        secrets={"S": {"env": "TOKEN"}},
    )
    result = alone(tmp_path, command=["x"])
    lines = [str(result.paths.kubeconfig), "k3d-openframe-dev", "127.0.0.1", "localhost", "3", "***"]
    assert report == Report(exit_code=0)
    assert "\n".join([*lines, str(tmp_path / "sub"), "first"]) in log(tmp_path)
    assert output[-1] == "first"
    assert CANARY not in log(tmp_path)
    assert "LEVEL=3" in log(tmp_path)


def test_a_list_is_taken_as_it_is_and_a_program_is_seen_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    script = tmp_path / "sub" / "tool.sh"
    script.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    script.chmod(0o755)
    output: list[str] = []
    run(tmp_path, output, command=["./tool.sh", "a b", "$HOME", "*"], dir="sub")
    assert output == ["a b|$HOME|*|"]


@pytest.mark.parametrize(
    ("step", "kind", "reported"),
    [
        ({"command": "echo one; echo why >&2; exit 3"}, CommandFailed, "ended with code 3: why"),
        ({"command": "sleep 30", "timeout": 0.2}, DeadlinePassed, "did not end within 0.2 s"),
        ({"command": "echo begun; kill 0; sleep 30"}, CommandFailed, "was ended by SIGTERM"),
        ({"command": ["no-such-program"]}, ProgramMissing, "steps.own.command"),
        ({"command": "no-such-program"}, CommandFailed, "not on the PATH"),
        ({"command": ["echo"], "dir": "missing"}, BadInput, "no such folder"),
        ({"command": ["echo"], "secrets": {"T": {"env": "NOT_SET"}}}, BadInput, "NOT_SET is not set"),
        ({"command": ["echo"], "secrets": {"T": {"command": ["false"]}}}, BadInput, "ended with code 1"),
        ({"command": "echo $T; exit 1", "secrets": {"T": {"env": "TOKEN"}}}, CommandFailed, "***"),
        ({"command": ["false"], "when": "down"}, CommandFailed, WITHOUT),
        ({"command": ["no-such-program"], "when": "down"}, ProgramMissing, WITHOUT),
        ({"command": ["echo"], "when": "down", "secrets": {"T": {"env": "NOT_SET"}}}, BadInput, WITHOUT),
        ({"command": ["./windows.sh"], "when": "down"}, CannotStart, WITHOUT),
        ({"command": ["./windows.sh"]}, CannotStart, "sed -i"),
        ({"command": ["~/windows.sh"]}, CannotStart, "sed -i"),
    ],
)
def test_how_its_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any], kind: type[LaunchError], reported: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "windows.sh").write_bytes(b"#!/bin/sh\r\n")
    (tmp_path / "windows.sh").chmod(0o755)
    with pytest.raises(kind) as caught:
        run(tmp_path, **step)
    whole = f"{caught.value} {caught.value.tail() if isinstance(caught.value, CommandFailed) else ''}"
    assert reported in whole
    assert CANARY not in whole + log(tmp_path)
    assert caught.value.fix
    assert not caught.value.transient


def test_a_path_of_its_own_counts_for_its_command(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tool").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "mine" / "tool").chmod(0o755)
    output: list[str] = []
    run(tmp_path, output, command=["tool"], env={"PATH": f"{tmp_path}/mine:{PATH}"})
    assert output == ["mine"]


def test_only_one_with_retries_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(tmp_path, command=["false"], retries=2)
    assert caught.value.transient


def test_unless_decides(tmp_path: Path) -> None:
    assert run(tmp_path, command=["false"], unless=["true"]) == Report(skipped=True, why="`unless` succeeded")
    assert run(tmp_path, command=["true"], unless=["false"]) == Report(exit_code=0)
    with pytest.raises(DeadlinePassed):
        run(tmp_path, command=["true"], unless=["sleep", "30"], timeout=0.2)
    with pytest.raises(ProgramMissing):
        run(tmp_path, command=["true"], unless=["no-such-program"])


def test_one_that_writes_without_end_is_kept_by_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.own_command._KEPT", 1 << 16)
    with pytest.raises(CommandFailed) as caught:
        run(tmp_path, command="head -c 700000 /dev/zero | tr '\\0' x | fold -w 1000; false")
    assert len(caught.value.done.out) < 1 << 18
    assert caught.value.done.out.startswith("[...]\n")
