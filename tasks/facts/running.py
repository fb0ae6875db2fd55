"""What runs in a cluster: releases and their workloads, nodes, the API's endpoints, and kube-system."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.clients.helm import MANAGER as HELM
from tasks.facts.facts import Live, concurrently
from tasks.kube.addresses import joining, of_nodes
from tasks.kube.client import Api, permitted
from tasks.kube.components import SERVICE_NAMESPACE, Use, component, in_use
from tasks.kube.drift import conflicts, unheld
from tasks.kube.endpoints import endpoints
from tasks.kube.objects import FIELD_MANAGER, Key, Resources, live
from tasks.kube.ownership import RELEASE_NAME
from tasks.kube.readiness import node_ready, workload_ready
from tasks.kube.releases import LiveRelease, releases


def read_live(api: Api, desired: Sequence[Key], by_release: Mapping[tuple[str, str], bool]) -> Live:
    """Read the desired objects, and the releases of these namespaces and names with all their objects.

    By release: whether to wait until its Jobs are complete. A login may be limited to some namespaces.
    """
    resources = Resources(api)
    needed = {namespace for namespace, _ in by_release}
    spaces = {key.name if key.kind == "Namespace" else key.namespace or "" for key in desired} | needed
    with concurrently(6) as pool:
        objects = pool.submit(live, api, resources, desired)
        found = pool.submit(releases, api, homes={each: each in needed for each in spaces if each})
        nodes = pool.submit(permitted, api, "/api/v1/nodes")
        answers = pool.submit(endpoints, api)
        system = pool.submit(system_items, api)
        installed = {key: each for key, each in found.result().items() if key in by_release}
        refs = [ref for each in installed.values() for ref in each.objects]
        there = live(api, resources, refs)
        items = nodes.result() or []
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
            nodes_joining=joining(items),
            failing=tuple(f"{each.name}: {each.detail}" for each in answers.result() if each.state == "failing"),
            served=tuple(each.name for each in answers.result() if each.state == "ok"),
            system=workloads,
            nodes_hidden=nodes.result() is None,
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
    """Changes by kubectl: a controller would set its fields again after each upgrade, a user does not."""
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
    """The cluster's own workloads of kube-system: Deployments, DaemonSets, and the jobs that install k3s's own charts.

    Those that may be read, without ServiceLB's DaemonSets for foreign Services (they never start if another Service
    uses the node's port) and without objects of foreign Helm releases: their owners wait for them.
    """
    found: list[Mapping[str, Any]] = []
    for api_version, plural, kind in (
        ("apps/v1", "deployments", "Deployment"),
        ("apps/v1", "daemonsets", "DaemonSet"),
        ("batch/v1", "jobs", "Job"),
    ):
        items = permitted(api, f"/apis/{api_version}/namespaces/kube-system/{plural}") or ()
        # list items do not have their kind (apimachinery: the list has it for all)
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
