"""From settings and the machine to a situation: the facts that plans are made from, asked side by side."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tasks import prepull, registry
from tasks.cluster.config import Shape
from tasks.errors import BadInput, ClusterAbsent, ClusterStopped
from tasks.facts.asking import side_by_side
from tasks.facts.registries import Registry, read
from tasks.facts.standing import Presence, standing
from tasks.hostports import ports_for
from tasks.inside import with_live
from tasks.launch import NEEDS_CLUSTER
from tasks.secrets import values
from tasks.session import Session
from tasks.settings.rules import releases
from tasks.settings.tree import Settings
from tasks.situation import Situation
from tasks.tools import docker, helm, k3d
from tasks.tools.program import Programs


def survey(session: Session, parts: Collection[str]) -> Situation:
    """Ask the engine, and, where the cluster runs, its API. Raises `NoEngine`, `BadInput`."""
    if session.options.engine == "existing":
        from tasks.existing import existing

        return existing(session, parts)
    from tasks.facts.engine import engine
    from tasks.facts.sizing import size
    from tasks.facts.versions import numbers, versions

    settings: Settings = session.settings
    programs = session.programs()
    known = session.folders.complete.read_text().strip() if session.folders.complete.exists() else None
    with side_by_side(5) as pool:
        machine = pool.submit(engine, programs)
        found = pool.submit(standing, programs, settings.cluster.name, known)
        shared = pool.submit(_registries, programs)
        told = pool.submit(versions, programs, session.state)
        asked = pool.submit(lambda: _images(session, programs, told.result().k3d))
        host = machine.result()  # NoEngine comes before what follows from it
        stands, kept, version = found.result(), shared.result(), told.result()
        images = asked.result()
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
        registries=registry.used(settings),
        registries_yaml=registry.nodes_file(settings, session.root, _push_port(settings, kept)),
    )
    situation = Situation(
        settings=settings,
        root=session.root,
        environ=session.environ,
        programs=programs,
        k3d_programs=replace(programs, env=_k3d_environment(programs, session, settings)),
        helm_programs=programs.with_env(helm.environment(session.folders.cache)),
        folders=session.folders,
        host=host,
        standing=stands,
        shape=shape,
        ports=ports_for(programs, settings, stands, host),
        images=images,
        registries=kept,
        reach=session.reach(),
        releases=releases(settings),
        helm_version=version.helm or "",
        helm_major=(numbers(version.helm) or (4,))[0],
        **values(session, parts),
    )
    refuse_foreign(situation)
    if (NEEDS_CLUSTER | {"cluster"}) & set(parts) and stands.presence is Presence.RUNNING:
        return with_live(situation, parts)
    return situation


def _images(session: Session, programs: Programs, k3d_version: str | None) -> dict[str, bool]:
    """The images that the engine will be asked for, and whether it has each."""
    refs = prepull.images(session.settings, session.environ, k3d_version or _pinned(session))
    there = docker.present(programs.run(docker.images(refs)).out, refs) if refs else frozenset()
    return {ref: ref in there for ref in refs}


def _pinned(session: Session) -> str:
    """The version of k3d that will be fetched: what it will ask for is known without it."""
    from tasks.setup import pins

    return pins.read(session.root / "config" / "pins.yaml").of("k3d").version


def _k3d_environment(programs: Programs, session: Session, settings: Settings) -> dict[str, str]:
    """K3D_IMAGE_… from the settings, where another layer than the environment set them."""
    own = {
        "K3D_IMAGE_TOOLS": settings.cluster.tools_image,
        "K3D_IMAGE_LOADBALANCER": settings.cluster.loadbalancer_image,
    }
    given = {key: value for key, value in own.items() if value}
    return k3d.environment({**session.environ, **programs.env, **given}, session.folders.state)


def _registries(programs: Programs) -> dict[str, Registry]:
    ids = programs.run(docker.containers("k3d.role=registry")).out.split()
    return read(docker.inspected(programs.run(docker.inspect(ids)).out)) if ids else {}


def _push_port(settings: Settings, kept: dict[str, Registry]) -> int:
    """The host port of the push registry: by it, too, images are named. A new one gets the wish, if it is free."""
    found = kept.get(registry.push_name(settings))
    return found.port if found is not None and found.port is not None else settings.registries.port


def refuse_foreign(situation: Situation) -> None:
    """A cluster of this name that this project did not make is never touched."""
    if situation.standing.presence is not Presence.FOREIGN:
        return
    raise BadInput(
        f"there is a k3d cluster '{situation.name}' that this project did not make",
        why=f"its nodes lack the label {docker.OURS}: it may hold somebody's work",
        fix=f"choose another name (CLUSTER_NAME=…), or delete it yourself: k3d cluster delete {situation.name}",
    )


def require_running(situation: Situation) -> None:
    """Single tasks work in a cluster that runs, and never make one. Raises `ClusterAbsent`, `ClusterStopped`."""
    presence = situation.standing.presence
    if situation.engine == "existing" or presence is Presence.RUNNING:
        return
    if presence is Presence.STOPPED:
        raise ClusterStopped(
            f"the cluster '{situation.name}' is stopped",
            why="nodes that do not run: "
            + ", ".join(node.name for node in situation.standing.nodes if not node.running),
            fix="invoke cluster starts it; invoke up starts it and does the rest",
        )
    absent = presence is Presence.ABSENT
    raise ClusterAbsent(
        f"there is no cluster '{situation.name}'" + ("" if absent else " whose creation was completed"),
        why="this task works in a cluster that runs, and never makes one",
        fix="invoke cluster makes it; invoke up makes it and does the rest",
    )
