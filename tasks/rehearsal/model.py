"""A plan of steps as activities of a machine: what each step, and what the cluster does meanwhile, will cost.

Steps that wait are no work of their own: they end with activities of the cluster, which begin with the steps that cause
them. The names of those activities begin with a `~`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.engine.graph import remaining
from tasks.engine.step import Step
from tasks.rehearsal.profile import Cost, Profile
from tasks.rehearsal.simulate import Activity, Resource, Stage
from tasks.settings.step_names import FETCH_IMAGES, FIND_IMAGES, PULL_AHEAD, SYSTEM

_RELEASE = re.compile(r"^helm: (?:install )?(.+?)(?: ready)?$")
BEFORE, AFTER = "~before", "~after"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What of a launch is not in its plan."""

    servers: int = 1
    agents: int = 0
    balanced: bool = False
    objects: Mapping[str, int] = field(default_factory=dict)
    """By step how many objects it applies."""
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By release (as its steps name it) its images; of the system under `the system`."""
    sizes: Mapping[str, float] = field(default_factory=dict)
    """Bytes of images, where that is known; of others the profile tells."""
    twice: bool = False
    """Whether what comes through a cache crosses the line twice."""
    direct: frozenset[str] = frozenset()
    """Images of the host that come through no cache."""
    cached: bool = True
    """Whether the caches have what nodes and engine ask for."""
    validated: frozenset[str] = frozenset()
    """Releases whose charts were validated before."""


def activities(steps: Sequence[Step], scene: Scene, profile: Profile) -> list[Activity]:
    """All of a launch. Guards are left out: they last as long as what they guard; what they pull is the nodes' work."""
    acting = [step for step in steps if not step.until]
    guards = {step.name for step in steps if step.until}
    rank = remaining(acting, {})
    ahead = frozenset(step.name.removeprefix(PULL_AHEAD) for step in steps if step.name.startswith(PULL_AHEAD))
    builder = _Builder(acting, scene, profile, ahead)
    found = [_activity((BEFORE,), BEFORE, profile.before)]
    for step in acting:
        needs = tuple(need for need in step.needs if need not in guards) or (BEFORE,)
        found.append(builder.step(step, needs, rank[step.name]))
    found += builder.hidden()
    last = tuple(each.name for each in found if each.name != BEFORE)
    found.append(_activity(last, AFTER, profile.after))
    names = {each.name for each in found}
    return [
        Activity(
            name=each.name,
            needs=tuple(need for need in dict.fromkeys(each.needs) if need in names and need != each.name),
            stages=each.stages,
            rank=each.rank,
            pool=each.pool,
            kind=each.kind,
        )
        for each in found
    ]


def times(steps: Sequence[Step], spans: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Begin and end of each step that runs: in the model a wait has no length of its own."""
    return {step.name: _span(step, spans) for step in steps if step.name in spans and step.skip is None}


def _span(step: Step, spans: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """A wait begins with its own needs."""
    begin, end = spans[step.name]
    if step.wait:
        begin = max((spans[need][1] for need in step.needs if need in spans), default=spans[BEFORE][1])
    return min(begin, end), end


def _stages(cost: Cost, count: float = 1.0) -> tuple[Stage, ...]:
    found = []
    if cost.cpu * count > 0:
        found.append(Stage(Resource.CPU, cost.cpu * count, cost.width))
    if cost.time * count > 0:
        found.append(Stage(Resource.TIME, cost.time * count))
    return tuple(found)


def _activity(needs: tuple[str, ...], name: str, cost: Cost, count: float = 1.0) -> Activity:
    return Activity(name=name, needs=() if name == BEFORE else needs, stages=_stages(cost, count))


class _Builder:
    def __init__(self, steps: Sequence[Step], scene: Scene, profile: Profile, ahead: frozenset[str]) -> None:
        self._scene, self._profile, self._ahead = scene, profile, ahead
        self._names = {step.name for step in steps}
        self._steps = {step.name: step for step in steps}

    def step(self, step: Step, needs: tuple[str, ...], rank: float) -> Activity:
        """A step of the plan as an activity in its pool."""
        if step.skip is not None:
            return Activity(name=step.name, needs=needs)
        ends, stages = self._ends(step), self._work(step)
        pool = "waits" if step.wait else "work"
        return Activity(name=step.name, needs=(*needs, *ends), stages=stages, rank=rank, pool=pool, kind=step.kind)

    def _ends(self, step: Step) -> tuple[str, ...]:
        """What a wait ends with."""
        name = step.name
        if name == "cluster: create":
            return ("~finish",)
        if name == "cluster: first answer":
            return ("~boot",)
        if name == "cluster: API ready":
            return ("~settle",)
        if name == "health: nodes are ready":
            return ("~nodes",)
        if name == "health: system services":
            return ("~system",)
        if name.startswith("helm: ") and name.endswith(" ready"):
            return (f"~pods of {_release(name)}",)
        return ()

    def _work(self, step: Step) -> tuple[Stage, ...]:
        """What a step does itself."""
        profile, name = self._profile, step.name
        if name.startswith("prepull: "):
            return self._pull(name.removeprefix("prepull: "), "k3s" if "k3s" in name else "helper")
        if name.startswith(FETCH_IMAGES):
            what = name.removeprefix(FETCH_IMAGES)
            images = self._scene.images.get(what, ("workload",))
            return tuple(self._line(image, "workload") for image in images)
        if name.startswith(FIND_IMAGES):
            return _stages(replace(profile.install, cpu=profile.install.cpu / 4, time=0.0))
        if name.startswith("registry: "):
            return _stages(profile.registry)
        if name in ("cluster: read its kubeconfig", "cluster: record it as complete") or "limits of" in name:
            return _stages(profile.command)
        if name in self._scene.objects:
            return _stages(profile.apply, self._scene.objects[name])
        if name.startswith("helm: install "):
            first = () if _release(name) in self._scene.validated else _stages(profile.validate)
            return (*_stages(profile.install), *first)
        if name.startswith("kubectl: "):
            return _stages(profile.kubectl)
        if name.startswith(("helm: fetch ", "helm: update")):
            return _stages(profile.chart)
        return ()

    def _pull(self, image: str, kind: str, *, near: bool = False) -> tuple[Stage, ...]:
        """Of an engine or a node. `near`: a cache has it."""
        size = self._size(image, kind)
        unpack = Stage(Resource.CPU, size / 1e6 * self._profile.pull_cpu, 2.0)
        line = () if self._scene.cached or near else (self._line(image, kind),)
        return (*line, unpack, *_stages(self._profile.pull))

    def _line(self, image: str, kind: str) -> Stage:
        times = 2 if self._scene.twice and image not in self._scene.direct else 1
        return Stage(Resource.LINE, self._size(image, kind) * times, self._profile.connections * times)

    def _size(self, image: str, kind: str) -> float:
        known = self._scene.sizes.get(image)
        return self._profile.size(image, kind) if known is None else known

    def hidden(self) -> Iterator[Activity]:
        """What the cluster does while steps wait for it."""
        profile, scene = self._profile, self._scene
        create = self._steps.get("cluster: create")
        running = create is None or create.skip is not None
        if running:
            for name in ("~boot", "~settle", "~controllers", "~nodes", "~finish"):
                yield Activity(name=name)
        else:
            assert create is not None
            needs = create.needs or (BEFORE,)
            prepare = _stages(profile.prepare) + _stages(profile.prepare_node, scene.servers + scene.agents)
            yield Activity(name="~prepare", needs=needs, stages=prepare)
            yield _activity(("~prepare",), "~boot", profile.boot)
            yield _activity(("~boot",), "~settle", profile.settle)
            yield _activity(("~settle",), "~controllers", profile.controllers)
            yield _activity(("~settle",), "~kubelet", profile.kubelet)
            up = "~settle"
            for number in range(1, scene.servers):
                yield _activity((up,), f"~server {number}", profile.server)
                up = f"~server {number}"
            nodes = [_activity((up,), f"~agent {number}", profile.agent) for number in range(scene.agents)]
            yield from nodes
            ready = tuple(each.name for each in nodes)
            yield Activity(name="~nodes", needs=("~controllers", "~kubelet", up, *ready))
            before = ready or (up,)
            if scene.balanced:
                yield _activity(before, "~balancer", profile.balancer)
                before = ("~balancer",)
            yield _activity(before, "~finish", profile.finish)
        yield from self._pods(SYSTEM, ("~nodes",), profile.dns, "~system")
        for name, step in self._steps.items():
            if name.startswith("helm: ") and name.endswith(" ready"):
                release = _release(name)
                yield from self._pods(release, (*step.needs, "~nodes"), profile.pod, f"~pods of {release}")

    def _pods(self, what: str, needs: tuple[str, ...], cost: Cost, name: str) -> Iterator[Activity]:
        """One pod for each image; they come side by side. Those of the system are one, as the profile has them."""
        images = ("workload",) if what == SYSTEM else self._scene.images.get(what, ("workload",))
        fetch = self._steps.get(f"{FETCH_IMAGES}{what}")
        fetched = fetch is not None and fetch.skip is None
        if fetch is not None and fetched:  # a node that asks before its end gets it at about that time, too
            needs = (*needs, fetch.name)
        known = ("~settle", *((fetch.name,) if fetch is not None else ()))
        for number, image in enumerate(images):
            stages, pod = self._pull(image, "workload", near=fetched), f"{name}, {number}"
            if what in self._ahead:  # from when the API is ready; a node that asks before its end waits for it, too
                pull = f"~pull ahead of {pod.removeprefix('~')}"
                yield Activity(name=pull, needs=known, stages=stages)
                yield Activity(name=pod, needs=(*needs, pull), stages=_stages(cost))
            else:
                yield Activity(name=pod, needs=needs, stages=(*stages, *_stages(cost)))
        yield Activity(name=name, needs=tuple(f"{name}, {number}" for number in range(len(images))) or needs)


def _release(step: str) -> str:
    match = _RELEASE.match(step)
    return match[1] if match else step
