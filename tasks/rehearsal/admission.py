"""What the API says of objects before it takes them: what is invalid, and what it fills in by itself."""

from __future__ import annotations

import base64
import binascii
import re

from tasks.rehearsal.refs import made_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tasks.rehearsal.objects import Object

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    f"an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_FREE = frozenset({"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"})
"""Kinds whose names may be nearly anything."""
_TOP = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_FIELDS: Mapping[str, tuple[str, str]] = {
    "ConfigMap": ("data binaryData immutable", ""),
    "Secret": ("data stringData type immutable", ""),
    "Namespace": ("", "finalizers"),
    "ServiceAccount": ("secrets imagePullSecrets automountServiceAccountToken", ""),
    "ResourceQuota": ("", "hard scopes scopeSelector"),
    "LimitRange": ("", "limits"),
    "NetworkPolicy": ("", "podSelector policyTypes ingress egress"),
    "StorageClass": (
        "provisioner parameters reclaimPolicy mountOptions allowVolumeExpansion volumeBindingMode allowedTopologies",
        "",
    ),
    "Deployment": (
        "",
        "replicas selector template strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds",
    ),
    "StatefulSet": (
        "",
        """replicas selector template serviceName volumeClaimTemplates updateStrategy podManagementPolicy
        revisionHistoryLimit minReadySeconds persistentVolumeClaimRetentionPolicy ordinals""",
    ),
    "DaemonSet": ("", "selector template updateStrategy minReadySeconds revisionHistoryLimit"),
}
"""Of some kinds: what may stand beside metadata, and what within spec (Kubernetes 1.33)."""


class Refusal(Exception):
    """The API's answer where it does not do what it was asked."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def status(self) -> dict[str, Any]:
        """As the API sends it."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


def undeclared(obj: Object) -> None:
    """Raises `Refusal` for a field that does not exist, as server-side apply tells it."""
    kind = obj["kind"]
    for name in _undeclared(obj, kind):
        meta = obj["metadata"]
        where = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else f"/{meta['name']}"
        what = f"failed to create typed patch object ({where}; {obj['apiVersion']}, Kind={kind})"
        raise Refusal(500, "", f"{what}: {name}: field not declared in schema")


def _undeclared(obj: Object, kind: str) -> Iterator[str]:
    if kind not in _FIELDS:
        return
    top, spec = _FIELDS[kind]
    allowed = _TOP | set(top.split())
    yield from (f".{name}" for name in obj if name not in allowed or (name == "spec" and not spec))
    yield from (f".spec.{name}" for name in obj.get("spec") or () if spec and name not in spec.split())


def invalid(obj: Object, before: Object | None) -> None:
    """Raises `Refusal` for an object, or a change of one, that is not valid."""
    if obj["kind"] == "Secret":
        _values(obj)
    found = [*_name(obj), *_parts(obj), *(_changes(obj, before) if before is not None else ())]
    if found:
        group = obj["apiVersion"].rpartition("/")[0]
        kind = f"{obj['kind']}.{group}" if group else obj["kind"]
        told = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
        raise Refusal(422, "Invalid", f'{kind} "{obj["metadata"]["name"]}" is invalid: {told}')


def _name(obj: Object) -> Iterator[str]:
    name = obj["metadata"]["name"]
    if obj["kind"] in _FREE:
        return
    label = obj["kind"] in ("Namespace", "Service")
    if not re.fullmatch(_LABEL if label else _SUBDOMAIN, name) or len(name) > (63 if label else 253):
        yield f'metadata.name: Invalid value: "{name}": {_LABEL_WORDS if label else _SUBDOMAIN_WORDS}'


def _values(secret: Object) -> None:
    for value in (secret.get("data") or {}).values():
        try:
            base64.b64decode(str(value or ""), validate=True)
        except binascii.Error:
            said = 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 0'
            raise Refusal(400, "BadRequest", said) from None


def _parts(obj: Object) -> Iterator[str]:
    spec = obj.get("spec") or {}
    if obj["kind"] in ("Deployment", "DaemonSet", "StatefulSet"):
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        template = spec.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not spec.get("selector"):
            yield "spec.selector: Required value"
        elif not wanted.items() <= labels.items():
            shown = ", ".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
            said = "`selector` does not match template `labels`"
            yield f"spec.template.metadata.labels: Invalid value: map[string]string{{{shown}}}: {said}"
        yield from _pod(template.get("spec") or {}, "spec.template.spec")
    elif obj["kind"] == "Job":
        yield from _pod((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")
    elif obj["kind"] == "Pod":
        yield from _pod(spec, "spec")
    elif obj["kind"] == "Service" and spec.get("type") != "ExternalName":
        if not spec.get("ports") and spec.get("clusterIP") != "None":
            yield "spec.ports: Required value"
        for number, each in enumerate(spec.get("ports") or ()):
            if not 0 < int(each.get("port") or 0) < 65536:
                value = each.get("port") or 0
                yield f"spec.ports[{number}].port: Invalid value: {value}: must be between 1 and 65535, inclusive"


def _pod(spec: Mapping[str, Any], path: str) -> Iterator[str]:
    if not spec.get("containers"):
        yield f"{path}.containers: Required value"
    for number, each in enumerate(spec.get("containers") or ()):
        if not each.get("image"):
            yield f"{path}.containers[{number}].image: Required value"


def _changes(obj: Object, before: Object) -> Iterator[str]:
    kind = obj["kind"]
    if kind in ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"):
        selector = obj["spec"].get("selector") or {}
        if selector != (before["spec"].get("selector") or {}):
            shown = ", ".join(
                f'"{key}":"{value}"' for key, value in sorted((selector.get("matchLabels") or {}).items())
            )
            value = f"v1.LabelSelector{{MatchLabels:map[string]string{{{shown}}}}}"
            yield f"spec.selector: Invalid value: {value}: field is immutable"
    elif kind == "StorageClass":
        for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            if obj.get(name) != before.get(name):
                if name in ("parameters", "provisioner"):
                    yield f"{name}: Forbidden: updates to {name} are forbidden."
                else:
                    yield f'{name}: Invalid value: "{obj.get(name)}": field is immutable'
    elif kind == "Secret" and (obj.get("type") or "Opaque") != (before.get("type") or "Opaque"):
        yield f'type: Invalid value: "{obj.get("type") or "Opaque"}": field is immutable'
    elif kind in ("RoleBinding", "ClusterRoleBinding") and obj.get("roleRef") != before.get("roleRef"):
        yield f"roleRef: Invalid value: {obj.get('roleRef')}: cannot change roleRef"
    elif kind == "Job" and obj["spec"].get("template") != before["spec"].get("template"):
        yield "spec.template: Invalid value: core.PodTemplateSpec{}: field is immutable"
    if kind in ("ConfigMap", "Secret") and before.get("immutable") and obj.get("data") != before.get("data"):
        yield "data: Forbidden: field is immutable when `immutable` is set"


def filled(obj: Object) -> Object:
    """What the API adds: defaults, as far as somebody looks at them."""
    kind, made = obj["kind"], dict(obj)
    if kind == "Secret":
        made.setdefault("type", "Opaque")
    elif kind == "Namespace":
        name = made["metadata"]["name"]
        labels = {"kubernetes.io/metadata.name": name, **(made["metadata"].get("labels") or {})}
        made["metadata"] = {**made["metadata"], "labels": labels}
        made.setdefault("spec", {"finalizers": ["kubernetes"]})
        made.setdefault("status", {"phase": "Active"})
    elif kind in ("Deployment", "StatefulSet"):
        made["spec"] = {"replicas": 1, **made["spec"]}
    elif kind == "Service":
        spec = {"type": "ClusterIP", **made["spec"]}
        if spec["type"] != "ExternalName":
            number = int(made_up(made["metadata"]["name"])[:4], 16)
            spec.setdefault("clusterIP", f"10.43.{number // 256}.{number % 256}")
        made["spec"] = spec
    elif kind == "StorageClass":
        made = {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate", **made}
    return made


def coded(obj: Object) -> Object:
    """A Secret with all its values in `data`, as the API keeps it."""
    if obj["kind"] != "Secret" or not obj.get("stringData"):
        return obj
    made = {**obj, "data": dict(obj.get("data") or {})}
    for name, text in made.pop("stringData").items():
        made["data"][name] = base64.b64encode(str(text or "").encode()).decode()
    return made
