"""What a cluster remembers of its configuration, and which changes it tells of."""

from __future__ import annotations

from typing import Any

import pytest

from tasks import registry
from tasks.cluster.config import (
    Files,
    Ports,
    Shape,
    changed,
    immutable,
    k3d_config,
    recall,
    remembered,
)
from tasks.settings.tree import Settings
from tests.given import settings


def shape(**changes: Any) -> Shape:
    return Shape(**{"image": "rancher/k3s:v1.32.3-k3s1", "agents": 2, "concurrency": 4, **changes})


RICH: dict[str, Any] = {
    "servers": 3,
    "subnet": "172.28.0.0/16",
    "volumes": ["/data:/data@server:0;agent:*"],
    "env": ["A=b@server:*"],
    "ports": {"extra": ["30000:30000@server:0:direct"]},
    "scheduler_verbosity": 2,
    "kubelet_config": {"maxPods": 50},
    "timeout": 90.5,
}


def test_both_labels_are_on_every_node() -> None:
    ports = Ports(http=80, https=443, api=6550)
    labels = k3d_config(settings(), shape(), ports, Files())["options"]["runtime"]["labels"]
    assert [each["label"].split("=", 1)[0] for each in labels] == ["openframe.cluster", "openframe.config"]
    assert labels[0]["label"] == "openframe.cluster=openframe-dev"
    assert recall(labels[1]["label"].split("=", 1)[1]) == immutable(settings(), shape())


@pytest.mark.parametrize("cluster", [{}, RICH, {"env": ["TOKEN=s3cr3t,=&%+ä"], "ports": {"http": None}}])
def test_what_is_remembered_comes_back(cluster: dict[str, Any]) -> None:
    chosen = settings(cluster=cluster)
    text = remembered(chosen, shape(registries=registry.used(chosen)))
    assert recall(text) == immutable(chosen, shape(registries=registry.used(chosen)))
    assert not set(text) & set("$, \n\"'")  # k3d expands the first, `docker ps` parts labels at the second
    assert "s3cr3t" not in text
    assert changed(chosen, shape(registries=registry.used(chosen)), text) == []


def test_a_label_stays_short() -> None:
    """`docker ps` prints it in one line; engines and their tools have met limits at some thousand bytes."""
    many = [f"/a/rather/long/path/{number}:/data/{number}@all:*" for number in range(40)]
    extra = [f"{30000 + number}:{30000 + number}@server:0:direct" for number in range(40)]
    cluster = {"volumes": many, "ports": {"extra": extra}, "env": [f"A{n}={'x' * 100}" for n in range(40)]}
    caches = [{"upstream": f"registry-{number}.example.com"} for number in range(40)]
    chosen = settings(cluster=cluster, registries={"caches": caches})
    text = remembered(chosen, shape(registries=registry.used(chosen)))
    assert len(text) < 2500
    before = settings(cluster={**cluster, "volumes": many[1:]}, registries={"caches": caches})
    (difference,) = changed(before, shape(registries=registry.used(chosen)), text)
    assert difference.startswith("cluster.volumes: ")


BASE = {"cluster": {"servers": 1, "env": ["A=b@all:*"], "kubelet_config": {"maxPods": 50}}}
CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("cluster.servers", {"servers": 3, "loadbalancer": False}, "cluster.servers: 1 → 3"),
    ("cluster.loadbalancer", {"loadbalancer": True}, "cluster.loadbalancer: false → true"),
    ("cluster.bind_address", {"bind_address": "0.0.0.0"}, "cluster.bind_address: 127.0.0.1 → 0.0.0.0"),
    ("cluster.ports.http", {"ports": {"http": 81}}, "cluster.ports.http: 80 → 81"),
    ("cluster.ports.https", {"ports": {"https": None}}, "cluster.ports.https: 443 → none"),
    ("cluster.ports.api", {"ports": {"api": 7000}}, "cluster.ports.api: 6550 → 7000"),
    ("cluster.ports.extra", {"ports": {"extra": ["1:2"]}}, "cluster.ports.extra: none → 1:2"),
    ("cluster.limits.server_memory", {"limits": {"server_memory": "3G"}}, "2048m → 3072m"),
    ("cluster.limits.agent_memory", {"limits": {"agent_memory": "1G"}}, "1536m → 1024m"),
    ("cluster.volumes", {"volumes": ["/a:/b@all:*"]}, "cluster.volumes: none → /a:/b@all:*"),
    ("cluster.env", {"env": ["A=c@all:*"]}, "cluster.env: "),
    ("cluster.subnet", {"subnet": "auto"}, "cluster.subnet: none → auto"),
    ("cluster.server_labels", {"server_labels": {"role": "server", "a": "b"}}, "role=server → a=b role=server"),
    ("cluster.agent_labels", {"agent_labels": {}}, "cluster.agent_labels: role=agent → none"),
    ("cluster.args", {"args": {"kubelet": ["v=4"]}}, "cluster.args: "),
    ("cluster.args", {"scheduler_verbosity": 5}, "cluster.args: "),
    ("cluster.kubelet_config", {"kubelet_config": {"maxPods": 60}}, "cluster.kubelet_config: "),
]


@pytest.mark.parametrize(("path", "cluster", "told"), CHANGES)
def test_what_cannot_be_changed_in_place_is_told(path: str, cluster: dict[str, Any], told: str) -> None:
    before = remembered(settings(**BASE), shape())
    (difference,) = changed(settings(cluster={**BASE["cluster"], **cluster}), shape(), before)
    assert difference.startswith(f"{path}: ")
    assert told in difference


def test_every_remembered_value_is_one_that_the_tests_change() -> None:
    others = {"cluster.image", "registries"}
    assert set(immutable(settings(), shape())) == {path for path, _, _ in CHANGES} | others


def test_another_image_and_other_registries_are_told() -> None:
    before = remembered(settings(), shape(registries=("k3d-openframe-registry:5000",)))
    now = shape(image="rancher/k3s:v1.33.1-k3s1", registries=("k3d-openframe-registry:5000", "k3d-more:5000"))
    assert changed(settings(), now, before) == [
        "cluster.image: rancher/k3s:v1.32.3-k3s1 → rancher/k3s:v1.33.1-k3s1",
        "registries: k3d-openframe-registry → k3d-more k3d-openframe-registry",
    ]


@pytest.mark.parametrize(
    "cluster",
    [
        {"limits": {"server_memory": "2048M"}},
        {"limits": {"server_cpus": 4, "agent_cpus": 3}},
        {"timeout": 300, "domain": "dev.example.com", "agents": 5},
        {"ports": {"http_fallback": 8081}},
        {"server_labels": {"role": "server"}},
    ],
)
def test_what_changes_nothing_or_can_be_changed_is_not_told(cluster: dict[str, Any]) -> None:
    assert changed(settings(cluster=cluster), shape(agents=5, concurrency=9), remembered(settings(), shape())) == []


def test_limits_switched_off_and_on() -> None:
    off: Settings = settings(cluster={"limits": {"enabled": False}})
    assert changed(off, shape(), remembered(settings(), shape())) == [
        "cluster.limits.server_memory: 2048m → none",
        "cluster.limits.agent_memory: 1536m → none",
    ]
    assert len(changed(settings(), shape(), remembered(off, shape()))) == 2


@pytest.mark.parametrize("label", ["", "cluster.image=rancher%2Fk3s%3Av1.32.3-k3s1", "not a query & at all"])
def test_a_cluster_that_remembers_less_is_not_called_changed(label: str) -> None:
    assert changed(settings(cluster={"servers": 3}), shape(), label) == []


def test_another_ingress_needs_another_cluster() -> None:
    (difference,) = changed(settings(ingress={"controller": "none"}), shape(), remembered(settings(), shape()))
    assert difference.startswith("cluster.args: ")
