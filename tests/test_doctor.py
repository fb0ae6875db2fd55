"""`invoke doctor`, from the facts to the exit code, and what stops a launch."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.checks.finding import Finding, Level, Remedy, Unfit
from tasks.core.errors import BadInput, NoEngine
from tasks.doctor import doctor, mend
from tasks.facts import host, ports
from tasks.facts.engine import Engine
from tasks.facts.facts import Facts, Shape
from tasks.facts.host import Inotify, Rights
from tasks.run import tools as fetching
from tasks.run.provision import refuse_unfit
from tests.checks.given import ANSWERS, INFO
from tests.given import FakeSession, call, session
from tests.given import facts as launch_facts
from tests.programs import Answer, FakePrograms

DOWN = Answer(err="Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", code=1)


def answers(**info: Any) -> dict[str, Answer]:
    return {**ANSWERS, "docker info": Answer(out=json.dumps({**INFO, **info}))}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine: neither its network nor its rights."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [])
    monkeypatch.setattr(ports, "taken", lambda _address, _port: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def run_doctor(made: FakeSession, capsys: pytest.CaptureFixture[str], *, fix: bool = False) -> tuple[int, Any]:
    code = call(doctor, made, fix=fix, format="json")
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == code
    return code, document


def by_check(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in document["findings"]}


def test_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run_doctor(session(tmp_path, FakePrograms(answers=answers())), capsys)
    assert code == 0
    assert document["cluster"] == "openframe-dev"
    assert {each["level"] for each in document["findings"]} == {"ok", "not known"}


def test_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(doctor, session(tmp_path, FakePrograms(answers=answers())), format="text") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("check ")
    assert shown.endswith("nothing here would stop a launch\n")


def test_a_problem_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = run_doctor(session(tmp_path, FakePrograms(answers=answers(ServerVersion="19.03.1"))), capsys)
    assert code == 1
    assert by_check(document)["engine"]["level"] == "problem"


def test_without_an_engine_exit_code_6_and_other_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = FakePrograms(answers={**answers(), "docker info": DOWN, "docker ps": DOWN})
    code, document = run_doctor(session(tmp_path, programs), capsys)
    assert code == 6
    assert by_check(document)["engine"]["what"] == "the Docker engine does not run"
    assert {"k3d", "kubectl", "helm", "proxies", "DNS", "sudo"} <= by_check(document).keys()
    assert "ports" not in by_check(document)


def test_a_wrong_form_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    programs = FakePrograms(answers=answers())
    with pytest.raises(BadInput, match="--format is 'yaml'"):
        call(doctor, session(tmp_path, programs), format="yaml")
    assert programs.commands == []


@pytest.fixture
def poor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """An engine here, with few inotify instances until sysctl has run."""
    folder = tmp_path / "inotify"
    folder.mkdir()
    (folder / "max_user_watches").write_text("1048576")
    programs = FakePrograms(
        answers={
            **answers(Name=socket.gethostname(), KernelVersion=os.uname().release, DockerRootDir=str(tmp_path)),
            "sudo -n sysctl": Answer(),
        }
    )

    inotify = host.inotify

    def limits(found: Engine) -> Inotify | None:
        done = any("sysctl" in line for line in programs.lines)
        (folder / "max_user_instances").write_text("512" if done else "128")
        return inotify(found, folder)

    monkeypatch.setattr(host, "inotify", limits)
    return programs


def test_a_safe_fix_is_run_and_shown(poor: FakePrograms, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _code, before = run_doctor(session(tmp_path, poor), capsys)
    assert by_check(before)["inotify"]["level"] == "warning"
    assert before["fixed"] == []
    assert not any("sysctl" in line for line in poor.lines)
    _code, after = run_doctor(session(tmp_path, poor), capsys, fix=True)
    command = "sudo -n sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=1048576"
    assert after["fixed"] == [{"check": "inotify", "command": command, "ran": True, "result": "ran"}]
    assert by_check(after)["inotify"]["level"] == "ok"


@pytest.mark.parametrize(
    ("error", "result"), [(None, "ran"), (Exit(code=1), "failed with code 1"), (BadInput("pins"), "failed with code 2")]
)
def test_programs_are_fetched_and_the_document_stays_whole(
    error: Exception | None,
    result: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fetch(_session: object) -> int:
        print("fetching k3d")  # noqa: T201 - as the live view does
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(fetching, "tools", fetch)
    programs = FakePrograms(answers={**answers(), "k3d": Answer(out="k3d version v5.4.0\n")})
    _code, document = run_doctor(session(tmp_path, programs), capsys, fix=True)
    assert document["fixed"] == [{"check": "k3d", "command": "make tools", "ran": True, "result": result}]


def test_a_foreign_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Answer(code=1, err='error: context "prod" does not exist')
    programs = FakePrograms(answers={**answers(), "kubectl --context": lost})
    code, document = run_doctor(session(tmp_path, programs, engine="existing", context="prod"), capsys)
    assert code == 1
    assert document["cluster"] == "prod"
    assert by_check(document)["context"]["level"] == "problem"


def facts(programs: FakePrograms, folder: Path) -> Facts:
    return launch_facts(folder, programs, shape=Shape(image="rancher/k3s:v1.35.5-k3s1", agents=3, concurrency=4))


def ready(tmp_path: Path, programs: FakePrograms) -> FakeSession:
    call = session(tmp_path, programs)
    call.system.update(k3d="v5.9.0", kubectl="v1.33.13", helm="v4.1.4")
    return call


def test_a_launch_goes_on_where_nothing_stops_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = FakePrograms(answers=answers())
    refuse_unfit(ready(tmp_path, programs), facts(programs, tmp_path))
    assert programs.lines == ["docker info --format {{json .}}"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("info", "output"),
    [
        ({"PidsLimit": False}, "cgroups: the engine lacks the pids cgroup controller"),
        ({"ServerVersion": "19.03.1"}, "engine: Docker 19.03.1 is too old"),
    ],
)
def test_what_would_fail_is_reported_before_it_begins(info: dict[str, Any], output: str, tmp_path: Path) -> None:
    programs = FakePrograms(answers=answers(**info))
    with pytest.raises(Unfit) as caught:
        refuse_unfit(ready(tmp_path, programs), facts(programs, tmp_path))
    assert caught.value.what.startswith(output)
    assert caught.value.fix
    assert caught.value.status == 1


def test_what_only_slows_a_launch_does_not_stop_it(tmp_path: Path) -> None:
    programs = FakePrograms(answers=answers(MemTotal=2**30, NCPU=1, IPv4Forwarding=False, Driver="vfs"))
    refuse_unfit(ready(tmp_path, programs), facts(programs, tmp_path))


def test_a_program_that_is_too_old_after_fetching_stops_it(tmp_path: Path) -> None:
    programs = FakePrograms(answers=answers())
    call = ready(tmp_path, programs)
    call.system["helm"] = "v3.12.0"
    with pytest.raises(Unfit, match=r"helm v3\.12\.0 is too old"):
        refuse_unfit(call, facts(programs, tmp_path))


def test_an_engine_that_went_away_is_its_own_error(tmp_path: Path) -> None:
    programs = FakePrograms(answers={**answers(), "docker info": DOWN})
    with pytest.raises(NoEngine):
        refuse_unfit(ready(tmp_path, programs), facts(programs, tmp_path))


SYSCTL = Remedy(argv=("sysctl", "-w", "fs.inotify.max_user_instances=512"))
FETCH = Remedy(fetch=True)


def finding(check: str, remedy: Remedy | None) -> Finding:
    return Finding(Level.WARNING, "w", why="y", fix="f", remedy=remedy, check=check)


def never() -> int:
    raise AssertionError("nothing is to be fetched")


@pytest.mark.parametrize(
    ("rights", "line"),
    [
        (Rights(root=True, sudo=None), "sysctl -w fs.inotify.max_user_instances=512"),
        (Rights(root=False, sudo=True), "sudo -n sysctl -w fs.inotify.max_user_instances=512"),
    ],
)
def test_with_rights_it_runs(rights: Rights, line: str) -> None:
    programs = FakePrograms(answers={"sysctl": Answer(), "sudo -n sysctl": Answer()})
    (done,) = mend([finding("inotify", SYSCTL), finding("disk", None)], rights, programs, never)
    assert programs.lines == [line]
    assert (done.check, done.command, done.ran, done.result) == ("inotify", line, True, "ran")


@pytest.mark.parametrize("rights", [Rights(root=False, sudo=False), Rights(root=False, sudo=None), None])
def test_without_rights_it_is_left(rights: Rights | None) -> None:
    programs = FakePrograms(answers={"sysctl": Answer(), "sudo": Answer()})
    (done,) = mend([finding("inotify", SYSCTL)], rights, programs, never)
    assert programs.commands == []
    assert not done.ran
    assert done.command == "sudo sysctl -w fs.inotify.max_user_instances=512"
    assert "needs root" in done.result


def test_a_fix_that_fails_is_reported() -> None:
    programs = FakePrograms(answers={"sysctl": Answer(code=255, err="sysctl: permission denied on key")})
    (done,) = mend([finding("inotify", SYSCTL)], Rights(root=True, sudo=None), programs, never)
    assert done.ran
    assert done.result == "failed: sysctl ended with code 255: sysctl: permission denied on key"


@pytest.mark.parametrize(("code", "result"), [(0, "ran"), (1, "failed with code 1")])
def test_programs_are_fetched_once_for_all(code: int, result: str) -> None:
    found = [finding("k3d", FETCH), finding("helm", FETCH), finding("kubectl", FETCH)]
    (done,) = mend(found, None, FakePrograms(), lambda: code)
    assert (done.check, done.command, done.ran, done.result) == ("k3d", "make tools", True, result)
