"""The engine from docker's own words, and what is said where there is none."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import NoEngine
from tasks.facts import engine as module
from tasks.facts.endpoint import SOCKET, Endpoint, EngineStopped, engine_remote, engine_stopped
from tasks.facts.engine import Enclosure, engine, is_machine, read
from tasks.facts.machine import Limits
from tasks.process.programs import Programs
from tasks.process.runner import CannotStart
from tasks.view.summary import refusal
from tests.facts.docker_info import (
    COLIMA,
    DESKTOP,
    DOWN,
    HERE,
    LINUX,
    ORBSTACK,
    PODMAN_PROGRAM,
    PODMAN_SOCKET,
    RANCHER,
    ROOTLESS,
)
from tests.programs import Answer, FakePrograms

GIB = 1024**3


def engine_programs(info: Mapping[str, Any] | str = "", err: str = "", code: int = 0, **env: str) -> FakePrograms:
    out = info if isinstance(info, str) else json.dumps(info)
    return FakePrograms(env={"HOME": "/nowhere", **env}, answers={"docker info": Answer(out=out, err=err, code=code)})


def test_one_question_tells_everything() -> None:
    programs = engine_programs(LINUX)
    found = engine(programs)
    assert programs.lines == ["docker info --format {{json .}}"]
    assert (found.ncpu, found.memory_bytes, found.arch) == (2, 25276510208, "x86_64")
    assert (found.os, found.version) == ("Debian GNU/Linux 12 (bookworm)", "20.10.24+dfsg1")
    assert (found.cgroup_version, found.root_dir, found.driver, found.backing) == (
        1,
        "/var/lib/docker",
        "overlay2",
        "extfs",
    )
    assert (found.host, found.context) == (SOCKET, "default")


def test_an_engine_on_this_machine_is_bounded_by_the_group_of_its_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[Mapping[str, str]] = []

    def limits(queried: Mapping[str, str]) -> Limits:
        groups.append(queried)
        return Limits(cpus=1.5, memory_bytes=4 * GIB)

    monkeypatch.setattr(module, "limits", limits)
    found = read(LINUX, Endpoint(), HERE)
    assert (found.here, found.cpus, found.ncpu, found.memory_bytes) == (True, 1, 2, 4 * GIB)
    read({**LINUX, "CgroupDriver": "systemd"}, Endpoint(), HERE)
    read(ROOTLESS, Endpoint(), HERE)
    assert [each[""] for each in groups] == [
        "/docker",
        "/system.slice",
        "/user.slice/user-1000.slice/user@1000.service/user.slice",
    ]


@pytest.mark.parametrize(
    ("info", "here"),
    [
        (LINUX, replace(HERE, name="devcontainer")),
        (LINUX, replace(HERE, kernel="6.8.0")),
        (DESKTOP, HERE),
        (COLIMA, replace(HERE, system="darwin")),
        ({**DESKTOP, "KernelVersion": HERE.kernel}, replace(HERE, system="wsl", name="docker-desktop")),
    ],
)
def test_cgroups_of_this_machine_say_nothing_of_another_one(
    info: dict[str, Any], here: module.Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "limits", lambda _groups: Limits(cpus=1.0, memory_bytes=1))
    found = read(info, Endpoint(), here)
    assert not found.here
    assert (found.cpus, found.memory_bytes) == (info["NCPU"], info["MemTotal"])


@pytest.mark.parametrize(
    ("info", "machine"),
    [(LINUX, False), (ROOTLESS, False), (DESKTOP, True), (COLIMA, True), (ORBSTACK, True), (RANCHER, True)],
)
def test_machines_of_their_own(info: dict[str, Any], machine: bool) -> None:
    assert is_machine(info, HERE) is machine
    assert is_machine(info, replace(HERE, system="darwin"))


def test_a_rootless_engine() -> None:
    found = read(ROOTLESS, Endpoint(), HERE)
    assert found.rootless
    assert found.missing_controllers == ("cpuset",)
    assert found.warnings == ("WARNING: No cpuset support",)
    assert not read(LINUX, Endpoint(), HERE).rootless
    assert read(LINUX, Endpoint(), HERE).missing_controllers == ()


def test_what_an_engine_leaves_out_is_not_held_against_it() -> None:
    found = read({"ServerVersion": "28.2.2"}, Endpoint(), HERE)
    assert (found.cpus, found.cgroup_version, found.forwarding, found.missing_controllers) == (1, 0, True, ())


DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
API = (
    "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the "
    "daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory"
)
DENIED = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "
    '"http://%2Fvar%2Frun%2Fdocker.sock/v1.50/info": dial unix /var/run/docker.sock: connect: permission denied'
)
TOO_OLD = "client version 1.24 is too old. Minimum supported API version is 1.44, please upgrade your client"
LOST = 'Failed to initialize: unable to resolve docker endpoint: context "nope": context not found: open meta.json'


@pytest.mark.parametrize(
    ("programs", "what", "fix"),
    [
        (engine_programs(DOWN, DAEMON, 1), "does not run", "systemctl start docker"),
        (engine_programs(DOWN, API, 1), "does not run", "systemctl start docker"),
        (engine_programs({**DOWN, "ServerErrors": [DAEMON]}), "does not run", "systemctl start docker"),
        (engine_programs(DOWN, DENIED, 1), "may not use", "usermod -aG docker"),
        (engine_programs({**DOWN, "ServerErrors": [DENIED]}), "may not use", "usermod -aG docker"),
        (engine_programs("", LOST, 1, DOCKER_CONTEXT="nope"), "cannot be used", "`unset DOCKER_CONTEXT` switches back"),
        (
            engine_programs("", "page not found", 1, DOCKER_API_VERSION="x"),
            "cannot be used",
            "`unset DOCKER_API_VERSION`",
        ),
        (engine_programs(DOWN, TOO_OLD, 1), "cannot be used", "update the older one"),
        (engine_programs(DOWN, DAEMON, 1, DOCKER_HOST="/x.sock"), "does not run", "DOCKER_HOST=unix:///x.sock"),
        (engine_programs("", "exec format error", 126), "cannot be used", "docker info"),
        (engine_programs(DOWN, "client version 1.24 is too old", 1), "cannot be used", "docker info"),
        (engine_programs({**LINUX, "OSType": "windows"}), "Windows containers", "Linux containers"),
        (engine_programs(PODMAN_SOCKET), "is Podman", "install Docker Engine"),
        (engine_programs(PODMAN_PROGRAM, "Emulate Docker CLI using podman."), "is Podman", "podman-docker"),
        (
            engine_programs(
                DOWN, "Cannot connect to the Docker daemon at …", 1, DOCKER_HOST="unix:///run/podman/podman.sock"
            ),
            "is Podman",
            "unset DOCKER_HOST",
        ),
    ],
)
def test_no_engine_and_what_to_do(programs: FakePrograms, what: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "system", lambda: "linux")
    with pytest.raises(NoEngine, match=what) as caught:
        engine(programs)
    assert fix in caught.value.fix
    assert "`make rehearse`" in caught.value.fix, "each offers the way without an engine"
    assert caught.value.why
    assert caught.value.status == 6
    assert len(programs.commands) == 1
    screen = [str(line) for line in refusal(caught.value, width=80)]
    assert len(screen) <= 20


def test_an_engine_that_never_answers() -> None:
    programs = FakePrograms(env={}, answers={"docker": Answer(late=True)})
    with pytest.raises(NoEngine, match="does not answer") as caught:
        engine(programs)
    assert "20 s" in caught.value.why


def test_a_docker_that_cannot_be_started() -> None:
    cannot = CannotStart("the program docker cannot be started", why="Too many open files", fix="raise the limits")
    for answers, why, fix in (
        ({}, "the program 'docker' is missing", ""),
        ({"docker": cannot}, "Too many open files", "raise the limits"),
    ):
        programs = FakePrograms(env={}, paths={"docker": "/fake/docker"}, answers=answers)
        with pytest.raises(NoEngine, match="cannot be used") as caught:
            engine(programs)
        assert why in caught.value.why
        assert fix in caught.value.fix


@pytest.mark.parametrize("host", ["ssh://me@box", "tcp://docker:2375"])
def test_a_remote_engine_is_refused_without_asking_it(host: str) -> None:
    programs = engine_programs(LINUX, DOCKER_HOST=host)
    with pytest.raises(NoEngine, match="another machine") as caught:
        engine(programs)
    assert programs.commands == []
    assert "unset DOCKER_HOST" in caught.value.fix
    assert "--engine existing" in caught.value.fix


@pytest.mark.parametrize(
    ("source", "back"),
    [("`docker context use`", "docker context use default"), ("DOCKER_CONTEXT", "unset DOCKER_CONTEXT")],
)
def test_the_way_back_from_a_remote_engine_undoes_what_led_there(source: str, back: str) -> None:
    error = engine_remote(Endpoint(host="ssh://me@box", context="box", source=source))
    assert f"`{back}`" in error.fix
    assert "`ssh me@box`" in error.fix


def test_an_engine_at_loopback_is_this_machines() -> None:
    assert engine(engine_programs(LINUX, DOCKER_HOST="tcp://127.0.0.1:2375")).host == "tcp://127.0.0.1:2375"


def test_a_real_engine_that_mentions_podman_is_no_podman() -> None:
    assert engine(engine_programs(LINUX, 'WARNING: Plugin "docker-podman" is not valid')).version == "20.10.24+dfsg1"
    home = "unix:///home/podman/.docker/run/docker.sock"
    assert engine(engine_programs(LINUX, DOCKER_HOST=home)).host == home


@pytest.mark.parametrize("system", ["linux", "darwin", "wsl"])
@pytest.mark.parametrize("podman", [False, True])
def test_without_docker(system: str, podman: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "system", lambda: system)
    programs = FakePrograms(env={}, paths={"docker": None, "podman": "/usr/bin/podman" if podman else None})
    with pytest.raises(NoEngine, match="Docker is missing") as caught:
        engine(programs)
    error = caught.value
    assert ("not supported" in error.why) is podman
    assert {"linux": "apt-get", "darwin": "colima start", "wsl": "WSL integration"}[system] in error.fix
    assert programs.commands == []


@pytest.mark.parametrize(
    ("system", "point", "fix"),
    [
        ("linux", Endpoint(), "systemctl start docker"),
        ("darwin", Endpoint(), "open -a Docker"),
        ("wsl", Endpoint(), "Docker Desktop on Windows"),
        ("darwin", Endpoint(host="unix:///x", context="colima", source="`docker context use`"), "colima start"),
        ("darwin", Endpoint(host="unix:///x", context="orbstack", source="`docker context use`"), "orb start"),
        ("darwin", Endpoint(host="unix:///x", context="desktop-linux", source="`docker context use`"), "open -a"),
        ("linux", Endpoint(host="unix:///x", context="desktop-linux", source="x"), "--user start docker-desktop"),
        ("linux", Endpoint(host="unix:///x", context="rootless", source="DOCKER_CONTEXT"), "--user start docker"),
        ("linux", Endpoint(host="unix:///x/y.sock", source="DOCKER_HOST"), "unset DOCKER_HOST"),
        ("linux", Endpoint(host="unix:///x", context="mine", source="DOCKER_CONTEXT"), "unset DOCKER_CONTEXT"),
    ],
)
def test_how_an_engine_is_started_depends_on_which_it_is(system: str, point: Endpoint, fix: str) -> None:
    error = engine_stopped(system, point, DAEMON)
    assert fix in error.fix
    assert isinstance(error, EngineStopped)
    assert DAEMON in error.why


def test_the_engine_of_this_machine_if_there_is_one(tmp_path: Path) -> None:
    programs = Programs(env={**os.environ, "HOME": str(tmp_path)})
    if programs.where("docker") is None:
        pytest.skip("no docker program")
    try:
        found = engine(programs)
    except NoEngine as error:
        pytest.skip(error.what)
    assert found.cpus >= 1
    assert found.memory_bytes > 64 * 1024**2
    assert found.version


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (Enclosure(), (True, True)),
        (Enclosure(files=False), (False, False)),
    ],
)
def test_an_engine_outside_of_this_container_is_not_here(
    monkeypatch: pytest.MonkeyPatch, shared: Enclosure, expected: tuple[bool, bool]
) -> None:
    monkeypatch.setattr(module, "enclosure", lambda *_, **__: shared)
    monkeypatch.setattr(module, "Here", lambda **_: HERE)
    monkeypatch.setattr(module, "limits", lambda _groups: Limits(cpus=1.0))
    found = engine(engine_programs(LINUX))
    assert (found.here, found.files) == expected
    assert found.cpus == (1 if found.here else 2), "this container's own limits do not bound what is outside of it"


def test_one_that_publishes_on_another_loopback_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "enclosure", lambda *_, **__: Enclosure(loopback=False))
    with pytest.raises(NoEngine, match="its Docker engine is outside of it") as caught:
        engine(engine_programs(LINUX, DOCKER_HOST="unix:///mnt/docker.sock"))
    assert "/mnt/docker.sock is a mounted socket" in caught.value.why
    assert "--network host" in caught.value.fix


@pytest.mark.parametrize("info", [DESKTOP, COLIMA, ORBSTACK])
def test_one_in_its_own_machine_brings_files_and_ports(info: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "enclosure", lambda *_, **__: Enclosure(files=False, loopback=False))
    assert engine(engine_programs(info)).files
