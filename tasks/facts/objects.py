"""All objects of a cluster by kind: in namespaces, or those with a label."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from tasks.facts.facts import concurrently
from tasks.kube.client import Api, ApiError
from tasks.kube.objects import NO_RELEASES, Key, path, root

Item = Mapping[str, Any]
_AT_ONCE = 8
_PASSING = frozenset({("", "Event"), ("events.k8s.io", "Event")})
"""Kinds that only report, and expire."""
_BUILT_IN = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)
"""API groups of Kubernetes itself: all others are custom resources, or aggregated APIs."""


class Kind(NamedTuple):
    """A kind that can be listed and deleted."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """Empty for the core group."""
        return group_of(self.api_version)


def group_of(api_version: str) -> str:
    """The group of an apiVersion; empty for the core group."""
    return api_version.rpartition("/")[0]


def is_custom(api_version: str) -> bool:
    """Whether the kinds of this group belong to a controller that was installed into the cluster."""
    return group_of(api_version) not in _BUILT_IN


_METRICS = "metrics.k8s.io"
"""Suffix of metrics API groups (metrics.k8s.io, custom.metrics.k8s.io): their objects were created by no one, and half
a minute after a cluster's start they do not answer."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Objects by key, and what could not be listed."""

    items: Mapping[Key, Item] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    """Kinds that the API did not list, each with the reason."""


def kinds(api: Api, *verbs: str) -> tuple[tuple[Kind, ...], tuple[str, ...]]:
    """Every kind that has these verbs (none given: that can be listed and deleted), by its group's preferred version;
    and groups that do not answer, each with the reason.
    """
    needed = frozenset(verbs or ("list", "delete"))
    groups = [["v1"]]
    for group in api.get("/apis")["groups"] or ():
        if str(group.get("name", "")).endswith(_METRICS):
            continue
        preferred = str((group.get("preferredVersion") or {}).get("groupVersion", ""))
        versions = [str(each["groupVersion"]) for each in group.get("versions") or ()]
        groups.append(list(dict.fromkeys([preferred, *versions] if preferred else versions)))
    with concurrently(_AT_ONCE) as pool:
        found = list(pool.map(lambda versions: _of_group(api, versions, needed), groups))
    return tuple(kind for some, _ in found for kind in some), tuple(why for _, why in found if why)


def _of_group(api: Api, versions: Sequence[str], needed: frozenset[str]) -> tuple[list[Kind], str]:
    some: dict[str, Kind] = {}
    for version in versions:
        try:
            rows = api.get(root(version))["resources"] or ()
        except ApiError as error:
            if error.code == 404:
                continue
            return [], f"{version}: {error.what}"
        for row in rows:
            kind = str(row["kind"])
            passing = (group_of(version), kind) in _PASSING
            if "/" not in row["name"] and needed <= set(row.get("verbs") or ()) and not passing:
                some.setdefault(kind, Kind(version, kind, str(row["name"]), bool(row["namespaced"])))
    return list(some.values()), ""


def kinds_of(known: Iterable[Kind], definition: str) -> list[Kind]:
    """The kinds of a CRD, by its name."""
    return [kind for kind in known if f"{kind.plural}.{kind.group}" == definition]


def in_namespaces(api: Api, kinds: Iterable[Kind], namespaces: Sequence[str]) -> Found:
    """Everything in these namespaces."""
    lists = [(kind, namespace) for kind in kinds if kind.namespaced for namespace in namespaces]
    return _listed(api, [(kind, path(kind.api_version, kind.plural, namespace), "") for kind, namespace in lists])


def labelled(api: Api, kinds: Iterable[Kind], label: str, value: str, homes: Sequence[str] = ()) -> Found:
    """Everything with this label; kinds that may not be listed cluster-wide are listed in `homes`."""
    selector = f"labelSelector={quote(f'{label}={value}', safe='')}"
    return _listed(api, [(kind, path(kind.api_version, kind.plural), selector) for kind in kinds], homes)


def all_of(api: Api, kinds: Iterable[Kind]) -> Found:
    """All objects of these kinds, in every namespace."""
    return _listed(api, [(kind, path(kind.api_version, kind.plural), "") for kind in kinds])


def _listed(api: Api, lists: Sequence[tuple[Kind, str, str]], homes: Sequence[str] = ()) -> Found:
    items: dict[Key, Item] = {}
    unseen: list[str] = []
    with concurrently(_AT_ONCE) as pool:
        for some, why in pool.map(lambda each: _list(api, each[0], each[1], each[2], homes), lists):
            items |= some
            unseen += [why] if why else []
    return Found(items=items, unseen=tuple(dict.fromkeys(unseen)))


def _list(api: Api, kind: Kind, where: str, query: str, homes: Sequence[str]) -> tuple[dict[Key, Item], str]:
    more = [query, NO_RELEASES if (kind.api_version, kind.kind) == ("v1", "Secret") else ""]
    selected = "&".join(each for each in more if each)
    try:
        rows = api.get(f"{where}?{selected}" if selected else where)["items"] or ()
    except ApiError as error:
        if error.code in (404, 405):
            return {}, ""
        if error.code == 403 and homes and kind.namespaced:
            some = [_list(api, kind, path(kind.api_version, kind.plural, each), query, ()) for each in homes]
            why = next((each for _, each in some if each), "")
            return {key: item for one, _ in some for key, item in one.items()}, why
        return {}, f"{kind.plural}: {error.what}"
    found: dict[Key, Item] = {}
    for row in rows:
        meta = row["metadata"]
        key = Key(kind.api_version, kind.kind, meta.get("namespace") or None, meta["name"])
        found[key] = {**row, "apiVersion": kind.api_version, "kind": kind.kind}
    return found, ""
