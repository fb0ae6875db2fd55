"""Limits of CPU and memory: set when all is ready, by exact label, unless they are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import Step
from tasks.facts.cluster import Node, Presence
from tasks.facts.facts import Shape
from tasks.k3d.steps import limit_steps
from tests.checks.given import engine
from tests.given import act, cluster_state, facts, node, settings
from tests.programs import FakePrograms

MIB = 1024**2
Limits = tuple[float, int]
"""CPUs and MiB; 0: none."""
NONE, SERVER, AGENT = (0.0, 0), (2.0, 2048), (1.0, 1536)
SERVERS_SAID, AGENTS_SAID = "2 CPUs and 2G each already", "1 CPU and 1.5G each already"


def shape(agents: int) -> Shape:
    return Shape(image="rancher/k3s:v1.32.3-k3s1", agents=agents, concurrency=4)


def limited(*limits: Limits) -> list[Node]:
    """A server, then agents."""
    names = ("server-0", "agent-0", "agent-1")
    return [
        node(name, nano_cpus=round(cpus * 1e9), memory=memory * MIB)
        for name, (cpus, memory) in zip(names, limits, strict=False)
    ]


def made(folder: Path, nodes: list[Node], agents: int = 1, **limits: Any) -> dict[str, Step]:
    presence = Presence.RUNNING if nodes else Presence.ABSENT
    chosen = settings(cluster={"limits": limits})
    given = facts(folder, settings=chosen, cluster=cluster_state(presence, *nodes), shape=shape(agents))
    return {step.name.removeprefix("cluster: limits of "): step for step in limit_steps(given, ("last",))}


@pytest.mark.parametrize(
    ("nodes", "agents", "skips"),
    [
        ([], 2, {"servers": None, "agents": None}),
        (limited(NONE, NONE, NONE), 2, {"servers": None, "agents": None}),
        (limited(SERVER, AGENT, AGENT), 2, {"servers": SERVERS_SAID, "agents": AGENTS_SAID}),
        (limited(SERVER, AGENT, NONE), 2, {"servers": SERVERS_SAID, "agents": None}),
        (limited(SERVER, AGENT), 2, {"servers": SERVERS_SAID, "agents": None}),
        (limited((1.5, 2048), AGENT), 1, {"servers": None, "agents": AGENTS_SAID}),
        (limited((2.0, 0), (0.0, 1536)), 1, {"servers": None, "agents": None}),
        (limited(SERVER, (1.0, 1024)), 1, {"servers": SERVERS_SAID, "agents": None}),
        (limited(SERVER), 0, {"servers": SERVERS_SAID}),
    ],
)
def test_both_are_set_where_one_of_them_differs(
    tmp_path: Path, nodes: list[Node], agents: int, skips: dict[str, str | None]
) -> None:
    steps = made(tmp_path, nodes, agents)
    assert {name: step.skip for name, step in steps.items()} == skips
    assert all(step.needs == ("last",) for step in steps.values())


@pytest.mark.parametrize("size", ["2G", "2048M", "2GiB", "2g"])
def test_a_size_in_other_words_is_no_change(tmp_path: Path, size: str) -> None:
    step = made(tmp_path, limited(SERVER, AGENT), server_memory=size)["servers"]
    assert step.skip == f"2 CPUs and {size} each already"
    off = made(tmp_path, [], enabled=False)
    assert [step.skip for step in off.values()] == ["cluster.limits.enabled is false"] * 2


@pytest.mark.parametrize(("role", "memory"), [("server", 2048 * MIB), ("agent", 1536 * MIB)])
def test_they_are_set_by_exact_label_and_with_swap_twice_the_memory(tmp_path: Path, role: str, memory: int) -> None:
    fake = FakePrograms(answers={"docker ps": "one\ntwo\n", "docker update": ""})
    given = facts(tmp_path, fake, shape=shape(1), cluster=cluster_state(Presence.RUNNING, *limited(NONE, NONE)))
    (step,) = (step for step in limit_steps(given, ()) if step.name.endswith(f"{role}s"))
    assert step.why == ("2 CPUs and 2G each" if role == "server" else "1 CPU and 1.5G each")
    act(step)
    label = f"--filter label=k3d.cluster=openframe-dev --filter label=k3d.role={role}"
    cpus = 2 if role == "server" else 1
    assert fake.lines == [
        f"docker ps --all --quiet --no-trunc {label}",
        f"docker update --cpus {cpus} --memory {memory} --memory-swap {2 * memory} one two",
    ]


@pytest.mark.parametrize(("ncpu", "cpus"), [(8, 1.5), (1, 1)])
def test_no_more_cpus_are_given_than_the_engine_has(tmp_path: Path, ncpu: int, cpus: float) -> None:
    """Docker refuses it; as many as it has are enough the next time."""
    fake = FakePrograms(answers={"docker ps": "", "docker update": ""})
    chosen = settings(cluster={"limits": {"server_cpus": 1.5}})
    act(limit_steps(facts(tmp_path, fake, settings=chosen, host=engine(NCPU=ncpu)), ())[0])
    assert fake.lines[-1].startswith(f"docker update --cpus {cpus} --memory")
    exists = cluster_state(Presence.RUNNING, *limited((float(cpus), 2048), AGENT))
    given = facts(tmp_path, fake, settings=chosen, cluster=exists, host=engine(NCPU=ncpu), shape=shape(1))
    assert limit_steps(given, ())[0].skip is not None
    act(replace(limit_steps(given, ())[0], skip=None))  # nodes that are gone are not limited
    assert len(fake.told("docker update")) == 1


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.INCOMPLETE])
def test_nodes_that_this_run_makes_are_known_by_name(tmp_path: Path, presence: Presence) -> None:
    fake = FakePrograms(answers={"docker update": ""})
    given = facts(tmp_path, fake, shape=shape(2), cluster=cluster_state(presence))
    for step in limit_steps(given, ()):
        act(step)
    servers, agents = fake.lines
    assert servers.endswith(f"--memory-swap {4096 * MIB} k3d-openframe-dev-server-0")
    assert agents.endswith(f"--memory-swap {3072 * MIB} k3d-openframe-dev-agent-0 k3d-openframe-dev-agent-1")
