"""Whether an object in the cluster is as wanted; if not, which fields differ, never their values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from tasks.objects.contain import differences
from tasks.objects.labels import FIELD_MANAGER, FINGERPRINT, is_secret

MISSING = "missing"
_SHOWN = 3
_COMPARED = ("labels", "annotations", "finalizers", "ownerReferences")
"""What of metadata is ours to say."""


def same(wanted: Mapping[str, Any], live: Mapping[str, Any] | None) -> str | None:
    """None if the cluster has what is wanted, else why not: `missing`, or `changed:` and names of fields.

    What the server or others have added is no change; what was set by us and differs is, even where the
    fingerprint is still ours.
    """
    if live is None:
        return MISSING
    found = _secret(wanted, live) if is_secret(wanted) else _fields(wanted, live)
    if found:
        return "changed: " + ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" * (len(found) > _SHOWN))
    if _fingerprint(wanted) not in (None, _fingerprint(live)):
        return "changed: it was applied with other fields"
    return None


def _fingerprint(obj: Mapping[str, Any]) -> str | None:
    text: str | None = (obj["metadata"].get("annotations") or {}).get(FINGERPRINT)
    return text


def _fields(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    ignored = {"apiVersion", "kind", "metadata", "status"}
    if "aggregationRule" in wanted:
        ignored.add("rules")  # a controller fills them
    body = {name: value for name, value in wanted.items() if name not in ignored}
    return _metadata(wanted, live) + differences(body, live)


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
    immutable = ["immutable"] if bool(wanted.get("immutable")) and not live.get("immutable") else []
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
