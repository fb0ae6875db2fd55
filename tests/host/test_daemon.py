"""The dockerd of this machine is found, and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.host.daemon import Running, by_name, by_pidfile
from tasks.host.writer import look
from tests.tune.dockerd import process, running

ME = os.geteuid()


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path / "proc"


def pidfile(folder: Path, text: str) -> Path:
    file = folder / "docker.pid"
    file.write_text(text)
    return file


def test_by_the_file_with_its_number(tmp_path: Path, proc: Path) -> None:
    process(proc, 12, ["/usr/bin/dockerd", "-H", "fd://"])
    file = pidfile(tmp_path, "12\n")
    found = by_pidfile([tmp_path / "missing.pid", file], ME, look, proc)
    assert found == Running(pid=12, user=ME, argv=("/usr/bin/dockerd", "-H", "fd://"))


@pytest.mark.parametrize("text", ["", "x", "99", "-1", "1" * 40, "12 13", "0x0c"])
def test_a_file_without_a_number_of_a_process_leads_nowhere(tmp_path: Path, proc: Path, text: str) -> None:
    process(proc, 12, ["dockerd"])
    assert by_pidfile([pidfile(tmp_path, text)], ME, look, proc) is None


def test_a_number_that_is_another_program_by_now(tmp_path: Path, proc: Path) -> None:
    process(proc, 12, ["/usr/bin/sshd"])
    assert by_pidfile([pidfile(tmp_path, "12")], ME, look, proc) is None


def test_a_process_of_another_user_only_calls_itself_so(tmp_path: Path, proc: Path) -> None:
    process(proc, 12, ["dockerd", "--config-file=/tmp/evil.json"])
    assert by_pidfile([pidfile(tmp_path, "12")], ME + 1, look, proc) is None
    assert by_name(ME + 1, look, proc) is None


def test_by_name_without_those_inside_of_containers(proc: Path) -> None:
    process(proc, 1, ["/sbin/init"], name="systemd")
    process(proc, 12, ["dockerd"])
    process(proc, 500, ["dockerd", "--host=tcp://0.0.0.0"], inside="\t1")
    process(proc, 600, ["docker", "events"], name="docker")
    found = by_name(ME, look, proc)
    assert found is not None
    assert found.pid == 12


def test_several_are_none(proc: Path) -> None:
    process(proc, 12, ["dockerd"])
    process(proc, 13, ["dockerd", "--data-root=/x"])
    assert by_name(ME, look, proc) is None


def test_a_machine_without_processes_to_be_seen(proc: Path) -> None:
    assert by_name(ME, look, proc) is None


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
