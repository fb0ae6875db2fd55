"""What is in a cluster, of what a launch would put there: read in few questions, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.facts.asking import side_by_side
from tasks.kube.client import Api
from tasks.kube.components import Use, component, in_use
from tasks.kube.endpoints import endpoints
from tasks.kube.readiness import node_ready, workload_ready
from tasks.kube.releases import LiveRelease, releases
from tasks.kube.resources import Key, Resources, live


@dataclass(frozen=True, kw_only=True)
class Live:
    """Facts of a running cluster, read a moment ago."""

    objects: Mapping[Key, Mapping[str, Any] | None]
    """Wanted objects by key; None: not there."""
    releases: Mapping[tuple[str, str], LiveRelease]
    gone: Mapping[tuple[str, str], tuple[Key, ...]] = field(default_factory=dict)
    """Objects that a release's manifest names and that are not there."""
    unready: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Workloads of a release that are not ready, each with what is known."""
    nodes: tuple[str, ...] = ()
    """Nodes that are ready."""
    nodes_unready: tuple[str, ...] = ()
    node_blocks: tuple[str, ...] = ()
    """Addresses that traffic from nodes has, as `tasks.kube.addresses` tells them."""
    failing: tuple[str, ...] = ()
    """Endpoints of the API that fail."""
    system: Mapping[str, str] = field(default_factory=dict)
    """Workloads of kube-system, and jobs that install k3s's own charts; the text is empty for those that are ready."""
    served: tuple[str, ...] = ()
    """Endpoints that answer."""
    use: Use = field(default_factory=Use)
    """What of the launch uses optional components; read only where one of those is not ready."""


def look(api: Api, wanted: Sequence[Key], interesting: Mapping[tuple[str, str], bool]) -> Live:
    """Ask for the wanted objects, and for the releases of these namespaces and names with all that they hold.

    By release: whether its Jobs are waited for until they are done.
    """
    from tasks.kube.addresses import of_nodes

    resources = Resources(api)
    with side_by_side(6) as pool:
        objects = pool.submit(live, api, resources, wanted)
        found = pool.submit(releases, api)
        nodes = pool.submit(api.get, "/api/v1/nodes")
        answers = pool.submit(endpoints, api)
        system = pool.submit(system_items, api)
        installed = {key: each for key, each in found.result().items() if key in interesting}
        refs = [ref for each in installed.values() for ref in each.objects]
        there = live(api, resources, refs)
        items = nodes.result()["items"]
        workloads = _system(system.result(), items)
        starting = any(text != "" and component(key.partition("/")[2]) for key, text in workloads.items())
        homes = {key.namespace for key in wanted if key.namespace} | {namespace for namespace, _ in interesting}
        return Live(
            objects=objects.result(),
            releases=found.result(),
            gone={
                name: missing
                for name, each in installed.items()
                if (missing := tuple(ref for ref in each.objects if there[ref] is None))
            },
            unready={
                name: late
                for name, each in installed.items()
                if (late := _late(each, there, items, jobs=interesting[name]))
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
            continue  # told as gone
        good, detail = workload_ready(item, jobs=jobs, nodes=lambda: nodes)
        if not good:
            late.append(f"{ref.kind.lower()}/{ref.name}: {detail}")
    return tuple(late)


def system_items(api: Api) -> list[Mapping[str, Any]]:
    """Workloads of kube-system as they are: Deployments, DaemonSets, and the jobs that install k3s's own charts."""
    found: list[Mapping[str, Any]] = []
    for api_version, plural, kind in (
        ("apps/v1", "deployments", "Deployment"),
        ("apps/v1", "daemonsets", "DaemonSet"),
        ("batch/v1", "jobs", "Job"),
    ):
        items = api.get(f"/apis/{api_version}/namespaces/kube-system/{plural}")["items"] or ()
        # objects in a list do not say their kind (apimachinery: the list says it for all)
        found += [{**item, "kind": kind, "apiVersion": api_version} for item in items]
    return [item for item in found if item["kind"] != "Job" or item["metadata"]["name"].startswith("helm-install-")]


def _system(items: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {}
    for item in items:
        good, detail = workload_ready(item, nodes=lambda: nodes)
        found[f"{item['kind'].lower()}/{item['metadata']['name']}"] = "" if good else detail or "not ready"
    return found
