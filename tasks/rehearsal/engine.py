"""The engine `rehearsal`: a session whose programs, folders and times are a rehearsal's own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.rehearsal.place import VARIABLE, Place, occupy, prepare
from tasks.run.task import REHEARSAL_NOTE

if TYPE_CHECKING:
    from tasks.engine.step import Bounds, Step
    from tasks.facts.facts import Facts
    from tasks.rehearsal.backend import Rehearsed
    from tasks.rehearsal.model import Scene
    from tasks.rehearsal.what_if import WhatIf
    from tasks.run.session import Session

FOLDER = "rehearsal"
"""Below DEPLOY_LOG_DIR."""
_DROPPED = ("DOCKER_", "HELM_", "KUBECONFIG", "KUBERNETES_", "K3D_HELPER")
"""Variables by which real programs are led to real things: stand-ins need none of them."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a session knows of its rehearsal."""

    place: Place
    root: Path
    what_if: WhatIf
    note: str = REHEARSAL_NOTE

    def backend(self) -> Rehearsed:
        """The API and the registries of its state."""
        from tasks.rehearsal.backend import Rehearsed

        return Rehearsed(self.place)

    def stage(
        self, steps: Sequence[Step], facts: Facts, bounds: Bounds, scene: Scene | None = None
    ) -> Mapping[str, float]:
        """Tell the stand-ins how long what these steps ask for will take. Returns the seconds expected of each step.

        `scene`: what is not in the steps, where it is not that of a launch of ours.
        """
        from tasks.rehearsal.staging import staged

        times, seconds = staged(self.root, self.what_if, steps, facts, bounds, scene)
        _write(self.place.folder / "times.json", {**times, "scale": self.what_if.scale})
        _write(self.place.folder / "kinds.json", _brought(facts))
        return {name: took * self.what_if.scale for name, took in seconds.items()} if self.what_if.scale else {}

    def ask(self, what_if: WhatIf) -> Rehearsal:
        """The same under other circumstances; faults of before are over. Raises `BadInput` for a fault that is none."""
        from tasks.rehearsal.faults import write

        write(self.place.folder, what_if.faults)
        _mend(self.place)
        cores = {"NCPU": math.ceil(what_if.cores)} if what_if.cores else {}
        _write(self.place.folder / "machine.json", cores)
        return replace(self, what_if=what_if)

    def leave(self) -> None:
        """Clear all of it, when the last of its clusters is gone."""
        from tasks.rehearsal.containers import blank
        from tasks.rehearsal.place import clear
        from tasks.rehearsal.store import Store

        def unused() -> bool:
            there = Store(self.place.engine, blank).read()["containers"].values()
            return not any(each["labels"].get("k3d.role") == "server" for each in there)

        clear(self.place.folder, unused)


def enter(session: Session) -> Session:
    """The same session on a rehearsal. Raises `BadInput` where its folder cannot be ours."""
    from tasks.core.paths import log_folder
    from tasks.rehearsal.what_if import WhatIf

    folder = log_folder(Path(session.settings.log_dir)) / FOLDER
    occupy(folder)
    prepare(folder)
    place = Place(folder)
    made = Rehearsal(place=place, root=session.root, what_if=WhatIf())
    return replace(session, environ=environment(session.environ, place), rehearsal=made)


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


def _mend(place: Place) -> None:
    """Faults have changed: what would have failed by the ones before may get well."""
    import time

    from tasks.rehearsal.cluster import store
    from tasks.rehearsal.faults import Faults
    from tasks.rehearsal.times import Times
    from tasks.rehearsal.workloads import World, mend

    for path in place.state.glob("cluster-*.db"):
        with store(place, path.stem.removeprefix("cluster-")).change() as doc:
            mend(World(doc, time.time(), Times(place.read("times.json", {})), Faults(place)))


def environment(environ: Mapping[str, str], place: Place) -> dict[str, str]:
    """Nothing in it leads to the user's own Docker, clusters or Helm; what a launch remembers is the rehearsal's."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}
    home, path = place.folder / "home", environ.get("PATH", "").split(":")
    return {
        **kept,
        VARIABLE: str(place.folder),
        "PATH": ":".join([str(place.bin), *(each for each in path if each != str(place.bin))]),
        "KUBECONFIG": str(home / "kubeconfig"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


def _write(path: Path, value: Mapping[str, object]) -> None:
    from tasks.core.files import write_whole

    write_whole(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
