"""From settings and the machine to the facts: the facts that plans are made from, asked side by side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from tasks.clients import docker, helm, k3d
from tasks.core.errors import ClusterAbsent, ClusterStopped, LaunchError
from tasks.core.files import remembered
from tasks.core.units import GIB
from tasks.engine.step import Context
from tasks.facts.cluster import Claim, ClusterState, Presence, cluster_state, refuse_foreign
from tasks.facts.engine import Engine, engine
from tasks.facts.facts import Facts, Shape
from tasks.facts.manifest_files import kustomized
from tasks.facts.network import network
from tasks.facts.ports import docker_ports
from tasks.facts.programs import Versions, versions
from tasks.facts.registries import Registry, registries
from tasks.facts.secrets import read_secrets
from tasks.k3d.create import fetch_kubeconfig
from tasks.k3d.ports import ports_for
from tasks.k3d.registries_yaml import nodes_file
from tasks.process.command import Programs
from tasks.run.desired import desired_keys
from tasks.run.releases import refuse_pending
from tasks.run.session import Session
from tasks.settings.derived import k3s_image, push_container, registries_in_use
from tasks.settings.rules import releases
from tasks.settings.schema import Settings
from tasks.settings.step_names import NEEDS_CLUSTER

_AT_ONCE = 6


class Questions:
    """Questions on their way. Each is asked once: an answer is as old as its question."""

    machine: Future[Engine]
    registries: Future[dict[str, Registry]]
    told: Future[Versions]
    standing: Future[ClusterState]
    published: Future[str]
    """`docker.published()`, where a cluster has yet to be made; empty otherwise."""
    host_images: Future[dict[str, str | None]]
    """The images that the engine will be asked for, each with the platform of that which it has."""

    def __init__(self, session: Session) -> None:
        """Ask."""
        from tasks.settings.derived import (
            host_images,  # not in a thread: two that import the same rooms may wait for each other
        )

        session.check_folders()
        self.begun = time.time()
        """When the first was asked, in seconds of the epoch."""
        settings, programs, kept = session.settings, session.programs(), session.paths.complete
        known = remembered(kept)
        self._pool = pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
        self.machine = pool.submit(engine, programs)
        paths = session.paths
        claim = Claim(owner=session.owner, kept=paths.kubeconfig.exists() or paths.k3d_config.exists())
        self.cluster = pool.submit(cluster_state, programs, settings.cluster.name, known, claim=claim)
        self.registries = pool.submit(registries, programs)
        self.told = pool.submit(versions, programs, session.state)
        self.published = pool.submit(lambda: _published(programs, self.cluster.result().presence))
        self.images = pool.submit(
            lambda: _present(
                programs, host_images(settings, session.environ, self.told.result().k3d or _pinned(session))
            )
        )

    def drop(self) -> None:
        """Nobody waits for answers any more: an engine that hangs would keep its asker for as long as it may take.

        Programs that still run are ended with the call (`tasks.run.task.run_task`).
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
    from tasks.host import programs as pins

    return pins.read(session.root / "config" / "pins.yaml").of("k3d").version


_STARTS = 10.0
"""Seconds for the API of a cluster whose containers run."""


def with_live(facts: Facts, parts: Collection[str]) -> Facts:
    """The same with what is in the cluster. Raises `LaunchError` for an API that does not answer, or refuses us."""
    from tasks.facts.objects import look
    from tasks.kube.client import Patient
    from tasks.kube.wait import NotInTime, api_ready

    if facts.engine != "existing" and not _reachable(facts):
        fetch_kubeconfig(facts, port=_first_api(facts.cluster))
        try:  # one that was started a moment ago needs a little; one that is dead never answers
            api_ready(facts.api, Context(step="the cluster's API", deadline=_STARTS), cap=0.25)
        except NotInTime:
            raise _silent(facts) from None
    interesting = {(release.namespace, release.name): release.wait_for_jobs for release in facts.releases}
    return replace(facts, live=look(Patient(facts.api()), desired_keys(facts, parts), interesting))


def _reachable(facts: Facts) -> bool:
    """Whether the private kubeconfig of an earlier run is still right."""
    from tasks.kube.client import ApiError, credentials, ready

    path = facts.paths.kubeconfig
    if not path.exists():
        return False
    access = credentials(path.read_text(encoding="utf-8"))
    port = _first_api(facts.cluster)
    with contextlib.suppress(ApiError):  # one that this kubeconfig does not fit: it is read from the server again
        return access is not None and access.server.endswith(f":{port}") and ready(facts.api())
    return False


def _first_api(stands: ClusterState) -> int | None:
    return stands.port(6443, first_server=True)


def _silent(facts: Facts) -> LaunchError:
    from tasks.diagnose.node import is_last, node_death

    first = facts.cluster.first
    if first is not None:
        done = facts.programs.run(docker.logs(first.name), quiet=True)
        if any(is_last(line) for line in (done.out + done.err).splitlines()):
            return node_death(first.name, 1, False, done.out + done.err)
    return LaunchError(
        f"the cluster '{facts.name}' runs, but its API does not answer",
        why=f"nothing answered at 127.0.0.1:{_first_api(facts.cluster)} within {_STARTS:g} s",
        fix=f"docker logs k3d-{facts.name}-server-0; `invoke down --stop` and `invoke up` start it again",
    )


def survey(session: Session, parts: Collection[str], *, shared: bool = False) -> Facts:
    """Ask the engine, and, where the cluster runs, its API. Raises `NoEngine`, `BadInput`.

    `shared`: for what all clusters of the engine share; whose the one of this name is does not matter then.
    """
    if session.options.engine == "existing":
        from tasks.run.existing import existing, refuse_taken

        there = existing(session, parts)
        refuse_taken(there, parts)
        refuse_pending(there, parts)
        return there
    from tasks.facts.machine import size
    from tasks.facts.programs import numbers

    settings: Settings = session.settings
    programs = session.programs()
    with _answered(session) as asked:
        host = asked.machine.result()  # NoEngine comes before what follows from it
        stands, kept, version = asked.cluster.result(), asked.registries.result(), asked.told.result()
        host_images, published = asked.images.result(), docker_ports(asked.published.result())
    sized = size(host.cpus, host.memory_bytes)
    agents = settings.cluster.agents if settings.cluster.agents is not None else sized.agents
    concurrency = settings.pool.concurrency or sized.concurrency
    session.system.update(
        cpus=host.cpus,
        memory_gib=round(host.memory_bytes / GIB, 1),
        arch=host.arch,
        os=host.os,
        docker=host.version,
        k3d=version.k3d,
        kubectl=version.kubectl,
        helm=version.helm,
        k3s_image=k3s_image(settings),
    )
    shape = Shape(
        image=k3s_image(settings),
        agents=agents,
        concurrency=concurrency,
        parallel_pulls=settings.pool.downloads if session.resolved.above_default("pool.downloads") else None,
        registries=registries_in_use(settings),
        registries_yaml=nodes_file(settings, session.root, _push_port(settings, kept)),
        network=network(settings, session.environ, session.root),
        owner=session.owner.label,
        subnets=host.subnets,
    )
    secrets, left_out = read_secrets(settings, session.environ, session.root, programs, parts)
    facts = Facts(
        settings=settings,
        root=session.root,
        environ=session.environ,
        programs=programs,
        k3d_programs=replace(programs, env=_k3d_environment(programs, session, settings)),
        helm_programs=programs.with_env(
            helm.environment(session.paths.cache, session.paths.repositories(settings.helm.repositories))
        ),
        paths=session.paths,
        host=host,
        cluster=stands,
        shape=shape,
        ports=ports_for(programs, settings, stands, host, published),
        images={ref: there is not None and docker.fits(there, host.platform) for ref, there in host_images.items()},
        foreign={ref: there for ref, there in host_images.items() if there and not docker.fits(there, host.platform)},
        registries=kept,
        reach=session.reach(),
        releases=releases(settings),
        clear_pending=session.clear_pending,
        helm_version=version.helm or "",
        helm_major=(numbers(version.helm) or (4,))[0],
        rendered=kustomized(settings, session.root, programs, parts),
        secrets=tuple(secrets),
        secrets_left_out=tuple(left_out),
    )
    if not shared:
        refuse_foreign(stands)
    if (NEEDS_CLUSTER | {"cluster"}) & set(parts) and stands.presence is Presence.RUNNING:
        facts = with_live(facts, parts)
        refuse_pending(facts, parts)
    return facts


@contextlib.contextmanager
def _answered(session: Session) -> Iterator[Questions]:
    """The questions that are on their way, or new ones; after an error nobody waits for the others."""
    asked = session.questions or Questions(session)
    session.questions = None
    try:
        yield asked
    finally:
        asked.drop()


def _k3d_environment(programs: Programs, session: Session, settings: Settings) -> dict[str, str]:
    """K3D_IMAGE_… from the settings, where another layer than the environment set them."""
    own = {
        "K3D_IMAGE_TOOLS": settings.cluster.tools_image,
        "K3D_IMAGE_LOADBALANCER": settings.cluster.loadbalancer_image,
    }
    given = {key: value for key, value in own.items() if value}
    return k3d.environment({**session.environ, **programs.env, **given}, session.paths.state)


def _push_port(settings: Settings, kept: dict[str, Registry]) -> int:
    """The host port of the push registry: by it, too, images are named. A new one gets the wish, if it is free."""
    found = kept.get(push_container(settings))
    return found.port if found is not None and found.port is not None else settings.registries.port


def require_running(facts: Facts) -> None:
    """Single tasks work in a cluster that runs, and never make one. Raises `ClusterAbsent`, `ClusterStopped`."""
    presence = facts.cluster.presence
    if not facts.owns_cluster or presence is Presence.RUNNING:
        return
    if presence is Presence.STOPPED:
        raise ClusterStopped(
            f"the cluster '{facts.name}' is stopped",
            why="nodes that do not run: "
            + ", ".join(node.condition for node in facts.cluster.nodes if not node.running),
            fix="invoke cluster starts it; invoke up starts it and does the rest",
        )
    absent = presence is Presence.ABSENT
    raise ClusterAbsent(
        f"there is no cluster '{facts.name}'" + ("" if absent else " whose creation was completed"),
        why="this task works in a cluster that runs, and never makes one",
        fix="invoke cluster makes it; invoke up makes it and does the rest",
    )
