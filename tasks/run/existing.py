"""A cluster that somebody else made: its context becomes a private kubeconfig, and no engine is asked."""

from __future__ import annotations

from collections.abc import Collection

from tasks.clients import helm, kubectl
from tasks.core.errors import BadInput
from tasks.core.units import GIB
from tasks.facts.cluster import ClusterState, Presence
from tasks.facts.facts import Facts, Shape
from tasks.facts.gather import with_live
from tasks.facts.manifest_files import kustomized
from tasks.facts.secrets import read_secrets
from tasks.kube.objects import display, key
from tasks.kube.ownership import CREATED_BY, created_by, environment, owner_of, refused
from tasks.process.command import CommandFailed, Programs
from tasks.run.desired import contents, is_unchanged_namespace
from tasks.run.releases import installed_by
from tasks.run.session import Session
from tasks.settings.rules import releases
from tasks.settings.schema import Settings


def existing(session: Session, parts: Collection[str]) -> Facts:
    """Ask its API. Raises `BadInput` for a context that is not there, `ApiError`."""
    from tasks.clients.kubeconfig import write_private
    from tasks.facts.machine import machine, size
    from tasks.facts.programs import numbers, versions

    settings: Settings = session.settings
    programs = session.programs()
    context = str(session.options.context)
    session.check_folders()
    write_private(session.paths.kubeconfig, _flattened(programs, context))
    here, version = machine(), versions(programs, session.state)
    sized = size(here.cpus, here.memory_bytes)
    session.system.update(
        cpus=here.cpus,
        memory_gib=round(here.memory_bytes / GIB, 1),
        arch=here.arch,
        os=here.os,
        docker=None,
        k3d=None,
        kubectl=version.kubectl,
        helm=version.helm,
        k3s_image=None,
    )
    secrets, left_out = read_secrets(settings, session.environ, session.root, programs, parts)
    facts = Facts(
        settings=settings,
        root=session.root,
        environ=session.environ,
        programs=programs,
        k3d_programs=programs,
        helm_programs=programs.with_env(
            helm.environment(session.paths.cache, session.paths.repositories(settings.helm.repositories))
        ),
        paths=session.paths,
        engine="existing",
        cluster=ClusterState(name=context, presence=Presence.RUNNING),
        shape=Shape(image="", agents=0, concurrency=settings.pool.concurrency or sized.concurrency),
        releases=releases(settings),
        environment=environment(session.owner, settings.cluster.name),
        clear_pending=session.clear_pending,
        helm_major=(numbers(version.helm) or (4,))[0],
        rendered=kustomized(settings, session.root, programs, parts),
        secrets=tuple(secrets),
        secrets_left_out=tuple(left_out),
    )
    return with_live(facts, parts)


def refuse_taken(facts: Facts, parts: Collection[str]) -> None:
    """Nothing is taken over: raises `Foreign` with the owner of each thing that a launch would change and that is not
    of this environment. Releases that are pending are refused too: see `tasks.run.releases.refuse_pending`.
    """
    assert facts.live is not None
    live, found = facts.live, dict[str, str]()
    for each in contents(facts, parts):
        there = live.objects.get(key(each))
        if there is None or is_unchanged_namespace(facts, each):
            continue
        if created_by(there) != facts.environment:
            found[display(each)] = owner_of(there)
    for release in facts.releases if "helm" in parts else ():
        installed = live.releases.get((release.namespace, release.name))
        if installed is not None and installed.labels.get(CREATED_BY) != facts.environment:
            found[f"{release.namespace}/release/{release.name}"] = installed_by(installed)
    if found:
        raise refused(f"the cluster of context '{facts.cluster.name}'", found)


def _flattened(programs: Programs, context: str) -> str:
    """One context of the user's kubeconfig, asked for by its name; the current one is never taken."""
    try:
        return programs.run(kubectl.flattened(context), quiet=True).out
    except CommandFailed as error:
        names = programs.run(kubectl.contexts()).out.split()
        raise BadInput(
            f"your kubeconfig has no context '{context}'",
            why=error.tail()[-1] if error.tail() else error.what,
            fix=f"use one of: {', '.join(names) or 'there are none'}",
        ) from None
