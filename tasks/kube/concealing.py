"""Secrets in a cluster's objects: concealed before anything of it is shown, and masked in the objects themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tasks.core.redact import MASK, conceal, conceal_found, redact
from tasks.core.units import mib
from tasks.kube.objects import NO_RELEASES, decoded, is_secret
from tasks.kube.releases import releases
from tasks.settings.origin import may_be_secret, without_assigned

if TYPE_CHECKING:
    from tasks.kube.client import Api

Item = Mapping[str, Any]
_ASSIGNED = re.compile(r"[:=][ \t]*[\"']?([^\s\"',;{}]{8,})")
"""A value in a file that is kept in a Secret: `password=…`, `"auth": "…"`."""
_STRING = 20_000
"""Maximum characters of one string in an object, which may be a chart or a certificate."""
_LEFT_OUT = frozenset({"managedFields", "openAPIV3Schema", "kubectl.kubernetes.io/last-applied-configuration"})
"""Fields that repeat the object, or are large and irrelevant to a failure."""


def conceal_secrets(items: Iterable[Item | None]) -> None:
    """Conceal the values of Secrets among these objects: a ConfigMap may contain them, too."""
    for each in items:
        if each is None or not is_secret(each):
            continue
        for name, value in decoded(each).items():
            text = value.decode("utf-8", "surrogateescape")
            if may_be_secret(name):
                conceal(text)
            else:
                conceal_found(text)


def conceal_values(values: Any) -> None:  # noqa: ANN401 - any JSON value
    """Conceal values with secret names among a release's values."""
    if isinstance(values, list):
        for each in values:
            conceal_values(each)
    elif isinstance(values, Mapping):
        for name, value in values.items():
            if isinstance(value, str) and may_be_secret(str(name)):
                conceal(value)
            conceal_values(value)


def conceal_cluster(api: Api, namespaces: Iterable[str] | None, names: Iterable[tuple[str, str]] = ()) -> None:
    """Conceal values of the cluster's Secrets and Helm releases; `namespaces`: None for all. Raises `ApiError`.

    `names`: namespace and name of the releases, where not all are read.
    """
    places = ["/api/v1/secrets"] if namespaces is None else [f"/api/v1/namespaces/{n}/secrets" for n in namespaces]
    for place in places:
        found = api.get(f"{place}?{NO_RELEASES}")["items"] or ()
        secrets = [{**row, "apiVersion": "v1", "kind": "Secret"} for row in found]
        conceal_secrets(secrets)
        for each in secrets:
            for value in decoded(each).values():
                for assigned in _ASSIGNED.findall(value.decode("utf-8", "replace")):
                    conceal_found(assigned)
    for only in [None] if namespaces is None else names:
        for installed in releases(api, only).values():
            conceal_values(installed.values)


def shortened(text: str, most: int) -> str:
    """At most about that many characters: the first quarter and the end, with a mark for the omitted middle."""
    if len(text) <= most:
        return text
    head, tail = text[: most // 4], text[-(most * 3 // 4) :]
    return f"{head}\n⋯ {mib(len(text) - most)} left out ⋯\n{tail}"


def without_secrets(item: Item) -> dict[str, Any]:
    """An object without values that may be secret: those of a Secret, and those marked by name, line or address."""
    if is_secret(item):
        values = {name: f"{MASK} ({len(value)} bytes)" for name, value in decoded(item).items()}
        return {**_masked({name: part for name, part in item.items() if name != "stringData"}), "data": values}
    return dict(_masked(item))


def _masked(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if isinstance(value, str):
        return without_assigned(shortened(redact(value), _STRING))
    if not isinstance(value, Mapping):
        return value
    named = may_be_secret(str(value.get("name", ""))) and isinstance(value.get("value"), str)
    return {
        name: _hidden(part) if may_be_secret(name) or (named and name == "value") else _masked(part)
        for name, part in value.items()
        if name not in _LEFT_OUT
    }


def _hidden(value: Any) -> Any:  # noqa: ANN401
    """Replaces the value below a secret's name; its strings are masked everywhere from now on."""
    if isinstance(value, Mapping | list):
        return _masked(value) if isinstance(value, Mapping) else [_hidden(each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    conceal_found(value)
    return MASK
