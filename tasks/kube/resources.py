"""Where objects of a kind live in the API, and what is there of those that are wanted."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tasks.kube.client import Api, ApiError

_MANY = 2
"""From so many wanted objects of one kind in one namespace on, a list costs less than single questions."""
_LEFT_OUT = {("v1", "Secret"): "?fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"}
"""What a list need not hold: Helm keeps each revision of a release in a Secret of up to 1 MiB."""

_BUILT_IN = re.compile(
    r"[^./]+(?:/.*)?|(?:admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates|"
    r"coordination|discovery|events|flowcontrol\.apiserver|networking|node|rbac\.authorization|resource|scheduling|"
    r"storage|storagemigration)\.k8s\.io/.*"
)
"""Versions of the groups that are Kubernetes' own: no definition adds a kind to them."""
_OF_K3S = re.compile(
    r"(?:[^/]+\.)?(?:traefik\.io|containo\.us|cattle\.io|gateway\.networking\.k8s\.io|metrics\.k8s\.io)/.*"
)
"""Versions of the groups that k3s installs while it starts (k3s: manifests/)."""


class Key(NamedTuple):
    """What an object is known by."""

    api_version: str
    kind: str
    namespace: str | None
    """None: cluster-wide, or not said."""
    name: str


class Resources:
    """Kinds and their paths, asked for once for each group and version that has them. Thread-safe."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def find(self, api_version: str, kind: str) -> tuple[str, bool] | None:
        """Plural name, and whether it has namespaces; None if the server does not know the kind (yet)."""
        with self._lock:
            found = self._known.get(api_version, {}).get(kind)
            if found is None:  # a definition may have come since
                self._known[api_version] = self._ask(api_version)
                found = self._known[api_version].get(kind)
            return found

    def _ask(self, api_version: str) -> dict[str, tuple[str, bool]]:
        try:
            rows = self._api.get(root(api_version))["resources"]
        except ApiError as error:
            if error.code in (404, 503):  # an aggregated API that is not up yet is none, not a failure (k3s#7021)
                return {}
            raise
        return {row["kind"]: (row["name"], bool(row["namespaced"])) for row in rows or () if "/" not in row["name"]}


def built_in(api_version: str) -> bool:
    """Whether a group is Kubernetes' own: no definition adds a kind to it."""
    return _BUILT_IN.fullmatch(api_version) is not None


def of_k3s(api_version: str) -> bool:
    """Whether a group is one that k3s installs while it starts."""
    return _OF_K3S.fullmatch(api_version) is not None


def display(obj: Mapping[str, Any]) -> str:
    """An object for people: namespace/kind/name."""
    namespace = obj["metadata"].get("namespace")
    return f"{namespace + '/' if namespace else ''}{obj['kind'].lower()}/{obj['metadata']['name']}"


def root(api_version: str) -> str:
    """The path of a group and version."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def path(api_version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """The path of a list or an object."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"{root(api_version)}{middle}/{plural}" + (f"/{name}" if name else "")


def live(api: Api, resources: Resources, wanted: Iterable[Key]) -> dict[Key, Mapping[str, Any] | None]:
    """Each object as it is in the cluster; None if it is not there, its kind is not known, or cannot be converted yet.

    Kinds that are the same in many namespaces are asked for by one list over all of them.
    """
    found: dict[Key, Mapping[str, Any] | None] = {}
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in wanted:
        found[key] = None
        groups[key.api_version, key.kind].append(key)
    for (api_version, kind), keys in groups.items():
        where = resources.find(api_version, kind)
        if where is not None:
            try:
                there = _look(api, api_version, kind, where, keys)
            except ApiError as error:
                if "conversion webhook" not in error.why:
                    raise
                there = {}  # its pods start, or are gone
            found |= {key: there.get(_place(key, namespaced=where[1])) for key in keys}
    return found


def _place(key: Key, *, namespaced: bool) -> tuple[str, str]:
    """Namespace and name; what namespace a cluster-wide object was given says nothing."""
    return ((key.namespace or "default") if namespaced else "", key.name)


def _look(
    api: Api, api_version: str, kind: str, where: tuple[str, bool], keys: Sequence[Key]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Objects of one kind by namespace and name: by single questions for few, else by one list."""
    plural, namespaced = where
    places = {_place(key, namespaced=namespaced) for key in keys}
    if len(places) >= _MANY:
        scopes = {namespace for namespace, _ in places}
        scope = path(api_version, plural, scopes.pop() if len(scopes) == 1 else "")
        try:
            items = api.get(scope + _LEFT_OUT.get((api_version, kind), ""))["items"] or ()
        except ApiError as error:
            if error.code != 403:  # who may not list may still read
                raise
        else:
            # objects in a list do not say their kind (apimachinery: the list says it for all)
            named = ({"apiVersion": api_version, "kind": kind, **item} for item in items)
            return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in named}
    single = {place: _one(api, path(api_version, plural, *place)) for place in places}
    return {place: item for place, item in single.items() if item is not None}


def _one(api: Api, where: str) -> Mapping[str, Any] | None:
    try:
        item: Mapping[str, Any] = api.get(where)
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    return item
