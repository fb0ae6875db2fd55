"""From settings and the machine to a situation: the facts that plans are made from, asked side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace

from tasks import prepull
from tasks.cluster.config import Shape
from tasks.cluster.network import network
from tasks.errors import ClusterAbsent, ClusterStopped
from tasks.facts.ports import docker_ports
from tasks.facts.registries import Registry
from tasks.facts.standing import Presence, refuse_foreign
from tasks.hostports import ports_for
from tasks.inside import with_live
from tasks.kustomize import kustomized
from tasks.launch import NEEDS_CLUSTER
from tasks.questions import Questions
from tasks.registry import nodes_file, push_name, used
from tasks.release_ownership import refuse_pending
from tasks.secrets import values
from tasks.session import Session
from tasks.settings.rules import releases
from tasks.settings.tree import Settings
from tasks.situation import Situation
from tasks.tools import docker, helm, k3d
from tasks.tools.program import Programs


def survey(session: Session, parts: Collection[str], *, shared: bool = False) -> Situation:
    """Ask the engine, and, where the cluster runs, its API. Raises `NoEngine`, `BadInput`.

    `shared`: for what all clusters of the engine share; whose the one of this name is does not matter then.
    """
    if session.options.engine == "existing":
        from tasks.existing import existing, refuse_taken

        there = existing(session, parts)
        refuse_taken(there, parts)
        refuse_pending(there, parts)
        return there
    from tasks.facts.sizing import size
    from tasks.facts.versions import numbers

    settings: Settings = session.settings
    programs = session.programs()
    with _answered(session) as asked:
        host = asked.machine.result()  # NoEngine comes before what follows from it
        stands, kept, version = asked.standing.result(), asked.registries.result(), asked.told.result()
        images, published = asked.images.result(), docker_ports(asked.published.result())
    sized = size(host.cpus, host.memory_bytes)
    agents = settings.cluster.agents if settings.cluster.agents is not None else sized.agents
    concurrency = settings.pool.concurrency or sized.concurrency
    session.system.update(
        cpus=host.cpus,
        memory_gib=round(host.memory_bytes / 1024**3, 1),
        arch=host.arch,
        os=host.os,
        docker=host.version,
        k3d=version.k3d,
        kubectl=version.kubectl,
        helm=version.helm,
        k3s_image=prepull.k3s_image(settings),
    )
    shape = Shape(
        image=prepull.k3s_image(settings),
        agents=agents,
        concurrency=concurrency,
        parallel_pulls=settings.pool.downloads if session.resolved.above_default("pool.downloads") else None,
        registries=used(settings),
        registries_yaml=nodes_file(settings, session.root, _push_port(settings, kept)),
        network=network(settings, session.environ, session.root),
        owner=session.owner.label,
        subnets=host.subnets,
    )
    situation = Situation(
        settings=settings,
        root=session.root,
        environ=session.environ,
        programs=programs,
        k3d_programs=replace(programs, env=_k3d_environment(programs, session, settings)),
        helm_programs=programs.with_env(
            helm.environment(session.folders.cache, session.folders.repositories(settings.helm.repositories))
        ),
        folders=session.folders,
        host=host,
        standing=stands,
        shape=shape,
        ports=ports_for(programs, settings, stands, host, published),
        images={ref: there is not None and docker.fits(there, host.platform) for ref, there in images.items()},
        foreign={ref: there for ref, there in images.items() if there and not docker.fits(there, host.platform)},
        registries=kept,
        reach=session.reach(),
        releases=releases(settings),
        clear_pending=session.clear_pending,
        helm_version=version.helm or "",
        helm_major=(numbers(version.helm) or (4,))[0],
        rendered=kustomized(session, programs, parts),
        **values(session, parts),
    )
    if not shared:
        refuse_foreign(stands)
    if (NEEDS_CLUSTER | {"cluster"}) & set(parts) and stands.presence is Presence.RUNNING:
        situation = with_live(situation, parts)
        refuse_pending(situation, parts)
    return situation


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
    return k3d.environment({**session.environ, **programs.env, **given}, session.folders.state)


def _push_port(settings: Settings, kept: dict[str, Registry]) -> int:
    """The host port of the push registry: by it, too, images are named. A new one gets the wish, if it is free."""
    found = kept.get(push_name(settings))
    return found.port if found is not None and found.port is not None else settings.registries.port


def require_running(situation: Situation) -> None:
    """Single tasks work in a cluster that runs, and never make one. Raises `ClusterAbsent`, `ClusterStopped`."""
    presence = situation.standing.presence
    if not situation.owns_cluster or presence is Presence.RUNNING:
        return
    if presence is Presence.STOPPED:
        raise ClusterStopped(
            f"the cluster '{situation.name}' is stopped",
            why="nodes that do not run: "
            + ", ".join(node.condition for node in situation.standing.nodes if not node.running),
            fix="invoke cluster starts it; invoke up starts it and does the rest",
        )
    absent = presence is Presence.ABSENT
    raise ClusterAbsent(
        f"there is no cluster '{situation.name}'" + ("" if absent else " whose creation was completed"),
        why="this task works in a cluster that runs, and never makes one",
        fix="invoke cluster makes it; invoke up makes it and does the rest",
    )
