"""Waits that end when the API reports a change: at once, never too early, and with a deadline."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel, Stopped
from tasks.kube.client import Api, ApiError
from tasks.kube.wait import NotInTime, api_ready, poll, watch
from tasks.kube.watch import Watched
from tests.given_direct import Scripted, watching
from tests.given_live import FakeApi, Object
from tests.programs import context, until

PODS = "/api/v1/pods"


def pod(phase: str) -> Object:
    return {"metadata": {"name": "one", "namespace": "a"}, "phase": phase}


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at but for a change."""
    monkeypatch.setattr("tasks.kube.wait._LOOK_ANYWAY", 60.0)


@pytest.fixture
def direct() -> Scripted:
    return Scripted(pods=[pod("Pending")])


@pytest.fixture
def api(direct: Scripted) -> Iterator[Watched]:
    """Pods are watched."""
    watched = Watched(direct)
    watched.get(PODS)
    until(lambda: watched._feeds[PODS].current)
    direct.requests.clear()
    yield watched
    watched.close()
    until(lambda: not watching())


class Look:
    """Looks for a pod that runs, and counts."""

    def __init__(self, api: Watched) -> None:
        self.feeds, self.api = 0, 0
        self._watched = api
        self.looked = threading.Event()

    def __call__(self, api: Api) -> list[Object] | None:
        if api is self._watched:
            self.feeds += 1
        else:
            self.api += 1
        self.looked.set()
        found = [each for each in api.get(PODS)["items"] if each["phase"] == "Running"]
        return found or None

    def more(self, than: int) -> bool:
        return self.feeds > than


def beside(act: Callable[[], object], look: Look) -> None:
    """Do it when the wait has looked once and waits."""

    def late() -> None:
        assert look.looked.wait(5)
        time.sleep(0.05)
        act()

    threading.Thread(target=late, daemon=True).start()


def change(direct: Scripted, phase: str) -> None:
    direct.lists[PODS] = [pod(phase)]
    direct.stream.tell("MODIFIED", pod(phase))


def test_what_is_there_is_found_at_once_and_the_api_has_confirmed_it(api: Watched, direct: Scripted) -> None:
    change(direct, "Running")
    until(lambda: api.get(PODS)["items"][0]["phase"] == "Running")
    look = Look(api)
    assert watch(api, look, context()) == [pod("Running")]
    assert (look.feeds, look.api, direct.requests) == (1, 1, [PODS])


def test_it_wakes_when_a_change_is_told(api: Watched, direct: Scripted) -> None:
    look = Look(api)
    beside(lambda: change(direct, "Running"), look)
    began = time.monotonic()
    assert watch(api, look, context())
    assert time.monotonic() - began < 2
    assert (look.feeds, look.api) == (2, 1)


def test_as_long_as_the_feed_says_no_the_api_is_not_asked(api: Watched, direct: Scripted) -> None:
    look = Look(api)

    def changes() -> None:
        for count in range(3):
            change(direct, f"Pending {count}")
            until(partial(look.more, count + 1))
        change(direct, "Running")

    beside(changes, look)
    watch(api, look, context())
    assert direct.requests == [PODS]


def test_a_feed_of_before_our_own_write_does_not_count(api: Watched, direct: Scripted) -> None:
    """The old pod runs, and the step before has just written a new one."""
    direct.stream.tell("MODIFIED", pod("Running"))
    until(lambda: api.get(PODS)["items"][0]["phase"] == "Running")
    look = Look(api)
    beside(lambda: change(direct, "Running"), look)
    watch(api, look, context())
    assert (look.feeds, look.api) == (2, 2)


def test_what_counts_is_what_the_api_itself_says(api: Watched, direct: Scripted) -> None:
    direct.stream.tell("MODIFIED", {**pod("Running"), "of": "the feed"})
    until(lambda: api.get(PODS)["items"][0]["phase"] == "Running")
    direct.lists[PODS] = [{**pod("Running"), "of": "the API"}]
    assert watch(api, Look(api), context())[0]["of"] == "the API"


def test_a_cancelled_wait_ends_at_once(api: Watched) -> None:
    cancelled, look = Cancel(), Look(api)
    beside(cancelled.set, look)
    began = time.monotonic()
    with pytest.raises(Stopped):
        watch(api, look, context(cancelled=cancelled))
    assert time.monotonic() - began < 2
    assert look.feeds == 1


def test_one_that_was_cancelled_before_ends_at_once(api: Watched) -> None:
    cancelled = Cancel()
    cancelled.set()
    began = time.monotonic()
    with pytest.raises(Stopped):
        watch(api, Look(api), context(cancelled=cancelled))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("deadline", [20.0, 0.0])
def test_nobody_is_woken_when_the_wait_is_over(api: Watched, direct: Scripted, deadline: float) -> None:
    direct.lists[PODS] = [pod("Running")] if deadline else []
    direct.stream.tell("MODIFIED", pod("Running"))
    until(lambda: api.get(PODS)["items"][0]["phase"] == "Running")
    step = context(deadline=deadline)
    try:
        watch(api, Look(api), step)
    except NotInTime:
        assert not deadline
    seen = api.changes.count
    step.cancelled.set()
    assert api.changes.count == seen


def test_a_deadline_tells_what_was_missing(api: Watched) -> None:
    began = time.monotonic()
    with pytest.raises(NotInTime, match=r"'a step' was not ready within 0\.2 s") as caught:
        watch(api, Look(api), context(deadline=0.2), telling=lambda: "one of two")
    assert 0.2 <= time.monotonic() - began < 2
    assert caught.value.why == "one of two"


def test_a_deadline_tells_the_last_error_where_nothing_else_is_known(api: Watched) -> None:
    def look(_api: Api) -> bool | None:
        raise ApiError(503, "the API answered 503", "etcd")

    with pytest.raises(NotInTime) as caught:
        watch(api, look, context(deadline=0.1))
    assert caught.value.why == "the API answered 503 etcd"


def test_a_silent_watch_holds_up_no_wait(api: Watched, direct: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.kube.wait._LOOK_ANYWAY", 0.02)
    monkeypatch.setattr("tasks.kube.wait._ASK_ANYWAY", 0.1)
    look = Look(api)
    direct.lists[PODS] = [pod("Running")]
    began = time.monotonic()
    assert watch(api, look, context()) == [pod("Running")]
    assert 0.1 <= time.monotonic() - began < 5
    assert look.feeds > look.api == 1


def test_an_answer_that_may_pass_is_waited_out(api: Watched, direct: Scripted) -> None:
    direct.stream.tell("MODIFIED", pod("Running"))
    until(lambda: api.get(PODS)["items"][0]["phase"] == "Running")
    direct.lists[PODS] = ApiError(429, "slow down")
    look = Look(api)
    beside(lambda: change(direct, "Running"), look)
    assert watch(api, look, context())


@pytest.mark.parametrize("error", [ApiError(403, "no rights"), ValueError("a bug")])
def test_what_cannot_pass_is_raised(api: Watched, error: Exception) -> None:
    def look(_api: Api) -> bool | None:
        raise error

    step = context()
    with pytest.raises(type(error)) as caught:
        watch(api, look, step)
    assert caught.value is error
    seen = api.changes.count
    step.cancelled.set()
    assert api.changes.count == seen, "an error that has left forgets its changes too"


def test_what_is_not_watched_is_polled(api: Watched, direct: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.kube.wait._LOOK_ANYWAY", 0.02)
    path = "/api/v1/secrets"
    direct.lists[path] = []

    def look(api: Api) -> bool | None:
        if direct.requests.count(path) == 3:
            direct.lists[path] = [{"metadata": {"name": "s"}}]
        return True if api.get(path)["items"] else None

    assert watch(api, look, context())
    assert direct.requests.count(path) == 5, "once more, of the API itself"


REFUSALS = [
    (401, "Unauthorized"),
    (403, 'forbidden: User "system:anonymous" cannot get path "/readyz"'),
    ApiError(0, "its certificate cannot be verified", transient=False),
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_ends_the_wait_for_an_api_once_it_lasts(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.kube.wait._SETTLES", 0.2)
    api, began = FakeApi(answers={"/readyz": answer}), time.monotonic()
    with pytest.raises(ApiError) as caught:
        api_ready(lambda: api, context(deadline=60), pause=0.01, cap=0.05)
    assert 0.15 < time.monotonic() - began < 5
    assert not caught.value.transient
    assert caught.value.cause in ("api-login", "")


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_is_told_where_time_is_over_before(answer: Any) -> None:
    api = FakeApi(answers={"/readyz": answer})
    with pytest.raises(ApiError):
        api_ready(lambda: api, context(deadline=0.1), pause=0.01)


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_server_that_starts_may_refuse_for_a_moment(answer: Any) -> None:
    api = FakeApi(answers={"/readyz": answer})
    checks = iter(range(4))

    def asked() -> FakeApi:
        if next(checks) == 3:
            api.answers["/readyz"] = (200, "ok")
        return api

    api_ready(asked, context(), pause=0.01)


class Looks:
    """Answers one after another; the last again and again."""

    def __init__(self, *answers: object) -> None:
        self.left, self.count = list(answers), 0

    def __call__(self) -> Any:
        self.count += 1
        found = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(found, Exception):
            raise found
        return found


def test_it_is_asked_until_there_is_a_value() -> None:
    look = Looks(None, ApiError(0, "refused"), ApiError(503, "etcd"), ApiError(429, "slow down"), 0)
    assert poll(look, context(), pause=0.01) == 0
    assert look.count == 5


@pytest.mark.parametrize("error", [ApiError(403, "no"), ApiError(404, "no"), LaunchError("other"), ValueError("bug")])
def test_what_cannot_pass_is_raised_at_once(error: Exception) -> None:
    look = Looks(None, error)
    with pytest.raises(type(error)) as caught:
        poll(look, context(), pause=0.01)
    assert caught.value is error
    assert look.count == 2


def test_a_deadline_tells_the_last_error_or_what_was_missing() -> None:
    began = time.monotonic()
    with pytest.raises(NotInTime, match=r"'a step' was not ready within 0\.2 s") as caught:
        poll(Looks(ApiError(0, "refused", "port 1")), context(deadline=0.2), pause=0.05)
    assert 0.2 <= time.monotonic() - began < 2
    assert caught.value.why == "refused port 1"
    with pytest.raises(NotInTime) as caught:
        poll(Looks(None), context(deadline=0.1), pause=0.05, telling=lambda: "one of two")
    assert caught.value.why == "one of two"


def test_cancelling_ends_the_wait_at_once() -> None:
    cancelled = Cancel()
    threading.Timer(0.1, cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        poll(Looks(None), context(deadline=30, cancelled=cancelled), pause=20)
    assert time.monotonic() - began < 3
