"""`invoke namespaces`: the configured namespaces, and those that releases and secrets refer to, in one apply."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.engine.step import Context, Report, Step
from tasks.run.task import run_part, task
from tasks.settings.derived import API_READY, NAMESPACES, NAMESPACES_LEFT

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.run.session import Session

TASK = "namespaces"
GONE = "namespaces: those being deleted are gone"
_END = (
    "kubectl describe namespace {name} shows what is left in it; an object with finalizers waits for the controller "
    "that removes these (that of an uninstalled operator is gone): start it, or use kubectl edit; then run it again"
)


@task(query_ahead=True)
def namespaces(session: Session) -> int:
    """Create all namespaces at once."""
    return run_part(session, TASK, steps)


def missing(facts: Facts, only: Collection[str]) -> list[Step]:
    """The steps that create the missing or changed ones of these namespaces, for a single task."""
    return [step for step in steps(facts, only) if step.skip is None] if only else []


def steps(facts: Facts, only: Collection[str] | None = None) -> list[Step]:
    """One server-side apply of missing and changed namespaces, after those being deleted are gone."""
    from tasks.run.apply import apply_step
    from tasks.run.desired import desired_namespaces, is_foreign

    objects = desired_namespaces(facts, only)
    theirs = [each for each in objects if is_foreign(facts, each["metadata"]["name"])]
    own = [each for each in objects if each not in theirs]
    apply = apply_step(facts, NAMESPACES, TASK, own, needs=(API_READY,), expected=0.3)
    if theirs and not own:
        apply = replace(apply, skip="all exist")
    found = [apply]
    going = [each["metadata"]["name"] for each in objects if facts.namespace_ends(each["metadata"]["name"])]
    if going:
        found = [_gone(facts, going), replace(apply, needs=(*apply.needs, GONE))]
    if theirs:
        found.append(
            Step(name=NAMESPACES_LEFT, task=TASK, skip=_left(facts, [each["metadata"]["name"] for each in theirs]))
        )
    return found


def _left(facts: Facts, names: Sequence[str]) -> str:
    """Why namespaces of a foreign cluster are not changed."""
    from tasks.kube.objects import Key

    there = facts.live.objects if facts.live is not None else {}
    seen = [
        name for name in names if "uid" in (there.get(Key("v1", "Namespace", None, name)) or {}).get("metadata", {})
    ]
    hidden = [name for name in names if name not in seen]
    texts = ((seen, "existed before, and not changed"), (hidden, "not visible to this login, and not changed"))
    return "; ".join(f"{', '.join(these)}: {text}" for these, text in texts if these)


def _gone(facts: Facts, going: Sequence[str]) -> Step:
    """Objects in a namespace that is being deleted are rejected."""
    from tasks.kube.objects import Key, Resources, deletion_blockers, live

    def act(context: Context) -> Report | None:
        from tasks.kube.wait import NotInTime, poll

        resources = Resources(facts.api())
        left: dict[str, str] = {}

        def look() -> bool | None:
            there = live(facts.api(), resources, [Key("v1", "Namespace", None, name) for name in going])
            ending = [each for each in there.values() if each and each["metadata"].get("deletionTimestamp")]
            left.clear()
            left.update({each["metadata"]["name"]: deletion_blockers(each) for each in ending})
            context.say(f"{len(left)} of {len(going)} still exist")
            return None if left else True

        try:
            poll(look, context, telling=lambda: "; ".join(f"{name}: {held}" for name, held in left.items()))
        except NotInTime as error:
            error.amend(fix=_END.format(name=min(left, default=going[0])))
            raise
        return None

    return Step(
        name=GONE,
        task=TASK,
        action=act,
        needs=(API_READY,),
        wait=True,
        deadline=facts.settings.timeouts.health,
        why=f"{', '.join(going)}: until then their new objects are rejected",
        expected=5.0,
    )
