"""The comparison modes on the embedded engine: their commands as a plan, so that the model tells what each takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.benchmark.commands import Act, Stage
from tasks.engine.step import Bounds, Context, Step
from tasks.engine.work import (
    AwaitRelease,
    CreateCluster,
    InstallRelease,
    PullImage,
    RunCommand,
    StartRegistry,
    UpdateRepositories,
    Work,
)
from tasks.rehearsal.staging import scene
from tasks.settings.step_names import install_name, ready_name, release_name

if TYPE_CHECKING:
    from tasks.benchmark.variants import Place
    from tasks.facts.facts import Facts
    from tasks.rehearsal.model import Scene

_ENDLESS = Bounds(work=1000, waits=1000)
"""Scripts hold nothing back: what goes together is a matter of their stages."""


def stage(place: Place, facts: Facts, planned: Sequence[Stage], *, together: bool) -> None:
    """Tell the stand-ins how long these commands will take."""
    assert place.session.rehearsal is not None
    plan = steps(planned, facts, together=together)
    what_if = place.session.rehearsal.what_if
    place.session.rehearsal.stage(plan, facts, _ENDLESS, circumstances(scene(plan, facts, what_if), planned))


def circumstances(seen: Scene, planned: Sequence[Stage]) -> Scene:
    """k3d's own load balancer, and every chart checked by the API's description, as Helm does it by default."""
    creates = [act.command.argv for each in planned for act in each.acts if act.command.argv[0] == "k3d"]
    return replace(seen, balanced=any("--no-lb" not in argv for argv in creates), validated=frozenset())


def steps(planned: Sequence[Stage], facts: Facts, *, together: bool) -> list[Step]:
    """A step for each command, and one for each wait that a command holds; each after the one before, or its stage."""
    found: list[Step] = []
    before: tuple[str, ...] = ()
    for each in planned:
        ends: list[str] = []
        for act in each.acts:
            needs = before
            for name, work, wait in _named(act, facts):
                found.append(Step(name=name, task="bench", action=_never, needs=needs, wait=wait, work=work))
                needs = (name,)
            ends += needs
            if not together:
                before = needs
        if together:
            before = tuple(ends)
    return found


def _named(act: Act, facts: Facts) -> Iterator[tuple[str, Work, bool]]:
    """The steps of the graph that do the same: by their work the model knows what they cost."""
    argv = act.command.argv
    match argv[:3]:
        case ("docker", "pull", image):
            yield f"prepull: {image}", PullImage(image=image, node=image == facts.shape.image), False
        case ("docker", *_):
            yield f"registry: {act.name}", StartRegistry(registry=act.name), False
        case ("k3d", *_):
            yield "cluster: create", CreateCluster(), True
        case ("helm", "upgrade", _):
            for release in facts.releases:
                if (release.name, release.namespace) == (argv[3], argv[6]):
                    yield install_name(release), InstallRelease(release=release_name(release)), False
                    if release.wait:
                        yield ready_name(release), AwaitRelease(release=release_name(release)), True
        case ("helm", *_):
            yield f"helm: update: {act.name}", UpdateRepositories(), False
        case _:
            yield f"kubectl: {act.name}", RunCommand(program="kubectl"), False


def _never(_: Context) -> None:
    raise AssertionError("a plan that is only counted")
