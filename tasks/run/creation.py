"""Facts of what a cluster is made from: images, registries, ports that are taken, and the network of its nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.clients import docker, k3d
from tasks.facts.network import network
from tasks.k3d.registries_yaml import nodes_file
from tasks.settings.derived import push_container, registries_in_use

if TYPE_CHECKING:
    from tasks.facts.engine import Engine
    from tasks.facts.facts import Shape
    from tasks.facts.registries import Registry
    from tasks.process.programs import Programs
    from tasks.run.engine_queries import CreationQueries
    from tasks.run.session import Session
    from tasks.settings.schema import Settings


def creation_facts(
    session: Session, programs: Programs, queries: CreationQueries, host: Engine, shape: Shape
) -> dict[str, Any]:
    """Fields of `Facts`, but for the ports that are chosen."""
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
