"""Arguments of k3s and its components: those by default, those that are configured, and to which nodes they go."""

from typing import Any

import pytest

from tasks.facts.facts import Shape
from tasks.k3d.arguments import arguments, disabled
from tests.given import settings

SERVERS, EVERYWHERE = ("server:*",), ("server:*", "agent:*")
PARALLEL = "serialize-image-pulls=false"


def arguments_of(
    concurrency: int = 4, ingress: str = "traefik", image: str = "", cgroup_v1: bool = False, **cluster: Any
) -> list[tuple[str, tuple[str, ...]]]:
    chosen = settings(cluster=cluster, ingress={"controller": ingress})
    return arguments(chosen, Shape(image=image, agents=1, concurrency=concurrency, cgroup_v1=cgroup_v1))


def of(flag: str, rows: list[tuple[str, tuple[str, ...]]]) -> list[str]:
    return [arg.removeprefix(f"{flag}=") for arg, _filters in rows if arg.startswith(f"{flag}=")]


def test_the_list_by_default() -> None:
    assert arguments_of(concurrency=4) == [
        ("--kube-controller-manager-arg=concurrent-deployment-syncs=5", SERVERS),
        ("--kube-controller-manager-arg=concurrent-replicaset-syncs=5", SERVERS),
        ("--kube-controller-manager-arg=concurrent-statefulset-syncs=5", SERVERS),
        ("--kube-controller-manager-arg=concurrent-namespace-syncs=10", SERVERS),
        ("--kube-controller-manager-arg=concurrent-endpoint-syncs=5", SERVERS),
        ("--kube-controller-manager-arg=kube-api-qps=200", SERVERS),
        ("--kube-controller-manager-arg=kube-api-burst=300", SERVERS),
        ("--kube-cloud-controller-manager-arg=concurrent-service-syncs=4", SERVERS),
        ("--kubelet-arg=registry-qps=0", EVERYWHERE),
        ("--kubelet-arg=registry-burst=20", EVERYWHERE),
        ("--kubelet-arg=serialize-image-pulls=false", EVERYWHERE),
    ]


@pytest.mark.parametrize(
    ("concurrency", "deployments", "namespaces", "services"),
    [(2, 5, 10, 2), (5, 5, 10, 5), (8, 8, 10, 8), (12, 12, 12, 12)],
)
def test_the_larger_of_both_defaults(concurrency: int, deployments: int, namespaces: int, services: int) -> None:
    rows = arguments_of(concurrency)
    controllers = dict(each.split("=") for each in of("--kube-controller-manager-arg", rows))
    assert controllers.pop("concurrent-namespace-syncs") == str(namespaces)
    assert (controllers.pop("kube-api-qps"), controllers.pop("kube-api-burst")) == ("200", "300"), "of any machine"
    assert set(controllers.values()) == {str(deployments)}
    assert of("--kube-cloud-controller-manager-arg", rows) == [f"concurrent-service-syncs={services}"]


@pytest.mark.parametrize(("verbosity", "expected"), [(None, []), (0, ["v=0"]), (5, ["v=5"])])
def test_the_schedulers_verbosity_is_off_unless_it_is_set(verbosity: int | None, expected: list[str]) -> None:
    assert of("--kube-scheduler-arg", arguments_of(scheduler_verbosity=verbosity)) == expected


@pytest.mark.parametrize(
    ("component", "flag", "filters"),
    [
        ("apiserver", "--kube-apiserver-arg", SERVERS),
        ("controller_manager", "--kube-controller-manager-arg", SERVERS),
        ("cloud_controller_manager", "--kube-cloud-controller-manager-arg", SERVERS),
        ("scheduler", "--kube-scheduler-arg", SERVERS),
        ("kubelet", "--kubelet-arg", EVERYWHERE),
        ("kube_proxy", "--kube-proxy-arg", EVERYWHERE),
    ],
)
def test_configured_ones_go_to_the_component_and_its_nodes(component: str, flag: str, filters: tuple[str, ...]) -> None:
    rows = arguments_of(args={component: ["one=1", "--two=2"]})
    assert [row for row in rows if row[0].startswith(f"{flag}=")][-2:] == [
        (f"{flag}=one=1", filters),
        (f"{flag}=two=2", filters),
    ]


@pytest.mark.parametrize(
    ("part", "own", "expected"),
    [
        ("kubelet", ["registry-qps=5"], ["registry-burst=20", PARALLEL, "registry-qps=5"]),
        ("kubelet", ["--registry-qps=5", "registry-burst=9"], [PARALLEL, "registry-qps=5", "registry-burst=9"]),
        ("kubelet", ["registry-qps-more=1"], ["registry-qps=0", "registry-burst=20", PARALLEL, "registry-qps-more=1"]),
        ("kubelet", ["v=1", "v=2"], ["registry-qps=0", "registry-burst=20", PARALLEL, "v=1", "v=2"]),
        ("kube-scheduler", ["v=2"], ["v=2"]),
        ("kube-cloud-controller-manager", ["--concurrent-service-syncs=1"], ["concurrent-service-syncs=1"]),
    ],
)
def test_a_configured_one_replaces_the_generated_one(part: str, own: list[str], expected: list[str]) -> None:
    name = part.removeprefix("kube-").replace("-", "_")
    assert of(f"--{part}-arg", arguments_of(scheduler_verbosity=5, args={name: own})) == expected


@pytest.mark.parametrize(
    ("own", "ingress", "expected", "off"),
    [
        ([], "traefik", [], ""),
        ([], "ingress-nginx", ["--disable=traefik"], "traefik"),
        (["disable=traefik"], "ingress-nginx", ["--disable=traefik"], "traefik"),
        (["--disable=metrics-server"], "traefik", ["--disable=metrics-server"], "metrics-server"),
        (["disable=coredns"], "none", ["--disable=coredns", "--disable=traefik"], "coredns traefik"),
        (["disable=traefik,servicelb"], "none", ["--disable=traefik,servicelb"], "servicelb traefik"),
        (["tls-san=disable=x", "-v=2"], "traefik", ["--tls-san=disable=x", "--v=2"], ""),
    ],
)
def test_traefik_uses_80_and_443_only_as_ingress(own: list[str], ingress: str, expected: list[str], off: str) -> None:
    remaining = [row for row in arguments_of(ingress=ingress, args={"k3s": own}) if "-arg=" not in row[0]]
    assert remaining == [(arg, EVERYWHERE if arg == "--v=2" else SERVERS) for arg in expected]
    assert disabled(settings(cluster={"args": {"k3s": own}}).cluster, ingress) == set(off.split())


ALLOWED = "fail-cgroupv1=false"


@pytest.mark.parametrize(
    ("image", "cgroup_v1", "cluster", "expected"),
    [
        ("rancher/k3s:v1.35.5-k3s1", True, {}, [ALLOWED]),
        ("r.example/k3s:v1.36.0-k3s1", True, {}, [ALLOWED]),
        ("rancher/k3s:v1.35.5-k3s1", False, {}, []),
        ("rancher/k3s:v1.34.8-k3s1", True, {}, []),  # runs there by itself
        ("rancher/k3s:v1.30.1-k3s1", True, {}, []),  # does not know the argument
        ("rancher/k3s:latest", True, {}, []),
        ("rancher/k3s:v1.35.5-k3s1", True, {"args": {"kubelet": ["fail-cgroupv1=true"]}}, ["fail-cgroupv1=true"]),
        ("rancher/k3s:v1.35.5-k3s1", True, {"args": {"kubelet": [f"--{ALLOWED}"]}}, [ALLOWED]),
        ("rancher/k3s:v1.35.5-k3s1", True, {"args": {"k3s": [f"kubelet-arg={ALLOWED}"]}}, [ALLOWED]),
        ("rancher/k3s:v1.35.5-k3s1", True, {"kubelet_config": {"failCgroupV1": True}}, []),
    ],
)
def test_kubelets_that_refuse_cgroup_v1_are_told_to_run_on_it(
    image: str, cgroup_v1: bool, cluster: dict[str, Any], expected: list[str]
) -> None:
    rows = arguments_of(image=image, cgroup_v1=cgroup_v1, **cluster)
    assert [text for text in of("--kubelet-arg", rows) if text.startswith("fail-cgroupv1")] == expected
    assert all(filters == EVERYWHERE for arg, filters in rows if arg.endswith(ALLOWED))
