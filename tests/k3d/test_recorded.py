"""What is recorded of a cluster's configuration, and which changes are reported."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tasks.facts.cluster import Node, Presence
from tasks.facts.facts import NETWORK_SETTINGS, Network, Ports, Shape
from tasks.facts.mounts import agents as agent_count
from tasks.facts.network import network
from tasks.k3d.config import Files, k3d_config
from tasks.k3d.recorded import changed, immutable, lost, recall, remembered
from tasks.k3d.recorded import differences as differences_of
from tasks.k3d.steps import cluster_steps
from tasks.settings.derived import registries_in_use
from tests.given import cluster_state, facts, node, settings
from tests.k3d.test_config import RICH, shape


def test_both_labels_are_on_every_node() -> None:
    ports = Ports(http=80, https=443, api=6550)
    labels = k3d_config(settings(), shape(), ports, Files())["options"]["runtime"]["labels"]
    assert [each["label"].split("=", 1)[0] for each in labels] == ["openframe.cluster", "openframe.config"]
    assert labels[0]["label"] == "openframe.cluster=openframe-dev"
    assert recall(labels[1]["label"].split("=", 1)[1]) == immutable(settings(), shape())


@pytest.mark.parametrize("cluster", [{}, RICH, {"env": ["TOKEN=s3cr3t,=&%+ä"], "ports": {"http": None}}])
def test_what_is_remembered_comes_back(cluster: dict[str, Any]) -> None:
    chosen = settings(cluster=cluster)
    text = remembered(chosen, shape(registries=registries_in_use(chosen)))
    assert recall(text) == immutable(chosen, shape(registries=registries_in_use(chosen)))
    assert not set(text) & set("$, \n\"'")  # k3d expands the first, `docker ps` parts labels at the second
    assert "s3cr3t" not in text
    assert changed(chosen, shape(registries=registries_in_use(chosen)), text) == []


def test_a_label_stays_short() -> None:
    """`docker ps` prints it in one line; engines and their tools have met limits at some thousand bytes."""
    many = [f"/a/rather/long/path/{number}:/data/{number}@all:*" for number in range(40)]
    extra = [f"{30000 + number}:{30000 + number}@server:0:direct" for number in range(40)]
    cluster = {"volumes": many, "ports": {"extra": extra}, "env": [f"A{n}={'x' * 100}" for n in range(40)]}
    caches = [{"upstream": f"registry-{number}.example.com"} for number in range(40)]
    chosen = settings(cluster=cluster, registries={"caches": caches})
    text = remembered(chosen, shape(registries=registries_in_use(chosen)))
    assert len(text) < 2500
    before = settings(cluster={**cluster, "volumes": many[1:]}, registries={"caches": caches})
    (difference,) = changed(before, shape(registries=registries_in_use(chosen)), text)
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


@pytest.mark.parametrize(("path", "cluster", "reported"), CHANGES)
def test_what_cannot_be_changed_in_place_is_told(path: str, cluster: dict[str, Any], reported: str) -> None:
    before = remembered(settings(**BASE), shape())
    (difference,) = changed(settings(cluster={**BASE["cluster"], **cluster}), shape(), before)
    assert difference.startswith(f"{path}: ")
    assert reported in difference


def test_every_remembered_value_is_one_that_the_tests_change() -> None:
    others = {"cluster.image", "registries"}
    assert set(immutable(settings(), shape())) == {path for path, _, _ in CHANGES} | others


def proxied(**proxy: Any) -> Shape:
    chosen = settings(network={"proxy": proxy})
    return shape(network=network(chosen, {}, Path("/none")))


def test_another_proxy_is_told_in_words_and_without_its_login() -> None:
    """Also for a cluster that was created before there were settings for it."""
    login = proxied(https="http://me:c4nary@proxy:3128", no_proxy=["a", "b"])
    all_of_it = recall(remembered(settings(), shape()))
    before = urlencode({path: value for path, value in all_of_it.items() if path not in NETWORK_SETTINGS})
    reported = changed(settings(), login, before)
    assert reported[0].startswith("network.proxy.https: none → http://***@proxy:3128 (login ")
    assert reported[1:] == ["network.proxy.no_proxy: none → a,b"]
    assert "c4nary" not in remembered(settings(), login)
    other = proxied(https="http://me:c4n@proxy:3128", no_proxy=["a", "b"])
    assert len(changed(settings(), other, remembered(settings(), login))) == 1
    assert changed(settings(), shape(), remembered(settings(), login))[1] == "network.proxy.no_proxy: a,b → none"
    ca = Network(authorities="-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    (reported_ca,) = changed(settings(), shape(network=ca), before)
    assert reported_ca.startswith("network.ca: none → 1 certificate ")


def test_the_variables_of_proxies_are_no_change_of_the_nodes_own_environment() -> None:
    first = node("server-0", env=("A=b", "HTTPS_PROXY=http://proxy:3128", "NO_PROXY=localhost"))
    had = remembered(settings(cluster={"env": ["A=b"]}), shape(agents=0))
    reported = changed(settings(cluster={"env": ["A=c"]}), shape(agents=0), had, [first])
    assert len(reported) == 1
    assert reported[0].startswith("cluster.env: A: ")


def test_what_a_node_was_given_of_this_projects_own_is_no_difference() -> None:
    first = node("server-0", env=("A=b", "GOGC=200", "K3S_TOKEN=x"))
    had = remembered(settings(cluster={"env": ["A=b"]}), shape(agents=0))
    (reported,) = changed(settings(cluster={"env": ["A=c"]}), shape(agents=0), had, [first])
    assert reported.startswith("cluster.env: A: ")
    chosen = settings(cluster={"env": ["A=b", "GOGC=100"]})
    (reported,) = changed(chosen, shape(agents=0), had, [first])
    assert reported == "cluster.env: GOGC: 200 → 100"


def test_another_image_other_registries_and_another_ingress_are_told() -> None:
    before = remembered(settings(), shape(registries=("k3d-openframe-registry:5000",)))
    now = shape(image="rancher/k3s:v1.33.1-k3s1", registries=("k3d-openframe-registry:5000", "k3d-more:5000"))
    off = settings(ingress={"controller": "none"}, cluster={"limits": {"enabled": False}})
    assert changed(off, now, before) == [
        "cluster.image: rancher/k3s:v1.32.3-k3s1 → rancher/k3s:v1.33.1-k3s1",
        "cluster.limits.server_memory: 2048m → none",
        "cluster.limits.agent_memory: 1536m → none",
        "cluster.args: not what the cluster was created with",
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


@pytest.mark.parametrize("label", ["", "cluster.image=rancher%2Fk3s%3Av1.32.3-k3s1", "not a query & at all"])
def test_a_cluster_that_remembers_less_is_not_called_changed(label: str) -> None:
    assert changed(settings(cluster={"servers": 3}), shape(), label) == []


# -- what is too long, or may be private, for a label: told from the nodes ----------------------------


OLD: dict[str, Any] = {
    "args": {"k3s": ["--cluster-cidr=10.42.0.0/16", "snapshotter=native"], "kubelet": ["max-pods=110"]},
    "env": ["P=http://me:s3cret@px:3128@all:*", "API_TOKEN=s3cret@server:*", "GONE=1@server:*", "TZ=UTC@server:*"],
    "volumes": [f"/a/rather/long/path/{number}:/data/{number}@all:*" for number in range(10)],
    "server_labels": {"role": "server", **{f"l{number}": "x" * 30 for number in range(8)}},
}


def nodes_of(cluster: dict[str, Any]) -> list[Node]:
    """Containers as k3d makes them from these settings."""
    config = k3d_config(settings(cluster=cluster), shape(), Ports(http=80, https=443, api=6550), Files())
    found = []
    for name in ("server-0", "agent-0", "agent-1"):
        role, number = name.split("-")

        def mine(rows: list[dict[str, Any]], key: str, role: str = role, number: str = number) -> list[str]:
            own = {f"{role}:*", f"{role}:{number}", "all:*"}
            return [row[key] for row in rows if own & set(row["nodeFilters"])]

        k3s = config["options"]["k3s"]
        labels = [word for label in mine(k3s["nodeLabels"], "label") for word in ("--node-label", label)]
        found.append(
            node(
                name,
                labels={"openframe.config": remembered(settings(cluster=cluster), shape())},
                command=(role, *mine(k3s["extraArgs"], "arg"), "--tls-san", "0.0.0.0", *labels),
                env=(
                    *mine(config.get("env", []), "envVar"),
                    "K3S_TOKEN=s3cret",
                    "PATH=/bin",
                    "CONTAINERD_NAMESPACE=k8s.io",
                ),
                binds=("k3d-openframe-dev-images:/k3d/images", *mine(config.get("volumes", []), "volume")),
            )
        )
    return found


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        (["server-0", "server-1", "server-2", "agent-0"], []),
        (["server-1", "server-2", "agent-0"], ["k3d-openframe-dev-server-0"]),
        (["server-0", "server-1", "server-2-0"], []),  # added by `k3d node create`
    ],
)
def test_a_server_whose_container_was_removed_is_named(there: list[str], gone: list[str]) -> None:
    label = remembered(settings(cluster={"servers": 3}), shape())
    nodes = [node(each, labels={"openframe.config": label}) for each in there]
    assert lost(cluster_state(Presence.RUNNING, *nodes)) == gone


@pytest.mark.parametrize(("agents", "refused"), [(None, False), (1, False), (2, True)])
@pytest.mark.parametrize("target", ["/var/lib/rancher/k3s", "/etc/rancher/node"])
def test_no_agent_is_added_with_foreign_data(tmp_path: Path, agents: int | None, refused: bool, target: str) -> None:
    """k3d copies the mounts of another node, and a restored one has its data in a volume."""
    chosen = settings(cluster={"agents": agents})
    label = {"openframe.config": remembered(chosen, shape())}
    server, agent = node("server-0", labels=label, binds=(f"v:{target}",)), node("agent-0", labels=label)
    present = cluster_state(Presence.RUNNING, server, agent)
    count = agent_count(chosen, present, 3)
    given = facts(tmp_path, settings=chosen, cluster=present, shape=replace(shape(), agents=count))
    assert count == (1 if agents is None else agents)
    assert [text.partition(",")[0] for text in differences_of(given)] == (["cluster.agents: 1 → 2"] if refused else [])
    assert not any("add agent" in step.name for step in cluster_steps(given, (), lambda ports, _reported: ports))


def differences(now: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """The differences of a cluster created with OLD from the settings in `now`."""
    nodes = nodes_of(OLD if old is None else old)
    return changed(settings(cluster=now), shape(), nodes[0].labels["openframe.config"], nodes)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (
            {"args": {**OLD["args"], "k3s": ["cluster-cidr=10.52.0.0/16", "snapshotter=native"]}},
            ["cluster.args: k3s cluster-cidr: 10.42.0.0/16 → 10.52.0.0/16 on k3d-openframe-dev-server-0"],
        ),
        (
            {"args": {**OLD["args"], "k3s": ["--cluster-cidr=10.42.0.0/16"]}},
            ["cluster.args: k3s snapshotter: native → none"],
        ),
        (
            {"args": {**OLD["args"], "kubelet": ["max-pods=50", "registry-qps=5@agent:*"]}},
            [
                "cluster.args: kubelet max-pods: 110 → 50",
                "cluster.args: kubelet registry-qps: 0 → 0, 5 on k3d-openframe-dev-agent-0, k3d-openframe-dev-agent-1",
            ],
        ),
        (
            {"env": ["P=http://me:other@px:3128@all:*", "API_TOKEN=other@server:*", "TZ=CET@server:*"]},
            [
                "cluster.env: API_TOKEN: *** → *** (what differs is not shown) on k3d-openframe-dev-server-0",
                "cluster.env: GONE: 1 → none on k3d-openframe-dev-server-0",
                "cluster.env: P: http://***@px:3128 → http://***@px:3128 (what differs is not shown)",
                "cluster.env: TZ: UTC → CET on k3d-openframe-dev-server-0",
            ],
        ),
        (
            {"env": [*(text for text in OLD["env"] if "API_TOKEN" not in text), "DB_PASSWORD=x@all:*"]},
            [
                "cluster.env: API_TOKEN: *** → none on k3d-openframe-dev-server-0",
                "cluster.env: DB_PASSWORD: none → ***",
            ],
        ),
        (
            {"volumes": ["/other:/data/0@all:*", *OLD["volumes"][1:]]},
            ["cluster.volumes: /data/0: /a/rather/long/path/0 → /other"],
        ),
        (
            {"server_labels": {**OLD["server_labels"], "l0": "y"}},
            [f"cluster.server_labels: l0: {'x' * 30} → y on k3d-openframe-dev-server-0"],
        ),
    ],
)
def test_each_difference_is_told_by_its_name_with_both_values(now: dict[str, Any], expected: list[str]) -> None:
    found = differences({**OLD, **now})
    assert found == expected
    assert "s3cret" not in str(found)


def test_ports_that_differ_are_named() -> None:
    extra = [f"{30000 + number}:{30000 + number}@server:0:direct" for number in range(20)]
    before = settings(cluster={"ports": {"extra": extra}})
    published = tuple((30000 + number, "127.0.0.1", 30000 + number) for number in range(20))
    server = node("server-0", published=(*published, (6443, "127.0.0.1", 6550), (80, "127.0.0.1", 8080)))
    now = settings(cluster={"ports": {"extra": [*extra[1:], "31000-31001:30000-30001@server:0:direct"]}})
    assert changed(now, shape(), remembered(before, shape()), [server]) == [
        "cluster.ports.extra: 30000: published → none",
        "cluster.ports.extra: 31000: none → published",
        "cluster.ports.extra: 31001: none → published",
    ]


def test_another_spelling_is_no_difference() -> None:
    args = {"k3s": ["cluster-cidr 10.42.0.0/16", "--snapshotter", "native"], "kubelet": ["--max-pods=110"]}
    env = [text.replace("@px", r"\@px") for text in OLD["env"]]
    assert differences({**OLD, "args": args, "env": env}) == []


def test_what_the_machines_size_made_is_no_difference() -> None:
    nodes = nodes_of(OLD)
    now = settings(cluster={**OLD, "scheduler_verbosity": 4})
    assert changed(now, shape(concurrency=16), nodes[0].labels["openframe.config"], nodes) == [
        "cluster.args: scheduler v: none → 4 on k3d-openframe-dev-server-0"
    ]


def test_clusters_of_earlier_versions_recorded_digests_of_what_was_written() -> None:
    cluster = {
        "args": {"k3s": ["--disable=metrics-server"]},
        "env": [r"A=b\@c@server:*"],
        "kubelet_config": {"maxPods": 9},
    }
    label = urlencode(
        {"cluster.args": "d10577a41a6b", "cluster.env": "6a027a6dd44d", "cluster.kubelet_config": "24d449535630"}
    )
    assert changed(settings(cluster=cluster), shape(), label) == []
    assert changed(settings(), shape(), label) == [
        "cluster.env: not what the cluster was created with",
        "cluster.args: not what the cluster was created with",
        "cluster.kubelet_config: not what the cluster was created with",
    ]
