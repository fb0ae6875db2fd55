"""Feeds: listed once, then updated by each change; what is not watched, or not at the moment, is requested."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tasks.kube.client import ApiError, Direct
from tasks.kube.watch import Watched, direct_of
from tests.given_direct import Scripted, watching
from tests.given_live import Object
from tests.programs import until

PODS = "/api/v1/pods"
BUSY = ApiError(503, "the API answered 503", "storage is (re)initializing")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken watch is begun again at once."""
    monkeypatch.setattr("tasks.kube.watch._PAUSES", (0.005, 0.02))


def pod(name: str, namespace: str = "a", **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, **more}


@pytest.fixture
def direct() -> Scripted:
    return Scripted(pods=[pod("one"), pod("two"), pod("one", "b")], nodes=[{"metadata": {"name": "n"}}])


@pytest.fixture
def api(direct: Scripted) -> Iterator[Watched]:
    """Ends with no thread left."""
    assert watching() == []
    watched = Watched(direct)
    yield watched
    direct.gate.set()
    watched.close()
    until(lambda: not watching())


def names(api: Watched, path: str = PODS) -> list[str]:
    return [f"{each['metadata'].get('namespace', '')}/{each['metadata']['name']}" for each in api.get(path)["items"]]


def watch(api: Watched, path: str = PODS) -> None:
    """Until the kind is answered from its feed."""
    api.get(path)
    until(lambda: api._feeds[path].current)


def is_watch(api: Watched, direct: Scripted, count: int) -> bool:
    """Whether the open watch of pods is the `count`-th."""
    return len(direct.streams) == count and api._feeds[PODS].current


def test_a_kind_is_listed_once_and_then_told(api: Watched, direct: Scripted) -> None:
    assert names(api) == ["a/one", "a/two", "b/one"]
    watch(api)
    before_requests = len(direct.requests)
    assert names(api) == ["a/one", "a/two", "b/one"]
    direct.stream.tell("ADDED", pod("three"))
    direct.stream.tell("MODIFIED", pod("two", status={"phase": "Running"}))
    direct.stream.tell("DELETED", pod("one"))
    direct.stream.tell("DELETED", pod("gone before"))
    until(lambda: names(api) == ["a/two", "b/one", "a/three"])
    assert api.get(f"{PODS.replace('pods', 'namespaces/a/pods')}/two")["status"] == {"phase": "Running"}
    assert len(direct.requests) == before_requests, "all of it was answered without a question"


def test_a_bookmark_is_no_object(api: Watched, direct: Scripted) -> None:
    watch(api)
    direct.stream.tell("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "9"}})
    direct.stream.tell("ADDED", pod("three"))
    until(lambda: "a/three" in names(api))
    assert len(names(api)) == 4


def test_a_version_that_is_too_old_is_listed_again(api: Watched, direct: Scripted) -> None:
    watch(api)
    old = direct.stream
    direct.lists[PODS] = [pod("new")]
    direct.version = 5
    old.tell("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
    until(partial(is_watch, api, direct, 2))
    assert names(api) == ["a/new"]
    assert "resourceVersion=5&" in direct.watched[1]


def test_a_watch_that_ends_is_begun_again(api: Watched, direct: Scripted) -> None:
    watch(api)
    for count in (2, 3, 4):
        direct.lists[PODS] = [pod(f"of watch {count}")]
        direct.stream.end()
        until(partial(is_watch, api, direct, count))
        assert names(api) == [f"a/of watch {count}"]


@pytest.mark.parametrize("refused", [BUSY, ApiError(403, "no rights"), ApiError(0, "no answer")])
def test_while_it_cannot_be_watched_the_api_itself_is_asked(api: Watched, direct: Scripted, refused: ApiError) -> None:
    watch(api)
    direct.gate.clear()
    direct.refusals = [refused] * 3
    direct.lists[PODS] = [pod("meanwhile")]
    direct.stream.end()
    until(lambda: not api._feeds[PODS].current)
    assert names(api) == ["a/meanwhile"], "what the feed has is of before"
    direct.gate.set()
    until(lambda: len(direct.watched) == 5 and api._feeds[PODS].current)
    before_requests = len(direct.requests)
    assert names(api) == ["a/meanwhile"]
    assert len(direct.requests) == before_requests


def test_what_cannot_be_listed_is_told_to_who_asks(api: Watched, direct: Scripted) -> None:
    direct.lists[PODS] = BUSY
    for _ in range(3):
        with pytest.raises(ApiError) as caught:
            api.get(PODS)
        assert caught.value is BUSY
    direct.lists[PODS] = [pod("late")]
    until(lambda: api._feeds[PODS].current)
    assert names(api) == ["a/late"]


# -- what is asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (PODS, ["a/one", "a/two", "b/one"]),
        ("/api/v1/namespaces/a/pods", ["a/one", "a/two"]),
        ("/api/v1/namespaces/b/pods", ["b/one"]),
        ("/api/v1/namespaces/pods/pods", []),
    ],
)
def test_a_list_of_one_namespace_or_of_all(api: Watched, direct: Scripted, path: str, found: list[str]) -> None:
    watch(api)
    before_requests = len(direct.requests)
    assert names(api, path) == found
    assert len(direct.requests) == before_requests


@pytest.mark.parametrize("path", ["/api/v1/namespaces/b/pods/two", "/api/v1/namespaces/c/pods/one", "/api/v1/nodes/m"])
def test_one_that_is_not_there_is_told_as_the_api_tells_it(api: Watched, path: str) -> None:
    watch(api)
    watch(api, "/api/v1/nodes")
    with pytest.raises(ApiError, match=f"the API answered 404 to {path}") as caught:
        api.get(path)
    assert (caught.value.code, caught.value.transient) == (404, False)


@pytest.mark.parametrize(
    ("path", "plural", "api_version", "kind"),
    [
        ("/api/v1", "nodes", "v1", "Node"),
        ("/api/v1", "pods", "v1", "Pod"),
        ("/apis/apps/v1", "deployments", "apps/v1", "Deployment"),
        ("/apis/batch/v1", "jobs", "batch/v1", "Job"),
    ],
)
def test_a_single_object_says_its_kind_although_it_came_in_a_list(
    api: Watched, direct: Scripted, path: str, plural: str, api_version: str, kind: str
) -> None:
    """By its kind it is judged whether it is ready: one of none would be."""
    where = "" if kind == "Node" else "/namespaces/a"
    metadata = {"name": "one"} if kind == "Node" else {"name": "one", "namespace": "a"}
    direct.lists[f"{path}/{plural}"] = [{"metadata": metadata}]
    watch(api, f"{path}/{plural}")
    assert api.get(f"{path}{where}/{plural}/one") == {"apiVersion": api_version, "kind": kind, "metadata": metadata}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/secrets",
        "/api/v1/namespaces/pods",
        "/apis/example.com/v1/pods",
        "/apis/apps/v1/pods",
        "/api/v1/pods?limit=1",
        "/api/v1/namespaces/a/pods/one/log",
        "/api/v1/namespaces/a/pods/one?pretty=1",
    ],
)
def test_what_is_not_watched_is_asked_of_the_api_itself(api: Watched, direct: Scripted, path: str) -> None:
    watch(api)
    direct.lists[path] = [pod("asked for")]
    for count in (1, 2):
        assert names(api, path) == ["a/asked for"]
        assert direct.requests.count(path) == count
    assert list(api._feeds) == [PODS]


def test_what_is_asked_raw_is_asked_of_the_api_itself(api: Watched, direct: Scripted) -> None:
    watch(api)
    assert api.raw(PODS) == (200, "ok")
    assert direct.requests[-1] == PODS


def test_what_reads_cannot_write(api: Watched, direct: Scripted) -> None:
    assert isinstance(direct, Direct)
    assert not isinstance(api, Direct)
    assert direct_of(api) is direct_of(direct) is direct


def test_many_who_ask_share_one_watch(api: Watched, direct: Scripted) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: names(api), range(64)))
    until(lambda: api._feeds[PODS].current)
    assert all(each == found[0] for each in found)
    assert len(direct.watched) == len(watching()) == 1


# -- the end -----------------------------------------------------------------------------------------


def test_the_end_ends_threads_and_streams_and_reads_go_on(api: Watched, direct: Scripted) -> None:
    watch(api)
    watch(api, "/api/v1/nodes")
    assert sorted(watching()) == ["watches /api/v1/nodes", "watches /api/v1/pods"]
    api.close()
    until(lambda: not watching())
    assert [each.closed for each in direct.streams] == [True, True]
    direct.lists[PODS] = [pod("later")]
    assert names(api) == ["a/later"]
    direct.lists["/apis/batch/v1/jobs"] = []
    assert api.get("/apis/batch/v1/jobs")["items"] == []
    api.close()
    until(lambda: not watching())


@pytest.mark.parametrize("refused", [False, True])
def test_the_end_while_a_watch_is_being_opened(api: Watched, direct: Scripted, refused: bool) -> None:
    direct.gate.clear()
    direct.refusals = [BUSY] * refused
    api.get(PODS)
    until(lambda: direct.watched)
    api.close()
    direct.gate.set()
    until(lambda: not watching())
    assert all(each.closed for each in direct.streams)
    assert len(direct.watched) == 1
