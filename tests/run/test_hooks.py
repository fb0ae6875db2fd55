"""Hooks of a chart beside the Helm that waits for them."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import Context, Stopped
from tasks.kube.wait import Failed
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed
from tasks.run.hooks import attended
from tests.given_live import FakeApi, job, manifest, obj, packed, reached, stored
from tests.test_helm import of

JOBS = "/apis/batch/v1/namespaces/web/jobs"
NOW = "2999-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between looks."""
    for name in ("tasks.run.hooks._OWN", "tasks.run.hooks._AGAIN", "tasks.kube.wait._LOOK_CLOSER"):
        monkeypatch.setattr(name, 0.01)


def hook(name: str = "web-migrate", phase: str = "pre-install", *, done: bool = False) -> Any:
    result = job(name, "web", done=done)
    metadata: dict[str, Any] = {"uid": f"of {name}", "annotations": {"helm.sh/hook": phase}, "creationTimestamp": NOW}
    return {**result, "metadata": {**result["metadata"], **metadata}}


RECORD = {
    **stored(status="pending-install"),
    "data": {"release": packed("", hooks=[{"manifest": manifest(hook())}, {"manifest": manifest(hook("check"))}])},
}
"""As Helm writes it before the first hook."""


def pod_without_image(owner: str = "web-migrate") -> Any:
    waiting = {"reason": "ErrImagePull", "message": "failed to resolve reference: docker.io/x/migrate:9: not found"}
    return obj(
        "Pod",
        f"{owner}-x1",
        "web",
        owner=("Job", owner),
        metadata={"creationTimestamp": NOW},
        spec={"containers": [{"name": "migrate", "image": "x/migrate:9"}]},
        status={"phase": "Pending", "containerStatuses": [{"name": "migrate", "state": {"waiting": waiting}}]},
    )


class Beside:
    """What the Helm beside a hook is given, and what is done for it."""

    def __init__(self, folder: Path, *there: Any, later: tuple[Any, ...] = ()) -> None:
        self.facts = of(folder)
        self.api = reached(self.facts, FakeApi(RECORD, *there))
        if later:
            self.api.at(JOBS, 2, *later)
        self.yields, self.said = threading.Event(), list[str]()
        self.context = Context(step="a step", deadline=20.0, say=self.said.append, yield_place=self.yields.set)

    def helm(self, *, ends: threading.Event | None = None, error: Exception | None = None) -> None:
        """One that runs until `ends` is set, or until it is stopped."""
        with attended(self.facts, self.facts.releases[0], self.context) as inner:
            if ends is not None:
                assert ends.wait(10)
            elif error is None:
                assert inner.cancelled.wait(10)
                raise Stopped("a step")
            if error is not None:
                raise error


def test_while_it_waits_for_a_hook_another_step_has_its_place(tmp_path: Path) -> None:
    beside = Beside(tmp_path, later=(hook(),))
    beside.helm(ends=beside.yields)
    assert beside.said == ["waiting for its hook job/web-migrate"]


@pytest.mark.parametrize(
    "there",
    [
        hook(),
        job("plain", "web", done=False),
        hook("other-migrate"),
        hook("check", "test"),
        hook(done=True),
    ],
    ids=["left by an earlier one", "no hook", "of another release", "a test", "done"],
)
def test_what_is_none_of_its_hooks_changes_nothing(tmp_path: Path, there: Any) -> None:
    beside = Beside(tmp_path, *([there] if there == hook() else []), later=(there,))
    checked = threading.Event()
    beside.api.changes[JOBS, 6] = checked.set
    beside.helm(ends=checked)
    assert not beside.yields.is_set()


def test_a_hook_that_cannot_end_ends_the_wait(tmp_path: Path) -> None:
    beside = Beside(tmp_path, later=(hook(), pod_without_image()))
    with pytest.raises(Failed, match=r"a hook of the chart will not succeed: .*x/migrate:9") as raised:
        beside.helm()
    assert raised.value.fix


def test_one_who_is_interrupted_is_not_told_of_hooks(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    threading.Timer(0.05, beside.context.cancelled.set).start()
    with pytest.raises(Stopped):
        beside.helm()


@pytest.mark.parametrize(("cause", "reported"), [("hook-failed", True), ("release-timeout", True), ("conflict", False)])
def test_the_reason_of_a_failure_is_looked_for_at_its_pods(tmp_path: Path, cause: str, reported: bool) -> None:
    command = Command(argv=("helm", "upgrade"))
    error = CommandFailed(Completed(command=command, code=1, out="", err="Error: no", seconds=1.0), why="in progress")
    error.amend(cause=cause)
    beside = Beside(tmp_path, later=(hook(), pod_without_image()))
    beside.api.changes[JOBS, 1] = lambda: None
    with pytest.raises(CommandFailed) as raised:
        beside.helm(ends=beside.yields, error=error)
    assert ("x/migrate:9" in raised.value.why) == reported


def test_a_hook_of_an_earlier_helm_that_this_one_has_taken_over_is_the_reason_too(tmp_path: Path) -> None:
    """And a Helm that was stopped at its deadline has said nothing of it."""
    done = Completed(command=Command(argv=("helm", "upgrade")), code=-15, out="", err="", seconds=1.0)
    beside = Beside(tmp_path, hook(), pod_without_image())
    checked = threading.Event()
    beside.api.changes[JOBS, 3] = checked.set
    with pytest.raises(DeadlinePassed) as raised:
        beside.helm(ends=checked, error=DeadlinePassed(done, 75))
    assert "x/migrate:9" in raised.value.why


def test_an_api_that_does_not_answer_is_helms_own_matter(tmp_path: Path) -> None:
    beside = Beside(tmp_path)
    beside.api.answers[JOBS] = (503, "starting")
    beside.helm(ends=_set())
    assert not beside.yields.is_set()


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event
