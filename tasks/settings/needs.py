"""What `needs` and `before` may name: tasks, releases, builds, manifests and steps; cycles among them, and
the order of releases.

A reference is `release:api`, or the name alone if it is unique. A task stands for everything that it
does. The graph here is that of a launch, as far as settings determine it: a cycle is found before anything starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import BadInput
from tasks.core.redact import login_of, without_logins
from tasks.settings.derived import PARTS, enabled_builds
from tasks.settings.origin import Finding, nearest

if TYPE_CHECKING:
    from tasks.settings.schema import Release, Settings
    from tasks.settings.schema_parts import OwnStep


_OCI = re.compile(r"oci://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?/\S+")
INGRESS = "ingress-nginx"


def enabled_releases(settings: Settings) -> list[Release]:
    """The enabled releases as configured, and the ingress controller's, unless one with its chart is configured.

    A configured, disabled one counts, too: the user has decided.
    """
    found = [release for release in settings.helm.releases if release.enabled]
    charts = {release.chart.rstrip("/").rpartition("/")[2] for release in settings.helm.releases}
    if settings.ingress.controller == INGRESS and INGRESS not in charts:
        found.append(settings.ingress.release())
    return found


def ordered(found: Sequence[Release]) -> tuple[Release, ...]:
    """Each after its needs, else as configured. Every need is among them, and there is no cycle.

    A need is written as the name alone if that is unique, else as namespace/name.
    """
    numbers = {_id(release): number for number, release in enumerate(found)}
    sorter = TopologicalSorter({_id(release): _needed(release.needs, found) for release in found})
    sorter.prepare()
    order: list[Release] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=numbers.__getitem__)
        order += [found[numbers[each]] for each in ready]
        sorter.done(*ready)
    return tuple(_with_plain_needs(release, found) for release in order)


def named_releases(need: str, found: Sequence[Release]) -> list[Release]:
    """The releases that a need may refer to: by name, or by namespace/name."""
    return [release for release in found if need in (release.name, _id(release))]


def release_findings(settings: Settings) -> Iterator[Finding]:
    """Faults of the enabled releases; disabled ones are not checked."""
    found = enabled_releases(settings)
    first: dict[str, int] = {}
    for number, release in enumerate(settings.helm.releases):
        if not release.enabled:
            continue
        path = ("helm", "releases", number)
        if _id(release) in first:
            why = f"another release of that name goes to namespace '{release.namespace}'"
            yield Finding(path=(*path, "name"), text=f"is '{release.name}'", why=why, fix="rename one, or disable it")
        first.setdefault(_id(release), number)
        yield from _of_chart(settings, release, (*path, "chart"))
        others = [each for each in found if each is not release]
        yield from _of_needs(settings, release.needs, found, others, (*path, "needs"))
    for number, file in enumerate(settings.manifests.files):
        yield from _of_needs(settings, file.needs, found, found, ("manifests", "files", number, "needs"))
    yield from _of_ingress(settings, found, first)
    yield from _release_ring(settings, found)


def _of_chart(settings: Settings, release: Release, path: tuple[str | int, ...]) -> Iterator[Finding]:
    chart = release.chart
    if "://" in chart and login_of(chart.partition("://")[2]):
        why = "it contains a login, which Helm does not support in the name of a chart: it would look for that host"
        fix = "remove it: use `helm registry login` for registries, helm.repositories those of repositories"
        yield Finding(path=path, text=f"is '{without_logins(chart)}'", why=why, fix=fix)
        return
    if chart.startswith(("./", "../", "/")) or _OCI.fullmatch(chart):
        return
    repository, slash, name = chart.partition("/")
    if not slash or not name or "/" in name or ":" in chart:
        why = "a chart is repository/chart, oci://registry/chart, or a path that starts with ./ or /"
        yield Finding(path=path, text=f"is '{chart}'", why=why)
    elif repository not in settings.helm.repositories:
        meant = nearest(repository, settings.helm.repositories)
        there = ", ".join(settings.helm.repositories) or "none"
        fix = f"did you mean {meant}/{name}?" if meant else f"add helm.repositories.{repository}; a folder is ./{chart}"
        why = f"no repository is named '{repository}'; there are: {there}"
        yield Finding(path=path, text=f"is '{chart}'", why=why, fix=fix)


def _of_needs(
    settings: Settings,
    needs: Sequence[str],
    found: Sequence[Release],
    others: Sequence[Release],
    path: tuple[str | int, ...],
) -> Iterator[Finding]:
    for need in needs:
        meant = named_releases(need, found)
        if len(meant) == 1:
            continue
        text = f"names '{need}'"
        if meant:
            full = " or ".join(_id(each) for each in meant)
            yield Finding(path=path, text=text, why=f"{len(meant)} releases have that name", fix=f"write {full}")
        elif any(need in (each.name, _id(each)) for each in settings.helm.releases):
            why = "that release is not enabled, so it would never be ready"
            yield Finding(path=path, text=text, why=why, fix="enable it, or remove it from `needs`")
        else:
            names = [each.name for each in others]
            near = nearest(need, names)
            own = need.removeprefix("step:")
            if any(own == each.name for each in settings.steps):
                why = "releases and manifests can need only releases; that is a step of yours"
                yield Finding(
                    path=path, text=text, why=why, fix=f"name this release, or its file, in steps.{own}.before"
                )
                continue
            why = f"no release has that name; there are: {', '.join(names) or 'no others'}"
            yield Finding(path=path, text=text, why=why, fix=f"did you mean {near}?" if near else "")


def _of_ingress(settings: Settings, found: Sequence[Release], first: dict[str, int]) -> Iterator[Finding]:
    """The release that `ingress.controller` adds has no place of its own in the settings."""
    added = [release for release in found if not any(release is each for each in settings.helm.releases)]
    for release in added:
        path = ("ingress", "controller")
        if _id(release) in first:
            why = f"it adds a release {_id(release)}, and one of that name has another chart"
            yield Finding(path=path, text=f"is '{INGRESS}'", why=why, fix="rename that release")
        for each in _of_chart(settings, release, path):
            yield Finding(path=path, text=f"is '{INGRESS}'", why=each.why, fix=f"add helm.repositories.{INGRESS}")


def _release_ring(settings: Settings, found: Sequence[Release]) -> Iterator[Finding]:
    needs = {_id(release): _needed(release.needs, found) for release in found}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        number = next((n for n, each in enumerate(settings.helm.releases) if each.enabled and _id(each) == names[0]), 0)
        ring = " → ".join(each.partition("/")[2] for each in reversed(names))
        why = f"the releases need each other in a cycle: {ring}"
        yield Finding(path=("helm", "releases", number, "needs"), text="cannot be met", why=why, fix="remove one")


def _needed(needs: Sequence[str], found: Sequence[Release]) -> list[str]:
    """Ids of the releases that these needs may refer to."""
    return [_id(each) for need in needs for each in named_releases(need, found)]


def _id(release: Release) -> str:
    return f"{release.namespace}/{release.name}"


def _with_plain_needs(release: Release, found: Sequence[Release]) -> Release:
    names = [each.name for each in found]
    needs = []
    for need in release.needs:
        (meant,) = named_releases(need, found)
        needs.append(meant.name if names.count(meant.name) == 1 else _id(meant))
    plain = tuple(dict.fromkeys(needs))
    return release if plain == release.needs else release.model_copy(update={"needs": plain})


TASK, RELEASE, BUILD, MANIFESTS, STEP = "task", "release", "build", "manifests", "step"


class Target(NamedTuple):
    """The target of a reference."""

    kind: str
    name: str
    """For a release `namespace/name`; for manifests their path as configured."""

    def __str__(self) -> str:
        return self.name if self.kind == TASK else f"{self.kind}:{self.name}"


CLUSTER = Target(TASK, "cluster")
_TASKS = tuple(part for part in PARTS if part not in ("steps", "build"))
"""Tasks that can be referenced: the other targets are own steps and builds, each with a name."""
_BEFORE_CLUSTER = frozenset({"prepull", "registry", "cluster"})
_ORDER: Mapping[str, tuple[str, ...]] = {
    "cluster": ("prepull", "registry"),
    "namespaces": ("cluster",),
    "secrets": ("namespaces",),
    "manifests": ("namespaces",),
    "helm": ("secrets", "manifests"),
    "health": ("cluster",),
}
"""Needs among tasks. Helm needs only the base resources, not the user's own manifests."""
_PLACEHOLDER = re.compile(r"(\$?)\$\{((?:image|repository|tag):(?!\d+\})(\w[\w.-]*|))\}")  # no `${tag:-x}`, `${tag:7}`


def spellings(settings: Settings) -> dict[str, list[Target]]:
    """All targets, by each way to write them."""
    found: dict[str, list[Target]] = {}

    def add(kind: str, name: str, *names: str) -> None:
        for text in dict.fromkeys(names or (name,)):
            for spelling in (text, f"{kind}:{text}"):
                found.setdefault(spelling, []).append(Target(kind, name))

    for name in _TASKS:
        add(TASK, name)
    for release in enabled_releases(settings):
        add(RELEASE, _id(release), release.name, _id(release))
    for build in enabled_builds(settings):
        add(BUILD, build.name)
    for file in settings.manifests.files:
        add(MANIFESTS, file.path)
    for step in own_steps(settings):
        add(STEP, step.name)
    return found


def own_steps(settings: Settings) -> list[OwnStep]:
    """The enabled steps, as configured."""
    return [step for step in settings.steps if step.enabled]


class References(NamedTuple):
    """Needs and dependents of steps, by the step's name. Invalid names are left out."""

    needs: dict[str, list[Target]]
    before: dict[str, list[Target]]


def references(settings: Settings) -> References:
    """For all enabled steps: one without `needs` needs the cluster, unless it comes before that.

    If a step is `before` another step, that one needs it, too.
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
    """Whether it comes before the cluster, or at its start."""
    return target.kind == BUILD or target.name in _BEFORE_CLUSTER


def findings(settings: Settings) -> Iterator[Finding]:
    """Unknown or ambiguous references, and cycles."""
    known, off, first, faults = spellings(settings), _disabled(settings), dict[str, int](), False
    whens = {Target(STEP, each.name): each.when for each in own_steps(settings)}
    for number, step in enumerate(settings.steps):
        if not step.enabled:
            continue
        path = ("steps", number)
        if step.name in first:
            why = "a step is identified by its name"
            yield Finding(path=(*path, "name"), text=f"is '{step.name}' again", why=why, fix="rename one of them")
        first.setdefault(step.name, number)
        for field, name in [
            *(("needs", each) for each in step.needs or ()),
            *(("before", each) for each in step.before),
        ]:
            if (fault := _fault(name, known, step, whens, off)) is not None:
                faults = True
                yield Finding(path=(*path, field), text=f"names '{name}'", why=fault[0], fix=fault[1])
    yield from _images(settings)
    if not faults:
        yield from _ring(settings, first)


def _images(settings: Settings) -> Iterator[Finding]:
    """Images of builds in places where they are not filled in."""
    names = {build.name for build in enabled_builds(settings)}
    texts: list[tuple[tuple[str | int, ...], str, str]] = [
        (("builds", number, "args", name), text, "build both from one Dockerfile: a stage for each, and `target`")
        for number, build in enumerate(settings.builds)
        for name, text in (build.args.items() if build.enabled else ())
    ]
    fix = "pass it by `env`, and use that variable in a shell's command"
    for number, step in enumerate(settings.steps):
        words = (*step.command, *(step.unless or ())) if step.enabled else ()
        texts += [(("steps", number, "command"), text, fix) for text in words]
    why = "values, manifests and `env` of steps get the image of a build; arguments of builds and commands do not"
    for path, text, way in texts:
        if (match := _PLACEHOLDER.search(text)) is not None and not match[1] and match[3] in names:
            yield Finding(path=path, text=f"names {match[0]}", why=why, fix=way)


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
        return "that is not enabled", "enable it, or remove the name"
    if not meant:
        kind, colon, _ = name.partition(":")
        alike = [each for each in known if each.startswith(f"{kind}:")] if colon else []
        near = nearest(name, alike) or nearest(name, known)
        things = ", ".join(dict.fromkeys(str(target) for targets in known.values() for target in targets))
        return f"nothing has that name; there are {things}", f"did you mean {near}?" if near else ""
    target = meant[0]
    if target == Target(STEP, own.name):
        return "that is the step itself", "remove the name"
    if own.when == "down" and whens.get(target) != "down":
        return "a step with `when: down` comes when all else is done", "use only such steps, or remove it"
    if own.when == "up" and whens.get(target) == "down":
        return f"{target} runs at `invoke down`, and this one at `up`", "remove the name"
    return None


def _ring(settings: Settings, numbers: Mapping[str, int]) -> Iterator[Finding]:
    try:
        TopologicalSorter(graph(settings)).prepare()
    except CycleError as error:
        ring: list[Target] = list(reversed(error.args[1]))
        number = next((numbers[each.name] for each in ring if each.kind == STEP), None)
        if number is None:  # reported for the releases
            return
        field = "needs" if settings.steps[number].needs is not None else "before"
        why = f"in a cycle each waits for the next: {' → '.join(map(str, ring))}"
        yield Finding(path=("steps", number, field), text="cannot be met", why=why, fix="remove one of these names")


def graph(settings: Settings) -> dict[Target, set[Target]]:
    """The needs of each target of a launch. A task is a target besides its parts, which need what it needs."""
    releases = enabled_releases(settings)
    found = {Target(TASK, name): {Target(TASK, each) for each in _ORDER.get(name, ())} for name in _TASKS}
    for release in releases:
        needed = {Target(RELEASE, each) for each in _needed(release.needs, releases)}
        found[Target(RELEASE, _id(release))] = found[Target(TASK, "helm")] | needed
    for file in settings.manifests.files:
        needed = {Target(RELEASE, each) for each in _needed(file.needs, releases)}
        found[Target(MANIFESTS, file.path)] = found[Target(TASK, "manifests")] | needed
    for build in enabled_builds(settings):
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
    """Including the parts of a task."""
    parts = {"helm": RELEASE, "manifests": MANIFESTS}
    kind = parts.get(target.name) if target.kind == TASK else None
    return [target, *(each for each in found if each.kind == kind)]


def refuse_unknown(settings: Settings, value: Any, where: str) -> None:  # noqa: ANN401 - any JSON value
    """Raises `BadInput` for a placeholder of an unknown build."""
    names = [build.name for build in enabled_builds(settings)]
    for match in _PLACEHOLDER.finditer(json.dumps(value, ensure_ascii=False)):
        if match[1] or match[3] in names:
            continue
        near = nearest(match[3], names)
        off = any(build.name == match[3] for build in settings.builds)
        raise BadInput(
            f"{where}: ${{{match[2]}}} is not a build",
            why="that build is not enabled" if off else f"there are: {', '.join(names) or 'none'} (settings: builds)",
            fix=f"did you mean {near}?" if near else "correct it, or add that build",
        )
