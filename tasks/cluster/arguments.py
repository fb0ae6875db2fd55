"""Arguments of k3s and its components, by default and as configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.settings.tree import Cluster

CONTROLLERS: Mapping[str, int] = {
    "concurrent-deployment-syncs": 5,
    "concurrent-replicaset-syncs": 5,
    "concurrent-statefulset-syncs": 5,
    "concurrent-namespace-syncs": 10,
    "concurrent-endpoint-syncs": 5,
}
"""Kubernetes' own defaults (kube-controller-manager's reference, 1.32): never less than these."""

API_QPS, API_BURST = 200, 300
"""Questions a second that the controller manager may ask the API, and at once. By its own default it may ask 20: with
an account of its own for each of its controllers it then needs four seconds longer until the first of them works, and
no node is ready before (measured; kube-controller-manager: `--kube-api-qps`, `--use-service-account-credentials`)."""

REGISTRY_QPS, REGISTRY_BURST = 0, 20
"""No limit on the kubelet's pulls a second; the burst counts only where a limit is set."""


def arguments(cluster: Cluster, concurrency: int, *, ingress: str) -> list[tuple[str, tuple[str, ...]]]:
    """Arguments as k3s takes them, each with k3d's node filters; a configured one replaces the generated one."""
    servers, everywhere = ("server:*",), ("server:*", "agent:*")
    generated = {
        "controller_manager": [
            *(f"{name}={max(least, concurrency)}" for name, least in CONTROLLERS.items()),
            f"kube-api-qps={API_QPS}",
            f"kube-api-burst={API_BURST}",
        ],
        "cloud_controller_manager": [f"concurrent-service-syncs={concurrency}"],
        # several pulls at once are k3s's own default, and not everybody's who speaks its command line
        "kubelet": [f"registry-qps={REGISTRY_QPS}", f"registry-burst={REGISTRY_BURST}", "serialize-image-pulls=false"],
        "scheduler": [f"v={cluster.scheduler_verbosity}"] if cluster.scheduler_verbosity is not None else [],
    }
    given = cluster.args
    rows: list[tuple[str, tuple[str, ...]]] = []
    for flag, filters, component, own in (
        ("--kube-apiserver-arg", servers, "apiserver", given.apiserver),
        ("--kube-controller-manager-arg", servers, "controller_manager", given.controller_manager),
        ("--kube-cloud-controller-manager-arg", servers, "cloud_controller_manager", given.cloud_controller_manager),
        ("--kube-scheduler-arg", servers, "scheduler", given.scheduler),
        ("--kubelet-arg", everywhere, "kubelet", given.kubelet),
        ("--kube-proxy-arg", everywhere, "kube_proxy", given.kube_proxy),
    ):
        rows += [(f"{flag}={value}", filters) for value in merged(generated.get(component, ()), own)]
    rows += [(_dashed(value), servers) for value in _k3s(given.k3s, ingress)]
    return rows


def merged(generated: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    """The generated arguments less those that are configured by the same name, then the configured ones."""
    bare = [value.lstrip("-") for value in own]
    named = {value.split("=", 1)[0] for value in bare}
    yield from (value for value in generated if value.split("=", 1)[0] not in named)
    yield from bare


def disabled(cluster: Cluster, ingress: str) -> frozenset[str]:
    """Components of k3s that are not started."""
    return _disabled(_k3s(cluster.args.k3s, ingress))


def _disabled(values: Sequence[str]) -> frozenset[str]:
    given = (value.lstrip("-").partition("=") for value in values)
    return frozenset(name for flag, _, names in given if flag == "disable" for name in names.split(","))


def _k3s(own: Sequence[str], ingress: str) -> list[str]:
    """k3s starts its own Traefik; where another ingress is configured it would hold ports 80 and 443."""
    if ingress == "traefik" or "traefik" in _disabled(own):
        return list(own)
    return [*own, "disable=traefik"]


def _dashed(value: str) -> str:
    return f"--{value.lstrip('-')}"
