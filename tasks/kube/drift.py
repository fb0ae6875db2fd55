"""Whether an object in the cluster is as wanted; if not, which fields differ, never their values."""

from __future__ import annotations

import base64
import binascii
import copy
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.clients.kubectl import FIELD_MANAGER
from tasks.core.units import quantity
from tasks.kube.objects import FINGERPRINT, is_secret

Path = tuple[str | int, ...]
"""Names of fields and numbers of items, from the top."""

_ATOMIC = frozenset({"ingress", "egress", "from", "to", "rules", "subjects", "limits"})
"""Lists that server-side apply replaces whole: an item more is a change, and applying again takes it away.

In others it would stay: it is admission's, or someone else's (Kubernetes: server-side apply, merge strategy).
"""
_WEBHOOKS = ("webhooks.rules", "webhooks.objectSelector")
WHOLE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): _WEBHOOKS,
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): _WEBHOOKS,
    ("apps/v1", "DaemonSet"): ("spec.template.spec.nodeSelector",),
    ("apps/v1", "Deployment"): ("spec.template.spec.nodeSelector",),
    ("apps/v1", "ReplicaSet"): ("spec.template.spec.nodeSelector",),
    ("apps/v1", "StatefulSet"): ("spec.template.spec.nodeSelector",),
    ("batch/v1", "CronJob"): ("spec.jobTemplate.spec.template.spec.nodeSelector",),
    ("networking.k8s.io/v1", "Ingress"): ("spec.rules",),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("spec.podSelector", "spec.ingress", "spec.egress"),
    ("policy/v1", "PodDisruptionBudget"): ("spec.selector",),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): ("rules", "aggregationRule.clusterRoleSelectors"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("subjects",),
    ("rbac.authorization.k8s.io/v1", "Role"): ("rules",),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("subjects",),
    ("v1", "LimitRange"): ("spec.limits",),
    ("v1", "Service"): ("spec.selector",),
}
"""Fields of a kind (apiVersion, kind) that server-side apply replaces whole, down to the last value: what was added
anywhere within is a change, and applying again takes it away. Only of kinds whose defaults are known here; elsewhere
a server may have filled in what it likes.

Left out: selectors that nobody can change (of workloads, jobs, claims), a Pod's nodeSelector, to which admission adds,
and a webhook's namespaceSelector, to which a managed cluster does (Azure/AKS#1771).
Source: k8s.io/api, `structType`, `mapType` and `listType=atomic`, the same since 0.30 at least.
"""
_MAPS = frozenset(
    {"matchLabels", "nodeSelector", "selector", "default", "defaultRequest", "max", "min", "maxLimitRequestRatio"}
)
"""Mappings within `WHOLE`: an empty one says as much as none, an empty text in one counts. With structures it is the
other way round: `namespaceSelector: {}` is every namespace, none is the policy's own."""
_AMOUNTS = _MAPS - {"matchLabels", "nodeSelector", "selector"} | {"requests", "limits", "hard", "capacity", "podFixed"}
"""Mappings whose values are quantities."""
_AMOUNT = frozenset({"sizeLimit", "divisor", "averageValue"})
_LITERAL = frozenset(
    {"metadata", "labels", "annotations", "matchLabels", "nodeSelector", "selector", "data", "parameters"}
)
"""Below these a text is a text, though it may look like a quantity."""
_IDENTITY = ("name", "key", "ip", "mountPath", "containerPort", "port", "type")
"""What tells the items of a list apart: the first of these that an item has."""


def differences(
    wanted: Mapping[str, Any], live: Mapping[str, Any], path: Path = (), whole: Collection[str] = ()
) -> list[str]:
    """Fields of `wanted` that `live` has not, or has otherwise, as `spec.ports[0].port`. Empty: it is contained.

    Contained too are a field without a value that was left out, a quantity in another spelling, base64
    with other line breaks, mappings with more fields, and lists with other items between ours; but below the
    fields in `whole` (see `WHOLE`) only what the API server fills in.
    """
    return [each for name, value in wanted.items() for each in _value(value, live.get(name), (*path, name), whole)]


def shown(path: Path) -> str:
    """A path as text."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _value(wanted: Any, live: Any, path: Path, whole: Collection[str]) -> list[str]:  # noqa: ANN401
    if wanted is None:
        return []
    if _field(path) in whole:
        # at the top of these, none and an empty one are the same
        return _exact(wanted, type(wanted)() if live is None else live, path)
    if live is None and _says_nothing(wanted):
        return []
    if isinstance(wanted, dict) and isinstance(live, dict):
        return differences(wanted, live, path, whole)
    if isinstance(wanted, list) and isinstance(live, list):
        return _list(wanted, live, path, whole)
    return [] if _equal(wanted, live, path) else [shown(path)]


def _field(path: Path) -> str:
    """Where a path is in its kind, whatever the number of an item: `webhooks.rules`."""
    return ".".join(part for part in path if isinstance(part, str))


def _exact(wanted: Any, live: Any, path: Path) -> list[str]:  # noqa: ANN401
    """A field or item more is a difference, and an empty structure is not an absent one."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        ours, theirs = _said(wanted, path), _said(live, path)
        return [each for name in {**ours, **theirs} for each in _exact(ours.get(name), theirs.get(name), (*path, name))]
    items = isinstance(wanted, list) and isinstance(live, list) and any(isinstance(item, dict) for item in wanted)
    if not items or len(wanted) != len(live):
        return [] if _equal(wanted, live, path) else [shown(path)]
    complete = _DEFAULTS.get(_field(path), dict)
    pairs = [
        (complete(ours) if isinstance(ours, dict) else ours, theirs) for ours, theirs in zip(wanted, live, strict=True)
    ]
    return [each for number, pair in enumerate(pairs) for each in _exact(*pair, (*path, number))]


def _said(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """Its fields, but for those that say as much as none."""
    within = path[-1] in _MAPS

    def speaks(name: str, inner: Any) -> bool:  # noqa: ANN401
        if isinstance(inner, dict):
            return bool(inner) or name not in _MAPS
        return inner not in (None, []) if within else bool(inner)

    return {name: inner for name, inner in value.items() if speaks(name, inner)}


def _says_nothing(value: Any) -> bool:  # noqa: ANN401
    """The server leaves out "", 0, false and empty collections in many fields."""
    return not value or (isinstance(value, dict) and all(_says_nothing(inner) for inner in value.values()))


def _equal(wanted: Any, live: Any, path: Path) -> bool:  # noqa: ANN401
    if isinstance(wanted, bool) or isinstance(live, bool):
        return wanted is live
    if wanted == live:
        return True
    *above, last = [part for part in path if isinstance(part, str)]
    if above[-1:] == ["binaryData"]:
        return _bytes(wanted) == _bytes(live)
    amount = last in _AMOUNT or not _AMOUNTS.isdisjoint(above[-1:])
    if not amount or not _LITERAL.isdisjoint(above):
        return False
    number = quantity(wanted)
    return number is not None and number == quantity(live)


def _list(wanted: list[Any], live: list[Any], path: Path, whole: Collection[str]) -> list[str]:
    atomic = not _ATOMIC.isdisjoint(path)  # what is within an atomic list is atomic
    if not wanted:
        return [shown(path)] if atomic and live else []
    if not any(isinstance(item, dict) for item in wanted):
        # lists of texts are replaced whole too, but for finalizers: others add theirs
        kept = [item for item in live if item in wanted] if path[-1] == "finalizers" else live
        same = len(wanted) == len(kept) and all(
            not _value(*pair, path, whole) for pair in zip(wanted, kept, strict=True)
        )
        return [] if same else [shown(path)]
    if atomic:
        if len(wanted) != len(live):
            return [shown(path)]
        pairs = enumerate(zip(wanted, live, strict=True))
        return [each for number, pair in pairs for each in _value(*pair, (*path, number), whole)]
    found: list[str] = []
    start = 0
    for number, item in enumerate(wanted):
        where = (*path, number)
        at = next((n for n in range(start, len(live)) if not _value(item, live[n], where, whole)), None)
        if at is None:
            near = _counterpart(item, live)
            found += (_value(item, near, where, whole) if near is not None else []) or [shown(where)]
        else:
            start = at + 1
    return found


def _counterpart(item: Any, live: list[Any]) -> dict[str, Any] | None:  # noqa: ANN401
    """The item of the same name, to say which of its fields differs."""
    if not isinstance(item, dict):
        return None
    name = next((each for each in _IDENTITY if each in item), None)
    return next((each for each in live if isinstance(each, dict) and name and each.get(name) == item[name]), None)


def _bytes(value: Any) -> bytes | None:  # noqa: ANN401
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return value.encode()


def _port(port: dict[str, Any]) -> dict[str, Any]:
    """A NetworkPolicy's port (Kubernetes: SetDefaults_NetworkPolicyPort)."""
    return {**port, "protocol": port.get("protocol") or "TCP"}


def _limit(item: dict[str, Any]) -> dict[str, Any]:
    """A LimitRange's item (Kubernetes: SetDefaults_LimitRangeItem)."""
    if item.get("type") != "Container":
        return item
    given = {name: value for name, value in item.items() if isinstance(value, dict)}
    default = {**given.get("max", {}), **given.get("default", {})}
    request = {**given.get("min", {}), **default, **given.get("defaultRequest", {})}
    return {**item, "default": default, "defaultRequest": request}


def _subject(subject: dict[str, Any]) -> dict[str, Any]:
    """Who a role is bound to (Kubernetes: SetDefaults_Subject)."""
    group = "rbac.authorization.k8s.io" if subject.get("kind") in ("User", "Group") else None
    return {**subject, "apiGroup": subject.get("apiGroup") or group}


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    """What a webhook is called for (Kubernetes: SetDefaults_Rule)."""
    return {**rule, "scope": rule.get("scope") or "*"}


_DEFAULTS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "spec.ingress.ports": _port,
    "spec.egress.ports": _port,
    "spec.limits": _limit,
    "subjects": _subject,
    "webhooks.rules": _rule,
}
"""What the API server fills in within `WHOLE`, by list of items."""


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


Item = Mapping[str, Any]
_NOTES = 6
"""Notes about one release or step; the rest is counted."""
_KEY_DEFAULTS = {"protocol": "TCP"}
"""Of keys by which list items are told apart, the one that people leave out (Kubernetes: ports)."""


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One field of an object that another manager holds, with another value than the desired one."""

    path: Path
    managers: tuple[str, ...]
    value: Any = field(repr=False)
    """In the cluster; it may be secret."""

    @property
    def shown(self) -> str:
        """For people: `spec.template.spec.containers[0].image`."""
        return shown(self.path)


def conflicts(desired: Item, live: Item, own: Collection[str]) -> list[Conflict]:
    """Fields of `desired` that managers that are not `own` hold with another value, by path."""
    fitted = _as_stored(desired)
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
    """For the end of a run: one for each live object and set of managers. Never a value: it may be secret."""
    made: list[str] = []
    for item, found in rows:
        kind, metadata = str(item["kind"]).lower(), item["metadata"]
        within = f" in {metadata['namespace']}" if metadata.get("namespace") else ""
        for names in dict.fromkeys(each.managers for each in found):
            fields = ", ".join(each.shown for each in found if each.managers == names)
            where = f"{kind}/{metadata['name']}{within}"
            made.append(f"{whose}: {fields} of {where}, held by {' and '.join(names)}, is {outcome}")
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
    """Path and live value of each field in the set that is desired and differs."""
    for name, inner in fields.items():
        kind, _, text = name.partition(":")
        step: str | int | None = None
        if kind == "f" and isinstance(desired, Mapping) and isinstance(live, Mapping):
            step, mine, theirs = text, desired.get(text), live.get(text)
        elif kind == "k" and isinstance(desired, list) and isinstance(live, list):
            keys = json.loads(text)
            step, there = _index(desired, keys), _index(live, keys)
            if step is not None:
                mine, theirs = desired[step], None if there is None else live[there]
        # all else has no value of its own: `.` is the existence of a structure, `v:` a member of a set
        if step is None or mine is None or theirs is None:
            continue
        if any(each != "." for each in inner):
            yield from _contested(inner, mine, theirs, (*path, step))
        elif not inner and mine != theirs:
            yield (*path, step), theirs


def _index(rows: Sequence[Any], keys: Item) -> int | None:
    """Where the item with these keys is."""
    for number, row in enumerate(rows):
        if isinstance(row, Mapping) and all(row.get(key, _KEY_DEFAULTS.get(key)) == keys[key] for key in keys):
            return number
    return None


def _as_stored(desired: Item) -> Item:
    """A Secret as the API stores it: `stringData` goes into `data`."""
    texts = desired.get("stringData")
    if desired.get("kind") != "Secret" or not isinstance(texts, Mapping):
        return desired
    stored = {name: base64.b64encode(str(text).encode()).decode() for name, text in texts.items()}
    return {**desired, "data": {**(desired.get("data") or {}), **stored}}
