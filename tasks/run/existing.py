"""Facts of a cluster that exists already, from a context of the user's kubeconfig."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.clients import kubectl
from tasks.clients.kubeconfig import write_private
from tasks.core.errors import BadInput
from tasks.facts.cluster import ClusterState, Presence
from tasks.facts.facts import Shape
from tasks.facts.machine import machine, size
from tasks.facts.programs import versions
from tasks.kube.ownership import environment
from tasks.process.command import CommandFailed
from tasks.process.programs import Programs

if TYPE_CHECKING:
    from tasks.run.session import Session
    from tasks.settings.schema import Settings


def of_context(session: Session, programs: Programs) -> dict[str, Any]:
    """Fields of `Facts` of a cluster that exists already; no engine is queried.

    Its context becomes the private kubeconfig. Raises `BadInput` for a context that is not there.
    """
    settings: Settings = session.settings
    session.check_folders()
    write_kubeconfig(programs, session.paths.kubeconfig, session.name)
    here, version = machine(), versions(programs, session.state)
    session.record_system(here, replace(version, k3d=None), docker=None, k3s_image=None)
    concurrency = settings.pool.concurrency or size(here.cpus, here.memory_bytes).concurrency
    return {
        "cluster": ClusterState(name=session.name, presence=Presence.RUNNING),
        "shape": Shape(image="", agents=0, concurrency=concurrency),
        "environment": environment(session.owner.name, session.owner.id, settings.cluster.name),
        "helm_major": version.helm_major,
        "helm_programs": session.helm_programs(),
    }


def write_kubeconfig(programs: Programs, path: Path, context: str) -> None:
    """Make one context of the user's kubeconfig, by its name, the private one; the current one is never used.

    Raises `BadInput` for a context that is not there.
    """
    try:
        flattened = programs.run(kubectl.flattened(context), quiet=True).out
    except CommandFailed as error:
        names = programs.run(kubectl.contexts()).out.split()
        raise BadInput(
            f"your kubeconfig has no context '{context}'",
            why=error.tail()[-1] if error.tail() else error.what,
            fix=f"use one of: {', '.join(names) or 'there are none'}",
        ) from None
    write_private(path, flattened)
