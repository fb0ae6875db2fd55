"""Objects that differ from what is in the cluster, put in by one server-side apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.engine.step import Action, Context, Report, Retry, Step
from tasks.facts.facts import Facts
from tasks.kube.apply import ordered
from tasks.kube.drift import same
from tasks.kube.managers import Conflict, conflicts, notes
from tasks.kube.objects import FIELD_MANAGER, Key, key
from tasks.kube.resources import display


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Objects to apply, and why."""

    objects: tuple[dict[str, Any], ...]
    why: str
    held: tuple[tuple[Mapping[str, Any], Sequence[Conflict]], ...] = ()
    """Objects in the cluster with fields that others have set, and that get the configured values."""


def difference(facts: Facts, wanted: Sequence[dict[str, Any]]) -> Difference:
    """What must go in: everything where the cluster cannot be asked yet, else what is missing or changed."""
    if facts.live is None:
        return Difference(objects=tuple(wanted), why=f"{len(wanted)} to apply" if wanted else "nothing is configured")
    found: list[dict[str, Any]] = []
    held: list[tuple[Mapping[str, Any], Sequence[Conflict]]] = []
    reasons: list[str] = []
    for each in wanted:
        there = facts.live.objects.get(key(each))
        reason = same(each, there)
        if reason is None and ending(facts, each["metadata"].get("namespace")):
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


def ending(facts: Facts, namespace: str | None) -> bool:
    """Whether a namespace is being deleted: what is still in it goes with it."""
    if facts.live is None or not namespace:
        return False
    there = facts.live.objects.get(Key("v1", "Namespace", None, namespace))
    return there is not None and bool(there["metadata"].get("deletionTimestamp"))


def apply_step(
    facts: Facts,
    name: str,
    task: str,
    wanted: Sequence[dict[str, Any]],
    *,
    needs: tuple[str, ...],
    expected: float = 0.4,
    secret: bool = False,
    more_to_come: bool = False,
) -> Step:
    """One step for all of them; skipped if nothing differs. `secret` keeps the output out of logs.

    `more_to_come`: see `applying`.
    """
    found = difference(facts, wanted)
    if not found.objects:
        return Step(name=name, task=task, needs=needs, skip=found.why)
    return Step(
        name=name,
        task=task,
        action=_noting(
            applying(facts, found.objects, secret=secret, more_to_come=more_to_come),
            notes(task, found.held, "set to the configured value"),
        ),
        needs=needs,
        deadline=facts.settings.timeouts.command,
        retry=Retry(attempts=5, first=0.3, cap=4.0),
        why=found.why,
        expected=expected,
    )


def _noting(action: Action, found: tuple[str, ...]) -> Action:
    """The same with these notes at its end."""

    def act(context: Context) -> Report | None:
        report = action(context) or Report()
        return replace(report, notes=(*report.notes, *found))

    return act if found else action


def applying(
    facts: Facts, objects: Sequence[dict[str, Any]], *, secret: bool = False, more_to_come: bool = False
) -> Action:
    """Server-side apply: without a process where the kubeconfig has certificates, else by one kubectl for all.

    What the API cannot take yet is put in when it can. `more_to_come`: what these objects need may come with others of
    the user's own.
    """

    def act(context: Context) -> Report | None:
        from tasks.kube.client import Direct
        from tasks.kube.wait import answers_again
        from tasks.run.sending import ByKubectl, Hopes, OneByOne, definer, send

        answers_again(facts, context)
        api = facts.api()
        sender = (
            OneByOne(facts, api, context)
            if isinstance(api, Direct) or not facts.owns_cluster
            else ByKubectl(facts, context, secret=secret)
        )
        hopes = Hopes(
            context,
            facts.settings.timeouts.command,
            more_to_come=more_to_come,
            definer=lambda obj: definer(facts, api, obj),
        )
        return send(sender, api, ordered(objects), hopes, context)

    return act
