"""Finds and downloads the contents of a bundle concurrently, and writes the file if it differs from the old one."""

import fnmatch
import json
import os
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from tasks.clients import docker, registry_http
from tasks.clients.bundle import NAME, Bundle, File, Image, Lock
from tasks.clients.bundle_archives import MANIFEST, Writer
from tasks.core.errors import BadInput, LaunchError, attempt, writing
from tasks.core.files import remembered, replacing, write_whole
from tasks.core.imageref import Reference, images_of, parse
from tasks.core.units import count, megabytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report, Retry, Step
from tasks.facts.cluster import Presence
from tasks.facts.endpoint import host_and_port, on_this_machine
from tasks.facts.facts import Facts
from tasks.facts.programs import PROGRAMS
from tasks.facts.registries import port_of
from tasks.facts.running import system_items
from tasks.kube.objects import digest as key_digest
from tasks.run import charts as chart_steps
from tasks.run import images
from tasks.run.bundle_sources import PYTHONS, Found, Remote, SaveOptions, pack_layer, programs, wheels
from tasks.run.charts import chart_of
from tasks.run.desired import contents
from tasks.run.releases import rendered
from tasks.settings.derived import DOWNLOAD, cache_container, cache_name

TASK = "bundle"
FIND, PROGRAM_FILES, WHEELS = "bundle: find images", "bundle: programs", "bundle: wheels"
_AT_ONCE = 6
_PAUSE = 1.0
"""Seconds before a failed layer is requested again."""


def opened(path: Path) -> Bundle | None:
    """The existing bundle; None: there is no file, or a damaged one, which is rewritten.

    Raises `BadInput` for any other file: it is not overwritten.
    """
    if not os.path.lexists(path):
        return None
    found = Bundle(path)
    if attempt("damaged", found.verify):
        found.close()
        return None
    return found


def save_steps(facts: Facts, options: SaveOptions, folder: Path) -> list[Step]:
    """Charts, images, programs and wheels concurrently, then the file. `folder`: for temporary files."""
    found, guarded = Found(folder), writing(options.path)
    charts = tuple({chart.id: chart for chart in (chart_of(facts, each) for each in facts.releases)}.values())
    bringing = chart_steps.fetch_steps(facts, charts, frozenset(chart.id for chart in charts))
    caches = [cache_name(each) for each in facts.settings.registries.caches]
    seconds = facts.settings.timeouts.pull
    own: list[Step] = [
        Step(
            name=FIND,
            task=TASK,
            action=guarded(partial(_find, facts, options, found)),
            needs=(*caches, *(step.name for step in bringing)),
            retry=Retry(attempts=3, first=1.0),
            deadline=seconds,
            why="the current digests of their tags",
            expected=3.0,
        ),
        Step(
            name=PROGRAM_FILES,
            task=TASK,
            kind=DOWNLOAD,
            action=guarded(partial(programs, facts, options, found)),
            retry=Retry(attempts=3, first=1.0),
            deadline=seconds,
            why=", ".join(PROGRAMS),
            expected=3.0,
        ),
        Step(
            name=WHEELS,
            task=TASK,
            kind=DOWNLOAD,
            action=guarded(partial(wheels, facts, options, found)),
            retry=Retry(attempts=3, first=1.0),
            deadline=seconds,
            why=f"for requirements.txt and Python {', '.join(PYTHONS)}",
            expected=5.0,
        ),
    ]
    last = Step(
        name=f"bundle: write {options.path.name}",
        task=TASK,
        action=partial(_write, options, found),
        needs=tuple(step.name for step in own),
        deadline=10 * seconds,
        why="downloads what the existing file lacks",
        expected=10.0,
    )
    return [*bringing, *own, last]


# Images


def _find(facts: Facts, options: SaveOptions, found: Found, context: Context) -> Report:
    """Find the names of all images, then their manifests. Raises `LaunchError` for one that cannot be bundled."""
    for release in facts.releases:
        key = images.key_of(facts, release)
        if images.known(facts, key) is None:
            images.remember(facts, key, rendered(facts, release, chart_of(facts, release), context))
        found.releases[key_digest(key)] = images.known(facts, key) or ()
        chart = chart_of(facts, release)
        for each in chart.dependencies if chart.source is not None else (chart,):
            if each.path is None:
                archive = Path(each.archive(facts))
                found.charts[each.id] = File(name=each.display, file=archive.name, digest=found.file(archive))
    system = _system_images(facts, context)
    found.releases[key_digest(images.system_key(facts))] = system
    names = {
        *(name for each in found.releases.values() for name in each),
        *(each for each in images_of(contents(facts, ("manifests",))) if not facts.builds_image(each)),
        *options.add,
    }
    unused = [each for each in options.exclude if not fnmatch.filter([*names, *facts.images], each)]
    nodes = {name for name in names if not _excluded(name, options)}
    engine = {name for name in facts.images if not _excluded(name, options)}
    found.releases = {
        key: tuple(name for name in each if name in nodes) for key, each in sorted(found.releases.items())
    }
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        running = {
            name: pool.submit(_image, facts, options, found, name, name in engine, name in nodes, context)
            for name in sorted(nodes | engine)
        }
        for name, resolved in running.items():
            found.images[name] = resolved.result()
    notes = tuple(f"--exclude '{each}' matches no image" for each in unused)
    return Report(why=f"{count(len(found.images), 'image')}, {count(len(found.charts), 'chart')}", notes=notes)


def check_image(name: str) -> None:
    """Raises `BadInput` for a name that no image can have."""
    if not NAME.fullmatch(name):
        raise BadInput(f"'{name}' is not an image", why="its form must be registry/name:tag", fix="correct it")


def _excluded(name: str, options: SaveOptions) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in options.exclude)


def _system_images(facts: Facts, context: Context) -> tuple[str, ...]:
    """Images of kube-system's workloads and of a running cluster's nodes, as far as they come through a
    cache: includes the pause image, which no object names. Stored for saves without a cluster.

    Raises `LaunchError` if neither source is available.
    """
    kept = facts.paths.images / key_digest(f"nodes {images.system_key(facts)}")
    if facts.cluster.presence is not Presence.RUNNING:
        text = remembered(kept)
        if text is None:
            raise LaunchError(
                f"which images the system of {facts.shape.image} needs is not known yet",
                why="only a cluster of it shows that, and none has run here when a bundle was saved",
                fix="invoke up, then save the bundle while the cluster runs",
            )
        return tuple(json.loads(text))
    names = set(images_of(system_items(facts.api())))  # nodes do not have images of late components yet
    for node in facts.cluster.nodes:
        if node.role in ("server", "agent"):
            names |= docker.image_names(facts.programs.run(docker.node_images(node.name), context, quiet=True).out)
    upstreams = {each.upstream for each in facts.settings.registries.caches}
    through = sorted(  # normalised: containerd writes full names
        {parse(name).listed for name in names if parse(name).registry in upstreams and not facts.builds_image(name)}
    )
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(kept, json.dumps(through))
    return tuple(through)


def _port(facts: Facts, reference: Reference) -> int | None:
    """The port of an image's registry, or its cache, on this machine."""
    for cache in facts.settings.registries.caches:
        if cache.upstream == reference.registry:
            return port_of(facts, cache_container(cache))
    if on_this_machine(reference.registry):
        port = host_and_port(reference.registry)[1]
        return int(port) if port else None
    return None


def _image(
    facts: Facts, options: SaveOptions, found: Found, name: str, engine: bool, node: bool, context: Context
) -> Image:
    check_image(name)
    reference = parse(name)
    if engine and reference.digest:
        raise LaunchError(
            f"{name} cannot be bundled: the engine accepts an image by digest only from a registry",
            why="`docker load` sets names, and a digest is not a name",
            fix="use its tag; the bundle's lock has the digest",
        )
    if node and all(each.upstream != reference.registry for each in facts.settings.registries.caches):
        raise LaunchError(
            f"{name} cannot be bundled: there is no cache for {reference.registry}",
            why="nodes get the images of a bundle from the caches",
            fix=f"add {{upstream: {reference.registry}}} to registries.caches, or exclude it: --exclude '{name}'",
        )
    port = _port(facts, reference)
    if port is None:
        return _of_engine(facts, options, found, name, context)
    try:
        resolved = registry_http.resolve(port, reference, options.arch, context)
    except registry_http.NotFetched as error:
        raise error.amend(
            what=f"{name} cannot be bundled: {error.what}",
            fix=f"correct its name, if its registry has none of it (404), or exclude it: --exclude '{name}'",
        ) from None
    manifest = json.loads(resolved.manifest)
    for part in (manifest["config"], *manifest["layers"]):
        found.blobs.setdefault(str(part["digest"]), (int(part["size"]), Remote(port, reference)))
    return Image(digest=found.data(resolved.top), manifest=found.data(resolved.manifest), engine=engine, node=node)


def _of_engine(facts: Facts, options: SaveOptions, found: Found, name: str, context: Context) -> Image:
    """An image of a registry without a cache: from the engine, with its layers compressed."""
    if options.platform != facts.platform:
        raise LaunchError(
            f"{name} cannot be bundled for {options.platform}: there is no cache for its registry",
            why=f"the engine has it for {facts.platform}",
            fix=f"add {{upstream: {parse(name).registry}}} to registries.caches",
        )
    folder = Path(tempfile.mkdtemp(dir=found.folder))
    if not facts.images.get(name):
        run_command(facts.programs, docker.pull(name, context.deadline, facts.platform), context)
    run_command(facts.programs, docker.save(name, folder / "image.tar", context.deadline), context)
    with tarfile.open(folder / "image.tar") as tar:

        def member(path: str) -> IO[bytes]:
            try:
                file = tar.extractfile(path)
            except KeyError:
                file = None
            if file is None:  # for another platform the containerd image store may have only a part
                raise LaunchError(
                    f"{name} cannot be bundled: the engine has only a part of it",
                    why=f"`docker save {name}` wrote no {path}",
                    fix=f"docker pull --platform {facts.platform} {name}",
                )
            return file

        listed = json.loads(member("manifest.json").read())[0]
        layers = []
        for number, path in enumerate(listed["Layers"]):
            packed = folder / str(number)
            with member(path) as source:
                kind = pack_layer(source, packed)
            layers.append(_part(f"layer.v1.tar+{kind}", found.file(packed), packed.stat().st_size))
        raw = member(listed["Config"]).read()
    config = _part("config.v1+json", found.data(raw), len(raw))
    text = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}, sort_keys=True)
    digest = found.data(text.encode())
    return Image(digest=digest, manifest=digest, engine=True)


def _part(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": size}


# The file


def _write(options: SaveOptions, found: Found, context: Context) -> Report:
    """Write the file. Raises `LaunchError` if that fails: the old file stays then."""
    lock = Lock(
        platform=options.platform,
        target=str(options.target),
        images=dict(sorted(found.images.items())),
        charts=dict(sorted(found.charts.items())),
        programs=dict(sorted(found.programs.items())),
        wheels=dict(sorted(found.wheels.items())),
        pythons=found.pythons,
        requirements=found.requirements,
        releases=found.releases,
        settings=found.data(options.settings),
        blobs={},
    )
    lock = replace(lock, blobs={digest: size for digest, (size, _) in sorted(found.blobs.items())})
    if options.old is not None and options.old.lock == lock:
        return Report(why=f"unchanged: {count(len(lock.images), 'image')}, {lock.digest}", skipped=True)
    progress = _Progress(context, sum(lock.blobs.values()))
    try:
        with replacing(options.path, 0o644) as file:
            writer = Writer(lock, file)
            with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
                put = partial(_put, options, found, writer, progress, context)
                try:
                    for done in [pool.submit(put, each) for each in lock.blobs]:
                        done.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    except OSError as error:
        raise LaunchError(
            f"{options.path} cannot be written",
            why=error.strerror or str(error),
            fix=f"it needs {megabytes(progress.whole)} and a writable folder",
        ) from None
    return Report(why=f"{megabytes(progress.whole)}, {count(len(lock.images), 'image')}, {lock.digest}", exit_code=0)


@dataclass
class _Progress:
    context: Context
    whole: int
    done: int = 0
    _told: float = 0.0
    _lock: Any = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._told >= 0.2 or self.done == self.whole:
                self._told = now
                self.context.say(megabytes(self.done, self.whole))


def _put(
    options: SaveOptions, found: Found, writer: Writer, progress: _Progress, context: Context, digest: str
) -> None:
    """Write a blob from the existing bundle, from a local file, or through the cache."""
    _, source = found.blobs[digest]
    old = options.old
    if old is not None and old.lock.blobs.get(digest) == writer.lock.blobs[digest]:
        writer.put(digest, old.pieces(digest))
    elif isinstance(source, Remote):
        for last in (False, False, True):
            try:
                _bring(source, writer, progress, context, digest)
            except LaunchError:  # a broken connection
                if last:
                    raise
                context.wait(_PAUSE)
            else:
                return
    else:
        writer.put(digest, source(context))
    progress.add(writer.lock.blobs[digest])


def _bring(source: Remote, writer: Writer, progress: _Progress, context: Context, digest: str) -> None:
    count = 0
    try:
        with writer.place(digest) as write:

            def sink(piece: bytes) -> None:
                nonlocal count
                write(piece)
                count += len(piece)
                progress.add(len(piece))

            registry_http.blob(source.port, source.image, digest, context, sink)
    except BaseException:
        progress.add(-count)
        raise
