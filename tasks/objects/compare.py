"""Whether an object in the cluster is as wanted; if not, which fields differ, never their values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from tasks.objects.contain import WHOLE, differences
from tasks.objects.labels import FIELD_MANAGER, FINGERPRINT, is_secret

MISSING = "missing"
DELETED = "it is being deleted"
_SHOWN = 3
_COMPARED = ("labels", "annotations", "finalizers", "ownerReferences")
"""What of metadata is ours to say."""
_IMMUTABLE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps/v1", "DaemonSet"): ("spec.selector",),
    ("apps/v1", "Deployment"): ("spec.selector",),
    ("apps/v1", "ReplicaSet"): ("spec.selector",),
    ("apps/v1", "StatefulSet"): ("spec.selector",),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io/v1", "StorageClass"): ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
    ("v1", "Secret"): ("type",),
}
"""By (apiVersion, kind): fields of which the API server refuses every change, whoever asks (Kubernetes: validation of
updates). Others have such fields too; of those, the server's own message tells."""
_SEALED = {("v1", "ConfigMap"), ("v1", "Secret")}
"""Kinds whose values nobody can change once the cluster has them with `immutable: true`."""


def same(wanted: Mapping[str, Any], live: Mapping[str, Any] | None) -> str | None:
    """None if the cluster has what is wanted, else why not: `missing`, or `changed:` and names of fields.

    What the server or others have added is no change; what was set by us and differs is, even where the
    fingerprint is still ours. Where applying again will be refused, the reason says what to do instead.
    """
    if live is None:
        return MISSING
    if live["metadata"].get("deletionTimestamp"):
        return DELETED
    found = _secret(wanted, live) if is_secret(wanted) else _fields(wanted, live)
    immutable = _immutable(found, wanted, live)
    if immutable:
        return f"changed: {_listed(immutable)}, which cannot be changed in place: delete it, then run again"
    if found:
        return f"changed: {_listed(found)}"
    if _fingerprint(wanted) not in (None, _fingerprint(live)):
        return "changed: it was applied with other fields"
    return None


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _immutable(found: list[str], wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Those of the fields that no update can change."""
    kind = (wanted["apiVersion"], wanted["kind"])
    fields = _IMMUTABLE.get(kind, ())
    if kind in _SEALED and live.get("immutable"):
        fields += ("data", "binaryData", "immutable")
    return [name for name in found if any(f"{name}.".startswith((f"{field}.", f"{field}[")) for field in fields)]


def _fingerprint(obj: Mapping[str, Any]) -> str | None:
    text: str | None = (obj["metadata"].get("annotations") or {}).get(FINGERPRINT)
    return text


def _fields(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    ignored = {"apiVersion", "kind", "metadata", "status"}
    if "aggregationRule" in wanted:
        ignored.add("rules")  # a controller fills them
    body = {name: value for name, value in wanted.items() if name not in ignored}
    whole = WHOLE.get((wanted["apiVersion"], wanted["kind"]), ())
    return _metadata(wanted, live) + differences(body, live, whole=whole)


def _metadata(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    ours = {name: wanted["metadata"][name] for name in _COMPARED if wanted["metadata"].get(name)}
    if FINGERPRINT in ours.get("annotations", ()):
        ours["annotations"] = {name: text for name, text in ours["annotations"].items() if name != FINGERPRINT}
    return differences(ours, live["metadata"], ("metadata",))


def _secret(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """By type and decoded values; a key of someone else beside ours is no change, one that we had set is."""
    ours, theirs = decoded(wanted), decoded(live)
    changed = {name for name, value in ours.items() if theirs.get(name) != value}
    owned = _owned(live)
    gone = {name for name in theirs if name not in ours and (owned is None or name in owned)}
    other_type = (wanted.get("type") or "Opaque") != (live.get("type") or "Opaque")
    said = wanted.get("immutable")
    immutable = ["immutable"] if said is not None and bool(said) != bool(live.get("immutable")) else []
    names = [f"data.{name}" for name in sorted(changed | gone)]
    return ["type"] * other_type + _metadata(wanted, live) + immutable + names


def decoded(secret: Mapping[str, Any]) -> dict[str, bytes]:
    """A Secret's values; `stringData` wins over `data`, as the API server has it.

    What is no base64 is taken as it stands: the server will refuse it.
    """
    found: dict[str, bytes] = {}
    for name, value in _mapping(secret.get("data")).items():
        text = str(value or "").encode()
        try:
            found[name] = base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error:
            found[name] = text
    found.update((name, str(value or "").encode()) for name, value in _mapping(secret.get("stringData")).items())
    return found


def _owned(live: Mapping[str, Any]) -> set[str] | None:
    """Keys of `data` that were applied by us; None where the object does not say who set its fields.

    Only those go away when they are no longer wanted: server-side apply leaves what others have set.
    """
    entries = live["metadata"].get("managedFields")
    if not entries:
        return None
    fields = [_mapping(entry.get("fieldsV1")) for entry in entries if entry.get("manager") == FIELD_MANAGER]
    return {name.removeprefix("f:") for each in fields for name in _mapping(each.get("f:data")) if name != "."}


def _mapping(value: Any) -> dict[str, Any]:  # noqa: ANN401
    return value if isinstance(value, dict) else {}
