"""The cost of a launch on a machine (a time profile), and a plan of steps as activities.

A profile has CPU seconds, waiting seconds, and bytes, as recorded in real launches.

Steps that wait are no work of their own: they end with activities of the cluster, which start with the steps that
cause them. The names of those activities start with a `~`; the type of a step is its `work`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.units import MB
from tasks.engine import work
from tasks.engine.estimate import Activity, Resource, Stage
from tasks.engine.graph import remaining
from tasks.engine.step import Step

FOLDER = "config/rehearsal"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One kind of work: `cpu` CPU seconds on at most `width` cores, then `time` seconds of waiting."""

    cpu: float = 0.0
    time: float = 0.0
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The figures of one machine, in seconds unless stated otherwise."""

    recorded: Mapping[str, Any] = field(default_factory=dict)
    """Place and date, and the number of launches."""
    cores: float = 2.0
    """Cores of the recorded machine."""
    before: Cost = Cost()
    """From the process's start to the first step."""
    after: Cost = Cost()
    """From the last step's end to the process's."""
    image_mb: Mapping[str, float] = field(default_factory=dict)
    """Compressed size of images; `k3s`, `helper` and `workload` are the defaults for others."""
    pull_cpu: float = 0.02
    """CPU seconds for each MB that the engine, or a node, unpacks."""
    pull: Cost = Cost()
    """For each pull besides its bytes."""
    connections: float = 3.0
    """Connections of one pull."""
    connection_mb: float = 0.0
    """MB per second of one connection during the recording; 0: unlimited."""
    command: Cost = Cost()
    """A short command of docker."""
    kubectl: Cost = Cost(cpu=0.09, time=0.03)
    """A kubectl command that applies one object (in comparison modes: `up` calls none)."""
    registry: Cost = Cost()
    """From a registry's creation until it answers."""
    prepare: Cost = Cost()
    """From k3d's start until its first container can start; for each additional node: `prepare_node`."""
    prepare_node: Cost = Cost()
    boot: Cost = Cost()
    """From a server's start until its API answers."""
    settle: Cost = Cost()
    """From then until /readyz is 200."""
    kubelet: Cost = Cost()
    """From then until the server's node is ready."""
    controllers: Cost = Cost()
    """From then until the controllers work."""
    agent: Cost = Cost()
    """From an agent's start until its node is ready."""
    server: Cost = Cost()
    """A further server, from the start of the previous one."""
    balancer: Cost = Cost()
    """k3d's load balancer."""
    finish: Cost = Cost()
    """Work of k3d after all nodes are up."""
    apply: Cost = Cost()
    """One object."""
    install: Cost = Cost()
    """One release."""
    validate: Cost = Cost()
    """Additional cost when a chart is installed with its values for the first time."""
    chart: Cost = Cost()
    """A chart's download, and that of a repository's index."""
    pod: Cost = Cost()
    """From a pod's image on its node until the pod is ready; includes the application's start."""
    dns: Cost = Cost()
    """The same for the system's pods."""

    def size(self, image: str, kind: str) -> float:
        """Bytes of an image."""
        megabytes = self.image_mb.get(image, self.image_mb.get(kind, 25.0))
        return megabytes * MB


def load_profile(root: Path, name: str) -> Profile:
    """A profile by its name. Raises `BadInput` if it does not exist, or is invalid."""
    path = root / FOLDER / f"{name}.yaml"
    there = sorted(each.stem for each in (root / FOLDER).glob("*.yaml"))
    if name not in there:
        raise BadInput(
            f"there is no time profile '{name}'",
            why=f"profiles of recorded launches are in {FOLDER}",
            fix=f"use one of: {', '.join(there) or 'none'}",
        )
    found = documents(read_text(path, "a time profile"), str(path))
    value = found[0].value if found else {}
    known = {each.name: each for each in fields(Profile)}
    if not isinstance(value, dict) or not set(value) <= set(known):
        odd = ", ".join(sorted(set(value) - set(known))) if isinstance(value, dict) else "it is not a mapping"
        raise BadInput(f"{path} is not a time profile", why=odd, fix="record it again, or remove those names")
    figures: dict[str, Any] = {
        key: _cost(path, key, part) if known[key].type is Cost else part for key, part in value.items()
    }
    return Profile(**figures)


def _cost(path: Path, key: str, part: Any) -> Cost:  # noqa: ANN401 - what a file held
    names = {each.name for each in fields(Cost)}
    if not isinstance(part, dict) or not set(part) <= names or not all(_number(each) for each in part.values()):
        raise BadInput(f"{path}: {key} is not a cost", why="it has cpu, time and width, in seconds", fix="correct it")
    return Cost(**{name: float(value) for name, value in part.items()})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def dump_profile(profile: Profile) -> str:
    """A profile as stored in its file."""
    import yaml

    made: dict[str, Any] = {}
    for each in fields(Profile):
        value = getattr(profile, each.name)
        if isinstance(value, Cost):
            value = {part.name: round(getattr(value, part.name), 4) for part in fields(Cost)}
        made[each.name] = dict(value) if isinstance(value, Mapping) else round(value, 4)
    text: str = yaml.safe_dump(made, sort_keys=False, allow_unicode=True)
    return text


# -- a plan as activities ---------------------------------------------------------------------------------------

BEFORE, AFTER = "~before", "~after"
_ENDS = {
    work.Milestone.ANSWER: "~boot",
    work.Milestone.API: "~settle",
    work.Milestone.NODES: "~nodes",
    work.Milestone.SYSTEM: "~system",
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Inputs of a launch that are not in its plan."""

    servers: int = 1
    agents: int = 0
    balanced: bool = False
    images: Mapping[str | None, Sequence[str]] = field(default_factory=dict)
    """Images by release; those of the cluster's own services under None."""
    sizes: Mapping[str, float] = field(default_factory=dict)
    """Bytes of images, if known; the profile has defaults for others."""
    twice: bool = False
    """Whether a pull through a cache is downloaded twice."""
    direct: frozenset[str] = frozenset()
    """Images of the host without a cache."""
    cached: bool = True
    """Whether the caches have the images for nodes and engine."""
    validated: frozenset[str] = frozenset()
    """Releases whose charts were validated before."""


def activities(steps: Sequence[Step], scene: Scene, profile: Profile) -> list[Activity]:
    """All activities of a launch. Without guards: they last as long as their targets; their pulls belong to nodes."""
    acting = [step for step in steps if not step.until]
    guards = {step.name for step in steps if step.until}
    rank = remaining(acting, {})
    ahead = frozenset(step.work.release for step in steps if isinstance(step.work, work.PullAhead))
    builder = _Builder(acting, scene, profile, ahead)
    found = [_activity((BEFORE,), BEFORE, profile.before, label="looking around")]
    for step in acting:
        needs = tuple(need for need in step.needs if need not in guards) or (BEFORE,)
        found.append(builder.step(step, needs, rank[step.name]))
    found += builder.hidden()
    last = tuple(each.name for each in found if each.name != BEFORE)
    found.append(_activity(last, AFTER, profile.after))
    names = {each.name for each in found}
    return [
        replace(each, needs=tuple(need for need in dict.fromkeys(each.needs) if need in names and need != each.name))
        for each in found
    ]


def times(steps: Sequence[Step], spans: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Start and end of each step that runs: in the model a wait has no duration of its own."""
    return {step.name: _span(step, spans) for step in steps if step.name in spans and step.skip is None}


def _span(step: Step, spans: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """A wait starts with its own needs."""
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


def _activity(needs: tuple[str, ...], name: str, cost: Cost, label: str = "") -> Activity:
    return Activity(name=name, needs=() if name == BEFORE else needs, stages=_stages(cost), label=label)


class _Builder:
    def __init__(self, steps: Sequence[Step], scene: Scene, profile: Profile, ahead: frozenset[str | None]) -> None:
        self._scene, self._profile, self._ahead = scene, profile, ahead
        self._steps = steps
        self._fetches = {step.work.release: step for step in steps if isinstance(step.work, work.FetchImages)}

    def step(self, step: Step, needs: tuple[str, ...], rank: float) -> Activity:
        """A step of the plan as an activity in its pool."""
        if step.skip is not None:
            return Activity(name=step.name, needs=needs, label=step.name)
        return Activity(
            name=step.name,
            needs=(*needs, *self._ends(step)),
            stages=self._stages(step),
            rank=rank,
            pool="waits" if step.wait else "work",
            kind=step.kind,
            label=step.name,
        )

    def _ends(self, step: Step) -> tuple[str, ...]:
        """The activities that a wait ends with."""
        match step.work:
            case work.CreateCluster():
                return ("~finish",)
            case work.AwaitCluster(milestone=milestone):
                return (_ENDS[milestone],)
            case work.AwaitRelease(release=release):
                return (f"~pods of {release}",)
            case _:
                return ()

    def _stages(self, step: Step) -> tuple[Stage, ...]:
        """A step's own work."""
        profile = self._profile
        match step.work:
            case work.PullImage(image=image, node=node):
                return self._pull(image, "k3s" if node else "helper")
            case work.FetchImages(release=release):
                return tuple(self._line(image, "workload") for image in self._images(release))
            case work.FindImages():
                return _stages(replace(profile.install, cpu=profile.install.cpu / 4, time=0.0))
            case work.StartRegistry():
                return _stages(profile.registry)
            case work.RunCommand():
                return _stages(profile.command)
            case work.ApplyObjects(objects=objects):
                return _stages(profile.apply, objects)
            case work.InstallRelease(release=release):
                first = () if release in self._scene.validated else _stages(profile.validate)
                return (*_stages(profile.install), *first)
            case work.FetchChart() | work.UpdateRepositories():
                return _stages(profile.chart)
            case work.RunOwn() | work.BuildImage() | work.PushImage():
                return (Stage(Resource.TIME, step.expected or 1.0),)
            case _:
                return ()

    def _images(self, release: str | None) -> Sequence[str]:
        return self._scene.images.get(release, ("workload",))

    def _pull(self, image: str, kind: str, *, near: bool = False) -> tuple[Stage, ...]:
        """A pull by an engine or a node. `near`: a cache has it."""
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
        """Work of the cluster while steps wait for it."""
        create = next((step for step in self._steps if isinstance(step.work, work.CreateCluster)), None)
        if create is None or create.skip is not None:
            for name in ("~boot", "~settle", "~controllers", "~nodes", "~finish"):
                yield Activity(name=name)
        else:
            yield from self._cluster(create.needs or (BEFORE,))
        yield from self._pods(None, ("~nodes",), self._profile.dns, "~system")
        for step in self._steps:
            if isinstance(step.work, work.AwaitRelease):
                release = step.work.release
                yield from self._pods(release, (*step.needs, "~nodes"), self._profile.pod, f"~pods of {release}")

    def _cluster(self, needs: tuple[str, ...]) -> Iterator[Activity]:
        """Activities of a cluster that is created."""
        profile, scene = self._profile, self._scene
        prepare = _stages(profile.prepare) + _stages(profile.prepare_node, scene.servers + scene.agents)
        yield Activity(name="~prepare", needs=needs, stages=prepare, label="k3d prepares the nodes")
        yield _activity(("~prepare",), "~boot", profile.boot, "k3s starts")
        yield _activity(("~boot",), "~settle", profile.settle, "its API gets ready")
        yield _activity(("~settle",), "~controllers", profile.controllers, "its controllers begin")
        yield _activity(("~settle",), "~kubelet", profile.kubelet, "its kubelet begins")
        up = "~settle"
        for number in range(1, scene.servers):
            yield _activity((up,), f"~server {number}", profile.server, f"server {number} joins")
            up = f"~server {number}"
        nodes = [
            _activity((up,), f"~agent {number}", profile.agent, f"agent {number} joins")
            for number in range(scene.agents)
        ]
        yield from nodes
        ready = tuple(each.name for each in nodes)
        all_ready = ("~controllers", "~kubelet", up, *ready)
        yield Activity(name="~nodes", needs=all_ready, label="all nodes are ready")
        before = ready or (up,)
        if scene.balanced:
            yield _activity(before, "~balancer", profile.balancer, "the load balancer starts")
            before = ("~balancer",)
        yield _activity(before, "~finish", profile.finish, "k3d ends")

    def _pods(self, release: str | None, needs: tuple[str, ...], cost: Cost, name: str) -> Iterator[Activity]:
        """One pod for each image, concurrently. Those of the system are one, as in the profile."""
        images = ("workload",) if release is None else self._images(release)
        what = "the system" if release is None else release
        label = "system services start" if release is None else f"pods of {release} start"
        fetch = self._fetches.get(release)
        fetched = fetch is not None and fetch.skip is None
        if fetch is not None and fetched:  # a node that needs it earlier gets it at about that time, too
            needs = (*needs, fetch.name)
        known = ("~settle", *((fetch.name,) if fetch is not None else ()))
        for number, image in enumerate(images):
            stages, pod = self._pull(image, "workload", near=fetched), f"{name}, {number}"
            if release in self._ahead:  # starts when the API is ready; a node that needs it earlier waits for it, too
                pull = f"~pull ahead of {pod.removeprefix('~')}"
                yield Activity(name=pull, needs=known, stages=stages, label=f"images of {what} are pulled ahead")
                yield Activity(name=pod, needs=(*needs, pull), stages=_stages(cost), label=label)
            else:
                yield Activity(name=pod, needs=needs, stages=(*stages, *_stages(cost)), label=label)
        yield Activity(name=name, needs=tuple(f"{name}, {number}" for number in range(len(images))) or needs)
