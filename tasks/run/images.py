"""Images and the pull-through caches: the host's own come through them, and pods' images are there before a node asks.

What has been fetched is remembered for as long as the cache is the same container; which images a release needs, by
what its chart was rendered to, for as long as chart and values are the same. Names outlive the caches: a launch whose
caches were purged begins to fetch at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.clients import helm
from tasks.core.errors import attempt
from tasks.core.imageref import Reference, architecture, images_of, parse
from tasks.core.units import megabytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.engine.work import FetchImages, FindImages
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d.arguments import disabled
from tasks.kube.apply import line
from tasks.kube.objects import digest
from tasks.kube.releases import documents
from tasks.run.charts import Chart, chart_of
from tasks.run.releases import fingerprint, values_of
from tasks.settings.derived import cache_container
from tasks.settings.schema import Release
from tasks.settings.step_names import (
    DOWNLOAD,
    FETCH_IMAGES,
    FIND_IMAGES,
    SYSTEM,
    cache_name,
    install_name,
    release_name,
)

TASK = "registry"


def source(facts: Facts, image: str) -> str | None:
    """The cache that an image comes through; None: there is none, or it would have to start itself."""
    settings = facts.settings
    reference = parse(image)
    cache = next((each for each in settings.registries.caches if each.upstream == reference.registry), None)
    if cache is None or reference.digest:
        return None  # Docker gives no name to what it pulled by a digest
    name = cache_container(cache)
    there = facts.registries.get(name)
    running = there is not None and there.running
    return name if running or image != settings.registries.image else None


def sources(facts: Facts) -> dict[str, tuple[str, str]]:
    """For images of the host the cache that they come through, and the step after which it runs."""
    steps = {cache_container(each): cache_name(each) for each in facts.settings.registries.caches}
    found = {image: source(facts, image) for image in facts.images}
    return {image: (name, steps[name]) for image, name in found.items() if name is not None}


def port_of(facts: Facts, name: str) -> int | None:
    """Where a cache answers on this machine."""
    there = facts.registries.get(name)
    return facts.outputs.registry_ports.get(name) or (there.port if there is not None else None)


def _id(facts: Facts, name: str) -> str:
    there = facts.registries.get(name)
    return facts.outputs.registry_ids.get(name) or (there.id if there is not None else "")


def _stamp(facts: Facts, image: str) -> Path | None:
    """A file that is there when the cache that stands now has been given this image."""
    name = source(facts, image)
    container = _id(facts, name) if name is not None else ""
    return facts.paths.cache / "fetched" / container[:24] / digest(image) if container else None


def _fetched(facts: Facts, image: str) -> bool:
    stamp = _stamp(facts, image)
    return stamp is not None and os.path.exists(stamp)  # noqa: PTH110 - unlike Path.exists, false where we may not look


def known(facts: Facts, key: str) -> tuple[str, ...] | None:
    """The images that were remembered under a key, by this run or an earlier one; None: never."""
    if key in facts.outputs.images:
        return facts.outputs.images[key]
    try:
        found = json.loads((facts.paths.images / digest(key)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tuple(str(each) for each in found) if isinstance(found, list) else None


def remember(facts: Facts, key: str, objects: Iterable[Mapping[str, Any]]) -> None:
    """Keep the images of these objects under a key. Raises OSError where later launches cannot have them."""
    from tasks.core.files import write_whole

    images = facts.outputs.images[key] = images_of(objects)
    path = facts.paths.images / digest(key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, json.dumps(images))


def remember_size(facts: Facts, image: str, size: int) -> None:
    """Keep how many bytes of an image came through the line: what predictions for another line go by."""
    from tasks.core.files import write_whole

    if size <= 0:
        return
    path = _size_file(facts, image)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, f"{size}\n")


def size_of(facts: Facts, image: str) -> int | None:
    """The bytes that were remembered of an image; None: it never came through a cache."""
    try:
        return int(_size_file(facts, image).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _size_file(facts: Facts, image: str) -> Path:
    return facts.paths.images / f"size-{digest(image)}"


def layers_of(facts: Facts, image: str, port: int, context: Context) -> dict[str, int]:
    """Bytes of an image's layers, by a cache's manifest of it; empty if it does not tell."""
    from tasks.clients.registry_http import NotFetched

    try:
        return facts.backend.layers(port, parse(image), _arch(facts), context)
    except NotFetched:
        return {}


def fetch_step(facts: Facts, release: str | None, images: Sequence[str]) -> Step | None:
    """Fetch what the caches do not have yet of these images; None if there is no cache for any of them."""
    ours = [image for image in images if source(facts, image) is not None]
    if not ours:
        return None
    name = f"{FETCH_IMAGES}{release or SYSTEM}"
    late = [image for image in ours if not _fetched(facts, image)]
    work = FetchImages(release=release, images=len(late or ours))
    if not late:
        return Step(name=name, task=TASK, skip=f"the caches have {_count(ours)}", work=work)
    steps = {cache_container(each): cache_name(each) for each in facts.settings.registries.caches}
    needs = tuple(dict.fromkeys(steps[each] for image in late if (each := source(facts, image)) is not None))
    return Step(
        name=name,
        task=TASK,
        kind=DOWNLOAD,
        wait=True,  # for the line; the bound of downloads holds
        action=_fetching(facts, late, work),
        needs=needs,
        deadline=facts.settings.timeouts.pull,
        why=f"{_count(late)}, before a node asks for them",
        expected=3.0,
        work=work,
        optional=True,
    )


def _count(images: Sequence[str]) -> str:
    return f"{len(images)} image" + ("" if len(images) == 1 else "s")


def _fetching(facts: Facts, images: Sequence[str], work: FetchImages) -> Action:
    """What a cache cannot bring now is no failure: the node will ask again, and its pod tells why it gets none."""

    def act(context: Context) -> Report | None:
        from tasks.clients.registry_http import NotFetched

        total, problems = 0, []
        for image in images:
            try:
                total += _fetch(facts, image, context)
            except NotFetched as error:
                problems.append(f"{image}: {error.what}")
        told = f"{_count(images)}, {megabytes(total)}"
        done = work if problems else replace(work, bytes=total)
        return Report(why="; ".join(problems) if problems else told, work=done)

    return act


def _fetch(facts: Facts, image: str, context: Context) -> int:
    from tasks.clients.registry_http import NotFetched

    name, reference = source(facts, image), parse(image)
    port = port_of(facts, name) if name is not None else None
    if port is None:
        raise NotFetched("its cache does not run")
    read = facts.backend.fetch(port, reference, _arch(facts), context)
    remember_size(facts, image, read)
    stamp = _stamp(facts, image)
    if stamp is not None:
        with contextlib.suppress(OSError):
            stamp.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            stamp.touch(mode=0o600)
    return read


def _arch(facts: Facts) -> str:
    """As image indexes name it; empty where the engine is not known."""
    return architecture(facts.host.arch if facts.host is not None else "")


def local(image: Reference, port: int) -> str:
    """An image's name as the engine pulls it through a cache on loopback."""
    return f"127.0.0.1:{port}/{image.repository}:{image.tag}"


_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")


def steps(facts: Facts) -> list[Step]:
    """For a cluster that is being made: of the system, if an earlier launch tells, then of each release."""
    making = facts.cluster.presence in (Presence.ABSENT, Presence.INCOMPLETE)
    if not facts.owns_cluster or not making or not facts.settings.registries.caches:
        return []
    found = []
    system = known(facts, system_key(facts))
    if system is not None:
        found.append(fetch_step(facts, None, system))
    for release in facts.releases:
        found += _of_release(facts, release)
    return [step for step in found if step is not None]


def system_key(facts: Facts) -> str:
    """What the images of kube-system depend on."""
    off = disabled(facts.settings.cluster, facts.settings.ingress.controller)
    return f"system {facts.shape.image} without {' '.join(sorted(off))}"


def remembered(facts: Facts) -> dict[str | None, tuple[str, ...]]:
    """Images that are known of earlier launches, by release as people call it; of the cluster's services under None."""
    found: dict[str | None, tuple[str, ...] | None] = {None: known(facts, system_key(facts))}
    found |= {release_name(each): known(facts, key_of(facts, each)) for each in facts.releases}
    return {what: images for what, images in found.items() if images is not None}


def key_of(facts: Facts, release: Release) -> str:
    """What the images of a release depend on."""
    return f"release {fingerprint(facts, release, chart_of(facts, release))}"


def _of_release(facts: Facts, release: Release) -> list[Step | None]:
    chart = chart_of(facts, release)
    key, what = key_of(facts, release), release_name(release)
    images = known(facts, key)
    if images is not None:
        return [fetch_step(facts, what, images)]
    return _found_first(facts, release, chart, key, what)


def _found_first(facts: Facts, release: Release, chart: Chart, key: str, what: str) -> list[Step | None]:
    """The first time: what the chart is rendered to tells its images; it costs a tenth of an installation."""
    from tasks.settings.step_names import cache_name

    caches = tuple(cache_name(each) for each in facts.settings.registries.caches)

    def find(context: Context) -> Report | None:
        objects = _rendered(facts, release, chart, context)
        notes = attempt(f"images of {what} are not remembered", lambda: remember(facts, key, objects))
        why = ", ".join(known(facts, key) or ()) or "it names none"
        return Report(why=why, exit_code=0, notes=notes)

    def act(context: Context) -> Report | None:
        images = known(facts, key)
        if not images:
            return Report(why="they are not known" if images is None else "it names none", skipped=True)
        step = fetch_step(facts, what, images)
        if step is None or step.skip is not None:
            return Report(why=(step and step.skip) or "no cache stands before their registries", skipped=True)
        return step.action(context)

    first = Step(
        name=f"{FIND_IMAGES}{what}",
        task=TASK,
        action=find,
        needs=(chart.step,),
        deadline=facts.settings.timeouts.command,
        why="those that its chart names",
        expected=0.3,
        work=FindImages(release=what),
        optional=True,
    )
    then = Step(
        name=f"{FETCH_IMAGES}{what}",
        task=TASK,
        kind=DOWNLOAD,
        wait=True,  # for the line
        action=act,
        needs=(first.name, *caches),
        deadline=facts.settings.timeouts.pull,
        why="those that its chart names, before a node asks for them",
        expected=3.0,
        work=FetchImages(release=what),
        optional=True,
    )
    return [first, then]


def _rendered(facts: Facts, release: Release, chart: Chart, context: Context) -> list[Mapping[str, Any]]:
    match = _VERSION.search(facts.shape.image)
    command = helm.template(
        release.name,
        release.namespace,
        chart.archive(facts),
        values=line(values_of(facts, release)),
        kube_version=match[1] if match else facts.settings.cluster.kubernetes_version,
        deadline=facts.settings.timeouts.command,
    )
    return list(documents(run_command(facts.helm_programs, command, context, quiet=True).out))


def remembering(facts: Facts, wait: Callable[[Context], Report | None]) -> Callable[[Context], Report | None]:
    """A wait for the system's services, after which the images of their pods are known for the next launch."""

    def act(context: Context) -> Report | None:
        report = wait(context) or Report()
        return replace(report, notes=(*report.notes, *attempt("images of the system are not remembered", keep)))

    def keep() -> None:
        pods = facts.watched().get("/api/v1/namespaces/kube-system/pods")["items"] or ()
        remember(facts, system_key(facts), pods)

    return act


def releases_remembered(facts: Facts, found: list[Step]) -> list[Step]:
    """The plan in which an installation tells the images of its release, where rendering its chart did not.

    A chart may need what only a cluster has (`lookup`, `.Capabilities.APIVersions`): the next launch knows by this.
    """
    if not facts.owns_cluster or not facts.settings.registries.caches:
        return found
    keys = {install_name(each): (each, key_of(facts, each)) for each in facts.releases}
    return [
        replace(step, action=_telling(facts, *keys[step.name], step.action))
        if step.name in keys and step.skip is None and known(facts, keys[step.name][1]) is None
        else step
        for step in found
    ]


def _telling(facts: Facts, release: Release, key: str, install: Action) -> Action:
    def act(context: Context) -> Report | None:
        report = install(context) or Report()
        manifest = facts.outputs.manifests.get(f"{release.namespace}/{release.name}")
        if manifest is None or known(facts, key) is not None:
            return report
        lost = f"images of {release_name(release)} are not remembered"
        notes = attempt(lost, lambda: remember(facts, key, documents(manifest)))
        return replace(report, notes=(*report.notes, *notes))

    return act


def system_remembered(facts: Facts, found: list[Step], name: str) -> list[Step]:
    """The plan with that wait in place of the one of that name, where there are caches to fill."""
    if not facts.owns_cluster or not facts.settings.registries.caches:
        return found
    return [
        replace(step, action=remembering(facts, step.action)) if step.name == name and step.skip is None else step
        for step in found
    ]
