"""The facts for plans: settings, and the observed state of engine, programs and cluster, queried concurrently."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.clients import docker
from tasks.core.errors import BadInput, ClusterAbsent, ClusterStopped, LaunchError
from tasks.core.files import remembered
from tasks.engine.step import Context
from tasks.facts.cluster import Claim, ClusterState, Presence, cluster_state, refuse_foreign
from tasks.facts.engine import engine
from tasks.facts.facts import Facts, Shape, read_objects
from tasks.facts.machine import sizing
from tasks.facts.mounts import agents
from tasks.facts.secrets import read_secrets
from tasks.kube.client import ApiError, RetryingApi, credentials, ready
from tasks.kube.objects import key
from tasks.process.programs import Programs
from tasks.run.desired import desired_keys, desired_namespaces, marker_keys
from tasks.run.engine_queries import engine_queries
from tasks.settings.derived import NEEDS_CLUSTER, k3s_image, push_container, registries_in_use
from tasks.settings.rules import releases
from tasks.settings.schema import Settings

if TYPE_CHECKING:
    from tasks.core.paths import ClusterPaths
    from tasks.facts.builds import BuildState
    from tasks.facts.engine import Engine
    from tasks.facts.registries import Registry
    from tasks.run.engine_queries import CreationQueries
    from tasks.run.session import Session

_OBJECTS = frozenset({"namespaces", "secrets"})
"""Parts whose plans follow from settings and from the objects in the cluster."""
_API_START = 10.0
"""Seconds for the API of a cluster whose containers run."""
_OLD = 2 * 86400.0
"""Seconds: more than the longest step may take."""


def gather(session: Session, parts: Collection[str], *, refuse: bool = True, live: bool = True) -> Facts:
    """Query the engine, or the context's cluster, and the API of a running cluster (if `live`), for parts of a launch.

    `refuse`: whether to check the owner of the cluster, its objects and its releases. Raises `NoEngine`, `BadInput` (a
    setting, a secret, a context, or a k3d cluster of another owner), `Foreign`, and `ApiError`.
    """
    settings: Settings = session.settings
    programs = session.programs()
    if session.options.owns_cluster:
        observed = _of_engine(session, programs, parts)
    else:
        observed = of_context(session, programs)
        observed["builds"] = _builds(session, parts, lambda: engine(programs))
    rendered: Mapping[Path, str] = {}
    if settings.manifests.files:
        from tasks.facts.manifest_files import kustomized

        rendered = kustomized(settings, session.root, programs, parts)
    secrets, left_out = read_secrets(settings, session.environ, session.root, programs, parts)
    facts = _facts(
        session,
        programs,
        clear_pending=session.clear_pending,
        bundle=session.bundle,
        restore=session.restore,
        rendered=rendered,
        secrets=tuple(secrets),
        secrets_left_out=tuple(left_out),
        **observed,
    )
    facts = _located(facts) if facts.builds else facts
    if facts.owns_cluster:
        if refuse:
            refuse_foreign(facts.cluster)
        if not live or facts.cluster.presence is not Presence.RUNNING or not (NEEDS_CLUSTER | {"cluster"}) & set(parts):
            return facts
    facts = with_live(facts, parts)
    if refuse:
        if not facts.owns_cluster:
            from tasks.run.desired import refuse_foreign_objects

            refuse_foreign_objects(facts, parts)
        if "helm" in parts:
            from tasks.run.releases import refuse_pending  # with charts and images: most single tasks need none of it

            refuse_pending(facts, parts)
    return facts


def gather_state(session: Session) -> Facts:
    """Only the cluster's containers and registries, or the context: works with an unhealthy cluster.

    Raises `NoEngine`, `BadInput` for a context that does not exist or another owner's cluster.
    """
    settings: Settings = session.settings
    programs, paths = session.programs(), session.paths
    session.check_folders()
    cluster = ClusterState(name=session.name, presence=Presence.RUNNING)
    existing: dict[str, Registry] = {}
    if session.options.owns_cluster:
        from tasks.facts.registries import registries

        engine(programs)
        claim = Claim(owner=session.owner, known=paths.kubeconfig.exists() or paths.k3d_config.exists())
        cluster = cluster_state(programs, settings.cluster.name, remembered(paths.complete), claim=claim)
        refuse_foreign(cluster)
        existing = registries(programs)
    else:
        paths = write_kubeconfig(programs, paths, session.name)
    shape = Shape(image=k3s_image(settings), agents=0, concurrency=1)
    return _facts(session, programs, paths=paths, cluster=cluster, shape=shape, registries=existing)


def _facts(session: Session, programs: Programs, **observed: Any) -> Facts:
    """The facts of a session, and the observed ones."""
    own = {
        "settings": session.settings,
        "root": session.root,
        "environ": session.environ,
        "backend": session.backend,
        "programs": programs,
        "k3d_programs": programs,
        "helm_programs": programs,
        "paths": session.paths,
        "releases": releases(session.settings),
    }
    return Facts(**{**own, **observed})


def connect(facts: Facts) -> None:
    """Make the private kubeconfig point to the cluster's API. Raises `LaunchError` if that does not answer."""
    if facts.owns_cluster and not _reachable(facts):
        from tasks.k3d.kubeconfig import fetch_kubeconfig

        fetch_kubeconfig(facts, port=_first_api(facts.cluster))
    if not ready(facts.api()):
        raise ApiError(0, f"the API of the cluster '{facts.cluster.name}' does not answer", "/readyz fails")


def _builds(session: Session, parts: Collection[str], host: Callable[[], Engine]) -> tuple[BuildState, ...]:
    """The builds that these parts need, with the digests of their files. Raises `BadInput`, `NoEngine`."""
    if not session.settings.builds:
        return ()
    from tasks.facts.builds import read_inputs  # most launches build nothing

    paths, owns = session.paths, session.options.owns_cluster
    return read_inputs(session.settings, parts, session.root, paths.cache, session.environ, host, owns_cluster=owns)


def _located(facts: Facts) -> Facts:
    from tasks.facts.builds import located

    return replace(facts, builds=located(facts, facts.builds))


def with_builds(session: Session, facts: Facts, parts: Collection[str]) -> Facts:
    """The same facts with the builds from the current files. Raises `BadInput`."""
    facts.outputs.own.clear()  # they refer to images
    return _located(replace(facts, builds=_builds(session, parts, lambda: facts.host or engine(facts.programs))))


def _of_engine(session: Session, programs: Programs, parts: Collection[str]) -> dict[str, Any]:
    """Fields of `Facts` from the engine. Raises `NoEngine` first, `BadInput`."""
    settings: Settings = session.settings
    with engine_queries(session, parts) as queries:
        builds = queries.ask(lambda: _builds(session, parts, queries.engine.result))
        host, cluster, version = queries.engine.result(), queries.cluster.result(), queries.versions.result()
        sized = sizing(host.cpus, host.memory_bytes)
        image = k3s_image(settings)
        shape = Shape(
            image=image,
            agents=agents(settings, cluster, sized.agents),
            concurrency=settings.pool.concurrency or sized.concurrency,
            cgroup_v1=host.cgroup_version == 1,
            owner=session.owner.label,
            subnets=host.subnets,
        )
        more: dict[str, Any] = {"shape": shape}
        if (creation := queries.creation) is not None:
            from tasks.k3d.ports import ports_for

            more = _creation_facts(session, programs, creation, host, shape)
            more["ports"] = ports_for(programs, settings, cluster, host, creation.published.result())
        inputs = builds.result()
    session.record_system(host, version, docker=host.version, k3s_image=image)
    return {
        "host": host,
        "builds": inputs,
        "cluster": cluster,
        "helm_version": version.helm or "",
        "helm_major": version.helm_major,
        **more,
    }


def _creation_facts(
    session: Session, programs: Programs, queries: CreationQueries, host: Engine, shape: Shape
) -> dict[str, Any]:
    """Fields of `Facts`, except the chosen ports."""
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
    """K3D_IMAGE_… from the settings, if another layer than the environment sets them."""
    from tasks.clients import k3d

    own = {
        "K3D_IMAGE_TOOLS": settings.cluster.tools_image,
        "K3D_IMAGE_LOADBALANCER": settings.cluster.loadbalancer_image,
    }
    given = {key: value for key, value in own.items() if value}
    return k3d.environment({**session.environ, **programs.env, **given}, session.paths.state)


def _push_port(settings: Settings, existing: dict[str, Registry]) -> int:
    """The host port of the push registry, which is part of image names. A new one gets the desired port, if free."""
    found = existing.get(push_container(settings))
    return found.port if found is not None and found.port is not None else settings.registries.port


def with_live(facts: Facts, parts: Collection[str]) -> Facts:
    """The same facts with the cluster's objects. Raises `LaunchError` if the API does not answer, or rejects us."""
    if facts.owns_cluster and not _reachable(facts):
        from tasks.k3d.kubeconfig import fetch_kubeconfig  # only where an earlier one is missing
        from tasks.kube.wait import NotInTime, api_ready

        fetch_kubeconfig(facts, port=_first_api(facts.cluster))
        try:  # a starting one needs a moment; a dead one never answers
            api_ready(facts.api, Context(step="the cluster's API", deadline=_API_START), cap=0.25)
        except NotInTime:
            raise _silent(facts) from None
    api = RetryingApi(facts.api())
    if not facts.owns_cluster:  # what goes into a namespace depends on whose it is
        facts = replace(facts, live=read_objects(api, [key(each) for each in desired_namespaces(facts)]))
    keys = desired_keys(facts, parts)
    if _OBJECTS.issuperset(parts):
        return replace(facts, live=read_objects(api, keys))
    from tasks.facts.running import read_live

    if facts.settings.steps:
        keys += marker_keys(facts, parts)
    by_release = {(release.namespace, release.name): release.wait_for_jobs for release in facts.releases}
    return replace(facts, live=read_live(api, keys, by_release))


def _reachable(facts: Facts) -> bool:
    """Whether the private kubeconfig of an earlier run is still valid."""
    if not facts.paths.kubeconfig.exists():
        return False
    access = credentials(facts.paths.kubeconfig.read_text(encoding="utf-8"))
    port = _first_api(facts.cluster)
    with contextlib.suppress(ApiError):  # the kubeconfig is outdated: fetch it from the server again
        return access is not None and access.server.endswith(f":{port}") and ready(facts.api())
    return False


def _first_api(cluster: ClusterState) -> int | None:
    return cluster.port(6443, first_server=True)


def _silent(facts: Facts) -> LaunchError:
    from tasks.diagnose.node import is_last, node_death
    from tasks.k3d.recorded import lost_servers

    if (lost := lost_servers(facts)) is not None:
        return lost
    if (first := facts.cluster.first) is not None:
        done = facts.programs.run(docker.logs(first.name), quiet=True)
        if any(is_last(line) for line in (done.out + done.err).splitlines()):
            return node_death(first.name, 1, False, done.out + done.err)
    return LaunchError(
        f"the cluster '{facts.name}' runs, but its API does not answer",
        why=f"nothing answered at 127.0.0.1:{_first_api(facts.cluster)} within {_API_START:g} s",
        fix=f"docker logs k3d-{facts.name}-server-0; `invoke down --stop` and `invoke up` start it again",
    )


def require_running(facts: Facts) -> None:
    """Single tasks need a running cluster, and never create one. Raises `ClusterAbsent`, `ClusterStopped`."""
    presence = facts.cluster.presence
    if not facts.owns_cluster or presence is Presence.RUNNING:
        return
    if presence is Presence.STOPPED:
        state, again = ("paused", "resumes") if facts.cluster.only_paused else ("stopped", "starts")
        raise ClusterStopped(
            f"the cluster '{facts.name}' is {state}",
            why="nodes that are not running: "
            + ", ".join(node.condition for node in facts.cluster.nodes if not node.running),
            fix=f"invoke cluster {again} it; invoke up {again} it and does the rest",
        )
    absent = presence is Presence.ABSENT
    raise ClusterAbsent(
        f"there is no cluster '{facts.name}'" + ("" if absent else " whose creation was completed"),
        why="this task needs a running cluster, and never creates one",
        fix="invoke cluster creates it; invoke up creates it and does the rest",
    )


# A cluster that exists already, from a context of the user's kubeconfig


def of_context(session: Session, programs: Programs) -> dict[str, Any]:
    """Fields of `Facts` for an existing cluster; no engine is queried.

    Its context becomes the private kubeconfig. Raises `BadInput` for a context that does not exist.
    """
    from tasks.facts.machine import machine
    from tasks.facts.programs import versions
    from tasks.kube.ownership import environment

    settings: Settings = session.settings
    session.check_folders()
    paths = write_kubeconfig(programs, session.paths, session.name)
    here, version = machine(), versions(programs, session.state)
    session.record_system(here, replace(version, k3d=None), docker=None, k3s_image=None)
    concurrency = settings.pool.concurrency or sizing(here.cpus, here.memory_bytes).concurrency
    return {
        "paths": paths,
        "cluster": ClusterState(name=session.name, presence=Presence.RUNNING),
        "shape": Shape(image="", agents=0, concurrency=concurrency),
        "environment": environment(session.owner.name, session.owner.id, settings.cluster.name),
        "helm_major": version.helm_major,
        "helm_programs": session.helm_programs(),
    }


def write_kubeconfig(programs: Programs, paths: ClusterPaths, context: str) -> ClusterPaths:
    """Store one context of the user's kubeconfig, by its name, as the private one; the current context is never used.

    The private file is named by its content. A context of this name may mean another cluster in another KUBECONFIG,
    or in the same file later: programs of a running call must not be redirected by another call.
    Raises `BadInput` for a context that does not exist.
    """
    from tasks.clients.kubeconfig import write_private
    from tasks.clients.kubeconfig_context import of_context, rooted
    from tasks.core.files import sha256
    from tasks.process.login import cached_logins

    flattened = rooted(of_context(programs.env, context) or "", programs.env)
    if credentials(flattened) is None:  # kubectl is needed anyway, or reports what is wrong
        flattened = rooted(_by_kubectl(programs, context), programs.env)
    found = replace(paths, access=f"kubeconfig-{sha256(flattened, 16)}")
    write_private(found.kubeconfig, cached_logins(flattened, found.kubeconfig, programs.env))
    for each in paths.state.glob("kubeconfig-*"):  # outdated and unused: they contain credentials
        with contextlib.suppress(OSError):
            if not each.name.startswith(found.access) and each.stat().st_mtime < time.time() - _OLD:
                each.unlink()
    return found


def _by_kubectl(programs: Programs, context: str) -> str:
    """The context as kubectl reads it. Raises `BadInput`."""
    from tasks.clients import kubectl
    from tasks.process.command import CommandFailed

    try:
        return programs.run(kubectl.flattened(context), quiet=True).out
    except CommandFailed as error:
        listed = programs.run(kubectl.contexts())
        names, why = listed.out.splitlines(), error.last_line()
        if listed.code or context in names:
            raise BadInput(f"the context '{context}' cannot be used", why=why, fix="correct the kubeconfig") from None
        fix = f"use one of: {', '.join(names)}" if names else "set KUBECONFIG to the file that has it"
        raise BadInput(f"your kubeconfig has no context '{context}'", why=why, fix=fix) from None
