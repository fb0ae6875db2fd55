"""What keeps a pod, or its controller, from becoming ready: API objects in, a diagnosis out.

Texts are in pods.yaml and scheduling.yaml. `transient` of a diagnosis: whether waiting longer may help.
"""

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tasks.core.errors import Diagnosis
from tasks.core.units import GIB, count, quantity
from tasks.diagnose.rules import Rule, clean, recognise, rules, short

Item = Mapping[str, Any]
CRASHES = 5
"""Crashes of a container after which it is not expected to recover: the back-off between them sums up to minutes,
in which a missing dependency would have appeared."""
_OUT_OF_MEMORY = 3
"""The same after an out-of-memory kill: waiting does not change the limit."""
_ENVIRONMENT = "its container takes its environment from it"
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})
_CREATING = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_IMAGE_NAME = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Reasons for which a container waits (Kubernetes: `pkg/kubelet/images/types.go`, `pkg/kubelet/container`)."""
_GATED = frozenset({"SchedulingGated", "ReadinessGatesNotReady"})
"""Reasons of a pod's conditions that a program outside Kubernetes has to end (Kubernetes: `pkg/kubelet/status`)."""
_SCHEDULER = "default-scheduler"
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(?:: ErrImagePull)?:?\s*')
_BODY = re.compile(r"nodes are available: (?P<reasons>.*?)(?:\.? preemption: .*)?$")
_SPLIT = re.compile(r", (?=\d+ )")
_SHELL = {126: "it cannot be executed", 127: "the shell does not find a program"}
_SIGNALS = 128
"""Above it, an exit code is that of a signal."""
_PART, _SIZE = re.compile(r"(requested|limited): (\S+?)(?:, used|$)"), re.compile(r"([\w./-]+)=([^,\s]+)")
"""Parts of a refusal by a quota (Kubernetes: `plugin/pkg/admission/resourcequota`)."""
_MAY_PASS = frozenset({"quota-exceeded"})
"""Refusals that end when other pods do, such as the old ones during a rolling update."""


def diagnose_pod(pod: Item, nodes: Sequence[Item] = ()) -> Diagnosis | None:
    """What keeps a pod from being ready; None if nothing does, or if it is only being created.

    For a pod that runs and is not ready yet it says so: report that only after a wait has timed out.
    `nodes`, if given, are all nodes that there will be: see `diagnose_scheduling`.
    """
    status = part(pod, "status")
    subject = subject_of(pod)
    if status.get("phase") == "Succeeded" or condition(pod, "Ready").get("status") == "True":
        return None
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        found = diagnose_scheduling(subject, str(scheduled.get("message", "")), pod, nodes)
        claims = [part(each, "persistentVolumeClaim").get("claimName") for each in rows(part(pod, "spec"), "volumes")]
        named = {"namespace": _namespace(pod), "claims": " ".join(str(each) for each in claims if each)}
        return replace(found, details={**found.details, **named})
    scheduler = str(part(pod, "spec").get("schedulerName") or _SCHEDULER)
    if not scheduled and status.get("phase") == "Pending" and scheduler != _SCHEDULER:
        return known("NoScheduler", "", subject, name=scheduler)
    if scheduled.get("reason") in _GATED:
        return known("Gated", str(scheduled.get("message") or ""), subject)
    if status.get("phase") == "Failed":
        ended = most_telling(_crash(pod, row) for row in _containers(pod) if _exit_code(row))
        where = "PodEvicted" if status.get("reason") == "Evicted" else "PodFailed"
        return ended or known(where, str(status.get("message") or status.get("reason") or ""), subject)
    return most_telling(_container(pod, row) for row in _containers(pod)) or _not_ready(pod)


def diagnose_workload(item: Item) -> Diagnosis | None:
    """Why a Deployment, ReplicaSet or Job creates no pods, or has given up; None if its status does not say."""
    kind = str(item.get("kind") or "workload").lower()
    subject, meta = subject_of(item, kind), part(item, "metadata")
    refused = condition(item, "ReplicaFailure")
    if refused.get("status") == "True":
        return diagnose_refusal(subject, str(refused.get("message") or ""))
    failed = condition(item, "Failed")
    if kind == "job" and failed.get("status") == "True":
        message = f"{failed.get('reason', '')}: {failed.get('message', '')}"
        return known("JobFailed", message, subject, name=str(meta.get("name")), namespace=_namespace(item))
    progress = condition(item, "Progressing")
    if progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
        return known("ProgressDeadlineExceeded", str(progress.get("message") or ""), subject)
    return None


def diagnose_pull(subject: str, image: str, message: str) -> Diagnosis:
    """Why an image pull fails, from containerd's message; `details` has the image.

    A refusal by a registry is not transient.
    """
    text = clean(message)
    pull = known("ErrImagePull", text, subject, image=image)
    found = recognise((*_disk_full(), *rules("images"), *rules("network")), text, where="node")
    if found is None:
        return pull
    return replace(found, what=pull.what, why=f"{found.what} ({_end(text)})", details={"image": image})


def diagnose_full_disk(subject: str, message: str) -> Diagnosis | None:
    """A node without enough disk space; None if the message is about something else."""
    text = clean(message)
    found = recognise(_disk_full(), text, where="node")
    return replace(found, what=f"{subject}: {found.what}", why=_end(text)) if found is not None else None


def diagnose_refusal(subject: str, message: str) -> Diagnosis:
    """Why the API rejects the pods of a controller: a quota, a security policy, a missing service account."""
    refused = known("ReplicaFailure", message, subject)
    found = recognise(rules("api"), clean(message), where="kubectl")
    if found is None:
        return refused
    may_pass = found.transient or (found.cause in _MAY_PASS and not _beyond(found.why))
    return replace(found, what=f"{refused.what}: {found.what}", transient=may_pass)


def _beyond(reason: str) -> bool:
    """Whether a pod requests more than its quota would allow if nothing else existed."""
    sizes = {name: dict(_SIZE.findall(text)) for name, text in _PART.findall(reason)}
    pairs = [
        (quantity(size), quantity(sizes.get("limited", {}).get(name)))
        for name, size in sizes.get("requested", {}).items()
    ]
    return any(size is not None and most is not None and size > most for size, most in pairs)


def diagnose_scheduling(subject: str, message: str, pod: Item | None = None, nodes: Sequence[Item] = ()) -> Diagnosis:
    """Why no node takes a pod, from the scheduler's message.

    Transient, since other pods may end and nodes may join; unless `nodes`, all that there will be, are given and
    the pod requests more than any of them has when empty.
    """
    text = clean(message)
    body = _BODY.search(short(text, 2000))
    reasons = _SPLIT.split(body["reasons"]) if body is not None else [text]
    given = {"subject": subject, "message": ", ".join(reasons)}
    found = recognise(rules("scheduling"), "\n".join(reasons), given=given)
    assert found is not None, "the last rule fits any message"
    excess = too_much(pod, nodes) if pod is not None and nodes else ""
    return replace(found, why=excess, transient=False) if excess else found


def too_much(pod: Item, nodes: Sequence[Item]) -> str:
    """What a pod requests beyond the capacity of the largest node; "" if it fits."""
    for name in ("memory", "cpu"):
        requested = _requested(pod, name)
        offered = [quantity(part(node, "status", "allocatable").get(name)) for node in nodes]
        largest = max((each for each in offered if each is not None), default=None)
        if largest is not None and requested > largest:
            return f"it asks for {_shown(requested, name)}, and the largest node has {_shown(largest, name)}"
    return ""


def known(where: str, message: str, subject: str, **parts: str) -> Diagnosis:
    """The diagnosis of pods.yaml for a reason; the message selects among several."""
    text = clean(message)
    given = {"subject": subject, "message": text, "reason": _end(text), "use": _ENVIRONMENT, **parts}
    found = recognise(rules("pods"), text, where=where, given=given)
    assert found is not None, f"pods.yaml has no rule that fits any message of {where}"
    return found


def most_telling(found: Iterable[Diagnosis | None]) -> Diagnosis | None:
    """The first that is not transient, else the first."""
    there = [each for each in found if each is not None]
    return next((each for each in there if not each.transient), there[0] if there else None)


def part(item: Item, *names: str) -> Item:
    """A nested mapping; empty if it is missing."""
    for name in names:
        found = item.get(name) if isinstance(item, Mapping) else None
        item = found if isinstance(found, Mapping) else {}
    return item


def rows(item: Item, name: str) -> list[Item]:
    """A list of mappings; empty if it is missing."""
    found = item.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) else []


def condition(item: Item, kind: str) -> Item:
    """A condition of an object's status; empty if it has no condition of that type."""
    return next((row for row in rows(part(item, "status"), "conditions") if row.get("type") == kind), {})


def subject_of(item: Item, kind: str = "pod") -> str:
    """Kind, namespace and name, as used in messages."""
    meta = part(item, "metadata")
    namespace, name = meta.get("namespace"), meta.get("name", "")
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _namespace(item: Item) -> str:
    return str(part(item, "metadata").get("namespace") or "default")


def _containers(pod: Item) -> list[Item]:
    status = part(pod, "status")
    return rows(status, "initContainerStatuses") + rows(status, "containerStatuses")


def _exit_code(row: Item) -> int:
    return int(part(row, "state", "terminated").get("exitCode") or 0)


def _container(pod: Item, row: Item) -> Diagnosis | None:
    waiting = part(row, "state", "waiting")
    reason, message = str(waiting.get("reason", "")), clean(str(waiting.get("message") or ""))
    if reason in _PULLING:
        found = diagnose_pull(_named(pod, row), _image_of(pod, row), _BACK_OFF.sub("", message))
        return replace(found, details={**found.details, **_place(pod, row)})
    if reason in _CREATING or reason in _IMAGE_NAME:
        return known(reason, message, _named(pod, row), image=_image_of(pod, row))
    ended = bool(_exit_code(row)) or (bool(part(row, "state", "terminated")) and _restarted(pod, row))
    return _crash(pod, row) if reason == "CrashLoopBackOff" or ended else None


def _restarted(pod: Item, row: Item) -> bool:
    """Whether a container is started again after any end, so that its end without an error is no success."""
    always = part(pod, "spec").get("restartPolicy", "Always") == "Always"
    return always and row in rows(part(pod, "status"), "containerStatuses")


def _crash(pod: Item, row: Item) -> Diagnosis:
    """A container that crashes repeatedly, by its last exit."""
    ended = part(row, "lastState", "terminated") or part(row, "state", "terminated")
    restarts = int(row.get("restartCount") or 0)
    message = clean(str(ended.get("message") or "")).strip()
    times = f"restarted {restarts} times" if restarts != 1 else "restarted once"
    if ended.get("reason") == "OOMKilled":
        found = known("OOMKilled", message, _named(pod, row), times=times)
        return replace(found, transient=restarts < _OUT_OF_MEMORY)
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        return known(str(ended["reason"]), message, _named(pod, row))
    parts = {
        "code": f"code {_meant(ended['exitCode'])}" if "exitCode" in ended else "an unknown code",
        "times": f"{times}: {message.splitlines()[-1]}" if message else times,
        **_place(pod, row),
    }
    where = "Completed" if ended.get("exitCode") == 0 else "CrashLoopBackOff"
    return replace(known(where, message, _named(pod, row), **parts), transient=restarts < CRASHES)


def _meant(code: int) -> str:
    """An exit code with its meaning: those of shells, and signals (POSIX: `sh`, exit status)."""
    if code in _SHELL:
        return f"{code} ({_SHELL[code]})"
    try:
        return f"{code} ({signal.Signals(code - 128).name})" if code > _SIGNALS else str(code)
    except ValueError:
        return str(code)


def _place(pod: Item, row: Item) -> dict[str, str]:
    """Parts of a message, and of `details`, for a container."""
    name = str(part(pod, "metadata").get("name"))
    return {"pod": name, "container": str(row.get("name")), "namespace": _namespace(pod)}


def _not_ready(pod: Item) -> Diagnosis | None:
    """A running pod whose readiness probe has not succeeded yet, or of which another program has to say so.

    Or one with an init container that runs: those with a restart policy are sidecars, and keep running.
    """
    sidecars = {each.get("name") for each in rows(part(pod, "spec"), "initContainers") if each.get("restartPolicy")}
    for row in rows(part(pod, "status"), "initContainerStatuses"):
        since = part(row, "state", "running").get("startedAt")
        if since and row.get("name") not in sidecars:
            return known("PodInitializing", "", subject_of(pod), since=str(since), **_place(pod, row))
    ready = condition(pod, "Ready")
    if ready.get("reason") in _GATED:
        return known("Gated", str(ready.get("message") or ""), subject_of(pod))
    unready = [row for row in rows(part(pod, "status"), "containerStatuses") if not row.get("ready")]
    if not unready or not all(part(row, "state").get("running") is not None for row in unready):
        return None
    names = ", ".join(str(row.get("name")) for row in unready)
    return known("NotReady", "", subject_of(pod), containers=names, **_place(pod, unready[0]))


def _named(pod: Item, row: Item) -> str:
    """The pod; with its container, if it has several."""
    several = len(_containers(pod)) > 1
    return subject_of(pod) + (f" (container {row.get('name')})" if several else "")


def _image_of(pod: Item, row: Item) -> str:
    """As the pod's specification names it: the status may contain a digest, or nothing."""
    spec = part(pod, "spec")
    for container in rows(spec, "initContainers") + rows(spec, "containers"):
        if container.get("name") == row.get("name") and container.get("image"):
            return str(container["image"])
    return str(row.get("image") or "an image")


def _disk_full() -> list[Rule]:
    return [rule for rule in rules("node") if rule.id == "disk-full"]


def _end(text: str) -> str:
    """The end of a chain of wrapped errors, which has the cause."""
    found = ""
    for each in reversed(short(text, 2000).split(": ")):
        found = f"{each}: {found}" if found else each
        if len(found) > 60:
            break
    return short(found)


def _requested(pod: Item, name: str) -> Decimal:
    """The sum of its containers, or its largest init container (Kubernetes: `resource.PodRequests`)."""

    def request(container: Item) -> Decimal:
        return quantity(part(container, "resources", "requests").get(name)) or Decimal(0)

    spec = part(pod, "spec")
    together = sum((request(each) for each in rows(spec, "containers")), Decimal(0))
    return max([together, *(request(each) for each in rows(spec, "initContainers"))])


def _shown(amount: Decimal, name: str) -> str:
    return f"{amount / GIB:.2g} GiB of memory" if name == "memory" else count(float(f"{amount:.2g}"), "CPU")
