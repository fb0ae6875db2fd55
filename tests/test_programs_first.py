"""Missing programs are fetched before anything else, but only where an engine could use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import NoEngine
from tasks.engine.step import Step
from tasks.host import fetching
from tests.given import session
from tests.programs import Answer, FakePrograms


def plan(monkeypatch: pytest.MonkeyPatch, skip: str | None) -> list[str]:
    done: list[str] = []

    def act(_context: object) -> None:
        done.append("fetched")

    monkeypatch.setattr(fetching, "fetch_plan", lambda _session: [Step(name="t", task="tools", action=act, skip=skip)])
    return done


def test_without_an_engine_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = plan(monkeypatch, None)
    down = Answer(code=1, err="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    with pytest.raises(NoEngine):
        session(tmp_path, FakePrograms(answers={"docker info": down})).ensure_programs()
    assert done == []


def test_where_nothing_is_missing_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(monkeypatch, "it is there")
    programs = FakePrograms()
    session(tmp_path, programs).ensure_programs()
    assert programs.lines == []
