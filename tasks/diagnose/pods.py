"""What is the matter with a pod, read from its status."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tasks.diagnose.diagnosis import clean, short
from tasks.diagnose.events import events_trouble
from tasks.diagnose.scheduling import scheduling_trouble
from tasks.diagnose.workloads import (
    ENVIRONMENT,
    Item,
    Trouble,
    condition,
    missing_config,
    part,
    pull_trouble,
    reason,
    rows,
    subject_of,
    workload_trouble,
    worst,
)

__all__ = ["Trouble", "events_trouble", "pod_trouble", "workload_trouble"]

CRASHES = 5
"""Ends of a container after which it is not expected to come up: the pauses between them sum up to minutes,
in which what it waited for would have come."""
_OUT_OF_MEMORY = 3
"""The same where its memory is too small: nothing that it could wait for changes that."""
_LOGS = "kubectl logs {pod} -c {container} --previous -n {namespace}"
_NOT_STARTED = re.compile(
    r"executable file not found|no such file or directory|exec format error|permission denied|is a directory"
)


def pod_trouble(pod: Item, nodes: Sequence[Item] = ()) -> Trouble | None:
    """What keeps a pod from being ready; None if nothing does, or if it is only being made.

    Of a pod that runs and is not ready yet it says so: that is worth telling only when a wait is over.
    `nodes`, if given, are all nodes that there will be: see `scheduling_trouble`.
    """
    status = part(pod, "status")
    subject = subject_of(pod)
    if status.get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True":
        return None
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return scheduling_trouble(subject, str(scheduled.get("message", "")), pod, nodes)
    if status.get("phase") == "Failed":
        found = worst(_ended(pod, row) for row in _containers(pod))
        return found or _failed(subject, status)
    return worst(_container(pod, row) for row in _containers(pod)) or _not_ready(pod)


def _containers(pod: Item) -> list[Item]:
    status = part(pod, "status")
    return rows(status, "initContainerStatuses") + rows(status, "containerStatuses")


def _container(pod: Item, row: Item) -> Trouble | None:
    waiting = part(row, "state", "waiting")
    judge = _WAITING.get(str(waiting.get("reason", "")))
    if judge is not None:
        return judge(pod, row, clean(str(waiting.get("message") or "")))
    ended = part(row, "state", "terminated")
    if ended and int(ended.get("exitCode") or 0) != 0:
        return _crash(pod, row, "")
    return None


def _image(pod: Item, row: Item, message: str) -> Trouble:
    text = re.sub(r'^Back-off pulling image "[^"]*"(?:: ErrImagePull)?:?\s*', "", message)
    return pull_trouble(_named(pod, row), _image_of(pod, row), text)


def _bad_image(pod: Item, row: Item, message: str) -> Trouble:
    return Trouble(
        cause="image-name",
        what=f"{_named(pod, row)}: '{_image_of(pod, row)}' is no image's name",
        why=reason(message),
        fix="a name is [registry/]repository[:tag], in lower case and without blanks: see the chart's values",
        hopeless=True,
    )


def _never_pulled(pod: Item, row: Item, _message: str) -> Trouble:
    return Trouble(
        cause="image-never-pulled",
        what=f"{_named(pod, row)}: its node does not have the image {_image_of(pod, row)}",
        why="its imagePullPolicy is Never",
        fix="push it to the push registry and name it so, or set imagePullPolicy: IfNotPresent",
        hopeless=True,
    )


def _config(pod: Item, row: Item, message: str) -> Trouble:
    missing = missing_config(_named(pod, row), message, ENVIRONMENT)
    if missing is not None:
        return missing
    return Trouble(
        cause="container-config",
        what=f"{_named(pod, row)}: its container cannot be made",
        why=short(message),
        fix="correct the security context, or the image's user, in the chart's values",
        hopeless="runAsNonRoot" in message,
    )


def _start(pod: Item, row: Item, message: str) -> Trouble:
    return Trouble(
        cause="container-start",
        what=f"{_named(pod, row)}: its container cannot be started",
        why=reason(message),
        fix="see command and args in the chart's values, and that the image has that program, for this processor",
        hopeless=_NOT_STARTED.search(message) is not None,
    )


def _crash(pod: Item, row: Item, _message: str) -> Trouble:
    """A container that ends again and again, told by how it ended last."""
    ended = part(row, "lastState", "terminated") or part(row, "state", "terminated")
    often = int(row.get("restartCount") or 0)
    meta = part(pod, "metadata")
    logs = _LOGS.format(pod=meta.get("name"), container=row.get("name"), namespace=meta.get("namespace") or "default")
    said = clean(str(ended.get("message") or "")).strip()
    times = f"restarted {often} times" if often != 1 else "restarted once"
    if ended.get("reason") == "OOMKilled":
        return Trouble(
            cause="out-of-memory",
            what=f"{_named(pod, row)}: its container needs more memory than it may have",
            why=f"it was ended for it (OOMKilled), and {times}",
            fix="raise resources.limits.memory in the chart's values; if it has none, the node's own limit "
            "(K3D_MEMORY_LIMIT_SERVER, K3D_MEMORY_LIMIT_AGENT)",
            hopeless=often >= _OUT_OF_MEMORY,
        )
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        return _start(pod, row, said)
    code = f"code {ended['exitCode']}" if "exitCode" in ended else "a code that is not known"
    return Trouble(
        cause="crash",
        what=f"{_named(pod, row)}: its container ends again and again",
        why=f"it ended with {code}, and was {times}" + (f": {short(said.splitlines()[-1])}" if said else ""),
        fix=logs,
        hopeless=often >= CRASHES,
    )


def _ended(pod: Item, row: Item) -> Trouble | None:
    """A container of a pod that is not started again."""
    ended = part(row, "state", "terminated")
    if not ended or int(ended.get("exitCode") or 0) == 0:
        return None
    return _crash(pod, row, "")


def _failed(subject: str, status: Item) -> Trouble:
    said = clean(str(status.get("message") or ""))
    evicted = status.get("reason") == "Evicted"
    disk = evicted and "ephemeral-storage" in said
    return Trouble(
        cause="disk-full" if disk else "evicted" if evicted else "pod-failed",
        what=f"{subject} was put off its node" if evicted else f"{subject} has failed",
        why=short(said) or str(status.get("reason") or "its status says no more"),
        fix="docker system df shows what the engine holds; docker system prune frees what nobody uses"
        if disk
        else "kubectl describe of the pod tells more",
    )


def _not_ready(pod: Item) -> Trouble | None:
    """It runs, and that is all: its readiness probe has not passed."""
    unready = [row for row in rows(part(pod, "status"), "containerStatuses") if not row.get("ready")]
    if not unready or not all(part(row, "state").get("running") is not None for row in unready):
        return None
    return Trouble(
        cause="probe",
        what=f"{subject_of(pod)} runs, but is not ready",
        why="its readiness probe has not passed yet: " + ", ".join(str(row.get("name")) for row in unready),
        fix="its log, and the events of the pod, tell what the probe got",
    )


def _named(pod: Item, row: Item) -> str:
    """The pod; with its container, if it has several."""
    several = len(_containers(pod)) > 1
    return subject_of(pod) + (f" (container {row.get('name')})" if several else "")


def _image_of(pod: Item, row: Item) -> str:
    """As the pod's specification names it: the status may hold a digest, or nothing."""
    spec = part(pod, "spec")
    for container in rows(spec, "initContainers") + rows(spec, "containers"):
        if container.get("name") == row.get("name") and container.get("image"):
            return str(container["image"])
    return str(row.get("image") or "an image")


_WAITING: dict[str, Callable[[Item, Item, str], Trouble]] = {
    "ErrImagePull": _image,
    "ImagePullBackOff": _image,
    "RegistryUnavailable": _image,
    "ImageInspectError": _image,
    "InvalidImageName": _bad_image,
    "ErrImageNeverPull": _never_pulled,
    "CreateContainerConfigError": _config,
    "CreateContainerError": _start,
    "RunContainerError": _start,
    "CrashLoopBackOff": _crash,
}
"""By the reason for which a container waits (Kubernetes: `pkg/kubelet/images/types.go`, `pkg/kubelet/container`)."""
