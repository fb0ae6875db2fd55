"""The generated k3d configuration, and what a cluster remembers of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.clients import k3d
from tasks.core.errors import BadInput
from tasks.facts.facts import Ports, Shape
from tasks.facts.network import network
from tasks.k3d.config import Files, k3d_config, kubelet_config, render
from tasks.rehearsal.k3d import load
from tasks.settings.derived import KUBELET_DROP_IN, balanced, docker_memory
from tests.given import settings

KNOWN = """
apiVersion kind servers agents image subnet metadata.name kubeAPI.host kubeAPI.hostIP kubeAPI.hostPort
volumes.volume volumes.nodeFilters ports.port ports.nodeFilters env.envVar env.nodeFilters registries.use
registries.config files.source files.destination files.description files.nodeFilters
options.k3d.wait options.k3d.timeout options.k3d.disableLoadbalancer options.k3d.disableImageVolume
options.k3d.disableRollback options.k3s.extraArgs.arg options.k3s.extraArgs.nodeFilters options.k3s.nodeLabels.label
options.k3s.nodeLabels.nodeFilters options.kubeconfig.updateDefaultKubeconfig options.kubeconfig.switchCurrentContext
options.runtime.serversMemory options.runtime.agentsMemory options.runtime.labels.label
options.runtime.labels.nodeFilters
"""
"""Of v1alpha5 what is used here: k3d refuses a field that it does not know (k3d 5.9: its JSON schema)."""
PORTS = Ports(http=80, https=443, api=6550)


def fields(value: Any, at: str = "") -> set[str]:
    """The paths of a configuration's values."""
    if isinstance(value, dict):
        return {path for name, each in value.items() for path in fields(each, f"{at}.{name}".lstrip("."))}
    if isinstance(value, list):
        return {path for each in value for path in fields(each, at)}
    return {at}


def shape(**changes: Any) -> Shape:
    return Shape(**{"image": "rancher/k3s:v1.32.3-k3s1", "agents": 2, "concurrency": 4, **changes})


def rendered(
    cluster: Mapping[str, Any] | None = None, ports: Ports = PORTS, files: Files | None = None, **changes: Any
) -> dict[str, Any]:
    """The configuration as k3d reads it: rendered, and parsed again."""
    config = k3d_config(settings(cluster=dict(cluster or {})), shape(**changes), ports, files or Files())
    parsed: dict[str, Any] = json.loads(render(config))
    return parsed


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


@pytest.mark.parametrize("cluster", [{}, RICH, {"limits": {"enabled": False}}])
@pytest.mark.parametrize("agents", [0, 3])
def test_only_fields_that_k3d_knows(cluster: dict[str, Any], agents: int) -> None:
    config = rendered(
        cluster,
        Ports(http=80, https=None, api=6550, early=7550),
        Files(registries="/state/registries.yaml", drop_in="/state/kubelet.conf"),
        agents=agents,
        registries=("k3d-openframe-registry:5000",),
    )
    assert fields(config) <= set(KNOWN.split())
    assert (config["apiVersion"], config["kind"]) == ("k3d.io/v1alpha5", "Simple")


def test_by_default() -> None:
    config = rendered(registries=("k3d-openframe-registry:5000",), files=Files(registries="/state/registries.yaml"))
    assert config["metadata"] == {"name": "openframe-dev"}
    assert (config["servers"], config["agents"], config["image"]) == (1, 2, "rancher/k3s:v1.32.3-k3s1")
    assert config["kubeAPI"] == {"hostIP": "127.0.0.1", "host": "127.0.0.1", "hostPort": "6550"}
    assert config["registries"] == {"use": ["k3d-openframe-registry:5000"], "config": "/state/registries.yaml"}
    assert config["options"]["k3d"] == {
        "wait": True,
        "timeout": "180s",
        "disableLoadbalancer": True,
        "disableRollback": True,
    }
    assert config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    assert config["options"]["runtime"]["serversMemory"] == "2048m"
    assert config["options"]["runtime"]["agentsMemory"] == "1536m"
    assert config["options"]["k3s"]["nodeLabels"] == [
        {"label": "role=server", "nodeFilters": ["server:*"]},
        {"label": "role=agent", "nodeFilters": ["agent:*"]},
    ]
    assert config["env"] == [{"envVar": "GOGC=200", "nodeFilters": ["server:*"]}]
    assert not {"subnet", "files", "volumes"} & set(config)


@pytest.mark.parametrize(
    ("servers", "desired", "expected"), [(1, None, False), (3, None, True), (1, True, True), (3, False, False)]
)
def test_a_load_balancer_stands_before_several_servers(servers: int, desired: bool | None, expected: bool) -> None:
    cluster = {"servers": servers, "loadbalancer": desired}
    assert balanced(settings(cluster=cluster)) is expected
    assert rendered(cluster)["options"]["k3d"]["disableLoadbalancer"] is not expected


WEB = [("127.0.0.1:80:80", "server:0:direct"), ("127.0.0.1:443:443", "server:0:direct")]
EVERYWHERE = [("0.0.0.0:8080:80", "server:0:direct"), ("0.0.0.0:8443:443", "server:0:direct")]
EARLY = ("127.0.0.1:7550:6443", "server:0:direct")
BALANCED = [("127.0.0.1:80:80", "loadbalancer"), ("127.0.0.1:443:443", "loadbalancer"), EARLY]


@pytest.mark.parametrize(
    ("cluster", "ports", "expected"),
    [
        ({}, PORTS, WEB),
        ({"bind_address": "0.0.0.0"}, Ports(http=8080, https=8443, api=6551), EVERYWHERE),
        ({}, Ports(http=None, https=443, api=6550), WEB[1:]),
        ({}, Ports(http=None, https=None, api=6550), None),
        ({"servers": 3}, Ports(http=80, https=443, api=6550, early=7550), BALANCED),
        ({"servers": 3, "bind_address": "0.0.0.0"}, Ports(http=None, https=None, api=6550, early=7550), [EARLY]),
    ],
)
def test_ports(cluster: dict[str, Any], ports: Ports, expected: list[tuple[str, str]] | None) -> None:
    rows = rendered(cluster, ports).get("ports")
    assert (rows and [(each["port"], *each["nodeFilters"]) for each in rows]) == expected


@pytest.mark.parametrize(
    ("field", "text", "value", "filters"),
    [
        ("volumes", "/data:/data", "/data:/data", None),
        ("volumes", "/a:/b@all:*", "/a:/b", ["all:*"]),
        ("env", "A=b@server:0;agent:*", "A=b", ["server:0", "agent:*"]),
        ("env", r"USER=me\@here.org@server:*", "USER=me@here.org", ["server:*"]),
        ("env", r"USER=me\@here.org", "USER=me@here.org", ["server:*", "agent:*"]),
        ("env", "P=http://me:pw@px:3128@agent:0", "P=http://me:pw@px:3128", ["agent:0"]),
        ("env", "P=http://me:pw@px:3128", "P=http://me:pw@px:3128", ["server:*", "agent:*"]),
    ],
)
def test_what_is_written_as_on_k3ds_command_line(field: str, text: str, value: str, filters: list[str] | None) -> None:
    (row,) = (each for each in rendered({field: [text]})[field] if "GOGC" not in str(each))
    assert row.pop({"volumes": "volume", "env": "envVar"}[field]) == value
    assert row == ({} if filters is None else {"nodeFilters": filters})


@pytest.mark.parametrize(
    ("cluster", "agents", "expected"),
    [
        ({"limits": {"server_memory": "1.75G", "agent_memory": "1G"}}, 2, {}),
        ({"limits": {"server_memory": "2G", "agent_memory": "3.5G"}}, 2, {"server:*": "200", "agent:*": "300"}),
        ({"limits": {"server_memory": "64G", "agent_memory": "4G"}}, 0, {"server:*": "400"}),
        ({"limits": {"enabled": False}}, 2, {"server:*": "200", "agent:*": "200"}),
        ({"env": ["GOGC=50@server:0"], "limits": {"agent_memory": "4G"}}, 2, {"server:0": "50"}),
        ({"env": ["GOGCX=50@server:0"]}, 0, {"server:*": "200"}),
    ],
)
def test_k3s_collects_garbage_by_node_memory(cluster: dict[str, Any], agents: int, expected: dict[str, str]) -> None:
    rows = rendered(cluster, agents=agents).get("env", [])
    found = {row["nodeFilters"][0]: row["envVar"].removeprefix("GOGC=") for row in rows if "GOGC=" in row["envVar"]}
    assert found == expected


def test_more_ports_go_where_they_say() -> None:
    config = rendered({"ports": {"extra": ["30000-30010:30000-30010@server:0:direct", "8081:81"]}})
    assert [each["port"] for each in config["ports"][2:]] == ["30000-30010:30000-30010", "8081:81"]
    assert all(each["nodeFilters"] == ["server:0:direct"] for each in config["ports"])


@pytest.mark.parametrize("part", [("k3s", "extraArgs"), ("k3s", "nodeLabels"), ("runtime", "labels")])
@pytest.mark.parametrize(("agents", "there"), [(0, False), (1, True)])
def test_agents_are_named_only_where_there_are_some(part: tuple[str, str], agents: int, there: bool) -> None:
    config = rendered({"kubelet_config": {"maxPods": 50}}, agents=agents)
    rows = [*config["options"][part[0]][part[1]], *config["files"]]
    assert any("agent:*" in row["nodeFilters"] for row in rows) is there
    assert all("server:*" in row["nodeFilters"] or there for row in rows)


@pytest.mark.parametrize(
    ("text", "expected"), [("2G", "2048m"), ("2048M", "2048m"), ("1.5G", "1536m"), ("512m", "512m"), ("2GiB", "2048m")]
)
def test_one_spelling_of_memory(text: str, expected: str) -> None:
    assert docker_memory(text) == expected


HEAD = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}


@pytest.mark.parametrize(
    ("pulls", "own", "expected"),
    [
        (None, {}, None),
        (3, {}, {"maxParallelImagePulls": 3, "serializeImagePulls": False}),
        (1, {}, {"maxParallelImagePulls": 1}),
        (None, {"maxPods": 50}, {"maxPods": 50}),
        (3, {"maxParallelImagePulls": 9}, {"maxParallelImagePulls": 9, "serializeImagePulls": False}),
    ],
)
def test_the_kubelets_fields(pulls: int | None, own: dict[str, Any], expected: dict[str, Any] | None) -> None:
    found = kubelet_config(settings(cluster={"kubelet_config": own}), shape(parallel_pulls=pulls))
    assert found == (None if expected is None else {**HEAD, **expected})


def test_the_kubelets_drop_in_is_inline_for_one_server() -> None:
    (file,) = rendered(parallel_pulls=3)["files"]
    assert file["destination"] == KUBELET_DROP_IN
    assert file["nodeFilters"] == ["server:*", "agent:*"]
    assert file["source"].endswith("\n")  # else k3d takes it for the name of a file
    assert json.loads(file["source"]) == {**HEAD, "maxParallelImagePulls": 3, "serializeImagePulls": False}


@pytest.mark.parametrize("cluster", [{"args": {"kubelet": ["node-ip=${IP}"]}}, {"volumes": ["$PWD:/data"]}])
def test_a_variable_of_a_shell_is_refused(cluster: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"contains a '\$'"):
        rendered(cluster)


def test_a_dollar_reaches_a_node_as_it_is(tmp_path: Path) -> None:
    """k3d expands variables in its whole config file."""
    chosen = settings(cluster={"env": ["PASSWORD=pa$$wo$rd{}$"], "kubelet_config": {"clusterDomain": "$X"}})
    text = render(k3d_config(chosen, shape(), PORTS, Files()))
    environ = k3d.environment({"wo": "nothing", "X": "nothing"}, tmp_path)
    assert set(re.findall(r"\$\{?\w*", text)) == {"${OPENFRAME_DOLLAR"}
    (file := tmp_path / "k3d.yaml").write_text(text)
    read = load(str(file), environ)
    assert read["env"][-1]["envVar"] == "PASSWORD=pa$$wo$rd{}$"
    assert '"clusterDomain": "$X"' in read["files"][0]["source"]


@pytest.mark.parametrize(
    ("cluster", "reported"),
    [
        (
            {"env": ["P=http://me:s3cret@px:3128@agent:2"]},
            "cluster.env.0: 'agent:2' names a node that is not there, of 2 counted from 0",
        ),
        ({"env": ["A=s3cret@loadbalancer"]}, "no load balancer"),
        ({"volumes": ["/s3cret:/b@server:1-"]}, "cluster.volumes.0: 'server:1-'"),
        ({"args": {"kubelet": ["x=s3cret@agent:5"]}}, "cluster.args: --kubelet-arg: 'agent:5'"),
        ({"ports": {"extra": ["90:90@agent:0"]}}, "goes through the load balancer"),
        ({"ports": {"extra": ["90:90@agent:*:direct"]}}, "goes to 2 nodes directly"),
    ],
)
def test_nodes_that_are_not_there_are_told_before_anything_is_pulled(cluster: dict[str, Any], reported: str) -> None:
    with pytest.raises(BadInput) as caught:
        rendered(cluster)
    assert reported in caught.value.what
    assert "s3cret" not in str(caught.value)


def test_what_is_for_agents_alone_is_left_out_where_there_are_none() -> None:
    config = rendered({"env": ["A=b@agent:*", "C=d@server:*;agent:*"], "args": {"k3s": ["v=5@agent:*"]}}, agents=0)
    assert config["env"][1:] == [{"envVar": "C=d", "nodeFilters": ["server:*"]}]
    assert not any(row["arg"] == "--v=5" for row in config["options"]["k3s"]["extraArgs"])


NETWORK = {"proxy": {"http": "proxy:3128", "https": "http://me:c4n$ry@proxy:3128", "no_proxy": ["corp.example"]}}
AUTHORITY = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


def with_network(cluster: Mapping[str, Any], files: Files | None = None, **changes: Any) -> dict[str, Any]:
    chosen = settings(cluster=dict(cluster), network=NETWORK)
    given = replace(network(chosen, {}, Path("/none")), authorities=AUTHORITY)
    default_shape = shape(network=given, registries=("k3d-openframe-registry:5000",), **changes)
    parsed: dict[str, Any] = json.loads(render(k3d_config(chosen, default_shape, PORTS, files or Files())))
    return parsed


def test_nodes_get_proxies_with_all_of_the_cluster_left_out() -> None:
    config = with_network({"name": "a", "args": {"k3s": ["--cluster-cidr=10.50.0.0/16", "cluster-domain=x.test"]}})
    rows = dict(each["envVar"].split("=", 1) for each in config["env"])
    assert rows["HTTP_PROXY"] == "http://proxy:3128"
    assert rows["HTTPS_PROXY"] == "http://me:c4n%24ry@proxy:3128"
    assert rows["NO_PROXY"].split(",") == [
        *("localhost", "127.0.0.0/8", "::1", "10.50.0.0/16", "10.43.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
        *(".svc", ".x.test", "k3d-a-server-0", "k3d-a-agent-0", "k3d-a-agent-1", "k3d-a-serverlb"),
        *("k3d-openframe-registry", "host.k3d.internal", "corp.example"),
    ]
    assert {tuple(each["nodeFilters"]) for each in config["env"][:-1]} == {("server:*", "agent:*")}
    assert fields(config) <= set(KNOWN.split())


def test_the_engines_own_networks_are_left_out_where_they_are_known() -> None:
    for config in (with_network({"subnet": "10.9.0.0/24"}), with_network({}, subnets=("10.9.0.0/24",))):
        rows = dict(each["envVar"].split("=", 1) for each in config["env"])
        assert "10.9.0.0/24" in rows["NO_PROXY"]
        assert "172.16.0.0/12" not in rows["NO_PROXY"]


def test_variables_that_are_set_for_nodes_win() -> None:
    config = with_network({"env": ["NO_PROXY=mine@server:*"]}, agents=0)
    names = [each["envVar"].partition("=")[0] for each in config["env"]]
    assert names == ["HTTP_PROXY", "HTTPS_PROXY", "GOGC", "NO_PROXY"]
    assert config["env"][-1]["envVar"] == "NO_PROXY=mine"


def test_authorities_go_into_the_folder_that_programs_in_go_read() -> None:
    (file,) = with_network({})["files"]
    assert (file["source"], file["destination"]) == (AUTHORITY, "/etc/ssl/certs/openframe-ca.pem")
    both = with_network({"kubelet_config": {"maxPods": 50}})
    assert [each["destination"] for each in both["files"]] == [KUBELET_DROP_IN, "/etc/ssl/certs/openframe-ca.pem"]
    several = with_network({"servers": 3}, Files(authorities="/state/ca.pem"))
    assert several["volumes"][0]["volume"] == "/state/ca.pem:/etc/ssl/certs/openframe-ca.pem:ro"
    assert "files" not in several
