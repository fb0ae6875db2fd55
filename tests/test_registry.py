"""`invoke registry`: its purge, and what it shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.core.lock import Held, Last, held
from tasks.engine.step import Step
from tasks.facts.cluster import ContainerState, Presence
from tasks.facts.facts import Facts
from tasks.facts.registries import Registry
from tasks.k3d.registry_container import lock
from tasks.k3d.registry_lease import USE
from tasks.registry import purge_steps, registry
from tests.facts import inspected
from tests.given import FakeSession, act, call, facts, session
from tests.given_engine import GHCR, PUSHED, there
from tests.k3d.test_registry_lease import lease
from tests.programs import Answer, FakePrograms

ALONE = {
    PUSHED: there(networks=("bridge",)),
    GHCR: there(GHCR, upstream="ghcr.io", port=5052, networks=("bridge",)),
}
VOLUMES = f"{PUSHED}\n{GHCR}\n"


def docker(*found: dict[str, Any], **answers: Any) -> FakePrograms:
    """An engine with these registries, and with volumes of two."""
    return FakePrograms(
        answers={
            "docker": "",
            "docker volume ls --quiet": VOLUMES,
            "docker ps --all": "",
            "docker ps --all --quiet --no-trunc --filter label=k3d.role": "\n".join(each["Id"] for each in found),
            "docker container inspect": json.dumps(found),
            **answers,
        }
    )


FOUND = (inspected.registry(PUSHED), inspected.registry(GHCR, "5052", labels={"openframe.cache": "ghcr.io"}))


def attached(*networks: str) -> dict[str, Registry]:
    return {**ALONE, PUSHED: there(networks=("bridge", *networks))}


def purge(folder: Path, given: Facts, task: str = "registry") -> list[Step]:
    return purge_steps(session(folder, given.programs, task=task), given)


def test_all_of_ours_are_removed_with_what_they_keep(tmp_path: Path) -> None:
    theirs = inspected.registry("k3d-theirs", ours=False, networks=("bridge", "k3d-another"))
    fake = docker(*FOUND, theirs)
    (step,) = purge(tmp_path, facts(tmp_path, fake, registries=dict(ALONE)))
    fake.calls.clear()
    act(step)
    assert [line for line in fake.lines if "lease" not in line] == [
        "docker ps --all --quiet --no-trunc --filter label=k3d.role=registry",
        f"docker container inspect {FOUND[0]['Id']} {FOUND[1]['Id']} {theirs['Id']}",
        "docker ps --all --quiet --no-trunc --filter label=k3d.cluster=openframe-dev --filter label=app=k3d",
        f"docker rm --force --volumes {GHCR} {PUSHED}",
        "docker volume ls --quiet --filter label=openframe.cache",
        f"docker volume rm --force {PUSHED} {GHCR}",
    ]


def test_nothing_is_there(tmp_path: Path) -> None:
    (step,) = purge(tmp_path, facts(tmp_path, docker(**{"docker volume ls": "", "docker volume ls --quiet": ""})))
    assert step.skip == "there are none"


def test_volumes_whose_containers_are_gone(tmp_path: Path) -> None:
    fake = docker()
    (step,) = purge(tmp_path, facts(tmp_path, fake))
    act(step)
    assert f"docker volume rm --force {PUSHED} {GHCR}" in fake.lines
    assert fake.calls_of("docker rm") == []


def test_a_cluster_that_was_made_since_keeps_them(tmp_path: Path) -> None:
    fake = docker(inspected.registry(PUSHED, networks=("bridge", "k3d-another")))
    (step,) = purge(tmp_path, facts(tmp_path, fake, registries=dict(ALONE)))
    with pytest.raises(LaunchError, match="in use by: another"):
        act(step)
    assert fake.calls_of("docker rm") == []
    assert [line.split()[2] for line in fake.lines if "openframe-lease-" in line] == ["create", "rm"]


def test_nor_are_they_removed_when_the_cluster_of_that_name_was_made_since(tmp_path: Path) -> None:
    fake = docker(*FOUND, **{"docker ps --all --quiet --no-trunc --filter label=k3d.cluster": "350d0a6f737f"})
    given = facts(tmp_path, fake, registries=dict(ALONE))
    (step,) = purge(tmp_path, given)
    with pytest.raises(LaunchError, match="in use by: openframe-dev"):
        act(step)
    act(purge(tmp_path, given, task="down")[0])  # who removes the cluster may remove them


def test_nor_are_they_removed_while_a_launch_is_about_to_use_them(tmp_path: Path) -> None:
    using = lease(USE, "the launch of the cluster 'dev' by alice@laptop")
    fake = docker(*FOUND, **{"docker volume ls --filter label=openframe.lease": using})
    with pytest.raises(LaunchError, match="about to be used: the launch of the cluster 'dev' by alice@laptop"):
        purge(tmp_path, facts(tmp_path, fake, registries=dict(ALONE)))
    fake.answers["docker volume ls --filter label=openframe.lease"] = ["", using]  # it begins a moment later
    (step,) = purge(tmp_path, facts(tmp_path, fake, registries=dict(ALONE)))
    with pytest.raises(LaunchError, match="about to be used"):
        act(step)
    assert fake.calls_of("docker rm") == []


@pytest.mark.parametrize(
    ("networks", "presence", "task", "refused"),
    [
        (("k3d-another",), Presence.ABSENT, "registry", "another"),
        (("k3d-another",), Presence.ABSENT, "down", "another"),
        (("k3d-b", "k3d-a", "k3d-openframe-dev"), Presence.RUNNING, "down", "a, b"),
        (("k3d-another",), Presence.RUNNING, "registry", "another, openframe-dev"),
        (("k3d-openframe-dev",), Presence.RUNNING, "registry", "openframe-dev"),
        (("k3d-openframe-dev",), Presence.STOPPED, "registry", "openframe-dev"),
        ((), Presence.RUNNING, "registry", "openframe-dev"),
        (("k3d-openframe-dev",), Presence.RUNNING, "down", None),  # it is removed before
        (("k3d-openframe-dev",), Presence.ABSENT, "registry", None),  # a network that was left behind
        ((), Presence.ABSENT, "registry", None),
    ],
)
def test_refused_while_a_cluster_is_attached(
    tmp_path: Path, networks: tuple[str, ...], presence: Presence, task: str, refused: str | None
) -> None:
    given = facts(tmp_path, docker(), presence=presence, registries=attached(*networks))
    if refused is None:
        assert all(step.skip is None for step in purge(tmp_path, given, task))
        return
    with pytest.raises(LaunchError) as caught:
        purge(tmp_path, given, task)
    assert caught.value.what == f"the registries are in use by: {refused}"
    assert "invoke down" in caught.value.fix


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Facts:
    """What is gathered."""
    fake = docker(*FOUND, **{"docker exec": Answer(code=127)})
    given = facts(tmp_path, fake, registries=dict(ALONE))
    monkeypatch.setattr("tasks.run.gather.gather", lambda _session, _parts, *, refuse: given)
    return given


def called(tmp_path: Path, given: Facts) -> FakeSession:
    return session(tmp_path, given.programs, task="registry")


def test_purging_from_the_command_line(tmp_path: Path, looked_at: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(registry, called(tmp_path, looked_at), purge=True, status=False) == 0
    assert isinstance(looked_at.programs, FakePrograms)
    assert len(looked_at.programs.calls_of("docker rm")) == 1
    assert "registry: remove" in capsys.readouterr().out


def test_not_while_one_is_being_made(tmp_path: Path, looked_at: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import AbstractContextManager

    def soon(path: Path, task: str, _seconds: float) -> AbstractContextManager[Last]:
        return held(path, task, 0.05)

    monkeypatch.setattr("tasks.core.lock.held", soon)
    result = called(tmp_path, looked_at)
    with held(lock(result.state / "clusters"), "registry", shared=True), pytest.raises(Held):
        call(registry, result, purge=True, status=False)
    assert isinstance(looked_at.programs, FakePrograms)
    assert looked_at.programs.calls == []


def test_without_options_it_is_a_part_of_up(tmp_path: Path, looked_at: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[str] = []

    def run_part(_session: FakeSession, name: str, _plan: object, *, shared: bool) -> int:
        parts.append(name)
        return int(not shared)

    monkeypatch.setattr("tasks.registry.run_part", run_part)
    assert call(registry, called(tmp_path, looked_at), purge=False, status=False) == 0
    assert parts == ["registry"]


def numbers(requests: int, misses: int) -> str:
    blobs = {"Requests": requests, "Hits": requests, "Misses": misses, "BytesPulled": 1, "BytesPushed": 2}
    return json.dumps({"cmdline": ["registry"], "registry": {"proxy": {"blobs": blobs, "manifests": blobs}}})


@pytest.mark.parametrize(
    ("reported", "shown"),
    [
        (numbers(12, 3), "9 of 12"),
        (numbers(0, 0), "no requests yet"),
        (numbers(2, 3), "0 of 2"),  # one is on its way
        ("<html>", "unknown"),
        ("{}", "unknown"),
        (Answer(code=127), "unknown"),
    ],
)
def test_what_is_shown(
    tmp_path: Path, looked_at: Facts, capsys: pytest.CaptureFixture[str], reported: str | Answer, shown: str
) -> None:
    assert isinstance(looked_at.programs, FakePrograms)
    looked_at.programs.answers.update(
        {f"docker exec {GHCR} wget": reported, f"docker exec {PUSHED} du": "2048\t/var/lib/registry\n"}
    )
    assert call(registry, called(tmp_path, looked_at), purge=False, status=True) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("k3d-")}
    assert set(rows) == {PUSHED, GHCR}
    assert shown in rows[GHCR]
    assert "127.0.0.1:5052" in rows[GHCR]
    assert "unknown" in rows[GHCR]  # an image without `du`
    assert "no cache" in rows[PUSHED]
    assert "2 MB" in rows[PUSHED]


def test_stopped_ones_are_not_queried(tmp_path: Path, looked_at: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(looked_at.registries, dict)
    looked_at.registries.clear()
    looked_at.registries[GHCR] = there(GHCR, upstream="ghcr.io", state=ContainerState.STOPPED, networks=("k3d-a",))
    looked_at.registries["k3d-theirs"] = there("k3d-theirs", ours=False)
    call(registry, called(tmp_path, looked_at), purge=False, status=True)
    out = capsys.readouterr().out
    assert "stopped" in out
    assert out.count("unknown") == 2
    assert "k3d-theirs" not in out
    assert isinstance(looked_at.programs, FakePrograms)
    assert looked_at.programs.calls == []


def test_none_is_there(tmp_path: Path, looked_at: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(looked_at.registries, dict)
    looked_at.registries.clear()
    call(registry, called(tmp_path, looked_at), purge=False, status=True)
    assert capsys.readouterr().out == "There are no registries.\n"
