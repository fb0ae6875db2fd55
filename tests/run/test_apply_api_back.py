"""An API that goes silent in the middle of a launch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine.step import Cancel, Stopped
from tasks.run.apply import ApiLost, api_back
from tests.given import context, facts, settings
from tests.programs import FakePrograms


class Api:
    """Answers `ready` as often as it is told not to be."""

    def __init__(self, silent: int) -> None:
        self.silent, self.asked = silent, 0

    def get(self, path: str) -> None:
        raise AssertionError(path)

    def raw(self, path: str) -> tuple[int, str]:
        assert path == "/readyz"
        self.asked += 1
        return (200, "ok") if self.asked > self.silent else (503, "not yet")


def test_another_one_waits_until_it_is_back(tmp_path: Path) -> None:
    api = Api(2)
    api_back(facts(tmp_path, FakePrograms(), _api=[api]), context())
    assert api.asked == 0, "a first attempt asks nothing"
    api_back(facts(tmp_path, FakePrograms(), _api=[api]), replace(context(), attempt=2))
    assert api.asked == 3


@pytest.mark.parametrize(
    ("ended", "why"),
    [({"k3d-a-server-0": "the node has ended with code 137"}, "ended with code 137"), ({}, "containers run")],
)
def test_one_that_does_not_come_back(tmp_path: Path, ended: dict[str, str], why: str) -> None:
    given = facts(tmp_path, FakePrograms(), settings=settings(timeouts={"api": 0.05}), _api=[Api(10**6)])
    given.outputs.ended.update(ended)
    with pytest.raises(ApiLost) as caught:
        api_back(given, replace(context(), attempt=2))
    assert "not back within 0.05 s" in caught.value.what
    assert why in caught.value.why
    assert "k3d-openframe-dev-server-0" in caught.value.fix
    assert not caught.value.transient


def test_it_ends_when_the_step_is_stopped(tmp_path: Path) -> None:
    cancelled = Cancel()
    cancelled.set()
    with pytest.raises(Stopped):
        api_back(facts(tmp_path, FakePrograms(), _api=[Api(10**6)]), replace(context(), attempt=2, cancelled=cancelled))
