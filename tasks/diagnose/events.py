"""What is the matter, read from events: where a pod's own status does not tell, or where there is no pod at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from tasks.diagnose.diagnosis import clean, short
from tasks.diagnose.scheduling import scheduling_trouble
from tasks.diagnose.workloads import (
    ENVIRONMENT,
    Item,
    Trouble,
    disk_trouble,
    missing_config,
    part,
    pull_trouble,
    reason,
    refusal,
    worst,
)

_PULL = re.compile(
    r"(?:Failed to pull image|failed to get sandbox image|failed to pull image) \"(?P<image>[^\"]+)\":? ?(?P<rest>.*)"
)
_IMAGE = re.compile(r"[Ii]mage \"(?P<image>[^\"]+)\"")
_CLASS = re.compile(r"storageclass\S* \"(?P<name>[^\"]+)\" not found")


def events_trouble(events: Iterable[Item], names: Collection[str] = ()) -> Trouble | None:
    """The most telling trouble that warnings among events tell.

    `names`: those of the objects in question; what a Deployment or StatefulSet makes has its name and a
    dash before its own. None: every event counts. Events are v1 or events.k8s.io/v1.
    """
    newest = sorted((each for each in events if _counts(each, names)), key=_time, reverse=True)
    told = [(str(each.get("reason", "")), each) for each in newest]
    found: list[Trouble | None] = []
    for kind, judge in _REASONS.items():
        found += [judge(_subject(each), _message(each)) for reason_, each in told if reason_ == kind]
    return worst(found)


def pulling_trouble(events: Iterable[Item], names: Collection[str] = ()) -> Trouble | None:
    """A pull that has begun and has not ended, by events; of pods whose names are, or begin with, these.

    It is no failure, and worth telling only when a wait for the pod is over.
    """
    last: dict[tuple[str, str], Item] = {}
    for event in sorted(events, key=_time):
        match = _IMAGE.search(_message(event))
        if event.get("reason") in ("Pulling", "Pulled", "Failed") and match is not None and _named(event, names):
            last[_subject(event), match["image"]] = event
    for (subject, image), event in last.items():
        if event.get("reason") == "Pulling":
            return Trouble(
                cause="image-pulling",
                what=f"{subject} still waits for the pull of its image {image}",
                why=f"the pull began at {_time(event)}, and has not failed: the line is slow, or stalls",
                fix="run it again: what has come is kept; on a slow line raise the release's timeout (helm.releases), "
                "or fetch fewer images at once (K3D_CONCURRENT_DOWNLOADS)",
            )
    return None


def is_old_news(event: Item, scheduled: Collection[str]) -> bool:
    """Whether it says that a pod cannot be scheduled which has been meanwhile; `scheduled`: names of such pods."""
    return event.get("reason") == "FailedScheduling" and _about(event).get("name") in scheduled


def _counts(event: Item, names: Collection[str]) -> bool:
    if event.get("type") != "Warning":
        return False
    return _named(event, names)


def _named(event: Item, names: Collection[str]) -> bool:
    name = str(_about(event).get("name", ""))
    return not names or any(name == each or name.startswith(f"{each}-") for each in names)


def _about(event: Item) -> Item:
    return part(event, "involvedObject") or part(event, "regarding")


def _subject(event: Item) -> str:
    about = _about(event)
    kind = str(about.get("kind") or "object").lower()
    namespace = about.get("namespace")
    return f"{kind} {namespace + '/' if namespace else ''}{about.get('name', '')}"


def _message(event: Item) -> str:
    return clean(str(event.get("message") or event.get("note") or ""))


def _time(event: Item) -> str:
    """RFC 3339 in UTC: sorts as text."""
    times = (
        part(event, "series").get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        part(event, "metadata").get("creationTimestamp"),
    )
    return str(next((each for each in times if each), ""))


def _failed(subject: str, message: str) -> Trouble | None:
    """`Failed` is said of a pull, and of a container that cannot be made; what only repeats a state tells nothing."""
    pull = _PULL.search(message)
    if pull is not None:
        return pull_trouble(subject, pull["image"], pull["rest"])
    missing = missing_config(subject, message, ENVIRONMENT)
    if missing is not None or message.startswith(("Error: ErrImagePull", "Error: ImagePullBackOff")):
        return missing
    return Trouble(
        cause="container-start",
        what=f"{subject}: its container cannot be started",
        why=reason(message.removeprefix("Error: ")),
        fix="see command and args in the chart's values, and that the image has that program",
    )


def _mount(subject: str, message: str) -> Trouble:
    return missing_config(subject, message, "one of its volumes is made from it") or Trouble(
        cause="volume-mount",
        what=f"{subject}: a volume cannot be mounted",
        why=short(message),
        fix="kubectl get pvc,pv and the events of the namespace tell more",
    )


def _sandbox(subject: str, message: str) -> Trouble:
    pull = _PULL.search(message)
    if pull is not None:
        return pull_trouble(subject, pull["image"], pull["rest"])
    full = disk_trouble(subject, message)
    if full is not None:
        return full
    return Trouble(
        cause="pod-network",
        what=f"{subject}: its network cannot be made",
        why=reason(message),
        fix="that passes while a node starts; if it stays so, docker logs of the node tells more",
    )


def _provision(subject: str, message: str) -> Trouble:
    match = _CLASS.search(message)
    unset = "no storage class is set" in message
    return Trouble(
        cause="storage-class",
        what=f"{subject}: there is no storage class '{match['name']}'" if match else f"{subject}: no volume is made",
        why=short(message),
        fix="name one that is there in the chart's values: local-path (k3s's own) or openframe-local",
        hopeless=match is not None or unset,
    )


def _disk(subject: str, message: str) -> Trouble:
    return Trouble(
        cause="disk-full",
        what=f"{subject}: its disk is nearly full",
        why=short(message),
        fix="docker system df shows what the engine holds; docker system prune frees what nobody uses",
    )


def _probe(subject: str, message: str) -> Trouble:
    return Trouble(
        cause="probe",
        what=f"{subject} is not ready: its probe does not pass",
        why=short(message),
        fix="its log tells what it does; a slow start needs a larger initialDelaySeconds or a startupProbe",
    )


def _crash(subject: str, message: str) -> Trouble:
    return Trouble(
        cause="crash",
        what=f"{subject}: its container ends again and again",
        why=short(message),
        fix=f"kubectl logs --previous of {subject}",
    )


_REASONS: dict[str, Callable[[str, str], Trouble | None]] = {
    "FailedCreate": refusal,
    "ReplicaSetCreateError": refusal,
    "Failed": _failed,
    "FailedCreatePodSandBox": _sandbox,
    "FailedMount": _mount,
    "FailedAttachVolume": _mount,
    "ProvisioningFailed": _provision,
    "FailedBinding": _provision,
    "FailedScheduling": scheduling_trouble,
    "FreeDiskSpaceFailed": _disk,
    "ImageGCFailed": _disk,
    "EvictionThresholdMet": _disk,
    "Evicted": _disk,
    "BackOff": _crash,
    "Unhealthy": _probe,
}
"""By the event's reason, the telling ones first (Kubernetes: `pkg/kubelet/events/event.go`)."""
