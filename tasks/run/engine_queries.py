"""Queries to the engine and the programs, concurrently, and started before they are needed where that is known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.clients import docker
from tasks.core.files import remembered
from tasks.facts.cluster import Claim, Presence, cluster_state
from tasks.facts.engine import engine
from tasks.facts.programs import read_pins, versions
from tasks.settings.derived import host_images, push_container, registries_in_use

if TYPE_CHECKING:
    from tasks.facts.cluster import ClusterState
    from tasks.facts.engine import Engine
    from tasks.facts.facts import Shape
    from tasks.facts.programs import Versions
    from tasks.facts.registries import Registry
    from tasks.process.programs import Programs
    from tasks.run.session import Session
    from tasks.settings.schema import Settings

Answer = TypeVar("Answer")
_INSIDE = frozenset({"namespaces", "secrets", "manifests"})
"""Parts that neither make a cluster nor bring images."""
_CONCURRENT = 7


class EngineQueries:
    """Queries to the engine and the programs, each once, in threads; an answer is as old as its query."""

    def __init__(self, session: Session, parts: Collection[str] = ()) -> None:
        """Start those that these parts of a launch need; none given: all."""
        session.check_folders()
        self.started = time.time()
        """Seconds of the epoch."""
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
        """Start one more, which may wait for the others."""
        return self._pool.submit(question)

    def cancel(self) -> None:
        """Stop waiting for answers, which an engine that hangs never gives; its programs are ended with the call."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class CreationQueries:
    """Queries that only plans need which make or change a cluster, or bring images."""

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
    """Ports that containers publish, where a cluster has yet to be created."""
    if presence not in (Presence.ABSENT, Presence.INCOMPLETE):
        return frozenset()
    from tasks.facts.ports import docker_ports

    return docker_ports(programs.run(docker.published()).out)


def _platforms(programs: Programs, refs: Sequence[str]) -> dict[str, str | None]:
    """The platform of each image that the engine has; None: it does not have it."""
    there = docker.platforms(programs.run(docker.images(refs)).out, refs) if refs else {}
    return {ref: there.get(ref) for ref in refs}


def _pinned_k3d(session: Session) -> str:
    """The version of k3d that will be fetched: the images that it will use are known without it."""
    return read_pins(session.root).of("k3d").version


@contextlib.contextmanager
def engine_queries(session: Session, parts: Collection[str]) -> Iterator[EngineQueries]:
    """Those that were started ahead, or new ones; after an error nobody waits for the others."""
    started = session.queries or EngineQueries(session, parts)
    session.queries = None
    try:
        yield started
    finally:
        started.cancel()


# What a cluster is made from: images, registries, ports that are taken, the network of its nodes


def creation_facts(
    session: Session, programs: Programs, queries: CreationQueries, host: Engine, shape: Shape
) -> dict[str, Any]:
    """Fields of `Facts`, but for the ports that are chosen."""
    from tasks.facts.network import network
    from tasks.k3d.registries_yaml import nodes_file

    settings: Settings = session.settings
    existing, images = queries.registries.result(), queries.images.result()
    return {
        "helm_programs": session.helm_programs(),
        "k3d_programs": replace(programs, env=_k3d_environment(programs, session, settings)),
        "shape": replace(
            shape,
            parallel_pulls=settings.pool.downloads if session.resolved.above_default("pool.downloads") else None,
            registries=registries_in_use(settings),
            registries_yaml=nodes_file(settings, session.root, _push_port(settings, existing)),
            network=network(settings, session.environ, session.root),
        ),
        "images": {ref: there is not None and docker.fits(there, host.platform) for ref, there in images.items()},
        "other_platforms": {
            ref: there for ref, there in images.items() if there and not docker.fits(there, host.platform)
        },
        "registries": existing,
    }


def _k3d_environment(programs: Programs, session: Session, settings: Settings) -> dict[str, str]:
    """K3D_IMAGE_… from the settings, where another layer than the environment set them."""
    from tasks.clients import k3d

    own = {
        "K3D_IMAGE_TOOLS": settings.cluster.tools_image,
        "K3D_IMAGE_LOADBALANCER": settings.cluster.loadbalancer_image,
    }
    given = {key: value for key, value in own.items() if value}
    return k3d.environment({**session.environ, **programs.env, **given}, session.paths.state)


def _push_port(settings: Settings, existing: dict[str, Registry]) -> int:
    """The host port of the push registry, by which images are named too. A new one gets the desired one, if free."""
    found = existing.get(push_container(settings))
    return found.port if found is not None and found.port is not None else settings.registries.port
