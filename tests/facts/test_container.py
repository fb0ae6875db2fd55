"""One reading of a container's state, and of why it keeps ending."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.facts import cluster, registries
from tasks.facts.cluster import ContainerState, container_state, last_words, telling_line
from tests.facts import inspected
from tests.programs import Answer, FakePrograms

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
    """As the engine tells of one between two ends: it runs, for so long."""
    made = inspected.registry() if name == "registry" else inspected.container(name, name.split("-", maxsplit=1)[0])
    started = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    return {**made, "RestartCount": restarts, "State": {**made["State"], "StartedAt": started}}


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
    assert container_state(inspected.registry(state=word)) is expected


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
    made = looping(0.1, 5)
    made["State"]["StartedAt"] = "?"
    assert container_state(made, NOW.timestamp()) is ContainerState.RUNNING


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
    programs = inspected.docker(looping(1.0, 4))
    programs.answers["docker logs"] = Answer(err=PANIC)
    (found,) = registries.registries(programs).values()
    assert (found.running, found.condition) == (False, "keeps ending: panic: unexpected end of JSON input")
    programs = inspected.docker(looping(1.0, 4, "server-0"), inspected.container("agent-0", "agent"))
    programs.answers["docker logs"] = Answer(err=PANIC)
    stands = cluster.cluster_state(programs, "openframe-dev")
    assert stands.presence is cluster.Presence.STOPPED
    assert [each.condition for each in stands.nodes] == [
        "k3d-openframe-dev-agent-0",
        "k3d-openframe-dev-server-0 (keeps ending: panic: unexpected end of JSON input)",
    ]


def test_a_paused_node_does_not_run() -> None:
    programs = inspected.docker(inspected.container("server-0", "server", state="paused"))
    stands = cluster.cluster_state(programs, "openframe-dev")
    assert stands.presence is cluster.Presence.STOPPED
    assert stands.nodes[0].condition == "k3d-openframe-dev-server-0 (is paused)"
