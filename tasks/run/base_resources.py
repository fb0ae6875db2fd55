"""The base resources as configured, from templates in `files/`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.units import quantity
from tasks.kube.addresses import assumed
from tasks.kube.objects import fill, finish, opened, repeat
from tasks.settings import k3s_arguments as k3s

if TYPE_CHECKING:
    from tasks.settings.schema import Settings

NODE_LOCAL_DNS = "files/nodelocaldns-configmap.yaml"
STORAGE = "files/local-path-storage.yaml"
POLICIES = "files/default-network-policies.yaml"
QUOTAS_FILE = "files/resource-quotas.yaml"

_LOCAL_DNS = "169.254.20.10"
"""Link-local; the address that its documentation proposes (Kubernetes: Using NodeLocal DNSCache)."""


def base_resources(
    settings: Settings,
    root: Path,
    *,
    managed: Sequence[str],
    admitted: Sequence[str] = (),
    nodes: Sequence[str] | None = None,
    whole_cluster: bool = True,
) -> list[dict[str, Any]]:
    """The base resources that are switched on; policies and quotas once for each of `managed`.

    `admitted`: namespaces that the policies let in by name. `nodes`: blocks of node addresses; None: those that a k3d
    cluster will have. Without `whole_cluster` nothing is made outside the managed namespaces. Raises `BadInput` for a
    template that cannot be read, and for a quota that is no quantity.
    """
    manifests = settings.manifests
    wanted: list[tuple[str, bool]] = []
    if manifests.node_local_dns and whole_cluster:
        wanted.append((NODE_LOCAL_DNS, False))
    if manifests.storage_class and whole_cluster:
        wanted.append((STORAGE, False))
    if manifests.quota.enabled:
        wanted.append((QUOTAS_FILE, True))
    if manifests.network_policies:
        wanted.append((POLICIES, True))
    blocks = assumed(settings) if nodes is None else nodes
    found: list[dict[str, Any]] = []
    for name, everywhere in wanted:
        for obj in _template(settings, root, name, blocks, admitted):
            namespace = obj["metadata"].get("namespace")
            if everywhere and not namespace:
                found += [_in(obj, each) for each in dict.fromkeys(managed)]
            elif whole_cluster or namespace in managed:
                found.append(finish(obj))
    return found


def _template(
    settings: Settings, root: Path, name: str, blocks: Sequence[str], admitted: Sequence[str]
) -> list[dict[str, Any]]:
    """The objects of a template, filled in after it was parsed: a setting's text cannot become structure."""
    values = {"IP": settings.cluster.bind_address, "DOMAIN": settings.cluster.domain}
    if name == NODE_LOCAL_DNS:
        values |= _dns(settings)
    elif name == QUOTAS_FILE:
        values |= _quota(settings)
    repeated = {
        "SYSTEM_NAMESPACE": sorted({"kube-system", ingress_namespace(settings)}),
        "NAMESPACE": list(dict.fromkeys(admitted)),
        "NODE_BLOCK": blocks,
    }
    found: list[dict[str, Any]] = []
    for document in documents(read_text(root / name, "a template of base resources"), name):
        for _, given in opened(document.value, document.place):
            obj: Any = given
            for placeholder, texts in repeated.items():
                obj = repeat(obj, placeholder, texts)
            found.append(fill(obj, values))
    return found


def _in(obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    return finish({**obj, "metadata": {**obj["metadata"], "namespace": namespace}})


def ingress_namespace(settings: Settings) -> str:
    """Where the ingress controller's pods are: k3s starts Traefik in kube-system, a release has its own."""
    controller = settings.ingress.controller
    if controller in ("traefik", "none"):
        return "kube-system"
    charts = {release.chart.rstrip("/").rpartition("/")[2]: release.namespace for release in settings.helm.releases}
    return charts.get(controller, controller)


def _dns(settings: Settings) -> dict[str, str]:
    cluster = settings.cluster
    try:
        services = k3s.dns_addresses(cluster)
    except ValueError as error:
        raise BadInput(
            f"cluster.args.k3s: service-cidr={','.join(k3s.service_ranges(cluster))} cannot be used: {error}",
            why="the DNS service has the tenth address of each range",
            fix=f"write it as {k3s.SERVICE_RANGE}, which is k3s's default",
        ) from None
    return {"CLUSTER_DNS": " ".join(services), "CLUSTER_DOMAIN": k3s.domain(cluster), "LOCAL_DNS": _LOCAL_DNS}


def _quota(settings: Settings) -> dict[str, str]:
    quota = settings.manifests.quota
    values = {
        name: str(getattr(quota, name))
        for name in ("requests_cpu", "requests_memory", "pods", "default_cpu", "default_memory")
    }
    for name, text in values.items():
        number = quantity(text)
        if number is None or number < 0:
            raise BadInput(
                f"manifests.quota.{name} is '{text}', which is no amount",
                why="Kubernetes would refuse the quota, and with it every pod of the namespaces",
                fix="write it as 500m, 2, 512Mi or 16Gi",
            )
    return {name.upper(): text for name, text in values.items()}
