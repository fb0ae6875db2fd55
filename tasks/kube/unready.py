"""Why workloads are not ready, from their pods: a permanent failure is reported before the timeout."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.core.errors import Diagnosis
from tasks.diagnose.events import Place, diagnose_events, diagnose_pending_pull, is_outdated
from tasks.diagnose.pods import condition, diagnose_pod, diagnose_workload, most_telling, part, rows
from tasks.kube.client import Api, ApiError
from tasks.kube.objects import Key

Item = Mapping[str, Any]
_REVISION = "deployment.kubernetes.io/revision"
"""On a Deployment and its ReplicaSets (Kubernetes: `pkg/controller/deployment/util`)."""
_MAKING = 3.0
"""Seconds in which a node normally creates a pod: its network, and the pause container."""
_HASH = "controller-revision-hash"
_PROBES = ("readinessProbe", "startupProbe")
_REASONS, _CAUSES = ("FailedCreatePodSandBox", "Unhealthy"), ("disk-full", "probe-program")
"""Warnings that are considered before a wait has timed out, and what is reported of them."""


def diagnose_unready(
    api: Api, late: Mapping[Key, Item | None], *, since: str = "", events: bool = False
) -> Diagnosis | None:
    """The most telling diagnosis of these objects, by key; None if nothing is known, or the API does not answer.

    `since`: only objects created then or later (RFC 3339, UTC): a pod that failed long ago may be retried at any
    moment, and succeed. `events`: include warnings, which may be old: for a wait that has timed out.
    """
    try:
        return most_telling(_all(api, late, since, events=events))
    except ApiError:
        return None


def _all(api: Api, late: Mapping[Key, Item | None], since: str, *, events: bool) -> Iterator[Diagnosis | None]:
    places: dict[str, list[Item]] = {}
    scheduled: set[str] = set()
    uids: dict[Place, str] = {}
    for key, item in late.items():
        if item is not None and key.namespace and _seen(item):
            places.setdefault(key.namespace, []).append({"apiVersion": key.api_version, "kind": key.kind, **item})
    for namespace, items in places.items():
        yield from (diagnose_workload(item) for item in items if _made(item) >= since)
        pods = [pod for pod in api.get(f"/api/v1/namespaces/{namespace}/pods")["items"] if _made(pod) >= since]
        scheduled |= {pod["metadata"]["name"] for pod in pods if condition(pod, "PodScheduled").get("status") == "True"}
        sets = []
        if any(item["kind"] == "Deployment" for item in items):
            sets = api.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]
        for kind, each in [("Pod", pod) for pod in pods] + [("ReplicaSet", one) for one in sets]:
            uids[namespace, kind, each["metadata"]["name"]] = str(each["metadata"].get("uid"))
        for item in items:
            yield from (diagnose_pod(pod) for pod in pods_of(item, pods, sets))
        if not events:
            unclear = {pod["metadata"]["name"] for pod in pods if _in_the_making(pod) or _probed_by_command(pod)}
            yield _in_events_only(api, namespace, unclear)
    if events:
        for namespace, items in places.items():
            found = api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
            recent = [event for event in found if not is_outdated(event, scheduled, uids)]
            names = [item["metadata"]["name"] for item in items]
            yield diagnose_events(recent, names)
            yield diagnose_pending_pull(recent, names)


def _in_the_making(pod: Item) -> bool:
    """Whether a node has had it for some seconds, and its status has no details."""
    latest = f"{datetime.now(UTC) - timedelta(seconds=_MAKING):%Y-%m-%dT%H:%M:%SZ}"
    scheduled = condition(pod, "PodScheduled")
    placed = scheduled.get("status") == "True" and str(scheduled.get("lastTransitionTime") or "~") <= latest
    return placed and part(pod, "status").get("phase") == "Pending" and diagnose_pod(pod) is None


def _probed_by_command(pod: Item) -> bool:
    """Whether it runs and is not ready, and a command in one of its containers decides on that."""
    probes = (part(row, probe) for row in rows(part(pod, "spec"), "containers") for probe in _PROBES)
    running = part(pod, "status").get("phase") == "Running" and condition(pod, "Ready").get("status") != "True"
    return running and any("exec" in probe for probe in probes)


def _in_events_only(api: Api, namespace: str, pods: Collection[str]) -> Diagnosis | None:
    """A full disk of a pod's node, or a probe's command that does not exist: the pod's status shows neither."""
    if not pods:
        return None
    events = api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    found = diagnose_events([event for event in events if event.get("reason") in _REASONS], pods)
    return found if found is not None and found.cause in _CAUSES else None


def _made(item: Item) -> str:
    return str(item["metadata"].get("creationTimestamp") or "")


def pods_of(item: Item, pods: Sequence[Item], sets: Sequence[Item]) -> list[Item]:
    """The pods of a workload's latest version: an old one may be broken, and the new version fixes that.

    `sets`: the ReplicaSets of its namespace.
    """
    kind, name = item["kind"], item["metadata"]["name"]
    if kind == "Pod":
        return [pod for pod in pods if pod["metadata"]["name"] == name]
    if kind == "Deployment":
        newest = (item["metadata"].get("annotations") or {}).get(_REVISION)
        names = {
            each["metadata"]["name"]
            for each in sets
            if _owned(each, kind, name) and (each["metadata"].get("annotations") or {}).get(_REVISION) == newest
        }
        return [pod for pod in pods if any(_owned(pod, "ReplicaSet", each) for each in names)]
    own = [pod for pod in pods if _owned(pod, kind, name)]
    newest = (item.get("status") or {}).get("updateRevision")
    if kind == "StatefulSet" and newest:
        return [pod for pod in own if (pod["metadata"].get("labels") or {}).get(_HASH) == newest]
    if kind == "DaemonSet":  # its versions are recorded in other objects only
        hashes = {(pod["metadata"].get("labels") or {}).get(_HASH) for pod in own}
        return own if len(hashes) == 1 else []
    return own


def _owned(item: Item, kind: str, name: str) -> bool:
    owners = item["metadata"].get("ownerReferences") or ()
    return any(each.get("kind") == kind and each.get("name") == name for each in owners)


def _seen(item: Item) -> bool:
    """Whether its controller has observed the latest generation: before that its status is outdated."""
    observed = (item.get("status") or {}).get("observedGeneration")
    return observed is None or observed >= (item["metadata"].get("generation") or 0)
