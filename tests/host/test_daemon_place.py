"""Where daemon.json is: rootful, rootless, from a snap, or as told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.facts.engine import Engine
from tasks.host.daemon import Place, known, locate
from tasks.host.writer import FileState
from tests.checks.given import engine
from tests.tune.dockerd import process, running

ME = os.geteuid()
ROOTLESS = {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"], "DockerRootDir": "/home/me/.local/x"}
SNAP = {"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}
HOME = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/1000"}


def files(content: Mapping[str, str]) -> Any:
    """Reads these, and what a test has put below /proc."""

    def read(path: Path) -> FileState | None:
        if path.exists() and str(path) not in content and "proc" in path.parts[1:] and path.parts[1] != "proc":
            return FileState(data=path.read_bytes(), mode=0o444, user=0, group=0)
        text = content.get(str(path))
        return None if text is None else FileState(data=text.encode(), mode=0o644, user=0, group=0)

    return read


def found(
    tmp_path: Path,
    host: Engine,
    content: Mapping[str, str] | None = None,
    *,
    argv: list[str] | None = None,
    setting: str | None = None,
    environ: Mapping[str, str] = HOME,
) -> Place:
    if argv is not None:
        process(tmp_path / "proc", 12, argv)
    return locate(host, environ, setting, files(content or {}), tmp_path / "proc")


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a test look like root's, whoever runs it."""
    if ME:
        real = Path.stat

        def stat(path: Path, **more: Any) -> Any:
            result = real(path, **more)
            return os.stat_result((*result[:4], 0, *result[5:])) if path.parent.name == "proc" else result

        monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize(
    ("info", "environ", "file"),
    [
        ({}, HOME, "/etc/docker/daemon.json"),
        (SNAP, HOME, "/var/snap/docker/current/config/daemon.json"),
        (ROOTLESS, HOME, "/home/me/.config/docker/daemon.json"),
        (ROOTLESS, {**HOME, "XDG_CONFIG_HOME": "/cfg"}, "/cfg/docker/daemon.json"),
        (ROOTLESS, {**HOME, "XDG_CONFIG_HOME": "relative"}, "/home/me/.config/docker/daemon.json"),
    ],
)
def test_the_usual_places(tmp_path: Path, info: dict[str, Any], environ: Mapping[str, str], file: str) -> None:
    place = found(tmp_path, engine(**info), environ=environ)
    assert place == Place(file=Path(os.path.realpath(file)))


@pytest.mark.parametrize(
    ("info", "pidfile"),
    [
        ({}, "/var/run/docker.pid"),
        (SNAP, "/run/snap.docker/docker.pid"),
        (SNAP, "/var/run/docker.pid"),
        (ROOTLESS, "/run/user/1000/docker.pid"),
    ],
)
def test_its_process_by_the_usual_file(tmp_path: Path, info: dict[str, Any], pidfile: str) -> None:
    process(tmp_path / "proc", 13, ["dockerd", "--data-root=/another"])  # so that the name alone does not tell
    place = found(tmp_path, engine(**info), {pidfile: "12"}, argv=["/usr/bin/dockerd"])
    assert place.running is not None
    assert place.running.pid == 12


def test_its_process_by_the_file_that_daemon_json_names(tmp_path: Path) -> None:
    process(tmp_path / "proc", 13, ["dockerd"])
    content = {"/etc/docker/daemon.json": '{"pidfile": "/x/d.pid"}', "/x/d.pid": "12", "/var/run/docker.pid": "13"}
    place = found(tmp_path, engine(), content, argv=["dockerd"])
    assert place.running is not None
    assert place.running.pid == 12


@pytest.mark.parametrize("text", ["{ // x\n}", '{"pidfile": 3}', '{"pidfile": ""}', "{}"])
def test_a_daemon_json_that_names_none(tmp_path: Path, text: str) -> None:
    place = found(tmp_path, engine(), {"/etc/docker/daemon.json": text}, argv=["dockerd"])
    assert place.running is not None


def test_its_process_by_name(tmp_path: Path) -> None:
    place = found(tmp_path, engine(), argv=["dockerd", "--pidfile=/elsewhere"])
    assert place.running is not None


@pytest.mark.parametrize(
    ("argv", "content", "root", "found_it"),
    [
        (["dockerd"], {}, "/var/lib/docker", True),
        (["dockerd"], {}, "/var/lib/docker/100000.100000", True),
        (["dockerd"], {}, "/srv/docker", False),
        (["dockerd", "--data-root=/srv/docker"], {}, "/srv/docker", True),
        (["dockerd", "--data-root", "/srv/docker"], {}, "/var/lib/docker", False),
        (["dockerd"], {"/etc/docker/daemon.json": '{"data-root": "/srv/docker"}'}, "/srv/docker", True),
        (["dockerd", "--config-file=/a.json"], {"/a.json": '{"data-root": "/srv/docker"}'}, "/var/lib/docker", False),
    ],
)
def test_another_dockerd_beside_it_is_not_taken_for_it(
    tmp_path: Path, argv: list[str], content: dict[str, str], root: str, found_it: bool
) -> None:
    place = found(tmp_path, engine(DockerRootDir=root), {**content, "/var/run/docker.pid": "12"}, argv=argv)
    assert (place.running is not None) is found_it


def test_its_own_argument_is_believed(tmp_path: Path) -> None:
    place = found(tmp_path, engine(), argv=["dockerd", "--config-file", "/srv/docker.json"])
    assert place.file == Path("/srv/docker.json")


def test_a_relative_argument_is_not_known_from_here(tmp_path: Path) -> None:
    place = found(tmp_path, engine(), argv=["dockerd", "--config-file=docker.json"])
    assert place.file == Path("/etc/docker/daemon.json")


def test_the_setting_wins(tmp_path: Path) -> None:
    place = found(tmp_path, engine(), argv=["dockerd", "--config-file=/srv/docker.json"], setting="/mine/daemon.json")
    assert place.file == Path("/mine/daemon.json")
    assert place.running is not None


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("real.json")
    assert found(tmp_path, engine(), setting=str(tmp_path / "link.json")).file == tmp_path / "real.json"


def test_where_dockerd_may_be_as_a_program() -> None:
    assert Place(file=Path("/x")).programs[0] == "dockerd"
    assert "/opt/dockerd" in Place(file=Path("/x"), running=running(["/opt/dockerd"])).programs
    assert "./dockerd" not in Place(file=Path("/x"), running=running(["./dockerd"])).programs


def test_all_places() -> None:
    assert [str(path) for path in known(HOME, "/mine/daemon.json")] == [
        os.path.realpath(path)
        for path in (
            "/mine/daemon.json",
            "/etc/docker/daemon.json",
            "/home/me/.config/docker/daemon.json",
            "/var/snap/docker/current/config/daemon.json",
        )
    ]
