"""Which programs are fetched for whom, and what a bundle places."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.clients.bundle import Bundle
from tasks.core.errors import BadInput, LaunchError
from tasks.core.paths import ClusterPaths
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, Result, State, Step
from tasks.facts.backend import BACKENDS
from tasks.facts.programs import Versions
from tasks.host import programs as fetching
from tasks.host.download import Fetch
from tasks.host.programs import fetch_plan
from tasks.process.programs import Programs
from tasks.rehearsal.backend import Rehearsed
from tasks.rehearsal.folder import Folder
from tasks.run import tools as command
from tasks.run.session import Session
from tasks.run.task import Options
from tasks.run.tools import tools
from tasks.settings.schema import Settings
from tests import given
from tests.facts.test_programs import PINS
from tests.host.server import release, serving
from tests.programs import context

GOOD = Versions(k3d="v5.9.0", kubectl="v1.32.4", helm="v4.1.4")
ALL = ("k3d", "kubectl", "helm")


class Machine:
    """A project's folder, a PATH, and what the programs on them tell."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "project"
        (self.root / "config").mkdir(parents=True)
        (self.root / "config" / "pins.yaml").write_text(PINS)
        self.path = folder / "usr-bin"
        self.path.mkdir()
        self.told = GOOD
        self.asked = 0
        monkeypatch.setattr("tasks.facts.programs.versions", self._versions)
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname="Linux", machine="x86_64"))

    def _versions(self, programs: Programs, state: Path) -> Versions:
        assert programs.folder == self.root / ".tools" / "bin"
        assert state == self.root / "state"
        self.asked += 1
        return self.told

    def has(self, *names: str, ours: bool = False) -> None:
        folder = self.root / ".tools" / "bin" if ours else self.path
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).touch(0o755)

    def session(self, engine: str = "k3d", **tools: str) -> Session:
        environ = {"PATH": str(self.path)}
        settings = Settings.model_validate({"tools": tools})
        return cast(
            Session,
            SimpleNamespace(
                options=Options(task="up", engine=engine),
                backend=BACKENDS[engine]() if engine in BACKENDS else Rehearsed(Folder(self.path)),
                root=self.root,
                state=self.root / "state",
                environ=environ,
                settings=settings,
                programs=lambda: Programs(folder=self.root / ".tools" / "bin", env=environ),
            ),
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def fetched(steps: Sequence[Step]) -> list[str]:
    return [step.name.removeprefix("tools: ") for step in steps if step.skip is None]


def test_where_nothing_is_missing_nothing_is_fetched(machine: Machine) -> None:
    machine.has(*ALL)
    steps = fetch_plan(machine.session())
    assert [step.name for step in steps] == ["tools: k3d", "tools: kubectl", "tools: helm"]
    assert steps[1].skip == f"v1.32.4 is there: {machine.path / 'kubectl'}"
    assert fetched(steps) == []
    (machine.path / "helm").chmod(0o644)
    assert fetched(fetch_plan(machine.session())) == ["helm"]


def test_what_is_missing_is_fetched_in_the_pinned_version(machine: Machine) -> None:
    assert (fetched(fetch_plan(machine.session())), machine.asked) == (list(ALL), 0)
    machine.has("kubectl")
    steps = fetch_plan(machine.session())
    assert fetched(steps) == ["k3d", "helm"]
    action = steps[2].action
    assert isinstance(action, Fetch)
    assert action.asset.url == "https://get.helm.sh/helm-v4.1.4-linux-amd64.tar.gz"
    assert action.folder == machine.root / ".tools" / "bin"
    assert (steps[2].deadline, steps[2].retry.attempts) == (900.0, 4)
    assert steps[2].why == "neither in the project's folder nor on the PATH"


def test_a_backend_names_the_programs_that_it_needs(machine: Machine) -> None:
    machine.has("helm")
    steps = fetch_plan(machine.session("existing"))
    assert [step.name for step in steps] == ["tools: kubectl", "tools: helm"]
    assert fetched(steps) == ["kubectl"]
    (machine.root / "config" / "pins.yaml").unlink()
    assert fetch_plan(machine.session("rehearsal")) == []
    with pytest.raises(BadInput, match="cannot be read"):
        fetch_plan(machine.session())


def test_what_is_too_old_or_broken_is_passed_over(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has(*ALL)
    (machine.path / "kubectl").write_text("#!/bin/sh\necho no such library >&2; exit 127\n")
    machine.told = Versions(k3d="v5.6.3", kubectl=None, helm="v3.13.0")
    steps = fetch_plan(machine.session())
    assert fetched(steps) == ["k3d", "kubectl"]
    assert "v5.6.3, and at least v5.7.0 is needed" in steps[0].why
    assert "/kubectl does not report its version (no such library), so it is considered broken" in steps[1].why

    def refused(_fetch: Fetch, _context: Context) -> Report:
        raise LaunchError("the connection failed", why="Connection refused")

    monkeypatch.setattr(Fetch, "_fetch", refused)
    with pytest.raises(LaunchError, match="the connection failed") as caught:
        steps[1].action(context())
    assert caught.value.why.startswith("Connection refused; it is downloaded for this reason: ")
    assert "no such library" in caught.value.why


def test_the_projects_own_programs_follow_the_pins(machine: Machine) -> None:
    machine.has("k3d", "helm", ours=True)
    machine.has(*ALL)
    machine.told = Versions(k3d="v5.8.3", kubectl="v1.30.0", helm="v4.1.4")
    steps = fetch_plan(machine.session())
    assert fetched(steps) == ["k3d"]
    assert "the project's folder has v5.8.3" in steps[0].why


def test_a_machine_that_nothing_is_published_for_is_refused_only_where_something_is_missing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname="Linux", machine="riscv64"))
    machine.has(*ALL)
    assert fetched(fetch_plan(machine.session())) == []
    (machine.path / "helm").unlink()
    with pytest.raises(LaunchError, match="Linux on riscv64"):
        fetch_plan(machine.session())


def test_a_mirror_without_encryption_is_told(machine: Machine) -> None:
    steps = fetch_plan(machine.session(helm_url="http://mirror"))
    assert "unencrypted http" in steps[2].why
    assert "unencrypted http" not in steps[0].why


@pytest.mark.skipif(platform.system() != "Linux", reason="the files are named for Linux")
def test_a_run_puts_all_three_in_place_and_the_next_plan_finds_them(machine: Machine) -> None:
    with serving() as server:
        for name, version in zip(ALL, ("v5.9.0", "v1.33.13", "v4.1.4"), strict=True):
            release(server, name, version, f"#!/bin/sh\necho {name}\n".encode())
        steps = fetch_plan(machine.session(**{f"{name}_url": server.url for name in ALL}))
        results = Run(steps, Bounds(work=fetching.AT_ONCE)).execute()
    assert [result.state for result in results] == [State.RAN] * 3, [result.why for result in results]
    machine.told = Versions(k3d="v5.9.0", kubectl="v1.33.13", helm="v4.1.4")
    again = fetch_plan(machine.session())
    assert fetched(again) == []
    assert again[2].skip == f"v4.1.4 is there: {machine.root / '.tools' / 'bin' / 'helm'}"


def test_make_tools_runs_the_plan_and_writes_no_latest_record(machine: Machine) -> None:
    machine.has(*ALL)
    session = machine.session()
    seen: list[tuple[list[str], int, dict[str, Any]]] = []

    def run(steps: Sequence[Step], bounds: Bounds, **more: Any) -> list[Result]:
        seen.append(([step.name for step in steps], bounds.work, more))
        return []

    opened: list[bool] = []
    session.run = run  # type: ignore[method-assign]
    session.open_logs = lambda: opened.append(True)  # type: ignore[method-assign]
    assert tools(session) == 0
    assert opened == [True]
    assert seen == [(["tools: k3d", "tools: kubectl", "tools: helm"], 3, {"acts": False})]


def test_the_command_takes_settings_as_tasks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Options, object]] = []

    def run_task(options: Options, body: object) -> int:
        seen.append((options, body))
        return 2

    monkeypatch.setattr(command, "run_task", run_task)
    assert command.main(["--profile", "ci", "--set", "tools.helm_url=http://m", "--set", "silent=true"]) == 2
    options = Options(task="tools", profile="ci", sets=("tools.helm_url=http://m", "silent=true"))
    assert seen == [(options, tools)]


@dataclass
class Fake:
    """A bundle for a machine of another target: its programs stay where they are."""

    platform: str = "linux/amd64"
    path: Path = Path("saved.tar")
    lock: Any = field(init=False)

    def __post_init__(self) -> None:
        charts = {"abc": SimpleNamespace(file="app-1.0.0.tgz", digest="sha256:1")}
        self.lock = SimpleNamespace(
            platform=self.platform, target="plan9/mips", charts=charts, releases={"key": ("nginx:1",)}, programs={}
        )

    def pieces(self, _digest: str) -> Iterator[bytes]:
        yield from (b"ch", b"art")


def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Fake) -> ClusterPaths:
    monkeypatch.setattr(fetching, "engine", lambda _: SimpleNamespace(platform="linux/amd64"))
    session = given.session(tmp_path)
    fetching.place_files(session, cast("Bundle", bundle), session.paths)
    return session.paths


def test_charts_and_image_names_are_where_a_launch_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = place(tmp_path, monkeypatch, Fake())
    assert (paths.cache / "charts" / "abc" / "app-1.0.0.tgz").read_bytes() == b"chart"
    assert (paths.images / "key").read_text() == '["nginx:1"]'
    assert not (tmp_path / ".tools" / "bin").exists()


def test_a_bundle_of_another_platform_places_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="linux/arm64"):
        place(tmp_path, monkeypatch, Fake(platform="linux/arm64"))
    assert not list(tmp_path.rglob("app-1.0.0.tgz"))
