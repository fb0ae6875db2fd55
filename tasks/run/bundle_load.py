"""Loads a bundle's images into the engine and the caches; checks what the bundle lacks."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tasks.clients import docker
from tasks.clients.bundle import Bundle
from tasks.clients.bundle_archives import engine_archive, registry_archive
from tasks.core.errors import BadInput, LaunchError
from tasks.core.imageref import images_of, parse
from tasks.core.units import count, megabytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report, Step
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.kube.objects import digest
from tasks.run import images, registries
from tasks.run.charts import Chart, chart_of
from tasks.run.desired import contents
from tasks.run.releases import rendered
from tasks.settings.derived import PULL, cache_container, cache_name, pull_name, release_name
from tasks.settings.schema import Release

TASK = "bundle"


class Lacking(LaunchError):
    """A bundle does not contain what the settings need."""

    status = BadInput.status


def opened(path: Path) -> Bundle:
    """Open a bundle and verify its content. Raises `BadInput`."""
    found = Bundle(path)
    try:
        found.verify()
    except BaseException:
        found.close()
        raise
    return found


def refuse_lacking(facts: Facts, *, charts: bool = True) -> None:
    """Before anything starts: raises `Lacking` with everything that is needed and is in neither bundle nor machine.

    `charts`: whether releases are checked, too.
    """
    bundle = facts.bundle
    assert bundle is not None
    lock, lacks = bundle.lock, []
    needed = {image for image, there in facts.images.items() if not there}
    lacks += [f"the image {name}" for name in needed if name not in lock.images or not lock.images[name].engine]
    nodes: dict[str, str] = {}
    if charts:
        key = digest(images.system_key(facts))
        if key not in lock.releases:
            lacks.append(f"the system images of {facts.shape.image}")
        nodes |= dict.fromkeys(lock.releases.get(key, ()), "the system")
        nodes |= dict.fromkeys(images_of(contents(facts, ("manifests",))), "your manifests")
        for release in facts.releases:
            chart = chart_of(facts, release)
            missing = [
                each.display
                for each in (chart.dependencies if chart.source is not None else (chart,))
                if each.path is None and each.cached(facts) is None
            ]
            lacks += [f"the chart {name}" for name in missing]
            names = None if missing else _images_of(facts, lock.releases, release, chart)
            if names is not None:
                nodes |= dict.fromkeys(names, release.name)
            elif not missing:
                lacks.append(f"the images of {release.name} with these values")
    caches = {each.upstream for each in facts.settings.registries.caches}
    for name, who in nodes.items():
        if name not in lock.images or not lock.images[name].node:
            lacks.append(f"the image {name} of {who}")
        elif parse(name).registry not in caches:
            lacks.append(f"a cache before {parse(name).registry} (registries.caches), which {who} needs")
    if lacks:
        raise Lacking(
            f"{bundle.path} does not contain everything that these settings need",
            why="; ".join(f"it lacks {each}" for each in sorted(set(lacks))),
            fix="save it again with these settings, on a machine with Internet access: invoke bundle save FILE",
        )


def _images_of(
    facts: Facts, listed: Mapping[str, tuple[str, ...]], release: Release, chart: Chart
) -> tuple[str, ...] | None:
    """The bundle's list; for a release with changed values, the images that its chart renders to now.

    None: unknown, since its chart is not built yet.
    """
    key = images.key_of(facts, release)
    names = listed.get(digest(key), images.known(facts, key))
    if names is None and chart.source is None:
        context = Context(step=f"images of {release_name(release)}", deadline=facts.settings.timeouts.command)
        images.remember(facts, key, rendered(facts, release, chart, context))
        names = images.known(facts, key)
    return names


def load_image(facts: Facts, image: str, context: Context) -> Report:
    """Load one image into the engine, under its name in the settings."""
    bundle = facts.bundle
    assert bundle is not None
    size = sum(bundle.lock.blobs[each] for each in bundle.parts(bundle.lock.images[image]))
    context.say(megabytes(size))
    command = docker.load(partial(engine_archive, bundle, [image]), context.deadline)
    run_command(facts.programs, command, context)
    return Report(why=f"from the bundle, {megabytes(size)}", exit_code=0)


def fill_steps(facts: Facts) -> list[Step]:
    """Write images for nodes into the storage of the caches, which then serve them without an upstream."""
    bundle = facts.bundle
    if bundle is None:
        return []
    found = []
    for cache in facts.settings.registries.caches:
        name = cache_container(cache)
        names = [
            each for each, image in bundle.lock.images.items() if image.node and parse(each).registry == cache.upstream
        ]
        late = [each for each in names if not images.is_fetched(facts, each)]
        if not names:
            continue
        found.append(
            Step(
                name=f"bundle: images of {cache.upstream}",
                task=TASK,
                kind=PULL,
                action=partial(_fill, facts, name, late),
                needs=(cache_name(cache),),
                skip=None if late else f"{name} has them",
                deadline=facts.settings.timeouts.pull,
                why=f"{count(len(late), 'image')} into {name}",
                expected=2.0,
            )
        )
    return found


def _fill(facts: Facts, name: str, late: list[str], context: Context) -> Report:
    bundle = facts.bundle
    assert bundle is not None
    references = {each: parse(each) for each in late}
    places = {each: (reference.repository, reference.tag) for each, reference in references.items()}
    size = sum(
        bundle.lock.blobs[part] for part in {part for each in late for part in bundle.parts(bundle.lock.images[each])}
    )
    context.say(megabytes(size))
    command = docker.fill_registry(name, partial(registry_archive, bundle, places), context.deadline)
    run_command(facts.programs, command, context)
    for each in late:
        images.mark_fetched(facts, each)
    return Report(why=f"{count(len(late), 'image')}, {megabytes(size)}", exit_code=0)


def load_steps(facts: Facts) -> list[Step]:
    """The steps of `bundle load`: images of the engine, the registries, and their content."""
    assert facts.bundle is not None
    wanted = [name for name, each in facts.bundle.lock.images.items() if each.engine]
    found = [
        Step(
            name=pull_name(image),
            task=TASK,
            kind=PULL,
            action=partial(load_image, facts, image),
            skip="it is there" if facts.images.get(image) else None,
            deadline=facts.settings.timeouts.pull,
            why="into the engine",
            expected=5.0,
        )
        for image in wanted
    ]
    found += registries.steps(facts, choosers(facts).free_port, required=True)
    return [*found, *fill_steps(facts)]
