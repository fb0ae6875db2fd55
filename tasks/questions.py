"""What a survey asks the engine, all side by side.

`up` asks as soon as its settings are read: answers come while Python still reads the modules of the task itself, which
takes a tenth of a second, and the survey waits only for what is on its way then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from tasks.core.files import remembered
from tasks.facts.engine import Engine, engine
from tasks.facts.registries import Registry, registries
from tasks.facts.standing import Claim, Presence, Standing, standing
from tasks.facts.versions import Versions, versions
from tasks.tools import docker
from tasks.tools.program import Programs

if TYPE_CHECKING:
    from tasks.session import Session

_AT_ONCE = 6


class Questions:
    """Questions on their way. Each is asked once: an answer is as old as its question."""

    machine: Future[Engine]
    registries: Future[dict[str, Registry]]
    told: Future[Versions]
    standing: Future[Standing]
    published: Future[str]
    """`docker.published()`, where a cluster has yet to be made; empty otherwise."""
    images: Future[dict[str, str | None]]
    """The images that the engine will be asked for, each with the platform of that which it has."""

    def __init__(self, session: Session) -> None:
        """Ask."""
        from tasks.prepull import images  # not in a thread: two that import the same rooms may wait for each other

        session.check_folders()
        self.begun = time.time()
        """When the first was asked, in seconds of the epoch."""
        settings, programs, kept = session.settings, session.programs(), session.folders.complete
        known = remembered(kept)
        self._pool = pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        self.machine = pool.submit(engine, programs)
        folders = session.folders
        claim = Claim(owner=session.owner, kept=folders.kubeconfig.exists() or folders.k3d_config.exists())
        self.standing = pool.submit(standing, programs, settings.cluster.name, known, claim=claim)
        self.registries = pool.submit(registries, programs)
        self.told = pool.submit(versions, programs, session.state)
        self.published = pool.submit(lambda: _published(programs, self.standing.result().presence))
        self.images = pool.submit(
            lambda: _present(programs, images(settings, session.environ, self.told.result().k3d or _pinned(session)))
        )

    def drop(self) -> None:
        """Nobody waits for answers any more: an engine that hangs would keep its asker for as long as it may take.

        Programs that still run are ended with the call (`tasks.session.guarded`).
        """
        self._pool.shutdown(wait=False, cancel_futures=True)


def _published(programs: Programs, presence: Presence) -> str:
    if presence not in (Presence.ABSENT, Presence.INCOMPLETE):
        return ""
    return programs.run(docker.published()).out


def _present(programs: Programs, refs: Sequence[str]) -> dict[str, str | None]:
    there = docker.platforms(programs.run(docker.images(refs)).out, refs) if refs else {}
    return {ref: there.get(ref) for ref in refs}


def _pinned(session: Session) -> str:
    """The version of k3d that will be fetched: what it will ask for is known without it."""
    from tasks.setup import pins

    return pins.read(session.root / "config" / "pins.yaml").of("k3d").version
