"""Who uses the shared registries and who removes them see each other on the engine, whoever they are."""

import json
import os
import time
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.core.files import place
from tasks.k3d.registry_lease import REMOVAL, USE, Lease, Leases, read
from tests.programs import Answer, Call, FakePrograms, context


def lease(kind: str, who: str = "somebody", **changes: Any) -> str:
    """A row of `docker volume ls`; of a process elsewhere, if not given otherwise."""
    given = {"volume": f"openframe-lease-{kind}", "place": "elsewhere", "pid": 1, "until": time.time() + 60, **changes}
    result = Lease(kind=kind, who=who, **given)
    return (
        json.dumps({"Driver": "local", "Labels": f"a=b,openframe.lease={result.label}", "Name": result.volume}) + "\n"
    )


class Engine:
    """Volumes that several hold."""

    def __init__(self, *rows: str) -> None:
        self.volumes = {json.loads(row)["Name"]: row for row in rows}
        answers: dict[str, Any] = {
            "docker volume create": self._create,
            "docker volume ls": lambda _call: "".join(self.volumes.values()),
            "docker volume rm": self._remove,
        }
        self.programs = FakePrograms(answers=answers)

    def _create(self, call: Call) -> str:
        label, name = call.command.argv[4:6]
        self.volumes[name] = json.dumps({"Labels": label, "Name": name}) + "\n"
        return name

    def _remove(self, call: Call) -> str:
        for name in call.command.argv[4:]:
            self.volumes.pop(name, None)
        return ""

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in read("".join(self.volumes.values()))]


def test_a_label_tells_all_of_it() -> None:
    (found,) = read(lease(USE, "the launch of 'dev', by a, b", until=1e9))
    assert (found.kind, found.who, found.until) == (USE, "the launch of 'dev', by a, b", 1e9)
    assert read('{"Name": "x", "Labels": "openframe.lease=nonsense"}\n{"Name": "y", "Labels": ""}\n') == []


def test_a_use_is_written_and_taken_back() -> None:
    engine = Engine()
    mine = Leases(engine.programs)
    for _ in range(2):  # a second attempt of the same launch
        mine.use("mine", 60, context())
    assert engine.kinds == [USE]
    mine.close()
    mine.close()
    assert engine.kinds == []


def test_who_removes_is_refused_by_a_use_with_its_name() -> None:
    engine = Engine()
    Leases(engine.programs).use("the launch of 'dev' by alice", 60, context())
    with (
        pytest.raises(LaunchError, match="about to be used: the launch of 'dev' by alice"),
        Leases(engine.programs).removal("bob", context()),
    ):
        pytest.fail("it was removed")
    assert engine.kinds == [USE]


def test_a_removal_is_taken_back_after_a_failure() -> None:
    engine = Engine()
    with pytest.raises(ZeroDivisionError), Leases(engine.programs).removal("bob", context()):
        assert [1 // (engine.kinds != [REMOVAL])]
    assert engine.kinds == []


def test_who_uses_waits_for_a_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.k3d.registry_lease._PAUSE", 0.01)
    engine = Engine(lease(REMOVAL, "invoke registry --purge by bob"))
    output: list[str] = []

    def say(line: str) -> None:
        assert engine.kinds == [REMOVAL, USE], "it is written before it is waited: the other sees it"
        output.append(line)
        engine.volumes.pop("openframe-lease-removal")

    Leases(engine.programs).use("mine", 60, context(say=say))
    assert output == ["waiting for invoke registry --purge by bob"]
    engine = Engine(lease(REMOVAL, "bob"))
    with pytest.raises(LaunchError, match="are being removed: bob"):
        Leases(engine.programs).use("mine", 60, context(deadline=0.05))


@pytest.mark.parametrize(
    ("changes", "over"),
    [
        ({}, False),
        ({"until": 1.0}, True),
        ({"place": place(), "pid": os.getpid()}, False),
        ({"place": place(), "pid": None}, True),
        ({"pid": None}, False),  # numbers of processes elsewhere mean nothing here
    ],
)
def test_a_holder_that_is_gone_is_nobody(ended_pid: int, changes: dict[str, Any], over: bool) -> None:
    if "pid" in changes and changes["pid"] is None:
        changes = {**changes, "pid": ended_pid}
    engine = Engine(lease(REMOVAL, **changes))
    if over:
        Leases(engine.programs).use("mine", 60, context())
        assert engine.kinds == [USE]
    else:
        with pytest.raises(LaunchError):
            Leases(engine.programs).use("mine", 60, context(deadline=0.0))


def test_a_use_that_cannot_be_taken_back_ends_by_itself() -> None:
    engine = Engine()
    mine = Leases(engine.programs)
    mine.use("mine", 60, context())
    engine.programs.answers["docker volume rm"] = Answer(code=1, err="Cannot connect to the Docker daemon")
    mine.close()
    (left,) = read("".join(engine.volumes.values()))
    assert 0 < left.until - time.time() <= 61  # whole seconds
