"""The user's builds: the names of their images, and which of them a registry or the engine has.

A tag is the digest of all inputs of an image, so it is known before anything is built: the parts of the context
that its Dockerfile copies, the Dockerfile, target, arguments, platform, and the digests of its base images. Those
come from the engine, else from the pull-through cache; without either, the digest of the last build counts.

Contents of a context are read once: their digests are cached with the size and times of each file, as in git's index.
"""

import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.clients import docker_build
from tasks.clients.docker_build import Builder
from tasks.clients.dockerfile import Ignored, bases, buildkit_feature, copied, ignored, only
from tasks.core.errors import BadInput
from tasks.core.files import file_digest, remembered, sha256, write_whole
from tasks.core.imageref import parse, registry_of
from tasks.facts.endpoint import on_this_machine
from tasks.facts.engine import Engine
from tasks.facts.facts import Facts
from tasks.facts.registries import cache_of, port_of
from tasks.process.command import CommandFailed
from tasks.settings.derived import enabled_builds, on_push_registry, push_container, repository
from tasks.settings.schema import Settings
from tasks.settings.schema_parts import Build

_PARTS = frozenset({"build", "helm", "manifests", "steps"})
"""Parts of a launch that need the images."""
_FORM = 1
"""Version of the tag's inputs: another version gives other tags."""
_DIGITS = 16
_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class BuildState:
    """A build, its image, and where the image is."""

    build: Build
    repository: str
    """Repository as nodes use it."""
    context: Path
    dockerfile: Path
    inputs: str
    """Digest of all inputs except base images."""
    bases: tuple[str, ...]
    builder: Builder
    platform: str = ""
    tag: str = ""
    built: bool = False
    """Whether the engine has it."""
    pushed: bool = False
    """Whether its registry has it."""

    @property
    def name(self) -> str:
        """The name of the build."""
        return self.build.name

    @property
    def image(self) -> str:
        """The image as pods use it."""
        return f"{self.repository}:{self.tag}"

    @property
    def placeholders(self) -> dict[str, str]:
        """Its placeholders in values and manifests."""
        name = self.name
        return {f"image:{name}": self.image, f"repository:{name}": self.repository, f"tag:{name}": self.tag}

    def used_in(self, text: str) -> bool:
        """Whether a text with placeholders refers to it."""
        return self.tag in text or re.search(rf"{re.escape(self.repository)}(?![\w./-])", text) is not None


def read_inputs(
    settings: Settings,
    parts: Collection[str],
    root: Path,
    cache: Path,
    environ: Mapping[str, str],
    host: Callable[[], Engine],
    *,
    owns_cluster: bool,
) -> tuple[BuildState, ...]:
    """The enabled builds with the digests of their files, if these parts need them; only then the engine is queried.

    Raises `BadInput` for missing files, for features that the engine lacks, and for an image that nodes cannot
    pull from anywhere.
    """
    builds = enabled_builds(settings) if set(parts) & _PARTS else []
    if not builds:
        return ()
    there, found = host(), list[BuildState]()
    builder, platform = builder_of(there, environ.get("DOCKER_BUILDKIT", "")), there.platform
    for build in builds:
        if on_push_registry(build) and not owns_cluster:
            raise BadInput(
                f"the build '{build.name}' names no registry: its image is '{build.repository}'",
                why="the push registry is available only to clusters of this project",
                fix=f"--set builds.{build.name}.image=REGISTRY/{build.repository}: one that you can push to, and the "
                "cluster can pull from",
            )
        context = root / Path(build.context)
        dockerfile = context / build.dockerfile
        text = _dockerfile(build, context, dockerfile)
        _refuse_unable(build, builder, platform, text)
        found.append(
            BuildState(
                build=build,
                repository=repository(settings, build),
                context=context,
                dockerfile=dockerfile,
                inputs=_inputs(
                    build, context, dockerfile, text, cache, builder, build.platform or platform, settings.log_dir
                ),
                bases=bases(text, build.args),
                builder=builder,
                platform=build.platform or platform,
            )
        )
    return tuple(found)


def builder_of(host: Engine, wish: str = "") -> Builder:
    """What docker builds with; since version 23 BuildKit needs the buildx plugin. `wish`: DOCKER_BUILDKIT."""
    if wish.strip().lower() in ("0", "false"):
        return Builder.CLASSIC
    if host.buildx:
        return Builder.BUILDX
    return Builder.CLASSIC if host.client else Builder.BUILDKIT


def _refuse_unable(build: Build, builder: Builder, platform: str, text: str) -> None:
    if builder.is_buildkit:
        return
    foreign = build.platform is not None and platform and build.platform != platform
    wish = "secrets" if build.secrets else f"the platform {build.platform}" if foreign else buildkit_feature(text)
    if wish:
        raise BadInput(
            f"the build '{build.name}' needs {wish}, and docker uses the classic builder here",
            why="only BuildKit supports that, which comes with docker's buildx plugin",
            fix="install buildx (the package docker-buildx-plugin; Docker Desktop has it), and do not set "
            "DOCKER_BUILDKIT=0",
        )


def _dockerfile(build: Build, context: Path, path: Path) -> str:
    try:
        if not context.is_dir():
            raise _refused(build, f"{context} is not a folder", "context", f"builds names it as {build.context}")
        return _text(path)
    except OSError as error:
        raise _refused(
            build, f"{path}: {error.strerror or error}", "dockerfile", "it is relative to the context"
        ) from None


def _text(path: Path) -> str:
    """The content of a file with the ends of its lines, which the text of a here-document contains."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _refused(build: Build, what: str, field: str, why: str) -> BadInput:
    return BadInput(
        f"the build '{build.name}' cannot be read: {what}",
        why=why,
        fix=f"correct builds.{build.name}.{field}, or the modes of its files",
    )


def _inputs(
    build: Build, context: Path, dockerfile: Path, text: str, cache: Path, builder: Builder, platform: str, logs: str
) -> str:
    special = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    listed = special if builder.is_buildkit and special.is_file() else context / ".dockerignore"
    parts = copied(text)
    try:
        if parts is not None and any(_is_linked(context, each) for each in parts):
            parts = None  # docker copies the target of a link
        rules = _text(listed) if listed.exists() else ""
        left_out = _without(logs, context, ignored(rules) if parts is None else only(parts, ignored(rules)))
        files = context_digest(context, left_out, cache / "contexts" / sha256(f"{context} {build.name}", _DIGITS))
    except OSError as error:
        raise _refused(
            build, f"{error.filename}: {error.strerror or error}", "context", "docker needs all of it"
        ) from None
    made = [_FORM, build.target, sorted(build.args.items()), platform, sorted(build.secrets), text, files]
    return sha256(json.dumps(made))


def _without(logs: str, context: Path, left_out: Ignored) -> Ignored:
    """The same rules, also excluding the log folder, which changes while images are built. Raises OSError."""
    folder, there = context.resolve(), Path(logs).resolve()
    own = there.relative_to(folder).as_posix() if there.is_relative_to(folder) else ""
    return lambda path, is_folder: path == own or left_out(path, is_folder)


def _is_linked(context: Path, part: str) -> bool:
    """Whether a part of a context is a symbolic link, or is below one."""
    paths = [context]
    for name in part.split("/") if part else ():
        paths = [each for path in paths for each in (path.glob(name) if set(name) & set("*?[") else [path / name])]
        if any(each.is_symlink() for each in paths):
            return True
    return False


def located(facts: Facts, found: Sequence[BuildState]) -> tuple[BuildState, ...]:
    """The same builds with their tags and the location of their images, queried from registries and the engine."""
    if not found:
        return ()
    known = base_digests(facts, {base for each in found for base in each.bases})
    tagged = [replace(each, tag=_tag(facts, each, known)) for each in found]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        pushed = list(pool.map(lambda each: in_registry(facts, each), tagged))
    absent = [each.image for each, there in zip(tagged, pushed, strict=True) if not there]
    built = _inspected(facts, absent)
    return tuple(
        replace(each, pushed=there, built=each.image in built) for each, there in zip(tagged, pushed, strict=True)
    )


def _tag(facts: Facts, state: BuildState, known: Mapping[str, str]) -> str:
    """The tag of the last build with the same inputs, if its base images are the same, too."""
    before = _remembered(facts, state)
    bases_before = before.get("bases", {})
    now = {base: known.get(base) or bases_before.get(base, "") for base in state.bases}
    if before and all(now[base] == bases_before.get(base, "") for base in state.bases):
        return str(before["tag"])
    return f"sha256-{sha256(json.dumps([state.inputs, sorted(now.items())]), _DIGITS)}"


def remember_built(facts: Facts, state: BuildState, resolved: Mapping[str, str]) -> None:
    """Record the base images of a build; `resolved`: digests reported by BuildKit.

    Raises OSError, and `BadInput` if files were changed meanwhile: builds from the earlier files get another
    tag then, since the content of this image is unknown.
    """
    known = base_digests(facts, state.bases)
    kept = {base: known.get(base) or resolved.get(parse(base).full, "") for base in state.bases}
    path, text = _memory(facts, state), _dockerfile(state.build, state.context, state.dockerfile)
    given = (state.build, state.context, state.dockerfile, text, facts.paths.cache, state.builder, state.platform)
    changed = _inputs(*given, facts.settings.log_dir) != state.inputs
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, json.dumps({"tag": f"sha256-{os.urandom(8).hex()}" if changed else state.tag, "bases": kept}))
    if changed:
        raise BadInput(
            "its files were changed meanwhile, so it will be built again; what each launch changes belongs into "
            ".dockerignore",
            why="they changed during the build",
            fix="run it again",
        )


def _remembered(facts: Facts, state: BuildState) -> Mapping[str, Any]:
    try:
        found = json.loads(remembered(_memory(facts, state)) or "{}")
        return found if isinstance(found["tag"], str) and isinstance(found["bases"], dict) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _memory(facts: Facts, state: BuildState) -> Path:
    return facts.paths.cache / "builds" / state.inputs[:32]


def base_digests(facts: Facts, refs: Collection[str]) -> dict[str, str]:
    """Digests of images by reference, from the engine, else from the cache of their registry."""
    found = {ref: parse(ref).digest for ref in refs if parse(ref).digest}
    found |= _inspected(facts, [ref for ref in refs if ref not in found])

    def asked(ref: str) -> str:
        name = cache_of(facts, ref)
        port = port_of(facts, name) if name is not None and facts.registries.get(name) else None
        return facts.backend.digest(port, parse(ref)) or "" if port is not None else ""

    others = [ref for ref in refs if ref not in found]
    if others:
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            found |= {ref: digest for ref, digest in zip(others, pool.map(asked, others), strict=True) if digest}
    return found


def _inspected(facts: Facts, refs: Iterable[str]) -> dict[str, str]:
    """Digests, or else ids, of the images in the engine."""
    names = tuple(refs)
    if not names:
        return {}
    rows = [json.loads(row) for row in facts.programs.run(docker_build.known_images(names)).out.splitlines() if row]
    by_name: dict[str, str] = {}
    for row in rows:
        digests = sorted(each.partition("@")[2] for each in row["digests"] or ())
        by_name |= dict.fromkeys(row["tags"] or (), digests[0] if digests else row["id"])
    return {ref: by_name[name] for ref in names if (name := parse(ref).listed) in by_name}


def in_registry(facts: Facts, state: BuildState) -> bool:
    """Whether an image's registry has it: the push registry over HTTP, another one with docker and its login."""
    if on_push_registry(state.build):
        name = push_container(facts.settings)
        there, port = facts.registries.get(name), port_of(facts, name)
        runs = there is not None and there.running
        return runs and port is not None and bool(facts.backend.digest(port, parse(state.image)))
    ask = docker_build.remote_manifest(state.image, insecure=on_this_machine(registry_of(state.repository)))
    try:
        return facts.programs.run(ask, quiet=True).code == 0
    except CommandFailed:  # no answer: a push will report why
        return False


_FRESH = 2_000_000_000
"""Nanoseconds: a file changed more recently may change again with the same timestamp, so it is read again."""
_INDEX_FORM = 1
"""Version of the file of known digests; other versions are ignored."""
Known = dict[str, list[Any]]
"""Marks and digest of each file, by its path."""


def context_digest(folder: Path, left_out: Ignored, index: Path) -> str:
    """Digest of everything in a folder that is not excluded. `index`: cache of digests. Raises OSError."""
    known, found = _read(index), Known()
    rows: list[str] = []
    now = time.time_ns()
    pending = [""]
    while pending:
        inside = pending.pop()
        with contextlib.ExitStack() as stack:
            try:
                entries = stack.enter_context(os.scandir(folder / inside))
            except FileNotFoundError:  # a temporary folder, gone again
                continue
            for entry in entries:
                path = f"{inside}/{entry.name}" if inside else entry.name
                directory = entry.is_dir(follow_symlinks=False)
                if left_out(path, directory):
                    continue
                if directory:
                    pending.append(path)
                with contextlib.suppress(FileNotFoundError):  # a temporary file, gone again
                    what = entry.stat(follow_symlinks=False)
                    if stat.S_ISSOCK(what.st_mode):  # docker does not send it
                        continue
                    rows.append(f"{path}\0{what.st_mode:o}\0{_content(entry, path, what, known, found, now)}")
    if found != known:
        with contextlib.suppress(OSError):  # it is read again
            index.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(index, json.dumps({"form": _INDEX_FORM, "files": found}))
    rows.sort()
    return sha256("\n".join(rows).encode("utf-8", "surrogateescape"))


def _content(entry: os.DirEntry[str], path: str, what: os.stat_result, known: Known, found: Known, now: int) -> str:
    if stat.S_ISLNK(what.st_mode):
        return str(Path(entry.path).readlink())
    if not stat.S_ISREG(what.st_mode):
        return ""
    marks = [what.st_mtime_ns, what.st_ctime_ns, what.st_size, what.st_ino]
    before = known.get(path)
    digest = before[4] if before is not None and before[:4] == marks else file_digest(Path(entry.path))
    if now - max(what.st_mtime_ns, what.st_ctime_ns) > _FRESH:
        found[path] = [*marks, digest]
    return str(digest)


def _read(index: Path) -> Known:
    try:
        document = json.loads(index.read_bytes())
        return dict(document["files"]) if document["form"] == _INDEX_FORM else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
