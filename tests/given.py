"""What tests of plans start from: settings, a cluster, the facts or a session, each from what differs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from invoke.tasks import Task

from tasks import cluster, up
from tasks.clients import docker
from tasks.core.paths import ClusterPaths
from tasks.engine.graph import check, fitted
from tasks.engine.step import Report, Step
from tasks.facts.backend import BACKENDS
from tasks.facts.cluster import ClusterState, ContainerState, Node, Presence
from tasks.facts.facts import Facts, Live, Ports, Shape
from tasks.facts.network import network
from tasks.k3d.ports import Choosers
from tasks.k3d.registries_yaml import nodes_file
from tasks.process.programs import Programs
from tasks.run.session import Session
from tasks.run.task import Options
from tasks.settings.derived import host_images, k3s_image, registries_in_use
from tasks.settings.rules import releases
from tasks.settings.schema import Settings
from tests.programs import Answer, FakePrograms, context

ROOT = Path(__file__).parents[1]
"""The project: its `files/` and `config/` are inputs of plans."""
K3D = "v5.9.0"


def settings(**sections: Any) -> Settings:
    """The defaults with other values: `settings(cluster={"agents": 2})`."""
    return Settings.model_validate(sections)


def node(name: str, **changes: Any) -> Node:
    """A container of a cluster, by the last part of its name: `node("server-0")`."""
    cluster = changes.pop("cluster", "openframe-dev")
    role = name.split("-", maxsplit=1)[0].replace("serverlb", "loadbalancer")
    labels = {docker.CLUSTER_LABEL: cluster, "k3d.role": role}
    if role in ("server", "agent"):
        labels[docker.OURS] = cluster
    given: dict[str, Any] = {
        "id": f"id-of-{name}",
        "name": f"k3d-{cluster}-{name}",
        "role": role,
        "state": ContainerState.RUNNING if changes.pop("running", True) else ContainerState.STOPPED,
        "exit_code": 0,
        "nano_cpus": 0,
        "memory": 0,
        "published": ((6443, "127.0.0.1", 6550),) if name == "server-0" else (),
        "labels": {**labels, **changes.pop("labels", {})},
    }
    return Node(**{**given, **changes})


def cluster_state(presence: Presence, *nodes: Node, name: str = "openframe-dev") -> ClusterState:
    """A cluster; unless nodes are given, one of a server and an agent."""
    if not nodes and presence is not Presence.ABSENT:
        up = presence is not Presence.STOPPED
        nodes = tuple(node(each, cluster=name, running=up) for each in ("server-0", "agent-0"))
    return ClusterState(name=name, presence=presence, nodes=nodes)


def live(**changes: Any) -> Live:
    """What is in a cluster in which nothing has been put yet."""
    return Live(**{"objects": {}, "releases": {}, **changes})


def facts(folder: Path, programs: Programs | None = None, **changes: Any) -> Facts:
    """Facts with private folders in `folder`, and programs that all succeed without output.

    `settings`, `presence`, `cluster` or `engine` (a backend's name) decide what follows from them, unless that is given
    too.
    """
    backend = changes.pop("backend", None) or BACKENDS[changes.pop("engine", "k3d")]()
    chosen: Settings = changes.pop("settings", None) or Settings()
    presence: Presence = changes.pop("presence", Presence.ABSENT)
    if programs is None:
        programs = FakePrograms(otherwise=Answer())
    agents = 1 if chosen.cluster.agents is None else chosen.cluster.agents
    given: dict[str, Any] = {
        "settings": chosen,
        "root": ROOT,
        "backend": backend,
        "environ": {"HOME": str(folder)},
        "programs": programs,
        "k3d_programs": programs,
        "helm_programs": programs,
        "paths": ClusterPaths(state=folder / "clusters" / chosen.cluster.name, cache=folder / "cache"),
        "cluster": cluster_state(presence, name=chosen.cluster.name),
        "shape": Shape(
            image=k3s_image(chosen),
            agents=agents,
            concurrency=4,
            registries=registries_in_use(chosen),
            registries_yaml=nodes_file(chosen, ROOT, chosen.registries.port),
            network=network(chosen, {}, folder),
        ),
        "ports": Ports(http=80, https=443, api=6550),
        "images": dict.fromkeys(host_images(chosen, {}, K3D), False),
        "releases": releases(chosen),
        "environment": "me.dev",
        "live": live() if presence is Presence.RUNNING else None,
    }
    return Facts(**{**given, **changes})


@dataclass(kw_only=True)
class FakeSession(Session):
    """A call of a task with programs that were given."""

    fake: Programs

    def programs(self) -> Programs:
        return self.fake


def session(folder: Path, programs: Programs | None = None, **changes: Any) -> FakeSession:
    """A call whose state, logs and home are in `folder`.

    Of `changes`, `settings`, `environ`, `root` and `above` (paths set above the defaults) are the session's own;
    the rest are options (`task`, `engine`, `context`, …).
    """
    chosen: Settings = changes.pop("settings", None) or Settings()
    chosen = chosen.model_copy(update={"log_dir": str(folder / "openframe-logs")})
    above: Iterable[str] = changes.pop("above", ())
    environ: Mapping[str, str] = changes.pop("environ", {})
    places = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    return FakeSession(
        root=changes.pop("root", ROOT),
        environ={**places, **environ},
        resolved=cast(
            "Any",
            SimpleNamespace(settings=chosen, settings_hash="0" * 16, above_default=frozenset(above).__contains__),
        ),
        started=datetime.now(UTC),
        now=time.monotonic(),
        fake=FakePrograms(otherwise=Answer()) if programs is None else programs,
        options=Options(**{"task": "up", **changes}),
    )


def act(step: Step, **changes: Any) -> Report:
    """Let a step act once."""
    assert step.skip is None, f"{step.name} is skipped: {step.skip}"
    return step.action(context(step.name, **changes)) or Report()


def call(task: Task[Any], session: Session, **options: Any) -> int:
    """Run a task's own function, with its options' defaults; its exit code."""
    return int(cast("Any", task.body).__wrapped__(session, **options) or 0)


def launch(facts: Facts, parts: Sequence[str], choosers: Choosers) -> list[Step]:
    """The plan of `up`, `cluster`, or of a single task; ("cluster",): of a cluster that the same call has started."""
    if "helm" in parts and len(parts) > 1:
        return up.steps(facts, choosers)
    if "cluster" in parts:
        return cluster.steps(facts, choosers, started="prepull" not in parts)
    (part,) = parts
    module = import_module(f"tasks.{part}")
    return fitted(getattr(module, "single_steps", module.steps)(facts))


def by_name(steps: Sequence[Step]) -> dict[str, Step]:
    """Steps by name, of a plan that can run."""
    check(steps)
    return {step.name: step for step in steps}


def above(steps: Sequence[Step], name: str) -> frozenset[str]:
    """All that must have ended well before this step starts: its needs, and theirs."""
    plan = by_name(steps)
    found: set[str] = set()
    new = set(plan[name].needs)
    while new:
        found |= new
        new = {need for each in new for need in plan[each].needs} - found
    return frozenset(found)
