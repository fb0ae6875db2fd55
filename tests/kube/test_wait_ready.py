"""Waits for objects: until all are ready, or until it is known that one will not be."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.core.errors import Diagnosis
from tasks.kube import wait as module
from tasks.kube.client import Api, ApiError, Stream
from tasks.kube.objects import Key
from tasks.kube.unready import pods_of
from tasks.kube.wait import Failed, NotInTime, wait_ready
from tasks.kube.watch import Watched
from tests.given_live import FakeApi, Object, deployment, eager, job, node, obj

WEB = Key("apps/v1", "Deployment", "shop", "web")
PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
NOW, LONG_AGO = "2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"


def unready(**more: Any) -> Object:
    return deployment("web", "shop", ready=False, **more)


def _waits(message: str) -> Object:
    waiting = {"reason": "ErrImagePull", "message": f"failed to resolve reference: docker.io/x/web:9: {message}"}
    return {"name": "web", "ready": False, "state": {"waiting": waiting}}


LOST: Object = {"phase": "Pending", "containerStatuses": [_waits("connection reset by peer")]}
"""Of a pod whose pull may still succeed."""


def pod(name: str = "web-1", owner: tuple[str, str] = ("ReplicaSet", "web-a"), made: str = NOW, **more: Any) -> Object:
    """One with an image that does not exist."""
    return obj(
        "Pod",
        name,
        "shop",
        owner=owner,
        metadata={"creationTimestamp": made},
        spec={"containers": [{"name": "web", "image": "x/web:9"}]},
        **{"status": {"phase": "Pending", "containerStatuses": [_waits("not found")]}, **more},
    )


def replica_set(name: str = "web-a", revision: str | None = None) -> Object:
    notes = {} if revision is None else {"annotations": {"deployment.kubernetes.io/revision": revision}}
    return obj("ReplicaSet", name, "shop", owner=("Deployment", "web"), metadata=notes)


def event(reason: str, message: str, *, about: tuple[str, str] = ("Pod", "web-1"), kind: str = "Warning") -> Object:
    involved = {"kind": about[0], "namespace": "shop", "name": about[1]}
    return obj("Event", reason.lower(), "shop", type=kind, reason=reason, message=message, involvedObject=involved)


@pytest.fixture
def closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods are read at each check."""
    monkeypatch.setattr("tasks.kube.wait._LOOK_CLOSER", 0.0)


def test_it_ends_when_all_are_there_and_ready() -> None:
    api = FakeApi(job("done", "shop"))
    api.at(PATH, 2, unready())
    api.at(PATH, 3, deployment("web", "shop"))
    said: list[str] = []
    reported = wait_ready(api, [WEB, Key("batch/v1", "Job", "shop", "done")], eager(said=said))
    assert reported == ["deployment/web: 1 of 1 replicas are available", "job/done: it is done"]
    assert said == ["1 of 2 are ready", "1 of 2 are ready", "2 of 2 are ready"]


DAEMONS = Key("apps/v1", "DaemonSet", "shop", "agent")


def daemons(pods: int) -> Object:
    status = {"desiredNumberScheduled": pods, "numberReady": pods, "updatedNumberScheduled": pods}
    return obj("DaemonSet", "agent", "shop", spec={}, status=status)


def test_daemons_without_a_node_are_waited_for_until_they_have_their_pods() -> None:
    api = FakeApi(daemons(0))
    api.at("/api/v1/nodes", 2, node("a"))
    api.at("/apis/apps/v1/namespaces/shop/daemonsets/agent", 4, daemons(1))
    said: list[str] = []
    assert wait_ready(api, [DAEMONS], eager(said=said)) == ["daemonset/agent: 1 of 1 pods are ready"]
    assert said == ["0 of 1 are ready"] * 3 + ["1 of 1 are ready"]


def test_where_nodes_may_not_be_read_daemons_without_pods_are_ready() -> None:
    api = FakeApi(daemons(0), answers={"/api/v1/nodes": ApiError(403, "no rights")})
    assert wait_ready(api, [DAEMONS], eager()) == ["daemonset/agent: 0 of 0 pods are ready"]


def test_a_job_that_runs_for_ever_is_waited_for_only_where_it_is_asked_for() -> None:
    key = Key("batch/v1", "Job", "shop", "worker")
    running = {**job("worker", "shop", done=False), "status": {"active": 1, "startTime": NOW}}
    assert wait_ready(FakeApi(running), [key], eager(), jobs=False) == ["job/worker: it runs, and is not waited for"]
    with pytest.raises(NotInTime, match="job/worker: it is not done"):
        wait_ready(FakeApi(running), [key], eager(deadline=0.0))


def test_what_is_not_ready_when_time_is_over_is_named() -> None:
    api = FakeApi(unready(), job("done", "shop"))
    keys = [WEB, Key("batch/v1", "Job", "shop", "done"), Key("v1", "ConfigMap", "shop", "gone")]
    with pytest.raises(NotInTime, match="'a step' was not ready within 0 s") as caught:
        wait_ready(api, keys, eager(deadline=0))
    assert caught.value.why == "deployment/web: 0 of 1 replicas are available; configmap/gone: it does not exist"


def test_the_cause_is_told_when_time_is_over_even_if_it_is_old() -> None:
    api = FakeApi(unready(), replica_set(), pod(made=LONG_AGO))
    with pytest.raises(NotInTime) as caught:
        wait_ready(api, [WEB], eager(deadline=0))
    assert caught.value.why.startswith(
        "deployment/web: 0 of 1 replicas are available. pod shop/web-1 cannot pull x/web:9"
    )
    assert caught.value.fix


def test_warnings_are_told_where_no_pod_is() -> None:
    said = "pods is forbidden: exceeded quota: q, requested: pods=1, used: pods=100, limited: pods=100"
    refused = event("FailedCreate", said, about=("ReplicaSet", "web-a"))
    with pytest.raises(NotInTime) as caught:
        wait_ready(FakeApi(unready(), replica_set(), refused), [WEB], eager(deadline=0))
    assert "quota" in caught.value.why


@pytest.mark.usefixtures("closely")
def test_what_will_never_come_is_told_before_time_is_over() -> None:
    api = FakeApi(unready(), replica_set(), pod())
    with pytest.raises(Failed, match=r"pod shop/web-1 cannot pull x/web:9") as caught:
        wait_ready(api, [WEB], eager())
    assert not caught.value.transient
    assert api.requests.count(PATH) == 1


@pytest.mark.usefixtures("closely")
@pytest.mark.parametrize(
    "there",
    [
        [replica_set(), pod(made=LONG_AGO)],
        [replica_set("web-b", "2"), replica_set("web-a", "1"), pod()],
        [replica_set(), pod(owner=("ReplicaSet", "other-a"))],
    ],
    ids=["it failed in an earlier run and may be mended", "it is of an older version", "it is another's"],
)
def test_a_pod_that_says_nothing_of_this_wait_does_not_end_it(there: list[Object]) -> None:
    notes = {"annotations": {"deployment.kubernetes.io/revision": "2"}} if len(there) == 3 else {}
    api = FakeApi(unready(metadata=notes), *there)
    api.at(PATH, 4, deployment("web", "shop"))
    assert wait_ready(api, [WEB], eager()) == ["deployment/web: 1 of 1 replicas are available"]


@pytest.mark.usefixtures("closely")
def test_what_its_controller_has_not_seen_is_not_judged() -> None:
    old = unready(metadata={"generation": 2})
    old["status"]["observedGeneration"] = 1
    api = FakeApi(old, replica_set(), pod())
    api.at(PATH, 3, deployment("web", "shop"))
    wait_ready(api, [WEB], eager())
    assert not any("pods" in path for path in api.requests)


@pytest.mark.usefixtures("closely")
def test_pods_that_may_not_be_listed_are_no_failure_of_the_wait() -> None:
    refused = ApiError(403, "the API answered 403")
    api = FakeApi(unready(), answers={"/api/v1/namespaces/shop/pods": refused})
    api.at(PATH, 3, deployment("web", "shop"))
    assert wait_ready(api, [WEB], eager())


def test_what_brings_more_is_ready_when_nothing_new_is_there() -> None:
    """A job installs a chart, and is done before the chart's pods are."""
    install, later = Key("batch/v1", "Job", "shop", "install"), Key("apps/v1", "Deployment", "shop", "web")
    api = FakeApi(job("install", "shop"))
    checks: list[list[Key]] = [[install], [install, later], [install, later], [install, later]]
    api.at(PATH, 2, deployment("web", "shop"))
    reported = wait_ready(api, lambda _api: checks.pop(0), eager())
    assert [line.split(":")[0] for line in reported] == ["job/install", "deployment/web"]
    assert checks == []


class Unwatched(FakeApi):
    """An API without watches: what is read from a feed is requested from the API itself."""

    def watch(self, path: str) -> Stream:
        raise AssertionError(f"what cannot be listed is not watched: {path}")

    def patch(self, path: str, body: str) -> tuple[int, str]:
        raise AssertionError(f"a wait writes nothing: {path} {body}")


def test_a_feed_and_the_api_itself_are_two_who_say_that_nothing_new_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else changes any more, nothing would wake the wait for a second look."""
    monkeypatch.setattr("tasks.kube.wait._LOOK_ANYWAY", 60.0)
    monkeypatch.setattr("tasks.kube.watch._PAUSES", (60.0, 60.0))
    api = Unwatched(deployment("web", "shop"))
    api.answers["/apis/apps/v1/deployments"] = ApiError(403, "the API answered 403", "not for you")
    watched = Watched(api)
    queried: list[Api] = []

    def keys(api: Api) -> list[Key]:
        queried.append(api)
        return [WEB]

    began = time.monotonic()
    assert wait_ready(watched, keys, eager()) == ["deployment/web: 1 of 1 replicas are available"]
    assert time.monotonic() - began < 10
    assert queried == [watched, watched.direct]
    watched.close()


def labelled(name: str, kind: str, revision: str) -> Object:
    return pod(name, (kind, "web"), labels={"controller-revision-hash": revision})


@pytest.mark.parametrize(
    ("item", "pods", "found"),
    [
        (obj("Pod", "web-1", "shop"), [pod("web-1"), pod("web-10")], ["web-1"]),
        (obj("Job", "web", "shop"), [pod("a", ("Job", "web")), pod("b", ("Job", "web-2"))], ["a"]),
        (
            obj("StatefulSet", "web", "shop", status={"updateRevision": "r2"}),
            [labelled("web-0", "StatefulSet", "r1"), labelled("web-1", "StatefulSet", "r2")],
            ["web-1"],
        ),
        (obj("StatefulSet", "web", "shop"), [labelled("web-0", "StatefulSet", "r1")], ["web-0"]),
        (obj("DaemonSet", "web", "shop"), [labelled("a", "DaemonSet", "r1"), labelled("b", "DaemonSet", "r2")], []),
        (
            obj("DaemonSet", "web", "shop"),
            [labelled("a", "DaemonSet", "r1"), labelled("b", "DaemonSet", "r1")],
            ["a", "b"],
        ),
        (obj("Deployment", "web", "shop"), [pod("a"), pod("b", ("ReplicaSet", "web-b"))], ["a"]),
    ],
)
def test_only_pods_of_the_newest_version_tell(item: Object, pods: list[Object], found: list[str]) -> None:
    assert [each["metadata"]["name"] for each in pods_of(item, pods, [replica_set()])] == found


@pytest.mark.usefixtures("closely")
def test_a_cause_that_may_pass_is_looked_at_closely_when_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LASTS", 0.05)
    queried: list[str] = []

    def diagnose(found: Diagnosis) -> Diagnosis:
        queried.append(found.details["image"])
        return replace(found, why="its cache is cut off", fix="mend the line", transient=False)

    broken = pod(status=LOST)
    with pytest.raises(Failed, match="cannot pull x/web:9") as caught:
        wait_ready(FakeApi(unready(), replica_set(), broken), [WEB], eager(), diagnose=diagnose)
    assert caught.value.why == "its cache is cut off"
    assert caught.value.fix == "mend the line"
    assert queried == ["x/web:9"]


def test_it_is_looked_at_closely_when_time_is_over_too() -> None:
    def diagnose(found: Diagnosis) -> Diagnosis:
        return replace(found, why="its cache is cut off", fix="mend the line")

    with pytest.raises(NotInTime) as caught:
        wait_ready(FakeApi(unready(), replica_set(), pod(status=LOST)), [WEB], eager(deadline=0), diagnose=diagnose)
    assert "its cache is cut off" in caught.value.why
    assert caught.value.fix == "mend the line"


def test_a_pod_that_was_scheduled_late_is_told_by_its_pull() -> None:
    events = (event("FailedScheduling", "0/1 nodes"), event("Pulling", 'Pulling image "x/web:9"', kind="Normal"))
    there = pod(status={"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]})
    with pytest.raises(NotInTime) as caught:
        wait_ready(FakeApi(unready(), replica_set(), there, *events), [WEB], eager(deadline=0))
    assert "is still waiting for the pull of its image x/web:9" in caught.value.why
    assert "scheduled" not in caught.value.why


FULL = 'Failed to create pod: failed to get sandbox image "pause:3": failed to pull: write x: no space left on device'


@pytest.mark.usefixtures("closely")
@pytest.mark.parametrize(
    ("message", "placed", "ends"),
    [(FULL, LONG_AGO, True), (FULL, NOW, False), (FULL.replace("no space left on device", "EOF"), LONG_AGO, False)],
    ids=["full", "it was placed a moment ago", "something that passes"],
)
def test_a_node_without_room_for_its_first_image_is_told_by_events(message: str, placed: str, ends: bool) -> None:
    waits = {"name": "web", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": placed}
    there = pod(status={"phase": "Pending", "conditions": [bound], "containerStatuses": [waits]})
    kind: type[Exception] = Failed if ends else NotInTime
    with pytest.raises(kind) as caught:
        wait_ready(
            FakeApi(unready(), replica_set(), there, event("FailedCreatePodSandBox", message)),
            [WEB],
            eager(deadline=0.2),
        )
    if ends:
        assert "disk is full" in str(caught.value)


MISSING = 'Readiness probe errored: rpc error: OCI runtime exec failed: exec: "{}": {}: unknown'


@pytest.mark.usefixtures("closely")
@pytest.mark.parametrize(
    ("message", "ends"),
    [
        (MISSING.format("podcli", "executable file not found in $PATH"), True),
        (MISSING.format("/bin/sh", "stat /bin/sh: no such file or directory"), True),
        (MISSING.format("/data/ready.sh", "stat /data/ready.sh: no such file or directory"), False),
        ("Readiness probe failed: cat: /tmp/ready: No such file or directory", False),
    ],
    ids=["not in the image", "no shell", "the container may write it", "an ordinary result"],
)
def test_a_probe_whose_program_is_not_in_the_image_ends_the_wait(message: str, ends: bool) -> None:
    runs = {"name": "web", "ready": False, "state": {"running": {"startedAt": LONG_AGO}}}
    there = pod(status={"phase": "Running", "containerStatuses": [runs]})
    there["spec"] = {"containers": [{"name": "web", "readinessProbe": {"exec": {}}}]}
    kind: type[Exception] = Failed if ends else NotInTime
    with pytest.raises(kind) as caught:
        wait_ready(FakeApi(unready(), replica_set(), there, event("Unhealthy", message)), [WEB], eager(deadline=0.2))
    assert ("the image has no" in str(caught.value)) is ends


def _running(seconds: float, *, lived: float | None = None, name: str = "web") -> Object:
    """The pod of a workload, with a container that has run for some seconds, and lived for some before."""
    begin = datetime.now(UTC) - timedelta(seconds=seconds)
    row: Object = {"name": name, "state": {"running": {"startedAt": begin.isoformat()}}}
    if lived is not None:
        ended = {"startedAt": (begin - timedelta(seconds=lived)).isoformat(), "finishedAt": begin.isoformat()}
        row["lastState"] = {"terminated": ended}
    return pod(status={"phase": "Running", "containerStatuses": [row]})


def _bare(**container: Any) -> Object:
    template = {"spec": {"containers": [{"name": "web", **container}]}}
    there = deployment("web", "shop")
    spec = {**there["spec"], "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {**there, "spec": spec}


PROBE = {"readinessProbe": {"tcpSocket": {"port": 80}}}


@pytest.mark.parametrize(
    ("container", "seconds", "of", "ready"),
    [
        ({}, 0.5, {}, False),
        ({}, 3.5, {}, True),
        (PROBE, 0.5, {}, True),
        ({}, 3.5, {"lived": 5}, False),
        ({}, 7.0, {"lived": 5}, True),
        ({}, 11.0, {"lived": 500}, True),
        ({}, 0.5, {"name": "sidecar-of-a-webhook"}, True),
        ({}, -3600, {}, True),  # the clock of another machine: nothing is known
    ],
)
def test_a_container_without_probe_must_run_a_while(container: Object, seconds: float, of: Object, ready: bool) -> None:
    api = FakeApi(_bare(**container), _running(seconds, **of))
    if ready:
        assert wait_ready(api, [WEB], eager(deadline=0), settle=True) == [
            "deployment/web: 1 of 1 replicas are available"
        ]
    else:
        with pytest.raises(NotInTime, match="not ready") as caught:
            wait_ready(api, [WEB], eager(deadline=0), settle=True)
        assert "its container web has just started, and has no readiness probe" in caught.value.why
        assert wait_ready(api, [WEB], eager(deadline=0))


def test_a_container_that_has_ended_is_not_ready_though_its_deployment_still_says_so() -> None:
    ended = {"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    there = pod(status={"phase": "Running", "containerStatuses": [ended]})
    gone = pod("web-0", deleting=True, status=there["status"])
    evicted = pod("web-2", status={**there["status"], "phase": "Failed"})
    assert wait_ready(FakeApi(_bare(), gone, evicted), [WEB], eager(deadline=0), settle=True)
    with pytest.raises(NotInTime) as caught:
        wait_ready(FakeApi(_bare(), there), [WEB], eager(deadline=0), settle=True)
    assert "its container web has ended" in caught.value.why
