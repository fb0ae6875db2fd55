"""Stored snapshots of clusters: a manifest each in the user's state folder, data in volumes of the engine.

A snapshot exists if its manifest does. A journal lists what a call is about to create: whoever
finds an abandoned journal removes what no manifest lists.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.core.files import write_whole

FORMAT = 1
"""Version of the manifest format; a later one is rejected."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_NODE = re.compile(r"(server|agent)-[0-9]+(-[0-9]+)?|[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?")
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,200}")
LARGEST = 16_000_000
"""Maximum bytes of a manifest."""


def check_name(name: str) -> str:
    """The same name. Raises `BadInput` if it is no plain file name."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"a snapshot cannot be called '{name}'",
            why="it is used as a file name: letters, digits, '.', '_' and '-', at most 63, and a letter or digit first",
            fix="choose another name",
        )
    return name


@dataclass(frozen=True, kw_only=True)
class SavedNode:
    """One node."""

    place: str
    """`server-0`: its container's name without `k3d-CLUSTER-`."""
    role: str
    node: str
    """Its name in Kubernetes, as in the datastore."""
    volume: str
    """Contains `data` and `password`."""
    bytes: int = 0
    sha256: str = ""
    """Digest of its archive in an exported file."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a snapshot. The token and the k3d configuration are secret."""

    format: int
    name: str
    id: str
    cluster: str
    created: str
    """RFC 3339, UTC."""
    arch: str
    image: str
    """Of the nodes."""
    servers: int
    agents: int
    token: str = field(repr=False)
    config: str
    """The cluster's settings at creation (`tasks.k3d.recorded`)."""
    k3d: str = field(repr=False, default="")
    """The generated k3d configuration."""
    ports: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, str] = field(default_factory=dict)
    """NAMESPACE/NAME and the chart with its version."""
    images: tuple[str, ...] = ()
    """By digest."""
    nodes: tuple[SavedNode, ...] = ()
    engine: str = ""
    """The address of the engine with its volumes."""

    @property
    def bytes(self) -> int:
        """Size of all nodes."""
        return sum(node.bytes for node in self.nodes)

    @property
    def kubernetes(self) -> str:
        """The version in the image's tag."""
        return self.image.rpartition(":")[2]

    def of(self, place: str) -> SavedNode | None:
        """The node of a place."""
        return next((node for node in self.nodes if node.place == place), None)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def parse(text: str, where: str) -> Manifest:
    """Parse and validate an untrusted manifest. Raises `BadInput`."""
    try:
        if len(text) > LARGEST:
            raise ValueError("it is too large")
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise TypeError("it is not an object")
        if isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
            raise BadInput(
                f"{where} is of a later version",
                why=f"its format is {raw['format']}, and this version reads up to {FORMAT}",
                fix="use the version that it was saved with, or a later one",
            )
        nodes = tuple(SavedNode(**each) for each in raw.pop("nodes"))
        found = Manifest(**{**raw, "images": tuple(raw.get("images", ()))}, nodes=nodes)
        _check(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(
            f"{where} is not a snapshot's manifest", why=str(error) or type(error).__name__, fix="save it again"
        ) from None
    return found


def _check(found: Manifest) -> None:
    """Raises ValueError, TypeError for values that this project would not have written."""
    texts: list[Any] = [found.name, found.id, found.cluster, found.created, found.arch, found.image, found.token]
    texts += [found.engine, found.config, found.k3d, *found.labels.values(), *found.releases.values(), *found.images]
    for each in found.nodes:
        texts += [each.place, each.role, each.node, each.volume, each.sha256]
    if any(not isinstance(text, str) for text in texts):
        raise TypeError("a string has another type")
    numbers: list[Any] = [found.format, found.servers, found.agents, *(each.bytes for each in found.nodes)]
    if any(type(number) is not int or number < 0 for number in [*numbers, *found.ports.values()]):
        raise TypeError("a number has another type")
    if found.format != FORMAT or not _NAME.fullmatch(found.name) or not re.fullmatch(r"[0-9a-f]{16}", found.id):
        raise ValueError("its format, name or id is not valid")
    places = [each.place for each in found.nodes]
    if len(set(places)) != len(places) or not all(
        _NODE.fullmatch(each.place) and _NODE.fullmatch(each.node) and _VOLUME.fullmatch(each.volume)
        for each in found.nodes
    ):
        raise ValueError("names of its nodes are not valid")
    roles = [each.role for each in found.nodes]
    if (roles.count("server"), roles.count("agent")) != (found.servers, found.agents) or not found.servers:
        raise ValueError("it does not contain all of its nodes")


@dataclass(frozen=True)
class Store:
    """The folder of all manifests of a user, mode 0700."""

    folder: Path
    engine: str = ""
    """The address of the current engine: journals of another engine are left to calls that use that one."""

    def path(self, name: str) -> Path:
        """The path of a manifest, mode 0600."""
        return self.folder / f"{check_name(name)}.json"

    def lock(self, name: str) -> Path:
        """Locked while a snapshot of this name is written, read or deleted."""
        return self.folder / f"{check_name(name)}.lock"

    def find(self, name: str) -> Manifest | None:
        """The snapshot of this name, or None. Raises `BadInput` if it cannot be read."""
        path = self.path(name)
        try:
            return parse(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} cannot be read", why=str(error), fix="check its owner and mode") from None

    def get(self, name: str) -> Manifest:
        """The snapshot of this name. Raises `BadInput` if there is none."""
        found = self.find(name)
        if found is None:
            names = ", ".join(self.names()) or "there are none"
            raise BadInput(f"there is no snapshot '{name}'", why=f"snapshots of this user: {names}", fix="choose one")
        return found

    def names(self) -> list[str]:
        """All names with a manifest, readable or not."""
        return [path.stem for path in self._paths()]

    def all(self) -> list[Manifest]:
        """All readable snapshots, by name."""
        found = []
        for path in self._paths():
            with contextlib.suppress(BadInput):
                found.append(self.get(path.stem))
        return found

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*.json"))

    def put(self, manifest: Manifest) -> None:
        """Write a manifest, replacing one of the same name. Raises OSError."""
        self.make()
        write_whole(self.path(manifest.name), manifest.text())

    def make(self) -> None:
        """Create the folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def named_volumes(self) -> set[str]:
        """Volumes listed in manifests, including those that cannot be parsed."""
        found: set[str] = set()
        for path in self._paths():
            with contextlib.suppress(OSError):
                found |= set(re.findall(r'"volume": "([^"]+)"', path.read_text(encoding="utf-8", errors="replace")))
        return found

    @contextlib.contextmanager
    def journal(
        self, name: str, *, volumes: Sequence[str], paused: Sequence[str] = (), engine: str | None = None
    ) -> Iterator[Journal]:
        """A journal that is locked while the block runs, and stays after it: see `Journal.path`."""
        engine = self.engine if engine is None else engine
        self.make()
        path = self.folder / f"{name}.journal"
        new = path.with_suffix(".new")  # visible to others only once it is locked
        write_whole(new, json.dumps({"volumes": list(volumes), "paused": list(paused), "engine": engine}))
        handle = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            new.replace(path)
            yield Journal(name=name, path=path, volumes=tuple(volumes), paused=tuple(paused))
        finally:
            os.close(handle)

    def abandoned(self) -> Iterator[Journal]:
        """Unlocked journals of this engine; each is locked while it is examined. An unreadable one is skipped."""
        for path in sorted(self.folder.glob("*.journal")):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raw = json.loads(path.read_text(encoding="utf-8"))
                if raw.get("engine", self.engine) != self.engine:
                    continue
                yield Journal(
                    name=path.stem, path=path, volumes=tuple(raw["volumes"]), paused=tuple(raw.get("paused", ()))
                )
            except (BlockingIOError, FileNotFoundError, ValueError, KeyError, TypeError):
                continue
            finally:
                os.close(handle)


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What a call is about to create."""

    name: str
    """An id: label of its containers."""
    path: Path
    volumes: tuple[str, ...]
    paused: tuple[str, ...]
    """Containers that it pauses."""


@dataclass(frozen=True, kw_only=True)
class Restore:
    """A snapshot that a cluster is created from."""

    manifest: Manifest
    id: str
    """Id of this restore: part of the new volumes' names."""

    def volumes(self, cluster: str, node: SavedNode) -> tuple[str, str]:
        """Names of a node's two new volumes, for its data and its password."""
        stem = f"k3d-{cluster}-{node.place}-{self.id[:8]}"
        return f"{stem}-data", f"{stem}-node"

    def chosen(self) -> Iterator[tuple[str, SavedNode]]:
        """Each node with k3d's filter for its new node: agents that were added have other names."""
        for role in ("server", "agent"):
            for number, node in enumerate(each for each in self.manifest.nodes if each.role == role):
                yield f"{role}:{number}", node
