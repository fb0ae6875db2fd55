"""What users see and scripts read, held to the byte: plans, help texts, settings, exit codes.

A difference that is meant is written with `UPDATE_GOLDEN=1 make test ARGS=tests/contract`, and its diff is reviewed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.collection import collection
from tasks.core.errors import LaunchError
from tasks.plan import plan
from tasks.settings.schema import Settings
from tests import given
from tests.given import call
from tests.given_engine import SMALL, Machine
from tests.given_live import FakeApi, node
from tests.programs import Answer

ns = collection()

GOLDEN = Path(__file__).parent / "golden"
WEB = {"name": "web", "namespace": "platform", "chart": "shop/web", "version": "1.2.3"}
DB = {"name": "db", "namespace": "client-tools", "chart": "oci://registry.example.org/charts/db", "version": "2.0.0"}
SHOP = {"shop": "https://charts.example.org"}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "default": {key: Settings.model_fields[key].get_default(call_default_factory=True) for key in SMALL},
    "small": {},
    "releases": {"helm": {"repositories": SHOP, "releases": [WEB, {**DB, "needs": ["web"]}]}},
    "three-servers": {"cluster": {"servers": 3, "agents": 1}},
    "policies": {"manifests": {}, "namespaces": ["platform", "client-tools"]},
    "registries": {"registries": {"push": True, "caches": [{"upstream": "docker.io"}, {"upstream": "ghcr.io"}]}},
}
STATES: Mapping[str, Callable[[Machine], None]] = {
    "absent": lambda _: None,
    "running": lambda machine: machine.make(),
    "stopped": lambda machine: machine.make(running=False),
    "drifted": lambda machine: machine.make(settings=given.settings(**SMALL, cluster={"image": "rancher/k3s:older"})),
}
CODES = {
    "BadInput": "what was given is wrong",
    "ClusterAbsent": "no cluster",
    "ClusterStopped": "it is stopped",
    "Drifted": "it differs",
    "NoEngine": "no engine",
    "Interrupted": "ended by a signal",
}


def held(name: str, text: str) -> None:
    """Compare with the golden file, or write it. Raises AssertionError."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{name} differs; UPDATE_GOLDEN=1 writes it"


def planned(machine: Machine, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    capsys.readouterr()
    assert call(plan, machine.session("plan", **options), format="json") == 0
    return capsys.readouterr().out.replace(str(machine.folder), "<folder>")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("settings", SETTINGS)
def test_plan(
    settings: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, monkeypatch, **SETTINGS[settings])
    STATES[state](machine)
    held(f"plan/{settings}-{state}.json", planned(machine, capsys))


@pytest.mark.parametrize("settings", SETTINGS)
def test_plan_on_an_existing_cluster(
    settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, monkeypatch, **SETTINGS[settings])
    machine.api = FakeApi(node("a"), node("b"))
    machine.fails["kubectl config view"] = Answer(out="apiVersion: v1\nkind: Config\ncurrent-context: team\n")
    held(f"plan/{settings}-existing.json", planned(machine, capsys, engine="existing", context="team"))


@pytest.mark.whole
@pytest.mark.parametrize("task", sorted(ns.tasks))
def test_help(task: str) -> None:
    """By a process of its own: invoke shows the help of an option only once in each."""
    command = [sys.executable, "-m", "invoke", "--help", task]
    done = subprocess.run(command, cwd=given.ROOT, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    held(f"help/{task}.txt", done.stdout)


def test_settings_schema() -> None:
    held("config.json", json.dumps(Settings().model_dump(mode="json"), indent=1, sort_keys=True) + "\n")


def test_exit_codes() -> None:
    found = {
        each.__name__: each.status for each in LaunchError.__subclasses__() if each.__module__.startswith("tasks.")
    }
    assert found.keys() >= CODES.keys()
    held("exit-codes.json", json.dumps({name: found[name] for name in sorted(CODES)}, indent=1) + "\n")
