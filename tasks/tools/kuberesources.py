"""Where objects of a kind live in the API, and what is there of those that are wanted."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tasks.tools.kubeapi import Api, ApiError

_MANY = 2
"""From so many wanted objects of one kind in one namespace on, a list costs less than single questions."""


class Key(NamedTuple):
    """What an object is known by; the namespace is empty for cluster-wide ones."""

    api_version: str
    kind: str
    namespace: str
    name: str


class Resources:
    """Kinds and their paths, asked for once for each group and version. Thread-safe."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def find(self, api_version: str, kind: str) -> tuple[str, bool] | None:
        """Plural name, and whether it has namespaces; None if the server does not know the kind (yet)."""
        with self._lock:
            if api_version not in self._known:
                self._known[api_version] = self._ask(api_version)
            return self._known[api_version].get(kind)

    def _ask(self, api_version: str) -> dict[str, tuple[str, bool]]:
        try:
            rows = self._api.get(root(api_version))["resources"]
        except ApiError as error:
            if error.code in (404, 503):  # an aggregated API that is not up yet is none, not a failure (k3s#7021)
                return {}
            raise
        return {row["kind"]: (row["name"], bool(row["namespaced"])) for row in rows if "/" not in row["name"]}


def root(api_version: str) -> str:
    """The path of a group and version."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def path(api_version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """The path of a list or an object."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root(api_version)}{middle}/{plural}" + (f"/{name}" if name else "")


def live(api: Api, resources: Resources, wanted: Iterable[Key]) -> dict[Key, Mapping[str, Any] | None]:
    """Each object as it is in the cluster; None if it is not there, or its kind is not known.

    Kinds that are the same in many namespaces are asked for by one list over all of them.
    """
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    found: dict[Key, Mapping[str, Any] | None] = {}
    for key in wanted:
        found[key] = None
        groups[key.api_version, key.kind].append(key)
    for (api_version, kind), keys in groups.items():
        where = resources.find(api_version, kind)
        if where is None:
            continue
        plural, namespaced = where
        if not namespaced:
            keys_by_path = {Key(k.api_version, k.kind, "", k.name): k for k in keys}
            keys = list(keys_by_path)
        names = {key.namespace for key in keys}
        if len(keys) < _MANY:
            for key in keys:
                _put(found, key, _one(api, path(api_version, plural, key.namespace if namespaced else "", key.name)))
            continue
        scope = next(iter(names)) if namespaced and len(names) == 1 else ""
        for item in api.get(path(api_version, plural, scope))["items"]:
            meta = item["metadata"]
            key = Key(api_version, kind, meta.get("namespace", "") if namespaced else "", meta["name"])
            _put(found, key, item)
    return found


def _put(found: dict[Key, Mapping[str, Any] | None], key: Key, item: Mapping[str, Any] | None) -> None:
    """Under the name that was asked for: a namespace that a cluster-wide object was given says nothing."""
    if key in found:
        found[key] = item
        return
    for asked in found:
        if (asked.api_version, asked.kind, asked.name) == (key.api_version, key.kind, key.name) and not key.namespace:
            found[asked] = item


def _one(api: Api, where: str) -> Mapping[str, Any] | None:
    try:
        item: Mapping[str, Any] = api.get(where)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return item
