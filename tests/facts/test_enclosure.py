"""A container whose engine is outside of it is found out, and what is shared with it; a host is asked nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.facts import endpoint as module
from tasks.facts.endpoint import Enclosure, Endpoint, contained, enclosure, outside
from tests.facts.fake import Answer, FakePrograms

UNSEEN = Answer(
    code=1,
    err='Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /x\n',
)
NO_IMAGE = Answer(code=1, err="Error response from daemon: No such image: openframe.invalid/none:none\n")
OURS, THEIRS = '[{"Subnet":"127.0.0.0/8","Gateway":"127.0.0.1"}]', '[{"Gateway":"198.51.100.1"}]'


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Endpoint]:
    """An engine of this process: something listens at its socket."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        yield Endpoint(host=f"unix://{path}", source="DOCKER_HOST")


def programs(folder: Path, create: Answer = NO_IMAGE, network: str = OURS, **env: str) -> FakePrograms:
    answers: dict[str, Answer | str] = {"docker create": create, "docker network inspect bridge": network}
    return FakePrograms(env={"XDG_STATE_HOME": str(folder / "state"), **env}, answers=answers)


@pytest.mark.parametrize(
    ("file", "text", "variables", "expected"),
    [
        (".dockerenv", "", {}, True),
        ("run/.containerenv", "", {}, True),
        ("etc/os-release", "", {}, False),
        ("proc/self/cgroup", "0::/\n", {}, False),
        ("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-2.scope\n", {}, False),
        ("proc/self/cgroup", "0::/system.slice/docker.service\n", {}, False),
        ("proc/self/cgroup", "12:memory:/docker/0123456789ab\n0::/docker/0123456789ab\n", {}, True),
        ("proc/self/cgroup", "0::/system.slice/docker-0123456789ab.scope\n", {}, True),
        ("proc/self/cgroup", "11:cpu:/kubepods/besteffort/pod1/2\n", {}, True),
        ("proc/self/cgroup", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-2.scope\n", {}, True),
        ("etc/os-release", "", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        ("etc/os-release", "", {"container": "podman"}, True),
    ],
)
def test_signs_of_a_container(tmp_path: Path, file: str, text: str, variables: dict[str, str], expected: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert contained(variables, tmp_path) is expected


@pytest.mark.parametrize(("inside", "peer", "expected"), [(False, None, False), (True, None, False), (True, 0, True)])
def test_an_engine_in_the_same_container_is_not_outside(
    point: Endpoint, monkeypatch: pytest.MonkeyPatch, inside: bool, peer: int | None, expected: bool
) -> None:
    monkeypatch.setattr(module, "contained", lambda _environ: inside)
    if peer is not None:
        monkeypatch.setattr(module, "_listener", lambda _point: peer)
    assert outside({}, point) is expected
    assert outside({"OPENFRAME_REHEARSAL": "/a/rehearsal"}, point) is False


def test_one_that_listens_in_another_pid_namespace_is(point: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "contained", lambda _environ: False)
    monkeypatch.setattr(module, "_listener", lambda _point: 0)
    assert outside({}, point)


def test_without_a_sign_nothing_is_asked(tmp_path: Path, point: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "contained", lambda _environ: False)
    asked = programs(tmp_path)
    assert enclosure(asked, point, rootless=False) == Enclosure()
    assert asked.lines == []


@pytest.mark.parametrize(
    ("create", "network", "expected"),
    [
        (NO_IMAGE, OURS, Enclosure()),
        (UNSEEN, OURS, Enclosure(files=False)),
        (NO_IMAGE, THEIRS, Enclosure(loopback=False)),
        (UNSEEN, THEIRS, Enclosure(files=False, loopback=False)),
        (NO_IMAGE, '[{"Subnet":"127.0.0.0/16"}]', Enclosure()),  # as Docker 20.10 tells it
        (NO_IMAGE, '[{"Subnet":"198.51.100.0/24"}]', Enclosure(loopback=False)),
        (NO_IMAGE, "null", Enclosure()),  # `"bridge": "none"` in daemon.json
        (Answer(code=1, err="something else"), "no JSON", Enclosure()),
    ],
)
def test_what_an_engine_outside_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: Answer, network: str, expected: Enclosure
) -> None:
    monkeypatch.setattr(module, "outside", lambda *_: True)
    asked = programs(tmp_path, create, network)
    assert enclosure(asked, Endpoint(), rootless=False) == expected
    probe = next(line for line in asked.lines if line.startswith("docker create"))
    source = probe.split('"source=')[1].split('"')[0]
    assert source.startswith(f"{tmp_path}/state/openframe/.seen.openframe-{os.getpid()}-")
    assert list((tmp_path / "state" / "openframe").iterdir()) == []


@pytest.mark.parametrize(("create", "loopback"), [(NO_IMAGE, True), (UNSEEN, False)])
def test_a_rootless_engine_has_a_network_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: Answer, loopback: bool
) -> None:
    monkeypatch.setattr(module, "outside", lambda *_: True)
    assert enclosure(programs(tmp_path, create, THEIRS), Endpoint(), rootless=True).loopback is loopback


def test_an_engine_that_does_not_answer_is_told_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "outside", lambda *_: True)
    asked = programs(tmp_path)

    def silent(*_: object, **__: object) -> None:
        raise LaunchError("docker took 20 s")

    monkeypatch.setattr(type(asked), "run", silent)
    assert enclosure(asked, Endpoint(), rootless=False) == Enclosure()
