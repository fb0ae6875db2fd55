"""Images that pods will need: found, fetched into the pull-through caches, and pulled ahead into the first node.

Fetched images are recorded for as long as the cache is the same container; the images of a release, from its
rendered chart, for as long as chart and values are the same. Names outlive purged caches.
"""

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tasks.clients import docker
from tasks.clients.registry_http import NotFetched
from tasks.core.errors import LaunchError, attempt
from tasks.core.files import create_marker, write_whole
from tasks.core.imageref import Reference, architecture, images_of, parse
from tasks.core.units import count, megabytes
from tasks.engine.step import Action, Context, Report, Step
from tasks.engine.work import FetchImages, FindImages, PullAhead
from tasks.facts.facts import Facts
from tasks.facts.registries import cache_of, port_of
from tasks.k3d.arguments import disabled
from tasks.kube.objects import digest
from tasks.kube.releases import documents
from tasks.run.charts import chart_of
from tasks.run.releases import fingerprint, rendered
from tasks.settings import derived
from tasks.settings.schema import Release

TASK = "registry"
_AHEAD_CPUS = 4
"""Minimum number of the engine's CPUs for which pulling ahead pays off."""


def sources(facts: Facts) -> dict[str, tuple[str, str]]:
    """For images of the host their cache, and the step after which it runs."""
    steps = _cache_steps(facts)
    tagged = [image for image in facts.images if not parse(image).digest]  # Docker does not name images by digest
    found = {image: cache_of(facts, image) for image in tagged}
    return {image: (name, steps[name]) for image, name in found.items() if name is not None}


def _cache_steps(facts: Facts) -> dict[str, str]:
    """The step after which a cache runs, by container."""
    return {derived.cache_container(each): derived.cache_name(each) for each in facts.settings.registries.caches}


def local(image: Reference, port: int) -> str:
    """An image's name for pulling it with the engine through a cache on loopback."""
    return f"127.0.0.1:{port}/{image.repository}:{image.tag}"


def layers_of(facts: Facts, image: str, port: int, context: Context) -> dict[str, int]:
    """Bytes of an image's layers, from a cache's manifest; empty if it is not available."""
    try:
        return facts.backend.layers(port, parse(image), _arch(facts), context)
    except NotFetched:
        return {}


def _arch(facts: Facts) -> str:
    """In the notation of image indexes; empty if the engine is unknown."""
    return architecture(facts.host.arch if facts.host is not None else "")


# What is remembered


def known(facts: Facts, key: str) -> tuple[str, ...] | None:
    """The images recorded under a key, by this run or an earlier one; None: never."""
    if key in facts.outputs.images:
        return facts.outputs.images[key]
    try:
        found = json.loads((facts.paths.images / digest(key)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tuple(str(each) for each in found) if isinstance(found, list) else None


def remember(facts: Facts, key: str, objects: Iterable[Mapping[str, Any]]) -> None:
    """Record the images of these objects under a key. Raises OSError if they cannot be stored for later launches."""
    images = facts.outputs.images[key] = tuple(each for each in images_of(objects) if not facts.builds_image(each))
    _write(facts.paths.images / digest(key), json.dumps(images))


def system_key(facts: Facts) -> str:
    """What the images of kube-system depend on."""
    off = disabled(facts.settings.cluster, facts.settings.ingress.controller)
    return f"system {facts.shape.image} without {' '.join(sorted(off))}"


def key_of(facts: Facts, release: Release) -> str:
    """What the images of a release depend on."""
    return f"release {fingerprint(facts, release, chart_of(facts, release))}"


def remembered(facts: Facts) -> dict[str | None, tuple[str, ...]]:
    """Images recorded by earlier launches, by release as displayed; those of the cluster's services under None."""
    found: dict[str | None, tuple[str, ...] | None] = {None: known(facts, system_key(facts))}
    found |= {derived.release_name(each): known(facts, key_of(facts, each)) for each in facts.releases}
    return {what: images for what, images in found.items() if images is not None}


def remember_size(facts: Facts, image: str, size: int) -> None:
    """Record how many bytes of an image were downloaded: predictions for another bandwidth use that."""
    if size > 0:
        with contextlib.suppress(OSError):
            _write(_size_file(facts, image), f"{size}\n")


def size_of(facts: Facts, image: str) -> int | None:
    """The recorded bytes of an image; None: it was never pulled through a cache."""
    try:
        return int(_size_file(facts, image).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _size_file(facts: Facts, image: str) -> Path:
    return facts.paths.images / f"size-{digest(image)}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, text)


def remembering(facts: Facts, plan: Sequence[Step]) -> list[Step]:
    """The plan whose steps record images for the next launch, if there are caches to fill.

    The wait for the system's services records the images of their pods; an installation those of its release, if
    rendering its chart did not: a chart may need a cluster (`lookup`, `.Capabilities.APIVersions`).
    """
    if not facts.owns_cluster or not facts.settings.registries.caches:
        return list(plan)
    keep: dict[str, tuple[str, Callable[[], None]]] = {
        derived.SYSTEM_READY: ("the system", partial(_remember_system, facts)),
        **{
            derived.install_name(each): (derived.release_name(each), partial(_remember_release, facts, each, key))
            for each in facts.releases
            if known(facts, key := key_of(facts, each)) is None
        },
    }
    return [
        replace(step, action=partial(_and_remember, step, *keep[step.name]))
        if step.name in keep and step.skip is None
        else step
        for step in plan
    ]


def _and_remember(step: Step, what: str, keep: Callable[[], None], context: Context) -> Report:
    report = step.action(context) or Report()
    return replace(report, notes=(*report.notes, *attempt(f"images of {what} could not be recorded", keep)))


def _remember_system(facts: Facts) -> None:
    pods = facts.watched().get("/api/v1/namespaces/kube-system/pods")["items"] or ()
    remember(facts, system_key(facts), pods)


def _remember_release(facts: Facts, release: Release, key: str) -> None:
    manifest = facts.outputs.manifests.get(f"{release.namespace}/{release.name}")
    if manifest is not None and known(facts, key) is None:
        remember(facts, key, documents(manifest))


# What is fetched into the caches


def fetch_steps(facts: Facts) -> list[Step]:
    """For a cluster that is being created: images of the system, if recorded, then of each release."""
    if facts.bundle is not None:  # its images are in the caches before the cluster is created
        return []
    if not facts.owns_cluster or not _creates_cluster(facts) or not facts.settings.registries.caches:
        return []
    found = []
    if (system := known(facts, system_key(facts))) is not None:
        found.append(_fetch_step(facts, None, system))
    for release in facts.releases:
        images = known(facts, key_of(facts, release))
        if images is not None:
            found.append(_fetch_step(facts, derived.release_name(release), images))
        else:
            found += _found_first(facts, release)
    return [step for step in found if step is not None]


def _creates_cluster(facts: Facts) -> bool:
    """Whether this launch creates the cluster."""
    return facts.cluster.presence.to_create


def _fetch_step(facts: Facts, release: str | None, images: Sequence[str]) -> Step | None:
    """Fetch those of these images that the caches lack; None if there is no cache for any of them."""
    caches = {image: name for image in images if (name := cache_of(facts, image)) is not None}
    if not caches:
        return None
    late = [image for image in caches if not is_fetched(facts, image)]
    step = Step(
        name=f"{derived.FETCH_IMAGES}{release or derived.SYSTEM}",
        task=TASK,
        work=FetchImages(release=release, images=len(late or caches)),
    )
    if not late:
        return replace(step, skip=f"the caches have {count(len(caches), 'image')}")
    steps = _cache_steps(facts)
    fetch = partial(_fetch, facts, late, FetchImages(release=release, images=len(late)))
    needs = tuple(dict.fromkeys(steps[caches[image]] for image in late))
    return _fetching(facts, step, fetch, needs, count(len(late), "image"))


def _fetching(facts: Facts, step: Step, action: Action, needs: tuple[str, ...], what: str) -> Step:
    return replace(
        step,
        kind=derived.DOWNLOAD,
        wait=True,  # for the network; the bound of downloads applies
        action=action,
        needs=needs,
        deadline=facts.settings.timeouts.pull,
        why=f"{what}, before a node needs them",
        expected=3.0,
        optional=True,
    )


def _fetch(facts: Facts, images: Sequence[str], work: FetchImages, context: Context) -> Report:
    """An image that a cache cannot fetch is no failure: the node will pull it, and its pod reports failures."""
    total, problems = 0, []
    for image in images:
        try:
            total += _fetch_one(facts, image, context)
        except NotFetched as error:
            problems.append(f"{image}: {error.what}")
    if problems:
        return Report(why="; ".join(problems), work=work)
    return Report(why=f"{count(len(images), 'image')}, {megabytes(total)}", work=replace(work, bytes=total))


def _fetch_one(facts: Facts, image: str, context: Context) -> int:
    name = cache_of(facts, image)
    port = port_of(facts, name) if name is not None else None
    if port is None:
        raise NotFetched("its cache is not running")
    read = facts.backend.fetch(port, parse(image), _arch(facts), context)
    remember_size(facts, image, read)
    mark_fetched(facts, image)
    return read


def mark_fetched(facts: Facts, image: str) -> None:
    """Record that the current cache has an image. Without the record it is fetched again."""
    if (stamp := _stamp(facts, image)) is not None:
        create_marker(stamp)


def _stamp(facts: Facts, image: str) -> Path | None:
    """A file that exists if the current cache has fetched this image."""
    name = cache_of(facts, image)
    if name is None:
        return None
    there = facts.registries.get(name)
    container = facts.outputs.registry_ids.get(name) or (there.id if there is not None else "")
    return facts.paths.cache / "fetched" / container[:24] / digest(image) if container else None


def is_fetched(facts: Facts, image: str) -> bool:
    """Whether the current cache has fetched this image."""
    stamp = _stamp(facts, image)
    return stamp is not None and os.path.exists(stamp)  # noqa: PTH110 - unlike Path.exists, false without permission


def _found_first(facts: Facts, release: Release) -> list[Step]:
    """The first time: rendering the chart shows its images; it costs a tenth of an installation."""
    chart, key, what = chart_of(facts, release), key_of(facts, release), derived.release_name(release)

    def find(context: Context) -> Report | None:
        objects = rendered(facts, release, chart, context)
        notes = attempt(f"images of {what} could not be recorded", lambda: remember(facts, key, objects))
        return Report(why=", ".join(known(facts, key) or ()) or "it has none", exit_code=0, notes=notes)

    def fetch(context: Context) -> Report | None:
        images = known(facts, key)
        if not images:
            return Report(why="unknown" if images is None else "it has none", skipped=True)
        step = _fetch_step(facts, what, images)
        if step is None or step.skip is not None:
            return Report(why=(step and step.skip) or "there is no cache for their registries", skipped=True)
        return step.action(context)

    first = Step(
        name=f"{derived.FIND_IMAGES}{what}",
        task=TASK,
        action=find,
        needs=(chart.step,),
        deadline=facts.settings.timeouts.command,
        why="the images in its chart",
        expected=0.3,
        work=FindImages(release=what),
        optional=True,
    )
    then = Step(name=f"{derived.FETCH_IMAGES}{what}", task=TASK, work=FetchImages(release=what))
    needs = (first.name, *_cache_steps(facts).values())
    return [first, _fetching(facts, then, fetch, needs, "the images in its chart")]


# What is pulled into the first node before its pods are placed


def pull_ahead_steps(facts: Facts, plan: Collection[Step]) -> list[Step]:
    """For a cluster that this plan creates: images of the system, then of each release, until its pods are ready.

    They guard nothing, but end like guards: nothing waits for images that no pod needs any more.
    """
    wish = facts.settings.cluster.pull_ahead
    enough = facts.host is not None and facts.host.cpus >= _AHEAD_CPUS
    if not _creates_cluster(facts) or not (enough if wish is None else wish):
        return []
    there, waited = {step.name for step in plan}, {step.name for step in plan if step.skip is None}
    rows: list[tuple[str | None, str, str]] = [(None, system_key(facts), derived.SYSTEM_READY)]
    rows += [(derived.release_name(each), key_of(facts, each), derived.done_name(each)) for each in facts.releases]
    return [
        Step(
            name=f"{derived.PULL_AHEAD}{release or derived.SYSTEM}",
            task=TASK,
            kind=derived.PULL,
            action=partial(_pull_ahead, facts, key),
            needs=(derived.API_READY, f"{derived.FETCH_IMAGES}{release or derived.SYSTEM}"),
            until=(until,),
            deadline=facts.settings.timeouts.pull,
            why="before its pods are placed",
            expected=2.0,
            work=PullAhead(release=release),
            optional=True,
        )
        for release, key, until in rows
        # without a step that fetches them the images are unknown, or there is no cache for their registries
        if f"{derived.FETCH_IMAGES}{release or derived.SYSTEM}" in there and until in waited
    ]


def _pull_ahead(facts: Facts, key: str, context: Context) -> Report:
    images = known(facts, key) or ()
    if not images:
        return Report(why="it has none", skipped=True)
    command = docker.pull_into_node(f"k3d-{facts.name}-server-0", images, context.deadline)
    try:
        pulled = facts.programs.run(command, context).out.split()
    except LaunchError as error:
        return Report(why=f"left to the node: {error.what}")
    return Report(why=f"{len(pulled)} of {len(images)} images")
