"""Containers whose network was removed while they did not run: Docker starts none of them until they leave it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.facts.cluster import Presence
from tasks.k3d.networks import start_cluster
from tasks.process.command import Command
from tests.facts import inspected
from tests.given import act, cluster_state, facts, node, settings
from tests.given_engine import ONLY_PUSH, PUSHED, engine, only
from tests.programs import Answer, FakePrograms, context

MISSING = Answer(code=1, err="Error response from daemon: network 95c98e4ebfec0736 not found")
START = Command(argv=("k3d", "cluster", "start", "openframe-dev"))
OWN, OTHER = "k3d-openframe-dev", "k3d-other"


@pytest.fixture(autouse=True)
def _answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.clients.registry_http.answers", lambda *_: True)


@pytest.mark.parametrize(("state", "verb"), [("exited", "start"), ("restarting", "restart")])
def test_a_registry_starts_outside_of_them(tmp_path: Path, state: str, verb: str) -> None:
    found = inspected.registry(state=state, networks=("bridge", OWN, OTHER))
    answers = {"docker container inspect": json.dumps([found]), f"docker {verb}": [MISSING, ""]}
    fake = engine(**answers, **{f"docker network connect {OTHER}": Answer(code=1, err="not found")})
    report = act(only(facts(tmp_path, fake, settings=ONLY_PUSH)))
    assert "started" in report.why
    assert [line.removeprefix("docker ") for line in fake.lines[1:]] == [
        next(line for line in fake.lines if line.startswith(f"docker {verb}")).removeprefix("docker "),
        f"network disconnect --force {OWN} {PUSHED}",
        f"network disconnect --force {OTHER} {PUSHED}",
        f"start {PUSHED}",
        f"network connect {OWN} {PUSHED}",
        f"network connect {OTHER} {PUSHED}",
    ]


def test_a_registry_that_is_made_for_a_cluster_without_its_network_makes_it(tmp_path: Path) -> None:
    fake = engine(**{"docker network connect": [MISSING, ""]})
    act(only(facts(tmp_path, fake, settings=ONLY_PUSH, presence=Presence.STOPPED)))
    connect, create = f"docker network connect {OWN} {PUSHED}", f"docker network create --label app=k3d {OWN}"
    assert fake.lines[-3:] == [connect, create, connect]


@pytest.mark.parametrize("subnet", ["auto", "172.28.0.0/16"])
def test_a_cluster_starts_in_a_new_network(tmp_path: Path, subnet: str) -> None:
    fake = engine(**{"k3d cluster start": [MISSING, ""]})
    chosen = settings(registries={"caches": []}, cluster={"subnet": subnet})
    given = facts(tmp_path, fake, settings=chosen, presence=Presence.STOPPED)
    start_cluster(given, START, context())
    fixed = "" if subnet == "auto" else f"--subnet {subnet} "
    members = ("k3d-openframe-dev-agent-0", "k3d-openframe-dev-server-0", PUSHED)
    assert fake.lines == [
        " ".join(START.argv),
        "docker rm --force --volumes k3d-openframe-dev-tools",
        f"docker network create --label app=k3d {fixed}{OWN}",
        *(f"docker network {verb} {OWN} {each}" for each in members for verb in ("disconnect --force", "connect")),
        " ".join(START.argv),
    ]


def test_another_failure_stays_one(tmp_path: Path) -> None:
    fake = engine(**{"k3d cluster start": Answer(code=1, err="FATA[0000] no nodes")})
    with pytest.raises(LaunchError, match="no nodes"):
        start_cluster(facts(tmp_path, fake, presence=Presence.STOPPED), START, context())
    assert len(fake.lines) == 1


def test_tools_that_a_k3d_has_left_go_first(tmp_path: Path) -> None:
    tools = replace(node("tools", running=False), role="noRole")
    cluster = cluster_state(Presence.STOPPED, node("server-0", running=False), tools)
    fake = FakePrograms(otherwise=Answer())
    start_cluster(facts(tmp_path, fake, cluster=cluster), START, context())
    assert fake.lines == ["docker rm --force --volumes k3d-openframe-dev-tools", " ".join(START.argv)]
