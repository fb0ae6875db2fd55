"""Remove a cluster and what was made for it, or only stop it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from tasks import removal
from tasks.acting import running
from tasks.engine.step import Step
from tasks.errors import BadInput
from tasks.launch import bounds
from tasks.session import Session
from tasks.situation import Situation
from tasks.survey import survey
from tasks.tools import kubectl
from tasks.up import locked


def down(session: Session, *, stop: bool, purge: bool, yes: bool) -> int:
    """Find it by exact label; the registries stay unless `purge`."""
    with locked(session):
        session.open_logs()
        if session.options.engine == "existing":
            return _existing(session, yes=yes, refused="--stop" if stop else "--purge" if purge else "")
        situation = survey(session, ())
        if stop:
            session.run(removal.stop_steps(situation), bounds(situation), situation=None)
            return 0
        found = removal.remains(situation)
        steps = removal.steps(situation, found)
        if purge:
            steps = [*steps, *_purge(session, situation, tuple(step.name for step in steps))]
        session.run(steps, bounds(situation), situation=None)
    return 0


def _purge(session: Session, situation: Situation, needs: tuple[str, ...]) -> list[Step]:
    from tasks.registries import purge_steps

    return [replace(step, needs=(*step.needs, *needs)) for step in purge_steps(session, situation)]


def _existing(session: Session, *, yes: bool, refused: str) -> int:
    """On a cluster of somebody else only what carries our label goes, and only when asked twice."""
    if refused:
        raise BadInput(
            f"{refused} has no meaning with the engine existing",
            why="that cluster and its registries are not this project's",
            fix="leave it out",
        )
    situation = survey(session, ("manifests", "helm"))
    steps = existing_steps(situation)
    doing = [step for step in steps if step.skip is None]
    if doing and not yes:
        _ask(session.name, doing)
    session.run(steps, bounds(situation), situation=situation)
    return 0


def existing_steps(situation: Situation) -> list[Step]:
    """Releases of this project first, then objects with its label; namespaces that held other things stay."""
    from tasks.objects.labels import MANAGED_BY
    from tasks.objects.stream import stream
    from tasks.tools import helm

    live = situation.live
    assert live is not None
    steps = []
    for (namespace, name), release in sorted(live.releases.items()):
        if helm.FINGERPRINT not in release.labels:
            continue
        command = helm.uninstall(situation.folders.kubeconfig, name, namespace, 300.0)
        steps.append(
            Step(
                name=f"down: release {namespace}/{name}",
                task=removal.TASK,
                kind="helm",
                action=running(situation.helm_programs, command),
                deadline=315.0,
                why=f"it carries {helm.FINGERPRINT}",
            )
        )
    ours = [
        {"apiVersion": key.api_version, "kind": key.kind, "metadata": _place(key.namespace, key.name)}
        for key, found in live.objects.items()
        if found is not None and (found["metadata"].get("labels") or {}).get(MANAGED_BY) == kubectl.FIELD_MANAGER
    ]
    steps.append(
        Step(
            name="down: objects with our label",
            task=removal.TASK,
            action=running(situation.programs, kubectl.delete(situation.folders.kubeconfig, stream(ours))),
            needs=tuple(step.name for step in steps),
            skip=None if ours else "there are none",
            why=f"{len(ours)} with {MANAGED_BY}={kubectl.FIELD_MANAGER}",
            deadline=150.0,
        )
    )
    return steps


def _place(namespace: str | None, name: str) -> dict[str, str]:
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def _ask(context: str, doing: Sequence[Step]) -> None:
    """Raises `BadInput` unless a person says yes."""
    from tasks.view.output import out

    out([f"This removes from the cluster of context '{context}':", *(f"  {step.name}: {step.why}" for step in doing)])
    if not sys.stdin.isatty():
        raise BadInput(
            "nobody can be asked here", why="there is no terminal on standard input", fix="say it beforehand with --yes"
        )
    if input("Type the context's name to go on: ").strip() != context:
        raise BadInput("nothing was removed", why="the answer was not the context's name", fix="run it again")
