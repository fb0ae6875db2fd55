"""What is in a cluster: desired objects and releases, all objects of namespaces, all that an environment created."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

from tasks.clients.helm import MANAGER as HELM
from tasks.clients.kubectl import FIELD_MANAGER
from tasks.kube.client import Api, ApiError, endpoints
from tasks.kube.components import Use, component, in_use
from tasks.kube.conflicts import conflicts
from tasks.kube.drift import unheld
from tasks.kube.load_balancers import SERVICE_NAMESPACE
from tasks.kube.objects import Key, Resources, live, path, root
from tasks.kube.ownership import CREATED_BY, RELEASE_NAME
from tasks.kube.readiness import node_ready, workload_ready
from tasks.kube.releases import LiveRelease, releases


@contextlib.contextmanager
def concurrently(at_once: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that is waited for at the end, but not after an error or Ctrl-C.

    An engine that hangs would otherwise delay the end of the call for as long as the slowest query may take; the
    programs that still run are ended with the call (`tasks.run.task.run_task`).
    """
    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@dataclass(frozen=True, kw_only=True)
class Live:
    """Facts of a running cluster, read a moment ago."""

    objects: Mapping[Key, Mapping[str, Any] | None]
    """Desired objects by key; None: not there."""
    releases: Mapping[tuple[str, str], LiveRelease]
    gone: Mapping[tuple[str, str], tuple[Key, ...]] = field(default_factory=dict)
    """Objects that a release's manifest names and that are not there."""
    edited: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Fields of a release's objects that somebody has set otherwise by kubectl since it was installed."""
    unready: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Workloads of a release that are not ready, each with what is known."""
    nodes: tuple[str, ...] = ()
    """Nodes that are ready."""
    nodes_unready: tuple[str, ...] = ()
    node_blocks: tuple[str, ...] = ()
    """Addresses that traffic from nodes has, as `tasks.kube.addresses` derives them."""
    failing: tuple[str, ...] = ()
    """Endpoints of the API that fail."""
    system: Mapping[str, str] = field(default_factory=dict)
    """Workloads of kube-system, and jobs that install k3s's own charts; the text is empty for those that are ready."""
    served: tuple[str, ...] = ()
    """Endpoints that answer."""
    use: Use = field(default_factory=Use)
    """What of the launch uses optional components; read only where one of those is not ready."""

    def namespace_ends(self, name: str) -> bool:
        """Whether a namespace is being deleted: what is still in it goes with it."""
        there = self.objects.get(Key("v1", "Namespace", None, name))
        return there is not None and bool(there["metadata"].get("deletionTimestamp"))


def read_live(api: Api, desired: Sequence[Key], by_release: Mapping[tuple[str, str], bool]) -> Live:
    """Read the desired objects, and the releases of these namespaces and names with all that they hold.

    By release: whether its Jobs are waited for until they are done.
    """
    from tasks.kube.addresses import of_nodes

    resources = Resources(api)
    with concurrently(6) as pool:
        objects = pool.submit(live, api, resources, desired)
        found = pool.submit(releases, api)
        nodes = pool.submit(api.get, "/api/v1/nodes")
        answers = pool.submit(endpoints, api)
        system = pool.submit(system_items, api)
        installed = {key: each for key, each in found.result().items() if key in by_release}
        refs = [ref for each in installed.values() for ref in each.objects]
        there = live(api, resources, refs)
        items = nodes.result()["items"]
        workloads = _system(system.result(), items)
        starting = any(text != "" and component(key.partition("/")[2]) for key, text in workloads.items())
        homes = {key.namespace for key in desired if key.namespace} | {namespace for namespace, _ in by_release}
        return Live(
            objects=objects.result(),
            releases=found.result(),
            gone={
                name: missing
                for name, each in installed.items()
                if (missing := tuple(ref for ref in each.objects if there[ref] is None))
            },
            edited={name: fields for name, each in installed.items() if (fields := _edited(each, there))},
            unready={
                name: late
                for name, each in installed.items()
                if (late := _late(each, there, items, jobs=by_release[name]))
            },
            nodes=tuple(sorted(item["metadata"]["name"] for item in items if node_ready(item))),
            nodes_unready=tuple(sorted(item["metadata"]["name"] for item in items if not node_ready(item))),
            node_blocks=of_nodes(items),
            failing=tuple(f"{each.name}: {each.detail}" for each in answers.result() if each.state == "failing"),
            served=tuple(each.name for each in answers.result() if each.state == "ok"),
            system=workloads,
            use=in_use(api, homes - {"kube-system"}) if starting else Use(),
        )


def _late(
    release: LiveRelease,
    there: Mapping[Key, Mapping[str, Any] | None],
    nodes: Sequence[Mapping[str, Any]],
    *,
    jobs: bool,
) -> tuple[str, ...]:
    late = []
    for ref in release.workloads:
        item = there.get(ref)
        if item is None:
            continue  # reported as gone
        good, detail = workload_ready(item, jobs=jobs, nodes=lambda: nodes)
        if not good:
            late.append(f"{ref.kind.lower()}/{ref.name}: {detail}")
    return tuple(late)


def _edited(release: LiveRelease, there: Mapping[Key, Mapping[str, Any] | None]) -> tuple[str, ...]:
    """What kubectl has set: a controller would set its fields again after each upgrade, a person does not."""
    rows = []
    for ref, desired in release.configured.items():
        item = there.get(ref)
        if item is None:
            continue
        found = [
            f"{each.shown} was set by {' and '.join(each.managers)}"
            for each in conflicts(desired, item, (HELM, FIELD_MANAGER))
            if all(manager.startswith("kubectl") for manager in each.managers)
        ]
        found += [f"{each} is not as it was installed" for each in unheld(desired, item)]
        rows += [f"{ref.kind.lower()}/{ref.name}: {each}" for each in found]
    return tuple(rows)


def system_items(api: Api) -> list[Mapping[str, Any]]:
    """What a cluster itself brings to kube-system: Deployments, DaemonSets, and the jobs that install k3s's own charts.

    Neither what a Service of somebody else gets its address by (ServiceLB; it never starts where another Service has
    the node's port) nor what somebody's Helm has put there: who has put it there waits for it.
    """
    found: list[Mapping[str, Any]] = []
    for api_version, plural, kind in (
        ("apps/v1", "deployments", "Deployment"),
        ("apps/v1", "daemonsets", "DaemonSet"),
        ("batch/v1", "jobs", "Job"),
    ):
        items = api.get(f"/apis/{api_version}/namespaces/kube-system/{plural}")["items"] or ()
        # objects in a list do not say their kind (apimachinery: the list says it for all)
        found += [{**item, "kind": kind, "apiVersion": api_version} for item in items]
    return [item for item in found if _of_system(item)]


def _of_system(item: Mapping[str, Any]) -> bool:
    meta = item["metadata"]
    release = (meta.get("annotations") or {}).get(RELEASE_NAME)
    if release is not None and component(release) is None:
        return False
    if (meta.get("labels") or {}).get(SERVICE_NAMESPACE, "kube-system") != "kube-system":
        return False
    return item["kind"] != "Job" or str(meta["name"]).startswith("helm-install-")


def _system(items: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {}
    for item in items:
        good, detail = workload_ready(item, nodes=lambda: nodes)
        found[f"{item['kind'].lower()}/{item['metadata']['name']}"] = "" if good else detail or "not ready"
    return found


Item = Mapping[str, Any]
_AT_ONCE = 8
_PASSING = frozenset({("", "Event"), ("events.k8s.io", "Event")})
"""What only reports, and ends by itself."""
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
"""API groups of Kubernetes itself: all others are custom resources, or an aggregated API's."""
_HELMS = "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"
"""Helm keeps each revision of a release in a Secret of up to 1 MiB: releases are read by themselves."""


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
    """Whether a controller that was installed into the cluster owns the kinds of this group."""
    return group_of(api_version) not in _BUILT_IN


_METRICS = "metrics.k8s.io"
"""How groups end that serve measurements (metrics.k8s.io, custom.metrics.k8s.io): nobody put them there, and half a
minute after a cluster's start they do not answer."""


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


def created_for(api: Api, kinds: Iterable[Kind], environment: str, homes: Sequence[str]) -> Found:
    """Everything with the label of one environment; of a kind that may not be listed everywhere, in `homes`."""
    selector = f"labelSelector={quote(f'{CREATED_BY}={environment}', safe='')}"
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
    more = [query, _HELMS if (kind.api_version, kind.kind) == ("v1", "Secret") else ""]
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
