"""One server-side apply for objects that differ from those in the cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tasks.core.errors import LaunchError
from tasks.engine.step import Action, Context, Report, Retry, Step
from tasks.engine.work import ApplyObjects
from tasks.facts.facts import Facts
from tasks.kube.drift import Conflict, conflicts, notes, same
from tasks.kube.objects import FIELD_MANAGER, display, key


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Objects to apply, and why."""

    objects: tuple[dict[str, Any], ...]
    why: str
    held: tuple[tuple[Mapping[str, Any], Sequence[Conflict]], ...] = ()
    """Live objects with fields of other managers, which get the configured values."""


def difference(facts: Facts, wanted: Sequence[dict[str, Any]]) -> Difference:
    """The objects to apply: all if the cluster cannot be queried yet, else those that are missing or changed."""
    if facts.live is None:
        return Difference(objects=tuple(wanted), why=f"{len(wanted)} to apply" if wanted else "nothing is configured")
    found: list[dict[str, Any]] = []
    held: list[tuple[Mapping[str, Any], Sequence[Conflict]]] = []
    reasons: list[str] = []
    for each in wanted:
        there = facts.live.objects.get(key(each))
        reason = same(each, there)
        if reason is None and facts.namespace_ends(each["metadata"].get("namespace")):
            reason = "its namespace is being deleted"
        if reason is not None:
            found.append(each)
            reasons.append(f"{display(each)}: {reason}")
            if there is not None and (taken := conflicts(each, there, (FIELD_MANAGER,))):
                held.append((there, taken))
    if not reasons:
        return Difference(objects=(), why=f"all {len(wanted)} are as configured" if wanted else "nothing is configured")
    shown = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
    return Difference(objects=tuple(found), why=shown, held=tuple(held))


def apply_step(
    facts: Facts,
    name: str,
    task: str,
    wanted: Sequence[dict[str, Any]],
    *,
    needs: tuple[str, ...],
    expected: float = 0.4,
    more_to_come: bool = False,
) -> Step:
    """One step for all of them; skipped if nothing differs. `more_to_come`: see `applying`."""
    found = difference(facts, wanted)
    if not found.objects:
        return Step(name=name, task=task, needs=needs, skip=found.why)
    return Step(
        name=name,
        task=task,
        action=_noting(
            applying(facts, found.objects, more_to_come=more_to_come),
            notes(task, found.held, "set to the configured value"),
        ),
        needs=needs,
        deadline=facts.settings.timeouts.command,
        retry=Retry(attempts=5, first=0.3, cap=4.0),
        why=found.why,
        expected=expected,
        work=ApplyObjects(objects=len(found.objects)),
    )


def _noting(action: Action, found: tuple[str, ...]) -> Action:
    """The same action with these notes added to its report."""

    def act(context: Context) -> Report | None:
        report = action(context) or Report()
        return replace(report, notes=(*report.notes, *found))

    return act if found else action


def applying(facts: Facts, objects: Sequence[dict[str, Any]], *, more_to_come: bool = False) -> Action:
    """Server-side apply of each. Only names are logged.

    Objects that the API cannot accept yet are retried. `more_to_come`: other objects of the user may provide
    what these need.
    """

    def act(context: Context) -> Report | None:
        from tasks.kube.apply import ordered
        from tasks.run.sending import Prerequisites, Transport, applied, definer, send

        api_back(facts, context)
        api, write = facts.api(), applied
        if not facts.owns_cluster:
            from tasks.run.foreign_objects import create_or_update

            write = create_or_update
        sender = Transport(facts, api, context, partial(write, facts))
        prerequisites = Prerequisites(
            context,
            facts.settings.timeouts.command,
            more_to_come=more_to_come,
            definer=lambda obj: definer(facts, api, obj),
        )
        return send(sender, api, ordered(objects), prerequisites, context)

    return act


class ApiLost(LaunchError):
    """The API stopped answering during a launch, and has not come back."""


def api_back(facts: Facts, context: Context) -> None:
    """Before another attempt: wait until the API is ready, at most `timeouts.api` seconds.

    The engine restarts a server whose k3s has exited, which takes some seconds: longer than the pauses
    between attempts. Raises `ApiLost`, with what is known of the nodes, and `ApiError` if the API rejects
    these credentials afterwards.
    """
    if context.attempt == 1:
        return
    from tasks.kube.wait import NotInTime, api_ready

    seconds = min(context.deadline, facts.settings.timeouts.api)
    try:
        api_ready(facts.api, replace(context, deadline=seconds))
    except NotInTime:
        ended = "; ".join(facts.outputs.ended.values())
        raise ApiLost(
            f"the API of the cluster '{facts.name}' stopped answering, and was not back within {seconds:g} s",
            why=ended or "the containers of its nodes are running",
            fix=f"docker logs k3d-{facts.name}-server-0 shows why; `invoke up` continues from here"
            if facts.owns_cluster
            else "ask the operators of the cluster; `invoke up --engine existing` continues from here",
        ) from None
