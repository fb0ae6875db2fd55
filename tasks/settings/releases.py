"""The Helm releases that are wanted, in an order that their needs allow, and what forbids one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from tasks.core.redact import login_of, without_logins
from tasks.settings.origin import Finding, nearest

if TYPE_CHECKING:
    from tasks.settings.schema import Release, Settings

_OCI = re.compile(r"oci://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?/\S+")
INGRESS = "ingress-nginx"


def wanted(settings: Settings) -> list[Release]:
    """The enabled releases as they are configured, and the ingress controller's, unless one of its chart is configured.

    One that is configured and not enabled counts too: the user has decided.
    """
    found = [release for release in settings.helm.releases if release.enabled]
    charts = {release.chart.rstrip("/").rpartition("/")[2] for release in settings.helm.releases}
    if settings.ingress.controller == INGRESS and INGRESS not in charts:
        found.append(settings.ingress.release())
    return found


def ordered(found: Sequence[Release]) -> tuple[Release, ...]:
    """Each after what it needs, else as configured. Every need is one of them, and there is no ring.

    A need is written as the name alone where that says which is meant, else as namespace/name.
    """
    numbers = {_id(release): number for number, release in enumerate(found)}
    graph = {_id(release): {_id(each) for need in release.needs for each in named(need, found)} for release in found}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[Release] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=numbers.__getitem__)
        order += [found[numbers[each]] for each in ready]
        sorter.done(*ready)
    return tuple(_with_plain_needs(release, found) for release in order)


def named(need: str, found: Sequence[Release]) -> list[Release]:
    """The releases that a need may mean: by their name, or by namespace/name."""
    return [release for release in found if need in (release.name, _id(release))]


def findings(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the releases that are wanted; with those that are not, nothing can be."""
    found = wanted(settings)
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
    yield from _ring(settings, found)


def _of_chart(settings: Settings, release: Release, path: tuple[str | int, ...]) -> Iterator[Finding]:
    chart = release.chart
    if "://" in chart and login_of(chart.partition("://")[2]):
        why = "it holds a login, and Helm reads none in the name of a chart: it would be looked for under that host"
        fix = "take it out: `helm registry login` keeps logins of registries, helm.repositories those of repositories"
        yield Finding(path=path, text=f"is '{without_logins(chart)}'", why=why, fix=fix)
        return
    if chart.startswith(("./", "../", "/")) or _OCI.fullmatch(chart):
        return
    repository, slash, name = chart.partition("/")
    if not slash or not name or "/" in name or ":" in chart:
        why = "a chart is repository/chart, oci://registry/chart, or a path that begins with ./ or /"
        yield Finding(path=path, text=f"is '{chart}'", why=why)
    elif repository not in settings.helm.repositories:
        meant = nearest(repository, settings.helm.repositories)
        there = ", ".join(settings.helm.repositories) or "none"
        fix = f"did you mean {meant}/{name}?" if meant else f"add helm.repositories.{repository}, or correct it"
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
        meant = named(need, found)
        if len(meant) == 1:
            continue
        text = f"names '{need}'"
        if meant:
            full = " or ".join(_id(each) for each in meant)
            yield Finding(path=path, text=text, why=f"{len(meant)} releases have that name", fix=f"write {full}")
        elif any(need in (each.name, _id(each)) for each in settings.helm.releases):
            why = "that release is not enabled, so it would never be ready"
            yield Finding(path=path, text=text, why=why, fix="enable it, or take it out of `needs`")
        else:
            names = [each.name for each in others]
            near = nearest(need, names)
            own = need.removeprefix("step:")
            if any(own == each.name for each in settings.steps):
                why = "releases and manifests need releases; that is a step of yours"
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


def _ring(settings: Settings, found: Sequence[Release]) -> Iterator[Finding]:
    graph = {_id(release): [_id(each) for need in release.needs for each in named(need, found)] for release in found}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        number = next((n for n, each in enumerate(settings.helm.releases) if each.enabled and _id(each) == names[0]), 0)
        ring = " → ".join(each.partition("/")[2] for each in reversed(names))
        why = f"the releases need each other in a ring: {ring}"
        yield Finding(path=("helm", "releases", number, "needs"), text="cannot be met", why=why, fix="take one out")


def _id(release: Release) -> str:
    return f"{release.namespace}/{release.name}"


def _with_plain_needs(release: Release, found: Sequence[Release]) -> Release:
    names = [each.name for each in found]
    needs = []
    for need in release.needs:
        (meant,) = named(need, found)
        needs.append(meant.name if names.count(meant.name) == 1 else _id(meant))
    plain = tuple(dict.fromkeys(needs))
    return release if plain == release.needs else release.model_copy(update={"needs": plain})
