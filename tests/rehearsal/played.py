"""A rehearsal inside this process: tasks run as a user calls them, and every program call is recorded."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tasks.process.command import Command, Completed
from tasks.process.programs import Programs
from tasks.rehearsal.folder import ENGINE, Folder
from tasks.rehearsal.what_if import WhatIf
from tasks.run.task import Options, run_task
from tests.given import call

QUIET: tuple[str, ...] = ("pool.concurrency=4", "cluster.agents=1")
RELEASES = (
    'helm.repositories={"shop": "https://charts.example.org"}',
    "helm.releases="
    + json.dumps(
        [
            {"name": "web", "namespace": "platform", "chart": "shop/web", "version": "1.2.3"},
            {"name": "db", "namespace": "client-tools", "chart": "shop/db", "version": "2.0.0", "needs": ["web"]},
        ]
    ),
)


def objects(folder: Path, cluster: str) -> dict[str, list[str]]:
    """By kind the places of all objects of a rehearsed cluster."""
    found: dict[str, list[str]] = {}
    with closing(sqlite3.connect(Folder(folder).cluster(cluster))) as database:
        for kind, namespace, name in database.execute("SELECT bucket, namespace, name FROM object"):
            found.setdefault(kind, []).append(f"{namespace}/{name}")
    return {kind: sorted(places) for kind, places in found.items()}


@dataclass(kw_only=True)
class Played:
    """The folders of a user who rehearses, and what was called."""

    folder: Path
    commands: list[Command] = field(default_factory=list)
    ended: list[tuple[str, Completed]] = field(default_factory=list)
    """Successful calls, each with its step."""

    @property
    def place(self) -> Path:
        return self.folder / "logs" / "rehearsal"

    def run(self, task: str = "rehearse", *sets: str, fault: tuple[str, ...] = (), scale: str = "0", **own: Any) -> int:
        """Its exit code. Times are scaled to nothing, those of `rehearse` by `scale`. `own`: the task's own options."""
        options = Options(task=task, engine="rehearsal", sets=(*QUIET, *RELEASES, *sets))
        own |= {"time_scale": scale, "fault": [*fault]} if task == "rehearse" else {}
        module = import_module(f"tasks.{task}")
        return run_task(options, lambda session: call(getattr(module, task), session, **own))

    def record(self) -> dict[str, Any]:
        """Of the last run."""
        found: dict[str, Any] = json.loads((self.folder / "logs" / "latest.json").read_text())
        return found

    def states(self) -> dict[str, str]:
        return {step["name"]: step["state"] for step in self.record()["steps"]}

    def state(self) -> dict[str, Any]:
        """What the engine has."""
        found: dict[str, Any] = json.loads((self.place / "state" / ENGINE).read_text())
        return found

    def objects(self, cluster: str = "openframe-dev") -> dict[str, list[str]]:
        """By kind the places of all objects."""
        return objects(self.place, cluster)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A user without Docker."""
    result = Played(folder=tmp_path)
    for name, value in {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "user"),
        "DEPLOY_LOG_DIR": str(tmp_path / "logs"),
        "XDG_STATE_HOME": str(tmp_path / "user" / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "user" / "cache"),
        "KUBECONFIG": str(tmp_path / "user" / "kubeconfig"),
        "GITHUB_TOKEN_CLASSIC": "ghp_canary0123456789",
        "DOCKER_HOST": "tcp://192.0.2.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in (
        "NAMESPACES",
        "K3S_IMAGE",
        "K3D_IMAGE_TOOLS",
        "K3D_IMAGE_LOADBALANCER",
        "CLUSTER_NAME",
        "GITHUB_ACTIONS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tasks.core.redact._values", ())
    monkeypatch.setattr("tasks.rehearsal.backend.WhatIf", partial(WhatIf, scale=0.0))
    monkeypatch.setattr("tasks.engine.step.Retry.pause", lambda *_: 0.1)
    real = Programs.run

    def kept(self: Programs, command: Command, *args: Any, **more: Any) -> Any:
        result.commands.append(replace(command))
        done = real(self, command, *args, **more)
        context = args[0] if args else more.get("context")
        result.ended.append((context.step if context is not None else "before", done))
        return done

    monkeypatch.setattr(Programs, "run", kept)
    return result
