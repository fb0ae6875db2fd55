"""Queries to the engine and the programs, concurrent, and started ahead if the need is known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tasks.clients import docker
from tasks.core.files import remembered
from tasks.facts.cluster import Claim, Presence, cluster_state
from tasks.facts.engine import engine
from tasks.facts.programs import read_pins, versions
from tasks.settings.derived import host_images

if TYPE_CHECKING:
    from tasks.facts.cluster import ClusterState
    from tasks.facts.programs import Versions
    from tasks.process.programs import Programs
    from tasks.run.session import Session

Answer = TypeVar("Answer")
_INSIDE = frozenset({"namespaces", "secrets", "manifests"})
"""Parts that neither create a cluster nor bring images."""
_CONCURRENT = 7


class EngineQueries:
    """Queries to the engine and the programs, each once, in threads; an answer is as old as its query."""

    def __init__(self, session: Session, parts: Collection[str] = ()) -> None:
        """Start the queries that these parts of a launch need; all if none are given."""
        session.check_folders()
        self.started = time.time()
        """Start time, in seconds of the epoch."""
        settings, programs, paths = session.settings, session.programs(), session.paths
        claim = Claim(owner=session.owner, known=paths.kubeconfig.exists() or paths.k3d_config.exists())
        complete = remembered(paths.complete)
        self._pool = pool = ThreadPoolExecutor(max_workers=_CONCURRENT)
        self.engine = pool.submit(engine, programs)
        self.cluster = pool.submit(cluster_state, programs, settings.cluster.name, complete, claim=claim)
        self.versions = pool.submit(versions, programs, session.state)
        self.creation: CreationQueries | None = None
        if not parts or not _INSIDE.issuperset(parts):
            self.creation = CreationQueries(session, pool, self.cluster, self.versions)

    def ask(self, question: Callable[[], Answer]) -> Future[Answer]:
        """Start another query, which may wait for the others."""
        return self._pool.submit(question)

    def cancel(self) -> None:
        """Stop waiting for answers, which a hanging engine never gives; its programs are terminated with the call."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class CreationQueries:
    """Queries for plans that create or change a cluster, or bring images."""

    def __init__(
        self, session: Session, pool: Executor, cluster: Future[ClusterState], version: Future[Versions]
    ) -> None:
        """Start them."""
        from tasks.facts.registries import registries

        programs = session.programs()
        self.registries = pool.submit(registries, programs)
        self.published = pool.submit(lambda: _published(programs, cluster.result().presence))
        self.images = pool.submit(
            lambda: _platforms(
                programs,
                host_images(session.settings, session.environ, version.result().k3d or _pinned_k3d(session)),
            )
        )


def _published(programs: Programs, presence: Presence) -> frozenset[int]:
    """Ports that containers publish, if a cluster is still to be created."""
    if not presence.to_create:
        return frozenset()
    from tasks.facts.ports import published_ports

    return published_ports(programs)


def _platforms(programs: Programs, refs: Sequence[str]) -> dict[str, str | None]:
    """The platform of each image in the engine; None: it does not have it."""
    there = docker.platforms(programs.run(docker.images(refs)).out, refs) if refs else {}
    return {ref: there.get(ref) for ref in refs}


def _pinned_k3d(session: Session) -> str:
    """The version of k3d that will be downloaded, from which its images follow."""
    return read_pins(session.root).of("k3d").version


@contextlib.contextmanager
def engine_queries(session: Session, parts: Collection[str]) -> Iterator[EngineQueries]:
    """The queries started ahead, or new ones; after an error the others are not awaited."""
    started = session.queries or EngineQueries(session, parts)
    session.queries = None
    try:
        yield started
    finally:
        started.cancel()
