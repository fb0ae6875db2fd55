"""The engine `rehearsal`: a session whose programs, API, folders and times are a rehearsal's own."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.clients.registry_http import NotFetched
from tasks.clients.volumes import LABEL
from tasks.engine.estimate import expecting, history_file, load
from tasks.kube.client import ApiError
from tasks.rehearsal import engine
from tasks.rehearsal.api import RehearsalApi
from tasks.rehearsal.apiserver import ApiServer, port_of
from tasks.rehearsal.controllers import ControlPlane, heal
from tasks.rehearsal.faults import Faults, write
from tasks.rehearsal.folder import VARIABLE, Folder, clear, occupy, prepare
from tasks.rehearsal.objects import Objects
from tasks.rehearsal.staging import staged
from tasks.rehearsal.times import Times
from tasks.rehearsal.what_if import WhatIf
from tasks.run.task import REHEARSAL_NOTE
from tasks.settings.step_names import PARTS

if TYPE_CHECKING:
    from tasks.core.imageref import Reference
    from tasks.engine.step import Action, Bounds, Context, Report, Step
    from tasks.facts.facts import Facts
    from tasks.kube.client import Api
    from tasks.process.programs import Programs
    from tasks.run.session import Session

FOLDER = "rehearsal"
"""Below DEPLOY_LOG_DIR."""
_SIZE = 20_000_000
"""Bytes of an image of which nothing is known."""
_DROPPED = ("DOCKER_", "HELM_", "KUBECONFIG", "KUBERNETES_", "K3D_HELPER")
"""Variables by which real programs are led to real things: stand-ins need none of them."""


class Rehearsed:
    """See `tasks.facts.backend.Backend`: the cluster's API and the registries in the rehearsal's state."""

    name = "rehearsal"
    owns_cluster = True
    rehearsed = True
    parts: tuple[str, ...] = PARTS
    needs_programs: tuple[str, ...] = ()

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def api(self, kubeconfig: Path, programs: Programs) -> Api:
        """Of a rehearsed cluster. Raises `ApiError` for a kubeconfig of any other: a rehearsal touches nothing real."""
        del programs
        port = port_of(kubeconfig.read_text(encoding="utf-8"))
        if port is None:
            raise ApiError(0, f"{kubeconfig} is of no rehearsed cluster", "a rehearsal reaches nothing real")
        return RehearsalApi(self._folder, port)

    def server_answers(self, host: str, port: int) -> bool:
        """Whether a rehearsed server has come so far."""
        del host
        return ApiServer(self._folder).answers(port)

    def http_status(self, address: str, port: int, host: str, path: str) -> int:
        """Well: nothing listens at a rehearsed port."""
        del address, port, host, path
        return 200

    def registry_answers(self, port: int, context: Context, seconds: float) -> bool:
        """At once: `docker run` of the stand-in takes the time that a registry needs."""
        del port, context, seconds
        return True

    def cache_fault(self, port: int, image: Reference) -> str:
        """A line that is down is not rehearsed, and without its cache a rehearsed node asks the registry itself."""
        del port, image
        return ""

    def digest(self, port: int, image: Reference) -> str:
        """Of what was pushed there; what a cache has, it does not tell."""
        registry = engine.port_owner(self._folder.engine.read(), port, time.time())
        names = {image._replace(registry=f"{host}{port}").full for host in engine.LOOPBACK}
        pushed = registry is not None and names & set(registry["holds"])
        return f"sha256:{engine.fake_digest(image.full)}" if pushed else ""

    def layers(self, port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
        """None: of a rehearsed image only the whole has a size."""
        del port, image, arch, context
        return {}

    def fetch(self, port: int, image: Reference, arch: str, context: Context) -> int:
        """Takes its time, once for each image. Raises `NotFetched` where no registry runs at that port."""
        del arch
        with self._folder.engine.change() as doc:
            registry = engine.port_owner(doc, port, time.time())
            if registry is None:
                raise NotFetched(f"the cache at 127.0.0.1:{port} does not answer", why="it does not run")
            if engine.hold(registry, image.full):
                return 0
        context.wait(Times.of(self._folder).seconds("fetch", image.full, image.listed))
        return _SIZE

    def own(self, key: tuple[str, str], act: Action, context: Context) -> Report | None:
        """Takes its time; nothing of it runs."""
        del act
        context.wait(Times.of(self._folder).seconds(*key))
        return None


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a session knows of its rehearsal."""

    folder: Folder
    root: Path
    what_if: WhatIf
    past: Mapping[str, float] = field(default_factory=dict)
    """Seconds that steps took in this user's real launches: those of the user's own commands take them."""
    note: str = REHEARSAL_NOTE

    def backend(self) -> Rehearsed:
        """The API and the registries of its state."""
        return Rehearsed(self.folder)

    def stage(self, steps: Sequence[Step], facts: Facts, bounds: Bounds) -> Mapping[str, float]:
        """Write how long the stand-ins take for what these steps need. Returns the seconds expected of each step."""
        times, seconds = staged(self.root, self.what_if, expecting(steps, self.past), facts, bounds)
        _write(self.folder.root / "times.json", {**times, "scale": self.what_if.scale})
        _write(self.folder.root / "kinds.json", _brought(facts))
        return {name: took * self.what_if.scale for name, took in seconds.items()} if self.what_if.scale else {}

    def under(self, what_if: WhatIf) -> Rehearsal:
        """The same under other circumstances; faults of before are over. Raises `BadInput` for a fault that is none."""
        write(self.folder, what_if.faults)
        _heal(self.folder)
        cores = {"NCPU": math.ceil(what_if.cores)} if what_if.cores else {}
        _write(self.folder.root / "machine.json", cores)
        return replace(self, what_if=what_if)

    def leave(self) -> None:
        """Clear all of it, when the last of its clusters is gone and no snapshot is left."""

        def unused() -> bool:
            doc = self.folder.engine.read()
            saved = any(LABEL in labels for labels in doc["volumes"].values())
            there = doc["containers"].values()
            return not saved and not any(each["labels"].get("k3d.role") == "server" for each in there)

        clear(self.folder.root, unused)


def enter(session: Session) -> Session:
    """The same session on a rehearsal. Raises `BadInput` where its folder cannot be ours."""
    from tasks.core.paths import log_folder

    root = log_folder(Path(session.settings.log_dir)) / FOLDER
    occupy(root)
    prepare(root)
    folder = Folder(root)
    past = load(history_file(session.environ), "k3d")
    made = Rehearsal(folder=folder, root=session.root, what_if=WhatIf(), past=past)
    return replace(session, environ=environment(session.environ, folder), rehearsal=made)


def _brought(facts: Facts) -> dict[str, list[list[object]]]:
    """Kinds of the user's manifests that k3s, or a release, will bring: which of them, a rehearsal cannot know."""
    from tasks.kube.objects import built_in, of_k3s

    found: dict[str, list[list[object]]] = {"k3s": [], "releases": []}
    if facts.settings.manifests.files:
        from tasks.run.desired import user_objects

        for each in user_objects(facts):
            version = str(each["apiVersion"])
            row: list[object] = [version, each["kind"], bool(each["metadata"].get("namespace"))]
            if not built_in(version):
                found["k3s" if of_k3s(version) else "releases"].append(row)
    return found


def _heal(folder: Folder) -> None:
    """Faults have changed: what would have failed by the ones before may become ready."""
    for path in folder.state.glob("cluster-*.db"):
        with Objects(path).change() as doc:
            heal(ControlPlane(doc, time.time(), Times.of(folder), Faults(folder)))


def environment(environ: Mapping[str, str], folder: Folder) -> dict[str, str]:
    """Nothing in it leads to the user's own Docker, clusters or Helm; what a launch remembers is the rehearsal's."""
    passed = {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}
    home, path = folder.root / "home", environ.get("PATH", "").split(":")
    return {
        **passed,
        VARIABLE: str(folder.root),
        "PATH": ":".join([str(folder.bin), *(each for each in path if each != str(folder.bin))]),
        "KUBECONFIG": str(home / "kubeconfig"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


def _write(path: Path, value: Mapping[str, object]) -> None:
    from tasks.core.files import write_whole

    write_whole(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
