"""Kinds that a cluster serves, and what a path of its API names. Those that are always there stand in kinds.txt.

Each line of it is a version, a kind and its plural, as far as manifests name them (Kubernetes 1.33 and k3s); `-`: it
has no namespaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.objects import Transaction

Kind = tuple[str, str, str, bool]
"""Version, kind, plural, whether it has namespaces."""
_ROWS = [line.split() for line in Path(__file__).with_name("kinds.txt").read_text(encoding="utf-8").splitlines()]
BUILT_IN: tuple[Kind, ...] = tuple((row[0], row[1], row[2], len(row) == 3) for row in _ROWS)
_GROUPS = frozenset(version.rpartition("/")[0] for version, *_ in BUILT_IN)


class Refusal(Exception):
    """The API's answer to a request that it rejects."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def status(self) -> dict[str, Any]:
        """As the API sends it."""
        said = {"status": "Failure", "message": self.message, "reason": self.reason, "code": self.code}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **said}


class Target:
    """What a path names: a kind, objects of a namespace or one of them, or a part of it."""

    def __init__(self, kind: Kind, namespace: str, name: str = "", part: str = "") -> None:
        self.api_version, self.kind, self.plural, self.namespaced = kind
        self.namespace, self.name, self.part = namespace, name, part

    def missing(self) -> Refusal:
        """It is not there."""
        group = self.api_version.rpartition("/")[0]
        plural = f"{self.plural}.{group}" if group else self.plural
        return Refusal(404, "NotFound", f'{plural} "{self.name}" not found')


def root(api_version: str) -> str:
    """The path of a group and version."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def bucket(api_version: str, kind: str) -> str:
    """Where a cluster's database keeps the objects of a kind: all served versions of one are the same objects."""
    if kind == "HorizontalPodAutoscaler":
        api_version = "autoscaling/v2"
    group = api_version.rpartition("/")[0]
    return f"{api_version} {kind}" if group in _GROUPS else f"{group} {kind}"


def served(view: Transaction, now: float, brought: Mapping[str, list[Any]]) -> list[Kind]:
    """Those, the kinds of definitions that are established, and what is `brought` by k3s or once a release is there."""
    found = list(BUILT_IN)
    for record in view.records("apiextensions.k8s.io/v1", "CustomResourceDefinition"):
        if record["served"] > now:
            continue
        spec: dict[str, Any] = record["object"]["spec"]
        kind, plural, namespaced = spec["names"]["kind"], spec["names"]["plural"], spec.get("scope") != "Cluster"
        versions = [f"{spec['group']}/{each['name']}" for each in spec.get("versions") or () if each.get("served")]
        found += [(version, kind, plural, namespaced) for version in versions]
    rows = [*brought.get("k3s", ())]
    if brought.get("releases") and _installed(view):
        rows += brought["releases"]
    known = {(version, kind) for version, kind, *_ in found}
    more = {(version, kind): namespaced for version, kind, namespaced in rows if (version, kind) not in known}
    return found + [(version, kind, f"{kind.lower()}s", namespaced) for (version, kind), namespaced in more.items()]


def _installed(view: Transaction) -> bool:
    """Whether a release has been installed."""
    rows = (each["object"]["metadata"].get("labels") or {} for each in view.records("v1", "Secret"))
    return any(each.get("owner") == "helm" and each.get("status") == "deployed" for each in rows)


def find(path: str, known: list[Kind]) -> Target:
    """What a path means. Raises `Refusal`."""
    for api_version in dict.fromkeys(kind[0] for kind in known):
        if not path.startswith(f"{root(api_version)}/"):
            continue
        namespace, parts = "", [unquote(part) for part in path[len(root(api_version)) + 1 :].split("/")]
        of = {kind[2]: kind for kind in known if kind[0] == api_version}
        if len(parts) > 2 and parts[0] == "namespaces" and parts[2] in of and of[parts[2]][3]:
            namespace, parts = parts[1], parts[2:]
        if parts[0] in of and len(parts) <= 3:
            return Target(of[parts[0]], namespace, *parts[1:])
    raise Refusal(404, "NotFound", "the server could not find the requested resource")


def discovery(path: str, known: list[Kind]) -> dict[str, Any] | None:
    """What is served, for a path that asks for that; None for any other."""
    versions = list(dict.fromkeys(kind[0] for kind in known))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups: dict[str, list[dict[str, str]]] = {}
        for each in versions:
            group, _, short = each.rpartition("/")
            groups.setdefault(group, []).append({"groupVersion": each, "version": short})
        rows = [{"name": group, "versions": found} for group, found in groups.items() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}
    version = next((each for each in versions if root(each) == path.rstrip("/")), None)
    if version is None:
        return None
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
        for of, kind, plural, namespaced in known
        if of == version
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
