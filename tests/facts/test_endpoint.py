"""The engine that docker would use, and what it shares with a process in a container; on a host nothing is queried."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.facts import endpoint as module
from tasks.facts.endpoint import SOCKET, Endpoint, contained, endpoint, outside
from tasks.facts.engine import Enclosure, enclosure
from tests.programs import Answer, FakePrograms


def context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
    (folder / "meta.json").write_text(json.dumps(document))


def test_docker_host_wins_then_the_variable_then_the_chosen_context(tmp_path: Path) -> None:
    context(tmp_path, "colima", "unix:///home/me/.colima/default/docker.sock")
    context(tmp_path, "box", "ssh://me@box")
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "colima"}')
    home = {"HOME": str(tmp_path)}
    chosen = endpoint(home)
    assert chosen == Endpoint(
        host="unix:///home/me/.colima/default/docker.sock", context="colima", source="`docker context use`"
    )
    assert endpoint({**home, "DOCKER_CONTEXT": "box"}) == Endpoint(
        host="ssh://me@box", context="box", source="DOCKER_CONTEXT"
    )
    both = endpoint({**home, "DOCKER_CONTEXT": "box", "DOCKER_HOST": "tcp://1.2.3.4:2375"})
    assert both == Endpoint(host="tcp://1.2.3.4:2375", source="DOCKER_HOST")
    assert endpoint({**home, "DOCKER_CONTEXT": "default"}) == Endpoint()
    assert endpoint({"DOCKER_CONFIG": str(tmp_path / ".docker")}) == chosen


def test_without_any_wish_it_is_the_systems_socket(tmp_path: Path) -> None:
    assert endpoint({"HOME": str(tmp_path)}) == Endpoint(host=SOCKET)
    assert endpoint({"HOME": str(tmp_path)}).default
    assert endpoint({}).host == SOCKET


def test_an_engine_is_told_from_others_by_where_its_socket_really_is(tmp_path: Path) -> None:
    real, link = tmp_path / "real.sock", tmp_path / "docker.sock"
    real.touch()
    link.symlink_to(real)
    assert Endpoint(host=f"unix://{link}").identity == Endpoint(host=f"unix://{real}").identity == f"unix://{real}"
    found = {
        Endpoint(host=host, context=name).identity for host, name in (("", "a"), ("", "b"), ("tcp://[::1]:1", "a"))
    }
    assert found == {"context a", "context b", "tcp://[::1]:1"}


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"currentContext": 3}', '{"currentContext": "default"}'])
def test_a_strange_file_is_no_wish(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert endpoint({"DOCKER_CONFIG": str(tmp_path)}) == Endpoint()


def test_a_context_that_is_not_there_has_no_address(tmp_path: Path) -> None:
    found = endpoint({"HOME": str(tmp_path), "DOCKER_CONTEXT": "nope"})
    assert (found.host, found.context, found.remote) == ("", "nope", False)


@pytest.mark.parametrize(
    ("host", "remote"),
    [
        (SOCKET, False),
        ("unix:///run/user/1000/docker.sock", False),
        ("/var/run/docker.sock", False),
        ("npipe:////./pipe/docker_engine", False),
        ("tcp://127.0.0.1:2375", False),
        ("tcp://localhost:2375", False),
        ("tcp://[::1]:2375", False),
        ("ssh://me@localhost", False),
        ("tcp://docker:2375", True),
        ("tcp://10.0.0.5:2376", True),
        ("ssh://me@box", True),
        ("https://box:2376", True),
        ("box:2375", True),
    ],
)
def test_what_is_another_machine(host: str, remote: bool) -> None:
    assert Endpoint(host=host).remote is remote


UNSEEN = Answer(
    code=1,
    err='Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /x\n',
)
NO_IMAGE = Answer(code=1, err="Error response from daemon: No such image: openframe.invalid/none:none\n")
OURS, THEIRS = '[{"Subnet":"127.0.0.0/8","Gateway":"127.0.0.1"}]', '[{"Gateway":"198.51.100.1"}]'


LISTENER = module._listener
"""As it is, before a fixture of all tests takes its place."""


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
    monkeypatch.setattr(module, "_listener", LISTENER if peer is None else lambda _point: peer)
    assert outside({}, point) is expected
    assert outside({"OPENFRAME_REHEARSAL": "/a/rehearsal"}, point) is False


def test_one_that_listens_in_another_pid_namespace_is(point: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "contained", lambda _environ: False)
    monkeypatch.setattr(module, "_listener", lambda _point: 0)
    assert outside({}, point)


def test_without_a_sign_nothing_is_asked(tmp_path: Path, point: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "contained", lambda _environ: False)
    fake = programs(tmp_path)
    assert enclosure(fake, point, rootless=False) == Enclosure()
    assert fake.lines == []


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
    monkeypatch.setattr("tasks.facts.endpoint.outside", lambda *_: True)
    fake = programs(tmp_path, create, network)
    assert enclosure(fake, Endpoint(), rootless=False) == expected
    probe = next(line for line in fake.lines if line.startswith("docker create"))
    source = probe.split('"source=')[1].split('"')[0]
    assert source.startswith(f"{tmp_path}/state/openframe/.seen.openframe-{os.getpid()}-")
    assert list((tmp_path / "state" / "openframe").iterdir()) == []


@pytest.mark.parametrize(("create", "loopback"), [(NO_IMAGE, True), (UNSEEN, False)])
def test_a_rootless_engine_has_a_network_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: Answer, loopback: bool
) -> None:
    monkeypatch.setattr("tasks.facts.endpoint.outside", lambda *_: True)
    assert enclosure(programs(tmp_path, create, THEIRS), Endpoint(), rootless=True).loopback is loopback


def test_an_engine_that_does_not_answer_is_told_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.facts.endpoint.outside", lambda *_: True)
    fake = programs(tmp_path)

    def silent(*_: object, **__: object) -> None:
        raise LaunchError("docker took 20 s")

    monkeypatch.setattr(type(fake), "run", silent)
    assert enclosure(fake, Endpoint(), rootless=False) == Enclosure()
