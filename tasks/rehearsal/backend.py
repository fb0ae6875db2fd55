"""The engine `rehearsal`: a session with simulated programs, API, folders and times."""

from __future__ import annotations

import heapq
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tasks.clients.registry_http import NotFetched
from tasks.clients.volumes import LABEL
from tasks.engine.estimate import expecting, history_file, load
from tasks.kube.client import Api, ApiError, built_in
from tasks.rehearsal import engine, objects
from tasks.rehearsal.apiserver import ApiServer, Silent, find, port_of
from tasks.rehearsal.controllers import ControlPlane, heal
from tasks.rehearsal.faults import Faults, Times, write
from tasks.rehearsal.folder import FORM, VARIABLE, Folder, clear, occupy, prepare
from tasks.rehearsal.objects import Objects, bucket
from tasks.rehearsal.program import starter
from tasks.rehearsal.what_if import WhatIf, staged
from tasks.run.task import REHEARSAL_NOTE
from tasks.settings.derived import PARTS

if TYPE_CHECKING:
    from tasks.core.imageref import Reference
    from tasks.engine.step import Action, Bounds, Context, Report, Step
    from tasks.facts.facts import Facts
    from tasks.process.programs import Programs
    from tasks.process.runner import Starter
    from tasks.rehearsal.objects import Record
    from tasks.run.session import Session

Place = tuple[str, str]
"""Namespace and name."""
_LOOK = 0.02
"""Seconds between two checks for changes."""
_OVERLAP = 1_000_000
"""Microseconds: changes up to that long before the start version of a watch are sent again."""


class RehearsalApi(Api):
    """An API at a port of this machine. Thread-safe."""

    def __init__(self, folder: Folder, port: int) -> None:
        self.port = port
        self._server = ApiServer(folder)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text."""
        return self._ask("GET", path)

    def patch(self, path: str, body: str) -> tuple[int, str]:
        """Server-side apply of one object."""
        return self._ask("PATCH", path, body)

    def watch(self, path: str) -> Changes:
        """The lines of a watch of one kind, in all namespaces. Raises `ApiError` if it is rejected or unanswered."""
        bare, _, query = path.partition("?")
        self.get(bare)
        given = {key: values[-1] for key, values in parse_qs(query).items()}
        try:
            return Changes(self._server, self.port, bare, int(given["resourceVersion"]), float(given["timeoutSeconds"]))
        except Silent as error:
            raise self._silent(error) from None

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        try:
            return self._server.request(method, self.port, path, body)
        except Silent as error:
            raise self._silent(error) from None

    def _silent(self, error: Silent) -> ApiError:
        return ApiError(0, f"the API at 127.0.0.1:{self.port} does not answer", f"[Errno 111] {error}")


class Changes:
    """A watch: see `tasks.kube.client.Stream`."""

    def __init__(self, server: ApiServer, port: int, path: str, version: int, lasts: float) -> None:
        self._server, self._port = server, port
        self._store = server.objects(server.server(port)["labels"]["k3d.cluster"])
        with self._store.read() as view:
            self._target = find(path, server.served(view, time.time()))
        self._from, self._until = version - _OVERLAP, time.monotonic() + lasts
        self._over = threading.Event()
        self._records: dict[Place, Record] = {}
        self._sent: dict[Place, int] = {}
        """Versions of the existing objects, as last sent."""
        self._due: list[tuple[float, Place]] = []
        """A heap of the times when objects will change on their own."""

    def close(self) -> None:
        """End the stream; from any thread."""
        self._over.set()

    def __iter__(self) -> Iterator[str]:
        kind, seq = bucket(self._target.api_version, self._target.kind), -1
        while time.monotonic() < self._until and not self._over.is_set():
            now = time.time()
            due = bool(self._due) and self._due[0][0] <= now
            if seq >= 0 and not due and self._store.seq() == seq:
                self._over.wait(_LOOK)
                continue
            if not self._server.is_serving(self._port):
                return
            first = seq < 0
            with self._store.read() as view:
                seq, changed, gone = view.changed(kind, seq)
            fresh = {_place(record["object"]): record for record in changed}
            self._records |= fresh
            places = dict.fromkeys(fresh)
            while self._due and self._due[0][0] <= now:
                places[heapq.heappop(self._due)[1]] = None
            for place in places:
                yield from self._changed(place, now, first=first)
            for moment, obj in gone:
                yield from self._deleted(moment, obj, first=first)

    def _changed(self, place: Place, now: float, *, first: bool) -> Iterator[str]:
        """The current state of an object; also records when it will change on its own."""
        record = self._records.get(place)
        if record is None:
            return
        due = objects.next_change(record, now)
        if due < float("inf"):
            heapq.heappush(self._due, (due, place))
        before = self._sent.get(place)
        if objects.exists(record, now):
            version = self._sent[place] = objects.version_of(record, now)
            if version != before and (not first or version >= self._from):
                yield self._line("ADDED" if before is None else "MODIFIED", objects.seen(record, now))

    def _deleted(self, moment: float, obj: dict[str, Any], *, first: bool) -> Iterator[str]:
        """Deleted objects; another one of the same name may exist by now."""
        place = _place(obj)
        if self._records.get(place, {"object": obj})["object"]["metadata"]["uid"] != obj["metadata"]["uid"]:
            return
        self._records.pop(place, None)
        if self._sent.pop(place, None) is not None or (first and objects.micro(moment) >= self._from):
            yield self._line("DELETED", obj)

    def _line(self, word: str, obj: dict[str, Any]) -> str:
        typed = {**obj, "apiVersion": self._target.api_version, "kind": self._target.kind}
        return json.dumps({"type": word, "object": typed}) + "\n"


def _place(obj: dict[str, Any]) -> Place:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


FOLDER = "rehearsal"
"""Below DEPLOY_LOG_DIR."""
_SIZE = 20_000_000
"""Default bytes of an image."""
_DROPPED = ("DOCKER_", "HELM_", "KUBECONFIG", "KUBERNETES_", "K3D_HELPER")
"""Variables that point real programs to real targets: the simulated ones need none of them."""


class Rehearsed:
    """See `tasks.facts.backend.Backend`: the API and the registries in the rehearsal's state."""

    name = "rehearsal"
    owns_cluster = True
    rehearsed = True
    parts: tuple[str, ...] = PARTS
    needs_programs: tuple[str, ...] = ()

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def api(self, kubeconfig: Path, programs: Programs) -> Api:
        """The API of a rehearsed cluster. Raises `ApiError` for other kubeconfigs: a rehearsal reaches nothing real."""
        del programs
        port = port_of(kubeconfig.read_text(encoding="utf-8"))
        if port is None:
            raise ApiError(0, f"{kubeconfig} is not of a rehearsed cluster", "a rehearsal reaches nothing real")
        return RehearsalApi(self._folder, port)

    def server_answers(self, host: str, port: int) -> bool:
        """Whether a rehearsed server has started."""
        del host
        return ApiServer(self._folder).is_serving(port)

    def http_status(self, address: str, port: int, host: str, path: str) -> int:
        """Always successful: nothing listens at a rehearsed port."""
        del address, port, host, path
        return 200

    def registry_answers(self, port: int, context: Context, seconds: float) -> bool:
        """At once: the simulated `docker run` takes the time that a registry needs."""
        del port, context, seconds
        return True

    def cache_fault(self, port: int, image: Reference) -> str:
        """None: a lost connection is not rehearsed, and without a cache a rehearsed node uses the registry itself."""
        del port, image
        return ""

    def digest(self, port: int, image: Reference) -> str | None:
        """Only for pushed images; not for those in a cache."""
        registry = engine.port_owner(self._folder.engine.read(), port, time.time())
        names = {image._replace(registry=f"{host}{port}").full for host in engine.LOOPBACK}
        pushed = registry is not None and names & set(registry["holds"])
        return f"sha256:{engine.fake_digest(image.full)}" if pushed else None

    def layers(self, port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
        """Empty: only the total size of a rehearsed image is known."""
        del port, image, arch, context
        return {}

    def fetch(self, port: int, image: Reference, arch: str, context: Context) -> int:
        """Takes its time, once for each image. Raises `NotFetched` if no registry runs at that port."""
        del arch
        with self._folder.engine.change() as doc:
            registry = engine.port_owner(doc, port, time.time())
            if registry is None:
                raise NotFetched(f"the cache at 127.0.0.1:{port} does not answer", why="it is not running")
            if engine.hold(registry, image.full):
                return 0
        context.wait(Times.of(self._folder).seconds("fetch", image.full, image.listed))
        return _SIZE

    def own(self, key: tuple[str, str], act: Action, context: Context) -> Report | None:
        """Only takes the time; nothing runs."""
        del act
        context.wait(Times.of(self._folder).seconds(*key))
        return None


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A session's rehearsal."""

    folder: Folder
    root: Path
    what_if: WhatIf
    past: Mapping[str, float] = field(default_factory=dict)
    """Seconds of steps in this user's real launches, for the user's own commands."""
    note: str = REHEARSAL_NOTE

    @property
    def start(self) -> Starter:
        """Runs the simulated programs."""
        return starter(self.folder.bin)

    def backend(self) -> Rehearsed:
        """The API and the registries of its state."""
        return Rehearsed(self.folder)

    def stage(self, steps: Sequence[Step], facts: Facts, bounds: Bounds) -> Mapping[str, float]:
        """Write the times of the simulated programs for these steps. Returns the expected seconds of each step."""
        times, seconds = staged(self.root, self.what_if, expecting(steps, self.past), facts, bounds)
        _write(self.folder.root / "times.json", {**times, "scale": self.what_if.scale})
        _write(self.folder.root / "kinds.json", _brought(facts))
        return {name: took * self.what_if.scale for name, took in seconds.items()} if self.what_if.scale else {}

    def under(self, what_if: WhatIf) -> Rehearsal:
        """The same under other conditions; earlier faults are cleared."""
        write(self.folder, what_if.faults)
        _heal(self.folder)
        cores = {"NCPU": math.ceil(what_if.cores)} if what_if.cores else {}
        _write(self.folder.root / "machine.json", cores)
        return replace(self, what_if=what_if)

    def leave(self) -> None:
        """Remove all of it, once the last of its clusters is gone and no snapshot is left."""

        def unused() -> bool:
            doc = self.folder.engine.read()
            saved = any(LABEL in labels for labels in doc["volumes"].values())
            there = doc["containers"].values()
            return not saved and not any(engine.role(each) == "server" for each in there)

        clear(self.folder.root, unused)


def enter(session: Session) -> Session:
    """The same session on a rehearsal. Raises `BadInput` if its folder cannot be used."""
    from tasks.core.paths import log_folder

    root = log_folder(Path(session.settings.log_dir)) / FOLDER
    occupy(root)
    prepare(root)
    folder = Folder(root)
    past = load(history_file(session.environ), "k3d")
    made = Rehearsal(folder=folder, root=session.root, what_if=WhatIf(), past=past)
    return replace(session, environ=environment(session.environ, folder), rehearsal=made)


def _brought(facts: Facts) -> dict[str, list[list[object]]]:
    """Kinds of the user's manifests that k3s, or a release, will define: a rehearsal cannot know which of them."""
    from tasks.kube.objects import of_k3s

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
    """After a change of faults: pods that failed because of earlier ones may become ready."""
    for path in folder.state.glob(f"cluster-{FORM}-*.db"):
        with Objects(path).change() as doc:
            heal(ControlPlane(doc, time.time(), Times.of(folder), Faults(folder)))


def environment(environ: Mapping[str, str], folder: Folder) -> dict[str, str]:
    """Nothing in it points to the user's own Docker, clusters or Helm; a launch's records are the rehearsal's."""
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
