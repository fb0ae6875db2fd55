"""What stands of a cluster, from what the engine tells of its containers."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.errors import LaunchError
from tasks.facts.standing import Presence, node, read, standing
from tasks.tools.program import CommandFailed
from tests.facts.inspected import NO_FILE_20, NO_FILE_OLD_CLIENT, PORTS_20, PORTS_28, container, docker
from tests.programs import Answer, FakePrograms

SERVER, AGENT = container("server-0", "server"), container("agent-0", "agent")
BALANCER, TOOLS = container("serverlb", "loadbalancer"), container("tools", "noRole", state="exited")
STOPPED_SERVER = container("server-0", "server", state="exited", code=137)
STOPPED_AGENT = container("agent-0", "agent", state="exited", code=1)
FOREIGN_SERVER, FOREIGN_AGENT = container("server-0", "server", ours=False), container("agent-0", "agent", ours=False)


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([], Presence.ABSENT),
        ([SERVER], Presence.RUNNING),
        ([SERVER, AGENT, BALANCER], Presence.RUNNING),
        ([SERVER, AGENT, TOOLS], Presence.RUNNING),  # k3d's own helper ends by itself
        ([STOPPED_SERVER, STOPPED_AGENT], Presence.STOPPED),
        ([SERVER, STOPPED_AGENT], Presence.STOPPED),
        ([SERVER, container("serverlb", "loadbalancer", state="exited")], Presence.STOPPED),
        ([container("server-0", "server", state="restarting")], Presence.STOPPED),
        ([AGENT], Presence.INCOMPLETE),
        ([BALANCER, TOOLS], Presence.INCOMPLETE),
        ([FOREIGN_SERVER], Presence.FOREIGN),
        ([FOREIGN_SERVER, FOREIGN_AGENT, BALANCER], Presence.FOREIGN),
        ([container("server-0", "server", ours=False, state="exited")], Presence.FOREIGN),
        ([container("server-0", "server", labels={"openframe.cluster": "another"})], Presence.FOREIGN),
        ([SERVER, FOREIGN_AGENT], Presence.RUNNING),  # somebody has added a node to ours by hand
    ],
)
def test_how_much_is_there(containers: list[dict[str, Any]], expected: Presence) -> None:
    found = read("openframe-dev", containers, complete=True)
    assert found.presence is expected
    assert len(found.nodes) == len(containers)


@pytest.mark.parametrize("containers", [[SERVER, AGENT], [STOPPED_SERVER, STOPPED_AGENT]])
def test_a_creation_that_was_never_recorded(containers: list[dict[str, Any]]) -> None:
    assert read("openframe-dev", containers, complete=False).presence is Presence.INCOMPLETE


def test_anothers_is_foreign_however_it_was_made() -> None:
    assert read("openframe-dev", [FOREIGN_SERVER], complete=False).presence is Presence.FOREIGN


def test_nodes_in_the_order_of_their_numbers() -> None:
    names = ["agent-10", "agent-9", "server-1", "agent-0", "server-0", "serverlb", "agent-1"]
    found = read("openframe-dev", [container(name, name.split("-", 1)[0]) for name in names], complete=True)
    assert [each.name.removeprefix("k3d-openframe-dev-") for each in found.of("server", "agent")] == [
        "agent-0",
        "agent-1",
        "agent-9",
        "agent-10",
        "server-0",
        "server-1",
    ]
    assert found.first is not None
    assert found.first.name == "k3d-openframe-dev-server-0"


@pytest.mark.parametrize("ports", [PORTS_20, PORTS_28], ids=["docker-20", "docker-28"])
def test_a_node(ports: dict[str, Any]) -> None:
    found = node(container("server-0", "server", ports=ports, cpus=2_000_000_000))
    assert (found.name, found.role, found.running) == ("k3d-openframe-dev-server-0", "server", True)
    assert (found.exit_code, found.nano_cpus) == (0, 2_000_000_000)
    assert found.published == ((6443, "127.0.0.1", 6550),)
    assert found.labels["k3d.cluster"] == "openframe-dev"


@pytest.mark.parametrize(
    "less",
    [
        {"HostConfig": {"PortBindings": None}},
        {"HostConfig": {"PortBindings": {"80/tcp": None}}},
        {"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}}},
        {"HostConfig": {}},
        {"Config": {"Labels": None}},
        {"State": {"Running": True}},
    ],
)
def test_a_node_of_which_less_is_told(less: dict[str, Any]) -> None:
    found = node({**container("server-0", "server"), **less})
    assert found.published == ()
    assert found.nano_cpus == 0
    assert found.running


BOTH = [
    container("server-0", "server", ports={"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "7550"}]}),
    container(
        "serverlb",
        "loadbalancer",
        ports={
            "6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6550"}],
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        },
    ),
]


@pytest.mark.parametrize(
    ("containers", "inside", "first_server", "expected"),
    [
        (BOTH, 6443, False, 6550),
        (BOTH, 6443, True, 7550),
        (BOTH, 80, False, 8080),
        (BOTH, 80, True, 8080),
        (BOTH, 443, False, None),
        ([container("server-0", "server", ports=PORTS_28)], 6443, False, 6550),
        ([], 6443, True, None),
    ],
)
def test_published_ports(
    containers: list[dict[str, Any]], inside: int, first_server: bool, expected: int | None
) -> None:
    assert read("openframe-dev", containers, complete=True).port(inside, first_server=first_server) == expected


def test_what_it_was_made_with() -> None:
    remembers = container("server-0", "server", labels={"openframe.config": "cluster.servers=1"})
    assert read("openframe-dev", [remembers, AGENT], complete=True).label == "cluster.servers=1"
    assert read("openframe-dev", [SERVER], complete=True).label == ""
    assert read("openframe-dev", [], complete=True).label == ""


LISTED = "docker ps --all --quiet --no-trunc --filter label=k3d.cluster=openframe-dev"


def test_the_engine_is_asked_by_exact_label() -> None:
    fake = docker(SERVER, AGENT)
    assert standing(fake, "openframe-dev").presence is Presence.RUNNING
    assert fake.lines == [
        LISTED,
        f"docker container inspect {SERVER['Id']} {AGENT['Id']}",
        f"docker cp {SERVER['Id']}:/openframe-complete -",
    ]


def test_where_nothing_is_nothing_more_is_asked() -> None:
    fake = docker()
    assert standing(fake, "openframe-dev").presence is Presence.ABSENT
    assert fake.lines == [LISTED]


def test_one_that_went_away_meanwhile() -> None:
    fake = docker(SERVER)
    fake.answers["docker container inspect"] = Answer(out="[]\n", code=1, err="Error: No such container: 350d")
    assert standing(fake, "openframe-dev").presence is Presence.ABSENT


@pytest.mark.parametrize(("known", "asked"), [(None, 1), (SERVER["Id"], 0), ("another", 1)])
def test_a_marker_that_was_seen_before_is_not_asked_for(known: str | None, asked: int) -> None:
    fake = docker(SERVER)
    assert standing(fake, "openframe-dev", known).presence is Presence.RUNNING
    assert len(fake.told("docker cp")) == asked


@pytest.mark.parametrize("containers", [[FOREIGN_SERVER], [AGENT], [BALANCER]])
def test_there_is_no_marker_to_ask_for(containers: list[dict[str, Any]]) -> None:
    fake = docker(*containers)
    standing(fake, "openframe-dev")
    assert fake.told("docker cp") == []


@pytest.mark.parametrize("text", [NO_FILE_20, NO_FILE_OLD_CLIENT])
def test_without_its_marker_it_is_incomplete(text: str) -> None:
    fake = docker(SERVER, marker=Answer(code=1, err=text))
    assert standing(fake, "openframe-dev").presence is Presence.INCOMPLETE


@pytest.mark.parametrize(
    "text", ["error during connect: EOF", "Error response from daemon: mkdir /var/lib/docker/…: no space left", ""]
)
def test_what_is_not_known_to_be_incomplete_is_not_called_so(text: str) -> None:
    """An incomplete cluster is removed by the next launch: an engine in trouble must not look like one."""
    with pytest.raises(LaunchError, match="does not tell whether") as caught:
        standing(docker(SERVER, marker=Answer(code=1, err=text)), "openframe-dev")
    assert caught.value.exit_code == 1
    assert caught.value.fix


def test_an_engine_that_does_not_answer() -> None:
    with pytest.raises(CommandFailed):
        standing(FakePrograms(answers={"docker ps": Answer(code=1, err="Cannot connect")}), "openframe-dev")
