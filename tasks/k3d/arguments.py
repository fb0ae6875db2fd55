"""Arguments of k3s and its components: defaults and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.settings import k3s_arguments
from tasks.settings.derived import kubernetes_minor
from tasks.settings.k3s_arguments import disabled as switched_off

if TYPE_CHECKING:
    from tasks.facts.facts import Shape
    from tasks.settings.schema import Settings
    from tasks.settings.schema_parts import Cluster

CONTROLLERS: Mapping[str, int] = {
    "concurrent-deployment-syncs": 5,
    "concurrent-replicaset-syncs": 5,
    "concurrent-statefulset-syncs": 5,
    "concurrent-namespace-syncs": 10,
    "concurrent-endpoint-syncs": 5,
}
"""Defaults of Kubernetes (kube-controller-manager's reference, 1.35): minimum values."""

API_QPS, API_BURST = 200, 300
"""API requests per second, and burst, of the controller manager. The default is 20: with separate
credentials for each controller, the first of them then works four seconds later, and
no node is ready before (measured; kube-controller-manager: `--kube-api-qps`, `--use-service-account-credentials`)."""

REGISTRY_QPS, REGISTRY_BURST = 0, 20
"""No limit on the kubelet's pulls per second; the burst matters only with a limit."""


def arguments(settings: Settings, shape: Shape) -> list[tuple[str, tuple[str, ...]]]:
    """Arguments in k3s's syntax, each with k3d's node filters; a configured one replaces the generated one."""
    cluster, concurrency = settings.cluster, shape.concurrency
    generated = {
        "controller_manager": [
            *(f"{name}={max(least, concurrency)}" for name, least in CONTROLLERS.items()),
            f"kube-api-qps={API_QPS}",
            f"kube-api-burst={API_BURST}",
        ],
        "cloud_controller_manager": [f"concurrent-service-syncs={concurrency}"],
        # parallel pulls are the default of k3s, but not of every distribution with its command line
        "kubelet": [f"registry-qps={REGISTRY_QPS}", f"registry-burst={REGISTRY_BURST}", "serialize-image-pulls=false"]
        + [f"{k3s_arguments.FAIL_CGROUP_V1}=false"] * needs_cgroup_v1(cluster, shape),
        "scheduler": [f"v={cluster.scheduler_verbosity}"] if cluster.scheduler_verbosity is not None else [],
    }
    rows: list[tuple[str, tuple[str, ...]]] = []
    for part, (flag, usual) in k3s_arguments.COMPONENTS.items():
        for text, filters in _merged(generated.get(part, ()), cluster, part):
            rows.append((f"--{flag}={text}", filters or usual))
    rows += [
        (f"--{each.text}", k3s_arguments.where("k3s", each)) for each in k3s_arguments.arguments_of(cluster, "k3s")
    ]
    if "traefik" in disabled(cluster, settings.ingress.controller) - switched_off(cluster):
        rows.append(("--disable=traefik", k3s_arguments.SERVERS))
    return rows


def needs_cgroup_v1(cluster: Cluster, shape: Shape) -> bool:
    """Whether kubelets must be told to accept cgroup v1."""
    refuses = (kubernetes_minor(shape.image) or 0) >= k3s_arguments.NO_CGROUP_V1
    return shape.cgroup_v1 and refuses and k3s_arguments.allows_cgroup_v1(cluster) is None


def _merged(generated: Sequence[str], cluster: Cluster, part: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The generated arguments that are not configured, then the configured ones.

    One that is configured for some nodes only comes after the generated one, and overrides it there.
    """
    own = tuple(k3s_arguments.parsed(part, getattr(cluster.args, part)))
    named = {each.name for each in k3s_arguments.arguments_of(cluster, part) if not each.filters}
    yield from ((text, ()) for text in generated if text.split("=", 1)[0] not in named)
    yield from ((each.text, k3s_arguments.where(part, each)) for each in own)


def disabled(cluster: Cluster, ingress: str) -> frozenset[str]:
    """Components of k3s that are disabled.

    k3s starts its own Traefik, which would occupy ports 80 and 443 beside another ingress controller.
    """
    return switched_off(cluster) | ({"traefik"} if ingress != "traefik" else frozenset())
