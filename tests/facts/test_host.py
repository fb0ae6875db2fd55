"""What is read of this machine."""

import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.facts import host
from tasks.facts.host import Inotify, Rights, disk, helm_at_work, inotify, rights, unpigz, unresolved
from tasks.process.children import MARK
from tests.checks.given import engine
from tests.programs import Answer, FakePrograms


def test_disk_is_that_of_the_engines_folder(tmp_path: Path) -> None:
    found = disk(engine(DockerRootDir=str(tmp_path)))
    assert found is not None
    assert 0 < found.free <= found.total
    assert disk(engine(DockerRootDir=str(tmp_path / "none"))) is None
    assert disk(engine(DockerRootDir="")) is None
    assert disk(replace(engine(DockerRootDir=str(tmp_path)), here=False)) is None


def test_a_program_that_the_engine_would_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "mine"))
    assert unpigz(engine(), str(tmp_path)) is False
    (tmp_path / "unpigz").touch(0o755)
    assert unpigz(engine(), str(tmp_path)) is True
    assert unpigz(replace(engine(), here=False), str(tmp_path)) is None


def test_inotify_is_that_of_the_engines_kernel(tmp_path: Path) -> None:
    assert inotify(engine(), tmp_path) is None
    (tmp_path / "max_user_instances").write_text("128\n")
    (tmp_path / "max_user_watches").write_text("192536\n")
    assert inotify(engine(), tmp_path) == Inotify(instances=128, watches=192536)
    assert inotify(replace(engine(), here=False), tmp_path) is None


@pytest.mark.parametrize(
    ("user", "answers", "expected", "lines"),
    [
        (0, {}, Rights(root=True, sudo=None), []),
        (1000, {}, Rights(root=False, sudo=None), []),
        (1000, {"sudo": Answer()}, Rights(root=False, sudo=True), ["sudo -n true"]),
        (1000, {"sudo": Answer(code=1)}, Rights(root=False, sudo=False), ["sudo -n true"]),
        (1000, {"sudo": Answer(late=True)}, Rights(root=False, sudo=False), ["sudo -n true"]),
    ],
)
def test_rights(
    user: int, answers: dict[str, Answer], expected: Rights, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    programs = FakePrograms(answers=answers)
    assert rights(programs) == expected
    assert programs.lines == lines


def test_names_that_do_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, *_args: Any, **_more: Any) -> list[Any]:
        if name == "quay.io":
            raise socket.gaierror(-2, "Name or service not known")
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert unresolved(["ghcr.io", "quay.io"]) == {"quay.io": "Name or service not known"}
    assert unresolved([]) == {}


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: done.wait(20))
    begin = time.monotonic()
    assert unresolved(["a.example", "b.example"], 0.1) == {
        "a.example": "no answer within 0.1 s",
        "b.example": "no answer within 0.1 s",
    }
    assert time.monotonic() - begin < 5
    done.set()


def test_real_limits_where_there_are_any() -> None:
    if not host._INOTIFY.exists():
        pytest.skip("no inotify here")
    found = inotify(engine())
    assert found is not None
    assert found.instances > 0


@pytest.mark.parametrize(
    ("word", "marked", "found"), [("c4nary", False, True), ("c4nary-2", False, False), ("c4nary", True, False)]
)
def test_a_helm_that_a_person_has_started(tmp_path: Path, word: str, marked: bool, found: bool) -> None:
    program = tmp_path / "helm"
    program.write_text(f"#!{sys.executable}\nprint('up', flush=True)\nimport time\ntime.sleep(60)\n")
    program.chmod(0o700)
    env = {key: value for key, value in os.environ.items() if key != MARK} | ({MARK: "1 here x.lock"} if marked else {})
    with subprocess.Popen([str(program), "upgrade", word, "./chart"], stdout=subprocess.PIPE, env=env) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert (helm_at_work("c4nary") == process.pid) is found
        finally:
            process.kill()
