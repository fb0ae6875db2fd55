"""HostFacts are gathered side by side for doctor, and without a process before a launch."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tasks.checks.facts import Hub
from tasks.checks.gather import brief, gather
from tasks.core.paths import ClusterPaths
from tasks.facts import ports
from tasks.facts.cluster import ClusterState, Presence
from tasks.facts.facts import Facts, Ports, Shape
from tasks.facts.programs import Versions
from tasks.settings.schema import Settings
from tests.checks.given import engine
from tests.checks.session import HELM, INFO, K3D, KUBECTL, session
from tests.facts.fake import Answer, FakePrograms

OWN = "k3d.cluster=openframe-dev,openframe.cluster=openframe-dev,k3d.role=server"


def listed(*rows: tuple[str, str, str]) -> str:
    return "\n".join(json.dumps({"Names": name, "Ports": ports, "Labels": labels}) for name, ports, labels in rows)


LEFT = Hub(limit=100, remaining=7, hours=6.0, account=False)
ANSWERS: dict[str, Answer] = {
    "docker info": Answer(out=json.dumps(INFO)),
    "docker ps": Answer(
        out=listed(
            ("k3d-other-serverlb", "0.0.0.0:80->80/tcp", "k3d.cluster=other,openframe.cluster=other"),
            ("k3d-openframe-dev-server-0", "127.0.0.1:443->443/tcp, 127.0.0.1:6550->6443/tcp", OWN),
            ("k3d-openframe-registry", "127.0.0.1:5050->5000/tcp", "openframe.cache=push"),
        )
    ),
    "docker image inspect": Answer(out='["rancher/k3s:v1.32.3-k3s1"][]"linux""amd64"\n', code=1),
    "k3d": Answer(out=K3D),
    "kubectl": Answer(out=KUBECTL),
    "helm": Answer(out=HELM),
    "sudo": Answer(),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's network."""
    monkeypatch.setattr("tasks.checks.gather.hub", lambda *_given: LEFT)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [])
    monkeypatch.setattr(ports, "taken", lambda _address, port: port == 8080)
    monkeypatch.setattr(ports, "listening", lambda _ports: {8080: "java (process 7)"})


def test_everything_is_asked_once(tmp_path: Path) -> None:
    programs = FakePrograms(answers=ANSWERS)
    facts = gather(session(tmp_path, programs))
    assert len(programs.lines) == len(set(programs.lines))
    assert {line.split()[0] for line in programs.lines} - {"sudo"} == {"docker", "k3d", "kubectl", "helm"}
    assert facts.versions == Versions(k3d="v5.9.0", kubectl="v1.33.13", helm="v4.1.4")
    assert facts.kubernetes == 32
    assert facts.engine is not None
    assert facts.no_engine is None
    assert facts.agents == 4
    assert facts.unresolved == {}
    assert facts.rights is not None
    assert facts.hub == LEFT
    assert facts.stands
    assert facts.missing is not None
    assert "ghcr.io/k3d-io/k3d-tools:5.9.0" in facts.missing
    assert "rancher/k3s:v1.32.3-k3s1" not in facts.missing


@pytest.mark.parametrize("there", [True, False, None])
def test_doctor_asks_what_the_engine_unpacks_with(
    tmp_path: Path, there: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.checks.gather.unpigz", lambda _host: there)
    assert gather(session(tmp_path, FakePrograms(answers=ANSWERS))).unpigz is there


def test_ports_with_their_holders(tmp_path: Path) -> None:
    facts = gather(session(tmp_path, FakePrograms(answers=ANSWERS)))
    assert facts.taken is not None
    assert facts.taken[80] == "the container k3d-other-serverlb"
    assert facts.taken[8080] == "java (process 7)"
    assert facts.own == {443, 6550, 5050}
    assert facts.chosen == (8080, 443, 6550, 5050)


@pytest.mark.parametrize(("configured", "agents"), [(0, 0), (2, 2), (None, 4)])
def test_agents_are_those_of_the_plan(tmp_path: Path, configured: int | None, agents: int) -> None:
    chosen = Settings.model_validate({"cluster": {"agents": configured}})
    assert gather(session(tmp_path, FakePrograms(answers=ANSWERS), settings=chosen)).agents == agents


def test_without_an_engine_the_rest_is_still_asked(tmp_path: Path) -> None:
    answers = {
        **ANSWERS,
        "docker info": Answer(err="Is the docker daemon running?", code=1),
        "docker ps": Answer(code=1),
    }
    facts = gather(session(tmp_path, FakePrograms(answers=answers)))
    assert facts.engine is None
    assert facts.no_engine is not None
    assert facts.taken is None
    assert facts.versions is not None
    assert facts.versions.k3d == "v5.9.0"


def test_an_existing_cluster_needs_no_engine(tmp_path: Path) -> None:
    server = json.dumps({"serverVersion": {"gitVersion": "v1.34.1"}})
    programs = FakePrograms(answers={**ANSWERS, "kubectl --context": Answer(out=server)})
    facts = gather(session(tmp_path, programs, engine="existing", context="prod"))
    assert facts.kubernetes == 34
    assert facts.context is not None
    assert facts.context.version == "v1.34.1"
    assert facts.engine is None
    assert not any(line.startswith(("docker", "sudo")) for line in programs.lines)


def launch_facts(programs: FakePrograms, tmp_path: Path, **more: Any) -> Facts:
    given: dict[str, Any] = {
        "settings": Settings(),
        "root": tmp_path,
        "environ": {},
        "programs": programs,
        "k3d_programs": programs,
        "helm_programs": programs,
        "paths": ClusterPaths(state=tmp_path, cache=tmp_path),
        "cluster": ClusterState(name="openframe-dev", presence=Presence.ABSENT),
        "shape": Shape(image="rancher/k3s:v1.35.5-k3s1", agents=3, concurrency=4),
        "ports": Ports(http=None, https=8443, api=6550),
    }
    return Facts(**{**given, **more})


def test_before_a_launch_nobody_is_asked(tmp_path: Path) -> None:
    programs = FakePrograms()
    call = session(tmp_path, programs)
    call.system.update(k3d="v5.9.0", kubectl="v1.33.13", helm=None)
    host = engine(DockerRootDir=str(tmp_path))
    facts = brief(call, launch_facts(programs, tmp_path), host)
    assert programs.asked == []
    assert facts.engine is host
    assert facts.versions == Versions(k3d="v5.9.0", kubectl="v1.33.13")
    assert (facts.kubernetes, facts.agents, facts.chosen) == (35, 3, (8443, 6550))
    assert facts.disk is not None
    assert facts.bindable is True
    assert facts.fetched
    assert (facts.taken, facts.unresolved, facts.rights) == (None, None, None)
