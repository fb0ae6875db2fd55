"""From functions to invoke's tasks: options, help, exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program

from tasks.run.session import Session
from tasks.run.task import ROOT, Options, door
from tests import given


class Seen:
    """What a call of a task came to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> None:
        self.options: Options | None = None
        self.own: dict[str, Any] = {}
        self.status = status
        monkeypatch.setattr("tasks.run.session.guarded", self._guarded)

    def _guarded(self, options: Options, root: Path, body: Callable[[Session], int | None]) -> int:
        assert root == ROOT == given.ROOT
        self.options = options
        body(given.session(Path("/nowhere")))
        return self.status


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def called(seen: Seen, *argv: str) -> Options:
    """Call one task through invoke's own parser."""

    @door(help={"deep": "how deep", "names": "which"})
    def dig_it(session: Session, deep: bool = False, names: list[str] = [], form: str = "text") -> int | None:  # noqa: B006 - as invoke wants it
        """Dig a hole."""
        seen.own = {"deep": deep, "names": names, "form": form}
        return None

    @door("profile", "set")
    def narrow(session: Session) -> int | None:
        """Take few options."""
        return None

    Program(namespace=Collection(dig_it, narrow), version="0").run(["invoke", *argv], exit=True)
    assert seen.options is not None
    return seen.options


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        ([], {}),
        (["--profile", "ci"], {"profile": "ci"}),
        (["--set", "a=1"], {"sets": ("a=1",)}),
        (["--set", "a=1", "--set", "b=2", "--set", "a=3"], {"sets": ("a=1", "b=2", "a=3")}),
        (["--set", "a=[x, y]"], {"sets": ("a=[x, y]",)}),
        (["--engine", "existing", "--context", "team"], {"engine": "existing", "context": "team"}),
        (["--engine="], {"engine": "k3d"}),
        (["--keep-going", "--wait-lock"], {"keep_going": True, "wait_lock": True}),
    ],
)
def test_common_options_reach_the_session(seen: Seen, argv: list[str], options: dict[str, Any]) -> None:
    assert called(seen, "dig-it", *argv) == Options(**{"task": "dig-it", **options})


def test_own_options_reach_the_body(seen: Seen) -> None:
    called(seen, "dig-it", "--deep", "--names", "a", "--names", "b", "--form=json")
    assert seen.own == {"deep": True, "names": ["a", "b"], "form": "json"}
    called(seen, "dig-it")
    assert seen.own == {"deep": False, "names": [], "form": "text"}


def test_a_call_leaves_nothing_for_the_next(seen: Seen) -> None:
    called(seen, "dig-it", "--set", "a=1")
    assert called(seen, "dig-it").sets == ()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["dig-it", "--nonsense"], "--nonsense"),
        (["narrow", "--engine", "existing"], "--engine"),
        (["bury-it"], "bury-it"),
    ],
)
def test_what_nobody_knows_is_told_without_a_traceback(
    seen: Seen, argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        called(seen, *argv)
    assert caught.value.code == 1, "invoke's own code for what its parser refuses"
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err
    assert seen.options is None


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 6, 130])
def test_the_code_of_the_task_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with pytest.raises(SystemExit) as caught:
        called(Seen(monkeypatch, status), "dig-it")
    assert caught.value.code == status


def test_a_task_that_goes_well_lets_the_next_one_run(seen: Seen) -> None:
    assert called(seen, "dig-it", "narrow").task == "narrow"


def test_a_task_that_does_not_stops_there(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, 4)
    with pytest.raises(SystemExit):
        called(seen, "dig-it", "narrow")
    assert seen.options is not None
    assert seen.options.task == "dig-it"


def test_the_first_line_of_the_docstring_is_the_help(seen: Seen, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        called(seen, "--help", "dig-it")
    out = capsys.readouterr().out
    assert "Dig a hole." in out
    assert "how deep" in out
    assert "set any setting: --set path=value" in " ".join(out.split())
    assert " -d," not in out, "short flags would change their meaning with each option that is added"


def test_a_task_can_be_called_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, 3)

    @door("profile")
    def dig(session: Session) -> int | None:
        """Dig."""
        return None

    with pytest.raises(Exit) as caught:
        dig(Context())
    assert caught.value.code == 3
    assert seen.options == Options(task="dig")
