"""Whether an object in the cluster is as configured, according to `managedFields`.

The API server records which manager set a field, and removes the field from that manager as soon as another one
changes or removes its value, in any way (Kubernetes: "Server-Side Apply"). So an object that has
the fingerprint of the desired one, and in which this project still owns each desired field, is as it was applied,
whatever a kind's defaults, normalised quantities and merged lists look like. Only other fields are compared by value.
Names of fields are reported, never values: they may be secret. The same entries show which manager owns a field whose
value differs from the desired one.
"""

import copy
import functools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.core.units import quantity
from tasks.kube.objects import FIELD_MANAGER, Path, as_stored, decoded, index, is_secret, key_of, shown
from tasks.settings.derived import FINGERPRINT

Item = Mapping[str, Any]
MISSING = "missing"
DELETED = "it is being deleted"
_SHOWN = 3
"""Fields named in a reason; the rest is counted."""
_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
"""The part of metadata that is configured."""
_IMMUTABLE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps/v1", "DaemonSet"): ("spec.selector",),
    ("apps/v1", "Deployment"): ("spec.selector",),
    ("apps/v1", "ReplicaSet"): ("spec.selector",),
    ("apps/v1", "StatefulSet"): (
        *("spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    ),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io/v1", "StorageClass"): ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
    ("v1", "Secret"): ("type",),
}
"""By (apiVersion, kind): fields that the API server never allows to change (Kubernetes: validation of updates).
Other kinds have such fields too; for those the server's own message is shown."""
_EXTENDED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): ("namespaceSelector",),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): ("namespaceSelector",),
    ("batch/v1", "Job"): ("nodeSelector", "tolerations"),
    ("v1", "Pod"): ("nodeSelector", "tolerations"),
}
"""By (apiVersion, kind): atomic fields to which others add nevertheless. A managed cluster
excludes webhooks from its own namespaces (Azure/AKS#1771); a queueing system adds scheduling constraints to pods,
which cannot be removed later."""
_SEALED = {("v1", "ConfigMap"), ("v1", "Secret")}
"""Kinds whose data cannot change once the object has `immutable: true`."""

_NOTES = 6
"""Notes about one release or step; the rest is counted."""


def same(desired: Item, live: Item | None) -> str | None:
    """None if the object is as configured, else the reason: `missing`, or `changed:` and names of fields.

    Additions by the server, admission or other managers are no change. If the API will reject an update, the
    reason says what to do instead.
    """
    if live is None:
        return MISSING
    if live["metadata"].get("deletionTimestamp"):
        return DELETED
    mark = _fingerprint(desired)
    applied = mark is not None and mark == _fingerprint(live)
    found = _secret(desired, live) if is_secret(desired) else _changed(desired, live, applied=applied)
    immutable = _immutable(found, desired, live)
    if immutable:
        return f"changed: {_listed(immutable)}, which cannot be changed in place: delete it, then run again"
    if found:
        return f"changed: {_listed(found)}"
    if mark is not None and not applied:
        return "changed: it was applied with other fields"
    return None


def differences(desired: Item, live: Item) -> list[str]:
    """Fields of `desired` that are missing or different in `live`, whoever set them."""
    return [shown(path) for path in _Comparison(strict=True).fields(desired, live, None, _managed(live))]


def _fingerprint(obj: Item) -> str | None:
    text: str | None = (obj["metadata"].get("annotations") or {}).get(FINGERPRINT)
    return text


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _immutable(found: Sequence[str], desired: Item, live: Item) -> list[str]:
    """The fields among these that no update can change."""
    kind = (desired["apiVersion"], desired["kind"])
    fields = _IMMUTABLE.get(kind, ())
    if kind in _SEALED and live.get("immutable"):
        fields += ("data", "binaryData", "immutable")
    return [name for name in found if any(f"{name}.".startswith((f"{field}.", f"{field}[")) for field in fields)]


def _changed(desired: Item, live: Item, *, applied: bool) -> list[str]:
    """Fields that differ. `applied`: the live object was last applied as desired, so owned fields are equal."""
    body = _body(desired)
    if "aggregationRule" in body:
        body.pop("rules", None)  # set by a controller
    extended = _EXTENDED.get((desired["apiVersion"], desired["kind"]), ())
    schema, held = _managed(live), _managed(live, desired["apiVersion"]) if applied else None
    strict = _Comparison(strict=True, extended=extended).fields(body, live, held, schema) if applied else []
    if applied and not strict:
        return []
    return [shown(path) for path in _Comparison(strict=False).fields(body, live, held, schema) or strict]


def _body(desired: Item) -> dict[str, Any]:
    """The part of an object that is compared."""
    body = {name: value for name, value in desired.items() if name not in ("apiVersion", "kind", "status")}
    return {**body, "metadata": _metadata(desired)}


def _metadata(desired: Item) -> dict[str, Any]:
    ours = {name: desired["metadata"][name] for name in _METADATA if desired["metadata"].get(name)}
    if FINGERPRINT in ours.get("annotations", ()):
        ours["annotations"] = {name: text for name, text in ours["annotations"].items() if name != FINGERPRINT}
    return ours


def _managed(live: Item, own: str | None = None) -> dict[str, Any] | None:
    """All managed fields, as one tree of `FieldsV1`; None if the object has no managedFields.

    `own`: only those that this project has set in that version of the API.
    """
    entries = live["metadata"].get("managedFields") or ()
    if own is not None:
        entries = [each for each in entries if each.get("manager") == FIELD_MANAGER and not each.get("subresource")]
        entries = [each for each in entries if each.get("apiVersion", own) == own]
    merged: dict[str, Any] = {}
    for each in entries:
        merged = _union(merged, each.get("fieldsV1") or {})
    return merged or None


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **{name: _union(one.get(name, {}), inner) for name, inner in other.items()}}


class _Comparison:
    """Compares desired fields with live ones.

    Each method takes the desired and live values at a path, `held`: the fields there that need no comparison, and
    `schema`: all managed fields there, which show the keys of list items, and which values are atomic.
    Both are trees of `FieldsV1`, whose leaves are {}; None if unknown.

    `strict`: the desired value was applied before unchanged, so any difference was set by another manager. Otherwise a
    quantity may be spelled differently, and an atomic value may contain defaults of the server; the latter
    also applies within `extended`.
    """

    def __init__(self, *, strict: bool, extended: Collection[str] = ()) -> None:
        self._strict, self._extended = strict, extended

    def fields(self, desired: Item, live: Item, held: Item | None, schema: Item | None, path: Path = ()) -> list[Path]:
        return [
            each
            for name, value in desired.items()
            for each in self._value(value, live.get(name), _part(held, name), _part(schema, name), (*path, name))
        ]

    def _value(self, desired: Any, live: Any, held: Item | None, schema: Item | None, path: Path) -> list[Path]:  # noqa: ANN401
        if desired is None or held == {} or (live is None and _says_nothing(desired)):
            return []
        if path[-1] in self._extended:
            schema = None
        if self._strict and schema == {}:
            return [] if self._equal(desired, live) else [path]
        if isinstance(desired, dict) and isinstance(live, dict):
            return self.fields(desired, live, held, schema, path)
        if isinstance(desired, list) and isinstance(live, list):
            return self._list(desired, live, held, schema, path)
        return [] if self._equal(desired, live) else [path]

    def _list(
        self, desired: list[Any], live: list[Any], held: Item | None, schema: Item | None, path: Path
    ) -> list[Path]:
        if any(name.startswith("k:") for name in schema or ()):
            return self._keyed(desired, live, held, schema, path)
        if any(name.startswith("v:") for name in schema or ()):
            return [] if [each for each in live if each in desired] == desired else [path]
        pairs = list(zip(desired, live, strict=False))
        if not any(isinstance(each, dict) for each in desired):
            equal = len(desired) == len(live) and not any(self._value(*pair, None, None, path) for pair in pairs)
            return [] if equal else [path]
        if len(desired) != len(live):
            return self._unordered(desired, live, path)
        return [each for n, pair in enumerate(pairs) for each in self._value(*pair, None, schema, (*path, n))]

    def _keyed(
        self, desired: list[Any], live: list[Any], held: Item | None, schema: Item | None, path: Path
    ) -> list[Path]:
        """Each item must be there, in this order; other items may be in between."""
        names = next(json.loads(name[2:]) for name in schema or () if name.startswith("k:"))
        found: list[Path] = []
        last = -1
        for number, item in enumerate(desired):
            keys = {name: key_of(item, name) for name in names}
            at = index(live, keys)
            if at is None or at <= last:
                found.append((*path, number))
            else:
                last = at
                found += self._value(item, live[at], _item(held, keys), _item(schema, keys), (*path, number))
        return found

    def _unordered(self, desired: list[Any], live: list[Any], path: Path) -> list[Path]:
        """Items without known keys: each must be contained in a live one, in this order."""
        found: list[Path] = []
        start = 0
        for number, item in enumerate(desired):
            where = (*path, number)
            at = next((n for n in range(start, len(live)) if not self._value(item, live[n], None, None, where)), None)
            if at is None:
                found.append(where)
            else:
                start = at + 1
        return found

    def _equal(self, desired: Any, live: Any) -> bool:  # noqa: ANN401
        if isinstance(desired, bool) or isinstance(live, bool):
            return desired is live
        if desired == live:
            return True
        number = None if self._strict else quantity(desired)
        return number is not None and number == quantity(live)


def _part(node: Item | None, name: str) -> Item | None:
    """The subtree of a field; {} within an atomic value."""
    if node is None or node == {}:
        return node
    found: Item | None = node.get(f"f:{name}")
    return found


def _item(node: Item | None, keys: Item) -> Item | None:
    """The subtree of the item with these keys; {} within an atomic value."""
    if node is None or node == {}:
        return node
    return next((node[name] for name in node if name.startswith("k:") and json.loads(name[2:]) == keys), None)


def _says_nothing(value: Any) -> bool:  # noqa: ANN401
    """The server omits "", 0, false and empty collections in many fields."""
    return not value or (isinstance(value, dict) and all(_says_nothing(inner) for inner in value.values()))


def _secret(desired: Item, live: Item) -> list[str]:
    """By type and decoded values; another manager's key is no change, one that this project had set is."""
    ours, theirs = decoded(desired), decoded(live)
    changed = {name for name, value in ours.items() if theirs.get(name) != value}
    owned = _owned(live)
    gone = {name for name in theirs if name not in ours and (owned is None or name in owned)}
    other_type = (desired.get("type") or "Opaque") != (live.get("type") or "Opaque")
    value = desired.get("immutable")
    immutable = ["immutable"] if value is not None and bool(value) != bool(live.get("immutable")) else []
    metadata = differences({"metadata": _metadata(desired)}, live)
    return ["type"] * other_type + metadata + immutable + [f"data.{name}" for name in sorted(changed | gone)]


def _owned(live: Item) -> set[str] | None:
    """Keys of `data` that this project has applied; None if the object has no managed fields.

    Only those are removed when they are no longer configured: server-side apply keeps what others have set.
    """
    if not live["metadata"].get("managedFields"):
        return None
    return {name.removeprefix("f:") for name in ((_managed(live, "v1") or {}).get("f:data") or {}) if name != "."}


def unheld(desired: Item, live: Item) -> list[str]:
    """Fields of `desired` with a different value that no manager owns: `kubectl scale --replicas=0` leaves them so.

    Fields within lists, and missing fields, are skipped: the server may have dropped them.
    """
    held = _managed(live)
    if held is None:
        return []
    found = _Comparison(strict=True).fields(_body(as_stored(desired)), live, held, held)
    return [shown(path) for path in found if functools.reduce(_part_of, path, live) is not None]


def _part_of(value: Any, part: str | int) -> Any:  # noqa: ANN401 - any JSON value
    return value.get(part) if isinstance(part, str) and isinstance(value, Mapping) else None


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One field of an object that another manager owns, with a value other than the desired one."""

    path: Path
    managers: tuple[str, ...]
    value: Any = field(repr=False)
    """The value in the cluster; it may be secret."""

    @property
    def shown(self) -> str:
        """For display: `spec.template.spec.containers[0].image`."""
        return shown(self.path)


def conflicts(desired: Item, live: Item, own: Collection[str]) -> list[Conflict]:
    """Fields of `desired` that managers not in `own` own with another value, by path."""
    fitted = as_stored(desired)
    found: dict[Path, tuple[set[str], Any]] = {}
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        part = entry.get("subresource")
        if entry.get("manager") in own or part == "status":
            continue
        name = f"{entry.get('manager') or 'unknown'}" + (f" ({part})" if part else "")
        for path, value in _contested(entry.get("fieldsV1") or {}, fitted, live, ()):
            found.setdefault(path, (set(), value))[0].add(name)
    return [
        Conflict(path=path, managers=tuple(sorted(names)), value=value)
        for path, (names, value) in sorted(found.items(), key=lambda each: shown(each[0]))
    ]


def notes(whose: str, rows: Sequence[tuple[Item, Sequence[Conflict]]], outcome: str) -> tuple[str, ...]:
    """Notes for the end of a run: one for each live object and set of managers. No values: they may be secret."""
    made: list[str] = []
    for item, found in rows:
        kind, metadata = str(item["kind"]).lower(), item["metadata"]
        within = f" in {metadata['namespace']}" if metadata.get("namespace") else ""
        for names in dict.fromkeys(each.managers for each in found):
            fields = ", ".join(each.shown for each in found if each.managers == names)
            where = f"{kind}/{metadata['name']}{within}"
            made.append(f"{whose}: {fields} of {where}, owned by {' and '.join(names)}, is {outcome}")
    more = len(made) - _NOTES
    return (*made[:_NOTES], *((f"{whose}: the same of {more} more objects",) if more > 0 else ()))


def yielding(desired: Item, found: Sequence[Conflict], *, omit: bool) -> dict[str, Any]:
    """The object without those fields, or, if not `omit`, with the values that the other managers have set."""
    made: dict[str, Any] = copy.deepcopy(dict(desired))
    for each in found:
        *above, last = each.path
        if each.path[0] == "data" and last in (made.get("stringData") or {}):
            del made["stringData"][last]
            if not omit:
                made.setdefault("data", {})[last] = each.value
            continue
        place: Any = made
        for part in above:
            place = place[part]
        if omit:
            del place[last]
        else:
            place[last] = each.value
    return made


def _contested(fields: Item, desired: Any, live: Any, path: Path) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401
    """Path and live value of each desired field in the set that differs."""
    for name, inner in fields.items():
        kind, _, text = name.partition(":")
        step: str | int | None = None
        if kind == "f" and isinstance(desired, Mapping) and isinstance(live, Mapping):
            step, mine, theirs = text, desired.get(text), live.get(text)
        elif kind == "k" and isinstance(desired, list) and isinstance(live, list):
            keys = json.loads(text)
            step, there = index(desired, keys), index(live, keys)
            if step is not None:
                mine, theirs = desired[step], None if there is None else live[there]
        # other entries have no value: `.` is the existence of a structure, `v:` a member of a set
        if step is None or mine is None or theirs is None:
            continue
        if any(each != "." for each in inner):
            yield from _contested(inner, mine, theirs, (*path, step))
        elif not inner and mine != theirs:
            yield (*path, step), theirs
