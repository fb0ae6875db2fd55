"""Whether one JSON value is contained in another, as the API server changes and completes what it is given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tasks.objects.quantity import quantity

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
