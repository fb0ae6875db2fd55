"""The state of a cluster and of its containers, from what `docker container inspect` prints."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.facts.cluster import (
    UNKNOWN,
    Claim,
    ContainerState,
    Owner,
    Presence,
    cluster_state,
    container_state,
    last_words,
    node,
    read,
    refuse_foreign,
    telling_line,
)
from tasks.facts.registries import registries
from tasks.process.command import CommandFailed
from tests.facts.inspected import NO_FILE_20, NO_FILE_OLD_CLIENT, PORTS_20, PORTS_28, container, docker, registry
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
def test_ports_of_api(containers: list[dict[str, Any]], inside: int, first_server: bool, expected: int | None) -> None:
    assert read("openframe-dev", containers, complete=True).port(inside, first_server=first_server) == expected


def test_what_it_was_made_with() -> None:
    remembers = container("server-0", "server", labels={"openframe.config": "cluster.servers=1"})
    assert read("openframe-dev", [remembers, AGENT], complete=True).label == "cluster.servers=1"
    assert read("openframe-dev", [SERVER], complete=True).label == ""
    assert read("openframe-dev", [], complete=True).label == ""


LISTED = "docker ps --all --quiet --no-trunc --filter label=k3d.cluster=openframe-dev --filter label=app=k3d"


def test_the_engine_is_asked_by_exact_label() -> None:
    fake = docker(SERVER, AGENT)
    assert cluster_state(fake, "openframe-dev").presence is Presence.RUNNING
    assert fake.lines == [
        LISTED,
        f"docker container inspect {SERVER['Id']} {AGENT['Id']}",
        f"docker cp {SERVER['Id']}:/openframe-complete -",
    ]


def test_where_nothing_is_nothing_more_is_asked() -> None:
    fake = docker()
    assert cluster_state(fake, "openframe-dev").presence is Presence.ABSENT
    assert fake.lines == [LISTED]


def test_one_that_went_away_meanwhile() -> None:
    fake = docker(SERVER)
    fake.answers["docker container inspect"] = Answer(out="[]\n", code=1, err="Error: No such container: 350d")
    assert cluster_state(fake, "openframe-dev").presence is Presence.ABSENT


@pytest.mark.parametrize(("known", "copies"), [(None, 1), (SERVER["Id"], 0), ("another", 1)])
def test_a_marker_that_was_seen_before_is_not_asked_for(known: str | None, copies: int) -> None:
    fake = docker(SERVER)
    assert cluster_state(fake, "openframe-dev", known).presence is Presence.RUNNING
    assert len(fake.calls_of("docker cp")) == copies


@pytest.mark.parametrize("containers", [[FOREIGN_SERVER], [AGENT], [BALANCER]])
def test_there_is_no_marker_to_ask_for(containers: list[dict[str, Any]]) -> None:
    fake = docker(*containers)
    cluster_state(fake, "openframe-dev")
    assert fake.calls_of("docker cp") == []


@pytest.mark.parametrize("text", [NO_FILE_20, NO_FILE_OLD_CLIENT])
def test_without_its_marker_it_is_incomplete(text: str) -> None:
    fake = docker(SERVER, marker=Answer(code=1, err=text))
    assert cluster_state(fake, "openframe-dev").presence is Presence.INCOMPLETE


@pytest.mark.parametrize(
    "text", ["error during connect: EOF", "Error response from daemon: mkdir /var/lib/docker/…: no space left", ""]
)
def test_what_is_not_known_to_be_incomplete_is_not_called_so(text: str) -> None:
    """An incomplete cluster is removed by the next launch: an engine in trouble must not look like one."""
    with pytest.raises(LaunchError, match="does not report whether") as caught:
        cluster_state(docker(SERVER, marker=Answer(code=1, err=text)), "openframe-dev")
    assert caught.value.exit_code == 1
    assert caught.value.fix


def test_a_mounted_file_that_was_deleted_is_written_again(tmp_path: Path) -> None:
    """`docker cp` mounts what the container mounts."""
    file = tmp_path / "meminfo-server"
    server = container("server-0", "server", memory=2 * 1024**3)
    server["HostConfig"]["Binds"] = [f"{file}:/proc/meminfo:ro"]
    fake = docker(server)
    fake.answers["docker cp"] = lambda _call: Answer() if file.exists() else Answer(code=1, err="not a directory")
    assert cluster_state(fake, "openframe-dev").presence is Presence.RUNNING
    assert file.read_text().startswith("MemTotal: 2097152 kB")


def test_an_engine_that_does_not_answer() -> None:
    with pytest.raises(CommandFailed):
        cluster_state(FakePrograms(answers={"docker ps": Answer(code=1, err="Cannot connect")}), "openframe-dev")


ALICE, BOB = Owner(id="a1", name="alice@laptop"), Owner(id="b2", name="bob@laptop")
OTHERS = container("server-0", "server", labels={"openframe.owner": ALICE.label})


@pytest.mark.parametrize(
    ("labels", "remaining", "owner", "presence"),
    [
        ({"openframe.owner": BOB.label}, False, "", Presence.RUNNING),
        ({"openframe.owner": ALICE.label}, True, "alice@laptop", Presence.FOREIGN),
        ({}, True, "", Presence.RUNNING),  # made by an earlier version, from this state folder
        ({}, False, UNKNOWN, Presence.FOREIGN),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_whose_it_is(labels: dict[str, str], remaining: bool, owner: str, presence: Presence, complete: bool) -> None:
    found = read(
        "openframe-dev",
        [container("server-0", "server", labels=labels)],
        complete=complete,
        claim=Claim(owner=BOB, known=remaining),
    )
    expected = Presence.INCOMPLETE if presence is Presence.RUNNING and not complete else presence
    assert (found.presence, found.owner) == (expected, owner)


def test_one_node_of_the_claimants_is_enough() -> None:
    mine = container("agent-0", "agent", labels={"openframe.owner": BOB.label})
    assert read("openframe-dev", [OTHERS, mine], complete=True, claim=Claim(owner=BOB)).presence is Presence.RUNNING


def test_what_k3d_makes_first_is_nobody_elses() -> None:
    found = read("openframe-dev", [BALANCER], complete=False, claim=Claim(owner=BOB, known=False))
    assert found.presence is Presence.INCOMPLETE


def test_anothers_is_refused_with_the_owners_name() -> None:
    exists = read("openframe-dev", [OTHERS], complete=True, claim=Claim(owner=BOB))
    with pytest.raises(BadInput, match="'openframe-dev' belongs to alice@laptop") as caught:
        refuse_foreign(exists)
    assert "CLUSTER_NAME" in caught.value.fix
    with pytest.raises(BadInput, match="belongs to an unknown owner"):
        refuse_foreign(read("openframe-dev", [SERVER], complete=True, claim=Claim(owner=BOB, known=False)))


NOW = datetime(2026, 11, 25, 2, 10, tzinfo=UTC)
PANIC = """\
time="2026-11-27T04:07:08Z" level=info msg="using inmemory blob descriptor cache" version=2.8.2
panic: unexpected end of JSON input

goroutine 1 [running]:
github.com/docker/distribution/registry/handlers.NewApp({0x11a4b98?, 0xc0000d8d50?}, 0xc00058c380)
\tgithub.com/docker/distribution/registry/handlers/app.go:324 +0x1c0d
main.main()
\tgithub.com/docker/distribution/cmd/registry/main.go:22 +0x25
"""


def looping(seconds: float, restarts: int, name: str = "registry") -> dict[str, Any]:
    """As the engine reports one between two restarts: running, since when."""
    result = registry() if name == "registry" else container(name, name.split("-", maxsplit=1)[0])
    started = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    return {**result, "RestartCount": restarts, "State": {**result["State"], "StartedAt": started}}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("created", ContainerState.CREATED),
        ("running", ContainerState.RUNNING),
        ("paused", ContainerState.PAUSED),
        ("restarting", ContainerState.LOOPING),
        ("exited", ContainerState.STOPPED),
        ("dead", ContainerState.STOPPED),
        ("removing", ContainerState.STOPPED),
    ],
)
def test_a_state(word: str, expected: ContainerState) -> None:
    assert container_state(registry(state=word)) is expected


@pytest.mark.parametrize(
    ("seconds", "restarts", "expected"),
    [
        (0.1, 5, ContainerState.LOOPING),
        (9.0, 2, ContainerState.LOOPING),
        (0.1, 1, ContainerState.RUNNING),  # it may have helped
        (0.1, 0, ContainerState.RUNNING),  # it was started a moment ago
        (11.0, 50, ContainerState.RUNNING),  # it has settled
        (86400.0, 3, ContainerState.RUNNING),
    ],
)
def test_between_two_ends_it_runs_for_a_moment(seconds: float, restarts: int, expected: ContainerState) -> None:
    assert container_state(looping(seconds, restarts), NOW.timestamp()) is expected


def test_a_start_that_cannot_be_read_is_long_ago() -> None:
    result = looping(0.1, 5)
    result["State"]["StartedAt"] = "?"
    assert container_state(result, NOW.timestamp()) is ContainerState.RUNNING


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (PANIC, "panic: unexpected end of JSON input"),
        ('time="x" level=fatal msg="open /x: \\"no\\" such file" service=registry\n', 'open /x: \\"no\\" such file'),
        ("one\ntwo\n\n", "two"),
        ("", ""),
    ],
)
def test_the_line_that_says_why(log: str, expected: str) -> None:
    assert telling_line(log) == expected


def test_an_engine_that_tells_no_log() -> None:
    assert last_words(FakePrograms(answers={"docker logs": Answer(code=1, err="no")}), "x") == ""


def test_registries_and_nodes_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.facts.cluster.time.time", NOW.timestamp)
    programs = docker(looping(1.0, 4))
    programs.answers["docker logs"] = Answer(err=PANIC)
    (found,) = registries(programs).values()
    assert (found.running, found.condition) == (False, "keeps ending: panic: unexpected end of JSON input")
    programs = docker(looping(1.0, 4, "server-0"), container("agent-0", "agent"))
    programs.answers["docker logs"] = Answer(err=PANIC)
    exists = cluster_state(programs, "openframe-dev")
    assert exists.presence is Presence.STOPPED
    assert [each.condition for each in exists.nodes] == [
        "k3d-openframe-dev-agent-0",
        "k3d-openframe-dev-server-0 (keeps ending: panic: unexpected end of JSON input)",
    ]


def test_a_paused_node_does_not_run() -> None:
    programs = docker(container("server-0", "server", state="paused"))
    exists = cluster_state(programs, "openframe-dev")
    assert exists.presence is Presence.STOPPED
    assert exists.nodes[0].condition == "k3d-openframe-dev-server-0 (is paused)"
