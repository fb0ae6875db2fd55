"""All checks together, and how a launch is stopped by them."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.checks.examine import brief, examine, gather, gather_existing, problems, server
from tasks.checks.facts import Context, HostFacts
from tasks.checks.finding import Level, Unfit
from tasks.core.errors import BadInput
from tasks.facts import ports
from tasks.facts.cluster import Owner
from tasks.facts.facts import Ports, Shape
from tasks.facts.host import Disk
from tasks.facts.programs import Versions
from tasks.settings.schema import Settings
from tests.checks.given import ANSWERS as QUIET
from tests.checks.given import GIB, WELL, engine, settings
from tests.given import facts as launch_facts
from tests.programs import Answer, FakePrograms


def test_a_good_machine_has_no_warning() -> None:
    found = examine(WELL)
    assert {each.level for each in found} == {Level.OK}
    assert problems(found) == []
    assert [each.check for each in found] == [
        "engine",
        "cgroups",
        "k3d",
        "kubectl",
        "helm",
        "cpus",
        "memory",
        "disk",
        "inotify",
        *["ports"] * 4,
        "proxies",
        "DNS",
        "sudo",
    ]


def test_without_any_fact_only_the_environment_is_judged() -> None:
    assert [each.check for each in examine(HostFacts(settings=Settings()))] == ["proxies"]


def test_problems_are_one_error() -> None:
    facts = replace(WELL, disk=Disk(total=100 * GIB, free=GIB))
    found = problems(examine(facts))
    error = Unfit(found)
    assert error.what.startswith("disk: 1.0 GiB of 100.0 GiB free")
    assert (error.why, error.fix, error.status) == (found[0].why, found[0].fix, 1)
    several = Unfit(problems(examine(replace(facts, bindable=False, settings=settings(bind_address="10.1.2.3")))))
    assert several.what == "2 things would stop this launch: disk, address"
    assert len(several.why.splitlines()) == len(several.fix.splitlines()) == 2
    assert "IP=127.0.0.1" in several.fix


# -- gathered --------------------------------------------------------------------------------------


OWN = "k3d.cluster=openframe-dev,openframe.cluster=openframe-dev,k3d.role=server"


def listed(*rows: tuple[str, str, str]) -> str:
    return "\n".join(json.dumps({"Names": name, "Ports": ports, "Labels": labels}) for name, ports, labels in rows)


ANSWERS: dict[str, Answer] = {
    **QUIET,
    "docker ps": Answer(
        out=listed(
            ("k3d-other-serverlb", "0.0.0.0:80->80/tcp", "k3d.cluster=other,openframe.cluster=other"),
            ("k3d-openframe-dev-server-0", "127.0.0.1:443->443/tcp, 127.0.0.1:6550->6443/tcp", OWN),
            ("k3d-openframe-registry", "127.0.0.1:5050->5000/tcp", "openframe.cache=push"),
        )
    ),
    "docker image inspect": Answer(out='["rancher/k3s:v1.35.5-k3s1"][]"linux""amd64"\n', code=1),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's network."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [])
    monkeypatch.setattr(ports, "taken", lambda _address, port: port == 8080)
    monkeypatch.setattr(ports, "listening", lambda _ports: {8080: "java (process 7)"})


def gathered(folder: Path, programs: FakePrograms, settings: Settings | None = None) -> HostFacts:
    """With the fakes' answers."""
    return gather(
        settings or Settings(),
        {"HOME": str(folder), "SSL_CERT_FILE": str(folder / "none")},
        programs,
        state=folder,
        owner=Owner(id="1", name="me"),
        minimum={},
        k3d_version="5.9.0",
        folders=None,
        online=True,
    )


def test_everything_is_queried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.facts.host.unpigz", lambda _host: False)
    programs = FakePrograms(answers=ANSWERS)
    facts = gathered(tmp_path, programs)
    assert len(programs.lines) == len(set(programs.lines))
    assert {line.split()[0] for line in programs.lines} - {"sudo"} == {"docker", "k3d", "kubectl", "helm"}
    assert facts.versions == Versions(k3d="v5.9.0", kubectl="v1.35.5", helm="v4.3.1")
    assert facts.engine is not None
    assert facts.no_engine is None
    assert (facts.kubernetes, facts.agents, facts.unresolved, facts.unpigz) == (35, 4, {}, False)
    assert facts.rights is not None
    assert isinstance(facts.trusted, BadInput)
    assert facts.cluster_exists
    assert facts.missing is not None
    assert "ghcr.io/k3d-io/k3d-tools:5.9.0" in facts.missing
    assert "rancher/k3s:v1.35.5-k3s1" not in facts.missing
    none = gathered(tmp_path, programs, Settings.model_validate({"cluster": {"agents": 0}}))
    assert none.agents == 0


def test_ports_with_their_holders(tmp_path: Path) -> None:
    facts = gathered(tmp_path, FakePrograms(answers=ANSWERS))
    assert facts.taken is not None
    assert facts.taken[80] == "the container k3d-other-serverlb"
    assert facts.taken[8080] == "java (process 7)"
    assert facts.own == {443, 6550, 5050}
    assert facts.chosen == (8080, 443, 6550, 5050)


def test_without_an_engine_the_rest_is_still_asked(tmp_path: Path) -> None:
    answers = {
        **ANSWERS,
        "docker info": Answer(err="Is the docker daemon running?", code=1),
        "docker ps": Answer(code=1),
    }
    facts = gathered(tmp_path, FakePrograms(answers=answers))
    assert facts.engine is None
    assert facts.no_engine is not None
    assert facts.taken is None
    assert facts.versions is not None
    assert facts.versions.k3d == "v5.9.0"


def test_an_existing_cluster_needs_no_engine(tmp_path: Path) -> None:
    server = json.dumps({"serverVersion": {"gitVersion": "v1.34.1"}})
    programs = FakePrograms(answers={**ANSWERS, "kubectl --context": Answer(out=server)})
    facts = gather_existing(Settings(), {}, programs, state=tmp_path, minimum={}, context="prod")
    assert facts.kubernetes == 34
    assert facts.context is not None
    assert facts.context.version == "v1.34.1"
    assert facts.engine is None
    assert not any(line.startswith(("docker", "sudo")) for line in programs.lines)


def test_before_a_launch_no_program_is_run(tmp_path: Path) -> None:
    programs = FakePrograms()
    host = engine(DockerRootDir=str(tmp_path))
    reported = Versions(k3d="v5.9.0", kubectl="v1.35.5")
    shape = Shape(image="rancher/k3s:v1.35.5-k3s1", agents=3, concurrency=4)
    planned = launch_facts(tmp_path, programs, shape=shape, ports=Ports(http=None, https=8443, api=6550))
    facts = brief(planned, host, reported=reported, minimum={})
    assert programs.commands == []
    assert facts.engine is host
    assert facts.versions is reported
    assert (facts.kubernetes, facts.agents, facts.chosen) == (35, 3, (8443, 6550))
    assert facts.disk is not None
    assert facts.bindable is True
    assert facts.fetched
    assert (facts.taken, facts.unresolved, facts.rights) == (None, None, None)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer(out=json.dumps({"clientVersion": {}, "serverVersion": {"gitVersion": "v1.33.1"}})),
            Context(name="prod", version="v1.33.1"),
        ),
        (
            Answer(code=1, err='error: context "prod" does not exist\n'),
            Context(name="prod", version=None, error='error: context "prod" does not exist'),
        ),
        (
            Answer(code=1, out='{"clientVersion": {}}', err="Unable to connect to the server: dial tcp: i/o timeout"),
            Context(name="prod", version=None, error="Unable to connect to the server: dial tcp: i/o timeout"),
        ),
        (Answer(late=True), Context(name="prod", version=None, error="kubectl did not end within 15 s")),
    ],
)
def test_a_cluster_that_exists_is_asked_by_its_context(answer: Answer, expected: Context) -> None:
    programs = FakePrograms(answers={"kubectl": answer})
    assert server(programs, "prod") == expected
    assert programs.lines == ["kubectl --context prod --request-timeout=5s version --output=json"]
