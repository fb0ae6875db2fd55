"""What is compared: a way to launch, with settings, in a state of caches."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tasks.clients import helm, k3d
from tasks.core.errors import BadInput
from tasks.core.files import sha256
from tasks.run.session import Session
from tasks.run.task import Options, begin

MODES = ("sequential", "staged", "graph", "create")
STATES = ("warm", "cold", "second", "noop")
"""warm: images and charts are cached. cold: none are. second: the host has none, our caches have all. noop: an
up-to-date cluster exists."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The source of settings."""

    profile: str | None = None
    sets: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """A folder's name: different settings share no caches and no records."""
        return sha256(repr((self.profile, self.sets)), 12)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the variants that are compared."""

    name: str
    mode: str
    state: str = "warm"
    setting: Setting = field(default_factory=Setting)


def variants_of(modes: str, state: str, setting: Setting, against: Setting | None = None) -> tuple[Variant, ...]:
    """Parses `sequential,staged,graph:noop`; with other settings to compare with, each of them twice, as A and B.

    Raises `BadInput`.
    """
    found: list[Variant] = []
    for word in (part.strip() for part in modes.split(",") if part.strip()):
        mode, colon, own = word.partition(":")
        chosen = _chosen(own if colon else state, STATES, "state")
        mode = _chosen(mode, MODES, "mode")
        if chosen == "noop" and mode != "graph":
            chosen = "warm"  # the comparison modes have no such state: they would do everything again
        if mode == "create" and chosen == "second":
            chosen = "cold"
        name = mode if chosen == "warm" else f"{mode}:{chosen}"
        both: Sequence[tuple[str, Setting]] = [("", setting)] if against is None else [("A ", against), ("B ", setting)]
        found += [Variant(name=f"{mark}{name}", mode=mode, state=chosen, setting=each) for mark, each in both]
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice or not found:
        raise BadInput(
            f"--modes names '{twice}' twice" if twice else "--modes names nothing",
            why="each variant needs a unique name",
            fix="write it as sequential,staged,graph or graph:noop,sequential",
        )
    return tuple(found)


def _chosen(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise BadInput(f"'{value}' is no {what} of bench", why=f"there are: {', '.join(known)}", fix="use one of them")
    return value


CLUSTER = "openframe-bench"
REGISTRY = "openframe-bench-registry"
_MARK = "#openframe-bench"
"""A fragment is never sent to a server, but it makes another cache container necessary."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Folder and call for the launches of one setting."""

    session: Session
    """A call with bench's own settings and folders."""
    folder: Path
    cluster: str
    conditions: tuple[str, ...] = ()
    """Options of `rehearse` for its conditions, with the embedded engine."""

    @property
    def kubeconfig(self) -> Path:
        """Replaces the user's own."""
        return self.folder / "kubeconfig"

    @property
    def helm(self) -> Path:
        """Helm's files of the comparison modes."""
        return self.folder / "helm"

    @property
    def files(self) -> Path:
        """Objects and values for commands; they may contain secrets."""
        return self.folder / "files"

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of commands of the comparison modes."""
        cluster = self.session.settings.cluster
        images = {"K3D_IMAGE_TOOLS": cluster.tools_image, "K3D_IMAGE_LOADBALANCER": cluster.loadbalancer_image}
        given = {**self.session.environ, **{name: image for name, image in images.items() if image}}
        return {
            **k3d.environment(given, self.folder),
            **helm.environment(self.helm),
            "KUBECONFIG": str(self.kubeconfig),
        }

    @property
    def chosen(self) -> tuple[str, ...]:
        """Options that give a task the same settings."""
        options = self.session.options
        return (
            *(("--profile", options.profile) if options.profile else ()),
            *(part for each in options.sets for part in ("--set", each)),
        )

    @property
    def engine(self) -> tuple[str, ...]:
        """The option for the same engine."""
        engine = self.session.options.engine
        return ("--engine", engine) if engine != "k3d" else ()


def workspace_for(
    session: Session, setting: Setting, cluster: str, conditions: Mapping[str, str] | None = None
) -> Workspace:
    """Bench's own settings, derived from the user's. Raises `BadInput`."""
    if not session.options.owns_cluster:
        raise BadInput(
            "--engine existing has no meaning for `bench`",
            why="it repeatedly creates and removes clusters",
            fix="omit it, or use --engine rehearsal",
        )
    first = session.state / "bench" if session.rehearsal is None else Path(session.settings.log_dir) / "bench"
    folder = (first / setting.stem).absolute()
    for each in (first, folder, folder / "files", folder / "tmp", folder / "config"):
        each.mkdir(parents=True, exist_ok=True, mode=0o700)
    environ = _environment(session.environ, folder)
    options = Options(task="bench", profile=setting.profile, sets=setting.sets, engine=session.options.engine)
    theirs = begin(replace(options, engine="k3d"), session.root, environ)
    # no tuning of Docker: its mirror would be a cache of these launches, which is removed with them
    own = (f"cluster.name={cluster}", *_registries(theirs), "silent=true", "docker.tune=off")
    made = begin(replace(options, sets=(*setting.sets, *own)), session.root, environ)
    return _under(Workspace(session=made, folder=folder, cluster=cluster), conditions or {})


def _under(workspace: Workspace, conditions: Mapping[str, str]) -> Workspace:
    """Other conditions on the embedded engine; those of an earlier rehearsal there are cleared.

    Raises `BadInput` for a real one, whose conditions are fixed.
    """
    given = {name: value for name, value in conditions.items() if value}
    if workspace.session.rehearsal is None:
        if not given:
            return workspace
        raise BadInput(
            f"--{', --'.join(name.replace('_', '-') for name in given)} without --engine rehearsal",
            why="a real launch runs at the speed of this machine",
            fix="add --engine rehearsal; or omit it",
        )
    from tasks.rehearsal.what_if import what_if

    simulated = what_if(
        cores=given.get("cores", ""),
        line=given.get("line", ""),
        timing=given.get("timing", ""),
        time_scale=given.get("time_scale", ""),
    )
    session = replace(workspace.session, rehearsal=workspace.session.rehearsal.under(simulated))
    words = tuple(part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value))
    return replace(workspace, session=session, conditions=words)


def _environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {
        **environ,
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "DEPLOY_LOG_DIR": str(folder / "logs"),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TMPDIR": str(folder / "tmp"),
        "PATH": environ.get("PATH", os.defpath),
    }


def _registries(session: Session) -> tuple[str, ...]:
    """The same registries, in separate containers."""
    from tasks.settings.derived import upstream_url

    registries = session.settings.registries
    caches = [{**each.model_dump(), "url": f"{upstream_url(each).rstrip('/')}/{_MARK}"} for each in registries.caches]
    return (
        f"registries.name={REGISTRY}",
        f"registries.port={min(65535, registries.port + 7)}",
        f"registries.caches={json.dumps(caches)}",
    )
