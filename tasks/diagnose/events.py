"""Warnings about pods and their controllers: what a pod's own status does not show, or where there is no pod at all."""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tasks.core.errors import Diagnosis
from tasks.diagnose import pods
from tasks.diagnose.rules import clean

Item = Mapping[str, Any]
Place = tuple[str, str, str]
"""Namespace, kind and name."""
_NONE: Mapping[Place, str] = MappingProxyType({})
_PULL = re.compile(
    r"(?:Failed to pull image|failed to get sandbox image|failed to pull image) \"(?P<image>[^\"]+)\":? ?(?P<rest>.*)"
)
_KILLED = re.compile(r"failed (?P<probe>liveness|startup) probe")
_IMAGE = re.compile(r"[Ii]mage \"(?P<image>[^\"]+)\"")
_REASONS = (
    *("FailedCreate", "ReplicaSetCreateError", "Failed", "FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume"),
    *("ProvisioningFailed", "FailedBinding", "FailedScheduling", "FreeDiskSpaceFailed", "ImageGCFailed"),
    *("EvictionThresholdMet", "Evicted", "BackOff", "Unhealthy"),
)
"""Warnings that are considered, the most telling first (Kubernetes: `pkg/kubelet/events/event.go`)."""


def diagnose_events(events: Iterable[Item], names: Collection[str] = ()) -> Diagnosis | None:
    """The most telling diagnosis among the warning events.

    `names`: names of the objects in question, also matched as prefixes with a dash (pods of a Deployment or
    StatefulSet). Empty: all events. Events are v1 or events.k8s.io/v1.
    """
    warnings = [each for each in events if each.get("type") == "Warning" and _of(each, names)]
    newest = sorted(warnings, key=_time, reverse=True)
    return pods.most_telling(
        _warning(reason, _subject(each), _message(each))
        for reason in _REASONS
        for each in newest
        if each.get("reason") == reason
    )


def diagnose_pending_pull(events: Iterable[Item], names: Collection[str] = ()) -> Diagnosis | None:
    """A pull that has started and not finished, from events; for pods whose names are, or begin with, `names`.

    It is not a failure: report it only after a wait for the pod has timed out.
    """
    last: dict[tuple[str, str], Item] = {}
    for event in sorted(events, key=_time):
        match = _IMAGE.search(_message(event))
        if event.get("reason") in ("Pulling", "Pulled", "Failed") and match is not None and _of(event, names):
            last[_subject(event), match["image"]] = event
    for (subject, image), event in last.items():
        if event.get("reason") == "Pulling":
            return pods.known("Pulling", "", subject, image=image, since=_time(event))
    return None


def diagnose_kills(events: Iterable[Item], subject: str) -> Diagnosis | None:
    """Why a node ends a container that has not ended by itself: a probe of it fails, or its postStart hook.

    `events` of its pod, of any type.
    """
    newest = sorted(events, key=_time, reverse=True)
    for event in newest:
        killed = _KILLED.search(_message(event)) if event.get("reason") == "Killing" else None
        if killed is not None:
            results = (_message(each) for each in newest if each.get("reason") == "Unhealthy")
            result = next((each for each in results if each.lower().startswith(killed["probe"])), killed[0])
            return pods.known("Killing", _message(event), subject, result=result)
        if event.get("reason") == "FailedPostStartHook":
            return pods.known("FailedPostStartHook", _message(event), subject)
    return None


def is_outdated(event: Item, scheduled: Collection[str], uids: Mapping[Place, str] = _NONE) -> bool:
    """Whether it reports a failure that is over; `scheduled`: names of pods that have been scheduled.

    `uids`: those of existing objects: a deleted one may have had the same name. Else failed scheduling of one of those
    pods, or a ReplicaSet that could not create pods and has one now: where it lacks others, its Deployment has a
    condition for that.
    """
    about, reason = _object(event), event.get("reason")
    place = (str(about.get("namespace")), str(about.get("kind")), str(about.get("name")))
    if place in uids and about.get("uid", uids[place]) != uids[place]:
        return True
    if reason == "FailedCreate" and about.get("kind") == "ReplicaSet":
        return any(each.startswith(f"{about.get('name')}-") for each in scheduled)
    return reason == "FailedScheduling" and about.get("name") in scheduled


def _warning(reason: str, subject: str, message: str) -> Diagnosis | None:
    """The diagnosis of one warning; None if it only repeats a state that others explain."""
    if reason in ("FailedCreate", "ReplicaSetCreateError"):
        return pods.diagnose_refusal(subject, message)
    if reason == "FailedScheduling":
        return pods.diagnose_scheduling(subject, message)
    pull = _PULL.search(message) if reason in ("Failed", "FailedCreatePodSandBox") else None
    if pull is not None:
        return pods.diagnose_pull(subject, pull["image"], pull["rest"])
    if reason == "Failed":
        repeated = message.startswith(("Error: ErrImagePull", "Error: ImagePullBackOff"))
        return None if repeated else pods.known(reason, message.removeprefix("Error: "), subject)
    if reason == "FailedCreatePodSandBox" and (full := pods.diagnose_full_disk(subject, message)) is not None:
        return full
    if reason in ("FailedMount", "FailedAttachVolume"):
        return pods.known(reason, message, subject, use="one of its volumes is made from it")
    return pods.known(reason, message, subject)


def _of(event: Item, names: Collection[str]) -> bool:
    name = str(_object(event).get("name", ""))
    return not names or any(name == each or name.startswith(f"{each}-") for each in names)


def _object(event: Item) -> Item:
    return pods.part(event, "involvedObject") or pods.part(event, "regarding")


def _subject(event: Item) -> str:
    about = _object(event)
    kind = str(about.get("kind") or "object").lower()
    namespace = about.get("namespace")
    return f"{kind} {namespace + '/' if namespace else ''}{about.get('name', '')}"


def _message(event: Item) -> str:
    return clean(str(event.get("message") or event.get("note") or ""))


def _time(event: Item) -> str:
    """RFC 3339 in UTC: sorts as text."""
    times = (
        pods.part(event, "series").get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        pods.part(event, "metadata").get("creationTimestamp"),
    )
    return str(next((each for each in times if each), ""))
