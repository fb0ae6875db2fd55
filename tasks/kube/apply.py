"""Server-side apply of objects without a process, like `kubectl apply --server-side --force-conflicts`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tasks.core.redact import redact
from tasks.kube.client import WRITE, Api, ApiError, Direct
from tasks.kube.objects import FIELD_MANAGER, Resources, deletion_blockers, display, path
from tasks.process.programs import Programs

_FORCED = {"force": "true", "fieldValidation": "Strict"}
_QUERY = urlencode({"fieldManager": FIELD_MANAGER, **_FORCED})
"""kubectl's default validation (kubectl: `--validate=strict`): an unknown field is an error."""


_DUMP = re.compile(r"(Invalid value: )\w+(?:\.\w+)+\{.*\}", re.DOTALL)
"""A Go value of thousands of characters, such as the template of a Job that cannot be changed."""
_COMPARED = re.compile(r"\s*\b\w+\.\w+\{\s*\n.*\}\s*$", re.DOTALL)
"""Two Go values compared line by line, as after the refusal of a claim's change."""


class Refused(ApiError):
    """The API has rejected an object."""

    def __init__(self, code: int, name: str, message: str, reason: str) -> None:
        message = _COMPARED.sub("", _DUMP.sub(r"\1…", redact(message)))  # it may repeat what was sent
        what = f"the API has rejected {name}: {message}"
        super().__init__(code, what, transient=code in (0, 408, 409, 429) or code >= 500)
        self.message = message
        self.text = f"Error from server ({reason}): {message}" if reason else f"Error from server: {message}"
        """As kubectl prints it: known causes are recognised by its words."""


def write(
    api: Api, resources: Resources, obj: Mapping[str, Any], programs: Programs, kubeconfig: Path, seconds: float
) -> None:
    """Apply one object: without a process, unless only kubectl reaches this API. Raises `ApiError`, `CommandFailed`."""
    if isinstance(api, Direct):
        put(api, resources, obj, line(obj))
        return
    from tasks.clients import kubectl  # hardly any cluster needs it
    from tasks.diagnose.command import run_command

    command = kubectl.apply(kubeconfig, stream([obj]), manager=FIELD_MANAGER, deadline=max(WRITE, seconds))
    run_command(programs, command, quiet=True)


def put(api: Direct, resources: Resources, obj: Mapping[str, Any], body: str) -> None:
    """Apply one object, whose JSON is `body`. Raises `ApiError`; transient if its kind is not served yet.

    The API also accepts changes to an object that is being deleted; they vanish with it.
    """
    place = place_of(resources, obj)
    code, text = api.patch(f"{place}?{_QUERY}", body)
    if code not in (200, 201):
        raise rejected(code, obj, text)
    if '"deletionTimestamp"' in text:
        refuse_deleting(obj, json.loads(text))


def refuse_deleting(obj: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Raises `Refused`, in the words of the API, for an object that is being deleted."""
    if there["metadata"].get("deletionTimestamp"):
        message = f"object is being deleted: {display(obj)} waits for {deletion_blockers(there)}"
        raise Refused(409, display(obj), message, "AlreadyExists")


def preview(api: Direct, resources: Resources, obj: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """What an object would become if it were applied now: a dry run on the server.

    Raises `ApiError` if it would be rejected.
    """
    query = urlencode({"fieldManager": manager, **_FORCED, "dryRun": "All"})
    code, text = api.patch(f"{place_of(resources, obj)}?{query}", line(obj))
    if code not in (200, 201):
        raise rejected(code, obj, text)
    found: dict[str, Any] = json.loads(text)
    return found


def place_of(resources: Resources, obj: Mapping[str, Any]) -> str:
    """The API path of an object. Raises `Refused`, transient, if its kind is not served yet."""
    api_version, kind = str(obj["apiVersion"]), str(obj["kind"])
    name, namespace = str(obj["metadata"]["name"]), obj["metadata"].get("namespace")
    where = resources.find(api_version, kind)
    if where is None:
        error = Refused(404, display(obj), f'no matches for kind "{kind}" in version "{api_version}"', "NotFound")
        error.amend(transient=True)
        raise error
    plural, namespaced = where
    return path(api_version, plural, (namespace or "default") if namespaced else "", name)


def rejected(code: int, obj: Mapping[str, Any], text: str) -> Refused:
    """The error for an unsuccessful response of the API.

    A status 500 is the object's fault where the object does not fit its schema.
    """
    message, reason = _message(text)
    unfit = code == 500 and message.startswith("failed to create typed patch object")
    return Refused(422 if unfit else code, display(obj), message, reason)


def _message(text: str) -> tuple[str, str]:
    """Message and reason of a Status; of any other body the beginning."""
    text = redact(text)  # before it is truncated
    by_kubectl = re.match(r"Error from server \((\w+)\): (.*)", text.strip(), re.DOTALL)
    if by_kubectl is not None:
        return by_kubectl[2][:300], by_kubectl[1]
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if not isinstance(status, dict) or not status.get("message"):
        return text.strip()[:300] or "it gave no message", ""
    return str(status["message"]), str(status.get("reason") or "")


_ORDER = (
    *("Namespace", "CustomResourceDefinition"),
    *("PriorityClass", "StorageClass", "IngressClass", "LimitRange", "ResourceQuota", "NetworkPolicy"),
    *("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    *("Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim", "PodDisruptionBudget", "Service"),
    *("DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet"),
    *("HorizontalPodAutoscaler", "Job", "CronJob", "Ingress", "APIService"),
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding")
"""After custom resources: a webhook rejects everything until its own pods run."""
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)} | {kind: 1000 + rank for rank, kind in enumerate(_LAST)}
_CUSTOM = 500

_UNLIKE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""Characters that JSON allows in strings; in YAML they are line breaks, or invalid."""


def ordered(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Namespaces and CRDs first, webhooks last, as Helm installs; objects of one kind keep their order."""
    return sorted((dict(each) for each in objects), key=lambda each: _RANK.get(each["kind"], _CUSTOM))


def split(objects: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """CRDs, which must be served before the rest can be sent, and the rest; both ordered."""
    crds: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for each in ordered(objects):
        (crds if _is_crd(each) else rest).append(each)
    return crds, rest


def _is_crd(obj: Mapping[str, Any]) -> bool:
    group = str(obj["apiVersion"]).partition("/")[0]
    return obj["kind"] == "CustomResourceDefinition" and group == "apiextensions.k8s.io"


def stream(objects: Sequence[Mapping[str, Any]]) -> str:
    """Each object as JSON on one line, after a line `---`: YAML and JSON parsers read the same values."""
    return "".join(f"---\n{line(each)}\n" for each in ordered(objects))


def line(obj: Mapping[str, Any]) -> str:
    """Any JSON value on one line, equal for YAML and JSON parsers."""
    # not escaped as \ud83d\ude00: YAML has no surrogate pairs
    text = json.dumps(obj, ensure_ascii=False, allow_nan=False)
    return _UNLIKE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
