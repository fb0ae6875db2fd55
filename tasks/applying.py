"""Objects that differ from what is in the cluster, put in by one server-side apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.acting import explain_refusal, run
from tasks.engine.step import Action, Context, Report, Retry, Step
from tasks.objects.compare import same
from tasks.objects.labels import Key, key
from tasks.objects.stream import line, ordered, stream
from tasks.situation import Situation
from tasks.tools import kubectl

if TYPE_CHECKING:
    from tasks.tools.kubeapi import Api


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Objects to apply, and why."""

    objects: tuple[dict[str, Any], ...]
    why: str


def difference(situation: Situation, wanted: Sequence[dict[str, Any]]) -> Difference:
    """What must go in: everything where the cluster cannot be asked yet, else what is missing or changed."""
    if situation.live is None:
        return Difference(objects=tuple(wanted), why=f"{len(wanted)} to apply" if wanted else "nothing is configured")
    found: list[dict[str, Any]] = []
    reasons: list[str] = []
    for each in wanted:
        reason = same(each, situation.live.objects.get(key(each)))
        if reason is None and ending(situation, each["metadata"].get("namespace")):
            reason = "its namespace is being deleted"
        if reason is not None:
            found.append(each)
            reasons.append(f"{display(each)}: {reason}")
    if not reasons:
        return Difference(objects=(), why=f"all {len(wanted)} are as configured" if wanted else "nothing is configured")
    shown = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
    return Difference(objects=tuple(found), why=shown)


def ending(situation: Situation, namespace: str | None) -> bool:
    """Whether a namespace is being deleted: what is still in it goes with it."""
    if situation.live is None or not namespace:
        return False
    there = situation.live.objects.get(Key("v1", "Namespace", None, namespace))
    return there is not None and bool(there["metadata"].get("deletionTimestamp"))


def display(obj: dict[str, Any]) -> str:
    """namespace/kind/name, short."""
    namespace = obj["metadata"].get("namespace")
    return f"{namespace + '/' if namespace else ''}{obj['kind'].lower()}/{obj['metadata']['name']}"


def apply_step(
    situation: Situation,
    name: str,
    task: str,
    wanted: Sequence[dict[str, Any]],
    *,
    needs: tuple[str, ...],
    expected: float = 0.4,
    secret: bool = False,
) -> Step:
    """One step for all of them; skipped if nothing differs. `secret` keeps the output out of logs."""
    found = difference(situation, wanted)
    if not found.objects:
        return Step(name=name, task=task, needs=needs, skip=found.why)
    return Step(
        name=name,
        task=task,
        action=applying(situation, found.objects, secret=secret),
        needs=needs,
        deadline=situation.settings.timeouts.command,
        retry=Retry(attempts=5, first=0.3, cap=4.0),
        why=found.why,
        expected=expected,
    )


def applying(situation: Situation, objects: Sequence[dict[str, Any]], *, secret: bool = False) -> Action:
    """Server-side apply: without a process where the kubeconfig has certificates, else by one kubectl for all."""

    def act(context: Context) -> Report | None:
        from tasks.outage import answers_again
        from tasks.tools.kubeapi import Direct

        answers_again(situation, context)
        api = situation.api()
        if isinstance(api, Direct) or not situation.owns_cluster:
            return _put(situation, api, objects, context)
        command = kubectl.apply(
            situation.folders.kubeconfig, stream(objects), deadline=situation.settings.timeouts.command
        )
        done = run(situation.programs, command, context, quiet=secret)
        return Report(exit_code=done.code)

    return act


def _put(situation: Situation, api: Api, objects: Sequence[dict[str, Any]], context: Context) -> Report:
    """One after another, in an order in which each finds what it needs; names, never what is in them, go to the log."""
    from tasks.tools.kubeapi import Direct
    from tasks.tools.kubeapply import Refused, put
    from tasks.tools.kuberesources import Resources

    resources = Resources(api)
    done: list[str] = []
    try:
        for each in ordered(objects):
            context.wait(0)
            if isinstance(api, Direct) and situation.owns_cluster:
                put(api, resources, each, line(each))
                how = "applied"
            else:
                from tasks.creating import create_or_update

                how = create_or_update(situation, api, resources, each)
            done.append(f"{display(each)} {how}")
    except Refused as error:
        done.append(error.text)
        raise explain_refusal(error) from None
    finally:
        situation.programs.note(context, "\n".join(done))
    return Report()
