"""The dockerd of this machine is found, and no other; it validates, reloads, and its events are read."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.facts.engine import Engine
from tasks.host import daemon
from tasks.host.daemon_json import Desired, parse
from tasks.host.writer import FileState, Writer, look
from tests.checks.given import engine
from tests.host.dockerd import process, running
from tests.programs import Answer, Call, FakePrograms

ME = os.geteuid()


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path / "proc"


def by_text(folder: Path, text: str, user: int = ME) -> daemon.Running | None:
    (folder / "docker.pid").write_text(text)
    return daemon.by_pidfile([folder / "missing.pid", folder / "docker.pid"], user, look, folder / "proc")


def test_by_the_file_with_its_number(tmp_path: Path, proc: Path) -> None:
    process(proc, 12, ["/usr/bin/dockerd", "-H", "fd://"])
    process(proc, 13, ["/usr/bin/sshd"])  # the number is another program's by now
    assert by_text(tmp_path, "12\n") == daemon.Running(pid=12, user=ME, argv=("/usr/bin/dockerd", "-H", "fd://"))
    for text in ("", "x", "99", "-1", "1" * 40, "12 13", "0x0c", "13"):
        assert by_text(tmp_path, text) is None


def test_a_process_of_another_user_only_calls_itself_so(tmp_path: Path, proc: Path) -> None:
    process(proc, 12, ["dockerd", "--config-file=/tmp/evil.json"])
    assert by_text(tmp_path, "12", ME + 1) is None
    assert daemon.by_name(ME + 1, look, proc) is None


def test_by_name_without_those_inside_of_containers(proc: Path) -> None:
    assert daemon.by_name(ME, look, proc) is None
    process(proc, 1, ["/sbin/init"], name="systemd")
    process(proc, 12, ["dockerd"])
    process(proc, 500, ["dockerd", "--host=tcp://0.0.0.0"], inside="\t1")
    process(proc, 600, ["docker", "events"], name="docker")
    found = daemon.by_name(ME, look, proc)
    assert found is not None
    assert found.pid == 12
    process(proc, 13, ["dockerd", "--data-root=/x"])
    assert daemon.by_name(ME, look, proc) is None, "of several none is known"


@pytest.mark.parametrize(
    ("argv", "value"),
    [
        (["dockerd"], None),
        (["dockerd", "--config-file", "/a.json"], "/a.json"),
        (["dockerd", "--config-file=/a.json"], "/a.json"),
        (["dockerd", "--config-file=/a.json", "--config-file=/b.json"], "/b.json"),
        (["dockerd", "--config-file"], None),
        (["dockerd", "--config-files=/a.json"], None),
    ],
)
def test_options(argv: list[str], value: str | None) -> None:
    assert running(argv).option("config-file") == value


def test_arguments_that_are_keys_of_the_file_too() -> None:
    found = running(["dockerd", "--registry-mirror", "https://x", "--max-concurrent-uploads=3", "--debug"])
    assert found.given == {"registry-mirrors", "max-concurrent-uploads"}
    assert found.forgotten == ("max-concurrent-uploads",)
    assert running(["dockerd", "-H", "fd://", "--containerd=/run/c.sock"]).forgotten == ()


DESIRED = Desired(downloads=10, uploads=8, mirror="http://127.0.0.1:5051")


def host(**changes: Any) -> Any:
    return replace(engine(), **{"desktop": True, "here": False, **changes})


@pytest.mark.parametrize(
    ("changes", "reported", "mirror"),
    [
        ({"os": "Docker Desktop", "name": "docker-desktop"}, "Settings, Docker Engine", False),
        ({"name": "colima", "context": "colima"}, "`colima stop`, then `colima start --edit`", True),
        ({"name": "colima-work", "context": "colima-work"}, "colima start --profile work --edit", True),
        ({"os": "OrbStack", "name": "orbstack"}, "orb restart docker", False),
        ({"name": "lima-rancher-desktop"}, "/etc/docker/daemon.json", True),
        ({"desktop": False, "name": "somewhere"}, "machine 'somewhere'", True),
    ],
)
def test_steps(changes: dict[str, Any], reported: str, mirror: bool) -> None:
    found = host(**changes)
    assert daemon.runs_elsewhere(found)
    error = daemon.elsewhere(found, DESIRED)
    text = str(error)
    assert reported in text
    assert "nothing was changed" in error.what
    assert "max-concurrent-downloads" in error.fix
    assert ("127.0.0.1:5051" in error.fix) is mirror
    assert error.status == 1
    assert not daemon.runs_elsewhere(engine())
    assert "registry-mirrors" not in daemon.elsewhere(found, Desired(downloads=10)).fix


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
) -> daemon.Place:
    if argv is not None:
        process(tmp_path / "proc", 12, argv)
    return daemon.locate(host, environ, setting, files(content or {}), tmp_path / "proc")


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
    assert place == daemon.Place(file=Path(os.path.realpath(file)))


@pytest.mark.parametrize(
    ("info", "content"),
    [
        ({}, {"/var/run/docker.pid": "12"}),
        (SNAP, {"/run/snap.docker/docker.pid": "12"}),
        (SNAP, {"/var/run/docker.pid": "12"}),
        (ROOTLESS, {"/run/user/1000/docker.pid": "12"}),
        ({}, {"/etc/docker/daemon.json": '{"pidfile": "/x/d.pid"}', "/x/d.pid": "12", "/var/run/docker.pid": "13"}),
    ],
)
def test_its_process_by_the_usual_file_or_the_one_that_daemon_json_names(
    tmp_path: Path, info: dict[str, Any], content: dict[str, str]
) -> None:
    process(tmp_path / "proc", 13, ["dockerd", "--data-root=/another"])  # so that the name alone does not tell
    place = found(tmp_path, engine(**info), content, argv=["/usr/bin/dockerd"])
    assert place.running is not None
    assert place.running.pid == 12


@pytest.mark.parametrize("text", ["{ // x\n}", '{"pidfile": 3}', '{"pidfile": ""}', "{}"])
def test_a_daemon_json_that_names_none(tmp_path: Path, text: str) -> None:
    place = found(tmp_path, engine(), {"/etc/docker/daemon.json": text}, argv=["dockerd"])
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


@pytest.mark.parametrize(
    ("argument", "setting", "file"),
    [
        ("/srv/docker.json", None, "/srv/docker.json"),
        ("docker.json", None, "/etc/docker/daemon.json"),  # a relative one is not known from here
        ("/srv/docker.json", "/mine/daemon.json", "/mine/daemon.json"),
        ("/srv/docker.json", "LINK", "REAL"),
    ],
)
def test_its_argument_counts_unless_it_is_set(tmp_path: Path, argument: str, setting: str | None, file: str) -> None:
    (tmp_path / "REAL").write_text("{}")
    (tmp_path / "LINK").symlink_to("REAL")
    given = str(tmp_path / setting) if setting else None
    place = found(tmp_path, engine(), argv=["dockerd", "--pidfile=/x", "--config-file", argument], setting=given)
    assert place.file == tmp_path / file
    assert place.running is not None


def test_where_dockerd_may_be_as_a_program() -> None:
    assert daemon.Place(file=Path("/x")).programs[0] == "dockerd"
    assert "/opt/dockerd" in daemon.Place(file=Path("/x"), running=running(["/opt/dockerd"])).programs
    assert "./dockerd" not in daemon.Place(file=Path("/x"), running=running(["./dockerd"])).programs


def test_all_places() -> None:
    assert [str(path) for path in daemon.known(HOME, "/mine/daemon.json")] == [
        os.path.realpath(path)
        for path in (
            "/mine/daemon.json",
            "/etc/docker/daemon.json",
            "/home/me/.config/docker/daemon.json",
            "/var/snap/docker/current/config/daemon.json",
        )
    ]


# -- asked, told to read, and listened to ------------------------------------------------------

TEXT = '{"max-concurrent-downloads": 10, "registry-mirrors": ["http://127.0.0.1:5051"]}'
REPORTED = {
    "max-concurrent-downloads": "10",
    "max-concurrent-uploads": "5",
    "registry-mirrors": '["http://127.0.0.1:5051/"]',
    "debug": "false",
}


def event(attributes: Any = REPORTED) -> str:
    return json.dumps({"Type": "daemon", "Action": "reload", "Actor": {"ID": "x", "Attributes": attributes}}) + "\n"


def reloaded(events: Any) -> FakePrograms:
    programs = FakePrograms(answers={"kill": "", "docker events": events})
    daemon.reload(programs, Writer(programs=programs), 12, TEXT, None)
    return programs


def test_the_signal_comes_first_and_only_later_events_count() -> None:
    programs = reloaded('no event\n{"Type": "daemon"}\n' + event())
    assert programs.lines[0] == "kill -HUP 12"
    argv = programs.calls_of("docker events")[0].command.argv
    since, until = float(argv[argv.index("--since") + 1]), float(argv[argv.index("--until") + 1])
    assert until - since == pytest.approx(10, abs=1e-3)
    assert programs.commands[1].deadline > 10
    assert "type=daemon" in argv
    assert "event=reload" in argv


@pytest.mark.parametrize("events", ["", "nothing\n", Answer(code=1, err="error during connect"), Answer(late=True)])
def test_no_event_is_no_reload(events: Any) -> None:
    with pytest.raises(daemon.NotReloaded, match="has not read"):
        reloaded(events)


def test_other_values_are_of_another_file() -> None:
    with pytest.raises(daemon.NotReloaded, match="another daemon") as caught:
        reloaded(event({**REPORTED, "max-concurrent-downloads": "3"}))
    assert "max-concurrent-downloads 3" in caught.value.why


@pytest.mark.parametrize(
    ("changes", "text", "count"),
    [
        ({}, TEXT, 0),
        ({"registry-mirrors": "[]"}, TEXT, 1),
        ({"registry-mirrors": "[]"}, "{}", 1),
        ({"max-concurrent-downloads": "3", "registry-mirrors": '["x"]'}, "", 0),  # those of before stay without the key
        ({"max-concurrent-downloads": "3", "registry-mirrors": "[]"}, '{"registry-mirrors": []}', 0),
        ({"registry-mirrors": "what"}, TEXT, 1),
        ({"max-concurrent-uploads": "9"}, TEXT, 1),
    ],
)
def test_differences(changes: dict[str, str], text: str, count: int) -> None:
    assert len(daemon.differences({**REPORTED, **changes}, parse(text))) == count
    assert daemon.differences({}, parse(text)) == [], "what an engine does not tell is not compared"


def dockerd(script: Any, **paths: str | None) -> FakePrograms:
    return FakePrograms(answers={"/fake/dockerd": script}, paths={"dockerd": "/fake/dockerd", **paths})


def test_a_file_is_shown_to_dockerd_in_private() -> None:
    seen = []

    def answer(call: Call) -> str:
        path = Path(call.command.argv[-1].removeprefix("--config-file="))
        seen.append((path.read_bytes(), path.stat().st_mode & 0o777, path))
        return ""

    assert daemon.validate(dockerd(answer), ("dockerd",), b"{}", None) is None
    ((data, mode, path),) = seen
    assert (data, mode) == (b"{}", 0o600)
    assert not path.exists()


@pytest.mark.parametrize(
    ("answer", "against"),
    [
        (Answer(err="configuration OK"), None),
        (Answer(code=1, err="unable to configure the Docker daemon with file X: x: don't match"), "don't match"),
        (Answer(code=125, err="Status: unknown flag: --validate\nSee 'dockerd --help'., Code: 125"), None),
        (Answer(code=1, err="dockerd needs to be started with root privileges."), None),
        (Answer(code=1), "ended with code 1"),
        (Answer(late=True), None),
    ],
)
def test_what_dockerd_says(answer: Answer, against: str | None) -> None:
    output = daemon.validate(dockerd(answer), ("dockerd",), b"{}", None)
    assert (output is None) is (against is None)
    assert against is None or against in str(output)


def test_a_dockerd_off_the_path_is_found_and_without_any_nobody_is_asked() -> None:
    programs = FakePrograms(
        answers={"/usr/sbin/dockerd": ""}, paths={"dockerd": None, "/usr/sbin/dockerd": "/usr/sbin/dockerd"}
    )
    assert daemon.validate(programs, ("dockerd",), b"{}", None) is None
    assert programs.lines == []
    daemon.validate(programs, ("dockerd", "/usr/sbin/dockerd"), b"{}", None)
    assert programs.lines[0].startswith("/usr/sbin/dockerd --validate")
