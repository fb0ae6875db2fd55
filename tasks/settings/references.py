"""What `needs` and `before` may name: tasks, releases, builds, manifests and steps; and the rings that would be made.

A name stands for one thing, `release:api`, or alone where nothing else is called so. A task stands for all that it
does. The graph here is that of a launch, in so far as settings can tell: a ring is found before anything starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, NamedTuple

from tasks.settings.builds import wanted as builds
from tasks.settings.origin import Finding, nearest
from tasks.settings.releases import named as named_releases
from tasks.settings.releases import wanted
from tasks.settings.step_names import PARTS

if TYPE_CHECKING:
    from tasks.settings.schema import Release, Settings
    from tasks.settings.schema_parts import OwnStep

TASK, RELEASE, BUILD, MANIFESTS, STEP = "task", "release", "build", "manifests", "step"


class Target(NamedTuple):
    """What a reference means."""

    kind: str
    name: str
    """Of a release: `namespace/name`; of manifests: their path as configured."""

    def __str__(self) -> str:
        return self.name if self.kind == TASK else f"{self.kind}:{self.name}"


CLUSTER = Target(TASK, "cluster")
_TASKS = tuple(part for part in PARTS if part not in ("steps", "build"))
"""Those that can be named: the others are the user's own steps and builds, each with a name."""
_BEFORE_CLUSTER = frozenset({"prepull", "registry", "cluster"})
_ORDER: Mapping[str, tuple[str, ...]] = {
    "cluster": ("prepull", "registry"),
    "namespaces": ("cluster",),
    "secrets": ("namespaces",),
    "manifests": ("namespaces",),
    "helm": ("secrets", "manifests"),
    "health": ("cluster",),
}
"""What each task needs of others by itself. Helm needs the base resources alone, not the user's own manifests."""


def spellings(settings: Settings) -> dict[str, list[Target]]:
    """Everything that can be named, by each way to write it."""
    found: dict[str, list[Target]] = {}

    def add(kind: str, name: str, *names: str) -> None:
        for text in dict.fromkeys(names or (name,)):
            for spelling in (text, f"{kind}:{text}"):
                found.setdefault(spelling, []).append(Target(kind, name))

    for name in _TASKS:
        add(TASK, name)
    for release in wanted(settings):
        full = f"{release.namespace}/{release.name}"
        add(RELEASE, full, release.name, full)
    for build in builds(settings):
        add(BUILD, build.name)
    for file in settings.manifests.files:
        add(MANIFESTS, file.path)
    for step in own_steps(settings):
        add(STEP, step.name)
    return found


def own_steps(settings: Settings) -> list[OwnStep]:
    """The enabled steps, as they are configured."""
    return [step for step in settings.steps if step.enabled]


class References(NamedTuple):
    """What steps need, and what must wait for them, by the step's name. Names that mean nothing are left out."""

    needs: dict[str, list[Target]]
    before: dict[str, list[Target]]


def references(settings: Settings) -> References:
    """Of all enabled steps: one that says nothing needs the cluster, but for what comes before that.

    What a step comes before needs it, too, where it is another step.
    """
    known = spellings(settings)
    steps = own_steps(settings)
    before = {step.name: [each for name in step.before for each in known.get(name, ())] for step in steps}
    needs: dict[str, list[Target]] = {}
    for step in steps:
        if step.needs is not None:
            needs[step.name] = [each for name in step.needs for each in known.get(name, ())]
        else:
            early = step.when == "down" or any(map(is_early, before[step.name]))
            needs[step.name] = [] if early else [CLUSTER]
    for name, targets in before.items():
        for target in targets:
            if target.kind == STEP:
                needs[target.name].append(Target(STEP, name))
    return References(needs, before)


def is_early(target: Target) -> bool:
    """Whether it comes before the cluster, or beside its start."""
    return target.kind == BUILD or target.name in _BEFORE_CLUSTER


def findings(settings: Settings) -> Iterator[Finding]:
    """References that mean nothing, or several things, and rings."""
    known, off, first, faults = spellings(settings), _disabled(settings), dict[str, int](), False
    whens = {Target(STEP, each.name): each.when for each in own_steps(settings)}
    for number, step in enumerate(settings.steps):
        if not step.enabled:
            continue
        path = ("steps", number)
        if step.name in first:
            why = "a step is found by its name"
            yield Finding(path=(*path, "name"), text=f"is '{step.name}' again", why=why, fix="rename one of them")
        first.setdefault(step.name, number)
        for field, name in [
            *(("needs", each) for each in step.needs or ()),
            *(("before", each) for each in step.before),
        ]:
            if (fault := _fault(name, known, step, whens, off)) is not None:
                faults = True
                yield Finding(path=(*path, field), text=f"names '{name}'", why=fault[0], fix=fault[1])
    if not faults:
        yield from _ring(settings, first)


def _disabled(settings: Settings) -> frozenset[str]:
    off = [("step", each.name) for each in settings.steps if not each.enabled]
    off += [("build", each.name) for each in settings.builds if not each.enabled]
    off += [("release", each.name) for each in settings.helm.releases if not each.enabled]
    return frozenset(text for kind, name in off for text in (name, f"{kind}:{name}"))


def _fault(
    name: str, known: Mapping[str, Sequence[Target]], own: OwnStep, whens: Mapping[Target, str], off: frozenset[str]
) -> tuple[str, str] | None:
    """Why a reference cannot be used, and what to do."""
    meant = known.get(name, ())
    if len(meant) > 1:
        return f"{len(meant)} things have that name", f"write {' or '.join(map(str, meant))}"
    if not meant and name in off:
        return "that is not enabled", "enable it, or take the name out"
    if not meant:
        kind, colon, _ = name.partition(":")
        alike = [each for each in known if each.startswith(f"{kind}:")] if colon else []
        near = nearest(name, alike) or nearest(name, known)
        things = ", ".join(dict.fromkeys(str(target) for targets in known.values() for target in targets))
        return f"nothing has that name; there are {things}", f"did you mean {near}?" if near else ""
    target = meant[0]
    if target == Target(STEP, own.name):
        return "that is the step itself", "take the name out"
    if own.when == "down" and whens.get(target) != "down":
        return "a step with `when: down` comes when all else is done", "name only such steps, or take it out"
    if own.when == "up" and whens.get(target) == "down":
        return f"{target} runs at `invoke down`, and this one at `up`", "take the name out"
    return None


def _ring(settings: Settings, numbers: Mapping[str, int]) -> Iterator[Finding]:
    try:
        TopologicalSorter(graph(settings)).prepare()
    except CycleError as error:
        ring: list[Target] = list(reversed(error.args[1]))
        number = next((numbers[each.name] for each in ring if each.kind == STEP), None)
        if number is None:  # told as one of the releases
            return
        field = "needs" if settings.steps[number].needs is not None else "before"
        why = f"in a ring each waits for the next: {' → '.join(map(str, ring))}"
        yield Finding(path=("steps", number, field), text="cannot be met", why=why, fix="take one of these names out")


def graph(settings: Settings) -> dict[Target, set[Target]]:
    """What each thing of a launch needs. A task is a thing beside those that it is made of, which need what it does."""
    releases = wanted(settings)
    found = {Target(TASK, name): {Target(TASK, each) for each in _ORDER.get(name, ())} for name in _TASKS}
    for release in releases:
        needed = {_of(each) for need in release.needs for each in named_releases(need, releases)}
        found[_of(release)] = found[Target(TASK, "helm")] | needed
    for file in settings.manifests.files:
        needed = {_of(each) for need in file.needs for each in named_releases(need, releases)}
        found[Target(MANIFESTS, file.path)] = found[Target(TASK, "manifests")] | needed
    for build in builds(settings):
        found[Target(BUILD, build.name)] = {Target(TASK, "registry")}
    found[Target(TASK, "health")] |= {each for each in found if each.kind in (RELEASE, MANIFESTS)}
    needs, before = references(settings)
    for name, targets in needs.items():
        found.setdefault(Target(STEP, name), set()).update(part for each in targets for part in _whole(each, found))
    for name, waiting in before.items():
        for each in waiting:
            for part in _whole(each, found):
                found.setdefault(part, set()).add(Target(STEP, name))
    return found


def _whole(target: Target, found: Mapping[Target, object]) -> list[Target]:
    """With what a task is made of."""
    parts = {"helm": RELEASE, "manifests": MANIFESTS}
    kind = parts.get(target.name) if target.kind == TASK else None
    return [target, *(each for each in found if each.kind == kind)]


def _of(release: Release) -> Target:
    return Target(RELEASE, f"{release.namespace}/{release.name}")
